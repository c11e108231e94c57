//! Bytes <-> messages of memberlist: one type byte, then a map keyed by field name.
//!
//! Used by `packet` and `stream` (how messages are wrapped) and by the state machine.
//! Messages borrow from the packet they came in; what is kept is copied where it is kept.
//! Knows layouts and lengths, and nothing of what a message means.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub use super::msgpack::Flaw;
use super::msgpack::{Reader, Writer};

/// The type byte of each message.
pub mod kind {
    pub const PING: u8 = 0;
    pub const INDIRECT_PING: u8 = 1;
    pub const ACK: u8 = 2;
    pub const SUSPECT: u8 = 3;
    pub const ALIVE: u8 = 4;
    pub const DEAD: u8 = 5;
    pub const PUSH_PULL: u8 = 6;
    pub const COMPOUND: u8 = 7;
    pub const USER: u8 = 8;
    pub const COMPRESS: u8 = 9;
    pub const ENCRYPT: u8 = 10;
    pub const NACK: u8 = 11;
    pub const HAS_CRC: u8 = 12;
    pub const ERROR: u8 = 13;
    pub const LABEL: u8 = 244;
}

/// The longest name, and the longest metadata, that a member may have.
pub const NAME_BYTES_MAX: usize = 255;
pub const META_BYTES_MAX: usize = 512;

/// Who asks, so that the answer goes to its listening socket whatever the packet's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    pub address: SocketAddr,
    pub node: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping<'a> {
    pub seq: u32,
    /// Whom it is meant for; another who got it does not answer.
    pub node: &'a str,
    pub source: Option<Source<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndirectPing<'a> {
    pub seq: u32,
    pub target: SocketAddr,
    pub node: &'a str,
    /// The asker wants to be told when the target is silent.
    pub nack: bool,
    pub source: Option<Source<'a>>,
}

/// A suspicion or a death, which differ in nothing but the type byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt<'a> {
    pub incarnation: u32,
    pub node: &'a str,
    pub from: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alive<'a> {
    pub incarnation: u32,
    pub node: &'a str,
    pub address: SocketAddr,
    pub meta: &'a [u8],
    /// Protocol lowest, highest, spoken; delegate lowest, highest, spoken.
    pub versions: [u8; 6],
}

/// A member's state on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    Alive,
    Suspect,
    Dead,
    Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Ping(Ping<'a>),
    IndirectPing(IndirectPing<'a>),
    Ack { seq: u32, payload: &'a [u8] },
    Nack { seq: u32 },
    Suspect(Doubt<'a>),
    Alive(Alive<'a>),
    Dead(Doubt<'a>),
    User(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Reads one bare message of a packet.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Flaw> {
        let (&kind, body) = bytes.split_first().ok_or(Flaw::Malformed)?;
        let mut reader = Reader::new(body);
        match kind {
            kind::PING => read_ping(&mut reader).map(Self::Ping),
            kind::INDIRECT_PING => read_indirect_ping(&mut reader).map(Self::IndirectPing),
            kind::ACK => read_ack(&mut reader).map(|(seq, payload)| Self::Ack { seq, payload }),
            kind::NACK => read_ack(&mut reader).map(|(seq, _)| Self::Nack { seq }),
            kind::SUSPECT => read_doubt(&mut reader).map(Self::Suspect),
            kind::ALIVE => read_member(&mut reader).map(|(alive, _)| Self::Alive(alive)),
            kind::DEAD => read_doubt(&mut reader).map(Self::Dead),
            kind::USER => Ok(Self::User(body)),
            _ => Err(Flaw::Malformed),
        }
    }

    /// Appends the message, type byte first.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ping(ping) => write_ping(ping, out),
            Self::IndirectPing(ping) => write_indirect_ping(ping, out),
            Self::Ack { seq, payload } => write_ack(*seq, payload, out),
            Self::Nack { seq } => {
                out.push(kind::NACK);
                let mut writer = Writer(out);
                writer.map(1);
                writer.field("SeqNo", |w| w.uint(u64::from(*seq)));
            }
            Self::Suspect(doubt) => write_doubt(kind::SUSPECT, doubt, out),
            Self::Dead(doubt) => write_doubt(kind::DEAD, doubt, out),
            Self::Alive(alive) => write_alive(alive, out),
            Self::User(body) => {
                out.push(kind::USER);
                out.extend(*body);
            }
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        self.write(&mut out);
        out
    }
}

/// 4 or 16 bytes; a v4 address mapped into v6 is the v4 one.
pub(super) fn to_ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(four)));
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(sixteen)).to_canonical())
}

