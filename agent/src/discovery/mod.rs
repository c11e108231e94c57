//! Finding a pool at start: `start_join` once, `retry_join` until somebody else answers.
//! Started by the root for each pool. Addresses are hosts and DNS names; what a member is, gossip knows.

mod rejoin;
mod retry;
mod sources;

use std::time::Duration;

use shared::event::{MemberState, MemberStatus, Pool};

pub use self::rejoin::rejoin;
use self::retry::{Next, Schedule};
use crate::config::Place;
use crate::gossip::{Gossip, Joined};
use crate::tasks::Tasks;

/// How one pool is found.
#[derive(Clone, Debug)]
pub struct Search {
    pub pool: Pool,
    /// Our own name in that pool.
    pub name: String,
    /// Addresses, DNS names and providers.
    pub entries: Vec<String>,
    /// The longest pause between two tries.
    pub interval_max: Duration,
    /// 0: for ever.
    pub tries_max: u32,
}

/// Joins `addresses` once. The number that answered, or why none did (Consul's text).
pub async fn join_once(gossip: &Gossip, addresses: Vec<String>) -> Result<usize, String> {
    let joined = gossip.join(addresses).await;
    match joined.contacted {
        0 => Err(joined.error_text().unwrap_or_default()),
        contacted => {
            tracing::info!(target: "agent", agent_count = contacted, "Join completed. Initial agents synced with");
            Ok(contacted)
        }
    }
}

/// Starts the search; a search that gives up asks for an orderly stop, as in Consul.
pub fn start(search: Search, gossip: Gossip, tasks: &Tasks) {
    let (token, failing) = (tasks.token(), tasks.clone());
    tasks.spawn("retry join", async move {
        if let Some(Err(error)) = token.run_until_cancelled(search.run(&gossip)).await {
            tracing::error!(target: "agent", error = %error, "Retry join failed");
            failing.fail(error);
        }
    });
}

impl Search {
    /// Ends well once another member is here; else in Consul's words, or with what forbids to join.
    async fn run(self, gossip: &Gossip) -> Result<(), String> {
        let cluster = cluster(self.pool);
        tracing::info!(
            target: "agent", cluster, discovery_methods = Place::PROVIDERS,
            "Retry join is supported for the following discovery methods"
        );
        tracing::info!(target: "agent", cluster, "Joining cluster...");
        let mut schedule = Schedule::new(self.interval_max, self.tries_max);
        let mut completed = false;
        let mut told = false;
        loop {
            let addresses = sources::addresses(&self.entries, cluster).await;
            let nowhere = addresses.is_empty();
            let joined = if nowhere { Joined::default() } else { gossip.join(addresses).await };
            if let Some(foreign) = joined.foreign {
                return Err(foreign);
            }
            if joined.contacted > 0 && !completed {
                completed = true;
                tracing::info!(
                    target: "agent", cluster, num_agents = joined.contacted,
                    "Join cluster completed. Synced with initial agents"
                );
            }
            if self.others_are_here(&gossip.members().borrow()) {
                return Ok(());
            }
            match schedule.next() {
                Next::GiveUp => return Err(format!("agent: max join {cluster} retry exhausted, exiting")),
                Next::Pause(pause) => {
                    // Once: the list may well be of this server alone for a while.
                    if joined.contacted == 0 && !told {
                        told = true;
                        let retry_interval = shared::duration::format(self.interval_max);
                        tracing::warn!(target: "agent", cluster, retry_interval, error = if nowhere { "No servers to join" } else { "<nil>" }, "Join cluster failed, will retry");
                    }
                    tokio::time::sleep(pause).await;
                }
            }
            // Somebody may have joined us meanwhile.
            if self.others_are_here(&gossip.members().borrow()) {
                return Ok(());
            }
        }
    }

    /// Our own answer is never the success that ends the search.
    fn others_are_here(&self, members: &[MemberState]) -> bool {
        members.iter().any(|m| m.name != self.name && matches!(m.status, MemberStatus::Alive | MemberStatus::Suspect))
    }
}

fn cluster(pool: Pool) -> &'static str {
    match pool {
        Pool::Lan => "LAN",
        Pool::Wan => "WAN",
    }
}
