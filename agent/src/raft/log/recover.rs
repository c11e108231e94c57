//! Opens a log: reads every frame, decides what a bad one means, and cuts a tail that was never
//! synced. Called once, before the log runs; writes nothing when it refuses.
//!
//! Unsynced pages reach the disk in any order. A bad frame is therefore only damage when something
//! behind it proves that it had been synced: the next segment, or a later frame that was written
//! when everything up to there was on disk. Without such proof it was never acknowledged.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::frame::{self, Chain, Claim, FRAME_BYTES, HEAD_BYTES, Head, HeadError, Kind};
use super::index::{Index, Slot};
use crate::raft::file::{Disk, File, read_exact_at};
use crate::raft::record;
use crate::raft::types::LogId;

/// Bytes read at once.
const WINDOW_BYTES: usize = 256 << 10;

/// One file of the log.
pub(crate) struct Segment {
    pub(crate) number: u64,
    /// Position of its first byte.
    pub(crate) base: u64,
    pub(crate) size: u64,
    /// The highest index of the entries in it.
    pub(crate) last: Option<u64>,
    /// None until the sync thread has created it.
    pub(crate) file: Option<Arc<dyn File>>,
}

pub(crate) struct Recovered {
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) chain: Chain,
    pub(crate) index: Index,
    /// Bytes of a tail that was cut because it had never been synced.
    pub(crate) cut_bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    #[error("read the Raft log")]
    Io(#[from] io::Error),
    /// Nothing was changed. The text is for the operator.
    #[error("{0}")]
    Damaged(String),
}

/// The log on `disk`; none when there is none yet, which is damage when one `is_expected`.
pub(crate) fn recover(disk: &dyn Disk, is_expected: bool) -> Result<Option<Recovered>, RecoverError> {
    let numbers = numbers(disk)?;
    if numbers.is_empty() && is_expected {
        return Err(RecoverError::Damaged(gone(&disk.place())));
    }
    let mut scan = Scan { disk, segments: VecDeque::new(), chain: None, index: None, proven: 0 };
    for (at, number) in numbers.iter().enumerate() {
        let is_last = at + 1 == numbers.len();
        let file = disk.open(&frame::segment_name(*number))?;
        let mut bytes = [0; HEAD_BYTES];
        let read = file.read_at(0, &mut bytes)?;
        let head = match Head::read(&bytes) {
            Ok(head) if head.number == *number && read == HEAD_BYTES => head,
            Err(HeadError::Newer(format)) => return Err(scan.newer(*number, format)),
            _ => {
                // A head is on disk before anything follows it.
                let size = file.size()?;
                let is_empty = Window::new(file, size)?.is_zero_from(HEAD_BYTES as u64)?;
                let is_begun = at > 0 || (*number == 1 && !is_expected);
                if !(is_last && is_empty && is_begun) {
                    return Err(scan.damaged(*number, 0, "its head is not valid, and it was written before"));
                }
                scan.remove_last(*number)?;
                break;
            }
        };
        scan.follows(&head)?;
        match scan.segment(head, file, is_last)? {
            End::Whole => {}
            End::Torn => return scan.cut().map(Some),
            End::NotBegun if is_expected && at == 0 => {
                return Err(scan.damaged(*number, HEAD_BYTES as u64, "nothing follows its head, and something did"));
            }
            End::NotBegun => scan.remove_last(*number)?,
        }
    }
    scan.check()?;
    scan.finish(0)
}

/// What an operator is told of a log that was there once.
pub(crate) fn gone(place: &str) -> String {
    format!("the Raft log in {place} is gone, but this server has held one; nothing was changed. {WHAT_TO_DO}")
}

/// How a segment ends.
enum End {
    Whole,
    /// In something that was never synced and may be cut.
    Torn,
    /// It has a head and no frame: its creation was cut short.
    NotBegun,
}

