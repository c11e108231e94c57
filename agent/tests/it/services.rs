//! Services and checks of one agent as a user has them: registered, looked at, kept, reloaded, switched.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Agent, Stream, eventually, scratch, throughout};

#[track_caller]
fn put(agent: &Agent, path: &str, body: &Value) {
    let answer = agent.put(path, &if body.is_null() { String::new() } else { body.to_string() });
    assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path} {body}");
}

#[track_caller]
fn register(agent: &Agent, service: &Value) {
    put(agent, "/v1/agent/service/register", service);
}

fn check_of(agent: &Agent, id: &str) -> Value {
    agent.get("/v1/agent/checks").json()[id].clone()
}

/// How many addresses a name has.
fn addresses(agent: &Agent, name: &str) -> usize {
    let socket = UdpSocket::bind((agent.address.as_str(), 0)).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(name).expect("a name"), RecordType::A));
    socket.send_to(&question.to_vec().expect("bytes"), (agent.address.as_str(), 8600)).expect("sent");
    let mut answer = [0; 4096];
    let length = socket.recv(&mut answer).expect("an answer");
    Message::from_vec(&answer[..length]).expect("a message").answers.len()
}

/// A server with `config` in a file of its own.
fn server(dir: &Path, config: &Value) -> Agent {
    let file = dir.join("config.json");
    std::fs::write(&file, config.to_string()).expect("written");
    let (data, file) = (dir.join("data"), file.to_string_lossy().into_owned());
    let data = data.to_string_lossy().into_owned();
    let agent = Agent::start(dir, &["-server", "-bootstrap", "-node=one", "-data-dir", &data, "-config-file", &file]);
    agent.wait_for_leader();
    agent
}

/// Answers every request with 200 or 503, as it is told.
fn target() -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let is_well = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&is_well);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().filter_map(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let status = if told.load(Ordering::Relaxed) { "200 OK" } else { "503 Service Unavailable" };
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
        }
    });
    (address, is_well)
}

#[test]
fn a_service_resolves_while_its_check_passes() {
    let dir = scratch();
    let agent = Agent::server(dir.path());
    let (address, is_well) = target();
    let url = format!("http://{address}/health");
    register(&agent, &json!({"ID": "w1", "Name": "web", "Port": 80, "Check": {"HTTP": url, "Interval": "1s"}}));
    register(&agent, &json!({"ID": "t1", "Name": "tcp", "Check": {"TCP": address, "Interval": "1s"}}));
    eventually("the name of a passing service", || addresses(&agent, "web.service.consul."), |count| *count == 1);
    eventually("the other", || addresses(&agent, "tcp.service.consul."), |count| *count == 1);
    let check = check_of(&agent, "service:w1");
    assert_eq!(check["Output"], format!("HTTP GET {url}: 200 OK Output: hi"));
    is_well.store(false, Ordering::Relaxed);
    eventually("the name of a failing one", || addresses(&agent, "web.service.consul."), |count| *count == 0);
    let health = || agent.get("/v1/health/checks/web").json()[0].clone();
    let seen = eventually("the catalog", health, |check| check["Status"] == "critical");
    assert_eq!(seen["Output"], format!("HTTP GET {url}: 503 Service Unavailable Output: hi"));
    put(&agent, "/v1/agent/service/deregister/t1", &Value::Null);
    eventually("no instance", || agent.get("/v1/catalog/service/tcp").body, |body| body == "[]");
    for line in ["Synced service: service=w1", "Synced check: check=service:w1", "Deregistered service: service=t1"] {
        assert!(agent.log().contains(line), "no {line:?} in {}", agent.log());
    }
}

