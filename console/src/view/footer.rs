//! The last two lines: what is worth saying about this screen, and the keys that work on it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use shared::time::WallTime;

use super::Scene;
use crate::format;
use crate::keymap::{Group, TABLE};
use crate::model::Overlay;
use crate::model::mark::Mark;
use crate::model::members::Member;
use crate::model::panes::Pane;
use crate::msg::{AgentKind, Screen};
use crate::theme::Part;
use crate::widget::{Piece, line, line_right, piece};

/// How long a sentence about a key stays, and the end of an order.
const REMARK_US: u64 = 15_000_000;
const ENDED_US: u64 = 30_000_000;

/// So many refuted suspicions within this time are worth a word.
const FLAPS: usize = 3;
const FLAPPING_US: u64 = 600_000_000;

pub(super) fn status(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let theme = scene.theme;
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let pieces = match said(scene) {
        Some((mark, text)) => {
            vec![piece(theme.glyph(mark), theme.mark(mark)), piece(format!(" {text}"), theme.part(Part::Text))]
        }
        None => vec![piece(remark(scene), theme.part(Part::Text))],
    };
    let taken = line(buf, area, &pieces, scene.ellipsis());
    let rest = Rect { x: area.x + taken, width: area.width.saturating_sub(taken), ..area };
    line_right(buf, rest, &[piece("  C-c closes this console only", theme.part(Part::Faint))]);
}

/// What a key just led to: a sentence of its own, or how far the last order is.
fn said(scene: Scene<'_>) -> Option<(Mark, String)> {
    let model = scene.model;
    let is_fresh = |at: WallTime, us: u64| model.now.micros_since(at) < us;
    if let Some(remark) = model.remark.as_ref().filter(|remark| is_fresh(remark.at, REMARK_US)) {
        return Some((remark.mark, remark.text.clone()));
    }
    let pursuit = model.pursuits.newest().filter(|it| it.ended.is_none_or(|at| is_fresh(at, ENDED_US)))?;
    let last = pursuit.last()?;
    let age = match pursuit.ended {
        None => format!(", {}", format::age_whole(model.now.micros_since(pursuit.begun))),
        Some(_) => String::new(),
    };
    Some((last.mark, format!("{}: {}{age}", pursuit.title(), last.text)))
}

/// What the operator should know about what is drawn here.
fn remark(scene: Scene<'_>) -> String {
    let model = scene.model;
    let hashicorp = model.lane().and_then(|lane| lane.kind) == Some(AgentKind::HashiCorp);
    let here = model.here();
    if !model.fates.is_empty() {
        return format!("In this demo: {}", model.fates.join(", "));
    }
    if model.is_live() && model.is_unseated() {
        return "Its leader adds it again within a minute; L lets it leave for good.".to_owned();
    }
    match model.screen {
        Screen::Members => slow(scene).unwrap_or_default(),
        Screen::Raft if hashicorp && model.raft.peers.len() > 1 => {
            format!("Only {here}'s own log is seen: how the others voted among themselves is unknown.")
        }
        Screen::Raft if hashicorp => "Elections before this console came are not in this agent's API.".to_owned(),
        _ => String::new(),
    }
}

/// A member that is up and answers too late, again and again.
fn slow(scene: Scene<'_>) -> Option<String> {
    let model = scene.model;
    let often = |member: &&Member| member.refutals(model.now, FLAPPING_US) >= FLAPS;
    let member = model.members.lan().find(often)?;
    let (name, count) = (&member.state.name, member.refutals(model.now, FLAPPING_US));
    let port = member.state.port;
    Some(format!(
        "{name} refuted {count} suspicions in 10 min: it is up but slow, look at its CPU, or at UDP {port} to it"
    ))
}

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let mut keys: Vec<(&str, &str)> = match () {
        () if model.dialog.is_some() => vec![("tab", "next"), ("enter", "takes it"), ("esc", "cancel")],
        () if model.overlay != Overlay::None => vec![("j k", "scroll"), ("esc", "close")],
        () if model.filter().is_some_and(|filter| filter.open) => {
            vec![("enter", "keep"), ("esc", "clear"), ("C-u", "empty")]
        }
        () => {
            let mut offered: Vec<_> = TABLE.iter().filter(|binding| binding.is_offered(model)).collect();
            // What a demo is for stays longest.
            offered.sort_by_key(|binding| match binding.group {
                Group::Move | Group::Look => 0,
                Group::Demo => 1,
                Group::Change | Group::Anywhere => 2,
            });
            let word = |word| match (word, model.pane()) {
                ("detail", Pane::Services) => "instances",
                ("detail", Pane::Recent) => "events",
                (word, _) => word,
            };
            offered.iter().filter_map(|it| it.footer.map(|footer| (short(it.keys), word(footer)))).collect()
        }
    };
    // Keys that do not fit go from the middle: those for this screen come first, help and quit last.
    let width =
        |keys: &[(&str, &str)]| keys.iter().map(|(key, word)| format::width(key) + word.len() + 3).sum::<usize>();
    while keys.len() > 2 && width(&keys) > usize::from(area.width) + 2 {
        keys.remove(keys.len() - 3);
    }
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    for (at, (key, word)) in keys.into_iter().enumerate() {
        let gap = if at == 0 { "" } else { "  " };
        pieces.push(piece(format!("{gap}{key}"), theme.part(Part::Key)));
        pieces.push(piece(format!(" {word}"), theme.part(Part::Faint)));
    }
    line(buf, area, &pieces, "");
}

/// The first of several keys: the footer names one, the help all.
fn short(keys: &'static str) -> &'static str {
    match keys {
        "space f" => "space",
        "enter esc" => "enter",
        "s S" => "s",
        "[ ]" => "[ ]",
        keys => keys,
    }
}
