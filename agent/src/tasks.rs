//! Named tasks with one end: every task of the agent is started here, watches the token, and is
//! awaited at shutdown. A task that panics asks for an orderly stop instead of being lost.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A handle to a group of tasks; clones speak of the same group.
#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
    panicked: Arc<Mutex<Option<String>>>,
    fatal: CancellationToken,
}

impl Tasks {
    pub fn new() -> Self {
        Self::default()
    }

    /// A group of its own that ends when this one does, and can be ended alone.
    /// A panic in it asks for the same orderly stop.
    pub fn child(&self) -> Self {
        Self {
            tracker: TaskTracker::new(),
            token: self.token.child_token(),
            panicked: Arc::clone(&self.panicked),
            fatal: self.fatal.clone(),
        }
    }

    /// Cancelled when the group shall end.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Cancelled when a task panicked or called [`Tasks::fail`]; the root then stops the agent.
    pub fn fatal(&self) -> CancellationToken {
        self.fatal.clone()
    }

    /// What made [`Tasks::fatal`] fire, once it has.
    pub fn failure(&self) -> Option<String> {
        self.panicked.lock().ok()?.clone()
    }

    /// Asks the root to stop the agent; the first reason given is the one that is told.
    pub fn fail(&self, reason: impl Into<String>) {
        if let Ok(mut first) = self.panicked.lock() {
            first.get_or_insert(reason.into());
        }
        self.fatal.cancel();
    }

    /// Starts a task. It must end soon after the token is cancelled.
    #[expect(clippy::disallowed_methods, reason = "the one place tasks are started")]
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let group = self.clone();
        self.tracker.spawn(async move {
            if let Err(panic) = std::panic::AssertUnwindSafe(task).catch_unwind().await {
                let what = panic
                    .downcast_ref::<&str>()
                    .map(ToString::to_string)
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "unknown panic".to_owned());
                tracing::error!(target: "agent", task = name, "task panicked, the agent stops: {what}");
                group.fail(format!("task {name} panicked: {what}"));
            }
        });
    }

    /// Ends the group and waits for its tasks; false when some did not end within `limit`.
    pub async fn end(&self, limit: Duration) -> bool {
        self.token.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }
}
