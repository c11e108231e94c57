//! The two ends against each other, and against peers that do not keep the rules.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::*;
use crate::tasks::Tasks;

const LONG: Duration = Duration::from_secs(30);
const LIMITS: Limits = Limits { handshake: LONG, connections_of_one_max: 8 };

struct Drops(Arc<AtomicUsize>);

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server whose Raft service says what it was told, and whose Backend service waits for the gate.
struct World {
    address: SocketAddr,
    tasks: Tasks,
    pool: Pool,
    gate: Arc<Semaphore>,
    begun: Arc<Semaphore>,
    dropped: Arc<AtomicUsize>,
}

impl World {
    async fn new() -> Self {
        Self::with(LIMITS).await
    }

    async fn with(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let tasks = Tasks::new();
        let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let dropped = Arc::new(AtomicUsize::new(0));
        let echo: Handler = Arc::new(|call| {
            Box::pin(async move {
                match &call.payload[..] {
                    b"no" => Err(Refusal::new(Code::WrongServer, "not I")),
                    b"huge" => Ok(Bytes::from(vec![0; FRAME_BYTES_MAX + 1])),
                    _ => Ok(call.payload),
                }
            })
        });
        let (waits, begins, drops) = (Arc::clone(&gate), Arc::clone(&begun), Arc::clone(&dropped));
        let wait: Handler = Arc::new(move |call| {
            let (gate, begun, drops) = (Arc::clone(&waits), Arc::clone(&begins), Drops(Arc::clone(&drops)));
            Box::pin(async move {
                let _drops = drops;
                begun.add_permits(1);
                gate.acquire().await.expect("never closed").forget();
                Ok(call.payload)
            })
        });
        serve(listener, vec![(Service::Raft, echo), (Service::Backend, wait)], limits, &tasks.child());
        let pool = Pool::new(None, &tasks);
        Self { address, tasks, pool, gate, begun, dropped }
    }

    async fn ask(&self, service: Service, payload: &'static [u8], within: Duration) -> Result<Bytes, Error> {
        self.pool.call(self.address, Lane::Bulk, service, Bytes::from_static(payload), within).await
    }

    async fn until_dropped(&self, count: usize) {
        let all = async {
            while self.dropped.load(Ordering::Relaxed) != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, all).await.expect("the handlers were dropped");
    }
}

