//! Runs with a plot, each told from many seeds. `SIM_SEED` replays one, `SIM_RUNS` sets how many.

use std::time::Duration;

use agent::swim::timing::Timing;
use rand::Rng;
use rand::seq::SliceRandom;
use shared::event::MemberStatus;

use super::chaos::seeds;
use super::network::{Knobs, Place};
use super::schedule::views;
use super::world::World;

const SECOND: Duration = Duration::from_secs(1);
const BEAT: Duration = Duration::from_millis(100);

/// Runs `story` from several seeds; a failing one is named so that it can be run again.
#[track_caller]
fn told(name: &str, runs: u64, story: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in seeds(runs) {
        // What failed was printed by the panic itself.
        let outcome = std::panic::catch_unwind(|| story(seed));
        assert!(outcome.is_ok(), "story '{name}' failed: run it again with SIM_SEED={seed}");
    }
}

/// All members in one pool, each having joined by a random one before it.
fn pool(members: usize, seed: u64) -> World {
    let mut world = World::new(members, Timing::lan(), seed);
    for place in 1..members {
        let to = world.dice().random_range(0..place);
        world.join(place, to);
        world.run(Duration::from_millis(50));
    }
    ensure_agreement(&mut world, 100 * SECOND);
    world
}

/// Liveness: once faults have stopped, all who run come to agree.
#[track_caller]
fn ensure_agreement(world: &mut World, limit: Duration) {
    let agreed = world.run_while_not(limit, BEAT, World::agrees);
    assert_eq!(world.judge.breach, None);
    assert!(agreed, "no agreement within {limit:?}: {}", views(world));
}

fn everyone_sees(world: &World, of: Place, status: MemberStatus) -> bool {
    world.running().into_iter().filter(|place| *place != of).all(|place| world.status(place, of) == Some(status))
}

#[test]
fn a_pool_of_one_has_no_deadline() {
    let world = World::new(1, Timing::lan(), 1);
    assert_eq!(world.swim(0).expect("it runs").next_deadline(), None);
}

#[test]
fn a_join_by_one_address_is_known_to_all() {
    told("join", 20, |seed| {
        let mut world = pool(24, seed);
        world.start(0);
        world.join(0, 1);
        ensure_agreement(&mut world, 100 * SECOND);
    });
}

#[test]
fn without_faults_nobody_is_suspected_to_death() {
    told("quiet", 10, |seed| {
        let mut world = pool(16, seed);
        world.run(120 * SECOND);
        assert_eq!(world.judge.failures, []);
    });
}

#[test]
fn a_kill_is_seen_by_all_as_failed() {
    told("kill", 20, |seed| {
        let mut world = pool(16, seed);
        world.kill(5);
        let seen = world.run_while_not(5 * SECOND, BEAT, |world| everyone_sees(world, 5, MemberStatus::Failed));
        assert!(seen, "{}", views(&world));
        world.start(5);
        world.join(5, 0);
        ensure_agreement(&mut world, 100 * SECOND);
    });
}

#[test]
fn a_host_that_vanishes_is_seen_by_all_as_failed() {
    told("vanish", 10, |seed| {
        let mut world = pool(16, seed);
        let others: Vec<Place> = (0..16).filter(|place| *place != 5).collect();
        world.network.cut(&[5], &others, true);
        world.kill(5);
        let seen = world.run_while_not(40 * SECOND, BEAT, |world| everyone_sees(world, 5, MemberStatus::Failed));
        assert!(seen, "{}", views(&world));
    });
}

#[test]
fn a_leave_is_seen_by_all_as_left_and_never_as_failed() {
    told("leave", 20, |seed| {
        let mut world = pool(16, seed);
        world.leave(5);
        let seen = world.run_while_not(5 * SECOND, BEAT, |world| everyone_sees(world, 5, MemberStatus::Left));
        assert!(seen, "{}", views(&world));
        world.run(30 * SECOND);
        assert_eq!(world.judge.failures, []);
        assert!(everyone_sees(&world, 5, MemberStatus::Left));
    });
}

#[test]
fn a_partition_ends_with_one_pool() {
    told("partition", 10, |seed| {
        let mut world = pool(12, seed);
        let mut places: Vec<Place> = (0..12).collect();
        places.shuffle(world.dice());
        let side = world.dice().random_range(1..=6);
        let both = world.dice().random_bool(0.7);
        let (some, others) = places.split_at(side);
        world.network.cut(some, others, both);
        let span = world.dice().random_range(5..90);
        world.run(span * SECOND);
        world.network.heal();
        ensure_agreement(&mut world, 300 * SECOND);
    });
}

#[test]
fn lost_and_late_packets_kill_nobody() {
    told("loss", 5, |seed| {
        let mut world = pool(16, seed);
        world.network.knobs = Knobs {
            loss: 0.05,
            repeated: 0.02,
            delay_min: Duration::from_millis(40),
            delay_max: Duration::from_millis(60),
            broken: 0.0,
        };
        world.run(300 * SECOND);
        assert_eq!(world.judge.failures, []);
        ensure_agreement(&mut world, 60 * SECOND);
    });
}

#[test]
fn a_pause_and_a_resume_end_in_agreement() {
    told("pause", 10, |seed| {
        let mut world = pool(12, seed);
        world.pause(3);
        let span = world.dice().random_range(1..60);
        world.run(span * SECOND);
        world.resume(3);
        ensure_agreement(&mut world, 120 * SECOND);
    });
}

#[test]
fn a_failed_member_is_forced_out_for_all() {
    told("force-leave", 10, |seed| {
        let mut world = pool(8, seed);
        world.kill(3);
        world.run_while_not(30 * SECOND, BEAT, |world| everyone_sees(world, 3, MemberStatus::Failed));
        world.force_leave(0, "node-3", false);
        let seen = world.run_while_not(40 * SECOND, BEAT, |world| everyone_sees(world, 3, MemberStatus::Left));
        assert!(seen, "{}", views(&world));
        world.force_leave(1, "node-3", true);
        let gone = |world: &World| world.running().into_iter().all(|place| world.status(place, 3).is_none());
        assert!(world.run_while_not(40 * SECOND, BEAT, gone), "{}", views(&world));
    });
}

#[test]
fn a_restart_at_a_new_address_ends_in_agreement() {
    told("move", 10, |seed| {
        let mut world = pool(8, seed);
        world.kill(3);
        let span = world.dice().random_range(0..40);
        world.run(span * SECOND);
        world.move_host(3);
        world.start(3);
        world.join(3, 0);
        ensure_agreement(&mut world, 120 * SECOND);
    });
}

#[test]
fn streams_that_break_delay_a_join_and_no_more() {
    told("broken streams", 10, |seed| {
        let mut world = pool(8, seed);
        world.network.knobs.broken = 0.5;
        world.kill(3);
        world.start(3);
        for to in [0, 1, 2, 4, 5] {
            world.join(3, to);
            world.run(SECOND);
        }
        world.network.knobs.broken = 0.0;
        world.join(3, 0);
        ensure_agreement(&mut world, 120 * SECOND);
    });
}
