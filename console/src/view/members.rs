//! The Members screen: everyone in the pool, filtered and sorted, worst first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use shared::event::{MemberStatus, Pool};

use super::{Scene, placeholder, rows, waiting};
use crate::format;
use crate::model::listing::SortKey;
use crate::model::mark::Mark;
use crate::model::members::{FIELDS, Member, Suspicion, status_word};
use crate::model::panes::{Pane, Room};
use crate::model::servers::ServerRow;
use crate::theme::Part;
use crate::widget::panel::Panel;
use crate::widget::table::{Cell, Column, Table};
use crate::widget::{Piece, line, line_right, piece, row};

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let members = &model.members;
    filter_line(scene, row(area, 0), buf, &members.listing.filter, &FIELDS, &census(scene));
    let area = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let focused = scene.focused(Pane::Members);
    let arrow = if members.listing.reversed { theme.lines().down } else { theme.lines().up };
    let mut title = vec![piece("Members", theme.part(Part::Strong)), piece("   ", theme.part(Part::Text))];
    title.extend(pools(scene));
    title.push(piece(format!("by {} {arrow}", members.listing.sort.word()), theme.part(Part::Text)));
    let hint = if members.count(Pool::Wan) > 0 { "tab other pool" } else { "" };
    let inner = Panel { title, note: Vec::new(), hint, focused }.draw(theme, area, buf);
    if members.shown() == 0 {
        let text = match (members.known, members.listing.filter.is_active()) {
            (_, true) => "no member passes the filter".to_owned(),
            (true, false) => "none that the token may read".to_owned(),
            (false, false) => waiting(scene),
        };
        return placeholder(scene, inner, &text, buf);
    }
    let list = &members.listing.list;
    let page = usize::from(inner.height.saturating_sub(1));
    let seen = || (list.top..list.top + page).filter_map(|at| members.shown_at(at));
    let mut columns = [
        Column::new("NODE", rows::name_width(seen().map(|m| m.state.name.as_str()), 8, 24)),
        Column::new("ADDRESS", rows::name_width(seen().map(|m| m.state.address.as_str()), 8, 39) + 6).rank(2),
        Column::new("STATUS", 7),
        Column::new("TYPE", 6).rank(1),
        Column::new("ROLE", 9).rank(if members.pool == Pool::Wan { u8::MAX } else { 1 }),
        Column::new("DC", rows::name_width(seen().filter_map(|m| m.tag("dc")), 2, 12)).rank(3),
        Column::new("BUILD", 7).rank(5),
        Column::new("PV", 2).right().rank(6),
        Column::new("RTT", 6).right().rank(4),
        Column::new("SINCE", 6).right().rank(3),
        Column::new("GOSSIP SAYS", 12).grows().rank(3),
    ];
    // The pool of one datacenter has no need to name it, and has the roles and the round trips.
    let is_wan = members.pool == Pool::Wan;
    let hidden: &[usize] = if is_wan { &[4, 8] } else { &[5] };
    let shown = |columns: &[Column]| -> Vec<(usize, Column)> {
        columns.iter().cloned().enumerate().filter(|(at, _)| !hidden.contains(at)).collect()
    };
    let of = |columns: &[Column]| -> Vec<Column> { shown(columns).into_iter().map(|(_, column)| column).collect() };
    // Where there is no room for ports, they go before whole columns do.
    let has_ports = Table { theme, columns: &of(&columns), marked: true, focused }.fits(inner.width);
    if !has_ports {
        columns[1].width -= 6;
    }
    let (places, columns) = (shown(&columns), of(&columns));
    let table = Table { theme, columns: &columns, marked: true, focused };
    table.draw(
        inner,
        buf,
        (list.top, members.shown(), list.stands_at()),
        |at| members.shown_at(at).map(|member| mark(scene, member)),
        |at, column| match members.shown_at(at) {
            Some(member) => cell(scene, member, places[column].0, has_ports),
            None => Cell::new("", theme.part(Part::Text)),
        },
    );
}

/// `LAN 9   WAN 3`, the one on screen in brackets; nothing where there is only one.
fn pools(scene: Scene<'_>) -> Vec<Piece<'static>> {
    let (members, theme) = (&scene.model.members, scene.theme);
    if members.count(Pool::Wan) == 0 {
        return Vec::new();
    }
    let one = |pool: Pool, word: &str| match members.pool == pool {
        true => piece(format!("[{word} {}]  ", members.count(pool)), theme.part(Part::Strong)),
        false => piece(format!("{word} {}  ", members.count(pool)), theme.part(Part::Faint)),
    };
    vec![one(Pool::Lan, "LAN"), one(Pool::Wan, "WAN")]
}

/// Its server row, when it is a server.
fn server<'a>(scene: Scene<'a>, member: &Member) -> Option<&'a ServerRow> {
    scene.model.servers.iter().find(|row| match member.id() {
        Some(id) => row.id == id,
        None => row.node == member.state.name,
    })
}

fn mark(scene: Scene<'_>, member: &Member) -> Mark {
    match (member.state.status, server(scene, member)) {
        (MemberStatus::Alive, Some(row)) => rows::server_mark(row),
        (status, _) => status.into(),
    }
}

