//! The world for swim: sockets, timers, one task per pool.
//!
//! [`Gossip`] is the handle the rest of the agent holds. `driver` owns the state machine,
//! `tcp` streams, `resolve` addresses, `journal` the log lines. Knows nothing of HTTP, DNS or Raft.

mod ask;
mod driver;
mod journal;
pub mod keeper;
pub mod keyring;
pub mod keys;
mod look;
pub mod memory;
mod place;
mod rejoin;
mod resolve;
pub mod seal;
#[cfg(test)]
mod seal_tests;
mod tcp;
#[cfg(test)]
mod tests;
mod traffic;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::{RngCore, TryRngCore};
use shared::event::{MemberEvent, MemberState, Pool};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::clock;
use crate::swim::admission::Admission;
pub use crate::swim::query::{Answers, Asked, Question};
use crate::swim::timing::Timing;
pub use crate::swim::user_event::UserEvent;
use crate::swim::{self, Facts, ForceLeaveRefusal, Output, Swim};
use crate::tasks::Tasks;
use ask::Waiting;
pub use ask::{AskError, FireError, Heard, NEW_LEADER};
use driver::{Driver, Parts, Request};
use journal::Scope;
use keys::Keys;
use look::Unfit;
use memory::{Memory, Previous};
pub use place::Places;
pub use rejoin::Foreign;
use seal::Seal;

/// Orders waiting for the pool's task; whoever orders more waits.
const REQUESTS_MAX: usize = 64;
/// As memberlist asks for.
const UDP_BUFFER_BYTES: usize = 2 << 20;
/// Above every step of leaving together.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub struct Options {
    pub pool: Pool,
    /// The member's name; `node.dc` in the WAN pool.
    pub name: String,
    pub bind: SocketAddr,
    pub advertise: IpAddr,
    /// 0: the port that was bound.
    pub advertise_port: u16,
    pub tags: BTreeMap<String, String>,
    pub timing: Timing,
    /// Only the loggers' names differ.
    pub server: bool,
    /// Without keys gossip is plain.
    pub seal: Arc<Seal>,
    /// Where changed keys are kept.
    pub keyring_file: Option<PathBuf>,
    /// Who hears user events and queries. Full: they are dropped and counted.
    pub heard: mpsc::Sender<Heard>,
    /// Tell and take coordinates.
    pub coordinates: bool,
    /// Whom this agent lives with; without rules, with everybody.
    pub admission: Option<Admission>,
    /// Where the pool is remembered for the next start.
    pub memory: Option<keeper::Options>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("bind the {pool} gossip socket {address}")]
    Bind { pool: &'static str, address: SocketAddr, source: std::io::Error },
    /// A name or tags that no other member could read.
    #[error("{0}")]
    Refused(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForceLeaveError {
    #[error("agent: No node found with name '{0}'")]
    UnknownNode(String),
}

/// What came of a force-leave that was no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForceLeft {
    Done,
    /// The member is alive or suspect: nothing changed. Consul takes the order, and can leave the
    /// member stuck in leaving.
    StillThere,
}

/// What came of a join: how many answered, and why the others did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    pub contacted: usize,
    /// One text per address that failed, Consul's words.
    pub errors: Vec<String>,
    /// A HashiCorp server of our datacenter is there: this server must not be.
    pub foreign: Option<String>,
}

impl Joined {
    /// The failures as one text, as Consul prints them; none when there were none.
    pub fn error_text(&self) -> Option<String> {
        let head = match self.errors.len() {
            0 => return None,
            1 => "1 error occurred:".to_owned(),
            count => format!("{count} errors occurred:"),
        };
        let lines: String = self.errors.iter().map(|error| format!("\t* {error}\n")).collect();
        Some(format!("{head}\n{lines}\n"))
    }
}

/// A pool this agent is in; clones speak of the same one.
#[derive(Clone)]
pub struct Gossip {
    pool: Pool,
    scope: Scope,
    local: SocketAddr,
    seal: Arc<Seal>,
    requests: mpsc::Sender<Request>,
    members: watch::Receiver<Arc<Vec<MemberState>>>,
    facts: watch::Receiver<Facts>,
    name: String,
    advertised: SocketAddr,
    admission: Option<Admission>,
    keeper: Option<keeper::Handle>,
    previous: Arc<Vec<Previous>>,
}

