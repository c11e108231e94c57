//! The file that keeps a pool's keys: a JSON list in base64, the sealing key first. As Consul's.
//! Opened by the root before a pool is; written again by the pool when its keys change.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::seal::{KEYS_MAX, Key};

/// Nothing was changed, in every case.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error("read keyring {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("write keyring {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("keyring {path} is no list of 1 to {KEYS_MAX} keys in base64: restore it, or remove it and give -encrypt")]
    Damaged { path: PathBuf },
}

/// The keys of the file; when there is none, `given` becomes the first. Once there is a file, the
/// given key counts no more, for keys may have been changed since.
pub fn open(path: &Path, given: Option<Key>) -> Result<Vec<Key>, KeyringError> {
    match std::fs::read(path) {
        Ok(bytes) => from_json(&bytes).ok_or_else(|| KeyringError::Damaged { path: path.to_path_buf() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let keys: Vec<Key> = given.into_iter().collect();
            if !keys.is_empty() {
                save(path, &keys)?;
            }
            Ok(keys)
        }
        Err(source) => Err(KeyringError::Read { path: path.to_path_buf(), source }),
    }
}

/// Writes the file whole, readable by its owner only: aside, synced, renamed.
pub fn save(path: &Path, keys: &[Key]) -> Result<(), KeyringError> {
    let write = || -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent)?;
        let aside = path.with_extension("keyring.new");
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(to_json(keys).as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&aside, path)?;
        std::fs::File::open(parent)?.sync_all()
    };
    write().map_err(|source| KeyringError::Write { path: path.to_path_buf(), source })
}

pub(super) fn to_text(key: &Key) -> String {
    STANDARD.encode(key.as_bytes())
}

fn to_json(keys: &[Key]) -> String {
    serde_json::json!(keys.iter().map(to_text).collect::<Vec<_>>()).to_string()
}

fn from_json(bytes: &[u8]) -> Option<Vec<Key>> {
    let texts: Vec<String> = serde_json::from_slice(bytes).ok()?;
    if texts.is_empty() || texts.len() > KEYS_MAX {
        return None;
    }
    texts.iter().map(|text| Key::new(&STANDARD.decode(text).ok()?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_given_key_is_kept_and_later_the_file_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("serf/local.keyring");
        let key = |byte| Key::new(&[byte; 16]).expect("a key's size");
        assert_eq!(open(&path, None).expect("no file, no key"), []);
        assert_eq!(open(&path, Some(key(1))).expect("a new file"), [key(1)]);
        assert_eq!(open(&path, Some(key(2))).expect("the same file"), [key(1)]);
        save(&path, &[key(3), key(1)]).expect("a changed ring");
        assert_eq!(open(&path, None).expect("the changed ring"), [key(3), key(1)]);
        for damage in ["", "[]", "[\"AAAA\"]", "{}"] {
            std::fs::write(&path, damage).expect("a damaged file");
            assert!(matches!(open(&path, Some(key(1))), Err(KeyringError::Damaged { .. })), "{damage}");
        }
    }
}
