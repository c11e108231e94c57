//! What fits nowhere else: the verdict, the member counts, the newest event.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Scene, verdict};
use crate::format;
use crate::model::members::status_word;
use crate::model::panes::LEAST;
use crate::theme::Part;
use crate::widget::{line, piece, row};
use shared::event::MemberStatus;

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let (text, faint) = (theme.part(Part::Text), theme.part(Part::Faint));
    let mark = scene.ellipsis();
    let pieces = match model.is_live() {
        true => verdict::verdict(scene, area.width),
        false => verdict::banner(scene, area.width),
    };
    line(buf, row(area, 0), &pieces, mark);
    let census = model.members.census;
    let mut counts = vec![piece("members", faint)];
    if model.members.known {
        for (status, count) in [
            (MemberStatus::Alive, census.alive),
            (MemberStatus::Suspect, census.suspect),
            (MemberStatus::Failed, census.failed),
            (MemberStatus::Left, census.left),
        ] {
            if count > 0 {
                counts.push(piece(format!("  {} {count}", status_word(status)), theme.mark(status.into())));
            }
        }
    } else {
        counts.push(piece("  ?", text));
    }
    line(buf, row(area, 1), &counts, mark);
    if let Some(entry) = model.journal.newest().next() {
        let at = format::clock(entry.at, model.setup.utc_offset_s);
        let pieces = [
            piece(format!("{at} "), faint),
            piece(theme.glyph(entry.mark), theme.mark(entry.mark)),
            piece(format!(" {} {}", entry.node, entry.text), text),
        ];
        line(buf, row(area, 2), &pieces, mark);
    }
    let words = format!("q quits; from {}x{} on there is more to see", LEAST.0, LEAST.1);
    line(buf, row(area, 3), &[piece(words, faint)], mark);
}
