//! Durations as Go writes and reads them: `1m30s`, `500ms`, `0s`.
//!
//! Called wherever a duration crosses a border: configuration, query parameters, JSON bodies, log fields.
//! Knows nothing of clocks; negative durations do not exist here, for no key or parameter has one.

use std::fmt;
use std::time::Duration;

/// Why a text is not a duration. Displays as Go's `time.ParseDuration` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParseError {
    Invalid(String),
    MissingUnit(String),
    UnknownUnit { unit: String, text: String },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::Invalid(text) => write!(f, "time: invalid duration {text:?}"),
            ParseError::MissingUnit(text) => write!(f, "time: missing unit in duration {text:?}"),
            ParseError::UnknownUnit { unit, text } => write!(f, "time: unknown unit {unit:?} in duration {text:?}"),
        }
    }
}

impl std::error::Error for ParseError {}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Reads `1h2m3.5s`, `300ms`, `0`. A bare number other than 0 is refused, as Go does.
/// Longer than Go's 2^63 nanoseconds (292 years) is refused too.
pub fn parse(text: &str) -> Result<Duration, ParseError> {
    let invalid = || ParseError::Invalid(text.to_owned());
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_len);
        let unit_len = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        if unit.is_empty() {
            return Err(ParseError::MissingUnit(text.to_owned()));
        }
        let nanos =
            unit_nanos(unit).ok_or_else(|| ParseError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() })?;
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        total = whole.checked_mul(nanos).and_then(|n| n.checked_add(total)).ok_or_else(invalid)?;
        // Digits beyond the twelfth are below a nanosecond of an hour.
        let digits = &fraction[..fraction.len().min(12)];
        if !digits.is_empty() {
            let value: u128 = digits.parse().map_err(|_| invalid())?;
            total += value * nanos / 10u128.pow(digits.len() as u32);
        }
        if total > i64::MAX as u128 {
            return Err(invalid());
        }
        rest = after;
    }
    Ok(Duration::from_nanos(total as u64))
}

/// Writes a duration as Go's `Duration.String`: `87600h0m0s`, `1m0s`, `2.5s`, `200ms`, `0s`.
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000 {
        return format!("{nanos}ns");
    }
    if nanos < 1_000_000 {
        return format!("{}µs", decimal(nanos, 1_000));
    }
    if nanos < 1_000_000_000 {
        return format!("{}ms", decimal(nanos, 1_000_000));
    }
    let minutes = nanos / 60_000_000_000;
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, m) => format!("{m}m{seconds}s"),
        (h, m) => format!("{h}h{m}m{seconds}s"),
    }
}

/// `value / unit` with as many decimals as are needed and no more.
fn decimal(value: u128, unit: u128) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, nanos: u64, written: &str) {
        assert_eq!(parse(text).map(|d| d.as_nanos() as u64), Ok(nanos), "{text}");
        assert_eq!(format(Duration::from_nanos(nanos)), written);
    }

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        check("0", 0, "0s");
        check("1ns", 1, "1ns");
        check("1100ns", 1_100, "1.1µs");
        check("2200us", 2_200_000, "2.2ms");
        check("3300ms", 3_300_000_000, "3.3s");
        check("1m30s", 90_000_000_000, "1m30s");
        check("1.5h", 5_400_000_000_000, "1h30m0s");
        check("87600h", 315_360_000_000_000_000, "87600h0m0s");
        check(".5s", 500_000_000, "500ms");
    }

    #[test]
    fn what_is_no_duration_is_refused_in_gos_words() {
        let text = |s: &str| parse(s).map_err(|e| e.to_string());
        assert_eq!(text("5"), Err("time: missing unit in duration \"5\"".into()));
        assert_eq!(text("x"), Err("time: invalid duration \"x\"".into()));
        assert_eq!(text(""), Err("time: invalid duration \"\"".into()));
        assert_eq!(text("5x"), Err("time: unknown unit \"x\" in duration \"5x\"".into()));
        assert_eq!(text("-5s"), Err("time: invalid duration \"-5s\"".into()));
        assert_eq!(text("9999999h"), Err("time: invalid duration \"9999999h\"".into()));
    }
}
