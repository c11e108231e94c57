//! Bytes <-> serf's user events and queries, with all that belongs to them.
//! Used by `wire` on the way in and by `user_event`, `query` and `key` on the way out. Knows layouts only.

use std::net::{IpAddr, SocketAddr};

use super::codec::{NAME_BYTES_MAX, ip_bytes, to_ip};
use super::msgpack::{Flaw, Reader, Writer};

/// The first byte of each message, after serf's join, leave and push/pull.
pub(super) mod kind {
    pub(in crate::swim) const USER_EVENT: u8 = 3;
    pub(in crate::swim) const QUERY: u8 = 4;
    pub(in crate::swim) const QUERY_RESPONSE: u8 = 5;
    pub(in crate::swim) const RELAY: u8 = 9;
}

/// Filters of one query, at most.
const FILTERS_MAX: usize = 64;
/// Names in a filter, at most.
pub(super) const FILTER_NAMES_MAX: usize = 256;

/// A query wants every member that takes it to say so at once.
pub(super) const FLAG_ACK: u32 = 1;
/// A query is not to be passed on.
pub(super) const FLAG_NO_BROADCAST: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventMessage<'a> {
    pub(super) ltime: u64,
    pub(super) name: &'a str,
    pub(super) payload: &'a [u8],
    /// Receivers may tell only the last of several of one name.
    pub(super) coalesce: bool,
}

