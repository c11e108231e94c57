//! Requests between agents on 8300: many at once over one connection, each with a deadline.
//!
//! The first byte of a connection names its protocol, as Consul's does: 0 to 7 are Consul's, ours is
//! [`wire::PROTOCOL`]. The root starts [`serve`] with a handler for each [`Service`] and hands a
//! [`Pool`] to whoever asks others. What a payload means is its service's affair.

mod link;
pub mod payload;
mod pool;
mod server;
#[cfg(test)]
mod tests;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::moment::Moment;

pub use self::link::Link;
pub use self::pool::Pool;
#[cfg(test)]
pub(crate) use self::pool::Route;
pub use self::server::serve;
pub use self::wire::FRAME_BYTES_MAX;

/// What a request is for. New ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// openraft's messages.
    Raft = 1,
    /// Reads and writes that another server shall answer.
    Backend = 2,
    /// The event stream of another agent.
    Events = 3,
    /// Who forms the cluster.
    Bootstrap = 4,
}

impl Service {
    const ALL: [Self; 4] = [Self::Raft, Self::Backend, Self::Events, Self::Bootstrap];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|service| *service as u8 == byte)
    }
}

/// Two connections to one address, so that the small and urgent never waits behind the large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Votes and heartbeats.
    Urgent = 0,
    /// Everything else.
    Bulk = 1,
}

impl Lane {
    fn of(byte: u8) -> Option<Self> {
        [Self::Urgent, Self::Bulk].into_iter().find(|lane| *lane as u8 == byte)
    }
}

/// A request as its service gets it.
#[derive(Debug)]
pub struct Call {
    pub service: Service,
    pub lane: Lane,
    /// Where the connection came from; its port says nothing.
    pub peer: SocketAddr,
    /// After this nobody waits for the answer any more, and the handler is dropped.
    pub deadline: Moment,
    pub payload: Bytes,
}

/// Why a request was not carried out, as the one who refused it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Refusal {
    pub code: Code,
    pub text: String,
}

impl Refusal {
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// What the one who asked may do about a refusal. Nothing changed at the other end, but for
/// [`Code::Failed`] and [`Code::Other`], of which that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Code {
    /// Not served there, or not yet.
    #[error("no such service")]
    NoService,
    /// Too many at once; another try later may do.
    #[error("too busy")]
    Busy,
    /// The payload does not decode.
    #[error("malformed request")]
    Malformed,
    /// The answer is larger than a frame may be.
    #[error("answer too large")]
    TooLarge,
    /// The agent there is ending.
    #[error("stopping")]
    Stopping,
    /// Meant for another server than the one at that address.
    #[error("wrong server")]
    WrongServer,
    /// It began and did not end well.
    #[error("failed")]
    Failed,
    /// Of a later version.
    #[error("refused with code {0}")]
    Other(u8),
}

pub type Reply = Result<Bytes, Refusal>;

/// Answers the requests of one service; dropped at the deadline, and when nobody waits any more.
pub type Handler = Arc<dyn Fn(Call) -> BoxFuture<'static, Reply> + Send + Sync>;

/// What an agent serves.
pub type Handlers = Vec<(Service, Handler)>;

/// Why a call has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Not a byte of it left: safe to try again, here or elsewhere.
    #[error("not sent to {address}: {reason}")]
    NeverSent { address: SocketAddr, reason: Unsent },
    /// Sent, and the connection ended before the answer: what became of it is not known.
    #[error("the connection to {0} ended before its answer")]
    Closed(SocketAddr),
    /// Sent, and no answer by the deadline: what becomes of it is not known.
    #[error("no answer from {0} in time")]
    TimedOut(SocketAddr),
    /// Answered with a refusal.
    #[error("{address} refused: {refusal}")]
    Refused { address: SocketAddr, refusal: Refusal },
}

/// Why a call was never sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    #[error("{0}")]
    Dial(DialError),
    #[error("the deadline passed before its turn came")]
    Deadline,
    #[error("the connection ended before its turn came")]
    Closed,
    #[error("{0} requests are on their way there already")]
    TooMany(usize),
    #[error("{0} bytes are more than a frame may have")]
    TooLarge(usize),
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The machine is there and nobody listens: the process is gone.
    #[error("connection refused")]
    Refused,
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
    /// Closed before it said who it is: too many connections there, or it is just ending.
    #[error("closed before it said what it speaks")]
    Closed,
    /// Speaks something else, or no version that we do.
    #[error("{0}")]
    Protocol(String),
    #[error("{0}")]
    Io(String),
    /// This agent ends.
    #[error("this agent is stopping")]
    Stopping,
}

/// Milliseconds and counts the root decides.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until a new connection has said what it speaks (`limits.rpc_handshake_timeout`).
    pub handshake: Duration,
    /// Connections of one address (`limits.rpc_max_conns_per_client`); 0: any number.
    pub connections_of_one_max: usize,
}
