//! The Events screen, and the few newest events on the Overview.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use shared::event::Level;

use super::members::filter_line;
use super::{Scene, placeholder, rows, waiting};
use crate::format;
use crate::model::journal::{ENTRIES_MAX, Entry, FIELDS, Kind, Kinds, level_word};
use crate::model::mark::Mark;
use crate::model::panes::{Pane, Room};
use crate::theme::Part;
use crate::widget::panel::Panel;
use crate::widget::table::{Cell, Column, Table};
use crate::widget::{Piece, piece, row};

/// How far back the Overview looks for entries worth its few lines.
const RECENT_WITHIN: usize = 2_000;

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let journal = &model.journal;
    filter_line(scene, row(area, 0), buf, &journal.filter, &FIELDS, &state(scene));
    let area = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let focused = scene.focused(Pane::Journal);
    let text = theme.part(Part::Text);
    let counts = format!("   {} kept of {}", format::count(len(journal.len())), format::count(len(ENTRIES_MAX)));
    let title = vec![
        piece("Events", theme.part(Part::Strong)),
        piece(counts, text),
        piece(format!("   level {}+", level_word(journal.level)), text),
        piece(kinds_words(journal.kinds), text),
    ];
    let inner = Panel { title, note: Vec::new(), hint: "", focused }.draw(theme, area, buf);
    if journal.shown() == 0 {
        let words = match journal.is_empty() {
            true => waiting(scene),
            false => format!("none of the {} kept passes level, kinds and filter", format::count(len(journal.len()))),
        };
        return placeholder(scene, inner, &words, buf);
    }
    let list = &journal.list;
    let page = usize::from(inner.height.saturating_sub(1));
    let seen: Vec<&Entry> = (list.top..list.top + page).filter_map(|at| journal.shown_at(at)).collect();
    let wide = model.room() == Room::Wide;
    let columns = [
        Column::new("TIME", if wide { 12 } else { 8 }),
        Column::new("FROM", rows::name_width(seen.iter().map(|entry| entry.node.as_str()), 6, 14)),
        Column::new("KIND", 7).rank(1),
        Column::new("WHAT", 20).grows(),
        Column::new("", times_width(&seen)).right(),
    ];
    let table = Table { theme, columns: &columns, marked: true, focused };
    let selected = (!journal.follow).then_some(list.at);
    table.draw(
        inner,
        buf,
        (list.top, journal.shown(), selected),
        |at| seen.get(at - list.top).map(|entry| entry.mark),
        |at, column| match seen.get(at - list.top) {
            Some(entry) => cell(scene, entry, column, wide),
            None => Cell::new("", text),
        },
    );
}

fn cell<'a>(scene: Scene<'a>, entry: &'a Entry, column: usize, wide: bool) -> Cell<'a> {
    let (model, theme) = (scene.model, scene.theme);
    let offset = model.setup.utc_offset_s;
    match column {
        0 if wide => Cell::new(format::clock_millis(entry.at, offset), theme.part(Part::Faint)),
        0 => Cell::new(format::clock(entry.at, offset), theme.part(Part::Faint)),
        1 => Cell::new(entry.node.as_str(), theme.part(Part::Strong)),
        2 => Cell::new(kind_word(entry), theme.mark(entry.mark)),
        3 => Cell::new(entry.text.as_str(), theme.part(Part::Text)),
        _ => Cell::new(times(entry), theme.part(Part::Faint)),
    }
}

fn times(entry: &Entry) -> String {
    if entry.times > 1 { format!("{}x", entry.times) } else { String::new() }
}

/// Room for the counts of repeats, if any are in sight.
fn times_width(seen: &[&Entry]) -> u16 {
    rows::name_width(seen.iter().map(|entry| times(entry)).collect::<Vec<_>>().iter().map(String::as_str), 0, 6)
}

/// A line of the log is known by its level when that is bad.
fn kind_word(entry: &Entry) -> &'static str {
    match (entry.kind, entry.level) {
        (Kind::Log, Level::Error) => "ERROR",
        (Kind::Log, Level::Warn) => "WARN",
        (kind, _) => kind.word(),
    }
}

fn kinds_words(kinds: Kinds) -> String {
    match kinds {
        Kinds::All => String::new(),
        Kinds::Only(_) => format!("   {} only", kinds.word()),
    }
}

fn len(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// `following`, or `frozen, 12 newer: f follows`.
fn state(scene: Scene<'_>) -> Vec<Piece<'static>> {
    let (journal, theme) = (&scene.model.journal, scene.theme);
    if journal.follow {
        return vec![
            piece(theme.glyph(Mark::Good), theme.mark(Mark::Good)),
            piece(" following", theme.part(Part::Text)),
        ];
    }
    let newer = journal.newer();
    let mut pieces = vec![
        piece(theme.glyph(Mark::Warning), theme.mark(Mark::Warning)),
        piece(format!(" frozen, {} newer  ", format::count(len(newer))), theme.part(Part::Text)),
    ];
    pieces.push(piece("f", theme.part(Part::Key)));
    pieces.push(piece(" follows", theme.part(Part::Faint)));
    pieces
}

/// The newest events that say something of the cluster; plain log lines only when they are bad.
pub(super) fn recent(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let focused = scene.focused(Pane::Recent);
    let title = vec![piece("Events", theme.part(Part::Strong)), piece("   newest last", theme.part(Part::Text))];
    let hint = if area.height > 3 { "5 all of them" } else { "" };
    let inner = Panel { title, note: Vec::new(), hint, focused }.draw(theme, area, buf);
    let mut seen: Vec<&Entry> = model
        .journal
        .newest()
        .take(RECENT_WITHIN)
        .filter(|entry| entry.level >= if entry.kind == Kind::Log { Level::Warn } else { Level::Info })
        .take(usize::from(inner.height))
        .collect();
    if seen.is_empty() {
        return placeholder(scene, inner, &waiting(scene), buf);
    }
    seen.reverse();
    let wide = model.room() == Room::Wide;
    let columns = [
        Column::new("", if wide { 12 } else { 8 }),
        Column::new("", rows::name_width(seen.iter().map(|entry| entry.node.as_str()), 6, 14)),
        Column::new("", 7).rank(if wide { 1 } else { 9 }),
        Column::new("", 20).grows(),
        Column::new("", times_width(&seen)).right(),
    ];
    let columns = if wide { columns.to_vec() } else { [&columns[..2], &columns[3..]].concat() };
    let table = Table { theme, columns: &columns, marked: true, focused };
    let fit = table.fit(inner.width);
    for (line_at, entry) in (0..).zip(&seen) {
        let lead = crate::widget::table::Lead { mark: Some(entry.mark), selected: false };
        table.row(&fit, row(inner, line_at), buf, lead, |column| {
            cell(scene, entry, if wide || column < 2 { column } else { column + 1 }, wide)
        });
    }
}
