//! What a server's Raft needs done that nobody asks for: entries purged that no kept snapshot needs, its
//! own address put right, and the agent stopped when Raft has.
//! `watch` calls it with what it sees; it decides nothing about roles.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::async_runtime::WatchReceiver as _;
use openraft::{ChangeMembers, ServerState};
use tokio_util::sync::CancellationToken;

use super::snapshot::Snapshots;
use super::state_machine::StateMachine;
use super::types::{Config, Metrics, Peer, ServerId};
use crate::tasks::Tasks;

pub(crate) struct Upkeep {
    pub(crate) core: openraft::Raft<Config, StateMachine>,
    pub(crate) id: ServerId,
    /// What the configuration should say of this server.
    pub(crate) peer: Peer,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) trailing_logs: u64,
    /// Where log and snapshots are, for messages.
    pub(crate) place: String,
    /// Cancelled by whoever ends Raft on purpose.
    pub(crate) ending: CancellationToken,
    pub(crate) tasks: Tasks,
    /// A correction of the configuration is on its way.
    pub(crate) correcting: Arc<AtomicBool>,
}

impl Upkeep {
    /// After a new snapshot: what the older of the kept ones holds may go, but for the trailing entries.
    /// openraft would purge up to the newest, and an older one could then never be continued. For a follower
    /// that is further behind nothing is kept: it gets a snapshot.
    pub(crate) async fn purge(&self, metrics: &Metrics) {
        let Some(newest) = metrics.snapshot.as_ref().map(|id| id.index) else { return };
        let Some(older) = self.snapshots.older() else { return };
        let Some(upto) = (newest + 1).checked_sub(self.trailing_logs + 1).map(|last| last.min(older)) else { return };
        if metrics.purged.as_ref().is_none_or(|purged| purged.index < upto) {
            // As above.
            let _ = self.core.trigger().purge_log(upto).await;
        }
    }

    /// A leader whose address or name is not the one in the configuration proposes the right one.
    pub(crate) fn correct(&self, metrics: &Metrics) {
        let membership = &metrics.membership_config;
        let told = membership.nodes().find(|(id, _)| **id == self.id).map(|(_, peer)| peer);
        let is_wrong = told.is_some_and(|peer| *peer != self.peer);
        // openraft changes only a configuration that is committed.
        let is_settled = membership.log_id() <= &metrics.last_applied;
        if metrics.state != ServerState::Leader || !is_wrong || !is_settled {
            return;
        }
        if self.correcting.swap(true, Ordering::Relaxed) {
            return;
        }
        let (core, correcting, end) = (self.core.clone(), Arc::clone(&self.correcting), self.tasks.token());
        let (old, new) = (told.map(|peer| peer.address.clone()).unwrap_or_default(), self.peer.clone());
        let change = ChangeMembers::SetNodes(BTreeMap::from([(self.id, self.peer.clone())]));
        self.tasks.spawn("raft-address", async move {
            let changed = tokio::select! {
                biased;
                changed = core.change_membership(change, true) => changed,
                () = end.cancelled() => return,
            };
            match changed {
                Ok(_) => tracing::info!(
                    target: "agent.server.raft",
                    { old = %old, address = %new.address, name = %new.name },
                    "this server's address in the configuration was put right"
                ),
                // The next change of what is seen tries again.
                Err(error) => tracing::warn!(
                    target: "agent.server.raft",
                    { old = %old, address = %new.address, error = %error },
                    "this server's address in the configuration could not be put right"
                ),
            }
            correcting.store(false, Ordering::Relaxed);
        });
    }

    /// Raft has stopped. Unless that was asked for, the agent cannot go on either: it would answer
    /// `No cluster leader` for ever.
    pub(crate) fn stopped(&self) {
        if self.ending.is_cancelled() || self.tasks.token().is_cancelled() {
            return;
        }
        let cause = match self.core.metrics().borrow_watched().running_state.clone() {
            Err(fatal) => fatal.to_string(),
            Ok(()) => "it ended without saying why".to_owned(),
        };
        self.tasks.fail(format!("raft stopped: {cause}; {}", what_to_do(&self.place)));
    }
}

/// The next step after a disk has failed the log or a snapshot.
pub(crate) fn what_to_do(place: &str) -> String {
    format!(
        "what was acknowledged is kept in {place}: make sure that its disk is sound and has free space, then start \
         the agent again"
    )
}
