//! PURE: which entries the log holds and where they are, as frames say one after the other.
//! The same steps build it when the log is opened and while it runs.

use std::collections::VecDeque;
use std::ops::Range;

use crate::raft::record::Carried;
use crate::raft::types::{LogId, Vote};

/// Places for entries to come that are not given back.
const SPARE_SLOTS: usize = 4_096;

/// Where one entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) position: u64,
    /// Bytes of its payload.
    pub(crate) length: u32,
    pub(crate) term: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Index of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
    /// Entries below went with segments that are gone.
    origin: u64,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
}

/// A frame that cannot follow those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {found} where {expected} should follow")]
pub(crate) struct OutOfOrder {
    pub(crate) expected: u64,
    pub(crate) found: u64,
}

impl Index {
    /// Begins with what a segment's first frame carries over from segments that are gone.
    pub(crate) fn from_carried(carried: &Carried) -> Self {
        let origin = carried.last.map_or(0, |id| id.index + 1);
        Self {
            first: origin,
            slots: VecDeque::new(),
            origin,
            vote: carried.vote,
            committed: carried.committed,
            purged: carried.purged,
        }
    }

    pub(crate) fn carried(&self) -> Carried {
        Carried { vote: self.vote, committed: self.committed, purged: self.purged, last: self.last() }
    }

    /// Index of the entry to come.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    #[cfg(test)]
    fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn vote(&self) -> Option<Vote> {
        self.vote
    }

    pub(crate) fn committed(&self) -> Option<LogId> {
        self.committed
    }

    pub(crate) fn purged(&self) -> Option<LogId> {
        self.purged
    }

    /// The last entry, or the last purged one.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.slots.back().map(|slot| LogId::new_term_index(slot.term, self.next() - 1)).or(self.purged)
    }

    pub(crate) fn slot(&self, index: u64) -> Option<Slot> {
        let at = index.checked_sub(self.first)?;
        self.slots.get(usize::try_from(at).ok()?).copied()
    }

    /// The part of `range` that is held.
    pub(crate) fn held(&self, range: Range<u64>) -> Range<u64> {
        let start = range.start.max(self.first);
        start..range.end.min(self.next()).max(start)
    }

    pub(crate) fn set_vote(&mut self, vote: Vote) {
        self.vote = Some(vote);
    }

    pub(crate) fn set_committed(&mut self, committed: Option<LogId>) {
        self.committed = committed;
    }

    /// A log that never held anything begins anywhere, as openraft's suite does.
    pub(crate) fn push(&mut self, index: u64, slot: Slot) -> Result<(), OutOfOrder> {
        if self.slots.is_empty() && self.purged.is_none() && self.origin == 0 {
            self.first = index;
        }
        if index != self.next() {
            return Err(OutOfOrder { expected: self.next(), found: index });
        }
        self.slots.push_back(slot);
        Ok(())
    }

    /// Entries from `from` on are void, those included that went with their segment: they were
    /// purged under the same indexes later.
    pub(crate) fn truncate(&mut self, from: u64) {
        if from < self.first {
            self.first = from;
            self.origin = self.origin.min(from);
            self.slots.clear();
        } else {
            let keep = usize::try_from(from - self.first).unwrap_or(usize::MAX);
            self.slots.truncate(keep);
        }
    }

    /// Entries up to `upto` may go; it may lie beyond the last one after a snapshot from the leader.
    pub(crate) fn purge(&mut self, upto: LogId) {
        if upto.index >= self.next() {
            self.slots.clear();
            self.first = upto.index + 1;
        } else {
            let gone = (upto.index + 1).saturating_sub(self.first);
            self.slots.drain(..usize::try_from(gone).unwrap_or(usize::MAX).min(self.slots.len()));
            self.first += gone;
        }
        // A ring that was once long would be walked through, page by page, for ever.
        if self.slots.capacity() > SPARE_SLOTS + 2 * self.slots.len() {
            self.slots.shrink_to(SPARE_SLOTS + self.slots.len());
        }
        self.purged = self.purged.max(Some(upto));
    }

    /// Whether nothing is missing between what was purged and what is held.
    pub(crate) fn gap(&self) -> Option<OutOfOrder> {
        let expected = self.purged.map_or(0, |id| id.index + 1);
        (expected < self.origin).then_some(OutOfOrder { expected, found: self.origin })
    }

    /// The last entry of each term in `range`.
    pub(crate) fn term_ends(&self, range: Range<u64>) -> Vec<LogId> {
        let held = self.held(range);
        let mut out: Vec<LogId> = Vec::new();
        for index in held {
            let Some(slot) = self.slot(index) else { break };
            let id = LogId::new_term_index(slot.term, index);
            match out.last_mut() {
                Some(last) if last.leader_id == id.leader_id => *last = id,
                _ => out.push(id),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(term: u64) -> Slot {
        Slot { position: 0, length: 0, term }
    }

    fn index(terms: &[u64]) -> Index {
        let mut index = Index::default();
        for (at, term) in terms.iter().enumerate() {
            index.push(at as u64, slot(*term)).expect("in order");
        }
        index
    }

    #[test]
    fn what_was_truncated_may_have_gone_with_its_segment() {
        let carried = Carried { last: Some(LogId::new_term_index(1, 4)), ..Carried::default() };
        let mut index = Index::from_carried(&carried);
        index.truncate(4);
        index.push(4, slot(2)).expect("follows");
        index.push(5, slot(2)).expect("follows");
        index.purge(LogId::new_term_index(2, 4));
        assert_eq!((index.first(), index.next(), index.gap()), (5, 6, None));
    }

    #[test]
    fn a_hole_is_never_pushed() {
        assert_eq!(index(&[1, 1]).push(3, slot(1)), Err(OutOfOrder { expected: 2, found: 3 }));
    }

    #[test]
    fn a_purge_beyond_the_end_leaves_nothing_and_goes_on_behind_it() {
        let mut index = index(&[1, 1, 1]);
        index.purge(LogId::new_term_index(2, 9));
        assert_eq!((index.first(), index.next(), index.last()), (10, 10, Some(LogId::new_term_index(2, 9))));
        assert_eq!(index.gap(), None);
    }

    #[test]
    fn what_was_purged_takes_no_memory() {
        let mut index = index(&vec![1; 100_000]);
        index.purge(LogId::new_term_index(1, 99_000));
        assert!(index.slots.capacity() < 10_000, "{}", index.slots.capacity());
        assert_eq!((index.first(), index.next(), index.slot(99_001)), (99_001, 100_000, Some(slot(1))));
    }

    #[test]
    fn an_older_purge_changes_nothing() {
        let mut index = index(&[1, 1, 1]);
        index.purge(LogId::new_term_index(1, 1));
        index.purge(LogId::new_term_index(1, 0));
        assert_eq!((index.first(), index.purged()), (2, Some(LogId::new_term_index(1, 1))));
    }

    #[test]
    fn terms_end_where_they_end() {
        let ids: Vec<u64> = index(&[1, 1, 2, 3, 3, 3]).term_ends(0..6).iter().map(|id| id.index).collect();
        assert_eq!(ids, [1, 2, 5]);
    }

    #[test]
    fn entries_that_went_with_their_segment_must_have_been_purged() {
        let carried = Carried { last: Some(LogId::new_term_index(1, 4)), ..Carried::default() };
        let mut index = Index::from_carried(&carried);
        assert_eq!(index.gap(), Some(OutOfOrder { expected: 0, found: 5 }));
        index.purge(LogId::new_term_index(1, 4));
        assert_eq!(index.gap(), None);
    }
}
