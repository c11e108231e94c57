//! The Services screen: every service of the catalog with its instances by status, and beside it the
//! instances of the one that is selected.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Scene, instances, members, placeholder, rows, waiting};
use crate::format;
use crate::model::checks::Health;
use crate::model::instances as those;
use crate::model::listing::SortKey;
use crate::model::mark::Mark;
use crate::model::panes::{self, Pane, Room};
use crate::model::services::{FIELDS, Service, Tally};
use crate::msg::{Denial, Source};
use crate::theme::Part;
use crate::widget::panel::Panel;
use crate::widget::table::{Cell, Column, Table};
use crate::widget::{Piece, piece, row};

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let rest = head(scene, area, buf);
    if scene.model.room() == Room::Wide {
        let width = panes::services_width(area.width);
        list(scene, Rect { width, ..rest }, buf);
        instances::draw(scene, Rect { x: rest.x + width, width: rest.width - width, ..rest }, buf);
    } else {
        let height = panes::services_height(rest.height, scene.model.services.count()).min(rest.height);
        list(scene, Rect { height, ..rest }, buf);
        instances::draw(scene, Rect { y: rest.y + height, height: rest.height - height, ..rest }, buf);
    }
}

/// One of the two panes, whole.
pub(super) fn alone(scene: Scene<'_>, pane: Pane, area: Rect, buf: &mut Buffer) {
    let rest = head(scene, area, buf);
    match pane {
        Pane::Instances => instances::draw(scene, rest, buf),
        _ => list(scene, rest, buf),
    }
}

/// The filter of the focused pane and what all checks are; the rest of the area.
fn head(scene: Scene<'_>, area: Rect, buf: &mut Buffer) -> Rect {
    let model = scene.model;
    let right = told(scene, area.width);
    match model.pane() {
        Pane::Instances => {
            members::filter_line(scene, row(area, 0), buf, &model.instances.listing.filter, &those::FIELDS, &right);
        }
        _ => members::filter_line(scene, row(area, 0), buf, &model.services.listing.filter, &FIELDS, &right),
    }
    Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area }
}

