//! What other servers of Raft ask of this one: their messages to openraft and its answers back. Votes
//! that were asked for here are told to `ballots`. The root hands [`Raft::handler`] to `rpc`.

use std::sync::Arc;

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver as _;
use openraft::raft::{TransferLeaderError, TransferLeaderRequest, VoteRequest};
use openraft::{AnyError, Snapshot};
use tokio::sync::Mutex;

use super::ballots::{Ballots, reason};
use super::file::blocking;
use super::heard::Heard;
use super::incoming::{Incoming, Taken};
use super::message::{
    Asked, Chunk, ChunkTold, FORMAT, Question, Told, TransferRecord, TransferTold, VoteTold, id_bytes,
};
use super::node::{Core, Raft};
use super::promise::Promise;
use super::record::DecodeError;
use super::types::{Config, ServerId, Vote};
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
                // Before its effect is seen. A leader of the past is answered with a later term.
                if request.vote.leader_id.term >= self.core.metrics().borrow_watched().current_term {
                    self.heard.note(request.vote.leader_id.term, clock::now());
                }
                let answer = self.core.append_entries(request).await.map_err(failed)?;
                Told::Append(answer.into())
            }
            Question::Vote(asked) => Told::Vote(self.vote(asked.into(), false).await?),
            Question::PreVote(asked) => Told::Vote(self.vote(asked.into(), true).await?),
            Question::Transfer(record) => Told::Transfer(self.transfer(record).await?),
            Question::Snapshot(chunk) => Told::Snapshot(self.snapshot(chunk).await?),
            Question::Operate(operation) => Told::Operated(self.raft.operate_here(operation).await.into()),
        };
        Ok::<Bytes, Refusal>(payload::encode(FORMAT, &told))
    }

    async fn vote(&self, request: VoteRequest<Config>, is_pre_vote: bool) -> Result<VoteTold, Refusal> {
        if let Some(why) = self.may_not_vote(&request) {
            self.ballots.was_asked(&request, false, &why, is_pre_vote);
            return Err(Refusal::new(Code::Failed, why));
        }
        let response =
            if is_pre_vote { self.core.pre_vote(request.clone()).await } else { self.core.vote(request.clone()).await };
        let response = response.map_err(failed)?;
        let why = reason(&request, &response, |id| self.ballots.name_of(id));
        self.ballots.was_asked(&request, response.vote_granted, &why, is_pre_vote);
        Ok(VoteTold::new(&response, why))
    }

    /// A server without a log does not know what it may have promised before: it votes only for one
    /// with whom it agreed to form a cluster.
    fn may_not_vote(&self, request: &VoteRequest<Config>) -> Option<String> {
        let is_empty = self.core.metrics().borrow_watched().last_log_index.is_none();
        let candidate = request.vote.leader_id.voted_for;
        (is_empty && !self.promise.includes(candidate))
            .then(|| "its log is empty: remove it from the configuration and let it join again".to_owned())
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
        let mut incoming = Arc::clone(&self.incoming).lock_owned().await;
        let taken = blocking(move || incoming.take(&chunk).map(|taken| (taken, incoming))).await;
        let (taken, mut incoming) = taken.map_err(failed)?;
        match taken {
            Taken::Have(have) => Ok(ChunkTold::Have(have)),
            Taken::Damaged => Ok(ChunkTold::Damaged),
            Taken::Whole(body) => {
                let snapshot = Snapshot { meta: body.openraft_meta(), snapshot: body };
                let installed = self.core.install_full_snapshot(vote, snapshot).await;
                let installed = installed.map_err(|fatal| failed(AnyError::new(&fatal)))?;
                if let Err(error) = blocking(move || incoming.forget()).await {
                    tracing::warn!(target: "agent.server.raft", %error, "cannot remove what a snapshot came in");
                }
                Ok(ChunkTold::Installed((&installed.vote).into()))
            }
        }
    }
}
