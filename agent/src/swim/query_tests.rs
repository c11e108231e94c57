//! Queries: answered, acknowledged, filtered, passed on, gathered; keys; names that two claim.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::event::MemberEvent;

use super::codec::{Alive, Message};
use super::codec_tests::captured_events;
use super::internal::{KeyAction, KeyReply, key_question, read_holder, write_holder};
use super::packet;
use super::query::{Answers, AskRefusal, Question};
use super::tests::{Subject, address, sent};
use super::wire::SerfMessage;
use super::wire_event::{FLAG_ACK, FLAG_NO_BROADCAST, Filter, QueryMessage, RelayMessage, ResponseMessage};
use super::{Input, Notice, Order, Output, VERSIONS};

fn query<'a>(id: u32, name: &'a str, payload: &'a [u8]) -> QueryMessage<'a> {
    QueryMessage {
        ltime: 9,
        id,
        from: address(2),
        node: "a",
        filters: Vec::new(),
        flags: 0,
        relay_factor: 0,
        timeout_nanos: 5_000_000_000,
        name,
        payload,
    }
}

fn hear(subject: &mut Subject, query: &QueryMessage<'_>) -> Output {
    subject.hear(&[Message::User(&query.to_bytes())])
}

fn asked(out: &Output) -> usize {
    out.notices.iter().filter(|notice| matches!(notice, Notice::Query(_))).count()
}

/// Messages of serf's in packets to this address.
fn heard_by(out: &Output, to: std::net::SocketAddr) -> Vec<Vec<u8>> {
    let messages = sent(out, |message| matches!(message, Message::User(_)));
    // After the type byte.
    messages.into_iter().filter(|(at, _)| *at == to).map(|(_, bytes)| bytes[1..].to_vec()).collect()
}

/// Answers in packets to 10.0.0.N: flags, payload.
fn responses(out: &Output, to: u8) -> Vec<(u32, Vec<u8>)> {
    let mut found = Vec::new();
    for body in heard_by(out, address(to)) {
        if let Ok(SerfMessage::Response(response)) = SerfMessage::read(&body) {
            found.push((response.flags, response.payload.to_vec()));
        }
    }
    found
}

fn order(subject: &mut Subject, order: Order) -> Output {
    let mut out = Output::default();
    subject.swim.handle(subject.now, Input::Order(order), &mut out);
    out
}

fn answers(out: &Output) -> Option<Result<Answers, AskRefusal>> {
    out.notices.iter().find_map(|notice| match notice {
        Notice::AskEnded { outcome, .. } => Some(outcome.clone()),
        _ => None,
    })
}

#[test]
fn a_query_is_taken_once_acknowledged_and_passed_on() {
    let mut subject = Subject::among(&["a", "b"]);
    let mut query = query(1, "uptime", b"");
    query.flags = FLAG_ACK;
    let out = hear(&mut subject, &query);
    assert_eq!((asked(&out), responses(&out, 2)), (1, vec![(FLAG_ACK, vec![])]));
    assert_eq!(subject.swim.facts().query_queue, 1);
    let again = hear(&mut subject, &query);
    assert_eq!((asked(&again), responses(&again, 2)), (0, vec![]));
}

#[test]
fn filters_decide_who_answers_and_not_who_passes_on() {
    let check = |filter: Filter<'_>, expected: usize| {
        let mut subject = Subject::among(&["a", "b"]);
        let bytes = filter.to_bytes();
        let mut query = query(1, "uptime", b"");
        query.filters = vec![&bytes];
        assert_eq!(asked(&hear(&mut subject, &query)), expected, "{filter:?}");
        assert_eq!(subject.swim.facts().query_queue, 1);
    };
    check(Filter::Nodes(vec!["x", "me"]), 1);
    check(Filter::Nodes(vec!["x"]), 0);
    check(Filter::Tag { tag: "none", expression: "^$" }, 1);
    check(Filter::Tag { tag: "none", expression: "." }, 0);
    check(Filter::Tag { tag: "none", expression: "[" }, 0);
}

#[test]
fn a_query_that_is_not_to_be_passed_on_is_not() {
    let mut subject = Subject::among(&["a", "b"]);
    let mut query = query(1, "uptime", b"");
    query.flags = FLAG_NO_BROADCAST;
    assert_eq!(asked(&hear(&mut subject, &query)), 1);
    assert_eq!(subject.swim.facts().query_queue, 0);
}