/// What all checks are, and what of it is only as it was; that first where there is no room for both.
fn told(scene: Scene<'_>, width: u16) -> Vec<Piece<'static>> {
    let (mut pieces, census) = (staleness(scene), census(scene));
    let columns = |pieces: &[Piece<'_>]| pieces.iter().map(|(text, _)| format::width(text)).sum::<usize>();
    if pieces.is_empty() || columns(&pieces) + columns(&census) + 5 <= usize::from(width) {
        pieces.extend(census);
    }
    pieces
}

/// `▲ instances, checks as they were: no answer   `: what is drawn and not answered now, though the agent is
/// there. Where it is not, the banner dates all of it.
fn staleness(scene: Scene<'_>) -> Vec<Piece<'static>> {
    let (model, theme) = (scene.model, scene.theme);
    let drawn = [
        (Source::Services, "services", model.services.known),
        (Source::Instances, "instances", model.instances.known),
        (Source::Checks, "checks", model.checks.known),
    ];
    let old = |source: &Source| model.denials.get(source).filter(|denial| **denial != Denial::NotOffered);
    let words: Vec<&str> =
        drawn.iter().filter(|(source, _, known)| *known && old(source).is_some()).map(|it| it.1).collect();
    if words.is_empty() || !model.is_live() {
        return Vec::new();
    }
    let is_forbidden = drawn.iter().any(|(source, ..)| old(source) == Some(&Denial::Forbidden));
    let why = if is_forbidden { "403" } else { "no answer" };
    let text = format!("{} {} as they were: {why}   ", theme.glyph(Mark::Warning), words.join(", "));
    vec![piece(text, theme.mark(Mark::Warning))]
}

/// `checks  12 passing  1 warning  2 critical`
fn census(scene: Scene<'_>) -> Vec<Piece<'static>> {
    let (model, theme) = (scene.model, scene.theme);
    if !model.checks.known {
        return Vec::new();
    }
    let mut pieces = vec![piece("checks", theme.part(Part::Faint))];
    for health in [Health::Passing, Health::Warning, Health::Critical] {
        let count = model.checks.count(health);
        let style = if count > 0 { theme.mark(rows::health_mark(health)) } else { theme.part(Part::Faint) };
        pieces.push(piece("  ", theme.part(Part::Text)));
        pieces.push(piece(format!("{count} {}", health.word()), style));
    }
    pieces
}

/// Why nothing is listed: what was refused, what is waited for, what is left out.
pub(super) fn emptiness(scene: Scene<'_>, source: Source, known: bool, is_filtered: bool, none: &str) -> String {
    match (scene.model.denials.get(&source), known) {
        (Some(Denial::Forbidden), false) => "403: the token may not read this".to_owned(),
        (Some(Denial::NotOffered), false) => "this agent does not offer it".to_owned(),
        (_, true) if is_filtered => "nothing passes the filter".to_owned(),
        (_, true) => none.to_owned(),
        (_, false) => waiting(scene),
    }
}

fn list(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let services = &model.services;
    let focused = scene.focused(Pane::Services);
    let arrow = if services.listing.reversed { theme.lines().down } else { theme.lines().up };
    let count = match services.shown() == services.count() {
        true => services.count().to_string(),
        false => format!("{} of {}", services.shown(), services.count()),
    };
    let count = if services.known { format!(" {count}") } else { String::new() };
    let title = vec![
        piece("Services", theme.part(Part::Strong)),
        piece(count, theme.part(Part::Text)),
        piece(format!("   by {} {arrow}", services.listing.sort.word()), theme.part(Part::Text)),
    ];
    let hint = if focused { "enter instances  / filter  s sort" } else { "" };
    let inner = Panel { title, note: Vec::new(), hint, focused }.draw(theme, area, buf);
    if services.shown() == 0 {
        let text =
            emptiness(scene, Source::Services, services.known, services.listing.filter.is_active(), "no services");
        return placeholder(scene, inner, &text, buf);
    }
    let list = &services.listing.list;
    let page = usize::from(inner.height.saturating_sub(1));
    let seen = || (list.top..list.top + page).filter_map(|at| services.shown_at(at));
    let most = seen().filter_map(|row| row.tally).map(|tally| tally.total()).max().unwrap_or(0);
    let digits = u16::try_from(most.to_string().len()).unwrap_or(2).clamp(2, 6);
    let tags: Vec<String> = seen().map(|row| row.tags.join(" ")).collect();
    let count = |mark: Mark| Column { head: theme.glyph(mark).into(), ..Column::new("", digits) }.right();
    let columns = [
        Column::new("SERVICE", 10).grows(),
        Column::new("INST", digits.max(4)).right(),
        count(Mark::Good),
        count(Mark::Warning),
        count(Mark::Failed),
        Column::new("TAGS", rows::name_width(tags.iter().map(String::as_str), 6, (inner.width / 4).clamp(6, 16)))
            .rank(1),
    ];
    let table = Table { theme, columns: &columns, marked: true, focused };
    table.draw(
        inner,
        buf,
        (list.top, services.shown(), list.stands_at()),
        |at| services.shown_at(at).map(mark),
        |at, column| match services.shown_at(at) {
            Some(service) => cell(scene, service, column),
            None => Cell::new("", theme.part(Part::Text)),
        },
    );
}

fn mark(service: &Service) -> Mark {
    match (service.health, service.tally) {
        (Some(health), _) => rows::health_mark(health),
        // It has none: its name lives on for a moment.
        (None, Some(_)) => Mark::Quiet,
        (None, None) => Mark::Unknown,
    }
}

fn cell<'a>(scene: Scene<'a>, service: &'a Service, column: usize) -> Cell<'a> {
    let theme = scene.theme;
    let (text, faint) = (theme.part(Part::Text), theme.part(Part::Faint));
    let number = |of: fn(&Tally) -> usize, mark: Option<Mark>| match service.tally.as_ref().map(of) {
        None => Cell::new("?", faint),
        Some(0) => Cell::new("0", faint),
        Some(count) => Cell::new(count.to_string(), mark.map_or(text, |mark| theme.mark(mark))),
    };
    match column {
        0 => Cell::new(service.name.as_str(), theme.part(Part::Strong)),
        1 => number(Tally::total, None),
        2 => number(|tally| tally.passing, Some(Mark::Good)),
        3 => number(|tally| tally.warning, Some(Mark::Warning)),
        4 => number(|tally| tally.critical, Some(Mark::Failed)),
        _ => Cell::new(service.tags.join(" "), text),
    }
}
