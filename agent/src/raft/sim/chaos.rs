//! Anything may happen, many times, each time from a seed of its own.
//!
//! `SIM_RUNS` sets how many, `SIM_SEED` replays one. What fails is printed with its seed, what was done,
//! and how to run it again. Whether the judge can be trusted is asked too: each flaw must be caught.

use std::fmt::Write as _;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::schedule::{Deed, Flaw, Schedule};
use super::world::{Counts, Lived, live};

/// Runs of one build, each from a fresh seed: less than half a minute of one core, unoptimised.
const RUNS: u64 = 6;
/// Seeds in which a flaw must show.
const SEEDS: u64 = 20;

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

/// Lives that are spent on finding a shorter schedule: a life that fails may be a long one.
const SHORTER_MAX: usize = 24;

/// What is left when what can be left out is, and it still fails.
fn shorten(schedule: &Schedule, flaw: Option<Flaw>) -> (Schedule, Lived) {
    let (mut shortest, mut lived) = (schedule.clone(), live(schedule, flaw));
    for at in (0..schedule.deeds.len()).rev().take(SHORTER_MAX) {
        let mut shorter = shortest.clone();
        shorter.deeds.remove(at);
        let again = live(&shorter, flaw);
        if !again.breaches.is_empty() {
            (shortest, lived) = (shorter, again);
        }
    }
    (shortest, lived)
}

pub(super) fn report(schedule: &Schedule, flaw: Option<Flaw>) -> String {
    let seed = schedule.seed;
    let (schedule, lived) = shorten(schedule, flaw);
    let mut text = format!("seed {seed}; the shortest schedule that still fails:\n{schedule}");
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
        if !lived.breaches.is_empty() {
            // At once, for the report takes its time.
            println!("seed {seed}: {:#?}\n{}", lived.breaches, lived.log.join("\n"));
            panic!("{}", report(&schedule, None));
        }
        sum.add(&lived.counts);
    }
    println!("{sum:?}");
    assert!(sum.writes > 0 && sum.reads > 0 && sum.applies > 2 * sum.writes as u64, "{sum:?}");
}

#[test]
fn a_seed_runs_the_same_way_each_time() {
    for seed in seeds(1) {
        let schedule = Schedule::random(seed);
        let (once, again) = (live(&schedule, None), live(&schedule, None));
        assert_eq!(once.log, again.log, "seed {seed}");
        assert_eq!(once, again, "seed {seed}");
    }
}

/// The judge says this of servers with this flaw, and nothing of servers without.
#[track_caller]
fn check(flaw: Flaw, deeds: Vec<(u64, Deed)>, expected: &str) {
    let told = |seed| live(&Schedule::of(seed, deeds.clone()), Some(flaw)).breaches;
    let caught = (0..SEEDS).find(|seed| told(*seed).iter().any(|breach| breach.contains(expected)));
    let seed = caught.unwrap_or_else(|| panic!("{flaw:?}: not caught in {SEEDS} runs"));
    assert_eq!(live(&Schedule::of(seed, deeds), None).breaches, [""; 0]);
}

#[test]
fn disks_that_lie_about_their_syncs_are_caught() {
    let everywhere = vec![(2_000, Deed::Power(vec![0, 1, 2], 0))];
    check(Flaw::SyncsLie, everywhere, "does not start, and nothing is wrong with its disk");
}

#[test]
fn a_read_that_is_served_as_consistent_and_is_not_is_caught() {
    let cut_off = vec![(1_500, Deed::Split(vec![0])), (3_500, Deed::Heal)];
    check(Flaw::ReadsWithoutBarrier, cut_off, "a consistent read of");
}

#[test]
fn servers_that_forget_are_caught() {
    let power = |at| (at, Deed::Power(vec![0, 1, 2], 0));
    check(Flaw::OldDisk, vec![power(1_500), power(4_000)], "it went back");
}
