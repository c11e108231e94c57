//! A whole server of Raft, alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use shared::event::Role;
use tokio::sync::mpsc;

use super::*;
use crate::store::command::{Command, KvCommand, Outcome};
use crate::store::query::{Answer, Query};
use crate::tasks::Tasks;

pub(super) fn options(dir: Option<PathBuf>) -> Options {
    Options {
        dir,
        node_id: uuid::Uuid::from_u128(7),
        node_name: "one".to_owned(),
        address: "127.0.0.1:8300".to_owned(),
        multiplier: 1,
        bootstrap: true,
        snapshot_threshold: 16_384,
        snapshot_interval: Duration::from_secs(30),
        trailing_logs: 10_240,
    }
}

/// Fails with the last state seen.
pub(super) async fn leads(raft: &Raft) {
    let mut state = raft.state();
    let led = state.wait_for(|s| s.role == Role::Leader && s.confirmed && s.applied > 0);
    let led = tokio::time::timeout(Duration::from_secs(30), led).await.map(|led| led.is_ok());
    assert!(matches!(led, Ok(true)), "no leader: {:?}", *raft.state().borrow());
}

#[tokio::test]
async fn a_lone_voter_leads_at_once() {
    let tasks = Tasks::new();
    let (notices, mut told) = mpsc::channel(64);
    let raft = Raft::open(options(None), &tasks, notices, Arc::new(|_, _| {})).await.expect("opens");
    leads(&raft).await;
    raft.barrier().await.expect("reads as the leader");
    raft.shutdown().await;
    assert!(tasks.end(Duration::from_secs(30)).await, "every task ends");
    let mut seen = Vec::new();
    while let Ok(notice) = told.try_recv() {
        let _ = &notice;
        seen.push(notice);
    }
    assert!(seen.iter().any(|n| matches!(n, Notice::Raft(RaftEvent::LeaderElected { term: 1, .. }))), "{seen:?}");
}

#[tokio::test]
async fn an_order_to_a_server_that_has_ended_does_not_wait() {
    let tasks = Tasks::new();
    let (notices, _told) = mpsc::channel(64);
    let raft = Raft::open(options(None), &tasks, notices, Arc::new(|_, _| {})).await.expect("opens");
    leads(&raft).await;
    raft.shutdown().await;
    assert!(tasks.end(Duration::from_secs(30)).await, "every task ends");
    let day = Duration::from_secs(86_400);
    let ordered = tokio::time::timeout(Duration::from_secs(30), raft.operate(Operation::Transfer(None), day)).await;
    assert!(matches!(ordered, Ok(Err(ChangeError::NotLeader))), "{ordered:?}");
}

pub(super) fn set(key: &str, value: &str) -> Command {
    Command::Kv(KvCommand::Set { key: key.to_owned(), value: value.as_bytes().to_vec(), flags: 0 })
}

pub(super) fn value(raft: &Raft, key: &str) -> Option<String> {
    let (_, answer) = raft.store().query(&Query::KvGet { key: key.to_owned() });
    let Answer::KvPair(pair) = answer else { panic!("{answer:?}") };
    pair.map(|pair| String::from_utf8_lossy(&pair.value).into_owned())
}

pub(super) async fn open_in(
    dir: &std::path::Path,
    change: impl Fn(&mut Options),
) -> (Raft, Tasks, mpsc::Receiver<Notice>) {
    let tasks = Tasks::new();
    let (notices, told) = mpsc::channel(4_096);
    let mut options = options(Some(dir.join("raft")));
    change(&mut options);
    let raft = Raft::open(options, &tasks, notices, Arc::new(|_, _| {})).await.expect("opens");
    leads(&raft).await;
    (raft, tasks, told)
}

