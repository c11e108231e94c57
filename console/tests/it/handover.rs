//! Raft's own servers: the leadership handed over, a seat removed, what is left without a quorum, and a
//! leader that nobody follows any more.

use console::keymap::{self, Group, TABLE};
use console::model::dialog::Demand;
use console::model::timeline::Phase;
use console::msg::{Effect, LaneId, Msg, Place};
use console::order::{Order, Outcome};
use crossterm::event::KeyEvent;
use shared::event::*;

use crate::fixture::{self, IDS, LANE, Story, member, peers, progress, raft_state, t};
use crate::stories::{hides, shows};

fn answered(story: &mut Story, ms: i64, id: u64, status: u16, text: &str) {
    let outcome = Outcome::Answered { status, text: text.into(), warning: None };
    story.say(Msg::Ordered { id, at: t(ms), took_us: 41_000, outcome });
}

fn ordered(order: Order) -> Vec<Effect> {
    vec![Effect::Order { id: 0, to: Place { lane: LANE, address: None }, order }]
}

/// Everybody is up again.
fn healthy() -> Story {
    let mut story = fixture::three();
    let back = member("srv-3", "172.20.20.12", IDS[2], MemberStatus::Alive);
    story.event(60_010, "srv-1", Body::Member(MemberEvent::Joined(back.into())));
    story.tick(60_020);
    story
}

/// `at` leads from here on, as the agent in use sees it.
fn elected(story: &mut Story, ms: i64, term: u64, at: usize) {
    let (leader_id, leader) = (IDS[at].to_owned(), format!("srv-{}", at + 1));
    story.event(ms, "srv-1", Body::Raft(RaftEvent::LeaderElected { term, leader_id, leader, leaderless_ms: 12 }));
    let role = if at == 0 { Role::Leader } else { Role::Follower };
    story.event(ms + 1, "srv-1", Body::Raft(RaftEvent::State(raft_state(3, role, term, Some(at), Some(ms)))));
}

#[test]
fn the_leadership_goes_where_it_is_sent_and_that_is_told() {
    let mut story = healthy();
    story.keys("3 j T");
    shows(
        &mut story,
        &[
            "Transfer leadership   from srv-1, which leads term 41",
            "( ) who is furthest   (•) srv-2   ( ) srv-3",
            "srv-2 lacks 1 entry, heard 9ms ago",
            "same as  agent operator raft transfer-leader -http-addr=172.20.20.10:8500",
            "[ Transfer  enter ]",
        ],
    );
    assert_eq!(story.keys("enter"), ordered(Order::Transfer { to: Some(IDS[1].into()) }));
    answered(&mut story, 60_100, 0, 200, "");
    shows(&mut story, &["asked of 172.20.20.10:8500: POST /v1/operator/raft/transfer-leader?id=9a37be4", "taken: 200"]);
    hides(&mut story, &["srv-2 leads"]);
    elected(&mut story, 60_200, 42, 1);
    shows(&mut story, &["srv-2 leads term 42 now, after 181ms, 12ms without a leader"]);
}

#[test]
fn another_leader_than_the_one_asked_for_is_told_as_that() {
    let mut story = healthy();
    story.keys("3 j T enter");
    elected(&mut story, 60_200, 42, 2);
    shows(&mut story, &["▲ srv-3 leads term 42 now, not srv-2"]);
}

#[test]
fn who_is_to_lead_can_be_left_open_or_chosen() {
    let mut story = healthy();
    story.keys("3 T");
    shows(&mut story, &["(•) who is furthest   ( ) srv-2", "the leader picks the voter that has most of its log"]);
    for chosen in ["(•) srv-2", "(•) srv-3", "(•) who is furthest"] {
        story.keys(if chosen == "(•) srv-2" { "tab space" } else { "space" });
        shows(&mut story, &[chosen]);
    }
    assert_eq!(story.keys("tab enter"), [], "the focus is on Cancel");
    assert!(story.model.dialog.is_none());
}

