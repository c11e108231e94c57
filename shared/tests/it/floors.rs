//! Who may import whom: the table of floors as data, and the check of it. `assets/docs/ARCHITECTURE.md`
//! shows the same table to readers; this one fails the build.

use super::source::{Path, blank, paths, tokens, without_tests};

/// Rooms with the same rights. A file belongs to the row with the longest room that holds it.
struct Row {
    /// 1 decides and touches no [`WORLD`]; from 2 up what is [`OPEN`] may be imported.
    floor: u8,
    rooms: &'static [&'static str],
    /// Rooms it may import, besides itself. `*`: all of them.
    may: &'static [&'static str],
    /// Paths of other crates it must not name.
    not: &'static [&'static str],
}

/// What a decision must not touch: time, the outside, chance, tasks, logs and counts.
const WORLD: &[&str] = &[
    "hyper",
    "metrics",
    "rand::random",
    "rand::rng",
    "rand::rngs::OsRng",
    "reqwest",
    "rustix",
    "socket2",
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "tracing",
];
const OPEN: &[&str] = &["clock", "config", "moment", "seats", "tasks", "telemetry"];
const HTTP: &[&str] = &["axum", "hyper"];
const DNS: &[&str] =
    &["dns::answer", "dns::domain", "dns::name", "dns::record", "dns::request", "dns::upstream", "dns::wire"];
const DNS_AND_STATE: &[&str] = &[
    "dns::answer",
    "dns::domain",
    "dns::name",
    "dns::record",
    "dns::request",
    "dns::upstream",
    "dns::wire",
    "store::command",
    "store::query",
];
const PLAN: &[&str] = &["moment", "store::SERF_HEALTH", "store::command", "store::query", "swim::member"];
const HANDLES: &[&str] = &[
    "backend",
    "checks",
    "control",
    "events",
    "filter",
    "gossip",
    "local",
    "logs",
    "store::command",
    "store::query",
    "user_events",
];

const AGENT: &[Row] = &[
    Row { floor: 1, rooms: &["moment"], may: &[], not: &[] },
    Row { floor: 1, rooms: &["flags", "swim", "store"], may: &["flags", "moment"], not: &[] },
    Row { floor: 1, rooms: &["config"], may: &["checks::spec", "flags", "moment", "store::command"], not: &[] },
    Row { floor: 1, rooms: &["checks::spec", "checks::verdict"], may: &["moment", "store::command"], not: &[] },
    Row { floor: 1, rooms: &["filter"], may: &[], not: &[] },
    Row { floor: 1, rooms: DNS, may: DNS_AND_STATE, not: &[] },
    Row { floor: 1, rooms: &["local::ledger"], may: &["moment", "store::command"], not: &[] },
    Row { floor: 1, rooms: &["local::record"], may: &["checks::spec", "store::command"], not: &[] },
    Row {
        floor: 1,
        rooms: &["local::diff"],
        may: &["local::ledger", "moment", "store::command", "store::query"],
        not: &[],
    },
    Row { floor: 1, rooms: &["leader::plan"], may: PLAN, not: &[] },
    Row { floor: 1, rooms: &["raft::bootstrap", "raft::peers_file"], may: &["moment"], not: &[] },
    Row { floor: 1, rooms: &["backend::forward"], may: &["backend", "moment"], not: &[] },
    Row { floor: 1, rooms: &["leader::health"], may: &["moment"], not: &[] },
    Row { floor: 1, rooms: &["leader::voters"], may: &["leader::health", "moment"], not: &[] },
    // The one file of its room that reads files.
    Row { floor: 2, rooms: &["config::read"], may: &["flags"], not: &["tokio", "tracing"] },
    Row { floor: 2, rooms: &["clock", "cut", "logs", "seats", "tasks", "telemetry"], may: &[], not: HTTP },
    Row { floor: 2, rooms: &["gossip"], may: &["cut", "swim"], not: HTTP },
    Row { floor: 2, rooms: &["rpc"], may: &["cut"], not: HTTP },
    Row { floor: 2, rooms: &["raft"], may: &["rpc", "store"], not: HTTP },
    Row { floor: 3, rooms: &["backend"], may: &["raft", "rpc", "store"], not: HTTP },
    // Workers, which know no other worker.
    Row { floor: 4, rooms: &["local"], may: &["backend", "checks::spec", "store"], not: HTTP },
    Row {
        floor: 4,
        rooms: &["checks", "discovery", "events", "leader"],
        may: &["backend", "gossip", "logs", "raft", "rpc", "store", "swim"],
        not: HTTP,
    },
    Row {
        floor: 1,
        rooms: &["user_events::filter", "user_events::payload"],
        may: &["filter", "swim", "user_events::payload"],
        not: &[],
    },
    Row { floor: 4, rooms: &["user_events"], may: &["filter", "gossip", "swim"], not: HTTP },
    // The root's own handle for edges.
    Row { floor: 4, rooms: &["control"], may: &[], not: HTTP },
    Row { floor: 5, rooms: &["api"], may: HANDLES, not: &["openraft"] },
    Row { floor: 5, rooms: &["dns"], may: &["backend", "store::command", "store::query"], not: &["openraft"] },
    // The root, which nobody imports.
    Row { floor: 6, rooms: &["agent", "cli", "commands", "datadir", "lib", "main"], may: &["*"], not: &[] },
];

