//! Faults as deeds: each begins, lasts, and is undone, and several may be on at once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rustix::process::Signal;

use super::cluster::{Agent, Cluster};
use super::faults::{Fault, Strike, Whom};
use super::now;
use super::shim::{EIO, ENOSPC};
use super::terms::Terms;

/// For what an operator asks.
const ORDER_WITHIN: Duration = Duration::from_secs(3);

/// What is wrong with the network, for the network knows only all of it at once.
enum Wire {
    /// From, to.
    Cut(Vec<usize>, Vec<usize>),
    Weather(f64, Duration),
}

pub(super) struct Nemesis<'a> {
    cluster: &'a Cluster,
    terms: &'a Mutex<Terms>,
    dice: SmallRng,
    /// By strike.
    wires: BTreeMap<usize, Vec<Wire>>,
    struck: usize,
    pub(super) counts: BTreeMap<&'static str, usize>,
    /// One line a deed, with its time, for the evidence.
    pub(super) diary: Vec<String>,
    began: Instant,
}

/// A strike that is on.
struct On {
    number: usize,
    fault: Fault,
    whom: usize,
    /// It was asked to end, and would not.
    refused: bool,
    until: Instant,
}

impl<'a> Nemesis<'a> {
    pub(super) fn new(cluster: &'a Cluster, terms: &'a Mutex<Terms>, dice: SmallRng, began: Instant) -> Self {
        let (wires, counts, diary) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { cluster, terms, dice, wires, struck: 0, counts, diary, began }
    }

