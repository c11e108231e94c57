//! A library that is loaded into each agent before its own: it moves the agent's wall clock and lets its
//! disk be full, slow or broken, as a page of memory says that it shares with this process.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SOURCE: &str = include_str!("shim.c");
const PAGE_BYTES: u64 = 4_096;

/// What the page holds, each a number of 8 bytes.
#[derive(Clone, Copy)]
enum Field {
    AheadMicros,
    SyncMicros,
    SyncErrno,
    WriteErrno,
    Refused,
}

pub(super) const EIO: i64 = 5;
pub(super) const ENOSPC: i64 = 28;

/// The library, made with the C compiler that Rust needs anyway; why it could not be made.
pub(super) fn make(dir: &Path) -> Result<PathBuf, String> {
    let (source, library) = (dir.join("shim.c"), dir.join("shim.so"));
    std::fs::write(&source, SOURCE).map_err(|e| format!("{}: {e}", source.display()))?;
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-Wall", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
    let made = compiler.stdin(Stdio::null()).output().map_err(|e| format!("no C compiler `cc`: {e}"))?;
    match made.status.success() {
        true => Ok(library),
        false => Err(format!("`cc`: {}", String::from_utf8_lossy(&made.stderr).trim())),
    }
}

/// The page of one agent; it outlives the agent's processes.
pub(super) struct Page {
    pub(super) path: PathBuf,
    file: File,
}

impl Page {
    pub(super) fn new(path: PathBuf) -> Self {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("a page");
        file.set_len(PAGE_BYTES).expect("room for a page");
        Self { path, file }
    }

    fn set(&self, field: Field, value: i64) {
        self.file.write_all_at(&value.to_ne_bytes(), field as u64 * 8).expect("a page is written");
    }

    pub(super) fn wall_clock_is_ahead_by(&self, micros: i64) {
        self.set(Field::AheadMicros, micros);
    }

    pub(super) fn syncs_take(&self, micros: i64) {
        self.set(Field::SyncMicros, micros);
    }

    /// 0: they do not.
    pub(super) fn syncs_fail(&self, errno: i64) {
        self.set(Field::SyncErrno, errno);
    }

    /// 0: they do not.
    pub(super) fn writes_fail(&self, errno: i64) {
        self.set(Field::WriteErrno, errno);
    }

    /// How often a write or a sync was refused so far.
    pub(super) fn refused(&self) -> i64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, Field::Refused as u64 * 8).expect("a page is read");
        i64::from_ne_bytes(bytes)
    }
}
