//! Our own health stretches our patience (Lifeguard, "Local Health Multiplier").
//! Told by `probe` and by refutations; asked by `probe`.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Awareness {
    /// 0 is well; the highest is one below `max`.
    score: u8,
    max: u8,
}

impl Awareness {
    pub(super) fn new(max: u8) -> Self {
        Self { score: 0, max }
    }

    pub(super) fn score(&self) -> u8 {
        self.score
    }

    pub(super) fn change(&mut self, by: i32) {
        let score = (i32::from(self.score)).saturating_add(by).clamp(0, i32::from(self.max.max(1)) - 1);
        self.score = u8::try_from(score).unwrap_or(0);
    }

    /// A span as patient as we are unwell.
    pub(super) fn stretch(&self, span: Duration) -> Duration {
        span * (u32::from(self.score) + 1)
    }
}
