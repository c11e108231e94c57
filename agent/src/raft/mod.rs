//! Agreement among the servers: openraft's traits on our log and store.

mod ballots;
pub mod bootstrap;
mod compaction;
mod file;
mod following;
pub mod forming;
mod heard;
mod incoming;
mod log;
mod lost;
mod message;
mod neighbours;
mod network;
#[cfg(test)]
mod network_tests;
mod node;
mod operate;
pub(crate) mod owner;
mod peers_file;
mod promise;
mod pulse;
mod record;
mod recovery;
mod servers;
mod serving;
#[cfg(test)]
pub(crate) mod sim;
mod snapshot;
mod stamp;
mod state_machine;
mod types;
mod upkeep;
mod watch;

#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod sending_tests;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shared::event::{ElectionEvent, RaftEvent, ReplicationEvent};

use crate::store::command::{Command, KvCommand};
use crate::store::{Changes, Store};

pub use self::node::Raft;
pub use self::operate::Operation;
pub use self::servers::{ChangeError, Follower};

/// What the root decides about Raft.
#[derive(Clone, Debug)]
pub struct Options {
    /// `raft/` under the data directory; none keeps the log in memory (`-dev`).
    pub dir: Option<PathBuf>,
    /// The persisted node ID (a UUID), which is also the server ID that users see.
    pub node_id: uuid::Uuid,
    pub node_name: String,
    /// `address:port` other servers reach us at.
    pub address: String,
    /// 1 to 10.
    pub multiplier: u32,
    /// Form a cluster of one when there is no Raft state yet.
    pub bootstrap: bool,
    pub snapshot_threshold: u64,
    pub snapshot_interval: Duration,
    pub trailing_logs: u64,
}

/// What happened in Raft, for the event pump. Sent with `try_send`; a full queue is counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    Raft(RaftEvent),
    Election(ElectionEvent),
    Replication(ReplicationEvent),
}

/// Called after a batch was applied and its view published.
pub type OnApplied = Arc<dyn Fn(&Arc<Store>, &Changes) + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing was written.
    #[error("{0}")]
    Refused(String),
    #[error("open the Raft log in {dir}")]
    Io { dir: PathBuf, source: std::io::Error },
    /// Nothing was written; the text says what is damaged and what to do.
    #[error("{0}")]
    Damaged(String),
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Never appended: safe to try again.
    #[error("not the leader")]
    NotLeader,
    /// The command may or may not take effect.
    #[error("the outcome of the write is unknown: {0}")]
    Unknown(String),
}

/// What a command without a large value counts for.
const COMMAND_BYTES: u32 = 512;

/// About how many bytes a command takes on its way.
fn weight(command: &Command) -> u32 {
    let value = match command {
        Command::Kv(KvCommand::Set { value, .. } | KvCommand::Cas { value, .. }) => value.len(),
        _ => 0,
    };
    u32::try_from(value).unwrap_or(u32::MAX).saturating_add(COMMAND_BYTES)
}
