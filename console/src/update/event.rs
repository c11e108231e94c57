//! The event stream of our agents into the model.

use shared::event::{
    AgentEvent, Body, ElectionEvent, Event, LogEvent, Pool, Progress, RaftEvent, RaftPeer, RaftState, ReplicationEvent,
    Role, VoteAnswer,
};
use shared::time::WallTime;

use super::{catalog, member, names, polled, story};
use crate::model::Model;
use crate::model::elections::Outcome;
use crate::model::journal::{Kind, News};
use crate::model::mark::Mark;
use crate::model::raft::{Gap, Leader, Peer};
use crate::model::timeline::Phase;
use crate::msg::{Frame, LaneId};
use crate::polled::Identity;

/// Origins remembered, to tell an event once; the least recent are not told apart from new ones.
const ORIGINS_MAX: usize = 1_000;

/// Events of one picture held back; more are taken as they come.
const HELD_MAX: usize = 2_000;

pub(super) fn frame(model: &mut Model, at: WallTime, frame: Frame) -> bool {
    match frame {
        Frame::PictureBegins => {
            picture_begins(model);
            model.reset = None;
        }
        Frame::SnapshotEnd => {
            for event in std::mem::take(&mut model.held) {
                happens(model, at, event, false);
            }
            if std::mem::take(&mut model.picture) {
                model.members.picture_ends();
            }
            take_asides(model, at);
            if let Some(reason) = model.reset.take() {
                story::console(model, at, Mark::Warning, format!("the agent starts a new picture: {reason}"));
            }
        }
        Frame::Reset { reason } => {
            picture_begins(model);
            // Said when it is known who answers: it may be another run of the same agent.
            model.reset = Some(reason);
        }
        Frame::Lagged { missed } => {
            model.journal.missed = model.journal.missed.saturating_add(missed);
            story::console(
                model,
                at,
                Mark::Warning,
                format!("the agent dropped {missed} events that we were too slow for"),
            );
        }
    }
    true
}

fn picture_begins(model: &mut Model) {
    model.picture = true;
    model.held.clear();
    model.members.picture_begins(None);
}

/// Takes one event. State is taken however often it comes; what happened is told once.
pub(super) fn event(model: &mut Model, lane: LaneId, at: WallTime, event: Event) -> bool {
    // The agent in use passes on what another server saw of Raft.
    let relays = matches!(event.body, Body::Raft(_) | Body::Election(_) | Body::Replication(_));
    if relays && event.origin.boot != event.id.boot {
        return aside(model, at, event);
    }
    let told = !model.picture && is_told(model, &event);
    let waits = matches!(event.body, Body::Election(_) | Body::Replication(_));
    if let Body::Agent(body) = event.body {
        agent(model, lane, at, event.time, &event.node, body);
    } else if model.picture && waits && model.held.len() < HELD_MAX {
        // Of which cluster they are, the state says, which may come after them.
        model.held.push(event);
    } else {
        happens(model, at, event, told);
    }
    true
}

/// What an agent that is not the one in use tells: what only it knows of elections and of its own log.
/// It waits until it is known which cluster is on screen.
pub(super) fn aside(model: &mut Model, at: WallTime, event: Event) -> bool {
    // A client has no Raft of its own to tell of: any of its servers speaks for it.
    let is_client = model.identity().is_some_and(|identity| !identity.server);
    if model.picture || !(model.raft.peers_known || is_client) {
        if model.asides.len() < HELD_MAX {
            model.asides.push(event);
        }
        return false;
    }
    let is_peer = model.raft.peers.iter().any(|peer| peer.node == event.origin.node);
    if !is_peer && model.members.find(Pool::Lan, &event.origin.node).is_none() {
        return false;
    }
    match &event.body {
        Body::Raft(_) if is_client => {}
        // Only its own figures: who leads is for the agent in use to say.
        Body::Raft(RaftEvent::State(state)) => {
            own_progress(model, event.time, &event.node, state);
            return true;
        }
        Body::Replication(ReplicationEvent::Progress(progress)) if model.raft.peer(&progress.server_id).is_some() => {}
        Body::Election(_) => {}
        _ => return false,
    }
    let is_past = matches!(event.body, Body::Election(ElectionEvent::Past(_)));
    let told = !is_past && is_told(model, &event);
    happens(model, at, event, told);
    true
}

