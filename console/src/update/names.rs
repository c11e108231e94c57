//! Servers that an event knows by their Raft ID alone, by the names that gossip gives them.

use shared::event::{ElectionEvent, ElectionRecord};

use crate::model::Model;

/// The node of this Raft ID, or what was given.
pub(super) fn of(model: &Model, given: String) -> String {
    let peer = model.raft.peer(&given).map(|peer| &peer.node).filter(|node| !node.is_empty());
    let member = || model.members.by_id(&given).map(|member| &member.state.name);
    peer.or_else(member).cloned().unwrap_or(given)
}

pub(super) fn in_election(model: &Model, event: ElectionEvent) -> ElectionEvent {
    use ElectionEvent::{Ended, HeartbeatLost, Past, Started, SteppedDown, VoteAsked, VoteGranted, VoteRefused};
    let name = |given: String| of(model, given);
    let record = |record: ElectionRecord| ElectionRecord {
        candidate: name(record.candidate),
        votes: record.votes.into_iter().map(|(voter, answer)| (name(voter), answer)).collect(),
        ..record
    };
    match event {
        Past(it) => Past(record(it)),
        Ended(it) => Ended(record(it)),
        HeartbeatLost { term, last_leader, cause } => HeartbeatLost { term, last_leader: name(last_leader), cause },
        Started { term, candidate, cause, need, voters, pre_vote } => {
            Started { term, candidate: name(candidate), cause, need, voters, pre_vote }
        }
        VoteAsked { term, candidate, voter, pre_vote } => {
            VoteAsked { term, candidate: name(candidate), voter: name(voter), pre_vote }
        }
        VoteGranted { term, candidate, voter, tally, need, pre_vote } => {
            VoteGranted { term, candidate: name(candidate), voter: name(voter), tally, need, pre_vote }
        }
        VoteRefused { term, candidate, voter, reason, pre_vote } => {
            VoteRefused { term, candidate: name(candidate), voter: name(voter), reason, pre_vote }
        }
        SteppedDown { term, leader, cause } => SteppedDown { term, leader: name(leader), cause },
    }
}