impl Gossip {
    /// Binds UDP and TCP, becomes the pool's first member, starts the driver.
    pub async fn open(options: Options, tasks: &Tasks, notices: mpsc::Sender<MemberEvent>) -> Result<Self, OpenError> {
        check_sizes(&options)?;
        let (udp, listener) = bind(&options).await?;
        let bound = listener.local_addr().unwrap_or(options.bind);
        let port = if options.advertise_port == 0 { bound.port() } else { options.advertise_port };
        let advertised = SocketAddr::new(options.advertise, port);
        let scope = Scope::new(options.pool, options.server);
        let seal = options.seal;
        if !seal.is_on() && journal::is_public(options.advertise) {
            journal::public_address(scope);
        }
        let memory = match &options.memory {
            Some(keeper) => keeper::recall(keeper, scope).await,
            None => Memory::default(),
        };
        let previous = Arc::new(memory.others(&options.name));
        let config = swim::Config {
            pool: options.pool,
            name: options.name.clone(),
            address: advertised,
            tags: options.tags,
            timing: options.timing,
            seal_bytes: if seal.is_on() { seal::SEAL_BYTES } else { 0 },
            coordinates: options.coordinates,
        };
        let mut first = Output::default();
        // The one draw of chance: from here on the machine's dice are its own.
        let seed = rand::rngs::OsRng.unwrap_err().next_u64();
        let mut swim = Swim::new(config, clock::now(), seed, &mut first);
        if let Some(rules) = &options.admission {
            swim.admit_by(rules.clone());
        }
        swim.recall(memory.clocks.member, memory.clocks.event, memory.clocks.query);
        // Whoever asks right after this sees us.
        let (watched, members) = watch::channel(Arc::new(swim.member_states()));
        let (figures, facts) = watch::channel(swim.facts());
        let (asked, requests) = mpsc::channel(REQUESTS_MAX);
        let keeper =
            options.memory.map(|keeper| keeper::start(keeper, memory, scope, members.clone(), facts.clone(), tasks));
        let parts = Parts {
            swim,
            first,
            scope,
            keys: Keys::new(Arc::clone(&seal), options.keyring_file, scope),
            waiting: Waiting::new(scope, options.heard),
            seal: Arc::clone(&seal),
            udp,
            listener,
            members: watched,
            facts: figures,
            notices,
            requests,
        };
        Driver::start(parts, tasks).await;
        let (pool, name, local, admission) = (options.pool, options.name, bound, options.admission);
        Ok(Self {
            pool,
            scope,
            local,
            seal,
            requests: asked,
            members,
            facts,
            name,
            advertised,
            admission,
            keeper,
            previous,
        })
    }

    /// Where we listen.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Keys in use, and what did not open.
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    /// Every member known, left and failed ones too, by name.
    pub fn members(&self) -> watch::Receiver<Arc<Vec<MemberState>>> {
        self.members.clone()
    }

    /// Health, clocks, queues and what was dropped, as they are now.
    pub fn facts(&self) -> Facts {
        *self.facts.borrow()
    }

    /// `host`, `host:port` or `[v6]:port`; the pool's own port when none is given.
    /// Logs as Consul's agent does.
    pub async fn join(&self, addresses: Vec<String>) -> Joined {
        let list = format!("[{}]", addresses.join(", "));
        match self.pool {
            Pool::Lan => tracing::info!(target: "agent", lan_addresses = %list, "(LAN) joining"),
            Pool::Wan => tracing::info!(target: "agent", wan_addresses = %list, "(WAN) joining"),
        }
        // All at once: an address that is silent must not delay the others.
        let attempts = addresses.iter().map(|address| self.join_one(address));
        let mut joined = Joined::default();
        for outcome in futures_util::future::join_all(attempts).await {
            joined.contacted += outcome.contacted;
            joined.errors.extend(outcome.errors);
            joined.foreign = joined.foreign.or(outcome.foreign);
        }
        let number_of_nodes = joined.contacted;
        match (self.pool, joined.contacted, joined.error_text()) {
            (Pool::Lan, 0, Some(error)) => {
                tracing::warn!(target: "agent", number_of_nodes, error = %error, "(LAN) couldn't join");
            }
            (Pool::Wan, 0, Some(error)) => {
                tracing::warn!(target: "agent", number_of_nodes, error = %error, "(WAN) couldn't join");
            }
            (Pool::Lan, ..) => tracing::info!(target: "agent", number_of_nodes, "(LAN) joined"),
            (Pool::Wan, ..) => tracing::info!(target: "agent", number_of_nodes, "(WAN) joined"),
        }
        joined
    }

