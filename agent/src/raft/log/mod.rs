//! The Raft log on disk: entries, votes and the committed position in one chain of frames over
//! preallocated segments, written by one thread that syncs for all who wait.
//! openraft is the only caller; `recover` opens, `state` holds, `sync` writes, `frame` and `index`
//! are pure.

#[cfg(test)]
mod crash_tests;
mod frame;
#[cfg(test)]
mod golden_tests;
mod index;
mod recover;
mod state;
mod sync;
#[cfg(test)]
mod sync_simulated;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use openraft::entry::RaftPayload as _;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use tokio::sync::{Notify, oneshot};

use self::frame::{Claim, FRAME_BYTES, Kind};
pub(crate) use self::recover::{RecoverError, gone};
use self::state::{Place, State, Waiter};
use super::file::{Disk, read_exact_at};
use super::record;
use super::types::{Config, Entry, LogId, Payload, Vote};

/// A segment on a real disk.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;
/// In memory nothing is gained by large ones, and small ones are given back sooner.
pub(crate) const SEGMENT_BYTES_IN_MEMORY: u64 = 1 << 20;
/// Frames that wait for the disk; further appends wait for room.
const PENDING_BYTES_MAX: u64 = 64 << 20;
/// Entries read for a peer at once.
const READ_BYTES_MAX: u64 = 4 << 20;

/// Called once, from the sync thread, with the reason.
pub(crate) type OnFailure = Box<dyn Fn(&str) + Send + Sync>;

/// Whether there is no log yet.
pub(crate) fn is_missing(disk: &dyn Disk) -> io::Result<bool> {
    Ok(!disk.list()?.iter().any(|name| frame::segment_number(name).is_some()))
}

/// Whether a log was begun in that directory.
pub(crate) fn is_there(dir: &std::path::Path) -> bool {
    let mut entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_str().and_then(frame::segment_number).is_some())
}

struct Shared {
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
    work: Condvar,
    room: Notify,
    on_failure: OnFailure,
    /// Answered when the sync thread has ended.
    ended: tokio_util::sync::CancellationToken,
    #[cfg(test)]
    simulated: sync_simulated::Bell,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock calls out; a panic there is a bug that the frames' order survives.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something to write.
    fn wake(&self) {
        self.work.notify_one();
        #[cfg(test)]
        self.simulated.ring();
    }

    /// Starts what writes and syncs.
    fn start(self: Arc<Self>) -> io::Result<()> {
        #[cfg(test)]
        if crate::raft::sim::seams::is_here() {
            sync_simulated::start(self);
            return Ok(());
        }
        std::thread::Builder::new().name("raft-log".to_owned()).spawn(move || {
            // Told on a panic too, or whoever closes the log would wait for ever.
            let _ended = self.ended.clone().drop_guard();
            sync::run(&self);
        })?;
        Ok(())
    }
}

/// The log; clones speak of the same one.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

impl LogStore {
    /// Opens or creates the log and starts its sync thread, which ends with [`LogStore::close`].
    /// Returns how many bytes of an unsynced tail were cut. Where a log `is_expected`, none is begun.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        segment_bytes: u64,
        is_expected: bool,
        on_failure: OnFailure,
    ) -> Result<(Self, u64), RecoverError> {
        let recovered = recover::recover(&*disk, is_expected)?;
        let cut_bytes = recovered.as_ref().map_or(0, |r| r.cut_bytes);
        let shared = Arc::new(Shared {
            disk,
            state: Mutex::new(State::new(recovered, segment_bytes)),
            work: Condvar::new(),
            room: Notify::new(),
            on_failure,
            ended: tokio_util::sync::CancellationToken::new(),
            #[cfg(test)]
            simulated: sync_simulated::Bell::default(),
        });
        // A directory that takes no file is told now, by name, and not later by a thread.
        sync::write_first(&shared)?;
        Arc::clone(&shared).start()?;
        Ok((Self { shared }, cut_bytes))
    }

    /// Writes what is left and ends the sync thread. Nothing can be appended afterwards.
    pub(crate) async fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.wake();
        self.shared.ended.cancelled().await;
    }

    /// Up to where entries are gone.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.shared.lock().index.purged()
    }

    /// Up to `upto` entries may go; that is on disk when this returns.
    pub(crate) async fn purge_now(&self, upto: LogId) -> io::Result<()> {
        let (call, purged) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            state.ready()?;
            state.purge(upto);
            state.waiters.push(Waiter::Call(call));
        }
        self.shared.work.notify_one();
        purged.await.map_err(|_| io::Error::other("the Raft log ended before entries were purged"))?
    }

    /// Bytes that entry `from` and what follows take on disk.
    pub(crate) fn bytes_from(&self, from: u64) -> u64 {
        let state = self.shared.lock();
        state.index.slot(from).map_or(0, |slot| state.end().saturating_sub(slot.position))
    }

    /// Waits until there is room for more frames.
    async fn room(&self) -> io::Result<MutexGuard<'_, State>> {
        loop {
            let notified = self.shared.room.notified();
            let mut notified = std::pin::pin!(notified);
            // Registered before the look, so that room made in between is not missed.
            notified.as_mut().enable();
            {
                let state = self.shared.lock();
                state.ready()?;
                if state.pending_bytes < PENDING_BYTES_MAX {
                    return Ok(state);
                }
            }
            notified.await;
        }
    }

    /// Reads entries that are no longer kept decoded. The pages are mostly in memory; what is read
    /// at once is bounded by the callers.
    fn read(places: &[Place], out: &mut Vec<Entry>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for place in places {
            bytes.resize(place.length, 0);
            read_exact_at(&*place.file, place.offset, &mut bytes)?;
            out.push(decode(place, &bytes)?);
        }
        Ok(())
    }

    fn entries(&self, range: std::ops::Range<u64>) -> io::Result<Vec<Entry>> {
        let (places, recent) = self.shared.lock().read(range);
        let mut entries = Vec::with_capacity(places.len() + recent.len());
        Self::read(&places, &mut entries)?;
        entries.extend(recent);
        Ok(entries)
    }
}

