//! Maintenance: what the selected row could be taken out with, a service instance or its whole node, and
//! whether it is out now.

use shared::event::{MemberStatus, Pool};

use super::Model;
use super::dialog::{Dialog, subject};
use super::members::status_word;
use super::panes::Pane;

/// A service instance on its node.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Kept {
    pub id: String,
    pub name: String,
}

/// The node of the selected row, and the service instance that the row is about.
pub fn target(model: &Model) -> Option<(String, Option<Kept>)> {
    match model.pane() {
        Pane::Instances => {
            let row = model.instances.selected()?;
            Some((row.node.clone(), Some(Kept { id: row.id.clone(), name: model.instances.of.clone() })))
        }
        Pane::Checks => {
            let check = model.checks.selected()?;
            let kept = Kept { id: check.service_id.clone(), name: check.service.clone() };
            Some((check.node.clone(), Some(kept).filter(|kept| !kept.id.is_empty())))
        }
        _ => subject(model).map(|node| (node, None)),
    }
}

/// Why no dialog opens for it.
pub fn objection(model: &Model, node: &str) -> Option<String> {
    match model.members.find(Pool::Lan, node).map(|member| member.state.status) {
        Some(MemberStatus::Alive | MemberStatus::Suspect) => None,
        Some(status) => Some(format!("{node} is {}: its agent is to be asked, and does not run", status_word(status))),
        None => Some(format!("{node} is no member: no agent of its own keeps what the catalog has of it")),
    }
}

/// What the order of a dialog is about; none is the node itself.
pub fn scope(dialog: &Dialog) -> Option<&Kept> {
    dialog.kept.as_ref().filter(|_| !dialog.is_whole_node)
}

/// Whether that is in maintenance now.
pub fn is_on(model: &Model, dialog: &Dialog) -> bool {
    model.checks.is_kept(&dialog.subject, scope(dialog).map(|kept| kept.id.as_str()))
}

/// What keeps an open dialog from being carried out now.
pub fn obstacle(model: &Model, dialog: &Dialog) -> Option<String> {
    let what = scope(dialog).map_or(dialog.subject.as_str(), |kept| &kept.name);
    match (dialog.enables, is_on(model, dialog)) {
        (true, true) => Some(format!("{what} is in maintenance already")),
        (false, false) => Some(format!("{what} is not in maintenance any more")),
        _ => None,
    }
}
