//! Ages, counts, times and foreign text as a few characters; pure, used by every view.
//!
//! Text from agents is untrusted: whatever reaches the terminal passes [`clean`].

use std::borrow::Cow;

use shared::time::WallTime;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

const SECOND: u64 = 1_000_000;
const DAY_S: i64 = 86_400;

/// An age in at most six columns: `0.4s`, `12s`, `14m`, `3h12m`, `2d4h`.
pub fn age(micros: u64) -> String {
    let s = micros / SECOND;
    match s {
        0..=9 => format!("{}.{}s", s, micros % SECOND / 100_000),
        10..=119 => format!("{s}s"),
        120..=5_999 => format!("{}m", s / 60),
        6_000..=86_399 => format!("{}h{:02}m", s / 3_600, s % 3_600 / 60),
        _ => format!("{}d{}h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// An age in whole seconds below a minute, for a clock that redraws once a second.
pub fn age_whole(micros: u64) -> String {
    if micros < 120 * SECOND { format!("{}s", micros / SECOND) } else { age(micros) }
}

/// A duration of milliseconds: `12ms`, `7.3s`, `2m`.
pub fn millis(ms: u64) -> String {
    if ms < 1_000 { format!("{ms}ms") } else { age(ms.saturating_mul(1_000)) }
}

/// A round trip of microseconds: `0.4ms`, `12ms`.
pub fn rtt(us: u64) -> String {
    if us < 10_000 { format!("{}.{}ms", us / 1_000, us % 1_000 / 100) } else { millis(us / 1_000) }
}

/// `18,204`
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A rate in at most one decimal: `0.4`, `36,006`.
pub fn rate(per_second: f64) -> String {
    if per_second < 1_000.0 { format!("{per_second:.1}") } else { count(per_second.round() as u64) }
}

/// `10:55:17` where the operator is.
pub fn clock(at: WallTime, utc_offset_s: i32) -> String {
    let (_, s, _) = local(at, utc_offset_s);
    format!("{:02}:{:02}:{:02}", s / 3_600, s % 3_600 / 60, s % 60)
}

/// `10:55:17.702`
pub fn clock_millis(at: WallTime, utc_offset_s: i32) -> String {
    let (_, s, micros) = local(at, utc_offset_s);
    format!("{:02}:{:02}:{:02}.{:03}", s / 3_600, s % 3_600 / 60, s % 60, micros / 1_000)
}

/// The time when it was today, else how many days ago: `10:55:17.702`, `yesterday`, `12 days ago`.
pub fn when(at: WallTime, now: WallTime, utc_offset_s: i32) -> String {
    match local(now, utc_offset_s).0 - local(at, utc_offset_s).0 {
        1 => "yesterday".to_owned(),
        days @ 2.. => format!("{days} days ago"),
        _ => clock_millis(at, utc_offset_s),
    }
}

/// Day number, second of the day, microsecond of the second.
fn local(at: WallTime, utc_offset_s: i32) -> (i64, i64, i64) {
    let micros = at.micros() + i64::from(utc_offset_s) * 1_000_000;
    let s = micros.div_euclid(1_000_000);
    (s.div_euclid(DAY_S), s.rem_euclid(DAY_S), micros.rem_euclid(1_000_000))
}

/// Control characters, and those that reorder or hide text, shown as escapes.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\t' => out.push(' '),
            c if is_unsafe(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Columns this text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The longest head of `text` that fits `columns`, and its width.
pub fn head(text: &str, columns: usize) -> (&str, usize) {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        let w = c.width().unwrap_or(0);
        if taken + w > columns {
            return (&text[..at], taken);
        }
        taken += w;
    }
    (text, taken)
}

/// `text` in at most `columns`; a cut one ends in `mark`.
pub fn fit<'a>(text: &'a str, columns: usize, mark: &str) -> Cow<'a, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let (kept, _) = head(text, columns.saturating_sub(width(mark)));
    Cow::Owned(format!("{kept}{}", head(mark, columns).0))
}

/// Breaks `text` into lines of at most `columns`, at blanks where there are some.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while width(rest) > columns && columns > 0 {
        let (kept, _) = head(rest, columns);
        if kept.is_empty() {
            break;
        }
        let cut = kept.rfind(' ').filter(|at| *at * 2 > kept.len()).map_or(kept.len(), |at| at + 1);
        lines.push(rest[..cut].trim_end().to_owned());
        rest = &rest[cut..];
    }
    lines.push(rest.to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_age(micros: u64, expected: &str) {
        assert_eq!(age(micros), expected);
    }

    #[test]
    fn ages_grow_coarse() {
        check_age(420_000, "0.4s");
        check_age(12 * SECOND, "12s");
        check_age(119 * SECOND, "119s");
        check_age(120 * SECOND, "2m");
        check_age(14 * 60 * SECOND, "14m");
        check_age((3 * 3_600 + 12 * 60) * SECOND, "3h12m");
        check_age((2 * 86_400 + 4 * 3_600) * SECOND, "2d4h");
    }

    #[test]
    fn counts_have_separators() {
        for (n, expected) in [(0, "0"), (999, "999"), (18_204, "18,204"), (1_234_567, "1,234,567")] {
            assert_eq!(count(n), expected);
        }
        assert_eq!((rate(0.42), rate(36_005.9)), ("0.4".to_owned(), "36,006".to_owned()));
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(clean("plain ★ text"), "plain ★ text");
        assert_eq!(clean("a\u{1b}[2Jb\tc"), "a\\u{1b}[2Jb c");
        assert_eq!(clean("x\u{202e}y"), "x\\u{202e}y");
    }

    #[test]
    fn wide_characters_count_two_columns() {
        assert_eq!(fit("北京上海", 5, "…"), "北京…");
        assert_eq!(fit("北京", 4, "…"), "北京");
        assert_eq!(head("北京", 3), ("北", 2));
    }

    #[test]
    fn wrapping_keeps_every_word() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("unbreakable", 4), ["unbr", "eaka", "ble"]);
        assert_eq!(wrap("北", 1), ["北"]);
    }

    #[test]
    fn a_time_before_the_epoch_is_no_panic() {
        assert_eq!(clock(WallTime::from_micros(-1), 0), "23:59:59");
    }
}
