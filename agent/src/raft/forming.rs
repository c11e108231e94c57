//! Forms a cluster of `bootstrap_expect` servers: follows gossip, asks the others for their promise or
//! makes it, and starts Raft when all have. `bootstrap` decides, this carries out; the root starts it
//! on a server that has no Raft state. Ends once there is some.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::net::lookup_host;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use uuid::Uuid;

use super::bootstrap::{Map, Own, Place, Seen, Step, may_promise, step};
use super::node::Raft;
use crate::rpc::{Call, Code, DialError, Handler, Lane, Link, Pool, Refusal, Reply, Service, payload};
use crate::tasks::Tasks;

const FORMAT: u8 = 1;
/// A promise has to reach a disk.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Others may see later what this server sees now.
const AGAIN_MIN: Duration = Duration::from_millis(20);
const AGAIN_MAX: Duration = Duration::from_secs(1);
/// For a look at a host that should be a server; a longer one would hold up what gossip tells.
const LOOK_WITHIN: Duration = Duration::from_millis(500);
/// Of more hosts than this a line would be no use.
const LOOKS_MAX: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    datacenter: String,
    servers: Vec<(u128, Place)>,
    /// Who has promised it already, the one who asks among them.
    agreed: Vec<u128>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Promised,
    /// Part of a cluster already.
    HasState,
    No(String),
}

/// What forming needs from the root.
#[derive(Clone)]
pub struct Forming {
    own: Own,
    raft: Raft,
    pool: Pool,
    seen: watch::Receiver<Arc<Vec<Seen>>>,
    wanted: Wanted,
    /// A promise is looked at, made and acted upon as one.
    turn: Arc<Mutex<()>>,
}

/// Hosts that are configured to be joined, and may be the servers that are missing.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Addresses and names, without ports.
    pub hosts: Vec<String>,
    /// Where a server with the same configuration as this one serves RPC.
    pub port: u16,
}

impl Forming {
    pub fn new(own: Own, raft: Raft, pool: Pool, seen: watch::Receiver<Arc<Vec<Seen>>>, wanted: Wanted) -> Self {
        Self { own, raft, pool, seen, wanted, turn: Arc::default() }
    }

    /// Answers other servers that ask for a promise, also after a cluster has formed.
    pub fn handler(&self) -> Handler {
        let this = Arc::new(self.clone());
        Arc::new(move |call| {
            let this = Arc::clone(&this);
            Box::pin(async move { this.answer(call).await })
        })
    }

    /// Follows gossip until this server has Raft state. Nothing to do for one that forms none with others.
    pub fn start(self, tasks: &Tasks) {
        if self.own.expect < 2 {
            return;
        }
        let token = tasks.token();
        tasks.spawn("raft-bootstrap", async move {
            token.run_until_cancelled(self.run()).await;
        });
    }

    async fn run(self) {
        let (mut raft, mut members) = (self.raft.state(), self.seen.clone());
        let (mut told, mut found) = (String::new(), None);
        let mut again = AGAIN_MIN;
        while raft.borrow_and_update().last_log == 0 {
            let seen = Arc::clone(&members.borrow_and_update());
            let text = match step(&self.own, &seen) {
                Step::Wait(why) => tokio::select! {
                    absent = self.absent(&seen) => why + &absent,
                    // Whoever has come meanwhile may be the one.
                    changed = members.changed() => if changed.is_ok() { continue } else { return },
                    changed = raft.changed() => if changed.is_ok() { continue } else { return },
                },
                Step::Answer { map, lowest } => {
                    self.found(&map, &mut found);
                    format!("{} of {} servers; {lowest} has the lowest ID and forms the cluster", map.len(), map.len())
                }
                Step::Ask(map) => {
                    self.found(&map, &mut found);
                    match self.ask_all(&map).await {
                        Ok(()) => return,
                        Err(why) => why,
                    }
                }
            };
            if text != told {
                tracing::info!(target: "agent.server", "bootstrap: {text}");
                told = text;
                again = AGAIN_MIN;
            }
            tokio::select! {
                changed = members.changed() => if changed.is_err() { return },
                changed = raft.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(again) => again = (again * 2).min(AGAIN_MAX),
            }
        }
    }

    /// Which of the configured hosts are no servers here, and why, as far as a look at them tells.
    async fn absent(&self, seen: &[Seen]) -> String {
        let here: Vec<IpAddr> = seen.iter().filter_map(|s| Some(s.address.parse::<SocketAddr>().ok()?.ip())).collect();
        let look = |host: &String| {
            let (host, here) = (host.clone(), &here);
            async move {
                let address = match timeout(LOOK_WITHIN, lookup_host((host.as_str(), self.wanted.port))).await {
                    Ok(Ok(mut found)) => found.next(),
                    Ok(Err(_)) | Err(_) => None,
                };
                let Some(address) = address else { return Some(format!("; {host} is a name without an address")) };
                if here.contains(&address.ip()) {
                    return None;
                }
                let found = timeout(LOOK_WITHIN, self.pool.open(address, Lane::Urgent)).await;
                Some(format!("; {host} {}", found.map_or("does not answer", |found| why(&found))))
            }
        };
        let looks = self.wanted.hosts.iter().take(LOOKS_MAX).map(look);
        futures_util::future::join_all(looks).await.into_iter().flatten().collect()
    }

