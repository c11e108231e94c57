//! Bytes <-> serf's messages, which travel inside memberlist's user messages and push/pulls.
//! Used by the state machine; knows layouts only.

use std::collections::BTreeMap;

use super::codec::NAME_BYTES_MAX;
use super::member::Name;
use super::msgpack::{Flaw, Reader, Writer};

/// The first byte of each message.
mod kind {
    pub(super) const LEAVE: u8 = 0;
    pub(super) const JOIN: u8 = 1;
    pub(super) const PUSH_PULL: u8 = 2;
}

/// Members of which a push/pull may tell, at most.
const MEMBERS_MAX: usize = 1 << 20;

/// That a member joins or leaves, and means it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Intent<'a> {
    pub(super) leaves: bool,
    pub(super) ltime: u64,
    pub(super) node: &'a str,
    pub(super) prune: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SerfMessage<'a> {
    Intent(Intent<'a>),
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
        writer.field("Events", |w| w.nil());
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
