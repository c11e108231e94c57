//! The first line a tired operator reads: is there a leader, is there a quorum, what can be lost?
//!
//! Pure arithmetic over the voters: V of them, U up, quorum Q = V/2 + 1. A crash of a voter leaves
//! V as it is and U one less.

use serde::{Deserialize, Serialize};
use shared::time::WallTime;

use super::raft::Leader;
use super::servers::{ServerRole, ServerRow};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    pub voters: usize,
    pub up: usize,
    /// Voters of which nobody says whether they are up.
    pub unseen: usize,
}

impl Quorum {
    pub fn of(servers: &[ServerRow]) -> Self {
        let voters = || servers.iter().filter(|server| server.vote == Some(true));
        Self {
            voters: voters().count(),
            up: voters().filter(|server| server.up == Some(true)).count(),
            unseen: voters().filter(|server| server.up.is_none()).count(),
        }
    }

    pub fn need(self) -> usize {
        self.voters / 2 + 1
    }

    pub fn is_met(self) -> bool {
        self.voters > 0 && self.up >= self.need()
    }

    /// How many more may be lost.
    pub fn spare(self) -> usize {
        self.up.saturating_sub(self.need())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Nobody has told the configuration yet.
    Waiting,
    /// There are peers, but who votes or who is up may not be seen from here.
    Unclear(Quorum),
    NoQuorum(Quorum),
    NoLeader {
        quorum: Quorum,
        since: Option<WallTime>,
    },
    /// Somebody says that it leads, and no quorum answers it.
    Doubted(Quorum),
    /// The agent in use is a server without a seat in Raft: how the cluster is cannot be seen from it.
    Unseated,
    /// A quorum with voters missing and none to spare.
    Thin(Quorum),
    Ok(Quorum),
}

impl Verdict {
    pub fn of(servers: &[ServerRow], leader: &Leader) -> Self {
        let quorum = Quorum::of(servers);
        let since = match leader {
            Leader::None { since } => Some(*since),
            _ => None,
        };
        let votes_hidden = servers.iter().any(|server| server.in_raft && server.vote.is_none());
        match since {
            _ if quorum.voters > 0 && !votes_hidden && quorum.up + quorum.unseen < quorum.need() => {
                Self::NoQuorum(quorum)
            }
            Some(since) => Self::NoLeader { quorum, since },
            None if servers.iter().all(|server| !server.in_raft) => Self::Waiting,
            None if servers.iter().any(|server| server.role == ServerRole::Doubted) => Self::Doubted(quorum),
            None if votes_hidden || !quorum.is_met() || *leader == Leader::Unknown => Self::Unclear(quorum),
            None if quorum.up < quorum.voters && quorum.spare() == 0 => Self::Thin(quorum),
            None => Self::Ok(quorum),
        }
    }
}

/// What becomes of the cluster when something crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// Another leader is elected.
    Elects,
    Holds {
        spare: usize,
    },
    NoQuorum,
    /// It has no vote.
    NoVote,
    /// It is down already.
    Gone,
    /// Who else is up is not seen from here.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impact {
    pub lose: String,
    pub leader: bool,
    /// Voters then up.
    pub left: usize,
    pub need: usize,
    pub then: Then,
}

/// One row for each server, then the smallest loss that ends the quorum.
pub fn impacts(servers: &[ServerRow]) -> Vec<Impact> {
    let quorum = Quorum::of(servers);
    let need = quorum.need();
    let mut rows = Vec::new();
    for server in servers.iter().filter(|server| server.in_raft) {
        let leader = matches!(server.role, ServerRole::Leader | ServerRole::Doubted);
        let (left, then) = match (server.vote, server.up) {
            (Some(false), _) => (quorum.up, Then::NoVote),
            (_, Some(false)) => (quorum.up, Then::Gone),
            (None, _) | (_, None) => (quorum.up, Then::Unknown),
            (Some(true), Some(true)) => {
                let left = quorum.up.saturating_sub(1);
                (left, crash(left, quorum, leader))
            }
        };
        rows.push(Impact { lose: server.name().to_owned(), leader, left, need, then });
    }
    if quorum.is_met() && quorum.spare() > 0 && quorum.unseen == 0 {
        let lost = quorum.spare() + 1;
        let left = quorum.up - lost;
        rows.push(Impact { lose: format!("any {lost} voters"), leader: false, left, need, then: Then::NoQuorum });
    }
    rows
}

fn crash(left: usize, quorum: Quorum, leader: bool) -> Then {
    let need = quorum.need();
    match () {
        () if left + quorum.unseen < need => Then::NoQuorum,
        () if left < need => Then::Unknown,
        () if leader => Then::Elects,
        () => Then::Holds { spare: left - need },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::raft::Leading;

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
            role: match c {
                'L' => ServerRole::Leader,
                'D' => ServerRole::Doubted,
                _ => ServerRole::Follower,
            },
            ..ServerRow::default()
        };
        spec.chars().enumerate().map(row).collect()
    }

    #[track_caller]
    fn check(spec: &str, expected: fn(Quorum) -> Verdict, numbers: (usize, usize, usize)) {
        let servers = servers(spec);
        let leader =
            if spec.contains(['L', 'D']) { Leader::Known(Leading::default()) } else { Leader::None { since: None } };
        let quorum = Quorum::of(&servers);
        assert_eq!(Verdict::of(&servers, &leader), expected(quorum), "{spec}");
        assert_eq!((quorum.up, quorum.need(), quorum.spare()), numbers, "{spec}");
    }

    #[test]
    fn verdicts_follow_the_arithmetic() {
        check("L", Verdict::Ok, (1, 1, 0));
        check("Lff", Verdict::Ok, (3, 2, 1));
        check("Lfx", Verdict::Thin, (2, 2, 0));
        check("fxx", Verdict::NoQuorum, (1, 2, 0));
        check("Lffl", Verdict::Ok, (3, 2, 1));
        check("ff", |quorum| Verdict::NoLeader { quorum, since: None }, (2, 2, 0));
        check("Lf?", Verdict::Thin, (2, 2, 0));
        check("L??", Verdict::Unclear, (1, 2, 0));
        check("Dff", Verdict::Doubted, (3, 2, 1));
        check("Dxx", Verdict::NoQuorum, (1, 2, 0));
    }

    #[test]
    fn nothing_known_is_no_verdict() {
        assert_eq!(Verdict::of(&[], &Leader::Unknown), Verdict::Waiting);
    }

    #[track_caller]
    fn check_impact(spec: &str, expected: &[Then]) {
        let then: Vec<Then> = impacts(&servers(spec)).into_iter().map(|row| row.then).collect();
        assert_eq!(then, expected, "{spec}");
    }

    #[test]
    fn a_loss_is_told_before_it_happens() {
        check_impact("L", &[Then::NoQuorum]);
        check_impact("Lf", &[Then::NoQuorum, Then::NoQuorum]);
        check_impact("Lff", &[Then::Elects, Then::Holds { spare: 0 }, Then::Holds { spare: 0 }, Then::NoQuorum]);
        check_impact("Lfx", &[Then::NoQuorum, Then::NoQuorum, Then::Gone]);
        check_impact("Lfl", &[Then::NoQuorum, Then::NoQuorum, Then::NoVote]);
        check_impact("Lf?", &[Then::Unknown, Then::Unknown, Then::Unknown]);
    }
}
