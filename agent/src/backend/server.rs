//! A server's own answers: when it may answer, and from which view.
//!
//! Only the leader answers reads that are not stale, and writes; forwarding to it comes with the
//! second server.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shared::event::{RaftState, Role};
use tokio::sync::watch;
use tokio::time::timeout;

use super::watches::WAITING_MAX;
use super::{Consistency, Error, Options, ReadOptions, Reply, Status, Watches};
use crate::clock;
use crate::moment::Moment;
use crate::raft::{Raft, WriteError};
use crate::store::command::{Command, Outcome};
use crate::store::query::Query;

/// When Raft refuses although it called itself the leader a moment ago.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Consul gives an append 30 seconds; what becomes of it after that nobody here can tell.
const WRITE_TIME_MAX: Duration = Duration::from_secs(30);

/// Consul adds up to this share of a wait, so that those who wait alike do not return together.
const JITTER_FRACTION: u32 = 16;

#[derive(Clone)]
pub(super) struct Server {
    raft: Raft,
    state: watch::Receiver<RaftState>,
    watches: Watches,
    options: Options,
    seen: Arc<Seen>,
    dice: Arc<Mutex<SmallRng>>,
}

/// What was seen of leadership.
#[derive(Default)]
struct Seen {
    /// The last term whose leader was this server, with all that was acknowledged before in its view.
    term: AtomicU64,
    /// When a leader was last known here, in microseconds; 0 for never.
    leader_at: AtomicU64,
}

impl Server {
    pub(super) fn new(raft: Raft, watches: Watches, options: Options) -> Self {
        let dice = Arc::new(Mutex::new(SmallRng::from_os_rng()));
        let state = raft.state();
        Self { raft, state, watches, options, seen: Arc::default(), dice }
    }

    pub(super) async fn read(&self, query: Query, options: ReadOptions) -> Result<Reply, Error> {
        match options.consistency {
            Consistency::Stale => self.has_state().await?,
            other => self.may_answer(other).await?,
        }
        let reply = self.answer(&query);
        if options.min_index == 0 || reply.index > options.min_index {
            return Ok(reply);
        }
        let watch = self.watches.watch((&query).into()).ok_or(Error::TooManyWaiting(WAITING_MAX))?;
        let news = async {
            loop {
                // Before the look, so that no change falls between the two.
                let changed = watch.changed();
                let reply = self.answer(&query);
                if reply.index > options.min_index {
                    return reply;
                }
                changed.await;
            }
        };
        Ok(timeout(self.wait(options.wait), news).await.unwrap_or_else(|_| self.answer(&query)))
    }

    pub(super) async fn write(&self, command: Command) -> Result<(u64, Outcome), Error> {
        let hold = clock::now() + self.options.rpc_hold_timeout;
        loop {
            self.until_leader(hold, |state| state.role == Role::Leader).await?;
            let written = timeout(WRITE_TIME_MAX, self.raft.write(command.clone())).await;
            match written {
                Ok(Ok((_, Outcome::Refused(reason)))) => return Err(Error::Refused(reason)),
                Ok(Ok(done)) => return Ok(done),
                // Never appended, so another try cannot do it twice.
                Ok(Err(WriteError::NotLeader)) => self.pause(hold).await?,
                Ok(Err(WriteError::Unknown(reason))) => return Err(Error::OutcomeUnknown(reason)),
                Err(_) => {
                    let reason = format!("no answer from Raft within {} s", WRITE_TIME_MAX.as_secs());
                    return Err(Error::OutcomeUnknown(reason));
                }
            }
        }
    }

    pub(super) fn status(&self) -> Status {
        let raft = self.state.borrow().clone();
        let leader = match &raft.leader_id {
            Some(id) if knows_leader(&raft) => {
                raft.peers.iter().find(|peer| peer.id == *id).map(|peer| peer.address.clone()).unwrap_or_default()
            }
            _ => String::new(),
        };
        let peers = raft.peers.iter().filter(|peer| peer.voter).map(|peer| peer.address.clone()).collect();
        Status { raft: Some(raft), leader, peers }
    }

    fn answer(&self, query: &Query) -> Reply {
        let (index, answer) = self.raft.store().query(query);
        let is_leader_known = knows_leader(&self.state.borrow());
        let now = clock::now();
        let last_contact_ms = if is_leader_known {
            self.seen.leader_at.store(now.micros(), Ordering::Relaxed);
            0
        } else {
            let at = Moment::from_micros(self.seen.leader_at.load(Ordering::Relaxed));
            u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX)
        };
        Reply { index, answer, known_leader: is_leader_known, last_contact_ms }
    }

    /// Holds until this server may answer a read of that kind.
    async fn may_answer(&self, consistency: Consistency) -> Result<(), Error> {
        let hold = clock::now() + self.options.rpc_hold_timeout;
        loop {
            let term = self.until_leader(hold, |state| state.role == Role::Leader && state.confirmed).await?;
            // A new leader's view may lack what an earlier one acknowledged, until it applied all of it.
            if consistency == Consistency::Default && self.seen.term.load(Ordering::Acquire) == term {
                return Ok(());
            }
            match within(hold, self.raft.barrier()).await? {
                Ok(()) => {
                    self.seen.term.fetch_max(term, Ordering::AcqRel);
                    return Ok(());
                }
                Err(_) => self.pause(hold).await?,
            }
        }
    }

    // Consul: a server that never was part of a cluster has nothing to show, not even something stale.
    async fn has_state(&self) -> Result<(), Error> {
        let hold = clock::now() + self.options.rpc_hold_timeout;
        self.until_leader(hold, |state| state.applied > 0 || knows_leader(state)).await.map(|_| ())
    }

    /// The term in which `is_ready` held; [`Error::NoLeader`] when it does not by `hold`.
    async fn until_leader(&self, hold: Moment, is_ready: fn(&RaftState) -> bool) -> Result<u64, Error> {
        {
            let state = self.state.borrow();
            if is_ready(&state) {
                return Ok(state.term);
            }
        }
        let mut states = self.state.clone();
        let state = within(hold, states.wait_for(is_ready)).await?;
        state.map(|state| state.term).map_err(|_| Error::NoLeader)
    }

    /// Before another try.
    async fn pause(&self, hold: Moment) -> Result<(), Error> {
        within(hold, tokio::time::sleep(RETRY_PAUSE)).await
    }

    fn wait(&self, asked: Duration) -> Duration {
        let wait = match asked {
            Duration::ZERO => self.options.default_query_time,
            asked => asked,
        };
        let wait = wait.min(self.options.max_query_time);
        let share: f64 = self.dice.lock().unwrap_or_else(PoisonError::into_inner).random();
        wait + (wait / JITTER_FRACTION).mul_f64(share)
    }
}

/// A leader that lost its quorum still calls itself one; a follower has it from the leader itself.
fn knows_leader(state: &RaftState) -> bool {
    state.leader_id.is_some() && (state.role != Role::Leader || state.confirmed)
}

async fn within<T>(hold: Moment, what: impl Future<Output = T>) -> Result<T, Error> {
    timeout(hold.since(clock::now()), what).await.map_err(|_| Error::NoLeader)
}
