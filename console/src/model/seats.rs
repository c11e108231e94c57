//! What a dialog about Raft's own servers points at: who could lead instead, whose seat is selected, and
//! what stands in the way at this moment.

use shared::event::Pool;

use super::Model;
use super::dialog::{Dialog, subject};
use super::members::status_word;
use super::panes::Pane;
use super::servers::{ServerRole, ServerRow};
use crate::msg::Act;

/// The server that the selected row is about, as Raft has it.
pub fn selected(model: &Model) -> Option<&ServerRow> {
    match model.pane() {
        Pane::Servers | Pane::Replication => model.servers.get(model.raft.list.stands_at()?),
        _ => {
            let node = subject(model)?;
            model.servers.iter().find(|row| row.node == node)
        }
    }
}

/// Voters other than the leader, in the order of the rows.
pub fn heirs(model: &Model) -> impl Iterator<Item = &ServerRow> {
    model.servers.iter().filter(|row| row.vote == Some(true) && model.raft.leader_id() != Some(&row.id))
}

pub fn find<'m>(model: &'m Model, id: &str) -> Option<&'m ServerRow> {
    model.servers.iter().find(|row| row.in_raft && row.id == id)
}

/// Why no dialog opens for this.
pub fn objection(model: &Model, act: Act) -> Option<String> {
    match act {
        Act::Transfer if model.raft.leading().is_none() => {
            Some("no server leads now: there is no leadership to hand over".to_owned())
        }
        Act::Transfer => heirs(model).next().is_none().then(|| "no other voter is known who could lead".to_owned()),
        _ => match selected(model) {
            None => Some("no server is selected here".to_owned()),
            Some(row) if !row.in_raft => Some(format!("{} has no seat in Raft: nothing is to be removed", row.name())),
            // What stands for an ID where the configuration may not be read is an address.
            Some(row) if row.id == row.address => {
                Some(format!("the Raft ID of {} is not known: the token may not read it", row.name()))
            }
            Some(_) => None,
        },
    }
}

/// What keeps an open dialog from being carried out now.
pub fn obstacle(dialog: &Dialog, model: &Model) -> Option<String> {
    match dialog.act {
        Act::Transfer => {
            if model.raft.leading().is_none() {
                return Some("no server leads now: whoever is elected is asked next time".to_owned());
            }
            if !model.raft.is_led() {
                return Some("no quorum answers the leader: it cannot hand anything over".to_owned());
            }
            let target = dialog.target.as_deref()?;
            let Some(row) = find(model, target) else {
                return Some("that server is not in Raft's configuration any more".to_owned());
            };
            let name = row.name();
            match () {
                () if row.role == ServerRole::Leader => Some(format!("{name} leads already")),
                () if row.vote != Some(true) => Some(format!("{name} has no vote")),
                () if row.up == Some(false) => {
                    let member = model.members.find(Pool::Lan, &row.node);
                    let word = member.map_or("down", |member| status_word(member.state.status));
                    Some(format!("{name} is {word}: it cannot lead"))
                }
                () => None,
            }
        }
        Act::RemovePeer if find(model, &dialog.server).is_none() => {
            Some(format!("{} is not in Raft's configuration any more", dialog.subject))
        }
        _ => None,
    }
}
