//! The data directory: held by one agent at a time, known by its format and its node ID.
//! The root opens it before anything else; `raft` and `serf` keep their files below it.
//! A refusal leaves everything as it was found.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use uuid::Uuid;

use crate::raft::owner;

/// What this version writes, and the newest it reads.
const FORMAT: u32 = 1;
/// Longest file read whole here: an ID, a number.
const SMALL_FILE_BYTES_MAX: u64 = 256;
const NODE_ID: &str = "node-id";

/// Nothing was changed, in every case.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("data directory {0} is not a directory")]
    NotDirectory(PathBuf),
    #[error("create data directory {path}")]
    Create { path: PathBuf, source: io::Error },
    #[error("use data directory {path}: {what}")]
    Unusable { path: PathBuf, what: &'static str, source: io::Error },
    #[error("data directory {path} is in use by a running agent{}", pid.map(|p| format!(" (pid {p})")).unwrap_or_default())]
    InUse { path: PathBuf, pid: Option<u32> },
    #[error(
        "data directory {path} belongs to node {found}, not to {configured}: \
         give it -node-id={found}, or another -data-dir"
    )]
    OtherNode { path: PathBuf, found: Uuid, configured: Uuid },
    #[error(
        "data directory {path} belongs to node {found}, but its node-id file is gone: give it -node-id={found}, or \
         another -data-dir"
    )]
    LostId { path: PathBuf, found: Uuid },
    #[error(
        "data directory {path} holds the Raft data of a server, but its node-id file is gone: restore that file, give \
         -node-id the ID the server had, or give another -data-dir"
    )]
    UnknownId { path: PathBuf },
    #[error(
        "data directory {path} has format {found}, this version reads up to {FORMAT}: start the version that wrote it"
    )]
    Newer { path: PathBuf, found: u32 },
    #[error("{path} does not hold {what}: restore it from a backup, or give another -data-dir")]
    Unreadable { path: PathBuf, what: &'static str },
    #[error(
        "data directory {path} holds the Raft data of a HashiCorp Consul server (raft/raft.db), \
         which cannot be read here: give another -data-dir"
    )]
    HashiCorp { path: PathBuf },
}

/// A data directory that is ours as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    node_id: Uuid,
    /// The kernel drops the lock with the descriptor, however the process ends.
    _lock: File,
}

impl DataDir {
    /// Creates what is missing and takes the lock. `configured` is the `-node-id` given, if any.
    pub fn open(path: &Path, configured: Option<Uuid>) -> Result<Self, Error> {
        let path = path.to_path_buf();
        match fs::metadata(&path) {
            Ok(found) if !found.is_dir() => return Err(Error::NotDirectory(path)),
            Ok(_) => {}
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&path).map_err(|source| Error::Create { path: path.clone(), source })?;
            }
            Err(source) => return Err(unusable(&path, "look at it", source)),
        }
        if path.join("raft/raft.db").exists() {
            return Err(Error::HashiCorp { path });
        }
        let lock = lock(&path)?;
        check_format(&path)?;
        let node_id = node_id(&path, configured)?;
        Ok(Self { path, node_id, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The node's ID: kept here, made up on the first start.
    pub fn node_id(&self) -> Uuid {
        self.node_id
    }

    /// Where `raft` keeps its log and snapshots.
    pub fn raft(&self) -> PathBuf {
        self.path.join("raft")
    }

    /// Where gossip keeps its keys and what it knew of its pools.
    pub fn serf(&self) -> PathBuf {
        self.path.join("serf")
    }
}

fn unusable(path: &Path, what: &'static str, source: io::Error) -> Error {
    Error::Unusable { path: path.to_path_buf(), what, source }
}

/// Takes the lock or says who has it. The file holds the process ID for people to read.
fn lock(path: &Path) -> Result<File, Error> {
    let failed = |source| unusable(path, "take its lock", source);
    let name = path.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // Who holds it is only a help; the lock itself is what counts.
            let _ = file.take(SMALL_FILE_BYTES_MAX).read_to_string(&mut text);
            return Err(Error::InUse { path: path.to_path_buf(), pid: text.trim().parse().ok() });
        }
        Err(errno) => return Err(failed(errno.into())),
    }
    // On a full disk nobody reads who holds it, and it is held all the same.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

fn check_format(path: &Path) -> Result<(), Error> {
    let name = path.join("format");
    let Some(text) = read_small(&name).map_err(|source| unusable(path, "read its format", source))? else {
        return write_small(path, "format", &format!("{FORMAT}\n"), 0o644)
            .map_err(|source| unusable(path, "write its format", source));
    };
    match text.trim().parse::<u32>() {
        Ok(found) if found > FORMAT => Err(Error::Newer { path: path.to_path_buf(), found }),
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Unreadable { path: name, what: "a format number" }),
    }
}

