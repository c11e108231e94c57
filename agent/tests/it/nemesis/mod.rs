//! The nemesis: real servers on a network of the test's own, clients that write and read at all of them,
//! and every fault there is, mixed by seed. A checker then proves from what the clients were told that no
//! acknowledged write is lost, none was applied twice, `?consistent` reads are linearizable, each term had
//! one leader at most, and all replicas are equal. assets/docs/testing.md has how it is run for hours.

mod ask;
mod checker;
mod client;
mod cluster;
mod ending;
mod faults;
mod history;
mod run;
mod shim;
mod strike;
mod terms;
mod versions;
mod watchers;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::client::Reads;
use self::run::{Plan, run};

/// A seed like any other, so that a change has something to be compared by.
const FIXED_SEED: u64 = 20_261_130;
/// Without a wish, a run by hand is made of runs of so many decks.
const DECKS_BY_HAND: usize = 3;

#[expect(clippy::disallowed_methods, reason = "what clients were told is ordered by time")]
fn now() -> Instant {
    Instant::now()
}

/// One cluster at a time: two of them would be too slow to show much.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wished(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")))
}

#[test]
fn three_servers_keep_every_promise_under_all_faults_of_a_fixed_seed() {
    let _alone = alone();
    let test = "three_servers_keep_every_promise_under_all_faults_of_a_fixed_seed";
    let plan = Plan { test, servers: 3, seed: FIXED_SEED, decks: 1, reads: Reads::Consistent };
    let Some(report) = run(&plan) else { return };
    report.close();
}

/// With `SLOW_TESTS=1`, or by hand: `NEMESIS_SECONDS` for how long, `NEMESIS_SEED` for the first seed,
/// `NEMESIS_SERVERS`.
#[test]
fn five_servers_keep_every_promise_under_all_faults_of_a_fresh_seed() {
    let _alone = alone();
    let test = "five_servers_keep_every_promise_under_all_faults_of_a_fresh_seed";
    let asked = ["SLOW_TESTS", "NEMESIS_SECONDS", "NEMESIS_SEED"].iter().any(|name| std::env::var_os(name).is_some());
    if !asked {
        return crate::support::did_not_run(test, "it is a slow one: SLOW_TESTS=1 or NEMESIS_SECONDS runs it");
    }
    let mut seed = wished("NEMESIS_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 >> 32);
    let span = wished("NEMESIS_SECONDS").map(Duration::from_secs);
    let servers = wished("NEMESIS_SERVERS").map_or(5, |count| usize::try_from(count).expect("a few servers"));
    let (began, decks) = (now(), if span.is_some() { DECKS_BY_HAND } else { 1 });
    loop {
        let plan = Plan { test, servers, seed, decks, reads: Reads::Consistent };
        let Some(report) = run(&plan) else { return };
        report.close();
        if span.is_none_or(|span| began.elapsed() >= span) {
            return;
        }
        seed += 1;
    }
}

#[test]
fn a_stale_read_that_is_served_as_consistent_is_caught() {
    let _alone = alone();
    let test = "a_stale_read_that_is_served_as_consistent_is_caught";
    let plan = Plan { test, servers: 3, seed: FIXED_SEED, decks: 0, reads: Reads::Stale };
    let Some(report) = run(&plan) else { return };
    assert!(!report.findings.is_empty(), "nothing was found: {report}");
    let first = report.findings[0].to_string();
    assert!(first.contains("read -> "), "{first}");
    assert!(report.others.is_empty(), "a stale read is the only thing wrong: {:#?}", report.others);
    report.tell(&format!("{report}; as meant, for example {first}"));
}
