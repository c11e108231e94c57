//! Small files of the data directory: in `checks/state/` the last report of each check that waits for reports, and
//! in `services/` and `checks/` what earlier versions kept of registrations, one file for each, which is read once more
//! and carried over to the journal. Called by `registry`, off the async threads; decides nothing.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::journal::Journal;
use crate::checks::spec::Check;
use crate::moment::WallTime;
use crate::store::command::{CheckStatus, ServiceFields};

/// What this version writes, and the newest it reads.
const FORMAT: u32 = 1;

/// Of one file no more is read; a definition comes from a request of a limited size.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[derive(Clone, Debug)]
pub struct Files {
    data_dir: PathBuf,
    services: PathBuf,
    checks: PathBuf,
    states: PathBuf,
}

/// The last report of a check, and until when it is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) id: String,
    pub(super) status: CheckStatus,
    pub(super) output: String,
    /// Microseconds of the wall clock: the machine may have been off.
    pub(super) good_until: i64,
}

impl State {
    pub(super) fn is_good(&self, now: WallTime) -> bool {
        now.micros() < self.good_until
    }
}

#[derive(Serialize, Deserialize)]
struct Kept<T> {
    format: u32,
    kept: T,
}

/// What was found of one kind; a file that is none of ours was set aside and is told.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) kept: Vec<T>,
    pub(super) told: Vec<String>,
    /// The files of what is `kept`.
    paths: Vec<PathBuf>,
}

impl<T> Found<T> {
    /// Once it is somewhere else; what cannot be removed is told.
    pub(super) fn remove(&self) -> Vec<String> {
        let removed = self.paths.iter().map(|path| (path, fs::remove_file(path)));
        removed.filter_map(|(path, done)| done.err().map(|why| format!("remove {}: {why}", path.display()))).collect()
    }
}

impl Files {
    /// Below the data directory.
    pub fn new(data_dir: &Path) -> Self {
        let checks = data_dir.join("checks");
        let (services, states) = (data_dir.join("services"), checks.join("state"));
        Self { data_dir: data_dir.to_path_buf(), services, states, checks }
    }

    pub(super) fn journal(&self) -> Journal {
        Journal::new(&self.data_dir)
    }

    /// Not synced: it is replaced soon, and an old one is only worth less.
    pub(super) fn keep_state(&self, state: &State) -> io::Result<()> {
        write(&self.states, &state.id, state)
    }

    pub(super) fn forget_state(&self, id: &str) -> io::Result<()> {
        match fs::remove_file(self.states.join(name(id))) {
            Err(problem) if problem.kind() != io::ErrorKind::NotFound => Err(problem),
            _ => Ok(()),
        }
    }

    /// Of an earlier version.
    pub(super) fn old_services(&self) -> Found<ServiceFields> {
        read(&self.services)
    }

    /// Of an earlier version.
    pub(super) fn old_checks(&self) -> Found<Check> {
        read(&self.checks)
    }

    pub(super) fn states(&self) -> Found<State> {
        read(&self.states)
    }
}

/// An ID may hold anything and be of any length: a file is named by a number made of it (FNV-1a, 128 bits).
fn name(id: &str) -> String {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let hash = id.bytes().fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    format!("{hash:032x}.json")
}

/// Written aside, renamed: what stands under the name is whole after a kill.
fn write<T: Serialize>(dir: &Path, id: &str, what: &T) -> io::Result<()> {
    let text = serde_json::to_vec(&Kept { format: FORMAT, kept: what })?;
    fs::create_dir_all(dir)?;
    let path = dir.join(name(id));
    let aside = path.with_extension("tmp");
    // What a check prints may be secret.
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(&text)?;
    drop(file);
    fs::rename(&aside, &path)
}

fn read<T: DeserializeOwned>(dir: &Path) -> Found<T> {
    let mut found = Found { kept: Vec::new(), told: Vec::new(), paths: Vec::new() };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return found,
        Err(problem) => {
            found.told.push(format!("{} cannot be read: {problem}", dir.display()));
            return found;
        }
    };
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
        match one(&path) {
            Ok(kept) => {
                found.kept.push(kept);
                found.paths.push(path);
            }
            Err(why) => found.told.push(set_aside(&path, &why)),
        }
    }
    found
}

fn one<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let size = fs::metadata(path).map_err(|problem| problem.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{size} bytes are too many"));
    }
    let text = fs::read(path).map_err(|problem| problem.to_string())?;
    let format = serde_json::from_slice::<Kept<serde::de::IgnoredAny>>(&text).map(|kept| kept.format);
    match format {
        Ok(format) if format > FORMAT => Err(format!("it has format {format}, this version reads up to {FORMAT}")),
        _ => serde_json::from_slice::<Kept<T>>(&text).map(|kept| kept.kept).map_err(|problem| problem.to_string()),
    }
}

/// Out of the way of the next start, and there for whoever wants to look.
fn set_aside(path: &Path, why: &str) -> String {
    let aside = path.with_extension("bad");
    match fs::rename(path, &aside) {
        Ok(()) => format!("{} holds no definition ({why}), it was set aside as {}", path.display(), aside.display()),
        Err(problem) => format!("{} holds no definition ({why}), and cannot be set aside: {problem}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(id: &str) -> ServiceFields {
        ServiceFields { id: id.to_owned(), name: "web".to_owned(), port: 80, ..ServiceFields::default() }
    }

    #[test]
    fn what_an_earlier_version_kept_is_found_whatever_its_id_and_removed_when_asked() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files::new(dir.path());
        assert!(files.old_services().kept.is_empty());
        let ids = ["a", "../../b/ü", &"x".repeat(5_000)];
        for id in ids {
            write(&files.services, id, &service(id)).expect("written");
        }
        write(&files.services, "a", &service("a")).expect("written again");
        let found = files.old_services();
        assert_eq!((found.kept.len(), found.told.len()), (3, 0));
        assert!(ids.iter().all(|id| found.kept.contains(&service(id))));
        assert_eq!(found.remove(), [""; 0]);
        assert!(files.old_services().kept.is_empty());
        assert_eq!(found.remove().len(), 3, "told: they are gone already");
    }

    #[test]
    fn a_report_is_kept_until_it_is_forgotten() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files::new(dir.path());
        let state =
            State { id: "a/b".to_owned(), status: CheckStatus::Passing, output: "ok".to_owned(), good_until: 1 };
        files.keep_state(&state).expect("written");
        assert_eq!(files.states().kept, [state]);
        files.forget_state("a/b").expect("removed");
        files.forget_state("a/b").expect("gone already");
        assert!(files.states().kept.is_empty());
    }

    #[test]
    fn a_damaged_file_is_told_and_set_aside() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files::new(dir.path());
        write(&files.services, "a", &service("a")).expect("written");
        let check = |text: &str, why: &str| {
            fs::write(dir.path().join("services/x.json"), text).expect("written");
            let found = files.old_services();
            assert_eq!(found.kept.len(), 1, "{text}");
            assert!(found.told[0].contains(why), "{:?}", found.told);
            assert!(dir.path().join("services/x.bad").exists());
            assert!(files.old_services().told.is_empty(), "told again");
        };
        check("", "EOF");
        check(r#"{"format":1,"kept":{"id":5}}"#, "invalid type");
        check(r#"{"format":2,"kept":{}}"#, "it has format 2, this version reads up to 1");
        check("\u{0}\u{0}", "expected value");
    }
}
