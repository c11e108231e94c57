//! What each pair of pictures tells.

use super::*;

fn me() -> Me {
    Me { id: ServerId(1), name: "one".to_owned(), address: "10.0.0.1:8300".to_owned(), lease_ms: 600 }
}

fn peer(n: u128) -> RaftPeer {
    RaftPeer {
        id: ServerId(n).to_string(),
        node: ["", "one", "two", "three"][n as usize].to_owned(),
        address: format!("10.0.0.{n}:8300"),
        voter: true,
    }
}

/// Role, term and leader (0: none) in a configuration of so many voters.
fn picture(role: Role, term: u64, leader: u128, voters: u128) -> RaftState {
    RaftState {
        role,
        term,
        leader_id: (leader > 0).then(|| ServerId(leader).to_string()),
        confirmed: leader > 0,
        leader_since: None,
        last_log: term,
        commit: 0,
        applied: 0,
        snapshot: 0,
        peers: (1..=voters).map(peer).collect(),
        no_seat: false,
    }
}

/// Short words for what is told; what every change tells (`State`) is left out.
fn words(effects: Vec<Effect>) -> Vec<String> {
    let word = |effect| {
        Some(match effect {
            Effect::Log(Line::InitialConfiguration { index, servers }) => format!("configuration {index} {servers}"),
            Effect::Log(Line::Follower { leader }) => format!("follower {leader}"),
            Effect::Log(Line::StartingElection { last_leader, cause }) => format!("starting {last_leader} {cause}"),
            Effect::Log(Line::Candidate { term }) => format!("candidate {term}"),
            Effect::Log(Line::Won { tally }) => format!("won {tally}"),
            Effect::Log(Line::Leader) => "leader".to_owned(),
            Effect::Log(Line::AddedPeer { id }) => format!("added {}", id.trim_start_matches(['0', '-'])),
            Effect::Log(Line::Pipelining { peer }) => format!("pipelining {}", peer.node),
            Effect::Notice(Notice::Election(event)) => match event {
                ElectionEvent::HeartbeatLost { last_leader, .. } => format!("+lost {last_leader}"),
                ElectionEvent::Started { term, need, voters, .. } => format!("+started {term} {need}/{voters}"),
                ElectionEvent::VoteGranted { tally, need, .. } => format!("+granted {tally}/{need}"),
                ElectionEvent::Ended(record) => {
                    format!("+ended {:?} {}", record.result, record.leaderless_ms.unwrap_or_default())
                }
                ElectionEvent::SteppedDown { term, .. } => format!("+down {term}"),
                other => format!("{other:?}"),
            },
            Effect::Notice(Notice::Raft(event)) => match event {
                RaftEvent::State(_) => return None,
                RaftEvent::LeaderLost { term, leader_id, .. } => format!("+gone {term} {}", leader_id.len()),
                RaftEvent::LeaderElected { term, leader, leaderless_ms, .. } => {
                    format!("+elected {term} {leader} {leaderless_ms}")
                }
                RaftEvent::LeaderConfirmed { term } => format!("+confirmed {term}"),
                RaftEvent::Gap { from_term, to_term } => format!("+gap {from_term}-{to_term}"),
                RaftEvent::MembershipChanged { peers } => format!("+members {}", peers.len()),
                RaftEvent::SnapshotTaken { index } => format!("+snapshot {index}"),
            },
            Effect::Notice(Notice::Replication(_)) => "+progress".to_owned(),
        })
    };
    effects.into_iter().filter_map(word).collect()
}

fn watcher(state: RaftState) -> Watcher {
    Watcher::open(me(), Moment::from_micros(0), 1, state).0
}

/// The picture before, the picture 250 ms later, and what is told.
#[track_caller]
fn check(old: RaftState, new: RaftState, expected: &[&str]) {
    let effects = watcher(old).step(Moment::from_micros(250_000), WallTime::from_micros(9), new);
    assert_eq!(words(effects), expected);
}

use Role::{Candidate, Follower, Leader};

#[test]
fn the_first_lines_are_the_configuration_and_the_role() {
    let effects = Watcher::open(me(), Moment::default(), 1, picture(Follower, 0, 0, 1)).1;
    let id = ServerId(1);
    let servers = format!("[{{Suffrage:Voter ID:{id} Address:10.0.0.1:8300}}]");
    assert_eq!(words(effects), [format!("configuration 1 {servers}"), "follower ".to_owned()]);
    let effects = Watcher::open(me(), Moment::default(), 0, picture(Follower, 0, 0, 0)).1;
    assert_eq!(words(effects)[0], "configuration 0 []");
}

