//! A machine's disk that fails as disks do. What was synced is kept when power fails, of the rest any
//! part in any order, and of the names as well; it may be full, and writes and syncs may fail. Of a sync
//! that failed any part is on disk, and what is not never will be, though it still reads as written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::raft::file::{Disk, File};

/// What reaches the disk whole or not at all; smaller than any real one.
const ATOM_BYTES: usize = 16;

pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    is_size_durable: bool,
}

impl Content {
    fn of(bytes: Vec<u8>) -> Self {
        Self { durable: bytes.clone(), now: bytes, dirty: BTreeSet::new(), is_size_durable: true }
    }

    /// Copies to the disk those of the dirty atoms that `reach` it.
    fn write_back(&self, disk: &mut Vec<u8>, mut reach: impl FnMut() -> bool) {
        disk.resize(self.now.len(), 0);
        for atom in &self.dirty {
            let range = atom * ATOM_BYTES..((atom + 1) * ATOM_BYTES).min(disk.len());
            if range.start < range.end && reach() {
                disk[range.clone()].copy_from_slice(&self.now[range]);
            }
        }
    }

    fn after_crash(&self, rng: &mut SmallRng) -> Vec<u8> {
        if !self.is_size_durable && rng.random_bool(0.5) {
            return Vec::new();
        }
        let mut bytes = self.durable.clone();
        let luck = rng.random_range(0.0..=1.0);
        self.write_back(&mut bytes, || rng.random_bool(luck));
        bytes
    }

    fn sync(&mut self, reach: impl FnMut() -> bool) {
        let mut durable = std::mem::take(&mut self.durable);
        self.write_back(&mut durable, reach);
        self.durable = durable;
        self.dirty.clear();
        self.is_size_durable = true;
    }
}

type Shared = Arc<Mutex<Content>>;
type Names = BTreeMap<String, Shared>;

/// What is wrong with a disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Operations until power fails.
    pub(crate) power_in: Option<u32>,
    /// No room for anything more.
    pub(crate) full: bool,
    /// Writes until one fails, and syncs until one fails.
    pub(crate) write_fails_in: Option<u32>,
    pub(crate) sync_fails_in: Option<u32>,
    /// It says that it synced and did not: a bug on purpose.
    pub(crate) lies: bool,
}

struct Inner {
    /// The names now, and those that a crash certainly keeps.
    now: Names,
    durable: Names,
    rng: SmallRng,
    faults: Faults,
    /// Nothing works any more: power has failed, or another process has the disk.
    is_gone: bool,
    /// What was left when power failed.
    left: Option<Arc<CrashDisk>>,
    /// An operation failed because it was meant to.
    has_failed: bool,
}

/// One machine's, for all its directories.
pub(crate) struct CrashDisk(Mutex<Inner>);

impl CrashDisk {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Self::of(Names::new(), Names::new(), seed, Faults::default())
    }

    fn of(now: Names, durable: Names, seed: u64, faults: Faults) -> Arc<Self> {
        let rng = SmallRng::seed_from_u64(seed);
        let inner = Inner { now, durable, rng, faults, is_gone: false, left: None, has_failed: false };
        Arc::new(Self(Mutex::new(inner)))
    }

    pub(crate) fn dir(self: &Arc<Self>, place: &str, name: &str) -> Arc<Dir> {
        Arc::new(Dir { disk: Arc::clone(self), place: format!("{place}/{name}"), prefix: format!("{name}/") })
    }

    /// The disk as it may be after a crash right now; this one goes on.
    pub(crate) fn crash(&self, rng: &mut SmallRng) -> Arc<Self> {
        held(&self.0).after_crash(rng)
    }

    /// Power fails now, if it has not already: what is left.
    pub(crate) fn power_off(&self) -> Arc<Self> {
        let mut inner = held(&self.0);
        inner.power_off();
        inner.left.clone().expect("kept when power failed")
    }

    /// The process that wrote is gone and another one starts: it finds all that was written.
    pub(crate) fn hand_over(&self) -> Arc<Self> {
        let mut inner = held(&self.0);
        if let Some(left) = &inner.left {
            return Arc::clone(left);
        }
        inner.is_gone = true;
        let mut copies: Vec<(Shared, Shared)> = Vec::new();
        let mut copy = |names: &Names| -> Names {
            let one = |file: &Shared| match copies.iter().find(|(old, _)| Arc::ptr_eq(old, file)) {
                Some((_, new)) => Arc::clone(new),
                None => {
                    let new = Arc::new(Mutex::new(held(file).clone()));
                    copies.push((Arc::clone(file), Arc::clone(&new)));
                    new
                }
            };
            let mut one = one;
            names.iter().map(|(name, file)| (name.clone(), one(file))).collect()
        };
        let (now, durable) = (copy(&inner.now), copy(&inner.durable));
        let seed = inner.rng.random();
        Self::of(now, durable, seed, inner.faults.lasting())
    }

    pub(crate) fn is_gone(&self) -> bool {
        held(&self.0).is_gone
    }

    pub(crate) fn has_failed(&self) -> bool {
        held(&self.0).has_failed
    }

    pub(crate) fn harm(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut held(&self.0).faults);
    }
}

impl Faults {
    /// What the next process meets too.
    fn lasting(&self) -> Self {
        Self { full: self.full, lies: self.lies, ..Self::default() }
    }
}

