//! The API as a client sees it, on a whole server in memory: real Raft, store and gossip on loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use shared::event::{Level, Pool};
use tokio::sync::mpsc;

use super::{Context, Control, router};
use crate::backend::{self, Backend, Others, Watches};
use crate::checks::spec::Check;
use crate::checks::{self, Checks, Here};
use crate::config::Service;
use crate::events::Bus;
use crate::gossip::{self, Gossip, Heard};
use crate::local::{self, Local};
use crate::logs::Logs;
use crate::raft::{self, Raft};
use crate::store::command::{CheckFields, CheckStatus, NodeFields, Registration, ServiceFields};
use crate::tasks::Tasks;
use crate::telemetry::Telemetry;
use crate::user_events::{self, UserEvents};

struct Deaf;

impl Control for Deaf {
    fn leave(&self, lose_quorum: bool) -> BoxFuture<'_, Result<(), String>> {
        let refused = if lose_quorum { Ok(()) } else { Err("this would lose the quorum".to_owned()) };
        std::future::ready(refused).boxed()
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), String>> {
        std::future::ready(Ok(())).boxed()
    }
}

struct Looked(Checks);

impl local::Runner for Looked {
    fn start(&self, check: &Check) {
        self.0.start(check);
    }

    fn stop(&self, id: &str) {
        self.0.stop(id);
    }

    fn renew(&self, id: &str, status: CheckStatus, output: String) -> Option<String> {
        self.0.renew(id, status, output)
    }
}

/// One service with a check that warns and is not looked at; those that come later are.
fn registered(backend: &Backend, tasks: &Tasks) -> (Local, Checks) {
    let text = str::to_owned;
    let service = ServiceFields {
        id: text("w1"),
        name: text("web"),
        tags: vec![text("t")],
        port: 80,
        weights: (1, 1),
        ..ServiceFields::default()
    };
    let check = Check {
        id: text("service:w1"),
        name: text("up"),
        service_id: text("w1"),
        args: vec![text("true")],
        interval: Duration::from_secs(1),
        ..Check::default()
    };
    let local = Local::new(local::Settings::default());
    local.open(&[Service { fields: service, checks: vec![check] }], &[]).expect("registered");
    local.judge("service:w1", CheckStatus::Warning, text("hm"));
    let here = Here { changes: local.changes(), look: Arc::new(checks::View::default) };
    let report = local.clone();
    let settings = checks::Settings {
        output_max: 4096,
        backend: backend.clone(),
        here,
        report: Box::new(move |id, status, output| report.judge(id, status, output)),
    };
    let checks = Checks::new(settings, tasks);
    local.set_runner(Box::new(Looked(checks.clone())));
    (local, checks)
}

/// A server that leads and has registered itself.
pub(super) struct Lab {
    pub(super) context: Arc<Context>,
    pub(super) watches: Watches,
    pub(super) tasks: Tasks,
}

/// What came back, text as text.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("-", |value| value.to_str().expect("a text header"))
    }
}

const ID: &str = "d6854591-fadc-4995-86e6-d8d860d45511";

async fn pool(name: &str, pool: Pool, heard: mpsc::Sender<Heard>, tasks: &Tasks) -> Gossip {
    let (notices, _) = mpsc::channel(64);
    let options = gossip::Options {
        seal: gossip::seal::Seal::new(Vec::new(), true, true),
        coordinates: true,
        pool,
        name: name.to_owned(),
        bind: ([127, 0, 0, 1], 0).into(),
        advertise: [127, 0, 0, 1].into(),
        advertise_port: 0,
        tags: BTreeMap::from([("role".to_owned(), "consul".to_owned()), ("dc".to_owned(), "dc1".to_owned())]),
        timing: crate::swim::timing::Timing::lan().hurried(),
        server: true,
        admission: None,
        memory: None,
        keyring_file: None,
        heard,
    };
    Gossip::open(options, tasks, notices).await.expect("a gossip pool on loopback")
}

