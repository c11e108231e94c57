//! Maintenance: its dialog, and what comes of the order.

use super::pursue::FOLLOW_US;
use crate::format;
use crate::model::Model;
use crate::model::dialog::{self, Dialog};
use crate::model::mark::Mark;
use crate::model::panes::Pane;
use crate::model::pursuit::Pursuit;
use crate::model::upkeep;
use crate::msg::Act;
use crate::order::{Order, Seen};

/// The dialog for the selected row, or why there is none.
pub(super) fn ask(model: &Model) -> Result<Dialog, String> {
    let Some((node, kept)) = upkeep::target(model) else {
        let way = if model.pane() == Pane::Services { ": tab goes to the instances" } else { "" };
        return Err(format!("no node and no service instance is selected here{way}"));
    };
    if let Some(why) = upkeep::objection(model, &node) {
        return Err(why);
    }
    let mut dialog = Dialog { kept, ..Dialog::new(Act::Maintain, node) };
    let (address, identity) = dialog::own_place(model, &dialog.subject);
    dialog.address = address;
    dialog.seen = identity.map(Seen::Agent);
    dialog.enables = !upkeep::is_on(model, &dialog);
    Ok(dialog)
}

/// The instance, or its whole node.
pub(super) fn turn_scope(model: &mut Model) {
    let Some(mut dialog) = model.dialog.take() else { return };
    dialog.is_whole_node = !dialog.is_whole_node;
    dialog.enables = !upkeep::is_on(model, &dialog);
    dialog.look_around(model);
    model.dialog = Some(dialog);
}

/// The check that stands for it: there, or gone.
pub(super) fn follow(model: &Model, pursuit: &mut Pursuit) {
    let Order::Maintain { service, enable, .. } = &pursuit.order else { return };
    let (now, node, enable) = (model.now, pursuit.subject.clone(), *enable);
    let what = service.as_ref().map_or(node.clone(), |id| format!("{id} on {node}"));
    let is_on = model.checks.is_kept(&node, service.as_deref());
    let waited = now.micros_since(pursuit.begun);
    if is_on == enable {
        let after = format::millis(waited / 1_000);
        let word = if enable { "is in maintenance: no name leads to it" } else { "is out of maintenance" };
        return pursuit.end(now, Mark::Good, format!("{what} {word}, after {after}"));
    }
    if waited > FOLLOW_US {
        let asked = if pursuit.taken.is_some() { "it was taken" } else { "no answer came" };
        let word = if enable { "has no such check" } else { "has its check still" };
        let text = format!("not seen to happen within a minute: {asked}, and {what} {word} in the catalog");
        pursuit.end(now, Mark::Warning, text);
    }
}
