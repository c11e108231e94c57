//! Time without clocks: a count that everybody who hears of a higher one catches up with.

#[derive(Debug)]
pub(super) struct Lamport(u64);

impl Lamport {
    /// Serf counts from 1.
    pub(super) fn new() -> Self {
        Self(1)
    }

    pub(super) fn now(&self) -> u64 {
        self.0
    }

    pub(super) fn advance(&mut self) -> u64 {
        self.0 = self.0.saturating_add(1);
        self.0
    }

    /// After this, now is later than `seen`.
    pub(super) fn witness(&mut self, seen: u64) {
        if seen >= self.0 {
            self.0 = seen.saturating_add(1);
        }
    }
}
