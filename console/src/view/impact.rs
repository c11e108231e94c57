//! What if: the loss of each server, and of the smallest number that ends the quorum; and what a leave of
//! the selected one would do instead.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::Scene;
use super::detail::dialog;
use super::overview::then_long;
use crate::format;
use crate::model::dialog::subject;
use crate::model::mark::Mark;
use crate::model::risk;
use crate::theme::Part;
use crate::widget::{Piece, piece};

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let title = vec![
        piece("Impact", scene.theme.part(Part::Strong)),
        piece("   if a server is lost", scene.theme.part(Part::Text)),
    ];
    dialog(scene, area, buf, title, &lines(scene));
}

fn lines(scene: Scene<'_>) -> Vec<Vec<Piece<'static>>> {
    let (model, theme) = (scene.model, scene.theme);
    let (text, faint) = (theme.part(Part::Text), theme.part(Part::Faint));
    if model.impacts.is_empty() {
        return vec![vec![piece("the voters are not known", faint)]];
    }
    let selected = subject(model);
    let wide = model.impacts.iter().map(|impact| format::width(&impact.lose)).max().unwrap_or(0).clamp(8, 24);
    let mut lines = vec![vec![piece(format!("  {:wide$}   LEFT  NEED  THEN", "CRASH OF"), faint)]];
    for impact in &model.impacts {
        let (mark, words) = then_long(impact);
        let is_selected = selected.as_deref() == Some(impact.lose.as_str());
        let star = if impact.leader { theme.glyph(Mark::Leader) } else { " " };
        let name = format::fit(&impact.lose, wide, scene.ellipsis()).into_owned();
        let lead = if is_selected { theme.lines().pointer } else { " " };
        let part = if is_selected { theme.part(Part::Strong) } else { text };
        lines.push(vec![
            piece(format!("{lead} {name:wide$} "), part),
            piece(star, theme.mark(Mark::Leader)),
            piece(format!("{:>5} {:>5}  ", impact.left, impact.need), text),
            piece(format!("{} {words}", theme.glyph(mark)), theme.mark(mark)),
        ]);
    }
    let cost = selected.as_deref().and_then(|node| risk::leaving(&model.servers, node, false));
    if let (Some(node), Some(cost)) = (selected, cost) {
        let after = cost.after;
        let (mark, words) = match cost.is_lost {
            true => (Mark::Failed, "NO QUORUM".to_owned()),
            false => (Mark::Good, format!("ok, {} to spare", after.spare())),
        };
        lines.push(Vec::new());
        let counts =
            format!("a leave of {node} instead: {} voters, {} up, {} needed  ", after.voters, after.up, after.need());
        lines.push(vec![piece(counts, text), piece(format!("{} {words}", theme.glyph(mark)), theme.mark(mark))]);
    }
    lines
}
