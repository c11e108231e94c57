//! What other servers of Raft ask of this one: their messages to openraft and its answers back. Votes
//! that were asked for here are told to `ballots`. The root hands [`Raft::handler`] to `rpc`.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver as _;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::{AnyError, Snapshot};
use tokio::sync::Mutex;

use super::ballots::{Ballots, reason};
use super::file::blocking;
use super::heard::Heard;
use super::incoming::{Incoming, Taken};
use super::lost::{Newcomer, contradiction};
use super::message::{
    Asked, Chunk, ChunkTold, FORMAT, Question, Told, TransferRecord, TransferTold, VoteTold, id_bytes,
};
use super::node::{Core, Raft};
use super::promise::Promise;
use super::record::DecodeError;
use super::types::{Config, LogId, ServerId, Vote, shown_id};
use crate::clock;
use crate::rpc::{Call, Code, Handler, Refusal, Reply, payload};

/// What a server answers with.
pub(crate) struct Serving {
    pub(crate) raft: Raft,
    pub(crate) id: ServerId,
    pub(crate) core: Core,
    pub(crate) ballots: Ballots,
    pub(crate) incoming: Arc<Mutex<Incoming>>,
    pub(crate) promise: Promise,
    pub(crate) heard: Heard,
    pub(crate) newcomer: Newcomer,
    /// A snapshot that came is being made this server's state.
    pub(crate) installs: AtomicBool,
}

/// True while it lives; whoever sent a snapshot may go away meanwhile.
struct Installs<'a>(&'a AtomicBool);

impl<'a> Installs<'a> {
    fn new(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::Relaxed);
        Self(flag)
    }
}

impl Drop for Installs<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::new(Code::Malformed, error.to_string())
    }
}

fn failed(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::Failed, error.to_string())
}

impl Serving {
    pub(crate) fn handler(self) -> Handler {
        let this = Arc::new(self);
        Arc::new(move |call| {
            let this = Arc::clone(&this);
            Box::pin(async move { this.answer(call).await })
        })
    }

    async fn answer(&self, call: Call) -> Reply {
        let asked: Asked = payload::decode(FORMAT, &call.payload)?;
        if asked.to != id_bytes(self.id) {
            return Err(Refusal::new(Code::WrongServer, format!("this is server {}", self.id)));
        }
        let told = match asked.question {
            Question::Append(record) => {
                let request = record.into_request()?;
                if self.is_no_newcomers(&request.vote) {
                    return Ok(payload::encode(FORMAT, &Told::Empty));
                }
                self.check_entries(&request)?;
                // Before its effect is seen. A leader of the past is answered with a later term.
                if request.vote.leader_id.term >= self.core.metrics().borrow_watched().current_term {
                    self.heard.note(request.vote.leader_id.term, clock::now());
                }
                Told::Append(self.append(request).await?.into())
            }
            Question::Vote(asked) => Told::Vote(self.vote(asked.into(), false).await?),
            Question::PreVote(asked) => Told::Vote(self.vote(asked.into(), true).await?),
            Question::Transfer(record) => Told::Transfer(self.transfer(record).await?),
            Question::Snapshot(chunk) if self.is_no_newcomers(&Vote::from(chunk.vote)) => Told::Empty,
            Question::Snapshot(chunk) => Told::Snapshot(self.snapshot(chunk).await?),
            Question::Operate(operation) => Told::Operated(self.raft.operate_here(operation).await.into()),
            Question::Welcome(leader) => {
                self.newcomer.welcome(&leader.into());
                Told::Welcomed
            }
        };
        Ok::<Bytes, Refusal>(payload::encode(FORMAT, &told))
    }

    /// openraft answers entries, and heartbeats with them, only once a snapshot that came before them is
    /// installed, however long that takes. A heartbeat that it has taken in is answered meanwhile: that
    /// nothing more than before is known to match.
    async fn append(&self, request: AppendEntriesRequest<Config>) -> Result<AppendEntriesResponse<Config>, Refusal> {
        let (vote, is_heartbeat) = (request.vote, request.entries.is_empty());
        let mut answered = pin!(self.core.append_entries(request));
        if is_heartbeat && self.installs.load(Ordering::Relaxed) {
            // Behind the heartbeat in openraft's queue: its leader's time has begun anew by then.
            let taken = self.core.with_raft_state(|state| *state.vote_ref());
            tokio::select! {
                biased;
                answer = &mut answered => return answer.map_err(failed),
                ours = taken => if ours.map_err(failed)? == vote {
                    return Ok(AppendEntriesResponse::PartialSuccess(None));
                }
            }
        }
        answered.await.map_err(failed)
    }

