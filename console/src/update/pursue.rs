//! An order followed to its end: what was answered, what was seen to happen, how it ended.
//!
//! An answer of 200 only says that it was taken. The end is what the members and Raft show, whoever
//! tells them: events of our agents or polls of HashiCorp's.

use shared::event::{Level, MemberStatus, Pool};
use shared::time::WallTime;

use super::{handover, upkeep};
use crate::format;
use crate::model::Model;
use crate::model::dialog::{self, Dialog};
use crate::model::journal::{Kind, News};
use crate::model::mark::Mark;
use crate::model::members::status_word;
use crate::model::pursuit::Pursuit;
use crate::msg::{Act, Link, Place};
use crate::order::{Order, Outcome};

/// How long an order that was taken may need to show; the reference needs seconds for the slowest.
pub(super) const FOLLOW_US: u64 = 60_000_000;
/// A join shows at once, or what joined was there already under another address.
const JOIN_US: u64 = 10_000_000;

/// Notes that this is on its way; its number.
pub(super) fn begin(model: &mut Model, dialog: &Dialog, place: &Place, order: &Order) -> u64 {
    let id = model.pursuits.next_id();
    let name = if dialog.act == Act::Join { dialog.address.trim() } else { &dialog.subject };
    let place = place.address.clone().unwrap_or_else(|| dialog::place(model).to_owned());
    let mut pursuit = Pursuit {
        id,
        act: dialog.act,
        subject: name.to_owned(),
        order: order.clone(),
        place: place.clone(),
        begun: model.now,
        taken: None,
        steps: Vec::new(),
        ended: None,
        status_before: model.members.find(Pool::Lan, name).map(|member| member.state.status),
        was_in_raft: is_in_raft(model, name) || dialog.act == Act::RemovePeer,
        members_before: model.members.count(dialog.pool),
        leader_before: leader(model),
        term_before: model.raft.term,
        gone: None,
    };
    pursuit.step(model.now, Mark::Candidate, format!("asked of {place}: {}", order.line()));
    model.pursuits.begin(pursuit);
    id
}

/// The answer to an order, or that none came.
pub(super) fn ordered(model: &mut Model, id: u64, at: WallTime, took_us: u64, outcome: &Outcome) -> bool {
    model.now = model.now.max(at);
    let took = format::rtt(took_us);
    let Some(pursuit) = model.pursuits.find_mut(id) else { return false };
    let line = pursuit.order.line();
    let place = pursuit.place.clone();
    let (level, mark, told) = match outcome {
        Outcome::Answered { status: 200..300, warning: Some(warning), .. } => {
            pursuit.end(at, Mark::Warning, warning.clone());
            (Level::Warn, Mark::Warning, format!("{line} → 200, {took}: {warning}"))
        }
        Outcome::Answered { status: status @ 200..300, .. } => {
            pursuit.taken = Some(at);
            // Its end may be seen before the agent says so.
            if pursuit.ended.is_none() {
                pursuit.step(at, Mark::Good, format!("taken: {status} after {took}"));
            }
            (Level::Info, Mark::Good, format!("{line} → {status}, {took}"))
        }
        // Consul learned it after 1.8: there nobody knows the path.
        Outcome::Answered { status: status @ (404 | 405), .. } if pursuit.act == Act::Transfer => {
            pursuit.end(at, Mark::Failed, format!("not offered by this agent: it answers {status}"));
            (Level::Warn, Mark::Failed, format!("{line} → {status}, {took}: not offered by this agent"))
        }
        Outcome::Answered { status, text, .. } => {
            let text = text.trim();
            pursuit.end(at, Mark::Failed, format!("refused: {status} {text}"));
            (Level::Warn, Mark::Failed, format!("{line} → {status}, {took}: {text}"))
        }
        Outcome::Silent(trouble) => {
            // The connection may have broken after the order came.
            pursuit.step(at, Mark::Warning, format!("no answer: {place} {trouble}; it may still happen"));
            (Level::Warn, Mark::Warning, format!("{line}: no answer after {took}, {place} {trouble}"))
        }
    };
    model.journal.push(News { at, node: "you".into(), kind: Kind::Action, level, mark, text: told });
    advance(model);
    true
}

/// Who leads, by ID where that is known.
pub(super) fn leader(model: &Model) -> Option<String> {
    let leading = model.raft.leading()?;
    leading.id.clone().or_else(|| leading.node.clone()).or_else(|| leading.address.clone())
}

fn is_in_raft(model: &Model, node: &str) -> bool {
    model.raft.peers.iter().any(|peer| peer.node == node)
}

