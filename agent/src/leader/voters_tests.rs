//! What is done for each kind of server, and what is not.

use shared::event::Pool;

use super::super::health::Follows;
use super::*;
use crate::moment::WallTime;

fn id(n: u8) -> String {
    format!("id-{n}")
}

fn member(n: u8, status: MemberStatus) -> MemberState {
    let tags = [
        ("role", "consul".to_owned()),
        ("dc", "dc1".to_owned()),
        ("port", "8300".to_owned()),
        ("id", id(n)),
        ("impl", "quorate-0.1.0".to_owned()),
    ];
    MemberState {
        pool: Pool::Lan,
        name: format!("n{n}"),
        address: format!("10.0.0.{n}"),
        port: 8301,
        status,
        incarnation: 1,
        protocol: 2,
        versions: [1, 5, 2, 2, 5, 4],
        tags: tags.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
    }
}

fn peer(n: u8, voter: bool) -> RaftPeer {
    RaftPeer { id: id(n), node: format!("n{n}"), address: format!("10.0.0.{n}:8300"), voter }
}

const NEAR: Follows = Follows { matched: 100, matched_term: 2, silent: Some(Duration::from_millis(50)), lost: false };

/// A leader, `n1`, of these servers; those named in `follow` answer it.
struct World {
    voters: Voters,
    healths: Healths,
    peers: Vec<RaftPeer>,
    members: Vec<MemberState>,
    followers: BTreeMap<String, Follows>,
    rules: Rules,
}

impl World {
    fn of(voters: &[u8]) -> Self {
        Self {
            voters: Voters::default(),
            healths: Healths::default(),
            peers: voters.iter().map(|n| peer(*n, true)).collect(),
            members: voters.iter().map(|n| member(*n, MemberStatus::Alive)).collect(),
            followers: voters.iter().map(|n| (id(*n), NEAR)).collect(),
            rules: Rules::default(),
        }
    }

    fn status(&mut self, n: u8, status: MemberStatus) {
        self.members.retain(|member| member.name != format!("n{n}"));
        self.members.push(member(n, status));
        if status != MemberStatus::Alive {
            self.followers.insert(id(n), Follows { silent: Some(Duration::from_secs(60)), ..NEAR });
        }
    }

    fn plan(&mut self, second: u64) -> Plan {
        let led = Led {
            server_id: &id(1),
            datacenter: "dc1",
            bootstrap: true,
            term: 2,
            last_log: 120,
            heartbeat: Duration::from_millis(100),
            peers: &self.peers,
            followers: &self.followers,
        };
        let now = Moment::from_micros(second * 1_000_000);
        self.healths.look((now, WallTime::from_micros(0)), &self.rules, &led, &self.members);
        self.voters.plan(now, &self.rules, &led, &self.members, &self.healths)
    }

    #[track_caller]
    fn check(&mut self, second: u64, expected: Option<Change>) {
        assert_eq!(self.plan(second).change, expected, "at second {second}");
    }
}

fn remove(n: u8, why: Why) -> Option<Change> {
    Some(Change::Remove { id: id(n), name: format!("n{n}"), why })
}

#[test]
fn what_is_in_order_stays() {
    let mut world = World::of(&[1, 2, 3]);
    assert_eq!(world.plan(0), Plan::default());
}

#[test]
fn a_new_server_learns_first_and_votes_once_it_has_kept_up() {
    let mut world = World::of(&[1, 2, 3]);
    world.status(4, MemberStatus::Alive);
    world.check(0, Some(Change::AddLearner { id: id(4), name: "n4".into(), address: "10.0.0.4:8300".into() }));
    world.peers.push(peer(4, false));
    world.check(1, None);
    world.followers.insert(id(4), NEAR);
    world.check(2, None);
    assert_eq!(world.plan(11).again_in, Some(LOOK_AGAIN));
    world.check(12, Some(Change::Promote { id: id(4), name: "n4".into() }));
    world.followers.insert(id(4), Follows { matched: 0, ..NEAR });
    world.rules.max_trailing_logs = 20;
    world.check(13, None);
    world.followers.insert(id(4), Follows { matched: 110, ..NEAR });
    world.check(14, None);
    world.check(24, Some(Change::Promote { id: id(4), name: "n4".into() }));
}

#[test]
fn one_that_must_not_vote_stays_a_learner() {
    let mut world = World::of(&[1]);
    world.status(4, MemberStatus::Alive);
    world.members[1].tags.insert("nonvoter".into(), "1".into());
    world.peers.push(peer(4, false));
    world.followers.insert(id(4), NEAR);
    world.check(0, None);
    world.check(60, None);
}

#[test]
fn a_server_that_moved_is_placed_anew() {
    let mut world = World::of(&[1, 2, 3]);
    world.members[2].address = "10.0.0.9".into();
    world.check(0, Some(Change::Place { id: id(3), name: "n3".into(), address: "10.0.0.9:8300".into() }));
}

