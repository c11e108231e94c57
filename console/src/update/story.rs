//! What both ways in share: how a change of leader, vote or member is written down.

use shared::event::{ElectionRecord, ElectionResult, Level, ServiceEvent, UserEvent, VoteAnswer};
use shared::time::WallTime;

use crate::format;
use crate::model::Model;
use crate::model::elections::Outcome;
use crate::model::journal::{Kind, News};
use crate::model::mark::Mark;
use crate::model::raft::{Gap, Peer};
use crate::model::timeline::Phase;

/// One line from this console itself.
pub(super) fn console(model: &mut Model, at: WallTime, mark: Mark, text: String) {
    let level = if mark == Mark::Good { Level::Info } else { Level::Warn };
    model.journal.push(News { at, node: "console".into(), kind: Kind::Console, level, mark, text });
}

pub(super) fn raft(model: &mut Model, at: WallTime, node: &str, mark: Mark, text: String) {
    let level = if mark == Mark::Failed { Level::Warn } else { Level::Info };
    model.journal.push(News { at, node: node.into(), kind: Kind::Raft, level, mark, text });
}

/// These servers are another cluster than the one on screen, or its data are gone.
pub(super) fn other_cluster(model: &mut Model, at: WallTime, peers: &[Peer]) {
    let before = std::mem::take(&mut model.raft.peers);
    let renamed = peers.iter().find(|peer| before.iter().any(|old| old.node == peer.node && old.id != peer.id));
    let text = match renamed {
        Some(peer) => format!("{} has a new ID, {}: another Raft cluster begins", peer.node, peer.id),
        None => "another Raft cluster begins: terms and elections start over".to_owned(),
    };
    model.raft.begin_again(peers);
    let here = model.here().to_owned();
    raft(model, at, &here, Mark::Warning, text);
}

/// A leader was elected. Told once a term, whoever tells it first; `term` 0 is not known.
pub(super) struct NewLeader<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) node: &'a str,
    pub(super) term: u64,
    pub(super) gap: Option<Gap>,
    /// Who says so.
    pub(super) from: &'a str,
}

pub(super) fn new_leader(model: &mut Model, at: WallTime, news: &NewLeader<'_>) {
    let term = news.term;
    if term > 0 && model.raft.term.is_some_and(|known| known > term) {
        return;
    }
    let told = model.raft.leader_told == Some(term);
    model.raft.leader_told = Some(term);
    model.raft.saw_term(term);
    match news.id {
        Some(id) => model.raft.led_by(id, Some(at)),
        None => model.raft.led_by_name(news.node, at),
    }
    if let crate::model::raft::Leader::Known(leading) = &mut model.raft.leader {
        leading.node.get_or_insert_with(|| news.node.to_owned());
        leading.term = Some(term).filter(|term| *term > 0).max(leading.term);
    }
    model.raft.timeline.leads(news.node, term, at, model.picture);
    if !told {
        model.raft.last_gap = news.gap.or(model.raft.last_gap);
        let after = match news.gap {
            Some(Gap::Of(ms)) => format!(", after {} without", format::millis(ms)),
            Some(Gap::Unseen) | None => String::new(),
        };
        let text = match term {
            0 => format!("{} leads{after}", news.node),
            _ => format!("{} leads term {term}{after}", news.node),
        };
        raft(model, at, news.from, Mark::Leader, text);
    }
}

/// There is no leader any more, as `from` sees it.
pub(super) fn leader_lost(model: &mut Model, at: WallTime, from: &str, cause: &str) {
    let who = model.raft.leader_name().map(str::to_owned);
    let was_known = who.is_some();
    model.raft.led_by_nobody(at);
    model.raft.timeline.leaderless(at);
    if was_known || !cause.is_empty() {
        let who = who.map(|who| format!("leader {who}")).unwrap_or_else(|| "leader".into());
        let text = if cause.is_empty() { format!("{who} lost") } else { format!("{who} lost: {cause}") };
        raft(model, at, from, Mark::Failed, text);
    }
}

/// An election is over.
pub(super) fn ended(model: &mut Model, at: WallTime, from: &str, record: &ElectionRecord, tell: Tell) {
    let ElectionRecord { term, candidate, tally, need, .. } = record;
    let (mark, text) = match record.result {
        ElectionResult::Won => (Mark::Leader, format!("election won: term {term}, tally {tally} of {need} needed")),
        ElectionResult::Lost => {
            (Mark::Candidate, format!("election lost: term {term}, tally {tally} of {need} needed"))
        }
        ElectionResult::TimedOut => {
            (Mark::Candidate, format!("election timed out: term {term}, tally {tally} of {need} needed"))
        }
    };
    let gap = record.leaderless_ms.map(|ms| model.raft.gap(at, ms));
    model.raft.elections.record(record, gap);
    // Its story may reach us only now, from the picture.
    model.raft.timeline.put(candidate, record.at, Phase::Stands);
    // The record's time is when it began; its story ends now.
    model.raft.elections.entry(*term, candidate, record.at).step(at, candidate, text.clone());
    match record.result {
        ElectionResult::Won => {
            model.raft.timeline.leads(candidate, *term, at, model.picture || !matches!(tell, Tell::Now));
            let newest = model.raft.elections.newest().find(|election| election.outcome == Outcome::Won);
            if let Some(election) = newest.filter(|election| election.term == *term) {
                model.raft.last_gap = election.gap.or(model.raft.last_gap);
            }
        }
        ElectionResult::Lost | ElectionResult::TimedOut => {
            if at > record.at && model.raft.timeline.at(candidate, at) == Some(Phase::Stands) {
                model.raft.timeline.put(candidate, at, Phase::Adrift);
            }
        }
    }
    match tell {
        Tell::No => {}
        Tell::Now => raft(model, at, from, mark, text),
        Tell::Past => {
            let (node, level) = (from.to_owned(), Level::Info);
            model.journal.insert(News { at, node, kind: Kind::Raft, level, mark, text });
        }
    }
}

