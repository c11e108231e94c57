//! What the network does: loses, delays, repeats, reorders, cuts, breaks streams. Knobs are one struct.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

/// A member of the world, by place.
pub(crate) type Place = usize;

/// Packets whose delays differ overtake each other: that is all there is to reordering.
#[derive(Clone, Debug)]
pub(crate) struct Knobs {
    /// Of packets, how many never arrive.
    pub(crate) loss: f64,
    /// Of packets, how many arrive twice.
    pub(crate) repeated: f64,
    pub(crate) delay_min: Duration,
    pub(crate) delay_max: Duration,
    /// Of messages on streams, how many are cut off: what was asked may have been heard, and the answer
    /// does not come.
    pub(crate) broken: f64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            loss: 0.0,
            repeated: 0.0,
            delay_min: Duration::from_micros(100),
            delay_max: Duration::from_millis(2),
            broken: 0.0,
        }
    }
}

impl fmt::Display for Knobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| (share * 100.0).round();
        write!(
            f,
            "{}% lost, {}% twice, {:?} to {:?} late, {}% of streams broken",
            percent(self.loss),
            percent(self.repeated),
            self.delay_min,
            self.delay_max,
            percent(self.broken)
        )
    }
}

/// What becomes of one side's message on a stream.
pub(crate) enum Leg {
    Arrives(Duration),
    /// The other side learns that it broke.
    Breaks(Duration),
    /// Nobody learns anything.
    Vanishes,
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) knobs: Knobs,
    /// What the first says the second does not hear.
    cut: BTreeSet<(Place, Place)>,
}

impl Network {
    /// Nobody of `some` is heard by anybody of `others`; the other way too when `both`.
    pub(crate) fn cut(&mut self, some: &[Place], others: &[Place], both: bool) {
        for &from in some {
            for &to in others {
                self.cut.insert((from, to));
                if both {
                    self.cut.insert((to, from));
                }
            }
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn is_cut(&self, from: Place, to: Place) -> bool {
        !self.cut.is_empty() && self.cut.contains(&(from, to))
    }

    fn delay(&self, dice: &mut SmallRng) -> Duration {
        dice.random_range(self.knobs.delay_min..=self.knobs.delay_max)
    }

    /// After which times a packet arrives: never, once, or twice.
    pub(crate) fn packet(&self, from: Place, to: Place, dice: &mut SmallRng) -> [Option<Duration>; 2] {
        if self.is_cut(from, to) || dice.random_bool(self.knobs.loss) {
            return [None, None];
        }
        let first = self.delay(dice);
        [Some(first), dice.random_bool(self.knobs.repeated).then(|| self.delay(dice))]
    }

    /// One side's whole message on a stream. TCP loses nothing, and gets nowhere when either way is cut.
    pub(crate) fn stream(&self, from: Place, to: Place, dice: &mut SmallRng) -> Leg {
        if self.is_cut(from, to) || self.is_cut(to, from) {
            return Leg::Vanishes;
        }
        let after = self.delay(dice) * 2;
        if dice.random_bool(self.knobs.broken) { Leg::Breaks(after) } else { Leg::Arrives(after) }
    }
}
