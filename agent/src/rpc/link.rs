//! The asking end of one connection: dials, then many calls at once over it, each answered, refused,
//! late, or told that the connection ended, and whether it had been sent by then. `pool` makes them.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::codec::{Encoder, FramedRead};
use tokio_util::sync::CancellationToken;

use super::wire::{Codec, Frame, HELLO_BYTES, hello, read_welcome};
use super::{DialError, Error, FRAME_BYTES_MAX, Lane, Refusal, Service, Unsent};
use crate::clock;
use crate::cut;
use crate::moment::Moment;
use crate::tasks::Tasks;

/// Calls on their way over one connection; one more is not sent.
pub(super) const IN_FLIGHT_MAX: usize = 4_096;
/// Frames that wait for the writer; whoever comes then waits too.
const QUEUE: usize = 256;
/// Bytes gathered into one write.
const WRITE_BYTES: usize = 256 << 10;
/// A peer that takes nothing for this long is given up.
pub(super) const STALL_MAX: Duration = Duration::from_secs(10);
/// When nothing was heard, how soon and how often the kernel asks whether the peer is there.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// What was sent and not acknowledged for this long ends the connection. The kernel alone would try again
/// at ever longer pauses, so that after a network was parted for minutes a heartbeat would wait for minutes.
const UNHEARD_MAX: Duration = Duration::from_secs(4);

/// A connection; clones are the same one, which ends with the last of them.
#[derive(Clone)]
pub struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    address: SocketAddr,
    lane: Lane,
    out: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
    next: AtomicU64,
}

struct Shared {
    waiting: Mutex<Waiting>,
    closed: CancellationToken,
}

#[derive(Default)]
struct Waiting {
    calls: HashMap<u64, Asked>,
    is_closed: bool,
}

struct Asked {
    answer: oneshot::Sender<Answer>,
    /// Its bytes may have left.
    sent: bool,
}

enum Answer {
    Reply(Bytes),
    Refused(Refusal),
    Closed { sent: bool },
}

enum Outgoing {
    Request { id: u64, service: Service, deadline: Moment, payload: Bytes },
    Cancel { id: u64 },
}

impl Link {
    /// Connects, from `source` where one is given, and agrees on a version.
    pub(super) async fn dial(
        address: SocketAddr,
        lane: Lane,
        source: Option<IpAddr>,
        within: Duration,
        tasks: &Tasks,
    ) -> Result<Self, DialError> {
        let stream = timeout(within, shake_hands(address, lane, source)).await;
        let stream = stream.map_err(|_| DialError::TimedOut(within))??;
        let (out, frames) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared { waiting: Mutex::default(), closed: CancellationToken::new() });
        let (read, write) = stream.into_split();
        let (end, kept) = (tasks.token(), Arc::clone(&shared));
        tasks.spawn("rpc link", async move {
            tokio::select! {
                () = hear(read, address, &kept) => {}
                () = say(write, address, frames, &kept) => {}
                () = end.cancelled() => {}
            }
            kept.close();
        });
        Ok(Self { inner: Arc::new(Inner { address, lane, out, shared, next: AtomicU64::new(1) }) })
    }

    /// One that only tells when it is `closed`; nothing can be asked over it.
    #[cfg(test)]
    pub(super) fn simulated(address: SocketAddr, lane: Lane, closed: CancellationToken) -> Self {
        let (out, _) = mpsc::channel(1);
        let waiting = Mutex::new(Waiting { is_closed: true, ..Waiting::default() });
        let shared = Arc::new(Shared { waiting, closed });
        Self { inner: Arc::new(Inner { address, lane, out, shared, next: AtomicU64::new(1) }) }
    }

    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    pub fn lane(&self) -> Lane {
        self.inner.lane
    }

    pub fn is_closed(&self) -> bool {
        self.inner.shared.closed.is_cancelled()
    }

    /// Returns once the connection has ended, whoever ended it.
    pub async fn closed(&self) {
        self.inner.shared.closed.cancelled().await;
    }

    /// The answer to `payload`, by `deadline`.
    pub async fn call(&self, service: Service, payload: Bytes, deadline: Moment) -> Result<Bytes, Error> {
        let inner = &*self.inner;
        let address = inner.address;
        let never = |reason| Error::NeverSent { address, reason };
        if payload.len() > FRAME_BYTES_MAX {
            return Err(never(Unsent::TooLarge(payload.len())));
        }
        let id = inner.next.fetch_add(1, Ordering::Relaxed);
        let answered = inner.shared.ask(id).map_err(never)?;
        let ticket = Ticket { inner, id };
        let asking = async {
            let request = Outgoing::Request { id, service, deadline, payload };
            // A writer that has ended has answered all that wait.
            let _ = inner.out.send(request).await;
            answered.await
        };
        match timeout(deadline.since(clock::now()), asking).await {
            Ok(Ok(Answer::Reply(payload))) => Ok(payload),
            Ok(Ok(Answer::Refused(refusal))) => Err(Error::Refused { address, refusal }),
            Ok(Ok(Answer::Closed { sent: true })) => Err(Error::Closed(address)),
            Ok(Ok(Answer::Closed { sent: false }) | Err(_)) => Err(never(Unsent::Closed)),
            Err(_) => match ticket.was_sent() {
                true => Err(Error::TimedOut(address)),
                false => Err(never(Unsent::Deadline)),
            },
        }
    }
}

