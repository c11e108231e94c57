//! The state syncer on a server of one.

use super::*;
use crate::backend::ReadOptions;
use crate::backend::testing::{Server, soon};
use crate::store::command::{Command, Deregistration};
use crate::store::query::{Answer, Query};

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
    let local = Local::new(Claims { node: claimed(), ..Claims::default() });
    local.start(server.backend.clone(), members, &server.tasks);
    in_sync(&server.backend).await;
    let gone = Command::Deregister(Deregistration::Node { node: "one".to_owned() });
    server.backend.write(gone).await.expect("written");
    local.sync_soon();
    in_sync(&server.backend).await;
    server.end().await;
}

#[test]
fn a_node_tells_its_addresses_by_family() {
    let tagged: Vec<_> = claimed().tagged_addresses.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(tagged, ["lan=127.0.0.1", "lan_ipv4=127.0.0.1", "wan=::1", "wan_ipv6=::1"]);
}
