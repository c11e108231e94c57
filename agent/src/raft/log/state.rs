//! The log while it runs: what is held, what is still to be written, and who waits for it.
//! All under one lock, held for memory work only; `sync` does the writing, `mod` speaks to openraft.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use super::frame::{self, Chain, FRAME_BYTES, Frame, HEAD_BYTES, Head, Kind};
use super::index::{Index, Slot};
use super::recover::Segment;
use crate::raft::file::File;
use crate::raft::record;
use crate::raft::types::{Config, Entry, LogId, Vote};

/// Encoded bytes of recent entries kept decoded; the apply task and replication read them at once.
const CACHE_BYTES_MAX: u64 = 2 << 20;

/// What the sync thread is to do, in this order.
pub(super) enum Piece {
    /// A new segment with its head.
    Create { number: u64, size: u64, head: [u8; HEAD_BYTES] },
    /// Frames at `offset` of segment `number`.
    Write { number: u64, offset: u64, bytes: Vec<u8> },
    /// A segment nobody needs, once all else of this batch is on disk.
    Remove { number: u64 },
}

/// Who waits for the disk.
pub(super) enum Waiter {
    Openraft(IOFlushed<Config>),
    Call(oneshot::Sender<io::Result<()>>),
}

impl Waiter {
    pub(super) fn answer(self, failed: Option<&str>) {
        let result = || failed.map_or(Ok(()), |text| Err(io::Error::other(text.to_owned())));
        match self {
            Self::Openraft(callback) => callback.io_completed(result()),
            // A caller that went away needs no answer.
            Self::Call(call) => drop(call.send(result())),
        }
    }
}

pub(super) struct State {
    pub(super) index: Index,
    pub(super) segments: VecDeque<Segment>,
    pub(super) chain: Chain,
    segment_bytes: u64,
    /// Decoded entries from `cache_first` on; never fewer than what is not yet written.
    cache: VecDeque<(Entry, u64)>,
    cache_bytes: u64,
    /// Everything below is in the files, and everything below `synced` is on disk.
    pub(super) written: u64,
    pub(super) synced: u64,
    pub(super) pieces: Vec<Piece>,
    pub(super) pending_bytes: u64,
    pub(super) waiters: Vec<Waiter>,
    /// The committed position that the last frame told.
    committed_told: Option<LogId>,
    /// Why the log takes nothing any more.
    pub(super) failed: Option<String>,
    pub(super) closing: bool,
    /// The sync thread sleeps without a time to wake.
    pub(super) asleep: bool,
    scratch: Vec<u8>,
}

impl State {
    /// The log of what was recovered, or a new one.
    pub(super) fn new(recovered: Option<super::recover::Recovered>, segment_bytes: u64) -> Self {
        let none = Chain { salt: 0, prev: 0, position: 0 };
        let (segments, chain, index) = match recovered {
            Some(r) => (r.segments, r.chain, r.index),
            None => (VecDeque::new(), none, Index::default()),
        };
        let mut state = Self {
            committed_told: index.committed(),
            index,
            segments,
            chain,
            segment_bytes,
            cache: VecDeque::new(),
            cache_bytes: 0,
            written: chain.position,
            synced: chain.position,
            pieces: Vec::new(),
            pending_bytes: 0,
            waiters: Vec::new(),
            failed: None,
            closing: false,
            asleep: false,
            scratch: Vec::new(),
        };
        if state.segments.is_empty() {
            state.roll(0);
        }
        state
    }

    pub(super) fn ready(&self) -> io::Result<()> {
        match &self.failed {
            Some(text) => Err(io::Error::other(text.clone())),
            None if self.closing => Err(io::Error::other("the Raft log is closed")),
            None => Ok(()),
        }
    }

    /// Position behind the last frame.
    pub(super) fn end(&self) -> u64 {
        self.chain.position
    }

    pub(super) fn append(&mut self, entry: Entry) -> io::Result<()> {
        let LogId { leader_id, index } = entry.log_id;
        let mut payload = std::mem::take(&mut self.scratch);
        payload.clear();
        let (kind, payload) = match &entry.payload {
            EntryPayload::Blank => (Kind::Blank, payload),
            EntryPayload::Normal(proposal) => (Kind::Command, record::write_proposal(proposal, payload)),
            EntryPayload::Membership(members) => (Kind::Membership, record::write_membership(members, payload)),
        };
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        if payload.len() > frame::PAYLOAD_BYTES_MAX {
            return Err(io::Error::other("an entry is too long for the Raft log"));
        }
        let position = self.frame(kind, leader_id.term, index, &payload);
        self.scratch = payload;
        self.index.push(index, Slot { position, length, term: leader_id.term }).map_err(io::Error::other)?;
        if let Some(segment) = self.segments.back_mut() {
            segment.last = segment.last.max(Some(index));
        }
        let size = frame::frame_bytes(length as usize);
        self.cache.push_back((entry, size));
        self.cache_bytes += size;
        self.evict();
        Ok(())
    }

    pub(super) fn vote(&mut self, vote: &Vote) {
        let payload = record::write_vote(vote, Vec::new());
        self.frame(Kind::Vote, vote.leader_id.term, 0, &payload);
        self.index.set_vote(*vote);
    }

    /// Entries from `from` on are void.
    pub(super) fn truncate(&mut self, from: u64) {
        if from >= self.index.next() {
            return;
        }
        self.frame(Kind::Truncate, 0, from, &[]);
        self.index.truncate(from);
        while self.cache.back().is_some_and(|(entry, _)| entry.log_id.index >= from) {
            self.cache_bytes -= self.cache.pop_back().map_or(0, |(_, size)| size);
        }
    }