fn oneself() -> Registration {
    let text = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Registration {
        node: NodeFields {
            name: "one".to_owned(),
            id: ID.to_owned(),
            address: "127.0.0.1".to_owned(),
            datacenter: "dc1".to_owned(),
            tagged_addresses: text(&[("lan", "127.0.0.1"), ("wan", "127.0.0.1")]),
            meta: text(&[("consul-network-segment", "")]),
        },
        skip_node_update: false,
        service: Some(ServiceFields {
            id: "consul".to_owned(),
            name: "consul".to_owned(),
            tags: vec!["Main".to_owned(), "two".to_owned()],
            port: 8300,
            weights: (1, 1),
            ..ServiceFields::default()
        }),
        checks: vec![CheckFields {
            id: "serfHealth".to_owned(),
            name: "Serf Health Status".to_owned(),
            status: CheckStatus::Passing,
            output: "Agent alive and reachable".to_owned(),
            ..CheckFields::default()
        }],
    }
}

impl Lab {
    pub(super) async fn new() -> Self {
        let tasks = Tasks::new();
        let watches = Watches::new();
        let (notices, _) = mpsc::channel(64);
        let options = raft::Options {
            dir: None,
            node_id: ID.parse().expect("a UUID"),
            node_name: "one".to_owned(),
            address: "127.0.0.1:8300".to_owned(),
            multiplier: 1,
            bootstrap: true,
            snapshot_threshold: 1000,
            snapshot_interval: Duration::from_secs(30),
            trailing_logs: 1000,
        };
        let raft = Raft::open(options, &tasks, notices, watches.on_applied()).await.expect("Raft in memory");
        let backend = Backend::server(raft, watches.clone(), Others::nobody(&tasks), backend::Options::default());
        backend.write(oneself().into()).await.expect("registered");
        let (heard, from_pool) = mpsc::channel(64);
        let lan = pool("one", Pool::Lan, heard, &tasks).await;
        let settings =
            user_events::Settings { node_name: "one".to_owned(), server: true, services: Box::new(Vec::new) };
        let user_events = UserEvents::start(settings, lan.clone(), from_pool, mpsc::channel(1).0, &tasks);
        let (local, checks) = registered(&backend, &tasks);
        let context = Context {
            backend,
            local,
            checks,
            lan,
            user_events,
            wan: Some(pool("one.dc1", Pool::Wan, mpsc::channel(1).0, &tasks).await),
            logs: Logs::detached(Level::Info),
            events: Bus::new("one", "b00"),
            telemetry: Telemetry::default(),
            control: Box::new(Deaf),
            node_name: "one".to_owned(),
            node_id: ID.to_owned(),
            datacenter: "dc1".to_owned(),
            server: true,
            bootstrap: true,
            coordinates: true,
            encrypted: false,
            version: "1.8.7",
            revision: "quorate-0".to_owned(),
            node_meta: BTreeMap::new(),
            debug_config: serde_json::json!({ "Bootstrap": true }),
            always_pretty: false,
            kv_max_value_size: 16,
            max_conns_per_client: 2,
            response_headers: Vec::new(),
            block_endpoints: vec!["/v1/agent/reload".to_owned()],
            ui: None,
        };
        Self { context: Arc::new(context), watches, tasks }
    }

