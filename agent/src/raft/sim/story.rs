//! Schedules with a plot: those that found something once, and must never again.

use super::chaos::report;
use super::schedule::{Deed, Schedule};
use super::world::live;

#[track_caller]
fn check(deeds: Vec<(u64, Deed)>) {
    for seed in 0..3 {
        let schedule = Schedule::of(seed, deeds.clone());
        let lived = live(&schedule, None);
        assert!(lived.breaches.is_empty(), "{}", report(&schedule, &lived));
    }
}

#[test]
fn power_fails_everywhere_at_once() {
    check(vec![(2_000, Deed::Power(vec![0, 1, 2], 3)), (4_500, Deed::Power(vec![0, 1, 2], 0))]);
}
