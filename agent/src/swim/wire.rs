//! Bytes <-> serf's messages, which travel inside memberlist's user messages and push/pulls.
//! Used by the state machine; knows layouts only.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::codec::NAME_BYTES_MAX;
use super::member::Name;
use super::msgpack::{Flaw, Reader, Writer};
use super::wire_event::{self, EventMessage, QueryMessage, RelayMessage, ResponseMessage, bounded};

/// The first byte of each message.
mod kind {
    pub(super) const LEAVE: u8 = 0;
    pub(super) const JOIN: u8 = 1;
    pub(super) const PUSH_PULL: u8 = 2;
}

/// Members of which a push/pull may tell, at most.
const MEMBERS_MAX: usize = 1 << 20;
/// Slots of events that a push/pull may tell, at most; serf sends 512.
const EVENT_TIMES_MAX: usize = 4096;
/// User events that one may tell, at most.
const PAST_EVENTS_MAX: usize = 1 << 16;
/// Slots of serf's buffer, each for the events of one Lamport time.
pub(super) const EVENT_SLOTS: usize = 512;

/// That a member joins or leaves, and means it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Intent<'a> {
    pub(super) leaves: bool,
    pub(super) ltime: u64,
    pub(super) node: &'a str,
    pub(super) prune: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SerfMessage<'a> {
    Intent(Intent<'a>),
    Event(EventMessage<'a>),
    Query(QueryMessage<'a>),
    Response(ResponseMessage<'a>),
    Relay(RelayMessage<'a>),
    /// A kind we do not act on.
    Other,
}

impl<'a> SerfMessage<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Flaw> {
        let (&first, body) = bytes.split_first().ok_or(Flaw::Malformed)?;
        match first {
            kind::LEAVE | kind::JOIN => {
                let mut intent = Intent { leaves: first == kind::LEAVE, ltime: 0, node: "", prune: false };
                Reader::new(body).fields(|r, key| {
                    match key {
                        b"LTime" => intent.ltime = r.uint()?,
                        b"Node" => intent.node = short_text(r)?,
                        b"Prune" => intent.prune = r.boolean()?,
                        _ => r.skip()?,
                    }
                    Ok(())
                })?;
                Ok(Self::Intent(intent))
            }
            wire_event::kind::USER_EVENT => EventMessage::read(&mut Reader::new(body)).map(Self::Event),
            wire_event::kind::QUERY => QueryMessage::read(&mut Reader::new(body)).map(Self::Query),
            wire_event::kind::QUERY_RESPONSE => ResponseMessage::read(&mut Reader::new(body)).map(Self::Response),
            wire_event::kind::RELAY => RelayMessage::read(&mut Reader::new(body)).map(Self::Relay),
            _ => Ok(Self::Other),
        }
    }
}

/// A member's name: what is longer is none, and must not be kept.
fn short_text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Flaw> {
    let name = reader.text()?;
    if name.len() > NAME_BYTES_MAX { Err(Flaw::Malformed) } else { Ok(name) }
}

fn read_name(reader: &mut Reader<'_>) -> Result<Name, Flaw> {
    short_text(reader).map(Name::from)
}

pub(super) fn write_intent(intent: &Intent<'_>) -> Vec<u8> {
    let mut out = vec![if intent.leaves { kind::LEAVE } else { kind::JOIN }];
    let mut writer = Writer(&mut out);
    writer.map(if intent.leaves { 3 } else { 2 });
    writer.field("LTime", |w| w.uint(intent.ltime));
    writer.field("Node", |w| w.text(intent.node));
    if intent.leaves {
        writer.field("Prune", |w| w.boolean(intent.prune));
    }
    out
}

/// Serf's part of a push/pull.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SerfState {
    pub(super) ltime: u64,
    pub(super) status_ltimes: BTreeMap<Name, u64>,
    pub(super) left: Vec<Name>,
    pub(super) event_ltime: u64,
    pub(super) query_ltime: u64,
    pub(super) events: Vec<PastEvents>,
}

/// User events of one Lamport time, as a push/pull tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PastEvents {
    pub(super) ltime: u64,
    /// Name and payload.
    pub(super) events: Vec<(Arc<str>, Arc<[u8]>)>,
}

