//! A server whose operator left it a `peers.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _};
use tokio::sync::mpsc;

use super::file::RealDisk;
use super::log::{LogStore, SEGMENT_BYTES};
use super::record::{self, Meta};
use super::sending_tests::{nobody, port, server};
use super::snapshot::Snapshots;
use super::tests::{end, files, open_in, options, set, until, value};
use super::types::{Entry, LogId, Membership, Payload, Peer, Proposal, ServerId, StoredMembership};
use super::{OpenError, Raft};
use crate::moment::WallTime;
use crate::tasks::Tasks;

const OWN: u128 = 7;
const OTHER: u128 = 8;

fn peers_json(ids: &[(u128, bool)]) -> String {
    let one = |(id, voter): &(u128, bool)| {
        let id = uuid::Uuid::from_u128(*id);
        format!(r#"{{"id":"{id}","address":"127.0.0.1:{}","non_voter":{}}}"#, 8300 + id.as_u128() - OWN, !voter)
    };
    format!("[{}]", ids.iter().map(one).collect::<Vec<_>>().join(","))
}

fn leave(dir: &Path, text: &str) {
    fs::write(dir.join("raft/peers.json"), text).expect("written");
}

/// The directory of a lone server with ten keys.
async fn begun() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let (raft, tasks, _told) = open_in(dir.path(), |_| {}).await;
    for at in 0..10 {
        raft.write(set(&format!("key/{at}"), "x")).await.expect("written");
    }
    end(raft, tasks).await;
    dir
}

/// Starts, leads, has all keys and that configuration, and the file is gone.
async fn check_recovered(dir: &Path, expected: &[(u128, bool)]) {
    let (raft, tasks, _told) = open_in(dir, |_| {}).await;
    let servers = |s: &shared::event::RaftState| {
        s.peers.iter().map(|p| (p.id.parse::<uuid::Uuid>().expect("an ID").as_u128(), p.voter)).collect::<Vec<_>>()
    };
    assert_eq!(servers(&raft.state().borrow()), expected);
    raft.barrier().await.expect("leads");
    for at in 0..10 {
        assert_eq!(value(&raft, &format!("key/{at}")).as_deref(), Some("x"), "key {at}");
    }
    raft.write(set("later", "y")).await.expect("leads");
    assert!(!dir.join("raft/peers.json").exists(), "the file is still there");
    let kept = || fs::read_to_string(dir.join("raft/peers.info.json")).unwrap_or_default();
    until(&raft, "the list is kept", |_| expected.iter().all(|(id, _)| kept().contains(&format!("{id:012x}\"")))).await;
    end(raft, tasks).await;
}

#[tokio::test]
async fn a_peers_file_replaces_the_configuration_and_loses_nothing() {
    let dir = begun().await;
    for servers in [&[(OWN, true), (OTHER, false)][..], &[(OWN, true)]] {
        leave(dir.path(), &peers_json(servers));
        check_recovered(dir.path(), servers).await;
        check_recovered(dir.path(), servers).await;
    }
    assert!(fs::read_to_string(dir.path().join("raft/peers.info")).expect("explained").contains("peers.json"));
}

#[tokio::test]
async fn what_is_kept_for_an_outage_is_taken_as_it_is() {
    let dir = begun().await;
    leave(dir.path(), &peers_json(&[(OWN, true), (OTHER, false)]));
    check_recovered(dir.path(), &[(OWN, true), (OTHER, false)]).await;
    fs::copy(dir.path().join("raft/peers.info.json"), dir.path().join("raft/peers.json")).expect("copied");
    check_recovered(dir.path(), &[(OWN, true), (OTHER, false)]).await;
}

fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).expect("removed");
    }
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to)
        } else {
            fs::copy(entry.path(), to).map(|_| ()).expect("copied")
        }
    }
}

