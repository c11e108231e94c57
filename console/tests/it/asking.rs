//! What changes the cluster: how much is asked before, what is ordered then, and what is told of its end.

use console::model::dialog::Demand;
use console::msg::{Effect, Identity, LaneId, Link, Msg, Place, Trouble};
use console::order::{Order, Outcome, Probe, Seen};
use console::polled::Polled;
use serde_json::json;
use shared::event::*;

use crate::fixture::{self, IDS, LANE, Story, member, peers, t};
use crate::stories::{hides, shows};

fn taken() -> Outcome {
    Outcome::Answered { status: 200, text: String::new(), warning: None }
}

fn answered(story: &mut Story, ms: i64, id: u64, outcome: Outcome) {
    story.say(Msg::Ordered { id, at: t(ms), took_us: 41_000, outcome });
}

/// Somebody answers where the dialog points.
fn found(story: &mut Story, ms: i64, address: &str, node: &str) {
    let seen = Seen::Agent(Identity { node: node.into(), ..Identity::default() });
    story.say(Msg::Probed { at: t(ms), probe: Probe::Agent { address: address.into() }, seen });
}

fn becomes(story: &mut Story, ms: i64, state: MemberState) {
    let news = MemberNews::from(state);
    let event = match news.state.status {
        MemberStatus::Leaving => MemberEvent::Leaving(news),
        MemberStatus::Left => MemberEvent::Left(news),
        MemberStatus::Failed => MemberEvent::Failed(news),
        MemberStatus::Alive | MemberStatus::Suspect => MemberEvent::Joined(news),
    };
    story.event(ms, "srv-1", Body::Member(event));
}

/// The Raft configuration without this server.
fn without(story: &mut Story, ms: i64, at: usize) {
    let mut peers = peers(3);
    peers.remove(at);
    story.event(ms, "srv-1", Body::Raft(RaftEvent::MembershipChanged { peers }));
}

/// What a message of the picture's end would do: the rows are those of now.
fn demand(story: &Story) -> Option<&Demand> {
    story.model.dialog.as_ref().map(|dialog| &dialog.demand)
}

#[test]
fn a_client_leaves_after_one_letter_and_is_followed_to_its_end() {
    let mut story = fixture::three();
    // db-1 is the fourth row, worst first.
    let effects = story.keys("2 j j j L");
    let probe = Probe::Agent { address: "172.20.20.31:8500".into() };
    assert_eq!(effects, [Effect::Probe { lane: LANE, probe }]);
    shows(&mut story, &["Leave   db-1: it leaves dc1", "looking whose agent that is", "Leave (locked)"]);
    assert_eq!(story.keys("y"), [], "nobody is known to be there");
    found(&mut story, 60_100, "172.20.20.31:8500", "db-1");
    assert_eq!(story.keys("enter"), [], "enter alone is the button with the focus");
    assert_eq!(demand(&story), None, "and that is Cancel");
    story.keys("L");
    found(&mut story, 60_200, "172.20.20.31:8500", "db-1");
    let to = Place { lane: LANE, address: Some("172.20.20.31:8500".into()) };
    assert_eq!(story.keys("y"), [Effect::Order { id: 0, to, order: Order::Leave { lose_quorum: false } }]);
    becomes(&mut story, 60_300, member("db-1", "172.20.20.31", "", MemberStatus::Leaving));
    shows(&mut story, &["asked of 172.20.20.31:8500: PUT /v1/agent/leave", "seen leaving"]);
    becomes(&mut story, 60_900, member("db-1", "172.20.20.31", "", MemberStatus::Left));
    shows(&mut story, &["db-1 has left, after 700ms"]);
    answered(&mut story, 61_000, 0, taken());
    story.keys("esc 5");
    shows(&mut story, &["PUT /v1/agent/leave → 200", "leave of db-1: db-1 has left"]);
}