/// Takes what waited for the picture.
pub(super) fn take_asides(model: &mut Model, at: WallTime) {
    if !model.picture {
        for event in std::mem::take(&mut model.asides) {
            aside(model, at, event);
        }
    }
}

fn happens(model: &mut Model, at: WallTime, event: Event, told: bool) {
    let Event { time, node, body, .. } = event;
    match body {
        Body::Agent(_) => {}
        Body::Member(body) => member::event(model, time, &node, body, told),
        Body::Raft(body) => raft(model, time, &node, body, told),
        Body::Election(_) if told => {}
        Body::Election(body) => {
            let node = names::of(model, node);
            election(model, time, &node, names::in_election(model, body));
        }
        Body::Replication(ReplicationEvent::Progress(progress)) => {
            followed(model, at, &progress);
        }
        Body::Service(_) if told => {}
        Body::Service(body) => story::service(model, time, &node, &body),
        // How the checks of the whole cluster are comes from its catalog, and is told from there.
        Body::Check(body) => catalog::told(model, &node, &body),
        Body::User(_) if told => {}
        Body::User(body) => story::user(model, time, &node, &body),
        Body::Log(_) if told => {}
        Body::Log(LogEvent::Line { level, logger, message }) => {
            // Raft and gossip tell the same as events; what the agent itself says is news.
            let (kind, text) = match logger.as_str() {
                "agent" => (Kind::Agent, message),
                _ => (Kind::Log, format!("{}: {message}", logger.strip_prefix("agent.").unwrap_or(&logger))),
            };
            story::log(model, time, &node, level, kind, text);
        }
    }
}

/// Whether this very happening reached the journal before, from this agent or another.
fn is_told(model: &mut Model, event: &Event) -> bool {
    let origin = &event.origin;
    let key = (origin.node.clone(), origin.boot.clone());
    if model.told.len() >= ORIGINS_MAX && !model.told.contains_key(&key) {
        model.told.clear();
    }
    let highest = model.told.entry(key).or_insert(0);
    let told = origin.seq <= *highest;
    *highest = origin.seq.max(*highest);
    told
}

fn agent(model: &mut Model, lane: LaneId, at: WallTime, time: WallTime, node: &str, event: AgentEvent) {
    let (mark, text) = match event {
        AgentEvent::Running { node_id, datacenter, server, version, api, address, started } => {
            let before = model.lane().and_then(|lane| lane.started).filter(|before| *before != started);
            if before.is_some() && model.here() == node {
                model.reset = None;
                model.raft.restarted();
                story::console(model, at, Mark::Warning, format!("{node}'s agent was restarted"));
            }
            let identity = Identity { node: node.to_owned(), node_id, datacenter, server, version: api, address };
            if let Some(lane) = model.lane_mut(lane) {
                lane.version = Some(version);
                lane.started = Some(started);
            }
            return polled::identity(model, lane, identity);
        }
        AgentEvent::Stopping { reason, leaving: true } => (Mark::Quiet, format!("agent leaves and stops: {reason}")),
        AgentEvent::Stopping { reason, leaving: false } => (Mark::Warning, format!("agent stops: {reason}")),
        AgentEvent::Reloaded => (Mark::Good, "configuration read again".to_owned()),
    };
    let level = shared::event::Level::Info;
    model.journal.push(News { at: time, node: node.into(), kind: Kind::Agent, level, mark, text });
}

/// Whether what this server says of leader and configuration is what we show: it is the agent in
/// use, or that is a client and any server will do.
fn speaks_for_us(model: &Model, node: &str) -> bool {
    model.identity().is_none_or(|identity| identity.node == node || !identity.server)
}

