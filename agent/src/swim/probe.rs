//! Is it there? One member at a time, in shuffled order: ask it; then ask others to ask it, and try
//! a stream; and when nothing came by the end of the interval, suspect it.
//!
//! A killed process is a fact and no time-out: its host refuses the stream, twice, while the others
//! that were asked hear nothing from it either. Then it has failed at once. A host that is down, cut
//! off or stopped refuses nothing, and gets all of a suspicion's time.

use std::net::SocketAddr;
use std::ops::Bound;
use std::time::Duration;

use shared::event::Cause;

use super::codec::{Doubt, IndirectPing, Message, Ping, Source, State};
use super::deadlines::Timer;
use super::member::{Member, Name};
use super::sync::Purpose;
use super::{Notice, Output, Remark, Swim};
use crate::moment::Moment;

/// From these protocol versions on a member answers pings on streams, and says when it cannot
/// reach whom it was asked to ping.
const STREAM_PING_PROTOCOL: u8 = 3;
const NACK_PROTOCOL: u8 = 4;
/// Others are asked when this part of the time-out has passed without an ack: on a network that
/// works an ack is there a hundred times sooner, and memberlist's whole time-out would be idle.
const WIDEN_AT: u32 = 4;
/// In smaller pools taking turns asks everybody soon enough.
const NEIGHBOURS_FROM: usize = 3;
/// Between the first refusal and the second look; a restart that is quicker is not noticed.
const REDIAL_AFTER: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub(super) struct Probe {
    phase: Phase,
    /// Place in `Swim::order` of who is next.
    next: usize,
    /// The last cycle was our neighbour's.
    at_neighbour: bool,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    Direct(Cycle),
    Indirect(Wide),
}

/// A cycle that others and a stream take part in.
#[derive(Debug)]
struct Wide {
    cycle: Cycle,
    nacks_expected: u32,
    nacks: u32,
    stream_acked: bool,
    refusals: u32,
}

#[derive(Debug)]
struct Cycle {
    target: Name,
    seq: u32,
    sent: Moment,
    /// The answer counts until then.
    until: Moment,
}

impl Probe {
    /// Whose turn it is first.
    pub(super) fn begin_at(&mut self, next: usize) {
        self.next = next;
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    fn cycle(&self) -> Option<&Cycle> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Direct(cycle) | Phase::Indirect(Wide { cycle, .. }) => Some(cycle),
        }
    }
}

impl Swim {
    pub(super) fn next_seq(&mut self) -> u32 {
        self.last_seq = self.last_seq.wrapping_add(1);
        self.last_seq
    }

    /// The probe's timer: begin, widen, or judge.
    pub(super) fn step_probe(&mut self, now: Moment, out: &mut Output) {
        match std::mem::take(&mut self.probe.phase) {
            Phase::Idle => self.begin_probe(now, out),
            Phase::Direct(cycle) => self.widen_probe(now, cycle, out),
            Phase::Indirect(wide) => self.judge_probe(now, &wide, out),
        }
    }

    /// Every other cycle is our neighbour's in the ring of names, so that everybody is asked every two
    /// intervals by somebody: by chance alone one in a hundred would wait for four.
    fn next_target(&mut self) -> Option<Name> {
        self.probe.at_neighbour = !self.probe.at_neighbour;
        if self.probe.at_neighbour && self.live() > NEIGHBOURS_FROM {
            return self.neighbour();
        }
        self.next_in_order()
    }

    /// Who comes after us by name, and is there.
    fn neighbour(&self) -> Option<Name> {
        let is_there = |(name, member): &(&Name, &Member)| **name != self.me && !member.is_gone();
        let after = self.members.range::<_, str>((Bound::Excluded(&*self.me), Bound::Unbounded));
        let mut ring = after.chain(self.members.range::<_, str>((Bound::Unbounded, Bound::Excluded(&*self.me))));
        ring.find(is_there).map(|(name, _)| Name::clone(name))
    }

