//! Hearing packets, telling rumours, and which timers should run at all.

use std::net::SocketAddr;
use std::sync::Arc;

use rand::Rng;
use rand::seq::SliceRandom;

use super::broadcast::{Carrier, Class, Times};
use super::codec::{Message, State};
use super::deadlines::Timer;
use super::member::{Member, Name};
use super::packet::{
    COMPOUND_BYTES, COMPOUND_PART_BYTES, COMPOUND_PARTS_MAX, CRC_BYTES, CRC_PROTOCOL, PACKET_BYTES_MAX, pack, unpack,
};
use super::wire::SerfMessage;
use super::{Output, Packet, Swim};
use crate::moment::Moment;

/// While we leave, rumours are told this much faster: nothing else is left to do.
const LEAVING_HURRY: u32 = 10;
/// And this much otherwise: each rumour is told no more often for it, and packets that many rumours fill
/// would not be fuller on the beat.
const HURRY: u32 = 4;
/// Up to so many members all are looked at when peers are drawn; beyond, places are drawn.
const SCANNED_MAX: usize = 64;

impl Swim {
    /// A number below `limit`, which is not 0.
    pub(super) fn roll(&mut self, limit: usize) -> usize {
        self.dice.random_range(0..limit.max(1))
    }

    /// Up to `count` others for which `wanted` holds, drawn at random.
    pub(super) fn some_peers(&mut self, count: usize, wanted: impl Fn(&Member) -> bool) -> Vec<Name> {
        let (members, me) = (&self.members, &self.me);
        let is_wanted = |name: &Name| name != me && members.get(name).is_some_and(&wanted);
        if self.order.len() <= SCANNED_MAX {
            let mut all: Vec<Name> = self.order.iter().filter(|name| is_wanted(name)).map(Name::clone).collect();
            let (drawn, _) = all.partial_shuffle(&mut self.dice, count);
            return drawn.to_vec();
        }
        let mut drawn: Vec<Name> = Vec::with_capacity(count);
        for _ in 0..count * 16 {
            let name = &self.order[self.dice.random_range(0..self.order.len())];
            if !drawn.contains(name) && is_wanted(name) {
                drawn.push(Name::clone(name));
                if drawn.len() == count {
                    break;
                }
            }
        }
        drawn
    }

    /// The next `count` others in turn for which `wanted` holds. In turn and not drawn: a rumour told
    /// eight times then reaches eight members, and in a small pool all, from its first teller alone.
    fn next_listeners(&mut self, count: usize, wanted: impl Fn(&Member) -> bool) -> Vec<Name> {
        let mut listeners = Vec::with_capacity(count);
        for _ in 0..self.order.len() {
            if listeners.len() == count {
                break;
            }
            self.next_listener = if self.next_listener + 1 < self.order.len() { self.next_listener + 1 } else { 0 };
            let name = &self.order[self.next_listener];
            if *name != self.me && self.members.get(name).is_some_and(&wanted) {
                listeners.push(Name::clone(name));
            }
        }
        listeners
    }

    /// One packet from the network.
    pub(super) fn hear(&mut self, now: Moment, from: SocketAddr, bytes: &[u8], out: &mut Output) {
        let mut malformed = 0;
        let outcome = unpack(bytes, &mut |bare| match Message::read(bare) {
            Ok(message) => self.obey(now, from, &message, out),
            Err(_) => malformed += 1,
        });
        self.counters.malformed += malformed + u64::from(outcome.is_err());
    }

    fn obey(&mut self, now: Moment, from: SocketAddr, message: &Message<'_>, out: &mut Output) {
        match message {
            Message::Ping(ping) => self.on_ping(from, ping, out),
            Message::IndirectPing(ping) => self.on_indirect_ping(now, from, ping, out),
            Message::Ack { seq, payload } => self.on_ack(now, *seq, payload, out),
            Message::Nack { seq } => self.on_nack(*seq),
            Message::Suspect(doubt) => self.on_suspect(now, doubt, out),
            Message::Alive(alive) => self.on_alive(now, alive, out),
            Message::Dead(doubt) => self.on_dead(now, doubt, out),
            Message::User(body) => self.hear_user(now, from, body, out),
        }
    }

    pub(super) fn hear_user(&mut self, now: Moment, from: SocketAddr, body: &[u8], out: &mut Output) {
        let _ = from;
        match SerfMessage::read(body) {
            Ok(SerfMessage::Intent(intent)) => self.on_intent(now, &intent, out),
            Ok(SerfMessage::Event(event)) => self.on_user_event(&event, body, out),
            Ok(SerfMessage::Query(query)) => self.on_query(now, &query, body, out),
            Ok(SerfMessage::Response(response)) => self.on_response(now, &response, out),
            Ok(SerfMessage::Relay(relay)) => self.on_relay(&relay, out),
            Ok(SerfMessage::Other) => {}
            Err(_) => self.counters.malformed += 1,
        }
    }