pub(super) async fn end(raft: Raft, tasks: Tasks) {
    raft.shutdown().await;
    assert!(tasks.end(Duration::from_secs(30)).await, "every task ends");
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let (raft, tasks, _told) = open_in(dir.path(), |_| {}).await;
    let (first, outcome) = raft.write(set("a", "1")).await.expect("written");
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(value(&raft, "a").as_deref(), Some("1"), "whoever was answered reads it");
    let (second, _) = raft.write(set("b", "2")).await.expect("written");
    assert_eq!(second, first + 1);
    let term = raft.state().borrow().term;
    end(raft, tasks).await;
    let (raft, tasks, _told) = open_in(dir.path(), |_| {}).await;
    raft.barrier().await.expect("reads as the leader");
    assert_eq!((value(&raft, "a").as_deref(), value(&raft, "b").as_deref()), (Some("1"), Some("2")));
    assert_eq!(raft.state().borrow().term, term + 1, "a restart is a new term");
    end(raft, tasks).await;
}

/// Writes so many keys, and has a snapshot after each half.
async fn write_with_snapshots(raft: &Raft, keys: u64) {
    for at in 0..keys {
        raft.write(set(&format!("key/{at}"), "x")).await.expect("written");
        if (at + 1) % (keys / 2) == 0 {
            until(raft, "a snapshot", |s| s.snapshot > at).await;
        }
    }
}

#[tokio::test]
async fn a_snapshot_takes_the_place_of_the_entries_before_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = |options: &mut Options| {
        options.snapshot_threshold = 1;
        options.trailing_logs = 5;
        options.snapshot_interval = Duration::ZERO;
    };
    let (raft, tasks, _told) = open_in(dir.path(), small).await;
    write_with_snapshots(&raft, 100).await;
    end(raft, tasks).await;
    let kept = std::fs::read_dir(dir.path().join("raft/snapshots")).expect("a directory").count();
    assert_eq!(kept, 2);
    let (raft, tasks, _told) = open_in(dir.path(), small).await;
    raft.barrier().await.expect("reads as the leader");
    for at in 0..100 {
        assert_eq!(value(&raft, &format!("key/{at}")).as_deref(), Some("x"), "key {at}");
    }
    end(raft, tasks).await;
}

#[tokio::test]
async fn many_writers_share_the_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let (raft, tasks, _told) = open_in(dir.path(), |_| {}).await;
    let before = raft.state().borrow().applied;
    let writers = (0..64).map(|writer| {
        let raft = raft.clone();
        async move {
            for at in 0..20 {
                raft.write(set(&format!("{writer}/{at}"), "x")).await.expect("written");
            }
        }
    });
    futures_util::future::join_all(writers).await;
    let mut state = raft.state();
    let all = state.wait_for(|s| s.applied == before + 64 * 20);
    assert!(tokio::time::timeout(Duration::from_secs(30), all).await.is_ok(), "{:?}", *raft.state().borrow());
    end(raft, tasks).await;
}

#[tokio::test]
async fn without_a_bootstrap_nobody_leads_and_a_write_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let tasks = Tasks::new();
    let (notices, _told) = mpsc::channel(64);
    let mut options = options(Some(dir.path().join("raft")));
    options.bootstrap = false;
    let raft = Raft::open(options, &tasks, notices, Arc::new(|_, _| {})).await.expect("opens");
    assert!(matches!(raft.write(set("a", "1")).await, Err(WriteError::NotLeader)));
    assert!(matches!(raft.barrier().await, Err(WriteError::NotLeader)));
    end(raft, tasks).await;
}

#[tokio::test]
async fn an_election_is_told_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    for start in 0..2 {
        let (raft, tasks, mut told) = open_in(dir.path(), |_| {}).await;
        end(raft, tasks).await;
        let mut seen = Vec::new();
        while let Ok(notice) = told.try_recv() {
            seen.push(match notice {
                Notice::Election(ElectionEvent::HeartbeatLost { .. }) => "heartbeat lost",
                Notice::Election(ElectionEvent::Started { .. }) => "started",
                Notice::Election(ElectionEvent::VoteGranted { tally: 1, need: 1, .. }) => "granted",
                Notice::Election(ElectionEvent::Ended(_)) => "ended",
                Notice::Raft(RaftEvent::LeaderElected { .. }) => "elected",
                Notice::Raft(RaftEvent::LeaderConfirmed { .. }) => "confirmed",
                Notice::Raft(RaftEvent::Gap { .. }) => "gap",
                _ => continue,
            });
        }
        let expected = ["heartbeat lost", "started", "granted", "ended", "elected", "confirmed"];
        assert_eq!(seen, expected, "start {start}");
    }
}

