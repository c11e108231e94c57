//! Snapshots on disk: written aside, synced, renamed; the newest two are kept, so that one that goes
//! bad does not take the state with it. Used by `state_machine`; what is in the body is `store`'s.
//!
//! ```text
//! magic[8] format u32 crc u32 (of all but these 16 bytes) meta length u32 zero[4] body length u64
//! meta body
//! ```

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::file::{Disk, File, MemoryDisk, read_exact_at};
use super::message::FileId;
use super::record::{self, Meta};
use super::types::{LogId, SnapshotMeta, shown_id};

const MAGIC: [u8; 8] = *b"quosnap\x01";
const FORMAT: u32 = 1;
const HEAD_BYTES: usize = 32;
/// The first bytes, which the checksum does not cover.
const UNSUMMED_BYTES: u64 = 16;
const META_BYTES_MAX: u32 = 1 << 20;
const KEPT: usize = 2;
const BUFFER_BYTES: usize = 64 << 10;
/// The name while it is written.
const ASIDE: &str = "new.tmp";

/// A snapshot that can be read at any time, also after it was replaced.
#[derive(Clone)]
pub(crate) struct Body {
    pub(crate) meta: Meta,
    file: Arc<dyn File>,
    offset: u64,
    length: u64,
}

impl Body {
    /// Reads the body from its start.
    pub(crate) fn reader(&self) -> impl Read {
        let reader = FileReader { file: Arc::clone(&self.file), at: self.offset, end: self.offset + self.length };
        io::BufReader::with_capacity(BUFFER_BYTES, reader)
    }

    /// Bytes of the whole file.
    pub(crate) fn size(&self) -> u64 {
        self.offset + self.length
    }

    /// Which file it is.
    pub(crate) fn file_id(&self) -> io::Result<FileId> {
        let mut crc = [0; 4];
        read_exact_at(&*self.file, 12, &mut crc)?;
        let last = self.meta.last.map(Into::into);
        Ok(FileId { last, size: self.size(), crc: u32::from_le_bytes(crc) })
    }

    /// Bytes of the whole file, head and all, from `offset`; fewer at its end.
    pub(crate) fn piece(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let rest = usize::try_from((self.offset + self.length).saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(rest)];
        read_exact_at(&*self.file, offset, &mut bytes)?;
        Ok(bytes)
    }

    /// The snapshot of a state that holds nothing yet.
    pub(crate) fn nothing() -> Self {
        let file = MemoryDisk::default().create(ASIDE, 0).expect("a new directory in memory takes any name");
        Self { meta: Meta::default(), file, offset: 0, length: 0 }
    }

    pub(crate) fn openraft_meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.meta.last, last_membership: self.meta.membership.clone() }
    }
}

/// What is wrong with a file that should be a snapshot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("read a snapshot")]
    Io(#[from] io::Error),
    #[error("it is damaged")]
    Damaged,
    #[error("it has format {0}, this version reads up to {FORMAT}")]
    Newer(u32),
}

/// Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("read the Raft snapshots")]
    Io(#[from] io::Error),
    /// For the operator.
    #[error("{0}")]
    Refused(String),
}

/// The snapshots of one server.
pub(crate) struct Snapshots {
    disk: Arc<dyn Disk>,
    newest: Mutex<Option<Body>>,
    /// The last entry in the oldest that is kept, as Consul counts; 0 while there are not two.
    older: AtomicU64,
    /// Names of those that were passed over; the next one that is whole takes their place.
    bad: Vec<String>,
}