#[test]
fn registrations_and_reports_survive_a_kill() {
    let dir = scratch();
    let mut agent = Agent::server(dir.path());
    let checks = json!([{"CheckID": "up", "TTL": "10m"}, {"CheckID": "other", "TTL": "10m", "Status": "passing"}]);
    register(&agent, &json!({"ID": "a/b ü", "Name": "web", "Port": 80, "Meta": {"k": "v"}, "Checks": checks}));
    put(&agent, "/v1/agent/check/register", &json!({"Name": "of the node", "TTL": "10m"}));
    put(&agent, "/v1/agent/check/pass/up?note=well", &Value::Null);
    put(&agent, "/v1/agent/service/maintenance/a%2Fb%20%C3%BC?enable=true&reason=why", &Value::Null);
    register(&agent, &json!({"Name": "gone"}));
    put(&agent, "/v1/agent/service/deregister/gone", &Value::Null);
    agent.stop(Signal::KILL);
    // As an earlier version kept them.
    std::fs::create_dir(dir.path().join("data/services")).expect("created");
    std::fs::write(dir.path().join("data/services/damaged.json"), "{").expect("written");
    agent.restart();
    let services = agent.get("/v1/agent/services").json();
    assert_eq!(services.as_object().map(serde_json::Map::len), Some(1), "{services}");
    assert_eq!(services["a/b ü"]["Meta"]["k"], "v");
    let up = check_of(&agent, "up");
    assert_eq!((&up["Status"], &up["Output"]), (&json!("passing"), &json!("well")));
    // Nobody has reported: it may have been well long ago.
    assert_eq!(check_of(&agent, "other")["Status"], "critical");
    assert_eq!(check_of(&agent, "of the node")["Type"], "ttl");
    assert_eq!(check_of(&agent, "_service_maintenance:a/b ü")["Notes"], "why");
    assert!(agent.log().contains("damaged.json holds no definition"), "{}", agent.log());
    put(&agent, "/v1/agent/service/deregister/a%2Fb%20%C3%BC", &Value::Null);
    agent.stop(Signal::KILL);
    agent.restart();
    assert_eq!(agent.get("/v1/agent/services").body, "{}");
    eventually("the catalog forgets it", || agent.get("/v1/catalog/service/web").body, |body| body == "[]");
}

#[test]
fn what_was_acknowledged_survives_a_kill_in_the_middle_of_many() {
    let dir = scratch();
    let mut agent = Agent::server(dir.path());
    let acknowledged = std::thread::scope(|scope| {
        let agent = &agent;
        let workers: Vec<_> = (0..8).map(|worker| scope.spawn(move || register_until_it_ends(agent, worker))).collect();
        eventually(
            "some are there",
            || agent.get("/v1/agent/services").json(),
            |services| services.as_object().is_some_and(|services| services.len() > 100),
        );
        agent.signal(Signal::KILL);
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect::<Vec<_>>()
    });
    agent.stop(Signal::KILL);
    agent.restart();
    let (services, checks) = (agent.get("/v1/agent/services").json(), agent.get("/v1/agent/checks").json());
    for id in &acknowledged {
        assert_eq!(services[id]["ID"], json!(id), "of {} acknowledged", acknowledged.len());
    }
    for id in services.as_object().expect("an object").keys() {
        assert_eq!(checks[format!("service:{id}")]["ServiceID"], json!(id), "a service without its check");
    }
    let there = |body: &Value| body.as_array().map_or(0, Vec::len);
    let count = services.as_object().map_or(0, serde_json::Map::len);
    eventually("all are in the catalog", || agent.get("/v1/catalog/service/web").json(), |body| there(body) == count);
}

/// The IDs that were acknowledged.
fn register_until_it_ends(agent: &Agent, worker: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    loop {
        let id = format!("{worker}-{}", acknowledged.len());
        let service = json!({"ID": id, "Name": "web", "Check": {"TTL": "10m"}});
        match agent.try_put("/v1/agent/service/register", &service.to_string()) {
            Ok(answer) if answer.status == 200 => acknowledged.push(id),
            _ => return acknowledged,
        }
    }
}