/// The ID of the server whose Raft data the directory holds is the one that counts: a log that is
/// taken up under another would vote twice, or never.
fn node_id(path: &Path, configured: Option<Uuid>) -> Result<Uuid, Error> {
    let stored = stored_id(path)?;
    let server = owner::read(path).map_err(|source| unusable(path, "read whose Raft data it holds", source))?;
    let owner = server.or(stored);
    let id = match (owner, configured.or(stored)) {
        (Some(found), Some(configured)) if found != configured => {
            return Err(Error::OtherNode { path: path.to_path_buf(), found, configured });
        }
        (Some(found), None) => return Err(Error::LostId { path: path.to_path_buf(), found }),
        (None, None) if holds_raft(path) => return Err(Error::UnknownId { path: path.to_path_buf() }),
        (_, given) => given.unwrap_or_else(Uuid::new_v4),
    };
    if stored != Some(id) {
        write_small(path, NODE_ID, &id.to_string(), 0o600)
            .map_err(|source| unusable(path, "write its node ID", source))?;
    }
    Ok(id)
}

fn stored_id(path: &Path) -> Result<Option<Uuid>, Error> {
    let name = path.join(NODE_ID);
    let text = read_small(&name).map_err(|source| unusable(path, "read its node ID", source))?;
    let parse = |text: String| Uuid::parse_str(text.trim());
    text.map(parse).transpose().map_err(|_| Error::Unreadable { path: name, what: "a node ID" })
}

fn holds_raft(path: &Path) -> bool {
    fs::read_dir(path.join("raft/log")).is_ok_and(|mut names| names.next().is_some())
}

fn read_small(name: &Path) -> io::Result<Option<String>> {
    let file = match File::open(name) {
        Ok(file) => file,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(SMALL_FILE_BYTES_MAX).read_to_end(&mut text)?;
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

/// Whole or not at all, also when power fails: written aside, synced, renamed.
fn write_small(dir: &Path, name: &str, text: &str, mode: u32) -> io::Result<()> {
    let aside = dir.join(format!("{name}.tmp"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, dir.join(name))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The files of a data directory, the ID asked for, and the words of the refusal.
    #[track_caller]
    fn refuses(files: &[(&str, &str)], configured: Option<Uuid>, expected: &str) {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let name = dir.path().join(name);
            fs::create_dir_all(name.parent().expect("a parent")).expect("a directory");
            fs::write(name, text).expect("a file");
        }
        let error = DataDir::open(dir.path(), configured).expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&dir.path().display().to_string()), "names the directory: {error}");
        for (name, text) in files {
            assert_eq!(fs::read_to_string(dir.path().join(name)).expect("still there"), *text, "{name} was changed");
        }
        let has_id = dir.path().join("node-id").exists();
        assert_eq!(has_id, files.iter().any(|(name, _)| *name == "node-id"), "an ID was written");
    }

    #[test]
    fn what_is_not_ours_to_use_is_refused_by_name() {
        refuses(&[("raft/raft.db", "bolt")], None, "HashiCorp");
        refuses(&[("format", "2\n")], None, "format 2, this version reads up to 1");
        refuses(&[("format", "new")], None, "does not hold a format number");
        refuses(&[("node-id", "nobody")], None, "does not hold a node ID");
        let found = Uuid::from_u128(1);
        let text = found.to_string();
        refuses(&[("node-id", &text)], Some(Uuid::from_u128(2)), &format!("belongs to node {found}"));
    }

    #[test]
    fn a_lost_node_id_is_not_made_up_again_beside_raft_data() {
        let (found, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (text, other_text) = (found.to_string(), other.to_string());
        let asked = format!("-node-id={found}");
        refuses(&[("server-id", &text)], None, &asked);
        refuses(&[("server-id", &text), ("raft/log/1.log", "log")], None, &asked);
        refuses(&[("server-id", &text)], Some(other), &asked);
        refuses(&[("server-id", &text), ("node-id", &other_text)], None, &asked);
        refuses(&[("raft/log/1.log", "log")], None, "its node-id file is gone");
    }

    #[test]
    fn a_lost_node_id_is_taken_from_who_knows_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let id = Uuid::from_u128(1);
        owner::keep(dir.path(), id).expect("kept");
        assert_eq!(DataDir::open(dir.path(), Some(id)).expect("opens").node_id(), id);
        assert_eq!(DataDir::open(dir.path(), None).expect("opens with what was written").node_id(), id);
    }

    #[test]
    fn the_node_id_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("new/one");
        let first = DataDir::open(&path, None).expect("opens");
        let id = first.node_id();
        let mode = fs::metadata(path.join("node-id")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(first);
        assert_eq!(DataDir::open(&path, None).expect("opens again").node_id(), id);
        assert_eq!(DataDir::open(&path, Some(id)).expect("opens as itself").node_id(), id);
    }

    #[test]
    fn a_directory_in_use_names_the_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let _held = DataDir::open(dir.path(), None).expect("opens");
        let error = DataDir::open(dir.path(), None).expect_err("in use").to_string();
        assert!(error.ends_with(&format!("is in use by a running agent (pid {})", std::process::id())), "{error}");
    }

    #[test]
    fn what_is_no_directory_or_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = DataDir::open(file.path(), None).expect_err("a file").to_string();
        assert!(error.ends_with("is not a directory"), "{error}");
        let error = DataDir::open(Path::new("/proc/self/nothing"), None).expect_err("not there").to_string();
        assert_eq!(error, "create data directory /proc/self/nothing");
    }
}
