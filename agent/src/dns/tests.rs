//! Questions in, records out: the answers expected here are those of Consul 1.8.7 to the same
//! catalog, asked with dig. hickory decodes what [`super::wire`] writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use hickory_proto::op::{Edns as ClientEdns, Message, Query as DnsQuery, ResponseCode};
use hickory_proto::rr::{Name as TheirName, RecordType};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::answer::{Ask, Rules};
use super::domain::Name;
use super::name::{Question, Zone};
use super::record::{Data, Record};
use super::request::{Refusal, Request};
use super::wire::{self, Response, Transport};
use crate::store::command::{CheckFields, CheckStatus, NodeFields, ServiceFields};
use crate::store::query::{Check, InstanceHealth, Node, NodeServices, Service};

fn zone() -> Zone {
    Zone::new("consul.", Some("Alt.Example."), "dc1")
}

fn service(service: &str, tag: Option<&str>, datacenter: &str) -> Question {
    Question::Service { service: service.into(), tag: tag.map(Into::into), datacenter: datacenter.into() }
}

fn node(node: &str, datacenter: &str) -> Question {
    Question::Node { node: node.into(), datacenter: datacenter.into() }
}

#[track_caller]
fn check_name(name: &str, kind: RecordType, expected: Question) {
    let name = Name::of(&[name]).unwrap();
    assert_eq!(zone().parse(&name, kind), expected, "{name} {kind}");
}

#[test]
fn names_mean_what_they_mean_to_consul() {
    use RecordType::{A, AAAA, ANY, AXFR, NS, PTR, SOA, SRV};
    check_name("web1.node.consul", A, node("web1", "dc1"));
    check_name("Web1.NODE.Consul", AAAA, node("web1", "dc1"));
    check_name("web1.node.dc2.consul", A, node("web1", "dc2"));
    check_name("a.b.node.dc1.consul", A, node("a.b", "dc1"));
    check_name("service.web.node.consul", A, node("service.web", "dc1"));
    check_name("web1.node.dc1.x.consul", A, Question::Invalid);
    check_name("node.consul", A, Question::Invalid);
    check_name("web.service.consul", A, service("web", None, "dc1"));
    check_name("web.service.alt.example", A, service("web", None, "dc1"));
    check_name("v1.web.service.dc9.consul", SRV, service("web", Some("v1"), "dc9"));
    check_name("a.b.web.service.consul", A, service("web", Some("a.b"), "dc1"));
    check_name("_web._tcp.service.consul", A, service("web", None, "dc1"));
    check_name("_web._v2.service.dc1.consul", SRV, service("web", Some("v2"), "dc1"));
    check_name("_web._.service.consul", A, service("web", None, "dc1"));
    check_name("_web._tcp.consul", SRV, service("web", None, "dc1"));
    check_name("_web._tcp.consul", A, Question::Invalid);
    check_name("_web._tcp.dc1.consul", SRV, service("web", None, "dc1"));
    check_name("_._.service.consul", A, service("", None, "dc1"));
    check_name("web.query.consul", A, Question::Nobody { datacenter: "dc1".into() });
    check_name("web.connect.dc2.consul", A, Question::Nobody { datacenter: "dc2".into() });
    check_name("web.ingress.a.dc1.consul", A, Question::Invalid);
    check_name("query.consul", A, Question::Invalid);
    check_name("a\\.b.node.consul", A, node("a\\.b", "dc1"));
    check_name("sp ace.service.consul", A, service("sp\\ ace", None, "dc1"));
    check_name("web.service.con\\.sul", A, Question::Outside);
    check_name("foo.consul", A, Question::Invalid);
    check_name("consul", ANY, Question::Invalid);
    check_name("consul", SOA, Question::Authority);
    check_name("foo.bar.consul", NS, Question::NameServers);
    check_name("consul", AXFR, Question::Transfer);
    check_name("xconsul", SOA, Question::Outside);
    check_name("www.example.com", A, Question::Outside);
    check_name("", NS, Question::Outside);
    check_name("0A000001.addr.dc9.x.consul", SRV, Question::Address(Some("10.0.0.1".parse().unwrap())));
    check_name("fd000000000000000000000000000006.addr.consul", A, Question::Address(Some("fd00::6".parse().unwrap())));
    check_name("0a00000.addr.dc1.consul", A, Question::Address(None));
    check_name("0a0000010.addr.dc1.consul", A, Question::Invalid);
    check_name("zz000001.addr.dc1.consul", A, Question::Invalid);
    check_name("a.0a000001.addr.dc1.consul", A, Question::Invalid);
    check_name("1.0.0.10.IN-ADDR.arpa", PTR, Question::Reverse(Some("10.0.0.1".parse().unwrap())));
    check_name("0.10.in-addr.arpa", PTR, Question::Reverse(None));
    check_name("arpa", PTR, Question::Reverse(None));
    let ip6 = "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    check_name(ip6, PTR, Question::Reverse(Some("fd00::6".parse().unwrap())));
}

