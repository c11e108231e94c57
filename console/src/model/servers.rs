//! The servers as rows: Raft's configuration, gossip and progress put together, one row each.
//!
//! Made anew at every settling from what `raft` and `members` hold; it keeps nothing of its own.

use serde::{Deserialize, Serialize};
use shared::event::{MemberStatus, Pool, Role};

use super::elections::Outcome;
use super::members::Members;
use super::raft::{Leader, Progress, Raft};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerRole {
    Leader,
    Follower,
    Candidate,
    /// It says that it leads, and no quorum answers it.
    Doubted,
    /// In the configuration, without a vote.
    Learner,
    /// Not answering, or gone.
    Down,
    /// A server member that the Raft configuration does not name.
    Outside,
    #[default]
    Unknown,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerRow {
    pub id: String,
    pub node: String,
    /// `host:port` of its Raft address.
    pub address: String,
    pub role: ServerRole,
    pub in_raft: bool,
    pub vote: Option<bool>,
    pub up: Option<bool>,
    pub status: Option<MemberStatus>,
    pub progress: Progress,
    /// Entries it lacks of what the leader has.
    pub behind: Option<u64>,
}

impl ServerRow {
    pub fn name(&self) -> &str {
        [&self.node, &self.address, &self.id].into_iter().find(|text| !text.is_empty()).map_or("?", String::as_str)
    }
}

/// The agent in use, as far as rows need to know it.
#[derive(Clone, Copy, Debug)]
pub struct Here<'a> {
    pub id: &'a str,
    /// It answers now, so its server is up.
    pub live: bool,
}

/// All servers: peers in the order of the configuration, the leader first, then the others.
pub fn rows(raft: &Raft, members: &Members, here: Here<'_>) -> Vec<ServerRow> {
    let mut rows: Vec<ServerRow> = raft
        .peers
        .iter()
        .map(|peer| {
            let named = members.find(Pool::Lan, &peer.node);
            let member = named.filter(|m| m.id().is_none_or(|id| id == peer.id)).or_else(|| members.by_id(&peer.id));
            let mut progress = raft.progress.get(&peer.id).cloned().unwrap_or_default();
            if !here.id.is_empty() && peer.id == here.id {
                progress.role = raft.own.role.or(progress.role);
                progress.last_log = progress.last_log.max(raft.own.last_log);
                progress.commit = progress.commit.max(raft.own.commit);
                progress.applied = progress.applied.max(raft.own.applied);
            }
            let status = member.map(|member| member.state.status);
            let is_here = here.live && !here.id.is_empty() && peer.id == here.id;
            let up = if is_here { Some(true) } else { status.map(is_up).or(progress.serf_alive) };
            let node = match member {
                Some(member) if peer.node.is_empty() => member.state.name.clone(),
                _ => peer.node.clone(),
            };
            let role = role(raft, &peer.id, &node, peer.voter, up, &progress);
            ServerRow {
                id: peer.id.clone(),
                node,
                address: peer.address.clone(),
                role,
                in_raft: true,
                vote: peer.voter,
                up,
                status,
                behind: raft.behind(&peer.id),
                progress,
            }
        })
        .collect();
    // The leader is on top; among the others the configuration's order is kept, so that rows stand
    // still when leadership does.
    rows.sort_by_key(|row| !matches!(row.role, ServerRole::Leader | ServerRole::Doubted));
    rows.extend(outsiders(raft, members));
    rows
}

/// Servers that gossip knows and the configuration does not, those that left aside.
fn outsiders(raft: &Raft, members: &Members) -> Vec<ServerRow> {
    let in_raft = |id: &str, name: &str| raft.peers.iter().any(|peer| peer.id == id || peer.node == name);
    let mut rows: Vec<ServerRow> = members
        .lan()
        .filter(|member| member.is_server() && member.state.status != MemberStatus::Left)
        .filter(|member| !in_raft(member.id().unwrap_or(""), &member.state.name))
        .map(|member| ServerRow {
            id: member.id().unwrap_or(&member.state.name).to_owned(),
            node: member.state.name.clone(),
            address: match member.state.tags.get("port") {
                Some(port) => format!("{}:{port}", member.state.address),
                None => member.state.address.clone(),
            },
            role: match is_up(member.state.status) {
                // Before the configuration has been told, nobody is outside of it.
                true if raft.peers_known => ServerRole::Outside,
                true => ServerRole::Unknown,
                false => ServerRole::Down,
            },
            in_raft: false,
            vote: raft.peers_known.then_some(false),
            up: Some(is_up(member.state.status)),
            status: Some(member.state.status),
            ..ServerRow::default()
        })
        .collect();
    rows.sort_by(|a, b| a.node.cmp(&b.node));
    rows
}

fn is_up(status: MemberStatus) -> bool {
    matches!(status, MemberStatus::Alive | MemberStatus::Suspect)
}

fn role(raft: &Raft, id: &str, node: &str, vote: Option<bool>, up: Option<bool>, progress: &Progress) -> ServerRole {
    let later = raft.later();
    let later = later.as_ref();
    let stands = || raft.elections.newest().take(4).any(|e| e.candidate == node && e.outcome == Outcome::Open);
    match () {
        () if up == Some(false) => ServerRole::Down,
        () if raft.leader_id() == Some(id) && (!raft.is_led() || later.is_some()) => ServerRole::Doubted,
        () if raft.leader_id() == Some(id) || later.is_some_and(|later| later.id == id) => ServerRole::Leader,
        () if vote == Some(false) => ServerRole::Learner,
        () if matches!(raft.leader, Leader::Known(_)) && vote == Some(true) && up.is_some() => ServerRole::Follower,
        () if progress.role == Some(Role::Candidate) || stands() => ServerRole::Candidate,
        () if progress.role == Some(Role::Follower) => ServerRole::Follower,
        () => ServerRole::Unknown,
    }
}