#[test]
fn another_agent_than_the_one_meant_is_not_made_to_leave() {
    let mut story = fixture::three();
    story.keys("2 j j j L");
    found(&mut story, 60_100, "172.20.20.31:8500", "web-9");
    shows(&mut story, &["that is web-9, not db-1", "Leave (locked)"]);
    assert_eq!(story.keys("y"), []);
    // Another address may be typed; what was found before does not count for it.
    story.keys("tab tab");
    let effects = story.keys("bs");
    assert_eq!(effects, [Effect::Probe { lane: LANE, probe: Probe::Agent { address: "172.20.20.31:850".into() } }]);
    found(&mut story, 60_200, "172.20.20.31:8500", "db-1");
    shows(&mut story, &["looking whose agent that is", "Leave (locked)"]);
}

#[test]
fn a_leave_that_costs_the_quorum_shows_the_arithmetic_and_wants_the_words() {
    let mut story = fixture::three();
    story.keys("2 j j L");
    found(&mut story, 60_100, "172.20.20.11:8500", "srv-2");
    shows(
        &mut story,
        &[
            "dc1 WOULD LOSE ITS QUORUM",
            "voters        3  ● ● ✖            2  ● ✖              2  ● ●",
            "needs / up    2 / 2               2 / 1               2 / 2",
            "srv-3 back first",
            "type  lose quorum  to go on",
        ],
    );
    assert_eq!(story.types("srv-2"), []);
    assert_eq!(story.keys("enter"), []);
    story.keys("L");
    found(&mut story, 60_200, "172.20.20.11:8500", "srv-2");
    story.types("lose quorum");
    let effects = story.keys("enter");
    let order = Order::Leave { lose_quorum: true };
    assert!(matches!(&effects[..], [Effect::Order { order: it, .. }] if *it == order), "{effects:?}");
    let text = "leave refused: 2 voters would remain, 1 of them up, 2 needed: no quorum; ?lose-quorum=yes insists";
    answered(&mut story, 60_400, 0, Outcome::Answered { status: 500, text: text.into(), warning: None });
    shows(&mut story, &["refused: 500 leave refused: 2 voters would remain, 1 of them up, 2 needed"]);
}

#[test]
fn a_lock_closes_again_when_the_answer_gets_worse() {
    let mut story = fixture::three();
    becomes(&mut story, 60_100, member("srv-3", "172.20.20.12", IDS[2], MemberStatus::Alive));
    story.keys("2");
    story.types("/srv-2");
    story.keys("enter L");
    found(&mut story, 60_200, "172.20.20.11:8500", "srv-2");
    story.types("srv-2");
    shows(&mut story, &["type  srv-2  to go on:  srv-2", "[ Leave  enter ]"]);
    becomes(&mut story, 60_300, member("srv-3", "172.20.20.12", IDS[2], MemberStatus::Failed));
    shows(&mut story, &["It got worse while this was open", "lose quorum", "Leave (locked)"]);
    assert_eq!(story.keys("enter"), []);
}

#[test]
fn a_failed_server_is_forced_out_by_its_name_and_followed_out_of_raft() {
    let mut story = fixture::three();
    story.keys("2 X");
    shows(
        &mut story,
        &["Force-leave   srv-3: failed 51s ago", "if it returns", "[ ] prune too", "type  srv-3  to go on"],
    );
    story.types("srv-3");
    let order = Order::ForceLeave { node: "srv-3".into(), prune: false };
    let to = Place { lane: LANE, address: None };
    assert_eq!(story.keys("enter"), [Effect::Order { id: 0, to, order }]);
    answered(&mut story, 60_100, 0, taken());
    becomes(&mut story, 60_200, member("srv-3", "172.20.20.12", IDS[2], MemberStatus::Left));
    shows(&mut story, &["taken: 200 after 41ms", "seen left", "watching what happens"]);
    hides(&mut story, &["srv-3 has left"]);
    without(&mut story, 61_000, 2);
    shows(&mut story, &["gone from Raft", "srv-3 has left, and its seat in Raft is gone"]);
}