impl SerfState {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Flaw> {
        let mut state = Self::default();
        if bytes.is_empty() {
            return Ok(state);
        }
        let (&kind::PUSH_PULL, body) = bytes.split_first().ok_or(Flaw::Malformed)? else {
            return Err(Flaw::Malformed);
        };
        Reader::new(body).fields(|r, key| {
            match key {
                b"LTime" => state.ltime = r.uint()?,
                b"EventLTime" => state.event_ltime = r.uint()?,
                b"QueryLTime" => state.query_ltime = r.uint()?,
                b"StatusLTimes" => {
                    for _ in 0..r.map()?.min(MEMBERS_MAX) {
                        let name = read_name(r)?;
                        state.status_ltimes.insert(name, r.uint()?);
                    }
                }
                b"LeftMembers" => {
                    for _ in 0..r.array()?.min(MEMBERS_MAX) {
                        state.left.push(read_name(r)?);
                    }
                }
                b"Events" => {
                    let mut room = PAST_EVENTS_MAX;
                    for _ in 0..bounded(r.array()?, EVENT_TIMES_MAX)? {
                        let past = read_past(r, &mut room)?;
                        // An empty slot is nil.
                        if !past.events.is_empty() {
                            state.events.push(past);
                        }
                    }
                }
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(state)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![kind::PUSH_PULL];
        let mut writer = Writer(&mut out);
        writer.map(6);
        writer.field("EventLTime", |w| w.uint(self.event_ltime));
        writer.field("Events", |w| write_past(&self.events, w));
        writer.field("LTime", |w| w.uint(self.ltime));
        writer.field("LeftMembers", |w| {
            w.array(self.left.len());
            self.left.iter().for_each(|name| w.text(name));
        });
        writer.field("QueryLTime", |w| w.uint(self.query_ltime));
        writer.field("StatusLTimes", |w| {
            w.map(self.status_ltimes.len());
            for (name, ltime) in &self.status_ltimes {
                w.field(name, |w| w.uint(*ltime));
            }
        });
        out
    }
}

fn read_past(reader: &mut Reader<'_>, room: &mut usize) -> Result<PastEvents, Flaw> {
    let mut past = PastEvents::default();
    reader.fields(|r, key| {
        match key {
            b"LTime" => past.ltime = r.uint()?,
            b"Events" => {
                for _ in 0..r.array()? {
                    *room = room.checked_sub(1).ok_or(Flaw::Malformed)?;
                    let (mut name, mut payload) = ("", &[][..]);
                    r.fields(|r, key| {
                        match key {
                            b"Name" => name = r.text()?,
                            b"Payload" => payload = r.bytes()?,
                            _ => r.skip()?,
                        }
                        Ok(())
                    })?;
                    past.events.push((Arc::from(name), Arc::from(payload)));
                }
            }
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok(past)
}

/// Each in its slot, as serf sends its buffer; nothing at all when there was never an event.
fn write_past(events: &[PastEvents], w: &mut Writer<'_>) {
    if events.is_empty() {
        return w.nil();
    }
    let mut slots: Vec<Option<&PastEvents>> = vec![None; EVENT_SLOTS];
    for past in events {
        slots[(past.ltime % EVENT_SLOTS as u64) as usize] = Some(past);
    }
    w.array(EVENT_SLOTS);
    for slot in slots {
        let Some(past) = slot else {
            w.nil();
            continue;
        };
        w.map(2);
        w.field("Events", |w| {
            w.array(past.events.len());
            for (name, payload) in &past.events {
                w.map(2);
                w.field("Name", |w| w.text(name));
                w.field("Payload", |w| w.bytes_or_nil(payload));
            }
        });
        w.field("LTime", |w| w.uint(past.ltime));
    }
}
