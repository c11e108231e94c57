//! One server of Raft: opens log and state, starts openraft, stands when it is alone, writes, reads.
//! The root opens it; `backend` writes and reads through it. What happened is told by `watch`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use openraft::{ReadPolicy, SnapshotPolicy};
use shared::event::RaftState;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::ballots::Ballots;
use super::compaction::{Compaction, Rule};
use super::file::{Disk, MemoryDisk, RealDisk, blocking};
use super::heard::Heard;
use super::incoming::Incoming;
use super::log::{self, LogStore, RecoverError};
use super::lost::{Lost, Newcomer};
use super::neighbours::Neighbours;
use super::network::{CHUNK_BYTES, Network};
use super::owner;
use super::promise::Promise;
use super::pulse::Pulse;
use super::recovery::{self, Recovery};
use super::serving::Serving;
use super::snapshot::{self, Snapshots};
use super::stamp::Stamps;
use super::state_machine::{StateMachine, View};
use super::types::{Config, LogId, Membership, Peer, Proposal, ServerId, StoredMembership, shown};
use super::upkeep::Upkeep;
use super::watch::{self as watching, Me, Stood, Told};
use super::{Notice, OnApplied, OpenError, Options, WriteError, weight};
use crate::clock;
use crate::rpc::{Handler, Pool};
use crate::store::Store;
use crate::store::command::{Command, Outcome};
use crate::tasks::Tasks;

/// Milliseconds at multiplier 1; openraft's lease is the upper one.
const HEARTBEAT_MS: u64 = 100;
const ELECTION_MS_MIN: u64 = 300;
const ELECTION_MS_MAX: u64 = 600;
/// Bytes of commands on their way at once; further writers wait their turn.
const IN_FLIGHT_BYTES_MAX: u32 = 64 << 20;

pub(crate) type Core = openraft::Raft<Config, StateMachine>;

/// A server's Raft; clones speak of the same one.
#[derive(Clone)]
pub struct Raft {
    inner: Arc<Inner>,
}

struct Inner {
    id: ServerId,
    pool: Pool,
    core: Core,
    log: LogStore,
    view: Arc<View>,
    state: watch::Receiver<RaftState>,
    stamps: Mutex<Stamps>,
    in_flight: Semaphore,
    applies: metrics::Counter,
    commit_time: metrics::Histogram,
    stood: mpsc::Sender<Stood>,
    start: Start,
    ballots: Ballots,
    promise: Promise,
    heard: Heard,
    lost: Lost,
    incoming: Arc<AsyncMutex<Incoming>>,
    /// Cancelled when Raft is ended on purpose.
    ending: CancellationToken,
}

/// What this server does first.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    /// Form a cluster of this server alone.
    Form(BTreeMap<ServerId, Peer>),
    /// Stand at once: it is the only voter.
    Stand,
    /// Wait to hear from others.
    Follow,
}

impl Raft {
    /// Opens the log, restores the state and starts taking part. A lone voter stands at once.
    pub async fn open(
        options: Options,
        tasks: &Tasks,
        notices: mpsc::Sender<Notice>,
        on_applied: OnApplied,
    ) -> Result<Self, OpenError> {
        let raft = Self::prepare(options, Pool::new(None, tasks), tasks, notices, on_applied).await?;
        raft.stand().await?;
        Ok(raft)
    }

    /// Everything of [`Raft::open`] but standing, for a caller who has to be ready to lead first.
    /// Others reach this server once [`Raft::handler`] is served.
    pub async fn prepare(
        options: Options,
        pool: Pool,
        tasks: &Tasks,
        notices: mpsc::Sender<Notice>,
        on_applied: OnApplied,
    ) -> Result<Self, OpenError> {
        let files = open_files(&options, tasks).await?;
        Self::prepare_on(files, options, pool, tasks, notices, on_applied).await
    }