#[test]
fn a_warning_with_the_answer_is_its_end() {
    let mut story = fixture::three();
    story.keys("2 X");
    story.types("srv-3");
    story.keys("enter");
    let warning = Some("srv-3 is alive: nothing was changed, stop it or let it leave".to_owned());
    answered(&mut story, 60_100, 0, Outcome::Answered { status: 200, text: String::new(), warning });
    shows(&mut story, &["srv-3 is alive: nothing was changed"]);
    story.keys("esc");
    shows(&mut story, &["force-leave srv-3: srv-3 is alive: nothing was changed"]);
}

#[test]
fn what_does_not_happen_within_a_minute_is_told_as_that() {
    let mut story = fixture::three();
    story.keys("2 X");
    story.types("srv-3");
    story.keys("enter");
    answered(&mut story, 60_100, 0, taken());
    story.tick(119_000);
    shows(&mut story, &["watching what happens"]);
    story.tick(121_000);
    shows(&mut story, &["not seen to happen within a minute: it was taken, srv-3 is failed"]);
}

#[test]
fn an_order_without_an_answer_may_still_happen() {
    let mut story = fixture::three();
    story.keys("2 X");
    story.types("srv-3");
    story.keys("enter");
    story.keys("esc");
    shows(&mut story, &["no longer waited for, it may still happen"]);
    answered(&mut story, 90_000, 0, Outcome::Silent(Trouble::TimedOut));
    story.keys("5");
    shows(&mut story, &["no answer after 41ms, 172.20.20.10:8500 did not"]);
    becomes(&mut story, 91_000, member("srv-3", "172.20.20.12", IDS[2], MemberStatus::Left));
    without(&mut story, 91_500, 2);
    shows(&mut story, &["force-leave srv-3: srv-3 has left, and its seat in Raft is gone"]);
}

#[test]
fn a_join_looks_first_and_ends_with_a_member() {
    let mut story = fixture::three();
    assert_eq!(story.keys("2 J"), []);
    shows(&mut story, &["Join   through srv-1, 172.20.20.10:8500", "Join (locked)"]);
    let effects = story.types("10.0.0.9");
    let probe = Probe::Gossip { address: "10.0.0.9:8301".into() };
    assert_eq!(effects.last(), Some(&Effect::Probe { lane: LANE, probe: probe.clone() }));
    let seen = Seen::Accepts { address: "10.0.0.9:8301".into(), took_us: 700 };
    story.say(Msg::Probed { at: t(60_100), probe, seen });
    shows(
        &mut story,
        &["10.0.0.9:8301 takes a connection from here in 0.7ms (8301 assumed", "no member with this address"],
    );
    let effects = story.keys("enter");
    let order = Order::Join { address: "10.0.0.9".into(), wan: false };
    assert!(matches!(&effects[..], [Effect::Order { order: it, .. }] if *it == order), "{effects:?}");
    answered(&mut story, 60_200, 0, taken());
    becomes(&mut story, 60_300, member("web-9", "10.0.0.9", "", MemberStatus::Alive));
    shows(&mut story, &["web-9 is here, alive: 6 members, 1 more than before"]);
}

#[test]
fn a_join_that_is_refused_says_the_agents_words() {
    let mut story = fixture::three();
    story.keys("2 J");
    story.types("10.0.0.9");
    story.keys("enter");
    let text = "1 error occurred:\n\t* Failed to join 10.0.0.9: dial tcp 10.0.0.9:8301: connect: connection refused";
    answered(&mut story, 60_200, 0, Outcome::Answered { status: 500, text: text.into(), warning: None });
    shows(&mut story, &["refused: 500 1 error occurred", "connection refused"]);
}

