//! Agents that stop and come back, as the same cluster or as another, and what is told of the time between.

use console::model::timeline::Phase;
use console::msg::{AgentKind, Denial, Frame, Link, Msg, Source, Trouble};
use console::polled::Polled;
use serde_json::json;
use shared::event::*;

use crate::fixture::{self, IDS, Story, member, progress, raft_state, t, won};
use crate::stories::{hides, shows};

/// The agent of `single` is away from second 30 on and answers again at second 60, as `id` in `term`.
fn comes_back(id: &str, state: RaftState, past: Option<ElectionRecord>) -> Story {
    let mut story = fixture::single();
    story.lost(30_000, Trouble::Ended, 1, 31_000);
    story.link(60_000, Link::Live { kind: AgentKind::Quorate });
    let reason = "this agent was restarted, or it is another one".to_owned();
    story.frame(60_000, Frame::Reset { reason });
    fixture::running(&mut story, 60_001, "srv-1", id, "172.20.20.10");
    let me = member("srv-1", "172.20.20.10", id, MemberStatus::Alive);
    story.event(60_002, "srv-1", Body::Member(MemberEvent::Present(me.into())));
    if let Some(record) = past {
        story.event(60_003, "srv-1", Body::Election(ElectionEvent::Past(record)));
    }
    story.event(60_004, "srv-1", Body::Raft(RaftEvent::State(state)));
    story.frame(60_005, Frame::SnapshotEnd);
    story.tick(62_000);
    story
}

fn state_of(id: &str, term: u64, since: i64) -> RaftState {
    let mut state = raft_state(1, Role::Leader, term, Some(0), Some(since));
    state.peers[0].id = id.into();
    state.leader_id = Some(id.into());
    state
}

#[test]
fn an_agent_with_a_new_id_and_a_lower_term_is_another_cluster() {
    let mut story = fixture::three();
    story.lost(61_000, Trouble::Ended, 1, 62_000);
    story.link(63_000, Link::Live { kind: AgentKind::Quorate });
    story.frame(63_000, Frame::Reset { reason: "this agent was restarted, or it is another one".into() });
    let id = "77770000-0000-4000-8000-000000000009";
    fixture::running(&mut story, 63_001, "srv-1", id, "172.20.20.10");
    let me = member("srv-1", "172.20.20.10", id, MemberStatus::Alive);
    story.event(63_002, "srv-1", Body::Member(MemberEvent::Present(me.into())));
    story.event(63_003, "srv-1", Body::Election(ElectionEvent::Past(won(2, 62_500, "srv-1", &["srv-1"], 0))));
    story.event(63_004, "srv-1", Body::Raft(RaftEvent::State(state_of(id, 2, 62_501))));
    story.frame(63_005, Frame::SnapshotEnd);
    story.tick(64_000);
    shows(&mut story, &["srv-1 leads term 2", "1 of 1 voters up", "srv-1 has a new ID, 77770000"]);
    hides(&mut story, &["leads term 41", "follower"]);
    story.keys("3");
    shows(&mut story, &["Elections 1", "leader"]);
}

#[test]
fn a_server_that_lost_its_data_begins_in_a_lower_term() {
    let mut story = comes_back(IDS[0], state_of(IDS[0], 1, 59_000), None);
    shows(&mut story, &["srv-1 leads term 1", "terms and elections start over"]);
    hides(&mut story, &["term 2 for"]);
}

#[test]
fn a_server_that_keeps_its_data_keeps_its_elections() {
    let mut story = comes_back(IDS[0], state_of(IDS[0], 3, 59_500), Some(won(3, 59_500, "srv-1", &["srv-1"], 3)));
    shows(&mut story, &["srv-1 leads term 3", "srv-1's agent was restarted"]);
    hides(&mut story, &["start over", "new picture"]);
    story.keys("3");
    shows(&mut story, &["Elections 2"]);
}

