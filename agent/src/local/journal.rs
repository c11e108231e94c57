//! What requests registered, on disk, so that it is there again after a restart: `registrations` in the data
//! directory, lines of `record` and behind them zeros, so that a change is one write and one sync of blocks that are
//! there already. When most of it is old it is written anew. Called by `registry`, off the async threads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::record::{self, Kept, LINE_BYTES_MAX};

const NAME: &str = "registrations";

/// Zeros written ahead at once.
const AHEAD_BYTES: usize = 256 * 1024;

/// Lines beyond those of the last writing anew, and as many again as those were, before it is written anew.
const OLD_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Journal {
    dir: PathBuf,
    /// None: there is none yet, or nobody knows what it holds. Then it is written anew with the next change.
    file: Option<File>,
    /// Behind the last line.
    end: u64,
    /// Behind the zeros.
    size: u64,
    /// Where the last writing anew ended.
    anew: u64,
}

/// What a journal held, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) kept: Kept,
    pub(super) told: Vec<String>,
}

impl Journal {
    /// In the data directory; touches nothing.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), file: None, end: 0, size: 0, anew: 0 }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(NAME)
    }

    /// Reads what is there. Where not all of it is whole, the rest is taken, a copy is set aside and told, and it is
    /// written anew with the next change.
    pub(super) fn open(&mut self) -> Found {
        let path = self.path();
        let mut found = Found::default();
        match self.read(&mut found.kept) {
            Ok(bad) if bad.is_empty() => {}
            Ok(bad) => {
                self.file = None;
                found.told.push(set_aside(&path, &bad));
            }
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => {}
            Err(problem) => {
                self.file = None;
                let aside = path.with_extension("bad");
                let moved = match fs::rename(&path, &aside) {
                    Ok(()) => format!("it was set aside as {}", aside.display()),
                    Err(problem) => format!("and cannot be set aside: {problem}"),
                };
                found.told.push(format!("{} cannot be read to its end: {problem}, {moved}", path.display()));
            }
        }
        found
    }

    /// What is wrong with lines that are not whole.
    fn read(&mut self, kept: &mut Kept) -> io::Result<Vec<String>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path())?;
        let mut bad = Vec::new();
        let (mut reader, mut line, mut at) = (BufReader::new(&file), Vec::new(), 0);
        loop {
            line.clear();
            let length = io::Read::take(&mut reader, LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)? as u64;
            if length == 0 {
                break;
            }
            // Zeros are what was written ahead.
            if line.iter().any(|byte| *byte != 0) {
                match kept.take(&line) {
                    Ok(()) if line.ends_with(b"\n") => self.end = at + length,
                    Ok(()) => bad.push(format!("at byte {at}: it has no end")),
                    Err(why) => {
                        bad.push(format!("at byte {at}: {why}"));
                        // No line holds a zero: where a page is missing, what is behind it may be whole.
                        let behind = line.rsplit(|byte| *byte == 0).next().unwrap_or_default();
                        let _ = kept.take(behind);
                    }
                }
            }
            at += length;
        }
        (self.size, self.anew) = (at, self.end);
        self.file = Some(file);
        Ok(bad)
    }

    /// On disk when this returns, all or nothing. Where it has to be written anew, `all` are the lines of what was
    /// there before.
    pub(super) fn append(&mut self, lines: &[u8], all: impl FnOnce() -> Vec<u8>) -> io::Result<()> {
        if self.file.is_none() {
            return self.write_anew(&[all().as_slice(), lines].concat());
        }
        if self.end > self.anew.saturating_mul(2).saturating_add(OLD_BYTES_MAX) {
            match self.write_anew(&[all().as_slice(), lines].concat()) {
                Ok(()) => return Ok(()),
                // The old one is as right, only longer.
                Err(problem) => {
                    self.anew = self.end;
                    tracing::warn!(target: "agent", error = %problem, "{} cannot be written anew", self.path().display());
                }
            }
        }
        self.reach(self.end + lines.len() as u64)?;
        let Some(file) = &self.file else { return Err(io::ErrorKind::NotFound.into()) };
        if let Err(problem) = file.write_all_at(lines, self.end).and_then(|()| file.sync_data()) {
            self.distrust();
            return Err(problem);
        }
        self.end += lines.len() as u64;
        Ok(())
    }

    /// Nobody knows what the disk holds of the last lines: they are cut off, as far as that goes, and all is written
    /// anew with the next change.
    fn distrust(&mut self) {
        let Some(file) = self.file.take() else { return };
        if let Err(problem) = file.set_len(self.end).and_then(|()| file.sync_all()) {
            let path = self.path();
            tracing::error!(target: "agent", error = %problem, "{} may hold what was refused until it is written anew", path.display());
        }
    }

    /// A change that is not on disk, though it happened: all is written anew with the next one.
    pub(super) fn owe(&mut self) {
        self.file = None;
    }

    /// There is room up to `end`. A failure leaves zeros at most.
    fn reach(&mut self, end: u64) -> io::Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| end > self.size) else { return Ok(()) };
        let size = end + AHEAD_BYTES as u64;
        zeros(file, self.size, size)?;
        self.size = size;
        Ok(())
    }

    /// In place of what was there, whole or not at all.
    pub(super) fn write_anew(&mut self, lines: &[u8]) -> io::Result<()> {
        let (path, aside) = (self.path(), self.dir.join(format!("{NAME}.new")));
        // Headers of a check may be secret.
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        let head = record::head();
        let end = (head.len() + lines.len()) as u64;
        let size = end + AHEAD_BYTES as u64;
        let written = file.write_all(&head).and_then(|()| file.write_all(lines));
        let synced = written.and_then(|()| zeros(&file, end, size)).and_then(|()| file.sync_all());
        if let Err(problem) = synced.and_then(|()| fs::rename(&aside, &path)) {
            // Its room is needed more than it.
            let _ = fs::remove_file(&aside);
            return Err(problem);
        }
        // It has the name from now on, even if that is not sure to last.
        (self.end, self.size, self.anew) = (end, size, end);
        self.file = None;
        File::open(&self.dir)?.sync_all()?;
        self.file = Some(file);
        Ok(())
    }
}