    /// Sends `first`, with as many rumours as fit beside it. Without a CRC, as memberlist: what is said to
    /// one member is short, and the kernel sums it up already.
    pub(super) fn send(&mut self, to: SocketAddr, first: &[Message<'_>], out: &mut Output) {
        let mut parts: Vec<Arc<[u8]>> = first.iter().map(|message| Arc::from(message.to_bytes())).collect();
        let used: usize = parts.iter().map(|part| part.len() + COMPOUND_PART_BYTES).sum();
        parts.extend(self.take_rumours(Carrier::Ride, used, parts.len()));
        out.packets.push(Packet { to, bytes: pack(&parts, false) });
    }

    fn take_rumours(&mut self, carrier: Carrier, used: usize, parts: usize) -> Vec<Arc<[u8]>> {
        let room = PACKET_BYTES_MAX.saturating_sub(self.config.seal_bytes + CRC_BYTES + COMPOUND_BYTES + used);
        let live = self.live().max(1);
        let times = Times::new(self.config.timing.transmits_max(live));
        self.broadcasts.take(carrier, room, COMPOUND_PARTS_MAX - parts.min(COMPOUND_PARTS_MAX), times)
    }

    /// Tells rumours to a few members, the lately dead included: they may want to refute.
    pub(super) fn gossip(&mut self, now: Moment, out: &mut Output) {
        self.last_gossip = Some(now);
        let kept = self.config.timing.gossip_to_the_dead;
        let count = self.config.timing.gossip_nodes;
        for name in self.next_listeners(count, |member| !member.is_gone() || now.since(member.changed) <= kept) {
            let Some(member) = self.members.get(&name) else { continue };
            let (to, crc) = (member.address, knows_crc(member));
            let parts = self.take_rumours(Carrier::Gossip, 0, 0);
            if parts.is_empty() {
                break;
            }
            out.packets.push(Packet { to, bytes: pack(&parts, crc) });
        }
    }

    /// Arms what should run and disarms what should not. A pool of one runs no timer.
    pub(super) fn schedule(&mut self, now: Moment, out: &mut Output) {
        self.check_leave(now, out);
        self.broadcasts.end_rides(now);
        let has_peers = self.has_live_peers();
        self.schedule_gossip(now, has_peers);
        if has_peers && !self.is_left() {
            if self.deadlines.at(&Timer::Probe).is_none() {
                let after = self.config.timing.probe_interval.mul_f64(self.dice.random_range(0.0..1.0));
                self.deadlines.arm(Timer::Probe, now + after);
            }
            if self.deadlines.at(&Timer::PushPull).is_none() {
                // Before the first a time of chance more, so that not all compare in step: as memberlist.
                let every = self.config.timing.push_pull_after(self.live());
                let after = every.mul_f64(self.dice.random_range(1.0..2.0));
                self.deadlines.arm(Timer::PushPull, now + after);
            }
        } else {
            self.deadlines.disarm(&Timer::PushPull);
            if self.probe.is_idle() {
                self.deadlines.disarm(&Timer::Probe);
            }
        }
        if self.failed == 0 || self.leave.is_leaving() {
            self.deadlines.disarm(&Timer::Reconnect);
        } else if self.deadlines.at(&Timer::Reconnect).is_none() {
            self.deadlines.arm(Timer::Reconnect, now + self.config.timing.reconnect_interval);
        }
    }

    fn schedule_gossip(&mut self, now: Moment, has_peers: bool) {
        let kept = self.config.timing.gossip_to_the_dead;
        let lately_gone = self.last_gone.is_some_and(|at| now.since(at) <= kept);
        if self.broadcasts.is_told() || !(has_peers || lately_gone) {
            self.deadlines.disarm(&Timer::Gossip);
            return;
        }
        if self.deadlines.at(&Timer::Gossip).is_some() {
            return;
        }
        let hurry = if self.leave.is_leaving() { LEAVING_HURRY } else { HURRY };
        let interval = self.config.timing.gossip_interval / hurry;
        // News after a silence is told at once: waiting for a beat would only add delay.
        let at = self.last_gossip.map_or(now, |last| (last + interval).max(now));
        self.deadlines.arm(Timer::Gossip, at);
    }

    /// Nothing more is told about somebody who is no longer listed.
    pub(super) fn broadcasts_about(&mut self, name: &Name) {
        self.broadcasts.forget(&(Class::Membership, Name::clone(name)));
    }
}

fn knows_crc(member: &Member) -> bool {
    member.versions[1] >= CRC_PROTOCOL && member.state != State::Left
}
