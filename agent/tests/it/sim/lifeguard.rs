//! The Lifeguard paper's experiment (arXiv 1707.00788): what slow members do to the others, with each
//! part of Lifeguard off and on. `SLOW_TESTS=1` runs the whole grid and prints the tables that
//! `assets/docs/gossip.md` shows; a build runs one cell of it.

use std::collections::BTreeSet;
use std::time::Duration;

use agent::moment::Moment;
use agent::swim::timing::Timing;
use rand::seq::SliceRandom;

use super::chaos::number;
use super::network::Place;
use super::world::{World, name};

const SECOND: Duration = Duration::from_secs(1);
/// As in the paper, members of one pool, and how long slow and normal times alternate.
const MEMBERS: usize = 128;
const SPAN: Duration = Duration::from_secs(120);
const SLOW: [usize; 4] = [1, 4, 8, 16];
const SLOW_FOR_MS: [u64; 3] = [2_048, 8_192, 32_768];
const NORMAL_FOR_MS: [u64; 2] = [64, 1_024];

const PARTS: [&str; 5] = ["SWIM", "LHA-Probe", "LHA-Suspicion", "Buddy System", "Lifeguard"];

/// The paper's settings: multiplier 5, and 6 times as long for a doubt that nobody shares.
fn timing(parts: &str) -> Timing {
    let all = parts == "Lifeguard";
    Timing {
        suspicion_multiplier: 5,
        suspicion_multiplier_max: if all || parts == "LHA-Suspicion" { 6 } else { 1 },
        awareness_max: if all || parts == "LHA-Probe" { 8 } else { 1 },
        buddy: all || parts == "Buddy System",
        ..Timing::lan()
    }
}

fn chosen(world: &mut World, count: usize) -> Vec<Place> {
    let mut places: Vec<Place> = (0..world.size()).collect();
    places.shuffle(world.dice());
    places.truncate(count);
    places
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FalsePositives {
    /// Healthy members that somebody declared failed.
    all: usize,
    /// Of them, those that a healthy member declared failed.
    at_healthy: usize,
}

/// Slow members are slow, normal, slow, ... in step; whoever declares another failed is wrong.
fn interval(parts: &str, members: usize, slow: usize, slow_ms: u64, normal_ms: u64, seed: u64) -> FalsePositives {
    let mut world = World::formed(members, members, timing(parts), seed);
    world.run(5 * SECOND);
    let places = chosen(&mut world, slow);
    let end = world.now + SPAN;
    while world.now < end {
        places.iter().for_each(|place| world.muffle(*place));
        world.run(Duration::from_millis(slow_ms));
        places.iter().for_each(|place| world.resume(*place));
        world.run(Duration::from_millis(normal_ms));
    }
    let names: BTreeSet<String> = places.iter().map(|place| name(*place)).collect();
    let wrong: Vec<_> = world.judge.failures.iter().filter(|(_, _, of)| !names.contains(of)).collect();
    let at_healthy = wrong.iter().filter(|(_, by, _)| !places.contains(by)).count();
    FalsePositives { all: wrong.len(), at_healthy }
}

/// After which time the first healthy member, and all of them, knew that a member does not answer.
fn threshold(parts: &str, members: usize, slow: usize, seed: u64) -> (Vec<Duration>, Vec<Duration>) {
    let mut world = World::formed(members, members, timing(parts), seed);
    world.run(5 * SECOND);
    let places = chosen(&mut world, slow);
    let names: Vec<String> = places.iter().map(|place| name(*place)).collect();
    let began = world.now;
    places.iter().for_each(|place| world.muffle(*place));
    let known = |world: &World| {
        let wanted = places.len() * (members - slow);
        let failures = &world.judge.failures;
        failures.iter().filter(|(_, by, of)| !places.contains(by) && names.contains(of)).count() >= wanted
    };
    world.run_while_not(90 * SECOND, SECOND, known);
    let (mut first, mut all) = (Vec::new(), Vec::new());
    for name in &names {
        let failures = world.judge.failures.iter().filter(|(_, by, of)| of == name && !places.contains(by));
        let times: Vec<Moment> = failures.map(|(at, _, _)| *at).collect();
        if let (Some(earliest), Some(latest)) = (times.iter().min(), times.iter().max()) {
            first.push(earliest.since(began));
            if times.len() >= members - slow {
                all.push(latest.since(began));
            }
        }
    }
    (first, all)
}

fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let place = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(place).map_or(f64::NAN, Duration::as_secs_f64)
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("{:.2} | {:.2} | {:.2}", quantile(&times, 0.5), quantile(&times, 0.99), quantile(&times, 0.999))
}

fn false_positives(runs: u64) -> String {
    let mut text = "| configuration | FP | FP- | FP % of SWIM | FP- % of SWIM |\n|---|---|---|---|---|\n".to_owned();
    let mut swim = FalsePositives::default();
    for parts in PARTS {
        let mut sum = FalsePositives::default();
        for (slow, slow_ms, normal_ms, run) in SLOW.iter().flat_map(|slow| {
            let of_slow = SLOW_FOR_MS.iter().flat_map(|ms| NORMAL_FOR_MS.iter().map(move |normal| (ms, normal)));
            of_slow.flat_map(move |(ms, normal)| (0..runs).map(move |run| (*slow, *ms, *normal, run)))
        }) {
            let found = interval(parts, MEMBERS, slow, slow_ms, normal_ms, run);
            sum.all += found.all;
            sum.at_healthy += found.at_healthy;
        }
        if parts == "SWIM" {
            swim = sum;
        }
        let share = |part: usize, whole: usize| part as f64 * 100.0 / whole.max(1) as f64;
        let (of_all, of_healthy) = (share(sum.all, swim.all), share(sum.at_healthy, swim.at_healthy));
        text += &format!("| {parts} | {} | {} | {of_all:.2} | {of_healthy:.2} |\n", sum.all, sum.at_healthy);
    }
    text
}

fn latencies(runs: u64) -> String {
    let mut text = "| configuration | first: median | 99 | 99.9 | all: median | 99 | 99.9 | not seen by all |\n\
                    |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for parts in PARTS {
        let (mut first, mut all, mut wanted) = (Vec::new(), Vec::new(), 0);
        for (slow, run) in SLOW.iter().flat_map(|slow| (0..runs * 8).map(move |run| (*slow, run))) {
            let (some, every) = threshold(parts, MEMBERS, slow, run);
            wanted += slow;
            first.extend(some);
            all.extend(every);
        }
        let missing = wanted - all.len();
        text += &format!("| {parts} | {} | {} | {missing} of {wanted} |\n", quantiles(first), quantiles(all));
    }
    text
}

#[test]
fn lifeguard_spares_the_healthy_what_swim_does_to_them() {
    if std::env::var_os("SLOW_TESTS").is_some() {
        let runs = number("SIM_RUNS").unwrap_or(1);
        println!("{}\n{}", false_positives(runs), latencies(runs));
    }
    let (mut swim, mut lifeguard) = (0, 0);
    for seed in 0..2 {
        swim += interval("SWIM", 48, 8, 16_384, 64, seed).all;
        lifeguard += interval("Lifeguard", 48, 8, 16_384, 64, seed).all;
    }
    assert!(lifeguard < swim, "{lifeguard} false positives with Lifeguard, {swim} without");
}

#[test]
fn lifeguard_loses_no_failure() {
    for seed in 0..2 {
        let (first, all) = threshold("Lifeguard", 48, 4, seed);
        assert_eq!((first.len(), all.len()), (4, 4), "every silent member is known as failed to all");
    }
}
