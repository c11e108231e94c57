//! Vivaldi beside serf: its bytes, its convergence, and what is refused.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use shared::api::coordinate::Coordinate;

use super::codec::{Message, kind};
use super::coordinate::{ORIGIN, Vivaldi, read, write};
use super::tests::{Subject, alive, dead};
use super::{Input, Order, packet};

const MILLISECOND: Duration = Duration::from_millis(1);

fn at(first: f64) -> Coordinate {
    let mut place = Coordinate { error: 0.5, ..ORIGIN };
    place.vec[0] = first;
    place
}

#[test]
fn the_coordinates_that_serf_sent_are_read_and_written_as_they_were() {
    let mut seen = 0;
    for packet in super::codec_tests::captured("udp") {
        packet::unpack(&packet, &mut |bare| {
            if bare[0] == kind::ACK
                && let Ok(Message::Ack { payload, .. }) = Message::read(bare)
                && !payload.is_empty()
            {
                let coordinate = read(payload).expect("a coordinate of serf's");
                assert_eq!(write(&coordinate), payload);
                seen += 1;
            }
        })
        .expect("a packet");
    }
    assert!(seen >= 4, "{seen}");
}

#[test]
fn a_line_of_members_finds_its_distances() {
    let (count, spacing) = (6, 0.010);
    let mut dice = SmallRng::seed_from_u64(7);
    let mut members: Vec<Vivaldi> = (0..count).map(|_| Vivaldi::default()).collect();
    let truth = |a: usize, b: usize| a.abs_diff(b) as f64 * spacing;
    for round in 0..500 {
        for me in 0..count {
            let peer = (me + 1 + round % (count - 1)) % count;
            let theirs = members[peer].ours;
            members[me].measure(&theirs, truth(me, peer), &mut dice);
        }
    }
    for a in 0..count {
        for b in 0..a {
            let estimated = members[a].ours.distance_to(&members[b].ours);
            let error = (estimated - truth(a, b)).abs() / truth(a, b);
            assert!(error < 0.25, "{a} to {b}: {estimated} for {}", truth(a, b));
        }
    }
    assert!(members.iter().all(|member| member.ours.error < 0.5 && member.resets == 0));
}

#[test]
fn what_no_honest_member_sends_is_refused() {
    let good = at(0.01);
    assert_eq!(read(&write(&good)), Some(good));
    let bad = |change: fn(&mut Coordinate)| {
        let mut coordinate = good;
        change(&mut coordinate);
        assert_eq!(read(&write(&coordinate)), None, "{coordinate:?}");
    };
    bad(|c| c.vec[7] = f64::NAN);
    bad(|c| c.vec[0] = f64::INFINITY);
    bad(|c| c.vec[0] = -1e9);
    bad(|c| c.height = -0.1);
    bad(|c| c.height = f64::NEG_INFINITY);
    bad(|c| c.error = -1.0);
    bad(|c| c.adjustment = f64::NAN);
    let mut other_version = write(&good);
    other_version[0] = 2;
    assert_eq!(read(&other_version), None);
    let bytes = write(&good);
    for length in 0..bytes.len() {
        assert_eq!(read(&bytes[..length]), None, "{length} bytes");
    }
    let mut seven = bytes;
    let head = seven.iter().rposition(|byte| *byte == 0x98).expect("an array of eight");
    seven[head] = 0x97;
    assert_eq!(read(&seven), None, "another number of dimensions");
}

#[test]
fn a_coordinate_that_is_no_number_begins_anew() {
    let mut vivaldi = Vivaldi::default();
    vivaldi.ours.vec[3] = f64::NAN;
    vivaldi.measure(&at(0.01), 0.01, &mut SmallRng::seed_from_u64(1));
    assert_eq!((vivaldi.ours, vivaldi.resets), (ORIGIN, 1));
}

impl Subject {
    /// Lets the next ping of ours go out and answers it after `round_trip`.
    fn answer_next_ping(&mut self, round_trip: Duration, payload: &[u8]) {
        let seq = self.next_ping();
        self.now = self.now + round_trip;
        self.hear(&[Message::Ack { seq, payload }]);
    }

    fn next_ping(&mut self) -> u32 {
        for _ in 0..1000 {
            self.now = self.swim.next_deadline().expect("a probe is due").max(self.now);
            let out = self.input(Input::Wake);
            for packet in &out.packets {
                let mut seq = None;
                packet::unpack(&packet.bytes, &mut |bare| {
                    if let Ok(Message::Ping(ping)) = Message::read(bare) {
                        seq = Some(ping.seq);
                    }
                })
                .expect("our own packet");
                if let Some(seq) = seq {
                    return seq;
                }
            }
        }
        panic!("no ping went out");
    }

