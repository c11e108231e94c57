//! Whether the processes of the other servers are there: a connection is kept to each one, and a dead
//! process is a fact. When the leader's connection closes and a new one is refused, this server drops
//! its own lease, as if that leader had handed over, and stands; voters that saw nothing keep theirs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use openraft::raft::TransferLeaderRequest;
use shared::event::RaftState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ballots::Ballots;
use super::heard::Heard;
use super::node::Core;
use super::types::ServerId;
use crate::rpc::{DialError, Lane, Pool};
use crate::tasks::Tasks;

/// Those who saw it stand one after the other, by ID, so that their votes are not split.
const STAGGER: Duration = Duration::from_millis(15);
/// Others may see it a little later: until then they refuse.
const AGAIN: Duration = Duration::from_millis(20);
/// By then everybody's own time-out has passed.
const TRIES: u32 = 40;
/// A process that is being ended may still accept for a moment what it never answers.
const REDIALS: u32 = 10;
const REDIAL_PAUSE: Duration = Duration::from_millis(2);
/// Between attempts to reach a server that was not there.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Clone)]
pub(crate) struct Neighbours {
    pub(crate) core: Core,
    pub(crate) id: ServerId,
    pub(crate) pool: Pool,
    pub(crate) ballots: Ballots,
    pub(crate) heard: Heard,
}

impl Neighbours {
    /// Keeps a connection to every other server of the configuration for as long as the group lives.
    pub(crate) fn start(self, mut state: watch::Receiver<RaftState>, tasks: &Tasks) {
        let (end, group) = (tasks.token(), tasks.clone());
        let watched = async move {
            let mut known: BTreeMap<(String, String), CancellationToken> = BTreeMap::new();
            loop {
                let peers = state.borrow_and_update().peers.clone();
                let others: Vec<_> = peers.into_iter().filter(|peer| peer.id != self.id.to_string()).collect();
                known.retain(|(id, address), token| {
                    let stays = others.iter().any(|peer| peer.id == *id && peer.address == *address);
                    if !stays {
                        token.cancel();
                    }
                    stays
                });
                for peer in others {
                    let (Ok(address), Ok(id)) = (peer.address.parse::<SocketAddr>(), peer.id.parse::<uuid::Uuid>())
                    else {
                        continue;
                    };
                    let token = known.entry((peer.id, peer.address));
                    if matches!(token, std::collections::btree_map::Entry::Occupied(_)) {
                        continue;
                    }
                    let token = token.or_insert_with(|| group.token().child_token()).clone();
                    let this = self.clone();
                    group.spawn("raft-neighbour", async move {
                        token.run_until_cancelled(this.follow(id.into(), address)).await;
                    });
                }
                if state.changed().await.is_err() {
                    return;
                }
            }
        };
        tasks.spawn("raft-neighbours", async move {
            end.run_until_cancelled(watched).await;
        });
    }

    async fn follow(&self, id: ServerId, address: SocketAddr) {
        loop {
            match self.pool.open(address, Lane::Urgent).await {
                Ok(link) => {
                    link.closed().await;
                    drop(link);
                    if self.is_gone(address).await {
                        self.gone(id).await;
                    }
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn is_gone(&self, address: SocketAddr) -> bool {
        for _ in 0..REDIALS {
            match self.pool.open(address, Lane::Urgent).await {
                Err(DialError::Refused) => return true,
                Err(DialError::Closed) => tokio::time::sleep(REDIAL_PAUSE).await,
                Ok(_) | Err(_) => return false,
            }
        }
        false
    }

    /// The process of this server is gone. If it led, its lease protects nobody any more.
    async fn gone(&self, id: ServerId) {
        let metrics = self.core.metrics().borrow_watched().clone();
        let vote = metrics.vote;
        let name = self.ballots.name_of(&id.to_string());
        tracing::info!(target: "agent.server.raft", server = %name, "its process is gone: the connection closed and a new one was refused");
        if !vote.committed || vote.leader_id.voted_for != id {
            return;
        }
        self.ballots
            .because(&format!("the process of {name} is gone: its connection closed and a new one was refused"));
        self.heard.forget();
        // To nobody here: this only ends the lease that this server grants to the dead leader.
        let request = TransferLeaderRequest::new(vote, id, None);
        if self.core.handle_transfer_leader(request).await.is_err() {
            return;
        }
        let voters: Vec<_> = metrics.membership_config.voter_ids().filter(|voter| *voter != id).collect();
        let Some(rank) = voters.iter().position(|voter| *voter == self.id) else { return };
        let mut pause = STAGGER * u32::try_from(rank).unwrap_or(u32::MAX);
        for _ in 0..TRIES {
            tokio::time::sleep(pause).await;
            pause = AGAIN;
            // Another one stands, or leads.
            if self.core.metrics().borrow_watched().vote != vote {
                return;
            }
            // A pre-vote: who did not see it refuses, and no term passes for nothing.
            if self.core.trigger().elect(true).await.is_err() {
                return;
            }
        }
    }
}
