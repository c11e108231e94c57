//! When this server last heard of a leader. openraft remembers whom it voted in, also over a restart;
//! whether that one is still there only its messages tell. `serving` notes them, `watch` and
//! `pulse` ask.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::moment::Moment;

/// Clones are the same note.
#[derive(Clone, Default)]
pub(crate) struct Heard {
    last: Arc<Mutex<Option<(u64, Moment)>>>,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Option<(u64, Moment)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leader of `term` sent something.
    pub(crate) fn note(&self, term: u64, now: Moment) {
        *self.lock() = Some((term, now));
    }

    /// Its process is gone.
    pub(crate) fn forget(&self) {
        *self.lock() = None;
    }

    /// How long ago the leader of `term` was heard.
    pub(crate) fn ago(&self, term: u64, now: Moment) -> Option<Duration> {
        self.lock().filter(|(heard, _)| *heard == term).map(|(_, at)| now.since(at))
    }

    /// Whether the leader of `term` was heard within that time.
    pub(crate) fn hears(&self, term: u64, now: Moment, within: Duration) -> bool {
        self.ago(term, now).is_some_and(|ago| ago < within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_there_while_it_is_heard() {
        let (heard, second) = (Heard::default(), Duration::from_secs(1));
        let at = Moment::from_micros;
        assert!(!heard.hears(3, at(0), second), "not since the start");
        heard.note(3, at(10));
        assert!(heard.hears(3, at(999_999), second));
        assert!(!heard.hears(4, at(11), second), "another term");
        assert!(!heard.hears(3, at(1_000_010), second), "silent");
        heard.note(3, at(2_000_000));
        heard.forget();
        assert!(!heard.hears(3, at(2_000_001), second), "gone");
    }
}
