//! When the ledger is compared and pushed: at the start, on a change, periodically, and after a
//! failure. What is compared is `diff`'s business.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shared::event::MemberState;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, error, info};

use super::diff::{Push, compare, pushes};
use super::ledger::{Claim, Ledger};
use crate::backend::{Backend, Error, ReadOptions};
use crate::store::query::{Answer, Query};

/// Consul's, for pools of up to [`POOL_LEN_UNSCALED`].
const SYNC_EVERY: Duration = Duration::from_secs(60);

/// Each doubling of the pool beyond this adds one [`SYNC_EVERY`], so that the servers' load grows slowly.
const POOL_LEN_UNSCALED: usize = 128;

/// Consul's, plus up to as much again.
const RETRY_AFTER: Duration = Duration::from_secs(15);

/// Without a leader a try has been held long enough already.
const RETRY_LEADERLESS_AFTER: Duration = Duration::from_millis(500);

/// How long a node that is not in the catalog is left to the leader, who registers it on its own.
const LEADER_GRACE: Duration = Duration::from_millis(500);

pub(super) struct Syncer {
    ledger: Ledger,
    backend: Backend,
    members: watch::Receiver<Arc<Vec<MemberState>>>,
    /// Each change asks for a pass.
    asked: watch::Receiver<u64>,
    dice: SmallRng,
    /// Said once, until a pass succeeds.
    is_failure_told: bool,
}

impl Syncer {
    pub(super) fn new(
        ledger: Ledger,
        backend: Backend,
        members: watch::Receiver<Arc<Vec<MemberState>>>,
        asked: watch::Receiver<u64>,
    ) -> Self {
        Self { ledger, backend, members, asked, dice: SmallRng::from_os_rng(), is_failure_told: false }
    }

    /// Ends when nobody can ask for a pass any more.
    pub(super) async fn run(mut self) {
        loop {
            let rest = match self.sync().await {
                Ok(()) => {
                    self.is_failure_told = false;
                    let len = self.members.borrow().len();
                    self.stagger(SYNC_EVERY * scale(len))
                }
                Err(failure) => self.failed(&failure),
            };
            if matches!(timeout(rest, self.asked.changed()).await, Ok(Err(_))) {
                return;
            }
        }
    }

    async fn sync(&mut self) -> Result<(), Error> {
        let query = Query::NodeHealth { node: Some(self.ledger.node().name.clone()) };
        let mut reply = self.backend.read(query.clone(), ReadOptions::default()).await?;
        if matches!(&reply.answer, Answer::NodeHealth(nodes) if nodes.is_empty()) {
            let options = ReadOptions { min_index: reply.index, wait: LEADER_GRACE, ..ReadOptions::default() };
            reply = self.backend.read(query, options).await?;
        }
        let Answer::NodeHealth(nodes) = reply.answer else { return Ok(()) };
        compare(&mut self.ledger, nodes.first());
        let pushes = pushes(&self.ledger);
        if !pushes.iter().any(|push| push.claim == Claim::Node) {
            debug!(target: "agent", "Node info in sync");
        }
        for Push { claim, command } in pushes {
            self.backend.write(command).await?;
            self.ledger.mark_in_sync(claim);
            match claim {
                Claim::Node => info!(target: "agent", "Synced node info"),
            }
        }
        Ok(())
    }

    /// How long to rest after a failure, which is told once.
    fn failed(&mut self, failure: &Error) -> Duration {
        if !self.is_failure_told {
            self.is_failure_told = true;
            error!(target: "agent.anti_entropy", error = %failure, "failed to sync remote state");
        }
        match failure.origin() {
            Error::NoLeader => RETRY_LEADERLESS_AFTER,
            _ => self.stagger(RETRY_AFTER),
        }
    }

    /// Up to twice as long, so that agents started together do not stay together.
    fn stagger(&mut self, span: Duration) -> Duration {
        span + span.mul_f64(self.dice.random())
    }
}

/// How many times longer a pool of `len` waits.
fn scale(len: usize) -> u32 {
    len.div_ceil(POOL_LEN_UNSCALED).max(1).next_power_of_two().trailing_zeros() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(len: usize, expected: u32) {
        assert_eq!(scale(len), expected, "{len} members");
    }

    #[test]
    fn a_pool_twice_as_large_waits_one_more_interval() {
        check(0, 1);
        check(1, 1);
        check(128, 1);
        check(129, 2);
        check(256, 2);
        check(257, 3);
        check(512, 3);
        check(513, 4);
        check(8192, 7);
    }
}
