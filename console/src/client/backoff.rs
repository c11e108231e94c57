//! How long to pause after an error: one second, doubling to thirty or less, each shortened by chance so
//! that many consoles do not come back at once; pure, the dice are handed in.

use std::time::Duration;

use rand::Rng;

const FIRST: Duration = Duration::from_secs(1);
/// The longest pause after any error.
pub(super) const LAST: Duration = Duration::from_secs(30);

/// Failures in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Notes one more failure; the pause before the next attempt, between half and all of the step, which
    /// is never longer than `longest`.
    pub(super) fn failed(&mut self, dice: &mut impl Rng, longest: Duration) -> Duration {
        let step = FIRST.saturating_mul(1 << self.failures.min(10)).min(longest);
        self.failures = self.failures.saturating_add(1);
        step.mul_f64(dice.random_range(0.5..=1.0))
    }

    /// Failures since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    #[test]
    fn pauses_double_from_one_second_to_thirty_and_start_over() {
        for seed in 0..100 {
            let mut dice = SmallRng::seed_from_u64(seed);
            let mut backoff = Backoff::default();
            for step_ms in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000] {
                let pause = backoff.failed(&mut dice, LAST).as_millis();
                assert!((step_ms / 2..=step_ms).contains(&pause), "{pause} for {step_ms}, seed {seed}");
            }
            assert_eq!(backoff.failures(), 8);
            backoff.succeeded();
            assert!(backoff.failed(&mut dice, LAST) <= FIRST);
        }
    }

    #[test]
    fn an_error_that_passes_by_itself_is_never_waited_for_longer_than_its_bound() {
        let (mut dice, mut backoff, bound) = (SmallRng::seed_from_u64(1), Backoff::default(), 5 * FIRST);
        let pauses: Vec<_> = (0..20).map(|_| backoff.failed(&mut dice, bound)).collect();
        assert!(pauses.iter().all(|pause| *pause <= bound), "{pauses:?}");
        assert!(pauses[5..].iter().all(|pause| *pause >= bound / 2), "{pauses:?}");
        assert!(backoff.failed(&mut dice, LAST) > bound, "another error's bound is its own");
    }
}
