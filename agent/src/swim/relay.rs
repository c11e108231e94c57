//! Pinging for somebody else: what it asked, until the answer or the nack.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::codec::{IndirectPing, Message, Ping, Source};
use super::deadlines::Timer;
use super::member::Name;
use super::{Output, Swim};
use crate::moment::Moment;

/// Pings for others under way, at most.
const RELAYS_MAX: usize = 1024;

#[derive(Debug)]
struct Relay {
    asked_seq: u32,
    to: SocketAddr,
    nack: bool,
}

/// By our own sequence number.
#[derive(Debug, Default)]
pub(super) struct Relays(BTreeMap<u32, Relay>);

impl Swim {
    pub(super) fn on_indirect_ping(
        &mut self,
        now: Moment,
        from: SocketAddr,
        asked: &IndirectPing<'_>,
        out: &mut Output,
    ) {
        if self.relays.0.len() >= RELAYS_MAX {
            self.counters.refused += 1;
            return;
        }
        let seq = self.next_seq();
        let to = asked.source.map_or(from, |source| source.address);
        self.relays.0.insert(seq, Relay { asked_seq: asked.seq, to, nack: asked.nack });
        self.deadlines.arm(Timer::Relay(seq), now + self.config.timing.probe_timeout);
        let me = Name::clone(&self.me);
        let source = Some(Source { address: self.config.address, node: &me });
        self.send(asked.target, &[Message::Ping(Ping { seq, node: asked.node, source })], out);
    }

    pub(super) fn relay_acked(&mut self, seq: u32, out: &mut Output) {
        let Some(relay) = self.relays.0.remove(&seq) else { return };
        self.deadlines.disarm(&Timer::Relay(seq));
        self.send(relay.to, &[Message::Ack { seq: relay.asked_seq, payload: &[] }], out);
    }

    pub(super) fn relay_expired(&mut self, seq: u32, out: &mut Output) {
        let Some(relay) = self.relays.0.remove(&seq) else { return };
        if relay.nack {
            self.send(relay.to, &[Message::Nack { seq: relay.asked_seq }], out);
        }
    }
}
