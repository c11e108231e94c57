//! A snapshot that comes in pieces: written aside, resumable while this process lives, given to Raft
//! when it is whole and its checksum is right. `serving` is the only caller, one piece at a time.

use std::io;
use std::sync::Arc;

use super::file::{Disk, File};
use super::message::{Chunk, FileId};
use super::snapshot::{Body, BodyError, open_body};

/// Beside the snapshots, and none of them by its name.
const NAME: &str = "incoming.tmp";
/// No state is larger.
const SIZE_MAX: u64 = 1 << 40;

pub(crate) struct Incoming {
    disk: Arc<dyn Disk>,
    current: Option<Current>,
}

struct Current {
    id: FileId,
    file: Arc<dyn File>,
    have: u64,
}

/// What became of a piece.
pub(crate) enum Taken {
    Have(u64),
    Whole(Body),
    Damaged,
}

impl Incoming {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, current: None }
    }

    /// Blocks on the disk. A piece that does not continue what is there changes nothing.
    pub(crate) fn take(&mut self, chunk: &Chunk) -> io::Result<Taken> {
        if self.current.as_ref().is_none_or(|current| current.id != chunk.file) {
            self.begin(chunk.file)?;
        }
        let Some(current) = &mut self.current else { return Ok(Taken::Have(0)) };
        let length = chunk.bytes.len() as u64;
        let fits = chunk.offset == current.have && length <= current.id.size - current.have;
        if fits && length > 0 {
            current.file.write_at(chunk.offset, &chunk.bytes)?;
            current.have += length;
        }
        if current.have < current.id.size {
            return Ok(Taken::Have(current.have));
        }
        current.file.sync()?;
        match open_body(Arc::clone(&current.file)) {
            Ok(body) => Ok(Taken::Whole(body)),
            Err(BodyError::Io(error)) => Err(error),
            Err(BodyError::Damaged | BodyError::Newer(_)) => {
                self.forget()?;
                Ok(Taken::Damaged)
            }
        }
    }

    fn begin(&mut self, id: FileId) -> io::Result<()> {
        self.forget()?;
        if id.size > SIZE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a snapshot of {} bytes", id.size)));
        }
        let file = self.disk.create(NAME, 0)?;
        self.current = Some(Current { id, file, have: 0 });
        Ok(())
    }

    /// Throws away what is there.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        self.current = None;
        match self.disk.remove(NAME) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::file::MemoryDisk;
    use super::super::record::VoteRecord;
    use super::super::snapshot::Snapshots;
    use super::super::types::{ServerId, Vote};
    use super::*;

    fn body() -> Body {
        let snapshots = Snapshots::open(Arc::new(MemoryDisk::default()), None, |_| ()).expect("opens");
        snapshots.write(&Default::default(), |out| out.write_all(b"what there is")).expect("written")
    }

    fn chunk(body: &Body, offset: u64, length: usize) -> Chunk {
        let vote = VoteRecord::from(&Vote::new_committed(1, ServerId(1)));
        let bytes = body.piece(offset, length).expect("read");
        Chunk { vote, file: body.file_id().expect("read"), offset, bytes }
    }

    #[track_caller]
    fn have(taken: Taken) -> u64 {
        match taken {
            Taken::Have(have) => have,
            Taken::Whole(_) => panic!("whole"),
            Taken::Damaged => panic!("damaged"),
        }
    }

    #[test]
    fn pieces_make_the_whole_and_one_out_of_turn_is_asked_for_again() {
        let (body, mut incoming) = (body(), Incoming::new(Arc::new(MemoryDisk::default())));
        assert_eq!(have(incoming.take(&chunk(&body, 0, 0)).expect("taken")), 0);
        assert_eq!(have(incoming.take(&chunk(&body, 0, 20)).expect("taken")), 20);
        assert_eq!(have(incoming.take(&chunk(&body, 30, 5)).expect("taken")), 20, "a hole");
        assert_eq!(have(incoming.take(&chunk(&body, 0, 20)).expect("taken")), 20, "again");
        assert_eq!(have(incoming.take(&chunk(&body, 0, 0)).expect("taken")), 20, "after a cut");
        let size = usize::try_from(body.file_id().expect("read").size).expect("small");
        let Taken::Whole(whole) = incoming.take(&chunk(&body, 20, size - 20)).expect("taken") else {
            panic!("not whole");
        };
        let mut text = String::new();
        whole.reader().read_to_string(&mut text).expect("readable");
        assert_eq!(text, "what there is");
    }

    #[test]
    fn one_whose_checksum_is_wrong_is_thrown_away() {
        let (body, mut incoming) = (body(), Incoming::new(Arc::new(MemoryDisk::default())));
        let size = usize::try_from(body.file_id().expect("read").size).expect("small");
        let mut bad = chunk(&body, 0, size);
        bad.bytes[size - 1] ^= 1;
        assert!(matches!(incoming.take(&bad), Ok(Taken::Damaged)));
        assert!(matches!(incoming.take(&chunk(&body, 0, size)), Ok(Taken::Whole(_))));
    }

    #[test]
    fn another_snapshot_begins_anew_and_an_absurd_one_is_refused() {
        let (body, mut incoming) = (body(), Incoming::new(Arc::new(MemoryDisk::default())));
        assert_eq!(have(incoming.take(&chunk(&body, 0, 20)).expect("taken")), 20);
        let mut other = chunk(&body, 20, 5);
        other.file.crc ^= 1;
        assert_eq!(have(incoming.take(&other).expect("taken")), 0);
        other.file.size = u64::MAX;
        assert!(incoming.take(&other).is_err());
    }
}
