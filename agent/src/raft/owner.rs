//! Whose Raft data a data directory holds: `server-id` beside `raft/`, so that what was there is known
//! when all of that is gone. Written by `node` once a log is on disk; the data directory's opener
//! compares it with the node's own ID before anything else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use uuid::Uuid;

const NAME: &str = "server-id";
const NAME_ASIDE: &str = "server-id.tmp";
/// More than an ID takes, to bound what is read.
const BYTES_MAX: u64 = 256;

/// The server whose Raft data is, or was, in the data directory `data`. A file that holds no ID is
/// [`io::ErrorKind::InvalidData`].
pub(crate) fn read(data: &Path) -> io::Result<Option<Uuid>> {
    let file = match File::open(data.join(NAME)) {
        Ok(file) => file,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut text)?;
    let id = std::str::from_utf8(&text).ok().and_then(|text| Uuid::parse_str(text.trim()).ok());
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, format!("{NAME} does not hold a node ID"));
    id.map(Some).ok_or_else(unreadable)
}

/// Notes that `data` holds the Raft data of server `id`; whole or not at all, also when power fails.
pub(crate) fn keep(data: &Path, id: Uuid) -> io::Result<()> {
    if read(data)? == Some(id) {
        return Ok(());
    }
    let aside = data.join(NAME_ASIDE);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(id.to_string().as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, data.join(NAME))?;
    File::open(data)?.sync_all()
}
