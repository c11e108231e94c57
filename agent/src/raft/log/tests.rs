//! openraft's own suite on our log and state, and what a crash or a bad disk leaves behind.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use openraft::StorageError;
use openraft::storage::RaftLogStorageExt as _;
use openraft::testing::log::{StoreBuilder, Suite};

use super::*;
use crate::moment::WallTime;
use crate::raft::file::{MemoryDisk, RealDisk};
use crate::raft::snapshot::Snapshots;
use crate::raft::state_machine::{StateMachine, View};
use crate::raft::types::{Membership, Peer, Proposal, ServerId};
use crate::store::command::{Command, KvCommand};

/// Small enough that tests go over several.
const SMALL_SEGMENT_BYTES: u64 = 4 << 10;

fn open(disk: &Arc<dyn Disk>) -> Result<(LogStore, u64), RecoverError> {
    LogStore::open(Arc::clone(disk), SMALL_SEGMENT_BYTES, false, Box::new(|text| panic!("the log failed: {text}")))
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

fn set(term: u64, index: u64, bytes: usize) -> Entry {
    let value = vec![u8::try_from(index % 251).expect("small"); bytes];
    let command = Command::Kv(KvCommand::Set { key: format!("key/{index}"), value, flags: index });
    Entry { log_id: id(term, index), payload: Payload::Normal(Proposal { at: WallTime::from_micros(7), command }) }
}

fn blank(term: u64, index: u64) -> Entry {
    Entry { log_id: id(term, index), payload: Payload::Blank }
}

async fn held(log: &LogStore) -> Vec<u64> {
    let entries = log.clone().try_get_log_entries(..).await.expect("readable");
    entries.iter().map(|e| e.log_id.index).collect()
}

struct Build {
    real: bool,
}

impl StoreBuilder<Config, LogStore, StateMachine, Option<tempfile::TempDir>> for Build {
    async fn build(&self) -> Result<(Option<tempfile::TempDir>, LogStore, StateMachine), StorageError<Config>> {
        let dir = self.real.then(|| tempfile::tempdir().expect("a directory"));
        let disk = |name: &str| -> Arc<dyn Disk> {
            match &dir {
                Some(dir) => Arc::new(RealDisk::open(dir.path().join(name)).expect("a directory")),
                None => Arc::new(MemoryDisk::default()),
            }
        };
        let (log, _) = open(&disk("log")).expect("a log");
        let snapshots = Arc::new(Snapshots::open(disk("snapshots"), None, |_| {}).expect("snapshots"));
        let machine = StateMachine::new(Arc::new(View::default()), Arc::new(|_, _| {}), snapshots);
        Ok((dir, log, machine))
    }
}

#[tokio::test]
async fn openrafts_suite_passes_in_memory() {
    Suite::test_all(Build { real: false }).await.expect("openraft's suite");
}

#[tokio::test]
async fn openrafts_suite_passes_on_real_files() {
    Suite::test_all(Build { real: true }).await.expect("openraft's suite");
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path().join("log")).expect("a directory"));
    let peers = BTreeMap::from([(ServerId(1), Peer { name: "one".into(), address: "10.0.0.1:8300".into() })]);
    let (mut log, _) = open(&disk).expect("a log");
    let vote = Vote::new_committed(3, ServerId(1));
    log.save_vote(&vote).await.expect("saved");
    let first = Entry { log_id: id(0, 0), payload: Payload::Membership(Membership::from(peers)) };
    let mut written = vec![first, blank(3, 1)];
    written.extend((2..200).map(|index| set(3, index, 100)));
    for batch in written.chunks(7) {
        log.blocking_append(batch.to_vec()).await.expect("appended");
    }
    log.truncate_after(Some(id(3, 150))).await.expect("cut");
    written.truncate(151);
    let again = set(4, 151, 10_000);
    written.push(again.clone());
    log.blocking_append([again]).await.expect("an entry longer than a segment");
    log.save_committed(Some(id(3, 140))).await.expect("saved");
    log.purge(id(3, 99)).await.expect("purged");
    log.close().await;

    let (mut log, cut_bytes) = open(&disk).expect("the same log");
    assert_eq!(cut_bytes, 0);
    assert_eq!(log.read_vote().await.expect("a vote"), Some(vote));
    assert_eq!(log.read_committed().await.expect("a position"), Some(id(3, 140)));
    let state = log.get_log_state().await.expect("a state");
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(3, 99)), Some(id(4, 151))));
    assert_eq!(log.try_get_log_entries(..).await.expect("entries"), written[100..]);
    let segments = disk.list().expect("names").len();
    assert!(segments < 15, "segments before the purged entry are gone, {segments} are left");
    log.close().await;
}