impl<'a> EventMessage<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Flaw> {
        let mut event = Self { ltime: 0, name: "", payload: &[], coalesce: false };
        reader.fields(|r, key| {
            match key {
                b"LTime" => event.ltime = r.uint()?,
                b"Name" => event.name = r.text()?,
                b"Payload" => event.payload = r.bytes()?,
                b"CC" => event.coalesce = r.boolean()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(event)
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut out = vec![kind::USER_EVENT];
        let mut writer = Writer(&mut out);
        writer.map(4);
        writer.field("CC", |w| w.boolean(self.coalesce));
        writer.field("LTime", |w| w.uint(self.ltime));
        writer.field("Name", |w| w.text(self.name));
        writer.field("Payload", |w| w.bytes_or_nil(self.payload));
        out
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueryMessage<'a> {
    pub(super) ltime: u64,
    pub(super) id: u32,
    /// Where answers go.
    pub(super) from: SocketAddr,
    pub(super) node: &'a str,
    /// Encoded: see [`Filter`].
    pub(super) filters: Vec<&'a [u8]>,
    pub(super) flags: u32,
    pub(super) relay_factor: u8,
    pub(super) timeout_nanos: u64,
    pub(super) name: &'a str,
    pub(super) payload: &'a [u8],
}

impl<'a> QueryMessage<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Flaw> {
        let (mut ip, mut port) = (&[][..], 0u16);
        let (mut ltime, mut id, mut node, mut filters) = (0, 0, "", Vec::new());
        let (mut flags, mut relay_factor, mut timeout) = (0, 0, 0i64);
        let (mut name, mut payload) = ("", &[][..]);
        reader.fields(|r, key| {
            match key {
                b"LTime" => ltime = r.uint()?,
                b"ID" => id = r.uint()?,
                b"Addr" => ip = r.bytes()?,
                b"Port" => port = r.uint()?,
                b"SourceNode" => node = r.text()?,
                b"Filters" => {
                    for _ in 0..bounded(r.array()?, FILTERS_MAX)? {
                        filters.push(r.bytes()?);
                    }
                }
                b"Flags" => flags = r.uint()?,
                b"RelayFactor" => relay_factor = r.uint()?,
                b"Timeout" => timeout = r.int()?,
                b"Name" => name = r.text()?,
                b"Payload" => payload = r.bytes()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        let from = SocketAddr::new(to_ip(ip).ok_or(Flaw::Malformed)?, port);
        let timeout_nanos = u64::try_from(timeout).unwrap_or(0);
        if node.len() > NAME_BYTES_MAX {
            return Err(Flaw::Malformed);
        }
        Ok(Self { ltime, id, from, node, filters, flags, relay_factor, timeout_nanos, name, payload })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![kind::QUERY];
        let mut writer = Writer(&mut out);
        writer.map(11);
        writer.field("Addr", |w| w.bytes(&ip_bytes(self.from.ip())));
        writer.field("Filters", |w| {
            if self.filters.is_empty() {
                return w.nil();
            }
            w.array(self.filters.len());
            self.filters.iter().for_each(|filter| w.bytes(filter));
        });
        writer.field("Flags", |w| w.uint(u64::from(self.flags)));
        writer.field("ID", |w| w.uint(u64::from(self.id)));
        writer.field("LTime", |w| w.uint(self.ltime));
        writer.field("Name", |w| w.text(self.name));
        writer.field("Payload", |w| w.bytes_or_nil(self.payload));
        writer.field("Port", |w| w.uint(u64::from(self.from.port())));
        writer.field("RelayFactor", |w| w.uint(u64::from(self.relay_factor)));
        writer.field("SourceNode", |w| w.text(self.node));
        writer.field("Timeout", |w| w.uint(self.timeout_nanos));
        out
    }
}

/// More than `limit` is no message of a pool.
pub(super) fn bounded(count: usize, limit: usize) -> Result<usize, Flaw> {
    if count > limit { Err(Flaw::Malformed) } else { Ok(count) }
}

/// Who is meant by a query: one type byte, then the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filter<'a> {
    Nodes(Vec<&'a str>),
    /// A tag's value must match.
    Tag {
        tag: &'a str,
        expression: &'a str,
    },
}

impl<'a> Filter<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Flaw> {
        let (&first, body) = bytes.split_first().ok_or(Flaw::Malformed)?;
        let mut reader = Reader::new(body);
        match first {
            0 => {
                let mut names = Vec::new();
                for _ in 0..bounded(reader.array()?, FILTER_NAMES_MAX)? {
                    names.push(reader.text()?);
                }
                Ok(Self::Nodes(names))
            }
            1 => {
                let (mut tag, mut expression) = ("", "");
                reader.fields(|r, key| {
                    match key {
                        b"Tag" => tag = r.text()?,
                        b"Expr" => expression = r.text()?,
                        _ => r.skip()?,
                    }
                    Ok(())
                })?;
                Ok(Self::Tag { tag, expression })
            }
            _ => Err(Flaw::Malformed),
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Nodes(names) => {
                let mut out = vec![0];
                let mut writer = Writer(&mut out);
                writer.array(names.len());
                names.iter().for_each(|name| writer.text(name));
                out
            }
            Self::Tag { tag, expression } => {
                let mut out = vec![1];
                let mut writer = Writer(&mut out);
                writer.map(2);
                writer.field("Expr", |w| w.text(expression));
                writer.field("Tag", |w| w.text(tag));
                out
            }
        }
    }
}

/// An answer to a query, or with [`FLAG_ACK`] the word that it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResponseMessage<'a> {
    pub(super) ltime: u64,
    pub(super) id: u32,
    pub(super) from: &'a str,
    pub(super) flags: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> ResponseMessage<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Flaw> {
        let mut response = Self { ltime: 0, id: 0, from: "", flags: 0, payload: &[] };
        reader.fields(|r, key| {
            match key {
                b"LTime" => response.ltime = r.uint()?,
                b"ID" => response.id = r.uint()?,
                b"From" => response.from = r.text()?,
                b"Flags" => response.flags = r.uint()?,
                b"Payload" => response.payload = r.bytes()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        if response.from.len() > NAME_BYTES_MAX { Err(Flaw::Malformed) } else { Ok(response) }
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut out = vec![kind::QUERY_RESPONSE];
        let mut writer = Writer(&mut out);
        writer.map(5);
        writer.field("Flags", |w| w.uint(u64::from(self.flags)));
        writer.field("From", |w| w.text(self.from));
        writer.field("ID", |w| w.uint(u64::from(self.id)));
        writer.field("LTime", |w| w.uint(self.ltime));
        writer.field("Payload", |w| w.bytes_or_nil(self.payload));
        out
    }
}

/// A message that is to be passed on, as it is, to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RelayMessage<'a> {
    pub(super) to: SocketAddr,
    pub(super) node: &'a str,
    pub(super) body: &'a [u8],
}

impl<'a> RelayMessage<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Flaw> {
        let (mut ip, mut port, mut node) = (&[][..], 0u16, "");
        reader.fields(|r, key| {
            match key {
                b"DestAddr" => r.fields(|r, key| {
                    match key {
                        b"IP" => ip = r.bytes()?,
                        b"Port" => port = r.uint()?,
                        _ => r.skip()?,
                    }
                    Ok(())
                })?,
                b"DestName" => node = r.text()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        let to = SocketAddr::new(to_ip(ip).ok_or(Flaw::Malformed)?, port);
        Ok(Self { to, node, body: reader.rest() })
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut out = vec![kind::RELAY];
        let mut writer = Writer(&mut out);
        writer.map(2);
        writer.field("DestAddr", |w| {
            w.map(3);
            w.field("IP", |w| w.bytes(&ip_bytes(self.to.ip())));
            w.field("Port", |w| w.uint(u64::from(self.to.port())));
            w.field("Zone", |w| w.text(""));
        });
        writer.field("DestName", |w| w.text(self.node));
        out.extend(self.body);
        out
    }
}

/// The address a member's record gives, of an answer to a question about a name.
pub(super) fn read_claimed_address(reader: &mut Reader<'_>) -> Result<Option<SocketAddr>, Flaw> {
    let (mut ip, mut port) = (&[][..], 0u16);
    reader.fields(|r, key| {
        match key {
            b"Addr" => ip = r.bytes()?,
            b"Port" => port = r.uint()?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok(to_ip(ip).map(|ip: IpAddr| SocketAddr::new(ip, port)))
}
