//! A question and what the catalog says become records: who comes first, what is left out, how many
//! fit. Pure: shuffling is by the dice handed in. [`super::server`] does the reading.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use hickory_proto::rr::RecordType;
use rand::{Rng, RngCore};

use super::domain::Name;
use super::record::{Data, Record, Soa};
use super::request::Request;
use super::wire::{self, Code, Response, Transport, UDP_SIZE_MIN};
use crate::store::command::CheckStatus;
use crate::store::query::{InstanceHealth, Node, NodeServices};

/// Consul: NS answers name no more servers than this.
const NAME_SERVERS_MAX: usize = 3;
/// Consul: clients without EDNS get no more answers than this, whatever `udp_answer_limit` says.
const PLAIN_UDP_ANSWERS_MAX: usize = 8;
/// Consul: and no more records than this of what a name resolves to.
const PLAIN_RESOLVED_MAX: usize = 5;
/// Beyond these a TCP message is full anyway.
const TCP_ANSWERS_MAX: usize = 2048;
const TCP_SRV_MAX: usize = 640;
/// The least that an answer takes: a pointer, ten fixed bytes, an address.
const ANSWER_SIZE_MIN: usize = 16;
/// Consul: kept free of 512 bytes when the number of answers was cut.
const COUNTED_SPARE: usize = 7;

/// What the configuration says of answers. TTLs are seconds.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) node_ttl: u32,
    /// By service name; `*` and prefixes ending in `*` are patterns.
    pub(super) service_ttl: BTreeMap<String, u32>,
    pub(super) only_passing: bool,
    pub(super) udp_answer_limit: usize,
    /// 0: no limit.
    pub(super) a_record_limit: usize,
    pub(super) enable_truncate: bool,
    pub(super) compress: bool,
    pub(super) node_meta_txt: bool,
    pub(super) soa_refresh: u32,
    pub(super) soa_retry: u32,
    pub(super) soa_expire: u32,
    pub(super) soa_min_ttl: u32,
}

/// One question on its way to an answer.
pub(super) struct Ask<'a> {
    pub(super) request: &'a Request,
    pub(super) transport: Transport,
    pub(super) rules: &'a Rules,
    /// The domain, with the final dot: names in the answer are under it.
    pub(super) domain: &'a str,
    /// The datacenter asked for.
    pub(super) datacenter: &'a str,
    /// Seconds since 1970, the serial of the SOA.
    pub(super) now: u32,
    /// What the names of our own zone that stand for addresses resolve to, lower case.
    pub(super) resolved: &'a BTreeMap<String, Vec<Record>>,
}

impl Rules {
    /// Consul: the exact name first, then the longest prefix that has a pattern.
    pub(super) fn service_ttl(&self, service: &str) -> u32 {
        if let Some(ttl) = self.service_ttl.get(service) {
            return *ttl;
        }
        let patterns = self.service_ttl.iter().filter_map(|(name, ttl)| Some((name.strip_suffix('*')?, ttl)));
        let longest = patterns.filter(|(prefix, _)| service.starts_with(prefix)).max_by_key(|(prefix, _)| prefix.len());
        longest.map_or(0, |(_, ttl)| *ttl)
    }
}