    async fn vote(&self, request: VoteRequest<Config>, is_pre_vote: bool) -> Result<VoteTold, Refusal> {
        if let Some(why) = self.may_not_vote(&request) {
            self.ballots.was_asked(&request, false, &why, is_pre_vote);
            let ours = self.core.metrics().borrow_watched().vote;
            return Ok(VoteTold::new(&VoteResponse::new(ours, None, false), why));
        }
        let response =
            if is_pre_vote { self.core.pre_vote(request.clone()).await } else { self.core.vote(request.clone()).await };
        let response = response.map_err(failed)?;
        let is_unknown = self.ballots.is_unknown(&request.vote.leader_id.voted_for.to_string());
        let why = reason(&request, &response, is_unknown, |id| self.ballots.name_of(id));
        self.ballots.was_asked(&request, response.vote_granted, &why, is_pre_vote);
        Ok(VoteTold::new(&response, why))
    }

    /// A server without a log does not know what it may have promised before: it votes only for one
    /// with whom it agreed to form a cluster.
    fn may_not_vote(&self, request: &VoteRequest<Config>) -> Option<String> {
        self.is_stranger(&request.vote).then(|| {
            "its log is empty: it must not vote until it was removed and added again; where nobody can be elected \
             without it, recover with raft/peers.json, which raft/peers.info explains"
                .to_owned()
        })
    }

    /// Whether there is no log here, and that server is none with whom this one agreed to form a cluster.
    fn is_stranger(&self, vote: &Vote) -> bool {
        let is_empty = self.core.metrics().borrow_watched().last_log_index.is_none();
        is_empty && !self.promise.includes(vote.leader_id.voted_for)
    }

    /// Whether that leader has to say first that this server, without a log, is no voter.
    fn is_no_newcomers(&self, leader: &Vote) -> bool {
        let waits = self.is_stranger(leader) && !self.newcomer.is_welcome(leader);
        if waits && self.newcomer.is_news() {
            let leader = leader.leader_id.voted_for;
            tracing::info!(
                target: "agent.server.raft",
                { %leader },
                "this server has no Raft log: it waits for the leader to add it, anew if it was a voter before"
            );
        }
        waits
    }

    /// openraft would take it for a bug of its own.
    fn check_entries(&self, request: &AppendEntriesRequest<Config>) -> Result<(), Refusal> {
        let entries = request.entries.iter().map(|entry| entry.log_id);
        self.check(request.prev_log_id.into_iter().chain(entries))
    }

    fn check(&self, told: impl Iterator<Item = LogId>) -> Result<(), Refusal> {
        let committed = self.core.metrics().borrow_watched().local_committed;
        let Some(other) = contradiction(committed, told) else { return Ok(()) };
        let text = format!(
            "this server's Raft log and its leader's have parted before entry {}, which is another one there: stop this \
             server, empty its data directory and start it again; it then joins with the leader's data",
            shown_id(committed.as_ref())
        );
        if self.newcomer.is_news() {
            tracing::error!(target: "agent.server.raft", { entry = %other }, "{text}");
        }
        Err(Refusal::new(Code::Failed, text))
    }

    async fn transfer(&self, record: TransferRecord) -> Result<TransferTold, Refusal> {
        let from = Vote::from(record.from);
        let to = ServerId(u128::from_be_bytes(record.to));
        if to == self.id {
            let leader = self.ballots.name_of(&from.leader_id.voted_for.to_string());
            self.ballots.because(&format!("{leader} handed its leadership over"));
        }
        let request = TransferLeaderRequest::new(from, to, record.last.map(Into::into));
        let answer = self.core.handle_transfer_leader(request).await.map_err(failed)?;
        Ok(match answer {
            Ok(()) => TransferTold::Accepted,
            Err(TransferLeaderError::VoteChanged { actual, .. }) => TransferTold::VoteChanged((&actual).into()),
            Err(TransferLeaderError::LogNotFlushed { actual, .. }) => TransferTold::NotFlushed(actual.map(Into::into)),
        })
    }

    async fn snapshot(&self, chunk: Chunk) -> Result<ChunkTold, Refusal> {
        let vote = Vote::from(chunk.vote);
        let ours = self.core.metrics().borrow_watched().vote;
        if ours.leader_id.term > vote.leader_id.term {
            return Ok(ChunkTold::HigherVote((&ours).into()));
        }
        self.check(chunk.file.last.map(LogId::from).into_iter())?;
        let mut incoming = Arc::clone(&self.incoming).lock_owned().await;
        let taken = blocking(move || incoming.take(&chunk).map(|taken| (taken, incoming))).await;
        let (taken, mut incoming) = taken.map_err(failed)?;
        match taken {
            Taken::Have(have) => Ok(ChunkTold::Have(have)),
            Taken::Damaged => Ok(ChunkTold::Damaged),
            Taken::Whole(body) => {
                let snapshot = Snapshot { meta: body.openraft_meta(), snapshot: body };
                let installs = Installs::new(&self.installs);
                let installed = self.core.install_full_snapshot(vote, snapshot).await;
                drop(installs);
                let installed = installed.map_err(|fatal| failed(AnyError::new(&fatal)))?;
                if let Err(error) = blocking(move || incoming.forget()).await {
                    tracing::warn!(target: "agent.server.raft", %error, "cannot remove what a snapshot came in");
                }
                Ok(ChunkTold::Installed((&installed.vote).into()))
            }
        }
    }
}
