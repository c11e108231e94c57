//! Streams: one message each way, whole, within a time and a size.
//!
//! Called by `driver`, which decides nothing here: bytes in, bytes out.
//! Anybody may connect: the number of streams at once, their time and their length are limited.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::seal::Seal;
use super::traffic::{LABELLED, Traffic};
use crate::cut;
use crate::swim::codec::kind;
use crate::swim::stream::{Scan, plain, plain_within};

/// For somebody else's stream to say what it has to say, and to take our answer. As memberlist's.
pub(super) const STREAM_TIME_MAX: Duration = Duration::from_secs(10);

/// A state of some thousand members. Longer ones, received or inflated, wait for one of a few places: else
/// strangers could make us hold a hundred of the longest.
const SMALL_BYTES: usize = 256 << 10;

/// Why a stream of ours brought nothing.
#[derive(Debug)]
pub(super) enum DialFailure {
    Connect(io::Error),
    Exchange(io::Error),
    /// The time was over.
    Late,
}

impl DialFailure {
    /// The host is there, and says that nobody listens.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// Connects, sends, and reads the whole answer.
pub(super) async fn ask(
    to: SocketAddr,
    bytes: &[u8],
    limit: Duration,
    seal: &Seal,
    traffic: &Traffic,
) -> Result<Received, DialFailure> {
    let exchange = async {
        cut::passage(to.ip()).await;
        let mut stream = TcpStream::connect(to).await.map_err(DialFailure::Connect)?;
        // A lost answer of an old stream must not delay the new one.
        stream.set_nodelay(true).map_err(DialFailure::Exchange)?;
        traffic.tcp_connect.increment(1);
        stream.write_all(bytes).await.map_err(DialFailure::Exchange)?;
        traffic.tcp_sent.increment(bytes.len() as u64);
        read_message(&mut stream, seal, traffic, &traffic.answers).await.map_err(DialFailure::Exchange)
    };
    timeout(limit, exchange).await.unwrap_or(Err(DialFailure::Late))
}

/// Reads until there is a whole message, opens and inflates it; a long one waits for one of `places`.
pub(super) async fn read_message(
    stream: &mut TcpStream,
    seal: &Seal,
    traffic: &Traffic,
    places: &Arc<Semaphore>,
) -> io::Result<Received> {
    let mut bytes = Vec::with_capacity(4096);
    let mut scan = Scan::default();
    let mut large = None;
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if bytes[0] == kind::LABEL {
            // Newer memberlists name their pool so; ours has no name, and takes none that has.
            metrics::counter!(LABELLED).increment(1);
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a label, of another pool"));
        }
        if large.is_none() && bytes.len() > SMALL_BYTES {
            large = Arc::clone(places).acquire_owned().await.ok();
        }
        if scan.is_whole(&bytes).map_err(|_| invalid())? {
            traffic.tcp_received.increment(bytes.len() as u64);
            let opened = seal.open_stream(bytes).map_err(|_| invalid())?;
            if let Ok(inflated) = plain_within(&opened, SMALL_BYTES) {
                return Ok(Received { bytes: inflated.unwrap_or(opened), _large: large });
            }
            if large.is_none() {
                large = Arc::clone(places).acquire_owned().await.ok();
            }
            let bytes = plain(opened).map_err(|_| invalid())?;
            return Ok(Received { bytes, _large: large });
        }
    }
}

/// A message, and the place among the large ones that it takes while it is kept.
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    _large: Option<OwnedSemaphorePermit>,
}

pub(super) async fn write_answer(stream: &mut TcpStream, bytes: &[u8], traffic: &Traffic) -> io::Result<()> {
    stream.write_all(bytes).await?;
    traffic.tcp_sent.increment(bytes.len() as u64);
    stream.shutdown().await
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no message of a gossip pool")
}
