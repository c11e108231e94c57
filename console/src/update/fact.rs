//! What a HashiCorp agent's log shows, into the same model that events feed.
//!
//! A log tells only its own agent's side: who stood and voted elsewhere stays unknown.

use shared::event::{ElectionResult, Level, MemberStatus, Pool, VoteAnswer};
use shared::time::WallTime;

use super::monitor::{self, Fact, Line};
use super::{member, story};
use crate::model::Model;
use crate::model::elections::Outcome;
use crate::model::journal::Kind;
use crate::model::mark::Mark;
use crate::model::members::status_word;
use crate::model::raft::Gap;
use crate::model::timeline::Phase;

/// Takes one line of the monitor; whether it is news.
pub(super) fn line(model: &mut Model, at: WallTime, text: &str) -> bool {
    let node = model.here().to_owned();
    let Some(line) = monitor::parse(text) else {
        if !text.trim().is_empty() {
            story::log(model, at, &node, Level::Info, Kind::Log, text.trim().to_owned());
        }
        return true;
    };
    if monitor::is_own_request(&line) {
        return false;
    }
    let at = line.at.unwrap_or(at);
    if let Some(fact) = monitor::fact(&line) {
        apply(model, at, &node, &line, fact);
    }
    let (kind, mark) = place(&line);
    let text = match line.logger {
        "" => line.message.to_owned(),
        // The kind says where it is from; its prefix would say it again.
        _ if kind != Kind::Log => line.message.to_owned(),
        logger => format!("{}: {}", logger.strip_prefix("agent.").unwrap_or(logger), line.message),
    };
    let level = line.level;
    model.journal.push(crate::model::journal::News { at, node, kind, level, mark, text });
    true
}

/// Where a line belongs and how it looks.
fn place(line: &Line<'_>) -> (Kind, Mark) {
    let kind = match line.logger {
        logger if logger.ends_with(".raft") => Kind::Raft,
        logger if logger.contains("memberlist") || logger.contains(".serf.") => Kind::Gossip,
        "agent.server" | "agent.client" if line.message.starts_with("New leader elected") => Kind::Raft,
        "agent" | "agent.server" | "agent.client" => Kind::Agent,
        _ => Kind::Log,
    };
    let mark = match monitor::fact(line) {
        Some(Fact::Won { .. } | Fact::NewLeader { .. }) => Mark::Leader,
        Some(Fact::Stands { .. } | Fact::VotesNeeded(_) | Fact::VoteGranted { .. } | Fact::TimedOut) => Mark::Candidate,
        Some(Fact::Suspect { .. } | Fact::Refuted { .. }) => Mark::Suspect,
        Some(Fact::Failed { .. } | Fact::MarkedFailed { .. } | Fact::SteppedDown) => Mark::Failed,
        Some(Fact::Left { .. }) => Mark::Quiet,
        _ => match line.level {
            Level::Error => Mark::Failed,
            Level::Warn => Mark::Warning,
            Level::Info => Mark::Good,
            Level::Debug | Level::Trace => Mark::Quiet,
        },
    };
    (kind, mark)
}

fn apply(model: &mut Model, at: WallTime, node: &str, line: &Line<'_>, fact: Fact<'_>) {
    match fact {
        Fact::HeartbeatLost { .. }
        | Fact::Stands { .. }
        | Fact::VotesNeeded(_)
        | Fact::VoteGranted { .. }
        | Fact::TimedOut
        | Fact::Won { .. } => election(model, at, node, line, fact),
        Fact::Follows { leader } => {
            if leader.is_empty() {
                model.raft.led_by_nobody(at);
            }
            if let Some(election) = model.raft.elections.running(node) {
                // Whoever follows again has not won.
                election.outcome = Outcome::Lost;
                election.step(at, node, line.message.to_owned());
            }
        }
        Fact::SteppedDown => {
            if model.raft.leader_name() == Some(node) {
                model.raft.led_by_nobody(at);
                model.raft.timeline.leaderless(at);
            }
        }
        Fact::NewLeader { node: leader } => new_leader(model, at, node, leader),
        Fact::Suspect { node: of } => {
            model.members.note(of, at, Some(MemberStatus::Suspect), Some(format!("suspected by {node}")));
            member::logged(model, of, at, MemberStatus::Suspect.into(), "suspected", format!("by {node}"));
        }
        Fact::Refuted { by } => {
            model.members.note(node, at, None, Some(format!("refuted a suspicion from {by}")));
            member::logged(model, node, at, Mark::Good, "refuted", format!("said to {by} that it lives"));
        }
        Fact::MarkedFailed { node: of, confirmations } => {
            model.members.note(of, at, None, Some(confirmations.to_owned()));
        }
        Fact::Failed { node: of } => gone(model, at, of, MemberStatus::Failed),
        Fact::Left { node: of } => gone(model, at, of, MemberStatus::Left),
        Fact::Joined { node: of, .. } => {
            let before = model.members.find(Pool::Lan, of).map(|member| member.state.status);
            model.members.note(of, at, Some(MemberStatus::Alive), None);
            let (word, text) = match before {
                Some(MemberStatus::Failed | MemberStatus::Left) => ("rejoined", format!("told by {node}")),
                _ => ("joined", format!("told by {node}")),
            };
            member::logged(model, of, at, Mark::Good, word, text);
        }
    }
}

