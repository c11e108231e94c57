//! What other agents see of Raft, on this one's stream: servers hear each other's elections at all times,
//! and each other's replication while somebody reads; a client hears everything from one server while
//! somebody reads its own stream. The root serves [`handler`] and starts [`Relay`] with the pool.
//!
//! A question waits until there is something to tell. What travels are frames as any reader gets them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use shared::event::{Event, EventId, Level, MemberState, MemberStatus};
use shared::http::sse::{self, Parser};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::bus::{Bus, Filter, Item};
use crate::rpc::{Call, Code, Handler, Lane, Pool, Refusal, Reply, Service, payload};
use crate::tasks::Tasks;

const FORMAT: u8 = 1;
/// How long a question waits for news.
const QUIET: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Before another try at a server that did not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// Of one answer; what is left comes with the next.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Of one frame; an event is far smaller.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// What is relayed: the kinds that only servers see.
const ALWAYS: [&str; 2] = ["raft", "election"];
const WHILE_READ: &str = "replication";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ask {
    /// The ID of the last event that is known; none: the picture, too.
    since: Option<String>,
    /// Only what the one who is asked saw itself.
    own: bool,
    replication: bool,
}

/// Answers other agents from `bus`.
pub fn handler(bus: &Bus) -> Handler {
    let bus = bus.clone();
    Arc::new(move |call| {
        let bus = bus.clone();
        Box::pin(async move { answer(&bus, &call).await })
    })
}

async fn answer(bus: &Bus, call: &Call) -> Reply {
    let ask: Ask = payload::decode(FORMAT, &call.payload)?;
    let since: Option<EventId> = ask.since.map(|id| id.parse()).transpose().map_err(|problem| {
        let text = format!("since: {problem}");
        Refusal::new(Code::Malformed, text)
    })?;
    let mut kinds = BTreeSet::from(ALWAYS);
    kinds.extend(ask.replication.then_some(WHILE_READ));
    let filter = Filter { kinds, level: Level::Error, node: None, own: ask.own };
    let opening = bus.open(filter, since.as_ref()).map_err(|full| Refusal::new(Code::Busy, full.to_string()))?;
    let mut reader = opening.reader;
    let mut text = opening.frames.concat();
    if text.is_empty()
        && let Ok(Some(Item::Frame(frame))) = timeout(QUIET, reader.next()).await
    {
        text.extend_from_slice(&frame);
    }
    // What was missed meanwhile comes with the next question, which says what is known.
    while text.len() < ANSWER_BYTES_MAX
        && let Some(Some(Item::Frame(frame))) = reader.next().now_or_never()
    {
        text.extend_from_slice(&frame);
    }
    Ok(Bytes::from(text))
}

/// Asks other servers for what they see.
pub struct Relay {
    pub bus: Bus,
    pub pool: Pool,
    /// The LAN pool.
    pub members: watch::Receiver<Arc<Vec<MemberState>>>,
    pub datacenter: String,
    pub node_name: String,
    /// This agent is a server itself.
    pub server: bool,
}

/// The servers to be asked, by name.
type Servers = BTreeMap<String, SocketAddr>;

impl Relay {
    /// Relays for as long as the group lives.
    pub fn start(self, tasks: &Tasks) {
        let (end, group) = (tasks.token(), tasks.clone());
        tasks.spawn("events relay", async move {
            let run = async {
                match self.server {
                    true => Arc::new(self).hear_all(&group).await,
                    false => self.hear_one().await,
                }
            };
            end.run_until_cancelled(run).await;
        });
    }

    fn servers(&self, members: &[MemberState]) -> Servers {
        let servers = servers(members, &self.datacenter, &self.node_name);
        self.bus.forget(|node| servers.contains_key(node));
        servers
    }

    /// Each server by a task of its own. Ends with gossip.
    async fn hear_all(self: Arc<Self>, tasks: &Tasks) {
        let mut members = self.members.clone();
        let mut asked: BTreeMap<(String, SocketAddr), CancellationToken> = BTreeMap::new();
        loop {
            let servers = self.servers(&members.borrow_and_update().clone());
            asked.retain(|(name, address), token| {
                let stays = servers.get(name) == Some(address);
                if !stays {
                    token.cancel();
                }
                stays
            });
            for (name, address) in servers {
                let key = (name, address);
                if asked.contains_key(&key) {
                    continue;
                }
                let (this, token) = (Arc::clone(&self), tasks.token().child_token());
                asked.insert(key, token.clone());
                tasks.spawn("events of a server", async move {
                    let ask = async {
                        let mut since = None;
                        loop {
                            this.follow(address, &mut since).await;
                            tokio::time::sleep(AGAIN).await;
                        }
                    };
                    token.run_until_cancelled(ask).await;
                });
            }
            if members.changed().await.is_err() {
                return;
            }
        }
    }

