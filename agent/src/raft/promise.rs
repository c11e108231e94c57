//! The promise to form a cluster with exactly these servers: durable, so that one that restarts does
//! not form another one. `forming` makes it, `serving` asks it for whom an empty server may vote.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::bootstrap::Map;
use super::types::ServerId;

const NAME: &str = "promise.json";
const NAME_ASIDE: &str = "promise.json.tmp";
/// Far more than the servers of a cluster take.
const BYTES_MAX: u64 = 64 << 10;

/// Clones are the same promise.
#[derive(Clone)]
pub(crate) struct Promise {
    /// `raft/` under the data directory; none with `-dev`.
    dir: Option<PathBuf>,
    map: Arc<Mutex<Option<Map>>>,
}

impl Promise {
    pub(crate) fn open(dir: Option<&Path>) -> io::Result<Self> {
        let map = match dir {
            Some(dir) => read(dir)?,
            None => None,
        };
        Ok(Self { dir: dir.map(Path::to_owned), map: Arc::new(Mutex::new(map)) })
    }

    pub(crate) fn map(&self) -> Option<Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn includes(&self, id: ServerId) -> bool {
        self.map().is_some_and(|map| map.contains_key(&uuid::Uuid::from_u128(id.0)))
    }

    /// On disk when this returns. Blocks.
    pub(crate) fn make(&self, map: &Map) -> io::Result<()> {
        let mut held = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref() == Some(map) {
            return Ok(());
        }
        if let Some(dir) = &self.dir {
            write(dir, map)?;
        }
        *held = Some(map.clone());
        Ok(())
    }

    /// Where an operator finds it.
    pub(crate) fn place(&self) -> String {
        self.dir.as_ref().map_or_else(|| "memory".to_owned(), |dir| dir.join(NAME).display().to_string())
    }
}

fn read(dir: &Path) -> io::Result<Option<Map>> {
    let file = match File::open(dir.join(NAME)) {
        Ok(file) => file,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text)?;
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", dir.join(NAME).display()));
    serde_json::from_str(&text).map(Some).map_err(invalid)
}

fn write(dir: &Path, map: &Map) -> io::Result<()> {
    let aside = dir.join(NAME_ASIDE);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(&serde_json::to_vec_pretty(map)?)?;
    file.sync_all()?;
    fs::rename(&aside, dir.join(NAME))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::bootstrap::Place;

    #[test]
    fn a_promise_outlives_the_process_and_garbage_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let promise = Promise::open(Some(dir.path())).expect("opens");
        assert_eq!(promise.map(), None);
        let place = Place { name: "one".to_owned(), address: "10.0.0.1:8300".to_owned() };
        let map = Map::from([(uuid::Uuid::from_u128(1), place)]);
        promise.make(&map).expect("written");
        let again = Promise::open(Some(dir.path())).expect("opens");
        assert_eq!(again.map(), Some(map));
        assert!(again.includes(ServerId(1)) && !again.includes(ServerId(2)));
        fs::write(dir.path().join(NAME), "{").expect("written");
        assert!(Promise::open(Some(dir.path())).is_err_and(|error| error.to_string().contains(NAME)));
    }
}
