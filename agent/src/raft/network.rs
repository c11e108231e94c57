//! openraft's messages to other servers, over `rpc`: votes and heartbeats on the urgent lane, entries
//! and snapshots on the other. What votes say is told to `ballots`, who came without a log to `lost`;
//! `serving` is the other side. A stream of entries that cannot go on ends with an error, so that openraft
//! looks anew what that peer needs.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{Backoff, RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, OptionalSend};

use super::ballots::{Ballots, Seat};
use super::file::blocking;
use super::log::LogStore;
use super::lost::Lost;
use super::message::{Asked, Chunk, ChunkTold, FORMAT, FileId, Question, Told, TransferRecord, TransferTold, id_bytes};
use super::snapshot::Body;
use super::types::{Config, Entry, LogId, Payload, Peer, ServerId, Vote};
use super::weight;
use crate::rpc::{self, Lane, Pool, Service, payload};

/// Bytes of entries in one message, but for a single entry that is larger.
const APPEND_BYTES_MAX: usize = 1 << 20;
/// For an answer to entries: the other end has to sync them, on a disk that may be slow.
const APPEND_WITHIN: Duration = Duration::from_secs(5);
pub(super) const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_WITHIN: Duration = Duration::from_secs(10);
/// The last piece is answered when the state is loaded.
const INSTALL_WITHIN: Duration = Duration::from_secs(120);
const WELCOME_WITHIN: Duration = Duration::from_secs(1);
/// A server that cannot be reached is tried again this often.
const AGAIN: Duration = Duration::from_millis(50);

/// Makes one client for each peer and purpose.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) id: ServerId,
    pub(crate) pool: Pool,
    pub(crate) ballots: Ballots,
    pub(crate) lost: Lost,
    /// What entries are sent from.
    pub(crate) log: LogStore,
    /// In pieces of how many bytes a snapshot is sent.
    pub(crate) chunk_bytes: usize,
}

impl RaftNetworkFactory<Config> for Network {
    type Network = PeerClient;

    async fn new_client(&mut self, target: ServerId, node: &Peer) -> PeerClient {
        PeerClient { target, address: node.address.clone(), is_for_heartbeats: false, network: self.clone() }
    }

    async fn new_heartbeat_client(&mut self, target: ServerId, node: &Peer) -> PeerClient {
        PeerClient { is_for_heartbeats: true, ..self.new_client(target, node).await }
    }
}

/// The way to one peer.
pub(crate) struct PeerClient {
    target: ServerId,
    address: String,
    /// Or else a stream of entries, which has empty messages too.
    is_for_heartbeats: bool,
    network: Network,
}

type RpcError = RPCError<Config>;

impl PeerClient {
    async fn ask(&self, lane: Lane, question: Question, within: Duration) -> Result<Told, Failure> {
        let Ok(address) = self.address.parse::<SocketAddr>() else {
            return Err(Failure::Gone(format!("{} is no address and port", self.address)));
        };
        let asked = payload::encode(FORMAT, &Asked { to: id_bytes(self.target), question });
        let answer = self.network.pool.call(address, lane, Service::Raft, asked, within).await;
        let bytes = answer.map_err(|error| match error {
            rpc::Error::TimedOut(_) => Failure::Late(within),
            rpc::Error::NeverSent { .. } | rpc::Error::Closed(_) | rpc::Error::Refused { .. } => {
                Failure::Gone(error.to_string())
            }
        })?;
        payload::decode(FORMAT, &bytes).map_err(|error| Failure::Strange(error.to_string()))
    }

    /// A learner that said that it has no log is told that it is welcome. Not in the call in which it said
    /// so: openraft gives that up after one heartbeat, and a way to and fro may take most of it.
    async fn welcome(&self, vote: &Vote) {
        let lost = &self.network.lost;
        if lost.owes_welcome(self.target) {
            let asked = self.ask(Lane::Urgent, Question::Welcome(vote.into()), WELCOME_WITHIN).await;
            if asked.is_ok() {
                lost.has_welcomed(self.target);
            }
        }
    }

    /// The other end has no log. As a learner it is welcome; as a voter it is lost.
    fn is_empty(&self, vote: &Vote) -> Failure {
        let Network { ballots, lost, .. } = &self.network;
        let (id, term) = (self.target.to_string(), vote.leader_id.term);
        let name = ballots.name_of(&id);
        match ballots.seat(&id) {
            Seat::Learner => {
                lost.forget(self.target);
                lost.owe_welcome(self.target);
                Failure::Gone(format!("{name} has no log yet, and is told to take this one"))
            }
            Seat::Voter if lost.note(self.target, term) => {
                tracing::error!(
                    target: "agent.server.raft",
                    { peer = %id, %name },
                    "a voter came back without its Raft log: it neither votes nor counts, and is removed and added \
                     again as soon as the other voters have a quorum without it"
                );
                Failure::Gone(format!("{name} has lost its log"))
            }
            Seat::Voter => Failure::Gone(format!("{name} has lost its log")),
            Seat::None => Failure::Gone(format!("{name} has no log and no seat yet")),
        }
    }

