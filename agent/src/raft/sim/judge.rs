//! What must always hold of servers of Raft, whatever fails: one leader a term, one history for all,
//! nothing acknowledged lost, nothing refused done, nothing done twice, no vote taken back, and reads
//! that were served as consistent in an order that agrees with real time. Told of everything as it
//! happens; [`Judge::verdict`] looks at the whole.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use openraft::raft::VoteRequest;

use super::history::{Act, Came, Op, Versions, order};
use crate::raft::message::{Asked, FORMAT, Question};
use crate::raft::types::{Config, ServerId, Vote};
use crate::rpc::payload;
use crate::store::Store;
use crate::store::command::{Command, KvCommand, Outcome};

/// Whole states are compared at each of so many entries, and wherever a snapshot ends.
const STATES_EVERY: u64 = 8;

/// An entry as the first server applied it.
#[derive(Clone, Debug, PartialEq)]
struct Applied {
    term: u64,
    command: Option<Command>,
    outcome: Outcome,
}

#[derive(Default)]
pub(crate) struct Judge {
    breaches: Vec<String>,
    /// Whoever leads in each term.
    leaders: BTreeMap<u64, String>,
    votes: BTreeMap<(SocketAddr, u64), ServerId>,
    terms: BTreeMap<SocketAddr, u64>,
    applied: BTreeMap<u64, Applied>,
    /// Of the whole state behind an entry, and who had it first.
    digests: BTreeMap<u64, (u32, String)>,
    /// How far each server's process has applied.
    reached: BTreeMap<String, u64>,
    /// Where each value was written; all are different.
    values: BTreeMap<Vec<u8>, u64>,
    ops: Vec<Op>,
    now: u64,
    pub(crate) installed: u64,
    pub(crate) applies: u64,
}

impl Judge {
    pub(crate) fn breach(&mut self, text: String) {
        // The first few tell the story, the rest follow from them.
        if self.breaches.len() < 10 {
            self.breaches.push(text);
        }
    }

    pub(crate) fn first_breach(&self) -> Option<&String> {
        self.breaches.first()
    }

    pub(crate) fn terms_led(&self) -> usize {
        self.leaders.len()
    }

    pub(crate) fn leads(&mut self, term: u64, leader: &str) {
        let first = self.leaders.entry(term).or_insert_with(|| leader.to_owned()).clone();
        if first != leader {
            self.breach(format!("two leaders in term {term}: {first} and {leader}"));
        }
    }

    /// A request as it arrives: whoever sends entries leads, and whoever asks for votes gave itself one.
    pub(crate) fn asked(&mut self, from: SocketAddr, bytes: &[u8]) {
        let Ok(asked) = payload::decode::<Asked>(FORMAT, bytes) else { return };
        match asked.question {
            Question::Append(record) => {
                let Ok(request) = record.into_request() else { return };
                let leader = request.vote.leader_id;
                self.leads(leader.term, &leader.voted_for.to_string());
                self.told_term(from, leader.term);
            }
            Question::Vote(asked) => {
                let candidate = VoteRequest::<Config>::from(asked).vote.leader_id;
                self.granted(from, candidate.term, candidate.voted_for);
                self.told_term(from, candidate.term);
            }
            _ => {}
        }
    }

    pub(crate) fn granted(&mut self, voter: SocketAddr, term: u64, candidate: ServerId) {
        let first = *self.votes.entry((voter, term)).or_insert(candidate);
        if first != candidate {
            self.breach(format!("{voter} voted twice in term {term}: for {first} and for {candidate}"));
        }
    }

    pub(crate) fn told_term(&mut self, server: SocketAddr, term: u64) {
        let told = self.terms.entry(server).or_default();
        *told = term.max(*told);
    }

    /// A server starts with this vote on its disk. A committed one is whom it followed: it may have given its
    /// own to another before, most of all to itself.
    pub(crate) fn starts(&mut self, server: SocketAddr, vote: Option<Vote>) {
        let term = vote.map_or(0, |vote| vote.leader_id.term);
        let told = self.terms.get(&server).copied().unwrap_or_default();
        if term < told {
            self.breach(format!("{server} starts in term {term}, and has answered in term {told}: it went back"));
        }
        let Some(vote) = vote else { return };
        let voted_for = vote.leader_id.voted_for;
        if vote.committed {
            return self.leads(term, &voted_for.to_string());
        }
        let granted = self.votes.get(&(server, term)).copied();
        if let Some(granted) = granted.filter(|granted| *granted != voted_for) {
            self.breach(format!(
                "{server} starts with a vote for {voted_for} in term {term}, and gave it to {granted}"
            ));
        }
    }

