//! Carries out what `voters` plans: one change of Raft's configuration at a time, from one task, for as
//! long as this server leads.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::event::MemberState;
use tokio::time::timeout;
use uuid::Uuid;

use super::Duties;
use super::voters::{Change, Follows, Led, Voters, Why};
use crate::clock;
use crate::gossip::Gossip;
use crate::raft::{ChangeError, Raft};

/// Before another try at a change that did not come about.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// What the changes need from the root.
#[derive(Clone)]
pub struct Membership {
    pub raft: Raft,
    pub lan: Gossip,
    pub rules: super::voters::Rules,
    /// This server formed its cluster alone.
    pub bootstrap: bool,
}

impl Membership {
    /// Ends only when gossip does.
    pub(super) async fn follow(&self, duties: &Duties) {
        let mut members = duties.members.clone();
        let mut state = duties.raft.clone();
        let mut lost = self.raft.lost_news();
        let mut voters = Voters::default();
        loop {
            let seen = members.borrow_and_update().clone();
            let now = state.borrow_and_update().clone();
            lost.mark_unchanged();
            let again_in = match self.step(duties, &mut voters, &now, &seen).await {
                Ok(again_in) => again_in,
                Err(error) => {
                    tracing::debug!(target: "agent.server", %error, "the Raft configuration could not be changed yet");
                    Some(RETRY_AFTER)
                }
            };
            let configuration = |s: &shared::event::RaftState| s.peers != now.peers;
            let changed = async {
                tokio::select! {
                    changed = members.changed() => changed.is_ok(),
                    changed = state.wait_for(configuration) => changed.is_ok(),
                    changed = lost.changed() => changed.is_ok(),
                }
            };
            let goes_on = match again_in {
                Some(again_in) => timeout(again_in, changed).await.unwrap_or(true),
                None => changed.await,
            };
            if !goes_on {
                return;
            }
        }
    }

    async fn step(
        &self,
        duties: &Duties,
        voters: &mut Voters,
        state: &shared::event::RaftState,
        members: &[MemberState],
    ) -> Result<Option<Duration>, ChangeError> {
        if self.raft.is_changing() {
            self.raft.finish_change().await?;
        }
        let followers: BTreeMap<String, Follows> = (self.raft.followers().into_iter())
            .map(|f| (f.id.to_string(), Follows { matched: f.matched, silent: f.silent, lost: f.lost }))
            .collect();
        let led = Led {
            server_id: &duties.server_id,
            datacenter: &duties.datacenter,
            bootstrap: self.bootstrap,
            last_log: state.last_log,
            peers: &state.peers,
            followers: &followers,
        };
        let plan = voters.plan(clock::now(), &self.rules, &led, members);
        for text in plan.told {
            tracing::error!(target: "agent.server", "{text}");
        }
        if let Some(change) = plan.change {
            self.carry_out(change).await?;
        }
        Ok(plan.again_in)
    }

    async fn carry_out(&self, change: Change) -> Result<(), ChangeError> {
        let parsed = |id: &str| id.parse::<Uuid>().map_err(|_| ChangeError::Refused(format!("{id} is no server ID")));
        match change {
            Change::AddLearner { id, name, address } => {
                tracing::info!(target: "agent.server.raft", command = "AddNonvoter", server_id = %id, server_addr = %address, "updating configuration");
                self.raft.add_learner(parsed(&id)?, &name, &address).await?;
                tracing::info!(target: "agent.server.raft", peer = %id, "added peer, starting replication");
            }
            Change::Promote { id, name } => {
                tracing::info!(target: "agent.server.autopilot", %id, %name, "Promoting server to voter");
                self.raft.promote(parsed(&id)?).await?;
            }
            Change::Place { id, name, address } => {
                tracing::info!(target: "agent.server.raft", server_id = %id, %name, server_addr = %address, "a server has another address or name now");
                self.raft.set_place(parsed(&id)?, &name, &address).await?;
            }
            Change::Remove { id, name, why } => {
                match why {
                    Why::Lost => {
                        tracing::warn!(target: "agent.server", server = %name, "removing server that has lost its Raft log, it is added again")
                    }
                    Why::Left => tracing::info!(target: "agent.server", server = %name, "removing server by ID"),
                    Why::Replaced => {
                        tracing::info!(target: "agent.server", server = %name, "removing server, another has its place")
                    }
                    Why::Unknown => {
                        tracing::info!(target: "agent.server.autopilot", %id, "Attempting removal of stale server")
                    }
                    Why::Dead => {
                        tracing::info!(target: "agent.server.autopilot", %name, "Attempting removal of failed server node")
                    }
                }
                self.raft.remove(parsed(&id)?).await?;
                tracing::info!(target: "agent.server.raft", peer = %id, "removed peer, stopping replication");
                if why == Why::Dead {
                    // As Consul: what was removed counts as left.
                    if let Err(error) = self.lan.force_leave(name.clone(), false).await {
                        tracing::warn!(target: "agent.server.autopilot", %name, ?error, "cannot force the failed server out of the pool");
                    }
                }
            }
        }
        Ok(())
    }
}