impl Ask<'_> {
    pub(super) fn node(&self, found: Option<&NodeServices>) -> Response {
        let kind = self.request.kind;
        let Some(found) = found else { return self.no_such_name() };
        let mut response = authoritative(Code::NoError);
        if kind != RecordType::TXT {
            self.node_records(&found.node, kind, &self.request.name, &mut response.answers);
        }
        let section = match kind {
            RecordType::ANY | RecordType::TXT => &mut response.answers,
            _ if self.rules.node_meta_txt => &mut response.additionals,
            _ => return response,
        };
        self.meta(&found.node, &self.request.name, self.rules.node_ttl, section);
        response
    }

    /// Consul answers questions about nodes of these kinds and says nothing to the others, whether the
    /// node exists or not.
    pub(super) fn answers_node(kind: RecordType) -> bool {
        matches!(kind, RecordType::ANY | RecordType::A | RecordType::AAAA | RecordType::TXT)
    }

    pub(super) fn service(&self, service: &str, instances: &[InstanceHealth], dice: &mut dyn RngCore) -> Response {
        let mut drawn = Drawn::new(instances, self.rules.only_passing, dice).peekable();
        if drawn.peek().is_none() {
            return self.no_such_name();
        }
        let ttl = self.rules.service_ttl(service);
        let mut response = authoritative(Code::NoError);
        if self.request.kind == RecordType::SRV {
            self.service_locations(drawn, ttl, &mut response);
        } else {
            self.service_addresses(drawn, ttl, &mut response);
        }
        if response.answers.is_empty() && !response.truncated {
            response.authorities.push(self.soa());
        }
        response
    }

    pub(super) fn authority(&self, servers: &[InstanceHealth], dice: &mut dyn RngCore) -> Response {
        let servers = self.name_servers(servers, dice);
        Response {
            answers: vec![self.soa()],
            authorities: servers.answers,
            additionals: servers.additionals,
            ..authoritative(Code::NoError)
        }
    }

    pub(super) fn name_servers(&self, servers: &[InstanceHealth], dice: &mut dyn RngCore) -> Response {
        let mut response = authoritative(Code::NoError);
        let Some(owner) = Name::of(&[self.domain]) else { return response };
        for server in Drawn::new(servers, self.rules.only_passing, dice) {
            let node = &server.node;
            let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if !node.fields.name.chars().all(is_valid) {
                continue;
            }
            let Some(name) = self.node_name(node, &node.fields.datacenter).map(|name| name.to_lowercase()) else {
                continue;
            };
            let ttl = self.rules.node_ttl;
            self.node_records(node, RecordType::ANY, &name, &mut response.additionals);
            response.answers.push(Record { owner: owner.clone(), ttl, data: Data::Ns(name) });
            if response.answers.len() == NAME_SERVERS_MAX {
                break;
            }
        }
        response
    }

    /// Consul: the address is given whatever kind of record was asked for, and the name in lower case
    /// and under the first domain. `before` is the name up to the domain.
    pub(super) fn address(&self, before: &str, ip: Option<IpAddr>) -> Response {
        let owner = Name::of(&[before, self.domain]).unwrap_or_else(|| self.request.name.to_lowercase());
        let record = |ip| Record { owner, ttl: self.rules.node_ttl, data: Data::address(ip) };
        Response { answers: ip.map(record).into_iter().collect(), ..authoritative(Code::NoError) }
    }

    pub(super) fn no_such_name(&self) -> Response {
        Response { authorities: vec![self.soa()], ..authoritative(Code::NameError) }
    }

    /// `found` is the node with the address, or a node with the one service that has it; none when nobody
    /// has.
    pub(super) fn pointer(&self, found: Option<&NodeServices>) -> Option<Response> {
        let found = found?;
        let target = match found.services.first() {
            None => self.node_name(&found.node, self.datacenter),
            Some(service) => Name::of(&[&service.fields.name, "service", self.datacenter, self.domain]),
        };
        let record = Record { owner: self.request.name.clone(), ttl: 0, data: Data::Ptr(target?) };
        let authorities = Vec::from_iter((self.request.kind == RecordType::SOA).then(|| self.soa()));
        Some(Response { answers: vec![record], authorities, ..authoritative(Code::NoError) })
    }

    /// More instances than these cannot be in the answer.
    fn instances_max(&self) -> usize {
        let limit = wire::size_limit(self.request, self.transport);
        match self.transport {
            Transport::Tcp if self.request.kind == RecordType::SRV => TCP_SRV_MAX,
            Transport::Tcp => TCP_ANSWERS_MAX,
            // Consul: at 512 bytes the number counts, beyond that the size.
            Transport::Udp if self.is_counted() => self.rules.udp_answer_limit.min(PLAIN_UDP_ANSWERS_MAX),
            Transport::Udp => limit / ANSWER_SIZE_MIN,
        }
    }

    /// Whether the number of answers is what is cut first.
    fn is_counted(&self) -> bool {
        self.transport == Transport::Udp && wire::size_limit(self.request, self.transport) == UDP_SIZE_MIN
    }

    /// How many of `units` fit. Consul: what a cut by number leaves is measured as if names were not
    /// compressed, though they are.
    fn fitting<'r>(&self, units: impl Iterator<Item = (&'r Record, &'r [Record])>, is_cut: bool) -> usize {
        let limit = wire::size_limit(self.request, self.transport);
        if is_cut && self.is_counted() {
            return wire::fitting_plain(self.request, units, limit - COUNTED_SPARE);
        }
        wire::fitting(self.request, units, limit, self.rules.compress)
    }

    /// Whether all of `response` fits without a doubt.
    fn is_small(&self, response: &Response) -> bool {
        let limit = wire::size_limit(self.request, self.transport);
        wire::size_max(self.request, response) <= limit
            || wire::size(self.request, response, self.rules.compress) <= limit
    }

    fn service_addresses<'i>(
        &self,
        instances: impl Iterator<Item = &'i InstanceHealth>,
        ttl: u32,
        response: &mut Response,
    ) {
        let by_rule = match self.rules.a_record_limit {
            0 => usize::MAX,
            limit => limit,
        };
        let by_size = self.instances_max();
        let mut seen = HashSet::new();
        let mut alias = Vec::new();
        let mut is_cut = false;
        let (mut records, mut none) = (Vec::new(), Vec::new());
        for instance in instances {
            records.clear();
            self.instance_records(instance, ttl, &mut records, &mut none);
            match records.first().map(|record| &record.data) {
                None => continue,
                // Consul: an alias is given alone, and only where no instance has an address.
                Some(Data::Cname(_)) => {
                    if alias.is_empty() {
                        std::mem::swap(&mut alias, &mut records);
                    }
                    continue;
                }
                Some(Data::A(ip)) if !seen.insert(IpAddr::V4(*ip)) => continue,
                Some(Data::Aaaa(ip)) if !seen.insert(IpAddr::V6(*ip)) => continue,
                Some(_) => {}
            }
            if response.answers.len() >= by_size {
                is_cut = true;
                break;
            }
            response.answers.append(&mut records);
            if response.answers.len() == by_rule {
                break;
            }
        }
        if response.answers.is_empty() {
            is_cut = alias.len() > by_size;
            alias.truncate(by_size);
            response.answers = alias;
        }
        if is_cut || !self.is_small(response) {
            let units = response.answers.iter().map(|record| (record, &[][..]));
            let count = self.fitting(units, is_cut);
            is_cut |= count < response.answers.len();
            response.answers.truncate(count);
        }
        response.truncated = is_cut && self.rules.enable_truncate;
    }

    fn service_locations<'i>(
        &self,
        instances: impl Iterator<Item = &'i InstanceHealth>,
        ttl: u32,
        response: &mut Response,
    ) {
        let by_size = self.instances_max();
        let mut seen = HashSet::new();
        // Where the additional records of each answer end.
        let mut ends = Vec::new();
        let mut is_cut = false;
        let Response { answers, additionals, .. } = &mut *response;
        for instance in instances {
            let fields = &instance.service.fields;
            if !seen.insert((&instance.node.fields.name, &fields.address, fields.port)) {
                continue;
            }
            is_cut = answers.len() == by_size;
            if is_cut {
                break;
            }
            self.instance_records(instance, ttl, answers, additionals);
            if answers.len() == ends.len() {
                continue;
            }
            if self.rules.node_meta_txt
                && !instance.node.fields.meta.is_empty()
                && let Some(owner) = self.node_name(&instance.node, self.datacenter)
            {
                self.meta(&instance.node, &owner, ttl, additionals);
            }
            ends.push(additionals.len());
        }
        let mut is_size_cut = false;
        if is_cut || !self.is_small(response) {
            // Consul: once an answer is cut, each target keeps one additional record, its address.
            is_size_cut = self.cut_locations(&ends, is_cut, response);
        }
        response.truncated = (is_cut || is_size_cut) && self.rules.enable_truncate;
    }

    /// Leaves each answer its first additional record, and as many answers as fit; whether some did not.
    fn cut_locations(&self, ends: &[usize], is_cut: bool, response: &mut Response) -> bool {
        let begins = std::iter::once(&0).chain(ends);
        let first = begins.zip(ends).map(|(begin, end)| *begin..*end.min(&(begin + 1)));
        let Response { answers, additionals, .. } = response;
        let units = answers.iter().zip(first.clone()).map(|(answer, one)| (answer, &additionals[one]));
        let count = self.fitting(units, is_cut);
        let is_size_cut = count < answers.len();
        *additionals = first.take(count).flatten().map(|at| additionals[at].clone()).collect();
        answers.truncate(count);
        is_size_cut
    }

    /// Adds the answers for one instance and the additional records they bring.
    fn instance_records(
        &self,
        instance: &InstanceHealth,
        ttl: u32,
        answers: &mut Vec<Record>,
        additionals: &mut Vec<Record>,
    ) {
        let InstanceHealth { node, service, .. } = instance;
        let at_node = || node.ip().map_or(At::Name(&node.fields.address), At::Node);
        let at = match (service.fields.address.as_str(), service.ip()) {
            ("", _) => at_node(),
            (_, Some(ip)) => At::Service(ip),
            // Consul: a service whose address is the very name asked for would be an alias of itself.
            (name, None) if node.ip().is_some() && self.is_asked(name) => at_node(),
            (name, None) => At::Name(name),
        };
        match at {
            At::Node(ip) | At::Service(ip) if !gives(self.request.kind, ip) => {}
            At::Node(ip) | At::Service(ip) if self.request.kind != RecordType::SRV => {
                answers.push(Record { owner: self.request.name.clone(), ttl, data: Data::address(ip) });
            }
            At::Node(ip) => {
                self.locate(instance, ip, ttl, self.node_name(&instance.node, self.datacenter), answers, additionals);
            }
            At::Service(ip) => {
                let target = Name::of(&[&hex(ip), "addr", self.datacenter, self.domain]);
                self.locate(instance, ip, ttl, target, answers, additionals);
            }
            At::Name(name) => self.at_name(instance, name, ttl, answers, additionals),
        }
    }

    /// Letter by letter, as Consul compares them.
    fn is_asked(&self, name: &str) -> bool {
        Name::of(&[name]).is_some_and(|name| name == self.request.name)
    }

    fn locate(
        &self,
        instance: &InstanceHealth,
        ip: IpAddr,
        ttl: u32,
        target: Option<Name>,
        answers: &mut Vec<Record>,
        additionals: &mut Vec<Record>,
    ) {
        let Some(target) = target else { return };
        answers.push(self.location(instance, ttl, target.clone()));
        additionals.push(Record { owner: target, ttl, data: Data::address(ip) });
    }

    fn at_name(
        &self,
        instance: &InstanceHealth,
        name: &str,
        ttl: u32,
        answers: &mut Vec<Record>,
        additionals: &mut Vec<Record>,
    ) {
        let Some(target) = Name::of(&[name]).filter(|target| !target.is_root()) else { return };
        // Consul: of what the name resolves to, the records before the first that is no address.
        let is_address = |record: &&Record| matches!(record.data, Data::Cname(_) | Data::A(_) | Data::Aaaa(_));
        let most = if self.request.edns.is_some() { usize::MAX } else { PLAIN_RESOLVED_MAX };
        let found = self.resolved(name).iter().take_while(is_address).take(most);
        let found = found.map(|record| Record { ttl, ..record.clone() });
        if self.request.kind == RecordType::SRV {
            answers.push(self.location(instance, ttl, target));
            additionals.extend(found);
        } else {
            answers.push(Record { owner: self.request.name.clone(), ttl, data: Data::Cname(target) });
            answers.extend(found);
        }
    }

    fn location(&self, instance: &InstanceHealth, ttl: u32, target: Name) -> Record {
        let port = instance.service.fields.port;
        let data = Data::Srv { priority: 1, weight: weight(instance), port, target };
        Record { owner: self.request.name.clone(), ttl, data }
    }

    fn node_records(&self, node: &Node, kind: RecordType, owner: &Name, out: &mut Vec<Record>) {
        let address = node.fields.address.as_str();
        let record = |data| Record { owner: owner.clone(), ttl: self.rules.node_ttl, data };
        match node.ip() {
            Some(ip) if gives(kind, ip) => out.push(record(Data::address(ip))),
            Some(_) => {}
            None => {
                let alias = Name::of(&[address]).filter(|target| !target.is_root());
                out.extend(alias.map(|target| record(Data::Cname(target))));
                out.extend(self.resolved(address).iter().cloned());
            }
        }
    }

    fn resolved(&self, name: &str) -> &[Record] {
        self.resolved.get(&name.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    fn meta(&self, node: &Node, owner: &Name, ttl: u32, out: &mut Vec<Record>) {
        let text = |(key, value): (&String, &String)| match key.to_ascii_lowercase().starts_with("rfc1035-") {
            true => value.clone(),
            false => attribute(key, value),
        };
        let record = |text| Record { owner: owner.clone(), ttl, data: Data::Txt(text) };
        out.extend(node.fields.meta.iter().map(text).map(record));
    }

    fn node_name(&self, node: &Node, datacenter: &str) -> Option<Name> {
        let datacenter = if datacenter.is_empty() { self.datacenter } else { datacenter };
        Name::of(&[&node.fields.name, "node", datacenter, self.domain])
    }

    fn soa(&self) -> Record {
        let name = |before: &str| Name::of(&[before, self.domain]).unwrap_or_else(Name::root);
        let soa = Soa {
            primary: name("ns"),
            mailbox: name("hostmaster"),
            serial: self.now,
            refresh: self.rules.soa_refresh,
            retry: self.rules.soa_retry,
            expire: self.rules.soa_expire,
            minimum: self.rules.soa_min_ttl,
        };
        Record { owner: name(""), ttl: self.rules.soa_min_ttl, data: Data::Soa(Box::new(soa)) }
    }
}

/// An answer of ours with no records in it.
pub(super) fn authoritative(code: Code) -> Response {
    Response { code, authoritative: true, with_edns: true, ..Response::default() }
}

/// Consul: a question of any of these kinds is given the address, where its family fits.
fn gives(kind: RecordType, ip: IpAddr) -> bool {
    match kind {
        RecordType::SRV | RecordType::ANY | RecordType::NS | RecordType::TXT => true,
        RecordType::A => ip.is_ipv4(),
        RecordType::AAAA => ip.is_ipv6(),
        _ => false,
    }
}

/// The address of a node that is a name, to be looked up before records are made of it.
pub(super) fn node_alias(node: &Node) -> Option<&str> {
    let address = node.fields.address.as_str();
    node.ip().is_none().then_some(address).filter(|address| !address.is_empty())
}

/// The same of an instance.
pub(super) fn instance_alias(instance: &InstanceHealth) -> Option<&str> {
    match instance.service.fields.address.as_str() {
        "" => node_alias(&instance.node),
        address => instance.service.ip().is_none().then_some(address),
    }
}

/// Where an instance is.
enum At<'a> {
    /// At its node's address.
    Node(IpAddr),
    /// At one of its own.
    Service(IpAddr),
    Name(&'a str),
}

fn weight(instance: &InstanceHealth) -> u16 {
    let is = |status| instance.checks.iter().any(|check| check.fields.status == status);
    let (passing, warning) = instance.service.fields.weights;
    let weight = match (is(CheckStatus::Critical), is(CheckStatus::Warning)) {
        (true, _) => 0,
        (false, true) => warning,
        (false, false) => passing,
    };
    u16::try_from(weight).unwrap_or(u16::MAX)
}

fn hex(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{:08x}", u32::from(ip)),
        IpAddr::V6(ip) => format!("{:032x}", u128::from(ip)),
    }
}

