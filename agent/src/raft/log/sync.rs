//! The one thread that writes the log: takes all that gathered while the disk was busy, writes it,
//! syncs once, answers all who waited. A failed write or sync is the end of the log: what the disk
//! holds is then unknown, so nothing is acknowledged any more and the agent stops.

use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::Shared;
use super::frame;
use super::state::{Piece, State, Waiter};
use crate::clock;
use crate::raft::file::File;
use crate::raft::upkeep::what_to_do;

/// How long after a batch the committed position may ride with the next one before it is written by
/// itself (unsynced: it only shortens the next start).
pub(super) const COMMITTED_LINGER: Duration = Duration::from_millis(20);

/// Runs until the log is closed or fails.
pub(super) fn run(shared: &Shared) {
    let mut writer = Writer::new(shared);
    loop {
        let (batch, closing) = wait(shared);
        if !perform(shared, &mut writer, batch) || closing {
            return;
        }
    }
}

/// Writes a batch and answers all who waited for it. False when the log has failed.
pub(super) fn perform(shared: &Shared, writer: &mut Writer<'_>, batch: Batch) -> bool {
    let result = writer.write(&batch);
    let place = shared.disk.place();
    let failed = result.err().map(|e| format!("write the Raft log in {place}: {e}; {}", what_to_do(&place)));
    let mut state = lock(shared);
    match &failed {
        None => state.progressed(batch.end, batch.sync.then_some(batch.end)),
        Some(text) => {
            state.failed = Some(text.clone());
            state.pieces.clear();
        }
    }
    let mut waiters = batch.waiters;
    if failed.is_some() {
        waiters.append(&mut state.waiters);
    }
    drop(state);
    // First: whoever is answered stops, too, and knows less about why.
    if let Some(text) = &failed {
        (shared.on_failure)(text);
    }
    shared.room.notify_waiters();
    for waiter in waiters {
        waiter.answer(failed.as_deref());
    }
    failed.is_none()
}

/// Writes what a new log begins with.
pub(super) fn write_first(shared: &Shared) -> io::Result<()> {
    let mut state = lock(shared);
    let batch = Batch { pieces: std::mem::take(&mut state.pieces), waiters: Vec::new(), end: state.end(), sync: true };
    state.pending_bytes = 0;
    drop(state);
    Writer::new(shared).write(&batch)?;
    lock(shared).progressed(batch.end, Some(batch.end));
    Ok(())
}

pub(super) struct Batch {
    pieces: Vec<Piece>,
    waiters: Vec<Waiter>,
    /// Position behind its last frame.
    end: u64,
    sync: bool,
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for something to write. True when it is the last.
fn wait(shared: &Shared) -> (Batch, bool) {
    let mut state = lock(shared);
    let mut lingered = false;
    loop {
        if let Some(batch) = next(&mut state, lingered) {
            return (batch, state.closing);
        }
        if lingered {
            state.asleep = true;
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep = false;
            lingered = false;
            continue;
        }
        let waited = shared.work.wait_timeout(state, COMMITTED_LINGER).unwrap_or_else(PoisonError::into_inner);
        state = waited.0;
        lingered = waited.1.timed_out();
    }
}

/// What there is to write; the committed position alone only after it `lingered`.
pub(super) fn next(state: &mut State, lingered: bool) -> Option<Batch> {
    let sync = !state.pieces.is_empty() || state.closing;
    let is_due = sync || (lingered && state.owes_committed());
    if !is_due {
        return None;
    }
    state.tell_committed();
    state.pending_bytes = 0;
    Some(Batch {
        pieces: std::mem::take(&mut state.pieces),
        waiters: std::mem::take(&mut state.waiters),
        end: state.end(),
        sync,
    })
}

pub(super) struct Writer<'a> {
    shared: &'a Shared,
    sync_time: metrics::Histogram,
    /// The segment that is written to.
    file: Option<(u64, Arc<dyn File>)>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, sync_time: metrics::histogram!("quorate.raft.sync"), file: None }
    }

    fn write(&mut self, batch: &Batch) -> io::Result<()> {
        for piece in &batch.pieces {
            match piece {
                Piece::Create { number, size, head } => self.create(*number, *size, head)?,
                Piece::Write { number, offset, bytes } => self.segment(*number)?.write_at(*offset, bytes)?,
                Piece::Remove { .. } => {}
            }
        }
        if batch.sync {
            self.sync()?;
        }
        for piece in &batch.pieces {
            if let Piece::Remove { number } = piece {
                self.shared.disk.remove(&frame::segment_name(*number))?;
                // One by one, so that those that are left are always the last ones.
                self.shared.disk.sync()?;
            }
        }
        Ok(())
    }

    /// The head says that all before it is on disk, so that is synced first. It is on disk itself
    /// before anything follows: a bad head with something behind it is damage, never a torn creation.
    fn create(&mut self, number: u64, size: u64, head: &[u8]) -> io::Result<()> {
        self.sync()?;
        let file = self.shared.disk.create(&frame::segment_name(number), size)?;
        file.write_at(0, head)?;
        file.sync()?;
        self.shared.disk.sync()?;
        let mut state = lock(self.shared);
        if let Some(segment) = state.segments.iter_mut().find(|s| s.number == number) {
            segment.file = Some(Arc::clone(&file));
        }
        drop(state);
        self.file = Some((number, file));
        Ok(())
    }

    fn segment(&mut self, number: u64) -> io::Result<&dyn File> {
        if self.file.as_ref().is_none_or(|(open, _)| *open != number) {
            let state = lock(self.shared);
            let file = state.segments.iter().find(|s| s.number == number).and_then(|s| s.file.clone());
            drop(state);
            self.file = file.map(|file| (number, file));
        }
        match &self.file {
            Some((_, file)) => Ok(&**file),
            None => Err(io::Error::other("a segment of the Raft log is not open")),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let Some((_, file)) = &self.file else { return Ok(()) };
        let start = clock::now();
        file.sync()?;
        self.sync_time.record(clock::now().since(start).as_secs_f64() * 1_000.0);
        Ok(())
    }
}
