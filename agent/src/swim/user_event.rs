//! Serf's user events: a name and some bytes for every member, once each, in the order of a Lamport
//! clock of their own. Told as rumours, and whole exchanges tell the last of them again.

use std::sync::Arc;

use super::broadcast::Class;
use super::codec::Message;
use super::packet::{COMPOUND_BYTES, COMPOUND_PART_BYTES, CRC_BYTES, PACKET_BYTES_MAX};
use super::recent::{Heard, Recent};
use super::wire::PastEvents;
use super::wire_event::EventMessage;
use super::{Notice, Output, Remark, Swim};

/// An event of ours, before and after it is encoded. Serf's default, which Consul keeps.
const EVENT_BYTES_MAX: usize = 512;
/// An event of others, which may allow themselves more; serf's hard limit.
const FOREIGN_BYTES_MAX: usize = 9 << 10;
/// Bytes of past events kept, at most. The lawful most of 512 events is well below.
const KEPT_BYTES_MAX: usize = 8 << 20;
/// What an entry costs beside its bytes.
const ENTRY_BYTES: usize = 64;

/// A user event as it reached us, our own too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvent {
    pub ltime: u64,
    pub name: Arc<str>,
    pub payload: Arc<[u8]>,
    /// Whoever fired it does not mind when only the last of several of its name is told.
    pub coalesce: bool,
}

/// Nothing was told to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FireRefusal {
    #[error("user event exceeds configured limit of {EVENT_BYTES_MAX} bytes before encoding")]
    TooLong,
    #[error("encoded user event exceeds configured limit of {EVENT_BYTES_MAX} bytes after encoding")]
    TooLongEncoded,
    #[error("too many user events at once, try again in a moment")]
    TooMany,
}

/// A name and a payload: two events of one time that agree in both are one.
pub(super) type Past = (Arc<str>, Arc<[u8]>);

pub(super) fn recent() -> Recent<Past> {
    Recent::new(KEPT_BYTES_MAX, |(name, payload)| name.len() + payload.len() + ENTRY_BYTES)
}

impl Swim {
    /// Tells everybody, ourselves first.
    pub(super) fn fire(
        &mut self,
        name: &str,
        payload: &[u8],
        coalesce: bool,
        out: &mut Output,
    ) -> Result<(), FireRefusal> {
        if name.len() + payload.len() > EVENT_BYTES_MAX {
            return Err(FireRefusal::TooLong);
        }
        let event = EventMessage { ltime: self.event_clock.now(), name, payload, coalesce };
        let body = event.to_bytes();
        if body.len() > EVENT_BYTES_MAX {
            return Err(FireRefusal::TooLongEncoded);
        }
        self.event_clock.advance();
        if !self.take_event(&event, out) {
            return Err(FireRefusal::TooMany);
        }
        self.pass_on(Class::Event, &body);
        Ok(())
    }

    /// One that was heard; passed on when it is news.
    pub(super) fn on_user_event(&mut self, event: &EventMessage<'_>, body: &[u8], out: &mut Output) {
        if self.take_event(event, out) {
            self.pass_on(Class::Event, body);
        }
    }

    /// True when it is news.
    fn take_event(&mut self, event: &EventMessage<'_>, out: &mut Output) -> bool {
        if event.name.len() + event.payload.len() > FOREIGN_BYTES_MAX {
            self.counters.refused += 1;
            return false;
        }
        let (name, payload): Past = (Arc::from(event.name), Arc::from(event.payload));
        self.take_past(event.ltime, event.coalesce, (name, payload), out)
    }

    fn take_past(&mut self, ltime: u64, coalesce: bool, (name, payload): Past, out: &mut Output) -> bool {
        self.event_clock.witness(ltime);
        let now = self.event_clock.now();
        match self.events.hear(now, ltime, (Arc::clone(&name), Arc::clone(&payload))) {
            Heard::News => {
                self.counters.events += 1;
                out.notices.push(Notice::UserEvent(UserEvent { ltime, name, payload, coalesce }));
                true
            }
            Heard::Old => {
                // Before the time we joined it is nothing to speak of.
                if ltime >= self.events.min_time {
                    out.notices.push(Notice::Remark(Remark::OldEvent { name, ltime, now }));
                }
                false
            }
            Heard::Refused => {
                self.counters.refused += 1;
                false
            }
            Heard::Known => false,
        }
    }

    /// What an exchange brings. Who just joined wants to hear only of what is fired from now on.
    pub(super) fn merge_events(&mut self, joining: bool, theirs: u64, past: &[PastEvents], out: &mut Output) {
        if joining {
            self.events.min_time = self.events.min_time.max(theirs);
        }
        for times in past {
            for (name, payload) in &times.events {
                if name.len() + payload.len() > FOREIGN_BYTES_MAX {
                    self.counters.refused += 1;
                    continue;
                }
                self.take_past(times.ltime, false, (Arc::clone(name), Arc::clone(payload)), out);
            }
        }
    }

    pub(super) fn past_events(&self) -> Vec<PastEvents> {
        self.events
            .all()
            .map(|(ltime, events)| PastEvents { ltime, events: events.iter().cloned().collect() })
            .collect()
    }

    /// Makes a rumour of a message of serf's, unless no packet could ever carry it.
    pub(super) fn pass_on(&mut self, class: Class, body: &[u8]) {
        let message = Message::User(body).to_bytes();
        let around = self.config.seal_bytes + CRC_BYTES + COMPOUND_BYTES + COMPOUND_PART_BYTES;
        if message.len() + around <= PACKET_BYTES_MAX {
            self.broadcasts.push(class, None, message);
        } else {
            self.counters.refused += 1;
        }
    }
}