/// The segments in order; one missing between two others is damage.
fn numbers(disk: &dyn Disk) -> Result<Vec<u64>, RecoverError> {
    let mut numbers: Vec<u64> = disk.list()?.iter().filter_map(|name| frame::segment_number(name)).collect();
    numbers.sort_unstable();
    for pair in numbers.windows(2) {
        if pair[1] != pair[0] + 1 {
            let (gone, place) = (frame::segment_name(pair[0] + 1), disk.place());
            return Err(RecoverError::Damaged(format!(
                "the Raft log in {place} is damaged: segment {gone} is missing; nothing was changed. {WHAT_TO_DO}"
            )));
        }
    }
    Ok(numbers)
}

const WHAT_TO_DO: &str = "Restore the data directory from a backup, or, where other servers have the data, remove \
                          this server from the configuration, empty its data directory and let it join again";

struct Scan<'a> {
    disk: &'a dyn Disk,
    segments: VecDeque<Segment>,
    /// Where the scan is.
    chain: Option<Chain>,
    index: Option<Index>,
    /// Position below which frames of the last segment prove that everything had been synced.
    proven: u64,
}

impl Scan<'_> {
    fn damaged(&self, number: u64, offset: u64, what: &str) -> RecoverError {
        let (name, place) = (frame::segment_name(number), self.disk.place());
        RecoverError::Damaged(format!(
            "the Raft log in {place} is damaged at byte {offset} of {name}: {what}; nothing was changed. {WHAT_TO_DO}"
        ))
    }

    fn newer(&self, number: u64, format: u32) -> RecoverError {
        let (name, place) = (frame::segment_name(number), self.disk.place());
        RecoverError::Damaged(format!(
            "the Raft log in {place} was written by a later version ({name} has format {format}, this version reads \
             up to {}); nothing was changed. Start the version that wrote it",
            frame::FORMAT
        ))
    }

    /// A segment is begun only when the one before it is whole and synced.
    fn follows(&self, head: &Head) -> Result<(), RecoverError> {
        let (Some(chain), Some(before)) = (self.chain, self.segments.back()) else { return Ok(()) };
        if head.base == chain.position && head.prev == chain.prev {
            return Ok(());
        }
        let offset = chain.position - before.base;
        Err(self.damaged(before.number, offset, "what follows is not valid, and a later segment proves that it was"))
    }

    /// Reads the frames of one segment.
    fn segment(&mut self, head: Head, file: Arc<dyn File>, is_last: bool) -> Result<End, RecoverError> {
        let size = file.size()?;
        let mut window = Window::new(Arc::clone(&file), size)?;
        let mut segment = Segment { number: head.number, base: head.base, size, last: None, file: Some(file) };
        let mut chain = head.chain();
        self.proven = head.chain().position;
        loop {
            let offset = chain.position - head.base;
            let found = window.frame(head.salt, head.base, offset)?.filter(|(claim, _)| claim.prev == chain.prev);
            let Some((claim, bytes)) = found else { break };
            let kind = Kind::of(claim.kind).ok_or_else(|| {
                let what = format!("a valid frame of kind {}, which only a later version can have written", claim.kind);
                self.damaged(head.number, offset, &what)
            })?;
            let payload = &bytes[frame::payload(claim.length)];
            Self::apply(&mut self.index, kind, &claim, chain.position, payload)
                .map_err(|what| self.damaged(head.number, offset, &what))?;
            if kind.is_entry() {
                segment.last = segment.last.max(Some(claim.index));
            }
            self.proven = self.proven.max(claim.synced);
            chain.prev = claim.crc();
            chain.position += claim.size();
        }
        let end = self.end(&head, &mut window, chain.position - head.base, is_last)?;
        if !matches!(end, End::NotBegun) {
            self.segments.push_back(segment);
            self.chain = Some(chain);
        }
        Ok(end)
    }

    fn apply(
        index: &mut Option<Index>,
        kind: Kind,
        claim: &Claim,
        position: u64,
        payload: &[u8],
    ) -> Result<(), String> {
        let undecoded = |error: record::DecodeError| format!("a valid frame does not decode: {error}");
        let Some(index) = index else {
            if kind != Kind::Carried {
                return Err("the first frame does not say what came before".to_owned());
            }
            *index = Some(Index::from_carried(&record::read_carried(payload).map_err(undecoded)?));
            return Ok(());
        };
        match kind {
            Kind::Blank | Kind::Command | Kind::Membership => {
                let length = u32::try_from(claim.length).map_err(|_| "a frame is too long".to_owned())?;
                let slot = Slot { position, length, term: claim.term };
                index.push(claim.index, slot).map_err(|error| error.to_string())?;
            }
            Kind::Vote => index.set_vote(record::read_vote(payload).map_err(undecoded)?),
            Kind::Committed => index.set_committed(Some(LogId::new_term_index(claim.term, claim.index))),
            Kind::Truncate => index.truncate(claim.index),
            Kind::Purge => index.purge(LogId::new_term_index(claim.term, claim.index)),
            // Later segments carry what is known from the earlier ones.
            Kind::Carried => {}
        }
        Ok(())
    }

    /// What it means that no frame is at `offset`.
    fn end(&self, head: &Head, window: &mut Window, offset: u64, is_last: bool) -> Result<End, RecoverError> {
        if !is_last {
            // The next head tells whether this is the end (see `follows`).
            return Ok(End::Whole);
        }
        let is_zero = window.is_zero_from(offset)?;
        if let Some(proof) = if is_zero { None } else { window.proof_after(head, offset)? } {
            let what = format!("no valid frame is there, and the one at byte {proof} proves that there was");
            return Err(self.damaged(head.number, offset, &what));
        }
        if offset == HEAD_BYTES as u64 {
            return Ok(End::NotBegun);
        }
        Ok(if is_zero { End::Whole } else { End::Torn })
    }

    /// Refuses what cannot be continued, before anything is changed.
    fn check(&self) -> Result<(), RecoverError> {
        let (Some(index), Some(segment)) = (&self.index, self.segments.front()) else { return Ok(()) };
        match index.gap() {
            Some(gap) => Err(self.damaged(segment.number, 0, &format!("entries are missing: {gap}"))),
            None => Ok(()),
        }
    }

    fn remove_last(&self, number: u64) -> Result<(), RecoverError> {
        self.check()?;
        self.disk.remove(&frame::segment_name(number))?;
        self.disk.sync()?;
        Ok(())
    }

    /// Cuts the tail of the last segment.
    fn cut(self) -> Result<Recovered, RecoverError> {
        self.check()?;
        let known = "a torn segment was read, with a frame in it";
        let (chain, segment) = (self.chain.expect(known), self.segments.back().expect(known));
        let file = segment.file.as_ref().expect(known);
        let offset = chain.position - segment.base;
        let mut cut_bytes = 0;
        let mut at = offset;
        while let Some(data) = file.data_after(at)? {
            cut_bytes += data.end - data.start;
            at = data.end;
        }
        file.zero_from(offset, segment.size)?;
        let recovered = self.finish(cut_bytes)?;
        Ok(recovered.expect(known))
    }

    fn finish(self, cut_bytes: u64) -> Result<Option<Recovered>, RecoverError> {
        let (Some(chain), Some(index), Some(segment)) = (self.chain, self.index, self.segments.back()) else {
            return Ok(None);
        };
        // What was read may not be on disk yet, and the frames to come will say that it is.
        if let Some(file) = &segment.file {
            write_again(&**file, self.proven - segment.base, chain.position - segment.base)?;
            file.sync()?;
        }
        Ok(Some(Recovered { segments: self.segments, chain, index, cut_bytes }))
    }
}

