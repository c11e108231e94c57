//! The stream's contract: picture, snapshot-end, live, resume, reset, lagged.

use shared::event::{ElectionEvent, ElectionRecord, ElectionResult, KINDS, RaftEvent};

use super::*;

fn bus() -> Bus {
    Bus::new("one", "b007")
}

fn all() -> Filter {
    Filter { kinds: KINDS.into_iter().collect(), level: Level::Info, node: None, own: false }
}

fn only(kind: &'static str) -> Filter {
    Filter { kinds: BTreeSet::from([kind]), ..all() }
}

fn confirmed(term: u64) -> Body {
    Body::Raft(RaftEvent::LeaderConfirmed { term })
}

fn line(text: &str, level: Level) -> Body {
    Body::Log(LogEvent::Line { level, logger: "agent".into(), message: text.into() })
}

fn ended(term: u64) -> Body {
    Body::Election(ElectionEvent::Ended(ElectionRecord {
        term,
        at: WallTime::from_micros(0),
        candidate: "two".into(),
        cause: "test".into(),
        votes: BTreeMap::new(),
        tally: 1,
        need: 1,
        result: ElectionResult::Won,
        leaderless_ms: None,
    }))
}

fn publish(bus: &Bus, body: Body) {
    bus.publish(WallTime::from_micros(5), body);
}

/// `id event` of each frame.
fn heads(frames: &[Bytes]) -> Vec<String> {
    frames
        .iter()
        .map(|frame| {
            let text = std::str::from_utf8(frame).expect("text");
            let mut lines = text.lines();
            let id = lines.next().and_then(|l| l.strip_prefix("id: ")).expect("an id");
            let event = lines.next().and_then(|l| l.strip_prefix("event: ")).expect("an event");
            assert!(lines.next().is_some_and(|l| l.starts_with("data: {")), "{text}");
            assert!(text.ends_with("}\n\n"), "{text}");
            format!("{id} {event}")
        })
        .collect()
}

fn drain(reader: &mut Reader) -> Vec<Item> {
    let mut items = Vec::new();
    while let Ok(item) = reader.queue.try_recv() {
        items.push(item);
    }
    items
}

#[test]
fn a_new_stream_opens_with_the_picture_and_then_what_happens() {
    let bus = bus();
    publish(&bus, ended(2));
    publish(&bus, confirmed(2));
    let mut opening = bus.open(all(), None).expect("a stream");
    assert_eq!(heads(&opening.frames), ["b007-1 election", "b007-2 snapshot-end"]);
    assert!(std::str::from_utf8(&opening.frames[0]).expect("text").contains(r#""Type":"past""#));
    publish(&bus, confirmed(3));
    assert_eq!(drain(&mut opening.reader).len(), 1);
}

#[test]
fn a_stream_resumes_after_the_last_event_it_saw() {
    let bus = bus();
    for term in 1..=4 {
        publish(&bus, confirmed(term));
    }
    let since = "b007-2".parse().expect("an ID");
    let opening = bus.open(all(), Some(&since)).expect("a stream");
    assert_eq!(heads(&opening.frames), ["b007-3 raft", "b007-4 raft"]);
}

#[test]
fn what_cannot_be_resumed_is_reset() {
    let bus = bus();
    for term in 0..=RING as u64 + 1 {
        publish(&bus, confirmed(term));
    }
    for (since, reason) in [
        ("other-1", "this agent was restarted, or it is another one"),
        ("b007-999999", "that event has not happened yet"),
        ("b007-1", "what happened since is no longer kept"),
    ] {
        let opening = bus.open(all(), Some(&since.parse().expect("an ID"))).expect("a stream");
        let reset = std::str::from_utf8(&opening.frames[0]).expect("text");
        assert!(reset.contains(&format!(r#"{{"Reason":"{reason}"}}"#)), "{reset}");
        assert_eq!(heads(&opening.frames)[0], "b007-0 reset", "{since}");
        assert!(heads(&opening.frames).last().is_some_and(|head| head.ends_with(" snapshot-end")), "{since}");
    }
    let opening = bus.open(all(), Some(&"b007-2".parse().expect("an ID"))).expect("a stream");
    assert_eq!(opening.frames.len(), RING);
}

#[test]
fn log_lines_do_not_push_events_out() {
    let bus = bus();
    publish(&bus, confirmed(1));
    for _ in 0..RING + 5 {
        publish(&bus, line("noise", Level::Info));
    }
    let since = "b007-0".parse().expect("an ID");
    let raft = bus.open(only("raft"), Some(&since)).expect("a stream");
    assert_eq!(heads(&raft.frames), ["b007-1 raft"]);
    let with_lines = bus.open(all(), Some(&since)).expect("a stream");
    assert_eq!(heads(&with_lines.frames)[0], "b007-0 reset");
}

#[test]
fn a_slow_reader_is_told_how_many_it_lost_before_what_comes_after() {
    let bus = bus();
    let mut opening = bus.open(all(), None).expect("a stream");
    for term in 0..READER_QUEUE as u64 + 7 {
        publish(&bus, confirmed(term));
    }
    assert_eq!(drain(&mut opening.reader).len(), READER_QUEUE);
    publish(&bus, confirmed(99));
    let items = drain(&mut opening.reader);
    assert_eq!(items.len(), 2);
    assert_eq!(items[0], Item::Lagged(7));
    assert_eq!(bus.lost_total(), 7);
}

#[test]
fn filters_choose_kind_level_and_node() {
    #[track_caller]
    fn check(filter: Filter, expected: &[&str]) {
        let bus = bus();
        publish(&bus, confirmed(1));
        publish(&bus, ended(2));
        publish(&bus, line("i", Level::Info));
        publish(&bus, line("e", Level::Error));
        let since = "b007-0".parse().expect("an ID");
        assert_eq!(heads(&bus.open(filter, Some(&since)).expect("a stream").frames), expected);
    }
    check(only("raft"), &["b007-1 raft"]);
    check(Filter { level: Level::Warn, ..only("log") }, &["b007-4 log"]);
    check(Filter { node: Some("two".into()), ..all() }, &["b007-2 election"]);
}

#[test]
fn the_pump_follows_the_lowest_level_wanted_while_it_is_wanted() {
    let bus = bus();
    assert_eq!(bus.log_level(), Level::Info);
    let debug = bus.open(Filter { level: Level::Debug, ..only("log") }, None).expect("a stream");
    assert_eq!(bus.log_level(), Level::Debug);
    drop(debug);
    assert_eq!((bus.log_level(), bus.readers()), (Level::Info, 0));
}

#[test]
fn the_picture_keeps_the_last_hundred_elections() {
    let bus = bus();
    for term in 1..=150 {
        publish(&bus, ended(term));
    }
    let frames = bus.open(all(), None).expect("a stream").frames;
    assert_eq!(frames.len(), ELECTIONS + 1);
    assert_eq!(heads(&frames)[0], "b007-51 election");
}

#[test]
fn there_is_a_limit_to_the_streams() {
    let bus = bus();
    let open: Vec<_> = (0..READERS_MAX).map(|_| bus.open(all(), None).expect("a stream")).collect();
    assert!(bus.open(all(), None).is_err());
    drop(open);
    assert!(bus.open(all(), None).is_ok());
}