#[test]
fn a_lone_voter_is_seen_through_its_election_in_one_step() {
    let mut watcher = watcher(picture(Follower, 0, 0, 1));
    let told = words(watcher.stood(Stood { cause: "the only voter".to_owned() }));
    assert_eq!(told, ["starting  the only voter", "+lost "]);
    let now = Moment::from_micros(3_000);
    let told = words(watcher.step(now, WallTime::from_micros(9), picture(Leader, 1, 1, 1)));
    let election = ["candidate 1", "+started 1 1/1", "+granted 1/1", "won 1", "+ended Won 3", "leader"];
    assert_eq!(told, [&election[..], &["+elected 1 one 3", "+confirmed 1", "+progress"]].concat());
    assert_eq!(watcher.state().leader_since, Some(WallTime::from_micros(9)));
}

#[test]
fn where_others_vote_the_election_is_not_told_from_here() {
    let mut watcher = watcher(picture(Follower, 4, 0, 3));
    let now = Moment::from_micros(1);
    let told = words(watcher.step(now, WallTime::default(), picture(Candidate, 5, 0, 3)));
    assert_eq!(told, Vec::<String>::new());
    let told = words(watcher.step(now, WallTime::default(), picture(Leader, 5, 1, 3)));
    assert_eq!(told, ["leader", "added 2", "added 3", "+elected 5 one 0", "+confirmed 5", "+progress"]);
}

#[test]
fn every_change_of_leader_is_told() {
    check(picture(Follower, 4, 2, 3), picture(Follower, 4, 2, 3), &[]);
    check(picture(Follower, 4, 2, 3), picture(Follower, 5, 0, 3), &["+gone 4 36"]);
    check(
        picture(Follower, 4, 2, 3),
        picture(Follower, 5, 3, 3),
        &["+gone 4 36", "+elected 5 three 0", "+confirmed 5"],
    );
    check(picture(Follower, 4, 0, 3), picture(Follower, 5, 3, 3), &["+elected 5 three 250", "+confirmed 5"]);
    check(picture(Leader, 4, 1, 3), picture(Follower, 5, 0, 3), &["+down 4", "+gone 4 36", "follower "]);
    let deposed = ["+down 4", "+gone 4 36", "follower 10.0.0.2:8300", "+elected 5 two 0", "+confirmed 5"];
    check(picture(Leader, 4, 1, 3), picture(Follower, 5, 2, 3), &deposed);
    check(picture(Follower, 4, 0, 3), picture(Follower, 7, 0, 3), &["+gap 5-6"]);
}

#[test]
fn a_leader_is_confirmed_when_a_quorum_answers() {
    let cut_off = RaftState { confirmed: false, ..picture(Leader, 4, 1, 3) };
    check(picture(Leader, 4, 1, 3), cut_off.clone(), &["+progress"]);
    check(cut_off, picture(Leader, 4, 1, 3), &["+confirmed 4", "+progress"]);
}

#[test]
fn members_and_snapshots_are_told() {
    check(picture(Follower, 4, 2, 2), picture(Follower, 4, 2, 3), &["+members 3"]);
    let later = RaftState { snapshot: 90, ..picture(Follower, 4, 2, 3) };
    check(picture(Follower, 4, 2, 3), later, &["+snapshot 90"]);
}

#[test]
fn progress_is_told_once_a_second_while_it_changes() {
    let mut watcher = watcher(picture(Leader, 4, 1, 1));
    let mut step = |at_ms: u64, applied: u64| {
        let now = Moment::from_micros(at_ms * 1_000);
        let told = words(watcher.step(now, WallTime::default(), RaftState { applied, ..picture(Leader, 4, 1, 1) }));
        (told.len(), watcher.due().map(|due| due.micros() / 1_000))
    };
    assert_eq!(step(0, 1), (1, None));
    assert_eq!(step(300, 2), (0, Some(1_000)));
    assert_eq!(step(600, 3), (0, Some(1_000)));
    assert_eq!(step(1_000, 3), (1, None));
    assert_eq!(step(1_001, 3), (0, None));
}
