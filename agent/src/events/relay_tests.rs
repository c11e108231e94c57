//! Two buses, and the wire between them without a socket.

use std::collections::BTreeMap;

use shared::event::{Body, ElectionEvent, ElectionRecord, ElectionResult, RaftEvent, RaftState, Role};

use super::*;
use crate::moment::{Moment, WallTime};

fn record(term: u64) -> ElectionRecord {
    ElectionRecord {
        term,
        at: WallTime::from_micros(1),
        candidate: "a".to_owned(),
        cause: "test".to_owned(),
        votes: BTreeMap::new(),
        tally: 2,
        need: 2,
        result: ElectionResult::Won,
        leaderless_ms: None,
    }
}

fn publish(bus: &Bus, term: u64) {
    bus.publish(WallTime::from_micros(1), Body::Election(ElectionEvent::Ended(record(term))));
}

async fn ask(bus: &Bus, since: &Option<String>, own: bool) -> Bytes {
    let ask = Ask { since: since.clone(), own, replication: false };
    let call = Call {
        service: Service::Events,
        lane: Lane::Bulk,
        peer: ([127, 0, 0, 1], 1).into(),
        deadline: Moment::from_micros(0),
        payload: payload::encode(FORMAT, &ask),
    };
    answer(bus, &call).await.expect("an answer")
}

fn relay(bus: &Bus, tasks: &Tasks) -> Relay {
    let (_, members) = watch::channel(Arc::default());
    Relay {
        bus: bus.clone(),
        pool: Pool::new(None, tasks),
        members,
        datacenter: "dc1".to_owned(),
        node_name: "b".to_owned(),
        server: true,
    }
}

/// Terms of the elections in a picture or a resumed stream, and whose events they are.
fn terms(bus: &Bus, own: bool) -> Vec<(u64, String)> {
    let filter = Filter { kinds: BTreeSet::from(ALWAYS), level: Level::Info, node: None, own };
    let frames = bus.open(filter, None).expect("opens").frames.concat();
    let (mut parser, mut items) = (Parser::new(FRAME_BYTES_MAX), Vec::new());
    parser.feed(&frames, &mut items);
    let event = |item: sse::Item| match item {
        sse::Item::Frame(frame) => serde_json::from_str::<Event>(&frame.data).ok(),
        _ => None,
    };
    let term = |event: Event| match event.body {
        Body::Election(ElectionEvent::Past(record)) => Some((record.term, event.origin.node)),
        _ => None,
    };
    items.into_iter().filter_map(event).filter_map(term).collect()
}

#[tokio::test]
async fn what_another_server_saw_is_told_once_with_its_origin_and_never_back() {
    let (a, b, tasks) = (Bus::new("a", "aa"), Bus::new("b", "bb"), Tasks::new());
    let hears = relay(&b, &tasks);
    let mut since = None;
    publish(&a, 3);
    hears.take(&ask(&a, &since, true).await, &mut since);
    publish(&a, 4);
    hears.take(&ask(&a, &since, true).await, &mut since);
    // As after a lost answer: all of it again.
    hears.take(&ask(&a, &None, true).await, &mut None);
    let origin = || "a".to_owned();
    assert_eq!(terms(&b, false), [(3, origin()), (4, origin())]);
    assert_eq!(terms(&b, true), [], "a server asks each one for its own");
    assert_eq!(since.as_deref(), Some("aa-2"));
}

#[tokio::test]
async fn a_question_waits_for_news() {
    let a = Bus::new("a", "aa");
    publish(&a, 1);
    let since = Some("aa-1".to_owned());
    let (frames, ()) = tokio::join!(ask(&a, &since, true), async { publish(&a, 2) });
    assert!(String::from_utf8_lossy(&frames).contains("id: aa-2"), "{frames:?}");
}

#[tokio::test]
async fn the_raft_of_each_server_is_in_the_picture_until_it_is_gone() {
    let (a, b, tasks) = (Bus::new("a", "aa"), Bus::new("b", "bb"), Tasks::new());
    let state = RaftState {
        role: Role::Leader,
        term: 7,
        confirmed: true,
        leader_id: None,
        leader_since: None,
        last_log: 1,
        commit: 1,
        applied: 1,
        snapshot: 0,
        peers: Vec::new(),
        no_seat: false,
    };
    for bus in [&a, &b] {
        bus.publish(WallTime::from_micros(1), Body::Raft(RaftEvent::State(state.clone())));
    }
    relay(&b, &tasks).take(&ask(&a, &None, true).await, &mut None);
    let count = |bus: &Bus| {
        let filter = Filter { kinds: BTreeSet::from(["raft"]), level: Level::Info, node: None, own: false };
        bus.open(filter, None).expect("opens").frames.len() - 1
    };
    assert_eq!(count(&b), 2);
    b.forget(|node| node == "a");
    assert_eq!(count(&b), 2);
    b.forget(|_| false);
    assert_eq!(count(&b), 1, "its own stays");
}

#[test]
fn a_question_has_these_bytes() {
    let ask = Ask { since: Some("aa-2".to_owned()), own: true, replication: false };
    let bytes = payload::encode(FORMAT, &ask);
    assert_eq!(&bytes[..], b"\x01\x01\x04aa-2\x01\x00");
    assert_eq!(payload::decode::<Ask>(FORMAT, &bytes), Ok(ask));
}
