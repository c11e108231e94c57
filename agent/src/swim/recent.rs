//! What was heard lately, by Lamport time: serf's buffer of 512 times, by which an event or a query
//! is taken once however often it comes. Used by `user_event` and `query`; knows no message.

use std::collections::{BTreeMap, BTreeSet};

use super::wire::EVENT_SLOTS;

/// What becomes of something heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    News,
    Known,
    /// Before what is remembered, or before what we want to know of.
    Old,
    /// There is no room to remember it.
    Refused,
}

#[derive(Debug)]
struct Slot<T> {
    ltime: u64,
    items: BTreeSet<T>,
}

/// Empty until something is heard, so that a quiet pool keeps nothing.
#[derive(Debug)]
pub(super) struct Recent<T> {
    slots: BTreeMap<u64, Slot<T>>,
    /// What is earlier does not interest us.
    pub(super) min_time: u64,
    weight: usize,
    weight_max: usize,
    weigh: fn(&T) -> usize,
}

impl<T: Ord> Recent<T> {
    /// `weigh` tells bytes, of which `weight_max` are kept at most.
    pub(super) fn new(weight_max: usize, weigh: fn(&T) -> usize) -> Self {
        Self { slots: BTreeMap::new(), min_time: 0, weight: 0, weight_max, weigh }
    }

    /// `now` is the clock after it witnessed `ltime`.
    pub(super) fn hear(&mut self, now: u64, ltime: u64, item: T) -> Heard {
        const SLOTS: u64 = EVENT_SLOTS as u64;
        if ltime < self.min_time || (now > SLOTS && ltime < now - SLOTS) {
            return Heard::Old;
        }
        let place = ltime % SLOTS;
        match self.slots.get(&place) {
            Some(slot) if slot.ltime == ltime && slot.items.contains(&item) => return Heard::Known,
            Some(slot) if slot.ltime == ltime => {}
            Some(_) => {
                let gone = self.slots.remove(&place).map_or(0, |slot| slot.items.iter().map(self.weigh).sum());
                self.weight -= gone;
            }
            None => {}
        }
        let weight = (self.weigh)(&item);
        if self.weight + weight > self.weight_max {
            return Heard::Refused;
        }
        self.weight += weight;
        self.slots.entry(place).or_insert(Slot { ltime, items: BTreeSet::new() }).items.insert(item);
        Heard::News
    }

    /// Everything remembered, with its Lamport time.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &BTreeSet<T>)> {
        self.slots.values().map(|slot| (slot.ltime, &slot.items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recent() -> Recent<u32> {
        Recent::new(1000, |_| 1)
    }

    #[test]
    fn the_same_is_heard_once_and_others_of_its_time_beside_it() {
        let mut recent = recent();
        assert_eq!(recent.hear(6, 5, 1), Heard::News);
        assert_eq!(recent.hear(6, 5, 1), Heard::Known);
        assert_eq!(recent.hear(6, 5, 2), Heard::News);
        assert_eq!(recent.all().collect::<Vec<_>>(), [(5, &BTreeSet::from([1, 2]))]);
    }

    #[test]
    fn what_is_older_than_the_buffer_or_unwanted_is_old() {
        let mut recent = recent();
        assert_eq!(recent.hear(513, 1, 1), Heard::News);
        assert_eq!(recent.hear(514, 1, 2), Heard::Old);
        assert_eq!(recent.hear(514, 513, 3), Heard::News, "it takes the place of time 1");
        assert_eq!(recent.all().map(|(ltime, _)| ltime).collect::<Vec<_>>(), [513]);
        recent.min_time = 600;
        assert_eq!(recent.hear(600, 599, 4), Heard::Old);
        assert_eq!(recent.hear(601, 600, 4), Heard::News);
    }

    #[test]
    fn there_is_room_for_so_much_and_no_more() {
        let mut recent = Recent::new(10, |item: &u32| *item as usize);
        assert_eq!(recent.hear(2, 1, 6), Heard::News);
        assert_eq!(recent.hear(2, 1, 5), Heard::Refused);
        assert_eq!(recent.hear(514, 513, 5), Heard::News, "what gives way makes room");
    }
}
