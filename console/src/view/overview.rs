//! The Overview: servers, what a loss would do, leadership, what needs attention, checks, events.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Scene, events, placeholder, raft, rows, waiting};
use crate::format;
use crate::model::checks::Health;
use crate::model::mark::Mark;
use crate::model::panes::{self, Pane, Room};
use crate::model::verdict::{Impact, Then};
use crate::theme::Part;
use crate::widget::panel::Panel;
use crate::widget::table::{Cell, Column, Table};
use crate::widget::{piece, put, row};

/// Columns of the table of losses.
const IMPACT: u16 = 46;

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let room = scene.model.room();
    let heights = panes::overview(area.height, room, scene.model.needs());
    let mut y = area.y;
    let mut band = |height: u16| {
        let band = Rect { y, height, ..area };
        y += height;
        band
    };
    let (top, middle, low) = (band(heights.servers), band(heights.timeline), band(heights.attention));
    let rest = band(heights.events);
    if room == Room::Wide {
        servers(scene, Rect { width: area.width - IMPACT, ..top }, buf);
        impact(scene, Rect { x: area.right() - IMPACT, width: IMPACT, ..top }, buf);
        let half = area.width / 2;
        attention(scene, Rect { width: half, ..low }, buf);
        checks(scene, Rect { x: area.x + half, width: area.width - half, ..low }, buf);
        if middle.height > 0 {
            raft::timeline(scene, middle, buf);
        }
    } else {
        servers(scene, top, buf);
        attention(scene, low, buf);
    }
    events::recent(scene, rest, buf);
}

pub(super) fn servers(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let (focused, wide) = (scene.focused(Pane::Servers), model.room() == Room::Wide);
    let title = vec![piece("Servers", theme.part(Part::Strong))];
    let inner = Panel { title, note: Vec::new(), hint: "", focused }.draw(theme, area, buf);
    if model.servers.is_empty() {
        return placeholder(scene, inner, &waiting(scene), buf);
    }
    let names = rows::name_width(model.servers.iter().map(|row| row.name()), 8, 16);
    let addresses = rows::name_width(model.servers.iter().map(|row| row.address.as_str()), 8, 21);
    let hosts = rows::name_width(model.servers.iter().map(|row| rows::host(&row.address)), 8, 21);
    let mut columns = vec![
        Column::new("NODE", names).grows(),
        Column::new("ADDRESS", addresses).rank(3),
        Column::new("ROLE", 9),
        Column::new("VOTE", 4).rank(1),
        Column::new("TERM", 4).right().rank(2),
        Column::new("INDEX", 7).right(),
        Column::new("LAG", 5).right(),
        Column::new("CONTACT", 7).right().rank(1),
    ];
    if !wide {
        columns.push(Column::new("IF LOST", 9));
    }
    // Where there is no room for ports, they go, not the addresses.
    let has_ports = wide && Table { theme, columns: &columns, marked: true, focused }.fits(inner.width);
    if !has_ports {
        columns[1].width = hosts;
    }
    let table = Table { theme, columns: &columns, marked: true, focused };
    let spark_rows = u16::from(wide);
    let body = Rect { height: inner.height.saturating_sub(spark_rows), ..inner };
    let list = &model.raft.list;
    let selected = list.stands_at().filter(|_| focused);
    table.draw(
        body,
        buf,
        (list.top, model.servers.len(), selected),
        |at| Some(rows::server_mark(&model.servers[at])),
        |at, column| server_cell(scene, at, column, has_ports),
    );
    if wide {
        raft::commit_line(scene, row(inner, inner.height - 1), buf);
    }
}