/// All below `dir`, by name.
pub(super) fn files(dir: &std::path::Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            into.insert(path.clone(), Vec::new());
            files(&path, into);
        } else {
            into.insert(path.clone(), std::fs::read(&path).expect("readable"));
        }
    }
}

/// A server's directory after `harm` is refused in these words and left as it is. `noted` is whether
/// the directory still tells whose Raft data it held.
async fn check_refused(noted: bool, harm: impl FnOnce(&std::path::Path), words: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let (raft, tasks, _told) = open_in(dir.path(), |options| {
        options.snapshot_threshold = 5;
        options.snapshot_interval = Duration::ZERO;
    })
    .await;
    for at in 0..20 {
        raft.write(set(&format!("key/{at}"), "x")).await.expect("written");
    }
    until(&raft, "a snapshot", |s| s.snapshot > 0).await;
    end(raft, tasks).await;
    if !noted {
        std::fs::remove_file(dir.path().join("server-id")).expect("was noted");
    }
    harm(&dir.path().join("raft"));
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    files(dir.path(), &mut before);
    let (notices, _told) = mpsc::channel(64);
    let options = options(Some(dir.path().join("raft")));
    let refused = Raft::open(options, &Tasks::new(), notices, Arc::new(|_, _| {})).await;
    let text = refused.err().expect("refused").to_string();
    assert!(text.contains(words) && text.contains("nothing was changed"), "{text}");
    files(dir.path(), &mut after);
    assert!(before == after, "a refusal changed something: {:?} became {:?}", before.keys(), after.keys());
}

fn segment(raft: &std::path::Path) -> PathBuf {
    let entries = std::fs::read_dir(raft.join("log")).expect("a log");
    entries.map(|e| e.expect("an entry").path()).min().expect("a segment")
}

#[tokio::test]
async fn a_log_that_is_gone_is_not_begun_again() {
    let gone = "raft/log is gone, but this server has held one";
    check_refused(true, |raft| std::fs::remove_dir_all(raft).expect("removed"), gone).await;
    check_refused(true, |raft| std::fs::remove_dir_all(raft.join("log")).expect("removed"), gone).await;
    check_refused(true, |raft| std::fs::remove_file(segment(raft)).expect("removed"), gone).await;
    let with_snapshots = "raft/log is gone, but there are snapshots";
    check_refused(false, |raft| std::fs::remove_file(segment(raft)).expect("removed"), with_snapshots).await;
}

#[tokio::test]
async fn a_log_that_lost_its_head_is_not_begun_again() {
    let cut = |length| {
        move |raft: &std::path::Path| {
            std::fs::File::options().write(true).open(segment(raft)).expect("opens").set_len(length).expect("cut");
        }
    };
    check_refused(true, cut(0), "its head is not valid").await;
    check_refused(true, cut(64), "nothing follows its head").await;
    for at in [0, 20] {
        let flip = move |raft: &std::path::Path| {
            let file = std::fs::File::options().read(true).write(true).open(segment(raft)).expect("opens");
            let mut byte = [0];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, at).expect("read");
            std::os::unix::fs::FileExt::write_all_at(&file, &[byte[0] ^ 1], at).expect("written");
        };
        check_refused(false, flip, "its head is not valid").await;
    }
}

