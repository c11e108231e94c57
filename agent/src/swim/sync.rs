//! Push/pull: two members exchange all they know over a stream and both merge it.
//!
//! A join is one towards an address, a comparison one towards a random member now and then.
//! What we hear of a third party's death is taken as a suspicion: it may refute.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use shared::event::MemberStatus;

use super::admission::Rejection;
use super::codec::{Doubt, Message, State};
use super::deadlines::Timer;
use super::member::Name;
use super::stream::{self, PushPull, StreamMessage};
use super::versions;
use super::wire::{Intent, SerfState};
use super::{Dial, DialId, Notice, Output, Remark, Reply, StreamId, Swim, Ticket};
use crate::moment::Moment;

/// Streams of ours that may be open at once.
const DIALS_MAX: usize = 256;

/// Why we opened a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Join {
        ticket: Ticket,
    },
    Compare {
        with: SocketAddr,
    },
    Reconnect,
    /// The probe's last try.
    Ping {
        seq: u32,
    },
}

impl Swim {
    pub(super) fn start_join(&mut self, ticket: Ticket, to: SocketAddr, out: &mut Output) {
        if !self.dial_push_pull(to, true, Purpose::Join { ticket }, out) {
            let outcome = Err("too many streams are open".to_owned());
            out.notices.push(Notice::JoinEnded { ticket, outcome });
        }
    }

    pub(super) fn start_compare(&mut self, now: Moment, out: &mut Output) {
        self.deadlines.arm(Timer::PushPull, now + self.config.timing.push_pull_after(self.live()));
        let Some(name) = self.some_peers(1, |member| member.state == State::Alive).pop() else { return };
        let Some(member) = self.members.get(&name) else { return };
        let with = member.address;
        out.notices.push(Notice::Remark(Remark::PushPullStarted { with }));
        self.dial_push_pull(with, false, Purpose::Compare { with }, out);
    }

    /// False when there is no room for another stream.
    pub(super) fn dial_push_pull(&mut self, to: SocketAddr, join: bool, purpose: Purpose, out: &mut Output) -> bool {
        let bytes = self.whole_state(join);
        self.dial(to, bytes, self.config.timing.stream_timeout, purpose, out)
    }

    pub(super) fn dial(
        &mut self,
        to: SocketAddr,
        bytes: Vec<u8>,
        limit: Duration,
        purpose: Purpose,
        out: &mut Output,
    ) -> bool {
        if self.dials.len() >= DIALS_MAX {
            self.counters.refused += 1;
            return false;
        }
        self.last_dial += 1;
        self.dials.insert(self.last_dial, purpose);
        out.dials.push(Dial { id: self.last_dial, to, bytes, limit });
        true
    }

    fn whole_state(&self, join: bool) -> Vec<u8> {
        let known: Vec<_> = self
            .members
            .values()
            .filter(|member| !member.forgotten)
            .map(|member| (member.to_alive(), member.state))
            .collect();
        stream::push_pull(join, known.into_iter(), &self.serf_state().to_bytes())
    }

    fn serf_state(&self) -> SerfState {
        SerfState {
            ltime: self.clock.now(),
            status_ltimes: self.members.values().map(|m| (Name::clone(&m.name), m.status_ltime)).collect(),
            left: self
                .members
                .values()
                .filter(|m| m.status == MemberStatus::Left)
                .map(|m| Name::clone(&m.name))
                .collect(),
            event_ltime: self.event_clock.now(),
            query_ltime: self.query_clock.now(),
            events: self.past_events(),
        }
    }

    /// Somebody opened a stream to us and said something.
    pub(super) fn accept(&mut self, now: Moment, stream: StreamId, from: SocketAddr, bytes: &[u8], out: &mut Output) {
        let reply = match StreamMessage::read(bytes) {
            Ok(StreamMessage::PushPull(theirs)) => self.exchange(now, from, &theirs, out),
            Ok(StreamMessage::Bare(Message::Ping(ping))) => {
                if ping.node.is_empty() || ping.node == &*self.me {
                    Message::Ack { seq: ping.seq, payload: &[] }.to_bytes()
                } else {
                    Vec::new()
                }
            }
            Ok(StreamMessage::User(body)) => {
                self.hear_user(now, from, body, out);
                Vec::new()
            }
            Ok(_) | Err(_) => {
                self.counters.malformed += 1;
                Vec::new()
            }
        };
        out.replies.push(Reply { stream, bytes: reply });
    }

