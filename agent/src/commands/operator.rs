//! `operator raft`: the servers as Raft has them; `autopilot` has the rules for them.

use shared::api::operator::RaftConfiguration;

use super::{Call, Ended, Group, Reach, Verb, Word, failing, table};
use crate::flags::{Flag, Kind};

pub(super) const GROUP: Group = Group {
    path: "operator",
    synopsis: "Tools for those who run a cluster",
    form: "[options]",
    about: "  Tools for those who run a cluster, such as a look at its Raft. Run one without\n  arguments for its help.",
    words: &[Word::Group(&super::autopilot::GROUP), Word::Group(&RAFT)],
};

const RAFT: Group = Group {
    path: "operator raft",
    synopsis: "Tools for those who run a cluster's Raft",
    form: "[options]",
    about: "Shows and changes the servers that Raft keeps agreed.",
    words: &[Word::Verb(&LIST_PEERS), Word::Verb(&REMOVE_PEER), Word::Verb(&TRANSFER_LEADER)],
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

const REMOVE_PEER: Verb = Verb {
    path: "operator raft remove-peer",
    synopsis: "Removes a server from the Raft configuration",
    form: "[options]",
    about: "  Takes a server that is gone out of the Raft configuration. One that is still\n  there comes back; let it leave instead.",
    flags: &[
        Flag::new("address", Kind::String, "IP:port of the server to remove.").value("ip:port"),
        Flag::new("id", Kind::String, "ID of the server to remove."),
    ],
    reach: Reach::Servers,
    run: |call| Box::pin(async move { Ended::from(remove_peer(call).await) }),
};

const TRANSFER_LEADER: Verb = Verb {
    path: "operator raft transfer-leader",
    synopsis: "Hands the leadership to another server",
    form: "[options]",
    about: "  Hands the leadership to another voter: the one with this ID, or the one\n  that is furthest.",
    flags: &[Flag::new("id", Kind::String, "ID of the server that shall lead.")],
    reach: Reach::Servers,
    run: |call| Box::pin(async move { Ended::from(transfer_leader(call).await) }),
};

async fn remove_peer(call: &Call) -> Result<Ended, Ended> {
    let (address, id) = (call.flags.text("address"), call.flags.text("id"));
    let (name, value) = match (address.is_empty(), id.is_empty()) {
        (false, true) => ("address", address),
        (true, false) => ("id", id),
        (true, true) => {
            return Err(Ended::failed("Error removing peer: an address or id is required for the peer to remove"));
        }
        (false, false) => return Err(Ended::failed("Error removing peer: cannot give both an address and id")),
    };
    let client = call.client_or("Error initializing client")?;
    let request = call.scoped(client.delete("/v1/operator/raft/peer").query(name, value));
    request.send().await.map_err(failing("Error removing peer"))?;
    Ok(Ended::said(format!("Removed peer with {name} \"{value}\"\n")))
}

async fn transfer_leader(call: &Call) -> Result<Ended, Ended> {
    let client = call.client_or("Error initializing client")?;
    let mut request = call.scoped(client.post("/v1/operator/raft/transfer-leader"));
    if let Some(id) = call.flags.given_text("id").filter(|id| !id.is_empty()) {
        request = request.query("id", id);
    }
    request.send().await.map_err(failing("Error transferring leadership"))?;
    Ok(Ended::said("Success\n"))
}

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