/// Waits until `when` holds of the state.
pub(super) async fn until(raft: &Raft, what: &str, when: impl Fn(&shared::event::RaftState) -> bool) {
    let mut state = raft.state();
    let seen = tokio::time::timeout(Duration::from_secs(10), state.wait_for(|s| when(s))).await;
    assert!(seen.is_ok_and(|s| s.is_ok()), "not {what}: {:?}", *raft.state().borrow());
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_written_stops_nothing_and_is_tried_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = |options: &mut Options| {
        options.snapshot_threshold = 5;
        options.snapshot_interval = Duration::ZERO;
    };
    let (raft, tasks, _told) = open_in(dir.path(), small).await;
    // The name it is written under is taken by what cannot be removed as a file.
    let obstacle = dir.path().join("raft/snapshots/new.tmp");
    std::fs::create_dir(&obstacle).expect("a directory");
    for at in 0..50 {
        raft.write(set(&format!("key/{at}"), "x")).await.expect("written");
    }
    raft.barrier().await.expect("still leads");
    assert_eq!((raft.state().borrow().snapshot, tasks.failure()), (0, None));
    std::fs::remove_dir(&obstacle).expect("removed");
    until(&raft, "a snapshot without another write", |s| s.snapshot > 0).await;
    end(raft, tasks).await;
    let (raft, tasks, _told) = open_in(dir.path(), small).await;
    assert_eq!(value(&raft, "key/49").as_deref(), Some("x"));
    end(raft, tasks).await;
}

#[tokio::test]
async fn raft_that_stops_by_itself_stops_the_agent() {
    let dir = tempfile::tempdir().expect("a directory");
    let (raft, tasks, _told) = open_in(dir.path(), |_| {}).await;
    raft.core().shutdown().await.expect("stops");
    let stopped = tokio::time::timeout(Duration::from_secs(30), tasks.fatal().cancelled()).await;
    assert!(stopped.is_ok(), "nobody was told");
    let text = tasks.failure().expect("a reason");
    let place = dir.path().join("raft").display().to_string();
    assert!(text.starts_with("raft stopped: ") && text.contains(&place) && text.contains("free space"), "{text}");
    end(raft, tasks).await;
}

#[tokio::test]
async fn raft_that_is_ended_on_purpose_is_no_failure() {
    let (raft, tasks, _told) = open_in(tempfile::tempdir().expect("a directory").path(), |_| {}).await;
    raft.shutdown().await;
    until(&raft, "ended", |s| s.role == Role::Shutdown).await;
    assert_eq!(tasks.failure(), None);
    end(raft, tasks).await;
}

#[tokio::test]
async fn the_older_snapshot_carries_on_when_the_newest_is_damaged() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = |options: &mut Options| {
        options.snapshot_threshold = 1;
        options.trailing_logs = 0;
        options.snapshot_interval = Duration::ZERO;
    };
    let (raft, tasks, _told) = open_in(dir.path(), small).await;
    write_with_snapshots(&raft, 100).await;
    let purged = || raft.core().metrics().borrow_watched().purged.as_ref().map(|id| id.index);
    end(raft.clone(), tasks).await;
    assert!(purged().is_some(), "nothing was purged");
    let newest = std::fs::read_dir(dir.path().join("raft/snapshots")).expect("a directory");
    let newest = newest.map(|e| e.expect("an entry").path()).max().expect("a snapshot");
    let mut bytes = std::fs::read(&newest).expect("readable");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&newest, bytes).expect("written");
    let (raft, tasks, _told) = open_in(dir.path(), small).await;
    for at in 0..100 {
        assert_eq!(value(&raft, &format!("key/{at}")).as_deref(), Some("x"), "key {at}");
    }
    end(raft, tasks).await;
}

#[tokio::test]
async fn a_lone_server_that_moved_is_told_of_at_its_new_address() {
    let dir = tempfile::tempdir().expect("a directory");
    let (raft, tasks, _told) = open_in(dir.path(), |_| {}).await;
    end(raft, tasks).await;
    let moved = |options: &mut Options| {
        options.address = "127.0.0.2:8300".to_owned();
        options.node_name = "two".to_owned();
    };
    for start in ["put right", "kept"] {
        let (raft, tasks, _told) = open_in(dir.path(), moved).await;
        let is_new = |s: &shared::event::RaftState| {
            s.peers.iter().all(|p| p.address == "127.0.0.2:8300" && p.node == "two" && p.voter)
        };
        until(&raft, start, is_new).await;
        raft.write(set("a", "1")).await.expect("still leads");
        end(raft, tasks).await;
    }
}
