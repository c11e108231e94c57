//! Stepping through time: what was shown after each thing that happened, rebuilt and shown again.
//! Nothing can be changed there, and the present goes on underneath.

use crate::model::Model;
use crate::model::journal::Kind;
use crate::model::mark::Mark;
use crate::model::past::{History, Moment, Step};
use crate::model::{Overlay, Remark};
use crate::msg::{Leap, Msg, Screen};

/// Takes a message and remembers it, with what it led to.
pub(super) fn keep(model: &mut Model, msg: Msg) {
    if !History::takes(&msg) {
        return super::take(model, msg);
    }
    let mut history = std::mem::take(&mut model.history);
    if history.is_due() {
        // Neither what is on screen nor the way back belongs to what is kept.
        let past = model.past.take();
        history.keep_model(model.clone());
        model.past = past;
    }
    let seq = history.keep(msg.clone());
    let (told, led) = (model.journal.next_seq(), model.raft.leader_id().map(str::to_owned));
    super::take(model, msg);
    let newest = model.journal.newest().next().filter(|_| model.journal.next_seq() > told);
    let turns_leader = model.raft.leader_id() != led.as_deref();
    let kind = newest.map(|entry| entry.kind).filter(|kind| !matches!(kind, Kind::Log | Kind::Console));
    // The picture a console opens with happened before it came.
    if !model.picture && (kind.is_some() || turns_leader) {
        history.keep_step(Step { seq, at: model.now, kind: kind.unwrap_or(Kind::Raft), turns_leader });
    }
    model.history = history;
}

/// To another moment, or back to now.
pub(super) fn leap(model: &mut Model, leap: Leap) {
    let total = model.history.steps.len();
    let back = model.past.as_ref().and_then(|past| past.moment).map_or(0, |moment| moment.back);
    let at = total.saturating_sub(back);
    let screen = model.shown().screen;
    let is_worth = |step: &Step| match leap {
        Leap::LeaderBack | Leap::LeaderOn => step.turns_leader,
        _ => match screen {
            Screen::Raft => step.kind == Kind::Raft,
            Screen::Members => step.kind == Kind::Gossip,
            Screen::Services => step.kind == Kind::Check,
            Screen::Overview | Screen::Events => true,
        },
    };
    let steps = &model.history.steps;
    let to = match leap {
        Leap::Live => None,
        Leap::Back | Leap::LeaderBack => match (0..at).rev().find(|index| is_worth(&steps[*index])) {
            Some(index) => Some(index),
            None => return say(model, "nothing before this was seen by this console"),
        },
        Leap::On | Leap::LeaderOn => (at + 1..total).find(|index| is_worth(&steps[*index])),
    };
    // A step on from the last one is the present.
    let Some(index) = to.filter(|_| leap != Leap::Live) else { return live(model) };
    let step = model.history.steps[index];
    let Some((from, msgs)) = model.history.up_to(step.seq) else {
        return say(model, "what was shown then is no longer kept");
    };
    let mut picture = from.clone();
    picture.moment = Some(Moment { at: step.at, back: total - index });
    let mut settled = picture.now;
    for msg in msgs {
        super::take(&mut picture, msg.clone());
        // As it was drawn then, second by second: the timeline is made of that.
        if picture.now.micros_since(settled) >= 1_000_000 {
            settled = picture.now;
            super::settle(&mut picture);
        }
    }
    picture.now = step.at;
    picture.moment = Some(Moment { at: step.at, back: total - index });
    stand(&mut picture, model.shown());
    model.past = Some(Box::new(picture));
}

fn live(model: &mut Model) {
    if let Some(past) = model.past.take() {
        stand(model, &past);
    }
}

fn say(model: &mut Model, text: &str) {
    let remark = Some(Remark { at: model.shown().now, mark: Mark::Unknown, text: text.to_owned() });
    match &mut model.past {
        Some(past) => past.remark = remark,
        None => model.remark = remark,
    }
}

/// Where the operator stands stays the same in every moment.
fn stand(to: &mut Model, from: &Model) {
    (to.width, to.height) = (from.width, from.height);
    to.setup = from.setup.clone();
    to.screen = from.screen;
    to.focus = from.focus.clone();
    to.overlay = if from.overlay == Overlay::Dialog { Overlay::None } else { from.overlay };
    to.overlay_top = from.overlay_top;
    to.zoomed = from.zoomed;
    to.span = from.span;
    to.members.stand_as(&from.members);
    to.raft.list = from.raft.list.clone();
    to.checks.list = from.checks.list.clone();
    to.services.listing.stand_as(&from.services.listing);
    to.instances.listing.stand_as(&from.instances.listing);
    (to.dialog, to.remark) = (None, None);
    to.dirty = true;
}
