//! Answers drawn once: the bytes for all who ask the same of the same state.
//!
//! A page is good for as long as the index of its query stands, for an index moves whenever its answer
//! may have changed. Held by a server, which alone knows the index without asking; what is said to whom
//! is the edge's business.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// The most pages, and the most bytes of them with their keys. Beyond either the one that was not asked
/// for the longest goes.
const PAGES_MAX: usize = 512;
const BYTES_MAX: usize = 32 << 20;

#[derive(Clone, Default)]
pub(super) struct Pages(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    slots: HashMap<String, Kept>,
    bytes: usize,
    /// Counts the questions.
    now: u64,
}

struct Kept {
    slot: Slot,
    asked_at: u64,
    bytes: usize,
}

/// Locked while its page is drawn: who asks the same meanwhile waits for it instead of drawing it too.
type Slot = Arc<Mutex<Option<(u64, Bytes)>>>;

impl Pages {
    /// The page of that key at `index`, drawn with the state that has the index unless it is there.
    /// None when it cannot be drawn.
    pub(super) fn get(&self, key: &str, index: u64, draw: impl FnOnce() -> Option<Bytes>) -> Option<Bytes> {
        let slot = self.slot(key);
        let mut page = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = page.as_ref().filter(|(at, _)| *at == index) {
            return Some(bytes.clone());
        }
        let bytes = draw()?;
        // An older view, asked for by somebody slow, must not take the place of a newer one.
        if page.as_ref().is_none_or(|(at, _)| *at < index) {
            *page = Some((index, bytes.clone()));
            drop(page);
            self.weigh(key, bytes.len());
        }
        Some(bytes)
    }

    fn slot(&self, key: &str) -> Slot {
        let mut shelf = self.shelf();
        shelf.now += 1;
        let now = shelf.now;
        if let Some(kept) = shelf.slots.get_mut(key) {
            kept.asked_at = now;
            return Arc::clone(&kept.slot);
        }
        let slot = Slot::default();
        let kept = Kept { slot: Arc::clone(&slot), asked_at: now, bytes: key.len() };
        shelf.bytes += kept.bytes;
        shelf.slots.insert(key.to_owned(), kept);
        shelf.clear();
        slot
    }

    fn weigh(&self, key: &str, page: usize) {
        let mut shelf = self.shelf();
        let Some(kept) = shelf.slots.get_mut(key) else { return };
        let was = std::mem::replace(&mut kept.bytes, key.len() + page);
        shelf.bytes = shelf.bytes + key.len() + page - was;
        shelf.clear();
    }

    /// Nothing is left half done under this lock.
    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn clear(&mut self) {
        while self.slots.len() > PAGES_MAX || self.bytes > BYTES_MAX {
            let oldest = self.slots.iter().min_by_key(|(_, kept)| kept.asked_at).map(|(key, _)| key.clone());
            let Some(gone) = oldest.and_then(|key| self.slots.remove(&key)) else { return };
            self.bytes -= gone.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_page_is_drawn_once_for_each_index() {
        let pages = Pages::default();
        assert_eq!(pages.get("k", 5, || page("five")), page("five"));
        assert_eq!(pages.get("k", 5, || panic!("it is there")), page("five"));
        assert_eq!(pages.get("k", 6, || page("six")), page("six"));
        assert_eq!(pages.get("k", 5, || page("again")), page("again"), "a slow one gets its own");
        assert_eq!(pages.get("k", 6, || panic!("it is there")), page("six"));
        assert_eq!(pages.get("other", 6, || page("other")), page("other"));
        assert_eq!(pages.get("none", 6, || None), None);
        assert_eq!(pages.get("none", 6, || page("now")), page("now"));
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes() {
        let pages = Pages::default();
        for at in 0..PAGES_MAX {
            pages.get(&at.to_string(), 1, || page("x"));
        }
        pages.get("0", 1, || panic!("it is there"));
        pages.get("one more", 1, || page("x"));
        assert_eq!(pages.shelf().slots.len(), PAGES_MAX);
        pages.get("0", 1, || panic!("it is there"));
        assert_eq!(pages.get("1", 1, || page("anew")), page("anew"));
    }

    #[test]
    fn bytes_have_a_limit() {
        let pages = Pages::default();
        let large = || Some(Bytes::from(vec![0; BYTES_MAX / 2]));
        for key in ["a", "b", "c"] {
            assert!(pages.get(key, 1, large).is_some());
        }
        let weighed = |pages: &Pages| {
            let shelf = pages.shelf();
            assert_eq!(shelf.bytes, shelf.slots.values().map(|kept| kept.bytes).sum::<usize>());
            shelf.bytes
        };
        assert!(weighed(&pages) <= BYTES_MAX);
        pages.get("c", 2, || page("small"));
        assert!(weighed(&pages) < BYTES_MAX / 2 + 100);
    }
}
