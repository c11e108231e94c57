//! What is said to recursors, what of their answers is believed, and packets cut and bent anywhere.

use hickory_proto::op::{Edns as ClientEdns, Message, OpCode, Query as DnsQuery, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::rdata::{A, CNAME, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use proptest::prelude::*;

use super::request::{HEADER_LENGTH, Refusal, Request};
use super::upstream::{Verdict, alias_records, hand_over, judge, place, question};
use super::wire;

const ID: u16 = 0x1234;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// What a client sends.
fn asked(text: &str) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.metadata.authentic_data = true;
    message.add_query(DnsQuery::query(name(text), RecordType::A));
    let mut edns = ClientEdns::new();
    edns.set_max_payload(1400).set_dnssec_ok(true);
    edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new([1, 2, 3, 0].into(), 24, 0)));
    edns.options_mut().insert(EdnsOption::Unknown(10, vec![1, 2, 3, 4, 5, 6, 7, 8]));
    message.set_edns(edns);
    message
}

fn request() -> Request {
    Request::parse(&asked("WwW.example.com.").to_vec().unwrap()).unwrap()
}

/// What a recursor answers to `request`.
fn answer() -> Message {
    let mut message = Message::from_vec(&question(&request(), ID)).unwrap().into_response();
    message.metadata.recursion_available = true;
    let record = |owner: &str, data| Record::from_rdata(name(owner), 60, data);
    message.add_answer(record("www.example.com.", RData::CNAME(CNAME(name("end.example.com.")))));
    message.add_answer(record("end.example.com.", RData::A(A::new(9, 9, 9, 9))));
    message.add_answer(record("end.example.com.", RData::TXT(TXT::new(vec!["text".to_owned()]))));
    message
}

#[track_caller]
fn check_place(text: &str, expected: Result<(&str, u16), &str>) {
    let found = place(text);
    let found = found.as_ref().map(|(host, port)| (host.as_str(), *port)).map_err(String::as_str);
    assert_eq!(found, expected, "{text}");
}

#[test]
fn a_recursor_is_an_address_with_or_without_a_port() {
    check_place("10.0.0.1", Ok(("10.0.0.1", 53)));
    check_place("10.0.0.1:5353", Ok(("10.0.0.1", 5353)));
    check_place("::1", Ok(("::1", 53)));
    check_place("[::1]", Ok(("::1", 53)));
    check_place("[::1]:54", Ok(("::1", 54)));
    check_place("dns.example.com", Ok(("dns.example.com", 53)));
    check_place(":54", Ok(("127.0.0.1", 54)));
    check_place("1.2.3.4:99999", Err("address 99999: invalid port"));
    check_place("1.2.3.4:dns", Err("address tcp/dns: unknown port"));
    check_place("::1%lo", Err("address ::1%lo: too many colons in address"));
}

#[test]
fn a_recursor_is_asked_with_the_name_the_flags_and_the_edns_of_the_client() {
    let client = asked("WwW.example.com.");
    let sent = Message::from_vec(&question(&request(), ID)).unwrap();
    assert_eq!(sent.metadata.id, ID);
    assert!(sent.metadata.recursion_desired && sent.metadata.authentic_data);
    assert_eq!(sent.queries, client.queries);
    assert_eq!(sent.queries[0].name().to_string(), "WwW.example.com.");
    assert_eq!(sent.edns, client.edns);
}

#[track_caller]
fn check_verdict(bend: impl FnOnce(&mut Message), expected: Verdict) {
    let mut message = answer();
    bend(&mut message);
    assert_eq!(judge(&request(), ID, &message.to_vec().unwrap()), expected);
}

#[test]
fn an_answer_has_the_id_and_the_question_and_says_whether_the_name_is_there() {
    let whole = Verdict::Answer { is_truncated: false };
    check_verdict(|_| (), whole);
    check_verdict(|message| message.metadata.response_code = ResponseCode::NXDomain, whole);
    check_verdict(|message| message.metadata.truncation = true, Verdict::Answer { is_truncated: true });
    check_verdict(|message| message.metadata.response_code = ResponseCode::ServFail, Verdict::Failure(2));
    check_verdict(|message| message.metadata.response_code = ResponseCode::Refused, Verdict::Failure(5));
    check_verdict(
        |message| {
            message.metadata.response_code = ResponseCode::FormErr;
            message.queries.clear();
        },
        Verdict::Failure(1),
    );
    check_verdict(|message| message.queries.clear(), Verdict::Noise);
    check_verdict(|message| message.metadata.id = ID + 1, Verdict::Noise);
    check_verdict(|message| message.metadata.op_code = OpCode::Update, Verdict::Noise);
    for other in [
        DnsQuery::query(name("evil.example.com."), RecordType::A),
        DnsQuery::query(name("www.example.com."), RecordType::AAAA),
    ] {
        check_verdict(|message| message.queries = vec![other.clone()], Verdict::Noise);
        check_verdict(|message| message.queries.push(other), Verdict::Noise);
    }
    // Some recursors repeat the name in lower case.
    check_verdict(|message| message.queries = vec![DnsQuery::query(name("www.example.com."), RecordType::A)], whole);
    let echo = question(&request(), ID);
    assert_eq!(judge(&request(), ID, &echo), Verdict::Noise, "a question is no answer");
}