/// How the end of an election is written down.
#[derive(Clone, Copy)]
pub(super) enum Tell {
    /// It was before.
    No,
    Now,
    /// At the time it was.
    Past,
}

/// A vote was asked for, given or refused.
pub(super) struct Vote<'a> {
    pub(super) term: u64,
    pub(super) candidate: &'a str,
    pub(super) voter: &'a str,
    /// None: it was asked for.
    pub(super) answer: Option<VoteAnswer>,
    pub(super) tally: Option<(u32, Option<u32>)>,
    pub(super) pre_vote: bool,
    pub(super) reason: &'a str,
}

pub(super) fn vote(model: &mut Model, at: WallTime, from: &str, vote: &Vote<'_>) {
    let Vote { term, candidate, voter, .. } = *vote;
    let is_new = model.raft.elections.find(term, candidate).is_none();
    let election = model.raft.elections.entry(term, candidate, at);
    if is_new && vote.pre_vote {
        election.outcome = Outcome::PreVote;
    }
    let what = if vote.pre_vote { "pre-vote" } else { "vote" };
    if !vote.pre_vote {
        if let Some(answer) = vote.answer {
            election.votes.insert(voter.to_owned(), answer);
        }
        if let Some((tally, need)) = vote.tally {
            election.tally = Some(tally);
            election.need = need.or(election.need);
        }
    }
    let text = match vote.answer {
        Some(VoteAnswer::Granted) => match vote.tally {
            Some((tally, Some(need))) => format!("{what} granted by {voter}: term {term}, {tally} of {need}"),
            Some((tally, None)) => format!("{what} granted by {voter}: term {term}, tally {tally}"),
            None => format!("{voter} gives its {what} to {candidate}: term {term}"),
        },
        Some(VoteAnswer::Refused) => format!("{what} refused by {voter}: term {term}, {}", vote.reason),
        Some(VoteAnswer::Silent) => format!("no answer from {voter}: term {term}"),
        None => format!("{what} asked of {voter}: term {term}"),
    };
    election.step(at, from, text.clone());
    if vote.answer.is_some() {
        raft(model, at, from, Mark::Candidate, text);
    }
}

pub(super) fn user(model: &mut Model, at: WallTime, from: &str, event: &UserEvent) {
    let text = match event {
        UserEvent::Fired { name, event_id: Some(_), .. } => format!("user event: {name}"),
        UserEvent::Fired { name, event_id: None, .. } => format!("event of the pool: {name}"),
        UserEvent::Asked { name, from, .. } => format!("query of {from}: {name}"),
    };
    gossip(model, at, from, Mark::Good, text);
}

pub(super) fn service(model: &mut Model, at: WallTime, from: &str, event: &ServiceEvent) {
    let state = event.state();
    let name = match state.service_id == state.service {
        true => state.service.clone(),
        false => format!("{} ({})", state.service, state.service_id),
    };
    let (mark, text) = match event {
        ServiceEvent::Present(_) => return,
        ServiceEvent::Registered(_) => (Mark::Good, format!("service registered: {name}")),
        ServiceEvent::Deregistered(_) => (Mark::Quiet, format!("service deregistered: {name}")),
    };
    model.journal.push(News { at, node: from.into(), kind: Kind::Check, level: Level::Info, mark, text });
}

pub(super) fn gossip(model: &mut Model, at: WallTime, from: &str, mark: Mark, text: String) {
    let level = if mark == Mark::Failed { Level::Warn } else { Level::Info };
    model.journal.push(News { at, node: from.into(), kind: Kind::Gossip, level, mark, text });
}

/// A log line that is nothing else.
pub(super) fn log(model: &mut Model, at: WallTime, from: &str, level: Level, kind: Kind, text: String) {
    let mark = match level {
        Level::Error => Mark::Failed,
        Level::Warn => Mark::Warning,
        Level::Info => Mark::Good,
        Level::Debug | Level::Trace => Mark::Quiet,
    };
    model.journal.push(News { at, node: from.into(), kind, level, mark, text });
}