#[tokio::test]
async fn calls_overtake_each_other_on_one_connection() {
    let world = World::new().await;
    let slow = world.ask(Service::Backend, b"slow", LONG);
    let quick = async {
        world.begun.acquire().await.expect("begun").forget();
        let answer = world.ask(Service::Raft, b"quick", LONG).await;
        world.gate.add_permits(1);
        answer
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!((&slow.expect("an answer")[..], &quick.expect("an answer")[..]), (&b"slow"[..], &b"quick"[..]));
    assert!(world.tasks.end(LONG).await);
}

#[tokio::test]
async fn a_large_payload_comes_back_whole() {
    let world = World::new().await;
    let large: Bytes = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let answer = world.pool.call(world.address, Lane::Bulk, Service::Raft, large.clone(), LONG).await;
    assert!(answer.expect("an answer") == large, "not what was sent");
}

#[tokio::test]
async fn a_refusal_comes_with_its_code() {
    let world = World::new().await;
    let code = |answer: Result<Bytes, Error>| match answer {
        Err(Error::Refused { refusal, .. }) => refusal.code,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(code(world.ask(Service::Raft, b"no", LONG).await), Code::WrongServer);
    assert_eq!(code(world.ask(Service::Raft, b"huge", LONG).await), Code::TooLarge);
    assert_eq!(code(world.ask(Service::Events, b"", LONG).await), Code::NoService);
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_its_handler() {
    let world = World::new().await;
    let short = Duration::from_millis(50);
    let late = world.ask(Service::Backend, b"", short).await;
    // Either end may see the deadline first; a busy machine may not even have sent it.
    assert!(matches!(late, Err(Error::TimedOut(_) | Error::NeverSent { reason: Unsent::Deadline, .. })), "{late:?}");
    let waiting = world.ask(Service::Backend, b"", LONG);
    tokio::select! {
        answer = waiting => panic!("answered: {answer:?}"),
        () = async {
            while world.begun.available_permits() == 0 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    world.until_dropped(world.begun.available_permits()).await;
}

#[tokio::test]
async fn a_connection_that_ends_tells_what_was_sent_and_is_made_anew() {
    let world = World::new().await;
    let link = world.pool.open(world.address, Lane::Bulk).await.expect("a connection");
    let cut = async {
        world.begun.acquire().await.expect("begun").forget();
        world.tasks.end(LONG).await
    };
    let (answer, _) = tokio::join!(world.ask(Service::Backend, b"", LONG), cut);
    assert!(matches!(answer, Err(Error::Closed(_))), "{answer:?}");
    assert!(link.is_closed());
    let gone = link.call(Service::Raft, Bytes::new(), clock_now() + LONG).await;
    assert!(matches!(gone, Err(Error::NeverSent { reason: Unsent::Closed, .. })), "{gone:?}");
}

fn clock_now() -> Moment {
    crate::clock::now()
}

#[tokio::test]
async fn nobody_listening_is_known_at_once_and_never_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let tasks = Tasks::new();
    let pool = Pool::new(None, &tasks);
    for _ in 0..2 {
        let answer = pool.call(address, Lane::Urgent, Service::Raft, Bytes::new(), LONG).await;
        let is_refused = matches!(&answer, Err(Error::NeverSent { reason: Unsent::Dial(DialError::Refused), .. }));
        assert!(is_refused, "{answer:?}");
    }
    assert!(matches!(pool.open(address, Lane::Urgent).await, Err(DialError::Refused)));
}

#[tokio::test]
async fn a_connection_serves_many_calls_and_is_one_for_each_lane() {
    let world = World::new().await;
    let open = |lane| world.pool.open(world.address, lane);
    let (a, b, c) = tokio::join!(open(Lane::Bulk), open(Lane::Bulk), open(Lane::Urgent));
    assert!([&a, &b, &c].iter().all(|link| link.is_ok()));
    for n in 0..1_000_u32 {
        let payload = Bytes::copy_from_slice(&n.to_be_bytes());
        let answer = world.pool.call(world.address, Lane::Bulk, Service::Raft, payload.clone(), LONG).await;
        assert_eq!(answer.expect("an answer"), payload);
    }
    // Two of eight seats; the rest is still free.
    for _ in 0..6 {
        let mut stream = TcpStream::connect(world.address).await.expect("a connection");
        stream.write_all(&[0x40, 1, 1, 1]).await.expect("written");
        let mut welcome = [0; 4];
        stream.read_exact(&mut welcome).await.expect("a welcome");
    }
}

/// What a stranger hears who says `bytes`: everything until the end of the connection.
async fn heard(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(bytes).await.expect("written");
    let mut rest = Vec::new();
    // Closed, or reset because of what was not read: both are an end.
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut rest)).await.expect("the connection ends");
    rest
}

#[tokio::test]
async fn strangers_and_garbage_are_closed_and_the_port_goes_on() {
    let world = World::new().await;
    for strange in [&b"\x00"[..], b"\xff", b"GET / HTTP/1.1\r\n\r\n"] {
        assert_eq!(heard(world.address, strange).await, b"", "{strange:?}");
    }
    // A version that is not spoken, a lane that is not there.
    for hello in [[0x40, 9, 12, 0], [0x40, 1, 1, 7]] {
        assert_eq!(heard(world.address, &hello).await, [0x40, 0, 1, 1]);
    }
    let mut reply = BytesMut::from(&b"\x40\x01\x01\x01"[..]);
    reply.put_slice(b"\0\0\0\x09\x01\0\0\0\0\0\0\0\x01");
    for garbage in [&reply[..], b"\x40\x01\x01\x01\xff\xff\xff\xff", b"\x40\x01\x01\x01\0\0\0\x09\x09\0\0\0\0\0\0\0\0"]
    {
        assert_eq!(heard(world.address, garbage).await, [0x40, 1, 1, 1], "{garbage:?}");
    }
    assert!(world.ask(Service::Raft, b"still", LONG).await.is_ok());
}

#[tokio::test]
async fn who_says_nothing_is_closed() {
    let world = World::with(Limits { handshake: Duration::from_millis(50), ..LIMITS }).await;
    assert_eq!(heard(world.address, b"").await, b"");
    assert_eq!(heard(world.address, b"\x40\x01").await, b"");
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let world = World::with(Limits { connections_of_one_max: 1, ..LIMITS }).await;
    let link = world.pool.open(world.address, Lane::Bulk).await.expect("a connection");
    assert_eq!(heard(world.address, b"\x40\x01\x01\x01").await, b"");
    assert!(matches!(world.pool.open(world.address, Lane::Urgent).await, Err(DialError::Closed)));
    assert!(!link.is_closed());
}

#[tokio::test]
async fn more_requests_than_one_connection_may_have_are_refused() {
    let world = World::new().await;
    let mut stream = TcpStream::connect(world.address).await.expect("a connection");
    let mut bytes = BytesMut::from(&b"\x40\x01\x01\x01"[..]);
    let many = u64::try_from(link::IN_FLIGHT_MAX).expect("a number") + 1;
    for id in 0..many {
        bytes.put_slice(b"\0\0\0\x0e\0");
        bytes.put_u64(id);
        bytes.put_slice(b"\x02\0\0\xff\xff");
    }
    stream.write_all(&bytes).await.expect("written");
    let mut welcome = [0; 4];
    stream.read_exact(&mut welcome).await.expect("a welcome");
    let mut refusal = [0; 14];
    stream.read_exact(&mut refusal).await.expect("a refusal");
    assert_eq!((refusal[4], refusal[13]), (2, 2), "a refusal, busy: {refusal:?}");
    drop(stream);
    world.until_dropped(link::IN_FLIGHT_MAX).await;
}
