//! How long a key takes to be a frame, with 10,000 members and 50,000 events: `cargo bench -p console`.
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
use console::update::{settle, update};
use console::view;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use shared::event::*;
use shared::time::WallTime;

const LANE: LaneId = LaneId(0);
const MEMBERS: u32 = 10_000;
const EVENTS: u32 = 50_000;
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

fn large() -> Model {
    let setup = Setup { addresses: vec!["127.0.0.1:8500".into()], ..Setup::default() };
    let mut model = Model::new(setup);
    update(&mut model, Msg::Tick { now: at(0) });
    update(&mut model, Msg::Resize { width: 120, height: 36 });
    update(&mut model, Msg::Link { lane: LANE, at: at(0), link: Link::Live { kind: AgentKind::Quorate } });
    update(&mut model, Msg::Frame { lane: LANE, at: at(0), frame: Frame::PictureBegins });
    for n in 0..MEMBERS {
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
        told(&mut model, u64::from(MEMBERS + n), Body::Log(line));
    }
    model
}

fn press(model: &mut Model, terminal: &mut Terminal<TestBackend>, code: KeyCode) -> u128 {
    let begun = Instant::now();
    if let Some(action) = keymap::action(model, KeyEvent::new(code, KeyModifiers::NONE)) {
        update(model, Msg::Act(action));
    }
    settle(model);
    terminal.draw(|frame| view::draw(model, frame)).expect("a drawing");
    begun.elapsed().as_micros()
}

fn main() {
    let mut model = large();
    let mut terminal = Terminal::new(TestBackend::new(120, 36)).expect("a terminal");
    let letter = KeyCode::Char;
    press(&mut model, &mut terminal, letter('2'));
    println!("{MEMBERS} members, {EVENTS} events; microseconds from key to frame");
    println!("{:22} {:>8} {:>8} {:>8}", "", "median", "worst", "budget");
    for (what, before, key, after, budget) in [
        ("row down", vec![], KeyCode::Down, vec![], 16_000),
        ("page down", vec![], KeyCode::PageDown, vec![], 16_000),
        ("filter stroke", vec![letter('/'), letter('n')], letter('9'), vec![KeyCode::Esc], 8_000),
        ("another sort", vec![], letter('s'), vec![], 16_000),
        ("to the events", vec![letter('2')], letter('5'), vec![letter('2')], 16_000),
    ] {
        let mut taken = Vec::new();
        for _ in 0..ROUNDS {
            for key in &before {
                press(&mut model, &mut terminal, *key);
            }
            taken.push(press(&mut model, &mut terminal, key));
            for key in &after {
                press(&mut model, &mut terminal, *key);
            }
        }
        taken.sort_unstable();
        println!("{what:22} {:>8} {:>8} {budget:>8}", taken[taken.len() / 2], taken[taken.len() - 1]);
    }
}
