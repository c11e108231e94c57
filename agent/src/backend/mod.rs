//! The one waist between edges and state: read, write, status, operate.
//!
//! Edges and workers hold a clone. A server answers from its own store and writes through Raft; a
//! client asks a server. Nothing here knows who asks, or why.

mod forward;
mod others;
mod pages;
mod server;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod watches;
mod wire;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shared::api::operator::OperatorHealth;
use shared::event::{RaftState, Role};
use tokio::time::timeout;

use self::forward::{Asker, Place, Step, Trouble, What};
pub use self::others::Others;
use self::server::Server;
pub use self::watches::{Counts, WAITING_MAX, Watches};
use self::wire::{Ask, Asked, FORMAT, Told};
use crate::clock;
use crate::moment::Moment;
pub use crate::raft::Operation;
use crate::raft::Raft;
use crate::rpc::{self, payload};
use crate::store::command::{Command, Outcome};
use crate::store::query::{Answer, Query};

/// Before another try.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    #[default]
    Default,
    Consistent,
    Stale,
}

/// How to read. A blocking read waits until the answer's index passes `min_index`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    pub consistency: Consistency,
    /// 0: answer at once.
    pub min_index: u64,
    /// 0: the default query time.
    pub wait: Duration,
}

#[derive(Clone, Debug)]
pub struct Reply {
    /// At least 1.
    pub index: u64,
    pub answer: Answer,
    pub known_leader: bool,
    pub last_contact_ms: u64,
}

/// A [`Reply`] as its asker wants to have it.
#[derive(Clone, Debug)]
pub struct Page {
    /// At least 1.
    pub index: u64,
    pub known_leader: bool,
    pub last_contact_ms: u64,
    pub body: Bytes,
}

/// How an answer becomes a page: the same key, the same bytes. None when it is no answer to that question.
#[derive(Clone, Copy)]
struct Drawing<'a> {
    key: &'a str,
    draw: &'a (dyn Fn(Answer) -> Option<Bytes> + Sync),
}

impl Drawing<'_> {
    fn page(&self, reply: Reply) -> Result<Page, Error> {
        let Reply { index, answer, known_leader, last_contact_ms } = reply;
        let body = (self.draw)(answer).ok_or_else(mismatch)?;
        Ok(Page { index, known_leader, last_contact_ms, body })
    }
}

/// Those who wait for the same answer: one of them listens for news, and the edge tells its answer to all.
pub trait Company: Send + Sync {
    /// Joins them; whether another one listens. Called before each look at the state.
    fn follows(self: Arc<Self>) -> bool;

    /// Ready once nobody listens for this one any more.
    fn poll_alone(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// This one saw news, and its answer will be drawn now: who joins later is told something else.
    fn has_news(&self);
}

/// How a request is answered, and beside whom it waits.
#[derive(Clone, Copy, Default)]
struct Manner<'a> {
    drawing: Option<Drawing<'a>>,
    company: Option<&'a Arc<dyn Company>>,
}

/// What a request came to.
enum Carried {
    Told(Told),
    Page(Page),
}

impl Carried {
    fn told(self) -> Result<Told, Error> {
        match self {
            Self::Told(told) => Ok(told),
            Self::Page(_) => Err(mismatch()),
        }
    }
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Nothing changed; worth another try.
    #[error("No cluster leader")]
    NoLeader,
    /// Nothing changed; worth another try.
    #[error("No known Consul servers")]
    NoServers,
    /// Asked as the leader, and it is another: nothing changed; worth another try.
    #[error("not the leader")]
    NotLeader,
    /// The write may or may not have happened.
    #[error("the outcome of the write is unknown: {0}")]
    OutcomeUnknown(String),
    /// The state refused it; nothing changed.
    #[error("{0}")]
    Refused(String),
    /// A read that would have to wait, and too many do.
    #[error("too many blocking queries, the limit is {0}")]
    TooManyWaiting(usize),
    /// A server was asked and did not answer; never of a write that it may have got.
    #[error("{0}")]
    Unreachable(String),
    /// Another agent's answer, in Consul's words for that.
    #[error("rpc error making call: {0}")]
    Remote(Box<Self>),
}

impl Error {
    /// What went wrong, wherever that was.
    pub fn origin(&self) -> &Self {
        match self {
            Self::Remote(inner) => inner.origin(),
            other => other,
        }
    }
}

/// What the root decides about reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a request waits for a leader (`performance.rpc_hold_timeout`).
    pub rpc_hold_timeout: Duration,
    /// How long a blocking read waits that does not say (`default_query_time`).
    pub default_query_time: Duration,
    /// The longest it may ask for (`max_query_time`).
    pub max_query_time: Duration,
}

impl Default for Options {
    /// Consul's.
    fn default() -> Self {
        Self {
            rpc_hold_timeout: Duration::from_secs(7),
            default_query_time: Duration::from_secs(300),
            max_query_time: Duration::from_secs(600),
        }
    }
}