#[tokio::test]
async fn old_entries_are_read_from_the_files() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
    let (mut log, _) = open(&disk).expect("a log");
    let written: Vec<Entry> = (0..100).map(|index| set(1, index, 60_000)).collect();
    for entry in &written {
        log.blocking_append([entry.clone()]).await.expect("appended");
    }
    assert_eq!(log.try_get_log_entries(3..97).await.expect("entries"), written[3..97]);
    let limited = log.limited_get_log_entries(0, 100).await.expect("entries").len();
    assert!((60..80).contains(&limited), "4 MiB at once, not {limited} entries");
    log.purge(id(1, 9)).await.expect("purged");
    assert_eq!(log.limited_get_log_entries(5, 100).await.expect("entries"), [], "never with a hole before the first");
    assert_eq!(log.limited_get_log_entries(10, 12).await.expect("entries"), written[10..12]);
    log.close().await;
}

/// A log of ten entries that were synced one by one, in one segment; then `damage` is done to the
/// file, which is given with the offsets of its frames.
struct Broken {
    disk: Arc<dyn Disk>,
    /// Offsets of the frames of the entries, and the end of the last.
    offsets: Vec<u64>,
}

impl Broken {
    async fn new(batches: &[std::ops::Range<u64>]) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
        let (log, _) = open(&disk).expect("a log");
        let mut writer = log.clone();
        for batch in batches {
            writer.blocking_append(batch.clone().map(|i| set(1, i, 40)).collect::<Vec<_>>()).await.expect("appended");
        }
        let offsets = {
            let state = log.shared.lock();
            let offset = |index| state.index.slot(index).map(|slot| slot.position);
            (0..).map_while(offset).chain([state.end()]).collect()
        };
        log.close().await;
        Self { disk, offsets }
    }

    fn file(&self) -> Arc<dyn crate::raft::file::File> {
        self.disk.open(&frame::segment_name(1)).expect("the segment")
    }

    fn flip(&self, offset: u64) {
        let mut byte = [0];
        self.file().read_at(offset, &mut byte).expect("read");
        self.file().write_at(offset, &[byte[0] ^ 0x10]).expect("written");
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.file().size().expect("size")).expect("small")];
        self.file().read_at(0, &mut bytes).expect("read");
        bytes
    }

    /// It opens, with these entries, and goes on behind them; `is_cut` tells whether something was cut.
    #[track_caller]
    fn opens_with(&self, entries: u64, is_cut: bool) -> impl Future<Output = ()> {
        let (log, cut) = open(&self.disk).expect("opens");
        let place = std::panic::Location::caller();
        async move {
            assert_eq!(held(&log).await, (0..entries).collect::<Vec<_>>(), "at {place}");
            assert_eq!(cut > 0, is_cut, "at {place}");
            let next = set(2, entries, 40);
            log.clone().blocking_append([next]).await.expect("appended");
            log.close().await;
        }
    }

    /// It refuses, in words, and changes nothing.
    #[track_caller]
    fn refuses(&self, expected: &str) {
        let before = self.bytes();
        let Err(RecoverError::Damaged(text)) = open(&self.disk).map(|_| ()) else { panic!("it opened") };
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("nothing was changed"), "{text}");
        assert!(self.bytes() == before, "the file was changed");
    }
}