impl Inner {
    fn after_crash(&self, rng: &mut SmallRng) -> Arc<CrashDisk> {
        let mut after = Names::new();
        for name in self.now.keys().chain(self.durable.keys()) {
            let file = match (self.now.get(name), self.durable.get(name)) {
                (Some(new), Some(old)) if Arc::ptr_eq(new, old) => Some(new),
                (new, old) => [new, old][usize::from(rng.random_bool(0.5))],
            };
            if let Some(file) = file.filter(|_| !after.contains_key(name)) {
                let bytes = held(file).after_crash(rng);
                after.insert(name.clone(), Arc::new(Mutex::new(Content::of(bytes))));
            }
        }
        CrashDisk::of(after.clone(), after, rng.random(), self.faults.lasting())
    }

    fn power_off(&mut self) {
        if self.left.is_some() {
            return;
        }
        self.is_gone = true;
        let mut rng = self.rng.clone();
        self.left = Some(self.after_crash(&mut rng));
    }

    /// Before each operation that changes something.
    fn change(&mut self) -> io::Result<()> {
        match &mut self.faults.power_in {
            Some(0) => self.power_off(),
            Some(left) => *left -= 1,
            None => {}
        }
        self.alive()
    }

    fn alive(&self) -> io::Result<()> {
        if self.is_gone { Err(io::Error::other("the machine is gone")) } else { Ok(()) }
    }

    fn room(&mut self) -> io::Result<()> {
        if self.faults.full { Err(self.failed(io::ErrorKind::StorageFull.into())) } else { Ok(()) }
    }

    fn failed(&mut self, error: io::Error) -> io::Error {
        self.has_failed = true;
        error
    }

    fn is_due(left: &mut Option<u32>) -> bool {
        match left {
            Some(0) => left.take().is_some(),
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

/// One directory of a disk.
pub(crate) struct Dir {
    disk: Arc<CrashDisk>,
    place: String,
    prefix: String,
}

impl Dir {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        held(&self.disk.0)
    }

    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn handle(&self, content: Shared) -> Arc<dyn File> {
        Arc::new(Handle { disk: Arc::clone(&self.disk), content })
    }
}

impl Disk for Dir {
    fn list(&self) -> io::Result<Vec<String>> {
        let inner = self.inner();
        inner.alive()?;
        Ok(inner.now.keys().filter_map(|name| name.strip_prefix(&self.prefix)).map(str::to_owned).collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let inner = self.inner();
        inner.alive()?;
        let file = inner.now.get(&self.path(name)).cloned().ok_or(io::ErrorKind::NotFound)?;
        drop(inner);
        Ok(self.handle(file))
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn File>> {
        let mut inner = self.inner();
        inner.change()?;
        if inner.now.contains_key(&self.path(name)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(Mutex::new(Content::default()));
        inner.now.insert(self.path(name), Arc::clone(&file));
        // A name takes no room, its content does.
        if size > 0 {
            inner.room()?;
        }
        held(&file).now.resize(size as usize, 0);
        drop(inner);
        Ok(self.handle(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        let file = inner.now.remove(&self.path(from)).ok_or(io::ErrorKind::NotFound)?;
        inner.now.insert(self.path(to), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        inner.now.remove(&self.path(name)).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        if Inner::is_due(&mut inner.faults.sync_fails_in) {
            return Err(inner.failed(eio()));
        }
        let here = |name: &String| name.starts_with(&self.prefix);
        let now: Vec<_> =
            inner.now.iter().filter(|(name, _)| here(name)).map(|(n, f)| (n.clone(), f.clone())).collect();
        inner.durable.retain(|name, _| !here(name));
        inner.durable.extend(now);
        Ok(())
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}

struct Handle {
    disk: Arc<CrashDisk>,
    content: Shared,
}

impl Handle {
    fn put(&self, offset: usize, bytes: &[u8]) {
        let mut content = held(&self.content);
        let end = offset + bytes.len();
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[offset..end].copy_from_slice(bytes);
        content.dirty.extend(offset / ATOM_BYTES..end.div_ceil(ATOM_BYTES));
    }
}

impl File for Handle {
    fn size(&self) -> io::Result<u64> {
        held(&self.disk.0).alive()?;
        Ok(held(&self.content).now.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        held(&self.disk.0).alive()?;
        let content = held(&self.content);
        let rest = content.now.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(into.len());
        into[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = held(&self.disk.0);
        inner.change()?;
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if held(&self.content).now.len() < end {
            inner.room()?;
        }
        if Inner::is_due(&mut inner.faults.write_fails_in) {
            self.put(start, &bytes[..bytes.len() / 2]);
            return Err(inner.failed(eio()));
        }
        self.put(start, bytes);
        Ok(())
    }

    fn data_after(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let end = self.size()?;
        Ok((offset < end).then_some(offset..end))
    }

    fn zero_from(&self, offset: u64, size: u64) -> io::Result<()> {
        let mut inner = held(&self.disk.0);
        inner.change()?;
        let mut content = held(&self.content);
        content.now.truncate(offset as usize);
        content.dirty.extend(offset as usize / ATOM_BYTES..(size as usize).div_ceil(ATOM_BYTES));
        inner.room()?;
        content.now.resize(size as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = held(&self.disk.0);
        inner.change()?;
        let mut content = held(&self.content);
        if Inner::is_due(&mut inner.faults.sync_fails_in) {
            let rng = &mut inner.rng;
            content.sync(|| rng.random_bool(0.5));
            return Err(inner.failed(eio()));
        }
        if !inner.faults.lies {
            content.sync(|| true);
        }
        Ok(())
    }
}