    fn found(&self, map: &Map, found: &mut Option<Map>) {
        if found.as_ref() != Some(map) {
            let peers = map.values().map(|place| place.address.as_str()).collect::<Vec<_>>().join(",");
            tracing::info!(target: "agent.server", %peers, "Found expected number of peers, attempting bootstrap");
            *found = Some(map.clone());
        }
    }

    /// Everybody's promise, this server's first, and then the cluster.
    async fn ask_all(&self, map: &Map) -> Result<(), String> {
        let _turn = self.turn.lock().await;
        if self.raft.has_state().await {
            return Err("this server has Raft state, and waits for its leader".to_owned());
        }
        self.raft.promise(map).await.map_err(|error| format!("cannot write the promise: {error}"))?;
        let mut agreed = vec![self.own.id.as_u128()];
        let mut missing = Vec::new();
        // Twice: one who agreed in the first round may release another for the second.
        for _ in 0..2 {
            missing.clear();
            let others = map.iter().filter(|(id, _)| !agreed.contains(&id.as_u128()));
            let asked = others.map(|(id, place)| {
                let agreed = agreed.clone();
                async move { (*id, place, self.ask(map, place, agreed).await) }
            });
            for (id, place, answer) in futures_util::future::join_all(asked).await {
                match answer {
                    Ok(Answer::Promised) => agreed.push(id.as_u128()),
                    Ok(Answer::HasState) => {
                        let server = &place.name;
                        return Err(format!(
                            "{server} has Raft state already: this server waits to be added by its leader"
                        ));
                    }
                    Ok(Answer::No(why)) | Err(why) => missing.push(format!("{}: {why}", place.name)),
                }
            }
            if missing.is_empty() {
                self.raft.form(map).await.map_err(|error| error.to_string())?;
                return Ok(());
            }
        }
        Err(format!("{} of {} servers have agreed; {}", agreed.len(), map.len(), missing.join("; ")))
    }

    async fn ask(&self, map: &Map, place: &Place, agreed: Vec<u128>) -> Result<Answer, String> {
        let address: SocketAddr = place.address.parse().map_err(|_| format!("{} is no address", place.address))?;
        let servers = map.iter().map(|(id, place)| (id.as_u128(), place.clone())).collect();
        let offer = Offer { datacenter: self.own.datacenter.clone(), servers, agreed };
        let offer = payload::encode(FORMAT, &offer);
        let answer = self.pool.call(address, Lane::Urgent, Service::Bootstrap, offer, ANSWER_WITHIN).await;
        payload::decode(FORMAT, &answer.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
    }

    async fn answer(&self, call: Call) -> Reply {
        let offer: Offer = payload::decode(FORMAT, &call.payload)?;
        let answer = self.consider(offer).await?;
        Ok::<Bytes, Refusal>(payload::encode(FORMAT, &answer))
    }

    async fn consider(&self, offer: Offer) -> Result<Answer, Refusal> {
        if offer.datacenter != self.own.datacenter {
            return Ok(Answer::No(format!("it is in datacenter {}", self.own.datacenter)));
        }
        // Two servers that ask each other must not wait for each other.
        let Ok(_turn) = timeout(ANSWER_WITHIN / 2, self.turn.lock()).await else {
            return Ok(Answer::No("it is asking others itself".to_owned()));
        };
        if self.raft.has_state().await {
            return Ok(Answer::HasState);
        }
        let map: Map = offer.servers.into_iter().map(|(id, place)| (Uuid::from_u128(id), place)).collect();
        let agreed: Vec<Uuid> = offer.agreed.into_iter().map(Uuid::from_u128).collect();
        let seen = Arc::clone(&self.seen.borrow());
        if let Err(why) = may_promise(&self.own, self.raft.promised().as_ref(), &seen, &map, &agreed) {
            return Ok(Answer::No(why));
        }
        let made = self.raft.promise(&map).await;
        made.map_err(|error| Refusal::new(Code::Failed, format!("cannot write the promise: {error}")))?;
        Ok(Answer::Promised)
    }
}

/// What became of a look at a host that is no server here, as an operator would say it.
fn why(found: &Result<Link, DialError>) -> &'static str {
    match found {
        Ok(_) => "runs an agent that is not in this pool yet",
        Err(DialError::Refused) => "refused the connection",
        Err(DialError::TimedOut(_)) => "does not answer",
        Err(DialError::Closed | DialError::Protocol(_)) => "runs something else",
        Err(DialError::Io(_) | DialError::Stopping) => "cannot be reached",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_and_its_answers_have_these_bytes() {
        let place = Place { name: "a".to_owned(), address: "b".to_owned() };
        let offer = Offer { datacenter: "dc1".to_owned(), servers: vec![(1, place)], agreed: vec![300] };
        assert_eq!(&payload::encode(FORMAT, &offer)[..], b"\x01\x03dc1\x01\x01\x01a\x01b\x01\xac\x02");
        assert_eq!(&payload::encode(FORMAT, &Answer::Promised)[..], b"\x01\x00");
        assert_eq!(&payload::encode(FORMAT, &Answer::HasState)[..], b"\x01\x01");
        assert_eq!(&payload::encode(FORMAT, &Answer::No("x".to_owned()))[..], b"\x01\x02\x01x");
    }
}