/// Writes what is there once more. A sync of it may have failed when the last process ended: then the
/// system takes it for written, and no later sync writes it.
fn write_again(file: &dyn File, from: u64, end: u64) -> io::Result<()> {
    let (mut at, mut bytes) = (from, vec![0; WINDOW_BYTES]);
    while at < end {
        let part = usize::try_from(end - at).unwrap_or(usize::MAX).min(WINDOW_BYTES);
        read_exact_at(file, at, &mut bytes[..part])?;
        file.write_at(at, &bytes[..part])?;
        at += part as u64;
    }
    Ok(())
}

/// A part of a file in memory.
struct Window {
    file: Arc<dyn File>,
    size: u64,
    /// Behind it are only zeros. They are not read: a page that was read counts as data, and each
    /// start would find more of it.
    data_end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn new(file: Arc<dyn File>, size: u64) -> io::Result<Self> {
        let mut data_end = 0;
        while let Some(data) = file.data_after(data_end)? {
            data_end = data.end;
        }
        Ok(Self { file, size, data_end: data_end.min(size), start: 0, bytes: Vec::new() })
    }

    /// `length` bytes at `offset`; none beyond the end.
    fn get(&mut self, offset: u64, length: usize) -> io::Result<Option<&[u8]>> {
        let end = offset + length as u64;
        if end > self.size {
            return Ok(None);
        }
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            let bounded = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
            let wanted = length.max(WINDOW_BYTES).min(bounded(self.size - offset));
            self.start = offset;
            self.bytes.clear();
            self.bytes.resize(wanted, 0);
            let data = wanted.min(bounded(self.data_end.saturating_sub(offset)));
            read_exact_at(&*self.file, offset, &mut self.bytes[..data])?;
        }
        let from = usize::try_from(offset - self.start).map_err(io::Error::other)?;
        Ok(self.bytes.get(from..from + length))
    }

    fn claim(&mut self, offset: u64) -> io::Result<Option<Claim>> {
        let room = self.size.saturating_sub(offset);
        let Some(head) = self.get(offset, FRAME_BYTES)? else { return Ok(None) };
        Ok(head.first_chunk().and_then(|head| Claim::read(head, room)))
    }

    /// The valid frame at `offset`, whatever came before it.
    fn frame(&mut self, salt: u32, base: u64, offset: u64) -> io::Result<Option<(Claim, &[u8])>> {
        let Some(claim) = self.claim(offset)? else { return Ok(None) };
        let bytes = self.get(offset, FRAME_BYTES + claim.length)?;
        Ok(bytes.filter(|bytes| claim.holds(salt, base + offset, bytes)).map(|bytes| (claim, bytes)))
    }

    /// The length of the zeros at `offset`, as far as one look goes.
    fn zeros(&mut self, offset: u64) -> io::Result<(usize, bool)> {
        let length = usize::try_from(self.data_end.saturating_sub(offset)).unwrap_or(usize::MAX).min(WINDOW_BYTES);
        let bytes = self.get(offset, length)?.unwrap_or_default();
        // By blocks, which is many times faster than by bytes.
        let block = bytes.chunks(4_096).take_while(|block| block.iter().fold(0, |all, b| all | b) == 0).count();
        let zeros = (block * 4_096).min(bytes.len());
        Ok((zeros, zeros < bytes.len()))
    }

    fn is_zero_from(&mut self, offset: u64) -> io::Result<bool> {
        let mut at = offset;
        while at < self.data_end {
            let (zeros, ended) = self.zeros(at)?;
            if ended {
                return Ok(false);
            }
            at += zeros as u64;
        }
        Ok(true)
    }

    /// Where behind `offset` a valid frame says that what is at `offset` had been synced.
    fn proof_after(&mut self, head: &Head, offset: u64) -> io::Result<Option<u64>> {
        let broken = head.base + offset;
        let mut at = offset + frame::ALIGN;
        while at < self.data_end {
            let claim = self.claim(at)?;
            // What is asked first is cheap: random bytes seldom get to the checksum.
            let proves = claim.is_some_and(|c| c.synced > broken && c.synced <= head.base + at);
            if proves && self.frame(head.salt, head.base, at)?.is_some() {
                return Ok(Some(at));
            }
            at += frame::ALIGN;
        }
        Ok(None)
    }
}
