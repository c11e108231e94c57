//! When no quorum is left: the voters as they were last seen, who of those that remain has most of the log,
//! and the `raft/peers.json` that makes a new cluster of them. Pure; drawn by `view`, written by `client`.

use shared::time::WallTime;

use super::Model;
use super::servers::ServerRow;
use super::verdict::{Quorum, Verdict};

/// No leader for so long is no election any more.
const LEADERLESS_MS: u64 = 5_000;
/// As the agent reads it, below its data directory.
pub const FILE: &str = "peers.json";

/// There is something to recover from.
pub fn is_due(model: &Model) -> bool {
    let has_peers = model.servers.iter().any(|row| row.in_raft);
    let is_stuck = match model.verdict() {
        Verdict::NoQuorum(_) => true,
        Verdict::NoLeader { .. } => model.raft.leaderless_ms(model.now).is_none_or(|ms| ms > LEADERLESS_MS),
        _ => !model.is_live(),
    };
    // Who is only cut off from a leader, or was removed, needs no other cluster.
    has_peers && is_stuck && model.raft.later().is_none() && !model.is_unseated()
}

#[derive(Clone, Debug, PartialEq)]
pub struct Plan<'m> {
    /// Raft's servers, those that are up first.
    pub rows: Vec<&'m ServerRow>,
    pub quorum: Quorum,
    /// The survivor that has most of the log, when that of all of them is known.
    pub furthest: Option<&'m ServerRow>,
    /// One that is down and had more than any of those that remain.
    pub ahead: Option<&'m ServerRow>,
    /// The oldest of the figures.
    pub seen: Option<WallTime>,
}

impl<'m> Plan<'m> {
    pub fn of(model: &'m Model) -> Self {
        let mut rows: Vec<&ServerRow> = model.servers.iter().filter(|row| row.in_raft).collect();
        rows.sort_by_key(|row| row.up != Some(true));
        let survivors = || rows.iter().copied().filter(|row| row.up == Some(true));
        // One whose log is not known may have more than any other.
        let are_known = survivors().all(|row| row.progress.last_log.is_some());
        // Among equals the first row.
        let furthest = survivors().rev().max_by_key(|row| row.progress.last_log).filter(|_| are_known);
        let seen = survivors().filter(|row| row.progress.last_log.is_some()).map(|row| row.progress.seen).min();
        let last = furthest.and_then(|row| row.progress.last_log);
        let lost = rows.iter().copied().filter(|row| row.up != Some(true));
        let ahead =
            lost.max_by_key(|row| row.progress.last_log).filter(|row| last.is_some() && row.progress.last_log > last);
        Self { quorum: Quorum::of(&model.servers), furthest, ahead, seen, rows }
    }

    pub fn survivors(&self) -> impl DoubleEndedIterator<Item = &'m ServerRow> + '_ {
        self.rows.iter().copied().filter(|row| row.up == Some(true))
    }

    /// What makes a cluster of the survivors, in Raft's protocol 3; none when there is no voter among them
    /// or an ID is not known.
    pub fn file(&self) -> Option<String> {
        let is_whole = self.survivors().all(|row| row.id != row.address && row.vote.is_some());
        if !is_whole || !self.survivors().any(|row| row.vote == Some(true)) {
            return None;
        }
        let line = |row: &ServerRow| {
            let (id, address) = (quoted(&row.id), quoted(&row.address));
            format!("  {{\"id\": {id}, \"address\": {address}, \"non_voter\": {}}}", row.vote != Some(true))
        };
        let lines: Vec<String> = self.survivors().map(line).collect();
        Some(format!("[\n{}\n]\n", lines.join(",\n")))
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::raft::Progress;

    /// Servers by their state and last index: `u12` is up, `x9` down, `l3` a learner that is up, `u` has no index.
    fn model(spec: &str) -> Model {
        let row = |(at, word): (usize, &str)| ServerRow {
            id: format!("id-{at}"),
            node: format!("srv-{}", at + 1),
            address: format!("10.0.0.{at}:8300"),
            in_raft: true,
            vote: Some(!word.starts_with('l')),
            up: Some(!word.starts_with('x')),
            progress: Progress { term: Some(1), last_log: word[1..].parse().ok(), ..Progress::default() },
            ..ServerRow::default()
        };
        Model { servers: spec.split(' ').enumerate().map(row).collect(), ..Model::default() }
    }

    #[track_caller]
    fn check(spec: &str, furthest: Option<&str>, ahead: Option<&str>, in_file: &[&str]) {
        let model = model(spec);
        let plan = Plan::of(&model);
        assert_eq!(plan.furthest.map(ServerRow::name), furthest, "{spec}");
        assert_eq!(plan.ahead.map(ServerRow::name), ahead, "{spec}");
        let file = plan.file().map(|text| serde_json::from_str::<Vec<serde_json::Value>>(&text).expect("JSON"));
        let ids: Vec<String> = file.iter().flatten().filter_map(|row| Some(row["id"].as_str()?.to_owned())).collect();
        assert_eq!(ids, in_file, "{spec}");
    }

    #[test]
    fn those_that_remain_are_in_the_file_and_the_furthest_is_named() {
        check("u7 x20 x9", Some("srv-1"), Some("srv-2"), &["id-0"]);
        check("u7 u9 x20 x9 x9", Some("srv-2"), Some("srv-3"), &["id-0", "id-1"]);
        check("u9 u9 x9", Some("srv-1"), None, &["id-0", "id-1"]);
        check("u7 u x9 x9", None, None, &["id-0", "id-1"]);
        check("u7 l8 x9", Some("srv-2"), Some("srv-3"), &["id-0", "id-1"]);
    }

    #[test]
    fn without_a_voter_that_remains_there_is_no_file() {
        check("x7 x9", None, None, &[]);
        check("l7 x9", Some("srv-1"), Some("srv-2"), &[]);
    }

    #[test]
    fn the_file_says_who_has_no_vote() {
        let model = model("u7 l8 x9");
        let text = Plan::of(&model).file().expect("a file");
        assert_eq!(
            text,
            "[\n  {\"id\": \"id-0\", \"address\": \"10.0.0.0:8300\", \"non_voter\": false},\n  \
             {\"id\": \"id-1\", \"address\": \"10.0.0.1:8300\", \"non_voter\": true}\n]\n"
        );
    }
}
