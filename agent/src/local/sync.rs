//! When the ledger is compared and pushed: at the start, on a change, periodically, and after a
//! failure. What is compared is `diff`'s business.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shared::event::MemberState;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::diff::{Push, compare, lots, pushed, pushes};
use super::ledger::{Claim, Ledger};
use super::{Asked, lock};
use crate::backend::{Backend, Error, ReadOptions, Reply};
use crate::clock;
use crate::moment::Moment;
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

/// Writes on their way at once.
const PUSHES_AT_ONCE: usize = 64;

pub(super) struct Syncer {
    ledger: Arc<Mutex<Ledger>>,
    backend: Backend,
    members: watch::Receiver<Arc<Vec<MemberState>>>,
    asked: watch::Receiver<Asked>,
    /// Nothing is written any more.
    silence: CancellationToken,
    /// When the next whole pass is due.
    whole_at: Moment,
    /// What was asked for until the last whole pass.
    whole_done: u64,
    dice: SmallRng,
    /// Said once, until a pass succeeds.
    is_failure_told: bool,
}

impl Syncer {
    pub(super) fn new(
        ledger: Arc<Mutex<Ledger>>,
        backend: Backend,
        members: watch::Receiver<Arc<Vec<MemberState>>>,
        asked: watch::Receiver<Asked>,
        silence: CancellationToken,
    ) -> Self {
        let (whole_at, dice) = (clock::now(), SmallRng::from_os_rng());
        Self { ledger, backend, members, asked, silence, whole_at, whole_done: 0, dice, is_failure_told: false }
    }

    /// Ends when nobody can ask for a pass any more, or silence is wanted: then after the write that is on its way.
    pub(super) async fn run(mut self) {
        let silence = self.silence.clone();
        while !silence.is_cancelled() {
            let asked = *self.asked.borrow_and_update();
            let is_whole = asked.whole != self.whole_done || clock::now() >= self.whole_at;
            let passed = if is_whole { self.whole().await } else { self.push().await };
            match passed {
                Ok(()) if is_whole => {
                    self.is_failure_told = false;
                    self.whole_done = asked.whole;
                    let len = self.members.borrow().len();
                    self.whole_at = clock::now() + self.stagger(SYNC_EVERY * scale(len));
                }
                Ok(()) => {}
                // Whatever failed: what the catalog holds has to be looked at again.
                Err(failure) => self.whole_at = clock::now() + self.failed(&failure),
            }
            let due = lock(&self.ledger).next_due().map_or(self.whole_at, |due| due.min(self.whole_at));
            let rested = silence.run_until_cancelled(timeout(due.since(clock::now()), self.asked.changed())).await;
            if matches!(rested, Some(Ok(Err(_)))) {
                return;
            }
            lock(&self.ledger).mature(clock::now());
        }
    }

    /// Compares with the catalog, then pushes.
    async fn whole(&mut self) -> Result<(), Error> {
        let query = Query::NodeHealth { node: Some(lock(&self.ledger).node().name.clone()) };
        let Some(reply) = self.read(query.clone(), ReadOptions::default()).await else { return Ok(()) };
        let mut reply = reply?;
        if matches!(&reply.answer, Answer::NodeHealth(nodes) if nodes.is_empty()) {
            let options = ReadOptions { min_index: reply.index, wait: LEADER_GRACE, ..ReadOptions::default() };
            let Some(later) = self.read(query, options).await else { return Ok(()) };
            reply = later?;
        }
        let Answer::NodeHealth(nodes) = reply.answer else { return Ok(()) };
        {
            let mut ledger = lock(&self.ledger);
            compare(&mut ledger, nodes.first());
            tell_in_sync(&ledger);
        }
        self.push().await
    }

    /// None: nobody wants to know any more.
    async fn read(&self, query: Query, options: ReadOptions) -> Option<Result<Reply, Error>> {
        self.silence.run_until_cancelled(self.backend.read(query, options)).await
    }

    /// Pushes what is known to differ.
    async fn push(&mut self) -> Result<(), Error> {
        let pushes = pushes(&lock(&self.ledger));
        let lots: Vec<_> = lots(&pushes, PUSHES_AT_ONCE).collect();
        let mut refused = None;
        for lot in lots {
            if self.silence.is_cancelled() {
                break;
            }
            let written = join_all(lot.iter().map(|push| self.backend.write(push.command.clone()))).await;
            let mut failed = None;
            for (push, written) in lot.iter().zip(written) {
                match written {
                    Ok(_) => {
                        pushed(&mut lock(&self.ledger), push);
                        tell_pushed(push);
                    }
                    // The others have nothing to do with it.
                    Err(error) if matches!(error.origin(), Error::Refused(_)) => refused = Some(error),
                    Err(error) => failed = Some(error),
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// How long to rest after a failure, which is told once.
    fn failed(&mut self, failure: &Error) -> Duration {
        if !self.is_failure_told {
            self.is_failure_told = true;
            error!(target: "agent.anti_entropy", error = %failure, "failed to sync remote state");
        }
        match failure.origin() {
            // Both cost nothing to try, and end by themselves.
            Error::NoLeader | Error::NoServers => RETRY_LEADERLESS_AFTER,
            _ => self.stagger(RETRY_AFTER),
        }
    }

    /// Up to twice as long, so that agents started together do not stay together.
    fn stagger(&mut self, span: Duration) -> Duration {
        span + span.mul_f64(self.dice.random())
    }
}

fn tell_pushed(push: &Push) {
    match (push.claims.first(), push.is_removal) {
        (Some(Claim::Service(id)), false) => info!(target: "agent", service = %id, "Synced service"),
        (Some(Claim::Service(id)), true) => info!(target: "agent", service = %id, "Deregistered service"),
        (Some(Claim::Check(id)), false) => info!(target: "agent", check = %id, "Synced check"),
        (Some(Claim::Check(id)), true) => info!(target: "agent", check = %id, "Deregistered check"),
        (Some(Claim::Node) | None, _) => info!(target: "agent", "Synced node info"),
    }
}

fn tell_in_sync(ledger: &Ledger) {
    if ledger.is_in_sync(&Claim::Node) {
        debug!(target: "agent", "Node info in sync");
    }
    for id in ledger.services().keys().filter(|id| ledger.is_in_sync(&Claim::Service((*id).clone()))) {
        debug!(target: "agent", service = %id, "Service in sync");
    }
    for id in ledger.checks().keys().filter(|id| ledger.is_in_sync(&Claim::Check((*id).clone()))) {
        debug!(target: "agent", check = %id, "Check in sync");
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