    pub(crate) fn applied(
        &mut self,
        place: &str,
        term: u64,
        index: u64,
        command: Option<&Command>,
        outcome: &Outcome,
        store: &Store,
    ) {
        self.applies += 1;
        let before = self.reached.insert(place.to_owned(), index).unwrap_or_default();
        if index != before + 1 {
            self.breach(format!("{place} applied entry {index} after entry {before}"));
        }
        let now = Applied { term, command: command.cloned(), outcome: outcome.clone() };
        match self.applied.get(&index) {
            Some(first) if *first != now => {
                let text = format!("{place} applied another entry {index} than others: {now:?}, they {first:?}");
                self.breach(text);
            }
            Some(_) => {}
            None => self.first(index, now),
        }
        if index.is_multiple_of(STATES_EVERY) {
            self.state(place, index, store);
        }
    }

    fn first(&mut self, index: u64, applied: Applied) {
        if let Some(Command::Kv(KvCommand::Set { value, .. } | KvCommand::Cas { value, .. })) = &applied.command
            && let Some(before) = self.values.insert(value.clone(), index)
        {
            let value = String::from_utf8_lossy(value).into_owned();
            self.breach(format!("{value} was written twice, by entries {before} and {index}"));
        }
        self.applied.insert(index, applied);
    }

    pub(crate) fn installed(&mut self, place: &str, index: u64, store: &Store) {
        let before = self.reached.insert(place.to_owned(), index).unwrap_or_default();
        self.installed += u64::from(before > 0);
        if index < before {
            self.breach(format!("{place} went back from entry {before} to a snapshot of entry {index}"));
        }
        self.state(place, index, store);
    }

    /// Servers that have applied the same are the same.
    fn state(&mut self, place: &str, index: u64, store: &Store) {
        let mut bytes = Vec::new();
        if store.dump(&mut bytes).is_err() {
            return self.breach(format!("{place} cannot tell its state at entry {index}"));
        }
        let digest = crc32fast::hash(&bytes);
        let (first, who) = self.digests.entry(index).or_insert_with(|| (digest, place.to_owned())).clone();
        if first != digest {
            self.breach(format!("{place} and {who} differ in their state after entry {index}"));
        }
    }

    pub(crate) fn begin(&mut self, key: &str, act: Act) -> usize {
        self.now += 1;
        self.ops.push(Op { key: key.to_owned(), act, start: self.now, end: u64::MAX, came: Came::Unknown });
        self.ops.len() - 1
    }

    pub(crate) fn end(&mut self, op: usize, came: Came) {
        self.now += 1;
        let now = self.now;
        let op = &mut self.ops[op];
        op.came = came;
        if op.came != Came::Unknown {
            op.end = now;
        }
    }

    pub(crate) fn count(&self, of: impl Fn(&Came) -> bool) -> usize {
        self.ops.iter().filter(|op| of(&op.came)).count()
    }

    /// The versions of each key: the entry and the value, in order; and what each command should say.
    fn replay(&self) -> (BTreeMap<String, Versions>, Vec<String>) {
        let (mut keys, mut wrong) = (BTreeMap::<String, Versions>::new(), Vec::new());
        for (index, applied) in &self.applied {
            let (key, value, expected) = match &applied.command {
                Some(Command::Kv(KvCommand::Set { key, value, .. })) => (key, value, Outcome::Done),
                Some(Command::Kv(KvCommand::Cas { key, value, index: asked, .. })) => {
                    let found = keys.get(key).and_then(|versions| versions.last()).map_or(0, |(index, _)| *index);
                    (key, value, Outcome::Held(found == *asked))
                }
                _ => continue,
            };
            if applied.outcome != expected {
                wrong.push(format!("entry {index} came to {:?} and should to {expected:?}", applied.outcome));
            }
            if expected != Outcome::Held(false) {
                keys.entry(key.clone()).or_default().push((*index, value.clone()));
            }
        }
        (keys, wrong)
    }

    fn kept(&self, op: &Op) -> Option<String> {
        let (Act::Set(value) | Act::Cas(value, _)) = &op.act else { return None };
        let name = String::from_utf8_lossy(value);
        let found = self.values.get(value).copied();
        match &op.came {
            Came::Wrote(index, _) if found != Some(*index) => {
                Some(format!("{name} was acknowledged as entry {index}, and is {found:?}: lost"))
            }
            Came::Refused if found.is_some() => Some(format!("{name} was refused, and is entry {found:?}")),
            Came::Wrote(index, outcome) => {
                let applied = self.applied.get(index).map(|applied| &applied.outcome);
                (applied != Some(outcome)).then(|| format!("{name} was answered {outcome:?}, and came to {applied:?}"))
            }
            _ => None,
        }
    }

    /// After the run: all that is wrong.
    pub(crate) fn verdict(&self) -> Vec<String> {
        let (versions, wrong) = self.replay();
        let mut breaches = self.breaches.clone();
        breaches.extend(wrong);
        breaches.extend(self.ops.iter().filter_map(|op| self.kept(op)));
        breaches.extend(order(&self.ops, &versions));
        breaches
    }
}
