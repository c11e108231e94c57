//! A packet from outside into a question, or the refusal it deserves. Pure.
//! Called by [`super::server`] for every packet, so it makes nothing that a question does not need.

use hickory_proto::rr::{DNSClass, RecordType};

use super::domain::Name;

pub(super) const HEADER_LENGTH: usize = 12;
pub(super) const TYPE_OPT: u16 = 41;
const OPCODE_QUERY: u8 = 0;
/// Consul answers a NOTIFY as if it were a query.
const OPCODE_NOTIFY: u8 = 4;
const FORMAT_ERROR: u8 = 1;
const NOT_IMPLEMENTED: u8 = 4;
const OPTION_LLQ: u16 = 1;
const OPTION_UPDATE_LEASE: u16 = 2;
pub(super) const OPTION_SUBNET: u16 = 8;

/// A question of one client.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) id: u16,
    pub(super) opcode: u8,
    pub(super) recursion_desired: bool,
    pub(super) checking_disabled: bool,
    /// Of no meaning to us; recursors may know what to do with it.
    pub(super) authentic_data: bool,
    pub(super) name: Name,
    pub(super) kind: RecordType,
    pub(super) class: DNSClass,
    /// None when the client knows no EDNS.
    pub(super) edns: Option<Edns>,
}

/// What a client's EDNS says: size and subnet go into our answers, all of it goes to recursors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    /// The largest packet the client takes, as it said it.
    pub(super) size: u16,
    /// RFC 7871, scope 0: the answer is the same for every network.
    pub(super) subnet: Option<Vec<u8>>,
    pub(super) version: u8,
    pub(super) flags: u16,
    /// As they were on the wire.
    pub(super) options: Vec<u8>,
}

/// Why there is no question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not even a header, or an answer: silence, for an answer could go on for ever.
    Ignore,
    /// These bytes say why.
    Reply([u8; HEADER_LENGTH]),
}

impl Request {
    pub(super) fn parse(packet: &[u8]) -> Result<Self, Refusal> {
        let header: [u8; HEADER_LENGTH] =
            packet.get(..HEADER_LENGTH).and_then(|head| head.try_into().ok()).ok_or(Refusal::Ignore)?;
        let (is_response, opcode) = (header[2] & 0x80 != 0, header[2] >> 3 & 0x0f);
        if is_response {
            return Err(Refusal::Ignore);
        }
        if !matches!(opcode, OPCODE_QUERY | OPCODE_NOTIFY) {
            return Err(Refusal::Reply(refused(header, opcode, NOT_IMPLEMENTED)));
        }
        // Limits of Consul's DNS library: more of anything is no question.
        let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        if count(4) != 1 || count(6) > 1 || count(8) > 1 || count(10) > 2 {
            return Err(Refusal::Reply(refused(header, OPCODE_QUERY, FORMAT_ERROR)));
        }
        Self::read(packet, header).ok_or(Refusal::Reply(refused(header, OPCODE_QUERY, FORMAT_ERROR)))
    }

    /// What a packet with one question asks; none when it is not whole or not well-formed.
    fn read(packet: &[u8], header: [u8; HEADER_LENGTH]) -> Option<Self> {
        let (name, at) = Name::read(packet, HEADER_LENGTH)?;
        let (kind, class) = (number(packet, at)?, number(packet, at + 2)?);
        let opcode = header[2] >> 3 & 0x0f;
        let bit = |at: usize, mask: u8| header[at] & mask != 0;
        // Consul: a reply to anything but a query says nothing of what was desired.
        let is_query = opcode == OPCODE_QUERY;
        Some(Self {
            id: u16::from_be_bytes([header[0], header[1]]),
            opcode,
            recursion_desired: is_query && bit(2, 0x01),
            checking_disabled: is_query && bit(3, 0x10),
            authentic_data: bit(3, 0x20),
            name,
            kind: RecordType::from(kind),
            class: DNSClass::from(class),
            edns: edns(packet, at + 4)?,
        })
    }

    /// A question of our own, to resolve a name that stands for an address.
    pub(super) fn inner(name: Name, kind: RecordType) -> Self {
        Self {
            id: 0,
            opcode: OPCODE_QUERY,
            recursion_desired: false,
            checking_disabled: false,
            authentic_data: false,
            name,
            kind,
            class: DNSClass::IN,
            edns: None,
        }
    }
}

/// What the records after the question say of EDNS, if they do; none when they are not well-formed.
/// RFC 6891: there is one such record at most, among the additional ones, and the root is its owner.
fn edns(packet: &[u8], mut at: usize) -> Option<Option<Edns>> {
    let count = |at: usize| number(packet, at).map(usize::from);
    let before = count(6)? + count(8)?;
    let mut found = None;
    for index in 0..before + count(10)? {
        let owner = *packet.get(at)?;
        at = after_name(packet, at)?;
        let fixed = packet.get(at..at + 10)?;
        let field = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let data = packet.get(at + 10..at + 10 + usize::from(field(8)))?;
        at += 10 + data.len();
        if field(0) != TYPE_OPT {
            continue;
        }
        if index < before || owner != 0 || found.is_some() {
            return None;
        }
        let subnet = options(data)?;
        found = Some(Edns { size: field(2), subnet, version: fixed[5], flags: field(6), options: data.to_vec() });
    }
    Some(found)
}

/// The client's subnet among options, if it is there; none when one of them is not well-formed.
fn options(mut rest: &[u8]) -> Option<Option<Vec<u8>>> {
    let mut found = None;
    while !rest.is_empty() {
        let (code, length) = (number(rest, 0)?, usize::from(number(rest, 2)?));
        let (option, after) = rest.get(4..)?.split_at_checked(length)?;
        match (code, length) {
            // Lengths of Consul's DNS library.
            (OPTION_LLQ, ..18) | (OPTION_UPDATE_LEASE, ..4) => return None,
            (OPTION_SUBNET, _) => {
                let subnet = subnet(option)?;
                found.get_or_insert(subnet);
            }
            _ => {}
        }
        rest = after;
    }
    Some(found)
}

/// A client's subnet as our answer repeats it: of the address what the prefix holds and no more.
fn subnet(option: &[u8]) -> Option<Vec<u8>> {
    let [family_high, family, prefix, scope, given @ ..] = option else { return None };
    let bits_max = match (family_high, family) {
        // Consul: no family is no network.
        (0, 0) => 0,
        (0, 1) => 32,
        (0, 2) => 128,
        _ => return None,
    };
    if *prefix > bits_max || *scope > bits_max {
        return None;
    }
    let mut out = vec![0, *family, *prefix, 0];
    let bytes = usize::from(prefix.div_ceil(8));
    out.extend(given.iter().copied().chain(std::iter::repeat(0)).take(bytes));
    if let (1.., Some(last)) = (prefix % 8, out.last_mut()) {
        *last &= u8::MAX << (8 - prefix % 8);
    }
    Some(out)
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Where a name ends; pointers are not followed, so nothing goes round.
pub(super) fn after_name(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *packet.get(at)? {
            0 => return Some(at + 1),
            0xc0.. => return Some(at + 2),
            length @ 1..=63 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

/// A header and nothing else, with the client's ID and flags.
fn refused(mut header: [u8; HEADER_LENGTH], opcode: u8, code: u8) -> [u8; HEADER_LENGTH] {
    const RESPONSE: u8 = 0x80;
    const KEPT_FLAGS: u8 = 0x03;
    header[2] = RESPONSE | opcode << 3 | header[2] & KEPT_FLAGS;
    header[3] = header[3] & 0xb0 | code;
    header[4..].fill(0);
    header
}
