//! Orders about Raft's own servers, followed to their end: who leads after a transfer, whether a seat that
//! was removed stays gone.

use shared::event::{MemberStatus, Pool};

use super::pursue::{FOLLOW_US, leader};
use crate::format;
use crate::model::mark::Mark;
use crate::model::pursuit::Pursuit;
use crate::model::raft::Gap;
use crate::model::seats;
use crate::model::verdict::Quorum;
use crate::model::{Model, seats::find};
use crate::order::Order;

/// A new leader is known by then to an agent that is polled too.
const TRANSFER_US: u64 = 15_000_000;
/// Ours and HashiCorp's leaders add a server that runs again after a minute at most.
const RETURN_US: u64 = 75_000_000;

/// The leadership: at another server, or where it was.
pub(super) fn transfer(model: &Model, pursuit: &mut Pursuit) {
    let now = model.now;
    let Order::Transfer { to } = &pursuit.order else { return };
    let after = format::millis(now.micros_since(pursuit.begun) / 1_000);
    let Some(leads) = leader(model) else {
        let text = "no leader for now: another one is being elected";
        if !pursuit.has(text) {
            pursuit.step(now, Mark::Candidate, text.to_owned());
        }
        if now.micros_since(pursuit.begun) > FOLLOW_US {
            pursuit.end(now, Mark::Failed, format!("no server leads, {after} after it was asked for"));
        }
        return;
    };
    let name = model.raft.leader_name().unwrap_or_default().to_owned();
    let is_new_term = model.raft.term > pursuit.term_before;
    let term = model.raft.term.filter(|_| is_new_term).map_or(String::new(), |term| format!(" term {term}"));
    let wanted = to.as_deref().filter(|to| *to != leads);
    if pursuit.leader_before.as_ref() != Some(&leads) {
        let gap = match model.raft.last_gap.filter(|_| is_new_term) {
            Some(Gap::Of(ms)) => format!(", {} without a leader", format::millis(ms)),
            Some(Gap::Unseen) | None => String::new(),
        };
        return match wanted {
            None => pursuit.end(now, Mark::Good, format!("{name} leads{term} now, after {after}{gap}")),
            Some(wanted) => {
                let wanted = seats::find(model, wanted).map_or(wanted, |row| row.name()).to_owned();
                pursuit.end(now, Mark::Warning, format!("{name} leads{term} now, not {wanted}{gap}"));
            }
        };
    }
    if pursuit.taken.is_some_and(|taken| now.micros_since(taken) > TRANSFER_US) {
        pursuit.end(now, Mark::Warning, format!("answered with success, but {name} still leads{term}"));
    } else if now.micros_since(pursuit.begun) > FOLLOW_US {
        pursuit.end(now, Mark::Warning, format!("no answer came, and {name} leads as before"));
    }
}

/// A seat: gone, and whether it stays so.
pub(super) fn removal(model: &Model, pursuit: &mut Pursuit) {
    let now = model.now;
    let Order::RemovePeer { id } = &pursuit.order else { return };
    let is_there = find(model, id).is_some();
    let name = pursuit.subject.clone();
    let member = model.members.find(Pool::Lan, &name).map(|member| member.state.status);
    let runs = matches!(member, Some(MemberStatus::Alive | MemberStatus::Suspect));
    let quorum = Quorum::of(&model.servers);
    let counts = format!("{} voters, {} needed, {} up", quorum.voters, quorum.need(), quorum.up);
    let after = format::millis(now.micros_since(pursuit.begun) / 1_000);
    match (pursuit.gone, is_there) {
        (None, true) if now.micros_since(pursuit.begun) > FOLLOW_US => {
            let asked = if pursuit.taken.is_some() { "it was taken" } else { "no answer came" };
            let text = format!("not seen to happen within a minute: {asked}, {name} holds its seat in Raft");
            pursuit.end(now, Mark::Warning, text);
        }
        (None, true) => {}
        (None, false) if runs => {
            pursuit.gone = Some(now);
            let text = format!("gone from Raft: {counts}; its agent runs, so its leader may add it again");
            pursuit.step(now, Mark::Quiet, text);
        }
        (None, false) => {
            pursuit.gone = Some(now);
            pursuit.end(now, Mark::Good, format!("{name} is gone from Raft, after {after}: {counts}"));
        }
        (Some(_), true) => {
            let text =
                format!("{name} is back in Raft: its agent runs, and the leader adds it; let it leave instead (L)");
            pursuit.end(now, Mark::Warning, text);
        }
        (Some(gone), false) if !runs || now.micros_since(gone) > RETURN_US => {
            pursuit.end(now, Mark::Good, format!("{name} is gone from Raft and stays so: {counts}"));
        }
        (Some(_), false) => {}
    }
}
