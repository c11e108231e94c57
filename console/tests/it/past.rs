//! Stepping back in time, and what servers tell that are not the one in use.

use console::msg::{Effect, LaneId, Msg};
use shared::event::*;

use crate::fixture::{self, IDS, Story, member, progress, raft_state, t, won};
use crate::stories::{hides, shows};

fn fails(story: &mut Story, ms: i64, at: usize) {
    let state = member(&format!("srv-{}", at + 1), &format!("172.20.20.1{at}"), IDS[at], MemberStatus::Failed);
    story.event(ms, "srv-1", Body::Member(MemberEvent::Failed(state.into())));
}

/// An event of another agent than the one in use.
fn aside(story: &mut Story, ms: i64, node: &str, seq: u64, body: Body) {
    let id = EventId { boot: format!("of-{node}"), seq };
    let origin = Origin { node: node.into(), boot: format!("of-{node}"), seq };
    let event = Event { id, origin, time: t(ms), node: node.into(), body };
    story.say(Msg::Event { lane: LaneId(1), at: t(ms), event: Box::new(event) });
}

#[test]
fn a_step_back_shows_what_was_so_then_and_the_present_goes_on() {
    let mut story = fixture::three();
    fails(&mut story, 61_000, 1);
    story.keys("2");
    shows(&mut story, &["failed 2", "rw  "]);
    story.keys("[");
    shows(&mut story, &["◀ 10:01:01.000  the last step", "failed 2"]);
    story.keys("[");
    shows(&mut story, &["◀ 10:00:09", "2 steps back", "failed 1"]);
    // What happens meanwhile is not mixed in, and not lost.
    let state = member("web-9", "172.20.20.99", "", MemberStatus::Alive);
    story.event(62_000, "srv-1", Body::Member(MemberEvent::Joined(state.into())));
    hides(&mut story, &["web-9"]);
    shows(&mut story, &["failed 1"]);
    story.keys("\\");
    shows(&mut story, &["web-9", "failed 2", "rw  "]);
    hides(&mut story, &["◀"]);
}

#[test]
fn steps_are_those_of_the_screen_and_leaders_have_their_own() {
    let mut story = fixture::no_leader();
    let (leader_id, leader) = (IDS[2].to_owned(), "srv-3".to_owned());
    let elected = RaftEvent::LeaderElected { term: 43, leader_id, leader, leaderless_ms: 6_319 };
    story.event(36_420, "srv-2", Body::Raft(elected));
    let state = member("web-9", "172.20.20.99", "", MemberStatus::Alive);
    story.event(40_000, "srv-2", Body::Member(MemberEvent::Joined(state.into())));
    story.tick(41_000);
    shows(&mut story, &["srv-3 leads term 43"]);
    // The member that came is no step of Raft's.
    story.keys("3 [");
    shows(&mut story, &["◀ 10:00:36.420", "srv-3 leads term 43"]);
    story.keys("{");
    shows(&mut story, &["NO LEADER", "◀ 10:00:30"]);
    story.keys("{");
    shows(&mut story, &["nothing before this was seen by this console"]);
    story.keys("}");
    shows(&mut story, &["◀ 10:00:36.420", "srv-3 leads term 43"]);
    story.keys("}");
    hides(&mut story, &["◀"]);
}

#[test]
fn in_the_past_one_looks_and_changes_nothing() {
    let mut story = fixture::three();
    story.keys("2 [");
    for key in ["J", "L", "X", "P"] {
        let key = crossterm::event::KeyEvent::from(crossterm::event::KeyCode::Char(key.chars().next().expect("one")));
        assert_eq!(console::keymap::action(&story.model, key), None, "{key:?}");
    }
    hides(&mut story, &["J join", "X force-leave"]);
    story.keys("1 i");
    shows(&mut story, &["Impact", "CRASH OF", "◀"]);
    assert_eq!(story.keys("esc r"), [], "nobody is asked again for the past");
    assert_eq!(story.keys("C-c"), [Effect::Quit]);
}

#[test]
fn a_step_in_a_long_story_is_rebuilt_exactly() {
    let mut story = fixture::three();
    for round in 0..1_500 {
        story.event(61_000 + round, "srv-1", progress(1, 0, 18_300 + u64::try_from(round).expect("small"), 9));
    }
    fails(&mut story, 63_000, 1);
    for round in 0..1_500 {
        story.event(64_000 + round, "srv-1", progress(0, 0, 30_000, 0));
    }
    story.keys("3");
    shows(&mut story, &["30,000"]);
    story.keys("1 [");
    shows(&mut story, &["◀ 10:01:03.000", "19,799"]);
    hides(&mut story, &["30,000"]);
}

#[test]
fn a_server_aside_tells_the_votes_that_only_it_saw() {
    let mut story = fixture::no_leader();
    let record = won(43, 36_400, "srv-3", &["srv-2", "srv-3"], 6_310);
    aside(&mut story, 36_411, "srv-3", 7, Body::Election(ElectionEvent::Ended(record)));
    let progress = progress(2, 2, 18_205, 0);
    aside(&mut story, 36_412, "srv-3", 8, progress);
    story.tick(37_000);
    story.keys("3");
    shows(&mut story, &["43 10:00:36.400 srv-3", "won", "18,205"]);
    // A later leader is told as what it is, unseen by the agent in use; members are not mixed.
    let state = raft_state(3, Role::Leader, 44, Some(2), Some(36_000));
    aside(&mut story, 36_500, "srv-3", 9, Body::Raft(RaftEvent::State(state)));
    let ghost = member("ghost", "10.0.0.9", "", MemberStatus::Alive);
    aside(&mut story, 36_501, "srv-3", 10, Body::Member(MemberEvent::Joined(ghost.into())));
    shows(&mut story, &["CUT OFF  srv-3 leads term 44; srv-2, in use here, does not see it"]);
    hides(&mut story, &["ghost"]);
}

#[test]
fn what_is_told_aside_before_the_picture_waits_for_it() {
    let mut story = Story::new(&["172.20.20.10:8500", "172.20.20.12:8500"]);
    let record = won(41, -5_000, "srv-1", &["srv-1", "srv-3"], 300);
    aside(&mut story, 5, "srv-1", 3, Body::Election(ElectionEvent::Past(record)));
    assert_eq!(story.model.raft.elections.len(), 0);
    story.link(6, console::msg::Link::Live { kind: console::msg::AgentKind::Quorate });
    story.frame(7, console::msg::Frame::PictureBegins);
    fixture::running(&mut story, 10, "srv-2", IDS[1], "172.20.20.11");
    let state = raft_state(3, Role::Follower, 41, Some(0), Some(-5_000));
    story.event(11, "srv-2", Body::Raft(RaftEvent::State(state)));
    story.frame(12, console::msg::Frame::SnapshotEnd);
    assert_eq!(story.model.raft.elections.len(), 1);
}