    /// Until all strikes of the round are over.
    pub(super) fn round(&mut self, strikes: &[Strike]) {
        let start = now();
        let mut to_come: Vec<&Strike> = strikes.iter().collect();
        to_come.sort_by_key(|strike| std::cmp::Reverse(strike.after));
        let mut on: Vec<On> = Vec::new();
        while !(to_come.is_empty() && on.is_empty()) {
            if to_come.last().is_some_and(|strike| start.elapsed() >= strike.after) {
                let strike = to_come.pop().expect("it was there just now");
                on.push(self.begin(strike));
            } else if let Some(place) = on.iter().position(|strike| now() >= strike.until) {
                let strike = on.swap_remove(place);
                self.end(&strike);
            } else {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn note(&mut self, text: &str) {
        self.diary.push(format!("{:10.6} s  {text}", self.began.elapsed().as_secs_f64()));
    }

    fn begin(&mut self, strike: &Strike) -> On {
        self.struck += 1;
        let (number, fault) = (self.struck, strike.fault);
        let whom = self.whom(fault);
        *self.counts.entry(fault.name()).or_default() += 1;
        self.note(&format!("{number} begins: {fault}, server {whom}"));
        let server = &self.cluster.servers()[whom];
        let mut refused = false;
        match fault {
            Fault::Kill(_) => server.kill(),
            Fault::KillAll => self.cluster.servers().iter().for_each(Agent::kill),
            Fault::Pause(_) => server.signal(Signal::STOP),
            Fault::Jump { seconds, .. } => server.page.wall_clock_is_ahead_by(i64::from(seconds) * 1_000_000),
            Fault::FullDisk(_) => {
                server.excuse();
                server.page.writes_fail(ENOSPC);
            }
            Fault::SyncFails(_) => {
                server.excuse();
                server.page.syncs_fail(EIO);
            }
            Fault::SyncSlow { ms, .. } => server.page.syncs_take(i64::from(ms) * 1_000),
            Fault::Restart(_) => {
                server.is_to_end();
                server.signal(Signal::TERM);
            }
            Fault::Leave(_) => {
                server.is_to_end();
                refused = !self.order(whom, "PUT /v1/agent/leave");
            }
            Fault::Remove(_) => {
                let line = format!("DELETE /v1/operator/raft/peer?id={}", self.cluster.ids[whom]);
                _ = self.order((whom + 1) % self.cluster.servers().len(), &line);
            }
            Fault::Transfer => _ = self.order(whom, "POST /v1/operator/raft/transfer-leader"),
            Fault::LeaderInMinority
            | Fault::LeaderInMajority
            | Fault::Ring
            | Fault::Deaf(_)
            | Fault::Mute(_)
            | Fault::Weather { .. } => {
                let wires = self.wires_of(fault, whom);
                self.wires.insert(number, wires);
                self.rewire();
            }
        }
        On { number, fault, whom, refused, until: now() + strike.lasts }
    }

    fn end(&mut self, strike: &On) {
        let server = &self.cluster.servers()[strike.whom];
        match strike.fault {
            Fault::Kill(_) => server.start(),
            Fault::KillAll => self.cluster.servers().iter().for_each(Agent::start),
            Fault::Pause(_) => server.signal(Signal::CONT),
            Fault::Jump { .. } => server.page.wall_clock_is_ahead_by(0),
            Fault::FullDisk(_) | Fault::SyncFails(_) => {
                server.page.writes_fail(0);
                server.page.syncs_fail(0);
                // It may be about to end, or not have noticed anything.
                server.excuse();
                let refused = server.page.refused();
                self.note(&format!("the disk refused server {} {refused} times so far", strike.whom));
            }
            Fault::SyncSlow { .. } => server.page.syncs_take(0),
            Fault::Restart(_) | Fault::Leave(_) | Fault::Remove(_) => {
                if strike.refused || matches!(strike.fault, Fault::Remove(_)) {
                    server.is_to_end();
                    server.signal(Signal::TERM);
                }
                server.wait_for_end();
                server.start();
            }
            Fault::Transfer => {}
            Fault::LeaderInMinority
            | Fault::LeaderInMajority
            | Fault::Ring
            | Fault::Deaf(_)
            | Fault::Mute(_)
            | Fault::Weather { .. } => {
                self.wires.remove(&strike.number);
                self.rewire();
            }
        }
        self.note(&format!("{} is over", strike.number));
    }

    /// Asks a server for it; whether it does so is its own affair, and told.
    fn order(&mut self, whom: usize, line: &str) -> bool {
        let answer = self.cluster.servers()[whom].ask(line, "", ORDER_WITHIN);
        let said = match &answer {
            Ok(answer) => format!("{} {}", answer.status, answer.body.trim()),
            Err(trouble) => format!("{trouble:?}"),
        };
        self.note(&format!("server {whom} answers {line} with {said}"));
        answer.is_ok_and(|answer| answer.status == 200)
    }

    fn leader(&self) -> usize {
        let terms = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        let place = |id: &String| self.cluster.ids.iter().position(|known| known == id);
        terms.last_leader().and_then(place).unwrap_or(0)
    }

    fn whom(&mut self, fault: Fault) -> usize {
        let (leader, count) = (self.leader(), self.cluster.servers().len());
        match fault {
            Fault::Kill(whom)
            | Fault::Pause(whom)
            | Fault::Deaf(whom)
            | Fault::Mute(whom)
            | Fault::Jump { whom, .. }
            | Fault::FullDisk(whom)
            | Fault::SyncFails(whom)
            | Fault::SyncSlow { whom, .. }
            | Fault::Restart(whom)
            | Fault::Leave(whom)
            | Fault::Remove(whom) => match whom {
                Whom::Leader => leader,
                Whom::Follower => (leader + self.dice.random_range(1..count)) % count,
                Whom::Any => self.dice.random_range(0..count),
            },
            _ => leader,
        }
    }

    /// The client agent is on both sides of a partition of servers.
    fn wires_of(&mut self, fault: Fault, whom: usize) -> Vec<Wire> {
        let count = self.cluster.servers().len();
        let mut others: Vec<usize> = (0..count).filter(|place| *place != whom).collect();
        others.shuffle(&mut self.dice);
        let part = |some: &[usize], rest: &[usize]| {
            vec![Wire::Cut(some.to_vec(), rest.to_vec()), Wire::Cut(rest.to_vec(), some.to_vec())]
        };
        let minority = (count - 1) / 2;
        match fault {
            Fault::LeaderInMinority => {
                let with: Vec<usize> = others.drain(..minority - 1).chain([whom]).collect();
                part(&with, &others)
            }
            Fault::LeaderInMajority => {
                let away: Vec<usize> = others.drain(..minority).collect();
                others.push(whom);
                part(&away, &others)
            }
            Fault::Ring => {
                let mut ring: Vec<usize> = others;
                ring.push(whom);
                let are_neighbours = |a: usize, b: usize| a + 1 == b || (a == 0 && b + 1 == count);
                let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
                // Three in a ring are whole: the first two hear the third alone.
                let apart = pairs.filter(|(a, b)| if count == 3 { *b == 1 } else { !are_neighbours(*a, *b) });
                apart.flat_map(|(a, b)| part(&[ring[a]], &[ring[b]])).collect()
            }
            Fault::Deaf(_) => vec![Wire::Cut(others, vec![whom])],
            Fault::Mute(_) => vec![Wire::Cut(vec![whom], others)],
            Fault::Weather { loss_percent, delay_ms } => {
                vec![Wire::Weather(f64::from(loss_percent) / 100.0, Duration::from_millis(delay_ms.into()))]
            }
            _ => Vec::new(),
        }
    }

    fn rewire(&self) {
        let lan = &self.cluster.lan;
        lan.heal();
        for wire in self.wires.values().flatten() {
            match wire {
                Wire::Cut(from, to) => lan.cut(from, to),
                Wire::Weather(loss, delay) => lan.worsen(*loss, *delay),
            }
        }
    }
}
