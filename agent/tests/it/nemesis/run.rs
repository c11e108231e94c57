//! One run from the start of a cluster to the verdict.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::checker::{self, Finding};
use super::client::{CLIENTS, Client, Field, Notes, Reads};
use super::cluster::Cluster;
use super::faults::{Fault, Strike, rounds};
use super::history::{History, Outcome};
use super::strike::Nemesis;
use super::watchers::{EndOfWatch, Seen};
use super::{ending, now, shim};
use crate::support::lan::Lan;
use crate::support::{did_not_run, scratch};

/// Between two rounds, so that not everything happens in the wake of something else.
const REST: Duration = Duration::from_millis(300);

pub(super) struct Plan {
    pub(super) test: &'static str,
    pub(super) servers: usize,
    pub(super) seed: u64,
    /// How often all faults are gone through. 0: a server is cut off, and nothing else.
    pub(super) decks: usize,
    pub(super) reads: Reads,
}

pub(super) struct Report {
    servers: usize,
    seed: u64,
    span: Duration,
    operations: usize,
    acknowledged: u64,
    unknown: usize,
    refused: u64,
    keys: usize,
    versions: u64,
    terms: usize,
    faults: BTreeMap<&'static str, usize>,
    /// Writes and syncs that failed as they were meant to.
    failed_on_disk: i64,
    /// Histories that nothing explains.
    pub(super) findings: Vec<Finding>,
    /// Everything else that is wrong.
    pub(super) others: Vec<String>,
    evidence: Option<PathBuf>,
}

/// What the threads brought home.
#[derive(Default)]
struct Brought {
    notes: Vec<Notes>,
    faults: BTreeMap<&'static str, usize>,
    diary: Vec<String>,
    others: Vec<String>,
}

/// None where the means are missing, which is said.
pub(super) fn run(plan: &Plan) -> Option<Report> {
    let dir = scratch();
    let library = match shim::make(dir.path()) {
        Ok(library) => library,
        Err(why) => {
            did_not_run(plan.test, &why);
            return None;
        }
    };
    // The servers, a client agent, and those who ask.
    let lan = Lan::new(plan.test, plan.servers + 2)?;
    let cluster = Cluster::start(lan, &library, dir);
    let (seen, began) = (Seen::default(), now());
    let addresses = cluster.agents.iter().map(|agent| agent.address).collect();
    let field = Field::new(addresses, plan.reads, began);
    let mut history = History::new();
    let mut brought = std::thread::scope(|scope| {
        let _end = EndOfWatch(&seen, &cluster);
        for server in cluster.servers() {
            let (cluster, seen, field) = (&cluster, &seen, &field);
            scope.spawn(move || cluster.outside().within(|| seen.watch_leaders(cluster, server)));
            scope.spawn(move || cluster.outside().within(|| seen.watch_keys(server, field)));
        }
        let mut brought = strike_and_ask(plan, &cluster, &field, &seen);
        history = merged(&mut brought.notes);
        ending::settle(&cluster, &field, &mut history, &mut brought.others);
        brought
    });
    let span = began.elapsed();
    let mut versions = seen.versions.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (key, value, index) in brought.notes.iter_mut().flat_map(|notes| std::mem::take(&mut notes.seen)) {
        versions.see(&key, value, index, "a client");
    }
    let terms = seen.terms.into_inner().unwrap_or_else(PoisonError::into_inner);
    brought.others.extend(terms.anomalies());
    brought.others.extend(versions.anomalies);
    brought.others.extend(cluster.panics());
    let mut report = Report {
        servers: plan.servers,
        seed: plan.seed,
        span,
        operations: history.values().map(Vec::len).sum(),
        acknowledged: field.acknowledged.load(Ordering::Relaxed),
        unknown: history.values().flatten().filter(|operation| operation.outcome == Outcome::Unknown).count(),
        refused: brought.notes.iter().map(|notes| notes.refused).sum(),
        keys: history.len(),
        versions: versions.seen,
        terms: terms.count(),
        faults: brought.faults,
        failed_on_disk: cluster.agents.iter().map(|agent| agent.page.refused()).sum(),
        findings: checker::findings(&history),
        others: brought.others,
        evidence: None,
    };
    if plan.reads == Reads::Consistent && (report.anomalies() > 0 || std::env::var_os("NEMESIS_KEEP").is_some()) {
        report.evidence = Some(keep(cluster, &history, &brought.diary));
    }
    Some(report)
}

