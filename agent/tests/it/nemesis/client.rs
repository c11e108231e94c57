//! Those who write and read while the nemesis is at work: each asks any agent, one request at a time, and
//! notes what it asked and what it was told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::ask::{Answer, Trouble, ask};
use super::history::{Action, Held, History, Operation, Outcome};
use super::now;

pub(super) const CLIENTS: usize = 8;
/// Keys that all fight over for a while; then come others, so that no history is long.
const KEYS: u64 = 4;
const EPOCH: Duration = Duration::from_secs(2);
/// Longer than any answer but that of a server that waits for a leader.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_200);
/// An agent that did not answer is asked again after.
const AVOIDED_FOR: Duration = Duration::from_millis(600);

/// How reads are asked for. All are noted as consistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    Consistent,
    /// The bug that the checker must find.
    Stale,
}

/// What all clients of a run share.
pub(super) struct Field {
    pub(super) agents: Vec<SocketAddr>,
    pub(super) reads: Reads,
    pub(super) began: Instant,
    pub(super) stop: AtomicBool,
    /// Answered writes so far.
    pub(super) acknowledged: AtomicU64,
    values: AtomicU64,
}

impl Field {
    pub(super) fn new(agents: Vec<SocketAddr>, reads: Reads, began: Instant) -> Self {
        let (stop, acknowledged, values) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        Self { agents, reads, began, stop, acknowledged, values }
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).expect("a run ends")
    }

    /// The prefix of the keys that are written now.
    pub(super) fn prefix(&self) -> String {
        format!("e{}/", self.began.elapsed().as_micros() / EPOCH.as_micros())
    }
}

/// What a client brings home.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) history: History,
    /// Key, value, `ModifyIndex`, of every read that found something.
    pub(super) seen: Vec<(String, u64, u64)>,
    /// Requests that provably changed nothing.
    pub(super) refused: u64,
}

pub(super) struct Client<'a> {
    number: usize,
    field: &'a Field,
    dice: SmallRng,
    /// By key: what it held when last read, and its index.
    known: BTreeMap<String, (Held, u64)>,
    avoided: Vec<Option<Instant>>,
    notes: Notes,
}

impl<'a> Client<'a> {
    pub(super) fn new(number: usize, field: &'a Field, seed: u64) -> Self {
        let dice = SmallRng::seed_from_u64(seed.wrapping_add(number as u64));
        let avoided = vec![None; field.agents.len()];
        Self { number, field, dice, known: BTreeMap::new(), avoided, notes: Notes::default() }
    }

    pub(super) fn run(mut self) -> Notes {
        let mut prefix = String::new();
        while !self.field.stop.load(Ordering::Relaxed) {
            if self.field.prefix() != prefix {
                prefix = self.field.prefix();
                self.known.clear();
            }
            let key = format!("{prefix}k{}", self.dice.random_range(0..KEYS));
            let Some(agent) = self.agent() else {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            };
            self.step(&key, agent);
        }
        self.notes
    }

    fn agent(&mut self) -> Option<usize> {
        let at = self.dice.random_range(0..self.avoided.len());
        let is_avoided = |until: &Option<Instant>| until.is_some_and(|until| now() < until);
        let order = (0..self.avoided.len()).map(|n| (at + n) % self.avoided.len());
        order.into_iter().find(|agent| !is_avoided(&self.avoided[*agent]))
    }

