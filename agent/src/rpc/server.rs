//! The answering end: accepts, agrees on a version, hands each request to its service and sends back
//! what that says. Never more at once than the limits allow; what is over is refused and counted.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::codec::{Encoder, FramedRead};

use super::link::{IN_FLIGHT_MAX, flush, prepare};
use super::wire::{self, Codec, Frame, PROTOCOL};
use super::{Call, Code, FRAME_BYTES_MAX, Handler, Handlers, Lane, Limits, Refusal, Reply, Service};
use crate::clock;
use crate::cut;
use crate::seats::{Seat, Seats};
use crate::tasks::Tasks;

/// Connections whose first bytes are awaited.
const HANDSHAKES_MAX: usize = 128;
/// Of them from one address.
const HANDSHAKES_OF_ONE_MAX: usize = 16;
/// Connections in all.
const CONNECTIONS_MAX: usize = 8_192;
/// Requests of one address in work, over all its connections.
const REQUESTS_OF_ONE_MAX: usize = 2 * IN_FLIGHT_MAX;
/// Bytes of requests of one connection in work; its next request is read when there is room.
const REQUEST_KIB_MAX: usize = (FRAME_BYTES_MAX >> 10) + 1_024;
/// Answers that wait for the writer; their services wait too.
const QUEUE: usize = 256;
const WRITE_BYTES: usize = 256 << 10;
/// After an error of accept, such as no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the group ends.
pub fn serve(listener: TcpListener, handlers: Handlers, limits: Limits, tasks: &Tasks) {
    let (token, group) = (tasks.token(), tasks.clone());
    let server = Arc::new(Server {
        handlers: handlers.into_iter().collect(),
        limits,
        handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
        connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        handshakes_of_one: Seats::new(HANDSHAKES_OF_ONE_MAX),
        connections_of_one: Seats::new(limits.connections_of_one_max),
        requests_of_one: Seats::new(REQUESTS_OF_ONE_MAX),
        tasks: group,
    });
    tasks.spawn("rpc", async move {
        token.run_until_cancelled(accept(listener, server)).await;
    });
}

struct Server {
    handlers: Vec<(Service, Handler)>,
    limits: Limits,
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    handshakes_of_one: Seats,
    connections_of_one: Seats,
    requests_of_one: Seats,
    tasks: Tasks,
}

