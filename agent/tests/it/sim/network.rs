//! What the network does to packets: loses, delays, repeats, reorders, cuts. Knobs are one struct.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

/// A member of the world, by place.
pub(crate) type Place = usize;

#[derive(Clone, Debug)]
pub(crate) struct Knobs {
    /// Of packets; streams lose nothing, as TCP.
    pub(crate) loss: f64,
    pub(crate) repeated: f64,
    pub(crate) delay_min: Duration,
    pub(crate) delay_max: Duration,
}

impl Default for Knobs {
    fn default() -> Self {
        Self { loss: 0.0, repeated: 0.0, delay_min: Duration::from_micros(100), delay_max: Duration::from_millis(2) }
    }
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
        self.cut.contains(&(from, to))
    }

    fn delay(&self, dice: &mut SmallRng) -> Duration {
        dice.random_range(self.knobs.delay_min..=self.knobs.delay_max)
    }

    /// After which times a packet arrives: never, once, or more often.
    pub(crate) fn packet(&self, from: Place, to: Place, dice: &mut SmallRng) -> Vec<Duration> {
        if self.is_cut(from, to) || dice.random_bool(self.knobs.loss) {
            return Vec::new();
        }
        let mut arrivals = vec![self.delay(dice)];
        if dice.random_bool(self.knobs.repeated) {
            arrivals.push(self.delay(dice));
        }
        arrivals
    }

    /// After which time one side's whole message on a stream has arrived; never when either way is cut.
    pub(crate) fn stream(&self, from: Place, to: Place, dice: &mut SmallRng) -> Option<Duration> {
        let open = !self.is_cut(from, to) && !self.is_cut(to, from);
        open.then(|| self.delay(dice) * 2)
    }
}
