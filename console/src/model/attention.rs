//! What needs attention, gathered from all that is known, worst first.

use serde::{Deserialize, Serialize};
use shared::event::{MemberStatus, Pool};
use shared::time::WallTime;

use super::Model;
use super::checks::Health;
use super::list::ListState;
use super::mark::Mark;
use super::servers::ServerRole;
use crate::msg::{AgentKind, Denial, Source};

const ROWS_MAX: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concern {
    pub mark: Mark,
    /// One word: `failed`, `suspect`, `check`, `name`, `raft`.
    pub what: String,
    pub subject: String,
    pub text: String,
    pub since: Option<WallTime>,
    /// The LAN member it is about, if it is one.
    pub member: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attention {
    pub rows: Vec<Concern>,
    pub list: ListState<(String, String)>,
}

impl Attention {
    pub fn selected(&self) -> Option<&Concern> {
        self.rows.get(self.list.stands_at()?)
    }

    pub fn settle(&mut self, page: usize) {
        let Self { rows, list } = self;
        let key = |concern: &Concern| (concern.what.clone(), concern.subject.clone());
        list.settle(
            rows.len(),
            page,
            |(what, subject)| rows.iter().position(|row| row.what == *what && row.subject == *subject),
            |at| rows.get(at).map(key),
        );
    }
}

/// All concerns; checks only when they have no pane of their own beside.
pub fn gather(model: &Model, with_checks: bool) -> Vec<Concern> {
    let mut rows = Vec::new();
    members(model, &mut rows);
    servers(model, &mut rows);
    if with_checks {
        checks(model, &mut rows);
    }
    if model.is_live() {
        denials(model, &mut rows);
    }
    if model.journal.missed > 0 {
        let text = format!("the agent dropped {} events that we were too slow for", model.journal.missed);
        rows.push(concern(Mark::Warning, "events", "lost", text, None));
    }
    rows.sort_by_key(|row| match row.mark {
        Mark::Failed => 0,
        Mark::Suspect => 1,
        _ => 2,
    });
    rows.truncate(ROWS_MAX);
    rows
}

fn concern(mark: Mark, what: &str, subject: &str, text: impl Into<String>, since: Option<WallTime>) -> Concern {
    Concern { mark, what: what.into(), subject: subject.into(), text: text.into(), since, member: None }
}

fn members(model: &Model, rows: &mut Vec<Concern>) {
    for member in model.members.lan() {
        if rows.len() >= ROWS_MAX {
            return;
        }
        let state = &member.state;
        let found = match state.status {
            MemberStatus::Failed => Some((Mark::Failed, "failed")),
            MemberStatus::Suspect => Some((Mark::Suspect, "suspect")),
            MemberStatus::Leaving => Some((Mark::Suspect, "leaving")),
            MemberStatus::Alive | MemberStatus::Left => None,
        };
        if let Some((mark, what)) = found {
            let text = member.note.clone().unwrap_or_else(|| format!("{} {}", member.kind(), state.address));
            let mut row = concern(mark, what, &state.name, text, member.since);
            row.member = Some(state.name.clone());
            rows.push(row);
        }
        if state.status != MemberStatus::Left
            && let Some(bad) = illegal_in_dns(&state.name)
        {
            let text = format!("'{bad}' is not legal in a DNS label: no lookup finds it");
            let mut row = concern(Mark::Warning, "name", &state.name, text, None);
            row.member = Some(state.name.clone());
            rows.push(row);
        }
    }
}

fn servers(model: &Model, rows: &mut Vec<Concern>) {
    for server in &model.servers {
        if server.role == ServerRole::Outside && model.raft.leading().is_some() {
            rows.push(concern(
                Mark::Warning,
                "raft",
                server.name(),
                "a server that the Raft configuration does not name",
                None,
            ));
        }
        if server.progress.healthy == Some(false) && server.up == Some(true) {
            let text = match server.behind {
                Some(behind) if behind > 0 => format!("not healthy: {behind} entries behind"),
                _ => "not healthy, says the leader's autopilot".to_owned(),
            };
            rows.push(concern(Mark::Warning, "raft", server.name(), text, None));
        }
    }
    if let Some(leading) = model.raft.leading()
        && leading.confirmed == Some(false)
    {
        let name = model.raft.leader_name().unwrap_or("?");
        rows.push(concern(Mark::Warning, "leader", name, "not confirmed by a quorum", leading.since));
    }
}

fn checks(model: &Model, rows: &mut Vec<Concern>) {
    for check in model.checks.rows() {
        let mark = match check.health {
            _ if rows.len() >= ROWS_MAX => return,
            Health::Critical => Mark::Failed,
            Health::Warning => Mark::Warning,
            // They are sorted: none that follows is worse.
            Health::Passing | Health::Other => return,
        };
        // A failed member and its serfHealth are one concern.
        let member = model.members.find(Pool::Lan, &check.node);
        if check.id == "serfHealth" && member.is_some_and(|m| m.state.status == MemberStatus::Failed) {
            continue;
        }
        let flaps = check.flaps(model.now).map_or(String::new(), |count| format!(", flapped {count}x in 10m"));
        let text = format!("{}  {}{flaps}", check.node, check.output);
        let (mark, what) = if check.is_maintenance() { (Mark::Suspect, "maint") } else { (mark, "check") };
        let subject = if check.service.is_empty() && what == "maint" { check.node.as_str() } else { check.subject() };
        let mut row = concern(mark, what, subject, text, check.since);
        row.member = member.map(|m| m.state.name.clone());
        rows.push(row);
    }
}

fn denials(model: &Model, rows: &mut Vec<Concern>) {
    let is_ours = model.lane().and_then(|lane| lane.kind) == Some(AgentKind::Quorate);
    for (source, denial) in &model.denials {
        let (subject, loss) = match source {
            Source::RaftConfiguration => ("Raft configuration", "who votes is not known"),
            // Without a leader nobody tells it, and that is said elsewhere.
            Source::Autopilot if is_ours && *denial == Denial::Failed => continue,
            Source::Autopilot if is_ours => ("autopilot", "how healthy the servers are is not known"),
            Source::Autopilot => ("autopilot", "replication is not known"),
            Source::Members if model.members.known => ("members", "they are shown as they were"),
            Source::Members => ("members", "they are not known"),
            Source::WanMembers => ("WAN members", "they are not known"),
            Source::Coordinates => ("coordinates", "round trips are not known"),
            Source::Checks if model.checks.known => ("checks", "they are shown as they were"),
            Source::Checks => ("checks", "they are not known"),
            Source::Services if model.services.known => ("services", "they are shown as they were"),
            Source::Services => ("services", "they are not known"),
            Source::Instances => ("instances", "those of some services are not known"),
            Source::Monitor => ("monitor", "no log and no votes"),
            Source::Events => ("events", "nothing comes live"),
            Source::Identity | Source::Stats => ("agent", "its own Raft state is not known"),
            Source::Leader => ("leader", "it is not known"),
            Source::Peers => ("peers", "they are not known"),
            // What is lacking without them is seen where they stand.
            Source::Rules | Source::Metrics => continue,
        };
        let (what, why) = match denial {
            Denial::Forbidden => ("access", "403"),
            Denial::Failed => ("answer", "no answer"),
            // What a version does not have is no concern.
            Denial::NotOffered => continue,
        };
        // Two questions may have one subject.
        if !rows.iter().any(|row| row.what == what && row.subject == subject) {
            rows.push(concern(Mark::Warning, what, subject, format!("{why}: {loss}"), None));
        }
    }
}

/// The first character that no host name may have.
fn illegal_in_dns(name: &str) -> Option<char> {
    name.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-')
}