/// What a kill leaves behind each step: the log and the snapshots of before or after it, and the file.
#[tokio::test]
async fn a_recovery_that_was_killed_is_done_again_or_was_done() {
    let old = begun().await;
    let new = tempfile::tempdir().expect("a directory");
    copy(old.path(), new.path());
    let wanted = [(OWN, true), (OTHER, false)];
    leave(new.path(), &peers_json(&wanted));
    // It does not stand, so that nothing follows the recovery.
    let (notices, _told) = mpsc::channel(64);
    let tasks = Tasks::new();
    let (pool, options) = (crate::rpc::Pool::new(None, &tasks), options(Some(new.path().join("raft"))));
    let raft = Raft::prepare(options, pool, &tasks, notices, Arc::new(|_, _| {})).await;
    end(raft.expect("recovers"), tasks).await;
    let step = |log: &Path, snapshots: &Path, is_there: bool| {
        let dir = tempfile::tempdir().expect("a directory");
        copy(old.path(), dir.path());
        copy(&log.join("raft/log"), &dir.path().join("raft/log"));
        copy(&snapshots.join("raft/snapshots"), &dir.path().join("raft/snapshots"));
        if is_there {
            leave(dir.path(), &peers_json(&wanted));
        }
        dir
    };
    let (old, new) = (old.path(), new.path());
    let torn = step(old, old, true);
    fs::write(torn.path().join("raft/snapshots/new.tmp"), "half of one").expect("written");
    let states = [torn, step(old, new, true), step(new, new, true), step(old, new, false), step(new, new, false)];
    for dir in states {
        check_recovered(dir.path(), &wanted).await;
    }
    check_recovered(step(old, old, false).path(), &[(OWN, true)]).await;
}

/// A log as a server of three leaves it that never heard what became of its last entries: behind the
/// first, the terms of those with a key each, up to `committed` known to be committed.
async fn three_with_a_tail(dir: &Path, terms: &[u64], committed: u64) {
    let disk = Arc::new(RealDisk::open(dir.join("raft/log")).expect("a directory"));
    let (mut log, _) = LogStore::open(disk, SEGMENT_BYTES, false, Box::new(|_| ())).expect("opens");
    let place =
        |n: u128| (ServerId(n), Peer { name: format!("n{n}"), address: format!("127.0.0.1:{}", 8300 + n - OWN) });
    let membership = Membership::from(BTreeMap::from([place(OWN), place(OTHER), place(9)]));
    let command = |at: usize, term: u64| {
        let value = if term == 3 { "x".to_owned() } else { format!("of {term}") };
        Proposal { at: WallTime::from_micros(5), command: set(&format!("key/{at}"), &value) }
    };
    let mut entries = vec![Entry { log_id: LogId::new_term_index(0, 0), payload: Payload::Membership(membership) }];
    entries.extend(terms.iter().enumerate().map(|(at, term)| Entry {
        log_id: LogId::new_term_index(*term, at as u64 + 1),
        payload: Payload::Normal(command(at, *term)),
    }));
    let last = *terms.last().expect("some");
    log.save_vote(&super::types::Vote::new_committed(last, ServerId(9))).await.expect("saved");
    log.blocking_append(entries).await.expect("appended");
    log.save_committed(Some(LogId::new_term_index(3, committed))).await.expect("saved");
    log.close().await;
}