pub(super) fn ip_bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(four) => four.octets().to_vec(),
        IpAddr::V6(six) => six.octets().to_vec(),
    }
}

fn name<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Flaw> {
    let name = reader.text()?;
    if name.len() > NAME_BYTES_MAX { Err(Flaw::Malformed) } else { Ok(name) }
}

/// The three fields that tell who asks, as they come in.
#[derive(Default)]
struct SourceFields<'a> {
    address: &'a [u8],
    port: u16,
    node: &'a str,
}

impl<'a> SourceFields<'a> {
    fn read(&mut self, reader: &mut Reader<'a>, key: &[u8]) -> Result<(), Flaw> {
        match key {
            b"SourceAddr" => self.address = reader.bytes()?,
            b"SourcePort" => self.port = reader.uint()?,
            b"SourceNode" => self.node = name(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<Source<'a>> {
        let ip = to_ip(self.address)?;
        (self.port != 0).then_some(Source { address: SocketAddr::new(ip, self.port), node: self.node })
    }
}

fn read_ping<'a>(reader: &mut Reader<'a>) -> Result<Ping<'a>, Flaw> {
    let (mut seq, mut node, mut source) = (0, "", SourceFields::default());
    reader.fields(|r, key| {
        match key {
            b"SeqNo" => seq = r.uint()?,
            b"Node" => node = name(r)?,
            _ => source.read(r, key)?,
        }
        Ok(())
    })?;
    Ok(Ping { seq, node, source: source.finish() })
}

fn read_indirect_ping<'a>(reader: &mut Reader<'a>) -> Result<IndirectPing<'a>, Flaw> {
    let (mut seq, mut node, mut target, mut port, mut nack) = (0, "", &[][..], 0, false);
    let mut source = SourceFields::default();
    reader.fields(|r, key| {
        match key {
            b"SeqNo" => seq = r.uint()?,
            b"Node" => node = name(r)?,
            b"Target" => target = r.bytes()?,
            b"Port" => port = r.uint()?,
            b"Nack" => nack = r.boolean()?,
            _ => source.read(r, key)?,
        }
        Ok(())
    })?;
    let ip = to_ip(target).ok_or(Flaw::Malformed)?;
    Ok(IndirectPing { seq, node, target: SocketAddr::new(ip, port), nack, source: source.finish() })
}