fn gone(model: &mut Model, at: WallTime, node: &str, status: MemberStatus) {
    let Some(member) = model.members.find(Pool::Lan, node) else { return };
    let (is_server, note) = (member.is_server(), member.note.clone());
    let why = note.clone().filter(|_| status == MemberStatus::Failed).unwrap_or_default();
    member::logged(model, node, at, status.into(), status_word(status), why);
    model.members.note(node, at, Some(status), note.filter(|_| status == MemberStatus::Failed));
    if is_server {
        model.raft.timeline.put(node, at, Phase::Down);
    }
}

fn election(model: &mut Model, at: WallTime, node: &str, line: &Line<'_>, fact: Fact<'_>) {
    let Model { raft, members, .. } = model;
    match fact {
        Fact::HeartbeatLost { .. } => {
            // The lost leader is lost from here on; its term is not in the line.
            raft.led_by_nobody(at);
            raft.timeline.leaderless(at);
            raft.heartbeat_lost = Some((at, line.message.to_owned()));
        }
        Fact::Stands { term } => {
            raft.saw_term(term);
            raft.timeline.put(node, at, Phase::Stands);
            let before = raft.heartbeat_lost.take();
            let election = raft.elections.entry(term, node, at);
            election.cause = match &before {
                Some(_) => "heartbeat timeout".into(),
                None => "election timeout".into(),
            };
            if let Some((at, text)) = before {
                election.step(at, node, text);
            }
            election.step(at, node, line.message.to_owned());
        }
        Fact::VotesNeeded(need) => {
            if let Some(election) = raft.elections.running(node) {
                election.need = Some(need);
                election.step(at, node, line.message.to_owned());
            }
        }
        Fact::VoteGranted { from, term, tally } => {
            let by_gossip = || members.by_id(from).map(|member| member.state.name.as_str());
            let voter = raft.peer(from).map(|peer| peer.node.as_str()).or_else(by_gossip).unwrap_or(from).to_owned();
            let election = raft.elections.entry(term, node, at);
            election.votes.insert(voter, VoteAnswer::Granted);
            election.tally = Some(tally);
            election.step(at, node, line.message.to_owned());
        }
        Fact::TimedOut => {
            if let Some(election) = raft.elections.running(node) {
                election.outcome = ElectionResult::TimedOut.into();
                election.step(at, node, line.message.to_owned());
            }
        }
        Fact::Won { tally } => {
            let gap = raft.leaderless_ms(at);
            let Some(election) = raft.elections.running(node) else { return };
            election.outcome = Outcome::Won;
            election.tally = Some(tally);
            election.gap = gap.map(Gap::Of);
            election.step(at, node, line.message.to_owned());
            let term = election.term;
            lead(model, at, node, term);
        }
        _ => {}
    }
}

/// The log names a new leader; its term is only known when it is the agent in use that won.
fn new_leader(model: &mut Model, at: WallTime, from: &str, leader: &str) {
    if model.raft.leader_name() == Some(leader) {
        return;
    }
    let term = match model.raft.elections.newest().find(|e| e.candidate == leader && e.outcome == Outcome::Won) {
        Some(election) if from == leader => election.term,
        _ => 0,
    };
    lead(model, at, leader, term);
}

fn lead(model: &mut Model, at: WallTime, leader: &str, term: u64) {
    let gap = model.raft.leaderless_ms(at);
    model.raft.last_gap = gap.map(Gap::Of).or(model.raft.last_gap);
    model.raft.led_by_name(leader, at);
    model.raft.timeline.leads(leader, term, at, false);
}
