//! Carries out what `voters` plans: one change of Raft's configuration at a time, from one task, for as
//! long as this server leads.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::event::{MemberState, RaftState};
use tokio::time::sleep;
use uuid::Uuid;

use super::Duties;
use super::health::{Follows, Healths, Led, Rules};
use super::voters::{Change, Voters, Why};
use crate::backend::{Backend, Error, ReadOptions};
use crate::clock;
use crate::gossip::{Gossip, NEW_LEADER};
use crate::raft::{ChangeError, Follower, Raft};
use crate::store::command::{AutopilotCommand, AutopilotFields};
use crate::store::query::{Answer, Query};

/// Before another try at a change that did not come about.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Consul's: how often it is looked how the servers are.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What the changes need from the root.
#[derive(Clone)]
pub struct Membership {
    pub raft: Raft,
    pub lan: Gossip,
    /// Of the configuration: written to the state when there are none, which then count.
    pub rules: AutopilotFields,
    /// This server formed its cluster alone.
    pub bootstrap: bool,
}

/// What was seen of this leadership.
struct Seen {
    voters: Voters,
    healths: Healths,
    rules: Rules,
    /// The modify index of the rules.
    rules_index: u64,
}

impl Membership {
    /// Tells the pool who leads, as Consul's servers do: clients log it.
    pub(super) async fn announce(&self, name: &str) {
        if let Err(error) = self.lan.fire(NEW_LEADER.to_owned(), name.as_bytes().to_vec()).await {
            tracing::warn!(target: "agent.server", error = %error, "the pool was not told of the new leader");
        }
    }

    /// Ends only when gossip does.
    pub(super) async fn follow(&self, duties: &Duties) {
        let mut members = duties.members.clone();
        let mut state = duties.raft.clone();
        let mut lost = self.raft.lost_news();
        let (rules_index, rules) = self.stored(&duties.backend).await;
        let mut seen = Seen { voters: Voters::default(), healths: Healths::default(), rules, rules_index };
        loop {
            let now_members = members.borrow_and_update().clone();
            let now = state.borrow_and_update().clone();
            lost.mark_unchanged();
            let again_in = match self.step(duties, &mut seen, &now, &now_members).await {
                Ok(again_in) => again_in.unwrap_or(LOOK_EVERY),
                Err(error) => {
                    tracing::debug!(target: "agent.server", %error, "the Raft configuration could not be changed yet");
                    RETRY_AFTER
                }
            };
            let configuration = |s: &RaftState| s.peers != now.peers;
            tokio::select! {
                changed = members.changed() => if changed.is_err() { return },
                changed = state.wait_for(configuration) => if changed.is_err() { return },
                changed = lost.changed() => if changed.is_err() { return },
                (index, rules) = next_rules(&duties.backend, seen.rules_index) => {
                    (seen.rules_index, seen.rules) = (index, rules);
                    tracing::info!(target: "agent.server.autopilot", ?rules, "the rules of autopilot have changed");
                }
                () = sleep(again_in) => {}
            }
        }
    }

    /// The rules in force; the first leader writes those of its configuration.
    async fn stored(&self, backend: &Backend) -> (u64, Rules) {
        loop {
            let failure = match read_rules(backend, 0).await {
                Ok(Some(found)) => return found,
                Ok(None) => {
                    let first = AutopilotCommand::Cas { fields: self.rules.clone(), index: 0 };
                    backend.write(first.into()).await.err()
                }
                Err(failure) => Some(failure),
            };
            if let Some(error) = failure {
                tracing::debug!(target: "agent.server.autopilot", %error, "the rules of autopilot are not known yet");
                sleep(RETRY_AFTER).await;
            }
        }
    }

    async fn step(
        &self,
        duties: &Duties,
        seen: &mut Seen,
        state: &RaftState,
        members: &[MemberState],
    ) -> Result<Option<Duration>, ChangeError> {
        let follows =
            |f: Follower| Follows { matched: f.matched, matched_term: f.matched_term, silent: f.silent, lost: f.lost };
        let followers: BTreeMap<String, Follows> =
            (self.raft.followers().into_iter()).map(|f| (f.id.to_string(), follows(f))).collect();
        let led = Led {
            server_id: &duties.server_id,
            datacenter: &duties.datacenter,
            bootstrap: self.bootstrap,
            term: state.term,
            last_log: state.last_log,
            heartbeat: self.raft.heartbeat(),
            peers: &state.peers,
            followers: &followers,
        };
        let health = seen.healths.look((clock::now(), clock::wall()), &seen.rules, &led, members);
        duties.backend.tell_health(state.term, health);
        if self.raft.is_changing() {
            self.raft.finish_change().await?;
        }
        let plan = seen.voters.plan(clock::now(), &seen.rules, &led, members, &seen.healths);
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

/// The next rules after those of `index`. Ends only when there are some.
async fn next_rules(backend: &Backend, index: u64) -> (u64, Rules) {
    loop {
        match read_rules(backend, index).await {
            Ok(Some(found)) if found.0 != index => return found,
            Ok(_) => {}
            Err(_) => sleep(RETRY_AFTER).await,
        }
    }
}

/// The rules after those of `index`, or the same once the time of a read is over.
async fn read_rules(backend: &Backend, index: u64) -> Result<Option<(u64, Rules)>, Error> {
    let options = ReadOptions { min_index: index, ..ReadOptions::default() };
    let Answer::Autopilot(entry) = backend.read(Query::Autopilot, options).await?.answer else { return Ok(None) };
    Ok(entry.map(|entry| (entry.modify_index, rules(&entry.fields))))
}

fn rules(fields: &AutopilotFields) -> Rules {
    Rules {
        cleanup_dead_servers: fields.cleanup_dead_servers,
        last_contact_threshold: fields.last_contact_threshold,
        max_trailing_logs: fields.max_trailing_logs,
        min_quorum: usize::try_from(fields.min_quorum).unwrap_or(usize::MAX),
        server_stabilization_time: fields.server_stabilization_time,
    }
}