fn cell<'a>(scene: Scene<'a>, member: &'a Member, column: usize, has_ports: bool) -> Cell<'a> {
    let (theme, state) = (scene.theme, &member.state);
    let text = theme.part(Part::Text);
    match column {
        0 => Cell::new(state.name.as_str(), theme.part(Part::Strong)),
        1 if has_ports => Cell::new(shared::addr::host_port(&state.address, state.port), text),
        1 => Cell::new(state.address.as_str(), text),
        2 => Cell::new(status_word(state.status), theme.mark(state.status.into())),
        3 => Cell::new(member.kind(), text),
        4 => match server(scene, member) {
            Some(row) if member.is_server() => Cell::new(rows::role_word(row), text),
            _ => Cell::new("-", theme.part(Part::Faint)),
        },
        5 => Cell::new(member.tag("dc").unwrap_or("?"), text),
        6 => Cell::new(member.build(), text),
        7 => Cell::new(state.protocol.to_string(), text),
        8 => Cell::new(rtt(scene, member), text),
        9 => Cell::new(rows::age(scene, member.since), text),
        _ => Cell::new(says(scene, member), text),
    }
}

/// The estimate, `-` for the agent in use itself, `?` until it is measured.
pub(super) fn rtt(scene: Scene<'_>, member: &Member) -> String {
    if member.node() == scene.model.here() {
        return "-".to_owned();
    }
    scene.model.members.rtt_us(member).map_or("?".to_owned(), format::rtt)
}

/// What is known of it beyond its status.
fn says(scene: Scene<'_>, member: &Member) -> String {
    let state = &member.state;
    let mut said = Vec::new();
    if member.node() == scene.model.here() {
        said.push("this agent".to_owned());
    }
    if let Some(suspicion) = member.suspicion.as_ref().filter(|_| state.status == MemberStatus::Suspect) {
        said.push(suspected(scene, suspicion));
    } else if let Some(note) = &member.note {
        said.push(note.clone());
    }
    // The detail has it too.
    if state.incarnation > 0 && (said.is_empty() || scene.model.room() == Room::Wide) {
        said.push(format!("inc. {}", state.incarnation));
    }
    said.join(", ")
}

/// `by srv-3, 1 of 2 confirmed, fails in 3s`
pub(super) fn suspected(scene: Scene<'_>, suspicion: &Suspicion) -> String {
    let mut said = Vec::new();
    match suspicion.by.as_slice() {
        [] => {}
        [first] => said.push(format!("by {first}")),
        [first, rest @ ..] => said.push(format!("by {first} and {} more", rest.len())),
    }
    if suspicion.expected > 0 {
        said.push(format!("{} of {} confirmed", suspicion.confirmations, suspicion.expected));
    }
    if let Some(at) = suspicion.fails_at.filter(|at| *at > scene.model.now) {
        said.push(format!("fails in {}s", at.micros_since(scene.model.now).div_ceil(1_000_000)));
    }
    said.join(", ")
}

/// `6 of 9   alive 7  suspect 1  failed 1  left 0`
fn census(scene: Scene<'_>) -> Vec<Piece<'static>> {
    let (model, theme) = (scene.model, scene.theme);
    let (census, text, faint) = (model.members.shown_census(), theme.part(Part::Text), theme.part(Part::Faint));
    if !model.members.known {
        return Vec::new();
    }
    let mut pieces = vec![piece(format!("{} of {} ", model.members.shown(), census.total()), text)];
    for (status, count) in [
        (MemberStatus::Alive, census.alive),
        (MemberStatus::Suspect, census.suspect),
        (MemberStatus::Leaving, census.leaving),
        (MemberStatus::Failed, census.failed),
        (MemberStatus::Left, census.left),
    ] {
        if count == 0 && matches!(status, MemberStatus::Leaving | MemberStatus::Suspect) {
            continue;
        }
        let style = if count > 0 { theme.mark(status.into()) } else { faint };
        pieces.push(piece("  ", text));
        pieces.push(piece(format!("{} {count}", status_word(status)), style));
    }
    pieces
}

/// `/ text▏` and, at the right, what it leaves; also for Events.
pub(super) fn filter_line(
    scene: Scene<'_>,
    area: Rect,
    buf: &mut Buffer,
    filter: &crate::model::filter::Filter,
    fields: &[&str],
    right: &[Piece<'_>],
) {
    let theme = scene.theme;
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let mut pieces = Vec::new();
    if filter.open || !filter.text.is_empty() {
        pieces.push(piece("/ ", theme.part(Part::Key)));
        pieces.push(piece(filter.text.as_str(), theme.part(Part::Text)));
        if filter.open {
            pieces.push(piece(theme.lines().cursor, theme.part(Part::Text)));
        }
        if filter.text.is_empty() {
            let text = format!("  text, !text, or a field: {}=", fields.join("= "));
            pieces.push(piece(text, theme.part(Part::Faint)));
        }
        if let Some(field) = filter.unknown_field(fields) {
            let text = format!("   no field {field}: there are {}", fields.join(" "));
            pieces.push(piece(text, theme.mark(Mark::Warning)));
        }
    }
    let taken = line(buf, area, &pieces, scene.ellipsis());
    let rest = Rect { x: area.x + taken, width: area.width.saturating_sub(taken), ..area };
    line_right(buf, rest, right);
}
