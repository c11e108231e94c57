//! Servers that were lost: for good, so that those that remain are given another configuration, and
//! with their data, so that they have to be added again.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::cluster::Cluster;
use crate::support::{Agent, eventually, own_address, scratch};

fn raft(cluster: &Cluster, at: usize) -> PathBuf {
    cluster.dirs[at].path().join("data/raft")
}

fn id(cluster: &Cluster, at: usize) -> String {
    fs::read_to_string(cluster.dirs[at].path().join("data/node-id")).expect("an ID")
}

/// Writes keys under `name` until `count` were acknowledged.
#[track_caller]
fn write(server: &Agent, name: &str, count: usize) {
    for n in 0..count {
        let put = || {
            let answer = server.try_put(&format!("/v1/kv/{name}/{n}"), &format!("{name}-{n}"));
            answer.map_or_else(|error| error.to_string(), |answer| answer.body)
        };
        eventually("a write", put, |answer| answer.trim() == "true");
    }
}

#[track_caller]
fn has(server: &Agent, name: &str, count: usize, parameters: &str) {
    for n in 0..count {
        let read = || server.get(&format!("/v1/kv/{name}/{n}?raw{parameters}")).body;
        eventually("an acknowledged write", read, |body| *body == format!("{name}-{n}"));
    }
}

fn kill(cluster: &mut Cluster, which: &[usize]) {
    for at in which {
        cluster.servers[*at].signal(Signal::KILL);
    }
    for at in which {
        cluster.servers[*at].ended();
    }
}

/// What an operator copies, with only `stay` in it.
fn peers_json(cluster: &Cluster, from: usize, stay: &[usize]) -> String {
    let kept = fs::read_to_string(raft(cluster, from).join("peers.info.json")).expect("kept");
    let all: Vec<serde_json::Value> = serde_json::from_str(&kept).expect("JSON");
    let ids: Vec<String> = stay.iter().map(|at| id(cluster, *at)).collect();
    let stays = |one: &&serde_json::Value| ids.iter().any(|id| one["id"] == id.trim());
    let left: Vec<&serde_json::Value> = all.iter().filter(stays).collect();
    assert_eq!(left.len(), stay.len(), "{kept}");
    serde_json::to_string(&left).expect("JSON")
}

#[track_caller]
fn wait_for_list(cluster: &Cluster, at: usize, servers: usize) {
    let kept = || fs::read_to_string(raft(cluster, at).join("peers.info.json")).unwrap_or_default();
    let count = |text: &String| text.matches("\"non_voter\": false").count();
    eventually("the list of servers for an outage", kept, |text| count(text) == servers);
}

#[test]
fn the_last_of_three_is_recovered_leads_with_all_writes_and_another_joins() {
    let mut cluster = Cluster::launch(&[3, 3, 3]);
    let leader = cluster.leader(None);
    cluster.wait_for_voters(leader, 3);
    write(&cluster.servers[leader], "before", 30);
    let survivor = (0..3).find(|at| *at != leader).expect("three");
    has(&cluster.servers[survivor], "before", 30, "&stale");
    wait_for_list(&cluster, survivor, 3);
    kill(&mut cluster, &[0, 1, 2]);
    let text = peers_json(&cluster, survivor, &[survivor]);
    fs::write(raft(&cluster, survivor).join("peers.json"), text).expect("written");
    cluster.servers[survivor].restart();
    let log = cluster.servers[survivor].log();
    for words in
        ["found peers.json file, recovering Raft configuration...", "deleted peers.json file after successful recovery"]
    {
        assert!(log.contains(words), "{words}: {log}");
    }
    assert!(!raft(&cluster, survivor).join("peers.json").exists());
    has(&cluster.servers[survivor], "before", 30, "&consistent");
    write(&cluster.servers[survivor], "after", 5);
    wait_for_list(&cluster, survivor, 1);

    let (dir, address) = (scratch(), own_address());
    let data = format!("-data-dir={}", dir.path().join("data").display());
    let join = format!("-retry-join={}", cluster.servers[survivor].address);
    let joins = Agent::launch_at(address, None, dir.path(), &["-server", "-node=new", &data, &join]);
    joins.wait_for_http();
    cluster.wait_for_voters(survivor, 2);
    has(&joins, "before", 30, "&stale");
    has(&joins, "after", 5, "&stale");
}

