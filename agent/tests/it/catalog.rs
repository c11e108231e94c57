//! The catalog over HTTP, as whoever registers nodes without agents and whoever waits for them see it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Agent, eventually, scratch};

fn register(agent: &Agent, body: &Value) {
    let answer = agent.put("/v1/catalog/register", &body.to_string());
    assert_eq!((answer.status, answer.body.trim()), (200, "true"), "{body}");
}

fn names(agent: &Agent, path: &str) -> Vec<String> {
    let answer = agent.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    let rows: Vec<Value> = serde_json::from_str(&answer.body).expect("a list");
    let name = |row: &Value| match row {
        Value::Object(row) if row.contains_key("ServiceID") => row["ServiceID"].as_str().map(str::to_owned),
        row if row["Service"].is_object() => row["Service"]["ID"].as_str().map(str::to_owned),
        row => row["Node"].as_str().map(str::to_owned),
    };
    rows.iter().map(|row| name(row).expect("a name")).collect()
}

fn two_databases(agent: &Agent) {
    register(
        agent,
        &json!({"Node": "ext1", "Address": "10.9.0.1", "NodeMeta": {"kind": "db", "zone": "a"},
            "Service": {"ID": "db1", "Service": "db", "Tags": ["Primary", "v1"], "Port": 1},
            "Checks": [{"Name": "up", "ServiceID": "db1", "Status": "passing"}]}),
    );
    register(
        agent,
        &json!({"Node": "ext2", "Address": "10.9.0.2", "NodeMeta": {"kind": "db", "zone": "b"},
            "Service": {"ID": "db2", "Service": "db", "Tags": ["v1"], "Port": 2},
            "Checks": [{"Name": "up", "ServiceID": "db2", "Status": "critical"}]}),
    );
}

