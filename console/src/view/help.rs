//! The help: the key table, in columns, with only what works on this screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::Scene;
use super::detail::dialog;
use crate::format;
use crate::keymap::{Group, TABLE};
use crate::msg::Screen;
use crate::theme::Part;
use crate::widget::{Piece, piece};

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let theme = scene.theme;
    let name = match scene.model.screen {
        Screen::Overview => "Overview",
        Screen::Members => "Members",
        Screen::Raft => "Raft",
        Screen::Services => "Services",
        Screen::Events => "Events",
    };
    let title = vec![piece("Help", theme.part(Part::Strong)), piece(format!("   {name}"), theme.part(Part::Text))];
    dialog(scene, area, buf, title, &lines(scene));
}

fn lines(scene: Scene<'_>) -> Vec<Vec<Piece<'static>>> {
    let theme = scene.theme;
    let (text, faint) = (theme.part(Part::Text), theme.part(Part::Faint));
    let mut lines = Vec::new();
    let heads = [
        (Group::Move, "MOVE"),
        (Group::Look, "LOOK"),
        (Group::Change, "CHANGE (asks first)"),
        (Group::Demo, "DEMO (its own nodes)"),
        (Group::Anywhere, "ANYWHERE"),
    ];
    for (group, head) in heads {
        let valid = TABLE.iter().filter(|binding| binding.group == group && binding.is_valid(scene.model));
        let mut rows = valid.peekable();
        if rows.peek().is_none() {
            continue;
        }
        if !lines.is_empty() {
            lines.push(Vec::new());
        }
        lines.push(vec![piece(head, faint)]);
        for binding in rows {
            // Arrows are words where glyphs may go.
            let keys =
                if theme.is_ascii() { binding.keys.replace("↑ ↓", "up down") } else { binding.keys.to_owned() };
            let pad = " ".repeat(14usize.saturating_sub(format::width(&keys)));
            lines.push(vec![piece(format!("{keys}{pad}"), theme.part(Part::Key)), piece(binding.help, text)]);
        }
    }
    lines.push(Vec::new());
    let has_change = TABLE.iter().any(|binding| binding.group == Group::Change && binding.is_valid(scene.model));
    let words = match has_change {
        true => "Only the CHANGE keys act on the cluster, and each of them asks first.",
        false => "No key here changes the cluster, and closing the console changes nothing.",
    };
    lines.push(vec![piece(words, text)]);
    lines
}
