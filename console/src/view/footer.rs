//! The last two lines: what is worth saying about this screen, and the keys that work on it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::Scene;
use crate::format;
use crate::keymap::TABLE;
use crate::model::Overlay;
use crate::msg::{AgentKind, Screen};
use crate::theme::Part;
use crate::widget::{Piece, line, line_right, piece};

pub(super) fn status(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let theme = scene.theme;
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let words = remark(scene);
    let taken = line(buf, area, &[piece(words, theme.part(Part::Text))], scene.ellipsis());
    let rest = Rect { x: area.x + taken, width: area.width.saturating_sub(taken), ..area };
    line_right(buf, rest, &[piece("  C-c closes this console only", theme.part(Part::Faint))]);
}

/// What the operator should know about what is drawn here.
fn remark(scene: Scene<'_>) -> String {
    let model = scene.model;
    let hashicorp = model.lane().and_then(|lane| lane.kind) == Some(AgentKind::HashiCorp);
    let here = model.here();
    match model.screen {
        Screen::Raft if hashicorp && model.raft.peers.len() > 1 => {
            format!("Only {here}'s own log is seen: how the others voted among themselves is unknown.")
        }
        Screen::Raft if hashicorp => "Elections before this console came are not in this agent's API.".to_owned(),
        _ => String::new(),
    }
}

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let mut keys: Vec<(&str, &str)> = match () {
        () if model.overlay != Overlay::None => vec![("j k", "scroll"), ("esc", "close")],
        () if model.filter().is_some_and(|filter| filter.open) => {
            vec![("enter", "keep"), ("esc", "clear"), ("C-u", "empty")]
        }
        () => TABLE
            .iter()
            .filter(|binding| binding.is_valid(model))
            .filter_map(|binding| binding.footer.map(|word| (short(binding.keys), word)))
            .collect(),
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
        keys => keys,
    }
}
