//! How long a key takes to be a frame, with 10,000 members, 50,000 events and 50,000 service instances, and
//! what memory that takes: `cargo bench -p console`.
//!
//! Prints the median and the worst of many strokes beside the budget of each; judges nothing, since the
//! machine it runs on may be busy.

#![expect(clippy::disallowed_methods, reason = "a bench measures with a clock")]
#![expect(clippy::print_stdout, reason = "its result is what it prints")]

use std::collections::BTreeMap;
use std::time::Instant;

use console::keymap;
use console::model::{Model, Setup};
use console::msg::{AgentKind, Frame, LaneId, Link, Msg};
use console::polled::{InstanceEntry, Polled};
use console::update::{settle, update};
use console::view;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;
use shared::api::health::HealthCheck;
use shared::event::*;
use shared::time::WallTime;

const LANE: LaneId = LaneId(0);
const MEMBERS: u32 = 10_000;
const EVENTS: u32 = 50_000;
const SERVICES: u32 = 10_000;
const INSTANCES: u32 = 50_000;
const ROUNDS: usize = 50;

fn at(micros: i64) -> WallTime {
    WallTime::from_micros(1_795_255_200_000_000 + micros)
}

fn told(model: &mut Model, seq: u64, body: Body) {
    let id = EventId { boot: "ab".into(), seq };
    let origin = Origin { node: "node-0".into(), boot: "ab".into(), seq };
    let event = Box::new(Event { id, origin, time: at(0), node: "node-0".into(), body });
    update(model, Msg::Event { lane: LANE, at: at(0), event });
}

fn empty() -> Model {
    let setup = Setup { addresses: vec!["127.0.0.1:8500".into()], ..Setup::default() };
    let mut model = Model::new(setup);
    update(&mut model, Msg::Tick { now: at(0) });
    update(&mut model, Msg::Resize { width: 120, height: 36 });
    update(&mut model, Msg::Link { lane: LANE, at: at(0), link: Link::Live { kind: AgentKind::Quorate } });
    model
}

fn large(members: u32) -> Model {
    let mut model = empty();
    update(&mut model, Msg::Frame { lane: LANE, at: at(0), frame: Frame::PictureBegins });
    for n in 0..members {
        let state = MemberState {
            pool: Pool::Lan,
            name: format!("node-{n}"),
            address: format!("10.{}.{}.{}", n / 62_500, n / 250 % 250, n % 250),
            port: 8301,
            status: MemberStatus::Alive,
            incarnation: 1,
            protocol: 2,
            versions: [1, 5, 2, 2, 5, 4],
            tags: BTreeMap::from([("role".to_owned(), "node".to_owned()), ("dc".to_owned(), "dc1".to_owned())]),
        };
        told(&mut model, u64::from(n), Body::Member(MemberEvent::Present(state.into())));
    }
    update(&mut model, Msg::Frame { lane: LANE, at: at(0), frame: Frame::SnapshotEnd });
    for n in 0..EVENTS {
        let line = LogEvent::Line { level: Level::Info, logger: "agent".into(), message: format!("line {n}") };
        told(&mut model, u64::from(members + n), Body::Log(line));
    }
    model
}

fn press(model: &mut Model, terminal: &mut Terminal<TestBackend>, code: KeyCode) -> u128 {
    let begun = Instant::now();
    if let Some(action) = keymap::action(model, KeyEvent::new(code, KeyModifiers::NONE)) {
        update(model, Msg::Act(action));
    }
    settle(model);
    let mut scrolls = 0;
    terminal.draw(|frame| scrolls = view::draw(model, frame)).expect("a drawing");
    model.scrolled(scrolls);
    begun.elapsed().as_micros()
}

/// What this process has of the machine's memory, where the system tells.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}

/// Services and their instances as polling tells them; every tenth instance is not well.
fn catalog(model: &mut Model) {
    let names = (0..SERVICES).map(|n| (format!("svc-{n}"), vec!["v1".to_owned()])).collect();
    update(model, Msg::Polled { lane: LANE, at: at(0), polled: Polled::Services(names) });
    update(model, Msg::Polled { lane: LANE, at: at(0), polled: Polled::Checks(checks(0)) });
    for n in 0..SERVICES {
        let entries: Vec<_> = (n..INSTANCES).step_by(SERVICES as usize).map(entry).collect();
        let polled = Polled::Instances { service: format!("svc-{n}"), entries };
        update(model, Msg::Polled { lane: LANE, at: at(0), polled });
    }
}

fn checks(turn: u32) -> Vec<HealthCheck> {
    (0..INSTANCES).map(|n| check(n, turn)).collect()
}

fn check(n: u32, turn: u32) -> HealthCheck {
    let status = if (n + turn).is_multiple_of(10) { "critical" } else { "passing" };
    let told = json!({
        "Node": format!("node-{}", n % MEMBERS), "CheckID": format!("service:i{n}"), "Name": "HTTP /health",
        "Status": status, "Notes": "", "Output": "HTTP GET http://10.0.0.1/health: 200 OK Output: fine",
        "ServiceID": format!("i{n}"), "ServiceName": format!("svc-{}", n % SERVICES), "ServiceTags": [], "Type": "http",
        "Definition": {}, "CreateIndex": 1, "ModifyIndex": 1,
    });
    serde_json::from_value(told).expect("a check")
}

