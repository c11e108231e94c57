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

    /// `leader` leads `term` (0: not known) from `at`: who led before does not any more, and who
    /// drifted follows.
    pub fn leads(&mut self, leader: &str, term: u64, at: WallTime) {
        if term > 0 {
            self.terms.entry(term).or_insert(at);
        }
        while self.terms.len() > STRETCHES_MAX {
            self.terms.pop_first();
        }
        let others: Vec<String> = self.rows.keys().filter(|node| *node != leader).cloned().collect();
        for node in others {
            if matches!(self.at(&node, at), Some(Phase::Leads | Phase::Adrift | Phase::Stands)) {
                self.put(&node, at, Phase::Follows);
            }
        }
        // A leader elected again begins again: it did not lead in between.
        let is_new = term > 0 && self.terms.get(&term) == Some(&at);
        self.enter(leader, at, Phase::Leads, is_new);
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
    fn the_past_may_arrive_after_the_present() {
        let mut line = Timeline::default();
        line.leads("two", 5, t(100));
        line.put("two", t(10), Phase::Follows);
        assert_eq!(line.at("two", t(5)), None);
        assert_eq!(line.at("two", t(50)), Some(Phase::Follows));
        assert_eq!(line.at("two", t(100)), Some(Phase::Leads));
    }

    #[test]
    fn who_is_named_later_has_one_course() {
        let mut line = Timeline::default();
        line.put("one", t(5), Phase::Follows);
        line.leads("9ffb7126", 1, t(3));
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
        line.leads("one", 1, t(2));
        line.put("two", t(2), Phase::Follows);
        line.leaderless(t(10));
        line.put("two", t(11), Phase::Stands);
        line.leads("two", 2, t(12));
        let phases = [("one", 5), ("one", 10), ("one", 12), ("two", 11), ("two", 12)]
            .map(|(node, at)| line.at(node, t(at)).expect("known"));
        assert_eq!(phases, [Phase::Leads, Phase::Adrift, Phase::Follows, Phase::Stands, Phase::Leads]);
    }

    #[test]
    fn a_leader_elected_again_begins_again() {
        let mut line = Timeline::default();
        for (term, at) in [(1, 10), (1, 10), (2, 20)] {
            line.leads("one", term, t(at));
        }
        line.put("one", t(30), Phase::Leads);
        assert_eq!(line.nodes().next().map(|(_, row)| row.len()), Some(2));
    }

    #[test]
    fn while_nobody_tells_nothing_is_known() {
        let mut line = Timeline::default();
        line.leads("one", 1, t(10));
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
