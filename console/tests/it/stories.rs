//! Messages in, screens and effects out.

use console::msg::{AgentKind, Denial, Effect, Frame, LaneId, Link, Msg, Screen, Source, Trouble};
use console::polled::Polled;
use shared::event::*;

use crate::fixture::{self, IDS, LANE, Story, member, progress, raft_state, t, won};

#[track_caller]
pub(crate) fn shows(story: &mut Story, expected: &[&str]) {
    let screen = story.screen(120, 36);
    for text in expected {
        assert!(screen.contains(text), "{text:?} is not on:\n{screen}");
    }
}

#[track_caller]
pub(crate) fn hides(story: &mut Story, unexpected: &[&str]) {
    let screen = story.screen(120, 36);
    for text in unexpected {
        assert!(!screen.contains(text), "{text:?} is on:\n{screen}");
    }
}

#[test]
fn a_leader_dies_and_the_election_is_told() {
    let mut story = fixture::no_leader();
    shows(&mut story, &["NO LEADER 6.1s", "term 42"]);
    let (candidate, voter) = ("srv-3".to_owned(), "srv-2".to_owned());
    story.event(
        36_400,
        "srv-3",
        Body::Election(ElectionEvent::Started {
            term: 43,
            candidate: candidate.clone(),
            cause: "election timeout".into(),
            need: 2,
            voters: 3,
            pre_vote: false,
        }),
    );
    story.event(
        36_410,
        "srv-3",
        Body::Election(ElectionEvent::VoteGranted {
            term: 43,
            candidate: candidate.clone(),
            voter,
            tally: 2,
            need: 2,
            pre_vote: false,
        }),
    );
    story.event(
        36_411,
        "srv-3",
        Body::Election(ElectionEvent::Ended(won(43, 36_400, "srv-3", &["srv-2", "srv-3"], 6_310))),
    );
    story.event(
        36_420,
        "srv-2",
        Body::Raft(RaftEvent::LeaderElected {
            term: 43,
            leader_id: IDS[2].into(),
            leader: candidate,
            leaderless_ms: 6_319,
        }),
    );
    story.event(
        36_421,
        "srv-2",
        Body::Raft(RaftEvent::State(raft_state(3, Role::Follower, 43, Some(2), Some(36_420)))),
    );
    story.tick(38_000);
    shows(&mut story, &["QUORUM OK", "srv-3 leads term 43", "srv-3 leads term 43, after 6.3s without"]);
    story.keys("3");
    shows(&mut story, &["Elections 2", "43 10:00:36.400 srv-3", "election won: term 43, tally 2 of 2 needed"]);
}