#[test]
fn one_that_left_is_removed_at_once_and_one_that_died_after_a_while() {
    let mut world = World::of(&[1, 2, 3]);
    world.status(3, MemberStatus::Left);
    world.check(0, remove(3, Why::Left));
    world.status(3, MemberStatus::Failed);
    world.check(1, None);
    world.check(29, None);
    world.check(31, remove(3, Why::Dead));
    world.members.retain(|member| member.name != "n3");
    world.check(32, remove(3, Why::Unknown));
    world.status(3, MemberStatus::Alive);
    world.followers.insert(id(3), NEAR);
    world.check(33, None);
    world.status(3, MemberStatus::Failed);
    world.check(34, None);
    world.rules.cleanup_dead_servers = false;
    world.check(90, None);
    world.rules.cleanup_dead_servers = true;
    world.check(91, remove(3, Why::Dead));
}

#[test]
fn a_majority_is_never_cleaned_away() {
    let mut world = World::of(&[1, 2, 3, 4, 5]);
    world.status(4, MemberStatus::Failed);
    world.status(5, MemberStatus::Failed);
    world.check(0, None);
    world.check(40, remove(4, Why::Dead));
    world.rules.min_quorum = 4;
    let plan = world.plan(41);
    assert_eq!((plan.change, plan.told.len()), (None, 1));
    assert_eq!(world.plan(42).told.len(), 0, "told once");
    let mut world = World::of(&[1, 2]);
    world.status(2, MemberStatus::Failed);
    world.check(0, None);
    world.check(60, None);
}

#[test]
fn nothing_is_changed_without_a_majority_that_answers() {
    let mut world = World::of(&[1, 2, 3]);
    world.status(3, MemberStatus::Left);
    world.followers.insert(id(2), Follows { silent: Some(Duration::from_secs(5)), ..NEAR });
    world.check(0, None);
    world.check(60, None);
}

#[test]
fn a_new_leader_looks_again_once_somebody_has_answered() {
    let mut world = World::of(&[1, 2, 3]);
    world.followers.clear();
    world.members.push(member(4, MemberStatus::Alive));
    let plan = world.plan(0);
    assert_eq!((plan.change, plan.again_in), (None, Some(LOOK_AGAIN)));
    world.followers = [2, 3].map(|n| (id(n), NEAR)).into();
    let four = Change::AddLearner { id: id(4), name: "n4".to_owned(), address: "10.0.0.4:8300".to_owned() };
    world.check(1, Some(four));
}

#[test]
fn a_server_whose_place_was_taken_is_removed_first() {
    let mut world = World::of(&[1, 2, 3]);
    world.members.retain(|member| member.name != "n3");
    world.followers.remove(&id(3));
    let mut wiped = member(3, MemberStatus::Alive);
    wiped.tags.insert("id".into(), id(7));
    world.members.push(wiped);
    world.check(0, remove(3, Why::Replaced));
    world.peers.retain(|peer| peer.node != "n3");
    world.check(1, Some(Change::AddLearner { id: id(7), name: "n3".into(), address: "10.0.0.3:8300".into() }));
}

#[test]
fn a_stranger_and_a_second_bootstrap_server_are_refused_by_name_once() {
    for (tag, value, words) in [("impl", "", "another kind"), ("bootstrap", "1", "both have bootstrap set")] {
        let mut world = World::of(&[1]);
        let mut other = member(2, MemberStatus::Alive);
        other.tags.insert(tag.into(), value.into());
        world.members.push(other);
        let plan = world.plan(0);
        assert_eq!(plan.change, None);
        assert!(plan.told[0].contains("n2") && plan.told[0].contains(words), "{:?}", plan.told);
        assert_eq!(world.plan(1).told, Vec::<String>::new());
    }
}

#[test]
fn one_that_was_taken_out_by_others_is_not_added_again_at_once() {
    let mut world = World::of(&[1, 2, 3]);
    world.check(0, None);
    world.peers.retain(|peer| peer.node != "n3");
    world.check(1, None);
    world.check(60, None);
    world.check(61, Some(Change::AddLearner { id: id(3), name: "n3".into(), address: "10.0.0.3:8300".into() }));
}

#[test]
fn a_voter_that_lost_its_log_is_removed_and_added_again() {
    let mut world = World::of(&[1, 2, 3]);
    world.followers.insert(id(3), Follows { silent: Some(Duration::from_secs(2)), lost: true, ..NEAR });
    world.rules.cleanup_dead_servers = false;
    world.check(0, remove(3, Why::Lost));
    world.peers.pop();
    world.check(1, Some(Change::AddLearner { id: id(3), name: "n3".into(), address: "10.0.0.3:8300".into() }));
    world.peers.push(peer(3, false));
    world.check(2, None);
}

#[test]
fn a_voter_that_lost_its_log_stays_where_the_others_are_too_few_and_that_is_told() {
    for others in [&[1, 2][..], &[1, 2, 3, 4]] {
        let mut world = World::of(others);
        let silent = Follows { silent: Some(Duration::from_secs(60)), ..NEAR };
        for gone in &others[2..] {
            world.followers.insert(id(*gone), silent);
        }
        world.followers.insert(id(2), Follows { lost: true, ..silent });
        let plan = world.plan(0);
        assert_eq!((plan.change, plan.again_in), (None, Some(LOOK_AGAIN)));
        let words =
            format!("n2 has lost its Raft log and cannot be removed: too few of the {} other", others.len() - 1);
        assert!(plan.told.iter().any(|text| text.contains(&words)), "{:?}", plan.told);
        assert_eq!(world.plan(1).told, Vec::<String>::new(), "told once");
    }
}