    /// What somebody gets who tells us a whole state.
    fn exchange(&mut self, now: Moment, from: SocketAddr, theirs: &PushPull<'_>, out: &mut Output) -> Vec<u8> {
        // Consul checks those who join; who compares is checked member by member.
        let outcome = if theirs.join { self.may_merge(now, &theirs.members, out) } else { Ok(()) };
        if let Err(foreign @ Rejection::Foreign { .. }) = &outcome {
            // It must not learn of us: it would take our servers for its own kind.
            return stream::error(&foreign.to_string());
        }
        // Consul: who is refused hears of us, and finds the fault by itself.
        let ours = self.whole_state(false);
        let merged =
            outcome.map_err(|rejection| rejection.to_string()).and_then(|()| self.merge(now, theirs, false, out));
        if let Err(reason) = merged {
            out.notices.push(Notice::Remark(Remark::MergeRefused { from, reason }));
        }
        ours
    }

    /// The answer on a stream of ours.
    pub(super) fn answered(&mut self, now: Moment, dial: DialId, bytes: &[u8], out: &mut Output) {
        let Some(purpose) = self.dials.remove(&dial) else { return };
        if let Purpose::Ping { seq } = purpose {
            if let Ok(StreamMessage::Bare(Message::Ack { seq: acked, .. })) = StreamMessage::read(bytes)
                && acked == seq
            {
                self.stream_acked(seq);
            }
            return;
        }
        let outcome = match StreamMessage::read(bytes) {
            Ok(StreamMessage::PushPull(theirs)) => {
                let joining = matches!(purpose, Purpose::Join { .. });
                let outcome = if joining { self.may_merge(now, &theirs.members, out) } else { Ok(()) };
                outcome.map_err(|rejection| rejection.to_string()).and_then(|()| self.merge(now, &theirs, joining, out))
            }
            Ok(StreamMessage::Error(text)) => Err(format!("remote error: {text}")),
            Ok(_) | Err(_) => {
                self.counters.malformed += 1;
                Err("the answer is no state of a pool".to_owned())
            }
        };
        self.end_dial(purpose, outcome, out);
    }

    pub(super) fn unanswered(&mut self, now: Moment, dial: DialId, reason: String, refused: bool, out: &mut Output) {
        match self.dials.remove(&dial) {
            Some(Purpose::Ping { seq }) if refused => self.stream_refused(now, seq),
            Some(purpose) => self.end_dial(purpose, Err(reason), out),
            None => {}
        }
    }

    fn end_dial(&mut self, purpose: Purpose, outcome: Result<(), String>, out: &mut Output) {
        match (purpose, outcome) {
            (Purpose::Join { ticket }, outcome) => {
                if outcome.is_ok() {
                    self.announce_join();
                }
                out.notices.push(Notice::JoinEnded { ticket, outcome });
            }
            (Purpose::Compare { with }, Err(reason)) => {
                out.notices.push(Notice::Remark(Remark::PushPullFailed { with, reason }));
            }
            (Purpose::Compare { .. } | Purpose::Reconnect | Purpose::Ping { .. }, _) => {}
        }
    }

    /// Takes what another knows, or says why not. `joining`: in answer to a join of ours.
    fn merge(&mut self, now: Moment, theirs: &PushPull<'_>, joining: bool, out: &mut Output) -> Result<(), String> {
        if let Err(reason) = versions::check(&theirs.members, || self.members.values()) {
            self.counters.merges_refused += 1;
            return Err(reason);
        }
        let me = Name::clone(&self.me);
        for (member, state) in &theirs.members {
            let (incarnation, node) = (member.incarnation, member.node);
            match state {
                State::Alive => self.on_alive(now, member, out),
                State::Left => self.on_dead(now, &Doubt { incarnation, node, from: node }, out),
                // One that only they call dead may refute: it is suspected by us, not buried.
                State::Dead | State::Suspect => self.on_suspect(now, &Doubt { incarnation, node, from: &me }, out),
            }
        }
        match SerfState::read(theirs.user) {
            Ok(state) => {
                self.merge_serf(now, &state, out);
                self.merge_events(joining, state.event_ltime, &state.events, out);
            }
            Err(_) => self.counters.malformed += 1,
        }
        Ok(())
    }

    fn merge_serf(&mut self, now: Moment, state: &SerfState, out: &mut Output) {
        // The sender's own time is the next it will use: what it has seen is one less.
        self.clock.witness(state.ltime.saturating_sub(1));
        self.event_clock.witness(state.event_ltime.saturating_sub(1));
        self.query_clock.witness(state.query_ltime.saturating_sub(1));
        let left: BTreeSet<&Name> = state.left.iter().collect();
        for &name in &left {
            let ltime = state.status_ltimes.get(name).copied().unwrap_or(0);
            self.on_leave(now, &Intent { leaves: true, ltime, node: name, prune: false }, out);
        }
        for (name, ltime) in &state.status_ltimes {
            if !left.contains(name) {
                self.on_join(now, &Intent { leaves: false, ltime: *ltime, node: name, prune: false }, out);
            }
        }
    }
}