    /// With what this server keeps, which was opened just now.
    pub(super) async fn prepare_on(
        files: Files,
        options: Options,
        pool: Pool,
        tasks: &Tasks,
        notices: mpsc::Sender<Notice>,
        on_applied: OnApplied,
    ) -> Result<Self, OpenError> {
        let id = ServerId::from(options.node_id);
        let view = Arc::new(View::default());
        let Files { log, snapshots, incoming, promise, chunk_bytes, .. } = files;
        let (name, address) = (options.node_name.clone(), options.address.clone());
        let ballots = Ballots::new(id.to_string(), name, address, notices.clone());
        let lost = Lost::default();
        let (heard, network) = (Heard::default(), network(id, &pool, &ballots, &lost, &log, chunk_bytes));
        let machine = StateMachine::new(Arc::clone(&view), on_applied, Arc::clone(&snapshots));
        let core = Core::new(id, Arc::new(settings(&options)?), network, log.clone(), machine)
            .await
            .map_err(|e| OpenError::Damaged(format!("start Raft: {e}")))?;
        let me = Peer { name: options.node_name.clone(), address: options.address.clone() };
        let (membership, term, start) = first_step(&core, id, &me, options.bootstrap).await?;
        let (stood, stands) = mpsc::channel(4);
        let ending = CancellationToken::new();
        let upkeep = Upkeep {
            core: core.clone(),
            id,
            peer: me.clone(),
            snapshots: Arc::clone(&snapshots),
            trailing_logs: options.trailing_logs,
            place: options.dir.as_ref().map_or_else(|| "memory".to_owned(), |dir| dir.display().to_string()),
            ending: ending.clone(),
            tasks: tasks.clone(),
            correcting: Arc::default(),
        };
        let me = Me { id, name: me.name, address: me.address, lease_ms: ELECTION_MS_MAX * multiplier(&options) };
        ballots.peers(&watching::peers(&membership));
        let told = Told { ballots: ballots.clone(), heard: heard.clone(), notices };
        let state = watching::start(me, upkeep, &membership, term, stands, tasks, told);
        Neighbours { core: core.clone(), id, pool: pool.clone(), ballots: ballots.clone(), heard: heard.clone() }
            .start(state.clone(), tasks);
        let heartbeat = Duration::from_millis(HEARTBEAT_MS * multiplier(&options));
        Pulse { core: core.clone(), id: id.to_string(), heard: heard.clone(), heartbeat }.start(state.clone(), tasks);
        start_keeping(&options, &core, &log, snapshots, &state, tasks);
        let inner = Inner {
            id,
            pool,
            core,
            log,
            view,
            state,
            stamps: Mutex::default(),
            in_flight: Semaphore::new(IN_FLIGHT_BYTES_MAX as usize),
            applies: metrics::counter!("consul.raft.apply"),
            commit_time: metrics::histogram!("consul.raft.commitTime"),
            stood,
            start,
            ballots,
            promise,
            heard,
            lost,
            incoming: Arc::new(AsyncMutex::new(incoming)),
            ending,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A lone voter stands for election now: nobody else can lead, and nobody can object.
    pub async fn stand(&self) -> Result<(), OpenError> {
        let inner = &self.inner;
        if inner.start == Start::Follow {
            return Ok(());
        }
        // The watch may have ended with the agent; then nobody is left to be told.
        let _ = inner.stood.send(Stood { cause: "the only voter".to_owned() }).await;
        match &inner.start {
            // openraft elects by itself what it has just formed.
            Start::Form(first) => inner.core.initialize(first.clone()).await.map_err(|e| e.to_string()),
            Start::Stand | Start::Follow => inner.core.trigger().elect(false).await.map_err(|e| e.to_string()),
        }
        .map_err(|e| OpenError::Refused(format!("stand for election: {e}")))
    }

    /// Appends, replicates, applies. Returns the index (Consul's count) and what the store said.
    pub async fn write(&self, command: Command) -> Result<(u64, Outcome), WriteError> {
        let inner = &self.inner;
        let permit = inner.in_flight.acquire_many(weight(&command).min(IN_FLIGHT_BYTES_MAX)).await;
        let _permit = permit.map_err(|_| WriteError::NotLeader)?;
        let proposal = Proposal { at: self.stamp(), command };
        let start = clock::now();
        match inner.core.client_write(proposal).await {
            Ok(written) => {
                inner.applies.increment(1);
                inner.commit_time.record(clock::now().since(start).as_secs_f64() * 1_000.0);
                Ok((shown(written.log_id.index), written.data))
            }
            // openraft answers so before it appends, never after.
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Err(WriteError::NotLeader),
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => {
                Err(WriteError::Unknown("another server became the leader".to_owned()))
            }
            Err(error) => Err(WriteError::Unknown(error.to_string())),
        }
    }

    /// Returns once everything acknowledged before the call is in [`Raft::store`] and this server
    /// was the leader after the call began.
    pub async fn barrier(&self) -> Result<(), WriteError> {
        match self.inner.core.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(
                LinearizableReadError::ForwardToLeader(_) | LinearizableReadError::QuorumNotEnough(_),
            )) => Err(WriteError::NotLeader),
            Err(error) => Err(WriteError::Unknown(error.to_string())),
        }
    }

