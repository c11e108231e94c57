//! What happens when: one ordered set, asked for its first. A timer armed again moves.

use std::collections::{BTreeMap, BTreeSet};

use super::member::Name;
use crate::moment::Moment;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The next step of the probe cycle.
    Probe,
    /// Ask again whether nobody listens where the probed member should.
    Redial,
    Gossip,
    PushPull,
    /// This member was doubted long enough.
    Suspicion(Name),
    /// This member has been leaving for too long to mean it.
    Leaving(Name),
    /// A relayed ping was not answered.
    Relay(u32),
    /// Members that are gone: forget, reap.
    Reap,
    /// Try a failed member again.
    Reconnect,
    /// The next step of our own leaving.
    Leave,
    /// A query of ours, by its Lamport time, waited long enough.
    Query(u64),
}

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    order: BTreeSet<(Moment, Timer)>,
    armed: BTreeMap<Timer, Moment>,
}

impl Deadlines {
    pub(super) fn arm(&mut self, timer: Timer, at: Moment) {
        if let Some(before) = self.armed.insert(timer.clone(), at) {
            self.order.remove(&(before, timer.clone()));
        }
        self.order.insert((at, timer));
    }

    pub(super) fn disarm(&mut self, timer: &Timer) {
        if let Some(at) = self.armed.remove(timer) {
            self.order.remove(&(at, timer.clone()));
        }
    }

    pub(super) fn at(&self, timer: &Timer) -> Option<Moment> {
        self.armed.get(timer).copied()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due.
    pub(super) fn pop(&mut self, now: Moment) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        let (_, timer) = self.order.pop_first()?;
        self.armed.remove(&timer);
        Some(timer)
    }
}
