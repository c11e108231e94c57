//! Our own health stretches our patience (Lifeguard, "Local Health Multiplier").
//! Told by `probe` and by refutations; asked by `probe`.

use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Awareness {
    /// 0 is well; the highest is one below `AWARENESS_MAX`.
    score: u8,
}

/// Consul, serf: awareness maximum 8.
const AWARENESS_MAX: u8 = 8;

impl Awareness {
    pub(super) fn score(&self) -> u8 {
        self.score
    }

    pub(super) fn change(&mut self, by: i32) {
        let score = (i32::from(self.score)).saturating_add(by).clamp(0, i32::from(AWARENESS_MAX) - 1);
        self.score = u8::try_from(score).unwrap_or(0);
    }

    /// A span as patient as we are unwell.
    pub(super) fn stretch(&self, span: Duration) -> Duration {
        span * (u32::from(self.score) + 1)
    }
}
