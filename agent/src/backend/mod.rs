//! The one waist between edges and state: read, write, status, operate.
//!
//! Edges and workers hold a clone. A server answers from its own store and writes through Raft; a
//! client asks a server. Nothing here knows who asks, or why.

mod server;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod watches;

use std::time::Duration;

use shared::event::RaftState;

use self::server::Server;
pub use self::watches::{Counts, WAITING_MAX, Watches};
use crate::raft::Raft;
use crate::store::command::{Command, Outcome};
use crate::store::query::{Answer, Query};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    #[default]
    Default,
    Consistent,
    Stale,
}

/// How to read. A blocking read waits until the answer's index passes `min_index`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    pub consistency: Consistency,
    /// 0: answer at once.
    pub min_index: u64,
    /// 0: the default query time.
    pub wait: Duration,
}

#[derive(Clone, Debug)]
pub struct Reply {
    /// At least 1.
    pub index: u64,
    pub answer: Answer,
    pub known_leader: bool,
    pub last_contact_ms: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing changed; worth another try.
    #[error("No cluster leader")]
    NoLeader,
    /// Nothing changed; worth another try.
    #[error("No known Consul servers")]
    NoServers,
    /// The write may or may not have happened.
    #[error("the outcome of the write is unknown: {0}")]
    OutcomeUnknown(String),
    /// The state refused it; nothing changed.
    #[error("{0}")]
    Refused(String),
    /// A read that would have to wait, and too many do.
    #[error("too many blocking queries, the limit is {0}")]
    TooManyWaiting(usize),
}

/// What the root decides about reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a request waits for a leader (`performance.rpc_hold_timeout`).
    pub rpc_hold_timeout: Duration,
    /// How long a blocking read waits that does not say (`default_query_time`).
    pub default_query_time: Duration,
    /// The longest it may ask for (`max_query_time`).
    pub max_query_time: Duration,
}

impl Default for Options {
    /// Consul's.
    fn default() -> Self {
        Self {
            rpc_hold_timeout: Duration::from_secs(7),
            default_query_time: Duration::from_secs(300),
            max_query_time: Duration::from_secs(600),
        }
    }
}

/// Raft as this agent can tell: its own on a server, none on a client.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub raft: Option<RaftState>,
    /// The leader's server address, empty when there is none.
    pub leader: String,
    /// The voters' addresses.
    pub peers: Vec<String>,
}

/// A server answers from its own store; a client asks a server.
#[derive(Clone)]
pub struct Backend(Kind);

#[derive(Clone)]
enum Kind {
    Server(Server),
    Client,
}

impl Backend {
    /// `watches` are those whose [`Watches::on_applied`] Raft was opened with.
    pub fn server(raft: Raft, watches: Watches, options: Options) -> Self {
        Self(Kind::Server(Server::new(raft, watches, options)))
    }

    /// Knows no servers yet, so every question fails.
    pub fn client() -> Self {
        Self(Kind::Client)
    }

    pub async fn read(&self, query: Query, options: ReadOptions) -> Result<Reply, Error> {
        match &self.0 {
            Kind::Server(server) => server.read(query, options).await,
            Kind::Client => Err(Error::NoServers),
        }
    }

    /// The index and outcome of the write; waits for a leader up to `rpc_hold_timeout`.
    /// Never answers [`Outcome::Refused`]: that is [`Error::Refused`].
    pub async fn write(&self, command: Command) -> Result<(u64, Outcome), Error> {
        match &self.0 {
            Kind::Server(server) => server.write(command).await,
            Kind::Client => Err(Error::NoServers),
        }
    }

    /// Never blocks.
    pub fn status(&self) -> Status {
        match &self.0 {
            Kind::Server(server) => server.status(),
            Kind::Client => Status::default(),
        }
    }
}