/// A call's place among those that wait; given back whatever becomes of it.
struct Ticket<'l> {
    inner: &'l Inner,
    id: u64,
}

impl Ticket<'_> {
    /// Gives the place back and tells whether the request may have left.
    fn was_sent(&self) -> bool {
        let asked = self.inner.shared.lock().calls.remove(&self.id);
        let sent = asked.is_some_and(|asked| asked.sent);
        if sent {
            // Only to spare the other end work; a full queue may do without.
            let _ = self.inner.out.try_send(Outgoing::Cancel { id: self.id });
        }
        sent
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.was_sent();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, id: u64) -> Result<oneshot::Receiver<Answer>, Unsent> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(Unsent::Closed);
        }
        if waiting.calls.len() >= IN_FLIGHT_MAX {
            metrics::counter!("quorate.rpc.over_limit").increment(1);
            return Err(Unsent::TooMany(IN_FLIGHT_MAX));
        }
        let (answer, answered) = oneshot::channel();
        waiting.calls.insert(id, Asked { answer, sent: false });
        Ok(answered)
    }

    fn answer(&self, id: u64, answer: Answer) {
        // Whoever asked may have gone.
        if let Some(asked) = self.lock().calls.remove(&id) {
            let _ = asked.answer.send(answer);
        }
    }

    /// False when nobody waits for it any more: then it need not leave.
    fn leaves(&self, id: u64) -> bool {
        self.lock().calls.get_mut(&id).map(|asked| asked.sent = true).is_some()
    }

    fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        for (_, asked) in waiting.calls.drain() {
            let _ = asked.answer.send(Answer::Closed { sent: asked.sent });
        }
        drop(waiting);
        self.closed.cancel();
    }
}

async fn shake_hands(address: SocketAddr, lane: Lane, source: Option<IpAddr>) -> Result<TcpStream, DialError> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::ConnectionRefused => DialError::Refused,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => DialError::Closed,
        _ => DialError::Io(error.to_string()),
    };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        socket.bind(SocketAddr::new(source, 0)).map_err(failed)?;
    }
    cut::passage(address.ip()).await;
    let mut stream = socket.connect(address).await.map_err(failed)?;
    prepare(&stream).map_err(failed)?;
    stream.write_all(&hello(lane)).await.map_err(failed)?;
    let mut welcome = [0; HELLO_BYTES];
    stream.read_exact(&mut welcome).await.map_err(failed)?;
    read_welcome(welcome).map_err(DialError::Protocol)?;
    Ok(stream)
}

/// What both ends want of their socket: no delays, and to learn of a peer that vanished.
pub(super) fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    let unheard_ms = u32::try_from(UNHEARD_MAX.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, unheard_ms).map_err(std::io::Error::from)
}

/// Until the peer ends the connection or says what makes no sense.
async fn hear(read: OwnedReadHalf, from: SocketAddr, shared: &Shared) {
    let mut frames = FramedRead::new(read, Codec);
    while let Some(frame) = frames.next().await {
        cut::passage(from.ip()).await;
        match frame {
            Ok(Frame::Reply { id, payload }) => shared.answer(id, Answer::Reply(payload)),
            Ok(Frame::Refusal { id, refusal }) => shared.answer(id, Answer::Refused(refusal)),
            Ok(Frame::Request { .. } | Frame::Cancel { .. }) | Err(_) => {
                metrics::counter!("quorate.rpc.garbage").increment(1);
                return;
            }
        }
    }
}

/// Until nobody asks any more or the peer takes no more.
async fn say(mut write: OwnedWriteHalf, to: SocketAddr, mut frames: mpsc::Receiver<Outgoing>, shared: &Shared) {
    let mut bytes = BytesMut::new();
    while let Some(first) = frames.recv().await {
        cut::passage(to.ip()).await;
        let mut next = Some(first);
        while let Some(frame) = next {
            if !put(frame, shared, &mut bytes) {
                return;
            }
            next = if bytes.len() < WRITE_BYTES { frames.try_recv().ok() } else { None };
        }
        if !flush(&mut write, &mut bytes).await {
            return;
        }
    }
}

fn put(frame: Outgoing, shared: &Shared, bytes: &mut BytesMut) -> bool {
    let frame = match frame {
        Outgoing::Request { id, service, deadline, payload } => {
            let left = deadline.since(clock::now());
            // Too late, or given up: it has not left, and never does.
            if left.is_zero() || !shared.leaves(id) {
                return true;
            }
            let left_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
            Frame::Request { id, service: service as u8, left_ms, payload }
        }
        Outgoing::Cancel { id } => Frame::Cancel { id },
    };
    Codec.encode(frame, bytes).is_ok()
}

/// Writes all of `bytes`; false when the peer is gone or takes nothing for too long.
pub(super) async fn flush(write: &mut (impl AsyncWrite + Unpin), bytes: &mut BytesMut) -> bool {
    while !bytes.is_empty() {
        match timeout(STALL_MAX, write.write_buf(bytes)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return false,
            Err(_) => {
                metrics::counter!("quorate.rpc.stalled").increment(1);
                return false;
            }
        }
    }
    // What one large frame needed is not kept for ever.
    if bytes.capacity() > 4 * WRITE_BYTES {
        *bytes = BytesMut::new();
    }
    true
}
