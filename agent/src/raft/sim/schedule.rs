//! What is done to a world, and when: drawn from a seed, shown in words.

use std::fmt;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng};

use super::network::Weather;

pub(crate) const MACHINES: usize = 5;
/// So many of them form the cluster, the others may be added.
pub(crate) const FOUNDERS: usize = 3;
const SPAN_MS: u64 = 6_000;
const FIRST_MS: u64 = 1_200;

/// A bug on purpose, which the judge has to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Disks say that they synced and did not.
    SyncsLie,
    /// Whoever is asked answers from what it has.
    ReadsWithoutBarrier,
    /// A machine that lost power starts with its disk of an earlier day.
    OldDisk,
}

/// Machines are counted from 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deed {
    /// Power fails at these, in the middle of what they write after so many operations.
    Power(Vec<usize>, u32),
    /// Their processes are killed.
    Kill(Vec<usize>),
    SyncFails(usize, u32),
    WriteFails(usize, u32),
    Full(usize),
    Room(usize),
    /// Syncs take up to so many milliseconds.
    Slow(usize, u64),
    Quick(usize),
    /// Nothing gets from one to the other.
    Cut(usize, usize),
    /// These are cut off from the rest.
    Split(Vec<usize>),
    Heal,
    Weather(Weather),
    Transfer,
    Add(usize),
    Remove(usize),
    /// Somebody sets the clocks by so many milliseconds.
    Wall(i64),
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) deeds: Vec<(Duration, Deed)>,
}

impl Schedule {
    pub(crate) fn random(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut deeds = Vec::new();
        for _ in 0..rng.random_range(6..18) {
            let at = rng.random_range(FIRST_MS..SPAN_MS);
            let (deed, undone) = draw(&mut rng);
            deeds.push((at, deed));
            if let Some(undone) = undone {
                deeds.push((at + rng.random_range(100..3_000), undone));
            }
        }
        deeds.sort_by_key(|(at, _)| *at);
        let deeds = deeds.into_iter().map(|(at, deed)| (Duration::from_millis(at), deed)).collect();
        Self { seed, deeds }
    }

    /// Of a plot: milliseconds and deeds.
    pub(crate) fn of(seed: u64, deeds: Vec<(u64, Deed)>) -> Self {
        Self { seed, deeds: deeds.into_iter().map(|(at, deed)| (Duration::from_millis(at), deed)).collect() }
    }

    pub(crate) fn span(&self) -> Duration {
        self.deeds.last().map_or(Duration::from_millis(FIRST_MS), |(at, _)| *at) + Duration::from_millis(500)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deeds.iter().try_for_each(|(at, deed)| writeln!(f, "  {:>5} ms  {deed}", at.as_millis()))
    }
}

fn some(rng: &mut SmallRng) -> Vec<usize> {
    let count = *[1, 1, 1, 2, 2, 3, MACHINES].choose(rng).unwrap_or(&1);
    let all: Vec<usize> = (0..MACHINES).collect();
    all.choose_multiple(rng, count).copied().collect()
}

/// A deed, and what undoes it where it would go on.
fn draw(rng: &mut SmallRng) -> (Deed, Option<Deed>) {
    let who = rng.random_range(0..MACHINES);
    match rng.random_range(0..30) {
        0..6 => (Deed::Power(some(rng), rng.random_range(0..40)), None),
        6..9 => (Deed::Kill(some(rng)), None),
        9..11 => (Deed::SyncFails(who, rng.random_range(0..30)), None),
        11 => (Deed::WriteFails(who, rng.random_range(0..30)), None),
        12 => (Deed::Full(who), Some(Deed::Room(who))),
        13 => (Deed::Slow(who, rng.random_range(20..800)), Some(Deed::Quick(who))),
        14..16 => (Deed::Cut(who, (who + rng.random_range(1..MACHINES)) % MACHINES), Some(Deed::Heal)),
        16..20 => (Deed::Split(some(rng)), Some(Deed::Heal)),
        20 | 21 => {
            let weather = Weather {
                loss: rng.random_range(0.0..0.3),
                twice: rng.random_range(0.0..0.3),
                late: rng.random_range(0.0..0.3),
                delay_ms_max: rng.random_range(1..60),
            };
            (Deed::Weather(weather), Some(Deed::Weather(Weather::FAIR)))
        }
        22 | 23 => (Deed::Transfer, None),
        24..27 => (Deed::Add(rng.random_range(0..MACHINES)), None),
        27 | 28 => (Deed::Remove(who), None),
        _ => (Deed::Wall(rng.random_range(-60_000..60_000)), None),
    }
}