#[test]
fn our_query_gathers_answers_of_members_once_each_until_its_time_is_over() {
    let mut subject = Subject::among(&["a", "b"]);
    let question = Question { name: "uptime".to_owned(), ack: true, ..Question::default() };
    let out = order(&mut subject, Order::Ask { ticket: 4, question });
    assert_eq!(answers(&out), None);
    let id = subject
        .swim
        .queries
        .heard
        .all()
        .next()
        .and_then(|(_, ids)| ids.first().copied())
        .expect("our own is remembered");
    for (from, flags) in [("a", FLAG_ACK), ("a", 0), ("a", 0), ("stranger", 0), ("b", 0)] {
        let response = ResponseMessage { ltime: 1, id, from, flags, payload: b"1d" };
        subject.hear(&[Message::User(&response.to_bytes())]);
    }
    let other = ResponseMessage { ltime: 1, id: id ^ 1, from: "b", flags: FLAG_ACK, payload: b"" };
    subject.hear(&[Message::User(&other.to_bytes())]);
    // 200 ms x 16 x the logarithm of 4, rounded up.
    let out = subject.pass(Duration::from_millis(3300));
    let answers = answers(&out).expect("its time is over").expect("it was asked");
    assert_eq!(answers.nodes, 3);
    assert_eq!(answers.acks.iter().map(|name| &**name).collect::<Vec<_>>(), ["me", "a"]);
    assert_eq!(answers.responses, [("a".into(), b"1d".to_vec()), ("b".into(), b"1d".to_vec())]);
}

#[test]
fn queries_are_limited_in_size_and_number() {
    let mut subject = Subject::among(&["a"]);
    let long = Question { name: "q".to_owned(), payload: vec![0; 1000], ..Question::default() };
    let out = order(&mut subject, Order::Ask { ticket: 1, question: long });
    assert_eq!(answers(&out), Some(Err(AskRefusal::TooLong)));
    for ticket in 0..64 {
        let question = Question { name: "q".to_owned(), ..Question::default() };
        assert_eq!(answers(&order(&mut subject, Order::Ask { ticket, question })), None);
    }
    let question = Question { name: "q".to_owned(), ..Question::default() };
    let out = order(&mut subject, Order::Ask { ticket: 99, question });
    assert_eq!(answers(&out), Some(Err(AskRefusal::TooMany)));
}

#[test]
fn an_answer_goes_over_others_too_where_that_is_asked_for() {
    let mut subject = Subject::among(&["a", "b", "c"]);
    let mut query = query(1, "_serf_ping", b"");
    (query.flags, query.relay_factor) = (FLAG_ACK, 2);
    let out = hear(&mut subject, &query);
    assert_eq!(responses(&out, 2).len(), 1);
    // Beside the question itself, which is told on.
    let relays = |to| heard_by(&out, address(to)).iter().filter(|body| body[0] == 9).count();
    assert_eq!(relays(3) + relays(4), 2, "b and c are asked, and a is who asks");
}

#[test]
fn an_answer_is_passed_on_to_members_and_to_nobody_else() {
    let mut subject = Subject::among(&["a", "b"]);
    let relay = |to| RelayMessage { to: address(to), node: "b", body: b"\x05\x80" }.to_bytes();
    let out = subject.hear(&[Message::User(&relay(3))]);
    assert_eq!(heard_by(&out, address(3)), [b"\x05\x80".to_vec()]);
    let out = subject.hear(&[Message::User(&relay(77))]);
    assert_eq!(out.packets.len(), 0);
    assert_eq!(subject.swim.facts().counters.refused, 1);
}

#[test]
fn keys_are_asked_of_the_driver_and_all_answers_end_it() {
    let mut subject = Subject::among(&["a"]);
    let question = key_question(KeyAction::Install, &[7; 16], 0);
    let out = order(&mut subject, Order::Ask { ticket: 1, question });
    let reply = out.notices.iter().find_map(|notice| match notice {
        Notice::KeyAsked { action: KeyAction::Install, key, reply } if *key == [7; 16] => Some(reply.clone()),
        _ => None,
    });
    let answer = KeyReply { done: true, ..KeyReply::default() }.to_bytes();
    let out = order(&mut subject, Order::Respond { reply: reply.expect("asked"), payload: answer.clone() });
    assert_eq!(answers(&out), None);
    let id = subject
        .swim
        .queries
        .heard
        .all()
        .next()
        .and_then(|(_, ids)| ids.first().copied())
        .expect("our own is remembered");
    let response = ResponseMessage { ltime: 1, id, from: "a", flags: 0, payload: &answer };
    let out = subject.hear(&[Message::User(&response.to_bytes())]);
    let answers = answers(&out).expect("everybody has answered").expect("it was asked");
    assert_eq!(answers.responses.len(), 2);
}

fn claim(subject: &mut Subject, name: &str, last: u8) -> Output {
    let meta = super::member::to_meta(&BTreeMap::from([("id".to_owned(), format!("id-{last}"))]));
    let alive = Alive { incarnation: 9, node: name, address: address(last), meta: &meta, versions: VERSIONS };
    subject.hear(&[Message::Alive(alive)])
}

