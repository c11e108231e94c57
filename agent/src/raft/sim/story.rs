//! Schedules with a plot: those that found something once, and those that are worth telling each time.

use super::chaos::{report, seeds};
use super::schedule::{Deed, Schedule};
use super::world::live;

const RUNS: u64 = 2;

#[track_caller]
fn check(deeds: Vec<(u64, Deed)>) {
    for seed in seeds(RUNS) {
        let schedule = Schedule::of(seed, deeds.clone());
        let lived = live(&schedule, None);
        assert!(lived.breaches.is_empty(), "{:#?}\n{}", lived.breaches, report(&schedule, None));
    }
}

#[test]
fn power_fails_everywhere_while_all_write() {
    check(vec![(2_000, Deed::Power(vec![0, 1, 2], 3)), (4_500, Deed::Power(vec![0, 1, 2], 11))]);
}

/// The log was found damaged: what a failed sync had left in memory only was taken for synced.
#[test]
fn a_sync_fails_and_later_so_does_the_power() {
    check(vec![(1_500, Deed::SyncFails(2, 5)), (3_500, Deed::Power(vec![2], 2)), (4_000, Deed::SyncFails(1, 9))]);
}

#[test]
fn a_disk_is_full_for_a_while() {
    check(vec![(1_300, Deed::Full(0)), (2_000, Deed::Full(1)), (4_000, Deed::Room(1)), (4_500, Deed::Room(0))]);
}

#[test]
fn a_server_that_was_away_gets_a_snapshot_and_loses_power_over_it() {
    check(vec![
        (1_300, Deed::Split(vec![2])),
        (3_000, Deed::Heal),
        (3_010, Deed::Power(vec![2], 6)),
        (4_500, Deed::Add(3)),
        (4_700, Deed::Power(vec![3], 30)),
    ]);
}

#[test]
fn leaders_hand_over_while_servers_come_and_go() {
    check(vec![
        (1_300, Deed::Add(3)),
        (1_800, Deed::Transfer),
        (2_200, Deed::Remove(0)),
        (2_300, Deed::Transfer),
        (3_000, Deed::Add(4)),
        (3_200, Deed::Remove(1)),
        (4_000, Deed::Add(0)),
    ]);
}