const ONE_BY_ONE: [std::ops::Range<u64>; 10] = [0..1, 1..2, 2..3, 3..4, 4..5, 5..6, 6..7, 7..8, 8..9, 9..10];

#[tokio::test]
async fn a_log_that_ends_in_the_middle_of_a_frame_is_cut_there() {
    for lost in [1, 3, 8, 39, 40, 60] {
        let broken = Broken::new(&ONE_BY_ONE).await;
        let end = broken.offsets[10];
        // The committed position may have been told behind the last entry.
        broken.file().zero_from(end - lost, SMALL_SEGMENT_BYTES).expect("cut");
        if lost >= 8 {
            broken.opens_with(9, true).await;
            broken.opens_with(10, false).await;
        }
    }
}

#[tokio::test]
async fn a_hole_in_what_was_synced_is_damage() {
    for frame in 0..9 {
        let broken = Broken::new(&ONE_BY_ONE).await;
        let hole = vec![0; usize::try_from(broken.offsets[frame + 1] - broken.offsets[frame]).expect("small")];
        broken.file().write_at(broken.offsets[frame], &hole).expect("written");
        broken.refuses(&format!("damaged at byte {} of 0000000000000001.log", broken.offsets[frame]));
    }
}

#[tokio::test]
async fn every_flipped_bit_in_what_was_synced_is_damage() {
    let broken = Broken::new(&ONE_BY_ONE).await;
    for offset in broken.offsets[3]..broken.offsets[4] - 8 {
        broken.flip(offset);
        broken.refuses(&format!("damaged at byte {} of", broken.offsets[3]));
        broken.flip(offset);
    }
    broken.opens_with(10, false).await;
}

#[tokio::test]
async fn a_hole_in_what_was_never_synced_is_cut_with_all_behind_it() {
    // The last four were one batch: the disk had taken its pages in any order when power failed.
    for frame in [6, 7, 8] {
        let broken = Broken::new(&[0..1, 1..2, 2..3, 3..6, 6..10]).await;
        broken.flip(broken.offsets[frame] + 50);
        broken.opens_with(frame as u64, true).await;
        broken.opens_with(frame as u64 + 1, false).await;
    }
}

#[tokio::test]
async fn a_damaged_head_is_named() {
    let broken = Broken::new(&ONE_BY_ONE).await;
    let (log, _) = open(&broken.disk).expect("opens");
    let more: Vec<Entry> = (10..60).map(|index| set(1, index, 100)).collect();
    log.clone().blocking_append(more).await.expect("appended");
    log.close().await;
    for offset in 0..40 {
        broken.flip(offset);
        broken.refuses("");
        broken.flip(offset);
    }
    let end = broken.bytes().iter().rposition(|b| *b != 0).expect("something is in it") as u64;
    broken.flip(end);
    broken.refuses("a later segment proves");
    broken.flip(end);
    broken.disk.remove(&frame::segment_name(2)).expect("removed");
    broken.refuses("segment 0000000000000002.log is missing");
}

#[tokio::test]
async fn a_damaged_head_never_makes_a_log_look_new() {
    let broken = Broken::new(&ONE_BY_ONE).await;
    for offset in 0..40 {
        broken.flip(offset);
        broken.refuses("");
        broken.flip(offset);
    }
    broken.opens_with(10, false).await;
}

#[tokio::test]
async fn a_segment_whose_creation_was_cut_short_is_made_again() {
    for left in [0, 8, 20, 30, frame::HEAD_BYTES] {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
        let (log, _) = open(&disk).expect("a log");
        let entries: Vec<Entry> = (0..20).map(|index| set(1, index, 50)).collect();
        log.clone().blocking_append(entries).await.expect("appended");
        log.close().await;
        // As it would be written next, up to some byte.
        let chain = log.shared.lock().chain;
        let head = frame::Head { salt: 1, prev: chain.prev, number: 2, base: chain.position }.write();
        let file = disk.create(&frame::segment_name(2), SMALL_SEGMENT_BYTES).expect("created");
        file.write_at(0, &head[..left]).expect("written");
        let (log, _) = open(&disk).expect("opens");
        assert_eq!(held(&log).await.len(), 20);
        let more: Vec<Entry> = (20..90).map(|index| set(1, index, 50)).collect();
        log.clone().blocking_append(more).await.expect("appended");
        log.close().await;
        let (log, _) = open(&disk).expect("opens again");
        assert_eq!(held(&log).await.len(), 90);
        log.close().await;
    }
}

