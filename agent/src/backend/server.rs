//! A server's own answers: when it may answer, and from which view.
//!
//! Only the leader answers reads that are not stale, and writes; `forward` decides who does what.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shared::api::operator::OperatorHealth;
use shared::event::{RaftPeer, RaftState, Role};
use tokio::sync::watch;
use tokio::time::timeout;

use super::forward::{Place, Trouble};
use super::pages::Pages;
use super::watches::WAITING_MAX;
use super::wire::{self, Asked, Told};
use super::{
    Carried, Company, Consistency, Drawing, Error, Manner, Options, Page, Peer, PeerName, ReadOptions, Reply, Seen,
    Status, Watches, mismatch,
};
use crate::clock;
use crate::moment::Moment;
use crate::raft::{ChangeError, Operation, Raft, WriteError};
use crate::store::Store;
use crate::store::command::{Command, Outcome};
use crate::store::query::{Answer, Query};

/// Consul gives an append 30 seconds; what becomes of it after that nobody here can tell.
const WRITE_TIME_MAX: Duration = Duration::from_secs(30);

/// Consul adds up to this share of a wait, so that those who wait alike do not return together.
pub(super) const JITTER_FRACTION: u32 = 16;

#[derive(Clone)]
pub(super) struct Server {
    raft: Raft,
    state: watch::Receiver<RaftState>,
    watches: Watches,
    pages: Pages,
    options: Options,
    seen: Arc<Leadership>,
    dice: Arc<Mutex<SmallRng>>,
    /// How the servers are, and in which term this one led when it saw them so.
    health: Arc<watch::Sender<Option<(u64, OperatorHealth)>>>,
}

/// What was seen of leadership.
#[derive(Default)]
struct Leadership {
    /// The last term whose leader was this server, with all that was acknowledged before in its view.
    term: AtomicU64,
    /// When a leader was last known here, in microseconds; 0 for never.
    leader_at: AtomicU64,
}

impl Server {
    pub(super) fn new(raft: Raft, watches: Watches, options: Options) -> Self {
        let dice = Arc::new(Mutex::new(SmallRng::from_os_rng()));
        let state = raft.state();
        let (health, _) = watch::channel(None);
        let (pages, health) = (Pages::default(), Arc::new(health));
        Self { raft, state, watches, pages, options, seen: Arc::default(), dice, health }
    }

    /// Answers here what `forward` sent here.
    pub(super) async fn carry(&self, asked: &Asked, hold: Moment, manner: Manner<'_>) -> Result<Carried, Trouble> {
        match asked {
            Asked::Read { query, consistency, min_index, wait_ms } => {
                let options = wire::options(*consistency, *min_index, *wait_ms);
                self.is_ripe(query, options, hold, manner.company).await?;
                match manner.drawing {
                    Some(drawing) => self.page(query, drawing).map(Carried::Page).map_err(Trouble::Final),
                    None => Ok(Carried::Told(self.answer(query).into())),
                }
            }
            // In boxes, since many a read waits with the room that these would take.
            Asked::Write(command) => Box::pin(self.write(command.clone())).await.map(Carried::Told),
            Asked::Cluster { .. } => Ok(Carried::Told(self.seen().into())),
            Asked::Operate(operation) => Box::pin(self.operate(*operation)).await.map(Carried::Told),
            Asked::RemovePeer(peer) => Box::pin(self.remove_peer(peer)).await.map(Carried::Told),
            Asked::Health => Box::pin(self.health(hold)).await.map(Carried::Told),
        }
    }

    /// Until this server may answer and the answer is newer than asked for, or the wait is over.
    async fn is_ripe(
        &self,
        query: &Query,
        options: ReadOptions,
        hold: Moment,
        company: Option<&Arc<dyn Company>>,
    ) -> Result<(), Trouble> {
        match options.consistency {
            Consistency::Stale if !self.has_state() => {
                Box::pin(self.until_state(hold)).await.map_err(Trouble::Final)?;
            }
            Consistency::Default | Consistency::Consistent if !self.knows_all(options.consistency) => {
                Box::pin(self.barrier(hold)).await?;
            }
            _ => {}
        }
        let is_newer = || {
            let view = self.raft.store();
            view.index(query) > options.min_index && !is_still_absent(&view, query, options.min_index)
        };
        if options.min_index == 0 || is_newer() {
            return Ok(());
        }
        let watch = self.watches.watch(query.into()).ok_or(Trouble::Final(Error::TooManyWaiting(WAITING_MAX)))?;
        let news = async {
            loop {
                // Before the look, so that no change falls between the two.
                let changed = watch.changed();
                let followed = company.filter(|company| Arc::clone(company).follows());
                if is_newer() {
                    company.into_iter().for_each(|company| company.has_news());
                    return;
                }
                match followed {
                    Some(company) => poll_fn(|cx| company.poll_alone(cx)).await,
                    None => changed.await,
                }
            }
        };
        // That the wait is over is no news, and told all the same.
        let _ = timeout(self.wait(options.wait), news).await;
        Ok(())
    }