    /// One server at a time, while somebody reads. Ends with gossip.
    async fn hear_one(&self) {
        let (mut members, mut followed) = (self.members.clone(), self.bus.followed());
        let mut turn = 0_usize;
        loop {
            // The bus lives as long as this.
            let _ = followed.wait_for(|readers| *readers > 0).await;
            let servers = self.servers(&members.borrow_and_update().clone());
            let server = servers.values().nth(turn.checked_rem(servers.len()).unwrap_or(0)).copied();
            let mut since = None;
            tokio::select! {
                () = async {
                    match server {
                        Some(address) => self.follow(address, &mut since).await,
                        None => std::future::pending().await,
                    }
                    tokio::time::sleep(AGAIN).await;
                } => turn = turn.wrapping_add(1),
                _ = followed.wait_for(|readers| *readers == 0) => {}
                changed = until_gone(&mut members, server, self) => if !changed { return },
            }
        }
    }

    /// Takes what that server tells until it does not answer.
    async fn follow(&self, address: SocketAddr, since: &mut Option<String>) {
        let mut followed = self.bus.followed();
        let mut told = false;
        loop {
            let replication = *followed.borrow_and_update() > 0;
            if replication && !told {
                // What is so, and may not change for long, is in the picture only.
                *since = None;
            }
            told = replication;
            let ask = Ask { since: since.clone(), own: self.server, replication };
            let ask = payload::encode(FORMAT, &ask);
            let answer = tokio::select! {
                answer = self.pool.call(address, Lane::Bulk, Service::Events, ask, ANSWER_WITHIN) => answer,
                _ = followed.wait_for(|readers| (*readers > 0) != replication) => continue,
            };
            match answer {
                Ok(frames) => self.take(&frames, since),
                Err(error) => {
                    tracing::debug!(target: "agent.events", server = %address, %error, "no events from this server");
                    return;
                }
            }
        }
    }

    fn take(&self, frames: &[u8], since: &mut Option<String>) {
        let (mut parser, mut items) = (Parser::new(FRAME_BYTES_MAX), Vec::new());
        parser.feed(frames, &mut items);
        for item in items {
            let sse::Item::Frame(frame) = item else { continue };
            // Framing, or of a later version.
            if let Ok(event) = serde_json::from_str::<Event>(&frame.data)
                && (ALWAYS.contains(&event.body.kind()) || event.body.kind() == WHILE_READ)
            {
                self.bus.relay(event);
            }
            if frame.id.is_some() {
                *since = frame.id;
            }
        }
    }
}

/// Returns once that server is none of the pool's any more, or, without one, once there is any. False
/// when gossip has ended.
async fn until_gone(
    members: &mut watch::Receiver<Arc<Vec<MemberState>>>,
    server: Option<SocketAddr>,
    relay: &Relay,
) -> bool {
    let is_other = |members: &Arc<Vec<MemberState>>| {
        let servers = relay.servers(members);
        match server {
            Some(address) => !servers.values().any(|there| *there == address),
            None => !servers.is_empty(),
        }
    };
    members.wait_for(is_other).await.is_ok()
}

/// Servers of ours in that datacenter that are here, but for the one named `own`.
fn servers(members: &[MemberState], datacenter: &str, own: &str) -> Servers {
    let one = |member: &MemberState| {
        let tag = |name: &str| member.tags.get(name).map_or("", String::as_str);
        let is_here = matches!(member.status, MemberStatus::Alive | MemberStatus::Suspect);
        let is_server = tag("role") == "consul" && tag("dc") == datacenter && tag("impl").starts_with("quorate");
        let address = SocketAddr::new(member.address.parse().ok()?, tag("port").parse().ok()?);
        (is_here && is_server && member.name != own).then(|| (member.name.clone(), address))
    };
    members.iter().filter_map(one).collect()
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
