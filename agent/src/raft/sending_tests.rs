//! A server far behind gets a snapshot from its leader, over real sockets: one that breaks goes on where
//! it was, a damaged one is sent again, and one that takes long to install holds up no heartbeat and no
//! entries that follow.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use super::message::{Asked, ChunkTold, FORMAT, Question, Told};
use super::tests::{options, set, until, value};
use super::types::ServerId;
use super::{OnApplied, Options, Raft};
use crate::rpc::{Code, Handler, Limits, Pool, Refusal, Service, payload, serve};
use crate::store::command::{Command, KvCommand};
use crate::tasks::Tasks;

pub(super) const LONG: Duration = Duration::from_secs(60);
pub(super) const LIMITS: Limits = Limits { handshake: LONG, connections_of_one_max: 64 };
const KEYS: usize = 160;
const VALUE_BYTES: usize = 32 << 10;

pub(super) struct Server {
    pub(super) raft: Raft,
    tasks: Tasks,
    address: String,
}

pub(super) async fn port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a port")
}

/// `around` stands between a server and what it is asked.
pub(super) async fn server(
    listener: TcpListener,
    dir: &Path,
    id: u128,
    on_applied: OnApplied,
    around: impl FnOnce(Handler) -> Handler,
    change: impl FnOnce(&mut Options),
) -> Server {
    let address = listener.local_addr().expect("an address").to_string();
    let mut options = options(Some(dir.join("raft")));
    (options.node_id, options.address, options.bootstrap) = (uuid::Uuid::from_u128(id), address.clone(), false);
    change(&mut options);
    let tasks = Tasks::new();
    let (notices, _told) = mpsc::channel(4_096);
    let raft = Raft::prepare(options, Pool::new(None, &tasks), &tasks, notices, on_applied).await.expect("opens");
    serve(listener, vec![(Service::Raft, around(raft.handler()))], LIMITS, &tasks);
    raft.stand().await.expect("stands");
    Server { raft, tasks, address }
}

impl Server {
    pub(super) async fn end(self) {
        self.raft.shutdown().await;
        assert!(self.tasks.end(LONG).await, "every task ends");
    }
}

pub(super) fn nobody() -> OnApplied {
    Arc::new(|_, _| {})
}

/// A leader that keeps no entries behind a snapshot.
async fn lone_leader(dir: &Path) -> Server {
    let small = |options: &mut Options| {
        (options.bootstrap, options.trailing_logs) = (true, 0);
    };
    let leader = server(port().await, dir, 7, nobody(), |handler| handler, small).await;
    until(&leader.raft, "a leader", |s| s.confirmed).await;
    leader
}

/// Some megabytes are written, and the log begins behind a snapshot of the first half.
async fn fill(leader: &Server) {
    for half in 0..2 {
        for at in (0..KEYS).filter(|at| at % 2 == half) {
            let value = format!("{at:0VALUE_BYTES$}").into_bytes();
            let command = Command::Kv(KvCommand::Set { key: format!("key/{at}"), value, flags: 0 });
            leader.raft.write(command).await.expect("written");
        }
        let before = leader.raft.state().borrow().snapshot;
        leader.raft.core().trigger().snapshot().await.expect("runs");
        until(&leader.raft, "a snapshot", |s| s.snapshot > before).await;
    }
    let mut metrics = leader.raft.core().metrics();
    let purged = async {
        while metrics.borrow_watched().purged.is_none() {
            metrics.changed().await.expect("runs");
        }
    };
    timeout(LONG, purged).await.expect("the log was purged");
}

/// A leader whose log begins behind a snapshot of some megabytes; and the size of that.
async fn leader(dir: &Path) -> (Server, u64) {
    let leader = lone_leader(dir).await;
    fill(&leader).await;
    let snapshots = std::fs::read_dir(dir.join("raft/snapshots")).expect("a directory");
    let sizes = snapshots.map(|entry| entry.expect("an entry").metadata().expect("its size").len());
    (leader, sizes.max().expect("a snapshot"))
}

async fn check_has_all(leader: &Server, follower: &Server) {
    let all = leader.raft.state().borrow().commit;
    until(&follower.raft, "all that the leader has", |s| s.applied >= all).await;
    for at in 0..KEYS {
        assert_eq!(value(&follower.raft, &format!("key/{at}")), Some(format!("{at:0VALUE_BYTES$}")), "key {at}");
    }
}

