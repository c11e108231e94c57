//! Records into bytes, with compression, and how many of them fit. Pure.
//!
//! hickory's encoder stops compressing after 120 names and searches them one by one; answers of
//! services with many instances are larger and slower than Consul's by that. This one compresses all
//! names of a packet by a table of suffixes, and its tests decode what it writes with hickory.

use std::collections::HashMap;

use hickory_proto::rr::Name;

use super::record::{Data, Record};
use super::request::{Edns, Request};

/// The most that a TCP length can say.
pub(super) const TCP_SIZE_MAX: usize = u16::MAX as usize;
/// UDP over IPv6 without a jumbo payload.
const UDP_SIZE_MAX: usize = u16::MAX as usize - 68;
/// RFC 1035, for clients without EDNS.
pub(super) const UDP_SIZE_MIN: usize = 512;
const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;
/// Pointers have 14 bits.
const POINTER_MAX: usize = 0x3fff;
const COMPRESSION: u16 = 0xc000;
const OPTION_SUBNET: u16 = 8;

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
    /// Where each name, as bytes from its first label on, was first written.
    suffixes: HashMap<Vec<u8>, u16>,
    question: Name,
    question_at: Option<u16>,
}

impl Writer {
    fn new(compress: bool) -> Self {
        Self {
            bytes: Vec::with_capacity(UDP_SIZE_MIN),
            compress,
            suffixes: HashMap::new(),
            question: Name::root(),
            question_at: None,
        }
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
        let at = self.bytes.len();
        self.name(&request.name, true);
        self.u16(u16::from(request.kind));
        self.u16(u16::from(request.class));
        if self.compress && !request.name.is_root() {
            self.question = request.name.clone();
            self.question_at = u16::try_from(at).ok();
        }
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
        let may_point = may_point && self.compress;
        if may_point
            && let Some(at) = self.question_at
            && self.question.eq_case(name)
        {
            return self.u16(COMPRESSION | at);
        }
        // The labels as they would be on the wire; suffixes of it are the keys.
        let mut whole = Vec::with_capacity(name.len() + 1);
        let mut starts = Vec::with_capacity(usize::from(name.num_labels()));
        for label in name.iter() {
            starts.push(whole.len());
            whole.push(u8::try_from(label.len()).expect("hickory keeps labels to 63 bytes"));
            whole.extend(label);
        }
        let mut end = whole.len();
        let mut pointer = None;
        let base = self.bytes.len();
        for start in starts {
            if let Some(at) = self.suffixes.get(&whole[start..]) {
                if may_point {
                    (end, pointer) = (start, Some(*at));
                    break;
                }
            } else if self.compress && base + start <= POINTER_MAX {
                let at = u16::try_from(base + start).expect("14 bits, checked above");
                self.suffixes.insert(whole[start..].to_vec(), at);
            }
        }
        self.bytes.extend(&whole[..end]);
        match pointer {
            Some(at) => self.u16(COMPRESSION | at),
            None => self.bytes.push(0),
        }
    }

    fn u16(&mut self, number: u16) {
        self.bytes.extend(number.to_be_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.bytes.extend(number.to_be_bytes());
    }
}
