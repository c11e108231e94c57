//! Who counts as healthy, since when, and how many may be lost.

use shared::event::Pool;

use super::*;

const NEAR: Follows = Follows { matched: 100, matched_term: 2, silent: Some(Duration::from_millis(50)), lost: false };

/// A leader, `n1`, of three voters and a learner, `n4`.
struct World {
    healths: Healths,
    rules: Rules,
    peers: Vec<RaftPeer>,
    members: Vec<MemberState>,
    followers: BTreeMap<String, Follows>,
}

fn id(n: u8) -> String {
    format!("id-{n}")
}

impl World {
    fn new() -> Self {
        let peer =
            |n: u8| RaftPeer { id: id(n), node: format!("n{n}"), address: format!("10.0.0.{n}:8300"), voter: n < 4 };
        let member = |n: u8| MemberState {
            pool: Pool::Lan,
            name: format!("n{n}"),
            address: format!("10.0.0.{n}"),
            port: 8301,
            status: MemberStatus::Alive,
            incarnation: 1,
            protocol: 2,
            versions: [1, 5, 2, 2, 5, 4],
            tags: [("id".to_owned(), id(n)), ("build".to_owned(), "1.8.7:x".to_owned())].into(),
        };
        Self {
            healths: Healths::default(),
            rules: Rules::default(),
            peers: (1..=4).map(peer).collect(),
            members: (1..=4).map(member).collect(),
            followers: (2..=4).map(|n| (id(n), NEAR)).collect(),
        }
    }

    fn look(&mut self, second: u64) -> OperatorHealth {
        let led = Led {
            server_id: "id-1",
            datacenter: "dc1",
            bootstrap: false,
            term: 2,
            last_log: 120,
            heartbeat: Duration::from_millis(50),
            peers: &self.peers,
            followers: &self.followers,
        };
        let now = Moment::from_micros(second * 1_000_000);
        let wall = WallTime::from_micros(i64::try_from(second).expect("small") * 1_000_000 + 7);
        self.healths.look((now, wall), &self.rules, &led, &self.members)
    }

    /// Which servers are healthy, and how many may be lost.
    #[track_caller]
    fn check(&mut self, second: u64, healthy: &[&str], tolerance: u64) {
        let seen = self.look(second);
        let names: Vec<_> = seen.servers.iter().filter(|server| server.healthy).map(|server| &*server.name).collect();
        assert_eq!((&names[..], seen.failure_tolerance), (healthy, tolerance), "at second {second}");
        assert_eq!(seen.healthy, healthy.len() == 4);
    }
}

#[test]
fn a_server_is_shown_as_consul_shows_it() {
    let mut world = World::new();
    world.followers.insert(id(3), Follows { silent: Some(Duration::from_secs(9)), ..NEAR });
    world.members[2].status = MemberStatus::Failed;
    let seen = world.look(1).servers;
    let leader = ServerHealth {
        id: id(1),
        name: "n1".to_owned(),
        address: "10.0.0.1:8300".to_owned(),
        serf_status: "alive".to_owned(),
        version: "1.8.7".to_owned(),
        leader: true,
        last_contact: "0s".to_owned(),
        last_term: 2,
        last_index: 120,
        healthy: true,
        voter: true,
        stable_since: "1970-01-01T00:00:01Z".to_owned(),
    };
    assert_eq!(seen[0], leader);
    assert_eq!((&*seen[1].last_contact, seen[1].last_index, seen[1].leader), ("50ms", 100, false));
    let dead = (&*seen[2].serf_status, &*seen[2].last_contact, seen[2].last_term, seen[2].last_index);
    assert_eq!(dead, ("failed", "-1ns", 0, 0));
    assert_eq!((seen[2].healthy, &*seen[2].stable_since), (false, NEVER));
}

#[test]
fn a_failed_voter_takes_from_what_may_be_lost_and_a_learner_does_not() {
    let mut world = World::new();
    world.check(0, &["n1", "n2", "n3", "n4"], 1);
    world.members[3].status = MemberStatus::Failed;
    world.check(2, &["n1", "n2", "n3"], 1);
    world.members[2].status = MemberStatus::Failed;
    world.check(4, &["n1", "n2"], 0);
    world.members.remove(1);
    world.check(6, &["n1"], 0);
}

#[test]
fn who_is_silent_behind_or_of_another_term_is_not_healthy() {
    let mut world = World::new();
    let slow = Follows { silent: Some(Duration::from_millis(400)), ..NEAR };
    for follows in [slow, Follows { matched: 9, ..NEAR }, Follows { matched_term: 1, ..NEAR }, Follows::default()] {
        world.rules = Rules { max_trailing_logs: 110, ..Rules::default() };
        world.followers.insert(id(2), follows);
        world.check(0, &["n1", "n3", "n4"], 0);
    }
    world.rules.last_contact_threshold = Duration::from_millis(500);
    world.followers.insert(id(2), slow);
    world.check(2, &["n1", "n2", "n3", "n4"], 1);
}

#[test]
fn stable_is_who_stayed_healthy_for_as_long_as_the_rules_want() {
    let mut world = World::new();
    world.look(0);
    let stable = |world: &World, second: u64| {
        world.healths.is_stable(Moment::from_micros(second * 1_000_000), &world.rules, "id-2")
    };
    assert!(!stable(&world, 9) && stable(&world, 10));
    world.followers.remove(&id(2));
    world.look(11);
    assert!(!stable(&world, 60), "it is not healthy");
    world.followers.insert(id(2), NEAR);
    assert_eq!(world.look(61).servers[1].stable_since, "1970-01-01T00:01:01Z");
    assert!(!stable(&world, 70) && stable(&world, 71));
    world.rules.server_stabilization_time = Duration::from_secs(60);
    assert!(!stable(&world, 71), "a rule counts at once");
}