#[test]
fn both_domains_hold_names_and_answers_are_in_the_first() {
    let zone = zone();
    assert_eq!(zone.domain(), "consul.");
    assert_eq!(zone.before(&Name::of(&["Web.x.ALT.example."]).unwrap()), "web.x.");
    assert!(zone.holds("web1.node.Consul.") && zone.holds("web1.node.consul"));
    assert!(!zone.holds("www.example.com") && !zone.holds("consul"));
}

fn rules() -> Rules {
    Rules {
        node_ttl: 0,
        service_ttl: BTreeMap::new(),
        only_passing: false,
        udp_answer_limit: 3,
        a_record_limit: 0,
        enable_truncate: false,
        compress: true,
        node_meta_txt: true,
        soa_refresh: 3600,
        soa_retry: 600,
        soa_expire: 86400,
        soa_min_ttl: 0,
    }
}

/// One instance of a service on a node of its own.
pub(super) fn instance(
    name: &str,
    address: &str,
    service_address: &str,
    port: u16,
    status: CheckStatus,
) -> InstanceHealth {
    let fields = NodeFields {
        name: name.into(),
        address: address.into(),
        datacenter: "dc1".into(),
        meta: [("k".to_owned(), "v".to_owned()), ("rfc1035-x".to_owned(), "plain".to_owned())].into(),
        ..NodeFields::default()
    };
    let service = ServiceFields {
        id: "web".into(),
        name: "web".into(),
        address: service_address.into(),
        port,
        weights: (5, 2),
        ..ServiceFields::default()
    };
    let check = Check {
        node: name.into(),
        fields: CheckFields { status, ..CheckFields::default() },
        service_name: String::new(),
        service_tags: Vec::new(),
        create_index: 1,
        modify_index: 1,
    };
    InstanceHealth {
        node: Arc::new(Node { fields, create_index: 1, modify_index: 1 }),
        service: Arc::new(Service { node: name.into(), fields: service, create_index: 1, modify_index: 1 }),
        checks: vec![Arc::new(check)],
    }
}

pub(super) fn many(count: u8) -> Vec<InstanceHealth> {
    let one = |n| instance(&format!("many{n}"), &format!("10.3.0.{n}"), "", 1000 + u16::from(n), CheckStatus::Passing);
    (1..=count).map(one).collect()
}

fn request(name: &str, kind: RecordType, edns: Option<u16>) -> Request {
    let mut message = Message::query();
    message.add_query(DnsQuery::query(TheirName::from_ascii(name).unwrap(), kind));
    if let Some(size) = edns {
        let mut edns = ClientEdns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
    }
    Request::parse(&message.to_vec().unwrap()).unwrap()
}

