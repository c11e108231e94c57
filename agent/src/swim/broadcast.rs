//! Rumours waiting to be told, each a limited number of times.
//!
//! Order as in SWIM's piggybacking: what was told least often first, then the longest, then the
//! newest. A newer rumour about the same thing replaces the older. Bounded; what is dropped is
//! counted. Knows bytes and subjects, and nothing of what they say.
//!
//! A rumour told often enough is worth no packet of its own, and stays for a few packets that go out
//! anyway, for a while: whoever all tellings missed would else wait for the next whole exchange.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::member::Name;
use super::packet::COMPOUND_PART_BYTES;
use crate::moment::Moment;

/// What is told first when there is little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Membership,
    Intent,
    Query,
    Event,
}

/// How often a rumour still rides on pings and acks after it was told enough: some three seconds.
const RIDES_MAX: u32 = 6;
/// And for how long, once or twice: of hundreds at once each rides less often, and none for minutes.
const RIDES_LAST: Duration = Duration::from_secs(4);

/// How far a packet goes for rumours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// Sent for their sake: only what has not been told enough.
    Gossip,
    /// Goes out anyway.
    Ride,
}

/// How often one rumour is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    told: u32,
    rides: u32,
}

impl Times {
    pub(super) fn new(transmits_max: u32) -> Self {
        Self { told: transmits_max, rides: RIDES_MAX }
    }
}

const CLASSES: usize = 4;

/// What a rumour is about; none replaces nothing.
pub(super) type Subject = (Class, Name);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Told enough; from then on `transmits` counts rides.
    rides: bool,
    class: Class,
    transmits: u32,
    length: Reverse<usize>,
    number: Reverse<u64>,
}

#[derive(Debug)]
struct Rumour {
    subject: Option<Subject>,
    bytes: Arc<[u8]>,
    /// The period in which it began to ride.
    rides_from: u64,
}

#[derive(Debug, Default)]
pub(super) struct Broadcasts {
    queue: BTreeMap<Rank, Rumour>,
    /// How many in the queue have been told enough.
    riding: usize,
    /// Periods of riding so far, and when this one is over.
    period: u64,
    period_ends: Option<Moment>,
    /// How many of each class are still to be told.
    waiting: [usize; CLASSES],
    subjects: BTreeMap<Subject, Rank>,
    last_number: u64,
    /// Rumours given up for want of room.
    pub(super) dropped: u64,
}

/// Rumours kept, at most: enough for every member of a large pool to change at once.
const DEPTH_MAX: usize = 16_384;
/// Of them user events, and queries, at most. Serf's limit.
const DEPTH_OF_CLASS_MAX: usize = 4_096;

impl Broadcasts {
    /// Nothing is worth a packet of its own.
    pub(super) fn is_told(&self) -> bool {
        self.waiting_all() == 0
    }

    pub(super) fn waiting_all(&self) -> usize {
        self.queue.len() - self.riding
    }

    /// How many of a class have not been told enough.
    pub(super) fn waiting(&self, class: Class) -> usize {
        self.waiting[class as usize]
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.queue.len()
    }

    /// It has not been told enough yet.
    pub(super) fn is_waiting(&self, subject: &Subject) -> bool {
        self.subjects.get(subject).is_some_and(|rank| !rank.rides)
    }

    pub(super) fn push(&mut self, class: Class, subject: Option<Name>, bytes: Vec<u8>) {
        self.last_number += 1;
        let (length, number) = (Reverse(bytes.len()), Reverse(self.last_number));
        let rank = Rank { rides: false, class, transmits: 0, length, number };
        let subject = subject.map(|name| (class, name));
        if let Some(subject) = &subject {
            self.forget(subject);
        }
        self.insert(rank, Rumour { subject, bytes: Arc::from(bytes), rides_from: 0 });
        // Events and queries, which anybody may fire at will, must not crowd out who is here and who is gone.
        while matches!(class, Class::Event | Class::Query) && self.waiting(class) > DEPTH_OF_CLASS_MAX {
            let last = Rank { transmits: u32::MAX, length: Reverse(0), number: Reverse(0), ..rank };
            let Some(worst) = self.queue.range(..=last).next_back().map(|(rank, _)| *rank) else { break };
            self.remove(worst);
            self.dropped += 1;
        }
        while self.queue.len() > DEPTH_MAX {
            // What counts least and was told most goes first.
            if let Some(last) = self.queue.last_key_value().map(|(rank, _)| *rank) {
                self.remove(last);
                self.dropped += 1;
            }
        }
    }

    pub(super) fn forget(&mut self, subject: &Subject) {
        if let Some(rank) = self.subjects.get(subject).copied() {
            self.remove(rank);
        }
    }

    fn insert(&mut self, rank: Rank, rumour: Rumour) {
        self.riding += usize::from(rank.rides);
        self.waiting[rank.class as usize] += usize::from(!rank.rides);
        if let Some(subject) = &rumour.subject {
            self.subjects.insert(subject.clone(), rank);
        }
        self.queue.insert(rank, rumour);
    }

    fn remove(&mut self, rank: Rank) -> Option<Rumour> {
        let rumour = self.queue.remove(&rank)?;
        self.riding -= usize::from(rank.rides);
        self.waiting[rank.class as usize] -= usize::from(!rank.rides);
        if let Some(subject) = &rumour.subject {
            self.subjects.remove(subject);
        }
        Some(rumour)
    }