/// Looks what has become of each order that has not ended.
pub(super) fn advance(model: &mut Model) {
    let open: Vec<u64> = model.pursuits.open().collect();
    for id in open {
        let Some(mut pursuit) = model.pursuits.find(id).cloned() else { continue };
        match pursuit.act {
            Act::Join => join(model, &mut pursuit),
            Act::Leave | Act::ForceLeave | Act::Prune => departure(model, &mut pursuit),
            Act::Transfer => handover::transfer(model, &mut pursuit),
            Act::RemovePeer => handover::removal(model, &mut pursuit),
            Act::Maintain => upkeep::follow(model, &mut pursuit),
        }
        if pursuit.ended.is_some()
            && let Some(last) = pursuit.last()
        {
            let (mark, text) = (last.mark, format!("{}: {}", pursuit.title(), last.text));
            let level = if mark == Mark::Good { Level::Info } else { Level::Warn };
            let at = last.at;
            model.journal.push(News { at, node: "you".into(), kind: Kind::Action, level, mark, text });
        }
        if let Some(kept) = model.pursuits.find_mut(id) {
            *kept = pursuit;
        }
    }
}

fn join(model: &Model, pursuit: &mut Pursuit) {
    let now = model.now;
    let Some(taken) = pursuit.taken else { return expire(model, pursuit) };
    let Order::Join { wan, address } = &pursuit.order else { return };
    let pool = if *wan { Pool::Wan } else { Pool::Lan };
    let host = address.rsplit_once(':').filter(|_| address.matches(':').count() == 1).map_or(&**address, |it| it.0);
    let count = model.members.count(pool);
    let here = model.members.of(pool).find(|member| {
        member.state.status == MemberStatus::Alive && (member.state.address == host || member.state.name == host)
    });
    let came = count.saturating_sub(pursuit.members_before);
    let more = match came {
        0 => format!("{count} members as before"),
        1 => format!("{count} members, 1 more than before"),
        _ => format!("{count} members, {came} more than before"),
    };
    match here {
        Some(member) => {
            let text = format!("{} is here, alive: {more}", member.state.name);
            pursuit.end(now, Mark::Good, text);
        }
        // A name of the DNS may stand for any of those who came.
        None if came > 0 => pursuit.end(now, Mark::Good, more),
        None if now.micros_since(taken) > JOIN_US => {
            let text = format!("answered with success, but no member shows up at {host}: {more}");
            pursuit.end(now, Mark::Warning, text);
        }
        None => {}
    }
}

/// A leave, a force-leave, a prune: out of the members, out of Raft.
fn departure(model: &Model, pursuit: &mut Pursuit) {
    let now = model.now;
    let member = model.members.find(Pool::Lan, &pursuit.subject);
    let prunes = matches!(pursuit.order, Order::ForceLeave { prune: true, .. });
    let status = member.map(|member| member.state.status);
    if let Some(status) = status.filter(|status| Some(*status) != pursuit.status_before) {
        let at = member.and_then(|member| member.since).unwrap_or(now).max(pursuit.begun);
        let text = format!("seen {}", status_word(status));
        if !pursuit.has(&text) {
            pursuit.step(at, status.into(), text);
        }
    }
    let is_out = match status {
        None => true,
        Some(MemberStatus::Left) => !prunes,
        // A process that stops at once is seen gone before its good-bye is.
        Some(_) => false,
    };
    let in_raft = is_in_raft(model, &pursuit.subject);
    if pursuit.was_in_raft && !in_raft && !pursuit.has("gone from Raft") {
        pursuit.step(now, Mark::Quiet, "gone from Raft".to_owned());
    }
    if is_out && (!pursuit.was_in_raft || !in_raft) {
        let word = match status {
            Some(_) => "has left",
            None => "is forgotten: no longer listed",
        };
        let raft = if pursuit.was_in_raft { ", and its seat in Raft is gone" } else { "" };
        let after = format::millis(now.micros_since(pursuit.begun) / 1_000);
        return pursuit.end(now, Mark::Good, format!("{} {word}{raft}, after {after}", pursuit.subject));
    }
    let is_own = pursuit.act == Act::Leave && model.here() == pursuit.subject;
    let is_cut = matches!(model.lane().map(|lane| &lane.link), Some(Link::Lost { .. }));
    if is_own && is_cut && pursuit.taken.is_some() {
        let text = format!("{} left and its agent has stopped; nobody else is asked from here", pursuit.subject);
        return pursuit.end(now, Mark::Good, text);
    }
    expire(model, pursuit);
}

fn expire(model: &Model, pursuit: &mut Pursuit) {
    let now = model.now;
    if now.micros_since(pursuit.begun) < FOLLOW_US {
        return;
    }
    let status = model.members.find(Pool::Lan, &pursuit.subject).map(|member| status_word(member.state.status));
    let seat =
        if pursuit.was_in_raft && is_in_raft(model, &pursuit.subject) { " and holds its seat in Raft" } else { "" };
    let is = status.map_or("is not listed".to_owned(), |status| format!("is {status}{seat}"));
    let asked = if pursuit.taken.is_some() { "it was taken" } else { "no answer came" };
    let text = format!("not seen to happen within a minute: {asked}, {} {is}", pursuit.subject);
    pursuit.end(now, Mark::Warning, text);
}
