//! Changes of the configuration and of the leadership, as the leader's duties and operators ask for
//! them. Whoever changes the configuration does so from one task; this file only carries it out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Instant as _, ServerState};
use shared::event::RaftPeer;
use tokio::time::timeout;
use uuid::Uuid;

use super::bootstrap::Map;
use super::file::blocking;
use super::node::Raft;
use super::promise::Promise;
use super::types::{Peer, ServerId, shown};

/// A change is two entries, each acknowledged by a majority.
const CHANGE_WITHIN: Duration = Duration::from_secs(10);
/// The new leader is known by then, or the old one leads on.
const TRANSFER_WITHIN: Duration = Duration::from_secs(2);

/// Why the configuration was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Nothing changed.
    #[error("not the leader")]
    NotLeader,
    /// Nothing changed; worth another try once the change on its way is through.
    #[error("another change of the configuration is on its way")]
    Busy,
    /// Nothing changed.
    #[error("{0}")]
    Refused(String),
    /// It may come to be.
    #[error("the outcome of the change is unknown: {0}")]
    Unknown(String),
}

/// How another server follows, as its leader knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    pub id: Uuid,
    /// The last entry known to be on its disk, as Consul counts; 0 for none.
    pub matched: u64,
    /// That entry's term.
    pub matched_term: u64,
    /// Since it last answered; none: never in this leadership.
    pub silent: Option<Duration>,
    /// It is a voter that came back without its log, and must be removed and added again.
    pub lost: bool,
}

impl Raft {
    /// The others that follow this leader; none on a server that does not lead.
    pub fn followers(&self) -> Vec<Follower> {
        let metrics = self.core().metrics().borrow_watched().clone();
        let heard = metrics.heartbeat.clone().unwrap_or_default();
        let one = |(id, matched): (ServerId, Option<super::types::LogId>)| Follower {
            id: Uuid::from_u128(id.0),
            matched: matched.as_ref().map_or(0, |id| shown(id.index)),
            matched_term: matched.as_ref().map_or(0, |id| id.committed_leader_id().term),
            silent: heard.get(&id).and_then(|at| at.as_ref().map(|at| at.elapsed())),
            lost: self.lost().includes(id, metrics.current_term),
        };
        let me = metrics.id;
        metrics.replication.unwrap_or_default().into_iter().filter(|(id, _)| *id != me).map(one).collect()
    }

    /// Changes when another follower is found to be lost.
    pub fn lost_news(&self) -> tokio::sync::watch::Receiver<()> {
        self.lost().news()
    }