    /// What follows `prev` is gone: the stream would send nothing for ever. Once it has failed openraft sends
    /// a snapshot; there it looks what is purged, and nowhere later.
    fn check_is_kept(&self, prev: Option<&LogId>) -> Result<(), Failure> {
        match self.network.log.purged() {
            Some(purged) if prev.is_none_or(|prev| prev.index < purged.index) => {
                Err(Failure::Strange(format!("entries up to {} are purged: a snapshot is needed", purged.index)))
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, action: RPCTypes, failure: Failure) -> RpcError {
        match failure {
            Failure::Late(timeout) => Timeout { action, id: self.network.id, target: self.target, timeout }.into(),
            Failure::Gone(text) => Unreachable::new(&AnyError::error(text)).into(),
            Failure::Strange(text) => NetworkError::new(&AnyError::error(text)).into(),
        }
    }

    async fn ask_vote(
        &self,
        request: VoteRequest<Config>,
        within: Duration,
        is_pre_vote: bool,
    ) -> Result<VoteResponse<Config>, RpcError> {
        let (ballots, voter) = (&self.network.ballots, self.target.to_string());
        ballots.asks(&request, &voter, is_pre_vote);
        let asked = (&request).into();
        let question = if is_pre_vote { Question::PreVote(asked) } else { Question::Vote(asked) };
        match self.ask(Lane::Urgent, question, within).await {
            Ok(Told::Vote(told)) => {
                let reason = told.reason.clone();
                let response = VoteResponse::from(told);
                ballots.answered(&request, &voter, response.vote_granted, &reason, is_pre_vote);
                Ok(response)
            }
            Ok(_) => Err(self.failed(RPCTypes::Vote, Failure::Strange("another answer than asked for".to_owned()))),
            Err(failure) => Err(self.failed(RPCTypes::Vote, failure)),
        }
    }

    /// Sends the file piece by piece, from where the other end has it.
    async fn send_file(&self, vote: &Vote, body: &Body) -> Result<Vote, StreamingError<Config>> {
        let file = body.file_id().map_err(|error| self.unreadable(&error))?;
        let (mut offset, mut bytes) = (0, Vec::new());
        loop {
            let is_last = !bytes.is_empty() && offset + bytes.len() as u64 == file.size;
            let within = if is_last { INSTALL_WITHIN } else { CHUNK_WITHIN };
            let chunk = Chunk { vote: vote.into(), file, offset, bytes };
            let have = match self.ask(Lane::Bulk, Question::Snapshot(chunk), within).await {
                Ok(Told::Snapshot(ChunkTold::Have(have))) => have,
                Ok(Told::Snapshot(ChunkTold::Installed(vote) | ChunkTold::HigherVote(vote))) => return Ok(vote.into()),
                Ok(Told::Snapshot(ChunkTold::Damaged)) => {
                    let text = format!("a snapshot came to server {} damaged, it is sent again", self.target);
                    tracing::warn!(target: "agent.server.raft", "{text}");
                    return Err(Unreachable::new(&AnyError::error(text)).into());
                }
                Ok(Told::Empty) => return Err(self.streaming(self.is_empty(vote))),
                Ok(_) => return Err(self.streaming(Failure::Strange("another answer than asked for".to_owned()))),
                Err(failure) => return Err(self.streaming(failure)),
            };
            offset = have.min(file.size);
            bytes = self.read(body, file, offset).await?;
        }
    }

    async fn read(&self, body: &Body, file: FileId, offset: u64) -> Result<Vec<u8>, StreamingError<Config>> {
        let length = usize::try_from(file.size - offset).unwrap_or(usize::MAX).min(self.network.chunk_bytes);
        let body = body.clone();
        let read = blocking(move || body.piece(offset, length)).await;
        read.map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &(impl std::error::Error + 'static)) -> StreamingError<Config> {
        tracing::error!(target: "agent.server.raft", peer = %self.target, %error, "cannot read the snapshot to send");
        NetworkError::new(error).into()
    }

    fn streaming(&self, failure: Failure) -> StreamingError<Config> {
        match failure {
            Failure::Late(timeout) => {
                Timeout { action: RPCTypes::InstallSnapshot, id: self.network.id, target: self.target, timeout }.into()
            }
            Failure::Gone(text) => Unreachable::new(&AnyError::error(text)).into(),
            Failure::Strange(text) => NetworkError::new(&AnyError::error(text)).into(),
        }
    }
}

/// Why there is no answer that means anything.
enum Failure {
    Late(Duration),
    Gone(String),
    Strange(String),
}

/// How many of `entries` go into one message; at least one if there is any.
fn portion(entries: &[Entry]) -> usize {
    let mut bytes = 0_usize;
    let fits = |entry: &&Entry| {
        let weight = match &entry.payload {
            Payload::Normal(proposal) => weight(&proposal.command) as usize,
            Payload::Blank | Payload::Membership(_) => 512,
        };
        bytes = bytes.saturating_add(weight);
        bytes <= APPEND_BYTES_MAX
    };
    entries.iter().take_while(fits).count().max(1).min(entries.len())
}

impl RaftNetworkV2<Config> for PeerClient {
    type SnapshotData = Body;

    async fn append_entries(
        &mut self,
        mut rpc: AppendEntriesRequest<Config>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Config>, RpcError> {
        let all = rpc.entries.len();
        if all == 0 && !self.is_for_heartbeats {
            let kept = self.check_is_kept(rpc.prev_log_id.as_ref());
            kept.map_err(|failure| self.failed(RPCTypes::AppendEntries, failure))?;
        }
        let (lane, within) = match all {
            0 => (Lane::Urgent, option.hard_ttl()),
            _ => (Lane::Bulk, APPEND_WITHIN),
        };
        let portion = portion(&rpc.entries);
        rpc.entries.truncate(portion);
        let sent_upto = rpc.entries.last().map(|entry| entry.log_id);
        let vote = rpc.vote;
        self.welcome(&vote).await;
        match self.ask(lane, Question::Append(rpc.into()), within).await {
            Ok(Told::Append(told)) => {
                self.network.lost.forget(self.target);
                Ok(match told.into() {
                    // openraft takes it for an unfinished message, and what it had last sent before the snapshot
                    // for the rest of it.
                    AppendEntriesResponse::PartialSuccess(None) if !self.is_for_heartbeats => {
                        let failure = Failure::Strange("it is still installing a snapshot".to_owned());
                        return Err(self.failed(RPCTypes::AppendEntries, failure));
                    }
                    AppendEntriesResponse::Success if portion < all => AppendEntriesResponse::PartialSuccess(sent_upto),
                    response => response,
                })
            }
            Ok(Told::Empty) => Err(self.failed(RPCTypes::AppendEntries, self.is_empty(&vote))),
            Ok(_) => {
                Err(self.failed(RPCTypes::AppendEntries, Failure::Strange("another answer than asked for".to_owned())))
            }
            Err(failure) => Err(self.failed(RPCTypes::AppendEntries, failure)),
        }
    }

    async fn vote(&mut self, rpc: VoteRequest<Config>, option: RPCOption) -> Result<VoteResponse<Config>, RpcError> {
        self.ask_vote(rpc, option.hard_ttl(), false).await
    }

    // openraft's default grants, so that a peer that nobody reached would count.
    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Config>,
        option: RPCOption,
    ) -> Result<VoteResponse<Config>, RpcError> {
        self.ask_vote(rpc, option.hard_ttl(), true).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Config>,
        snapshot: SnapshotOf<Config, Body>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Config>, StreamingError<Config>> {
        let body = snapshot.snapshot;
        self.welcome(&vote).await;
        tokio::select! {
            biased;
            sent = self.send_file(&vote, &body) => Ok(SnapshotResponse::new(sent?)),
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Config>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Config>, RpcError> {
        let record = TransferRecord {
            from: req.from_leader().into(),
            to: id_bytes(*req.to_node_id()),
            last: req.last_log_id().map(|id| (*id).into()),
        };
        match self.ask(Lane::Urgent, Question::Transfer(record), option.hard_ttl()).await {
            Ok(Told::Transfer(told)) => Ok(match told {
                TransferTold::Accepted => Ok(()),
                TransferTold::VoteChanged(actual) => {
                    Err(TransferLeaderError::VoteChanged { expected: *req.from_leader(), actual: actual.into() })
                }
                TransferTold::NotFlushed(actual) => Err(TransferLeaderError::LogNotFlushed {
                    expected: req.last_log_id().copied(),
                    actual: actual.map(Into::into),
                }),
            }),
            Ok(_) => {
                Err(self.failed(RPCTypes::TransferLeader, Failure::Strange("another answer than asked for".to_owned())))
            }
            Err(failure) => Err(self.failed(RPCTypes::TransferLeader, failure)),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(AGAIN)))
    }
}
