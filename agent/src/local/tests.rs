//! The state syncer on a server of one.

use shared::event::ServiceEvent;

use super::*;
use crate::backend::ReadOptions;
use crate::backend::testing::{PATIENCE, Server, soon};
use crate::config::Service;
use crate::store::command::{Command, Deregistration};
use crate::store::query::{Answer, Query};

impl Local {
    pub(super) fn register_service(&self, service: Service, replaced: bool) -> Result<(), Refused> {
        self.change_now(Change::Service { service, replaced }).map(drop)
    }

    pub(super) fn register_check(&self, check: Check) -> Result<(), Refused> {
        self.change_now(Change::Check(Box::new(check))).map(drop)
    }

    pub(super) fn deregister_service(&self, id: &str) -> bool {
        self.change_now(Change::NoService(id.to_owned())).expect("never refused")
    }

    pub(super) fn deregister_check(&self, id: &str) -> bool {
        self.change_now(Change::NoCheck(id.to_owned())).expect("never refused")
    }
}

fn claimed() -> NodeFields {
    let lan = [127, 0, 0, 1].into();
    node_fields("one", "40e4a748-2192-161a-0510-9bf59fe950b5", "dc1", lan, std::net::Ipv6Addr::LOCALHOST.into())
}

/// Until the catalog holds what is claimed.
async fn in_sync(backend: &Backend) {
    let mut options = ReadOptions::default();
    loop {
        let query = Query::Node { node: "one".to_owned() };
        let reply = soon(backend.read(query, options)).await.expect("read");
        match reply.answer {
            Answer::Node(Some(there)) if there.node.fields == claimed() => return,
            _ => options.min_index = reply.index,
        }
    }
}

#[tokio::test]
async fn the_nodes_entry_is_pushed_at_the_start_and_when_asked() {
    let server = Server::alone().await;
    let (_gossip, members) = watch::channel(Arc::default());
    let local = Local::new(Settings { node: claimed(), ..Settings::default() });
    local.start(server.backend.clone(), members, &server.tasks);
    in_sync(&server.backend).await;
    let gone = Command::Deregister(Deregistration::Node { node: "one".to_owned() });
    server.backend.write(gone).await.expect("written");
    local.sync_soon();
    in_sync(&server.backend).await;
    server.end().await;
}

#[tokio::test]
async fn an_agent_that_leaves_writes_nothing_any_more() {
    let server = Server::alone().await;
    let (_gossip, members) = watch::channel(Arc::default());
    let local = Local::new(Settings { node: claimed(), ..Settings::default() });
    local.start(server.backend.clone(), members, &server.tasks);
    in_sync(&server.backend).await;
    soon(local.fall_silent()).await;
    assert!(local.0.silence.kept.is_cancelled(), "the syncer has ended");
    let gone = Command::Deregister(Deregistration::Node { node: "one".to_owned() });
    server.backend.write(gone).await.expect("written");
    let fields = ServiceFields { id: "w".to_owned(), name: "w".to_owned(), ..ServiceFields::default() };
    local.register_service(Service { fields, checks: Vec::new() }, false).expect("registered");
    local.sync_soon();
    let query = Query::Node { node: "one".to_owned() };
    let reply = soon(server.backend.read(query, ReadOptions::default())).await.expect("read");
    assert!(matches!(reply.answer, Answer::Node(None)), "{:?}", reply.answer);
    server.end().await;
}

#[test]
fn a_node_tells_its_addresses_by_family() {
    let tagged: Vec<_> = claimed().tagged_addresses.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(tagged, ["lan=127.0.0.1", "lan_ipv4=127.0.0.1", "wan=::1", "wan_ipv6=::1"]);
}

#[test]
fn a_service_goes_when_a_check_of_it_was_critical_for_too_long() {
    let local = Local::new(Settings::default());
    let check = |id: &str, after: u64| Check {
        id: id.to_owned(),
        service_id: id.to_owned(),
        ttl: Duration::from_secs(600),
        deregister_critical_service_after: Duration::from_secs(after),
        ..Check::default()
    };
    for (id, after) in [("never", 0), ("soon", 1), ("late", 90), ("well", 60)] {
        let fields = ServiceFields { id: id.to_owned(), name: id.to_owned(), ..ServiceFields::default() };
        local.register_service(Service { fields, checks: vec![check(id, after)] }, false).expect("registered");
    }
    local.judge("well", CheckStatus::Warning, String::new());
    let start = clock::now();
    let left = |seconds: u64| {
        local.reap(start + Duration::from_secs(seconds));
        local.services().into_iter().map(|service| service.id).collect::<Vec<_>>()
    };
    assert_eq!(left(59).len(), 4);
    // No service goes sooner than after a minute.
    assert_eq!(left(61), ["late", "never", "well"]);
    assert_eq!(left(91), ["never", "well"]);
    local.judge("well", CheckStatus::Critical, String::new());
    assert_eq!(left(92), ["never"]);
}

#[tokio::test]
async fn events_that_found_the_queue_full_come_later_the_last_of_each() {
    let (notices, mut heard) = mpsc::channel(1);
    let local = Local::new(Settings { notices: Some(notices), ..Settings::default() });
    let register = |id: &str, port: u16| {
        let fields = ServiceFields { id: id.to_owned(), name: id.to_owned(), port, ..ServiceFields::default() };
        local.register_service(Service { fields, checks: Vec::new() }, false).expect("registered");
    };
    ["a", "b", "c", "d"].into_iter().zip(1..).for_each(|(id, port)| register(id, port));
    register("b", 5);
    assert!(local.deregister_service("c"));
    let tasks = Tasks::new();
    let (later, token) = (local.clone(), tasks.token());
    tasks.spawn("later", async move {
        token.run_until_cancelled(later.tell_later()).await;
    });
    let mut told = Vec::new();
    while told.len() < 4 {
        let body = soon(heard.recv()).await.expect("an event");
        let Body::Service(event) = body else { panic!("{body:?}") };
        let sign = if matches!(event, ServiceEvent::Deregistered(_)) { '-' } else { '+' };
        told.push(format!("{sign}{} {}", event.state().service_id, event.state().port));
    }
    assert_eq!(told, ["+a 1", "+b 5", "-c 3", "+d 4"]);
    register("a", 6);
    assert!(matches!(soon(heard.recv()).await, Some(Body::Service(_))), "in the queue at once");
    assert!(tasks.end(PATIENCE).await);
}