const SCREEN: &[&str] = &["crossterm", "ratatui"];

const CONSOLE: &[Row] = &[
    Row { floor: 1, rooms: &["format"], may: &[], not: SCREEN },
    Row {
        floor: 1,
        rooms: &["msg", "order", "polled", "record"],
        may: &["keymap", "model", "msg", "order", "polled"],
        not: SCREEN,
    },
    Row { floor: 1, rooms: &["model"], may: &["format", "keymap", "msg", "order"], not: SCREEN },
    Row { floor: 1, rooms: &["update"], may: &["format", "keymap", "model", "msg", "order", "polled"], not: SCREEN },
    Row { floor: 1, rooms: &["keymap"], may: &["model", "msg"], not: &[] },
    Row { floor: 1, rooms: &["theme"], may: &["format", "model"], not: &[] },
    Row { floor: 1, rooms: &["widget"], may: &["format", "theme"], not: &[] },
    Row {
        floor: 1,
        rooms: &["view"],
        may: &["format", "keymap", "model", "msg", "order", "theme", "widget"],
        not: &[],
    },
    Row { floor: 2, rooms: &["clock"], may: &[], not: SCREEN },
    Row { floor: 2, rooms: &["client"], may: &["msg", "order", "polled"], not: SCREEN },
    Row {
        floor: 6,
        rooms: &["cli", "demo", "impact", "lib", "main", "runtime", "status", "terminal"],
        may: &["*"],
        not: &[],
    },
];

const SHARED: &[Row] = &[Row { floor: 0, rooms: &[""], may: &["*"], not: &["agent", "console"] }];

/// Every room of `agent` and `console` that has a row.
pub(crate) fn rooms() -> impl Iterator<Item = &'static str> {
    AGENT.iter().chain(CONSOLE).flat_map(|row| row.rooms.iter().copied())
}

/// Breaches in one file, each with its place.
pub(crate) fn breaches(file: &str, text: &str) -> Vec<String> {
    let Some((krate, module)) = module(file) else { return Vec::new() };
    let rows = match krate {
        "agent" => AGENT,
        "console" => CONSOLE,
        _ => SHARED,
    };
    if is_test(file) {
        return Vec::new();
    }
    let here = module.join("::");
    let Some((room, row)) = row(rows, &here) else {
        return vec![format!("{file}: the room has no row in the table of floors")];
    };
    let code = without_tests(&tokens(&blank(text)));
    if krate == "console" && holds("view", &here) {
        let changes =
            code.windows(3).filter(|three| three.iter().map(|token| token.text.as_str()).eq(["&", "mut", "Model"]));
        let breaches: Vec<_> =
            changes.map(|three| format!("{file}:{}: a view must not change the model", three[0].line)).collect();
        if !breaches.is_empty() {
            return breaches;
        }
    }
    let found = paths(&code);
    let breach = |path: &Path| {
        let refused = match target(&module, &path.words) {
            Some(target) => !target.is_empty() && !may(row, room, &target),
            None => names_other_crate(krate, &here, row, &path.words),
        };
        refused.then(|| format!("{file}:{}: `{here}` must not name `{}`", path.line, path.words.join("::")))
    };
    found.iter().filter_map(breach).collect()
}

/// `agent/src/raft/node.rs` is module `raft::node` of `agent`.
fn module(file: &str) -> Option<(&str, Vec<String>)> {
    let (krate, rest) = file.split_once("/src/")?;
    let mut module: Vec<String> = rest.strip_suffix(".rs")?.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    Some((krate, module))
}

fn is_test(file: &str) -> bool {
    let stem = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".rs");
    stem == "tests" || stem.ends_with("_tests") || file.contains("/tests/")
}

fn holds(room: &str, module: &str) -> bool {
    room.is_empty() || module == room || module.strip_prefix(room).is_some_and(|rest| rest.starts_with("::"))
}

fn row<'r>(rows: &'r [Row], module: &str) -> Option<(&'static str, &'r Row)> {
    let rooms = rows.iter().flat_map(|row| row.rooms.iter().map(move |room| (*room, row)));
    rooms.filter(|(room, _)| holds(room, module)).max_by_key(|(room, _)| room.len())
}

/// Where in this crate a path leads; none when it names another crate or something local.
fn target(module: &[String], words: &[String]) -> Option<String> {
    let (base, rest) = match words.first()?.as_str() {
        "crate" => (&module[..0], &words[1..]),
        "super" => {
            let ups = words.iter().take_while(|word| *word == "super").count();
            (&module[..module.len().saturating_sub(ups)], &words[ups..])
        }
        _ => return None,
    };
    Some(base.iter().chain(rest).cloned().collect::<Vec<_>>().join("::"))
}

