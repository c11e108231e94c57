//! The client and the catalog: names are watched, the instances of the service that is looked at too, and
//! those of others are asked for once.

use console::msg::{Denial, Interest, LaneId, Msg, OwnAgent, Place, Source};
use console::polled::Polled;

use crate::fake_agent::{Fake, Reply, Watcher, frame, json, status};

const STREAM: &str = ": hello\n\n";

fn entry(id: &str) -> String {
    format!(
        r#"{{"Node":{{"Node":"n1","Address":"10.0.0.1","Meta":null}},"Service":{{"ID":"{id}","Service":"web","Tags":null,
        "Address":"","Meta":null,"Port":70000,"Weights":{{"Passing":1,"Warning":1}}}},"Checks":[]}}"#
    )
}

/// The IDs of the instances that came of this service.
fn ids(msg: &Msg, of: &str) -> Option<Vec<String>> {
    match msg {
        Msg::Polled { polled: Polled::Instances { service, entries }, .. } if service == of => {
            Some(entries.iter().map(|entry| entry.service.id.clone()).collect())
        }
        _ => None,
    }
}

fn looked_at(service: &str, counted: &[&str]) -> Interest {
    Interest {
        service: Some(service.to_owned()),
        counted: counted.iter().map(|name| (*name).to_owned()).collect(),
        agent: None,
    }
}

/// As `json`, at another index.
fn json_at(index: &'static str, body: &str) -> Reply {
    Reply::Whole(200, index, body.to_owned())
}

#[tokio::test]
async fn the_service_that_is_looked_at_is_watched_and_others_are_counted() {
    let fake = Fake::new(|asked| match asked.path() {
        "/v1/agent/events" => Reply::Open(STREAM.to_owned()),
        "/v1/catalog/services" if asked.target.contains("index=") => Reply::Silence,
        "/v1/catalog/services" => json(r#"{"web":["v1"],"db":null}"#),
        "/v1/health/service/web" if asked.target.contains("index=5&") => {
            json_at("x-consul-index: 6\r\n", &format!("[{},{}]", entry("web-1"), entry("web-2")))
        }
        "/v1/health/service/web" if asked.target.contains("index=") => Reply::Silence,
        "/v1/health/service/web" => json(&format!("[{}]", entry("web-1"))),
        "/v1/health/service/db" => json("null"),
        _ => status(404, ""),
    });
    let mut watcher = Watcher::new(&[&fake.address]);
    let names = |msg: &Msg| match msg {
        Msg::Polled { polled: Polled::Services(named), .. } => Some(named.keys().cloned().collect::<Vec<_>>()),
        _ => None,
    };
    assert_eq!(watcher.until("the names", names).await, ["db", "web"]);
    watcher.client.watch(looked_at("web", &[]));
    assert_eq!(watcher.until("web's first", |msg| ids(msg, "web")).await, ["web-1"]);
    assert_eq!(watcher.until("web's second", |msg| ids(msg, "web")).await, ["web-1", "web-2"]);
    watcher.client.watch(looked_at("web", &["db"]));
    assert_eq!(watcher.until("those of db", |msg| ids(msg, "db")).await, [""; 0]);
}

#[tokio::test]
async fn a_service_that_may_not_be_read_is_said_so_and_another_one_is_read() {
    let fake = Fake::new(|asked| match asked.path() {
        "/v1/agent/events" => Reply::Open(STREAM.to_owned()),
        "/v1/health/service/secret" => status(403, "Permission denied"),
        "/v1/health/service/web" if asked.target.contains("index=") => Reply::Silence,
        "/v1/health/service/web" => json(&format!("[{}]", entry("web-1"))),
        _ => status(404, ""),
    });
    let mut watcher = Watcher::new(&[&fake.address]);
    watcher.client.watch(looked_at("secret", &[]));
    let denied = |msg: &Msg| match msg {
        Msg::Denied { source: Source::Instances, denial, .. } => Some(*denial),
        _ => None,
    };
    assert_eq!(watcher.until("the refusal", denied).await, Denial::Forbidden);
    watcher.client.watch(looked_at("web", &[]));
    assert_eq!(watcher.until("web", |msg| ids(msg, "web")).await, ["web-1"]);
}

#[tokio::test]
async fn how_checks_work_is_read_from_the_picture_of_their_own_agent() {
    let used = Fake::new(|asked| match asked.path() {
        "/v1/agent/events" => Reply::Open(STREAM.to_owned()),
        _ => status(404, ""),
    });
    // It speaks for the node "one".
    let its_own = Fake::new(|asked| match asked.path() {
        "/v1/agent/events" => {
            let check = |id: &str, more: &str| {
                format!(
                    r#""Type":"present","CheckID":"{id}","Name":"up","Status":"passing","Output":"","Notes":"",
                    "CheckType":"tcp","ServiceID":"web","Service":"web","Registrar":"api"{more}"#
                )
                .replace('\n', "")
            };
            let frames = [
                frame(1, "check", &check("c1", r#","IntervalMs":10000"#)),
                frame(2, "check", &check("c2", "")),
                "event: snapshot-end\ndata: {}\n\n".to_owned(),
            ];
            Reply::Open(frames.concat())
        }
        _ => status(404, ""),
    });
    let mut watcher = Watcher::new(&[&used.address]);
    let look = |node: &str| {
        let place = Place { lane: LaneId(0), address: Some(its_own.address.clone()) };
        Interest { agent: Some(OwnAgent { node: node.to_owned(), place }), ..Interest::default() }
    };
    watcher.client.watch(look("one"));
    let told = |msg: &Msg| match msg {
        Msg::Polled { polled: Polled::Checked { node, checks }, .. } => {
            Some((node.clone(), checks.iter().map(|it| (it.check_id.clone(), it.interval_ms)).collect::<Vec<_>>()))
        }
        _ => None,
    };
    let expected = ("one".to_owned(), vec![("c1".to_owned(), Some(10_000)), ("c2".to_owned(), None)]);
    assert_eq!(watcher.until("its checks", told).await, expected);
}
