//! Records into bytes, with compression, and how many of them fit. Pure.
//!
//! hickory's encoder stops compressing after 120 names and searches them one by one; answers of
//! services with many instances are larger and slower than Consul's by that. This one compresses all
//! names of a packet by a table of suffixes, and its tests decode what it writes with hickory.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use smallvec::SmallVec;

use super::domain::Name;
use super::record::{Data, Record};
use super::request::{Edns, HEADER_LENGTH, OPTION_SUBNET, Request, TYPE_OPT};

/// The most that a TCP length can say.
pub(super) const TCP_SIZE_MAX: usize = u16::MAX as usize;
/// UDP over IPv6 without a jumbo payload.
const UDP_SIZE_MAX: usize = u16::MAX as usize - 68;
/// RFC 1035, for clients without EDNS.
pub(super) const UDP_SIZE_MIN: usize = 512;
const CLASS_IN: u16 = 1;
/// Pointers have 14 bits.
const POINTER_MAX: usize = 0x3fff;
const COMPRESSION: u16 = 0xc000;
/// A pointer to the name of the question, which follows the header.
const QUESTION: u16 = COMPRESSION | 12;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Code {
    #[default]
    NoError = 0,
    ServerFailure = 2,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// The answer to one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) code: Code,
    pub(super) authoritative: bool,
    pub(super) recursion_available: bool,
    pub(super) truncated: bool,
    /// Off where Consul leaves a client's EDNS unanswered.
    pub(super) with_edns: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    pub(super) additionals: Vec<Record>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// The bytes that an answer to this request may have.
pub(super) fn size_limit(request: &Request, transport: Transport) -> usize {
    match (transport, &request.edns) {
        (Transport::Tcp, _) => TCP_SIZE_MAX,
        (Transport::Udp, None) => UDP_SIZE_MIN,
        (Transport::Udp, Some(edns)) => usize::from(edns.size).clamp(UDP_SIZE_MIN, UDP_SIZE_MAX),
    }
}

/// Whole messages only: what does not fit is left out from the end, additional records first, and the
/// client is told when an answer is missing.
pub(super) fn encode(request: &Request, response: &Response, limit: usize, compress: bool) -> Vec<u8> {
    let bytes = write(request, response, compress);
    if bytes.len() <= limit {
        return bytes;
    }
    let bare = Response { additionals: Vec::new(), ..response.clone() };
    let bytes = write(request, &bare, compress);
    if bytes.len() <= limit {
        return bytes;
    }
    let empty = Response { truncated: true, answers: Vec::new(), authorities: Vec::new(), ..bare };
    write(request, &empty, compress)
}

/// The size of the whole message.
pub(super) fn size(request: &Request, response: &Response, compress: bool) -> usize {
    write(request, response, compress).len()
}

/// How many of `units` fit into `limit`, each an answer and the additional records it brings.
/// At least one when there is one: better a large answer than none.
pub(super) fn fitting<'a>(
    request: &Request,
    units: impl Iterator<Item = (&'a Record, &'a [Record])>,
    limit: usize,
    compress: bool,
) -> usize {
    let mut writer = Writer::new(compress);
    writer.head(request, &Response { with_edns: true, ..Response::default() });
    if let Some(edns) = &request.edns {
        writer.edns(edns);
    }
    let mut count = 0;
    for (answer, additionals) in units {
        writer.record(answer);
        additionals.iter().for_each(|record| writer.record(record));
        if writer.bytes.len() > limit && count > 0 {
            break;
        }
        count += 1;
    }
    count
}

/// The same of a message without EDNS whose names do not point at each other, which takes no writing.
pub(super) fn fitting_plain<'a>(
    request: &Request,
    units: impl Iterator<Item = (&'a Record, &'a [Record])>,
    limit: usize,
) -> usize {
    let mut size = HEADER_LENGTH + request.name.wire().len() + 4;
    let mut count = 0;
    for (answer, additionals) in units {
        size += answer.size() + additionals.iter().map(Record::size).sum::<usize>();
        if size > limit && count > 0 {
            break;
        }
        count += 1;
    }
    count
}

/// The most that the message can take.
pub(super) fn size_max(request: &Request, response: &Response) -> usize {
    let subnet = |edns: &Edns| edns.subnet.as_ref().map_or(0, |subnet| 4 + subnet.len());
    let edns = request.edns.as_ref().map_or(0, |edns| 11 + subnet(edns));
    let sections = [&response.answers, &response.authorities, &response.additionals];
    let records: usize = sections.into_iter().flatten().map(Record::size).sum();
    HEADER_LENGTH + request.name.wire().len() + 4 + edns + records
}

fn write(request: &Request, response: &Response, compress: bool) -> Vec<u8> {
    let mut writer = Writer::new(compress);
    writer.head(request, response);
    for section in [&response.answers, &response.authorities, &response.additionals] {
        section.iter().for_each(|record| writer.record(record));
    }
    if let Some(edns) = request.edns.as_ref().filter(|_| response.with_edns) {
        writer.edns(edns);
    }
    writer.bytes
}

struct Writer {
    bytes: Vec<u8>,
    compress: bool,
    /// Where each name was first written, by the hash of its bytes.
    suffixes: HashMap<u64, u16, BuildHasherDefault<Hashed>>,
}

