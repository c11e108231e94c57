//! What operators ask of Raft, and a server that leaves: carried out here on the leader, else asked of
//! the leader, who may change meanwhile.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::event::{RaftState, Role};
use tokio::time::timeout;
use uuid::Uuid;

use super::message::{Asked, FORMAT, Question, Told, id_bytes};
use super::node::Raft;
use super::servers::ChangeError;
use crate::clock;
use crate::rpc::{Code, Error, Lane, Service, payload};

/// A change takes two entries; a transfer waits for another leader.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Before another try when nobody leads, or another change is on its way.
const AGAIN: Duration = Duration::from_millis(50);

/// What may be asked of the leader. New ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Take the server with this ID out of the configuration.
    Remove(u128),
    /// Hand the leadership to this voter, or to the one that is furthest.
    Transfer(Option<u128>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Operated {
    /// For a transfer, the name of the new leader.
    Done(String),
    NotLeader,
    Busy,
    Refused(String),
    Unknown(String),
}

impl From<Result<String, ChangeError>> for Operated {
    fn from(result: Result<String, ChangeError>) -> Self {
        match result {
            Ok(name) => Self::Done(name),
            Err(ChangeError::NotLeader) => Self::NotLeader,
            Err(ChangeError::Busy) => Self::Busy,
            Err(ChangeError::Refused(text)) => Self::Refused(text),
            Err(ChangeError::Unknown(text)) => Self::Unknown(text),
        }
    }
}

impl From<Operated> for Result<String, ChangeError> {
    fn from(operated: Operated) -> Self {
        match operated {
            Operated::Done(name) => Ok(name),
            Operated::NotLeader => Err(ChangeError::NotLeader),
            Operated::Busy => Err(ChangeError::Busy),
            Operated::Refused(text) => Err(ChangeError::Refused(text)),
            Operated::Unknown(text) => Err(ChangeError::Unknown(text)),
        }
    }
}

impl Raft {
    /// On any server; holds for `hold` while nobody leads or another change is on its way.
    pub async fn operate(&self, operation: Operation, hold: Duration) -> Result<String, ChangeError> {
        let until = clock::now() + hold;
        let mut changes = self.state();
        loop {
            let state = changes.borrow_and_update().clone();
            let result = match leader_of(&state) {
                Some(_) if state.role == Role::Leader => self.operate_here(operation).await,
                Some((id, address)) => self.ask_leader(id, address, operation).await,
                None => Err(ChangeError::NotLeader),
            };
            match result {
                // Nothing changed.
                Err(error @ (ChangeError::NotLeader | ChangeError::Busy)) if clock::now() < until => {
                    // Raft has ended here: nothing will change any more.
                    if let Ok(Err(_)) = timeout(AGAIN, changes.changed()).await {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    /// As the leader, or not at all. A leader that shall go hands over first, and another removes it.
    pub(super) async fn operate_here(&self, operation: Operation) -> Result<String, ChangeError> {
        match operation {
            Operation::Remove(id) if Uuid::from_u128(id) == self.id() => {
                self.transfer(None).await?;
                Err(ChangeError::NotLeader)
            }
            Operation::Remove(id) => self.remove(Uuid::from_u128(id)).await.map(|()| String::new()),
            Operation::Transfer(to) => self.transfer(to.map(Uuid::from_u128)).await,
        }
    }

    async fn ask_leader(&self, id: Uuid, at: SocketAddr, operation: Operation) -> Result<String, ChangeError> {
        let asked = Asked { to: id_bytes(id.into()), question: Question::Operate(operation) };
        let asked = payload::encode(FORMAT, &asked);
        match self.pool().call(at, Lane::Urgent, Service::Raft, asked, ANSWER_WITHIN).await {
            Ok(answer) => match payload::decode(FORMAT, &answer) {
                Ok(Told::Operated(operated)) => operated.into(),
                Ok(_) => Err(ChangeError::Unknown("another answer than asked for".to_owned())),
                Err(error) => Err(ChangeError::Unknown(error.to_string())),
            },
            Err(Error::NeverSent { .. }) => Err(ChangeError::NotLeader),
            Err(Error::Refused { refusal, .. }) if refusal.code == Code::WrongServer => Err(ChangeError::NotLeader),
            Err(error) => Err(ChangeError::Unknown(error.to_string())),
        }
    }
}

fn leader_of(state: &RaftState) -> Option<(Uuid, SocketAddr)> {
    let leader = state.leader_id.as_ref()?;
    let peer = state.peers.iter().find(|peer| peer.id == *leader)?;
    Some((peer.id.parse().ok()?, peer.address.parse().ok()?))
}
