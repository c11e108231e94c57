//! What a check was in the last minutes: when it turned to what, as far as it was seen; and the strip of
//! cells that shows it. Bounded: the oldest turns go first, and with them what is known of before.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use shared::time::WallTime;

use super::checks::Health;

/// Cells of a strip, and the time that it covers.
pub const CELLS: usize = 8;
pub const SPAN_US: u64 = 600_000_000;
/// Turns kept of one check; one that turns at every run is no better told by more.
const TURNS_MAX: usize = 32;
/// Times of not looking that are remembered.
const UNSEEN_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    pub at: WallTime,
    pub to: Health,
}

/// One check's past. Before `from` nothing is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    from: WallTime,
    first: Health,
    turns: VecDeque<Turn>,
}

impl Past {
    pub fn new(from: WallTime, first: Health) -> Self {
        Self { from, first, turns: VecDeque::new() }
    }

    pub fn turn(&mut self, at: WallTime, to: Health) {
        let is_old = |turn: &Turn| at.micros_since(turn.at) > 2 * SPAN_US;
        while self.turns.len() >= TURNS_MAX || self.turns.front().is_some_and(is_old) {
            let Some(oldest) = self.turns.pop_front() else { break };
            (self.from, self.first) = (oldest.at, oldest.to);
        }
        self.turns.push_back(Turn { at, to });
    }

    /// Turns since then.
    pub fn count(&self, since: WallTime) -> usize {
        self.turns.iter().filter(|turn| turn.at >= since).count()
    }

    pub fn turns(&self) -> impl DoubleEndedIterator<Item = &Turn> {
        self.turns.iter()
    }

    /// The worst that it was from `start` up to `end`.
    fn worst(&self, start: WallTime, end: WallTime) -> Option<Health> {
        if end <= self.from {
            return None;
        }
        let mut worst = self.first;
        for turn in &self.turns {
            match () {
                () if turn.at <= start => worst = turn.to,
                () if turn.at < end => worst = worst.min(turn.to),
                () => break,
            }
        }
        Some(worst)
    }
}

/// When nobody looked: what happened then is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    times: VecDeque<(WallTime, WallTime)>,
    since: Option<WallTime>,
}

impl Unseen {
    pub fn begins(&mut self, at: WallTime) {
        self.since = self.since.or(Some(at));
    }

    pub fn ends(&mut self, at: WallTime) {
        if let Some(since) = self.since.take() {
            if self.times.len() >= UNSEEN_MAX {
                self.times.pop_front();
            }
            self.times.push_back((since, at));
        }
    }

    fn covers(&self, start: WallTime, end: WallTime) -> bool {
        self.since.is_some_and(|since| since <= start)
            || self.times.iter().any(|(from, to)| *from <= start && end <= *to)
    }
}

/// The worst of several checks in each cell, the oldest first; none where nothing was seen.
pub fn strip<'p>(pasts: impl Iterator<Item = &'p Past>, unseen: &Unseen, now: WallTime) -> [Option<Health>; CELLS] {
    let step = i64::try_from(SPAN_US).unwrap_or(i64::MAX) / CELLS as i64;
    let begin = now.micros() - step * CELLS as i64;
    let mut cells = [None; CELLS];
    for past in pasts {
        for (at, cell) in (0..).zip(&mut cells) {
            let start = WallTime::from_micros(begin + step * at);
            // What just turned belongs to the last cell.
            let end = WallTime::from_micros(begin + step * (at + 1) + 1);
            if let Some(worst) = past.worst(start, end).filter(|_| !unseen.covers(start, end)) {
                *cell = Some(cell.map_or(worst, |known: Health| known.min(worst)));
            }
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP_S: i64 = 75;

    fn s(seconds: i64) -> WallTime {
        WallTime::from_micros(seconds * 1_000_000)
    }

    #[track_caller]
    fn check(past: &Past, unseen: &Unseen, expected: &str) {
        let letter = |cell: &Option<Health>| match cell {
            Some(Health::Passing) => 'p',
            Some(Health::Warning) => 'w',
            Some(Health::Critical) => 'c',
            Some(Health::Other) => 'o',
            None => '.',
        };
        let cells = strip(std::iter::once(past), unseen, s(8 * STEP_S));
        assert_eq!(cells.iter().map(letter).collect::<String>(), expected);
    }

    #[test]
    fn a_strip_shows_the_worst_of_each_cell_and_nothing_that_was_not_seen() {
        let mut past = Past::new(s(2 * STEP_S), Health::Passing);
        check(&past, &Unseen::default(), ".ppppppp");
        past.turn(s(4 * STEP_S + 10), Health::Critical);
        past.turn(s(4 * STEP_S + 20), Health::Passing);
        check(&past, &Unseen::default(), ".pppcppp");
        past.turn(s(8 * STEP_S), Health::Warning);
        check(&past, &Unseen::default(), ".pppcppw");
    }

    #[test]
    fn while_nobody_looked_nothing_is_known() {
        let past = Past::new(s(0), Health::Passing);
        let mut unseen = Unseen::default();
        unseen.begins(s(3 * STEP_S));
        check(&past, &unseen, "ppp.....");
        unseen.ends(s(6 * STEP_S + 5));
        check(&past, &unseen, "ppp...pp");
    }

    #[test]
    fn a_check_that_never_rests_costs_no_more_than_its_bound() {
        let mut past = Past::new(s(0), Health::Passing);
        for n in 0..10_000 {
            past.turn(s(n / 20), if n % 2 == 0 { Health::Critical } else { Health::Passing });
        }
        assert_eq!(past.turns().count(), TURNS_MAX);
        assert_eq!(past.count(s(0)), TURNS_MAX);
    }
}