/// Answers with what `answer` does, encodes it, and has hickory read it back.
fn asked(request: &Request, transport: Transport, rules: &Rules, answer: impl FnOnce(Ask<'_>) -> Response) -> Message {
    let resolved = [(
        "web1.node.consul".to_owned(),
        vec![Record { owner: Name::of(&["web1.node.consul"]).unwrap(), ttl: 9, data: Data::A([10, 0, 0, 1].into()) }],
    )]
    .into();
    let response = answer(Ask {
        request,
        transport,
        rules,
        domain: "consul.",
        datacenter: "dc1",
        now: 1_700_000_000,
        resolved: &resolved,
    });
    let limit = wire::size_limit(request, transport);
    let bytes = wire::encode(request, &response, limit, rules.compress);
    assert!(bytes.len() <= limit, "{} bytes, the client takes {limit}", bytes.len());
    Message::from_vec(&bytes).unwrap()
}

fn dice() -> SmallRng {
    SmallRng::seed_from_u64(8600)
}

/// The message as lines: rcode and flags, then the records of each section in order of their text.
fn lines(message: &Message) -> Vec<String> {
    let mut lines = vec![format!(
        "{:?}{}{}",
        message.metadata.response_code,
        if message.metadata.authoritative { " aa" } else { "" },
        if message.metadata.truncation { " tc" } else { "" },
    )];
    for (section, records) in
        [("answer", &message.answers), ("authority", &message.authorities), ("additional", &message.additionals)]
    {
        let mut of_section: Vec<_> = records.iter().map(|record| format!("{section} {record}")).collect();
        of_section.sort();
        lines.extend(of_section);
    }
    lines
}

#[track_caller]
fn check_service(name: &str, kind: RecordType, instances: &[InstanceHealth], expected: &[&str]) {
    let message = asked(&request(name, kind, Some(1232)), Transport::Udp, &rules(), |ask| {
        ask.service("web", instances, &mut dice())
    });
    assert_eq!(lines(&message), expected, "{name} {kind}");
}

const SOA_LINE: &str = "authority consul. 0 IN SOA ns.consul. hostmaster.consul. 1700000000 3600 600 86400 0";

#[test]
fn a_service_is_its_instances_that_are_not_critical() {
    use CheckStatus::{Critical, Passing, Warning};
    use RecordType::{A, AAAA, ANY, MX, SRV, TXT};
    let web = [
        instance("web1", "10.0.0.1", "", 801, Passing),
        instance("web2", "10.0.0.2", "10.2.0.2", 802, Warning),
        instance("down", "10.0.0.3", "", 803, Critical),
    ];
    let addresses =
        ["NoError aa", "answer Web.service.consul. 0 IN A 10.0.0.1", "answer Web.service.consul. 0 IN A 10.2.0.2"];
    for kind in [A, ANY, TXT] {
        check_service("Web.service.consul.", kind, &web, &addresses);
    }
    check_service("web.service.consul.", AAAA, &web, &["NoError aa", SOA_LINE]);
    check_service("web.service.consul.", MX, &web, &["NoError aa", SOA_LINE]);
    check_service("web.service.consul.", A, &web[2..], &["NXDomain aa", SOA_LINE]);
    check_service("web.service.consul.", A, &[], &["NXDomain aa", SOA_LINE]);
    let locations = [
        "NoError aa",
        "answer web.service.consul. 0 IN SRV 1 2 802 0a020002.addr.dc1.consul.",
        "answer web.service.consul. 0 IN SRV 1 5 801 web1.node.dc1.consul.",
        "additional 0a020002.addr.dc1.consul. 0 IN A 10.2.0.2",
        "additional web1.node.dc1.consul. 0 IN A 10.0.0.1",
        "additional web1.node.dc1.consul. 0 IN TXT k=v",
        "additional web1.node.dc1.consul. 0 IN TXT plain",
        "additional web2.node.dc1.consul. 0 IN TXT k=v",
        "additional web2.node.dc1.consul. 0 IN TXT plain",
    ];
    check_service("web.service.consul.", SRV, &web, &locations);
}

#[test]
fn a_service_at_a_name_is_an_alias_where_no_instance_has_an_address() {
    use CheckStatus::Passing;
    use RecordType::{A, AAAA, SRV};
    let outside = instance("ext", "www.example.com", "", 80, Passing);
    let inside = instance("ext", "10.0.0.9", "Web1.node.consul", 80, Passing);
    let itself = instance("ext", "10.0.0.9", "web.service.consul", 80, Passing);
    let six = instance("six", "fd00::6", "", 80, Passing);
    let name = "web.service.consul.";
    let alias = "answer web.service.consul. 0 IN CNAME www.example.com.";
    check_service(name, A, std::slice::from_ref(&outside), &["NoError aa", alias]);
    check_service(
        name,
        A,
        std::slice::from_ref(&inside),
        &[
            "NoError aa",
            "answer web.service.consul. 0 IN CNAME Web1.node.consul.",
            "answer web1.node.consul. 0 IN A 10.0.0.1",
        ],
    );
    check_service(
        name,
        SRV,
        &[inside],
        &[
            "NoError aa",
            "answer web.service.consul. 0 IN SRV 1 5 80 Web1.node.consul.",
            "additional ext.node.dc1.consul. 0 IN TXT k=v",
            "additional ext.node.dc1.consul. 0 IN TXT plain",
            "additional web1.node.consul. 0 IN A 10.0.0.1",
        ],
    );
    check_service(name, A, &[itself], &["NoError aa", "answer web.service.consul. 0 IN A 10.0.0.9"]);
    // Letter by letter: in another case it is another name.
    let other = instance("itself", "10.0.0.9", "Web.service.consul", 80, CheckStatus::Passing);
    let alias = "answer web.service.consul. 0 IN CNAME Web.service.consul.";
    check_service(name, A, &[other], &["NoError aa", alias]);
    let both = [outside, six];
    check_service(name, AAAA, &both, &["NoError aa", "answer web.service.consul. 0 IN AAAA fd00::6"]);
}

#[track_caller]
fn check_node(kind: RecordType, address: &str, expected: &[&str]) {
    let on = instance("web1", address, "", 80, CheckStatus::Passing);
    let found = NodeServices { node: on.node, services: Vec::new() };
    let message =
        asked(&request("Web1.node.consul.", kind, None), Transport::Udp, &rules(), |ask| ask.node(Some(&found)));
    assert_eq!(lines(&message), expected, "{kind} {address}");
}

#[test]
fn a_node_is_its_address_and_its_metadata() {
    use RecordType::{A, AAAA, ANY, TXT};
    let additional = ["additional Web1.node.consul. 0 IN TXT k=v", "additional Web1.node.consul. 0 IN TXT plain"];
    let texts = ["answer Web1.node.consul. 0 IN TXT k=v", "answer Web1.node.consul. 0 IN TXT plain"];
    let four = "answer Web1.node.consul. 0 IN A 10.0.0.1";
    let six = "answer Web1.node.consul. 0 IN AAAA fd00::6";
    let alias = "answer Web1.node.consul. 0 IN CNAME www.example.com.";
    check_node(A, "10.0.0.1", &["NoError aa", four, additional[0], additional[1]]);
    check_node(AAAA, "10.0.0.1", &["NoError aa", additional[0], additional[1]]);
    check_node(ANY, "10.0.0.1", &["NoError aa", four, texts[0], texts[1]]);
    check_node(TXT, "10.0.0.1", &["NoError aa", texts[0], texts[1]]);
    check_node(AAAA, "fd00::6", &["NoError aa", six, additional[0], additional[1]]);
    check_node(A, "www.example.com", &["NoError aa", alias, additional[0], additional[1]]);
    let gone = asked(&request("no.node.consul.", A, None), Transport::Udp, &rules(), |ask| ask.node(None));
    assert_eq!(lines(&gone), ["NXDomain aa", SOA_LINE]);
    assert!(!Ask::answers_node(RecordType::MX) && !Ask::answers_node(RecordType::SRV));
}

#[test]
fn the_domain_names_three_servers_at_most_and_none_with_a_name_unfit_for_dns() {
    let mut servers = many(5);
    servers.push(instance("under_score", "10.9.9.9", "", 8300, CheckStatus::Passing));
    for seed in 0..20 {
        let message = asked(&request("consul.", RecordType::NS, Some(1232)), Transport::Udp, &rules(), |ask| {
            ask.name_servers(&servers, &mut SmallRng::seed_from_u64(seed))
        });
        assert_eq!((message.answers.len(), message.additionals.len()), (3, 3));
        assert!(message.answers.iter().all(|record| !record.to_string().contains("under_score")));
    }
    let message = asked(&request("x.consul.", RecordType::SOA, Some(1232)), Transport::Udp, &rules(), |ask| {
        ask.authority(&servers[..1], &mut dice())
    });
    let expected = [
        "NoError aa",
        &SOA_LINE.replace("authority", "answer"),
        "authority consul. 0 IN NS many1.node.dc1.consul.",
        "additional many1.node.dc1.consul. 0 IN A 10.3.0.1",
    ];
    assert_eq!(lines(&message), expected);
}

#[test]
fn an_address_points_at_its_node_or_at_its_service() {
    let one = instance("a", "10.0.0.1", "10.0.0.2", 80, CheckStatus::Critical);
    let pointer = |services: &[Arc<Service>]| {
        let request = request("1.0.0.10.in-addr.arpa.", RecordType::PTR, None);
        let found = NodeServices { node: one.node.clone(), services: services.to_vec() };
        let message = asked(&request, Transport::Udp, &rules(), |ask| ask.pointer(Some(&found)).unwrap());
        message.answers.iter().map(|record| record.data.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(pointer(&[]), ["a.node.dc1.consul."]);
    assert_eq!(pointer(std::slice::from_ref(&one.service)), ["web.service.dc1.consul."]);
    let request = request("1.0.0.10.in-addr.arpa.", RecordType::PTR, None);
    asked(&request, Transport::Udp, &rules(), |ask| {
        assert_eq!(ask.pointer(None), None);
        ask.no_such_name()
    });
}

#[track_caller]
fn check_size(kind: RecordType, edns: Option<u16>, transport: Transport, answers: usize, additionals: usize) {
    let mut plain = many(120);
    for one in &mut plain {
        let node = Arc::make_mut(&mut one.node);
        node.fields.meta.clear();
    }
    let truncating = Rules { enable_truncate: true, ..rules() };
    for (rules, says_so) in [(&rules(), false), (&truncating, true)] {
        let message = asked(&request("many.service.consul.", kind, edns), transport, rules, |ask| {
            ask.service("many", &plain, &mut dice())
        });
        let counts = (message.answers.len(), message.additionals.len());
        assert!(counts.0.abs_diff(answers) <= 1 && counts.1.abs_diff(additionals) <= 1, "{kind} {edns:?} {counts:?}");
        assert_eq!(message.metadata.truncation, says_so && answers < 120, "{kind} {edns:?}");
    }
}

#[test]
fn as_many_answers_are_given_as_consul_gives() {
    use RecordType::{A, SRV};
    use Transport::{Tcp, Udp};
    check_size(A, None, Udp, 3, 0);
    check_size(A, Some(512), Udp, 3, 0);
    check_size(A, Some(1232), Udp, 74, 0);
    check_size(A, Some(4096), Udp, 120, 0);
    check_size(A, None, Tcp, 120, 0);
    check_size(SRV, None, Udp, 3, 3);
    check_size(SRV, Some(1232), Udp, 20, 20);
    check_size(SRV, Some(4096), Udp, 69, 69);
    check_size(SRV, None, Tcp, 120, 120);
}

#[test]
fn what_a_cut_by_number_leaves_is_measured_without_compression() {
    let rules = Rules { udp_answer_limit: 8, ..rules() };
    let counts = |kind, edns| {
        let message = asked(&request("many.service.consul.", kind, edns), Transport::Udp, &rules, |ask| {
            ask.service("many", &many(120), &mut dice())
        });
        (message.answers.len(), message.additionals.len())
    };
    assert_eq!(counts(RecordType::A, None), (8, 0));
    for edns in [None, Some(512)] {
        assert_eq!(counts(RecordType::SRV, edns), (4, 4), "{edns:?}");
    }
}

#[test]
fn once_an_answer_is_cut_targets_keep_their_address_alone() {
    let message = asked(&request("many.service.consul.", RecordType::SRV, None), Transport::Udp, &rules(), |ask| {
        ask.service("many", &many(4), &mut dice())
    });
    let kinds: Vec<_> = message.additionals.iter().map(|record| record.record_type()).collect();
    assert_eq!(kinds, [RecordType::A; 3]);
}

#[test]
fn a_record_limit_holds_on_every_transport() {
    let rules = Rules { a_record_limit: 2, ..rules() };
    for transport in [Transport::Udp, Transport::Tcp] {
        let message = asked(&request("many.service.consul.", RecordType::A, Some(4096)), transport, &rules, |ask| {
            ask.service("many", &many(9), &mut dice())
        });
        assert_eq!(message.answers.len(), 2);
    }
}

#[test]
fn every_instance_comes_first_sometimes() {
    let instances = many(4);
    let mut first = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let message = asked(&request("m.service.consul.", RecordType::A, None), Transport::Udp, &rules(), |ask| {
            ask.service("m", &instances, &mut SmallRng::seed_from_u64(seed))
        });
        first.insert(message.answers[0].data.to_string());
    }
    assert_eq!(first.len(), 4);
}

#[test]
fn the_longest_pattern_gives_a_service_its_ttl() {
    let ttl = [("web", 1), ("we*", 2), ("*", 3), ("w*", 4)];
    let rules = Rules { service_ttl: ttl.map(|(name, ttl)| (name.to_owned(), ttl)).into(), ..rules() };
    let of = ["web", "webx", "wx", "db"].map(|name| rules.service_ttl(name));
    assert_eq!(of, [1, 2, 4, 3]);
}

#[test]
fn edns_repeats_the_size_and_the_subnet() {
    use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
    let mut message = Message::query();
    message.add_query(DnsQuery::query(TheirName::from_ascii("x.consul.").unwrap(), RecordType::A));
    let mut edns = ClientEdns::new();
    edns.set_max_payload(4000).set_dnssec_ok(true);
    edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new([1, 2, 3, 0].into(), 24, 7)));
    message.set_edns(edns);
    let request = Request::parse(&message.to_vec().unwrap()).unwrap();
    let reply = asked(&request, Transport::Udp, &rules(), |ask| ask.no_such_name());
    let edns = reply.edns.as_ref().unwrap();
    assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (4000, false));
    let expected = EdnsOption::Subnet(ClientSubnet::new([1, 2, 3, 0].into(), 24, 0));
    assert_eq!(edns.option(EdnsCode::Subnet), Some(&expected));
    assert_eq!((reply.metadata.id, reply.metadata.response_code), (message.metadata.id, ResponseCode::NXDomain));
}