#[test]
fn every_cut_of_an_answer_is_noise() {
    let whole = answer().to_vec().unwrap();
    for length in 0..whole.len() {
        assert_eq!(judge(&request(), ID, &whole[..length]), Verdict::Noise, "{length} bytes");
    }
}

#[test]
fn the_client_gets_the_answer_under_its_own_id_or_is_told_to_use_tcp() {
    let (request, packet) = (request(), answer().to_vec().unwrap());
    let handed = hand_over(&request, packet.clone(), packet.len(), true);
    assert_eq!((&handed[..2], &handed[2..]), (&request.id.to_be_bytes()[..], &packet[2..]));
    let cut = Message::from_vec(&hand_over(&request, packet.clone(), packet.len() - 1, true)).unwrap();
    assert_eq!((cut.metadata.id, cut.metadata.truncation, cut.answers.len()), (request.id, true, 0));
    assert_eq!(cut.queries[0].name().to_string(), request.name.to_string());
    assert_eq!(cut.edns.unwrap().max_payload(), 1400);
}

#[test]
fn an_alias_is_followed_by_addresses_and_aliases_alone() {
    let records = alias_records(&answer().to_vec().unwrap());
    let kinds: Vec<_> = records.iter().map(|record| (record.data.kind(), record.ttl)).collect();
    assert_eq!(kinds, [(RecordType::CNAME, 60), (RecordType::A, 60)]);
    assert!(alias_records(&[1, 2, 3]).is_empty());
}

#[test]
fn every_cut_of_a_question_is_silence_or_a_header_that_refuses() {
    let whole = asked("www.example.com.").to_vec().unwrap();
    assert!(Request::parse(&whole).is_ok());
    for length in 0..whole.len() {
        match Request::parse(&whole[..length]) {
            Err(Refusal::Ignore) => assert!(length < HEADER_LENGTH, "{length} bytes are ignored"),
            Err(Refusal::Reply(header)) => {
                assert!(length >= HEADER_LENGTH, "{length} bytes are answered");
                assert_eq!((&header[..2], header[2] & 0x80, header[3] & 0x0f), (&whole[..2], 0x80, 1));
            }
            Ok(_) => panic!("{length} bytes of {} are a question", whole.len()),
        }
    }
}

#[test]
fn names_that_point_at_themselves_or_ahead_are_refused() {
    let head = [7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let names: [&[u8]; 5] =
        [&[0xc0, 12], &[1, b'a', 0xc0, 12], &[0xc0, 14, 0xc0, 12], &[0xc0, 0xff], &[1, b'a', 0xc0, 14]];
    for name in names {
        let packet = [&head[..], name, &[0, 1, 0, 1]].concat();
        let refused = Request::parse(&packet).map(|request| request.name).unwrap_err();
        assert_eq!(refused, Refusal::Reply([7, 7, 0x81, 1, 0, 0, 0, 0, 0, 0, 0, 0]), "{name:?}");
    }
}

#[test]
fn an_opcode_that_nobody_knows_is_not_implemented_and_a_class_is_repeated() {
    let mut packet = asked("www.example.com.").to_vec().unwrap();
    for opcode in [1, 2, 3, 5, 6, 15] {
        packet[2] = opcode << 3;
        let Err(Refusal::Reply(header)) = Request::parse(&packet) else { panic!("opcode {opcode} is a question") };
        assert_eq!(header[3] & 0x0f, 4, "opcode {opcode}");
    }
    let mut chaos = Message::query();
    let mut query = DnsQuery::query(name("version.bind."), RecordType::TXT);
    query.set_query_class(DNSClass::CH);
    chaos.add_query(query);
    let request = Request::parse(&chaos.to_vec().unwrap()).unwrap();
    assert_eq!(request.class, DNSClass::CH);
    assert_eq!(Message::from_vec(&question(&request, ID)).unwrap().queries[0].query_class(), DNSClass::CH);
}

proptest! {
    #[test]
    fn no_answer_makes_a_panic_and_none_is_larger_than_the_client_takes(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        more in prop::collection::vec(any::<u8>(), 0..2000),
        is_cut in any::<bool>(),
    ) {
        let mut packet = answer().to_vec().unwrap();
        for (at, byte) in &flips {
            let at = at.index(packet.len());
            packet[at] = *byte;
        }
        if is_cut {
            packet.truncate(cut.index(packet.len()));
        }
        packet.extend(more);
        alias_records(&packet);
        let request = request();
        if judge(&request, ID, &packet) != Verdict::Noise {
            let limit = wire::size_limit(&request, wire::Transport::Udp);
            let handed = hand_over(&request, packet, limit, true);
            prop_assert!(handed.len() <= limit && handed[..2] == request.id.to_be_bytes());
        }
    }
}