/// The keys are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = hash(self.0, &[*byte]));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// FNV-1a, which is short and good enough: a name is compared before anything points at it.
fn hash(from: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(from, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Writer {
    fn new(compress: bool) -> Self {
        Self { bytes: Vec::with_capacity(UDP_SIZE_MIN), compress, suffixes: HashMap::default() }
    }

    fn head(&mut self, request: &Request, response: &Response) {
        let bit = |set: bool, at: u16| u16::from(set) << at;
        let flags = bit(true, 15)
            | u16::from(request.opcode) << 11
            | bit(response.authoritative, 10)
            | bit(response.truncated, 9)
            | bit(request.recursion_desired, 8)
            | bit(response.recursion_available, 7)
            | bit(request.checking_disabled, 4)
            | response.code as u16;
        let edns = request.edns.is_some() && response.with_edns;
        let counts =
            [1, response.answers.len(), response.authorities.len(), response.additionals.len() + usize::from(edns)];
        self.u16(request.id);
        self.u16(flags);
        // A message of 65,535 bytes holds fewer than 6,000 records: a count that saturates is cut later.
        counts.into_iter().for_each(|count| self.u16(u16::try_from(count).unwrap_or(u16::MAX)));
        self.name(&request.name, true);
        self.u16(u16::from(request.kind));
        self.u16(u16::from(request.class));
    }

    fn record(&mut self, record: &Record) {
        self.name(&record.owner, true);
        self.u16(u16::from(record.data.kind()));
        self.u16(CLASS_IN);
        self.u32(record.ttl);
        let length_at = self.bytes.len();
        self.u16(0);
        match &record.data {
            Data::A(ip) => self.bytes.extend(ip.octets()),
            Data::Aaaa(ip) => self.bytes.extend(ip.octets()),
            Data::Cname(name) | Data::Ns(name) | Data::Ptr(name) => self.name(name, true),
            Data::Soa(soa) => {
                self.name(&soa.primary, true);
                self.name(&soa.mailbox, true);
                let numbers = [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum];
                numbers.into_iter().for_each(|number| self.u32(number));
            }
            Data::Srv { priority, weight, port, target } => {
                [*priority, *weight, *port].into_iter().for_each(|number| self.u16(number));
                // RFC 2782: the target itself is written out; others may point at it.
                self.name(target, false);
            }
            Data::Txt(text) => self.text(text),
        }
        let length = self.bytes.len() - length_at - 2;
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        self.bytes[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        const STRING_MAX: usize = 255;
        let mut rest = text.as_bytes();
        loop {
            let (string, after) = rest.split_at(rest.len().min(STRING_MAX));
            self.bytes.push(u8::try_from(string.len()).expect("cut to 255 above"));
            self.bytes.extend(string);
            rest = after;
            if rest.is_empty() {
                return;
            }
        }
    }

    fn edns(&mut self, edns: &Edns) {
        self.bytes.push(0);
        self.u16(TYPE_OPT);
        self.u16(edns.size);
        self.u32(0);
        let Some(subnet) = &edns.subnet else { return self.u16(0) };
        let length = u16::try_from(subnet.len()).expect("an address and four bytes");
        self.u16(length + 4);
        self.u16(OPTION_SUBNET);
        self.u16(length);
        self.bytes.extend(subnet);
    }

    fn name(&mut self, name: &Name, may_point: bool) {
        let wire = name.wire();
        if !self.compress {
            return self.bytes.extend(wire);
        }
        // Most owners are the question.
        if may_point && wire.len() > 1 && self.bytes.get(HEADER_LENGTH..HEADER_LENGTH + wire.len()) == Some(wire) {
            return self.u16(QUESTION);
        }
        let base = self.bytes.len();
        for (start, key) in suffixes(wire) {
            match self.suffixes.get(&key) {
                Some(&at) if may_point && self.is_at(usize::from(at), &wire[start..]) => {
                    self.bytes.extend(&wire[..start]);
                    return self.u16(COMPRESSION | at);
                }
                // Another name with this hash, or one that may not be pointed to: this one is written out.
                Some(_) => {}
                None if base + start <= POINTER_MAX => {
                    let at = u16::try_from(base + start).expect("14 bits, checked above");
                    self.suffixes.insert(key, at);
                }
                None => {}
            }
        }
        self.bytes.extend(wire);
    }

    /// Whether what was written at `at` is this name. Pointers lead backwards, so this ends.
    fn is_at(&self, mut at: usize, mut name: &[u8]) -> bool {
        while let (Some(&length), Some(&wanted)) = (self.bytes.get(at), name.first()) {
            if length >= 0xc0 {
                let Some(low) = self.bytes.get(at + 1) else { return false };
                at = usize::from(u16::from_be_bytes([length, *low]) & !COMPRESSION);
                continue;
            }
            let end = usize::from(length) + 1;
            if length != wanted || self.bytes.get(at..at + end) != name.get(..end) {
                return false;
            }
            if length == 0 {
                return true;
            }
            (at, name) = (at + end, &name[end..]);
        }
        false
    }

    fn u16(&mut self, number: u16) {
        self.bytes.extend(number.to_be_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.bytes.extend(number.to_be_bytes());
    }
}

/// Where each label of a name begins, the first one first, and the hash of the name from there on.
fn suffixes(wire: &[u8]) -> SmallVec<[(usize, u64); 16]> {
    let mut found = SmallVec::new();
    let mut at = 0;
    while let Some(length @ 1..) = wire.get(at).copied() {
        found.push((at, 0));
        at += 1 + usize::from(length);
    }
    let (mut end, mut from) = (at, 0xcbf2_9ce4_8422_2325);
    for (start, key) in found.iter_mut().rev() {
        from = hash(from, &wire[*start..end]);
        (*key, end) = (from, *start);
    }
    found
}
