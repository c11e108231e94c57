//! The Services screen told as messages: what it counts, what it asks for, what it remembers, and
//! maintenance followed to its end.

use console::msg::{Denial, Effect, Identity, Interest, Msg, OwnAgent, Place, Source};
use console::order::{Order, Outcome, Probe, Seen};
use console::polled::Polled;
use console::update::settle;
use shared::event::*;

use crate::fixture::{self, LANE, Story, checks, entry, instances, member, of, t, web};
use crate::stories::{hides, shows};

const BAD: &str = "HTTP GET http://10.0.0.2/health: 503 Service Unavailable";

fn interest(story: &mut Story) -> Vec<Interest> {
    let effects = settle(&mut story.model).into_iter();
    let watched = effects.filter_map(|it| if let Effect::Watch(interest) = it { Some(interest) } else { None });
    // Whose policies are asked for is another story.
    watched.map(|interest| Interest { agent: None, ..interest }).collect()
}

fn found(story: &mut Story, ms: i64, address: &str, node: &str) {
    let seen = Seen::Agent(Identity { node: node.into(), ..Identity::default() });
    story.say(Msg::Probed { at: t(ms), probe: Probe::Agent { address: address.into() }, seen });
}

fn counting(service: &str, counted: &[&str]) -> Interest {
    let counted = counted.iter().map(|name| (*name).to_owned()).collect();
    Interest { service: Some(service.into()), counted, agent: None }
}

/// The check that stands for an instance in maintenance.
fn kept(reason: &str) -> shared::api::health::HealthCheck {
    let name = "Service Maintenance Mode";
    of("db-1", "_service_maintenance:web-2", "web-2", name, "critical", reason)
}

#[test]
fn instances_are_counted_by_the_worst_of_their_checks_and_their_nodes() {
    let mut story = fixture::catalog();
    story.keys("4");
    // redis fails, web has one that warns; what nobody counted yet is not guessed.
    shows(&mut story, &["✖ redis", "1  0  0  1 primary", "▲ web", "2  1  1  0 blue v1", "? queue", "?  ?  ?  ? "]);
    story.polled(590_100, Polled::Checks(vec![]));
    shows(&mut story, &["● web", "2  2  0  0 blue v1"]);
}

#[test]
fn only_what_is_on_screen_is_asked_for_and_what_is_not_known_once() {
    let mut story = fixture::catalog();
    assert_eq!(interest(&mut story), [], "the Overview needs none of it");
    story.keys("4");
    let expected = counting("redis", &["queue"]);
    assert_eq!(interest(&mut story), [expected]);
    assert_eq!(interest(&mut story), [], "once");
    story.polled(590_100, instances("queue", vec![]));
    assert_eq!(interest(&mut story), [counting("redis", &[])]);
    shows(&mut story, &["queue"]);
    story.keys("j");
    assert_eq!(interest(&mut story), [counting("web", &[])]);
    story.keys("1");
    assert_eq!(interest(&mut story), [Interest::default()]);
}

#[test]
fn the_selected_service_stays_selected_while_the_rows_move() {
    let mut story = fixture::catalog();
    story.keys("4 j");
    shows(&mut story, &["▸▲ web"]);
    // web is the worst now, and then the only one that is not well.
    let mut all = checks("critical", BAD);
    all.pop();
    story.polled(590_100, Polled::Checks(all));
    shows(&mut story, &["▸✖ web", "Instances of web"]);
    story.keys("s S");
    shows(&mut story, &["by name ▼", "▸✖ web"]);
}

#[test]
fn an_instance_shows_what_it_was_in_the_last_ten_minutes() {
    let mut story = fixture::catalog();
    story.keys("4 j");
    story.polled(590_050, web("warning", BAD, &[]));
    shows(&mut story, &["db-1", "172.20.20.31:8080", "warning", "flapped 5x in 10m", "503 Service Unavailable"]);
    let screen = story.screen(120, 36);
    let row = screen.lines().find(|line| line.contains("172.20.20.31:8080")).expect("its row").to_owned();
    assert!(row.contains("✖") && row.contains("●") && row.contains("▲"), "{row}");
    // While nobody answered nothing is known, and it is said so.
    story.lost(600_000, console::msg::Trouble::Ended, 1, 601_000);
    story.tick(900_000);
    shows(&mut story, &["····"]);
}

#[test]
fn a_service_that_is_to_go_tells_when_as_far_as_that_is_known() {
    let mut story = fixture::catalog();
    story.keys("4");
    let redis = checks("passing", "")[6].clone();
    let row = entry("db-1", "172.20.20.31", "redis", 6379, &["primary"], std::slice::from_ref(&redis));
    story.polled(590_050, instances("redis", vec![row.clone()]));
    shows(&mut story, &["tcp, every 10s, timeout 5s, gone after 1m0s critical"]);
    // It turned under our eyes: then it is known since when.
    let passing = shared::api::health::HealthCheck { status: "passing".into(), ..redis.clone() };
    story.polled(591_000, Polled::Checks(vec![passing]));
    story.polled(600_000, Polled::Checks(vec![redis]));
    story.heard(620_000, 900);
    story.tick(620_000);
    story.polled(620_000, instances("redis", vec![row]));
    shows(&mut story, &["deregistered in 40s unless it recovers (+ 0-30s)"]);
}

