//! A box with a title, a hint at its foot, and a double head line when it has the focus.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Piece, line, line_right};
use crate::theme::{Part, Theme};

pub struct Panel<'a> {
    pub title: Vec<Piece<'a>>,
    /// At the right end of the head line.
    pub note: Vec<Piece<'a>>,
    pub hint: &'a str,
    pub focused: bool,
}

impl Panel<'_> {
    /// Draws the box and returns what is inside of it.
    pub fn draw(&self, theme: &Theme, area: Rect, buf: &mut Buffer) -> Rect {
        if area.width < 4 || area.height < 2 {
            return Rect { width: 0, height: 0, ..area };
        }
        let lines = theme.lines();
        let border = theme.part(if self.focused { Part::Text } else { Part::Faint });
        let (head, corners) =
            if self.focused { (lines.focused, lines.corners_focused) } else { (lines.horizontal, lines.corners) };
        let (right, bottom) = (area.right() - 1, area.bottom() - 1);
        for x in area.x + 1..right {
            buf[(x, area.y)].set_symbol(head).set_style(border);
            buf[(x, bottom)].set_symbol(lines.horizontal).set_style(border);
        }
        for y in area.y + 1..bottom {
            buf[(area.x, y)].set_symbol(lines.vertical).set_style(border);
            buf[(right, y)].set_symbol(lines.vertical).set_style(border);
        }
        let places = [(area.x, area.y), (right, area.y), (area.x, bottom), (right, bottom)];
        for (place, corner) in places.into_iter().zip(corners) {
            buf[place].set_symbol(corner).set_style(border);
        }
        self.label(theme, area, buf);
        Rect { x: area.x + 1, y: area.y + 1, width: area.width - 2, height: area.height - 2 }
    }

    fn label(&self, theme: &Theme, area: Rect, buf: &mut Buffer) {
        let mark = theme.lines().ellipsis;
        let head = Rect { x: area.x + 2, y: area.y, width: area.width.saturating_sub(4), height: 1 };
        let mut taken = 0;
        if !self.title.is_empty() {
            let mut title = vec![(" ".into(), theme.part(Part::Text))];
            title.extend(self.title.iter().cloned());
            title.push((" ".into(), theme.part(Part::Text)));
            taken = line(buf, head, &title, mark);
        }
        if !self.note.is_empty() {
            let mut note = vec![(" ".into(), theme.part(Part::Text))];
            note.extend(self.note.iter().cloned());
            note.push((" ".into(), theme.part(Part::Text)));
            line_right(buf, Rect { x: head.x + taken, width: head.width - taken, ..head }, &note);
        }
        if !self.hint.is_empty() {
            let foot = Rect { y: area.bottom() - 1, ..head };
            line_right(buf, foot, &[(format!(" {} ", self.hint).into(), theme.part(Part::Faint))]);
        }
    }
}
