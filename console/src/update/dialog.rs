//! The dialogs that ask before something changes the cluster: opened by a key, typed into, carried out.
//! The only place where an order is made.

use shared::event::{Level, Pool};
use shared::time::WallTime;

use super::{pursue, upkeep};
use crate::model::dialog::{self, Demand, Dialog, Field};
use crate::model::journal::{Kind, News};
use crate::model::mark::Mark;
use crate::model::panes::Pane;
use crate::model::seats;
use crate::model::{Model, Overlay, Remark};
use crate::msg::{Act, Effect, Stroke, Trick};
use crate::order::{Probe, Seen};

/// Opens the dialog of an act on what is selected, or says why there is none.
pub(super) fn ask(model: &mut Model, act: Act) -> Vec<Effect> {
    match act {
        Act::Transfer | Act::RemovePeer => return ask_of_seat(model, act),
        Act::Maintain => {
            return match upkeep::ask(model) {
                Ok(dialog) => {
                    let probe = dialog.probe().filter(|_| dialog.seen.is_none());
                    open(model, dialog);
                    look(model, probe)
                }
                Err(why) => refuse(model, why),
            };
        }
        _ => {}
    }
    let name = if act == Act::Join { Some(String::new()) } else { dialog::subject(model) };
    let Some(name) = name else {
        return refuse(model, "no member is selected here".to_owned());
    };
    if act != Act::Join {
        if model.members.pool == Pool::Wan && model.pane() == Pane::Members {
            return refuse(model, "this reaches the LAN pool only: tab shows that".to_owned());
        }
        let status = model.members.find(Pool::Lan, &name).map(|member| member.state.status);
        let Some(status) = status else {
            return refuse(model, format!("{name} is no member that gossip lists"));
        };
        if let Some(why) = dialog::objection(act, &name, status) {
            return refuse(model, why);
        }
    }
    let mut dialog = Dialog::new(act, name);
    if act == Act::Join && model.members.pool == Pool::Wan {
        dialog.pool = Pool::Wan;
    }
    if act == Act::Leave {
        let (address, identity) = dialog::own_place(model, &dialog.subject);
        dialog.address = address;
        dialog.seen = identity.map(Seen::Agent);
    }
    let probe = dialog.probe().filter(|_| dialog.seen.is_none());
    open(model, dialog);
    look(model, probe)
}

/// Of Raft's own servers: who leads, who has a seat.
fn ask_of_seat(model: &mut Model, act: Act) -> Vec<Effect> {
    if let Some(why) = seats::objection(model, act) {
        return refuse(model, why);
    }
    let row = seats::selected(model);
    let name = row.map(|row| row.name().to_owned()).unwrap_or_default();
    let id = row.filter(|row| row.in_raft).map(|row| row.id.clone());
    let mut dialog = match act {
        Act::Transfer => {
            let leader = model.raft.leader_name().unwrap_or_default().to_owned();
            Dialog { target: id, ..Dialog::new(act, leader) }
        }
        _ => Dialog { server: id.unwrap_or_default(), ..Dialog::new(act, name) },
    };
    if act == Act::Transfer && seats::obstacle(&dialog, model).is_some() {
        dialog.target = None;
    }
    open(model, dialog);
    Vec::new()
}

fn open(model: &mut Model, mut dialog: Dialog) {
    dialog.look_around(model);
    model.overlay = Overlay::Dialog;
    model.overlay_top = 0;
    model.dialog = Some(dialog);
}

fn refuse(model: &mut Model, text: String) -> Vec<Effect> {
    model.remark = Some(Remark { at: model.now, mark: Mark::Warning, text });
    Vec::new()
}

fn look(model: &Model, probe: Option<Probe>) -> Vec<Effect> {
    probe.map(|probe| Effect::Probe { lane: model.active, probe }).into_iter().collect()
}

/// A key in the open dialog.
pub(super) fn stroke(model: &mut Model, stroke: Stroke) -> Vec<Effect> {
    let Some(dialog) = &mut model.dialog else { return Vec::new() };
    if dialog.ordered.is_some() {
        if stroke == Stroke::Press {
            close(model);
        }
        return Vec::new();
    }
    let before = dialog.probe();
    match stroke {
        Stroke::Next => dialog.turn(1),
        Stroke::Previous => dialog.turn(-1),
        Stroke::Put(c) => return put(model, c),
        Stroke::Erase => {
            dialog.typed().map(String::pop);
        }
        Stroke::Wipe => {
            if let Some(text) = dialog.typed() {
                text.clear();
            }
        }
        Stroke::Press => return press(model),
    }
    changed(model, before)
}

fn put(model: &mut Model, c: char) -> Vec<Effect> {
    let Some(dialog) = &mut model.dialog else { return Vec::new() };
    let before = dialog.probe();
    match (dialog.focus, c) {
        (Field::Pool, ' ' | 'h' | 'l') => {
            dialog.pool = if dialog.pool == Pool::Lan { Pool::Wan } else { Pool::Lan };
        }
        (Field::Prune, ' ') => dialog.prune = !dialog.prune,
        (Field::Target, ' ' | 'h' | 'l') => turn_target(model),
        (Field::Scope, ' ' | 'h' | 'l') => upkeep::turn_scope(model),
        (focus, 'y') if dialog.demand == Demand::Yes && focus != Field::Address => {
            return if dialog.is_unlocked() { go(model) } else { Vec::new() };
        }
        _ => dialog.put(c),
    }
    changed(model, before)
}

