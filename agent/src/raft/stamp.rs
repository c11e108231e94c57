//! PURE: the time a leader gives to entries. Users compare these times, so they must neither go back
//! nor jump with the wall clock: a leadership starts from the later of the log's last time and the
//! wall clock and adds monotonic time.

use std::time::Duration;

use crate::moment::{Moment, WallTime};

/// How far stamps may be ahead of a wall clock that was set back or runs slow.
const AHEAD_OF_WALL_MAX: Duration = Duration::from_secs(1);

/// The clock of one leadership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamps {
    term: u64,
    start: WallTime,
    start_at: Moment,
    last: WallTime,
}

impl Stamps {
    /// The time of an entry proposed now in `term`; `log` is the time of the last applied entry.
    pub(crate) fn next(&mut self, term: u64, now: Moment, wall: WallTime, log: WallTime) -> WallTime {
        if self.term != term || self.start == WallTime::default() {
            *self = Self { term, start: wall.max(log), start_at: now, last: self.last.max(log) };
        }
        let run = later(self.start, now.since(self.start_at));
        let at = run.min(later(wall, AHEAD_OF_WALL_MAX)).max(self.last).max(log);
        self.last = at;
        at
    }
}

fn later(at: WallTime, span: Duration) -> WallTime {
    WallTime::from_micros(at.micros().saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds: (term, monotonic, wall, log) and what is stamped, in order.
    #[track_caller]
    fn check(steps: &[(u64, u64, i64, i64, i64)]) {
        let mut stamps = Stamps::default();
        for &(term, now, wall, log, expected) in steps {
            let at = stamps.next(
                term,
                Moment::from_micros(now * 1_000_000),
                WallTime::from_micros(wall * 1_000_000),
                WallTime::from_micros(log * 1_000_000),
            );
            assert_eq!(at.micros(), expected * 1_000_000, "term {term}, at {now}, wall {wall}, log {log}");
        }
    }

    #[test]
    fn a_wall_clock_that_jumps_does_not_move_the_stamps() {
        check(&[(1, 0, 100, 0, 100), (1, 1, 101, 0, 101), (1, 2, 5_000, 0, 102)]);
    }

    #[test]
    fn a_wall_clock_set_back_is_never_left_behind_by_more_than_a_second() {
        check(&[(1, 0, 100, 0, 100), (1, 1, 50, 0, 100), (1, 60, 110, 0, 111), (1, 61, 111, 0, 112)]);
    }

    #[test]
    fn a_new_leader_starts_where_the_log_is() {
        check(&[(1, 0, 100, 500, 500), (1, 1, 101, 500, 500), (2, 2, 600, 500, 600)]);
    }
}
