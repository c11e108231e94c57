//! The network between simulated servers: what is asked arrives, late, twice, out of order or not at
//! all. It reads what passes, too: votes and leaders are shown to the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use openraft::raft::{VoteRequest, VoteResponse};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::disk::{CrashDisk, held};
use super::judge::Judge;
use crate::clock;
use crate::raft::message::{AppendTold, Asked, FORMAT, Question, Told};
use crate::raft::types::Config;
use crate::rpc::{Call, DialError, Error, Handler, Lane, Reply, Route, Service, Unsent, payload};
use crate::tasks::Tasks;

/// A dial of a machine that does not answer.
const DIAL_MAX: Duration = Duration::from_secs(2);
/// When a connection whose other end is gone is given up.
const DEAD_AFTER: Duration = Duration::from_secs(5);
/// A message that was held up comes this late at most.
const LATE_MS_MAX: u64 = 400;

/// How bad the network is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Weather {
    pub(crate) loss: f64,
    pub(crate) twice: f64,
    /// Held up behind others.
    pub(crate) late: f64,
    pub(crate) delay_ms_max: u64,
}

impl Weather {
    pub(crate) const FAIR: Self = Self { loss: 0.0, twice: 0.0, late: 0.0, delay_ms_max: 2 };
}

struct Host {
    handler: Handler,
    disk: Arc<CrashDisk>,
    tasks: Tasks,
}

struct Inner {
    rng: SmallRng,
    weather: Weather,
    /// Who answers at an address.
    hosts: BTreeMap<SocketAddr, Host>,
    /// Machines without power: they do not even refuse.
    dark: BTreeSet<SocketAddr>,
    /// One way each.
    cuts: BTreeSet<(SocketAddr, SocketAddr)>,
    links: Vec<(SocketAddr, SocketAddr, CancellationToken)>,
}

#[derive(Clone)]
pub(crate) struct Net {
    inner: Arc<Mutex<Inner>>,
    judge: Arc<Mutex<Judge>>,
}

impl Net {
    pub(crate) fn new(seed: u64, judge: &Arc<Mutex<Judge>>) -> Self {
        let inner = Inner {
            rng: SmallRng::seed_from_u64(seed),
            weather: Weather::FAIR,
            hosts: BTreeMap::new(),
            dark: BTreeSet::new(),
            cuts: BTreeSet::new(),
            links: Vec::new(),
        };
        Self { inner: Arc::new(Mutex::new(inner)), judge: Arc::clone(judge) }
    }

    /// A server's own way into the network, for as long as its disk is there.
    pub(crate) fn port(&self, at: SocketAddr, disk: &Arc<CrashDisk>) -> Arc<dyn Route> {
        Arc::new(Port { net: self.clone(), at, disk: Arc::clone(disk) })
    }

    pub(crate) fn serve(&self, at: SocketAddr, handler: Handler, disk: &Arc<CrashDisk>, tasks: &Tasks) {
        let mut inner = held(&self.inner);
        inner.dark.remove(&at);
        inner.hosts.insert(at, Host { handler, disk: Arc::clone(disk), tasks: tasks.clone() });
    }

    /// Nobody answers there any more. A process that ended is refused for, and its connections close; a
    /// machine without power is just silent.
    pub(crate) fn gone(&self, at: SocketAddr, is_dark: bool) {
        let mut inner = held(&self.inner);
        inner.hosts.remove(&at);
        inner.links.retain(|(from, _, _)| *from != at);
        if is_dark {
            inner.dark.insert(at);
            return;
        }
        inner.dark.remove(&at);
        let Inner { links, cuts, .. } = &mut *inner;
        links.retain(|(from, to, closed)| {
            let closes = *to == at && !cuts.contains(&(*to, *from));
            if closes {
                closed.cancel();
            }
            !closes
        });
    }

    pub(crate) fn cut(&self, from: SocketAddr, to: SocketAddr) {
        held(&self.inner).cuts.insert((from, to));
    }

    pub(crate) fn heal(&self) {
        held(&self.inner).cuts.clear();
    }

    pub(crate) fn weather(&self, weather: Weather) {
        held(&self.inner).weather = weather;
    }

    /// How long a message takes one way; none when it is lost.
    fn way(&self, from: SocketAddr, to: SocketAddr) -> Option<Duration> {
        let mut inner = held(&self.inner);
        let Weather { loss, late, delay_ms_max, .. } = inner.weather;
        let is_lost = inner.rng.random_bool(loss);
        let is_late = inner.rng.random_bool(late);
        let takes = inner.rng.random_range(0..=if is_late { LATE_MS_MAX } else { delay_ms_max });
        (!is_lost && !inner.cuts.contains(&(from, to))).then(|| Duration::from_millis(takes))
    }

    fn host(&self, at: SocketAddr) -> Option<(Handler, Tasks)> {
        let inner = held(&self.inner);
        let host = inner.hosts.get(&at).filter(|host| !host.disk.is_gone())?;
        Some((Arc::clone(&host.handler), host.tasks.clone()))
    }

    /// Whether a dial gets an answer, and which: nothing listens there.
    fn refuses(&self, from: SocketAddr, at: SocketAddr) -> Option<bool> {
        let inner = held(&self.inner);
        let is_cut = inner.cuts.contains(&(from, at)) || inner.cuts.contains(&(at, from));
        let answers = !is_cut && !inner.dark.contains(&at);
        let listens = inner.hosts.get(&at).is_some_and(|host| !host.disk.is_gone());
        answers.then_some(!listens)
    }

