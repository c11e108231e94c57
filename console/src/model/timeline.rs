//! Who led, followed, stood or was down, when: what the timeline draws.
//!
//! Fed by elections and memberships as they are seen; what was not seen stays unknown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::time::WallTime;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Leads,
    Follows,
    /// A candidate asks for votes.
    Stands,
    /// Alive, and no leader is known.
    Adrift,
    Down,
    /// Nobody told us: the agent in use was away.
    Unseen,
}

/// From `at` until the next of the same node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    pub at: WallTime,
    pub phase: Phase,
}

/// What is in sight of it at first: no less, no more.
const LEAST_US: u64 = 60_000_000;
const MOST_US: u64 = 24 * 3_600_000_000;
/// Spans that can be asked for, shortest first.
const SPANS_US: [u64; 10] = [
    100_000,
    1_000_000,
    10_000_000,
    LEAST_US,
    5 * 60_000_000,
    20 * 60_000_000,
    3_600_000_000,
    6 * 3_600_000_000,
    12 * 3_600_000_000,
    MOST_US,
];

/// How much of it is in sight: all, or less where that was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span(Option<u64>);

impl Span {
    /// The next shorter one, or longer one, when `all` is all there is.
    pub fn turn(&mut self, closer: bool, all: u64) {
        let now = self.us(all);
        let next = match closer {
            true => SPANS_US.iter().rev().find(|us| **us < now),
            false => SPANS_US.iter().find(|us| **us > now),
        };
        self.0 = next.copied().or(self.0).filter(|us| *us < all);
    }

    pub fn us(self, all: u64) -> u64 {
        self.0.map_or(all, |us| us.min(all))
    }

    pub fn is_all(self) -> bool {
        self.0.is_none()
    }
}

const NODES_MAX: usize = 32;
const STRETCHES_MAX: usize = 500;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    rows: BTreeMap<String, Vec<Stretch>>,
    /// When each term was won.
    pub terms: BTreeMap<u64, WallTime>,
}

