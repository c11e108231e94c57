//! A packet from outside into a question, or the refusal it deserves. Pure.
//! Called by [`super::server`] for every packet; hickory decodes, this room decides what is acceptable.

use hickory_proto::op::{self, Message};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, Name, RecordType};

pub(super) const HEADER_LENGTH: usize = 12;
pub(super) const TYPE_OPT: u16 = 41;
const OPCODE_QUERY: u8 = 0;
/// Consul answers a NOTIFY as if it were a query.
const OPCODE_NOTIFY: u8 = 4;
const FORMAT_ERROR: u8 = 1;
const NOT_IMPLEMENTED: u8 = 4;

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
        let malformed = || Refusal::Reply(refused(header, OPCODE_QUERY, FORMAT_ERROR));
        let message = Message::from_vec(packet).map_err(|_| malformed())?;
        let query = message.queries.first().ok_or_else(malformed)?;
        Ok(Self {
            id: message.metadata.id,
            opcode,
            // Consul: a reply to anything but a query says nothing of what was desired.
            recursion_desired: opcode == OPCODE_QUERY && message.metadata.recursion_desired,
            checking_disabled: opcode == OPCODE_QUERY && message.metadata.checking_disabled,
            authentic_data: message.metadata.authentic_data,
            name: query.name().clone(),
            kind: query.query_type(),
            class: query.query_class(),
            edns: message.edns.as_ref().map(|found| edns(found, packet)),
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

fn edns(edns: &op::Edns, packet: &[u8]) -> Edns {
    let mut options = Vec::new();
    for (code, option) in edns.options().as_ref().iter() {
        let bytes = Vec::<u8>::try_from(option).unwrap_or_default();
        options.extend(u16::from(*code).to_be_bytes());
        options.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
        options.extend(bytes);
    }
    Edns {
        size: opt_size(packet).unwrap_or_else(|| edns.max_payload()),
        subnet: edns.option(EdnsCode::Subnet).and_then(subnet),
        version: edns.version(),
        flags: u16::from(edns.flags().dnssec_ok) << 15 | edns.flags().z,
        options,
    }
}

/// The size that EDNS says, of a packet that hickory has read: hickory tells of none below 512, and the
/// answer repeats what the client said.
fn opt_size(packet: &[u8]) -> Option<u16> {
    let number = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
    let records: usize = [6, 8, 10].into_iter().map(|at| number(at).map_or(0, usize::from)).sum();
    let mut at = after_name(packet, HEADER_LENGTH)? + 4;
    for _ in 0..records {
        at = after_name(packet, at)?;
        if number(at)? == TYPE_OPT {
            return number(at + 2);
        }
        at += 10 + usize::from(number(at + 8)?);
    }
    None
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

fn subnet(option: &EdnsOption) -> Option<Vec<u8>> {
    let EdnsOption::Subnet(subnet) = option else { return None };
    let mut subnet = *subnet;
    subnet.set_scope_prefix(0);
    Vec::try_from(&EdnsOption::Subnet(subnet)).ok()
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