    pub(super) async fn send(&self, line: &str, body: &str, headers: &[(&str, &str)]) -> Seen {
        let (method, uri) = line.split_once(' ').expect("a method and a path");
        let mut request = Request::builder().method(method).uri(uri).header("host", "x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let response = router::answer(Arc::clone(&self.context), request, peer, self.tasks.token(), None).await;
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Seen { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(super) async fn ask(&self, line: &str) -> Seen {
        self.send(line, "", &[]).await
    }

    /// Asks and holds the answer against what the reference says.
    pub(super) async fn check(&self, line: &str, status: u16, body: &str) {
        let seen = self.ask(line).await;
        assert_eq!((seen.status, seen.body.as_str()), (status, body), "{line}");
    }

    pub(super) async fn put(&self, path: &str, value: &str) -> String {
        self.send(&format!("PUT {path}"), value, &[]).await.body
    }

    pub(super) async fn end(self) {
        assert!(self.tasks.end(Duration::from_secs(5)).await, "tasks end");
    }
}

#[tokio::test]
async fn requests_that_are_wrong_are_refused_in_the_reference_s_words() {
    let lab = Lab::new().await;
    for (line, status, body) in [
        ("GET /v1/nope", 404, ""),
        ("GET /", 200, "Consul Agent"),
        ("GET /v1/kv/%zz", 400, "400 Bad Request"),
        ("GET /v1/kv/%09", 400, ""),
        ("GET /v1/catalog/node/", 400, "Missing node name"),
        ("GET /v1/catalog/service/", 400, "Missing service name"),
        ("GET /v1/health/state/", 400, "Missing check state"),
        ("GET /v1/kv/", 400, "Missing key name"),
        ("PUT /v1/kv/", 400, "Missing key name"),
        ("GET /v1/catalog/node/?index=x", 400, "Invalid index"),
        ("GET /v1/catalog/nodes?index=-1", 400, "Invalid index"),
        ("GET /v1/catalog/nodes?wait=5&index=x", 400, "Invalid wait time"),
        ("GET /v1/catalog/nodes?max_stale=x&index=x", 400, "Invalid max_stale value \"x\""),
        (
            "GET /v1/status/leader?stale&consistent&index=x",
            400,
            "Cannot specify ?stale with ?consistent, conflicting semantics.",
        ),
        ("GET /v1/kv/a?cached&consistent", 400, "Cannot specify ?cached with ?consistent, conflicting semantics."),
        ("GET /v1/health/service/consul?passing=maybe", 400, "Invalid value for ?passing"),
        ("GET /v1/agent/monitor?loglevel=off", 400, "Bad request: Unknown log level: off"),
        ("GET /v1/kv/a?dc=nope", 500, "No path to datacenter"),
        ("GET /v1/operator/autopilot/configuration?dc=nope", 500, "No path to datacenter"),
        ("PUT /v1/operator/autopilot/configuration", 400, "Bad request: Error parsing autopilot config: EOF"),
        ("POST /v1/operator/autopilot/configuration", 405, "method POST not allowed"),
        ("GET /v1/operator/autopilot/configuration", 500, "autopilot config not initialized yet"),
        ("PUT /v1/operator/autopilot/health", 405, "method PUT not allowed"),
        (
            "DELETE /v1/operator/raft/peer",
            400,
            "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
        ),
        ("DELETE /v1/operator/raft/peer?id=a&address=b", 400, "Bad request: Must specify only one of ?id or ?address"),
        ("DELETE /v1/operator/raft/peer?id=&dc=nope", 500, "No path to datacenter"),
        ("DELETE /v1/operator/raft/peer?id=", 500, "id \"\" was not found in the Raft configuration"),
        ("GET /v1/catalog/datacenters?dc=nope", 200, "[\"dc1\"]"),
        ("GET /v1/agent/members?segment=x", 500, "Network segments are not supported in this version of Consul"),
        ("GET /v1/agent/members?segment=x&wan=1", 400, "Cannot provide a segment with wan=true"),
        ("PUT /v1/agent/force-leave/nope", 500, "agent: No node found with name 'nope'"),
        ("PUT /v1/agent/leave", 500, "this would lose the quorum"),
        ("PUT /v1/agent/leave?lose-quorum=yes", 200, ""),
        ("PUT /v1/agent/reload", 403, "Endpoint is blocked by agent configuration"),
        ("DELETE /v1/kv/?recurse&cas=1&a=%20", 400, "Conflicting flags: a=+&cas=1&recurse="),
        ("PUT /v1/kv/a?cas=1&release=y", 400, "Conflicting flags: cas=1&release=y"),
        ("PUT /v1/kv/a?flags=x", 500, "strconv.ParseUint: parsing \"x\": invalid syntax"),
        ("PUT /v1/kv/a?acquire=x", 501, "The parameter \"acquire\" is not supported by this agent yet"),
        (
            "GET /v1/catalog/nodes?filter=a",
            500,
            "Failed to create boolean expression evaluator: 1:2 (1): no match found, expected: \"!=\", \".\", \"==\", \
             \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ] {
        lab.check(line, status, body).await;
    }
    lab.end().await;
}

#[tokio::test]
async fn methods_are_checked_before_anything_else() {
    let lab = Lab::new().await;
    let check = async |line: &str, status: u16, allow: &str, body: &str| {
        let seen = lab.ask(line).await;
        assert_eq!((seen.status, seen.header("allow"), seen.body.as_str()), (status, allow, body), "{line}");
        assert_eq!(seen.header("vary"), "Accept-Encoding");
    };
    check("PUT /v1/agent/self", 405, "OPTIONS,GET", "method PUT not allowed").await;
    check("HEAD /v1/agent/self", 405, "OPTIONS,GET", "method HEAD not allowed").await;
    check("BREW /v1/kv/a", 405, "OPTIONS,GET,PUT,DELETE", "method BREW not allowed").await;
    check("GET /v1/agent/leave", 405, "OPTIONS,PUT", "method GET not allowed").await;
    check("OPTIONS /v1/kv/a", 200, "OPTIONS,GET,PUT,DELETE", "").await;
    let unknown = lab.ask("OPTIONS /v1/nope").await;
    assert_eq!((unknown.status, unknown.header("allow"), unknown.header("vary")), (404, "-", "-"));
    lab.end().await;
}

#[tokio::test]
async fn unclean_paths_are_sent_to_where_they_belong() {
    let lab = Lab::new().await;
    let seen = lab.ask("GET /v1/kv?a='&b").await;
    assert_eq!((seen.status, seen.header("location")), (301, "/v1/kv/?a='&b"));
    assert_eq!(seen.body, "<a href=\"/v1/kv/?a=&#39;&amp;b\">Moved Permanently</a>.\n\n");
    let seen = lab.ask("PUT //v1/kv/%C3%A9%20x").await;
    assert_eq!((seen.status, seen.header("location"), seen.body.as_str()), (301, "/v1/kv/%C3%A9%20x", ""));
    lab.end().await;
}

#[tokio::test]
async fn keys_are_written_read_and_deleted() {
    let lab = Lab::new().await;
    lab.check("GET /v1/kv/a", 404, "").await;
    lab.check("GET /v1/kv/?keys", 200, "[]").await;
    lab.check("GET /v1/kv/x?keys", 404, "").await;
    assert_eq!(lab.put("/v1/kv/a?flags=42", "<b>").await, "true");
    let seen = lab.ask("GET /v1/kv/a").await;
    let index = seen.header("x-consul-index").to_owned();
    let expected = format!(
        r#"[{{"LockIndex":0,"Key":"a","Flags":42,"Value":"PGI+","CreateIndex":{index},"ModifyIndex":{index}}}]"#
    );
    assert_eq!(seen.body, expected);
    assert_eq!(seen.header("x-consul-effective-consistency"), "-");
    let raw = lab.ask("GET /v1/kv/a?raw").await;
    assert_eq!((raw.body.as_str(), raw.header("content-type")), ("<b>", "text/plain"));
    assert_eq!((raw.header("content-security-policy"), raw.header("x-content-type-options")), ("sandbox", "nosniff"));
    assert_eq!(lab.put(&format!("/v1/kv/a?cas={index}"), "2").await, "true");
    assert_eq!(lab.put(&format!("/v1/kv/a?cas={index}"), "3").await, "false");
    assert_eq!(lab.put("/v1/kv/d/%3Cx%3E", "").await, "true");
    lab.check("GET /v1/kv/?keys", 200, r#"["a","d/\u003cx\u003e"]"#).await;
    lab.check("GET /v1/kv/?keys&separator=/", 200, r#"["a","d/"]"#).await;
    lab.check("GET /v1/kv/?keys&pretty", 200, "[\n    \"a\",\n    \"d/\\u003cx\\u003e\"\n]\n").await;
    assert!(lab.ask("GET /v1/kv/d?recurse").await.body.contains("\"Value\":null"));
    lab.check("DELETE /v1/kv/a?cas=1", 200, "false").await;
    lab.check("DELETE /v1/kv/?recurse", 200, "true").await;
    lab.check("GET /v1/kv/?recurse", 404, "").await;
    lab.end().await;
}

#[tokio::test]
async fn a_value_that_is_too_large_is_refused_whether_its_length_is_told_or_not() {
    let lab = Lab::new().await;
    let told = lab.send("PUT /v1/kv/a", &"x".repeat(17), &[("content-length", "17")]).await;
    let text = "max size: 16 bytes. See https://www.consul.io/docs/agent/options.html#kv_max_value_size.";
    assert_eq!((told.status, told.body), (413, format!("Request body(17 bytes) too large, {text}")));
    let untold = lab.send("PUT /v1/kv/a", &"x".repeat(17), &[]).await;
    assert_eq!((untold.status, untold.body), (413, format!("Request body too large, {text}")));
    assert_eq!(lab.put("/v1/kv/a", &"x".repeat(16)).await, "true");
    lab.end().await;
}

#[tokio::test]
async fn the_catalog_tells_of_the_node_itself() {
    let lab = Lab::new().await;
    let seen = lab.ask("GET /v1/catalog/nodes").await;
    let index = seen.header("x-consul-index").to_owned();
    let node = format!(
        r#"{{"ID":"{ID}","Node":"one","Address":"127.0.0.1","Datacenter":"dc1","TaggedAddresses":{{"lan":"127.0.0.1","wan":"127.0.0.1"}},"Meta":{{"consul-network-segment":""}},"CreateIndex":{index},"ModifyIndex":{index}}}"#
    );
    assert_eq!(seen.body, format!("[{node}]"));
    assert_eq!(seen.header("x-consul-effective-consistency"), "leader");
    assert_eq!((seen.header("x-consul-knownleader"), seen.header("x-consul-lastcontact")), ("true", "0"));
    let service = format!(
        r#"{{"ID":"consul","Service":"consul","Tags":["Main","two"],"Address":"","Meta":null,"Port":8300,"Weights":{{"Passing":1,"Warning":1}},"EnableTagOverride":false,"Proxy":{{"MeshGateway":{{}},"Expose":{{}}}},"Connect":{{}},"CreateIndex":{index},"ModifyIndex":{index}}}"#
    );
    let check = format!(
        r#"{{"Node":"one","CheckID":"serfHealth","Name":"Serf Health Status","Status":"passing","Notes":"","Output":"Agent alive and reachable","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Definition":{{}},"CreateIndex":{index},"ModifyIndex":{index}}}"#
    );
    let entry = format!(r#"[{{"Node":{node},"Service":{service},"Checks":[{check}]}}]"#);
    for (line, body) in [
        ("GET /v1/catalog/services", r#"{"consul":["Main","two"]}"#.to_owned()),
        ("GET /v1/catalog/node/one", format!(r#"{{"Node":{node},"Services":{{"consul":{service}}}}}"#)),
        ("GET /v1/catalog/node/nope", "null".to_owned()),
        ("GET /v1/catalog/node-services/one", format!(r#"{{"Node":{node},"Services":[{service}]}}"#)),
        ("GET /v1/catalog/node-services/nope", r#"{"Node":null,"Services":null}"#.to_owned()),
        ("GET /v1/event/list?stale&consistent", "[]".to_owned()),
        ("GET /v1/catalog/service/nope", "[]".to_owned()),
        ("GET /v1/catalog/service/consul?tag=x", "[]".to_owned()),
        ("GET /v1/health/service/consul?passing&tag=main&tag=TWO", entry.clone()),
        ("GET /v1/health/service/consul?tag=two&tag=x", "[]".to_owned()),
        ("GET /v1/health/service/consul?cached", entry),
        ("GET /v1/health/node/one", format!("[{check}]")),
        ("GET /v1/health/node/nope", "[]".to_owned()),
        ("GET /v1/health/checks/consul", "[]".to_owned()),
        ("GET /v1/health/state/any", format!("[{check}]")),
        ("GET /v1/health/state/critical", "[]".to_owned()),
        ("GET /v1/health/state/nope", "[]".to_owned()),
        ("GET /v1/catalog/datacenters", r#"["dc1"]"#.to_owned()),
        ("GET /v1/status/leader", r#""127.0.0.1:8300""#.to_owned()),
        ("GET /v1/status/peers", r#"["127.0.0.1:8300"]"#.to_owned()),
        (
            "GET /v1/operator/raft/configuration",
            format!(
                r#"{{"Servers":[{{"ID":"{ID}","Node":"one","Address":"127.0.0.1:8300","Leader":true,"ProtocolVersion":"3","Voter":true}}],"Index":0}}"#
            ),
        ),
    ] {
        lab.check(line, 200, &body).await;
    }
    let row = lab.ask("GET /v1/catalog/service/consul?tag=MAIN").await.body;
    assert!(row.contains(r#""ServiceKind":"","ServiceID":"consul","ServiceName":"consul""#), "{row}");
    assert!(row.contains(r#""ServiceMeta":{},"ServicePort":8300"#), "{row}");
    lab.end().await;
}

#[tokio::test]
async fn a_question_that_fails_says_that_nobody_saw_the_state() {
    let lab = Lab::new().await;
    let seen = lab.ask("GET /v1/health/state/any?dc=nope").await;
    assert_eq!((seen.status, seen.body.as_str()), (500, "No path to datacenter"));
    assert_eq!((seen.header("x-consul-index"), seen.header("x-consul-knownleader")), ("1", "false"));
    assert_eq!(seen.header("x-consul-effective-consistency"), "-");
    assert_eq!(lab.ask("GET /v1/kv/a?dc=nope").await.header("x-consul-index"), "-");
    lab.end().await;
}

#[tokio::test]
async fn a_blocking_read_answers_on_the_change_and_when_the_agent_ends() {
    let lab = Lab::new().await;
    assert_eq!(lab.put("/v1/kv/k", "0").await, "true");
    let index = lab.ask("GET /v1/kv/k").await.header("x-consul-index").to_owned();
    let line = format!("GET /v1/kv/k?raw&index={index}&wait=60s");
    let waiting = lab.ask(&line);
    let change = async {
        tokio::task::yield_now().await;
        lab.put("/v1/kv/k", "1").await
    };
    let (seen, _) = tokio::join!(waiting, change);
    assert_eq!(seen.body, "1");
    let line = format!("GET /v1/kv/k?raw&index={}&wait=60s", seen.header("x-consul-index"));
    let end = async {
        tokio::task::yield_now().await;
        lab.tasks.token().cancel();
    };
    let seen = tokio::time::timeout(Duration::from_secs(5), async { tokio::join!(lab.ask(&line), end).0 }).await;
    // Raft ends with the same token: the answer is the state as it was, or that the agent ends.
    assert!(seen.is_ok_and(|seen| seen.body == "1" || seen.status >= 500));
    lab.end().await;
}

#[tokio::test]
async fn gzip_is_for_those_who_ask_and_for_bodies_that_exist() {
    let lab = Lab::new().await;
    let check = async |path: &str, asks: &str, expected: &str| {
        let seen = lab.send(&format!("GET {path}"), "", &[("accept-encoding", asks)]).await;
        assert_eq!(seen.header("content-encoding"), expected, "{path} {asks}");
    };
    check("/v1/status/leader", "deflate, gzip", "gzip").await;
    check("/v1/status/leader", "gzip;q=0", "-").await;
    check("/v1/status/leader", "*", "-").await;
    check("/v1/catalog/node/", "gzip", "gzip").await;
    check("/v1/kv/nope", "gzip", "-").await;
    check("/v1/nope", "gzip", "-").await;
    lab.end().await;
}

#[tokio::test]
async fn the_agent_tells_of_itself() {
    let lab = Lab::new().await;
    let body = lab.ask("GET /v1/agent/self").await.body;
    let oneself: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let keys: Vec<_> = oneself.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["Config", "DebugConfig", "Coord", "Member", "Stats", "Meta"]);
    assert_eq!(oneself["Member"]["Name"], "one");
    assert_eq!(oneself["Member"]["Status"], 1);
    assert_eq!(oneself["Stats"]["raft"]["state"], "Leader");
    assert_eq!(oneself["Stats"]["raft"]["num_peers"], "0");
    assert_eq!(oneself["Stats"]["consul"]["leader_addr"], "127.0.0.1:8300");
    assert_eq!(oneself["Stats"]["serf_wan"]["members"], "1");
    assert!(body.contains(r#""Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.00001}"#));
    let members = lab.ask("GET /v1/agent/members?wan=1").await.body;
    assert!(members.starts_with(r#"[{"Name":"one.dc1","Addr":"127.0.0.1","Port":"#), "{members}");
    assert!(
        members.ends_with(
            r#""Status":1,"ProtocolMin":1,"ProtocolMax":5,"ProtocolCur":2,"DelegateMin":2,"DelegateMax":5,"DelegateCur":4}]"#
        ),
        "{members}"
    );
    lab.end().await;
}

#[tokio::test]
async fn metrics_come_as_json_and_as_prometheus_text() {
    let lab = Lab::new().await;
    let report: serde_json::Value = serde_json::from_str(&lab.ask("GET /v1/agent/metrics").await.body).expect("JSON");
    let keys: Vec<_> = report.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["Timestamp", "Gauges", "Points", "Counters", "Samples"]);
    let text = lab.ask("GET /v1/agent/metrics?format=prometheus").await;
    assert!(text.header("content-type").starts_with("text/plain; version=0.0.4"));
    assert!(text.body.contains("\nconsul_server_isLeader 1\n"), "{}", text.body);
    lab.end().await;
}

#[tokio::test]
async fn a_join_that_reaches_nobody_says_why() {
    let lab = Lab::new().await;
    let seen = lab.ask("PUT /v1/agent/join/127.0.0.1:1").await;
    let text = "1 error occurred:\n\t* Failed to join 127.0.0.1: dial tcp 127.0.0.1:1: connect: connection refused\n\n";
    assert_eq!((seen.status, seen.body.as_str()), (500, text));
    lab.end().await;
}

#[tokio::test]
async fn a_client_that_knows_no_server_says_so() {
    let lab = Lab::new().await;
    let Lab { context, watches, tasks } = lab;
    let context = Arc::into_inner(context).expect("nobody else has it");
    let client = Context {
        backend: Backend::client(Others::nobody(&tasks), backend::Options::default()),
        wan: None,
        server: false,
        ..context
    };
    let lab = Lab { context: Arc::new(client), watches, tasks };
    for path in [
        "/v1/catalog/nodes?stale",
        "/v1/catalog/datacenters",
        "/v1/health/node/one",
        "/v1/kv/a",
        "/v1/operator/raft/configuration",
        "/v1/status/leader",
        "/v1/status/peers",
    ] {
        lab.check(&format!("GET {path}"), 500, "No known Consul servers").await;
    }
    assert_eq!(lab.put("/v1/kv/a", "x").await, "No known Consul servers");
    lab.check("GET /v1/agent/members?wan=1", 200, "null").await;
    lab.check("PUT /v1/agent/join/127.0.0.1:1?wan=1", 500, "Must be a server to join WAN cluster").await;
    let oneself: serde_json::Value = serde_json::from_str(&lab.ask("GET /v1/agent/self").await.body).expect("JSON");
    assert_eq!(oneself["Stats"]["consul"]["server"], "false");
    assert_eq!(oneself["Stats"]["raft"], serde_json::Value::Null);
    lab.end().await;
}

#[tokio::test]
async fn what_is_registered_with_the_agent_is_told_as_the_reference_tells_it() {
    let lab = Lab::new().await;
    let service = r#""ID":"w1","Service":"web","Tags":["t"],"Meta":{},"Port":80,"Address":"","Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false"#;
    lab.check("GET /v1/agent/services", 200, &format!(r#"{{"w1":{{{service}}}}}"#)).await;
    let one = lab.ask("GET /v1/agent/service/w1").await;
    let hash = one.headers["x-consul-contenthash"].to_str().expect("text").to_owned();
    assert_eq!(one.body, format!(r#"{{{service},"ContentHash":"{hash}"}}"#));
    lab.check("GET /v1/agent/service/nope", 404, "unknown service ID: nope").await;
    let check = r#""Node":"one","CheckID":"service:w1","Name":"up","Status":"warning","Notes":"","Output":"hm","ServiceID":"w1","ServiceName":"web","ServiceTags":["t"],"Type":"script","Definition":{},"CreateIndex":0,"ModifyIndex":0"#;
    lab.check("GET /v1/agent/checks", 200, &format!(r#"{{"service:w1":{{{check}}}}}"#)).await;
    lab.end().await;
}