    async fn join_one(&self, text: &str) -> Joined {
        let mut joined = Joined::default();
        let resolved = match resolve::resolve(text, self.local.port()).await {
            Ok(resolved) => resolved,
            Err(error) => {
                journal::resolve_failed(self.scope, &error);
                joined.errors.push(error);
                return joined;
            }
        };
        for to in resolved {
            match self.join_address(to).await {
                Ok(()) => joined.contacted += 1,
                Err(unfit) => {
                    if let Unfit::Foreign(rejection) = &unfit {
                        joined.foreign = Some(rejection.to_string());
                    }
                    let reason = unfit.to_string();
                    let error = format!("Failed to join {}: {reason}", to.ip());
                    journal::join_failed(self.scope, &error);
                    joined.errors.push(error);
                }
            }
        }
        joined
    }

    /// One address, after a look at who is there.
    async fn join_address(&self, to: SocketAddr) -> Result<(), Unfit> {
        self.look(to).await?;
        let (done, outcome) = oneshot::channel();
        let sent = self.requests.send(Request::Join { to, done }).await;
        match (sent, outcome.await) {
            (Ok(()), Ok(outcome)) => outcome.map_err(Unfit::Unreachable),
            _ => Err(Unfit::Unreachable("the agent is stopping".to_owned())),
        }
    }

    /// Says good-bye and waits until it was heard, or the leave time is over.
    pub async fn leave(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.leave().await;
        }
        let (done, left) = oneshot::channel();
        if self.requests.send(Request::Leave { done }).await.is_ok() {
            // Late or ended, there is nothing more to wait for.
            let _ = timeout(LEAVE_TIME_MAX, left).await;
        }
    }

    /// Of a failed or leaving member makes one that left; `prune` lists it no longer.
    pub async fn force_leave(&self, name: String, prune: bool) -> Result<ForceLeft, ForceLeaveError> {
        let (done, outcome) = oneshot::channel();
        let request = Request::ForceLeave { name: name.clone(), prune, done };
        if self.requests.send(request).await.is_err() {
            return Ok(ForceLeft::Done);
        }
        match outcome.await {
            Ok(Err(ForceLeaveRefusal::Unknown)) => Err(ForceLeaveError::UnknownNode(name)),
            Ok(Err(ForceLeaveRefusal::Alive)) => Ok(ForceLeft::StillThere),
            // Ended while we asked: there is no pool to change any more.
            Ok(Ok(())) | Err(_) => Ok(ForceLeft::Done),
        }
    }
}

/// UDP and TCP on one port, which with port 0 the kernel chooses.
async fn bind(options: &Options) -> Result<(UdpSocket, TcpListener), OpenError> {
    let pool = match options.pool {
        Pool::Lan => "LAN",
        Pool::Wan => "WAN",
    };
    let failed = |source| OpenError::Bind { pool, address: options.bind, source };
    // A free TCP port may be taken for UDP: the kernel is asked again, a few times.
    let tries = if options.bind.port() == 0 { 10 } else { 1 };
    let mut last = None;
    for _ in 0..tries {
        let listener = TcpListener::bind(options.bind).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        match UdpSocket::bind(address).await {
            Ok(udp) => {
                // A burst of a large pool's news must not overrun the kernel's default of 200 KiB.
                // What the kernel allows less is what we get.
                let _ = socket2::SockRef::from(&udp).set_recv_buffer_size(UDP_BUFFER_BYTES);
                return Ok((udp, listener));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(failed(last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into())))
}

fn check_sizes(options: &Options) -> Result<(), OpenError> {
    use swim::codec::{META_BYTES_MAX, NAME_BYTES_MAX};
    if options.name.is_empty() || options.name.len() > NAME_BYTES_MAX {
        return Err(OpenError::Refused(format!("node name '{}' must be 1 to {NAME_BYTES_MAX} bytes", options.name)));
    }
    let length = swim::member::to_meta(&options.tags).len();
    if length > META_BYTES_MAX {
        return Err(OpenError::Refused(format!("encoded length of tags exceeds limit of {META_BYTES_MAX} bytes")));
    }
    Ok(())
}