fn conflicts(out: &Output) -> usize {
    out.notices.iter().filter(|notice| matches!(notice, Notice::Member(MemberEvent::Conflict(_)))).count()
}

#[test]
fn a_name_that_two_claim_is_told_once_a_minute_with_both() {
    let mut subject = Subject::among(&["a", "b"]);
    let out = claim(&mut subject, "a", 9);
    let told = out.notices.iter().find_map(|notice| match notice {
        Notice::Member(MemberEvent::Conflict(news)) => Some(news.clone()),
        _ => None,
    });
    let told = told.expect("a conflict");
    assert_eq!((told.state.address.as_str(), told.state.tags["id"].as_str()), ("10.0.0.9", "id-9"));
    assert_eq!(told.account.held_by.expect("who has it").address, "10.0.0.2:8301");
    assert_eq!(conflicts(&claim(&mut subject, "a", 9)), 0);
    assert_eq!(conflicts(&claim(&mut subject, "a", 8)), 1);
}

/// What comes of a vote about our name in which each of these members says who has it.
fn vote(holders: &[(&str, u8)]) -> Option<(usize, usize)> {
    let names: Vec<&str> = holders.iter().map(|(name, _)| *name).collect();
    let mut subject = Subject::among(&names);
    claim(&mut subject, "me", 9);
    let (ltime, ids) = subject.swim.queries.heard.all().next().expect("the others are asked");
    let (ltime, id) = (ltime, *ids.first().expect("a query's ID"));
    for (from, last) in holders {
        let alive =
            Alive { incarnation: 1, node: "me", address: address(*last), meta: b"\xff\x80", versions: VERSIONS };
        let held = super::member::Member::new(&alive, subject.now);
        let payload = write_holder(Some(&held));
        let response = ResponseMessage { ltime, id, from, flags: 0, payload: &payload };
        subject.hear(&[Message::User(&response.to_bytes())]);
    }
    let out = subject.pass(Duration::from_secs(7));
    out.notices.iter().find_map(|notice| match notice {
        Notice::Outvoted { matching, responses } => Some((*matching, *responses)),
        _ => None,
    })
}

#[test]
fn a_majority_decides_whose_name_it_is() {
    assert_eq!(vote(&[("a", 1), ("b", 1), ("c", 9)]), None);
    assert_eq!(vote(&[("a", 9), ("b", 1), ("c", 9)]), Some((1, 3)));
    assert_eq!(vote(&[("a", 9), ("b", 1)]), Some((1, 2)), "half is no majority");
    assert_eq!(vote(&[]), None, "nobody is there to say");
}

#[test]
fn a_question_about_a_name_is_answered_with_what_we_hold() {
    let mut subject = Subject::among(&["a", "b"]);
    let out = hear(&mut subject, &query(1, "_serf_conflict", b"b"));
    assert_eq!(read_holder(&responses(&out, 2)[0].1), Ok(Some(address(3))));
    let out = hear(&mut subject, &query(2, "_serf_conflict", b"nobody"));
    assert_eq!(read_holder(&responses(&out, 2)[0].1), Ok(None));
    let out = hear(&mut subject, &query(3, "_serf_conflict", b"me"));
    assert_eq!(responses(&out, 2), []);
}

#[test]
fn captured_queries_and_answers_are_read_and_written_as_they_were() {
    let (mut queries, mut answers, mut relays, mut keys) = (0, 0, 0, 0);
    for packet in captured_events("udp") {
        packet::unpack(&packet, &mut |bare| {
            let Ok(Message::User(body)) = Message::read(bare) else { return };
            match SerfMessage::read(body) {
                Ok(SerfMessage::Query(query)) => {
                    for bytes in &query.filters {
                        assert_eq!(Filter::read(bytes).expect("a filter").to_bytes(), *bytes);
                    }
                    assert_eq!(query.to_bytes(), body);
                    queries += 1;
                    if query.name == "_serf_list-keys" {
                        assert_eq!(key_question(KeyAction::List, &[], 0).payload, query.payload);
                    }
                }
                Ok(SerfMessage::Response(response)) => {
                    assert_eq!(response.to_bytes(), body);
                    answers += 1;
                    if let Some(reply) = KeyReply::read(response.payload) {
                        assert_eq!(reply.to_bytes(), response.payload);
                        keys += 1;
                    }
                }
                Ok(SerfMessage::Relay(relay)) => {
                    assert_eq!(relay.to_bytes(), body);
                    relays += 1;
                }
                _ => {}
            }
        })
        .expect("a packet");
    }
    assert!(queries >= 5 && answers >= 10 && relays >= 2 && keys >= 1, "{queries} {answers} {relays} {keys}");
}
