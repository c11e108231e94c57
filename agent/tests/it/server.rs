//! Guide 1: one server by itself, from start to every kind of end.

use rustix::process::Signal;

use crate::support::{Agent, eventually, scratch};

#[test]
fn a_server_leads_and_answers_about_itself() {
    let dir = scratch();
    let agent = Agent::server(dir.path());
    assert_eq!(agent.get("/v1/status/leader").body, format!("\"{}:8300\"", agent.address));
    let members = agent.get("/v1/agent/members").json();
    assert_eq!(members[0]["Name"], "one");
    assert_eq!(members[0]["Tags"]["role"], "consul");
    assert!(members[0]["Tags"].get("impl").is_none(), "{members}");
    let nodes = eventually("the catalog", || agent.get("/v1/catalog/nodes").json(), |nodes| nodes[0].is_object());
    assert_eq!(nodes[0]["Address"], agent.address);
    let health = agent.get("/v1/health/service/consul?passing").json();
    assert_eq!(health[0]["Service"]["Port"], 8300);
}

#[test]
fn a_restart_keeps_who_it_is_and_what_it_knows() {
    let dir = scratch();
    let mut agent = Agent::server(dir.path());
    let id = agent.get("/v1/agent/self").json()["Config"]["NodeID"].clone();
    assert_eq!(agent.put("/v1/kv/a/b", "kept").body.trim(), "true");
    for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
        agent.stop(signal);
        agent.restart();
        assert_eq!(agent.get("/v1/agent/self").json()["Config"]["NodeID"], id);
        assert_eq!(agent.get("/v1/kv/a/b?raw").body, "kept", "after {signal:?}");
    }
}

#[test]
fn an_interrupt_leaves_and_a_terminate_stops() {
    let dir = scratch();
    let mut agent = Agent::server(dir.path());
    let ended = agent.stop(Signal::INT);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for line in [
        "agent: Caught: signal=interrupt",
        "Gracefully shutting down agent",
        "the only voter: it keeps its seat, start it first",
        "agent.server: server starting leave",
        "serf: EventMemberLeave: one.dc1 ",
        "serf: EventMemberLeave: one ",
        "agent: Graceful exit completed",
        "Exit code: code=0",
    ] {
        assert!(ended.output.contains(line), "no {line:?} in {}", ended.output);
    }
    agent.restart();
    let ended = agent.stop(Signal::TERM);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.output.contains("Graceful shutdown disabled. Exiting"), "{ended:?}");
    assert!(ended.output.contains("Shutdown without a Leave"), "{ended:?}");
}

#[test]
fn the_leave_endpoint_answers_and_the_agent_ends() {
    let dir = scratch();
    let mut agent = Agent::server(dir.path());
    assert_eq!(agent.put("/v1/agent/leave", "").status, 200);
    assert_eq!(agent.ended().code, Some(0));
}

#[test]
fn a_hang_up_reads_the_configuration_again() {
    let dir = scratch();
    let file = dir.path().join("level.json");
    std::fs::write(&file, r#"{"log_level": "ERR"}"#).expect("written");
    let data = dir.path().join("data");
    let (file_flag, data) = (format!("-config-file={}", file.display()), data.to_string_lossy().into_owned());
    let agent = Agent::start(dir.path(), &["-server", "-bootstrap", "-node=one", "-data-dir", &data, &file_flag]);
    std::fs::write(&file, r#"{"log_level": "INFO", "datacenter": "dc2"}"#).expect("written");
    agent.signal(Signal::HUP);
    let seen = eventually("the warning", || agent.log(), |log| log.contains("takes effect with the next start"));
    assert!(seen.contains("key=datacenter"), "{seen}");
    std::fs::write(&file, "{").expect("written");
    assert_eq!(agent.put("/v1/agent/reload", "").status, 500);
    assert_eq!(agent.get("/v1/status/leader").status, 200);
}

#[test]
fn blocking_reads_wait_for_the_change_they_asked_for() {
    let dir = scratch();
    let agent = Agent::server(dir.path());
    agent.put("/v1/kv/k", "1");
    let index = agent.get("/v1/kv/k").header("x-consul-index").expect("an index").to_owned();
    let seen = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| agent.get(&format!("/v1/kv/k?raw&wait=15s&index={index}")));
        agent.put("/v1/kv/other", "x");
        agent.put("/v1/kv/k", "2");
        waiting.join().expect("no panic")
    });
    assert_eq!(seen.body, "2");
}