#[test]
fn an_event_that_two_agents_tell_is_told_once() {
    let mut story = fixture::three();
    let failed = Body::Member(MemberEvent::Failed(member("db-1", "172.20.20.31", "", MemberStatus::Failed).into()));
    let id = EventId { boot: "ffff".into(), seq: 9 };
    let origin = Origin { node: "srv-2".into(), boot: "cdef".into(), seq: 77 };
    let event = Event { id, origin, time: t(61_000), node: "srv-2".into(), body: failed };
    for _ in 0..2 {
        story.say(Msg::Event { lane: LANE, at: t(61_000), event: Box::new(event.clone()) });
    }
    let told = story.model.journal.newest().filter(|entry| entry.text.contains("failed: db-1"));
    assert_eq!(told.map(|entry| entry.times).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_a_new_picture_does_not_mention_is_gone() {
    let mut story = fixture::three();
    story.keys("2");
    shows(&mut story, &["db-1", "5 of 5"]);
    story.frame(62_000, Frame::Reset { reason: "too far behind".into() });
    shows(&mut story, &["db-1"]);
    let me = member("srv-1", "172.20.20.10", IDS[0], MemberStatus::Alive);
    story.event(62_001, "srv-1", Body::Member(MemberEvent::Present(me.into())));
    story.frame(62_002, Frame::SnapshotEnd);
    hides(&mut story, &["db-1"]);
    shows(&mut story, &["1 of 1"]);
    story.keys("5");
    shows(&mut story, &["the agent starts a new picture: too far behind"]);
}

#[test]
fn lost_events_are_never_silent() {
    let mut story = fixture::three();
    story.frame(61_000, Frame::Lagged { missed: 40 });
    shows(&mut story, &["dropped 40 events that we were too slow for"]);
}

#[test]
fn an_agent_that_goes_away_leaves_its_picture_and_returns() {
    let mut story = fixture::disconnected();
    shows(&mut story, &["DISCONNECTED 12s", "refused the connection", "retry 4 in 3s", "data from 10:00:59", "srv-2"]);
    story.link(75_000, Link::Connecting { attempt: 4, after: Some(Trouble::TimedOut) });
    shows(&mut story, &["DISCONNECTED", "did not answer in time", "trying now, attempt 4"]);
    story.link(75_100, Link::Live { kind: AgentKind::Quorate });
    hides(&mut story, &["DISCONNECTED"]);
    shows(&mut story, &["QUORUM OK", "connected again to 172.20.20.10:8500"]);
}

#[test]
fn each_trouble_has_its_own_sentence() {
    for (trouble, expected) in [
        (Trouble::Refused, "NOT CONNECTED"),
        (Trouble::NotAnAgent("404 nginx".into()), "NOT AN AGENT"),
        (Trouble::TlsExpected, "expects TLS"),
        (Trouble::Forbidden, "NO ACCESS"),
        (Trouble::Unresolved, "the name is not known"),
    ] {
        let mut story = fixture::connecting();
        story.lost(500, trouble, 1, 1_000);
        shows(&mut story, &[expected]);
        hides(&mut story, &["data from"]);
    }
}

#[test]
fn another_agent_takes_over_when_the_first_is_lost() {
    let mut story = fixture::no_leader();
    story.lost(40_000, Trouble::Refused, 1, 41_000);
    shows(&mut story, &["DISCONNECTED", "other agent"]);
    story.say(Msg::Link { lane: LaneId(1), at: t(40_200), link: Link::Live { kind: AgentKind::Quorate } });
    shows(&mut story, &["172.20.20.12:8500  agent 2 of 2", "now through 172.20.20.12:8500"]);
    hides(&mut story, &["DISCONNECTED"]);
    // What the lost one still had on its way is not mixed in.
    let ghost = member("ghost", "10.0.0.9", "", MemberStatus::Alive);
    story.event(40_300, "srv-2", Body::Member(MemberEvent::Joined(ghost.into())));
    hides(&mut story, &["ghost"]);
}

#[test]
fn a_key_asks_for_the_other_agent_and_there_is_none_of_one() {
    let mut story = fixture::no_leader();
    assert_eq!(story.keys("a"), [Effect::Attach(LaneId(1))]);
    assert_eq!(story.keys("a"), [Effect::Attach(LaneId(0))]);
    assert_eq!(story.keys("r"), [Effect::Refresh(LaneId(0))]);
}

#[test]
fn quitting_goes_back_first() {
    let mut story = fixture::three();
    assert_eq!(story.keys("? q"), []);
    assert_eq!(story.keys("q"), [Effect::Quit]);
    assert_eq!(story.keys("2 / s r v enter q"), []);
    shows(&mut story, &["5 of 5"]);
    assert_eq!(story.keys("2 / q C-c"), [Effect::Quit]);
}

#[test]
fn escape_closes_what_is_on_top_one_at_a_time() {
    let mut story = fixture::three();
    story.keys("2 / s r v enter");
    shows(&mut story, &["/ srv", "3 of 5"]);
    story.keys("enter");
    shows(&mut story, &["Member srv-3"]);
    story.keys("esc");
    shows(&mut story, &["3 of 5"]);
    story.keys("esc");
    shows(&mut story, &["5 of 5"]);
}

#[test]
fn a_selection_follows_its_member_through_change_and_resize() {
    let mut story = fixture::three();
    story.keys("2 j j");
    story.screen(120, 36);
    assert_eq!(story.model.members.selected().map(|m| m.state.name.as_str()), Some("srv-2"));
    story.event(
        61_000,
        "srv-1",
        Body::Member(MemberEvent::Failed(member("srv-2", "172.20.20.11", IDS[1], MemberStatus::Failed).into())),
    );
    story.screen(80, 24);
    assert_eq!(story.model.members.selected().map(|m| m.state.name.as_str()), Some("srv-2"));
    story.keys("s");
    story.screen(120, 36);
    assert_eq!(story.model.members.selected().map(|m| m.state.name.as_str()), Some("srv-2"));
}

#[test]
fn a_frozen_log_counts_what_it_does_not_show() {
    let mut story = fixture::three();
    story.keys("5 space");
    story.event(
        61_000,
        "srv-1",
        Body::Member(MemberEvent::Joined(member("web-1", "172.20.20.41", "", MemberStatus::Alive).into())),
    );
    shows(&mut story, &["frozen, 1 newer"]);
    story.keys("f");
    shows(&mut story, &["following", "client joined: web-1"]);
}

#[test]
fn the_level_key_asks_the_agent_for_more() {
    let mut story = fixture::three();
    assert_eq!(story.keys("5 l"), [Effect::LogLevel(Level::Debug)]);
    shows(&mut story, &["level debug+"]);
}

#[test]
fn a_refused_question_turns_off_its_pane_and_no_more() {
    let mut story = fixture::hashicorp();
    story.say(Msg::Denied { lane: LANE, at: t(10_000), source: Source::RaftConfiguration, denial: Denial::Forbidden });
    shows(&mut story, &["QUORUM ?", "who votes may not be seen from here", "vm leads", "403: who votes is no"]);
    story.keys("2");
    shows(&mut story, &["alive"]);
}

#[test]
fn a_hashicorp_log_tells_an_election() {
    let mut story = fixture::hashicorp();
    story.line(
        20_000,
        "[WARN]  agent.server.raft: heartbeat timeout reached, starting election: last-leader=127.0.0.1:8300",
    );
    shows(&mut story, &["NO LEADER"]);
    story.line(
        20_010,
        r#"[INFO]  agent.server.raft: entering candidate state: node="Node at 127.0.0.1:8300 [Candidate]" term=3"#,
    );
    story.line(20_020, "[DEBUG] agent.server.raft: votes: needed=1");
    story.line(
        20_030,
        "[DEBUG] agent.server.raft: vote granted: from=1a217743-4c23-16a7-393a-b0d83e38e6df term=3 tally=1",
    );
    story.line(20_040, "[INFO]  agent.server.raft: election won: tally=1");
    story.line(20_050, "[INFO]  agent.server: New leader elected: payload=vm");
    story.tick(25_000);
    story.keys("3");
    shows(
        &mut story,
        &["QUORUM OK", "vm leads term 3 for 4s", "Elections 1", "heartbeat timeout", "won", "40ms", "votes: needed=1"],
    );
}

#[test]
fn a_poll_without_a_leader_is_no_leader_and_its_return_is_dated() {
    let mut story = fixture::hashicorp();
    story.polled(11_000, Polled::Leader(None));
    shows(&mut story, &["NO LEADER"]);
    story.polled(14_000, Polled::Leader(Some("127.0.0.1:8300".into())));
    story.tick(16_000);
    shows(&mut story, &["QUORUM OK", "vm leads", "for 2s"]);
}

#[test]
fn another_datacenters_agent_starts_a_new_picture() {
    let mut story = fixture::hashicorp();
    let identity =
        console::polled::Identity { node: "far".into(), datacenter: "dc2".into(), server: true, ..Default::default() };
    story.polled(12_000, Polled::Identity(identity));
    story.keys("2");
    hides(&mut story, &["vm"]);
    shows(&mut story, &["dc2", "nothing yet from"]);
}

#[test]
fn a_log_line_cannot_steer_the_terminal() {
    let mut story = fixture::hashicorp();
    story.keys("5");
    shows(&mut story, &["service:x\\u{1b}[2J"]);
}

#[test]
fn nothing_is_drawn_again_when_nothing_changed() {
    let mut story = fixture::three();
    story.model.dirty = false;
    story.heard(60_100, 800);
    story.say(Msg::Tick { now: t(60_200) });
    assert!(!story.model.dirty);
    story.say(Msg::Tick { now: t(61_000) });
    assert!(story.model.dirty);
}

#[test]
fn a_cut_off_leader_is_marked_unconfirmed() {
    let mut story = fixture::three();
    let state = RaftState { confirmed: false, ..raft_state(3, Role::Leader, 41, Some(0), Some(0)) };
    story.event(61_000, "srv-1", Body::Raft(RaftEvent::State(state)));
    shows(&mut story, &["not confirmed by a quorum"]);
    story.event(61_500, "srv-1", Body::Raft(RaftEvent::LeaderConfirmed { term: 41 }));
    hides(&mut story, &["not confirmed by a quorum"]);
}

#[test]
fn what_another_server_believes_does_not_change_our_leader() {
    let mut story = fixture::three();
    story.event(61_000, "srv-3", Body::Raft(RaftEvent::State(raft_state(3, Role::Candidate, 44, None, None))));
    story.event(
        61_001,
        "srv-3",
        Body::Raft(RaftEvent::LeaderLost { term: 41, leader_id: IDS[0].into(), cause: "cut off".into() }),
    );
    shows(&mut story, &["QUORUM OK", "srv-1 leads term 41"]);
}

#[test]
fn lag_is_measured_against_the_leader() {
    let mut story = fixture::three();
    story.event(61_000, "srv-1", progress(0, 0, 19_424, 0));
    story.event(61_000, "srv-1", progress(1, 0, 18_240, 18));
    story.keys("3");
    shows(&mut story, &["19,424", "1,184", "18ms"]);
    assert_eq!(story.model.screen, Screen::Raft);
}

/// How fast that is, `benches/frame.rs` measures.
#[test]
fn ten_thousand_members_are_filtered_and_walked_like_ten() {
    let mut story = Story::new(&["127.0.0.1:8500"]);
    story.link(0, Link::Live { kind: AgentKind::Quorate });
    story.frame(0, Frame::PictureBegins);
    for at in 0..10_000 {
        let address = format!("10.0.{}.{}", at / 250, at % 250);
        let state = member(&format!("node-{at}"), &address, "", MemberStatus::Alive);
        story.event(1, "node-0", Body::Member(MemberEvent::Present(state.into())));
    }
    story.frame(2, Frame::SnapshotEnd);
    story.keys("2 G");
    shows(&mut story, &["Members 10000", "10000 of 10000", "▸● node-9999"]);
    story.types("/node-999");
    shows(&mut story, &["11 of 10000", "node-9990", "▸● node-9999"]);
    story.keys("esc g s s");
    // By address, by its number: the tenth host of the first net is above its hundredth.
    let screen = story.screen(120, 36);
    let place = |host: &str| screen.find(host).unwrap_or_else(|| panic!("{host} is not on:\n{screen}"));
    assert!(place("10.0.0.10:") < place("10.0.0.11:") && !screen.contains("10.0.0.100:"), "{screen}");
}

#[test]
fn a_leader_known_by_address_is_named_by_gossip_before_the_configuration_is_told() {
    let mut story = Story::new(&["127.0.0.1:8500"]);
    story.link(0, Link::Live { kind: AgentKind::HashiCorp });
    let mut named = fixture::hashicorp().model.members;
    let vm = named.lan().next().expect("a member").state.clone();
    named.clear();
    story.polled(10, Polled::Leader(None));
    story.event(11, "vm", Body::Member(MemberEvent::Present(vm.into())));
    let id = "1a217743-4c23-16a7-393a-b0d83e38e6df";
    story.line(
        900,
        r#"[INFO]  agent.server.raft: entering candidate state: node="Node at 127.0.0.1:8300 [Candidate]" term=2"#,
    );
    story.line(950, &format!("[DEBUG] agent.server.raft: vote granted: from={id} term=2 tally=1"));
    story.line(1_000, "[INFO]  agent.server: New leader elected: payload=vm");
    story.polled(1_500, Polled::Leader(Some("127.0.0.1:8300".into())));
    story.tick(3_000);
    shows(&mut story, &["vm leads", "for 2s"]);
    hides(&mut story, &["127.0.0.1:8300 leads"]);
    story.keys("3");
    hides(&mut story, &["1a217743…"]);
}