    fn page(&self, query: &Query, drawing: Drawing<'_>) -> Result<Page, Error> {
        let view = self.raft.store();
        let index = view.index(query);
        let body = self.pages.get(drawing.key, index, || (drawing.draw)(view.query(query).1)).ok_or_else(mismatch)?;
        let (known_leader, last_contact_ms) = self.contact();
        Ok(Page { index, known_leader, last_contact_ms, body })
    }

    async fn operate(&self, operation: Operation) -> Result<Told, Trouble> {
        let done = self.raft.operate(operation, self.options.rpc_hold_timeout).await;
        done.map(Told::Operated).map_err(|error| match error {
            ChangeError::NotLeader => Trouble::Untouched(Error::NotLeader),
            ChangeError::Busy | ChangeError::Refused(_) => Trouble::Final(Error::Refused(error.to_string())),
            ChangeError::Unknown(reason) => Trouble::Final(Error::OutcomeUnknown(reason)),
        })
    }

    async fn remove_peer(&self, peer: &PeerName) -> Result<Told, Trouble> {
        let (what, given) = match peer {
            PeerName::Id(id) => ("id", id),
            PeerName::Address(address) => ("address", address),
        };
        let is_meant = |peer: &&RaftPeer| if what == "id" { peer.id == *given } else { peer.address == *given };
        let found = self.state.borrow().peers.iter().find(is_meant).and_then(|peer| peer.id.parse::<uuid::Uuid>().ok());
        match found {
            Some(id) => self.operate(Operation::Remove(id.as_u128())).await,
            None => {
                let text = format!("{what} {given:?} was not found in the Raft configuration");
                Err(Trouble::Final(Error::Refused(text)))
            }
        }
    }

    pub(super) fn tell_health(&self, term: u64, health: OperatorHealth) {
        self.health.send_replace(Some((term, health)));
    }

    /// Of this leadership, whose first look may be to come.
    async fn health(&self, hold: Moment) -> Result<Told, Trouble> {
        let term = self.state.borrow().term;
        let mut seen = self.health.subscribe();
        let looked = seen.wait_for(|seen| seen.as_ref().is_some_and(|(of, _)| *of >= term));
        let seen = timeout(hold.since(clock::now()), looked).await;
        let seen = seen.ok().and_then(Result::ok).and_then(|seen| seen.as_ref().map(|(_, health)| health.clone()));
        seen.map(Told::Health).ok_or(Trouble::Untouched(Error::NoLeader))
    }

    async fn write(&self, command: Command) -> Result<Told, Trouble> {
        match timeout(WRITE_TIME_MAX, self.raft.write(command)).await {
            Ok(Ok((_, Outcome::Refused(reason)))) => Err(Trouble::Final(Error::Refused(reason))),
            Ok(Ok((index, outcome))) => Ok(Told::Written { index, outcome }),
            // Never appended, so another try cannot do it twice.
            Ok(Err(WriteError::NotLeader)) => Err(Trouble::Untouched(Error::NotLeader)),
            Ok(Err(WriteError::Unknown(reason))) => Err(Trouble::Unknown(Error::OutcomeUnknown(reason))),
            Err(_) => {
                let reason = format!("no answer from Raft within {} s", WRITE_TIME_MAX.as_secs());
                Err(Trouble::Unknown(Error::OutcomeUnknown(reason)))
            }
        }
    }

    pub(super) fn place(&self) -> Place {
        place(&self.state.borrow())
    }

    /// Where Raft's configuration has that server.
    pub(super) fn address_of(&self, id: &str) -> Option<SocketAddr> {
        let state = self.state.borrow();
        state.peers.iter().find(|peer| peer.id == id).and_then(|peer| peer.address.parse().ok())
    }

    /// Until this server is somewhere else.
    pub(super) async fn until_not(&self, was: &Place) {
        let mut states = self.state.clone();
        if states.wait_for(|state| place(state) != *was).await.is_err() {
            // Raft has ended: nothing changes any more.
            std::future::pending::<()>().await;
        }
    }