#[track_caller]
fn check_refusal(packet: &[u8], expected: Refusal) {
    assert_eq!(Request::parse(packet).map(|request| request.name).unwrap_err(), expected);
}

#[test]
fn what_is_no_question_is_refused_or_ignored() {
    let mut packet = vec![7, 7, 1, 0x20, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'x', 0, 0, 1, 0, 1];
    assert!(Request::parse(&packet).is_ok());
    check_refusal(&packet[..11], Refusal::Ignore);
    check_refusal(&packet[..16], Refusal::Reply([7, 7, 0x81, 0x21, 0, 0, 0, 0, 0, 0, 0, 0]));
    packet[2] = 0x11;
    check_refusal(&packet, Refusal::Reply([7, 7, 0x91, 0x24, 0, 0, 0, 0, 0, 0, 0, 0]));
    packet[2] = 0x81;
    check_refusal(&packet, Refusal::Ignore);
    packet[2] = 1;
    packet[5] = 2;
    check_refusal(&packet, Refusal::Reply([7, 7, 0x81, 0x21, 0, 0, 0, 0, 0, 0, 0, 0]));
}

/// What is made of a question that ends with these records, of which the last three sections have so many.
#[track_caller]
fn check_records(counts: [u8; 3], records: &[u8], expected: Option<&[u8]>) {
    let [answers, authorities, additionals] = counts;
    let head = [7, 7, 1, 0, 0, 1, 0, answers, 0, authorities, 0, additionals, 1, b'x', 0, 0, 1, 0, 1];
    let found = Request::parse(&[&head[..], records].concat());
    let found = found.as_ref().map(|request| request.edns.as_ref().and_then(|edns| edns.subnet.as_deref()));
    match expected {
        Some(subnet) => assert_eq!(found, Ok(Some(subnet).filter(|subnet| !subnet.is_empty())), "{records:?}"),
        None => assert_eq!(found, Err(&Refusal::Reply([7, 7, 0x81, 1, 0, 0, 0, 0, 0, 0, 0, 0])), "{records:?}"),
    }
}