#[test]
fn a_restarted_agent_does_not_know_how_long_there_was_no_leader_before_it() {
    let mut story = comes_back(IDS[0], state_of(IDS[0], 3, 59_500), Some(won(3, 59_500, "srv-1", &["srv-1"], 3)));
    story.keys("3");
    // It counts from its own start; its cluster has one voter, and that was away since second 30.
    shows(&mut story, &["last gap 29s without a leader"]);
    hides(&mut story, &["3ms"]);
}

#[test]
fn of_several_voters_nobody_knows_how_long_there_was_no_leader_while_ours_was_away() {
    let mut story = fixture::three();
    story.lost(61_000, Trouble::Ended, 1, 62_000);
    story.link(90_000, Link::Live { kind: AgentKind::Quorate });
    story.frame(90_000, Frame::Reset { reason: "this agent was restarted, or it is another one".into() });
    fixture::running(&mut story, 90_001, "srv-1", IDS[0], "172.20.20.10");
    story.event(90_002, "srv-1", Body::Raft(RaftEvent::State(raft_state(3, Role::Candidate, 42, None, None))));
    story.frame(90_003, Frame::SnapshotEnd);
    let record = won(42, 91_000, "srv-1", &["srv-1", "srv-3"], 3);
    story.event(91_003, "srv-1", Body::Election(ElectionEvent::Ended(record)));
    let (leader_id, leader) = (IDS[0].to_owned(), "srv-1".to_owned());
    let elected = RaftEvent::LeaderElected { term: 42, leader_id, leader, leaderless_ms: 3 };
    story.event(91_004, "srv-1", Body::Raft(elected));
    story.tick(92_000);
    story.keys("3");
    shows(&mut story, &["last gap ? without a leader", "srv-1 leads term 42"]);
    hides(&mut story, &["3ms"]);
}

#[test]
fn an_older_election_takes_its_place_in_the_events_by_its_time() {
    let mut story = fixture::three();
    let record = won(38, -6_000_000, "srv-3", &["srv-1", "srv-3"], 200);
    story.event(61_000, "srv-1", Body::Election(ElectionEvent::Past(record)));
    let order: Vec<_> = story.model.journal.newest().map(|entry| entry.at).collect();
    assert!(order.is_sorted_by(|newer, older| newer >= older), "{order:?}");
    assert!(order.contains(&t(-6_000_000)), "{order:?}");
}

#[test]
fn long_addresses_lose_their_ports_before_their_column() {
    let mut story = fixture::three();
    let mut state = raft_state(3, Role::Leader, 41, Some(0), Some(0));
    state.peers.iter_mut().for_each(|peer| peer.address = format!("127.148.173.1{}:18300", &peer.node[4..]));
    story.event(61_000, "srv-1", Body::Raft(RaftEvent::State(state)));
    shows(&mut story, &["ADDRESS", "127.148.173.11 ", "CONTACT"]);
}

/// A configuration of one server that leads.
fn alone(id: &str) -> Polled {
    let servers = json!([{
        "ID": id, "Node": "vm", "Address": "127.0.0.1:8300", "Leader": true, "ProtocolVersion": "3", "Voter": true,
    }]);
    Polled::RaftConfiguration(fixture::answer(json!({"Servers": servers, "Index": 0})))
}

#[test]
fn a_polled_agent_that_comes_back_with_a_new_id_leads_under_it() {
    let mut story = fixture::hashicorp();
    story.lost(20_000, Trouble::Refused, 1, 21_000);
    story.link(30_000, Link::Live { kind: AgentKind::HashiCorp });
    story.polled(30_001, Polled::Leader(Some("127.0.0.1:8300".into())));
    story.polled(30_002, alone("99990000-0000-4000-8000-000000000009"));
    story.tick(32_000);
    assert_eq!(story.model.raft.leader_id(), Some("99990000-0000-4000-8000-000000000009"));
    shows(&mut story, &["vm leads", "vm has a new ID, 99990000"]);
    hides(&mut story, &["left the Raft configuration"]);
}