fn server_cell(scene: Scene<'_>, at: usize, column: usize, has_ports: bool) -> Cell<'_> {
    let (theme, server) = (scene.theme, &scene.model.servers[at]);
    let text = theme.part(Part::Text);
    match column {
        0 => Cell::new(server.name(), theme.part(Part::Strong)),
        1 if has_ports => Cell::new(server.address.as_str(), text),
        1 => Cell::new(rows::host(&server.address), text),
        2 => Cell::new(rows::role_word(server), theme.mark(rows::server_mark(server))),
        3 => Cell::new(rows::vote_word(server.vote), text),
        4 => Cell::new(rows::figure(server.progress.term), text),
        5 => Cell::new(rows::figure(server.progress.last_log), text),
        6 => Cell::new(rows::figure(server.behind), text),
        7 => Cell::new(rows::contact(server), text),
        _ => {
            let impact = scene.model.impacts.get(at).filter(|impact| impact.lose == server.name());
            match impact {
                Some(impact) => {
                    let (mark, words) = then_short(impact);
                    Cell::new(words, theme.mark(mark))
                }
                None => Cell::new("-", text),
            }
        }
    }
}

fn then_short(impact: &Impact) -> (Mark, String) {
    match impact.then {
        Then::Elects => (Mark::Good, "elects".into()),
        Then::Holds { spare: 0 } => (Mark::Warning, "0 spare".into()),
        Then::Holds { spare } => (Mark::Good, format!("{spare} spare")),
        Then::NoQuorum => (Mark::Failed, "NO QUORUM".into()),
        Then::NoVote => (Mark::Quiet, "no vote".into()),
        Then::Gone => (Mark::Quiet, "is down".into()),
        Then::Unknown => (Mark::Unknown, "?".into()),
    }
}

/// What a crash of each server would do: arithmetic, before it happens.
fn impact(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let title = vec![piece("If this node is lost", theme.part(Part::Strong))];
    let inner = Panel { title, note: Vec::new(), hint: "i also a leave", focused: false }.draw(theme, area, buf);
    if model.impacts.is_empty() {
        return placeholder(scene, inner, "the voters are not known", buf);
    }
    let columns = [
        Column::new("LOSE", 12).grows(),
        Column::new("LEFT", 4).right(),
        Column::new("NEED", 4).right(),
        Column::new("THEN", 19),
    ];
    let table = Table { theme, columns: &columns, marked: false, focused: false };
    let has_hidden_votes = model.servers.iter().any(|server| server.in_raft && server.vote.is_none());
    let text = theme.part(Part::Text);
    table.draw(
        inner,
        buf,
        (0, model.impacts.len(), None),
        |_| None,
        |at, column| {
            let impact = &model.impacts[at];
            match column {
                0 if impact.leader => Cell::new(format!("{} {}", impact.lose, theme.glyph(Mark::Leader)), text),
                0 => Cell::new(impact.lose.as_str(), text),
                1 if impact.then == Then::Unknown => Cell::new("?", text),
                1 => Cell::new(impact.left.to_string(), text),
                2 if impact.then == Then::Unknown && has_hidden_votes => Cell::new("?", text),
                2 => Cell::new(impact.need.to_string(), text),
                _ => {
                    let (mark, words) = then_long(impact);
                    Cell::new(format!("{} {words}", theme.glyph(mark)), theme.mark(mark))
                }
            }
        },
    );
}

pub(super) fn then_long(impact: &Impact) -> (Mark, String) {
    match impact.then {
        Then::Elects => (Mark::Good, "elects another".into()),
        Then::Holds { spare: 0 } => (Mark::Warning, "ok, 0 to spare".into()),
        Then::Holds { spare } => (Mark::Good, format!("ok, {spare} to spare")),
        Then::NoQuorum => (Mark::Failed, "NO QUORUM".into()),
        Then::NoVote => (Mark::Good, "it has no vote".into()),
        Then::Gone => (Mark::Quiet, "is down already".into()),
        Then::Unknown => (Mark::Unknown, "not seen here".into()),
    }
}

pub(super) fn attention(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let focused = scene.focused(Pane::Attention);
    let all = &model.attention.rows;
    let mut title = vec![piece("Needs attention", theme.part(Part::Strong))];
    if !all.is_empty() {
        title.push(piece(format!(" {}", all.len()), theme.part(Part::Text)));
    }
    let inner = Panel { title, note: Vec::new(), hint: "", focused }.draw(theme, area, buf);
    if all.is_empty() {
        let text = if model.has_picture() { "nothing" } else { "nothing known yet" };
        return placeholder(scene, inner, text, buf);
    }
    let subject = rows::name_width(all.iter().map(|row| row.subject.as_str()), 6, 20);
    let list = &model.attention.list;
    for line_at in 0..inner.height {
        let at = list.top + usize::from(line_at);
        let Some(concern) = all.get(at) else { break };
        let place = row(inner, line_at);
        let age = concern.since.map(|since| format::age_whole(model.now.micros_since(since))).unwrap_or_default();
        let age_width = u16::try_from(format::width(&age)).unwrap_or(0);
        put(buf, (place.x + 1, place.y), 1, theme.glyph(concern.mark), theme.mark(concern.mark), "");
        put(buf, (place.x + 3, place.y), 8, &concern.what, theme.mark(concern.mark), "");
        put(buf, (place.x + 12, place.y), subject, &concern.subject, theme.part(Part::Strong), scene.ellipsis());
        let x = place.x + 13 + subject;
        let end = place.right().saturating_sub(age_width + 1);
        put(buf, (x, place.y), end.saturating_sub(x + 1), &concern.text, theme.part(Part::Text), scene.ellipsis());
        put(buf, (end, place.y), age_width, &age, theme.part(Part::Faint), "");
        if focused && list.stands_at() == Some(at) {
            put(buf, (place.x, place.y), 1, theme.lines().pointer, theme.part(Part::Text), "");
            buf.set_style(place, theme.part(Part::Selected));
        }
    }
}

pub(super) fn checks(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let focused = scene.focused(Pane::Checks);
    let (text, faint) = (theme.part(Part::Text), theme.part(Part::Faint));
    let mut title = vec![piece("Checks", theme.part(Part::Strong))];
    let all = model.checks.rows();
    let is_hidden = all.is_empty() && model.is_blinded();
    if is_hidden {
        title.push(piece("  ?", text));
    } else if model.checks.known {
        for (health, word) in
            [(Health::Passing, "passing"), (Health::Warning, "warning"), (Health::Critical, "critical")]
        {
            let count = model.checks.count(health);
            let style = if count > 0 { theme.mark(rows::health_mark(health)) } else { faint };
            title.push(piece("  ", text));
            title.push(piece(format!("{count} {word}"), style));
        }
    }
    let inner = Panel { title, note: Vec::new(), hint: "4 services", focused }.draw(theme, area, buf);
    if all.is_empty() {
        let words = match model.checks.known {
            _ if is_hidden => "none that the token may read".to_owned(),
            true => "no checks".to_owned(),
            false => waiting(scene),
        };
        return placeholder(scene, inner, &words, buf);
    }
    let list = &model.checks.list;
    let seen = || all.iter().skip(list.top).take(usize::from(inner.height));
    let subject = rows::name_width(seen().map(|check| check.subject()), 6, 18);
    let node = rows::name_width(seen().map(|check| check.node.as_str()), 5, 14);
    for (line_at, check) in (0..).zip(seen()) {
        let place = row(inner, line_at);
        let mark = rows::check_mark(check);
        let age = check.since.map(|since| format::age_whole(model.now.micros_since(since))).unwrap_or_default();
        let age_width = u16::try_from(format::width(&age)).unwrap_or(0);
        put(buf, (place.x + 1, place.y), 1, theme.glyph(mark), theme.mark(mark), "");
        put(buf, (place.x + 3, place.y), subject, check.subject(), theme.part(Part::Strong), scene.ellipsis());
        put(buf, (place.x + 4 + subject, place.y), node, &check.node, text, scene.ellipsis());
        let x = place.x + 5 + subject + node;
        let end = place.right().saturating_sub(age_width + 1);
        // The word as well as the glyph, then what the check said.
        let flaps = check.flaps(model.now).map_or(String::new(), |count| format!(", flapped {count}x in 10m"));
        let words = format!("{}{flaps}{}", check.status, check.words());
        put(buf, (x, place.y), end.saturating_sub(x + 1), &words, text, scene.ellipsis());
        put(buf, (end, place.y), age_width, &age, faint, "");
        if focused && list.stands_at() == Some(list.top + usize::from(line_at)) {
            put(buf, (place.x, place.y), 1, theme.lines().pointer, text, "");
            buf.set_style(place, theme.part(Part::Selected));
        }
    }
}