    /// Takes rumours that fit `room` bytes, each with the cost of a part, and counts them as told.
    pub(super) fn take(&mut self, carrier: Carrier, mut room: usize, parts_max: usize, times: Times) -> Vec<Arc<[u8]>> {
        let mut fitting = Vec::new();
        for (rank, rumour) in &self.queue {
            if fitting.len() >= parts_max || room <= COMPOUND_PART_BYTES || (rank.rides && carrier == Carrier::Gossip) {
                break;
            }
            let cost = rumour.bytes.len() + COMPOUND_PART_BYTES;
            if cost <= room {
                room -= cost;
                fitting.push(*rank);
            }
        }
        fitting.into_iter().filter_map(|rank| self.tell(rank, times)).collect()
    }

    fn tell(&mut self, rank: Rank, times: Times) -> Option<Arc<[u8]>> {
        let mut rumour = self.remove(rank)?;
        let bytes = Arc::clone(&rumour.bytes);
        let mut next = Rank { transmits: rank.transmits + 1, ..rank };
        if !next.rides && next.transmits >= times.told {
            next = Rank { rides: true, transmits: 0, ..next };
            rumour.rides_from = self.period;
        }
        if !next.rides || next.transmits < times.rides {
            self.insert(next, rumour);
        }
        Some(bytes)
    }

    /// Gives up what has been riding for long enough; wants to be asked now and then.
    pub(super) fn end_rides(&mut self, now: Moment) {
        if self.riding == 0 {
            self.period_ends = None;
            return;
        }
        if now < *self.period_ends.get_or_insert(now + RIDES_LAST) {
            return;
        }
        self.period_ends = Some(now + RIDES_LAST);
        let riding = self.queue.iter().rev().take_while(|(rank, _)| rank.rides);
        let over: Vec<Rank> =
            riding.filter(|(_, rumour)| rumour.rides_from < self.period).map(|(rank, _)| *rank).collect();
        self.period += 1;
        for rank in over {
            self.remove(rank);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(rumours: &[(&str, &str)]) -> Broadcasts {
        let mut queue = Broadcasts::default();
        for (subject, text) in rumours {
            queue.push(Class::Membership, Some(Name::from(*subject)), text.as_bytes().to_vec());
        }
        queue
    }

    #[track_caller]
    fn check(queue: &mut Broadcasts, carrier: Carrier, room: usize, expected: &[&str]) {
        let told: Vec<String> = queue
            .take(carrier, room, 255, Times::new(2))
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn longest_then_newest_then_those_told_before() {
        let mut queue = queue(&[("a", "one"), ("b", "three"), ("c", "two")]);
        check(&mut queue, Carrier::Gossip, 12, &["three", "two"]);
        check(&mut queue, Carrier::Gossip, 12, &["one", "three"]);
        check(&mut queue, Carrier::Gossip, 100, &["two", "one"]);
        check(&mut queue, Carrier::Gossip, 100, &[]);
    }

    #[test]
    fn what_was_told_enough_rides_a_few_times_more() {
        let mut queue = queue(&[("a", "one")]);
        check(&mut queue, Carrier::Gossip, 100, &["one"]);
        assert!(queue.is_waiting(&(Class::Membership, Name::from("a"))));
        check(&mut queue, Carrier::Ride, 100, &["one"]);
        assert!(queue.is_told());
        assert!(!queue.is_waiting(&(Class::Membership, Name::from("a"))));
        for _ in 0..RIDES_MAX {
            check(&mut queue, Carrier::Gossip, 100, &[]);
            check(&mut queue, Carrier::Ride, 100, &["one"]);
        }
        check(&mut queue, Carrier::Ride, 100, &[]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn nothing_rides_for_more_than_two_periods() {
        let mut queue = queue(&[("a", "one")]);
        check(&mut queue, Carrier::Gossip, 100, &["one"]);
        queue.end_rides(Moment::default());
        check(&mut queue, Carrier::Ride, 100, &["one"]);
        for periods in 0..2 {
            queue.end_rides(Moment::default() + RIDES_LAST * periods);
            check(&mut queue, Carrier::Ride, 100, &["one"]);
        }
        queue.end_rides(Moment::default() + RIDES_LAST * 2);
        check(&mut queue, Carrier::Ride, 100, &[]);
    }

    #[test]
    fn newer_news_of_the_same_member_replaces_older() {
        let mut queue = queue(&[("a", "alive"), ("a", "dead")]);
        check(&mut queue, Carrier::Gossip, 100, &["dead"]);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_queue_that_is_full_drops_and_counts() {
        let mut queue = Broadcasts::default();
        for _ in 0..DEPTH_MAX + 3 {
            queue.push(Class::Intent, None, vec![0]);
        }
        assert_eq!((queue.len(), queue.dropped), (DEPTH_MAX, 3));
    }

    #[test]
    fn events_crowd_out_events_alone() {
        let mut queue = queue(&[("a", "alive")]);
        for _ in 0..DEPTH_OF_CLASS_MAX + 3 {
            queue.push(Class::Event, None, vec![0]);
        }
        queue.push(Class::Query, None, vec![0]);
        assert_eq!((queue.waiting(Class::Event), queue.dropped), (DEPTH_OF_CLASS_MAX, 3));
        assert_eq!((queue.waiting(Class::Query), queue.waiting(Class::Membership)), (1, 1));
    }
}
