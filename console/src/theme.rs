//! Meanings to styles and glyphs; the only file that names a colour or a drawn character.
//!
//! Meaning is carried three times, by glyph, word and colour, so that any one may go. Views ask for
//! a [`Mark`] or a [`Part`]; what comes back depends on what the terminal can show.

use ratatui::style::{Color, Modifier, Style};

pub use crate::model::mark::Mark;
use crate::model::{Colors, Look};

/// Parts of the screen that are styled by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Text,
    /// Names that matter: node, title of a focused pane.
    Strong,
    /// Hints, column heads, borders, units.
    Faint,
    Selected,
    /// The tab on show.
    Tab,
    /// A key in footer and help.
    Key,
    /// A banner over the verdict line.
    Alarm,
}

#[derive(Clone, Copy, Debug)]
pub struct Theme {
    look: Look,
}

/// Characters of boxes, bars and lines.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    pub horizontal: &'static str,
    pub focused: &'static str,
    pub vertical: &'static str,
    pub corners: [&'static str; 4],
    pub corners_focused: [&'static str; 4],
    pub pointer: &'static str,
    pub ellipsis: &'static str,
    pub middle_dot: &'static str,
    pub arrow: &'static str,
    pub cursor: &'static str,
    pub times: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    /// Leads, follows, down, no leader seen, unknown: one column each, of the timeline.
    pub leads: &'static str,
    pub follows: &'static str,
    pub adrift: &'static str,
    pub gap: [&'static str; 3],
    pub levels: [&'static str; 8],
    /// Eighths of a column, from the left.
    pub eighths: [&'static str; 8],
}

const UNICODE: Lines = Lines {
    horizontal: "─",
    focused: "═",
    vertical: "│",
    corners: ["┌", "┐", "└", "┘"],
    corners_focused: ["╒", "╕", "└", "┘"],
    pointer: "▸",
    ellipsis: "…",
    middle_dot: "·",
    arrow: "▸",
    cursor: "▏",
    times: "x",
    up: "▲",
    down: "▼",
    leads: "═",
    follows: "─",
    adrift: "·",
    gap: ["└", "─", "┘"],
    levels: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    eighths: ["▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"],
};

const ASCII: Lines = Lines {
    horizontal: "-",
    focused: "=",
    vertical: "|",
    corners: ["+", "+", "+", "+"],
    corners_focused: ["+", "+", "+", "+"],
    pointer: ">",
    ellipsis: "~",
    middle_dot: "-",
    arrow: ">",
    cursor: "_",
    times: "x",
    up: "^",
    down: "v",
    leads: "=",
    follows: "-",
    adrift: ".",
    gap: ["[", "-", "]"],
    levels: [".", ".", ":", ":", "=", "=", "#", "#"],
    eighths: ["|", "|", "|", "|", "#", "#", "#", "#"],
};

impl Theme {
    pub fn new(look: Look) -> Self {
        Self { look }
    }

    pub fn lines(&self) -> &'static Lines {
        if self.look.ascii { &ASCII } else { &UNICODE }
    }

    pub fn is_ascii(&self) -> bool {
        self.look.ascii
    }

    pub fn glyph(&self, mark: Mark) -> &'static str {
        let (unicode, ascii) = match mark {
            Mark::Good => ("●", "+"),
            Mark::Leader => ("★", "L"),
            Mark::Candidate => ("◆", "C"),
            Mark::Suspect => ("◐", "?"),
            Mark::Warning => ("▲", "!"),
            Mark::Failed => ("✖", "X"),
            Mark::Quiet => ("○", "o"),
            Mark::Unknown => ("?", "?"),
        };
        if self.look.ascii { ascii } else { unicode }
    }

    /// The style of a meaning.
    pub fn mark(&self, mark: Mark) -> Style {
        let plain = Style::default();
        match self.look.colors {
            Colors::None => match mark {
                Mark::Good => plain,
                Mark::Leader | Mark::Candidate => plain.add_modifier(Modifier::BOLD),
                Mark::Suspect | Mark::Warning => plain.add_modifier(Modifier::UNDERLINED),
                Mark::Failed => plain.add_modifier(Modifier::REVERSED),
                Mark::Quiet | Mark::Unknown => plain.add_modifier(Modifier::DIM),
            },
            Colors::Sixteen => match mark {
                Mark::Good => plain.fg(Color::Cyan),
                Mark::Leader => plain.fg(Color::Yellow).add_modifier(Modifier::BOLD),
                Mark::Candidate => plain.fg(Color::Magenta),
                Mark::Suspect | Mark::Warning => plain.fg(Color::Yellow),
                Mark::Failed => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
                Mark::Quiet | Mark::Unknown => plain.fg(Color::DarkGray),
            },
            Colors::Indexed => {
                // The light column is the same hue, dark enough to read on white.
                let (dark, light) = match mark {
                    Mark::Good => (36, 29),
                    Mark::Leader => (221, 136),
                    Mark::Candidate => (175, 132),
                    Mark::Suspect | Mark::Warning => (214, 130),
                    Mark::Failed => (166, 160),
                    Mark::Quiet | Mark::Unknown => (245, 242),
                };
                plain.fg(Color::Indexed(if self.look.light { light } else { dark }))
            }
        }
    }

    pub fn part(&self, part: Part) -> Style {
        let plain = Style::default();
        match part {
            Part::Text => plain,
            Part::Strong | Part::Key => plain.add_modifier(Modifier::BOLD),
            Part::Faint => match self.look.colors {
                Colors::None => plain.add_modifier(Modifier::DIM),
                Colors::Sixteen => plain.fg(Color::DarkGray),
                Colors::Indexed => plain.fg(Color::Indexed(if self.look.light { 242 } else { 245 })),
            },
            Part::Selected | Part::Tab => plain.add_modifier(Modifier::REVERSED),
            Part::Alarm => match self.look.colors {
                Colors::None => plain.add_modifier(Modifier::REVERSED),
                _ => self.mark(Mark::Failed).add_modifier(Modifier::BOLD),
            },
        }
    }

    /// What old data look like: laid over a finished drawing.
    pub fn stale(&self) -> Style {
        match self.look.colors {
            Colors::None => Style::default().add_modifier(Modifier::DIM),
            _ => self.part(Part::Faint).add_modifier(Modifier::DIM),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: [Mark; 8] = [
        Mark::Good,
        Mark::Leader,
        Mark::Candidate,
        Mark::Suspect,
        Mark::Warning,
        Mark::Failed,
        Mark::Quiet,
        Mark::Unknown,
    ];

    #[test]
    fn without_colour_no_style_names_one() {
        let theme = Theme::new(Look { colors: Colors::None, ..Look::default() });
        for mark in MARKS {
            let style = theme.mark(mark);
            assert_eq!((style.fg, style.bg), (None, None), "{mark:?}");
        }
        for part in [Part::Text, Part::Strong, Part::Faint, Part::Selected, Part::Tab, Part::Key, Part::Alarm] {
            assert_eq!(theme.part(part).fg, None, "{part:?}");
        }
    }

    #[test]
    fn every_glyph_is_one_column_and_ascii_is_ascii() {
        for mark in MARKS {
            let ascii = Theme::new(Look { ascii: true, ..Look::default() }).glyph(mark);
            assert!(ascii.is_ascii());
            for glyph in [ascii, Theme::new(Look::default()).glyph(mark)] {
                assert_eq!(crate::format::width(glyph), 1, "{glyph}");
            }
        }
    }
}