    /// Until a server other than this one leads.
    pub(super) async fn until_led_by_another(&self, id: &str) {
        let mut states = self.state.clone();
        let is_another = |state: &RaftState| state.leader_id.as_deref().is_some_and(|leader| leader != id);
        if states.wait_for(is_another).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn status(&self) -> Status {
        let raft = self.state.borrow().clone();
        let leader = match &raft.leader_id {
            Some(id) if knows_leader(&raft) => {
                raft.peers.iter().find(|peer| peer.id == *id).map(|peer| peer.address.clone()).unwrap_or_default()
            }
            _ => String::new(),
        };
        let peers = raft.peers.iter().filter(|peer| peer.voter).map(|peer| peer.address.clone()).collect();
        Status { raft: Some(raft), leader, peers }
    }

    fn seen(&self) -> Seen {
        let Status { raft, leader, .. } = self.status();
        let (peers, leader_id) = raft.map(|raft| (raft.peers, raft.leader_id)).unwrap_or_default();
        let leader_id = leader_id.filter(|_| !leader.is_empty());
        let peer = |peer: RaftPeer| Peer {
            leads: leader_id.as_ref() == Some(&peer.id),
            id: peer.id,
            name: peer.node,
            address: peer.address,
            voter: peer.voter,
        };
        Seen { peers: peers.into_iter().map(peer).collect(), leader }
    }

    pub(super) fn still(&self, query: &Query, index: u64) -> Option<u64> {
        let is_same = self.has_state() && self.raft.store().index(query) == index;
        is_same.then(|| self.contact().1)
    }

    fn answer(&self, query: &Query) -> Reply {
        let (index, answer) = self.raft.store().query(query);
        let (known_leader, last_contact_ms) = self.contact();
        Reply { index, answer, known_leader, last_contact_ms }
    }

    /// Whether a leader is known, and how long none was, in milliseconds.
    fn contact(&self) -> (bool, u64) {
        let is_leader_known = knows_leader(&self.state.borrow());
        let now = clock::now();
        let last_contact_ms = if is_leader_known {
            self.seen.leader_at.store(now.micros(), Ordering::Relaxed);
            0
        } else {
            let at = Moment::from_micros(self.seen.leader_at.load(Ordering::Relaxed));
            u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX)
        };
        (is_leader_known, last_contact_ms)
    }

    /// Whether this server, which leads, may answer a read of that kind at once.
    fn knows_all(&self, consistency: Consistency) -> bool {
        // A new leader's view may lack what an earlier one acknowledged, until it applied all of it.
        let term = self.state.borrow().term;
        consistency == Consistency::Default && self.seen.term.load(Ordering::Acquire) == term
    }

    /// Holds until it may.
    async fn barrier(&self, hold: Moment) -> Result<(), Trouble> {
        let term = self.state.borrow().term;
        match timeout(hold.since(clock::now()), self.raft.barrier()).await {
            Ok(Ok(())) => {
                self.seen.term.fetch_max(term, Ordering::AcqRel);
                Ok(())
            }
            Ok(Err(_)) => Err(Trouble::Untouched(Error::NotLeader)),
            Err(_) => Err(Trouble::Untouched(Error::NoLeader)),
        }
    }

    // Consul: a server that never was part of a cluster has nothing to show, not even something stale.
    fn has_state(&self) -> bool {
        is_of_cluster(&self.state.borrow())
    }

    async fn until_state(&self, hold: Moment) -> Result<(), Error> {
        let mut states = self.state.clone();
        let ready = timeout(hold.since(clock::now()), states.wait_for(is_of_cluster)).await;
        ready.map_err(|_| Error::NoLeader)?.map(|_| ()).map_err(|_| Error::NoLeader)
    }

    fn wait(&self, asked: Duration) -> Duration {
        let wait = match asked {
            Duration::ZERO => self.options.default_query_time,
            asked => asked,
        };
        let wait = wait.min(self.options.max_query_time);
        let share: f64 = self.dice.lock().unwrap_or_else(PoisonError::into_inner).random();
        wait + (wait / JITTER_FRACTION).mul_f64(share)
    }
}

fn place(state: &RaftState) -> Place {
    match (state.role, &state.leader_id) {
        (Role::Leader, _) => Place::Leader { confirmed: state.confirmed },
        (_, leader) => Place::Follower { leader: leader.clone() },
    }
}

/// Who was told that a node is not there has index 1, as at the reference, and waits for it to come.
fn is_still_absent(view: &Store, query: &Query, min_index: u64) -> bool {
    min_index == 1 && matches!(query, Query::Node { .. }) && matches!(view.query(query).1, Answer::Node(None))
}

fn is_of_cluster(state: &RaftState) -> bool {
    state.applied > 0 || knows_leader(state)
}

/// A leader that lost its quorum still calls itself one; a follower has it from the leader itself.
fn knows_leader(state: &RaftState) -> bool {
    state.leader_id.is_some() && (state.role != Role::Leader || state.confirmed)
}