#[test]
fn nobody_who_cannot_lead_is_sent_the_leadership() {
    let mut story = fixture::three();
    // The selected row is a failed server's: another one is offered.
    story.keys("3 G T");
    shows(&mut story, &["(•) who is furthest"]);
    story.keys("tab space space");
    shows(&mut story, &["(•) srv-3", "srv-3 is failed: it cannot lead", "Transfer (locked)"]);
    assert_eq!(story.keys("tab tab enter"), []);
    // It closes while the dialog is open, and opens again.
    story.keys("tab space space");
    shows(&mut story, &["(•) srv-2", "[ Transfer  enter ]"]);
    let gone = member("srv-2", "172.20.20.11", IDS[1], MemberStatus::Failed);
    story.event(60_100, "srv-1", Body::Member(MemberEvent::Failed(gone.into())));
    shows(&mut story, &["srv-2 is failed: it cannot lead", "Transfer (locked)"]);
}

#[test]
fn an_agent_that_cannot_transfer_is_not_blamed_on_the_cluster() {
    let mut story = healthy();
    story.keys("3 T enter");
    answered(&mut story, 60_100, 0, 404, "");
    shows(&mut story, &["not offered by this agent: it answers 404"]);
    story.keys("esc 5");
    shows(&mut story, &["POST /v1/operator/raft/transfer-leader → 404, 41ms: not offered by this agent"]);
    let mut story = fixture::hashicorp();
    assert_eq!(story.keys("3 T"), []);
    shows(&mut story, &["no other voter is known who could lead"]);
}

#[test]
fn a_transfer_that_does_nothing_is_told_after_a_while() {
    let mut story = healthy();
    story.keys("3 T enter");
    answered(&mut story, 60_100, 0, 200, "");
    story.tick(80_000);
    shows(&mut story, &["answered with success, but srv-1 still leads"]);
}

#[test]
fn a_failed_server_loses_its_seat_by_its_name() {
    let mut story = fixture::three();
    story.keys("3 G R");
    shows(
        &mut story,
        &[
            "Remove from Raft   srv-3: failed 51s ago",
            "voters        3  ● ● ✖            2  ● ●",
            "same as  agent operator raft remove-peer -http-addr=172.20.20.10:8500",
            "type  srv-3  to go on",
            "Remove (locked)",
        ],
    );
    story.types("srv-3");
    assert_eq!(story.keys("enter"), ordered(Order::RemovePeer { id: IDS[2].into() }));
    answered(&mut story, 60_100, 0, 200, "");
    shows(&mut story, &["DELETE /v1/operator/raft/peer?id=c1e05d70", "watching what happens"]);
    story.event(60_300, "srv-1", Body::Raft(RaftEvent::MembershipChanged { peers: peers(2) }));
    shows(&mut story, &["srv-3 is gone from Raft, after 300ms: 2 voters, 2 needed, 2 up"]);
}

#[test]
fn a_removal_that_costs_the_quorum_or_comes_without_a_leader_takes_the_words() {
    let mut story = fixture::three();
    story.keys("3 j R");
    shows(
        &mut story,
        &["dc1 WOULD LOSE ITS QUORUM", "type  lose quorum", "srv-2 runs: the leader adds servers that run"],
    );
    let mut story = fixture::no_leader();
    story.keys("3 R");
    shows(&mut story, &["There is no leader: this cannot commit", "type  lose quorum"]);
    // What it takes becomes more while the dialog is open.
    let mut story = healthy();
    story.keys("3 j R");
    story.types("srv-2");
    shows(&mut story, &["[ Remove  enter ]"]);
    let state = RaftState { confirmed: false, ..raft_state(3, Role::Leader, 41, Some(0), Some(-1_000)) };
    story.event(60_100, "srv-1", Body::Raft(RaftEvent::State(state)));
    shows(&mut story, &["It got worse while this was open", "Remove (locked)"]);
    let demand = story.model.dialog.as_ref().map(|dialog| dialog.demand.clone());
    assert_eq!(demand, Some(Demand::Words("lose quorum".into())));
}

