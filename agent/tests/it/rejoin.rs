//! Finding a pool without being told where it is: the file that remembers it, and what `retry_join` knows.

use std::path::Path;

use rustix::process::Signal;

use crate::support::pool::{PoolOf, SOON, seen_by};
use crate::support::{Agent, eventually, own_address, scratch, within};

fn snapshot(data: &Path) -> String {
    std::fs::read_to_string(data.join("serf/local.snapshot")).unwrap_or_default()
}

#[track_caller]
fn sees(agent: &Agent, count: usize) {
    within(
        SOON,
        "who is alive for it",
        || seen_by(agent),
        |seen| seen.values().filter(|(status, _)| *status == "alive").count() == count,
    );
}

#[test]
fn a_killed_agent_goes_back_to_its_pool_by_itself() {
    let mut pool = PoolOf::joined(3, &[], &[]);
    let places: Vec<_> =
        pool.agents.iter().map(|(name, agent)| format!("alive: {name} {}:8301\n", agent.address)).collect();
    let data = pool.data(1);
    let is_whole = |text: &String| places.iter().all(|line| text.contains(line));
    eventually("the file names all", || snapshot(&data), is_whole);
    pool.at(1).stop(Signal::KILL);
    pool.at(1).start_again();
    pool.all_see(&[]);
    assert_eq!(pool.said("Attempting re-join to previously known node"), 1);
    // The server too, and its Lamport time goes on from where it was.
    pool.at(0).stop(Signal::KILL);
    pool.at(0).start_again();
    pool.all_see(&[]);
}

#[test]
fn one_that_left_comes_back_only_when_it_is_told_to() {
    let mut pool = PoolOf::joined(2, &[], &[]);
    let data = pool.data(1);
    eventually(
        "the file names both",
        || snapshot(&data),
        |text| text.contains("alive: n1 ") && text.contains("alive: n2 "),
    );
    pool.at(1).put("/v1/agent/leave", "");
    assert_eq!(pool.at(1).ended().code, Some(0));
    assert!(snapshot(&data).contains("\nleave\n"), "{}", snapshot(&data));
    let (address, arguments) = (own_address(), [String::from("-node=n2"), format!("-data-dir={}", data.display())]);
    let dir = scratch();
    let faithful = Agent::launch_at(address, None, dir.path(), &[&*arguments[0], &*arguments[1], "-rejoin"]);
    sees(&faithful, 2);
    drop(faithful);

    let mut other = PoolOf::joined(2, &[], &[]);
    let data = other.data(1);
    eventually("the file names both", || snapshot(&data), |text| text.contains("alive: n1 "));
    other.at(1).put("/v1/agent/leave", "");
    other.at(1).ended();
    other.at(1).start_again();
    eventually(
        "a file of its own",
        || snapshot(&data),
        |text| text.contains("alive: n2 ") && !text.contains("alive: n1 "),
    );
    assert_eq!(other.said("Attempting re-join"), 0);
}

#[test]
fn a_file_that_cannot_be_written_is_told_and_the_agent_goes_on() {
    let dir = scratch();
    let data = dir.path().join("data");
    std::fs::create_dir_all(data.join("serf/local.snapshot")).expect("a directory in the file's place");
    let agent = Agent::start(dir.path(), &["-node=n1", &format!("-data-dir={}", data.display())]);
    eventually("the warning", || agent.log(), |log| log.contains("Failed to update snapshot"));
    assert_eq!(agent.get("/v1/agent/self").status, 200);
}

#[test]
fn members_are_found_in_a_file_that_is_written_later() {
    let (dir, other) = (scratch(), scratch());
    let list = dir.path().join("servers");
    let server = Agent::server(other.path());
    let data = format!("-data-dir={}", dir.path().join("data").display());
    let retry = format!("-retry-join=provider=file path={}", list.display());
    let client = Agent::start(dir.path(), &["-node=two", &data, &retry, "-retry-interval=200ms"]);
    eventually("the failure is told", || client.log(), |log| log.contains("Cannot discover address"));
    std::fs::write(&list, format!("# ours\n{}\n", server.address)).expect("written");
    sees(&client, 2);
    assert!(client.log().contains("Discovered servers"), "{}", client.log());
}

#[test]
fn our_own_address_counts_and_is_not_the_success_that_ends_the_search() {
    let dir = scratch();
    let (address, data) = (own_address(), format!("-data-dir={}", dir.path().join("data").display()));
    let retry = format!("-retry-join={address}");
    let more = ["-node=n1", &data, &retry, "-retry-interval=100ms", "-retry-max=2"];
    let mut alone = Agent::launch_at(address, None, dir.path(), &more);
    let ended = alone.ended();
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    for words in ["num_agents=1", "Retry join failed: error=\"agent: max join LAN retry exhausted, exiting\""] {
        assert!(ended.output.contains(words), "{words}: {}", ended.output);
    }
}
