//! What fits nowhere else: the verdict, the member counts, the newest event.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Scene, verdict};
use crate::format;
use crate::model::mark::Mark;
use crate::model::members::status_word;
use crate::model::panes::LEAST;
use crate::theme::Part;
use crate::widget::{Piece, line, piece, row};
use shared::event::{Level, MemberStatus};

/// From this height on lines are not counted.
const ROOMY: u16 = 6;

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let (text, faint) = (theme.part(Part::Text), theme.part(Part::Faint));
    let mark = scene.ellipsis();
    let pieces = match model.is_live() {
        true => verdict::verdict(scene, area.width),
        false => verdict::banner(scene, area.width),
    };
    // The leader gets a line of its own where the verdict takes a whole one.
    let wide: usize = pieces.iter().map(|(text, _)| format::width(text)).sum();
    let star = pieces.iter().position(|(text, _)| text == theme.glyph(Mark::Leader));
    let split = star.filter(|_| wide > usize::from(area.width) && area.height >= ROOMY).unwrap_or(pieces.len());
    let mut lines = vec![pieces[..split].to_vec()];
    if split < pieces.len() {
        lines.push(pieces[split..].to_vec());
    }
    lines.push(census(scene));
    // The newest events as far as there is room, the last line is for the way out.
    let room = usize::from(area.height).saturating_sub(lines.len() + 1).max(1);
    let mut news: Vec<_> = model.journal.newest().filter(|entry| entry.level >= Level::Info).take(room).collect();
    news.reverse();
    for entry in news {
        let at = format::clock(entry.at, model.setup.utc_offset_s);
        lines.push(vec![
            piece(format!("{at} "), faint),
            piece(theme.glyph(entry.mark), theme.mark(entry.mark)),
            piece(format!(" {} {}", entry.node, entry.text), text),
        ]);
    }
    for (at, pieces) in (0..).zip(&lines) {
        line(buf, row(area, at), pieces, mark);
    }
    let words = format!("q quits; more to see from {}x{} on", LEAST.0, LEAST.1);
    let last = area.height.saturating_sub(1).max(u16::try_from(lines.len()).unwrap_or(u16::MAX));
    line(buf, row(area, last), &[piece(words, faint)], mark);
}

/// `members  alive 4  failed 1`
fn census(scene: Scene<'_>) -> Vec<Piece<'static>> {
    let (model, theme) = (scene.model, scene.theme);
    let mut counts = vec![piece("members", theme.part(Part::Faint))];
    if !model.members.known {
        counts.push(piece("  ?", theme.part(Part::Text)));
        return counts;
    }
    let census = model.members.census;
    for (status, count) in [
        (MemberStatus::Alive, census.alive),
        (MemberStatus::Suspect, census.suspect),
        (MemberStatus::Leaving, census.leaving),
        (MemberStatus::Failed, census.failed),
        (MemberStatus::Left, census.left),
    ] {
        if count > 0 {
            counts.push(piece(format!("  {} {count}", status_word(status)), theme.mark(status.into())));
        }
    }
    counts
}