    /// Entries up to `upto` may go, and the segments that held nothing else.
    pub(super) fn purge(&mut self, upto: LogId) {
        self.frame(Kind::Purge, upto.leader_id.term, upto.index, &[]);
        self.index.purge(upto);
        while self.cache.front().is_some_and(|(entry, _)| entry.log_id.index <= upto.index) {
            self.cache_bytes -= self.cache.pop_front().map_or(0, |(_, size)| size);
        }
        while self.segments.len() > 1
            && self.segments.front().is_some_and(|first| first.last.is_none_or(|last| last <= upto.index))
        {
            if let Some(Segment { number, .. }) = self.segments.pop_front() {
                self.pieces.push(Piece::Remove { number });
            }
        }
    }

    /// Whether the committed position is known better than the files tell.
    pub(super) fn owes_committed(&self) -> bool {
        self.index.committed() != self.committed_told
    }

    pub(super) fn tell_committed(&mut self) {
        if let Some(id) = self.index.committed().filter(|_| self.owes_committed()) {
            self.frame(Kind::Committed, id.leader_id.term, id.index, &[]);
        }
        self.committed_told = self.index.committed();
    }

    /// Everything below `written` is in the files; everything below `synced` on disk.
    pub(super) fn progressed(&mut self, written: u64, synced: Option<u64>) {
        self.written = written;
        self.synced = synced.unwrap_or(self.synced);
        self.evict();
    }

    fn evict(&mut self) {
        while self.cache_bytes > CACHE_BYTES_MAX {
            let Some((entry, size)) = self.cache.front() else { break };
            let slot = self.index.slot(entry.log_id.index);
            // What is not in a file yet can be read from nowhere else.
            if slot.is_some_and(|slot| slot.position >= self.written) {
                break;
            }
            self.cache_bytes -= size;
            self.cache.pop_front();
        }
    }

    /// Puts a frame at the end and returns its position.
    fn frame(&mut self, kind: Kind, term: u64, index: u64, payload: &[u8]) -> u64 {
        let size = frame::frame_bytes(payload.len());
        if self.segments.back().is_none_or(|s| self.chain.position + size > s.base + s.size) {
            self.roll(size);
        }
        self.put(kind, term, index, payload)
    }

    fn put(&mut self, kind: Kind, term: u64, index: u64, payload: &[u8]) -> u64 {
        let position = self.chain.position;
        let frame = Frame { kind, term, index, synced: self.synced };
        let (number, base) = self.segments.back().map_or((0, 0), |s| (s.number, s.base));
        if !matches!(self.pieces.last(), Some(Piece::Write { number: same, .. }) if *same == number) {
            self.pieces.push(Piece::Write { number, offset: position - base, bytes: Vec::new() });
        }
        if let Some(Piece::Write { bytes, .. }) = self.pieces.last_mut() {
            frame::write(&mut self.chain, &frame, payload, bytes);
        }
        self.pending_bytes += self.chain.position - position;
        position
    }

    /// Begins a segment that has room for a frame of `size` bytes.
    fn roll(&mut self, size: u64) {
        let carried = record::write_carried(&self.index.carried(), Vec::new());
        let head = Head {
            salt: uuid::Uuid::new_v4().as_fields().0,
            prev: self.chain.prev,
            number: self.segments.back().map_or(1, |s| s.number + 1),
            base: self.chain.position,
        };
        let least = HEAD_BYTES as u64 + frame::frame_bytes(carried.len()) + size;
        let bytes = self.segment_bytes.max(least);
        self.pieces.push(Piece::Create { number: head.number, size: bytes, head: head.write() });
        self.segments.push_back(Segment { number: head.number, base: head.base, size: bytes, last: None, file: None });
        self.chain = head.chain();
        // The sync thread syncs what came before ahead of the new file (see `sync`).
        let synced = std::mem::replace(&mut self.synced, head.base);
        self.put(Kind::Carried, 0, 0, &carried);
        self.synced = synced;
    }

    /// The decoded entries of `range`, and the places of those that have to be read: always the first.
    pub(super) fn read(&self, range: Range<u64>) -> (Vec<Place>, Vec<Entry>) {
        let held = self.index.held(range);
        let first = self.cache.front().map_or(self.index.next(), |(entry, _)| entry.log_id.index);
        let places = (held.start..held.end.min(first)).filter_map(|index| self.place(index)).collect();
        let skip = usize::try_from(held.start.saturating_sub(first)).unwrap_or(usize::MAX);
        let take = usize::try_from(held.end.saturating_sub(held.start.max(first))).unwrap_or(usize::MAX);
        (places, self.cache.iter().skip(skip).take(take).map(|(entry, _)| entry.clone()).collect())
    }

    fn place(&self, index: u64) -> Option<Place> {
        let slot = self.index.slot(index)?;
        let at = self.segments.partition_point(|s| s.base <= slot.position).checked_sub(1)?;
        let segment = self.segments.get(at)?;
        let file = Arc::clone(segment.file.as_ref()?);
        let length = FRAME_BYTES + slot.length as usize;
        Some(Place {
            file,
            offset: slot.position - segment.base,
            length,
            log_id: LogId::new_term_index(slot.term, index),
        })
    }
}

/// Where to read one entry.
pub(super) struct Place {
    pub(super) file: Arc<dyn File>,
    pub(super) offset: u64,
    /// Of the frame without padding.
    pub(super) length: usize,
    pub(super) log_id: LogId,
}
