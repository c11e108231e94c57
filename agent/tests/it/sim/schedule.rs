//! What is done to a world, as a list that can be read, replayed and shortened.
//!
//! A schedule comes whole from its seed, before anything runs: so a failing one can be run again with
//! some of it left out, until nothing more can be.

use std::fmt;
use std::time::Duration;

use agent::swim::timing::Timing;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use shared::event::{MemberEvent, MemberStatus};

use super::machine::Flaw;
use super::network::{Knobs, Place};
use super::world::{World, name};

/// All who run agree so long after faults have stopped, at the latest.
pub(crate) const AGREED_WITHIN: Duration = Duration::from_secs(240);
/// An operator whose join did not help tries once more: who came back at another address is refused its own name
/// for the first 30 s (`dead_reclaim`).
const JOINED_AGAIN_AFTER: Duration = Duration::from_secs(60);
const BEAT: Duration = Duration::from_millis(500);
/// Runs that shortening may take.
const SHORTENING_RUNS: usize = 300;

#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Kill(Place),
    Leave(Place),
    Start { place: Place, join: Place, moved: bool },
    Pause(Place),
    Muffle(Place),
    Resume(Place),
    ForceLeave { by: Place, of: Place, prune: bool },
    Cut { some: Vec<Place>, others: Vec<Place>, both: bool },
    Heal,
    Weather(Knobs),
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |places: &[Place]| places.iter().map(|place| name(*place)).collect::<Vec<_>>().join(" ");
        match self {
            Self::Kill(place) => write!(f, "kill {}", name(*place)),
            Self::Leave(place) => write!(f, "{} leaves", name(*place)),
            Self::Start { place, join, moved } => {
                let where_ = if *moved { " at a new address" } else { "" };
                write!(f, "start {}{where_}, joining {}", name(*place), name(*join))
            }
            Self::Pause(place) => write!(f, "pause {}", name(*place)),
            Self::Muffle(place) => write!(f, "hold back all messages of {}", name(*place)),
            Self::Resume(place) => write!(f, "{} goes on", name(*place)),
            Self::ForceLeave { by, of, prune } => {
                let prune = if *prune { ", pruning" } else { "" };
                write!(f, "{} forces {} out{prune}", name(*by), name(*of))
            }
            Self::Cut { some, others, both } => {
                let way = if *both { "and" } else { "towards" };
                write!(f, "cut {} {way} {}", names(some), names(others))
            }
            Self::Heal => write!(f, "mend all cuts"),
            Self::Weather(knobs) => write!(f, "network: {knobs}"),
        }
    }
}

/// A member's news in the log of a run.
pub(crate) fn told(place: Place, event: &MemberEvent) -> String {
    let (what, news) = match event {
        MemberEvent::Present(news) => ("present", news),
        MemberEvent::Joined(news) => ("joined", news),
        MemberEvent::Suspected(news) => ("suspected", news),
        MemberEvent::Confirmed(news) => ("confirmed", news),
        MemberEvent::Refuted(news) => ("refuted", news),
        MemberEvent::Failed(news) => ("failed", news),
        MemberEvent::Leaving(news) => ("leaving", news),
        MemberEvent::Left(news) => ("left", news),
        MemberEvent::Rejoined(news) => ("rejoined", news),
        MemberEvent::Reaped(news) => ("reaped", news),
        _ => return format!("{} tells {event:?}", name(place)),
    };
    format!("{} says {} {what}, incarnation {}", name(place), news.state.name, news.state.incarnation)
}

