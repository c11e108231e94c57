//! Which servers this agent knows of, told in Consul's words as membership changes.
//! A table of its own because requests to servers will be spread over it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use shared::event::{MemberState, MemberStatus};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::raft::bootstrap::Seen;
use crate::tasks::Tasks;

/// Members by name, as the last look saw them.
type Known = BTreeMap<String, MemberState>;

#[derive(Debug, PartialEq)]
enum Change<'a> {
    Added(&'a MemberState),
    Removed(&'a MemberState),
}

/// Who is telling: a server's LAN, its WAN, or a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    ServerLan,
    ServerWan,
    Client,
}

/// Follows the pool until the token is cancelled or the pool is gone.
pub(super) async fn follow(mut members: watch::Receiver<Arc<Vec<MemberState>>>, view: View, end: CancellationToken) {
    if view == View::ServerLan {
        tracing::info!(target: "agent.router", "Initializing LAN area manager");
    }
    let mut known = Known::new();
    loop {
        let now = servers(&members.borrow_and_update().clone());
        for change in changes(&known, &now) {
            tell(view, &change);
        }
        known = now;
        tokio::select! {
            changed = members.changed() => if changed.is_err() { return },
            () = end.cancelled() => return,
        }
    }
}

/// The servers that are here, for forming a cluster with them.
pub(super) fn seen(
    mut members: watch::Receiver<Arc<Vec<MemberState>>>,
    tasks: &Tasks,
) -> watch::Receiver<Arc<Vec<Seen>>> {
    let look = |members: &[MemberState]| Arc::new(servers(members).values().filter_map(as_seen).collect::<Vec<_>>());
    let (told, seen) = watch::channel(look(&members.borrow_and_update()));
    let end = tasks.token();
    tasks.spawn("raft servers", async move {
        end.run_until_cancelled(async {
            while members.changed().await.is_ok() {
                let now = look(&members.borrow_and_update());
                told.send_if_modified(|before| {
                    let changed = *before != now;
                    *before = now;
                    changed
                });
            }
        })
        .await;
    });
    seen
}

/// None of one whose tags do not say what a server's must.
fn as_seen(member: &MemberState) -> Option<Seen> {
    let tag = |name: &str| member.tags.get(name).map_or("", String::as_str);
    let port = tag("port").parse().ok()?;
    Some(Seen {
        id: tag("id").parse().ok()?,
        name: member.name.clone(),
        address: shared::addr::host_port(&member.address, port),
        datacenter: tag("dc").to_owned(),
        expect: tag("expect").parse().unwrap_or(0),
        bootstrap: tag("bootstrap") == "1",
    })
}

/// The servers that can be asked: those that are here and have not said good-bye.
fn servers(members: &[MemberState]) -> Known {
    let here = |m: &&MemberState| {
        matches!(m.status, MemberStatus::Alive | MemberStatus::Suspect)
            && m.tags.get("role").is_some_and(|role| role == "consul")
    };
    members.iter().filter(here).map(|m| (m.name.clone(), m.clone())).collect()
}

fn changes<'a>(before: &'a Known, after: &'a Known) -> Vec<Change<'a>> {
    let added = after.iter().filter(|(name, _)| !before.contains_key(*name)).map(|(_, m)| Change::Added(m));
    let removed = before.iter().filter(|(name, _)| !after.contains_key(*name)).map(|(_, m)| Change::Removed(m));
    added.chain(removed).collect()
}

fn tell(view: View, change: &Change<'_>) {
    let (member, event) = match change {
        Change::Added(member) => (member, "member-join"),
        Change::Removed(member) => (member, "member-leave"),
    };
    let server = described(member);
    match (view, change) {
        (View::ServerWan, _) => {
            tracing::info!(target: "agent.server", event, server = %member.name, area = "wan", "Handled event for server in area");
        }
        (View::ServerLan, Change::Added(_)) => tracing::info!(target: "agent.server", server, "Adding LAN server"),
        (View::ServerLan, Change::Removed(_)) => tracing::info!(target: "agent.server", server, "Removing LAN server"),
        (View::Client, Change::Added(_)) => tracing::info!(target: "agent.client", server, "adding server"),
        (View::Client, Change::Removed(_)) => tracing::info!(target: "agent.client", server, "removing server"),
    }
}

/// `NAME (Addr: tcp/IP:8300) (DC: dc1)`
fn described(member: &MemberState) -> String {
    let tag = |name: &str| member.tags.get(name).map_or("", String::as_str);
    let address = shared::addr::host_port(&member.address, tag("port").parse().unwrap_or(8300));
    format!("{} (Addr: tcp/{address}) (DC: {})", member.name, tag("dc"))
}

/// An entry of `retry_join` without its port.
pub(super) fn host_of(entry: &str) -> String {
    if let Ok(address) = entry.parse::<SocketAddr>() {
        return address.ip().to_string();
    }
    match entry.rsplit_once(':') {
        // More colons: an address of IPv6, which has no port without its brackets.
        Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => host.to_owned(),
        _ => entry.trim_matches(['[', ']']).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use shared::event::Pool;

    use super::*;

    fn member(name: &str, role: &str, status: MemberStatus) -> MemberState {
        MemberState {
            pool: Pool::Lan,
            name: name.into(),
            address: "172.20.20.10".into(),
            port: 8301,
            status,
            incarnation: 1,
            protocol: 2,
            versions: [1, 5, 2, 2, 5, 4],
            tags: BTreeMap::from([
                ("role".into(), role.into()),
                ("port".into(), "8300".into()),
                ("dc".into(), "dc1".into()),
            ]),
        }
    }

    #[test]
    fn only_servers_that_are_here_count() {
        let members = [
            member("a", "consul", MemberStatus::Alive),
            member("b", "node", MemberStatus::Alive),
            member("c", "consul", MemberStatus::Failed),
            member("d", "consul", MemberStatus::Suspect),
        ];
        assert_eq!(servers(&members).into_keys().collect::<Vec<_>>(), ["a", "d"]);
    }

    #[test]
    fn coming_and_going_is_told_once() {
        let one = servers(&[member("a", "consul", MemberStatus::Alive)]);
        let two = servers(&[member("b", "consul", MemberStatus::Alive)]);
        assert_eq!(changes(&one, &one), []);
        assert_eq!(changes(&one, &two), [Change::Added(&two["b"]), Change::Removed(&one["a"])]);
    }

    #[test]
    fn a_server_is_described_as_consul_does() {
        let server = member("agent-one", "consul", MemberStatus::Alive);
        assert_eq!(described(&server), "agent-one (Addr: tcp/172.20.20.10:8300) (DC: dc1)");
    }

    #[track_caller]
    fn check_host(entry: &str, host: &str) {
        assert_eq!(host_of(entry), host);
    }

    #[test]
    fn an_entry_of_retry_join_is_a_host_with_or_without_a_port() {
        check_host("172.20.20.11", "172.20.20.11");
        check_host("172.20.20.11:8301", "172.20.20.11");
        check_host("one.example:8301", "one.example");
        check_host("one", "one");
        check_host("[fd00::1]:8301", "fd00::1");
        check_host("[fd00::1]", "fd00::1");
        check_host("fd00::1", "fd00::1");
    }
}
