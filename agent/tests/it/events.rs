//! The event stream over HTTP: picture, snapshot-end, live, resume, reset.

use crate::support::{Agent, Stream, scratch};

fn is_end(event: &str, _: &serde_json::Value) -> bool {
    event == "snapshot-end"
}

#[test]
fn a_stream_opens_with_the_whole_picture() {
    let dir = scratch();
    let agent = Agent::server(dir.path());
    let (answer, mut stream) = Stream::open(&agent.http(), "/v1/agent/events", None).expect("a stream");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let picture = stream.until(is_end);
    let has = |kind: &str, typ: &str| picture.iter().any(|(_, event, data)| event == kind && data["Type"] == typ);
    for (kind, typ) in [("agent", "running"), ("member", "present"), ("raft", "state"), ("election", "past")] {
        assert!(has(kind, typ), "no {kind} {typ} in {picture:#?}");
    }
    assert!(picture.iter().all(|(id, event, data)| event == "snapshot-end" || *id == data["ID"]), "{picture:#?}");
}

#[test]
fn a_stream_resumes_where_it_was_cut_and_resets_after_a_restart() {
    let dir = scratch();
    let mut agent = Agent::server(dir.path());
    let (_, mut stream) = Stream::open(&agent.http(), "/v1/agent/events?kind=replication", None).expect("a stream");
    let last = stream.until(is_end).pop().expect("a frame").0;
    drop(stream);
    agent.put("/v1/kv/a", "1");
    let (_, mut again) =
        Stream::open(&agent.http(), "/v1/agent/events?kind=replication", Some(&last)).expect("a stream");
    let (id, event, data) = again.next().expect("an event");
    assert_eq!((event.as_str(), &data["Type"]), ("replication", &"progress".into()), "{id}");
    drop(again);
    agent.stop(rustix::process::Signal::KILL);
    agent.restart();
    let (_, mut other) = Stream::open(&agent.http(), "/v1/agent/events", Some(&id)).expect("a stream");
    let frames = other.until(is_end);
    assert_eq!(frames[0].1, "reset", "{frames:#?}");
}

#[test]
fn the_last_event_of_an_agent_is_that_it_stops() {
    let dir = scratch();
    let mut agent = Agent::server(dir.path());
    let (_, mut stream) = Stream::open(&agent.http(), "/v1/agent/events?kind=agent", None).expect("a stream");
    stream.until(is_end);
    agent.signal(rustix::process::Signal::TERM);
    let (_, _, data) = stream.next().expect("an event");
    assert_eq!((&data["Type"], &data["Leaving"]), (&"stopping".into(), &false.into()));
    assert!(stream.next().is_none());
    assert_eq!(agent.ended().code, Some(1));
}

#[test]
fn log_lines_come_when_they_are_asked_for() {
    let dir = scratch();
    let agent = Agent::server(dir.path());
    let (_, mut stream) = Stream::open(&agent.http(), "/v1/agent/events?kind=log", None).expect("a stream");
    stream.until(is_end);
    agent.put(&format!("/v1/agent/join/{}", agent.address), "");
    let seen = stream.until(|_, data| data["Message"].as_str().is_some_and(|m| m.starts_with("(LAN) joined")));
    assert!(seen.iter().all(|(_, event, _)| event == "log"));
}

#[test]
fn parameters_that_are_not_known_are_refused_with_the_list() {
    let dir = scratch();
    let agent = Agent::server(dir.path());
    let answer = agent.get("/v1/agent/events?kind=rift");
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("none of member, raft, election"), "{answer:?}");
}