#[test]
fn a_server_that_runs_is_watched_until_it_is_back_or_stays_away() {
    let removed = || {
        let mut story = healthy();
        story.keys("3 G R");
        story.types("srv-3");
        story.keys("enter");
        answered(&mut story, 60_100, 0, 200, "");
        story.event(60_300, "srv-1", Body::Raft(RaftEvent::MembershipChanged { peers: peers(2) }));
        shows(&mut story, &["its agent runs, so its leader may", "watching what happens"]);
        story
    };
    let mut story = removed();
    story.event(90_000, "srv-1", Body::Raft(RaftEvent::MembershipChanged { peers: peers(3) }));
    shows(&mut story, &["srv-3 is back in Raft: its agent runs"]);
    let mut story = removed();
    story.tick(140_000);
    shows(&mut story, &["srv-3 is gone from Raft and stays so: 2 voters"]);
}

/// Presses of everything that changes a cluster.
fn changes() -> impl Iterator<Item = KeyEvent> {
    let changes = TABLE.iter().filter(|binding| matches!(binding.group, Group::Change | Group::Demo));
    changes.flat_map(|binding| binding.presses).map(|(code, with, _)| KeyEvent::new(*code, *with))
}

#[test]
fn no_key_that_changes_a_cluster_is_reachable_when_reading_only_or_in_the_past() {
    assert!(changes().count() >= 10, "the table has them");
    for screen in ["1", "2", "3", "5"] {
        let mut reading = fixture::three().read_only();
        reading.keys(screen);
        let mut past = fixture::three();
        past.model.setup.demo = true;
        past.keys(screen);
        past.keys("[");
        assert!(past.model.shown().moment.is_some(), "the past is on {screen}");
        for story in [&mut reading, &mut past] {
            for key in changes() {
                assert_eq!(keymap::action(&story.model, key), None, "{key:?} on {screen}");
            }
            story.keys("?");
            hides(story, &["CHANGE", "DEMO"]);
        }
    }
}

