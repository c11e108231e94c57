//! Parts that draw what they are given: text, panels, tables, sparks.
//!
//! They know the theme and nothing of members or Raft. Every text passes [`put`], which makes
//! foreign characters harmless and never draws past its columns.

pub mod panel;
pub mod spark;
pub mod table;

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::format;

/// A piece of a line.
pub type Piece<'a> = (Cow<'a, str>, Style);

/// A piece from anything textual.
pub fn piece<'a>(text: impl Into<Cow<'a, str>>, style: Style) -> Piece<'a> {
    (text.into(), style)
}

/// Draws text in at most `columns`, cut with `mark`; returns the columns taken.
pub fn put(buf: &mut Buffer, (x, y): (u16, u16), columns: u16, text: &str, style: Style, mark: &str) -> u16 {
    if columns == 0 || !buf.area.contains((x, y).into()) {
        return 0;
    }
    let text = format::clean(text);
    let text = format::fit(&text, usize::from(columns), mark);
    let (end, _) = buf.set_stringn(x, y, text, usize::from(columns), style);
    end.saturating_sub(x)
}

/// Draws pieces one after the other on the first row of `area`; returns the columns taken.
pub fn line(buf: &mut Buffer, area: Rect, pieces: &[Piece<'_>], mark: &str) -> u16 {
    let mut x = area.x;
    if area.height == 0 {
        return 0;
    }
    for (text, style) in pieces {
        x += put(buf, (x, area.y), area.right().saturating_sub(x), text, *style, mark);
    }
    x - area.x
}

/// As [`line`], ending at the right edge; nothing when it does not fit.
pub fn line_right(buf: &mut Buffer, area: Rect, pieces: &[Piece<'_>]) -> u16 {
    let width: usize = pieces.iter().map(|(text, _)| format::width(&format::clean(text))).sum();
    let Ok(width) = u16::try_from(width) else { return 0 };
    if width > area.width {
        return 0;
    }
    line(buf, Rect { x: area.right() - width, width, ..area }, pieces, "")
}

/// Row `at` of an area, one row high; empty when there is none.
pub fn row(area: Rect, at: u16) -> Rect {
    if at >= area.height { Rect { height: 0, ..area } } else { Rect { y: area.y + at, height: 1, ..area } }
}