fn read_ack<'a>(reader: &mut Reader<'a>) -> Result<(u32, &'a [u8]), Flaw> {
    let (mut seq, mut payload) = (0, &[][..]);
    reader.fields(|r, key| {
        match key {
            b"SeqNo" => seq = r.uint()?,
            b"Payload" => payload = r.bytes()?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok((seq, payload))
}

fn read_doubt<'a>(reader: &mut Reader<'a>) -> Result<Doubt<'a>, Flaw> {
    let mut doubt = Doubt { incarnation: 0, node: "", from: "" };
    reader.fields(|r, key| {
        match key {
            b"Incarnation" => doubt.incarnation = r.uint()?,
            b"Node" => doubt.node = name(r)?,
            b"From" => doubt.from = name(r)?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok(doubt)
}

/// An alive message, or one member of a push/pull, whose name field is called `Name`.
pub(super) fn read_member<'a>(reader: &mut Reader<'a>) -> Result<(Alive<'a>, State), Flaw> {
    let (mut incarnation, mut node, mut ip, mut port, mut meta) = (0, "", &[][..], 0, &[][..]);
    let (mut versions, mut state) = ([0; 6], 0u8);
    reader.fields(|r, key| {
        match key {
            b"Incarnation" => incarnation = r.uint()?,
            b"Node" | b"Name" => node = name(r)?,
            b"Addr" => ip = r.bytes()?,
            b"Port" => port = r.uint()?,
            b"Meta" => meta = r.bytes()?,
            b"State" => state = r.uint()?,
            b"Vsn" => versions = <[u8; 6]>::try_from(r.bytes()?).unwrap_or_default(),
            _ => r.skip()?,
        }
        Ok(())
    })?;
    let state = match state {
        0 => State::Alive,
        1 => State::Suspect,
        2 => State::Dead,
        3 => State::Left,
        _ => return Err(Flaw::Malformed),
    };
    if meta.len() > META_BYTES_MAX || node.is_empty() {
        return Err(Flaw::Malformed);
    }
    let address = SocketAddr::new(to_ip(ip).ok_or(Flaw::Malformed)?, port);
    Ok((Alive { incarnation, node, address, meta, versions }, state))
}

fn write_source(source: &Option<Source<'_>>, writer: &mut Writer<'_>) {
    if let Some(source) = source {
        writer.field("SourceAddr", |w| w.bytes(&ip_bytes(source.address.ip())));
        writer.field("SourceNode", |w| w.text(source.node));
        writer.field("SourcePort", |w| w.uint(u64::from(source.address.port())));
    }
}

fn write_ping(ping: &Ping<'_>, out: &mut Vec<u8>) {
    out.push(kind::PING);
    let mut writer = Writer(out);
    writer.map(if ping.source.is_some() { 5 } else { 2 });
    writer.field("Node", |w| w.text(ping.node));
    writer.field("SeqNo", |w| w.uint(u64::from(ping.seq)));
    write_source(&ping.source, &mut writer);
}

fn write_indirect_ping(ping: &IndirectPing<'_>, out: &mut Vec<u8>) {
    out.push(kind::INDIRECT_PING);
    let mut writer = Writer(out);
    writer.map(if ping.source.is_some() { 8 } else { 5 });
    writer.field("Nack", |w| w.boolean(ping.nack));
    writer.field("Node", |w| w.text(ping.node));
    writer.field("Port", |w| w.uint(u64::from(ping.target.port())));
    writer.field("SeqNo", |w| w.uint(u64::from(ping.seq)));
    write_source(&ping.source, &mut writer);
    writer.field("Target", |w| w.bytes(&ip_bytes(ping.target.ip())));
}

fn write_ack(seq: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.push(kind::ACK);
    let mut writer = Writer(out);
    writer.map(2);
    writer.field("Payload", |w| if payload.is_empty() { w.nil() } else { w.bytes(payload) });
    writer.field("SeqNo", |w| w.uint(u64::from(seq)));
}

fn write_doubt(kind: u8, doubt: &Doubt<'_>, out: &mut Vec<u8>) {
    out.push(kind);
    let mut writer = Writer(out);
    writer.map(3);
    writer.field("From", |w| w.text(doubt.from));
    writer.field("Incarnation", |w| w.uint(u64::from(doubt.incarnation)));
    writer.field("Node", |w| w.text(doubt.node));
}

fn write_alive(alive: &Alive<'_>, out: &mut Vec<u8>) {
    out.push(kind::ALIVE);
    let mut writer = Writer(out);
    writer.map(6);
    writer.field("Addr", |w| w.bytes(&ip_bytes(alive.address.ip())));
    writer.field("Incarnation", |w| w.uint(u64::from(alive.incarnation)));
    writer.field("Meta", |w| w.bytes(alive.meta));
    writer.field("Node", |w| w.text(alive.node));
    writer.field("Port", |w| w.uint(u64::from(alive.address.port())));
    writer.field("Vsn", |w| w.bytes(&alive.versions));
}

/// One member of a push/pull.
pub(super) fn write_member(member: &Alive<'_>, state: State, out: &mut Vec<u8>) {
    let mut writer = Writer(out);
    writer.map(7);
    writer.field("Addr", |w| w.bytes(&ip_bytes(member.address.ip())));
    writer.field("Incarnation", |w| w.uint(u64::from(member.incarnation)));
    writer.field("Meta", |w| w.bytes(member.meta));
    writer.field("Name", |w| w.text(member.node));
    writer.field("Port", |w| w.uint(u64::from(member.address.port())));
    writer.field("State", |w| w.uint(state as u64));
    writer.field("Vsn", |w| w.bytes(&member.versions));
}