fn raft(model: &mut Model, time: WallTime, node: &str, event: RaftEvent, told: bool) {
    match event {
        RaftEvent::State(state) => raft_state(model, time, node, state),
        RaftEvent::LeaderLost { term, cause, .. } => {
            if speaks_for_us(model, node) && model.raft.term.is_none_or(|known| known <= term) && !told {
                story::leader_lost(model, time, node, &cause);
            }
        }
        RaftEvent::LeaderElected { term, leader_id, leader, leaderless_ms } => {
            // What a server without a seat did not hear was no time without a leader.
            let was_unseated = speaks_for_us(model, node) && model.is_unseated();
            let leaderless = Some(leaderless_ms).filter(|ms| *ms > 0 && !was_unseated);
            let gap = leaderless.map(|ms| model.raft.gap(time, ms));
            let id = Some(leader_id.as_str());
            story::new_leader(model, time, &story::NewLeader { id, node: &leader, term, gap, from: node });
            if model.raft.elections.find(term, &leader).is_some() {
                let election = model.raft.elections.entry(term, &leader, time);
                election.gap = Gap::longer(election.gap, gap);
                let longest = election.gap;
                // Who leads has won, whether or not the candidate itself is heard.
                if matches!(election.outcome, Outcome::Open | Outcome::PreVote) {
                    election.outcome = Outcome::Won;
                }
                if model.raft.term == Some(term) {
                    model.raft.last_gap = longest.or(model.raft.last_gap);
                }
            }
        }
        RaftEvent::LeaderConfirmed { term } => {
            if model.raft.term.is_none_or(|known| known <= term)
                && let Leader::Known(leading) = &mut model.raft.leader
            {
                leading.confirmed = Some(true);
            }
            if !told {
                story::raft(model, time, node, Mark::Good, format!("a quorum acknowledged the leader of term {term}"));
            }
        }
        _ if told => {}
        RaftEvent::Gap { from_term, to_term } => {
            let text = format!("terms {from_term} to {to_term} went by unseen");
            story::raft(model, time, node, Mark::Warning, text);
        }
        RaftEvent::MembershipChanged { peers } => {
            let voters = peers.iter().filter(|peer| peer.voter).count();
            let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            let (voters, learners) = (count(voters, "voter"), count(peers.len() - voters, "learner"));
            let text = format!("Raft configuration: {voters}, {learners}");
            if speaks_for_us(model, node) {
                model.raft.configure(convert(peers));
            }
            story::raft(model, time, node, Mark::Good, text);
        }
        RaftEvent::SnapshotTaken { index } => {
            story::raft(model, time, node, Mark::Good, format!("snapshot taken at {}", crate::format::count(index)));
        }
    }
}

fn convert(peers: Vec<RaftPeer>) -> Vec<Peer> {
    let one = |peer: RaftPeer| Peer { id: peer.id, node: peer.node, address: peer.address, voter: Some(peer.voter) };
    peers.into_iter().map(one).collect()
}

fn raft_state(model: &mut Model, time: WallTime, node: &str, state: RaftState) {
    let peers = convert(state.peers.clone());
    // Live, a late word of a server may be older than what is known of it; a picture is how it is.
    let is_younger = model.picture && model.raft.is_younger(node, state.term);
    if speaks_for_us(model, node) && (is_younger || model.raft.is_foreign(&peers)) {
        story::other_cluster(model, time, &peers);
    }
    own_progress(model, time, node, &state);
    if !speaks_for_us(model, node) {
        return;
    }
    model.raft.saw_term(state.term);
    let own = &mut model.raft.own;
    (own.node, own.term) = (node.to_owned(), Some(state.term));
    own.role = Some(state.role);
    own.last_log = Some(state.last_log);
    own.commit = Some(state.commit);
    own.applied = Some(state.applied);
    own.snapshot = Some(state.snapshot);
    model.raft.configure(peers);
    match state.leader_id {
        Some(id) => {
            model.raft.led_by(&id, state.leader_since);
            if let (Some(since), Some(peer)) = (state.leader_since, model.raft.peer(&id).cloned()) {
                model.raft.timeline.leads(&peer.node, state.term, since, model.picture);
            }
            if let Leader::Known(leading) = &mut model.raft.leader {
                leading.confirmed = Some(state.confirmed);
                leading.term = Some(state.term);
                leading.since = state.leader_since.or(leading.since);
            }
        }
        None => {
            model.raft.led_by_nobody(time);
            model.raft.has_no_seat = state.no_seat;
            model.raft.timeline.leaderless(time);
            if state.role == Role::Candidate {
                model.raft.timeline.put(node, time, Phase::Stands);
            }
        }
    }
}

