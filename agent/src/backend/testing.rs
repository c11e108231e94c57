//! A backend on a Raft of its own, in memory, for the tests of this room and the workers.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Backend, Options, Others, Watches};
use crate::raft::{self, Raft};
use crate::store::command::{Command, KvCommand};
use crate::tasks::Tasks;

/// No wait of a test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const SERVER_ID: uuid::Uuid = uuid::Uuid::from_u128(7);

pub(crate) struct Server {
    pub(crate) backend: Backend,
    pub(crate) raft: Raft,
    pub(crate) watches: Watches,
    pub(crate) tasks: Tasks,
}

impl Server {
    /// Leads on its own.
    pub(crate) async fn alone() -> Self {
        Self::open(true, Options::default()).await
    }

    /// Never has a leader, and holds requests only shortly.
    pub(crate) async fn leaderless() -> Self {
        Self::open(false, Options { rpc_hold_timeout: Duration::from_millis(30), ..Options::default() }).await
    }

    async fn open(bootstrap: bool, options: Options) -> Self {
        let tasks = Tasks::new();
        let watches = Watches::new();
        let (notices, _) = mpsc::channel(1);
        let raft = raft::Options {
            dir: None,
            node_id: SERVER_ID,
            node_name: "one".to_owned(),
            address: "127.0.0.1:8300".to_owned(),
            multiplier: 1,
            bootstrap,
            snapshot_threshold: 16_384,
            snapshot_interval: Duration::from_secs(30),
            trailing_logs: 10_240,
        };
        let raft = Raft::open(raft, &tasks, notices, watches.on_applied()).await.expect("Raft in memory opens");
        let backend = Backend::server(raft.clone(), watches.clone(), Others::nobody(&tasks), options);
        Self { backend, raft, watches, tasks }
    }

    pub(crate) async fn end(self) {
        self.raft.shutdown().await;
        assert!(self.tasks.end(PATIENCE).await, "a task did not end");
    }

    /// Until so many wait.
    pub(crate) async fn waiting(&self, count: usize) {
        let level = async {
            while self.watches.counts().waiting != count {
                tokio::task::yield_now().await;
            }
        };
        let reached = timeout(PATIENCE, level).await;
        assert!(reached.is_ok(), "{:?} instead of {count}", self.watches.counts());
    }
}

pub(crate) fn set(key: &str, value: &str) -> Command {
    Command::Kv(KvCommand::Set { key: key.to_owned(), value: value.into(), flags: 0 })
}

/// Fails when it takes too long.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.unwrap_or_else(|_| panic!("not done within {PATIENCE:?}"))
}