#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) members: usize,
    /// Each with how long it comes after the one before.
    pub(crate) deeds: Vec<(Duration, Deed)>,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    {} members, each joining an earlier one", self.members)?;
        let mut at = Duration::ZERO;
        for (after, deed) in &self.deeds {
            at += *after;
            writeln!(f, "    {:9.3} s  {deed}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

impl Schedule {
    pub(crate) fn random(seed: u64) -> Self {
        let mut dice = SmallRng::seed_from_u64(seed);
        let members = dice.random_range(2..=7);
        let count = dice.random_range(3..=14);
        let deeds = (0..count)
            .map(|_| (Duration::from_millis(dice.random_range(10..6_000)), random_deed(&mut dice, members)))
            .collect();
        Self { seed, members, deeds }
    }

    /// Runs it; then faults stop, and all who run must come to agree.
    pub(crate) fn live(&self, flaw: Option<Flaw>, logs: bool) -> (Result<(), String>, World) {
        let mut world = World::flawed(self.members, Timing::lan(), self.seed, flaw);
        world.logs = logs;
        for place in 1..self.members {
            let to = world.dice().random_range(0..place);
            world.join(place, to);
            world.run(Duration::from_millis(50));
        }
        for (after, deed) in &self.deeds {
            world.run(*after);
            world.note(|| deed.to_string());
            apply(&mut world, deed);
        }
        end_faults(&mut world);
        let agreed = world.run_while_not(JOINED_AGAIN_AFTER, BEAT, World::agrees) || {
            join_by_hand(&mut world);
            world.run_while_not(AGREED_WITHIN - JOINED_AGAIN_AFTER, BEAT, World::agrees)
        };
        let outcome = match &world.judge.breach {
            Some(breach) => Err(breach.clone()),
            None if agreed => Ok(()),
            None => Err(format!("no agreement within {AGREED_WITHIN:?}:{}", views(&world))),
        };
        (outcome, world)
    }

    /// Leaves out what is not needed for it to fail.
    pub(crate) fn shorten(mut self, flaw: Option<Flaw>) -> Self {
        let mut runs = 0;
        let mut size = self.deeds.len().div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < self.deeds.len() && runs < SHORTENING_RUNS {
                let shorter = self.without(at, size);
                runs += 1;
                if shorter.live(flaw, false).0.is_err() { self = shorter } else { at += size }
            }
            if size == 1 || runs >= SHORTENING_RUNS {
                return self;
            }
            size /= 2;
        }
    }

    /// The time of what is left out passes all the same.
    fn without(&self, at: usize, size: usize) -> Self {
        let end = (at + size).min(self.deeds.len());
        let mut deeds = self.deeds.clone();
        let passed: Duration = deeds.drain(at..end).map(|(after, _)| after).sum();
        if let Some((after, _)) = deeds.get_mut(at) {
            *after += passed;
        }
        Self { deeds, ..*self }
    }
}

fn random_deed(dice: &mut SmallRng, members: usize) -> Deed {
    let place = dice.random_range(0..members);
    let other = (place + dice.random_range(1..members)) % members;
    match dice.random_range(0..14) {
        0 | 1 => Deed::Kill(place),
        2 => Deed::Leave(place),
        3 | 4 => Deed::Start { place, join: other, moved: dice.random_bool(0.3) },
        5 => Deed::Pause(place),
        6 => Deed::Muffle(place),
        7 | 8 => Deed::Resume(place),
        9 => Deed::ForceLeave { by: place, of: other, prune: dice.random_bool(0.3) },
        10 | 11 => {
            let mut all: Vec<Place> = (0..members).collect();
            all.shuffle(dice);
            let (some, others) = all.split_at(dice.random_range(1..members));
            Deed::Cut { some: some.to_vec(), others: others.to_vec(), both: dice.random_bool(0.5) }
        }
        12 => Deed::Heal,
        _ => Deed::Weather(Knobs {
            loss: dice.random_range(0.0..0.4),
            repeated: dice.random_range(0.0..0.2),
            delay_min: Duration::from_micros(100),
            delay_max: Duration::from_millis(dice.random_range(1..400)),
            broken: dice.random_range(0.0..0.3),
        }),
    }
}

fn apply(world: &mut World, deed: &Deed) {
    match deed {
        Deed::Kill(place) => world.kill(*place),
        Deed::Leave(place) => world.leave(*place),
        Deed::Start { place, join, moved } => {
            if world.swim(*place).is_none() {
                if *moved {
                    world.move_host(*place);
                }
                world.start(*place);
                world.join(*place, *join);
            }
        }
        Deed::Pause(place) => world.pause(*place),
        Deed::Muffle(place) => world.muffle(*place),
        Deed::Resume(place) => world.resume(*place),
        Deed::ForceLeave { by, of, prune } => world.force_leave(*by, &name(*of), *prune),
        Deed::Cut { some, others, both } => world.network.cut(some, others, *both),
        Deed::Heal => world.network.heal(),
        Deed::Weather(knobs) => world.network.knobs = knobs.clone(),
    }
}

/// The network is well and nobody is held; who has ended stays away. Two halves that declared each
/// other failed would meet by a redial some time: an operator's join is what ends it here.
fn end_faults(world: &mut World) {
    world.note(|| "faults stop".to_owned());
    world.network.heal();
    world.network.knobs = Knobs::default();
    for place in 0..world.size() {
        if world.swim(place).is_some() {
            world.resume(place);
        }
    }
    join_by_hand(world);
}

/// To one that stays, for who is leaving may be gone before it hears of the join.
fn join_by_hand(world: &mut World) {
    let mut staying = world.running();
    staying.retain(|place| world.status(*place, *place) == Some(MemberStatus::Alive));
    if let Some((first, others)) = staying.split_first() {
        others.iter().for_each(|place| world.join(*place, *first));
    }
}

pub(crate) fn views(world: &World) -> String {
    let mut text = String::new();
    for place in world.running() {
        let seen: Vec<_> = (0..world.size()).map(|other| world.status(place, other)).collect();
        text += &format!("\n    {}: {seen:?}", name(place));
    }
    text
}