#[test]
fn files_win_and_a_reload_takes_over_what_changed() {
    let dir = scratch();
    let ttl = |note: &str| json!({"id": "up", "name": "up", "ttl": "10m", "notes": note});
    let mut agent = server(dir.path(), &json!({"service": {"name": "web", "port": 80, "check": ttl("")}}));
    register(&agent, &json!({"Name": "web", "Port": 81}));
    register(&agent, &json!({"Name": "api", "Port": 1}));
    let port = |name: &str| agent.get("/v1/agent/services").json()[name]["Port"].clone();
    assert_eq!((port("web"), port("api")), (json!(81), json!(1)));
    agent.stop(Signal::TERM);
    agent.restart();
    let port = |name: &str| agent.get("/v1/agent/services").json()[name]["Port"].clone();
    assert_eq!((port("web"), port("api")), (json!(80), json!(1)));
    put(&agent, "/v1/agent/check/pass/up?note=well", &Value::Null);
    let rewrite = |config: &Value| {
        std::fs::write(dir.path().join("config.json"), config.to_string()).expect("written");
        agent.put("/v1/agent/reload", "")
    };
    let services = json!([{"name": "web", "port": 82, "check": ttl("new")}, {"name": "late", "port": 5}]);
    let more = json!({"services": services, "check": {"name": "mem", "ttl": "1m", "service_id": "api"}});
    assert_eq!(rewrite(&more).status, 200);
    assert_eq!((port("web"), port("late"), port("api")), (json!(82), json!(5), json!(1)));
    let up = check_of(&agent, "up");
    assert_eq!((&up["Notes"], &up["Status"], &up["Output"]), (&json!("new"), &json!("passing"), &json!("well")));
    assert_eq!(check_of(&agent, "mem")["ServiceName"], "api");
    let refused = rewrite(&json!({"check": {"name": "x", "ttl": "1m", "service_id": "nope"}}));
    assert_eq!(refused.status, 500);
    assert!(refused.body.contains("ServiceID \"nope\" does not exist"), "{}", refused.body);
    assert_eq!(port("web"), 82, "a refused reload changes nothing");
    assert_eq!(rewrite(&json!({})).status, 200);
    let left = agent.get("/v1/agent/services").json();
    assert_eq!(left.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>()), Some(vec!["api".to_owned()]));
    eventually("the catalog", || agent.get("/v1/catalog/service/late").body, |body| body == "[]");
}

#[test]
fn verbs_register_switch_and_deregister() {
    let dir = scratch();
    let agent = Agent::server(dir.path());
    let run = |line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
        command.args(line.split_whitespace()).env("CONSUL_HTTP_ADDR", agent.http()).current_dir(dir.path());
        let output = command.output().expect("the verb runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr), output.status.code())
    };
    let says = |line: &str, out: &str| assert_eq!(run(line), (out.to_owned(), String::new(), Some(0)), "{line}");
    let fails = |line: &str, err: &str| assert_eq!(run(line), (String::new(), format!("{err}\n"), Some(1)), "{line}");
    std::fs::write(dir.path().join("svc.hcl"), "service { name = \"cmd\" port = 81 check { ttl = \"1h\" } }")
        .expect("written");
    says("services register svc.hcl", "Registered service: cmd\n");
    says(
        "services register -name=foo -id=f -port=8 -tag=a -tag=b -meta=k=v -tagged-address=lan=1.2.3.4:5",
        "Registered service: foo\n",
    );
    let foo = agent.get("/v1/agent/service/f").json();
    assert_eq!(
        (&foo["Tags"], &foo["Meta"]["k"], &foo["TaggedAddresses"]["lan"]["Port"]),
        (&json!(["a", "b"]), &json!("v"), &json!(5))
    );
    assert_eq!(check_of(&agent, "service:cmd")["Type"], "ttl");
    says("services deregister -id=f", "Deregistered service: f\n");
    says("services deregister svc.hcl", "Deregistered service: cmd\n");
    fails("services register", "Service registration requires at least one argument or flags.");
    fails("services deregister -id=f x", "Service deregistration requires arguments or -id, not both.");
    fails(
        "services register no.json",
        "Error: config: Open failed on no.json. open no.json: no such file or directory",
    );
    register(&agent, &json!({"Name": "w"}));
    says("maint", "");
    says("maint -enable -reason=why", "Node maintenance is now enabled\n");
    says("maint -enable -service=w -reason=x", "Service maintenance is now enabled for \"w\"\n");
    says("maint", "Node:\n  Name:   one\n  Reason: why\n\nService:\n  ID:     w\n  Reason: x\n\n");
    says("maint -disable -service=w", "Service maintenance is now disabled for \"w\"\n");
    says("maint -disable", "Node maintenance is now disabled\n");
    says("maint", "");
    fails("maint -enable -disable", "Only one of -enable or -disable may be provided");
    let nobody =
        "Error enabling service maintenance: Unexpected response code: 404 (No service registered with ID \"nope\")";
    fails("maint -enable -service=nope", nobody);
}