    /// The next member in turn that is there and is not us; the order is shuffled after each round.
    fn next_in_order(&mut self) -> Option<Name> {
        for _ in 0..=self.order.len() {
            if self.probe.next >= self.order.len() {
                self.shuffle_order();
                self.probe.next = 0;
            }
            let name = self.order.get(self.probe.next)?;
            self.probe.next += 1;
            if *name != self.me && self.members.get(name).is_some_and(|member| !member.is_gone()) {
                return Some(Name::clone(name));
            }
        }
        None
    }

    fn shuffle_order(&mut self) {
        for last in (1..self.order.len()).rev() {
            let place = self.roll(last + 1);
            self.order.swap(place, last);
        }
    }

    fn begin_probe(&mut self, now: Moment, out: &mut Output) {
        let interval = self.config.timing.probe_interval;
        let Some(target) = self.next_target() else { return };
        let seq = self.next_seq();
        let Some(member) = self.members.get(&target) else { return };
        let (to, state, incarnation) = (member.address, member.state, member.incarnation);
        let me = Name::clone(&self.me);
        let ping = Message::Ping(Ping { seq, node: &target, source: Some(self.source(&me)) });
        if state == State::Alive || !self.config.timing.buddy {
            self.send(to, &[ping], out);
        } else {
            // It learns of the suspicion with the ping, and can refute at once.
            let suspect = Message::Suspect(Doubt { incarnation, node: &target, from: &me });
            self.send(to, &[ping, suspect], out);
        }
        let until = now + self.awareness.stretch(interval);
        self.deadlines.arm(Timer::Probe, now + self.config.timing.probe_timeout.min(interval) / WIDEN_AT);
        self.probe.phase = Phase::Direct(Cycle { target, seq, sent: now, until });
    }