#[tokio::test]
async fn entries_that_were_never_known_to_be_committed_count() {
    let dir = tempfile::tempdir().expect("a directory");
    three_with_a_tail(dir.path(), &[3; 10], 4).await;
    leave(dir.path(), r#"["127.0.0.1:8300"]"#);
    check_recovered(dir.path(), &[(OWN, true)]).await;
}

#[tokio::test]
async fn two_whose_logs_had_parted_agree_on_that_of_the_later_term() {
    let (one, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    three_with_a_tail(one.path(), &[3, 3, 3, 3, 4], 3).await;
    three_with_a_tail(other.path(), &[3, 3, 3, 3, 3, 3, 3], 2).await;
    let ports = [port().await, port().await];
    let address = |at: usize| ports[at].local_addr().expect("an address");
    let line = |id: u128, at| format!(r#"{{"id":"{}","address":"{}"}}"#, uuid::Uuid::from_u128(id), address(at));
    let text = format!("[{},{}]", line(OWN, 0), line(OTHER, 1));
    leave(one.path(), &text);
    leave(other.path(), &text);
    let [first, second] = ports;
    let one = server(first, one.path(), OWN, nobody(), |handler| handler, |_| ()).await;
    let other = server(second, other.path(), OTHER, nobody(), |handler| handler, |_| ()).await;
    for server in [&one, &other] {
        // A leader's first entry, behind the six that count.
        until(&server.raft, "agreed", |s| s.applied >= 7).await;
        let values: Vec<_> = (0..7).map(|at| value(&server.raft, &format!("key/{at}"))).collect();
        let x = Some("x".to_owned());
        assert_eq!(values, [x.clone(), x.clone(), x.clone(), x, Some("of 4".to_owned()), None, None]);
    }
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_snapshot_that_is_ahead_of_the_log_is_where_it_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    three_with_a_tail(dir.path(), &[3; 10], 4).await;
    let store = {
        let other = begun().await;
        let (raft, tasks, _told) = open_in(other.path(), |_| {}).await;
        let store = raft.store();
        end(raft, tasks).await;
        store
    };
    let disk = Arc::new(RealDisk::open(dir.path().join("raft/snapshots")).expect("a directory"));
    let snapshots = Snapshots::open(disk, None, |_| ()).expect("opens");
    let meta =
        Meta { last: Some(LogId::new_term_index(4, 50)), membership: StoredMembership::default(), ..Meta::default() };
    assert!(record::read_meta(&record::write_meta(&meta, Vec::new())).is_ok());
    snapshots.write(&meta, |out| store.dump(out)).expect("written");
    leave(dir.path(), &peers_json(&[(OWN, true)]));
    check_recovered(dir.path(), &[(OWN, true)]).await;
}

async fn refusal(dir: &Path) -> String {
    let (notices, _told) = mpsc::channel(64);
    let refused = Raft::open(options(Some(dir.join("raft"))), &Tasks::new(), notices, Arc::new(|_, _| {})).await;
    match refused {
        Err(OpenError::Refused(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("not refused"),
    }
}

#[tokio::test]
async fn a_peers_file_with_a_mistake_is_refused_by_name_and_changes_nothing() {
    let dir = begun().await;
    let cases = [
        ("[{".to_owned(), "no JSON array"),
        ("[]".to_owned(), "no voter"),
        (peers_json(&[(OTHER, true)]), "does not have this server"),
        (peers_json(&[(OWN, false)]), "no voter"),
        (r#"["127.0.0.1:8300", "10.0.0.9:8300"]"#.to_owned(), "10.0.0.9:8300 is an address alone"),
        (" ".repeat(2 << 20), "more than 1048576 bytes"),
    ];
    for (text, words) in cases {
        leave(dir.path(), &text);
        let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
        files(dir.path(), &mut before);
        let told = refusal(dir.path()).await;
        let place = dir.path().join("raft/peers.json").display().to_string();
        for words in [words, &place, "nothing was changed", "start the agent again"] {
            assert!(told.contains(words), "{words}: {told}");
        }
        files(dir.path(), &mut after);
        assert!(before == after, "{text}: a refusal changed something");
    }
    fs::remove_file(dir.path().join("raft/peers.json")).expect("removed");
    check_recovered(dir.path(), &[(OWN, true)]).await;
}

#[tokio::test]
async fn a_server_without_data_has_nothing_to_recover() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("raft")).expect("made");
    leave(dir.path(), &peers_json(&[(OWN, true)]));
    let told = refusal(dir.path()).await;
    assert!(told.contains("no Raft data yet"), "{told}");
    assert_eq!(fs::read_dir(dir.path().join("raft")).expect("there").count(), 1, "something was written");
}
