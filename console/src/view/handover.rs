//! The dialogs about Raft's own servers: to whom the leadership goes, whose seat is removed.

use super::ask::{Line, View};
use super::rows;
use crate::format;
use crate::model::mark::Mark;
use crate::model::raft::Gap;
use crate::model::seats;
use crate::model::servers::ServerRow;
use crate::msg::AgentKind;
use crate::theme::Part;
use crate::widget::{Piece, piece};

/// Entries behind from which it is worth a word: it must have them before it can lead.
const BEHIND_MUCH: u64 = 1_000;

impl View<'_> {
    /// `from srv-1, which leads term 41 for 3h12m`
    pub(super) fn reign(&self) -> String {
        let raft = &self.scene.model.raft;
        let Some(name) = raft.leader_name() else { return "no server leads now".to_owned() };
        let term = raft.term.map_or(String::new(), |term| format!(" term {term}"));
        let since = raft.leading().and_then(|leading| leading.since);
        let since = since.map(|at| format!(" for {}", format::age_whole(self.scene.model.now.micros_since(at))));
        format!("from {name}, which leads{term}{}", since.unwrap_or_default())
    }

    pub(super) fn transfer(&self) -> Vec<Line> {
        let (model, dialog) = (self.scene.model, self.dialog);
        let mut lines = self.choices();
        lines.push(Vec::new());
        if let Some(why) = &dialog.obstacle {
            lines.extend(self.marked(Mark::Failed, why));
        } else if let Some(row) = dialog.target.as_deref().and_then(|id| seats::find(model, id)) {
            lines.extend(self.heir(row));
        } else {
            let text = "the leader picks the voter that has most of its log and answers it";
            lines.extend(self.marked(Mark::Good, text));
        }
        let gap = match model.raft.last_gap {
            Some(Gap::Of(ms)) => format!(" (last time that took {})", format::millis(ms)),
            Some(Gap::Unseen) | None => String::new(),
        };
        let text = format!("writes wait until the new leader is there, none is lost{gap}");
        lines.extend(self.marked(Mark::Good, &text));
        let is_theirs = model.lane().and_then(|lane| lane.kind) == Some(AgentKind::HashiCorp);
        if is_theirs {
            lines
                .extend(self.marked(Mark::Warning, "HashiCorp's agents offer this in later versions only, not in 1.8"));
        }
        lines
    }

    /// `to   (•) the furthest   ( ) srv-2   ( ) srv-3`, in as many lines as it takes.
    fn choices(&self) -> Vec<Line> {
        let (model, dialog) = (self.scene.model, self.dialog);
        let heirs = seats::heirs(model).map(|row| (Some(row.id.as_str()), row.name()));
        let all = std::iter::once((None, "who is furthest")).chain(heirs);
        let is_here = dialog.focus == crate::model::dialog::Field::Target;
        let mut lines: Vec<Line> = vec![vec![self.faint("to  ")]];
        let mut used = 4;
        for (id, name) in all {
            let is_chosen = dialog.target.as_deref() == id;
            let text = format!("({}) {}", self.radio(is_chosen), format::clean(name));
            let width = format::width(&text) + 3;
            if used + width > self.columns && used > 4 {
                lines.push(vec![self.faint("    ")]);
                used = 4;
            }
            used += width;
            let part = if is_here && is_chosen { Part::Selected } else { Part::Text };
            let last = lines.len() - 1;
            lines[last].extend::<[Piece<'static>; 2]>([piece(text, self.scene.theme.part(part)), self.text("   ")]);
        }
        lines
    }

    /// How the one that is to lead stands now.
    fn heir(&self, row: &ServerRow) -> Vec<Line> {
        let name = row.name();
        let behind = match row.behind {
            Some(0) => "has all of the log".to_owned(),
            Some(1) => "lacks 1 entry".to_owned(),
            Some(behind) => format!("lacks {} entries", format::count(behind)),
            None => "how far its log is cannot be seen from here".to_owned(),
        };
        let contact = match rows::contact(row) {
            known if known != "?" && known != "-" => format!(", heard {known} ago"),
            _ => String::new(),
        };
        let mark = match row.behind {
            Some(0..BEHIND_MUCH) if row.up == Some(true) => Mark::Good,
            _ => Mark::Warning,
        };
        let mut lines = self.marked(mark, &format!("{name} {behind}{contact}"));
        if row.up.is_none() {
            lines.extend(self.marked(Mark::Warning, &format!("nobody here says whether {name} is up")));
        }
        lines
    }

    pub(super) fn removal(&self) -> Vec<Line> {
        let (model, dialog) = (self.scene.model, self.dialog);
        let name = &dialog.subject;
        let mut lines = self.cost(dialog.cost(model).as_ref());
        if let Some(why) = &dialog.obstacle {
            lines.extend(self.marked(Mark::Failed, why));
            return lines;
        }
        let row = seats::find(model, &dialog.server);
        lines.extend(match row.and_then(|row| row.up) {
            Some(true) => {
                let text = format!(
                    "{name} runs: the leader adds servers that run, so it may come back. L lets it leave for good."
                );
                self.marked(Mark::Warning, &text)
            }
            Some(false) => {
                let text =
                    format!("{name} loses its seat in Raft; gossip and catalog keep it (X forces it out of all).");
                self.marked(Mark::Good, &text)
            }
            None => {
                let text = format!("gossip lists no {name}: only its seat in Raft is left of it.");
                self.marked(Mark::Good, &text)
            }
        });
        if model.raft.leading().is_none() {
            let text = "There is no leader: this cannot commit until there is one.";
            lines.extend(self.marked(Mark::Warning, text));
        }
        lines
    }
}
