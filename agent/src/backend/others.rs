//! The servers that gossip tells of, and asking them: spread over them, one for as long as it answers,
//! another when it does not. The root starts it with the pool of connections; what is asked is no
//! business of this file.

use std::collections::hash_map::DefaultHasher;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shared::event::{MemberState, MemberStatus};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::forward::Trouble;
use super::wire::{self, Ask, Asked, FORMAT, Told};
use super::{Error, Options};
use crate::rpc::{self, Code, Lane, Service, payload};
use crate::tasks::Tasks;

/// Blocking reads on their way to other servers. Fewer than one connection carries, so that writes and
/// plain reads always find a place.
const BLOCKING_MAX: usize = 3_584;

/// Beyond the time a server may hold a request: for the way there and back.
const SLACK: Duration = Duration::from_secs(3);

/// What the one asked gives an append.
const WRITE_TIME_MAX: Duration = Duration::from_secs(30);

/// How long the answer to a write may still come from a server that leads no more, and is there.
const LATE_ANSWER: Duration = Duration::from_secs(1);

/// Whoever says no word for so long is not there: it was cut off or paused.
const WORD_WITHIN: Duration = Duration::from_millis(250);

/// Consul's: a client looks for another server this often, plus up to [`REBALANCE_STAGGER`].
const REBALANCE_EVERY: Duration = Duration::from_secs(120);
const REBALANCE_STAGGER: Duration = Duration::from_secs(60);

/// A server as gossip knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    id: String,
    name: String,
    address: SocketAddr,
}

/// Clones speak of the same servers.
#[derive(Clone)]
pub struct Others(Arc<Inner>);

struct Inner {
    pool: rpc::Pool,
    rotation: Mutex<Rotation>,
    /// What [`Rotation`] holds, for those who wait for it to change.
    published: watch::Sender<Vec<Known>>,
    blocking: Semaphore,
}

/// The servers in the order they are asked; the first is asked until it fails.
#[derive(Debug)]
struct Rotation {
    seed: String,
    round: u64,
    order: Vec<Known>,
}

impl Others {
    /// Follows the pool's members for as long as the group lives. `seed` is this node's ID: each agent
    /// has an order of its own.
    pub fn start(
        pool: rpc::Pool,
        mut members: watch::Receiver<Arc<Vec<MemberState>>>,
        datacenter: String,
        seed: String,
        tasks: &Tasks,
    ) -> Self {
        let rotation = Rotation { seed, round: 0, order: Vec::new() };
        let (published, _) = watch::channel(Vec::new());
        let blocking = Semaphore::new(BLOCKING_MAX);
        let others = Self(Arc::new(Inner { pool, rotation: Mutex::new(rotation), published, blocking }));
        let (kept, token) = (others.clone(), tasks.token());
        others.see(&members.borrow_and_update(), &datacenter);
        tasks.spawn("other servers", async move {
            let mut rest = rebalance_after();
            loop {
                tokio::select! {
                    changed = members.changed() => match changed {
                        Ok(()) => kept.see(&members.borrow_and_update(), &datacenter),
                        Err(_) => return,
                    },
                    () = tokio::time::sleep(rest) => {
                        kept.rebalance().await;
                        rest = rebalance_after();
                    }
                    () = token.cancelled() => return,
                }
            }
        });
        others
    }

    /// Knows nobody, ever.
    pub fn nobody(tasks: &Tasks) -> Self {
        let (_, members) = watch::channel(Arc::default());
        Self::start(rpc::Pool::new(None, tasks), members, String::new(), String::new(), tasks)
    }

    pub(super) fn count(&self) -> usize {
        self.lock().order.len()
    }

    pub(super) fn address_of(&self, id: &str) -> Option<SocketAddr> {
        self.lock().order.iter().find(|server| server.id == id).map(|server| server.address)
    }

    /// Asks the server whose turn it is; one that does not answer has had its turn.
    pub(super) async fn ask_any(&self, asked: &Asked, options: &Options) -> Result<Told, Trouble> {
        let Some(server) = self.lock().order.first().cloned() else { return Err(Trouble::Untouched(Error::NoServers)) };
        metrics::counter!("consul.client.rpc").increment(1);
        let asking = self.ask(server.address, false, asked, options);
        let is_there = || Box::pin(self.is_there(server.address, options));
        let told = unless(asking, self.until_gone(&server), is_there, asked).await;
        if let Err(trouble) = &told {
            let is_over = matches!(trouble, Trouble::Final(_));
            if !is_over {
                metrics::counter!("consul.client.rpc.failed").increment(1);
                tracing::error!(
                    target: "agent.client", server = %server.address, error = %trouble.error(), "RPC failed to server"
                );
                self.lock().failed(&server.id);
            }
        }
        told
    }