    /// The state after the last applied batch.
    pub fn store(&self) -> Arc<Store> {
        self.inner.view.store()
    }

    /// Role, term, leader, indexes; never hold the borrow.
    pub fn state(&self) -> watch::Receiver<RaftState> {
        self.inner.state.clone()
    }

    /// Ends this server's part, and keeps its seat.
    pub async fn shutdown(&self) {
        self.inner.ending.cancel();
        if let Err(error) = self.inner.core.shutdown().await {
            tracing::error!(target: "agent.server.raft", %error, "raft did not end in order");
        }
        self.inner.log.close().await;
    }

    /// What other servers' Raft is answered with.
    pub fn handler(&self) -> Handler {
        let inner = &self.inner;
        let (core, ballots, promise) = (inner.core.clone(), inner.ballots.clone(), inner.promise.clone());
        let id = inner.id;
        Serving {
            raft: self.clone(),
            id,
            core,
            ballots,
            incoming: Arc::clone(&inner.incoming),
            promise,
            heard: inner.heard.clone(),
            newcomer: Newcomer::default(),
            installs: AtomicBool::new(false),
        }
        .handler()
    }

    pub fn id(&self) -> uuid::Uuid {
        uuid::Uuid::from_u128(self.inner.id.0)
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    pub(super) fn core(&self) -> &Core {
        &self.inner.core
    }

    pub(super) fn lost(&self) -> &Lost {
        &self.inner.lost
    }

    pub(super) fn ballots(&self) -> &Ballots {
        &self.inner.ballots
    }

    pub(super) fn promise_held(&self) -> &Promise {
        &self.inner.promise
    }

    fn stamp(&self) -> crate::moment::WallTime {
        let term = self.inner.state.borrow().term;
        let mut stamps = self.inner.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        stamps.next(term, clock::now(), clock::wall(), self.inner.view.at())
    }
}

/// The ways to the others.
fn network(id: ServerId, pool: &Pool, ballots: &Ballots, lost: &Lost, log: &LogStore, chunk_bytes: usize) -> Network {
    let (pool, ballots, lost, log) = (pool.clone(), ballots.clone(), lost.clone(), log.clone());
    Network { id, pool, ballots, lost, log, chunk_bytes }
}

/// The log short, and the list of servers for an outage current.
fn start_keeping(
    options: &Options,
    core: &Core,
    log: &LogStore,
    snapshots: Arc<Snapshots>,
    state: &watch::Receiver<RaftState>,
    tasks: &Tasks,
) {
    if let Some(dir) = options.dir.clone() {
        recovery::keep(dir, state.clone(), tasks);
    }
    let rule = Rule::new(options.snapshot_threshold, options.dir.is_none());
    let (core, log, state) = (core.clone(), log.clone(), state.clone());
    let seed = options.node_id.as_u64_pair().1;
    Compaction { rule, interval: options.snapshot_interval, seed, core, log, snapshots, state }.start(tasks);
}

/// The configuration and the term of the log, and what this server does first.
async fn first_step(
    core: &Core,
    id: ServerId,
    me: &Peer,
    bootstrap: bool,
) -> Result<(StoredMembership, u64, Start), OpenError> {
    let (mut membership, term) = core
        .with_raft_state(|s| ((**s.membership_state.effective()).clone(), s.vote_ref().leader_id.term))
        .await
        .map_err(|e| OpenError::Refused(format!("read the Raft configuration: {e}")))?;
    let fresh = !core.is_initialized().await.map_err(|e| OpenError::Refused(e.to_string()))?;
    let start = if fresh && bootstrap {
        let first = BTreeMap::from([(id, me.clone())]);
        let entry = LogId::new_term_index(0, 0);
        membership = StoredMembership::new(Some(entry), Membership::from(first.clone()));
        Start::Form(first)
    } else if membership.voter_ids().eq([id]) {
        Start::Stand
    } else {
        Start::Follow
    };
    Ok((membership, term, start))
}

/// What a server keeps.
pub(super) struct Files {
    pub(super) log: LogStore,
    snapshots: Arc<Snapshots>,
    incoming: Incoming,
    promise: Promise,
    recovery: Option<Recovery>,
    /// In pieces of how many bytes snapshots are sent.
    pub(super) chunk_bytes: usize,
}

/// Opens log and snapshots below `dir`, or in memory.
async fn open_files(options: &Options, tasks: &Tasks) -> Result<Files, OpenError> {
    let stop = tasks.clone();
    let on_failure = Box::new(move |text: &str| stop.fail(text));
    let (dir, node_id) = (options.dir.clone(), options.node_id);
    // Two kinds of errors: what `blocking` says of the thread, and what was found.
    let opened = blocking(move || Ok(open_files_now(dir, node_id, on_failure))).await;
    let (mut files, cut_bytes) = opened.map_err(|e| OpenError::Refused(format!("open the Raft log: {e}")))??;
    if cut_bytes > 0 {
        tracing::warn!(target: "agent.server.raft", bytes = cut_bytes, "log ended in a write that was never synced, cut");
    }
    if let Some(recovery) = files.recovery.take() {
        recovery.perform(options.node_id.into(), &options.node_name, &files.log, &files.snapshots).await?;
    }
    Ok(files)
}

fn open_files_now(
    dir: Option<PathBuf>,
    node_id: uuid::Uuid,
    on_failure: log::OnFailure,
) -> Result<(Files, u64), OpenError> {
    // Beside `raft/`, so that it is known what was there when all of that is gone.
    let data = dir.as_deref().and_then(std::path::Path::parent).filter(|data| !data.as_os_str().is_empty());
    let io = |source| OpenError::Io { dir: dir.clone().unwrap_or_default(), source };
    let noted = data.map(owner::read).transpose().map_err(io)?.flatten();
    // Looked at before a directory is made.
    if let (Some(_), Some(missing)) = (noted, dir.as_ref().map(|dir| dir.join("log")).filter(|log| !log.exists())) {
        return Err(OpenError::Damaged(log::gone(&missing.display().to_string())));
    }
    let recovery = match &dir {
        Some(dir) => Recovery::look(dir, log::is_there(&dir.join("log")))?,
        None => None,
    };
    let (log_disk, snapshot_disk, segment_bytes): (Arc<dyn Disk>, Arc<dyn Disk>, u64) = match &dir {
        Some(dir) => {
            let open = |name| {
                let source = |source| OpenError::Io { dir: dir.clone(), source };
                RealDisk::open(dir.join(name)).map(Arc::new).map_err(source)
            };
            (open("log")?, open("snapshots")?, log::SEGMENT_BYTES)
        }
        None => (Arc::new(MemoryDisk::default()), Arc::new(MemoryDisk::default()), log::SEGMENT_BYTES_IN_MEMORY),
    };
    let promise = Promise::open(dir.as_deref()).map_err(io)?;
    let disks = Disks { log: log_disk, snapshots: snapshot_disk, segment_bytes, is_expected: noted.is_some() };
    let (files, cut_bytes) = open_on(disks, promise, on_failure, io)?;
    if let Some(data) = data {
        owner::keep(data, node_id).map_err(io)?;
    }
    Ok((Files { recovery, ..files }, cut_bytes))
}

/// Where a server keeps it.
pub(super) struct Disks {
    pub(super) log: Arc<dyn Disk>,
    pub(super) snapshots: Arc<dyn Disk>,
    pub(super) segment_bytes: u64,
    /// There has been a log.
    pub(super) is_expected: bool,
}

pub(super) fn open_on(
    disks: Disks,
    promise: Promise,
    on_failure: log::OnFailure,
    io: impl Fn(std::io::Error) -> OpenError,
) -> Result<(Files, u64), OpenError> {
    let Disks { log: log_disk, snapshots: snapshot_disk, segment_bytes, is_expected } = disks;
    if !is_expected && log::is_missing(&*log_disk).map_err(&io)? && !snapshot_disk.list().map_err(&io)?.is_empty() {
        return Err(OpenError::Damaged(format!(
            "the Raft log in {} is gone, but there are snapshots in {}; nothing was changed. Restore the data \
             directory from a backup, or, where other servers have the data, remove this server from the \
             configuration, empty its data directory and let it join again",
            log_disk.place(),
            snapshot_disk.place()
        )));
    }
    let (log, cut_bytes) =
        LogStore::open(log_disk, segment_bytes, is_expected, on_failure).map_err(|error| match error {
            RecoverError::Io(source) => io(source),
            RecoverError::Damaged(text) => OpenError::Damaged(text),
        })?;
    let damaged = |text: &str| {
        tracing::error!(target: "agent.server.raft", "passed over a snapshot: {text}");
    };
    let mut incoming = Incoming::new(Arc::clone(&snapshot_disk));
    incoming.forget().map_err(&io)?;
    let snapshots = Snapshots::open(snapshot_disk, log.purged(), damaged).map_err(|error| match error {
        snapshot::OpenError::Io(source) => io(source),
        snapshot::OpenError::Refused(text) => OpenError::Damaged(text),
    })?;
    let (snapshots, recovery, chunk_bytes) = (Arc::new(snapshots), None, CHUNK_BYTES);
    Ok((Files { log, snapshots, incoming, promise, recovery, chunk_bytes }, cut_bytes))
}

fn multiplier(options: &Options) -> u64 {
    u64::from(options.multiplier.clamp(1, 10))
}

fn settings(options: &Options) -> Result<openraft::Config, OpenError> {
    let times = multiplier(options);
    openraft::Config {
        cluster_name: "agent".to_owned(),
        heartbeat_interval: HEARTBEAT_MS * times,
        election_timeout_min: ELECTION_MS_MIN * times,
        election_timeout_max: ELECTION_MS_MAX * times,
        // `compaction` has them made.
        snapshot_policy: SnapshotPolicy::Never,
        // Nothing by itself: `upkeep` purges, and keeps what the older snapshot needs.
        max_in_snapshot_log_to_keep: u64::MAX,
        enable_pre_vote: Some(true),
        // A restart is a new term: no server leads without having been elected since it started.
        enable_leader_restore: Some(false),
        // `pulse` starts it when something is to be timed.
        enable_tick: false,
        ..openraft::Config::default()
    }
    .validate()
    .map_err(|e| OpenError::Refused(format!("Raft settings: {e}")))
}
