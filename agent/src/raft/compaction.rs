//! When the log is long enough for a snapshot. As Consul: every `raft_snapshot_interval`, up to twice
//! that, whether `raft_snapshot_threshold` entries came since the last one. And, so that a log that
//! grows fast has a bound in memory and on disk, at once when it is far longer. One that could not be
//! written is tried again at the next look.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shared::event::RaftState;
use tokio::sync::watch;
use tokio::time::timeout;

use super::log::LogStore;
use super::node::Core;
use super::snapshot::Snapshots;
use crate::tasks::Tasks;

/// So many times the threshold is far longer.
const AT_ONCE_TIMES: u64 = 8;
/// So many bytes of log, and more than the last snapshot has, are too; a snapshot costs what it holds.
const AT_ONCE_BYTES: u64 = 256 << 20;
/// The log of a server without a directory takes memory.
const AT_ONCE_BYTES_IN_MEMORY: u64 = 16 << 20;
/// However short the interval that is configured.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    threshold: u64,
    at_once_bytes: u64,
}

/// What came since the last snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grown {
    pub(crate) entries: u64,
    pub(crate) log_bytes: u64,
    pub(crate) snapshot_bytes: u64,
}

impl Rule {
    pub(crate) fn new(threshold: u64, in_memory: bool) -> Self {
        let at_once_bytes = if in_memory { AT_ONCE_BYTES_IN_MEMORY } else { AT_ONCE_BYTES };
        Self { threshold: threshold.max(1), at_once_bytes }
    }

    /// At the end of an interval.
    fn is_due(&self, grown: Grown) -> bool {
        grown.entries >= self.threshold
    }

    fn is_due_at_once(&self, grown: Grown) -> bool {
        grown.entries >= self.threshold.saturating_mul(AT_ONCE_TIMES)
            || (grown.entries > 0 && grown.log_bytes >= self.at_once_bytes.max(grown.snapshot_bytes))
    }
}

/// Has snapshots made as the rule says, for as long as the group lives.
pub(crate) struct Compaction {
    pub(crate) rule: Rule,
    pub(crate) interval: Duration,
    /// Of the dice that keep servers from making theirs all at once.
    pub(crate) seed: u64,
    pub(crate) core: Core,
    pub(crate) log: LogStore,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) state: watch::Receiver<RaftState>,
}

impl Compaction {
    pub(crate) fn start(self, tasks: &Tasks) {
        let end = tasks.token();
        tasks.spawn("raft-snapshots", async move {
            end.run_until_cancelled(self.run()).await;
        });
    }

    async fn run(self) {
        let mut dice = SmallRng::seed_from_u64(self.seed);
        let interval = self.interval.max(INTERVAL_MIN);
        let mut state = self.state.clone();
        let is_far = |state: &RaftState| self.rule.is_due_at_once(self.grown(state));
        loop {
            let rest = interval.mul_f64(dice.random_range(1.0..2.0));
            let at_once = match timeout(rest, state.wait_for(is_far)).await {
                Ok(Ok(_)) => true,
                Ok(Err(_)) => return,
                Err(_) => false,
            };
            let before = state.borrow().clone();
            if !at_once && !self.rule.is_due(self.grown(&before)) {
                continue;
            }
            // Raft that has stopped is told of by its metrics.
            let _ = self.core.trigger().snapshot().await;
            // One that fails leaves the state as it is, and is tried again.
            let _ = timeout(interval, state.wait_for(|state| state.snapshot > before.snapshot)).await;
        }
    }

    fn grown(&self, state: &RaftState) -> Grown {
        // openraft's own number: the one of `state` may lag behind a snapshot that was just installed.
        let metrics = self.core.metrics().borrow_watched().snapshot.as_ref().map_or(0, |id| id.index + 1);
        let from = state.snapshot.max(metrics);
        Grown {
            entries: state.applied.saturating_sub(from),
            log_bytes: self.log.bytes_from(from),
            snapshot_bytes: self.snapshots.newest().map_or(0, |body| body.size()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(entries: u64, log_mib: u64, snapshot_mib: u64, at_interval: bool, at_once: bool) {
        let rule = Rule::new(1_000, false);
        let grown = Grown { entries, log_bytes: log_mib << 20, snapshot_bytes: snapshot_mib << 20 };
        assert_eq!((rule.is_due(grown), rule.is_due_at_once(grown)), (at_interval, at_once), "{grown:?}");
    }

    #[test]
    fn a_log_is_long_at_an_interval_by_entries_and_at_once_when_it_is_far_longer() {
        check(0, 0, 0, false, false);
        check(999, 1, 0, false, false);
        check(1_000, 1, 0, true, false);
        check(7_999, 1, 0, true, false);
        check(8_000, 1, 0, true, true);
        check(10, 255, 0, false, false);
        check(10, 256, 0, false, true);
        check(10, 256, 300, false, false);
        check(10, 300, 300, false, true);
        check(0, 300, 0, false, false);
    }

    #[test]
    fn a_log_in_memory_is_long_sooner_and_a_threshold_of_nothing_is_one() {
        let grown = |entries, mib: u64| Grown { entries, log_bytes: mib << 20, snapshot_bytes: 0 };
        assert!(Rule::new(1_000, true).is_due_at_once(grown(10, 16)));
        assert!(!Rule::new(0, false).is_due(grown(0, 0)));
        assert!(Rule::new(0, false).is_due(grown(1, 0)));
    }
}
