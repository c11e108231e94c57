//! How long followers were silent, second by second, what it costs to have the log on disk, and from where
//! on autopilot calls a server unhealthy.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use shared::time::WallTime;

use super::servers::{ServerRole, ServerRow};

/// Seconds that are kept.
const SAMPLES_MAX: usize = 120;
/// Older than this a figure is dated where it is shown.
const FRESH_US: u64 = 20_000_000;

/// The longest silence among the followers that run, once a second, oldest first; milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contacts {
    samples: VecDeque<(WallTime, u64)>,
}

impl Contacts {
    pub fn sample(&mut self, now: WallTime, servers: &[ServerRow]) {
        if self.samples.back().is_some_and(|(at, _)| now.micros_since(*at) < 1_000_000) {
            return;
        }
        let is_heard = |row: &&ServerRow| matches!(row.role, ServerRole::Follower | ServerRole::Learner);
        let Some(longest) = servers.iter().filter(is_heard).filter_map(|row| row.progress.contact_ms).max() else {
            return;
        };
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((now, longest));
    }

    pub fn values(&self) -> Vec<f64> {
        self.samples.iter().map(|(_, ms)| *ms as f64).collect()
    }

    /// As long in half of the seconds, and at most.
    pub fn middle_and_most(&self) -> Option<(u64, u64)> {
        let mut sorted: Vec<u64> = self.samples.iter().map(|(_, ms)| *ms).collect();
        sorted.sort_unstable();
        Some((*sorted.get(sorted.len().saturating_sub(1) / 2)?, *sorted.last()?))
    }
}

/// What it took to have entries on disk, in the last interval in which there were any; microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Syncs {
    pub at: WallTime,
    pub mean_us: u64,
    pub most_us: u64,
}

impl Syncs {
    /// How old that is, where that is worth a word.
    pub fn age_us(&self, now: WallTime) -> Option<u64> {
        Some(now.micros_since(self.at)).filter(|us| *us > FRESH_US)
    }
}

/// Where a server stops being healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// So long silent.
    pub contact_ms: u64,
    /// So many entries behind.
    pub trailing: u64,
}

#[cfg(test)]
mod tests {
    use super::super::raft::Progress;
    use super::*;

    fn row(role: ServerRole, contact_ms: u64) -> ServerRow {
        let progress = Progress { contact_ms: Some(contact_ms), ..Progress::default() };
        ServerRow { role, progress, ..ServerRow::default() }
    }

    fn s(seconds: i64) -> WallTime {
        WallTime::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn the_longest_silence_of_those_that_run_counts_once_a_second() {
        let mut contacts = Contacts::default();
        assert_eq!(contacts.middle_and_most(), None);
        for (second, ms) in [(1, 11), (1, 99), (2, 40), (3, 12)] {
            let rows = [row(ServerRole::Leader, 0), row(ServerRole::Follower, ms), row(ServerRole::Down, 60_000)];
            contacts.sample(s(second), &rows);
        }
        assert_eq!(contacts.values(), [11.0, 40.0, 12.0]);
        assert_eq!(contacts.middle_and_most(), Some((12, 40)));
    }

    #[test]
    fn two_minutes_are_kept() {
        let mut contacts = Contacts::default();
        for second in 0..500 {
            contacts.sample(s(second), &[row(ServerRole::Follower, 7)]);
        }
        assert_eq!(contacts.values().len(), SAMPLES_MAX);
    }

    #[test]
    fn an_old_figure_is_dated() {
        let syncs = Syncs { at: s(10), mean_us: 400, most_us: 4_000 };
        assert_eq!((syncs.age_us(s(20)), syncs.age_us(s(70))), (None, Some(60_000_000)));
    }
}