impl Snapshots {
    /// Finds the newest that is whole. `purged` is where the log begins: an older snapshot than that
    /// cannot be continued. Tells `damaged` of each one it had to pass over.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        purged: Option<LogId>,
        mut damaged: impl FnMut(&str),
    ) -> Result<Self, OpenError> {
        let mut names = names(&*disk)?;
        let (mut bad, mut bad_names) = (Vec::new(), Vec::new());
        let mut newest = None;
        while let Some(name) = names.pop() {
            match open_body(disk.open(&name)?) {
                Ok(body) => {
                    newest = Some(body);
                    break;
                }
                Err(BodyError::Io(error)) => return Err(error.into()),
                Err(error) => {
                    let text = format!("snapshot {name} in {}: {error}", disk.place());
                    damaged(&text);
                    bad.push(text);
                    bad_names.push(name);
                }
            }
        }
        let reached = newest.as_ref().and_then(|body| body.meta.last);
        if reached < purged {
            let why = if bad.is_empty() { "there is no snapshot that late".to_owned() } else { bad.join("; ") };
            return Err(OpenError::Refused(format!(
                "the Raft log begins behind entry {} and no whole snapshot in {} reaches that far: {why}; nothing was \
                 changed. Restore the data directory from a backup, or, where other servers have the data, remove this \
                 server from the configuration, empty its data directory and let it join again",
                shown_id(purged.as_ref()),
                disk.place()
            )));
        }
        // Whole ones below the newest are not known to be whole, only likely.
        let older = if newest.is_some() { names.last().map_or(0, |name| index_of(name)) } else { 0 };
        Ok(Self { disk, newest: Mutex::new(newest), older: AtomicU64::new(older), bad: bad_names })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Body>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn newest(&self) -> Option<Body> {
        self.lock().clone()
    }

    /// Where they are, for messages.
    pub(crate) fn place(&self) -> String {
        self.disk.place()
    }

    /// Index of the last entry that even the oldest kept one holds; none while there are not two.
    pub(crate) fn older(&self) -> Option<u64> {
        self.older.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Writes a snapshot; it is the newest when this returns, unless there is a later one. On an error
    /// what there was stays, and nothing else takes up room.
    pub(crate) fn write(&self, meta: &Meta, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Body> {
        let mut newest = self.lock();
        match self.disk.remove(ASIDE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // One that was never finished.
            _ => {}
        }
        let file = match self.write_aside(meta, fill) {
            Ok(file) => file,
            Err(error) => {
                // On a full disk the log needs the room; what cannot be removed is, before the next one.
                let _ = self.disk.remove(ASIDE);
                return Err(error);
            }
        };
        self.disk.rename(ASIDE, &name(meta.last.as_ref()))?;
        self.disk.sync()?;
        let body = open_head(file).map_err(io::Error::other)?;
        if newest.as_ref().is_none_or(|old| old.meta.last <= meta.last) {
            *newest = Some(body.clone());
        }
        // The new one is there all the same, and the next one removes what is left.
        let _ = self.remove_old(&name(meta.last.as_ref()));
        Ok(body)
    }

    fn write_aside(
        &self,
        meta: &Meta,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Arc<dyn File>> {
        let file = self.disk.create(ASIDE, 0)?;
        write_body(&*file, meta, fill)?;
        file.sync()?;
        Ok(file)
    }

    /// Makes a snapshot that came from elsewhere ours; one that is ours already stays as it is.
    pub(crate) fn adopt(&self, body: &Body) -> io::Result<Body> {
        if let Some(ours) = self.newest().filter(|ours| ours.meta == body.meta) {
            return Ok(ours);
        }
        self.write(&body.meta, |out| io::copy(&mut body.reader(), out).map(|_| ()))
    }

    fn remove_old(&self, written: &str) -> io::Result<()> {
        let is_bad = |name: &String| name != written && self.bad.contains(name);
        let (mut old, mut names): (Vec<String>, Vec<String>) = names(&*self.disk)?.into_iter().partition(is_bad);
        let kept = names.split_off(names.len().saturating_sub(KEPT));
        let older = kept.first().filter(|_| kept.len() == KEPT).map_or(0, |name| index_of(name));
        self.older.store(older, Ordering::Relaxed);
        old.append(&mut names);
        for old in old {
            self.disk.remove(&old)?;
        }
        Ok(())
    }
}

/// Sorts as the log does.
fn name(last: Option<&LogId>) -> String {
    format!("{:016x}-{:016x}.snap", shown_id(last), last.map_or(0, |id| id.leader_id.term))
}

/// What [`name`] begins with; 0 of a name that is not of its making.
fn index_of(name: &str) -> u64 {
    name.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// The snapshots, oldest first.
fn names(disk: &dyn Disk) -> io::Result<Vec<String>> {
    let mut names: Vec<String> = disk.list()?.into_iter().filter(|name| name.ends_with(".snap")).collect();
    names.sort_unstable();
    Ok(names)
}

fn write_body(file: &dyn File, meta: &Meta, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let meta = record::write_meta(meta, Vec::new());
    let start = HEAD_BYTES as u64 + meta.len() as u64;
    let out = FileWriter { file, at: start, crc: crc32fast::Hasher::new() };
    let mut out = io::BufWriter::with_capacity(BUFFER_BYTES, out);
    fill(&mut out)?;
    let written = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    head[16..20].copy_from_slice(&u32::try_from(meta.len()).map_err(io::Error::other)?.to_le_bytes());
    head[24..32].copy_from_slice(&(written.at - start).to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[UNSUMMED_BYTES as usize..]);
    crc.update(&meta);
    crc.combine(&written.crc);
    head[12..16].copy_from_slice(&crc.finalize().to_le_bytes());
    file.write_at(HEAD_BYTES as u64, &meta)?;
    file.write_at(0, &head)
}

/// The whole file, checked.
pub(crate) fn open_body(file: Arc<dyn File>) -> Result<Body, BodyError> {
    let body = open_head(Arc::clone(&file))?;
    let mut rest = FileReader { file: Arc::clone(&file), at: UNSUMMED_BYTES, end: body.offset + body.length };
    let mut crc = crc32fast::Hasher::new();
    let mut bytes = vec![0; BUFFER_BYTES];
    loop {
        match rest.read(&mut bytes)? {
            0 => break,
            read => crc.update(&bytes[..read]),
        }
    }
    let mut told = [0; 4];
    read_exact_at(&*file, 12, &mut told)?;
    if crc.finalize() == u32::from_le_bytes(told) { Ok(body) } else { Err(BodyError::Damaged) }
}

fn open_head(file: Arc<dyn File>) -> Result<Body, BodyError> {
    let size = file.size()?;
    let mut head = [0; HEAD_BYTES];
    if file.read_at(0, &mut head)? != HEAD_BYTES || head[..8] != MAGIC {
        return Err(BodyError::Damaged);
    }
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if word(8) != FORMAT {
        return Err(BodyError::Newer(word(8)));
    }
    let length = u64::from(word(24)) | u64::from(word(28)) << 32;
    let offset = HEAD_BYTES as u64 + u64::from(word(16));
    if word(16) > META_BYTES_MAX || offset.checked_add(length) != Some(size) {
        return Err(BodyError::Damaged);
    }
    let mut meta = vec![0; word(16) as usize];
    read_exact_at(&*file, HEAD_BYTES as u64, &mut meta)?;
    let meta = record::read_meta(&meta).map_err(|_| BodyError::Damaged)?;
    Ok(Body { meta, file, offset, length })
}

struct FileReader {
    file: Arc<dyn File>,
    at: u64,
    end: u64,
}

impl Read for FileReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(into.len());
        let read = self.file.read_at(self.at, &mut into[..rest])?;
        self.at += read as u64;
        Ok(read)
    }
}

struct FileWriter<'a> {
    file: &'a dyn File,
    at: u64,
    crc: crc32fast::Hasher,
}

impl Write for FileWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.at, bytes)?;
        self.crc.update(bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::{Membership, Peer, ServerId, StoredMembership};
    use super::*;
    use crate::moment::WallTime;

    fn meta(index: u64) -> Meta {
        let peer = Peer { name: "one".to_owned(), address: "10.0.0.1:8300".to_owned() };
        let membership = Membership::from(std::collections::BTreeMap::from([(ServerId(1), peer)]));
        Meta {
            last: Some(LogId::new_term_index(2, index)),
            membership: StoredMembership::new(Some(LogId::new_term_index(0, 0)), membership),
            at: WallTime::from_micros(3),
        }
    }

    fn open(disk: &MemoryDisk, purged: Option<u64>) -> Result<(Snapshots, Vec<String>), OpenError> {
        let mut passed = Vec::new();
        let purged = purged.map(|index| LogId::new_term_index(2, index));
        let snapshots = Snapshots::open(Arc::new(disk.clone()), purged, |text| passed.push(text.to_owned()))?;
        Ok((snapshots, passed))
    }

    fn write(snapshots: &Snapshots, index: u64, text: &str) {
        snapshots.write(&meta(index), |out| out.write_all(text.as_bytes())).expect("written");
    }

    fn text(snapshots: &Snapshots) -> Option<String> {
        let mut text = String::new();
        snapshots.newest()?.reader().read_to_string(&mut text).expect("readable");
        Some(text)
    }

    #[test]
    fn two_are_kept_and_the_newest_is_read() {
        let disk = MemoryDisk::default();
        let (snapshots, _) = open(&disk, None).expect("opens");
        assert_eq!(text(&snapshots), None);
        for (index, body) in [(5, "five"), (9, "nine"), (12, "twelve")] {
            write(&snapshots, index, body);
        }
        assert_eq!(names(&disk).expect("names").len(), 2);
        assert_eq!(snapshots.older(), Some(9));
        let (again, passed) = open(&disk, Some(12)).expect("opens");
        assert_eq!((text(&again).as_deref(), passed.len()), (Some("twelve"), 0));
        assert_eq!(again.newest().map(|body| body.meta), Some(meta(12)));
        assert_eq!(again.older(), Some(9));
    }

    #[test]
    fn a_damaged_one_never_takes_the_place_of_a_whole_one() {
        let disk = MemoryDisk::default();
        let (snapshots, _) = open(&disk, None).expect("opens");
        write(&snapshots, 5, "five");
        write(&snapshots, 9, "nine");
        disk.open(&name(meta(9).last.as_ref())).expect("there").write_at(40, b"bad").expect("written");
        let (again, passed) = open(&disk, None).expect("opens");
        assert_eq!((passed.len(), again.older()), (1, None));
        write(&again, 12, "twelve");
        assert_eq!(names(&disk).expect("names"), [name(meta(5).last.as_ref()), name(meta(12).last.as_ref())]);
        assert_eq!(again.older(), Some(5));
    }

    #[test]
    fn a_damaged_one_is_passed_over_as_far_as_the_log_reaches() {
        let disk = MemoryDisk::default();
        let (snapshots, _) = open(&disk, None).expect("opens");
        write(&snapshots, 5, "five");
        write(&snapshots, 9, "nine");
        let newest = disk.open(&name(meta(9).last.as_ref())).expect("there");
        for at in [0, 9, 13, 17, 40, newest.size().expect("size") - 1] {
            let mut byte = [0];
            newest.read_at(at, &mut byte).expect("read");
            newest.write_at(at, &[byte[0] ^ 4]).expect("written");
            let (again, passed) = open(&disk, Some(5)).expect("opens");
            assert_eq!((text(&again).as_deref(), passed.len()), (Some("five"), 1), "a flip at byte {at}");
            let refused = open(&disk, Some(6)).err().expect("refused").to_string();
            assert!(refused.contains("begins behind entry 7"), "{refused}");
            newest.write_at(at, &byte).expect("written");
        }
    }

    #[test]
    fn one_that_was_not_finished_counts_for_nothing() {
        let disk = MemoryDisk::default();
        let (snapshots, _) = open(&disk, None).expect("opens");
        write(&snapshots, 5, "five");
        let failed = snapshots.write(&meta(9), |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.is_err());
        assert_eq!(text(&snapshots).as_deref(), Some("five"));
        assert_eq!(disk.list().expect("names"), [name(meta(5).last.as_ref())], "half of one takes up room");
        write(&snapshots, 10, "ten");
        assert_eq!(open(&disk, None).map(|(s, _)| text(&s)).expect("opens").as_deref(), Some("ten"));
    }

    #[test]
    fn the_bytes_of_a_snapshot_stay_readable() {
        let disk = MemoryDisk::default();
        let (snapshots, _) = open(&disk, None).expect("opens");
        write(&snapshots, 5, "body");
        let file = disk.open(&name(meta(5).last.as_ref())).expect("there");
        let mut bytes = vec![0; usize::try_from(file.size().expect("size")).expect("small")];
        file.read_at(0, &mut bytes).expect("read");
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let head = "71756f736e61700101000000607b5b313c000000000000000400000000000000";
        let meta = "0102050100000101000000000000000000000000000000010100000000000000000000000000000001036f6e650d\
                    31302e302e302e313a3833303006";
        assert_eq!(hex, format!("{head}{meta}626f6479"));
    }
}