#[test]
fn edns_is_one_record_at_its_place_and_its_options_are_whole() {
    let edns = |options: &[u8]| {
        let length = u8::try_from(options.len()).unwrap();
        [&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, length][..], options].concat()
    };
    let address = [1, b'x', 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4];
    check_records([0, 0, 1], &edns(&[]), Some(&[]));
    check_records([1, 1, 2], &[&address[..], &address, &address, &edns(&[])].concat(), Some(&[]));
    check_records([0, 0, 0], b"more than was said", Some(&[]));
    check_records([0, 0, 1], &[], None);
    check_records([0, 0, 1], &address[..16], None);
    check_records([0, 0, 2], &edns(&[]).repeat(2), None);
    check_records([1, 0, 0], &edns(&[]), None);
    check_records([0, 1, 0], &edns(&[]), None);
    check_records([0, 0, 1], &[&[1, b'x'][..], &edns(&[])].concat(), None);
    check_records([0, 0, 1], &edns(&[0, 10, 0, 2, 1, 2, 0xff, 0xff, 0, 0]), Some(&[]));
    check_records([0, 0, 1], &edns(&[0, 10, 0, 3, 1, 2]), None);
    check_records([0, 0, 1], &edns(&[0, 10, 0]), None);
    check_records([0, 0, 1], &edns(&[0, 1, 0, 4, 0, 0, 0, 1]), None);
    check_records([0, 0, 1], &edns(&[0, 8, 0, 7, 0, 1, 20, 9, 1, 2, 0xff]), Some(&[0, 1, 20, 0, 1, 2, 0xf0]));
    check_records([0, 0, 1], &edns(&[0, 8, 0, 8, 0, 1, 24, 0, 1, 2, 3, 4]), Some(&[0, 1, 24, 0, 1, 2, 3]));
    check_records([0, 0, 1], &edns(&[0, 8, 0, 4, 0, 1, 16, 0]), Some(&[0, 1, 16, 0, 0, 0]));
    check_records([0, 0, 1], &edns(&[0, 8, 0, 4, 0, 0, 0, 0]), Some(&[0, 0, 0, 0]));
    check_records(
        [0, 0, 1],
        &edns(&[0, 8, 0, 7, 0, 2, 128, 0, 1, 2, 3]),
        Some(&[&[0, 2, 128, 0, 1, 2, 3][..], &[0; 13]].concat()),
    );
    check_records([0, 0, 1], &edns(&[0, 8, 0, 3, 0, 1, 0]), None);
    check_records([0, 0, 1], &edns(&[0, 8, 0, 7, 0, 3, 24, 0, 1, 2, 3]), None);
    check_records([0, 0, 1], &edns(&[0, 8, 0, 4, 0, 1, 33, 0]), None);
}

