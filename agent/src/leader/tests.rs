//! The duties on a server of one, with members made up.

use std::collections::BTreeMap;

use shared::event::{MemberStatus, Pool};

use super::*;
use crate::backend::ReadOptions;
use crate::backend::testing::{SERVER_ID, Server, soon};
use crate::store::command::CheckStatus;
use crate::store::query::{Answer, NodeHealth, Query};

fn member(name: &str, role: &str, status: MemberStatus) -> MemberState {
    let tags = [("role", role), ("dc", "dc1"), ("port", "8300"), ("build", "1.8.7")];
    MemberState {
        pool: Pool::Lan,
        name: name.to_owned(),
        address: "127.0.0.1".to_owned(),
        port: 8301,
        status,
        incarnation: 1,
        protocol: 2,
        versions: [1, 5, 2, 2, 5, 4],
        tags: tags.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect::<BTreeMap<_, _>>(),
    }
}

/// Nodes by name with the state of their `serfHealth`, once they are as `expected`.
async fn catalog(backend: &Backend, expected: &[(&str, CheckStatus)]) -> Vec<NodeHealth> {
    let mut options = ReadOptions::default();
    loop {
        let reply = soon(backend.read(Query::NodeHealth { node: None }, options)).await.expect("read");
        let Answer::NodeHealth(nodes) = reply.answer else { panic!("not nodes") };
        let seen: Vec<_> =
            nodes.iter().map(|n| (&*n.node.fields.name, n.checks.first().map(|c| c.fields.status))).collect();
        if seen.len() == expected.len() && seen.iter().zip(expected).all(|(s, e)| s.0 == e.0 && s.1 == Some(e.1)) {
            return nodes;
        }
        options.min_index = reply.index;
    }
}

#[tokio::test]
async fn the_catalog_follows_the_members_while_this_server_leads() {
    use CheckStatus::{Critical, Passing};
    let server = Server::alone().await;
    let (gossip, members) = watch::channel(Arc::new(vec![member("one", "consul", MemberStatus::Alive)]));
    let duties = Duties {
        node_name: "one".to_owned(),
        server_id: SERVER_ID.to_string(),
        datacenter: "dc1".to_owned(),
        backend: server.backend.clone(),
        raft: server.raft.state(),
        members,
        membership: None,
    };
    duties.start(&server.tasks);
    let nodes = catalog(&server.backend, &[("one", Passing)]).await;
    assert_eq!(nodes[0].services[0].fields.name, "consul");
    for (status, expected) in [
        (MemberStatus::Alive, &[("one", Passing), ("two", Passing)][..]),
        (MemberStatus::Failed, &[("one", Passing), ("two", Critical)]),
        (MemberStatus::Left, &[("one", Passing)]),
    ] {
        let both = vec![member("one", "consul", MemberStatus::Alive), member("two", "node", status)];
        gossip.send_replace(Arc::new(both));
        catalog(&server.backend, expected).await;
    }
    server.end().await;
}

#[tokio::test]
async fn another_servers_leadership_is_no_business_of_ours() {
    let server = Server::alone().await;
    let (_gossip, members) = watch::channel(Arc::new(vec![member("one", "consul", MemberStatus::Alive)]));
    let duties = Duties {
        node_name: "two".to_owned(),
        server_id: "another".to_owned(),
        datacenter: "dc1".to_owned(),
        backend: server.backend.clone(),
        raft: server.raft.state(),
        members,
        membership: None,
    };
    let mut led = server.raft.state();
    soon(led.wait_for(|state| state.leader_id.is_some())).await.expect("Raft runs");
    assert!(!duties.leads(&led.borrow()));
    duties.start(&server.tasks);
    server.end().await;
}
