//! The one place where openraft's types are pinned to ours, and where its indexes become Consul's.
//! Used by the rest of this room only; other rooms see plain numbers and `store` commands.
//! Nothing here is written to disk as it stands: `record` holds what is.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::moment::WallTime;
use crate::store::command::{Command, Outcome};

openraft::declare_raft_types!(
    /// Standard Raft: one leader a term.
    pub(crate) Config:
        D = Proposal,
        R = Outcome,
        NodeId = ServerId,
        Node = Peer,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = Runtime,
);

#[cfg(not(test))]
type Runtime = openraft::impls::TokioRuntime;
/// The same, with dice that a simulation may load.
#[cfg(test)]
type Runtime = super::sim::runtime::Runtime;

pub(crate) type LogId = openraft::alias::LogIdOf<Config>;
pub(crate) type Entry = openraft::alias::EntryOf<Config>;
pub(crate) type Vote = openraft::alias::VoteOf<Config>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<Config>;
pub(crate) type Membership = openraft::Membership<ServerId, Peer>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Config>;
pub(crate) type Payload = openraft::EntryPayload<Proposal, ServerId, Peer>;
pub(crate) type Metrics = openraft::RaftMetrics<Config>;

/// A server's identity in Raft: the node ID kept in its data directory, never used again after a wipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct ServerId(pub(crate) u128);

impl From<Uuid> for ServerId {
    fn from(id: Uuid) -> Self {
        Self(id.as_u128())
    }
}

/// openraft's storage suite names servers by small numbers.
#[cfg(test)]
impl From<u64> for ServerId {
    fn from(id: u64) -> Self {
        Self(u128::from(id))
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_u128(self.0).hyphenated().fmt(f)
    }
}

/// What the configuration tells of a server besides its ID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// `address:port` of its Raft and RPC socket.
    pub(crate) address: String,
}

/// A command with the time the leader gave it, the only time `store` ever sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposal {
    pub(crate) at: WallTime,
    pub(crate) command: Command,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {}", self.at)
    }
}

/// openraft counts entries from 0, Consul from 1: every index that anyone sees goes through here.
pub(crate) fn shown(index: u64) -> u64 {
    index.saturating_add(1)
}

/// The index of a position that may not exist yet; 0 then, as Consul shows it.
pub(crate) fn shown_id(id: Option<&LogId>) -> u64 {
    id.map_or(0, |id| shown(id.index))
}