/// What a leader says of one server. Of one that never answered it in its term it knows nothing: what that
/// one had before stays, with its date.
fn followed(model: &mut Model, at: WallTime, told: &Progress) {
    let silent_us = i64::try_from(told.contact_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let is_silent = !told.leader && told.matched == 0;
    let seen = if told.leader { at } else { WallTime::from_micros(at.micros().saturating_sub(silent_us)) };
    let was_seen = model.raft.progress.get(&told.server_id).map(|known| known.seen);
    let known = model.raft.progress_mut(&told.server_id, seen);
    if known.term > Some(told.term) {
        // Word of a leader that is one no more.
        known.seen = was_seen.unwrap_or(seen);
        return;
    }
    known.contact_ms = (!told.leader).then_some(told.contact_ms);
    if is_silent && known.last_log.is_some() {
        known.seen = was_seen.unwrap_or(seen);
        known.matched = None;
        return;
    }
    known.term = Some(told.term);
    // The leader's own log is longer than what it knows to be on this one's disk.
    known.last_log = Some(if told.leader { told.last_log } else { told.matched });
    known.matched = Some(told.matched);
    known.commit = Some(told.commit);
    known.applied = Some(told.applied);
}

/// A server's own figures.
fn own_progress(model: &mut Model, time: WallTime, node: &str, state: &RaftState) {
    let Some(id) = state.peers.iter().find(|peer| peer.node == node).map(|peer| peer.id.clone()) else { return };
    let progress = model.raft.progress_mut(&id, time);
    progress.role = Some(state.role);
    progress.follows = Some(state.leader_id.clone().unwrap_or_default());
    (progress.told_term, progress.told) = (Some(state.term), time);
    progress.term = Some(state.term);
    progress.last_log = Some(state.last_log);
    progress.commit = Some(state.commit);
    progress.applied = Some(state.applied);
}

fn election(model: &mut Model, time: WallTime, node: &str, event: ElectionEvent) {
    match event {
        ElectionEvent::Past(record) => {
            let news = model.raft.elections.find(record.term, &record.candidate).is_none();
            let tell = if news { story::Tell::Past } else { story::Tell::No };
            story::ended(model, record.at, &record.candidate, &record, tell);
        }
        ElectionEvent::Ended(record) => story::ended(model, time, node, &record, story::Tell::Now),
        ElectionEvent::HeartbeatLost { term, last_leader, cause } => {
            let from = if last_leader.is_empty() { String::new() } else { format!(" from {last_leader}") };
            let why = if cause.is_empty() { String::new() } else { format!(": {cause}") };
            story::raft(model, time, node, Mark::Warning, format!("no heartbeat{from} in term {term}{why}"));
        }
        ElectionEvent::Started { term, candidate, cause, need, voters, pre_vote } => {
            let election = model.raft.elections.entry(term, &candidate, time);
            election.cause.clone_from(&cause);
            election.need = Some(need);
            election.outcome = if pre_vote { Outcome::PreVote } else { Outcome::Open };
            let what = if pre_vote { "asks for pre-votes" } else { "stands" };
            let why = if cause.is_empty() { String::new() } else { format!(": {cause}") };
            let text = format!("{candidate} {what} in term {term}, needs {need} of {voters}{why}");
            election.step(time, node, text.clone());
            if !pre_vote {
                model.raft.saw_term(term);
                model.raft.timeline.put(&candidate, time, Phase::Stands);
            }
            story::raft(model, time, node, Mark::Candidate, text);
        }
        ElectionEvent::VoteAsked { term, candidate, voter, pre_vote } => {
            let (candidate, voter) = (candidate.as_str(), voter.as_str());
            let vote = story::Vote { term, candidate, voter, answer: None, tally: None, pre_vote, reason: "" };
            story::vote(model, time, node, &vote);
        }
        ElectionEvent::VoteGranted { term, candidate, voter, tally, need, pre_vote } => {
            let (candidate, voter) = (candidate.as_str(), voter.as_str());
            // A voter that tells of its own vote cannot count.
            let (answer, tally) = (Some(VoteAnswer::Granted), (tally > 0).then_some((tally, Some(need))));
            let vote = story::Vote { term, candidate, voter, answer, tally, pre_vote, reason: "" };
            story::vote(model, time, node, &vote);
        }
        ElectionEvent::VoteRefused { term, candidate, voter, reason, pre_vote } => {
            let (candidate, voter) = (candidate.as_str(), voter.as_str());
            let answer = Some(VoteAnswer::Refused);
            let vote = story::Vote { term, candidate, voter, answer, tally: None, pre_vote, reason: &reason };
            story::vote(model, time, node, &vote);
        }
        ElectionEvent::SteppedDown { term, leader, cause } => {
            if model.raft.leader_name() == Some(leader.as_str()) && model.raft.term.is_none_or(|known| known <= term) {
                model.raft.led_by_nobody(time);
                model.raft.timeline.leaderless(time);
            }
            story::raft(model, time, node, Mark::Failed, format!("{leader} stepped down in term {term}: {cause}"));
        }
    }
}
