//! Power fails at any moment: what was synced is kept, of the rest any part in any order, and of the
//! names as well. Nothing that was acknowledged may be lost, and the log must open.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use futures_util::FutureExt as _;
use openraft::alias::OneshotReceiverOf;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt as _;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::moment::WallTime;
use crate::raft::record::Meta;
use crate::raft::sim::disk::CrashDisk;
use crate::raft::snapshot::Snapshots;
use crate::raft::types::{Proposal, ServerId, StoredMembership};
use crate::store::command::{Command, KvCommand};

fn open(disk: &Arc<CrashDisk>) -> LogStore {
    open_with(disk, |text| panic!("the log failed: {text}"))
}

fn open_with(disk: &Arc<CrashDisk>, on_failure: impl Fn(&str) + Send + Sync + 'static) -> LogStore {
    match LogStore::open(disk.dir("a disk that crashes", "log"), 4 << 10, false, Box::new(on_failure)) {
        Ok((log, _)) => log,
        Err(error) => panic!("it does not open: {error}"),
    }
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let command = Command::Kv(KvCommand::Set { key: format!("{term}/{index}"), value: vec![7; bytes], flags: 0 });
    let proposal = Proposal { at: WallTime::from_micros(1), command };
    Entry { log_id: LogId::new_term_index(term, index), payload: Payload::Normal(proposal) }
}

/// What was done, and how much of it was acknowledged.
#[derive(Default)]
struct Story {
    entries: BTreeMap<u64, Entry>,
    vote: Option<Vote>,
    purged: Option<LogId>,
    /// Batches on their way: the index behind each and its answer.
    waiting: Vec<(u64, OneshotReceiverOf<Config, io::Result<()>>)>,
    /// Entries below are acknowledged.
    acked: u64,
}

impl Story {
    fn next(&self) -> u64 {
        let after = self.purged.map_or(0, |id| id.index + 1);
        self.entries.last_key_value().map_or(after, |(index, _)| (index + 1).max(after))
    }

    fn collect(&mut self) {
        while let Some((end, answer)) = self.waiting.first_mut() {
            let Some(result) = answer.now_or_never() else { break };
            result.expect("answered").expect("appended");
            self.acked = self.acked.max(*end);
            self.waiting.remove(0);
        }
    }

    async fn step(&mut self, log: &mut LogStore, term: u64, rng: &mut SmallRng) {
        match rng.random_range(0..20) {
            0 => {
                let vote = Vote::new(term, ServerId(u128::from(rng.random_range(1..4_u64))));
                log.save_vote(&vote).await.expect("saved");
                self.vote = Some(vote);
            }
            // What was acknowledged is committed here, and never truncated.
            1 if self.next() > self.acked => {
                let from = rng.random_range(self.acked..self.next());
                let last = from.checked_sub(1).map(|at| self.entries.get(&at).map_or(0, |e| e.log_id.leader_id.term));
                let after = last.map(|term| LogId::new_term_index(term, from - 1));
                log.truncate_after(after).await.expect("cut");
                self.entries.retain(|index, _| *index < from);
                self.waiting.iter_mut().for_each(|(end, _)| *end = from.min(*end));
            }
            2 if self.acked > 0 => {
                let Some(id) = self.entries.get(&rng.random_range(0..self.acked)).map(|e| e.log_id) else { return };
                log.purge(id).await.expect("purged");
                self.purged = self.purged.max(Some(id));
                self.entries.retain(|index, _| *index > id.index);
            }
            3 => {
                let committed = self.acked.checked_sub(1).and_then(|at| self.entries.get(&at)).map(|e| e.log_id);
                log.save_committed(committed).await.expect("saved");
            }
            4 => tokio::task::yield_now().await,
            _ => {
                let first = self.next();
                let count = rng.random_range(1..5);
                let batch: Vec<Entry> =
                    (first..first + count).map(|i| entry(term, i, rng.random_range(0..700))).collect();
                let (call, answer) = Config::oneshot();
                log.append(batch.clone(), IOFlushed::signal(call)).await.expect("taken");
                self.entries.extend(batch.into_iter().map(|e| (e.log_id.index, e)));
                self.waiting.push((first + count, answer));
                if rng.random_bool(0.5) {
                    let (end, answer) = self.waiting.pop().expect("just pushed");
                    answer.await.expect("answered").expect("appended");
                    self.acked = self.acked.max(end);
                }
            }
        }
        self.collect();
    }