#[test]
fn the_stream_tells_what_happens_to_services_and_checks() {
    let dir = scratch();
    let agent = Agent::server(dir.path());
    register(&agent, &json!({"Name": "web", "Port": 80, "Check": {"TTL": "1h"}}));
    let (_, mut stream) = Stream::open(&agent.http(), "/v1/agent/events?kind=service,check", None).expect("a stream");
    let told = |(_, kind, data): (String, String, Value)| {
        let (kind, typ) = (kind, data["Type"].as_str().unwrap_or("-").to_owned());
        let id = if kind == "service" { &data["ServiceID"] } else { &data["CheckID"] };
        let text = |field: &str| data[field].as_str().unwrap_or_default();
        let from = data["From"].as_str().map(|from| format!("{from}>")).unwrap_or_default();
        let line = format!("{kind} {typ} {} {from}{} {}", id.as_str().unwrap_or("-"), text("Status"), text("Output"));
        line.trim_end().to_owned()
    };
    let mut picture: Vec<_> = stream.until(|event, _| event == "snapshot-end");
    picture.pop();
    let picture: Vec<_> = picture.into_iter().map(told).collect();
    assert_eq!(picture, ["service present web", "check present service:web critical"]);
    // Nothing is new.
    register(&agent, &json!({"Name": "web", "Port": 80, "Check": {"TTL": "1h"}}));
    put(&agent, "/v1/agent/check/pass/service:web?note=fine", &Value::Null);
    put(&agent, "/v1/agent/check/pass/service:web?note=finer", &Value::Null);
    register(&agent, &json!({"Name": "web", "Port": 81, "Check": {"TTL": "1h"}}));
    put(&agent, "/v1/agent/service/maintenance/web?enable=true&reason=why", &Value::Null);
    put(&agent, "/v1/agent/service/maintenance/web?enable=false", &Value::Null);
    put(&agent, "/v1/agent/check/fail/service:web?note=broken", &Value::Null);
    put(&agent, "/v1/agent/service/deregister/web", &Value::Null);
    let expected = [
        "check status-changed service:web critical>passing fine",
        "service registered web",
        "check registered _service_maintenance:web critical",
        "check deregistered _service_maintenance:web critical",
        "check status-changed service:web passing>critical broken",
        "check deregistered service:web critical broken",
        "service deregistered web",
    ];
    for line in expected {
        assert_eq!(told(stream.next().expect("an event")), line);
    }
}

#[test]
fn scripts_are_run_bounded_and_ended_as_a_group() {
    let dir = scratch();
    let agent = server(dir.path(), &json!({"enable_script_checks": true}));
    let script = |id: &str, text: &str, more: &Value| {
        let mut check = json!({"ID": id, "Name": id, "Args": ["sh", "-c", text], "Interval": "1s"});
        if let (Some(check), Some(more)) = (check.as_object_mut(), more.as_object()) {
            check.extend(more.clone());
        }
        put(&agent, "/v1/agent/check/register", &check);
    };
    let left = dir.path().join("left");
    script("warns", "echo hm; exit 1", &Value::Null);
    script("floods", "yes | head -c 100000", &json!({"OutputMaxSize": 10}));
    script("hangs", &format!("(sleep 2; touch {}) & sleep 600", left.display()), &json!({"Timeout": "1s"}));
    let is = |id: &'static str, status: &'static str, output: &'static str| {
        let seen = |check: &Value| check["Status"] == status && check["Output"] == output;
        eventually(id, || check_of(&agent, id), seen);
    };
    is("warns", "warning", "hm\n");
    is("floods", "passing", "Captured 10 of 100000 bytes\n...\ny\ny\ny\ny\ny\n");
    is("hangs", "critical", "Timed out (1s) running check");
    // What it left in the background would have written by now.
    throughout(Duration::from_secs(4), "nothing outlives its check", || left.exists(), |is_there| !is_there);
    put(&agent, "/v1/agent/check/deregister/hangs", &Value::Null);
    assert!(check_of(&agent, "hangs").is_null());
}