#[tokio::test]
async fn a_log_of_a_later_version_is_left_alone() {
    let broken = Broken::new(&ONE_BY_ONE).await;
    let mut head: [u8; frame::HEAD_BYTES] = broken.bytes()[..frame::HEAD_BYTES].try_into().expect("a head");
    head[8] = 2;
    head[12..16].fill(0);
    let crc = crc32fast::hash(&head);
    head[12..16].copy_from_slice(&crc.to_le_bytes());
    broken.file().write_at(0, &head).expect("written");
    broken.refuses("was written by a later version");
}

#[tokio::test]
async fn nothing_is_taken_once_a_sync_failed() {
    /// Fails every sync once it is told to.
    struct Failing(MemoryDisk, Arc<std::sync::atomic::AtomicBool>);
    struct FailingFile(Arc<dyn crate::raft::file::File>, Arc<std::sync::atomic::AtomicBool>);

    impl crate::raft::file::File for FailingFile {
        fn size(&self) -> io::Result<u64> {
            self.0.size()
        }
        fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
            self.0.read_at(offset, into)
        }
        fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.0.write_at(offset, bytes)
        }
        fn data_after(&self, offset: u64) -> io::Result<Option<std::ops::Range<u64>>> {
            self.0.data_after(offset)
        }
        fn zero_from(&self, offset: u64, size: u64) -> io::Result<()> {
            self.0.zero_from(offset, size)
        }
        fn sync(&self) -> io::Result<()> {
            let fails = self.1.load(std::sync::atomic::Ordering::SeqCst);
            if fails { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
        }
    }

    impl Disk for Failing {
        fn list(&self) -> io::Result<Vec<String>> {
            self.0.list()
        }
        fn open(&self, name: &str) -> io::Result<Arc<dyn crate::raft::file::File>> {
            Ok(Arc::new(FailingFile(self.0.open(name)?, Arc::clone(&self.1))))
        }
        fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn crate::raft::file::File>> {
            Ok(Arc::new(FailingFile(self.0.create(name, size)?, Arc::clone(&self.1))))
        }
        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.0.rename(from, to)
        }
        fn remove(&self, name: &str) -> io::Result<()> {
            self.0.remove(name)
        }
        fn sync(&self) -> io::Result<()> {
            self.0.sync()
        }
        fn place(&self) -> String {
            self.0.place()
        }
    }

    let fails = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let disk = Arc::new(Failing(MemoryDisk::default(), Arc::clone(&fails)));
    let told = Arc::new(Mutex::new(String::new()));
    let tell = Arc::clone(&told);
    let on_failure = Box::new(move |text: &str| *tell.lock().expect("whole") = text.to_owned());
    let (mut log, _) = LogStore::open(disk, SMALL_SEGMENT_BYTES, false, on_failure).expect("a log");
    log.blocking_append([blank(1, 0)]).await.expect("appended");
    fails.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(log.blocking_append([blank(1, 1)]).await.is_err());
    fails.store(false, std::sync::atomic::Ordering::SeqCst);
    assert!(log.blocking_append([blank(1, 2)]).await.is_err(), "it works again, but what the disk holds is unknown");
    assert!(log.save_vote(&Vote::new(2, ServerId(1))).await.is_err());
    log.close().await;
    let told = told.lock().expect("whole").clone();
    assert!(told.starts_with("write the Raft log in memory: the disk is gone; "), "{told}");
    assert!(told.contains("free space"), "names the next step: {told}");
}