fn entry(n: u32) -> InstanceEntry {
    let told = json!({
        "Node": {"ID": "", "Node": format!("node-{}", n % MEMBERS), "Address": "10.0.0.1", "Datacenter": "dc1",
            "TaggedAddresses": null, "Meta": null, "CreateIndex": 1, "ModifyIndex": 1},
        "Service": {"ID": format!("i{n}"), "Service": "svc", "Tags": ["v1"], "Address": "", "Meta": null, "Port": 80,
            "Weights": {"Passing": 1, "Warning": 1}, "EnableTagOverride": false, "Proxy": {"MeshGateway": {},
            "Expose": {}}, "Connect": {}, "CreateIndex": 1, "ModifyIndex": 1},
        "Checks": [check(n, 0)],
    });
    serde_json::from_value(told).expect("an instance")
}

/// How long one thing takes on a console that is on this screen.
struct Case {
    what: &'static str,
    before: Vec<KeyCode>,
    key: KeyCode,
    after: Vec<KeyCode>,
    budget: u32,
}

fn run(model: &mut Model, terminal: &mut Terminal<TestBackend>, cases: Vec<Case>) {
    for Case { what, before, key, after, budget } in cases {
        let mut taken = Vec::new();
        for _ in 0..ROUNDS {
            for key in &before {
                press(model, terminal, *key);
            }
            taken.push(press(model, terminal, key));
            for key in &after {
                press(model, terminal, *key);
            }
        }
        report(what, taken, budget);
    }
}

fn report(what: &str, mut taken: Vec<u128>, budget: u32) {
    taken.sort_unstable();
    println!("{what:26} {:>8} {:>8} {budget:>8}", taken[taken.len() / 2], taken[taken.len() - 1]);
}

fn main() {
    let letter = KeyCode::Char;
    let case = |what, before: &[KeyCode], key, after: &[KeyCode], budget| Case {
        what,
        before: before.to_vec(),
        key,
        after: after.to_vec(),
        budget,
    };
    let modest = large(MEMBERS / 2);
    let kib = resident_kib().map_or("?".to_owned(), |kib| kib.to_string());
    println!("{} members, {EVENTS} events: {kib} KiB of memory, budget {}", MEMBERS / 2, 64 << 10);
    drop(modest);
    let mut model = large(MEMBERS);
    let mut terminal = Terminal::new(TestBackend::new(120, 36)).expect("a terminal");
    println!("{MEMBERS} members, {EVENTS} events; microseconds from key to frame");
    println!("{:26} {:>8} {:>8} {:>8}", "", "median", "worst", "budget");
    press(&mut model, &mut terminal, letter('2'));
    run(
        &mut model,
        &mut terminal,
        vec![
            case("row down", &[], KeyCode::Down, &[], 16_000),
            case("page down", &[], KeyCode::PageDown, &[], 16_000),
            case("filter stroke", &[letter('/'), letter('n')], letter('9'), &[KeyCode::Esc], 8_000),
            case("another sort", &[], letter('s'), &[], 16_000),
            case("to the events", &[letter('2')], letter('5'), &[letter('2')], 16_000),
        ],
    );
    catalog(&mut model);
    println!("{SERVICES} services, {INSTANCES} instances and checks beside");
    press(&mut model, &mut terminal, letter('4'));
    run(
        &mut model,
        &mut terminal,
        vec![
            case("services: row down", &[], KeyCode::Down, &[], 16_000),
            case("services: filter stroke", &[letter('/'), letter('s')], letter('9'), &[KeyCode::Esc], 8_000),
            case("services: another sort", &[], letter('s'), &[], 16_000),
        ],
    );
    let mut taken = Vec::new();
    for turn in 0..ROUNDS / 5 {
        let polled = Polled::Checks(checks(u32::try_from(turn).unwrap_or(0)));
        let begun = Instant::now();
        update(&mut model, Msg::Polled { lane: LANE, at: at(0), polled });
        settle(&mut model);
        taken.push(begun.elapsed().as_micros());
    }
    report("checks come, a fifth turned", taken, 0);
    let entries = (0..MEMBERS).map(entry).collect();
    let of = model.instances.of.clone();
    let begun = Instant::now();
    update(&mut model, Msg::Polled { lane: LANE, at: at(0), polled: Polled::Instances { service: of, entries } });
    settle(&mut model);
    report("10,000 instances come", vec![begun.elapsed().as_micros()], 0);
    press(&mut model, &mut terminal, KeyCode::Enter);
    run(
        &mut model,
        &mut terminal,
        vec![
            case("instances: row down", &[], KeyCode::Down, &[], 16_000),
            case("instances: filter stroke", &[letter('/'), letter('i')], letter('9'), &[KeyCode::Esc], 8_000),
        ],
    );
}