    /// One request on its way, and its answer on the way back.
    fn deliver(
        &self,
        from: SocketAddr,
        to: SocketAddr,
        call: (Service, Bytes, Duration),
        answer: Option<oneshot::Sender<Reply>>,
    ) {
        let Some(takes) = self.way(from, to) else { return };
        let Some((_, tasks)) = self.host(to) else { return };
        let (net, (service, payload, within)) = (self.clone(), call);
        // A machine that is off answers nothing any more, and what it was about to say is given up.
        let on = tasks.token();
        let answering = async move {
            sleep(takes).await;
            // Whoever is there by now.
            let Some((handler, _)) = net.host(to) else { return };
            held(&net.judge).asked(from, &payload);
            let deadline = clock::now() + within;
            let call = Call { service, lane: Lane::Bulk, peer: from, deadline, payload: payload.clone() };
            let Ok(reply) = timeout(within, handler(call)).await else { return };
            // What was decided after power had failed was never said.
            if net.host(to).is_none() {
                return;
            }
            net.overhear(to, &payload, &reply);
            let Some(takes) = net.way(to, from) else { return };
            sleep(takes).await;
            if let Some(answer) = answer {
                let _ = answer.send(reply);
            }
        };
        tasks.spawn("simulated call", async move {
            on.run_until_cancelled(answering).await;
        });
    }

    /// What the one at `at` says of its term and its vote, it must never take back.
    fn overhear(&self, at: SocketAddr, asked: &Bytes, reply: &Reply) {
        let (Ok(asked), Ok(reply)) = (payload::decode::<Asked>(FORMAT, asked), reply) else { return };
        let Ok(told) = payload::decode::<Told>(FORMAT, reply) else { return };
        let mut judge = held(&self.judge);
        match (asked.question, told) {
            (Question::Vote(asked), Told::Vote(told)) => {
                let (request, response) = (VoteRequest::<Config>::from(asked), VoteResponse::<Config>::from(told));
                if response.vote_granted {
                    judge.granted(at, request.vote.leader_id.term, request.vote.leader_id.voted_for);
                }
                judge.told_term(at, response.vote.leader_id.term);
            }
            (Question::Append(record), Told::Append(AppendTold::Success)) => {
                if let Ok(request) = record.into_request() {
                    judge.told_term(at, request.vote.leader_id.term);
                }
            }
            _ => {}
        }
    }
}

struct Port {
    net: Net,
    at: SocketAddr,
    disk: Arc<CrashDisk>,
}

impl Route for Port {
    fn call(
        &self,
        address: SocketAddr,
        service: Service,
        payload: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>> {
        let (net, at, disk) = (self.net.clone(), self.at, Arc::clone(&self.disk));
        Box::pin(async move {
            let never = |why| Error::NeverSent { address, reason: Unsent::Dial(why) };
            if disk.is_gone() {
                return Err(never(DialError::Stopping));
            }
            match net.refuses(at, address) {
                Some(true) => {
                    sleep(Duration::from_millis(1)).await;
                    return Err(never(DialError::Refused));
                }
                Some(false) => {}
                None => {
                    sleep(within).await;
                    return Err(Error::TimedOut(address));
                }
            }
            let (send, answer) = oneshot::channel();
            let is_twice = {
                let mut inner = held(&net.inner);
                let twice = inner.weather.twice;
                inner.rng.random_bool(twice)
            };
            net.deliver(at, address, (service, payload.clone(), within), Some(send));
            if is_twice {
                net.deliver(at, address, (service, payload, within), None);
            }
            let start = clock::now();
            match timeout(within, answer).await {
                Ok(Ok(Ok(reply))) => Ok(reply),
                Ok(Ok(Err(refusal))) => Err(Error::Refused { address, refusal }),
                // Lost on the way. Sooner or later the connection is seen to be dead.
                Ok(Err(_)) => {
                    let is_refused = net.refuses(at, address) == Some(true);
                    let left = within.saturating_sub(clock::now().since(start));
                    sleep(if is_refused { Duration::ZERO } else { left.min(DEAD_AFTER) }).await;
                    Err(if is_refused || left > DEAD_AFTER { Error::Closed(address) } else { Error::TimedOut(address) })
                }
                Err(_) => Err(Error::TimedOut(address)),
            }
        })
    }

    fn open(&self, address: SocketAddr) -> BoxFuture<'static, Result<CancellationToken, DialError>> {
        let (net, at, disk) = (self.net.clone(), self.at, Arc::clone(&self.disk));
        Box::pin(async move {
            sleep(Duration::from_millis(1)).await;
            if disk.is_gone() {
                return Err(DialError::Stopping);
            }
            match net.refuses(at, address) {
                Some(true) => Err(DialError::Refused),
                Some(false) => {
                    let closed = CancellationToken::new();
                    held(&net.inner).links.push((at, address, closed.clone()));
                    Ok(closed)
                }
                None => {
                    sleep(DIAL_MAX).await;
                    Err(DialError::TimedOut(DIAL_MAX))
                }
            }
        })
    }
}
