//! Anything may happen, thousands of times, each time from a seed of its own.
//!
//! `SIM_RUNS` sets how many, `SIM_SEED` replays one. What fails is shortened and printed with its
//! seed and commit. Whether the judge can be trusted is asked too: each flaw must be caught.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::machine::Flaw;
use super::schedule::Schedule;

/// Runs of one build, each from a fresh seed: less than half a minute of one core, unoptimised.
const RUNS: u64 = 2_000;
/// Seeds in which a flaw must show.
const SEEDS: u64 = 400;

pub(super) fn number(key: &str) -> Option<u64> {
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

/// Which code a seed belongs to.
fn commit() -> String {
    let git = std::process::Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let text = git.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if text.is_empty() { "unknown".to_owned() } else { text }
}

fn report(schedule: Schedule, flaw: Option<Flaw>) -> String {
    let seed = schedule.seed;
    let shortest = schedule.shorten(flaw);
    let (outcome, world) = shortest.live(flaw, true);
    let log: Vec<String> = world.log().map(|line| format!("    {line}\n")).collect();
    format!(
        "{}\n  at commit {}, seed {seed}; the shortest schedule that still fails:\n{shortest}  the last of it:\n{}  \
         again: SIM_SEED={seed} cargo test -p agent --test it sim::chaos",
        outcome.err().unwrap_or_else(|| "only the whole schedule fails".to_owned()),
        commit(),
        log.concat()
    )
}

#[test]
fn whatever_happens_nothing_is_breached_and_the_living_agree_in_the_end() {
    let (mut steps, mut checks) = (0, 0);
    for seed in seeds(RUNS) {
        let schedule = Schedule::random(seed);
        // What panics was printed by the panic itself.
        let lived = std::panic::catch_unwind(|| {
            let (outcome, world) = schedule.live(None, false);
            (outcome, world.steps, world.judge.checks)
        });
        let Ok((outcome, taken, checked)) = lived else {
            panic!("swim panicked at commit {}, seed {seed}:\n{schedule}", commit());
        };
        assert!(outcome.is_ok(), "{}", report(schedule, None));
        steps += taken;
        checks += checked;
    }
    assert!(steps > 0 && checks > steps, "{steps} steps, {checks} checks");
}

#[test]
fn a_seed_runs_the_same_way_each_time() {
    for seed in seeds(5) {
        let once = || {
            let (_, world) = Schedule::random(seed).live(None, true);
            (world.steps, world.packets_sent, world.bytes_sent, world.log().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(once(), once());
    }
}

#[test]
fn a_failure_is_shown_as_the_shortest_schedule_that_fails() {
    let fails = |seed: &u64| Schedule::random(*seed).live(Some(Flaw::TakesOlderClaims), false).0.is_err();
    let seed = (0..SEEDS).find(fails).expect("one seed shows the flaw");
    let whole = Schedule::random(seed);
    let report = report(whole.clone(), Some(Flaw::TakesOlderClaims));
    println!("{report}");
    let deeds = report.lines().filter(|line| whole.deeds.iter().any(|(_, deed)| line.ends_with(&deed.to_string())));
    assert!(deeds.count() < 2 * whole.deeds.len(), "something was left out:\n{report}");
    for words in ["an incarnation decreased", "at commit", "members, each joining", "says", "again: SIM_SEED="] {
        assert!(report.contains(words), "no {words:?} in:\n{report}");
    }
}

/// What the judge says first of a member with this flaw.
#[track_caller]
fn check(flaw: Flaw, expected: &str) {
    let caught = (0..SEEDS).find_map(|seed| {
        let schedule = Schedule::random(seed);
        let breach = schedule.live(Some(flaw), false).0.err()?;
        breach.contains(expected).then_some(schedule)
    });
    let shortest = caught.unwrap_or_else(|| panic!("{flaw:?}: not caught in {SEEDS} runs")).shorten(Some(flaw));
    assert!(shortest.live(Some(flaw), false).0.is_err(), "what was shortened still fails");
}

#[test]
fn the_judge_catches_whoever_ignores_refutations() {
    check(Flaw::IgnoresRefutations, "a refuted suspicion killed");
}

#[test]
fn the_judge_catches_whoever_takes_older_claims() {
    check(Flaw::TakesOlderClaims, "an incarnation decreased");
}

#[test]
fn the_judge_catches_whoever_revives_the_left() {
    check(Flaw::RevivesTheLeft, "without having joined");
}

#[test]
fn the_judge_catches_whoever_refutes_for_others() {
    check(Flaw::RefutesForOthers, "never claimed more than");
}

#[test]
fn the_judge_catches_whoever_tells_a_rumour_for_ever() {
    check(Flaw::TellsForEver, "a rumour was told");
}

#[test]
fn the_judge_catches_whoever_fills_packets_too_full() {
    check(Flaw::FillsTooFull, "bytes go out where");
}

#[test]
fn the_judge_catches_whoever_learns_of_nobody() {
    check(Flaw::LearnsNobody, "no agreement within");
}

#[test]
fn the_judge_catches_whoever_wakes_for_nothing() {
    check(Flaw::WakesForNothing, "woken");
}
