//! No quorum is left: the voters as they were last seen, the file that makes a cluster of those that remain,
//! and the steps to it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::detail::{Sheet, WIDTH_MAX, sheet};
use super::{Scene, rows};
use crate::format;
use crate::model::mark::Mark;
use crate::model::recovery::Plan;
use crate::model::servers::ServerRow;
use crate::theme::Part;
use crate::widget::{Piece, piece};

type Line = Vec<Piece<'static>>;

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let plan = Plan::of(scene.model);
    let view = View { scene, plan: &plan, columns: usize::from(area.width.min(WIDTH_MAX)).saturating_sub(4) };
    let quorum = plan.quorum;
    let up = format!("   {} of {} voters up, {} needed", quorum.up, quorum.voters, quorum.need());
    let theme = scene.theme;
    let title = vec![piece("Recovery", theme.part(Part::Strong)), piece(up, theme.part(Part::Text))];
    let hint = if plan.file().is_some() && scene.model.moment.is_none() {
        "w saves the file   esc closes"
    } else {
        "esc closes"
    };
    sheet(scene, area, buf, &Sheet { title, lines: &view.lines(), foot: &[], hint });
}

struct View<'a> {
    scene: Scene<'a>,
    plan: &'a Plan<'a>,
    columns: usize,
}

impl View<'_> {
    fn text(&self, text: impl Into<String>) -> Piece<'static> {
        piece(text.into(), self.scene.theme.part(Part::Text))
    }

    fn faint(&self, text: impl Into<String>) -> Piece<'static> {
        piece(text.into(), self.scene.theme.part(Part::Faint))
    }

    fn wrapped(&self, lead: &str, text: &str) -> Vec<Line> {
        let width = format::width(lead);
        let parts = format::wrap(text, self.columns.saturating_sub(width)).into_iter().enumerate();
        let line = |(at, part): (usize, String)| {
            vec![self.faint(if at == 0 { lead.to_owned() } else { " ".repeat(width) }), self.text(part)]
        };
        parts.map(line).collect()
    }

    fn lines(&self) -> Vec<Line> {
        let plan = self.plan;
        let mut lines = self.voters();
        lines.push(Vec::new());
        let missing = plan.quorum.need().saturating_sub(plan.quorum.up);
        let first = match missing {
            0 => "Enough voters are up to elect a leader: look why they do not (3, 5) before anything else.".to_owned(),
            1 => "Better than all of this: start one of the lost servers again. Then nothing is lost.".to_owned(),
            _ => format!("Better than all of this: start {missing} of the lost servers again. Then nothing is lost."),
        };
        let theme = self.scene.theme;
        lines.extend(self.wrapped(&format!("{} ", theme.glyph(Mark::Good)), &first));
        let parted = "A network that is parted looks the same from here. If the others run somewhere, this makes a \
                      second cluster.";
        lines.extend(self.wrapped(&format!("{} ", theme.glyph(Mark::Warning)), parted));
        lines.push(Vec::new());
        let Some(file) = plan.file() else {
            let text = "No voter that is up, with its ID, is seen from here: give this console the address of one that \
                        is left (--addr).";
            lines.extend(self.wrapped("", text));
            return lines;
        };
        lines.push(vec![piece("raft/peers.json", theme.part(Part::Strong)), self.faint("  in the data directory")]);
        for line in file.lines() {
            // An operator copies it by hand where there is no other way: nothing of it may be missing.
            let parts = format::wrap(line.trim_start(), self.columns.saturating_sub(2)).into_iter();
            lines.extend(parts.map(|part| vec![self.text(format!("  {part}"))]));
        }
        lines.push(Vec::new());
        lines.extend(self.steps());
        lines
    }

    /// The table: who was there, and how far its log was.
    fn voters(&self) -> Vec<Line> {
        let (model, theme) = (self.scene.model, self.scene.theme);
        let names = self.plan.rows.iter().map(|row| format::width(row.name())).max().unwrap_or(4).clamp(4, 16);
        let has_ids = self.columns >= 80;
        let head_of_id = if has_ids { format!("{:37}", "ID") } else { String::new() };
        let mut lines = vec![vec![
            self.faint(format!("  {:names$} {head_of_id}{:22}{:8} TERM  LAST LOG", "NODE", "ADDRESS", "STATE")),
        ]];
        for row in &self.plan.rows {
            let mark = rows::server_mark(row);
            let state = match (row.up, row.vote) {
                (Some(true), Some(false)) => "learner",
                (Some(true), _) => "up",
                (Some(false), _) => rows::role_word(row),
                (None, _) => "?",
            };
            let name = format::fit(row.name(), names, self.scene.ellipsis()).into_owned();
            let id = if has_ids { format!("{:37}", row.id) } else { String::new() };
            let address = format::fit(&row.address, 21, self.scene.ellipsis()).into_owned();
            let (term, last) = (rows::figure(row.progress.term), rows::figure(row.progress.last_log));
            lines.push(vec![
                piece(format!("{} ", theme.glyph(mark)), theme.mark(mark)),
                piece(format!("{name:names$} "), theme.part(Part::Strong)),
                self.text(format!("{id}{address:22}{state:8} {term:>4}{last:>10}")),
            ]);
        }
        let seen = self.plan.seen.map(|at| format::clock(at, model.setup.utc_offset_s));
        let words = match (self.plan.furthest, seen) {
            (Some(row), Some(seen)) => {
                let last = rows::figure(row.progress.last_log);
                format!("furthest of those that remain: {}, index {last} (figures since {seen})", row.name())
            }
            _ => "how far the logs of those that remain are is not seen for all of them".to_owned(),
        };
        lines.extend(self.wrapped("  ", &words));
        if let Some(ahead) = self.plan.ahead {
            let (name, had) = (ahead.name(), rows::figure(ahead.progress.last_log));
            let text = format!("{name}, which is down, had {had}: without it the entries up to there are lost");
            lines.extend(self.wrapped(&format!("{} ", theme.glyph(Mark::Warning)), &text));
        }
        lines
    }

    fn steps(&self) -> Vec<Line> {
        let names = |mut rows: Vec<&ServerRow>| {
            rows.sort_by_key(|row| row.name().to_owned());
            rows.iter().map(|row| row.name()).collect::<Vec<_>>().join(", ")
        };
        let lost: Vec<&ServerRow> = self.plan.rows.iter().copied().filter(|row| row.up != Some(true)).collect();
        let remain = names(self.plan.survivors().collect());
        let first = self.plan.furthest.map_or(String::new(), |row| format!(", {} first", row.name()));
        let steps = [
            match lost.is_empty() {
                true => "Be sure that no other server of this cluster runs anywhere.".to_owned(),
                false => format!("Be sure that these stay down for good: {}.", names(lost)),
            },
            format!("Stop the agents of all that remain: {remain}."),
            "Put this file as raft/peers.json into the data directory of each of them, the same everywhere.".to_owned(),
            format!("Start them again{first}: each takes the file once, at its start, and they elect a leader."),
            "What only the lost servers had is gone; clean their data directories before they join again.".to_owned(),
        ];
        steps.iter().zip(1..).flat_map(|(step, number)| self.wrapped(&format!("{number}  "), step)).collect()
    }
}
