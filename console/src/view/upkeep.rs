//! The dialog of maintenance: what is taken out, or comes back, and who is asked.

use super::ask::{Line, View};
use crate::model::dialog::Field;
use crate::model::mark::Mark;
use crate::model::upkeep;
use crate::order::Seen;
use crate::theme::Part;
use crate::widget::piece;

impl View<'_> {
    /// `web on web-1: into maintenance`
    pub(super) fn upkeep(&self) -> String {
        let node = &self.dialog.subject;
        let what = upkeep::scope(self.dialog).map_or(node.clone(), |kept| format!("{} on {node}", kept.name));
        let way = if self.dialog.enables { "into maintenance" } else { "out of maintenance" };
        format!("{what}: {way}")
    }

    pub(super) fn maintenance(&self) -> Vec<Line> {
        let (dialog, theme) = (self.dialog, self.scene.theme);
        let node = &dialog.subject;
        let mut lines = Vec::new();
        if let Some(kept) = &dialog.kept {
            let is_here = dialog.focus == Field::Scope;
            let choice = |is_chosen: bool, text: String| {
                let part = if is_here && is_chosen { Part::Selected } else { Part::Text };
                piece(format!("({}) {text}", self.radio(is_chosen)), theme.part(part))
            };
            let name = if kept.id == kept.name { kept.name.clone() } else { format!("{} ({})", kept.name, kept.id) };
            let instance = choice(!dialog.is_whole_node, format!("instance {name}"));
            let whole = choice(dialog.is_whole_node, format!("all of {node}"));
            lines.push(vec![self.faint("what  "), instance, self.text("   "), whole]);
        }
        if dialog.enables {
            lines.push(self.field("reason", &dialog.reason, Field::Reason));
        }
        lines.push(Vec::new());
        let what = match upkeep::scope(dialog) {
            Some(kept) => format!("{} on {node}", kept.name),
            None => format!("every service on {node}, and {node} itself,"),
        };
        if let Some(why) = &dialog.obstacle {
            lines.extend(self.marked(Mark::Failed, why));
        } else if dialog.enables {
            let text = format!("{what} becomes critical: DNS and health queries leave it out until it is taken back.");
            lines.extend(self.marked(Mark::Warning, &text));
            lines.extend(self.marked(Mark::Good, "It keeps running, and its checks go on."));
        } else {
            let text = format!("{what} is offered again, as far as its other checks pass.");
            lines.extend(self.marked(Mark::Good, &text));
        }
        lines.push(Vec::new());
        lines.push(self.field("its agent answers HTTP at", &dialog.address, Field::Address));
        lines.extend(match &dialog.seen {
            None => vec![vec![self.faint("  looking whose agent that is ...")]],
            Some(Seen::Agent(found)) if found.node == *node => {
                self.marked(Mark::Good, &format!("that is {node}: it is asked itself, as it keeps its services"))
            }
            Some(Seen::Agent(found)) => {
                let text = format!("that is {}, not {node}, which keeps them. Type {node}'s own address", found.node);
                self.marked(Mark::Failed, &text)
            }
            Some(Seen::Away(trouble)) => {
                let text = format!("{} {trouble}. Type where it answers (tab)", dialog.address);
                self.marked(Mark::Failed, &text)
            }
            Some(Seen::Accepts { .. }) => Vec::new(),
        });
        lines
    }
}