/// RFC 1464: backquotes, an `=` in the name and blanks around it are quoted.
fn attribute(key: &str, value: &str) -> String {
    let inner = key.trim_matches(' ');
    let leading = key.len() - key.trim_start_matches(' ').len();
    let trailing = if inner.is_empty() { 0 } else { key.len() - leading - inner.len() };
    let inner = inner.replace('`', "``").replace('=', "`=");
    format!("{}{inner}{}={}", "` ".repeat(leading), "` ".repeat(trailing), value.replace('`', "``"))
}

/// Draws those that serve one by one, so that a big service costs what its answer needs.
struct Drawn<'a, 'd> {
    instances: &'a [InstanceHealth],
    /// Which were not drawn yet.
    rest: Vec<u32>,
    only_passing: bool,
    dice: &'d mut dyn RngCore,
}

impl<'a, 'd> Drawn<'a, 'd> {
    fn new(instances: &'a [InstanceHealth], only_passing: bool, dice: &'d mut dyn RngCore) -> Self {
        let count = u32::try_from(instances.len()).unwrap_or(u32::MAX);
        Self { instances, rest: (0..count).collect(), only_passing, dice }
    }

    fn serves(&self, instance: &InstanceHealth) -> bool {
        instance.checks.iter().all(|check| match check.fields.status {
            CheckStatus::Passing => true,
            CheckStatus::Warning => !self.only_passing,
            CheckStatus::Critical => false,
        })
    }
}

impl<'a> Iterator for Drawn<'a, '_> {
    type Item = &'a InstanceHealth;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let drawn = self.dice.random_range(0..self.rest.len());
            let instance = &self.instances[self.rest.swap_remove(drawn) as usize];
            if self.serves(instance) {
                return Some(instance);
            }
        }
        None
    }
}