fn zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    let block = vec![0; AHEAD_BYTES];
    let mut at = from;
    while at < to {
        let length = block.len().min(usize::try_from(to - at).unwrap_or(usize::MAX));
        file.write_all_at(&block[..length], at)?;
        at += length as u64;
    }
    Ok(())
}

/// A copy for whoever wants to look.
fn set_aside(path: &Path, bad: &[String]) -> String {
    let aside = path.with_extension("bad");
    let copied = fs::copy(path, &aside);
    let count = bad.len();
    let first = bad.first().map(String::as_str).unwrap_or_default();
    let what = format!("{}: {count} lines are damaged, the first {first}; the others were taken", path.display());
    match copied {
        Ok(_) => format!("{what}, a copy was set aside as {}", aside.display()),
        Err(problem) => format!("{what}, and no copy can be set aside: {problem}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Written;
    use super::*;
    use crate::store::command::ServiceFields;

    fn line(id: &str) -> Vec<u8> {
        let service = ServiceFields { id: id.to_owned(), name: "web".to_owned(), ..ServiceFields::default() };
        let mut line = Vec::new();
        record::write(&Written { services: vec![&service], ..Written::default() }, &mut line);
        line
    }

    fn ids(found: &Found) -> Vec<&str> {
        found.kept.services.keys().map(String::as_str).collect()
    }

    fn reopened(dir: &Path) -> (Journal, Found) {
        let mut journal = Journal::new(dir);
        let found = journal.open();
        (journal, found)
    }

    #[test]
    fn what_was_appended_is_found_again_and_appended_to() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut journal, found) = reopened(dir.path());
        assert!(ids(&found).is_empty() && found.told.is_empty());
        assert!(!dir.path().join(NAME).exists(), "nothing is written before there is something");
        journal.append(&line("a"), Vec::new).expect("written");
        journal.append(&line("b"), || panic!("not anew")).expect("written");
        let (mut journal, found) = reopened(dir.path());
        assert_eq!((ids(&found), found.told.len()), (vec!["a", "b"], 0));
        journal.append(&line("c"), || panic!("not anew")).expect("written");
        assert_eq!(ids(&reopened(dir.path()).1), ["a", "b", "c"]);
    }

    #[test]
    fn it_grows_beyond_what_was_written_ahead_and_is_written_anew_when_it_is_long() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut journal = Journal::new(dir.path());
        let all = || line("all of before");
        let many = line("a").repeat(AHEAD_BYTES / 100);
        let mut longest = 0;
        for _ in 0..64 {
            journal.append(&many, all).expect("written");
            longest = longest.max(journal.end);
        }
        let room = OLD_BYTES_MAX + 4 * many.len() as u64;
        assert!(longest > OLD_BYTES_MAX && longest <= room, "{longest}");
        assert_eq!(ids(&reopened(dir.path()).1), ["a", "all of before"]);
    }

    /// As a kill in the middle of a write leaves it, or a power cut, which may keep a later page and lose an earlier.
    #[test]
    fn a_torn_end_is_told_and_set_aside_and_the_rest_is_taken() {
        let whole = line("torn");
        for length in 1..whole.len() {
            let dir = tempfile::tempdir().expect("a directory");
            let mut journal = Journal::new(dir.path());
            journal.append(&line("a"), Vec::new).expect("written");
            let file = journal.file.as_ref().expect("open");
            file.write_all_at(&whole[..length], journal.end).expect("written");
            file.write_all_at(&line("behind"), journal.end + 8192).expect("written");
            let (mut journal, found) = reopened(dir.path());
            assert_eq!(ids(&found), ["a", "behind"], "{length}");
            assert_eq!(found.told.len(), 1, "{:?}", found.told);
            assert!(dir.path().join("registrations.bad").exists());
            journal.append(&line("b"), || line("a")).expect("written");
            let (_, found) = reopened(dir.path());
            assert_eq!((ids(&found), found.told.len()), (vec!["a", "b"], 0));
        }
    }

    #[test]
    fn a_disk_that_fails_leaves_what_was_there_and_takes_the_next_change_when_it_is_well_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut journal = Journal::new(dir.path());
        journal.append(&line("a"), Vec::new).expect("written");
        journal.file = Some(File::open(dir.path().join(NAME)).expect("open, for reading only"));
        journal.append(&line("b"), Vec::new).expect_err("it takes no writing");
        assert_eq!(ids(&reopened(dir.path()).1), ["a"]);
        fs::create_dir(dir.path().join("registrations.new")).expect("in the way");
        journal.append(&line("b"), || line("a")).expect_err("it cannot be written anew");
        assert_eq!(ids(&reopened(dir.path()).1), ["a"]);
        fs::remove_dir(dir.path().join("registrations.new")).expect("out of the way");
        journal.append(&line("b"), || line("a")).expect("written");
        assert_eq!(ids(&reopened(dir.path()).1), ["a", "b"]);
        // Too long by then, and it cannot be written anew: it goes on growing.
        journal.append(&line("c").repeat(20_000), Vec::new).expect("written");
        fs::create_dir(dir.path().join("registrations.new")).expect("in the way");
        journal.append(&line("d"), || line("a")).expect("longer, and right");
        assert_eq!(ids(&reopened(dir.path()).1), ["a", "b", "c", "d"]);
    }
}