    /// Asks the server at `address`.
    pub(super) async fn ask(
        &self,
        address: SocketAddr,
        from_server: bool,
        asked: &Asked,
        options: &Options,
    ) -> Result<Told, Trouble> {
        let mut _place = None;
        if matches!(asked, Asked::Read { min_index: 1.., .. }) {
            let place = self.0.blocking.try_acquire();
            _place = Some(place.map_err(|_| {
                metrics::counter!("quorate.backend.forwarded_over_limit").increment(1);
                Trouble::Final(Error::TooManyWaiting(BLOCKING_MAX))
            })?);
        }
        let payload = payload::encode(FORMAT, &Ask { from_server, what: asked.clone() });
        let within = longest(asked, options);
        let answer = self.0.pool.call(address, Lane::Bulk, Service::Backend, payload, within).await;
        let bytes = answer.map_err(trouble)?;
        match payload::decode(FORMAT, &bytes) {
            Ok(Told::Failed { hops, why }) => Err(told_trouble(wire::error(hops, why))),
            Ok(told) => Ok(told),
            Err(garbage) => Err(Trouble::Unknown(Error::Unreachable(format!("answer of {address}: {garbage}")))),
        }
    }

    /// Whether the server at `address` says anything, be it that it cannot. Whoever waits for its answer
    /// knows otherwise that a connection to it has ended.
    pub(super) async fn is_there(&self, address: SocketAddr, options: &Options) -> bool {
        timeout(WORD_WITHIN, self.ask(address, true, &Asked::Cluster { stale: true }, options)).await.is_ok()
    }

    fn see(&self, members: &[MemberState], datacenter: &str) {
        let mut rotation = self.lock();
        if rotation.see(servers(members, datacenter)) {
            self.0.published.send_replace(rotation.order.clone());
        }
    }

    /// A new order, whose first answers.
    async fn rebalance(&self) {
        let order = {
            let mut rotation = self.lock();
            rotation.turn();
            rotation.order.clone()
        };
        for server in order {
            match self.0.pool.open(server.address, Lane::Bulk).await {
                Ok(_) => return,
                Err(_) => self.lock().failed(&server.id),
            }
        }
    }

    /// Until gossip says that this server is not there any more.
    async fn until_gone(&self, server: &Known) {
        let mut published = self.0.published.subscribe();
        // The sender lives as long as this.
        let _ = published.wait_for(|servers| !servers.contains(server)).await;
    }

