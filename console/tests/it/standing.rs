//! What an operator looks at stays what it is: rows that move, services and instances that go, answers that
//! do not come, text that is longer than its box, and a server that was removed under the console.

use std::collections::BTreeMap;

use console::model::recovery;
use console::model::timeline::Phase;
use console::msg::{Denial, Msg, Source};
use console::polled::Polled;
use shared::event::*;

use crate::fixture::{self, LANE, Story, checks, entry, instances, serf, t, web};
use crate::stories::{hides, shows};

fn named(names: &[&str]) -> Polled {
    Polled::Services(names.iter().map(|name| ((*name).to_owned(), vec![])).collect::<BTreeMap<_, _>>())
}

/// Everything but redis is well, so that it is the first row.
fn looking_at_redis() -> Story {
    let mut story = fixture::catalog();
    story.keys("4 enter");
    shows(&mut story, &["▸✖ redis", "Instances of redis"]);
    story
}

#[test]
fn a_service_that_is_looked_at_stays_when_others_fail_or_it_recovers() {
    let mut story = looking_at_redis();
    story.polled(590_100, Polled::Checks(checks("critical", "down")));
    let well: Vec<_> = checks("critical", "down").into_iter().filter(|check| check.service_id != "redis").collect();
    story.polled(590_200, Polled::Checks(well));
    // web is the first row now, and nobody went there.
    shows(&mut story, &["▸● redis", "Instances of redis"]);
    story.keys("esc");
    shows(&mut story, &["▸● redis", "Instances of redis"]);
}

#[test]
fn a_service_that_leaves_the_filter_is_looked_at_on() {
    let mut story = fixture::catalog();
    story.keys("4");
    story.types("/status=critical");
    story.keys("enter enter");
    shows(&mut story, &["Services 1 of 5", "Instances of redis"]);
    story.polled(590_100, Polled::Checks(vec![]));
    shows(&mut story, &["Services 0 of 5", "Instances of redis"]);
}

#[test]
fn a_service_that_goes_leaves_no_other_in_its_place_until_it_is_left() {
    let mut story = looking_at_redis();
    story.polled(590_100, named(&["api", "consul", "queue", "web"]));
    story.polled(590_100, instances("redis", vec![]));
    shows(&mut story, &["Instances of redis", "it is gone from the catalog"]);
    hides(&mut story, &["▸▲ web"]);
    story.keys("M");
    shows(&mut story, &["no node and no service instance is selected here"]);
    hides(&mut story, &["tab goes to the instances"]);
    // It comes back, as one does that is registered anew at each start.
    story.polled(590_200, named(&["api", "consul", "queue", "redis", "web"]));
    let back = entry("db-1", "172.20.20.31", "redis", 6379, &[], &[serf("db-1")]);
    story.polled(590_200, instances("redis", vec![back]));
    shows(&mut story, &["▸✖ redis", "172.20.20.31:6379"]);
    // And once more, its instances being told before its name.
    story.polled(590_250, named(&["api", "consul", "queue", "web"]));
    let back = entry("db-1", "172.20.20.31", "redis", 6379, &[], &[serf("db-1")]);
    story.polled(590_260, instances("redis", vec![back]));
    story.polled(590_270, named(&["api", "consul", "queue", "redis", "web"]));
    shows(&mut story, &["▸✖ redis              1  0  0  1"]);
    story.polled(590_300, named(&["api", "consul", "queue", "web"]));
    story.keys("esc");
    hides(&mut story, &["Instances of redis"]);
    shows(&mut story, &["▸"]);
}

#[test]
fn an_instance_whole_is_never_another_one() {
    let mut story = fixture::catalog();
    story.keys("4 j");
    story.polled(590_050, web("warning", "503", &[]));
    story.keys("tab enter");
    shows(&mut story, &["Instance web-2 on db-1"]);
    let all = checks("passing", "");
    let rest = entry("node2_201", "172.20.20.22", "web-1", 80, &["v1"], &[all[3].clone(), all[4].clone()]);
    story.polled(590_100, instances("web", vec![rest]));
    shows(&mut story, &["this row is gone"]);
    hides(&mut story, &["Instance web-1 on node2_201"]);
    story.keys("esc");
    shows(&mut story, &["▸● node2_201"]);
}

#[test]
fn the_first_instance_stays_selected_while_another_one_becomes_worse() {
    let mut story = fixture::catalog();
    story.keys("4 j");
    story.polled(590_050, web("passing", "", &[]));
    story.keys("tab");
    shows(&mut story, &["▸● db-1"]);
    story.polled(590_100, web("passing", "", &[]));
    let all = checks("passing", "");
    let bad = shared::api::health::HealthCheck { status: "critical".into(), ..all[4].clone() };
    let rows = vec![
        entry("node2_201", "172.20.20.22", "web-1", 80, &["v1"], &[all[3].clone(), bad]),
        entry("db-1", "172.20.20.31", "web-2", 8080, &["v1"], &[all[2].clone(), all[5].clone()]),
    ];
    story.polled(590_200, instances("web", rows));
    shows(&mut story, &["▸● db-1", "✖ node2_201"]);
}

