//! Who changes the configuration in a simulation: adds servers, promotes and removes them, hands the
//! leadership over, as the leader's duties and operators do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use super::client::{Crowd, leader};
use super::disk::held;
use crate::raft::Operation;
use crate::raft::node::Raft;
use crate::raft::servers::ChangeError;
use crate::tasks::Tasks;

const AGAIN: Duration = Duration::from_millis(150);
const TRIES: u32 = 40;
/// A learner this far behind is no voter yet.
const BEHIND_MAX: u64 = 50;
/// With fewer voters none is removed.
const VOTERS_MIN: usize = 3;

#[derive(Clone)]
pub(crate) struct Operator {
    pub(crate) crowd: Crowd,
    pub(crate) tasks: Tasks,
    /// Changes on their way.
    pub(crate) busy: Arc<AtomicUsize>,
    /// Machines that were taken out of the configuration and may be switched off.
    pub(crate) removed: Arc<Mutex<Vec<Uuid>>>,
}

impl Operator {
    pub(crate) fn new(crowd: &Crowd, tasks: &Tasks) -> Self {
        let (crowd, tasks) = (Arc::clone(crowd), tasks.clone());
        Self { crowd, tasks, busy: Arc::default(), removed: Arc::default() }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    fn spawn(&self, change: impl Future<Output = ()> + Send + 'static) {
        let busy = Arc::clone(&self.busy);
        busy.fetch_add(1, Ordering::Relaxed);
        self.tasks.spawn("simulated operator", async move {
            change.await;
            busy.fetch_sub(1, Ordering::Relaxed);
        });
    }

    pub(crate) fn transfer(&self) {
        if let Some(raft) = leader(&self.crowd) {
            self.spawn(async move { drop(raft.transfer(None).await) });
        }
    }

    pub(crate) fn add(&self, id: Uuid, name: String, address: String) {
        let this = self.clone();
        self.spawn(async move {
            let mut is_learner = false;
            for _ in 0..TRIES {
                sleep(AGAIN).await;
                let Some(raft) = leader(&this.crowd) else { continue };
                if raft.is_changing() {
                    let _ = raft.finish_change().await;
                    continue;
                }
                if !is_learner {
                    is_learner = raft.add_learner(id, &name, &address).await.is_ok();
                } else if keeps_up(&raft, id) && raft.promote(id).await.is_ok() {
                    return;
                }
            }
        });
    }

    pub(crate) fn remove(&self, id: Uuid) {
        let this = self.clone();
        self.spawn(async move {
            for _ in 0..TRIES {
                let Some(raft) = leader(&this.crowd) else {
                    sleep(AGAIN).await;
                    continue;
                };
                let voters = raft.state().borrow().peers.iter().filter(|peer| peer.voter).count();
                if voters <= VOTERS_MIN {
                    return;
                }
                match raft.operate(Operation::Remove(id.as_u128()), AGAIN).await {
                    Ok(_) => return held(&this.removed).push(id),
                    // It may be gone already, or the change on its way is another's.
                    Err(ChangeError::Refused(_)) => return,
                    Err(_) => sleep(AGAIN).await,
                }
            }
        });
    }
}

fn keeps_up(raft: &Raft, id: Uuid) -> bool {
    let last = raft.state().borrow().last_log;
    raft.followers().iter().any(|follower| follower.id == id && follower.matched + BEHIND_MAX >= last)
}
