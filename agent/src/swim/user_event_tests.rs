//! User events: told once, in order, to all, and no more than there is room for.

use std::sync::Arc;

use super::codec::Message;
use super::codec_tests::captured_events;
use super::packet;
use super::stream::{self, StreamMessage};
use super::tests::Subject;
use super::user_event::FireRefusal;
use super::wire::{PastEvents, SerfMessage, SerfState};
use super::wire_event::EventMessage;
use super::{Input, Notice, Order, Output};

fn told(out: &Output) -> Vec<(u64, String)> {
    let event = |notice: &Notice| match notice {
        Notice::UserEvent(event) => Some((event.ltime, event.name.to_string())),
        _ => None,
    };
    out.notices.iter().filter_map(event).collect()
}

fn message(ltime: u64, name: &str) -> Vec<u8> {
    EventMessage { ltime, name, payload: b"x", coalesce: false }.to_bytes()
}

fn hear(subject: &mut Subject, ltime: u64, name: &str) -> Output {
    subject.hear(&[Message::User(&message(ltime, name))])
}

fn fire(subject: &mut Subject, name: &str, payload: &[u8]) -> (Output, Result<(), FireRefusal>) {
    let order = Order::Fire { ticket: 1, name: name.to_owned(), payload: payload.to_vec(), coalesce: false };
    let mut out = Output::default();
    subject.swim.handle(subject.now, Input::Order(order), &mut out);
    let ended = |notice: &Notice| match notice {
        Notice::FireEnded { outcome, .. } => Some(*outcome),
        _ => None,
    };
    let outcome = out.notices.iter().find_map(ended).expect("an order is answered");
    (out, outcome)
}

#[test]
fn an_event_is_told_once_and_passed_on_once() {
    let mut subject = Subject::among(&["a", "b"]);
    assert_eq!(told(&hear(&mut subject, 5, "deploy")), [(5, "deploy".to_owned())]);
    assert_eq!(subject.swim.facts().event_queue, 1);
    assert_eq!(told(&hear(&mut subject, 5, "deploy")), []);
    assert_eq!((subject.swim.facts().event_queue, subject.swim.facts().event_time), (1, 6));
    assert_eq!(told(&hear(&mut subject, 5, "restart")), [(5, "restart".to_owned())]);
}

#[test]
fn an_event_older_than_the_buffer_is_not_told() {
    let mut subject = Subject::among(&["a"]);
    hear(&mut subject, 600, "now");
    assert_eq!(told(&hear(&mut subject, 88, "old")), []);
    assert_eq!(told(&hear(&mut subject, 89, "just")), [(89, "just".to_owned())]);
}

#[test]
fn our_own_event_is_told_to_ourselves_and_goes_out() {
    let mut subject = Subject::among(&["a"]);
    let (out, outcome) = fire(&mut subject, "deploy", b"7");
    assert_eq!((told(&out), outcome), (vec![(1, "deploy".to_owned())], Ok(())));
    assert_eq!((subject.swim.facts().event_queue, subject.swim.facts().event_time), (1, 2));
    let (out, _) = fire(&mut subject, "deploy", b"7");
    assert_eq!(told(&out), [(2, "deploy".to_owned())], "the same again is another event");
}

#[test]
fn an_event_that_is_too_long_is_refused() {
    let mut subject = Subject::among(&["a"]);
    let (_, outcome) = fire(&mut subject, "deploy", &[0; 507]);
    assert_eq!(outcome, Err(FireRefusal::TooLong));
    let (_, outcome) = fire(&mut subject, "deploy", &[0; 500]);
    assert_eq!(outcome, Err(FireRefusal::TooLongEncoded));
    assert_eq!(subject.swim.facts().event_queue, 0);
}

#[test]
fn a_push_pull_brings_events_and_a_join_of_ours_brings_none_of_the_past() {
    let past = || vec![PastEvents { ltime: 7, events: vec![(Arc::from("deploy"), Arc::from(&b"x"[..]))] }];
    let mut subject = Subject::among(&["a"]);
    let mut out = Output::default();
    subject.swim.merge_events(false, 8, &past(), &mut out);
    assert_eq!(told(&out), [(7, "deploy".to_owned())]);
    assert_eq!(subject.swim.past_events(), past());
    let mut newcomer = Subject::among(&["a"]);
    let mut out = Output::default();
    newcomer.swim.merge_events(true, 8, &past(), &mut out);
    assert_eq!(told(&out), []);
    assert_eq!(told(&hear(&mut newcomer, 7, "deploy")), [], "nor does a late rumour");
    assert_eq!(told(&hear(&mut newcomer, 8, "next")), [(8, "next".to_owned())]);
}

#[test]
fn forged_floods_are_bounded_and_counted() {
    let mut subject = Subject::among(&["a"]);
    let name = "n".repeat(1000);
    for number in 0..10_000 {
        let body = EventMessage { ltime: 5, name: &name, payload: &u32::to_be_bytes(number), coalesce: false };
        subject.hear(&[Message::User(&body.to_bytes())]);
    }
    let facts = subject.swim.facts();
    assert!(facts.event_queue <= 4096 && facts.counters.refused > 0 && facts.counters.rumours_dropped > 0, "{facts:?}");
}

#[test]
fn captured_events_are_read_and_written_as_they_were() {
    let mut names = Vec::new();
    for packet in captured_events("udp") {
        packet::unpack(&packet, &mut |bare| {
            let Ok(Message::User(body)) = Message::read(bare) else { return };
            if let Ok(SerfMessage::Event(event)) = SerfMessage::read(body) {
                assert_eq!(event.to_bytes(), body);
                names.push(event.name.to_owned());
            }
        })
        .expect("a packet");
    }
    assert_eq!(names, ["deploy", "restart"]);
}

#[test]
fn a_captured_push_pull_with_events_is_written_as_it_was() {
    let [sent] = &captured_events("tcp")[..] else { panic!("one stream") };
    let bytes = stream::plain(sent.clone()).expect("a stream");
    let Ok(StreamMessage::PushPull(state)) = StreamMessage::read(&bytes) else { panic!("no push/pull") };
    let serf = SerfState::read(state.user).expect("serf's part");
    assert_eq!(serf.events.iter().map(|past| past.events.len()).sum::<usize>(), 2);
    assert_eq!(SerfState::read(&serf.to_bytes()), Ok(serf.clone()));
    // Serf's map of status times has no order of its own: all else is the same, byte for byte.
    let events = |bytes: &[u8]| {
        let at = bytes.windows(6).position(|window| window == b"Events").expect("events");
        bytes[at..at + 600].to_vec()
    };
    assert_eq!(events(&serf.to_bytes()), events(state.user));
}
