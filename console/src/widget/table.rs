//! Rows under heads. Only the rows in sight are asked for; columns go by rank when width falls.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{put, row};
use crate::format;
use crate::theme::{Mark, Part, Theme};

#[derive(Clone, Debug)]
pub struct Column {
    pub head: Cow<'static, str>,
    pub width: u16,
    /// Takes what is left over; at most one column should.
    pub grows: bool,
    pub right: bool,
    /// Goes first when it is high; 0 never goes.
    pub rank: u8,
}

impl Column {
    pub fn new(head: &'static str, width: u16) -> Self {
        Self { head: head.into(), width, grows: false, right: false, rank: 0 }
    }

    pub fn right(self) -> Self {
        Self { right: true, ..self }
    }

    pub fn grows(self) -> Self {
        Self { grows: true, ..self }
    }

    pub fn rank(self, rank: u8) -> Self {
        Self { rank, ..self }
    }
}

pub struct Cell<'a> {
    pub text: Cow<'a, str>,
    pub style: Style,
}

impl<'a> Cell<'a> {
    pub fn new(text: impl Into<Cow<'a, str>>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

/// What stands before the cells of a row.
#[derive(Clone, Copy, Debug)]
pub struct Lead {
    pub mark: Option<Mark>,
    pub selected: bool,
}

/// Columns that fit, each with its index and final width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit(pub Vec<(usize, u16)>);

/// Columns before the first cell: the pointer, the glyph and a blank.
const LEAD: u16 = 3;

pub struct Table<'t> {
    pub theme: &'t Theme,
    pub columns: &'t [Column],
    /// Rows have a glyph in front.
    pub marked: bool,
    /// Keys act on this table now.
    pub focused: bool,
}

impl Table<'_> {
    /// Chooses columns for a width: the highest rank goes first, then the rest share what is left.
    pub fn fit(&self, width: u16) -> Fit {
        let width = width.saturating_sub(self.lead() + 1);
        let mut kept: Vec<usize> = (0..self.columns.len()).collect();
        let total = |kept: &[usize]| -> u16 {
            let columns: u16 = kept.iter().map(|at| self.columns[*at].width).sum();
            columns + u16::try_from(kept.len().saturating_sub(1)).unwrap_or(0)
        };
        while total(&kept) > width {
            let Some(worst) = kept.iter().copied().max_by_key(|at| self.columns[*at].rank) else { break };
            if self.columns[worst].rank == 0 {
                break;
            }
            kept.retain(|at| *at != worst);
        }
        let spare = width.saturating_sub(total(&kept));
        let over = total(&kept).saturating_sub(width);
        let one = |at: usize| {
            let column = &self.columns[at];
            let grown = if column.grows { (column.width + spare).saturating_sub(over).max(1) } else { column.width };
            (at, grown)
        };
        Fit(kept.into_iter().map(one).collect())
    }

    /// Whether no column goes in this width.
    pub fn fits(&self, width: u16) -> bool {
        self.fit(width).0.len() == self.columns.len()
    }

    fn lead(&self) -> u16 {
        if self.marked { LEAD } else { 1 }
    }

    pub fn head(&self, fit: &Fit, area: Rect, buf: &mut Buffer) {
        let style = self.theme.part(Part::Faint);
        let mut x = area.x + self.lead();
        for (at, width) in &fit.0 {
            let column = &self.columns[*at];
            self.text(buf, (x, area.y), *width, &column.head, style, column.right, area.right());
            x += width + 1;
        }
    }

    /// Draws one row; `cell` is asked for the columns in sight only.
    pub fn row<'a>(&self, fit: &Fit, area: Rect, buf: &mut Buffer, lead: Lead, cell: impl Fn(usize) -> Cell<'a>) {
        if area.height == 0 {
            return;
        }
        let theme = self.theme;
        if lead.selected {
            put(buf, (area.x, area.y), 1, theme.lines().pointer, theme.part(Part::Text), "");
        }
        if let Some(mark) = lead.mark {
            put(buf, (area.x + 1, area.y), 1, theme.glyph(mark), theme.mark(mark), "");
        }
        let mut x = area.x + self.lead();
        for (at, width) in &fit.0 {
            let Cell { text, style } = cell(*at);
            self.text(buf, (x, area.y), *width, &text, style, self.columns[*at].right, area.right());
            x += width + 1;
        }
        if lead.selected && self.focused {
            buf.set_style(area, theme.part(Part::Selected));
        }
    }

    /// Draws the head and the rows from `top` on, as many as fit, and returns how many.
    pub fn draw<'a>(
        &self,
        area: Rect,
        buf: &mut Buffer,
        (top, len, selected): (usize, usize, Option<usize>),
        mark: impl Fn(usize) -> Option<Mark>,
        cell: impl Fn(usize, usize) -> Cell<'a>,
    ) -> usize {
        let fit = self.fit(area.width);
        self.head(&fit, row(area, 0), buf);
        let rows = usize::from(area.height.saturating_sub(1)).min(len.saturating_sub(top));
        for line in 0..rows {
            let at = top + line;
            let lead = Lead { mark: mark(at), selected: selected == Some(at) };
            let place = row(area, u16::try_from(line + 1).unwrap_or(u16::MAX));
            self.row(&fit, place, buf, lead, |column| cell(at, column));
        }
        rows
    }

    #[expect(clippy::too_many_arguments, reason = "one cell's place, size and look, used in two lines above")]
    fn text(&self, buf: &mut Buffer, at: (u16, u16), width: u16, text: &str, style: Style, right: bool, end: u16) {
        let width = width.min(end.saturating_sub(at.0));
        let text = format::clean(text);
        let taken = u16::try_from(format::width(&text)).unwrap_or(u16::MAX);
        let x = if right && taken < width { at.0 + width - taken } else { at.0 };
        put(buf, (x, at.1), width, &text, style, self.theme.lines().ellipsis);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Look;

    #[track_caller]
    fn check(width: u16, expected: &[(usize, u16)]) {
        let theme = Theme::new(Look::default());
        let columns = [Column::new("NODE", 8).grows(), Column::new("ID", 8).rank(2), Column::new("TERM", 4).rank(1)];
        let table = Table { theme: &theme, columns: &columns, marked: true, focused: false };
        assert_eq!(table.fit(width), Fit(expected.to_vec()), "{width}");
    }

    #[test]
    fn columns_go_by_rank_and_the_name_never_goes() {
        check(40, &[(0, 22), (1, 8), (2, 4)]);
        check(26, &[(0, 8), (1, 8), (2, 4)]);
        check(25, &[(0, 16), (2, 4)]);
        check(12, &[(0, 8)]);
        check(8, &[(0, 4)]);
    }
}
