//! A question and what the catalog says become records: who comes first, what is left out, how many
//! fit. Pure: shuffling is by the dice handed in. [`super::server`] does the reading.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use hickory_proto::rr::{Name, RecordType};
use rand::{Rng, RngCore};

use super::record::{Data, Record, Soa, fqdn};
use super::request::Request;
use super::wire::{self, Code, Response, Transport, UDP_SIZE_MIN};
use crate::store::command::CheckStatus;
use crate::store::query::{InstanceHealth, Node, NodeHealth, NodeServices};

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
/// The most that an address takes beside the name of its owner.
const ANSWER_SIZE_MAX: usize = 28;
/// Consul: kept free of 512 bytes when the number of answers was cut.
const COUNTED_SPARE: usize = 7;
/// Header, question, and EDNS with a client's subnet.
const HEAD_SIZE_MAX: usize = 12 + 259 + 11 + 24;

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
            response.answers = self.node_records(&found.node, kind, &self.request.name, self.rules.node_ttl);
        }
        let meta = self.meta(&found.node, &self.request.name, self.rules.node_ttl);
        match kind {
            RecordType::ANY | RecordType::TXT => response.answers.extend(meta),
            _ if self.rules.node_meta_txt => response.additionals.extend(meta),
            _ => {}
        }
        response
    }

    /// Consul answers questions about nodes of these kinds and says nothing to the others, whether the
    /// node exists or not.
    pub(super) fn answers_node(kind: RecordType) -> bool {
        matches!(kind, RecordType::ANY | RecordType::A | RecordType::AAAA | RecordType::TXT)
    }

    pub(super) fn service(&self, service: &str, instances: &[InstanceHealth], dice: &mut dyn RngCore) -> Response {
        let up: Vec<&InstanceHealth> = instances.iter().filter(|instance| self.serves(instance)).collect();
        if up.is_empty() {
            return self.no_such_name();
        }
        let ttl = self.rules.service_ttl(service);
        let mut response = authoritative(Code::NoError);
        let shuffled = Shuffled { rest: up, dice };
        if self.request.kind == RecordType::SRV {
            self.service_locations(shuffled, ttl, &mut response);
        } else {
            self.service_addresses(shuffled, ttl, &mut response);
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
        let Some(owner) = fqdn(self.domain) else { return response };
        let up = servers.iter().filter(|server| self.serves(server)).collect();
        for server in (Shuffled { rest: up, dice }) {
            let node = &server.node;
            let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if !node.fields.name.chars().all(is_valid) {
                continue;
            }
            let Some(name) = self.node_name(node, &node.fields.datacenter).map(|name| name.to_lowercase()) else {
                continue;
            };
            let ttl = self.rules.node_ttl;
            response.additionals.extend(self.node_records(node, RecordType::ANY, &name, ttl));
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
        let owner = fqdn(&format!("{before}{}", self.domain)).unwrap_or_else(|| self.request.name.to_lowercase());
        let record = |ip| Record { owner, ttl: self.rules.node_ttl, data: Data::address(ip) };
        Response { answers: ip.map(record).into_iter().collect(), ..authoritative(Code::NoError) }
    }

    pub(super) fn no_such_name(&self) -> Response {
        Response { authorities: vec![self.soa()], ..authoritative(Code::NameError) }
    }

    /// The first node with the address, else the first service; none when nobody has it.
    pub(super) fn pointer(&self, ip: IpAddr, nodes: &[NodeHealth]) -> Option<Response> {
        let is = |text: &str| parse_ip(text) == Some(ip);
        let node = nodes.iter().find(|node| is(&node.node.fields.address));
        let mut services = nodes.iter().flat_map(|node| &node.services);
        let target = match node {
            Some(node) => self.node_name(&node.node, self.datacenter),
            None => services.find(|service| is(&service.fields.address)).and_then(|service| {
                fqdn(&format!("{}.service.{}.{}", service.fields.name, self.datacenter, self.domain))
            }),
        };
        let record = Record { owner: self.request.name.clone(), ttl: 0, data: Data::Ptr(target?) };
        let authorities = Vec::from_iter((self.request.kind == RecordType::SOA).then(|| self.soa()));
        Some(Response { answers: vec![record], authorities, ..authoritative(Code::NoError) })
    }

    /// What addresses of nodes and services are names, to be looked up before the records are made.
    pub(super) fn names<'n>(
        nodes: impl Iterator<Item = &'n Node>,
        instances: &'n [InstanceHealth],
    ) -> impl Iterator<Item = &'n str> {
        let of_nodes = nodes.map(|node| node.fields.address.as_str());
        let of_instances = instances.iter().map(address_text);
        of_nodes.chain(of_instances).filter(|text| parse_ip(text).is_none())
    }

    fn serves(&self, instance: &InstanceHealth) -> bool {
        instance.checks.iter().all(|check| match check.fields.status {
            CheckStatus::Passing => true,
            CheckStatus::Warning => !self.rules.only_passing,
            CheckStatus::Critical => false,
        })
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
            let plain = Request { edns: None, ..self.request.clone() };
            return wire::fitting(&plain, units, limit - COUNTED_SPARE, false);
        }
        wire::fitting(self.request, units, limit, self.rules.compress)
    }

    fn service_addresses(&self, instances: Shuffled<'_, '_>, ttl: u32, response: &mut Response) {
        let by_rule = match self.rules.a_record_limit {
            0 => usize::MAX,
            limit => limit,
        };
        let by_size = self.instances_max();
        let mut seen = HashSet::new();
        let mut alias = Vec::new();
        let mut is_cut = false;
        for instance in instances {
            let (records, _) = self.instance_records(instance, ttl);
            match records.first().map(|record| &record.data) {
                None => continue,
                // Consul: an alias is given alone, and only where no instance has an address.
                Some(Data::Cname(_)) => {
                    if alias.is_empty() {
                        alias = records;
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
            response.answers.extend(records);
            if response.answers.len() == by_rule {
                break;
            }
        }
        let is_alias = response.answers.is_empty();
        if is_alias {
            is_cut = alias.len() > by_size;
            alias.truncate(by_size);
            response.answers = alias;
        }
        let limit = wire::size_limit(self.request, self.transport);
        let most = ANSWER_SIZE_MAX + self.request.name.len();
        let is_small = !is_alias && response.answers.len() * most + HEAD_SIZE_MAX <= limit;
        if !is_small && (is_cut || wire::size(self.request, response, self.rules.compress) > limit) {
            let units = response.answers.iter().map(|record| (record, &[][..]));
            let count = self.fitting(units, is_cut);
            is_cut |= count < response.answers.len();
            response.answers.truncate(count);
        }
        response.truncated = is_cut && self.rules.enable_truncate;
    }

    fn service_locations(&self, instances: Shuffled<'_, '_>, ttl: u32, response: &mut Response) {
        let by_size = self.instances_max();
        let mut seen = HashSet::new();
        let mut units: Vec<(Record, Vec<Record>)> = Vec::new();
        let mut is_cut = false;
        for instance in instances {
            let fields = &instance.service.fields;
            if !seen.insert((&instance.node.fields.name, &fields.address, fields.port)) {
                continue;
            }
            is_cut = units.len() == by_size;
            if is_cut {
                break;
            }
            let (mut answers, mut additionals) = self.instance_records(instance, ttl);
            if self.rules.node_meta_txt
                && !instance.node.fields.meta.is_empty()
                && let Some(owner) = self.node_name(&instance.node, self.datacenter)
            {
                additionals.extend(self.meta(&instance.node, &owner, ttl));
            }
            let Some(answer) = answers.pop() else { continue };
            units.push((answer, additionals));
        }
        let place = |units: Vec<(Record, Vec<Record>)>, response: &mut Response| {
            for (answer, additionals) in units {
                response.answers.push(answer);
                response.additionals.extend(additionals);
            }
        };
        let fits = |units: &[(Record, Vec<Record>)]| {
            let units = units.iter().map(|(answer, additionals)| (answer, &additionals[..]));
            self.fitting(units, is_cut)
        };
        let mut is_size_cut = false;
        if is_cut || fits(&units) < units.len() {
            // Consul: once an answer is cut, each target keeps one additional record, its address.
            units.iter_mut().for_each(|(_, additionals)| additionals.truncate(1));
            let count = fits(&units);
            is_size_cut = count < units.len();
            units.truncate(count);
        }
        place(units, response);
        response.truncated = (is_cut || is_size_cut) && self.rules.enable_truncate;
    }

    /// The answers for one instance and the additional records they bring.
    fn instance_records(&self, instance: &InstanceHealth, ttl: u32) -> (Vec<Record>, Vec<Record>) {
        let node_ip = parse_ip(&instance.node.fields.address);
        let service_address = instance.service.fields.address.as_str();
        let target = |ip: IpAddr| fqdn(&format!("{}.addr.{}.{}", hex(ip), self.datacenter, self.domain));
        let node_target = || self.node_name(&instance.node, self.datacenter);
        match (service_address, parse_ip(service_address), node_ip) {
            ("", _, Some(ip)) => self.at_address(instance, ip, ttl, node_target()),
            ("", _, None) => self.at_name(instance, &instance.node.fields.address, ttl),
            (_, Some(ip), _) => self.at_address(instance, ip, ttl, target(ip)),
            // Consul: a service whose address is the very name asked for would be an alias of itself.
            (name, None, Some(ip)) if fqdn(name).is_some_and(|name| name.eq_case(&self.request.name)) => {
                self.at_address(instance, ip, ttl, node_target())
            }
            (name, None, _) => self.at_name(instance, name, ttl),
        }
    }

    fn at_address(
        &self,
        instance: &InstanceHealth,
        ip: IpAddr,
        ttl: u32,
        target: Option<Name>,
    ) -> (Vec<Record>, Vec<Record>) {
        let kind = self.request.kind;
        if !gives(kind, ip) {
            return (Vec::new(), Vec::new());
        }
        let record = |owner: Name| Record { owner, ttl, data: Data::address(ip) };
        if kind != RecordType::SRV {
            return (vec![record(self.request.name.clone())], Vec::new());
        }
        let Some(target) = target else { return (Vec::new(), Vec::new()) };
        (vec![self.location(instance, ttl, target.clone())], vec![record(target)])
    }

    fn at_name(&self, instance: &InstanceHealth, name: &str, ttl: u32) -> (Vec<Record>, Vec<Record>) {
        let Some(target) = fqdn(name).filter(|target| !target.is_root()) else { return (Vec::new(), Vec::new()) };
        // Consul: of what the name resolves to, the records before the first that is no address.
        let is_address = |record: &&Record| matches!(record.data, Data::Cname(_) | Data::A(_) | Data::Aaaa(_));
        let most = if self.request.edns.is_some() { usize::MAX } else { PLAIN_RESOLVED_MAX };
        let found = self.resolved(name).iter().take_while(is_address).take(most);
        let found = found.map(|record| Record { ttl, ..record.clone() });
        if self.request.kind == RecordType::SRV {
            return (vec![self.location(instance, ttl, target)], found.collect());
        }
        let alias = Record { owner: self.request.name.clone(), ttl, data: Data::Cname(target) };
        (std::iter::once(alias).chain(found).collect(), Vec::new())
    }

    fn location(&self, instance: &InstanceHealth, ttl: u32, target: Name) -> Record {
        let port = instance.service.fields.port;
        let data = Data::Srv { priority: 1, weight: weight(instance), port, target };
        Record { owner: self.request.name.clone(), ttl, data }
    }

    fn node_records(&self, node: &Node, kind: RecordType, owner: &Name, ttl: u32) -> Vec<Record> {
        let address = node.fields.address.as_str();
        let record = |data| Record { owner: owner.clone(), ttl, data };
        match parse_ip(address) {
            Some(ip) if gives(kind, ip) => vec![record(Data::address(ip))],
            Some(_) => Vec::new(),
            None => {
                let alias = fqdn(address).filter(|target| !target.is_root()).map(|target| record(Data::Cname(target)));
                alias.into_iter().chain(self.resolved(address).iter().cloned()).collect()
            }
        }
    }

    fn resolved(&self, name: &str) -> &[Record] {
        self.resolved.get(&name.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    fn meta(&self, node: &Node, owner: &Name, ttl: u32) -> Vec<Record> {
        let text = |(key, value): (&String, &String)| match key.to_ascii_lowercase().starts_with("rfc1035-") {
            true => value.clone(),
            false => attribute(key, value),
        };
        let record = |text| Record { owner: owner.clone(), ttl, data: Data::Txt(text) };
        node.fields.meta.iter().map(text).map(record).collect()
    }

    fn node_name(&self, node: &Node, datacenter: &str) -> Option<Name> {
        let datacenter = if datacenter.is_empty() { self.datacenter } else { datacenter };
        fqdn(&format!("{}.node.{datacenter}.{}", node.fields.name, self.domain))
    }

    fn soa(&self) -> Record {
        let name = |text: String| fqdn(&text).unwrap_or_else(Name::root);
        let soa = Soa {
            primary: name(format!("ns.{}", self.domain)),
            mailbox: name(format!("hostmaster.{}", self.domain)),
            serial: self.now,
            refresh: self.rules.soa_refresh,
            retry: self.rules.soa_retry,
            expire: self.rules.soa_expire,
            minimum: self.rules.soa_min_ttl,
        };
        Record { owner: name(self.domain.to_owned()), ttl: self.rules.soa_min_ttl, data: Data::Soa(Box::new(soa)) }
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

/// Consul: `::ffff:10.0.0.1` is `10.0.0.1`.
fn parse_ip(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

fn address_text(instance: &InstanceHealth) -> &str {
    match instance.service.fields.address.as_str() {
        "" => &instance.node.fields.address,
        address => address,
    }
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

/// Draws one by one, so that a big service costs what its answer needs.
struct Shuffled<'a, 'd> {
    rest: Vec<&'a InstanceHealth>,
    dice: &'d mut dyn RngCore,
}

impl<'a> Iterator for Shuffled<'a, '_> {
    type Item = &'a InstanceHealth;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let drawn = self.dice.random_range(0..self.rest.len());
        Some(self.rest.swap_remove(drawn))
    }
}
