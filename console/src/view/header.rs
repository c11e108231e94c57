//! The first two lines: who answers, the connection, the clock; and the screens that exist.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::Scene;
use crate::format;
use crate::model::mark::Mark;
use crate::msg::{AgentKind, Link, Screen};
use crate::theme::Part;
use crate::widget::{Piece, line, line_right, piece};

/// Below these columns the screens go by short names.
const BRIEF: u16 = 76;

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let right = right(scene);
    let width: usize = right.iter().map(|(text, _)| format::width(text)).sum();
    let taken = line_right(buf, Rect { width: area.width.saturating_sub(1), ..area }, &right);
    let room = area.width.saturating_sub(if taken > 0 { u16::try_from(width).unwrap_or(0) + 3 } else { 1 });
    line(buf, Rect { width: room, ..area }, &left(scene, room), scene.ellipsis());
}

fn left(scene: Scene<'_>, room: u16) -> Vec<Piece<'static>> {
    let (model, theme) = (scene.model, scene.theme);
    let (text, strong, faint) = (theme.part(Part::Text), theme.part(Part::Strong), theme.part(Part::Faint));
    let Some(lane) = model.lane() else { return vec![piece(" no agent was given", text)] };
    let columns = |pieces: &[Piece<'_>]| pieces.iter().map(|(text, _)| format::width(text)).sum::<usize>();
    let fits = |columns: usize, more: &str| columns + format::width(more) <= usize::from(room);
    let mut pieces = vec![piece(lane.address.clone(), text)];
    if let Some(identity) = &lane.identity {
        pieces.splice(..0, [piece(identity.node.clone(), strong), piece(" ", text)]);
    }
    let several = model.lanes.len() > 1;
    let (at, all) = (model.active.0 + 1, model.lanes.len());
    let brief = if several { format!("  {at}/{all}") } else { String::new() };
    // Which of several it is stays longest: a figure that is cut would be another one.
    let datacenter = lane.identity.as_ref().map_or("", |identity| identity.datacenter.as_str());
    let prefix = format!("{datacenter} {} ", theme.lines().arrow);
    if !datacenter.is_empty() && fits(columns(&pieces) + 1, &format!("{prefix}{brief}")) {
        pieces.splice(..0, [piece(datacenter.to_owned(), text), piece(format!(" {} ", theme.lines().arrow), faint)]);
    }
    pieces.insert(0, piece(" ", text));
    if several {
        let whole = format!("  agent {at} of {all}");
        let words = if fits(columns(&pieces), &whole) { whole } else { brief };
        pieces.push(piece(words, faint));
    }
    let what = what(scene);
    if !what.is_empty() && fits(columns(&pieces) + 2, &what) {
        pieces.push(piece(format!("  {what}"), faint));
    }
    pieces
}

/// What kind of agent it is, in its own version.
fn what(scene: Scene<'_>) -> String {
    let Some(lane) = scene.model.lane() else { return String::new() };
    let Some(identity) = &lane.identity else { return String::new() };
    let role = if identity.server { "server" } else { "client" };
    let api = identity.version.split(':').next().unwrap_or(&identity.version);
    match lane.kind {
        Some(AgentKind::Quorate) => match &lane.version {
            Some(version) => format!("{role}, agent {version} (Consul API {api})"),
            None => format!("{role}, Consul API {api}"),
        },
        Some(AgentKind::HashiCorp) => format!("{role}, Consul {api}, polled"),
        None => String::new(),
    }
}

fn right(scene: Scene<'_>) -> Vec<Piece<'static>> {
    let (model, theme) = (scene.model, scene.theme);
    let (text, faint) = (theme.part(Part::Text), theme.part(Part::Faint));
    let Some(lane) = model.lane() else { return Vec::new() };
    let age = |since: Option<shared::time::WallTime>| {
        since.map_or("?".to_owned(), |since| format::age_whole(model.now.micros_since(since)))
    };
    if let Some(moment) = model.moment {
        let at = format::clock_millis(moment.at, model.setup.utc_offset_s);
        let steps = if moment.back == 1 { "the last step".to_owned() } else { format!("{} steps back", moment.back) };
        let glyph = if theme.is_ascii() { "<" } else { "◀" };
        return vec![
            piece(format!("{glyph} {at}"), theme.part(Part::Alarm)),
            piece(format!("  {steps}  "), text),
            piece("\\", theme.part(Part::Key)),
            piece(" live", faint),
        ];
    }
    let mut pieces = Vec::new();
    let (mark, words) = match &lane.link {
        Link::Idle => (Mark::Quiet, "not attached".to_owned()),
        Link::Connecting { .. } if lane.lost.is_some() => (Mark::Failed, format!("lost {}", age(lane.lost))),
        Link::Connecting { .. } => (Mark::Candidate, "connecting".to_owned()),
        Link::Live { .. } => (Mark::Good, format!("live {}", age(lane.heard))),
        Link::Lost { .. } => (Mark::Failed, format!("lost {}", age(lane.lost))),
    };
    // Whether keys may change anything.
    pieces.push(piece(if model.setup.read_only { "ro  " } else { "rw  " }, faint));
    pieces.push(piece(theme.glyph(mark), theme.mark(mark)));
    pieces.push(piece(format!(" {words}"), text));
    if let (Link::Live { .. }, Some(rtt), true) = (&lane.link, lane.rtt_us, model.width >= 70) {
        pieces.push(piece("  rtt ", faint));
        pieces.push(piece(format::rtt(rtt), text));
    }
    pieces.push(piece(format!("  {}", format::clock(model.now, model.setup.utc_offset_s)), text));
    pieces
}

pub(super) fn tabs(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let mut pieces = vec![piece(" ", theme.part(Part::Text))];
    let is_brief = area.width < BRIEF;
    for screen in Screen::ALL {
        let words = format!("{} {}", screen.number(), name(scene, screen, is_brief));
        // Brackets as well as a style: one of them may go.
        match screen == model.screen {
            true => pieces.push(piece(format!("[{words}]"), theme.part(Part::Tab))),
            false => pieces.push(piece(format!(" {words} "), theme.part(Part::Text))),
        }
    }
    let taken = line(buf, area, &pieces, scene.ellipsis());
    let rest = Rect { x: area.x + taken, width: area.width.saturating_sub(taken + 1), ..area };
    let mut keys = Vec::new();
    if model.filter().is_some() {
        keys.push(piece("/", theme.part(Part::Key)));
        keys.push(piece("filter ", theme.part(Part::Faint)));
    }
    keys.push(piece("?", theme.part(Part::Key)));
    keys.push(piece("help", theme.part(Part::Faint)));
    line_right(buf, rest, &keys);
}

/// `Members 9`, or `Memb 9` where there is little room.
fn name(scene: Scene<'_>, screen: Screen, is_brief: bool) -> String {
    let model = scene.model;
    let (long, short) = match screen {
        Screen::Overview => ("Overview", "Over"),
        Screen::Members => ("Members", "Memb"),
        Screen::Raft => ("Raft", "Raft"),
        Screen::Services => ("Services", "Svc"),
        Screen::Events => ("Events", "Events"),
    };
    let word = if is_brief { short } else { long };
    match screen {
        Screen::Members if model.is_blinded() => format!("{word} ?"),
        Screen::Members if model.members.known => format!("{word} {}", model.members.census.total()),
        Screen::Services if model.services.known => format!("{word} {}", model.services.count()),
        _ => word.to_owned(),
    }
}