#[test]
fn rows_are_chosen_by_tags_metadata_state_and_filters() {
    let dir = scratch();
    let agent = Agent::server(dir.path());
    two_databases(&agent);
    let check = |path: &str, expected: &[&str]| assert_eq!(names(&agent, path), expected, "{path}");
    check("/v1/catalog/nodes?node-meta=kind:db", &["ext1", "ext2"]);
    check("/v1/catalog/nodes?node-meta=kind:db&node-meta=zone:b", &["ext2"]);
    check("/v1/catalog/nodes?filter=Meta.zone==a", &["ext1"]);
    check("/v1/catalog/service/db", &["db1", "db2"]);
    check("/v1/catalog/service/db?tag=primary&tag=V1", &["db1"]);
    check("/v1/catalog/service/db?node-meta=zone:b", &["db2"]);
    check("/v1/catalog/service/db?filter=ServicePort+!=+1", &["db2"]);
    check("/v1/health/service/db?passing", &["db1"]);
    check("/v1/health/service/db?passing=false", &["db1", "db2"]);
    check("/v1/health/service/db?filter=Checks.Status+==+critical", &["db2"]);
    check("/v1/health/service/db?filter=Checks.Status+==+critical&passing", &[]);
    check("/v1/health/service/db?tag=v1&node-meta=zone:a&filter=Node.Meta.kind+==+db", &["db1"]);
    check("/v1/health/state/critical?node-meta=zone:a", &[]);
    check("/v1/health/checks/db?node-meta=zone:a", &["db1"]);
    check("/v1/catalog/connect/db", &[]);
    check("/v1/health/connect/db", &[]);
    assert_eq!(agent.get("/v1/catalog/services?node-meta=zone:b").body.trim(), r#"{"db":["v1"]}"#);
    let refused = agent.get("/v1/catalog/nodes?filter=Nope==1");
    assert_eq!(refused.status, 500);
    assert_eq!(refused.body, "Failed to create boolean expression evaluator: Selector \"Nope\" is not valid");
}

#[test]
fn weights_that_are_none_are_those_of_a_service_without_any() {
    let dir = scratch();
    let agent = Agent::server(dir.path());
    let check = |weights: &str, passing: u32, warning: u32| {
        let body = format!(r#"{{"Node":"x","Address":"1","Service":{{"Service":"a","Weights":{weights}}}}}"#);
        assert_eq!(agent.put("/v1/catalog/register", &body).body, "true");
        let seen = agent.get("/v1/health/service/a").body;
        let expected = format!(r#""Weights":{{"Passing":{passing},"Warning":{warning}}}"#);
        assert!(seen.contains(&expected), "{weights}: {seen}");
    };
    check(r#"{"Passing":5,"Warning":2}"#, 5, 2);
    check(r#"{"Passing":3}"#, 3, 0);
    check(r#"{"Warning":3}"#, 1, 1);
    check(r#"{"Passing":70000,"Warning":1}"#, 1, 1);
    check(r#"{"Passing":65535,"Warning":-1}"#, 1, 1);
}

#[test]
fn a_registration_that_cannot_be_changes_nothing() {
    let dir = scratch();
    let agent = Agent::server(dir.path());
    let own = || agent.get("/v1/health/node/one").body;
    eventually("its own node is there", own, |checks| checks.contains("serfHealth"));
    let check = |body: &str, status: u16, text: &str| {
        let answer = agent.put("/v1/catalog/register", body);
        assert_eq!((answer.status, answer.body.as_str()), (status, text), "{body}");
    };
    check("", 400, "Request decode failed: EOF");
    check("{", 400, "Request decode failed: unexpected EOF");
    check(
        "[]",
        400,
        "Request decode failed: json: cannot unmarshal array into Go value of type structs.RegisterRequest",
    );
    check(r#"{"Nope": 1}"#, 400, r#"Request decode failed: json: unknown field "Nope""#);
    check(
        r#"{"Node": "x", "Address": "1", "Service": {"Service": "a", "Port": "80"}}"#,
        400,
        "Request decode failed: json: cannot unmarshal string into Go struct field NodeService.Service.Port of type int",
    );
    check("{}", 500, "Must provide node");
    check(r#"{"Node": "x"}"#, 500, "Must provide address if SkipNodeUpdate is not set");
    check(r#"{"Node": "x", "Address": "1", "ID": "nope"}"#, 500, "Bad node ID: uuid string is wrong length");
    check(r#"{"Node": "x", "Address": "1", "Service": {"ID": "a"}}"#, 500, "Must provide service name with ID");
    check(
        r#"{"Node": "x", "Address": "1", "Service": {"Service": "a"}, "Check": {"Name": "c", "ServiceID": "b"}}"#,
        500,
        "failed inserting check: Missing service registration on node \"x\"",
    );
    check(
        r#"{"Node": "x", "Address": "1", "Check": {"Name": "c", "Node": "y"}}"#,
        500,
        "check node \"y\" does not match node \"x\"",
    );
    check(r#"{"Node": "x", "Address": "1", "Datacenter": "dc9"}"#, 500, "No path to datacenter");
    check(
        r#"{"Node": "x", "Address": "1", "Service": {"Service": "a", "Kind": "connect-proxy"}}"#,
        501,
        "services of the mesh (Kind, Proxy, Connect) are not supported by this agent yet",
    );
    assert_eq!(names(&agent, "/v1/catalog/nodes"), ["one"]);
    assert_eq!(agent.get("/v1/catalog/services").body.trim(), r#"{"consul":[]}"#);
    assert_eq!(names(&agent, "/v1/health/state/any"), [""]);
}

#[test]
fn how_a_check_works_is_kept_for_whoever_runs_it() {
    let dir = scratch();
    let mut agent = Agent::server(dir.path());
    register(
        &agent,
        &json!({"Node": "ext", "Address": "10.9.0.1",
            "Check": {"Name": "c", "Status": "passing", "Definition": {"TCP": "localhost:8888", "Interval": "5s", "Timeout": "1s"}}}),
    );
    let told = |agent: &Agent| {
        let checks: Value = serde_json::from_str(&agent.get("/v1/health/node/ext").body).expect("checks");
        (checks[0]["Type"].clone(), checks[0]["Definition"].clone())
    };
    let expected = (json!("tcp"), json!({"Interval": "5s", "Timeout": "1s", "TCP": "localhost:8888"}));
    assert_eq!(told(&agent), expected);
    agent.stop(rustix::process::Signal::KILL);
    agent.restart();
    assert_eq!(told(&agent), expected);
}

#[test]
fn all_who_wait_for_a_service_are_told_of_its_change_alike() {
    let dir = scratch();
    let agent = Arc::new(Agent::server(dir.path()));
    two_databases(&agent);
    let index = agent.get("/v1/health/service/db").header("x-consul-index").expect("an index").to_owned();
    let waiters: Vec<_> = (0..50)
        .map(|at| {
            let agent = Arc::clone(&agent);
            // Two looks of the same query, and one that nothing changes for.
            let narrowed = if at % 2 == 0 { "" } else { "&filter=Service.ID==db1" };
            let path = format!("/v1/health/service/db?index={index}&wait=60s{narrowed}");
            thread::spawn(move || (at % 2, agent.get(&path)))
        })
        .collect();
    let waiting = || agent.get("/v1/agent/metrics").body;
    eventually("all wait", waiting, |metrics| {
        let metrics: Value = serde_json::from_str(metrics).unwrap_or_default();
        let gauges = metrics["Gauges"].as_array().cloned().unwrap_or_default();
        gauges.iter().any(|gauge| {
            // The leader may wait too, for other rules of autopilot.
            gauge["Name"].as_str().is_some_and(|name| name.ends_with("rpc.queries_blocking"))
                && gauge["Value"].as_f64() >= Some(50.0)
        })
    });
    register(
        &agent,
        &json!({"Node": "ext2", "Address": "10.9.0.2", "SkipNodeUpdate": true,
            "Check": {"Name": "up", "ServiceID": "db2", "Status": "passing"}}),
    );
    let now = [agent.get("/v1/health/service/db").body, agent.get("/v1/health/service/db?filter=Service.ID==db1").body];
    assert!(now[0].contains("db2") && !now[1].contains("db2"));
    for waiter in waiters {
        let (look, answer) = waiter.join().expect("an answer");
        assert_eq!(answer.status, 200);
        assert_ne!(answer.header("x-consul-index"), Some(index.as_str()));
        assert_eq!(answer.body, now[look]);
    }
}

#[test]
fn one_connection_asks_plain_questions_and_others_in_turn() {
    let dir = scratch();
    let agent = Agent::server(dir.path());
    // Together, and in pieces that end anywhere.
    for (key, size) in [("one", 1000), ("two", 7)] {
        let sent = format!(
            "GET /v1/status/leader HTTP/1.1\r\nHost: a\r\n\r\n\
            GET /v1/kv/{key} HTTP/1.1\r\nHost: a\r\n\r\n\
            PUT /v1/kv/{key} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nvalue\
            GET /v1/kv/{key}?raw HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect((agent.address.as_str(), 8500)).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        for piece in sent.as_bytes().chunks(size) {
            stream.write_all(piece).expect("send");
        }
        let mut told = String::new();
        stream.read_to_string(&mut told).expect("answers, and the end");
        let statuses: Vec<_> = told.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)).collect();
        assert_eq!(statuses, ["200", "404", "200", "200"], "{told}");
        assert!(told.ends_with("\r\n\r\nvalue"), "{told}");
        let first = told.split("\r\n\r\n").next().expect("a head");
        for header in ["Content-Type: application/json", "Vary: Accept-Encoding", "Content-Length: ", "Date: "] {
            assert!(first.contains(header), "{header} in {first}");
        }
    }
}

#[test]
fn a_definition_that_changes_answers_who_waits_for_its_hash() {
    let dir = scratch();
    let agent = Arc::new(Agent::server(dir.path()));
    let register = |port: u16| {
        let body = json!({"Name": "h", "Port": port}).to_string();
        assert_eq!(agent.put("/v1/agent/service/register", &body).status, 200);
    };
    register(1);
    let known = agent.get("/v1/agent/service/h");
    let hash = known.header("x-consul-contenthash").expect("a hash").to_owned();
    assert_eq!(hash, "88a28e11ac873242");
    let waiter = {
        let agent = Arc::clone(&agent);
        thread::spawn(move || agent.get(&format!("/v1/agent/service/h?hash={hash}&wait=60s")))
    };
    register(2);
    let answer = waiter.join().expect("an answer");
    assert_eq!(answer.header("x-consul-contenthash"), Some("f0e7b39201072589"));
}