fn may(row: &Row, room: &str, target: &str) -> bool {
    // A room and its own parts; a part with a row of its own is no part here.
    let own = holds(room, target) || is_parent_item(room, target);
    let open: &[&str] = if row.floor > 1 { OPEN } else { &[] };
    own || row.may.iter().chain(open).any(|may| *may == "*" || holds(may, target))
}

/// `raft::Options`, named from the row `raft::bootstrap`: the room's own types in its `mod.rs`.
fn is_parent_item(room: &str, target: &str) -> bool {
    let Some((parent, _)) = room.rsplit_once("::") else { return false };
    target
        .strip_prefix(parent)
        .and_then(|rest| rest.strip_prefix("::"))
        .is_some_and(|rest| rest.starts_with(char::is_uppercase))
}

fn names_other_crate(krate: &str, here: &str, row: &Row, words: &[String]) -> bool {
    let path = words.join("::");
    let is_agent_abroad = krate == "console" && words[0] == "agent" && here != "demo";
    let is_backwards = krate == "agent" && words[0] == "console";
    let world: &[&str] = if row.floor == 1 { WORLD } else { &[] };
    is_agent_abroad || is_backwards || row.not.iter().chain(world).any(|not| holds(not, &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &str, text: &str, expected: &[&str]) {
        assert_eq!(breaches(file, text), expected);
    }

    #[test]
    fn imports_point_down() {
        check("agent/src/raft/node.rs", "use crate::store::Store;\nuse crate::rpc;\nuse super::types::Id;", &[]);
        check(
            "agent/src/raft/node.rs",
            "\nuse crate::api::Router;",
            &["agent/src/raft/node.rs:2: `raft::node` must not name `crate::api::Router`"],
        );
        check(
            "agent/src/gossip/mod.rs",
            "fn f() { super::raft::open() }",
            &["agent/src/gossip/mod.rs:1: `gossip` must not name `super::raft::open`"],
        );
        check(
            "agent/src/local/sync.rs",
            "use crate::{backend::Backend, leader::plan};",
            &["agent/src/local/sync.rs:1: `local::sync` must not name `crate::leader::plan`"],
        );
        check("agent/src/dns/server.rs", "use crate::store::query::Query;\nuse super::answer::Ask;", &[]);
        check(
            "agent/src/dns/server.rs",
            "use crate::store::Store;",
            &["agent/src/dns/server.rs:1: `dns::server` must not name `crate::store::Store`"],
        );
        check(
            "agent/src/api/mod.rs",
            "use crate::agent::Agent;",
            &["agent/src/api/mod.rs:1: `api` must not name `crate::agent::Agent`"],
        );
    }

    #[test]
    fn decisions_touch_no_world() {
        check(
            "agent/src/swim/mod.rs",
            "use tokio::time;",
            &["agent/src/swim/mod.rs:1: `swim` must not name `tokio::time`"],
        );
        check(
            "agent/src/dns/answer.rs",
            "fn f() { std::time::Instant::now(); }",
            &["agent/src/dns/answer.rs:1: `dns::answer` must not name `std::time::Instant::now`"],
        );
        check(
            "agent/src/dns/answer.rs",
            "use super::server::Context;",
            &["agent/src/dns/answer.rs:1: `dns::answer` must not name `super::server::Context`"],
        );
        check("agent/src/swim/mod.rs", "#[cfg(test)]\nmod tests { use tokio::time; }\n", &[]);
        check("agent/src/swim/tests.rs", "use tokio::time;", &[]);
    }

    #[test]
    fn the_console_is_model_update_view() {
        check(
            "console/src/model/mod.rs",
            "use ratatui::text::Line;",
            &["console/src/model/mod.rs:1: `model` must not name `ratatui::text::Line`"],
        );
        check("console/src/view/raft.rs", "use crate::model::Model;\nuse ratatui::Frame;", &[]);
        check(
            "console/src/view/raft.rs",
            "use crate::client::Client;",
            &["console/src/view/raft.rs:1: `view::raft` must not name `crate::client::Client`"],
        );
        check(
            "console/src/client/mod.rs",
            "use crate::model::Model;",
            &["console/src/client/mod.rs:1: `client` must not name `crate::model::Model`"],
        );
        check("console/src/demo.rs", "fn f() { agent::run() }", &[]);
        check(
            "console/src/runtime.rs",
            "fn f() { agent::run() }",
            &["console/src/runtime.rs:1: `runtime` must not name `agent::run`"],
        );
        check("console/src/client/mod.rs", "use shared::api::{agent::AgentMember};", &[]);
    }

    #[test]
    fn crates_do_not_look_up() {
        check("shared/src/lib.rs", "use agent::config;", &["shared/src/lib.rs:1: `lib` must not name `agent::config`"]);
        check(
            "agent/src/agent/mod.rs",
            "use console::view;",
            &["agent/src/agent/mod.rs:1: `agent` must not name `console::view`"],
        );
        check("agent/src/nowhere.rs", "", &["agent/src/nowhere.rs: the room has no row in the table of floors"]);
    }
}
