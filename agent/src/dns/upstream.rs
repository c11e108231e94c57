//! What is said to a recursor, and what of its answer is believed. Pure: [`super::recursor`] sends and
//! waits.
//!
//! A question keeps the client's name, flags and EDNS and gets an ID of ours. An answer counts when it
//! has that ID, repeats the question and is whole; everything else is noise, for whoever sent it may
//! have guessed. Its records are handed to the client as they are: types we know nothing of go through.

use hickory_proto::op::Message;
use hickory_proto::rr::RData;

use super::domain::Name;
use super::record::{Data, Record};
use super::request::{HEADER_LENGTH, Request, TYPE_OPT, after_name};
use super::wire::{self, Code, Response};

/// Where recursors listen when their address says nothing else.
const PORT: u16 = 53;
const SUCCESS: u16 = 0;
const NAME_ERROR: u16 = 3;
const TRUNCATED: u8 = 0x02;
/// Records of an answer of a recursor that go into one of ours.
const ALIAS_RECORDS_MAX: usize = 64;

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The name is there or is not: what the client wanted to know.
    Answer { is_truncated: bool },
    /// This recursor does not know; the code says why.
    Failure(u16),
    /// No answer to this question.
    Noise,
}

/// Host and port of a recursor: `10.0.0.1`, `10.0.0.1:53`, `::1`, `[::1]:53`, `dns.example.com`.
pub(super) fn place(text: &str) -> Result<(String, u16), String> {
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok((text.to_owned(), PORT));
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or("missing port in address")?)),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if port.is_some_and(|port| port.contains(':')) {
        return Err(format!("address {text}: too many colons in address"));
    }
    let port = match port {
        None => PORT,
        Some(port) if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(format!("address tcp/{port}: unknown port"));
        }
        Some(port) => port.parse().map_err(|_| format!("address {port}: invalid port"))?,
    };
    match host {
        // Go's and so Consul's: no host is this host.
        "" => Ok(("127.0.0.1".to_owned(), port)),
        host => Ok((host.to_owned(), port)),
    }
}

/// The packet that asks it.
pub(super) fn question(request: &Request, id: u16) -> Vec<u8> {
    let bit = |set: bool, at: u16| u16::from(set) << at;
    let flags = u16::from(request.opcode) << 11
        | bit(request.recursion_desired, 8)
        | bit(request.authentic_data, 5)
        | bit(request.checking_disabled, 4);
    let mut packet = Vec::with_capacity(wire::UDP_SIZE_MIN);
    for number in [id, flags, 1, 0, 0, u16::from(request.edns.is_some())] {
        packet.extend(number.to_be_bytes());
    }
    packet.extend(request.name.wire());
    packet.extend(u16::from(request.kind).to_be_bytes());
    packet.extend(u16::from(request.class).to_be_bytes());
    if let Some(edns) = &request.edns {
        let length = u16::try_from(edns.options.len()).unwrap_or(0);
        packet.push(0);
        packet.extend(TYPE_OPT.to_be_bytes());
        packet.extend(edns.size.to_be_bytes());
        packet.extend([0, edns.version]);
        packet.extend(edns.flags.to_be_bytes());
        packet.extend(length.to_be_bytes());
        packet.extend(edns.options.iter().take(usize::from(length)));
    }
    packet
}

/// Whether `packet` answers `request`, which was asked with `id`.
pub(super) fn judge(request: &Request, id: u16, packet: &[u8]) -> Verdict {
    match read(request, id, packet) {
        None => Verdict::Noise,
        Some(SUCCESS | NAME_ERROR) => Verdict::Answer { is_truncated: packet[2] & TRUNCATED != 0 },
        Some(code) => Verdict::Failure(code),
    }
}

/// The response code with EDNS's part of it; none when the packet does not count.
fn read(request: &Request, id: u16, packet: &[u8]) -> Option<u16> {
    let head = packet.get(..HEADER_LENGTH)?;
    let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (is_response, opcode) = (head[2] & 0x80 != 0, head[2] >> 3 & 0x0f);
    if number(0) != id || !is_response || opcode != request.opcode {
        return None;
    }
    let code = number(2) & 0x0f;
    // A server that could not read the question cannot repeat it.
    if number(4) == 0 && !matches!(code, SUCCESS | NAME_ERROR) {
        return Some(code);
    }
    let (name, mut at) = Name::read(packet, HEADER_LENGTH)?;
    let is_asked = number(4) == 1
        && name.to_lowercase() == request.name.to_lowercase()
        && packet.get(at..at + 2)? == u16::from(request.kind).to_be_bytes()
        && packet.get(at + 2..at + 4)? == u16::from(request.class).to_be_bytes();
    if !is_asked {
        return None;
    }
    at += 4;
    let mut extended = 0;
    for _ in 0..usize::from(number(6)) + usize::from(number(8)) + usize::from(number(10)) {
        at = after_name(packet, at)?;
        let fixed = packet.get(at..at + 10)?;
        if u16::from_be_bytes([fixed[0], fixed[1]]) == TYPE_OPT {
            extended = u16::from(fixed[4]) << 4;
        }
        at += 10 + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        packet.get(..at)?;
    }
    Some(extended | code)
}

/// The answer as the client gets it: its own ID, and no more than it takes.
pub(super) fn hand_over(request: &Request, mut packet: Vec<u8>, limit: usize, compress: bool) -> Vec<u8> {
    if packet.len() > limit {
        let code = if packet[3] & 0x0f == 3 { Code::NameError } else { Code::NoError };
        let empty =
            Response { code, recursion_available: true, truncated: true, with_edns: true, ..Response::default() };
        return wire::encode(request, &empty, limit, compress);
    }
    packet[..2].copy_from_slice(&request.id.to_be_bytes());
    packet
}

/// The addresses and aliases among the answers: what an alias of ours may be followed by.
pub(super) fn alias_records(packet: &[u8]) -> Vec<Record> {
    let Ok(message) = Message::from_vec(packet) else { return Vec::new() };
    let record = |record: &hickory_proto::rr::Record| {
        let data = match &record.data {
            RData::A(ip) => Data::A(ip.0),
            RData::AAAA(ip) => Data::Aaaa(ip.0),
            RData::CNAME(name) => Data::Cname(ours(&name.0)?),
            _ => return None,
        };
        Some(Record { owner: ours(&record.name)?, ttl: record.ttl, data })
    };
    message.answers.iter().filter_map(record).take(ALIAS_RECORDS_MAX).collect()
}

fn ours(name: &hickory_proto::rr::Name) -> Option<Name> {
    let mut wire = Vec::with_capacity(name.len() + 1);
    for label in name.iter() {
        wire.push(u8::try_from(label.len()).ok()?);
        wire.extend(label);
    }
    wire.push(0);
    Name::read(&wire, 0).map(|(name, _)| name)
}
