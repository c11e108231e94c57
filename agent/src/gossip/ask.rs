//! User events and queries, for those who hold the pool's handle, and what of them reaches us.
//! The state machine tells and gathers; here is who waits for which outcome.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};

use super::Gossip;
use super::driver::Request;
use super::journal::{self, Scope};
use crate::swim::query::{Answers, AskRefusal, Asked, Question};
use crate::swim::user_event::{FireRefusal, UserEvent};
use crate::swim::{Notice, Ticket};

/// What others, or we ourselves, told the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Event(UserEvent),
    /// A query that nobody here answers.
    Query(Asked),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("{0}")]
    Refused(#[from] AskRefusal),
    #[error("the agent is stopping")]
    Stopping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FireError {
    #[error("{0}")]
    Refused(#[from] FireRefusal),
    #[error("the agent is stopping")]
    Stopping,
}

pub(super) type Fired = oneshot::Sender<Result<(), FireRefusal>>;
pub(super) type Answered = oneshot::Sender<Result<Answers, AskRefusal>>;

/// The event that a server fires which begins to lead; its name is the payload.
pub const NEW_LEADER: &str = "consul:new-leader";

impl Gossip {
    /// Fires a user event: it is on its way, and we have heard it ourselves, when this returns.
    pub async fn fire(&self, name: String, payload: Vec<u8>) -> Result<(), FireError> {
        let (done, outcome) = oneshot::channel();
        let sent = self.requests.send(Request::Fire { name, payload, done }).await;
        sent.map_err(|_| FireError::Stopping)?;
        Ok(outcome.await.map_err(|_| FireError::Stopping)??)
    }

    /// Asks everybody, and returns when the query's time is over.
    pub async fn ask(&self, question: Question) -> Result<Answers, AskError> {
        let (done, outcome) = oneshot::channel();
        let sent = self.requests.send(Request::Ask { question, done }).await;
        sent.map_err(|_| AskError::Stopping)?;
        Ok(outcome.await.map_err(|_| AskError::Stopping)??)
    }
}

/// Who waits for what, in the pool's task.
pub(super) struct Waiting {
    scope: Scope,
    fired: BTreeMap<Ticket, Fired>,
    asked: BTreeMap<Ticket, Answered>,
    heard: mpsc::Sender<Heard>,
}

impl Waiting {
    pub(super) fn new(scope: Scope, heard: mpsc::Sender<Heard>) -> Self {
        Self { scope, fired: BTreeMap::new(), asked: BTreeMap::new(), heard }
    }

    pub(super) fn fire(&mut self, ticket: Ticket, done: Fired) {
        self.fired.insert(ticket, done);
    }

    pub(super) fn ask(&mut self, ticket: Ticket, done: Answered) {
        self.asked.insert(ticket, done);
    }

    /// Gives a notice to whom it is for. Who asked and went away is not told.
    pub(super) fn tell(&mut self, notice: Notice) {
        match notice {
            Notice::FireEnded { ticket, outcome } => {
                if let Some(done) = self.fired.remove(&ticket) {
                    let _ = done.send(outcome);
                }
            }
            Notice::AskEnded { ticket, outcome } => {
                if let Some(done) = self.asked.remove(&ticket) {
                    let _ = done.send(outcome);
                }
            }
            Notice::UserEvent(event) => self.pass(Heard::Event(event)),
            Notice::Query(asked) => self.pass(Heard::Query(asked)),
            _ => {}
        }
    }

    fn pass(&self, heard: Heard) {
        // A pool's task must not wait for its readers.
        if self.heard.try_send(heard).is_err() && !self.heard.is_closed() {
            metrics::counter!("quorate.gossip.user_events_dropped").increment(1);
            journal::user_event_dropped(self.scope);
        }
    }
}
