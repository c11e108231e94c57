//! From committed entries to the published state: decides nothing, applies in order.
//! openraft's worker task is the only caller; everyone else reads the [`View`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use futures_util::{Stream, TryStreamExt};
use openraft::alias::SnapshotOf;
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};

use super::OnApplied;
use super::file::blocking;
use super::record::Meta;
use super::snapshot::{Body, Snapshots};
use super::types::{Config, LogId, SnapshotMeta, StoredMembership, shown};
use crate::moment::WallTime;
use crate::store::command::Outcome;
use crate::store::{Changes, Store};

/// The state after the last applied batch, and the time of its last entry.
#[derive(Default)]
pub(crate) struct View {
    store: ArcSwap<Store>,
    at_micros: AtomicI64,
}

impl View {
    pub(crate) fn store(&self) -> Arc<Store> {
        self.store.load_full()
    }

    /// Time of the last applied entry: a new leader never stamps an earlier one.
    pub(crate) fn at(&self) -> WallTime {
        WallTime::from_micros(self.at_micros.load(Ordering::Relaxed))
    }
}

pub(crate) struct StateMachine {
    store: Store,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    at: WallTime,
    view: Arc<View>,
    on_applied: OnApplied,
    snapshots: Arc<Snapshots>,
}

impl StateMachine {
    pub(crate) fn new(view: Arc<View>, on_applied: OnApplied, snapshots: Arc<Snapshots>) -> Self {
        Self {
            store: Store::default(),
            last_applied: None,
            membership: StoredMembership::default(),
            at: WallTime::default(),
            view,
            on_applied,
            snapshots,
        }
    }

    fn publish(&self, changes: Option<&Changes>) {
        let store = Arc::new(self.store.clone());
        self.view.store.store(Arc::clone(&store));
        self.view.at_micros.store(self.at.micros(), Ordering::Relaxed);
        if let Some(changes) = changes {
            (self.on_applied)(&store, changes);
        }
    }

    /// Gives the state another configuration, as the newest snapshot; on disk when this returns.
    pub(crate) async fn rewrite(&mut self, membership: StoredMembership) -> io::Result<()> {
        self.membership = membership;
        let Builder { store, meta, snapshots } = self.builder();
        blocking(move || snapshots.write(&meta, |out| store.dump(out)).map(|_| ())).await
    }

    fn builder(&self) -> Builder {
        let meta = Meta { last: self.last_applied, membership: self.membership.clone(), at: self.at };
        Builder { store: self.store.clone(), meta, snapshots: Arc::clone(&self.snapshots) }
    }
}

impl RaftStateMachine<Config> for StateMachine {
    type SnapshotData = Body;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last_applied, self.membership.clone()))
    }

    /// Answers only when the whole batch is published, so that whoever was answered reads it.
    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Config>>> + Unpin + OptionalSend,
    {
        let mut answers: Vec<(ApplyResponder<Config>, Outcome)> = Vec::new();
        let mut touched: Option<Changes> = None;
        while let Some((entry, responder)) = entries.try_next().await? {
            #[cfg(test)]
            let told = super::sim::seams::command(&entry.payload);
            let outcome = match entry.payload {
                EntryPayload::Blank => Outcome::Done,
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Outcome::Done
                }
                EntryPayload::Normal(proposal) => {
                    // Two writers may be stamped in one order and appended in the other.
                    self.at = self.at.max(proposal.at);
                    let (outcome, changes) = self.store.apply(shown(entry.log_id.index), self.at, proposal.command);
                    match &mut touched {
                        Some(all) => all.merge(changes),
                        None => touched = Some(changes),
                    }
                    outcome
                }
            };
            self.last_applied = Some(entry.log_id);
            #[cfg(test)]
            super::sim::seams::applied(&self.snapshots.place(), entry.log_id, told.as_ref(), &outcome, &self.store);
            if let Some(responder) = responder {
                answers.push((responder, outcome));
            }
        }
        self.publish(touched.as_ref());
        for (responder, outcome) in answers {
            responder.send(outcome);
        }
        Ok(())
    }

    /// `compaction` says when.
    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(self.builder())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.builder()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, body: Body) -> io::Result<()> {
        let snapshots = Arc::clone(&self.snapshots);
        let (body, store) = blocking(move || {
            let body = snapshots.adopt(&body)?;
            let store = Store::load(body.reader()).map_err(io::Error::other)?;
            Ok((body, store))
        })
        .await?;
        self.store = store;
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.at = body.meta.at;
        #[cfg(test)]
        super::sim::seams::installed(&self.snapshots.place(), meta.last_log_id, &self.store);
        self.publish(Some(&Changes::everything()));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Config, Body>>> {
        Ok(self.snapshots.newest().map(snapshot))
    }
}

fn snapshot(body: Body) -> SnapshotOf<Config, Body> {
    Snapshot { meta: body.openraft_meta(), snapshot: body }
}

/// Writes the state as it was when the builder was made, beside further applies.
pub(crate) struct Builder {
    store: Store,
    meta: Meta,
    snapshots: Arc<Snapshots>,
}

impl RaftSnapshotBuilder<Config> for Builder {
    type SnapshotData = Body;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Config, Body>> {
        let (store, meta, snapshots) = (self.store.clone(), self.meta.clone(), Arc::clone(&self.snapshots));
        let written = blocking(move || snapshots.write(&meta, |out| store.dump(out))).await;
        let error = match written {
            Ok(body) => return Ok(snapshot(body)),
            Err(error) => error,
        };
        // openraft ends with an error here; but the log has everything, and the old snapshot still is one.
        tracing::warn!(
            target: "agent.server.raft",
            { path = %self.snapshots.place(), error = %error },
            "failed to write a snapshot, the old one is kept: make room on that disk, it will be tried again"
        );
        metrics::counter!("quorate.raft.snapshots_failed").increment(1);
        Ok(snapshot(self.snapshots.newest().unwrap_or_else(Body::nothing)))
    }
}
