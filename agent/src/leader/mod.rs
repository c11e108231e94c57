//! A leader's duties: catalog and Raft configuration follow membership.
//!
//! The root starts them on every server; they rest while another server leads. Gossip and Raft come
//! as watches. Nothing here knows HTTP, DNS or how an election goes.

pub mod health;
mod membership;
pub mod plan;
mod reconcile;
#[cfg(test)]
mod tests;
pub mod voters;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use shared::event::{MemberState, RaftState, Role};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{error, info};

pub use self::membership::Membership;
use self::plan::Scope;
use crate::backend::Backend;
use crate::clock;
use crate::tasks::Tasks;

/// Consul's: membership and catalog are compared this often though nothing seems to have changed.
const RECONCILE_EVERY: Duration = Duration::from_secs(60);

/// Before another try when Raft failed a pass.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the leader's duties need from the root.
pub struct Duties {
    pub node_name: String,
    /// This server's ID, as in [`RaftState::leader_id`].
    pub server_id: String,
    pub datacenter: String,
    pub backend: Backend,
    pub raft: watch::Receiver<RaftState>,
    /// The LAN pool.
    pub members: watch::Receiver<Arc<Vec<MemberState>>>,
    /// None where only the catalog shall follow.
    pub membership: Option<Membership>,
}

impl Duties {
    /// Watches for leadership for as long as the group lives.
    pub fn start(self, tasks: &Tasks) {
        let token = tasks.token();
        tasks.spawn("leader", async move {
            token.run_until_cancelled(self.run()).await;
        });
    }

    /// Ends when Raft does.
    async fn run(self) {
        let mut raft = self.raft.clone();
        let mut announced = None;
        loop {
            let state = raft.borrow_and_update().clone();
            let leads = self.leads(&state);
            if leads {
                info!(target: "agent.server", "cluster leadership acquired");
                if let Some(membership) = &self.membership {
                    membership.announce(&self.node_name).await;
                }
            }
            let leader = state.leader_id.as_ref().map(|id| (state.term, id.clone()));
            if let Some((_, id)) = leader.as_ref().filter(|_| leader != announced) {
                info!(target: "agent.server", payload = %self.name_of(&state, id), "New leader elected");
                announced = leader;
            }
            if leads {
                let term = state.term;
                let mut watched = raft.clone();
                let lost = watched.wait_for(|state| !(self.leads(state) && state.term == term));
                tokio::select! {
                    lost = lost => {
                        info!(target: "agent.server", "cluster leadership lost");
                        if lost.is_err() {
                            return;
                        }
                    }
                    () = self.lead() => return,
                    () = self.change_servers() => return,
                }
            } else if raft.changed().await.is_err() {
                return;
            }
        }
    }

    /// A server that has just joined hears of its leader before it has the configuration.
    fn name_of(&self, state: &RaftState, id: &str) -> String {
        if let Some(peer) = state.peers.iter().find(|peer| peer.id == id) {
            return peer.node.clone();
        }
        let members = self.members.borrow();
        let member = members.iter().find(|member| member.tags.get("id").is_some_and(|tag| tag == id));
        member.map_or_else(|| id.to_owned(), |member| member.name.clone())
    }

    fn leads(&self, state: &RaftState) -> bool {
        state.role == Role::Leader && state.leader_id.as_ref() == Some(&self.server_id)
    }

    async fn change_servers(&self) {
        match &self.membership {
            Some(membership) => membership.follow(self).await,
            None => std::future::pending().await,
        }
    }

    /// Ends only when gossip does.
    async fn lead(&self) {
        let mut scope = Scope {
            datacenter: self.datacenter.clone(),
            node_name: self.node_name.clone(),
            seen: BTreeSet::new(),
            is_settled: false,
        };
        let began = clock::now();
        let mut members = self.members.clone();
        loop {
            let seen = Arc::clone(&members.borrow_and_update());
            scope.is_settled = clock::now().since(began) >= RECONCILE_EVERY;
            let rest = match reconcile::reconcile(&self.backend, &scope, &seen).await {
                Ok(()) => RECONCILE_EVERY,
                Err(failure) => {
                    error!(target: "agent.server", error = %failure, "failed to reconcile");
                    RETRY_AFTER
                }
            };
            // Of whom gossip forgets, the next pass shall know that they were here.
            if rest == RECONCILE_EVERY {
                scope.seen.clear();
            }
            scope.seen.extend(seen.iter().map(|member| member.name.to_lowercase()));
            if matches!(timeout(rest, members.changed()).await, Ok(Err(_))) {
                return;
            }
        }
    }
}
