//! What a change of the servers costs, before it is made: the voters now, after it, and by a safer way.
//!
//! Pure arithmetic, as `verdict`: a crash leaves V voters and one less of them up; who leaves or is
//! forced out takes its seat along, and those who then are up must meet the new majority.

use serde::{Deserialize, Serialize};

use super::servers::{ServerRole, ServerRow};
use super::verdict::Quorum;

/// A third way, beside now and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Later {
    /// When this server is back first, and the change comes then.
    Back { first: String },
    /// When the one that was forced out comes back: a learner first, then a voter.
    Returns,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    pub now: Quorum,
    pub after: Quorum,
    pub later: Option<(Later, Quorum)>,
    /// Those who are known to be up cannot decide afterwards.
    pub is_lost: bool,
    /// Who votes, or who is up, is not seen whole: the arithmetic may be worse than it looks.
    pub is_hidden: bool,
    pub leads: bool,
}

/// What it costs that this server, a node or a Raft ID, gives up its seat; none when it has none.
pub fn leaving(servers: &[ServerRow], server: &str, forced: bool) -> Option<Cost> {
    let me = servers.iter().find(|row| row.in_raft && (row.node == server || row.id == server))?;
    let now = Quorum::of(servers);
    let is_hidden = now.unseen > 0 || servers.iter().any(|row| row.in_raft && row.vote.is_none());
    let mut after = now;
    if me.vote == Some(true) {
        after.voters -= 1;
        match me.up {
            Some(true) => after.up -= 1,
            Some(false) => {}
            None => after.unseen -= 1,
        }
    }
    let decides = |quorum: Quorum| quorum.voters > 0 && quorum.up >= quorum.need();
    let has_vote = me.vote != Some(false);
    let is_lost = has_vote && !decides(after);
    let later = if forced {
        has_vote.then(|| (Later::Returns, Quorum { voters: after.voters + 1, up: after.up + 1, ..after }))
    } else {
        let down = servers.iter().find(|row| row.vote == Some(true) && row.up == Some(false) && row.id != me.id);
        let with = Quorum { up: after.up + 1, ..after };
        down.filter(|_| is_lost && decides(with)).map(|row| (Later::Back { first: row.name().to_owned() }, with))
    };
    let leads = me.role == ServerRole::Leader;
    Some(Cost { now, after, later, is_lost, is_hidden, leads })
}

/// What a crash of all of these at once leaves: the quorum then, and whether the leader is among them.
/// Those without a vote, and those that are down, change nothing.
pub fn crashing(servers: &[ServerRow], nodes: &[&str]) -> (Quorum, bool) {
    let mut after = Quorum::of(servers);
    let lost = servers.iter().filter(|row| nodes.contains(&row.node.as_str()) || nodes.contains(&row.id.as_str()));
    let mut leads = false;
    for row in lost.filter(|row| row.in_raft) {
        leads |= row.role == ServerRole::Leader;
        match (row.vote, row.up) {
            (Some(true), Some(true)) => after.up -= 1,
            (Some(true), None) => after.unseen -= 1,
            _ => {}
        }
    }
    (after, leads)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(spec: &str) -> Vec<ServerRow> {
        let row = |(at, c): (usize, char)| ServerRow {
            id: at.to_string(),
            node: format!("srv-{}", at + 1),
            in_raft: true,
            vote: Some(c != 'l'),
            up: match c {
                'x' => Some(false),
                '?' => None,
                _ => Some(true),
            },
            ..ServerRow::default()
        };
        spec.chars().enumerate().map(row).collect()
    }

    /// Voters after, up after, whether the quorum is lost.
    #[track_caller]
    fn check(spec: &str, node: usize, expected: (usize, usize, bool)) {
        let cost = leaving(&servers(spec), &format!("srv-{node}"), false).expect("a server");
        assert_eq!((cost.after.voters, cost.after.up, cost.is_lost), expected, "{spec}, {node} leaves");
    }

    #[test]
    fn who_leaves_takes_its_seat_along() {
        check("ff", 1, (1, 1, false));
        check("fff", 1, (2, 2, false));
        check("ffx", 3, (2, 2, false));
        check("ffx", 1, (2, 1, true));
        check("f", 1, (0, 0, true));
        check("fx", 1, (1, 0, true));
        check("fx", 2, (1, 1, false));
        check("ffl", 3, (2, 2, false));
        check("fffxx", 4, (4, 3, false));
        check("fffxx", 1, (4, 2, true));
    }

    #[test]
    fn the_safer_way_is_shown_where_there_is_one() {
        let later = |spec: &str, node: &str, forced| leaving(&servers(spec), node, forced).and_then(|cost| cost.later);
        let back = Later::Back { first: "srv-3".into() };
        assert_eq!(later("ffx", "srv-2", false), Some((back, Quorum { voters: 2, up: 2, unseen: 0 })));
        assert_eq!(later("fff", "srv-2", false), None);
        assert_eq!(later("fxx", "srv-1", false), None);
        assert_eq!(later("ffx", "srv-3", true), Some((Later::Returns, Quorum { voters: 3, up: 3, unseen: 0 })));
    }

    /// Voters up after a crash of these, and whether they decide.
    #[track_caller]
    fn check_crash(spec: &str, nodes: &[&str], expected: (usize, bool)) {
        let (after, _) = crashing(&servers(spec), nodes);
        assert_eq!((after.up, after.is_met()), expected, "{spec}, {nodes:?} crash");
    }

    #[test]
    fn who_crashes_keeps_its_seat() {
        check_crash("fff", &["srv-1"], (2, true));
        check_crash("fff", &["srv-1", "srv-3"], (1, false));
        check_crash("ff", &["srv-1"], (1, false));
        check_crash("ffx", &["srv-3"], (2, true));
        check_crash("ffl", &["srv-3", "web-1"], (2, true));
    }

    #[test]
    fn what_is_not_seen_is_no_comfort() {
        let cost = leaving(&servers("ff?"), "srv-1", false).expect("a server");
        assert!(cost.is_hidden && cost.is_lost);
        assert_eq!(leaving(&servers("ff"), "web-1", false), None);
    }
}
