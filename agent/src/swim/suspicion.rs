//! Doubt about one member, shortened by each other member that independently confirms it (Lifeguard).
//! Pure arithmetic: `rules` keeps the deadline.

use std::time::Duration;

use super::member::Name;
use crate::moment::Moment;

#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    pub(super) start: Moment,
    min: Duration,
    max: Duration,
    /// How many confirmations bring the time down to `min`.
    expected: u32,
    /// Who doubts, the first one included; never longer than `expected` + 1.
    doubters: Vec<Name>,
}

impl Suspicion {
    pub(super) fn new(start: Moment, from: Name, min: Duration, max: Duration, expected: u32) -> Self {
        Self { start, min, max, expected, doubters: vec![from] }
    }

    /// Independent confirmations so far.
    pub(super) fn confirmations(&self) -> u32 {
        u32::try_from(self.doubters.len()).unwrap_or(u32::MAX).saturating_sub(1)
    }

    pub(super) fn expected(&self) -> u32 {
        self.expected
    }

    pub(super) fn doubters(&self) -> &[Name] {
        &self.doubters
    }

    /// True when `from` is new and still wanted: the news is worth passing on.
    pub(super) fn confirm(&mut self, from: &str) -> bool {
        if self.confirmations() >= self.expected || self.doubters.iter().any(|known| &**known == from) {
            return false;
        }
        self.doubters.push(Name::from(from));
        true
    }

    /// When the doubt becomes certainty.
    pub(super) fn deadline(&self) -> Moment {
        self.start + timeout(self.min, self.max, self.expected, self.confirmations())
    }
}

/// max - (max - min) * log(c + 1) / log(k + 1), never under min.
fn timeout(min: Duration, max: Duration, expected: u32, confirmations: u32) -> Duration {
    if expected == 0 {
        return min;
    }
    let share = f64::from(confirmations + 1).ln() / f64::from(expected + 1).ln();
    let span = max.as_secs_f64() - share * (max.as_secs_f64() - min.as_secs_f64());
    // Whole milliseconds, as the others count.
    Duration::from_millis((span * 1000.0).floor().max(0.0) as u64).max(min)
}

/// The shortest doubt: mult * max(1, log10 n) * interval, in whole milliseconds.
pub(super) fn shortest(multiplier: u32, members: usize, interval: Duration) -> Duration {
    let scale = (members.max(1) as f64).log10().max(1.0);
    let millis = f64::from(multiplier) * scale * interval.as_secs_f64() * 1000.0;
    Duration::from_millis(millis.floor() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(confirmations: u32, expected_ms: u64) {
        let span = timeout(Duration::from_secs(2), Duration::from_secs(30), 3, confirmations);
        assert_eq!(span, Duration::from_millis(expected_ms));
    }

    #[test]
    fn confirmations_shorten_doubt_logarithmically() {
        check(0, 30_000);
        check(1, 16_000);
        check(2, 7_810);
        check(3, 2_000);
    }

    #[test]
    fn the_first_doubter_and_repeated_ones_confirm_nothing() {
        let second = Duration::from_secs(1);
        let mut doubt = Suspicion::new(Moment::default(), Name::from("a"), second, 6 * second, 2);
        assert!(!doubt.confirm("a"));
        assert!(doubt.confirm("b"));
        assert!(!doubt.confirm("b"));
        assert!(doubt.confirm("c"));
        assert!(!doubt.confirm("d"), "as many as were expected have spoken");
        assert_eq!(doubt.deadline(), Moment::default() + second);
    }

    #[test]
    fn doubt_grows_with_the_pool() {
        assert_eq!(shortest(4, 5, Duration::from_secs(1)), Duration::from_secs(4));
        assert_eq!(shortest(4, 100, Duration::from_secs(1)), Duration::from_secs(8));
    }
}