    fn lock(&self) -> MutexGuard<'_, Rotation> {
        self.0.rotation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer, unless `gone` comes first: then a read is worth another try elsewhere, and what became of
/// a write is not known. One that `is_there` may still tell: it leads no more, and learns from its successor
/// which of its last writes hold. Asked only when it matters, so that who waits holds no room for it.
pub(super) async fn unless<W: Future<Output = bool>>(
    asking: impl Future<Output = Result<Told, Trouble>>,
    gone: impl Future<Output = ()>,
    is_there: impl FnOnce() -> W,
    asked: &Asked,
) -> Result<Told, Trouble> {
    let mut asking = std::pin::pin!(asking);
    tokio::select! {
        biased;
        told = &mut asking => return told,
        () = gone => {}
    }
    let moved = || Error::Unreachable("the server was lost while it was asked".to_owned());
    if matches!(asked, Asked::Read { .. } | Asked::Cluster { .. } | Asked::Health) {
        return Err(Trouble::Untouched(moved()));
    }
    let given_up = async {
        if is_there().await {
            tokio::time::sleep(LATE_ANSWER).await;
        }
    };
    tokio::select! {
        biased;
        told = asking => told,
        () = given_up => Err(Trouble::Unknown(moved())),
    }
}

/// Spread by the dice, so that agents started together do not move together.
fn rebalance_after() -> Duration {
    REBALANCE_EVERY + REBALANCE_STAGGER.mul_f64(SmallRng::from_os_rng().random())
}

/// How long an answer may take.
fn longest(asked: &Asked, options: &Options) -> Duration {
    let held = options.rpc_hold_timeout + SLACK;
    match asked {
        Asked::Write(_) | Asked::Operate(_) | Asked::RemovePeer(_) => held + WRITE_TIME_MAX,
        Asked::Read { min_index: 1.., wait_ms, .. } => {
            let wait = match wait_ms {
                0 => options.default_query_time,
                ms => Duration::from_millis(*ms),
            };
            let wait = wait.min(options.max_query_time);
            held + wait + wait / super::server::JITTER_FRACTION
        }
        Asked::Read { .. } | Asked::Cluster { .. } | Asked::Health => held,
    }
}

/// Why a call had no answer, as what may be done about it.
fn trouble(error: rpc::Error) -> Trouble {
    let told = Error::Unreachable(error.to_string());
    match &error {
        rpc::Error::NeverSent { reason: rpc::Unsent::TooLarge(_), .. } => Trouble::Final(told),
        rpc::Error::NeverSent { .. } => Trouble::Untouched(told),
        rpc::Error::Closed(_) | rpc::Error::TimedOut(_) => Trouble::Unknown(told),
        rpc::Error::Refused { refusal, .. } => match refusal.code {
            Code::NoService | Code::Busy | Code::Stopping | Code::WrongServer => Trouble::Untouched(told),
            Code::Malformed => Trouble::Final(told),
            // The request was carried out.
            Code::TooLarge | Code::Failed | Code::Other(_) => Trouble::Unknown(told),
        },
    }
}

/// What another agent's failure means here.
fn told_trouble(error: Error) -> Trouble {
    match error.origin() {
        Error::NoLeader | Error::NoServers | Error::NotLeader => Trouble::Untouched(error),
        Error::OutcomeUnknown(_) | Error::Unreachable(_) => Trouble::Unknown(error),
        Error::Refused(_) | Error::TooManyWaiting(_) | Error::Remote(_) => Trouble::Final(error),
    }
}

/// The servers of the datacenter that are here and have not said good-bye.
fn servers(members: &[MemberState], datacenter: &str) -> Vec<Known> {
    let tag = |member: &MemberState, name: &str| member.tags.get(name).cloned().unwrap_or_default();
    let known = members.iter().filter_map(|member| {
        let is_here = matches!(member.status, MemberStatus::Alive | MemberStatus::Suspect);
        if !is_here || tag(member, "role") != "consul" || tag(member, "dc") != datacenter {
            return None;
        }
        // A server of another kind is not asked: it speaks another protocol on that port.
        member.tags.get("impl")?;
        let address = SocketAddr::new(member.address.parse().ok()?, tag(member, "port").parse().ok()?);
        Some(Known { id: tag(member, "id"), name: member.name.clone(), address })
    });
    known.collect()
}

impl Rotation {
    /// Takes over who is there; true when that changed. Those known keep their places, the first above all.
    fn see(&mut self, now: Vec<Known>) -> bool {
        let before = self.order.clone();
        self.order.retain(|server| now.contains(server));
        let mut new: Vec<_> = now.into_iter().filter(|server| !self.order.contains(server)).collect();
        new.sort_by_key(|server| self.draw(server));
        self.order.append(&mut new);
        self.order != before
    }

    /// A new round: every agent in an order of its own.
    fn turn(&mut self) {
        self.round += 1;
        let mut order = std::mem::take(&mut self.order);
        order.sort_by_key(|server| self.draw(server));
        self.order = order;
    }

    /// The server has had its turn.
    fn failed(&mut self, id: &str) {
        if self.order.first().is_some_and(|server| server.id == id) {
            self.order.rotate_left(1);
        }
    }

    fn draw(&self, server: &Known) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.seed, self.round, &server.id, &server.name).hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::event::Pool;

    use super::*;

    fn member(name: &str, role: &str, status: MemberStatus) -> MemberState {
        let tags = [("role", role), ("dc", "dc1"), ("port", "8300"), ("id", name), ("impl", "quorate")];
        MemberState {
            pool: Pool::Lan,
            name: name.to_owned(),
            address: "10.0.0.1".to_owned(),
            port: 8301,
            status,
            incarnation: 1,
            protocol: 2,
            versions: [1, 5, 2, 2, 5, 4],
            tags: tags.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect::<BTreeMap<_, _>>(),
        }
    }