    /// How often this server tells the others that it leads.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.core().config().heartbeat_interval)
    }

    /// A change of the configuration was begun and is not through.
    pub fn is_changing(&self) -> bool {
        let metrics = self.core().metrics().borrow_watched().clone();
        metrics.membership_config.membership().get_joint_config().len() > 1
            || metrics.membership_config.log_id() != metrics.committed_membership_config.log_id()
    }

    /// Carries a change through that a leader before this one began.
    pub async fn finish_change(&self) -> Result<(), ChangeError> {
        self.change(ChangeMembers::AddVoterIds(BTreeSet::new())).await
    }

    pub async fn add_learner(&self, id: Uuid, name: &str, address: &str) -> Result<(), ChangeError> {
        self.change(ChangeMembers::AddNodes(one(id, name, address))).await
    }

    /// A learner becomes a voter.
    pub async fn promote(&self, id: Uuid) -> Result<(), ChangeError> {
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([id.into()]))).await
    }

    /// A server that moved, or has another name.
    pub async fn set_place(&self, id: Uuid, name: &str, address: &str) -> Result<(), ChangeError> {
        self.change(ChangeMembers::SetNodes(one(id, name, address))).await
    }

    pub async fn remove(&self, id: Uuid) -> Result<(), ChangeError> {
        let id = ServerId::from(id);
        let membership = self.core().metrics().borrow_watched().membership_config.clone();
        let is_voter = membership.voter_ids().any(|voter| voter == id);
        let ids = BTreeSet::from([id]);
        self.change(if is_voter { ChangeMembers::RemoveVoters(ids) } else { ChangeMembers::RemoveNodes(ids) }).await
    }

    /// This server was removed: it never learns that from the log, and must not stand any more.
    pub fn retire(&self) {
        self.core().runtime_config().elect(false);
    }

    async fn change(&self, change: ChangeMembers<ServerId, Peer>) -> Result<(), ChangeError> {
        let metrics = self.core().metrics().borrow_watched().clone();
        // A leader that is removed leads for a moment more, until it has handed over: changes are its successor's.
        if metrics.membership_config.membership().get_node(&metrics.id).is_none() {
            return Err(ChangeError::NotLeader);
        }
        let changed = timeout(CHANGE_WITHIN, self.core().change_membership(change, false)).await;
        match changed {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => Err(ChangeError::NotLeader),
            Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                ChangeMembershipError::InProgress(_),
            )))) => Err(ChangeError::Busy),
            Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
                Err(ChangeError::Refused(error.to_string()))
            }
            Ok(Err(error)) => Err(ChangeError::Unknown(error.to_string())),
            Err(_) => Err(ChangeError::Unknown(format!("no answer from Raft within {CHANGE_WITHIN:?}"))),
        }
    }

    /// Hands the leadership to `to`, or to the voter that is furthest; returns once another leads.
    /// The name of the new leader.
    pub async fn transfer(&self, to: Option<Uuid>) -> Result<String, ChangeError> {
        let before = self.core().metrics().borrow_watched().clone();
        if before.state != ServerState::Leader {
            return Err(ChangeError::NotLeader);
        }
        let voters: Vec<ServerId> = before.membership_config.voter_ids().filter(|id| *id != before.id).collect();
        let target = match to.map(ServerId::from) {
            Some(id) if voters.contains(&id) => id,
            Some(id) => return Err(ChangeError::Refused(format!("server {id} is no other voter"))),
            None => {
                let followers = self.followers();
                let recent = |f: &&Follower| f.silent.is_some_and(|silent| silent < Duration::from_secs(1));
                let best = followers.iter().filter(recent).filter(|f| voters.contains(&f.id.into()));
                let best = best.max_by_key(|f| f.matched);
                best.map(|f| f.id.into()).ok_or_else(|| ChangeError::Refused("no other voter answers".to_owned()))?
            }
        };
        self.core().trigger().transfer_leader(target).await.map_err(|error| ChangeError::Refused(error.to_string()))?;
        let mut state = self.state();
        let me = before.id.to_string();
        let moved = |s: &shared::event::RaftState| s.leader_id.as_ref().is_some_and(|id| *id != me);
        let moved = timeout(TRANSFER_WITHIN, state.wait_for(moved)).await;
        match moved {
            Ok(Ok(state)) => {
                let leader = state.leader_id.clone().unwrap_or_default();
                let peer = state.peers.iter().find(|peer| peer.id == leader);
                Ok(peer.map_or(leader, |peer| peer.node.clone()))
            }
            Ok(Err(_)) => Err(ChangeError::Unknown("this agent is stopping".to_owned())),
            Err(_) => Err(ChangeError::Unknown(format!("no other leader within {TRANSFER_WITHIN:?}"))),
        }
    }

    /// Promises, durably, to form a cluster with exactly these servers.
    pub(crate) async fn promise(&self, map: &Map) -> std::io::Result<()> {
        let (promise, map, map_told) = (self.promise_held().clone(), map.clone(), map.clone());
        let at_place =
            |promise: &Promise, e: std::io::Error| std::io::Error::new(e.kind(), format!("{}: {e}", promise.place()));
        let made = blocking(move || promise.make(&map).map_err(|e| at_place(&promise, e))).await;
        // No configuration tells their names before the first vote.
        if self.state().borrow().peers.is_empty() {
            self.ballots().peers(&peers_of(&map_told));
        }
        made
    }

    pub(crate) fn promised(&self) -> Option<Map> {
        self.promise_held().map()
    }

    /// Whether this server has anything that a cluster gave it: entries, or a vote.
    pub(crate) async fn has_state(&self) -> bool {
        self.core().is_initialized().await.unwrap_or(true)
    }

    /// Forms a cluster of these servers, all of whom have promised it, and stands at once.
    pub(crate) async fn form(&self, map: &Map) -> Result<(), ChangeError> {
        let peer = |(id, place): (&Uuid, &super::bootstrap::Place)| {
            (ServerId::from(*id), Peer { name: place.name.clone(), address: place.address.clone() })
        };
        let members: BTreeMap<ServerId, Peer> = map.iter().map(peer).collect();
        self.ballots().because("the cluster is formed");
        self.core().initialize(members).await.map_err(|error| ChangeError::Refused(error.to_string()))
    }
}

fn peers_of(map: &Map) -> Vec<RaftPeer> {
    let one = |(id, place): (&Uuid, &super::bootstrap::Place)| RaftPeer {
        id: id.to_string(),
        node: place.name.clone(),
        address: place.address.clone(),
        voter: true,
    };
    map.iter().map(one).collect()
}

fn one(id: Uuid, name: &str, address: &str) -> BTreeMap<ServerId, Peer> {
    BTreeMap::from([(id.into(), Peer { name: name.to_owned(), address: address.to_owned() })])
}
