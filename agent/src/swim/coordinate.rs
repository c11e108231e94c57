//! Where members are in the network: Vivaldi's coordinates as serf keeps them.
//!
//! Every direct ack carries its sender's coordinate; with the round trip it moves ours. Constants,
//! order of steps and limits are serf's, so that mixed pools agree. What no honest member would send
//! is refused and counted: a coordinate that is no number, negative where it cannot be, or out of reach.
//! Called by `probe` with acks; a member's coordinate lives in its record and ends with it.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use shared::api::coordinate::{Coordinate, DIMENSIONS};

use super::Swim;
use super::member::{Member, Name};
use super::msgpack::{Flaw, Reader, Writer};
use crate::moment::Moment;

/// Before the coordinate in an ack.
const PAYLOAD_VERSION: u8 = 1;
const ERROR_MAX: f64 = 1.5;
/// How far one measurement moves the error, and the place.
const ERROR_TUNING: f64 = 0.25;
const PLACE_TUNING: f64 = 0.25;
const ADJUSTMENT_WINDOW: usize = 20;
const HEIGHT_MIN: f64 = 10.0e-6;
/// Of so many round trips with one peer the middle one counts.
const LATENCY_FILTER: usize = 3;
/// The larger, the weaker the pull to the origin.
const GRAVITY_RHO: f64 = 150.0;
/// Closer than this is the same place.
const NEAR: f64 = 1.0e-6;
/// A longer round trip is none.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);
/// Ours: the longest round trip ten times over. Serf takes any number, and with it whatever one
/// forged ack makes of everybody's estimates.
const REACH_MAX: f64 = 100.0;
/// Nodes that are no members and were given a coordinate, at most.
const OTHERS_MAX: usize = 4096;
/// News is told to those who wait for it no more often: Consul's servers write in such batches.
const TOLD_EVERY: Duration = Duration::from_secs(5);

pub(super) const ORIGIN: Coordinate =
    Coordinate { vec: [0.0; DIMENSIONS], error: ERROR_MAX, adjustment: 0.0, height: HEIGHT_MIN };

/// What is known of a peer.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    coordinate: Coordinate,
    /// The latest round trips with it, in seconds, oldest first.
    round_trips: Vec<f64>,
}

#[derive(Debug)]
pub(super) struct Vivaldi {
    pub(super) ours: Coordinate,
    shortfalls: [f64; ADJUSTMENT_WINDOW],
    next_shortfall: usize,
    /// Of nodes that are no members.
    others: BTreeMap<Name, Coordinate>,
    pub(super) resets: u64,
    pub(super) rejected: u64,
    /// Grows when there is news.
    pub(super) index: u64,
    told: Option<Moment>,
}

impl Default for Vivaldi {
    fn default() -> Self {
        Self {
            ours: ORIGIN,
            shortfalls: [0.0; ADJUSTMENT_WINDOW],
            next_shortfall: 0,
            others: BTreeMap::new(),
            resets: 0,
            rejected: 0,
            index: 1,
            told: None,
        }
    }
}

impl Vivaldi {
    /// Takes a measurement of `seconds` to somebody at `theirs`.
    pub(super) fn measure(&mut self, theirs: &Coordinate, seconds: f64, dice: &mut SmallRng) {
        let measured = seconds.max(NEAR);
        let guessed = self.ours.distance_to(theirs);
        let wrongness = (guessed - measured).abs() / measured;
        let weight = self.ours.error / (self.ours.error + theirs.error).max(NEAR);
        let error = ERROR_TUNING * weight * wrongness + self.ours.error * (1.0 - ERROR_TUNING * weight);
        self.ours.error = error.min(ERROR_MAX);
        self.push(PLACE_TUNING * weight * (measured - guessed), theirs, dice);
        self.shortfalls[self.next_shortfall] = seconds - self.ours.raw_distance_to(theirs);
        self.next_shortfall = (self.next_shortfall + 1) % ADJUSTMENT_WINDOW;
        self.ours.adjustment = self.shortfalls.iter().sum::<f64>() / (2.0 * ADJUSTMENT_WINDOW as f64);
        let pull = -(ORIGIN.distance_to(&self.ours) / GRAVITY_RHO).powi(2);
        self.push(pull, &ORIGIN, dice);
        if !is_finite(&self.ours) {
            self.resets += 1;
            self.ours = ORIGIN;
        }
    }

    /// Moves us away from somebody, or nearer when the force is negative.
    fn push(&mut self, force: f64, from: &Coordinate, dice: &mut SmallRng) {
        let (direction, distance) = direction(&self.ours.vec, &from.vec, dice);
        for (ours, part) in self.ours.vec.iter_mut().zip(direction) {
            *ours += part * force;
        }
        if distance > NEAR {
            let height = self.ours.height + force * (self.ours.height + from.height) / distance;
            self.ours.height = height.max(HEIGHT_MIN);
        }
    }

    fn has_news(&mut self, now: Moment) {
        if self.told.is_none_or(|at| now.since(at) >= TOLD_EVERY) {
            self.told = Some(now);
            self.index += 1;
        }
    }
}

/// The way from `there` to `here` at length 1, and how far it is; any way where they are one place.
fn direction(here: &[f64; DIMENSIONS], there: &[f64; DIMENSIONS], dice: &mut SmallRng) -> ([f64; DIMENSIONS], f64) {
    let size = |way: &[f64; DIMENSIONS]| way.iter().map(|part| part * part).sum::<f64>().sqrt();
    let mut way = std::array::from_fn(|at| here[at] - there[at]);
    let distance = size(&way);
    if distance > NEAR {
        return (way.map(|part| part / distance), distance);
    }
    way = std::array::from_fn(|_| dice.random::<f64>() - 0.5);
    let length = size(&way);
    if length > NEAR {
        return (way.map(|part| part / length), 0.0);
    }
    (std::array::from_fn(|at| if at == 0 { 1.0 } else { 0.0 }), 0.0)
}