/// Passes on to `to`, counts what goes there, and breaks all connections once, behind so many bytes.
async fn proxy(to: String, break_behind: u64, tasks: &Tasks) -> (String, Arc<AtomicU64>) {
    let listener = port().await;
    let address = listener.local_addr().expect("an address").to_string();
    let sent = Arc::new(AtomicU64::new(0));
    let (counted, group, token) = (Arc::clone(&sent), tasks.clone(), tasks.token());
    let (broken, breaks) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
    tasks.spawn("proxy", async move {
        while let Some(Ok((near, _))) = token.run_until_cancelled(listener.accept()).await {
            let far = TcpStream::connect(&to).await.expect("connects");
            let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
            let (sent, broken, breaks, token) =
                (Arc::clone(&counted), Arc::clone(&broken), Arc::clone(&breaks), token.clone());
            group.spawn("proxied", async move {
                let mut bytes = vec![0; 16 << 10];
                let there = async {
                    while let Ok(read @ 1..) = from_near.read(&mut bytes).await {
                        let all = sent.fetch_add(read as u64, Ordering::Relaxed) + read as u64;
                        if all > break_behind && breaks.fetch_add(1, Ordering::Relaxed) == 0 {
                            broken.notify_waiters();
                            return;
                        }
                        if to_far.write_all(&bytes[..read]).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::select! {
                    () = there => {}
                    _ = tokio::io::copy(&mut from_far, &mut to_near) => {}
                    () = broken.notified() => {}
                    () = token.cancelled() => {}
                }
            });
        }
    });
    (address, sent)
}

#[tokio::test]
async fn a_snapshot_that_breaks_off_goes_on_where_it_was() {
    let (near, far) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (leader, size) = leader(near.path()).await;
    let follower = server(port().await, far.path(), 8, nobody(), |handler| handler, |_| ()).await;
    let (address, sent) = proxy(follower.address.clone(), size * 3 / 4, &leader.tasks).await;
    leader.raft.add_learner(uuid::Uuid::from_u128(8), "two", &address).await.expect("added");
    check_has_all(&leader, &follower).await;
    let sent = sent.load(Ordering::Relaxed);
    // From the start again it would be one and three quarters.
    assert!(size > 5 << 20 && sent > size && sent < size * 3 / 2, "{sent} bytes for a snapshot of {size}");
    follower.end().await;
    leader.end().await;
}

#[tokio::test]
async fn a_snapshot_that_comes_damaged_is_noticed_and_sent_again() {
    let (near, far) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (leader, _) = leader(near.path()).await;
    let (flipped, damaged) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (flips, found) = (Arc::clone(&flipped), Arc::clone(&damaged));
    let harm = |inner: Handler| -> Handler {
        Arc::new(move |mut call| {
            let (inner, flips, found) = (Arc::clone(&inner), Arc::clone(&flips), Arc::clone(&found));
            Box::pin(async move {
                let mut asked: Asked = payload::decode(FORMAT, &call.payload).expect("decoded");
                if let Question::Snapshot(chunk) = &mut asked.question {
                    if chunk.bytes.len() > 1_000 && flips.fetch_add(1, Ordering::Relaxed) == 0 {
                        chunk.bytes[1_000] ^= 1;
                    }
                    call.payload = payload::encode(FORMAT, &asked);
                }
                let reply = inner(call).await;
                if let Ok(Ok(Told::Snapshot(ChunkTold::Damaged))) =
                    reply.as_ref().map(|reply| payload::decode::<Told>(FORMAT, reply))
                {
                    found.fetch_add(1, Ordering::Relaxed);
                }
                reply
            })
        })
    };
    let follower = server(port().await, far.path(), 8, nobody(), harm, |_| ()).await;
    leader.raft.add_learner(uuid::Uuid::from_u128(8), "two", &follower.address).await.expect("added");
    check_has_all(&leader, &follower).await;
    assert_eq!(damaged.load(Ordering::Relaxed), 1);
    follower.end().await;
    leader.end().await;
}

/// Whoever is told of a new state takes his time once, and what is done with him.
struct Hold {
    /// Not before.
    is_armed: Arc<AtomicBool>,
    is_entered: watch::Receiver<bool>,
    leave: std::sync::mpsc::Sender<()>,
}

fn hold() -> (Hold, OnApplied) {
    let is_armed = Arc::new(AtomicBool::new(false));
    let (entered, is_entered) = watch::channel(false);
    let (leave, leaves) = std::sync::mpsc::channel::<()>();
    let (armed, leaves) = (Arc::clone(&is_armed), std::sync::Mutex::new(Some(leaves)));
    let slow: OnApplied = Arc::new(move |_, _| {
        if !armed.load(Ordering::SeqCst) {
            return;
        }
        if let Some(leaves) = leaves.lock().expect("whole").take() {
            entered.send_replace(true);
            let _ = leaves.recv();
        }
    });
    (Hold { is_armed, is_entered, leave }, slow)
}

impl Hold {
    async fn entered(&mut self) {
        let entered = timeout(LONG, self.is_entered.wait_for(|entered| *entered)).await;
        entered.expect("in time").expect("an installation");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn heartbeats_are_answered_while_a_snapshot_is_installed() {
    let (near, far) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (leader, _) = leader(near.path()).await;
    let (mut hold, slow) = hold();
    hold.is_armed.store(true, Ordering::SeqCst);
    let follower = server(port().await, far.path(), 8, slow, |handler| handler, |_| ()).await;
    leader.raft.add_learner(uuid::Uuid::from_u128(8), "two", &follower.address).await.expect("added");
    hold.entered().await;
    let metrics = leader.raft.core().metrics();
    let answered =
        || metrics.borrow_watched().heartbeat.as_ref().and_then(|all| all.get(&ServerId(8)).cloned().flatten());
    let before = answered();
    let mut changes = metrics.clone();
    let again = async {
        while answered() <= before {
            changes.changed().await.expect("runs");
        }
    };
    timeout(LONG, again).await.expect("a heartbeat was answered meanwhile");
    hold.leave.send(()).expect("it waits");
    check_has_all(&leader, &follower).await;
    follower.end().await;
    leader.end().await;
}

/// Refuses everything while `is_away`; else counts the empty messages of entries' streams and heartbeats that were
/// answered.
fn gate(is_away: Arc<AtomicBool>, answered: watch::Sender<u64>) -> impl FnOnce(Handler) -> Handler {
    move |inner| {
        Arc::new(move |call| {
            let (inner, is_away, answered) = (Arc::clone(&inner), Arc::clone(&is_away), answered.clone());
            Box::pin(async move {
                if is_away.load(Ordering::SeqCst) {
                    return Err(Refusal::new(Code::Busy, "away"));
                }
                let asked: Asked = payload::decode(FORMAT, &call.payload).expect("decoded");
                let is_empty = match asked.question {
                    Question::Append(record) => record.into_request().is_ok_and(|append| append.entries.is_empty()),
                    _ => false,
                };
                let reply = inner(call).await;
                if is_empty && reply.is_ok() {
                    answered.send_modify(|count| *count += 1);
                }
                reply
            })
        })
    }
}

/// openraft takes "still installing" for leave to send again what it had last sent, before the snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_whose_entries_were_purged_while_it_was_away_catches_up_while_others_write() {
    let (near, far) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let leader = lone_leader(near.path()).await;
    let (mut hold, slow) = hold();
    let (is_away, (answered, mut answers)) = (Arc::new(AtomicBool::new(false)), watch::channel(0));
    let follower = server(port().await, far.path(), 8, slow, gate(Arc::clone(&is_away), answered), |_| ()).await;
    leader.raft.add_learner(uuid::Uuid::from_u128(8), "two", &follower.address).await.expect("added");
    let (first, _) = leader.raft.write(set("first", "1")).await.expect("written");
    until(&follower.raft, "the first entries", |s| s.applied >= first).await;
    is_away.store(true, Ordering::SeqCst);
    fill(&leader).await;
    hold.is_armed.store(true, Ordering::SeqCst);
    is_away.store(false, Ordering::SeqCst);
    hold.entered().await;
    let before = *answers.borrow();
    leader.raft.write(set("meanwhile", "1")).await.expect("written");
    // One of the next few tells of it.
    timeout(LONG, answers.wait_for(|count| *count > before + 5)).await.expect("in time").expect("it runs");
    hold.leave.send(()).expect("it waits");
    check_has_all(&leader, &follower).await;
    assert_eq!(value(&follower.raft, "meanwhile"), Some("1".to_owned()));
    follower.end().await;
    leader.end().await;
}