    fn step(&mut self, key: &str, agent: usize) {
        let (action, index) = self.choose(key);
        let began = self.field.micros();
        let answer = ask(self.field.agents[agent], &self.line(key, action, index), &self.body(action), ANSWER_WITHIN);
        let ended = self.field.micros();
        if answer.is_err() {
            self.avoided[agent] = Some(now() + AVOIDED_FOR);
        }
        let Some(outcome) = outcome(action, &answer) else {
            self.notes.refused += 1;
            std::thread::sleep(Duration::from_millis(2));
            return;
        };
        let ended = if outcome == Outcome::Unknown { u64::MAX } else { ended };
        if let (Outcome::Found(held), Ok(answer)) = (outcome, &answer) {
            let index = pair(answer).map_or(0, |(_, index)| index);
            self.known.insert(key.to_owned(), (held, index));
            if let Some(value) = held {
                self.notes.seen.push((key.to_owned(), value, index));
            }
        }
        if matches!(outcome, Outcome::Done | Outcome::Was(_)) {
            self.field.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        if outcome == Outcome::Unknown && action == Action::Read {
            return;
        }
        let operation = Operation { client: self.number, agent, action, outcome, began, ended };
        self.notes.history.entry(key.to_owned()).or_default().push(operation);
    }

    /// And the index that a condition names.
    fn choose(&mut self, key: &str) -> (Action, u64) {
        let value = self.field.values.fetch_add(1, Ordering::Relaxed) + 1;
        let known = self.known.get(key).copied();
        match (self.dice.random_range(0..100), known) {
            (0..38, _) => (Action::Read, 0),
            (38..64, _) | (_, None) => (Action::Write(value), 0),
            (64..94, Some((expects, index))) => (Action::Cas { expects, value }, index),
            (_, Some((Some(expects), index))) => (Action::Delete { expects }, index),
            (_, Some((None, _))) => (Action::Read, 0),
        }
    }

    fn line(&self, key: &str, action: Action, index: u64) -> String {
        let how = match self.field.reads {
            Reads::Consistent => "consistent",
            Reads::Stale => "stale",
        };
        match action {
            Action::Read => format!("GET /v1/kv/{key}?{how}"),
            Action::Write(_) => format!("PUT /v1/kv/{key}"),
            Action::Cas { .. } => format!("PUT /v1/kv/{key}?cas={index}"),
            Action::Delete { .. } => format!("DELETE /v1/kv/{key}?cas={index}"),
        }
    }

    /// The value, and padding of many lengths.
    fn body(&mut self, action: Action) -> String {
        let (Action::Write(value) | Action::Cas { value, .. }) = action else { return String::new() };
        let padding = self.dice.random_range(0..1_500);
        format!("{value} {}", ".".repeat(padding))
    }
}

/// What the answer says; none where the request provably changed nothing and tells nothing.
fn outcome(action: Action, answer: &Result<Answer, Trouble>) -> Option<Outcome> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(Trouble::NeverSent) => return None,
        Err(Trouble::NoAnswer) => return Some(Outcome::Unknown),
    };
    match (answer.status, action, answer.body.trim()) {
        (200, Action::Read, _) => Some(Outcome::Found(Some(pair(answer)?.0))),
        (404, Action::Read, _) => Some(Outcome::Found(None)),
        (_, Action::Read, _) => None,
        (200, Action::Write(_), "true") => Some(Outcome::Done),
        (200, _, "true") => Some(Outcome::Was(true)),
        (200, _, "false") => Some(Outcome::Was(false)),
        // What a server answers that has promised not to have appended it.
        (500, _, text) if is_refusal(text) => None,
        _ => Some(Outcome::Unknown),
    }
}

/// Through an agent that asked another, `rpc error making call: ` comes before it.
fn is_refusal(text: &str) -> bool {
    ["No cluster leader", "not the leader", "No known Consul servers"].iter().any(|reason| text.ends_with(reason))
}

/// Value and `ModifyIndex` of the only key in the body.
fn pair(answer: &Answer) -> Option<(u64, u64)> {
    read(&answer.json()[0])
}

/// Of one key as JSON.
pub(super) fn read(pair: &serde_json::Value) -> Option<(u64, u64)> {
    let value = STANDARD.decode(pair["Value"].as_str()?).ok()?;
    let text = String::from_utf8(value).ok()?;
    Some((text.split(' ').next()?.parse().ok()?, pair["ModifyIndex"].as_u64()?))
}