/// The frame was checked when the log was opened, or written by this process.
fn decode(place: &Place, bytes: &[u8]) -> io::Result<Entry> {
    let damaged = |what: &str| {
        io::Error::new(io::ErrorKind::InvalidData, format!("read entry {} of the Raft log: {what}", place.log_id))
    };
    let head = bytes.first_chunk::<FRAME_BYTES>().ok_or_else(|| damaged("no frame"))?;
    let claim = Claim::read(head, u64::MAX).filter(|c| c.index == place.log_id.index);
    let claim = claim.ok_or_else(|| damaged("another frame"))?;
    let payload = bytes.get(frame::payload(claim.length)).ok_or_else(|| damaged("a frame of another length"))?;
    let payload = match Kind::of(claim.kind) {
        Some(Kind::Blank) => Payload::blank(),
        Some(Kind::Command) => Payload::normal(record::read_proposal(payload).map_err(|e| damaged(&e.to_string()))?),
        Some(Kind::Membership) => {
            Payload::membership(record::read_membership(payload).map_err(|e| damaged(&e.to_string()))?)
        }
        _ => return Err(damaged("not an entry")),
    };
    Ok(Entry { log_id: place.log_id, payload })
}

/// Half-open, as the log counts.
fn half_open(range: &impl RangeBounds<u64>) -> std::ops::Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(at) => *at,
        Bound::Excluded(at) => at.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(at) => at.saturating_add(1),
        Bound::Excluded(at) => *at,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<Config> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        self.entries(half_open(&range))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.shared.lock().index.vote())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let end = {
            let state = self.shared.lock();
            // Purged meanwhile: what begins later would be a hole, and an error the end of this server. openraft
            // sends nothing then, and `network` ends the stream.
            if state.index.slot(start).is_none() {
                return Ok(Vec::new());
            }
            let mut room = READ_BYTES_MAX;
            let fits = |index: &u64| {
                let length = state.index.slot(*index).map_or(0, |slot| u64::from(slot.length));
                let fits = *index == start || length <= room;
                room = room.saturating_sub(length);
                fits
            };
            start + (start..end).take_while(fits).count() as u64
        };
        self.entries(start..end)
    }

    /// openraft's text asks for the first of each leader, its suite and its engine for the last.
    async fn get_key_log_ids(&mut self, range: RangeInclusive<LogId>) -> io::Result<Vec<LogId>> {
        let range = range.start().index..range.end().index.saturating_add(1);
        Ok(self.shared.lock().index.term_ends(range))
    }
}

impl RaftLogStorage<Config> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Config>> {
        let state = self.shared.lock();
        Ok(LogState { last_purged_log_id: state.index.purged(), last_log_id: state.index.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (call, saved) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            state.ready()?;
            state.vote(vote);
            state.waiters.push(Waiter::Call(call));
        }
        self.shared.wake();
        saved.await.map_err(|_| io::Error::other("the Raft log ended before the vote was saved"))?
    }

    /// Rides with the next batch; see `sync`.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let asleep = {
            let mut state = self.shared.lock();
            state.ready()?;
            state.index.set_committed(committed);
            state.asleep
        };
        if asleep {
            self.shared.wake();
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.shared.lock().index.committed())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Config>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        {
            let mut state = self.room().await?;
            for entry in entries {
                state.append(entry)?;
            }
            state.waiters.push(Waiter::Openraft(callback));
        }
        self.shared.wake();
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.ready()?;
        state.truncate(last.map_or(0, |id| id.index + 1));
        drop(state);
        self.shared.wake();
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.ready()?;
        state.purge(upto);
        drop(state);
        self.shared.wake();
        Ok(())
    }
}