impl Timeline {
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &[Stretch])> {
        self.rows.iter().map(|(node, row)| (node.as_str(), row.as_slice()))
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The oldest thing known.
    pub fn begins(&self) -> Option<WallTime> {
        self.rows.values().filter_map(|row| row.first()).map(|stretch| stretch.at).min()
    }

    /// The time that is known up to now, at least a minute and at most a day.
    pub fn all_us(&self, now: WallTime) -> u64 {
        self.begins().map_or(0, |begins| now.micros_since(begins)).clamp(LEAST_US, MOST_US)
    }

    /// What a node did at a moment.
    pub fn at(&self, node: &str, moment: WallTime) -> Option<Phase> {
        phase_at(self.rows.get(node)?, moment)
    }

    /// A node enters a phase. Times may come out of order: the past arrives after the present.
    pub fn put(&mut self, node: &str, at: WallTime, phase: Phase) {
        self.enter(node, at, phase, false);
    }

    /// A node was known by its ID alone, and has a name now.
    pub fn named(&mut self, id: &str, name: &str) {
        for stretch in self.rows.remove(id).unwrap_or_default() {
            self.put(name, stretch.at, stretch.phase);
        }
    }

    /// With `again`, a phase begins anew although it goes on.
    fn enter(&mut self, node: &str, at: WallTime, phase: Phase, again: bool) {
        if !self.rows.contains_key(node) {
            if self.rows.len() >= NODES_MAX || node.is_empty() {
                return;
            }
            self.rows.insert(node.to_owned(), Vec::new());
        }
        let Some(row) = self.rows.get_mut(node) else { return };
        let place = row.partition_point(|stretch| stretch.at <= at);
        if place > 0 && row[place - 1].phase == phase && !again {
            return;
        }
        if place > 0 && row[place - 1].at == at {
            row[place - 1].phase = phase;
        } else {
            row.insert(place, Stretch { at, phase });
        }
        // Who leads from one election to the next keeps both beginnings; else the earlier one counts.
        let terms = &self.terms;
        row.dedup_by(|later, earlier| {
            let is_election = later.phase == Phase::Leads && terms.values().any(|won| *won == later.at);
            later.phase == earlier.phase && !is_election
        });
        if row.len() > STRETCHES_MAX {
            row.remove(0);
        }
    }

    /// `leader` leads `term` (0: not known) from `at`: who led before does not any more, and who drifted or
    /// stood follows. As told long after, by `history`, who led before follows too; as it happens, that is for
    /// itself to say: it may be gone.
    pub fn leads(&mut self, leader: &str, term: u64, at: WallTime, history: bool) {
        if term > 0 {
            self.terms.entry(term).or_insert(at);
        }
        while self.terms.len() > STRETCHES_MAX {
            self.terms.pop_first();
        }
        let others: Vec<String> = self.rows.keys().filter(|node| *node != leader).cloned().collect();
        for node in others {
            match self.at(&node, at) {
                Some(Phase::Adrift | Phase::Stands) if history || !self.led_last(&node, at) => {
                    self.put(&node, at, Phase::Follows)
                }
                Some(Phase::Leads) => self.put(&node, at, if history { Phase::Follows } else { Phase::Adrift }),
                _ => {}
            }
        }
        // A leader elected again begins again: it did not lead in between.
        let is_new = term > 0 && self.terms.get(&term) == Some(&at);
        self.enter(leader, at, Phase::Leads, is_new);
    }

    /// Whether a node led before it drifted or stood, as it does at this moment.
    fn led_last(&self, node: &str, moment: WallTime) -> bool {
        let Some(row) = self.rows.get(node) else { return false };
        let mut before = row[..row.partition_point(|stretch| stretch.at <= moment)].iter().rev();
        before
            .find(|stretch| !matches!(stretch.phase, Phase::Adrift | Phase::Stands))
            .is_some_and(|s| s.phase == Phase::Leads)
    }

    /// From here on nothing is known of anyone.
    pub fn unseen(&mut self, at: WallTime) {
        let nodes: Vec<String> = self.rows.keys().cloned().collect();
        for node in nodes {
            self.put(&node, at, Phase::Unseen);
        }
    }

    /// No leader is known any more: who is up drifts.
    pub fn leaderless(&mut self, at: WallTime) {
        let nodes: Vec<String> = self.rows.keys().cloned().collect();
        for node in nodes {
            if matches!(self.at(&node, at), Some(Phase::Leads | Phase::Follows)) {
                self.put(&node, at, Phase::Adrift);
            }
        }
    }

    /// Keeps the courses of these nodes; no term is known any more.
    pub fn keep(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.rows.retain(|node, _| is_kept(node));
        self.terms.clear();
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What a row says of a moment; none before its first stretch.
pub fn phase_at(row: &[Stretch], moment: WallTime) -> Option<Phase> {
    let place = row.partition_point(|stretch| stretch.at <= moment);
    place.checked_sub(1).map(|at| row[at].phase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: i64) -> WallTime {
        WallTime::from_micros(s * 1_000_000)
    }

    #[test]
    fn less_of_it_can_be_asked_for_and_all_of_it_again() {
        let (mut span, all) = (Span::default(), 400_000_000);
        let mut seen = Vec::new();
        for closer in [true, true, true, true, true, true, false, false, false, false, false, false] {
            span.turn(closer, all);
            seen.push(span.us(all) / 100_000);
        }
        assert_eq!(seen, [3_000, 600, 100, 10, 1, 1, 10, 100, 600, 3_000, 4_000, 4_000]);
        assert!(span.is_all());
    }

    #[test]
    fn the_past_may_arrive_after_the_present() {
        let mut line = Timeline::default();
        line.leads("two", 5, t(100), false);
        line.put("two", t(10), Phase::Follows);
        assert_eq!(line.at("two", t(5)), None);
        assert_eq!(line.at("two", t(50)), Some(Phase::Follows));
        assert_eq!(line.at("two", t(100)), Some(Phase::Leads));
    }

    #[test]
    fn who_is_named_later_has_one_course() {
        let mut line = Timeline::default();
        line.put("one", t(5), Phase::Follows);
        line.leads("9ffb7126", 1, t(3), false);
        line.put("9ffb7126", t(9), Phase::Down);
        line.named("9ffb7126", "one");
        assert_eq!(line.nodes().map(|(node, _)| node).collect::<Vec<_>>(), ["one"]);
        assert_eq!(line.at("one", t(4)), Some(Phase::Leads));
        assert_eq!(line.at("one", t(10)), Some(Phase::Down));
    }

    #[test]
    fn a_new_leader_ends_the_old_ones_reign() {
        let mut line = Timeline::default();
        line.put("one", t(1), Phase::Follows);
        line.leads("one", 1, t(2), false);
        line.put("two", t(2), Phase::Follows);
        line.leaderless(t(10));
        line.put("two", t(11), Phase::Stands);
        line.leads("two", 2, t(12), false);
        let phases = [("one", 5), ("one", 10), ("one", 12), ("two", 11), ("two", 12)]
            .map(|(node, at)| line.at(node, t(at)).expect("known"));
        assert_eq!(phases, [Phase::Leads, Phase::Adrift, Phase::Adrift, Phase::Stands, Phase::Leads]);
    }

    #[test]
    fn a_leader_elected_again_begins_again() {
        let mut line = Timeline::default();
        for (term, at) in [(1, 10), (1, 10), (2, 20)] {
            line.leads("one", term, t(at), false);
        }
        line.put("one", t(30), Phase::Leads);
        assert_eq!(line.nodes().next().map(|(_, row)| row.len()), Some(2));
    }

    #[test]
    fn while_nobody_tells_nothing_is_known() {
        let mut line = Timeline::default();
        line.leads("one", 1, t(10), false);
        line.unseen(t(20));
        assert_eq!(line.at("one", t(25)), Some(Phase::Unseen));
        line.put("one", t(30), Phase::Leads);
        assert_eq!((line.at("one", t(25)), line.at("one", t(30))), (Some(Phase::Unseen), Some(Phase::Leads)));
    }

    #[test]
    fn repeating_a_phase_adds_nothing() {
        let mut line = Timeline::default();
        line.put("one", t(1), Phase::Follows);
        line.put("one", t(2), Phase::Follows);
        assert_eq!(line.nodes().next().map(|(_, row)| row.len()), Some(1));
    }
}