/// After the text changed: another address is another one to look at; whole words unlock the action.
fn changed(model: &mut Model, before: Option<Probe>) -> Vec<Effect> {
    let Some(dialog) = &mut model.dialog else { return Vec::new() };
    if matches!(dialog.demand, Demand::Words(_)) && !matches!(dialog.focus, Field::Address | Field::Prune) {
        let is_typed = dialog.focus == Field::Cancel && !dialog.word.is_empty();
        if is_typed && dialog.is_unlocked() {
            dialog.focus = Field::Do;
        } else if dialog.focus == Field::Do && !dialog.is_unlocked() {
            dialog.focus = Field::Cancel;
        }
    }
    let probe = dialog.probe();
    if probe == before {
        return Vec::new();
    }
    dialog.seen = None;
    look(model, probe)
}

fn turn_target(model: &mut Model) {
    let Some(mut dialog) = model.dialog.take() else { return };
    dialog.turn_target(model);
    dialog.look_around(model);
    model.dialog = Some(dialog);
}

fn press(model: &mut Model) -> Vec<Effect> {
    let Some(dialog) = &mut model.dialog else { return Vec::new() };
    match dialog.focus {
        Field::Cancel => {
            close(model);
            Vec::new()
        }
        // Enter in a join's address is its action; anywhere else it goes on to the next field.
        Field::Address | Field::Pool if dialog.act == Act::Join && dialog.is_unlocked() => go(model),
        Field::Pool => {
            dialog.pool = if dialog.pool == Pool::Lan { Pool::Wan } else { Pool::Lan };
            let probe = dialog.probe();
            dialog.seen = None;
            look(model, probe)
        }
        Field::Prune => {
            dialog.prune = !dialog.prune;
            Vec::new()
        }
        Field::Target => {
            turn_target(model);
            Vec::new()
        }
        Field::Scope => {
            upkeep::turn_scope(model);
            Vec::new()
        }
        Field::Address | Field::Reason => {
            dialog.turn(1);
            Vec::new()
        }
        // What `y` is asked for, enter alone does not do.
        Field::Do if dialog.is_unlocked() && dialog.demand != Demand::Yes => go(model),
        Field::Do => Vec::new(),
    }
}

pub(super) fn close(model: &mut Model) {
    if let Some(id) = model.dialog.take().and_then(|dialog| dialog.ordered)
        && let Some(pursuit) = model.pursuits.find(id)
        && pursuit.ended.is_none()
        && pursuit.taken.is_none()
    {
        let text = format!("{}: no longer waited for, it may still happen", pursuit.title());
        model.remark = Some(Remark { at: model.now, mark: Mark::Warning, text });
    }
    model.overlay = Overlay::None;
    model.overlay_top = 0;
}

/// Carries out what the dialog asks, as things are at this moment.
fn go(model: &mut Model) -> Vec<Effect> {
    let Some(mut dialog) = model.dialog.take() else { return Vec::new() };
    dialog.look_around(model);
    if !dialog.is_unlocked() {
        model.dialog = Some(dialog);
        return Vec::new();
    }
    let (place, order) = dialog.order(model);
    let id = pursue::begin(model, &dialog, &place, &order);
    dialog.ordered = Some(id);
    dialog.focus = Field::Cancel;
    model.overlay_top = 0;
    model.dialog = Some(dialog);
    vec![Effect::Order { id, to: place, order }]
}

/// What was found where a dialog points, if it still points there.
pub(super) fn probed(model: &mut Model, probe: &Probe, seen: Seen) -> bool {
    match &mut model.dialog {
        Some(dialog) if dialog.probe().as_ref() == Some(probe) => {
            dialog.seen = Some(seen);
            true
        }
        _ => false,
    }
}

/// The lock as the cluster is now.
pub(super) fn settle(model: &mut Model) {
    let Some(mut dialog) = model.dialog.take() else { return };
    dialog.look_around(model);
    model.dialog = Some(dialog);
}

/// A node of the demo is killed, paused, started: nobody else's, so nothing is asked.
pub(super) fn trick(model: &mut Model, trick: Trick) -> Vec<Effect> {
    match dialog::subject(model) {
        Some(node) => vec![Effect::Trick { node, trick }],
        None => refuse(model, "no node of the demo is selected here: tab goes to the servers".to_owned()),
    }
}

pub(super) fn tricked(
    model: &mut Model,
    at: WallTime,
    node: &str,
    done: Result<String, String>,
    fates: Vec<String>,
) -> bool {
    model.now = model.now.max(at);
    model.fates = fates;
    let (mark, level, text) = match done {
        Ok(text) => (Mark::Warning, Level::Warn, text),
        Err(text) => (Mark::Unknown, Level::Info, text),
    };
    let text = format!("{node} {text}");
    model.remark = Some(Remark { at, mark, text: text.clone() });
    model.journal.push(News { at, node: "you".into(), kind: Kind::Action, level, mark, text });
    true
}