#[test]
fn how_a_check_works_is_asked_of_the_agent_that_runs_it() {
    let mut story = fixture::catalog();
    story.keys("4 j");
    story.polled(590_050, web("warning", BAD, &[]));
    shows(&mut story, &["http, the catalog does not say how often"]);
    let place = Place { lane: LANE, address: Some("172.20.20.31:8500".into()) };
    assert_eq!(story.model.interest.agent, Some(OwnAgent { node: "db-1".into(), place }));
    let state = CheckState {
        check_id: "c2".into(),
        name: "HTTP /health".into(),
        status: CheckStatus::Warning,
        output: String::new(),
        notes: String::new(),
        check_type: "http".into(),
        service_id: "web-2".into(),
        service: "web".into(),
        registrar: Registrar::Api,
        deregister_after_ms: Some(60_000),
        interval_ms: Some(10_000),
        timeout_ms: Some(5_000),
        ttl_ms: None,
    };
    story.polled(590_100, Polled::Checked { node: "db-1".into(), checks: vec![state] });
    shows(&mut story, &["http, every 10s, timeout 5s, gone after 1m0s critical"]);
    story.polled(600_000, Polled::Checks(checks("critical", BAD)));
    story.polled(600_000, web("critical", BAD, &[]));
    story.heard(620_000, 900);
    story.tick(620_000);
    shows(&mut story, &["deregistered in 40s unless it recovers (+ 0-30s)"]);
    story.polled(621_000, Polled::Checked { node: "db-1".into(), checks: vec![] });
    shows(&mut story, &["http, the catalog does not say how often"]);
    story.keys("1");
    story.screen(120, 36);
    assert_eq!(story.model.interest.agent, None, "nobody looks at it");
}

#[test]
fn an_instance_whole_has_all_its_checks_and_all_they_said() {
    let mut story = fixture::catalog();
    story.keys("4 j");
    story.polled(590_050, web("warning", &format!("{BAD}\nsecond line"), &[]));
    story.keys("enter enter");
    shows(
        &mut story,
        &[
            "Instance web-2 on db-1",
            "10 passing, 1 warning",
            "meta rack",
            "second line",
            "Serf Health Status",
            "serfHealth",
        ],
    );
    story.keys("esc");
    hides(&mut story, &["Instance web-2 on db-1"]);
    story.keys("esc");
    shows(&mut story, &["enter instances"]);
}

#[test]
fn each_pane_has_its_own_filter_and_order() {
    let mut story = fixture::catalog();
    story.keys("4");
    story.types("/tag=blue");
    story.keys("enter");
    shows(&mut story, &["Services 1 of 5", "Instances of web"]);
    story.polled(590_050, web("warning", BAD, &[]));
    story.keys("tab");
    story.types("/node=db-1");
    story.keys("enter");
    shows(&mut story, &["1 of 2", "Services 1 of 5"]);
    story.keys("s");
    shows(&mut story, &["1 of 2   by node", "Services 1 of 5   by status"]);
    story.keys("esc");
    shows(&mut story, &["Instances of web  2   by node"]);
}

#[test]
fn an_instance_goes_into_maintenance_at_its_own_agent_and_is_followed_there() {
    let mut story = fixture::catalog();
    story.keys("4 j");
    story.polled(590_050, web("warning", BAD, &[]));
    let probe = Probe::Agent { address: "172.20.20.31:8500".into() };
    assert_eq!(story.keys("tab M"), [Effect::Probe { lane: LANE, probe }]);
    shows(&mut story, &["Maintenance   web on db-1: into maintenance", "Take out (locked)"]);
    assert_eq!(story.keys("enter"), [], "nobody is known to be there");
    found(&mut story, 590_100, "172.20.20.31:8500", "node2_201");
    shows(&mut story, &["that is node2_201, not db-1", "Take out (locked)"]);
    found(&mut story, 590_200, "172.20.20.31:8500", "db-1");
    story.keys("tab tab");
    story.types("new disk");
    shows(&mut story, &["agent maint -enable -http-addr=172.20.20.31:8500 -service=web-2"]);
    story.keys("tab tab tab");
    let to = Place { lane: LANE, address: Some("172.20.20.31:8500".into()) };
    let order = Order::Maintain { service: Some("web-2".into()), enable: true, reason: "new disk".into() };
    assert_eq!(story.keys("enter"), [Effect::Order { id: 0, to, order }]);
    let taken = Outcome::Answered { status: 200, text: String::new(), warning: None };
    story.say(Msg::Ordered { id: 0, at: t(590_300), took_us: 2_000, outcome: taken });
    shows(&mut story, &["taken: 200", "watching what happens"]);
    let mut all = checks("warning", BAD);
    all.push(kept("new disk"));
    story.polled(590_500, Polled::Checks(all));
    shows(&mut story, &["web-2 on db-1 is in maintenance: no name leads to it"]);
    story.polled(590_600, web("warning", BAD, &[kept("new disk")]));
    story.keys("esc");
    shows(&mut story, &["◐ db-1", "maint"]);
    // The same key takes it back.
    story.keys("M");
    shows(&mut story, &["web on db-1: out of maintenance"]);
    found(&mut story, 590_700, "172.20.20.31:8500", "db-1");
    let effects = story.keys("enter");
    let order = Order::Maintain { service: Some("web-2".into()), enable: false, reason: String::new() };
    assert!(matches!(&effects[..], [Effect::Order { order: it, .. }] if *it == order), "{effects:?}");
    story.polled(590_900, Polled::Checks(checks("warning", BAD)));
    shows(&mut story, &["web-2 on db-1 is out of maintenance"]);
}