#[test]
fn a_polled_server_that_lost_its_data_begins_in_a_lower_term() {
    let mut story = fixture::hashicorp();
    let stats = |term: &str| Polled::Stats(fixture::answer(json!({"state": "Leader", "term": term})));
    story.polled(11_000, stats("9"));
    shows(&mut story, &["leads term 9"]);
    story.polled(13_000, stats("2"));
    story.polled(13_100, Polled::Leader(Some("127.0.0.1:8300".into())));
    shows(&mut story, &["vm leads term 2", "terms and elections start over"]);
}

#[test]
fn a_polled_server_alone_had_no_leader_since_it_was_lost() {
    let mut story = fixture::hashicorp();
    story.lost(20_000, Trouble::Refused, 1, 21_000);
    story.link(50_000, Link::Live { kind: AgentKind::HashiCorp });
    story.polled(50_100, Polled::Leader(None));
    story.tick(51_000);
    shows(&mut story, &["NO LEADER 31s"]);
    story.polled(52_000, Polled::Leader(Some("127.0.0.1:8300".into())));
    story.tick(53_000);
    shows(&mut story, &["last gap 32s"]);
}

#[test]
fn a_polled_leader_that_leaves_is_down_on_the_timeline_and_wins_nothing() {
    let mut story = fixture::hashicorp();
    story.polled(20_000, Polled::Leader(None));
    story.polled(20_010, Polled::Stats(fixture::answer(json!({"state": "Follower", "term": "2"}))));
    story.tick(21_000);
    assert_eq!(story.model.raft.timeline.at("vm", t(21_000)), Some(Phase::Adrift));
    story.polled(22_000, Polled::Leader(Some("127.0.0.1:8300".into())));
    story.polled(22_010, Polled::Stats(fixture::answer(json!({"state": "Leader", "term": "3"}))));
    story.tick(23_000);
    assert_eq!(story.model.raft.timeline.terms.get(&3), Some(&t(22_000)));
    story.line(24_000, "[INFO]  agent.server.serf.lan: serf: EventMemberLeave: vm 127.0.0.1");
    story.tick(25_000);
    assert_eq!(story.model.raft.timeline.at("vm", t(25_000)), Some(Phase::Down));
}

#[test]
fn what_the_token_may_not_read_is_not_counted() {
    let mut story = Story::new(&["127.0.0.1:8500"]);
    story.link(0, Link::Live { kind: AgentKind::HashiCorp });
    for source in [Source::Identity, Source::Stats, Source::RaftConfiguration] {
        story.say(Msg::Denied { lane: fixture::LANE, at: t(10), source, denial: Denial::Forbidden });
    }
    story.polled(11, Polled::Leader(Some("127.0.0.1:8300".into())));
    story.polled(12, Polled::Peers(vec!["127.0.0.1:8300".into()]));
    story.polled(13, Polled::Members(Vec::new()));
    story.polled(14, Polled::Checks(Vec::new()));
    story.tick(1_000);
    shows(&mut story, &["Members ?", "Checks  ?", "none that the token may read"]);
    hides(&mut story, &["0 passing", "  1 ○ not seen here"]);
    let screen = story.screen(120, 36);
    assert_eq!(screen.matches("403: its own Raft state").count(), 1, "{screen}");
    story.keys("3");
    hides(&mut story, &[" 127.0.0. "]);
}

#[test]
fn checks_that_were_known_are_not_called_unknown_when_one_question_fails() {
    let mut story = fixture::three();
    let (lane, source, denial) = (fixture::LANE, Source::Checks, Denial::Failed);
    story.say(Msg::Denied { lane, at: t(61_000), source, denial });
    shows(&mut story, &["no answer: they are shown as they"]);
}

#[test]
fn a_leader_is_never_behind_itself() {
    let mut story = fixture::three();
    let Body::Replication(ReplicationEvent::Progress(mut own)) = progress(0, 0, 18_300, 0) else { unreachable!() };
    own.last_log = 18_302;
    story.event(61_000, "srv-1", Body::Replication(ReplicationEvent::Progress(own)));
    story.tick(62_000);
    assert_eq!(story.model.raft.behind(IDS[0]), Some(0));
}