    fn source<'a>(&self, me: &'a str) -> Source<'a> {
        Source { address: self.config.address, node: me }
    }

    fn widen_probe(&mut self, now: Moment, cycle: Cycle, out: &mut Output) {
        let Some(target) = self.members.get(&cycle.target) else {
            self.end_probe(now, &cycle);
            return;
        };
        let (address, versions) = (target.address, target.versions);
        let me = Name::clone(&self.me);
        let asked = self.some_peers(self.config.timing.indirect_probes, |member| {
            member.state == State::Alive && member.name != cycle.target
        });
        let mut nacks_expected = 0;
        for name in asked {
            let Some(member) = self.members.get(&name) else { continue };
            let nack = member.versions[1] >= NACK_PROTOCOL;
            nacks_expected += u32::from(nack);
            let to = member.address;
            let source = Some(self.source(&me));
            let ping = IndirectPing { seq: cycle.seq, target: address, node: &cycle.target, nack, source };
            self.send(to, &[Message::IndirectPing(ping)], out);
        }
        self.deadlines.arm(Timer::Probe, cycle.until.max(now));
        let wide = Wide { cycle, nacks_expected, nacks: 0, stream_acked: false, refusals: 0 };
        if versions[1] >= STREAM_PING_PROTOCOL {
            self.dial_ping(now, address, &wide.cycle, out);
        }
        self.probe.phase = Phase::Indirect(wide);
    }

    fn dial_ping(&mut self, now: Moment, to: SocketAddr, cycle: &Cycle, out: &mut Output) {
        let me = Name::clone(&self.me);
        let ping = Ping { seq: cycle.seq, node: &cycle.target, source: Some(self.source(&me)) };
        let limit = cycle.until.since(now).max(Duration::from_millis(1));
        self.dial(to, Message::Ping(ping).to_bytes(), limit, Purpose::Ping { seq: cycle.seq }, out);
    }

    /// Nobody listens there. Once may be a restart; twice, it is gone.
    pub(super) fn stream_refused(&mut self, now: Moment, seq: u32) {
        let Phase::Indirect(wide) = &mut self.probe.phase else { return };
        if wide.cycle.seq != seq {
            return;
        }
        wide.refusals += 1;
        let wait = REDIAL_AFTER.min(wide.cycle.until.since(now) / 2);
        if wide.refusals == 1 {
            self.deadlines.arm(Timer::Redial, now + wait);
        } else {
            // Judged at once: the others had time enough to tell of an ack.
            self.deadlines.arm(Timer::Probe, now);
        }
    }

    pub(super) fn redial(&mut self, now: Moment, out: &mut Output) {
        let phase = std::mem::take(&mut self.probe.phase);
        if let Phase::Indirect(wide) = &phase
            && let Some(member) = self.members.get(&wide.cycle.target)
        {
            self.dial_ping(now, member.address, &wide.cycle, out);
        }
        self.probe.phase = phase;
    }

    fn judge_probe(&mut self, now: Moment, wide: &Wide, out: &mut Output) {
        self.end_probe(now, &wide.cycle);
        let name = Name::clone(&wide.cycle.target);
        if wide.stream_acked {
            out.notices.push(Notice::Remark(Remark::PacketsLost { name }));
            return;
        }
        let Some(member) = self.members.get(&name) else { return };
        if member.is_gone() {
            return;
        }
        let incarnation = member.incarnation;
        let me = Name::clone(&self.me);
        out.notices.push(Notice::Remark(Remark::ProbeFailed { name: Name::clone(&name) }));
        if wide.refusals >= 2 {
            out.notices.push(Notice::Remark(Remark::ProcessGone { name: Name::clone(&name) }));
            self.bury(now, &Doubt { incarnation, node: &name, from: &me }, Cause::Refused, out);
            return;
        }
        // Whoever promised to tell us of its own failure and did not is a sign that we are unwell.
        let missed = wide.nacks_expected.saturating_sub(wide.nacks);
        let blame = if wide.nacks_expected > 0 { missed } else { 1 };
        self.awareness.change(i32::try_from(blame).unwrap_or(i32::MAX));
        self.on_suspect(now, &Doubt { incarnation, node: &name, from: &me }, out);
    }

    /// The next cycle starts one interval after this one did, or now when that has passed.
    fn end_probe(&mut self, now: Moment, cycle: &Cycle) {
        let next = cycle.sent + self.config.timing.probe_interval;
        let soonest = now + Duration::from_millis(1);
        self.deadlines.disarm(&Timer::Redial);
        self.deadlines.arm(Timer::Probe, next.max(soonest));
        self.probe.phase = Phase::Idle;
    }

    pub(super) fn on_ack(&mut self, now: Moment, seq: u32, payload: &[u8], out: &mut Output) {
        let ours = self.probe.cycle().is_some_and(|cycle| cycle.seq == seq);
        if !ours {
            self.relay_acked(seq, out);
            return;
        }
        if let Phase::Direct(cycle) | Phase::Indirect(Wide { cycle, .. }) = std::mem::take(&mut self.probe.phase) {
            self.awareness.change(-1);
            // Who asked for us sends no payload on, and what comes later than this measures nothing.
            let round_trip = now.since(cycle.sent);
            if round_trip <= self.config.timing.probe_timeout {
                self.take_coordinate(now, &cycle.target, round_trip, payload);
            }
            self.end_probe(now, &cycle);
        }
    }

    pub(super) fn on_nack(&mut self, seq: u32) {
        if let Phase::Indirect(wide) = &mut self.probe.phase
            && wide.cycle.seq == seq
        {
            wide.nacks += 1;
        }
    }

    /// The stream's ack came: packets are lost, but the member is there.
    pub(super) fn stream_acked(&mut self, seq: u32) {
        if let Phase::Indirect(wide) = &mut self.probe.phase
            && wide.cycle.seq == seq
        {
            wide.stream_acked = true;
        }
    }

    pub(super) fn on_ping(&mut self, from: SocketAddr, ping: &Ping<'_>, out: &mut Output) {
        if !ping.node.is_empty() && ping.node != &*self.me {
            let meant_for = ping.node.to_owned();
            out.notices.push(Notice::Remark(Remark::WrongPing { meant_for, from }));
            return;
        }
        let to = ping.source.map_or(from, |source| source.address);
        let payload = self.ack_payload();
        self.send(to, &[Message::Ack { seq: ping.seq, payload: &payload }], out);
    }
}