#[test]
fn a_polled_agent_is_followed_too() {
    let mut story = fixture::hashicorp();
    let row = |status: u8| {
        let tags = json!({"build": "1.8.7:", "dc": "dc1", "role": "node", "vsn": "2"});
        let vm = story_vm();
        Polled::Members(fixture::answer(json!([vm, {
            "Name": "web-1", "Addr": "127.0.0.2", "Port": 8301, "Tags": tags, "Status": status, "ProtocolMin": 1,
            "ProtocolMax": 5, "ProtocolCur": 2, "DelegateMin": 2, "DelegateMax": 5, "DelegateCur": 4,
        }])))
    };
    story.polled(11_000, row(1));
    story.polled(12_000, row(4));
    story.keys("2 X");
    shows(&mut story, &["same as  consul force-leave -http-addr=127.0.0.1:8500 web-1"]);
    let effects = story.keys("y");
    assert!(matches!(&effects[..], [Effect::Order { .. }]), "{effects:?}");
    answered(&mut story, 12_100, 0, taken());
    story.polled(13_000, row(3));
    shows(&mut story, &["seen left", "web-1 has left"]);
    story.keys("esc j enter");
    shows(&mut story, &["history", "joined", "failed     was alive", "left       was failed"]);
}

fn story_vm() -> serde_json::Value {
    json!({
        "Name": "vm", "Addr": "127.0.0.1", "Port": 8301, "Status": 1,
        "Tags": {"build": "1.8.7:", "dc": "dc1", "id": "1a217743-4c23-16a7-393a-b0d83e38e6df", "port": "8300",
            "role": "consul", "vsn": "2"},
        "ProtocolMin": 1, "ProtocolMax": 5, "ProtocolCur": 2, "DelegateMin": 2, "DelegateMax": 5, "DelegateCur": 4,
    })
}

#[test]
fn an_act_on_a_member_that_it_is_not_for_says_why() {
    let mut story = fixture::three();
    for (keys, said) in [
        ("2 j X", "srv-1 is alive: force-leave is for failed members, L lets it leave"),
        ("P", "srv-1 is alive: only members that failed or left can be forgotten"),
        ("k L", "srv-3 is failed: only a running agent can leave"),
    ] {
        assert_eq!(story.keys(keys), []);
        assert_eq!(story.model.dialog, None);
        shows(&mut story, &[said]);
    }
}

#[test]
fn nothing_that_changes_a_cluster_is_reachable_when_reading_only() {
    for screen in ["1", "2", "3", "5"] {
        let mut story = fixture::three().read_only();
        story.keys(screen);
        for key in ["J", "L", "X", "P"] {
            let key = crossterm::event::KeyEvent::from(crossterm::event::KeyCode::Char(
                key.chars().next().expect("a letter"),
            ));
            assert_eq!(console::keymap::action(&story.model, key), None, "{key:?} on {screen}");
        }
        hides(&mut story, &["J join", "X force-leave", "rw  "]);
        story.keys("?");
        hides(&mut story, &["CHANGE"]);
        shows(&mut story, &["No key here changes the cluster"]);
    }
}

#[test]
fn the_agent_that_leaves_takes_the_view_along_and_that_is_told() {
    let mut story = fixture::single();
    story.keys("2 L");
    shows(&mut story, &["it is the only voter", "that is srv-1: it is asked itself"]);
    story.types("lose quorum");
    story.keys("enter");
    answered(&mut story, 20_500, 0, taken());
    story.lost(20_600, Trouble::Ended, 1, 21_600);
    story.tick(21_000);
    shows(&mut story, &["srv-1 left and its agent has stopped"]);
}

#[test]
fn another_agent_that_was_given_is_asked_at_its_own_address() {
    let mut story = fixture::no_leader();
    story.say(Msg::Link { lane: LaneId(1), at: t(36_400), link: Link::Idle });
    if let Some(lane) = story.model.lane_mut(LaneId(1)) {
        lane.identity = Some(Identity { node: "srv-3".into(), ..Identity::default() });
    }
    story.keys("2");
    story.types("/srv-3");
    assert_eq!(story.keys("enter L"), [], "who answers there is known");
    shows(&mut story, &["172.20.20.12:8500", "that is srv-3", "lose quorum"]);
}
