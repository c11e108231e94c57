//! Words and marks that several screens give to the same things.

use std::borrow::Cow;

use shared::event::VoteAnswer;
use shared::time::WallTime;

use super::Scene;
use crate::format;
use crate::model::checks::{Check, Health};
use crate::model::elections::Outcome;
use crate::model::mark::Mark;
use crate::model::members::status_word;
use crate::model::raft::Gap;
use crate::model::servers::{ServerRole, ServerRow};

pub(super) fn server_mark(row: &ServerRow) -> Mark {
    match row.role {
        ServerRole::Leader => Mark::Leader,
        ServerRole::Follower => match row.status {
            Some(status) => status.into(),
            None => Mark::Good,
        },
        ServerRole::Candidate => Mark::Candidate,
        ServerRole::Doubted => Mark::Warning,
        ServerRole::Learner | ServerRole::Outside => Mark::Quiet,
        ServerRole::Down => row.status.map_or(Mark::Failed, Mark::from),
        ServerRole::Unknown => Mark::Unknown,
    }
}

pub(super) fn role_word(row: &ServerRow) -> &'static str {
    match row.role {
        ServerRole::Leader => "leader",
        ServerRole::Follower => "follower",
        ServerRole::Candidate => "candidate",
        ServerRole::Doubted => "leader?",
        ServerRole::Learner => "learner",
        ServerRole::Down => row.status.map_or("down", status_word),
        ServerRole::Outside => "no peer",
        ServerRole::Unknown => "?",
    }
}

pub(super) fn vote_word(vote: Option<bool>) -> &'static str {
    match vote {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    }
}

/// A figure, or `?` when nobody told it.
pub(super) fn figure(value: Option<u64>) -> Cow<'static, str> {
    value.map_or(Cow::Borrowed("?"), |value| format::count(value).into())
}

/// How old a contact is; `-` for the leader itself and for who is down.
pub(super) fn contact(row: &ServerRow) -> Cow<'static, str> {
    match (row.role, row.progress.contact_ms) {
        // What was heard before it went down is no contact now.
        (ServerRole::Leader | ServerRole::Doubted | ServerRole::Down, _) => "-".into(),
        (_, Some(ms)) => format::millis(ms).into(),
        (_, None) => "?".into(),
    }
}

/// A time without a leader: `-` when there was none, `?` when its beginning was not seen.
pub(super) fn gap(gap: Option<Gap>) -> Cow<'static, str> {
    match gap {
        Some(Gap::Of(ms)) => format::millis(ms).into(),
        Some(Gap::Unseen) => "?".into(),
        None => "-".into(),
    }
}

/// An age, or `?` when its beginning was not seen.
pub(super) fn age(scene: Scene<'_>, since: Option<WallTime>) -> Cow<'static, str> {
    since.map_or(Cow::Borrowed("?"), |at| format::age_whole(scene.model.now.micros_since(at)).into())
}

/// As [`health_mark`]; maintenance was meant by somebody.
pub(super) fn check_mark(check: &Check) -> Mark {
    if check.is_maintenance() { Mark::Suspect } else { health_mark(check.health) }
}

pub(super) fn health_mark(health: Health) -> Mark {
    match health {
        Health::Critical => Mark::Failed,
        Health::Warning => Mark::Warning,
        Health::Passing => Mark::Good,
        Health::Other => Mark::Unknown,
    }
}

pub(super) fn answer_word(answer: Option<VoteAnswer>) -> &'static str {
    match answer {
        Some(VoteAnswer::Granted) => "yes",
        Some(VoteAnswer::Refused) => "no",
        Some(VoteAnswer::Silent) => "-",
        None => "?",
    }
}

pub(super) fn outcome_word(outcome: Outcome) -> (&'static str, Mark) {
    match outcome {
        Outcome::Open => ("open", Mark::Candidate),
        Outcome::Won => ("won", Mark::Leader),
        Outcome::Lost => ("lost", Mark::Quiet),
        Outcome::TimedOut => ("timed out", Mark::Warning),
        Outcome::PreVote => ("pre-vote", Mark::Quiet),
    }
}

/// The host of `host:port`, and of `[host]:port`.
pub(super) fn host(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, _)) => host.trim_start_matches('[').trim_end_matches(']'),
        None => address,
    }
}

/// The longest of some names, within bounds, for a column that should hug them.
pub(super) fn name_width<'a>(names: impl Iterator<Item = &'a str>, least: u16, most: u16) -> u16 {
    let longest = names.map(|name| format::width(&format::clean(name))).max().unwrap_or(0);
    u16::try_from(longest).unwrap_or(most).clamp(least, most)
}