/// Raft as this agent can tell: its own on a server, none on a client.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub raft: Option<RaftState>,
    /// The leader's server address, empty when there is none.
    pub leader: String,
    /// The voters' addresses.
    pub peers: Vec<String>,
}

/// A server of the Raft configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub id: String,
    pub name: String,
    pub address: String,
    pub voter: bool,
    pub leads: bool,
}

/// How an operator names a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerName {
    Id(String),
    Address(String),
}

/// Who leads and who is in the Raft configuration, as some server sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The leader's server address, empty when there is none.
    pub leader: String,
    pub peers: Vec<Peer>,
}

/// A server answers from its own store or asks the leader; a client asks a server.
#[derive(Clone)]
pub struct Backend {
    own: Option<Server>,
    others: Others,
    options: Options,
}

impl Backend {
    /// `watches` are those whose [`Watches::on_applied`] Raft was opened with.
    pub fn server(raft: Raft, watches: Watches, others: Others, options: Options) -> Self {
        Self { own: Some(Server::new(raft, watches, options)), others, options }
    }

    pub fn client(others: Others, options: Options) -> Self {
        Self { own: None, others, options }
    }

    pub async fn read(&self, query: Query, options: ReadOptions) -> Result<Reply, Error> {
        self.read_among(query, options, None).await
    }

    /// The same, in the company of those who wait for just that.
    pub async fn read_among(
        &self,
        query: Query,
        options: ReadOptions,
        company: Option<&Arc<dyn Company>>,
    ) -> Result<Reply, Error> {
        let manner = Manner { company, drawing: None };
        reply(self.carry(Asker::Anyone, Asked::read(query, options), manner).await?.told()?)
    }

    /// Whether a stale read would find the answer that had `index` again: then how long no leader was
    /// known, in milliseconds. None where only a read can tell.
    pub fn still(&self, query: &Query, index: u64) -> Option<u64> {
        self.own.as_ref()?.still(query, index)
    }

    /// The same as bytes, drawn once for all who ask for the same `key`: one key, one query, one drawing.
    pub async fn read_page(
        &self,
        query: Query,
        options: ReadOptions,
        key: &str,
        draw: &(dyn Fn(Answer) -> Option<Bytes> + Sync),
        company: Option<&Arc<dyn Company>>,
    ) -> Result<Page, Error> {
        let drawing = Drawing { key, draw };
        let manner = Manner { company, drawing: Some(drawing) };
        match self.carry(Asker::Anyone, Asked::read(query, options), manner).await? {
            Carried::Page(page) => Ok(page),
            Carried::Told(told) => drawing.page(reply(told)?),
        }
    }

    /// Whether this agent is the leader, as far as it knows.
    pub fn leads(&self) -> bool {
        self.own.as_ref().is_some_and(|server| server.status().raft.is_some_and(|raft| raft.role == Role::Leader))
    }

    /// Whether there is a server to ask, this one or another.
    pub fn knows_servers(&self) -> bool {
        self.own.is_some() || self.others.count() > 0
    }

    /// The index and outcome of the write; waits for a leader up to `rpc_hold_timeout`.
    /// Never answers [`Outcome::Refused`]: that is [`Error::Refused`].
    pub async fn write(&self, command: Command) -> Result<(u64, Outcome), Error> {
        match self.carry(Asker::Anyone, Asked::Write(command), Manner::default()).await?.told()? {
            Told::Written { index, outcome } => Ok((index, outcome)),
            _ => Err(mismatch()),
        }
    }

    /// Who leads and who is in the Raft configuration: as the leader sees it, or with
    /// [`Consistency::Stale`] as this server or any does.
    pub async fn cluster(&self, consistency: Consistency) -> Result<Seen, Error> {
        let stale = consistency == Consistency::Stale;
        match self.carry(Asker::Anyone, Asked::Cluster { stale }, Manner::default()).await?.told()? {
            Told::Cluster { leader, peers } => Ok(wire::seen(leader, peers)),
            _ => Err(mismatch()),
        }
    }

    /// What an operator asks of the leader; the name of the new one for a transfer.
    pub async fn operate(&self, operation: Operation) -> Result<String, Error> {
        match self.carry(Asker::Anyone, Asked::Operate(operation), Manner::default()).await?.told()? {
            Told::Operated(name) => Ok(name),
            _ => Err(mismatch()),
        }
    }

    /// Takes a server out of the Raft configuration.
    pub async fn remove_peer(&self, peer: PeerName) -> Result<(), Error> {
        match self.carry(Asker::Anyone, Asked::RemovePeer(peer), Manner::default()).await?.told()? {
            Told::Operated(_) => Ok(()),
            _ => Err(mismatch()),
        }
    }

    /// How the servers are, as their leader saw them last.
    pub async fn health(&self) -> Result<OperatorHealth, Error> {
        match self.carry(Asker::Anyone, Asked::Health, Manner::default()).await?.told()? {
            Told::Health(health) => Ok(health),
            _ => Err(mismatch()),
        }
    }

