//! Who led when, drawn: one row a node, one column a stretch of time.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use shared::time::WallTime;

use crate::format;
use crate::model::mark::Mark;
use crate::model::timeline::{Phase, Span, Stretch, Timeline, phase_at};
use crate::theme::{Part, Theme};
use crate::widget::{line_right, put, row};

/// The time that is in sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: WallTime,
    pub(super) to: WallTime,
}

impl Window {
    /// All that is known up to now, or as much of it as was asked for: up to now, or about a moment.
    pub(super) fn of(timeline: &Timeline, now: WallTime, span: Span, about: Option<WallTime>) -> Self {
        let us = i64::try_from(span.us(timeline.all_us(now))).unwrap_or(i64::MAX);
        let to = match about {
            Some(about) if !span.is_all() => about.micros().saturating_add(us / 2),
            _ => now.micros(),
        };
        Self { from: WallTime::from_micros(to.saturating_sub(us)), to: WallTime::from_micros(to) }
    }

    pub(super) fn span_us(self) -> u64 {
        self.to.micros_since(self.from)
    }

    /// Where a column begins.
    fn at(self, column: u16, columns: u16) -> WallTime {
        let span = i128::from(self.span_us());
        let offset = span * i128::from(column) / i128::from(columns.max(1));
        WallTime::from_micros(self.from.micros() + i64::try_from(offset).unwrap_or(0))
    }

    /// The column of a moment.
    fn column(self, at: WallTime, columns: u16) -> Option<u16> {
        if at < self.from || at > self.to {
            return None;
        }
        let offset = i128::from(at.micros_since(self.from)) * i128::from(columns) / i128::from(self.span_us().max(1));
        u16::try_from(offset).ok().map(|column| column.min(columns.saturating_sub(1)))
    }
}

/// What one column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Nothing is known, or it is down since before.
    Blank,
    Starts(Phase),
    Goes(Phase),
}

/// The most telling thing that happens in a column: a fall or a rise before the plain course.
fn shown(stretches: &[Stretch], from: WallTime, to: WallTime) -> Shown {
    let begin = stretches.partition_point(|stretch| stretch.at < from);
    let end = stretches.partition_point(|stretch| stretch.at < to);
    let starts = |phase: Phase| stretches[begin..end].iter().any(|stretch| stretch.phase == phase);
    for phase in [Phase::Leads, Phase::Stands, Phase::Down] {
        if starts(phase) {
            return Shown::Starts(phase);
        }
    }
    let last = WallTime::from_micros(to.micros() - 1);
    phase_at(stretches, last).map_or(Shown::Blank, Shown::Goes)
}

/// Draws as many nodes as fit, then the terms, then the times.
pub(super) struct View<'a> {
    pub(super) theme: &'a Theme,
    pub(super) timeline: &'a Timeline,
    pub(super) window: Window,
    /// Nothing is drawn of what comes after it.
    pub(super) now: WallTime,
    pub(super) utc_offset_s: i32,
    /// The row `leader`, with its gaps named.
    pub(super) with_leader: bool,
    /// The row `term`.
    pub(super) with_terms: bool,
}