#[test]
fn what_cannot_fit_is_cut_and_said() {
    let mut on = instance("web1", "10.0.0.1", "", 80, CheckStatus::Passing);
    let node = Arc::make_mut(&mut on.node);
    node.fields.meta = (0..20).map(|n| (format!("key{n}"), "v".repeat(300))).collect();
    let found = NodeServices { node: on.node, services: Vec::new() };
    let ask =
        |kind| asked(&request("web1.node.consul.", kind, None), Transport::Udp, &rules(), |ask| ask.node(Some(&found)));
    let (plain, text) = (ask(RecordType::A), ask(RecordType::TXT));
    assert_eq!((plain.answers.len(), plain.additionals.len(), plain.metadata.truncation), (1, 0, false));
    assert_eq!((text.answers.len(), text.metadata.truncation), (0, true));
}

proptest! {
    #[test]
    fn no_packet_makes_a_panic_and_every_answer_decodes(
        name in "[a-zA-Z_0-9]{1,12}(\\.[a-zA-Z_0-9]{1,12}){0,5}",
        tail in prop_oneof![Just(".node.consul."), Just(".service.consul."), Just(".addr.dc1.consul."), Just(".in-addr.arpa.")],
        kind in any::<u16>(),
        size in any::<u16>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let mut message = Message::query();
        message.add_query(DnsQuery::query(TheirName::from_ascii(&(name + tail)).unwrap(), RecordType::from(kind)));
        let mut edns = ClientEdns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
        let mut packet = message.to_vec().unwrap();
        for (at, byte) in &flips {
            let at = at.index(packet.len());
            packet[at] = *byte;
        }
        if flips.len() > 3 {
            packet.truncate(cut.index(packet.len()));
        }
        let Ok(request) = Request::parse(&packet) else { return Ok(()) };
        let instances = many(40);
        let found = NodeServices { node: instances[0].node.clone(), services: Vec::new() };
        let zone = zone();
        for transport in [Transport::Udp, Transport::Tcp] {
            asked(&request, transport, &rules(), |ask| match zone.parse(&request.name, request.kind) {
                Question::Service { service, .. } => ask.service(&service, &instances, &mut SmallRng::seed_from_u64(seed)),
                Question::Node { .. } => ask.node(Some(&found)),
                Question::Address(ip) => ask.address("x.", ip),
                _ => ask.authority(&instances, &mut SmallRng::seed_from_u64(seed)),
            });
        }
    }

    #[test]
    fn random_bytes_are_refused_without_a_panic(packet in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Request::parse(&packet);
    }
}
