//! What an agent must refuse: clearly, with a code, and without touching what is there.

use std::net::TcpListener;

use crate::support::{Agent, Ended, scratch};

#[track_caller]
fn check(arguments: &[&str], words: &[&str]) {
    says(&Agent::refused(arguments), words);
}

#[track_caller]
fn says(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for word in words {
        assert!(ended.output.contains(word), "no {word:?} in {}", ended.output);
    }
}

#[test]
fn flags_that_contradict_are_refused() {
    check(&["-server", "-bind=127.0.0.1"], &["==> data_dir cannot be empty"]);
    check(&["-bootstrap", "-data-dir=x", "-bind=127.0.0.1"], &["'bootstrap = true' requires 'server = true'"]);
    check(
        &["-server", "-bootstrap", "-bootstrap-expect=3", "-data-dir=x", "-bind=127.0.0.1"],
        &["'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive"],
    );
    check(&["-sever"], &["flag provided but not defined: -sever"]);
    check(&["-dev", "-http-port=x"], &["invalid value \"x\" for flag -http-port"]);
}

#[test]
fn a_configuration_file_is_refused_by_name_with_the_nearest_key() {
    let dir = scratch();
    let file = dir.path().join("bad.json");
    std::fs::write(&file, r#"{"datacentre": "dc1", "server": "perhaps"}"#).expect("written");
    let flag = format!("-config-file={}", file.display());
    check(&["-dev", "-bind=127.0.0.1", &flag], &["bad.json", "invalid config key datacentre", "datacenter", "server"]);
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named() {
    let dir = scratch();
    let file = dir.path().join("file");
    std::fs::write(&file, "mine").expect("written");
    let flag = format!("-data-dir={}", file.display());
    check(&["-server", "-bootstrap", "-bind=127.0.0.1", &flag], &["is not a directory"]);
    assert_eq!(std::fs::read_to_string(&file).expect("still there"), "mine");
}

#[test]
fn a_data_directory_in_use_or_of_another_node_is_refused() {
    let dir = scratch();
    let mut agent = Agent::server(dir.path());
    let data = format!("-data-dir={}", dir.path().join("data").display());
    let base = ["-server", "-bootstrap", "-bind=127.0.0.1", "-http-port=0", "-dns-port=0", data.as_str()];
    check(&base, &["is in use by a running agent (pid "]);
    agent.stop(rustix::process::Signal::KILL);
    let mut other = base.to_vec();
    other.push("-node-id=11111111-2222-3333-4444-555555555555");
    check(&other, &["belongs to node", "11111111-2222-3333-4444-555555555555"]);
    agent.restart();
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_written() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let dir = scratch();
    let data = format!("-data-dir={}", dir.path().join("data").display());
    let http = format!("-http-port={port}");
    let ended =
        Agent::refused(&["-server", "-bootstrap", "-bind=127.0.0.1", "-dns-port=0", "-server-port=0", &data, &http]);
    let text = format!("Error starting agent: error=\"listen tcp 127.0.0.1:{port}: bind: address already in use\"");
    says(&ended, &[&text]);
    assert!(!dir.path().join("data/raft").exists());
}

#[test]
fn a_damaged_log_is_refused_and_left_as_it_is() {
    let dir = scratch();
    let mut agent = Agent::server(dir.path());
    for n in 0..50 {
        agent.put(&format!("/v1/kv/k{n}"), &"v".repeat(1_000));
    }
    agent.stop(rustix::process::Signal::KILL);
    let log = dir.path().join("data/raft/log");
    let segment =
        std::fs::read_dir(&log).expect("a log").map(|e| e.expect("an entry").path()).min().expect("a segment");
    let mut bytes = std::fs::read(&segment).expect("readable");
    let middle = bytes.windows(100).position(|w| w == [b'v'; 100]).expect("a value");
    bytes[middle] ^= 0xff;
    std::fs::write(&segment, &bytes).expect("written");
    let address = format!("-bind={}", agent.address);
    let data = format!("-data-dir={}", dir.path().join("data").display());
    let client = format!("-client={}", agent.address);
    let ended = Agent::refused(&["-server", "-bootstrap", "-node=one", &address, &client, &data]);
    says(&ended, &["damaged"]);
    assert_eq!(std::fs::read(&segment).expect("readable"), bytes, "a refusal changes nothing");
}

#[test]
fn whoever_sends_too_much_is_told_so_once_all_is_sent() {
    let dir = scratch();
    let agent = Agent::server(dir.path());
    for _ in 0..10 {
        let told = agent.put("/v1/kv/big", &"x".repeat(524_289));
        assert_eq!(told.status, 413);
        assert!(told.body.contains("Request body(524289 bytes) too large"), "{}", told.body);
    }
    assert_eq!(agent.get("/v1/kv/big").status, 404);
}
