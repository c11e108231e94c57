//! The ledger of elections: who stood, why, who voted how, and how it ended.
//!
//! Written by our agents' election events, or by what a HashiCorp agent's log says of its own side;
//! a vote that no side showed is absent, and drawn as `?`.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use shared::event::{ElectionRecord, ElectionResult, VoteAnswer};
use shared::time::WallTime;

use super::list::ListState;
use super::raft::Gap;

const ELECTIONS_MAX: usize = 100;
const STEPS_MAX: usize = 64;

/// Which election: a term may see several candidates.
pub type ElectionKey = (u64, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Votes are being asked for, or its end was not seen.
    Open,
    Won,
    Lost,
    TimedOut,
    /// Others were asked whether they would vote, and no more came of it: no term began.
    PreVote,
}

impl From<ElectionResult> for Outcome {
    fn from(result: ElectionResult) -> Self {
        match result {
            ElectionResult::Won => Self::Won,
            ElectionResult::Lost => Self::Lost,
            ElectionResult::TimedOut => Self::TimedOut,
        }
    }
}

/// One line of an election's story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub at: WallTime,
    pub node: String,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Election {
    pub term: u64,
    pub candidate: String,
    pub at: WallTime,
    /// Empty when nobody said.
    pub cause: String,
    pub votes: BTreeMap<String, VoteAnswer>,
    pub tally: Option<u32>,
    pub need: Option<u32>,
    pub outcome: Outcome,
    /// The time without a leader that it ended.
    pub gap: Option<Gap>,
    pub steps: Vec<Step>,
}

impl Election {
    pub fn key(&self) -> ElectionKey {
        (self.term, self.candidate.clone())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Elections {
    /// Oldest first.
    rows: VecDeque<Election>,
    pub list: ListState<ElectionKey>,
}

impl Elections {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Newest first, as shown.
    pub fn newest(&self) -> impl DoubleEndedIterator<Item = &Election> + ExactSizeIterator {
        self.rows.iter().rev()
    }

    pub fn shown_at(&self, at: usize) -> Option<&Election> {
        self.rows.iter().rev().nth(at)
    }

    pub fn selected(&self) -> Option<&Election> {
        self.shown_at(self.list.stands_at()?)
    }

    pub fn find(&self, term: u64, candidate: &str) -> Option<&Election> {
        self.rows.iter().rev().find(|election| election.term == term && election.candidate == candidate)
    }

    /// The newest election of this candidate, if it is open.
    pub fn running(&mut self, candidate: &str) -> Option<&mut Election> {
        let newest = self.rows.iter_mut().rev().find(|election| election.candidate == candidate);
        newest.filter(|election| election.outcome == Outcome::Open)
    }

    /// The election of this term and candidate, begun at `at` if it is news.
    pub fn entry(&mut self, term: u64, candidate: &str, at: WallTime) -> &mut Election {
        let known = self.rows.iter().position(|election| election.term == term && election.candidate == candidate);
        let place = known.unwrap_or_else(|| self.insert(term, candidate, at));
        &mut self.rows[place]
    }

    /// By term, then time; returns where it is.
    fn insert(&mut self, term: u64, candidate: &str, at: WallTime) -> usize {
        if self.rows.len() >= ELECTIONS_MAX {
            self.rows.pop_front();
        }
        let place = self.rows.partition_point(|election| (election.term, election.at) <= (term, at));
        self.rows.insert(
            place,
            Election {
                term,
                candidate: candidate.to_owned(),
                at,
                cause: String::new(),
                votes: BTreeMap::new(),
                tally: None,
                need: None,
                outcome: Outcome::Open,
                gap: None,
                steps: Vec::new(),
            },
        );
        place
    }

    /// A whole election, from the picture or at its end; `gap` is what its time without a leader comes to.
    pub fn record(&mut self, record: &ElectionRecord, gap: Option<Gap>) {
        let election = self.entry(record.term, &record.candidate, record.at);
        election.at = record.at;
        election.cause.clone_from(&record.cause);
        election.votes.clone_from(&record.votes);
        election.tally = Some(record.tally);
        election.need = Some(record.need);
        election.outcome = record.result.into();
        election.gap = Gap::longer(election.gap, gap);
    }

    /// Votes that were kept by server ID get the voter's name, now that it is known.
    pub fn name_voter(&mut self, id: &str, node: &str) {
        for election in &mut self.rows {
            if let Some(answer) = election.votes.remove(id) {
                election.votes.insert(node.to_owned(), answer);
            }
        }
    }

    pub fn settle(&mut self, page: usize) {
        let Self { rows, list } = self;
        let shown = |at: usize| rows.iter().rev().nth(at);
        list.settle(
            rows.len(),
            page,
            |(term, candidate)| rows.iter().rev().position(|e| e.term == *term && e.candidate == *candidate),
            |at| shown(at).map(Election::key),
        );
    }

    pub fn clear(&mut self) {
        self.rows.clear();
    }
}

impl Election {
    /// Adds a line to the story, once.
    pub fn step(&mut self, at: WallTime, node: &str, text: String) {
        if self.steps.len() < STEPS_MAX && !self.steps.iter().any(|step| step.node == node && step.text == text) {
            // Of two servers the one that is heard later may have been first.
            let place = self.steps.partition_point(|step| step.at <= at);
            self.steps.insert(place, Step { at, node: node.to_owned(), text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_bounded_and_keeps_the_newest() {
        let mut ledger = Elections::default();
        for term in 1..=150 {
            ledger.entry(term, "one", WallTime::from_micros(term as i64));
        }
        assert_eq!((ledger.len(), ledger.newest().next().map(|e| e.term)), (100, Some(150)));
    }

    #[test]
    fn one_election_told_twice_is_one_row() {
        let mut ledger = Elections::default();
        for _ in 0..2 {
            let election = ledger.entry(4, "one", WallTime::from_micros(1));
            election.step(WallTime::from_micros(1), "one", "asked".into());
        }
        assert_eq!(ledger.len(), 1);
        assert_eq!(ledger.shown_at(0).map(|e| e.steps.len()), Some(1));
    }

    #[test]
    fn an_older_election_heard_late_takes_its_place() {
        let mut ledger = Elections::default();
        ledger.entry(7, "two", WallTime::from_micros(70));
        ledger.entry(6, "one", WallTime::from_micros(60));
        assert_eq!(ledger.newest().map(|e| e.term).collect::<Vec<_>>(), [7, 6]);
    }
}