#[test]
fn an_overlay_is_scrolled_back_with_as_many_keys_as_there_are_lines() {
    let mut story = fixture::catalog();
    story.keys("4 j");
    let long = (0..100).map(|n| format!("line {n}\n")).collect::<String>();
    story.polled(590_050, web("warning", &long, &[]));
    story.keys("tab enter");
    story.screen(80, 24);
    story.keys("G");
    let end = story.screen(80, 24);
    assert!(end.contains("Agent alive and reachable"), "{end}");
    for _ in 0..5 {
        story.keys("j");
        assert_eq!(story.screen(80, 24), end, "there is no more");
    }
    story.keys("k");
    assert_ne!(story.screen(80, 24), end, "one key is enough");
}

#[test]
fn what_is_not_answered_any_more_is_told_to_be_as_it_was() {
    let mut story = fixture::catalog();
    story.keys("4");
    hides(&mut story, &["as they were"]);
    for source in [Source::Services, Source::Checks] {
        story.say(Msg::Denied { lane: LANE, at: t(590_100), source, denial: Denial::Failed });
    }
    shows(&mut story, &["▲ services, checks as they were: no answer", "checks  5 passing"]);
    let narrow = story.screen(80, 24);
    assert!(narrow.contains("▲ services, checks as they were: no answer"), "{narrow}");
    story.polled(590_200, Polled::Checks(checks("passing", "")));
    shows(&mut story, &["▲ services as they were: no answer"]);
}

#[test]
fn an_empty_filter_names_its_fields_and_a_footer_what_enter_opens() {
    let mut story = fixture::catalog();
    story.keys("4");
    shows(&mut story, &["enter instances"]);
    story.keys("/");
    shows(&mut story, &["text, !text, or a field: name= tag= status="]);
    story.types("web");
    hides(&mut story, &["or a field"]);
    story.keys("enter tab");
    shows(&mut story, &["enter detail  M maintenance"]);
    let mut story = fixture::catalog().read_only();
    story.keys("4 tab");
    hides(&mut story, &["M maintenance"]);
}

#[test]
fn tags_keep_their_places_whatever_the_order_in_which_they_are_told() {
    let mut story = fixture::catalog();
    story.keys("4");
    for tags in [["v2", "blue"], ["blue", "v2"]] {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        story.polled(590_100, Polled::Services(BTreeMap::from([("web".to_owned(), tags)])));
        shows(&mut story, &["blue v2"]);
    }
}

#[test]
fn which_of_several_agents_is_in_use_is_never_cut() {
    let mut story = fixture::no_leader();
    for width in 60..140 {
        let screen = story.screen(width, 24);
        let head = screen.lines().next().unwrap_or_default().to_owned();
        assert!(head.contains("agent 1 of 2") || head.contains(" 1/2"), "{width}: {head}");
    }
}

#[test]
fn a_server_that_was_removed_is_told_of_and_not_taken_for_the_cluster() {
    let mut story = fixture::no_leader();
    shows(&mut story, &["NO LEADER"]);
    assert!(recovery::is_due(&story.model));
    let state = RaftState { no_seat: true, ..fixture::raft_state(3, Role::Follower, 42, None, None) };
    story.event(36_400, "srv-2", Body::Raft(RaftEvent::State(state)));
    let words = "NO SEAT  srv-2, in use here, was removed from Raft or not added yet · a other agent";
    shows(&mut story, &[words, "L lets it leave for good"]);
    // To make a new cluster of it would be the last thing to do.
    hides(&mut story, &["NO LEADER"]);
    assert!(!recovery::is_due(&story.model));
    let narrow = story.screen(80, 24);
    assert!(narrow.contains("NO SEAT  srv-2 was removed from Raft, or not added yet"), "{narrow}");
    story.tick(37_000);
    assert_eq!(story.model.raft.timeline.at("srv-3", t(37_000)), Some(Phase::Unseen));
    // It is added again, and a leader reaches it.
    let elected = RaftEvent::LeaderElected {
        term: 43,
        leader_id: fixture::IDS[0].into(),
        leader: "srv-1".into(),
        leaderless_ms: 7_000,
    };
    story.event(37_000, "srv-2", Body::Raft(elected));
    hides(&mut story, &["NO SEAT"]);
    assert_eq!(story.model.raft.last_gap, None, "the others had a leader");
}

#[test]
fn a_server_that_is_not_in_its_own_configuration_has_no_seat() {
    let mut story = fixture::no_leader();
    let state = fixture::raft_state(3, Role::Follower, 42, None, None);
    let peers = state.peers.iter().filter(|peer| peer.node != "srv-2").cloned().collect();
    story.event(36_400, "srv-2", Body::Raft(RaftEvent::State(RaftState { peers, ..state })));
    shows(&mut story, &["NO SEAT  srv-2"]);
}

#[test]
fn maintenance_says_why_and_not_that_an_output_is_to_come() {
    let mut story = fixture::catalog();
    story.keys("4 j");
    let id = "_service_maintenance:web-2";
    let told = fixture::of("db-1", id, "web-2", "Service Maintenance Mode", "critical", "");
    let kept = shared::api::health::HealthCheck { notes: "new disk".into(), ..told };
    story.polled(590_050, web("passing", "", &[kept]));
    shows(&mut story, &["maint", "reason  new disk"]);
    hides(&mut story, &["none in the catalog yet"]);
    story.keys("tab enter");
    shows(&mut story, &["notes         new disk"]);
}