#[test]
fn two_of_five_are_recovered_with_the_same_file() {
    let mut cluster = Cluster::launch(&[5; 5]);
    let leader = cluster.leader(None);
    cluster.wait_for_voters(leader, 5);
    write(&cluster.servers[leader], "before", 20);
    let stay: Vec<usize> = (0..5).filter(|at| *at != leader).take(2).collect();
    for at in &stay {
        has(&cluster.servers[*at], "before", 20, "&stale");
        wait_for_list(&cluster, *at, 5);
    }
    kill(&mut cluster, &[0, 1, 2, 3, 4]);
    let text = peers_json(&cluster, stay[0], &stay);
    for at in &stay {
        fs::write(raft(&cluster, *at).join("peers.json"), &text).expect("written");
        cluster.servers[*at].start_again();
    }
    write(&cluster.servers[stay[0]], "after", 5);
    for at in &stay {
        cluster.wait_for_voters(*at, 2);
        has(&cluster.servers[*at], "before", 20, "");
        has(&cluster.servers[*at], "after", 5, "&stale");
    }
}

#[test]
fn a_peers_file_without_this_server_stops_the_start_with_the_next_step() {
    let dir = scratch();
    let mut agent = Agent::server(dir.path());
    write(&agent, "before", 3);
    agent.stop(Signal::KILL);
    let file = dir.path().join("data/raft/peers.json");
    fs::write(&file, r#"[{"id":"adf4238a-882b-9ddc-4a9d-5b6758e4159e","address":"127.0.0.1:8300"}]"#).expect("written");
    let ended = agent.refused_again();
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    for words in [&*file.display().to_string(), "it does not have this server", "nothing was changed", "or remove it"] {
        assert!(ended.output.contains(words), "{words}: {}", ended.output);
    }
    fs::remove_file(&file).expect("removed");
    agent.restart();
    has(&agent, "before", 3, "");
}

#[test]
fn a_voter_whose_data_was_wiped_is_removed_added_again_and_votes_with_all_data() {
    let mut cluster = Cluster::launch(&[3, 3, 3]);
    let leader = cluster.leader(None);
    cluster.wait_for_voters(leader, 3);
    write(&cluster.servers[leader], "before", 30);
    let wiped = (0..3).find(|at| *at != leader).expect("three");
    let wiped_id = id(&cluster, wiped);
    kill(&mut cluster, &[wiped]);
    let data = cluster.dirs[wiped].path().join("data");
    fs::remove_dir_all(&data).expect("wiped");
    fs::create_dir(&data).expect("made");
    fs::write(data.join("node-id"), &wiped_id).expect("written");
    write(&cluster.servers[leader], "meanwhile", 5);
    cluster.servers[wiped].start_again();
    let said = || cluster.servers[leader].log();
    eventually("the loss is told", said, |log| {
        log.contains("a voter came back without its Raft log")
            && log.contains("removing server that has lost its Raft log")
    });
    eventually("its promotion", said, |log| log.contains(&format!("Promoting server to voter: id={wiped_id}")));
    for at in 0..3 {
        cluster.wait_for_voters(at, 3);
    }
    has(&cluster.servers[wiped], "before", 30, "&stale");
    has(&cluster.servers[wiped], "meanwhile", 5, "&stale");
    // It counts again: with one of the others gone there is a leader.
    let other = (0..3).find(|at| *at != leader && *at != wiped).expect("three");
    kill(&mut cluster, &[other]);
    write(&cluster.servers[wiped], "after", 5);
}

#[test]
fn a_server_whose_raft_directory_is_gone_says_what_to_do_and_comes_back_when_that_is_done() {
    let mut cluster = Cluster::launch(&[3, 3, 3]);
    let leader = cluster.leader(None);
    cluster.wait_for_voters(leader, 3);
    write(&cluster.servers[leader], "before", 10);
    let wiped = (0..3).find(|at| *at != leader).expect("three");
    kill(&mut cluster, &[wiped]);
    fs::remove_dir_all(raft(&cluster, wiped)).expect("wiped");
    let ended = cluster.servers[wiped].refused_again();
    assert_eq!(ended.code, Some(1));
    for words in ["is gone, but this server has held one", "empty its data directory"] {
        assert!(ended.output.contains(words), "{words}: {}", ended.output);
    }
    fs::remove_dir_all(cluster.dirs[wiped].path().join("data")).expect("emptied");
    cluster.servers[wiped].start_again();
    cluster.wait_for_voters(wiped, 3);
    has(&cluster.servers[wiped], "before", 10, "&stale");
}