fn is_finite(coordinate: &Coordinate) -> bool {
    let Coordinate { vec, error, adjustment, height } = coordinate;
    vec.iter().chain([error, adjustment, height]).all(|part| part.is_finite())
}

/// Whether an honest member could be there.
pub fn is_sound(coordinate: &Coordinate) -> bool {
    let Coordinate { vec, error, adjustment, height } = coordinate;
    let within = |part: &f64| part.abs() <= REACH_MAX;
    is_finite(coordinate)
        && vec.iter().chain([error, adjustment, height]).all(within)
        && *error >= 0.0
        && *height >= 0.0
}

/// The payload of an ack; none when it holds no coordinate of our kind.
pub(super) fn read(payload: &[u8]) -> Option<Coordinate> {
    let (&PAYLOAD_VERSION, body) = payload.split_first()? else { return None };
    let mut coordinate = ORIGIN;
    let mut reader = Reader::new(body);
    let mut parts = 0;
    let outcome = reader.fields(|r, key| {
        match key {
            b"Adjustment" => coordinate.adjustment = r.float()?,
            b"Error" => coordinate.error = r.float()?,
            b"Height" => coordinate.height = r.float()?,
            b"Vec" => {
                parts = r.array()?;
                if parts != DIMENSIONS {
                    return Err(Flaw::Malformed);
                }
                for part in &mut coordinate.vec {
                    *part = r.float()?;
                }
            }
            _ => r.skip()?,
        }
        Ok(())
    });
    (outcome.is_ok() && parts == DIMENSIONS && is_sound(&coordinate)).then_some(coordinate)
}

/// As serf writes it into its acks.
pub(super) fn write(coordinate: &Coordinate) -> Vec<u8> {
    let mut out = Vec::with_capacity(136);
    out.push(PAYLOAD_VERSION);
    let mut writer = Writer(&mut out);
    writer.map(4);
    writer.field("Adjustment", |w| w.float(coordinate.adjustment));
    writer.field("Error", |w| w.float(coordinate.error));
    writer.field("Height", |w| w.float(coordinate.height));
    writer.field("Vec", |w| {
        w.array(DIMENSIONS);
        coordinate.vec.iter().for_each(|part| w.float(*part));
    });
    out
}

impl Swim {
    /// What our acks carry; nothing where coordinates are off.
    pub(super) fn ack_payload(&self) -> Vec<u8> {
        if self.config.coordinates { write(&self.vivaldi.ours) } else { Vec::new() }
    }

    /// A member answered our own ping after `round_trip`.
    pub(super) fn take_coordinate(&mut self, now: Moment, name: &Name, round_trip: Duration, payload: &[u8]) {
        // Without a coordinate it is a member that keeps none, which is its right.
        if !self.config.coordinates || payload.is_empty() {
            return;
        }
        let (Some(theirs), true) = (read(payload), round_trip <= ROUND_TRIP_MAX) else {
            self.vivaldi.rejected += 1;
            return;
        };
        let Some(member) = self.members.get_mut(name) else { return };
        let peer =
            member.coordinate.get_or_insert_with(|| Box::new(Peer { coordinate: theirs, round_trips: Vec::new() }));
        peer.coordinate = theirs;
        if peer.round_trips.len() == LATENCY_FILTER {
            peer.round_trips.remove(0);
        }
        peer.round_trips.push(round_trip.as_secs_f64());
        let mut sorted = peer.round_trips.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted[sorted.len() / 2];
        self.vivaldi.measure(&theirs, middle, &mut self.dice);
        self.vivaldi.has_news(now);
    }

    /// The member is gone for good: nobody asks how far it is.
    pub(super) fn forget_coordinate(vivaldi: &mut Vivaldi, member: &mut Member) {
        if member.coordinate.take().is_some() {
            vivaldi.index += 1;
        }
    }

    /// Gives a node a coordinate from outside: a member until it tells its own, or a node that is none.
    pub(super) fn set_coordinate(&mut self, name: &str, coordinate: Coordinate) {
        if let Some(member) = self.members.get_mut(name) {
            let round_trips = member.coordinate.take().map(|peer| peer.round_trips).unwrap_or_default();
            member.coordinate = Some(Box::new(Peer { coordinate, round_trips }));
        } else if self.vivaldi.others.len() < OTHERS_MAX || self.vivaldi.others.contains_key(name) {
            self.vivaldi.others.insert(Name::from(name), coordinate);
        } else {
            self.counters.refused += 1;
            return;
        }
        self.vivaldi.index += 1;
    }

    /// Where we are; none where coordinates are off.
    pub fn coordinate(&self) -> Option<Coordinate> {
        self.config.coordinates.then_some(self.vivaldi.ours)
    }

    /// Where members are, ourselves included, as far as they told: by name.
    pub fn coordinates(&self) -> impl Iterator<Item = (&Name, Coordinate)> {
        self.members.values().filter_map(|member| {
            let coordinate = if member.name == self.me {
                self.coordinate()
            } else {
                member.coordinate.as_ref().map(|p| p.coordinate)
            };
            coordinate.map(|coordinate| (&member.name, coordinate))
        })
    }

    /// Where nodes are that are no members, as we were told from outside.
    pub fn other_coordinates(&self) -> impl Iterator<Item = (&Name, Coordinate)> {
        self.vivaldi.others.iter().map(|(name, coordinate)| (name, *coordinate))
    }
}
