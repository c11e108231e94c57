//! Power fails at any moment: what was synced is kept, of the rest any part in any order, and of the
//! names as well. Nothing that was acknowledged may be lost, and the log must open.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use openraft::alias::OneshotReceiverOf;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt as _;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::moment::WallTime;
use crate::raft::file::File;
use crate::raft::record::Meta;
use crate::raft::snapshot::Snapshots;
use crate::raft::types::{Proposal, ServerId, StoredMembership};
use crate::store::command::{Command, KvCommand};

/// What reaches the disk whole or not at all; smaller than any real one.
const ATOM_BYTES: usize = 16;

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    is_size_durable: bool,
}

#[derive(Default)]
struct CrashFile(Mutex<Content>);

impl CrashFile {
    fn of(bytes: Vec<u8>) -> Arc<Self> {
        let content = Content { durable: bytes.clone(), now: bytes, dirty: BTreeSet::new(), is_size_durable: true };
        Arc::new(Self(Mutex::new(content)))
    }

    fn after_crash(&self, rng: &mut SmallRng) -> Vec<u8> {
        let content = held(&self.0);
        if !content.is_size_durable && rng.random_bool(0.5) {
            return Vec::new();
        }
        let mut bytes = content.durable.clone();
        bytes.resize(content.now.len(), 0);
        let luck = rng.random_range(0.0..=1.0);
        for atom in &content.dirty {
            let range = atom * ATOM_BYTES..((atom + 1) * ATOM_BYTES).min(bytes.len());
            if rng.random_bool(luck) && range.start < range.end {
                bytes[range.clone()].copy_from_slice(&content.now[range]);
            }
        }
        bytes
    }
}

impl File for CrashFile {
    fn size(&self) -> io::Result<u64> {
        Ok(held(&self.0).now.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let content = held(&self.0);
        let rest = content.now.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(into.len());
        into[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut content = held(&self.0);
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[start..end].copy_from_slice(bytes);
        content.dirty.extend(start / ATOM_BYTES..end.div_ceil(ATOM_BYTES));
        Ok(())
    }

    fn data_after(&self, offset: u64) -> io::Result<Option<std::ops::Range<u64>>> {
        let end = self.size()?;
        Ok((offset < end).then_some(offset..end))
    }

    fn zero_from(&self, offset: u64, size: u64) -> io::Result<()> {
        let mut content = held(&self.0);
        content.now.truncate(offset as usize);
        content.now.resize(size as usize, 0);
        content.dirty.extend(offset as usize / ATOM_BYTES..(size as usize).div_ceil(ATOM_BYTES));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut content = held(&self.0);
        content.durable = content.now.clone();
        content.dirty.clear();
        content.is_size_durable = true;
        Ok(())
    }
}

type Names = BTreeMap<String, Arc<CrashFile>>;

/// The names now, and those that a crash certainly keeps.
#[derive(Default)]
struct CrashDisk(Mutex<(Names, Names)>);

impl CrashDisk {
    /// The disk as it may be after a crash right now.
    fn crash(&self, rng: &mut SmallRng) -> Arc<Self> {
        let names = held(&self.0);
        let (now, durable) = &*names;
        let mut after = Names::new();
        for name in now.keys().chain(durable.keys()) {
            let file = match (now.get(name), durable.get(name)) {
                (Some(new), Some(old)) if Arc::ptr_eq(new, old) => Some(new),
                (new, old) => [new, old][usize::from(rng.random_bool(0.5))],
            };
            if let Some(file) = file {
                after.entry(name.clone()).or_insert_with(|| CrashFile::of(file.after_crash(rng)));
            }
        }
        Arc::new(Self(Mutex::new((after.clone(), after))))
    }
}

impl Disk for CrashDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(held(&self.0).0.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = held(&self.0).0.get(name).cloned();
        file.map(|file| file as Arc<dyn File>).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn File>> {
        let file = Arc::new(CrashFile::default());
        held(&file.0).now.resize(size as usize, 0);
        held(&self.0).0.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = held(&self.0);
        let file = names.0.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.0.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        held(&self.0).0.remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        let mut names = held(&self.0);
        names.1 = names.0.clone();
        Ok(())
    }

    fn place(&self) -> String {
        "a disk that crashes".to_owned()
    }
}

fn open(disk: &Arc<CrashDisk>) -> LogStore {
    let dynamic: Arc<dyn Disk> = Arc::clone(disk) as Arc<dyn Disk>;
    match LogStore::open(dynamic, 4 << 10, false, Box::new(|text| panic!("the log failed: {text}"))) {
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
        let mut disk = Arc::new(CrashDisk::default());
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

fn rand_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

#[test]
fn a_snapshot_that_was_written_survives_every_crash() {
    let mut rng = SmallRng::seed_from_u64(rand_seed());
    for _ in 0..50 {
        let mut disk = Arc::new(CrashDisk::default());
        let mut written: u64 = 0;
        for index in 1..10 {
            let dynamic: Arc<dyn Disk> = Arc::clone(&disk) as Arc<dyn Disk>;
            let snapshots = Snapshots::open(dynamic, None, |_| {}).expect("opens");
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