/// All clients at work, and the nemesis, until the faults are over and writes go on.
fn strike_and_ask(plan: &Plan, cluster: &Cluster, field: &Field, seen: &Seen) -> Brought {
    let mut dice = SmallRng::seed_from_u64(plan.seed);
    let mut brought = Brought::default();
    std::thread::scope(|scope| {
        let stop = StopOnDrop(field);
        let asking = |number| {
            let client = Client::new(number, field, plan.seed);
            scope.spawn(move || cluster.outside().within(|| client.run()))
        };
        let clients: Vec<_> = (0..CLIENTS).map(asking).collect();
        let all = match plan.decks {
            0 => vec![vec![cut_off()]],
            decks => (0..decks).flat_map(|_| rounds(&mut dice)).collect(),
        };
        let mut nemesis = Nemesis::new(cluster, &seen.terms, dice, field.began);
        for round in all {
            nemesis.round(&round);
            brought.others.extend(cluster.tend());
            std::thread::sleep(REST);
        }
        ending::heal(cluster);
        ending::goes_on(field, cluster, &mut brought.others);
        drop(stop);
        (brought.faults, brought.diary) = (nemesis.counts, nemesis.diary);
        brought.notes = clients.into_iter().map(|client| client.join().expect("no client panics")).collect();
    });
    brought
}

/// A follower that hears nobody for a while has old values, and answers `?stale` with them.
fn cut_off() -> Strike {
    Strike { fault: Fault::LeaderInMajority, after: REST, lasts: Duration::from_secs(3) }
}

/// The clients end, whatever ends the test.
struct StopOnDrop<'a>(&'a Field);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

fn merged(notes: &mut [Notes]) -> History {
    let mut history = History::new();
    for (key, operations) in notes.iter_mut().flat_map(|notes| std::mem::take(&mut notes.history)) {
        history.entry(key).or_default().extend(operations);
    }
    history
}

/// Histories, deeds and logs, where they stay.
fn keep(mut cluster: Cluster, history: &History, diary: &[String]) -> PathBuf {
    cluster.kill_all();
    let dir = std::mem::replace(&mut cluster.dir, scratch()).keep();
    let write = |name: &Path, text: String| std::fs::write(dir.join(name), text).expect("evidence is kept");
    write(Path::new("faults.txt"), diary.join("\n"));
    let mut text = String::new();
    for (key, operations) in history {
        text.push_str(&format!("{key}\n"));
        operations.iter().for_each(|operation| text.push_str(&format!("    {operation}\n")));
    }
    write(Path::new("history.txt"), text);
    dir
}

impl Report {
    fn anomalies(&self) -> usize {
        self.findings.len() + self.others.len()
    }

    /// Past the harness, which keeps what a test prints to itself as long as it passes.
    pub(super) fn tell(&self, text: &str) {
        // Nobody to tell is no reason to fail.
        let _ = writeln!(std::io::stdout(), "nemesis: {text}");
    }

    /// Tells of the run; fails where anything is wrong.
    #[track_caller]
    pub(super) fn close(&self) {
        self.tell(&self.to_string());
        if let Some(dir) = &self.evidence {
            self.tell(&format!("faults, histories and logs are in {}", dir.display()));
        }
        let findings: Vec<String> = self.findings.iter().map(ToString::to_string).collect();
        assert!(
            self.anomalies() == 0,
            "{self}\n{}\n{}\nNEMESIS_SEED={} strikes alike again",
            findings.join("\n"),
            self.others.join("\n"),
            self.seed
        );
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, span, operations, acknowledged, unknown, refused, keys, versions, terms, .. } = self;
        let struck: usize = self.faults.values().sum();
        let faults: Vec<String> = self.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
        write!(
            f,
            "{servers} servers, {:.0} s: {operations} operations on {keys} keys, {acknowledged} writes acknowledged, \
             {unknown} of unknown outcome, {refused} requests refused, {versions} values looked at, {terms} terms; \
             {struck} faults ({}; {} writes and syncs failed); {} anomalies; seed {}",
            span.as_secs_f64(),
            faults.join(", "),
            self.failed_on_disk,
            self.anomalies(),
            self.seed
        )
    }
}