    fn places(&self) -> Vec<String> {
        self.swim.coordinates().map(|(name, _)| name.to_string()).collect()
    }
}

#[test]
fn a_direct_ack_places_its_sender_and_moves_us() {
    let mut subject = Subject::among(&["a"]);
    assert_eq!((subject.places(), subject.swim.coordinate()), (vec!["me".to_owned()], Some(ORIGIN)));
    let before = subject.swim.facts().coordinate_index;
    subject.answer_next_ping(10 * MILLISECOND, &write(&at(0.0)));
    assert_eq!(subject.places(), ["a", "me"]);
    assert_ne!(subject.swim.coordinate(), Some(ORIGIN));
    assert!(subject.swim.facts().coordinate_index > before);
    assert_eq!(subject.swim.facts().counters.coordinates_rejected, 0);
}

#[test]
fn one_slow_answer_among_three_moves_nothing() {
    let place = |spike: Duration| {
        let mut subject = Subject::among(&["a"]);
        for round_trip in [10 * MILLISECOND, 10 * MILLISECOND, spike] {
            subject.answer_next_ping(round_trip, &write(&at(0.0)));
        }
        subject.swim.coordinate()
    };
    assert_eq!(place(10 * MILLISECOND), place(100 * MILLISECOND));
}

#[test]
fn a_hostile_ack_is_still_an_ack_and_moves_nothing() {
    let mut subject = Subject::among(&["a"]);
    subject.answer_next_ping(10 * MILLISECOND, &write(&at(f64::NAN)));
    subject.answer_next_ping(10 * MILLISECOND, b"\x01\xff\xff");
    assert_eq!((subject.places(), subject.swim.coordinate()), (vec!["me".to_owned()], Some(ORIGIN)));
    assert_eq!(subject.swim.facts().counters.coordinates_rejected, 2);
    assert_eq!(subject.status("a"), Some(shared::event::MemberStatus::Alive));
}

#[test]
fn an_answer_by_a_detour_measures_nothing() {
    let mut subject = Subject::among(&["a", "b"]);
    subject.answer_next_ping(10 * MILLISECOND, &[]);
    subject.answer_next_ping(600 * MILLISECOND, &write(&at(0.0)));
    assert_eq!((subject.places(), subject.swim.coordinate()), (vec!["me".to_owned()], Some(ORIGIN)));
}

#[test]
fn who_left_or_was_reaped_has_no_place() {
    let mut subject = Subject::among(&["a"]);
    subject.answer_next_ping(10 * MILLISECOND, &write(&at(0.0)));
    subject.hear(&[dead("a", "me", 1)]);
    assert_eq!(subject.places(), ["a", "me"], "one that failed keeps its place, as in Consul's catalog");
    subject.pass(subject.swim.config.timing.failed_kept + Duration::from_secs(60));
    assert_eq!(subject.places(), ["me"], "reaped");
    subject.hear(&[alive("b", 3, 1)]);
    subject.answer_next_ping(10 * MILLISECOND, &write(&at(0.0)));
    assert_eq!(subject.places(), ["b", "me"]);
    let before = subject.swim.facts().coordinate_index;
    subject.hear(&[dead("b", "b", 1)]);
    assert_eq!(subject.places(), ["me"], "left");
    assert!(subject.swim.facts().coordinate_index > before);
}

#[test]
fn switched_off_we_neither_tell_nor_take() {
    let mut subject = Subject::among(&["a"]);
    subject.swim.config.coordinates = false;
    assert!(subject.swim.ack_payload().is_empty());
    subject.answer_next_ping(10 * MILLISECOND, &write(&at(0.0)));
    assert_eq!((subject.places(), subject.swim.coordinate()), (Vec::new(), None));
}

#[test]
fn nodes_that_are_no_members_are_placed_from_outside_up_to_a_limit() {
    let mut subject = Subject::among(&["a"]);
    let set = |subject: &mut Subject, name: String| {
        subject.input(Input::Order(Order::SetCoordinate { name, coordinate: at(0.5) }));
    };
    set(&mut subject, "a".to_owned());
    assert_eq!(subject.places(), ["a", "me"]);
    for number in 0..5000 {
        set(&mut subject, format!("x{number}"));
    }
    assert_eq!(subject.swim.other_coordinates().count(), 4096);
    assert_eq!(subject.swim.facts().counters.refused, 5000 - 4096);
}
