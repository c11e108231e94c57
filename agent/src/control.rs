//! What an edge may ask of the root: leave, reload. The root owns the other end and answers each
//! order once it is carried out; edges hold a clonable handle and know nothing else of the root.

use tokio::sync::{mpsc, oneshot};

/// Orders waiting at once; one more is refused.
const ORDERS: usize = 8;

/// An order and where its answer goes.
#[derive(Debug)]
pub enum Order {
    /// Leave the pool and stop. `lose_quorum` insists although the servers that remain cannot decide.
    Leave { lose_quorum: bool, answer: oneshot::Sender<Result<(), Refused>> },
    /// Read the configuration again, as a hang-up does.
    Reload { answer: oneshot::Sender<Result<(), Refused>> },
}

/// The order was not carried out, nothing changed; the text says why and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// The edges' end.
#[derive(Clone, Debug)]
pub struct Control {
    orders: mpsc::Sender<Order>,
}

impl Control {
    pub fn new() -> (Self, mpsc::Receiver<Order>) {
        let (orders, rx) = mpsc::channel(ORDERS);
        (Self { orders }, rx)
    }

    /// Returns once the agent has left the pool; it stops right after.
    pub async fn leave(&self, lose_quorum: bool) -> Result<(), Refused> {
        self.order(|answer| Order::Leave { lose_quorum, answer }).await
    }

    /// Returns once the new configuration is in force.
    pub async fn reload(&self) -> Result<(), Refused> {
        self.order(|answer| Order::Reload { answer }).await
    }

    async fn order(&self, make: impl FnOnce(oneshot::Sender<Result<(), Refused>>) -> Order) -> Result<(), Refused> {
        let (answer, answered) = oneshot::channel();
        self.orders.try_send(make(answer)).map_err(|problem| match problem {
            mpsc::error::TrySendError::Full(_) => Refused(format!("{ORDERS} orders are waiting already")),
            mpsc::error::TrySendError::Closed(_) => Refused("the agent is stopping".to_owned()),
        })?;
        answered.await.unwrap_or_else(|_| Err(Refused("the agent is stopping".to_owned())))
    }
}
