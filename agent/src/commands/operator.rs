//! `operator raft list-peers`: the servers as Raft has them.

use shared::api::operator::RaftConfiguration;

use super::{Call, Ended, Group, Reach, Verb, Word, failing, table};

pub(super) const GROUP: Group = Group {
    path: "operator",
    synopsis: "Tools for those who run a cluster",
    about: "  Tools for those who run a cluster, such as a look at its Raft. Run one without\n  arguments for its help.",
    words: &[Word::Group(&RAFT)],
};

const RAFT: Group = Group {
    path: "operator raft",
    synopsis: "Tools for those who run a cluster's Raft",
    about: "Shows the servers that Raft keeps agreed.",
    words: &[Word::Verb(&LIST_PEERS)],
};

const LIST_PEERS: Verb = Verb {
    path: "operator raft list-peers",
    synopsis: "Shows the servers in the Raft configuration",
    form: "[options]",
    about: "  Shows the servers in the Raft configuration, which of them leads, and\n  who votes.",
    flags: &[],
    reach: Reach::Servers,
    run: |call| Box::pin(async move { Ended::from(list_peers(call).await) }),
};

async fn list_peers(call: &Call) -> Result<Ended, Ended> {
    let client = call.client_or("Error initializing client")?;
    let request = call.scoped(client.get("/v1/operator/raft/configuration"));
    let complaint = "Error getting peers: Failed to retrieve raft configuration";
    let configuration: RaftConfiguration = request.json().await.map_err(failing(complaint))?;
    let mut rows = vec![table::row(["Node", "ID", "Address", "State", "Voter", "RaftProtocol"])];
    for server in &configuration.servers {
        let state = if server.leader { "leader" } else { "follower" };
        let protocol = if server.protocol_version.is_empty() { "<=1" } else { &server.protocol_version };
        let voter = server.voter.to_string();
        rows.push(table::row([&server.node, &server.id, &server.address, state, &voter, protocol]));
    }
    Ok(Ended::said(table::columns(&rows)))
}
