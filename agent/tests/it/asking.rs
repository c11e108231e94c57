//! Agents that ask servers: through clients and followers to the leader, past servers that die, and the
//! services of configuration files on their way to everybody.

use std::path::Path;

use rustix::process::Signal;

use crate::support::{Agent, eventually, own_address, scratch};

/// Three servers that elect one of themselves.
fn servers(dir: &Path) -> Vec<Agent> {
    let addresses: Vec<_> = (0..3).map(|_| own_address()).collect();
    let start = |(i, address): (usize, &String)| {
        let home = dir.join(format!("s{i}"));
        std::fs::create_dir(&home).expect("a directory");
        let mut more = vec!["-server".to_owned(), "-bootstrap-expect=3".to_owned(), "-retry-interval=1s".to_owned()];
        more.push(format!("-node=s{i}"));
        more.push(format!("-data-dir={}", home.join("data").display()));
        more.extend(addresses.iter().map(|address| format!("-retry-join={address}")));
        Agent::launch_at(address.clone(), None, &home, &more.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let servers: Vec<_> = addresses.iter().enumerate().map(start).collect();
    for server in &servers {
        server.wait_for_http();
        eventually("a leader", || server.get("/v1/status/leader").body, |body| body.contains(":8300"));
    }
    servers
}

/// A client that knows a server.
fn client(dir: &Path, of: &Agent, more: &[&str]) -> Agent {
    let home = dir.join("client");
    std::fs::create_dir_all(&home).expect("a directory");
    let (data, join) = (format!("-data-dir={}", home.join("data").display()), format!("-retry-join={}", of.address));
    let client = Agent::start(&home, &[&["-node=client", "-retry-interval=1s", &data, &join], more].concat());
    eventually("a server", || client.get("/v1/status/leader").body, |body| body.contains(":8300"));
    client
}

fn leader<'a>(servers: &'a [Agent], asked: &Agent) -> (&'a Agent, Vec<&'a Agent>) {
    let leads = asked.get("/v1/status/leader").body;
    let (leader, followers): (Vec<_>, Vec<_>) =
        servers.iter().partition(|server| leads.contains(&format!("{}:8300", server.address)));
    (leader[0], followers)
}

#[test]
fn what_is_asked_of_a_client_or_a_follower_reaches_the_leader() {
    let dir = scratch();
    let servers = servers(dir.path());
    let client = client(dir.path(), &servers[0], &[]);
    let written = client.put("/v1/kv/a", "1");
    assert_eq!((written.status, written.body.trim()), (200, "true"));
    let index = written_index(&client);
    for agent in servers.iter().chain([&client]) {
        for how in ["", "&consistent"] {
            assert_eq!(agent.get(&format!("/v1/kv/a?raw{how}")).body, "1");
        }
        let stale = eventually("the copy", || agent.get("/v1/kv/a?raw&stale"), |answer| answer.body == "1");
        assert_eq!(stale.header("x-consul-knownleader"), Some("true"));
    }
    assert_eq!(client.get("/v1/status/peers").body.matches(":8300").count(), 3);
    // A blocking read through the client is answered when a follower writes.
    let (_, followers) = leader(&servers, &client);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.get(&format!("/v1/kv/a?raw&index={index}&wait=60s")).body);
        assert_eq!(followers[0].put("/v1/kv/a", "2").body.trim(), "true");
        assert_eq!(waiting.join().expect("an answer"), "2");
    });
}

fn written_index(agent: &Agent) -> u64 {
    let answer = agent.get("/v1/kv/a");
    answer.header("x-consul-index").and_then(|index| index.parse().ok()).expect("an index")
}

#[test]
fn a_client_goes_on_when_servers_die() {
    let dir = scratch();
    let mut servers = servers(dir.path());
    let client = client(dir.path(), &servers[0], &[]);
    eventually(
        "three servers",
        || client.get("/v1/agent/members").body,
        |body| body.matches("\"consul\"").count() >= 3,
    );
    assert_eq!(client.put("/v1/kv/a", "1").body.trim(), "true");
    let (dead, _) = leader(&servers, &client);
    let dead = dead.address.clone();
    servers.iter().find(|server| server.address == dead).expect("the leader").signal(Signal::KILL);
    servers.retain(|server| server.address != dead);
    // Whether a write that met the death was done is not known; one of them is acknowledged soon.
    eventually(
        "a write",
        || client.put("/v1/kv/b", "2"),
        |answer| answer.status == 200 && answer.body.trim() == "true",
    );
    assert_eq!(client.get("/v1/kv/a?raw&consistent").body, "1");
    // Both of those that are left are asked in their turn: one of them dies, and with it the quorum.
    servers[0].signal(Signal::KILL);
    eventually("another server", || client.get("/v1/kv/a?raw&stale"), |answer| answer.body == "1");
    let refused = client.put("/v1/kv/c", "3");
    assert_eq!(refused.status, 500, "{}", refused.body);
}

#[test]
fn services_of_files_come_and_go_with_them() {
    let dir = scratch();
    let server = Agent::server(dir.path());
    let files = dir.path().join("files");
    std::fs::create_dir(&files).expect("a directory");
    let web = r#"{"service":{"name":"web","tags":["v1"],"port":80,"check":{"args":["true"],"interval":"1s"}}}"#;
    let api = "service { name = \"api\" id = \"api1\" port = 81 meta { rack = \"7\" } }";
    std::fs::write(files.join("web.json"), web).expect("written");
    std::fs::write(files.join("api.hcl"), api).expect("written");
    let from = format!("-config-dir={}", files.display());
    let mut client = client(dir.path(), &server, &[&from, "-enable-local-script-checks"]);
    let passing = |name: &str| server.get(&format!("/v1/health/service/{name}?passing")).body;
    eventually("web passes", || passing("web"), |body| body.contains("\"service:web\""));
    eventually("api is there", || server.get("/v1/catalog/service/api").body, |body| body.contains("\"rack\":\"7\""));
    let own = client.get("/v1/agent/services").body;
    assert!(own.contains("\"api1\"") && own.contains("\"web\""), "{own}");
    eventually("told", || client.log(), |log| log.contains("agent: Synced service: service=web"));
    std::fs::remove_file(files.join("web.json")).expect("removed");
    client.stop(Signal::KILL);
    client.start_again();
    eventually("web is gone", || server.get("/v1/catalog/service/web").body, |body| body.trim() == "[]");
    eventually("told", || client.log(), |log| log.contains("agent: Deregistered service: service=web"));
    assert!(server.get("/v1/catalog/service/api").body.contains("api1"));
}