    /// What is in the log after a crash is what the story goes on from.
    async fn check(&mut self, log: &mut LogStore) {
        let state = log.get_log_state().await.expect("a state");
        let held = log.try_get_log_entries(..).await.expect("readable");
        let next = state.last_log_id.map_or(0, |id| id.index + 1);
        assert!(next >= self.acked, "acknowledged up to {}, there up to {next}", self.acked);
        for found in &held {
            if let Some(written) = self.entries.get(&found.log_id.index) {
                assert!(found.log_id.index >= self.acked || written == found, "another entry {}", found.log_id);
            }
        }
        for index in self.entries.keys().filter(|index| **index < self.acked) {
            assert!(held.iter().any(|e| e.log_id.index == *index), "entry {index} is lost");
        }
        let vote = log.read_vote().await.expect("a vote");
        assert_eq!(vote, self.vote, "a vote that was saved");
        self.entries = held.into_iter().map(|e| (e.log_id.index, e)).collect();
        self.purged = state.last_purged_log_id;
        self.waiting.clear();
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_every_crash() {
    let seed: u64 = std::env::var("CRASH_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand_seed);
    println!("CRASH_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    for _ in 0..20 {
        let mut disk = CrashDisk::new(0);
        let mut story = Story::default();
        for term in 1..20 {
            let mut log = open(&disk);
            story.check(&mut log).await;
            for _ in 0..rng.random_range(0..30) {
                story.step(&mut log, term, &mut rng).await;
            }
            // In this order: what is acknowledged after the crash was not acknowledged before it.
            story.collect();
            let after = disk.crash(&mut rng);
            log.close().await;
            disk = after;
        }
    }
}

async fn append(log: &mut LogStore, entries: Vec<Entry>) -> io::Result<()> {
    let (call, answer) = Config::oneshot();
    log.append(entries, IOFlushed::signal(call)).await?;
    answer.await.map_err(io::Error::other)?
}

/// After a sync that failed the system holds pages for clean that never reached the disk. They read as
/// they were written until power fails.
#[tokio::test]
async fn what_a_failed_sync_left_in_memory_is_written_again_before_anything_follows() {
    for seed in 0..50 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let disk = CrashDisk::new(seed);
        let mut log = open_with(&disk, |_| {});
        append(&mut log, vec![entry(1, 0, 100)]).await.expect("written");
        disk.harm(|faults| faults.sync_fails_in = Some(0));
        append(&mut log, vec![entry(1, 1, 500)]).await.expect_err("the sync fails");
        log.close().await;
        // The agent is started again, finds all, and goes on from there.
        let disk = disk.hand_over();
        let mut log = open(&disk);
        let next = log.get_log_state().await.expect("a state").last_log_id.map_or(0, |id| id.index + 1);
        append(&mut log, vec![entry(2, next, 100)]).await.expect("written");
        log.close().await;
        let mut log = open(&disk.crash(&mut rng));
        let held = log.try_get_log_entries(..).await.expect("readable");
        assert_eq!(held.len() as u64, next + 1, "seed {seed}: what was acknowledged is lost");
    }
}

fn rand_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

#[test]
fn a_snapshot_that_was_written_survives_every_crash() {
    let mut rng = SmallRng::seed_from_u64(rand_seed());
    for _ in 0..50 {
        let mut disk = CrashDisk::new(0);
        let mut written: u64 = 0;
        for index in 1..10 {
            let snapshots = Snapshots::open(disk.dir("a disk that crashes", "snapshots"), None, |_| {}).expect("opens");
            let found = snapshots.newest().and_then(|body| body.meta.last).map_or(0, |id| id.index);
            assert!(found >= written, "snapshot {written} is lost, {found} is there");
            let last = Some(LogId::new_term_index(1, index));
            let meta = Meta { last, membership: StoredMembership::default(), at: WallTime::default() };
            let mut after = None;
            let result = snapshots.write(&meta, |out| {
                out.write_all(&vec![1; 10_000])?;
                if rng.random_bool(0.3) {
                    after = Some(disk.crash(&mut rng));
                }
                Ok(())
            });
            result.expect("written");
            if after.is_none() {
                written = index;
            }
            let after = after.unwrap_or_else(|| disk.crash(&mut rng));
            disk = after;
        }
    }
}
