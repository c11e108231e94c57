//! Pools of thousands. A large one begins formed, for all records of all members would be a hundred
//! million; what happens then is told, spread and agreed on by every one of them. Another begins with
//! nothing. `SIM_MEMBERS` sets another size.

use std::time::Duration;

use agent::swim::timing::Timing;
use rand::Rng;
use shared::event::MemberStatus;

use super::chaos::{number, seeds};
use super::network::Place;
use super::world::World;

const SECOND: Duration = Duration::from_secs(1);
const BEAT: Duration = Duration::from_secs(1);

/// How many members: `SIM_MEMBERS`, or so many.
fn size(members: usize) -> usize {
    number("SIM_MEMBERS").map_or(members, |members| members as usize)
}

fn all_see(world: &World, of: Place, status: MemberStatus) -> bool {
    let mut others = (0..world.size()).filter(|place| *place != of && world.is_running(*place));
    others.all(|place| world.status(place, of) == Some(status))
}

/// How long until all see it; the run fails when that is too long.
#[track_caller]
fn seen_by_all(world: &mut World, of: Place, status: MemberStatus, limit: Duration) -> Duration {
    let began = world.now;
    let seen = world.run_while_not(limit, BEAT, |world| all_see(world, of, status));
    assert_eq!(world.judge.breach, None);
    let missing = world.running().into_iter().filter(|place| world.status(*place, of) != Some(status)).count();
    assert!(seen, "node-{of} is not {status:?} to {missing} of {} after {limit:?}", world.size());
    world.now.since(began)
}

#[test]
fn ten_thousand_members_converge() {
    let members = size(10_000);
    for seed in seeds(1) {
        let mut world = World::formed(members, members - 1, Timing::lan(), seed);
        world.run(SECOND);
        world.kill(1);
        let failed = seen_by_all(&mut world, 1, MemberStatus::Failed, 60 * SECOND);
        world.leave(2);
        let left = seen_by_all(&mut world, 2, MemberStatus::Left, 60 * SECOND);
        let newcomer = members - 1;
        world.start(newcomer);
        world.join(newcomer, 0);
        let joined = seen_by_all(&mut world, newcomer, MemberStatus::Alive, 60 * SECOND);
        println!(
            "seed {seed}, {members} members: all saw a kill after {failed:?}, a leave after {left:?}, a join after \
             {joined:?}; {} steps, {} packets, {} bytes, {} checks",
            world.steps, world.packets_sent, world.bytes_sent, world.judge.checks
        );
        assert!(world.agrees(), "everybody lists exactly who runs");
        let wrong: Vec<_> = world.judge.failures.iter().filter(|(_, _, of)| of != "node-1").collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

#[test]
fn all_who_join_at_once_find_each_other() {
    let members = size(100);
    for seed in seeds(1) {
        let mut world = World::new(members, Timing::lan(), seed);
        world.judge.reads_packets = false;
        let began = world.now;
        for place in 1..members {
            let to = world.dice().random_range(0..place);
            world.join(place, to);
            world.run(Duration::from_millis(5));
        }
        let agreed = world.run_while_not(120 * SECOND, BEAT, World::agrees);
        assert_eq!(world.judge.breach, None);
        assert!(agreed, "{members} members do not agree after {:?}", world.now.since(began));
        assert_eq!(world.judge.failures, []);
        let took = world.now.since(began);
        println!("seed {seed}, {members} members from nothing: all agreed after {took:?}, {} steps", world.steps);
    }
}