#[test]
fn what_is_left_without_a_quorum_is_shown_and_saved() {
    let mut story = fixture::no_quorum();
    story.keys("3 o");
    shows(
        &mut story,
        &[
            "Recovery   1 of 3 voters up, 2 needed",
            "5f0c11a2-0000-4000-8000-000000000001 172.20.20.10:8300",
            "furthest of those that remain: srv-1, index 18,204",
            "▲ srv-2, which is down, had 18,239",
            "raft/peers.json",
            "1  Be sure that these stay down for good: srv-2, srv-3.",
            "w saves the file",
        ],
    );
    let effects = story.keys("w");
    let [Effect::Save { name, text }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(name, "peers.json");
    let rows: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let expected = serde_json::json!([{"id": IDS[0], "address": "172.20.20.10:8300", "non_voter": false}]);
    assert_eq!(rows, expected);
    story.say(Msg::Saved { at: t(71_000), done: Ok("/here/peers.json".into()) });
    shows(&mut story, &["● saved as /here/peers.json"]);
    story.say(Msg::Saved { at: t(72_000), done: Err("/here/peers.json: permission denied".into()) });
    shows(&mut story, &["✖ not saved: /here/peers.json: permission denied"]);
}

#[test]
fn recovery_is_offered_only_where_there_is_something_to_recover_from() {
    let key = KeyEvent::from(crossterm::event::KeyCode::Char('o'));
    let mut story = fixture::three();
    story.keys("3");
    assert_eq!(keymap::action(&story.model, key), None);
    let mut story = fixture::disconnected();
    story.keys("3 o");
    shows(&mut story, &["Recovery   2 of 3 voters up"]);
}

#[test]
fn a_leader_that_no_quorum_answers_is_not_called_one() {
    let mut story = healthy();
    let state = RaftState { confirmed: false, ..raft_state(3, Role::Leader, 41, Some(0), Some(-1_000)) };
    story.event(61_000, "srv-1", Body::Raft(RaftEvent::State(state)));
    story.keys("3");
    shows(&mut story, &["LEADER ?  srv-1 says it leads term 41, no quorum answers it", "leader?"]);
    hides(&mut story, &["QUORUM OK"]);
    story.tick(62_000);
    assert_eq!(story.model.raft.timeline.at("srv-1", t(62_000)), Some(Phase::Adrift));
    story.keys("T");
    shows(&mut story, &["no quorum answers the leader: it cannot hand anything over", "Transfer (locked)"]);
}

#[test]
fn a_leader_elsewhere_is_told_with_who_does_not_see_it() {
    let mut story = healthy();
    story.model.lanes.push(console::model::Lane { address: "172.20.20.11:8500".into(), ..Default::default() });
    let state = raft_state(3, Role::Leader, 42, Some(1), Some(61_000));
    let origin = Origin { node: "srv-2".into(), boot: "cdef".into(), seq: 5 };
    let id = EventId { boot: "cdef".into(), seq: 5 };
    let body = Body::Raft(RaftEvent::State(state));
    let event = Event { id, origin, time: t(61_000), node: "srv-2".into(), body };
    story.say(Msg::Event { lane: LaneId(1), at: t(61_000), event: Box::new(event) });
    story.tick(62_000);
    story.keys("3");
    shows(&mut story, &["CUT OFF  srv-2 leads term 42; srv-1, in use here, does not see it", "leader?"]);
    hides(&mut story, &["QUORUM OK", "srv-1 leads"]);
    let phases = ["srv-1", "srv-2"].map(|node| story.model.raft.timeline.at(node, t(62_000)));
    assert_eq!(phases, [Some(Phase::Adrift), Some(Phase::Leads)]);
    // No second cluster is made of who is only cut off.
    assert!(!console::model::recovery::is_due(&story.model));
    story.tick(90_000);
    shows(&mut story, &["srv-2 leads term 42, heard 29s ago"]);
    elected(&mut story, 91_000, 42, 1);
    story.tick(92_000);
    shows(&mut story, &["QUORUM OK", "srv-2 leads term 42"]);
}

#[test]
fn what_a_new_leader_never_heard_of_a_server_does_not_wipe_what_was_known() {
    let mut story = fixture::three();
    let Body::Replication(ReplicationEvent::Progress(told)) = progress(2, 1, 0, 900) else { unreachable!() };
    let silent = Progress { term: 42, last_log: 18_300, commit: 0, applied: 0, ..told };
    story.event(61_000, "srv-1", Body::Replication(ReplicationEvent::Progress(silent)));
    let known = &story.model.raft.progress[IDS[2]];
    assert_eq!((known.last_log, known.commit, known.term), (Some(18_201), Some(18_201), Some(41)));
    // Nor does word of an older term.
    story.event(62_000, "srv-1", progress(1, 0, 18_250, 5));
    let Body::Replication(ReplicationEvent::Progress(told)) = progress(1, 0, 18_001, 5) else { unreachable!() };
    let stale = Body::Replication(ReplicationEvent::Progress(Progress { term: 40, ..told }));
    story.event(63_000, "srv-1", stale);
    assert_eq!(story.model.raft.progress[IDS[1]].matched, Some(18_250));
}

#[test]
fn the_timeline_can_be_looked_at_from_nearer() {
    let mut story = fixture::three();
    story.keys("3");
    shows(&mut story, &["Leadership  last 4h36m"]);
    story.keys("+");
    shows(&mut story, &["Leadership  last 60m"]);
    story.keys("tab j j +");
    shows(&mut story, &["20m about election 39"]);
    story.keys("+ + + +");
    shows(&mut story, &["1s about election 39"]);
    story.keys("- - - - - -");
    shows(&mut story, &["Leadership  last 4h36m"]);
}
