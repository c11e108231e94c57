//! PURE: when to try again. The first refusals are usually neighbours that start at the same time,
//! so pauses begin short and double up to the interval that the operator set.

use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Pause(Duration),
    GiveUp,
}

#[derive(Debug)]
pub(super) struct Schedule {
    pause: Duration,
    ceiling: Duration,
    tries: u32,
    tries_max: u32,
}

impl Schedule {
    /// `tries_max` 0: never give up. Tries shorter than the ceiling count as the one they stand for,
    /// so that a count set for Consul's fixed interval lasts as long here.
    pub(super) fn new(ceiling: Duration, tries_max: u32) -> Self {
        Self { pause: FIRST_PAUSE, ceiling, tries: 0, tries_max }
    }

    pub(super) fn next(&mut self) -> Next {
        let pause = self.pause.min(self.ceiling);
        if pause == self.ceiling {
            self.tries = self.tries.saturating_add(1);
            if self.tries_max > 0 && self.tries >= self.tries_max {
                return Next::GiveUp;
            }
        }
        self.pause = (self.pause * 2).min(self.ceiling);
        Next::Pause(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(mut schedule: Schedule, count: usize) -> Vec<Next> {
        (0..count).map(|_| schedule.next()).collect()
    }

    fn ms(ms: u64) -> Next {
        Next::Pause(Duration::from_millis(ms))
    }

    #[test]
    fn pauses_double_up_to_the_ceiling() {
        let schedule = Schedule::new(Duration::from_millis(300), 0);
        assert_eq!(pauses(schedule, 6), [ms(50), ms(100), ms(200), ms(300), ms(300), ms(300)]);
    }

    #[test]
    fn only_tries_at_the_ceiling_count_towards_the_limit() {
        let schedule = Schedule::new(Duration::from_millis(100), 2);
        assert_eq!(pauses(schedule, 3), [ms(50), ms(100), Next::GiveUp]);
    }
}
