//! What `y` and `Y` copy of the selected row: as it is read, and as the command of a shell that shows it.

use crate::model::checks::Check;
use crate::model::members::status_word;
use crate::model::panes::Pane;
use crate::model::{Model, dialog};
use crate::msg::{AgentKind, Copied};
use crate::order::quoted;

/// The text, where the selected row has one.
pub(super) fn text(model: &Model, what: Copied) -> Option<String> {
    match what {
        Copied::Row => row(model),
        Copied::Command => command(model),
    }
}

fn row(model: &Model) -> Option<String> {
    let words = match model.pane() {
        Pane::Services => {
            let row = model.services.selected()?;
            let count = row.tally.map_or("?".to_owned(), |tally| tally.total().to_string());
            vec![row.name.clone(), count, row.health.map_or("?", |health| health.word()).to_owned(), row.tags.join(",")]
        }
        Pane::Instances => {
            let row = model.instances.selected()?;
            let told = row.telling().map(|probe| format!("{}: {}", probe.name, first_line(&probe.output)));
            let (status, told) = (row.status().to_owned(), told.unwrap_or_default());
            vec![model.instances.of.clone(), row.id.clone(), row.node.clone(), row.host_port(), status, told]
        }
        Pane::Checks => {
            let Check { node, id, status, output, .. } = model.checks.selected()?;
            vec![node.clone(), id.clone(), status.clone(), output.clone()]
        }
        Pane::Attention => {
            let row = model.attention.selected()?;
            vec![row.what.clone(), row.subject.clone(), row.text.clone()]
        }
        Pane::Members => {
            let row = model.members.selected()?;
            let status = status_word(row.state.status).to_owned();
            vec![row.state.name.clone(), row.state.address.clone(), status, row.kind().to_owned()]
        }
        Pane::Servers | Pane::Replication => {
            let row = model.servers.get(model.raft.list.stands_at()?)?;
            vec![row.name().to_owned(), row.address.clone(), row.id.clone()]
        }
        Pane::Journal => {
            let row = model.journal.selected()?;
            vec![row.at.to_string(), row.node.clone(), row.kind.word().to_owned(), row.text.clone()]
        }
        Pane::Elections | Pane::Recent => return None,
    };
    Some(words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  "))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn command(model: &Model) -> Option<String> {
    let is_theirs = model.lane().and_then(|lane| lane.kind) == Some(AgentKind::HashiCorp);
    let program = if is_theirs { "consul" } else { "agent" };
    let place = format!("-http-addr={}", dialog::place(model));
    Some(match model.pane() {
        Pane::Services => {
            format!("{program} catalog nodes {place} -service={}", quoted(&model.services.selected()?.name))
        }
        Pane::Instances => {
            format!("{program} catalog services {place} -node={}", quoted(&model.instances.selected()?.node))
        }
        Pane::Checks => format!("{program} catalog services {place} -node={}", quoted(&model.checks.selected()?.node)),
        Pane::Members => format!("{program} members {place} -detailed"),
        Pane::Servers | Pane::Replication => format!("{program} operator raft list-peers {place}"),
        Pane::Attention | Pane::Elections | Pane::Journal | Pane::Recent => return None,
    })
}