    /// For those who ask this server while it leads in `term`.
    pub fn tell_health(&self, term: u64, health: OperatorHealth) {
        if let Some(server) = &self.own {
            server.tell_health(term, health);
        }
    }

    /// What this agent knows of Raft by itself. Never blocks.
    pub fn status(&self) -> Status {
        self.own.as_ref().map_or_else(Status::default, Server::status)
    }

    /// What a server serves to other agents.
    pub fn handler(&self) -> rpc::Handler {
        let backend = self.clone();
        Arc::new(move |call| {
            let backend = backend.clone();
            Box::pin(async move {
                let ask: Ask = payload::decode(FORMAT, &call.payload)?;
                metrics::counter!("consul.rpc.request").increment(1);
                let asker = if ask.from_server { Asker::Server } else { Asker::Anyone };
                let told = backend
                    .carry(asker, ask.what, Manner::default())
                    .await
                    .and_then(Carried::told)
                    .unwrap_or_else(Told::from);
                Ok(payload::encode(FORMAT, &told))
            })
        })
    }

    /// Until it is answered, here or elsewhere, or cannot be.
    async fn carry(&self, asker: Asker, mut asked: Asked, manner: Manner<'_>) -> Result<Carried, Error> {
        let what = match &asked {
            Asked::Read { consistency, .. } => What::Read((*consistency).into()),
            Asked::Write(_) | Asked::Operate(_) | Asked::RemovePeer(_) => What::Write,
            Asked::Cluster { stale: true } => What::Read(Consistency::Stale),
            Asked::Cluster { stale: false } | Asked::Health => What::Read(Consistency::Default),
        };
        let began = clock::now();
        let mut hold = began + self.options.rpc_hold_timeout;
        let mut last: Option<Trouble> = None;
        loop {
            let place = self.place();
            let tried_at = clock::now();
            let step = forward::step(&place, what, asker, last.as_ref(), tried_at >= hold);
            let tried = match (step, &self.own) {
                (Step::Fail(error), _) => return Err(error),
                (Step::Here, Some(server)) => server.carry(&asked, hold, manner).await,
                (Step::Wait, Some(server)) => {
                    // Time up is looked at above.
                    let _ = timeout(hold.since(tried_at), Box::pin(server.until_not(&place))).await;
                    continue;
                }
                // In boxes, so that what waits here is not as large as what waits there.
                (Step::ToLeader(id), Some(server)) => {
                    Box::pin(self.to_leader(server, &id, &asked)).await.map(Carried::Told)
                }
                // Only a server's place asks for anything else.
                (_, _) => Box::pin(self.others.ask_any(&asked, &self.options)).await.map(Carried::Told),
            };
            match tried {
                Ok(carried) => return Ok(carried),
                Err(trouble) => {
                    tracing::debug!(target: "agent", error = %trouble.error(), "a request found no answer yet");
                    last = Some(trouble);
                }
            }
            tokio::time::sleep(RETRY_PAUSE).await;
            if let Some(waited) = self.wait_less(&mut asked, began) {
                // It lost the server it waited at: that a leader is missing begins now.
                hold = hold.max(clock::now() + self.options.rpc_hold_timeout.min(waited));
            }
        }
    }

    /// Takes what has passed from the wait of a blocking read; what is left of it.
    fn wait_less(&self, asked: &mut Asked, began: Moment) -> Option<Duration> {
        let Asked::Read { wait_ms, min_index: 1.., .. } = asked else { return None };
        let whole = match *wait_ms {
            0 => self.options.default_query_time,
            ms => Duration::from_millis(ms).min(self.options.max_query_time),
        };
        let left = whole.saturating_sub(clock::now().since(began));
        // 0 would be the default.
        *wait_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
        Some(left)
    }

    fn place(&self) -> Place {
        match &self.own {
            Some(server) => server.place(),
            None => Place::Client { servers: self.others.count() },
        }
    }

    async fn to_leader(&self, server: &Server, id: &str, asked: &Asked) -> Result<Told, Trouble> {
        // Gossip knows first where a server has moved to.
        let Some(address) = self.others.address_of(id).or_else(|| server.address_of(id)) else {
            return Err(Trouble::Untouched(Error::NoLeader));
        };
        let asking = self.others.ask(address, true, asked, &self.options);
        // A leader that was paused or cut off never answers; its successor will.
        let is_there = || Box::pin(self.others.is_there(address, &self.options));
        others::unless(asking, server.until_led_by_another(id), is_there, asked).await
    }
}

fn reply(told: Told) -> Result<Reply, Error> {
    match told {
        Told::Read { index, answer, known_leader, last_contact_ms } => {
            Ok(Reply { index, answer, known_leader, last_contact_ms })
        }
        _ => Err(mismatch()),
    }
}

/// An answer to something else than was asked.
fn mismatch() -> Error {
    Error::Unreachable("the server answered something else than it was asked".to_owned())
}