async fn accept(listener: TcpListener, server: Arc<Server>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                metrics::counter!("consul.rpc.accept_conn").increment(1);
                let places = (
                    Arc::clone(&server.connections).try_acquire_owned(),
                    server.connections_of_one.take(peer.ip()),
                    Arc::clone(&server.handshakes).try_acquire_owned(),
                    server.handshakes_of_one.take(peer.ip()),
                );
                let (Ok(place), Some(seat), Ok(shaking), Some(shaking_seat)) = places else {
                    metrics::counter!("quorate.rpc.over_limit").increment(1);
                    tracing::debug!(target: "agent.server.rpc", %peer, "too many connections, one more is closed");
                    continue;
                };
                let (token, each) = (server.tasks.token(), Arc::clone(&server));
                server.tasks.spawn("rpc connection", async move {
                    let open = async {
                        let opened = timeout(each.limits.handshake, shake_hands(stream, peer)).await;
                        drop((shaking, shaking_seat));
                        if let Ok(Some((stream, lane))) = opened {
                            talk(stream, peer, lane, &each).await;
                        }
                    };
                    token.run_until_cancelled(open).await;
                    drop((place, seat));
                });
            }
            Err(error) => {
                metrics::counter!("quorate.rpc.accept_failed").increment(1);
                tracing::warn!(target: "agent.server.rpc", %error, "cannot accept a connection, pausing");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// None when the two have nothing to say to each other.
async fn shake_hands(mut stream: TcpStream, peer: SocketAddr) -> Option<(TcpStream, Lane)> {
    cut::passage(peer.ip()).await;
    prepare(&stream).ok()?;
    let byte = stream.read_u8().await.ok()?;
    if byte != PROTOCOL {
        metrics::counter!("quorate.rpc.unknown_protocol").increment(1);
        tracing::debug!(target: "agent.server.rpc", byte, %peer, "unrecognized RPC byte");
        return None;
    }
    let mut hello = [0; wire::HELLO_BYTES - 1];
    stream.read_exact(&mut hello).await.ok()?;
    let common = wire::read_hello(hello);
    let version = common.map_or(0, |(version, _)| version);
    stream.write_all(&wire::welcome(version)).await.ok()?;
    if common.is_none() {
        metrics::counter!("quorate.rpc.unknown_version").increment(1);
        tracing::warn!(
            target: "agent.server.rpc",
            { %peer, lowest = hello[0], highest = hello[1] },
            "an agent asked for a version of the RPC protocol that this one does not speak"
        );
    }
    Some((stream, common?.1))
}

/// One connection's requests in work.
struct Desk {
    peer: SocketAddr,
    lane: Lane,
    out: mpsc::Sender<Frame>,
    room: Arc<Semaphore>,
    /// Dropping a request's entry drops its handler.
    work: Mutex<HashMap<u64, oneshot::Sender<()>>>,
    requests: metrics::Counter,
    refused: metrics::Counter,
}

async fn talk(stream: TcpStream, peer: SocketAddr, lane: Lane, server: &Server) {
    let (out, answers) = mpsc::channel(QUEUE);
    let desk = Arc::new(Desk {
        peer,
        lane,
        out,
        room: Arc::new(Semaphore::new(REQUEST_KIB_MAX)),
        work: Mutex::default(),
        requests: metrics::counter!("consul.rpc.request"),
        refused: metrics::counter!("consul.rpc.request_error"),
    });
    let open = metrics::gauge!("quorate.rpc.connections");
    open.increment(1.0);
    let (read, write) = stream.into_split();
    tokio::select! {
        () = hear(read, server, &desk) => {}
        () = say(write, peer, answers) => {}
    }
    open.decrement(1.0);
    desk.lock().clear();
}

async fn hear(read: OwnedReadHalf, server: &Server, desk: &Arc<Desk>) {
    let mut frames = FramedRead::new(read, Codec);
    while let Some(frame) = frames.next().await {
        cut::passage(desk.peer.ip()).await;
        match frame {
            Ok(Frame::Request { id, service, left_ms, payload }) => {
                let kib = u32::try_from(payload.len() >> 10).unwrap_or(u32::MAX).saturating_add(1);
                // Waiting here is what slows a peer down that asks faster than it is answered.
                let Ok(room) = Arc::clone(&desk.room).acquire_many_owned(kib).await else { return };
                let left = Duration::from_millis(u64::from(left_ms));
                let begun = begin(server, desk, Asked { id, service, left, payload, room });
                if let Err(code) = begun {
                    desk.refused.increment(1);
                    let refusal = Refusal::new(code, format!("service {service}"));
                    if desk.out.send(Frame::Refusal { id, refusal }).await.is_err() {
                        return;
                    }
                }
            }
            Ok(Frame::Cancel { id }) => drop(desk.lock().remove(&id)),
            Ok(Frame::Reply { .. } | Frame::Refusal { .. }) | Err(_) => {
                metrics::counter!("quorate.rpc.garbage").increment(1);
                let peer = desk.peer;
                tracing::debug!(target: "agent.server.rpc", %peer, "a frame that makes no sense, the connection ends");
                return;
            }
        }
    }
}

struct Asked {
    id: u64,
    service: u8,
    left: Duration,
    payload: Bytes,
    room: OwnedSemaphorePermit,
}

/// Starts the handler of a request, or says why not.
fn begin(server: &Server, desk: &Arc<Desk>, asked: Asked) -> Result<(), Code> {
    let service = Service::of(asked.service).ok_or(Code::NoService)?;
    let handler = server.handlers.iter().find(|(known, _)| *known == service);
    let handler = handler.map(|(_, handler)| Arc::clone(handler)).ok_or(Code::NoService)?;
    let seat = server.requests_of_one.take(desk.peer.ip()).filter(|_| desk.lock().len() < IN_FLIGHT_MAX);
    let seat = seat.ok_or_else(|| {
        metrics::counter!("quorate.rpc.over_limit").increment(1);
        Code::Busy
    })?;
    let (given_up, giving_up) = oneshot::channel();
    // A number that is in use already: the answer to the first would be taken for that to the second.
    if desk.lock().insert(asked.id, given_up).is_some() {
        return Err(Code::Malformed);
    }
    desk.requests.increment(1);
    let deadline = clock::now() + asked.left;
    let call = Call { service, lane: desk.lane, peer: desk.peer, deadline, payload: asked.payload };
    let work = work(Arc::clone(desk), asked.id, handler(call), giving_up, asked.left, (asked.room, seat));
    server.tasks.spawn("rpc request", work);
    Ok(())
}

async fn work(
    desk: Arc<Desk>,
    id: u64,
    answer: impl Future<Output = Reply> + Send,
    giving_up: oneshot::Receiver<()>,
    left: Duration,
    _places: (OwnedSemaphorePermit, Seat),
) {
    let answer = tokio::select! {
        answer = timeout(left, answer) => answer.ok(),
        // An entry that is gone: cancelled, or the connection ended.
        _ = giving_up => None,
    };
    desk.lock().remove(&id);
    let frame = match answer {
        None => return,
        Some(Ok(payload)) if payload.len() <= FRAME_BYTES_MAX => Frame::Reply { id, payload },
        Some(Ok(payload)) => {
            let text = format!("{} bytes, a frame has at most {FRAME_BYTES_MAX}", payload.len());
            Frame::Refusal { id, refusal: Refusal::new(Code::TooLarge, text) }
        }
        Some(Err(refusal)) => Frame::Refusal { id, refusal },
    };
    if matches!(frame, Frame::Refusal { .. }) {
        desk.refused.increment(1);
    }
    // A writer that has ended has nobody to write to.
    let _ = desk.out.send(frame).await;
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<()>>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until the connection ends or the peer takes no more.
async fn say(mut write: OwnedWriteHalf, to: SocketAddr, mut frames: mpsc::Receiver<Frame>) {
    let mut bytes = BytesMut::new();
    while let Some(first) = frames.recv().await {
        cut::passage(to.ip()).await;
        let mut next = Some(first);
        while let Some(frame) = next {
            if Codec.encode(frame, &mut bytes).is_err() {
                return;
            }
            next = if bytes.len() < WRITE_BYTES { frames.try_recv().ok() } else { None };
        }
        if !flush(&mut write, &mut bytes).await {
            return;
        }
    }
}
