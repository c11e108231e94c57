//! The few file operations that the log and the snapshots need, on a real directory or in memory
//! (`-dev`, tests). One directory, no folders in it. What is not synced may be lost or kept, page by
//! page, in any order: the callers must stand that.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

/// One directory.
pub(crate) trait Disk: Send + Sync + 'static {
    /// Names of the files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// A new file of `size` bytes that read as zero; fails when the name is taken.
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn File>>;
    /// Replaces what `to` names.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals last.
    fn sync(&self) -> io::Result<()>;
    /// Where it is, for messages.
    fn place(&self) -> String;
}

/// An open file; it can be read to the end even after its name is removed.
pub(crate) trait File: Send + Sync {
    fn size(&self) -> io::Result<u64>;
    /// Less than asked for only at the end of the file.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// The next stretch at or after `offset` that may hold anything but zeros.
    fn data_after(&self, offset: u64) -> io::Result<Option<Range<u64>>>;
    /// Cuts the file at `offset` and fills it up to `size` with zeros.
    fn zero_from(&self, offset: u64, size: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
}

/// Long reads and writes of files, off the threads that serve.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    #[cfg(test)]
    if super::sim::seams::is_here() {
        return super::sim::seams::blocking(work).await;
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Reads exactly `into`.
pub(crate) fn read_exact_at(file: &dyn File, offset: u64, into: &mut [u8]) -> io::Result<()> {
    if file.read_at(offset, into)? == into.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// A directory of the file system.
#[derive(Clone, Debug)]
pub(crate) struct RealDisk {
    dir: PathBuf,
}

impl RealDisk {
    /// Makes the directory when it is missing, with those above it, and makes their names last.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        let is_missing = |above: &&Path| !above.as_os_str().is_empty() && !above.exists();
        let missing: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
        for new in missing.iter().rev() {
            fs::create_dir(new)?;
            let parent = new.parent().filter(|parent| !parent.as_os_str().is_empty());
            fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(Self { dir })
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(self.dir.join(name))?;
        Ok(Arc::new(RealFile { file }))
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn File>> {
        let path = self.dir.join(name);
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        let file = RealFile { file };
        file.allocate(0, size)?;
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.dir)?.sync_all()
    }

    fn place(&self) -> String {
        self.dir.display().to_string()
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
}

impl RealFile {
    fn allocate(&self, offset: u64, size: u64) -> io::Result<()> {
        if size <= offset {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), offset, size - offset) {
            Ok(()) => Ok(()),
            // A file system without it: a sparse file is as right, only slower to sync.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.file.set_len(size),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl File for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + read as u64) {
                Ok(0) => break,
                Ok(some) => read += some,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn data_after(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let start = match rustix::fs::seek(&self.file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // A file system without holes: everything may be data.
            Err(Errno::INVAL) => return Ok(Some(offset..self.size()?).filter(|r| !r.is_empty())),
            Err(errno) => return Err(errno.into()),
        };
        let end = rustix::fs::seek(&self.file, SeekFrom::Hole(start))?;
        Ok(Some(start..end))
    }

    fn zero_from(&self, offset: u64, size: u64) -> io::Result<()> {
        self.file.set_len(offset)?;
        self.allocate(offset, size)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Files that end with the process.
#[derive(Clone, Default)]
pub(crate) struct MemoryDisk {
    files: Arc<Mutex<BTreeMap<String, Arc<MemoryFile>>>>,
}

impl MemoryDisk {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<MemoryFile>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.lock().get(name).cloned();
        file.map(|f| f as Arc<dyn File>).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn File>> {
        let mut files = self.lock();
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(MemoryFile { bytes: RwLock::new((Vec::new(), size)) });
        files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock().remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

/// What was written, and the size beyond it that reads as zeros without costing memory.
struct MemoryFile {
    bytes: RwLock<(Vec<u8>, u64)>,
}

fn address(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl File for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        let held = self.bytes.read().unwrap_or_else(PoisonError::into_inner);
        Ok(held.1.max(held.0.len() as u64))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let size = self.size()?;
        let held = self.bytes.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = address(size.saturating_sub(offset))?.min(into.len());
        let written = held.0.get(address(offset)?..).unwrap_or_default();
        let there = written.len().min(wanted);
        into[..there].copy_from_slice(&written[..there]);
        into[there..wanted].fill(0);
        Ok(wanted)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut held = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        let start = address(offset)?;
        let end = start + bytes.len();
        if held.0.len() < end {
            held.0.resize(end, 0);
        }
        held.0[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn data_after(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let held = self.bytes.read().unwrap_or_else(PoisonError::into_inner);
        let end = held.0.len() as u64;
        Ok((offset < end).then_some(offset..end))
    }

    fn zero_from(&self, offset: u64, size: u64) -> io::Result<()> {
        let mut held = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        held.0.truncate(address(offset)?);
        held.1 = size;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