impl View<'_> {
    pub(super) fn draw(&self, area: Rect, buf: &mut Buffer) {
        let furniture = 1 + u16::from(self.with_leader) + u16::from(self.with_terms);
        let rows = area.height.saturating_sub(furniture);
        let longest = self.timeline.nodes().map(|(node, _)| format::width(node)).max().unwrap_or(0);
        let name = u16::try_from(longest.clamp(6, 16)).unwrap_or(16);
        let line = |at: u16| {
            let area = row(area, at);
            Rect { x: area.x + name + 2, width: area.width.saturating_sub(name + 3), ..area }
        };
        let label = |buf: &mut Buffer, at: u16, text: &str, part: Part| {
            let area = row(area, at);
            if area.height > 0 {
                put(buf, (area.x + 1, area.y), name, text, self.theme.part(part), self.theme.lines().ellipsis);
            }
        };
        let mut at = 0;
        for (node, stretches) in self.timeline.nodes().take(usize::from(rows)) {
            label(buf, at, node, Part::Text);
            self.course(line(at), buf, stretches);
            at += 1;
        }
        if self.with_leader {
            label(buf, at, "leader", Part::Faint);
            self.leader(line(at), buf);
            at += 1;
        }
        if self.with_terms {
            label(buf, at, "term", Part::Faint);
            self.terms(line(at), buf);
            at += 1;
        }
        self.times(line(at), buf);
    }

    fn course(&self, area: Rect, buf: &mut Buffer, stretches: &[Stretch]) {
        let lines = self.theme.lines();
        for column in 0..self.until_now(area.width) {
            let (from, to) = self.bounds(column, area.width);
            let (symbol, style) = match shown(stretches, from, to) {
                Shown::Blank | Shown::Goes(Phase::Down | Phase::Unseen) => continue,
                Shown::Starts(phase) => {
                    let mark = match phase {
                        Phase::Leads => Mark::Leader,
                        Phase::Stands => Mark::Candidate,
                        _ => Mark::Failed,
                    };
                    (self.theme.glyph(mark), self.theme.mark(mark))
                }
                Shown::Goes(Phase::Leads) => (lines.leads, self.theme.mark(Mark::Leader)),
                Shown::Goes(Phase::Follows) => (lines.follows, self.theme.mark(Mark::Good)),
                Shown::Goes(Phase::Stands) => (lines.adrift, self.theme.mark(Mark::Candidate)),
                Shown::Goes(Phase::Adrift) => (lines.adrift, self.theme.mark(Mark::Quiet)),
            };
            put(buf, (area.x + column, area.y), 1, symbol, style, "");
        }
    }

    /// Columns that have begun.
    fn until_now(&self, columns: u16) -> u16 {
        match self.window.to <= self.now {
            true => columns,
            false => self.window.column(self.now, columns).map_or(0, |column| column + 1),
        }
    }

    fn bounds(&self, column: u16, columns: u16) -> (WallTime, WallTime) {
        (self.window.at(column, columns), WallTime::from_micros(self.window.at(column + 1, columns).micros() + 1))
    }

    /// Someone leads, or nobody does although someone is known; the gaps are named where they fit.
    fn leader(&self, area: Rect, buf: &mut Buffer) {
        let lines = self.theme.lines();
        let style = self.theme.part(Part::Faint);
        for column in 0..self.until_now(area.width) {
            let moment = WallTime::from_micros(self.bounds(column, area.width).1.micros() - 1);
            let phases = || self.timeline.nodes().filter_map(|(_, row)| phase_at(row, moment));
            if phases().any(|phase| phase == Phase::Leads) {
                put(buf, (area.x + column, area.y), 1, lines.leads, self.theme.mark(Mark::Leader), "");
            } else if phases().any(|phase| matches!(phase, Phase::Adrift | Phase::Stands)) {
                put(buf, (area.x + column, area.y), 1, lines.adrift, self.theme.mark(Mark::Failed), "");
            }
        }
        for (from, to) in self.gaps() {
            let (Some(begin), Some(end)) = (self.window.column(from, area.width), self.window.column(to, area.width))
            else {
                continue;
            };
            let text = format!(" {} no leader ", format::age(to.micros_since(from)));
            let width = u16::try_from(format::width(&text)).unwrap_or(u16::MAX);
            if end.saturating_sub(begin) > width + 1 {
                for column in begin..=end {
                    let symbol = match column {
                        c if c == begin => lines.gap[0],
                        c if c == end => lines.gap[2],
                        _ => lines.gap[1],
                    };
                    put(buf, (area.x + column, area.y), 1, symbol, style, "");
                }
                let x = area.x + begin + (end - begin - width) / 2 + 1;
                put(buf, (x, area.y), width, &text, self.theme.mark(Mark::Failed), "");
            }
        }
    }

    /// Spans without a leader, between two that had one.
    fn gaps(&self) -> Vec<(WallTime, WallTime)> {
        let mut moments: Vec<WallTime> =
            self.timeline.nodes().flat_map(|(_, row)| row.iter().map(|stretch| stretch.at)).collect();
        moments.sort_unstable();
        moments.dedup();
        let is = |moment: WallTime, wanted: &[Phase]| {
            let mut phases = self.timeline.nodes().filter_map(|(_, row)| phase_at(row, moment));
            phases.any(|phase| wanted.contains(&phase))
        };
        let mut gaps = Vec::new();
        let mut lost = None;
        let mut had = false;
        for moment in moments {
            if is(moment, &[Phase::Leads]) {
                if let Some(from) = lost.take() {
                    gaps.push((from, moment));
                }
                had = true;
            } else if is(moment, &[Phase::Unseen]) {
                // Who led meanwhile is not known: that is no gap.
                (lost, had) = (None, false);
            } else if had && lost.is_none() && is(moment, &[Phase::Adrift, Phase::Stands]) {
                lost = Some(moment);
            }
        }
        gaps
    }

    fn terms(&self, area: Rect, buf: &mut Buffer) {
        let mut free = 0;
        for (term, at) in &self.timeline.terms {
            let Some(column) = self.window.column(*at, area.width).filter(|column| *column >= free) else { continue };
            let text = term.to_string();
            let taken =
                put(buf, (area.x + column, area.y), area.width - column, &text, self.theme.part(Part::Text), "");
            free = column + taken + 1;
        }
    }

    fn times(&self, area: Rect, buf: &mut Buffer) {
        let style = self.theme.part(Part::Faint);
        // Every 20 columns, and `now` at the end.
        let step = 20;
        let mut column = 0;
        while column + step < area.width {
            put(buf, (area.x + column, area.y), 13, &self.time(self.window.at(column, area.width)), style, "");
            column += step;
        }
        let end = if self.window.to == self.now { "now".to_owned() } else { self.time(self.window.to) };
        line_right(buf, area, &[(end.into(), style)]);
    }

    /// Days tell nothing by their seconds, minutes do, and seconds by their parts.
    fn time(&self, at: WallTime) -> String {
        let (span, offset) = (self.window.span_us(), self.utc_offset_s);
        match span {
            ..=20_000_000 => format::clock_millis(at, offset),
            20_000_001..=3_600_000_000 => format::clock(at, offset),
            _ => format::clock(at, offset)[..5].to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: i64) -> WallTime {
        WallTime::from_micros(s * 1_000_000)
    }

    #[test]
    fn a_column_shows_what_happens_in_it_before_how_it_goes_on() {
        let row = [
            Stretch { at: t(10), phase: Phase::Stands },
            Stretch { at: t(12), phase: Phase::Leads },
            Stretch { at: t(50), phase: Phase::Down },
        ];
        assert_eq!(shown(&row, t(0), t(10)), Shown::Blank);
        assert_eq!(shown(&row, t(10), t(20)), Shown::Starts(Phase::Leads));
        assert_eq!(shown(&row, t(10), t(11)), Shown::Starts(Phase::Stands));
        assert_eq!(shown(&row, t(20), t(30)), Shown::Goes(Phase::Leads));
        assert_eq!(shown(&row, t(45), t(55)), Shown::Starts(Phase::Down));
        assert_eq!(shown(&row, t(60), t(70)), Shown::Goes(Phase::Down));
    }

    #[test]
    fn the_window_is_a_minute_to_a_day() {
        let mut timeline = Timeline::default();
        timeline.put("one", t(100_000), Phase::Follows);
        let all = |now| Window::of(&timeline, t(now), Span::default(), Some(t(100_005)));
        assert_eq!(all(100_010).span_us(), 60_000_000);
        assert_eq!(all(100_300).span_us(), 300_000_000);
        assert_eq!(all(900_000).span_us(), 24 * 3_600_000_000);
        let mut span = Span::default();
        span.turn(true, timeline.all_us(t(100_300)));
        assert_eq!(
            Window::of(&timeline, t(100_300), span, Some(t(100_100))),
            Window { from: t(100_070), to: t(100_130) }
        );
        assert_eq!(Window::of(&timeline, t(100_300), span, None), Window { from: t(100_240), to: t(100_300) });
    }
}