#[test]
fn a_dialog_of_maintenance_locks_when_somebody_else_was_faster() {
    let mut story = fixture::catalog();
    story.keys("4 j");
    story.polled(590_050, web("warning", BAD, &[]));
    story.keys("tab M");
    found(&mut story, 590_100, "172.20.20.31:8500", "db-1");
    let mut all = checks("warning", BAD);
    all.push(kept("others"));
    story.polled(590_200, Polled::Checks(all));
    shows(&mut story, &["web is in maintenance already", "Take out (locked)"]);
    assert_eq!(story.keys("enter"), []);
}

#[test]
fn a_node_without_an_agent_of_its_own_is_not_asked() {
    let mut story = fixture::catalog();
    let failed = member("db-1", "172.20.20.31", "", MemberStatus::Failed);
    story.event(590_010, "srv-1", Body::Member(MemberEvent::Failed(failed.into())));
    story.keys("4 j");
    let all = checks("passing", "");
    let rows = vec![
        entry("db-1", "172.20.20.31", "web-2", 80, &[], &all[5..6]),
        entry("outside", "10.9.9.9", "web-9", 80, &[], &[]),
    ];
    story.polled(590_050, instances("web", rows));
    story.keys("tab M");
    shows(&mut story, &["db-1 is failed: its agent is to be asked, and does not run"]);
    story.keys("j M");
    shows(&mut story, &["outside is no member: no agent of its own keeps what the catalog has of it"]);
}

#[test]
fn nobody_who_only_reads_is_offered_maintenance() {
    let mut story = fixture::catalog().read_only();
    story.keys("4 j tab");
    story.polled(590_050, web("warning", BAD, &[]));
    let action = console::keymap::action(
        &story.model,
        crossterm::event::KeyEvent::new(crossterm::event::KeyCode::Char('M'), crossterm::event::KeyModifiers::NONE),
    );
    assert_eq!(action, None);
}

#[test]
fn a_row_is_copied_as_it_is_read_and_as_a_command() {
    let mut story = fixture::catalog();
    story.keys("4 j");
    assert_eq!(story.keys("y"), [Effect::Copy("web  2  warning  blue,v1".into())]);
    let command = "agent catalog nodes -http-addr=172.20.20.10:8500 -service=web";
    assert_eq!(story.keys("Y"), [Effect::Copy(command.into())]);
    shows(&mut story, &["copied: agent catalog nodes"]);
}

#[test]
fn what_may_not_be_read_turns_its_pane_off_and_not_the_screen() {
    let mut story = fixture::catalog();
    story.answers.clear();
    story.keys("4");
    story.say(Msg::Denied { lane: LANE, at: t(590_100), source: Source::Instances, denial: Denial::Forbidden });
    shows(&mut story, &["403: the token may not read this", "✖ redis"]);
}

#[test]
fn a_step_back_shows_how_checks_were_then() {
    let mut story = fixture::catalog();
    story.polled(600_000, Polled::Checks(checks("passing", "")));
    story.keys("4 j");
    story.keys("[ [");
    shows(&mut story, &["◀ "]);
    let action = console::keymap::action(
        &story.model,
        crossterm::event::KeyEvent::new(crossterm::event::KeyCode::Char('M'), crossterm::event::KeyModifiers::NONE),
    );
    assert_eq!(action, None, "nothing is changed there");
    story.keys("\\");
    hides(&mut story, &["◀ "]);
}

#[test]
fn ten_thousand_services_cost_no_more_than_their_rows_in_sight() {
    let mut story = fixture::three();
    let names = (0..10_000).map(|n| (format!("svc-{n:05}"), vec!["v1".to_owned()])).collect();
    story.polled(60_000, Polled::Services(names));
    story.keys("4");
    let asked = interest(&mut story);
    assert!(asked.iter().all(|it| it.counted.len() <= 16), "{asked:?}");
    shows(&mut story, &["Services 10000", "svc-00000"]);
    story.keys("G");
    shows(&mut story, &["svc-09999", "Instances of svc-09999"]);
}