    fn all(names: &[&str]) -> Vec<Known> {
        servers(&names.iter().map(|name| member(name, "consul", MemberStatus::Alive)).collect::<Vec<_>>(), "dc1")
    }

    fn rotation(seed: &str, names: &[&str]) -> Rotation {
        let mut rotation = Rotation { seed: seed.to_owned(), round: 0, order: Vec::new() };
        rotation.see(all(names));
        rotation
    }

    fn names(rotation: &Rotation) -> Vec<&str> {
        rotation.order.iter().map(|server| &*server.name).collect()
    }

    /// A server that is lost at once, answers `after_ms` and says whether it is there, in time that is a value.
    #[track_caller]
    fn lost(asked: &Asked, is_there: bool, after_ms: u64, expected: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let answer = async {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            Ok(Told::Operated("done".to_owned()))
        };
        let word = move || async move {
            tokio::time::sleep(WORD_WITHIN).await;
            is_there
        };
        let told = runtime.unwrap().block_on(unless(answer, std::future::ready(()), word, asked));
        let told = match told {
            Ok(_) => "answered",
            Err(Trouble::Untouched(_)) => "untouched",
            Err(Trouble::Unknown(_)) => "unknown",
            Err(Trouble::Final(_)) => "final",
        };
        assert_eq!(told, expected, "{asked:?}, {is_there}, {after_ms} ms");
    }

    #[test]
    fn a_write_waits_for_a_lost_leader_only_as_long_as_that_may_answer() {
        let write = Asked::RemovePeer(super::super::PeerName::Id("a".to_owned()));
        lost(&write, true, 900, "answered");
        lost(&write, true, 2_000, "unknown");
        lost(&write, false, 100, "answered");
        lost(&write, false, 900, "unknown");
        lost(&Asked::Health, true, 1, "untouched");
    }

    #[test]
    fn only_our_servers_of_the_datacenter_that_are_here_are_asked() {
        let mut stranger = member("stranger", "consul", MemberStatus::Alive);
        stranger.tags.remove("impl");
        let mut far = member("far", "consul", MemberStatus::Alive);
        far.tags.insert("dc".to_owned(), "dc2".to_owned());
        let members = [
            member("a", "consul", MemberStatus::Alive),
            member("client", "node", MemberStatus::Alive),
            member("b", "consul", MemberStatus::Suspect),
            member("left", "consul", MemberStatus::Left),
            member("failed", "consul", MemberStatus::Failed),
            stranger,
            far,
        ];
        let names: Vec<_> = servers(&members, "dc1").into_iter().map(|server| server.name).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_server_is_kept_until_it_fails_or_goes() {
        let mut rotation = rotation("x", &["a", "b", "c"]);
        let first = rotation.order[0].clone();
        assert!(rotation.see(all(&["a", "b", "c", "d", "e"])));
        assert!(!rotation.see(all(&["e", "d", "c", "b", "a"])), "the order of the news means nothing");
        assert_eq!(rotation.order[0], first);
        rotation.failed("nobody");
        assert_eq!(rotation.order[0], first);
        rotation.failed(&first.id);
        assert_eq!((rotation.order[0] != first, rotation.order[4] == first), (true, true));
        let second = rotation.order[0].name.clone();
        let rest: Vec<_> = ["a", "b", "c", "d", "e"].into_iter().filter(|name| **name != *second).collect();
        assert!(rotation.see(all(&rest)));
        assert!(!names(&rotation).contains(&&*second));
    }

    #[test]
    fn agents_are_spread_over_the_servers() {
        let mut firsts = BTreeMap::<String, usize>::new();
        for seed in 0..300 {
            let rotation = rotation(&format!("agent-{seed}"), &["a", "b", "c"]);
            *firsts.entry(rotation.order[0].name.clone()).or_default() += 1;
        }
        assert!(firsts.len() == 3 && firsts.values().all(|count| *count > 50), "{firsts:?}");
        let mut turned = rotation("x", &["a", "b", "c", "d", "e"]);
        let before = names(&turned).join(" ");
        let turns: Vec<_> = (0..5)
            .map(|_| {
                turned.turn();
                names(&turned).join(" ")
            })
            .collect();
        assert!(turns.iter().any(|order| *order != before), "{turns:?}");
    }
}
