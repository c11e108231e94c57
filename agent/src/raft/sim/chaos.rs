//! Anything may happen, many times, each time from a seed of its own.
//!
//! `SIM_RUNS` sets how many, `SIM_SEED` replays one. What fails is printed with its seed, what was done,
//! and how to run it again. Whether the judge can be trusted is asked too: each flaw must be caught.

use std::fmt::Write as _;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::schedule::{Flaw, Schedule};
use super::world::{Counts, Lived, live};

/// Runs of one build, each from a fresh seed: less than half a minute of one core, unoptimised.
const RUNS: u64 = 20;
/// Seeds in which a flaw must show.
const SEEDS: u64 = 60;

fn number(key: &str) -> Option<u64> {
    std::env::var(key).ok().and_then(|text| text.parse().ok())
}

/// Which seeds a test runs: the one that is asked for, or fresh ones.
pub(super) fn seeds(runs: u64) -> std::ops::Range<u64> {
    match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = SmallRng::from_os_rng().random_range(0..u64::MAX / 2);
            first..first + number("SIM_RUNS").unwrap_or(runs)
        }
    }
}

pub(super) fn report(schedule: &Schedule, lived: &Lived) -> String {
    let seed = schedule.seed;
    let mut text = format!("seed {seed}\n{schedule}");
    let _ = writeln!(text, "  what happened:");
    lived.log.iter().for_each(|line| writeln!(text, "    {line}").expect("memory"));
    lived.breaches.iter().take(10).for_each(|breach| writeln!(text, "  BREACH {breach}").expect("memory"));
    let _ = writeln!(text, "  again: SIM_SEED={seed} cargo test -p agent --lib raft::sim::chaos");
    text
}

#[test]
fn whatever_fails_nothing_is_lost_and_all_agree_in_the_end() {
    let mut sum = Counts::default();
    for seed in seeds(RUNS) {
        let schedule = Schedule::random(seed);
        let lived = live(&schedule, None);
        assert!(lived.breaches.is_empty(), "{}", report(&schedule, &lived));
        sum.add(&lived.counts);
    }
    println!("{sum:?}");
    assert!(sum.writes > 0 && sum.reads > 0 && sum.applies > 2 * sum.writes as u64, "{sum:?}");
}

#[test]
fn a_seed_runs_the_same_way_each_time() {
    for seed in seeds(2) {
        let schedule = Schedule::random(seed);
        let (once, again) = (live(&schedule, None), live(&schedule, None));
        assert_eq!(once.log, again.log, "seed {seed}");
        assert_eq!(once, again, "seed {seed}");
    }
}

/// What the judge says of servers with this flaw.
#[track_caller]
fn check(flaw: Flaw, expected: &[&str]) {
    let caught = (0..SEEDS).any(|seed| {
        let breaches = live(&Schedule::random(seed), Some(flaw)).breaches;
        breaches.iter().any(|breach| expected.iter().any(|words| breach.contains(words)))
    });
    assert!(caught, "{flaw:?}: not caught in {SEEDS} runs");
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_caught() {
    check(Flaw::SyncsLie, &["lost", "went back", "gave it to", "another entry", "nothing is wrong with its disk"]);
}

#[test]
fn a_read_that_is_served_as_consistent_and_is_not_is_caught() {
    check(Flaw::ReadsWithoutBarrier, &["a consistent read of"]);
}

#[test]
fn a_server_that_forgets_is_caught() {
    check(Flaw::OldDisk, &["it went back"]);
}
