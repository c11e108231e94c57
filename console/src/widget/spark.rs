//! A row of little bars.

use crate::theme::Lines;

/// The last `columns` values as bars, the highest being full. Nothing but zeros is a flat line.
pub fn spark(values: &[f64], columns: usize, lines: &Lines) -> String {
    let seen = &values[values.len().saturating_sub(columns)..];
    spark_against(seen, seen.iter().copied().fold(0.0, f64::max), columns, lines)
}

/// As [`spark`], where `most` is full, and all above it.
pub fn spark_against(values: &[f64], most: f64, columns: usize, lines: &Lines) -> String {
    let values = &values[values.len().saturating_sub(columns)..];
    values
        .iter()
        .map(|value| {
            let level = if most > 0.0 { (value / most * 7.0).round() } else { 0.0 };
            lines.levels[(level as usize).min(7)]
        })
        .collect()
}

/// A bar from the left, full at `most`; nothing is a hair, so that a bar is seen to be there.
pub fn bar(value: u64, most: u64, columns: usize, lines: &Lines) -> String {
    let eighths = u128::from(value.min(most)) * (columns as u128 * 8) / u128::from(most.max(1));
    let eighths = usize::try_from(eighths).unwrap_or(0).clamp(1, (columns * 8).max(1));
    let mut text = lines.eighths[7].repeat((eighths - 1) / 8);
    text.push_str(lines.eighths[(eighths - 1) % 8]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Look;
    use crate::theme::Theme;

    #[test]
    fn bars_are_relative_to_the_highest_and_the_newest_are_kept() {
        let lines = Theme::new(Look::default()).lines();
        assert_eq!(spark(&[0.0, 3.5, 7.0], 8, lines), "▁▅█");
        assert_eq!(spark(&[0.0, 0.0], 8, lines), "▁▁");
        assert_eq!(spark(&[9.0, 1.0, 1.0], 2, lines), "██");
        assert_eq!(spark(&[], 8, lines), "");
        assert_eq!(spark_against(&[0.0, 20.0, 900.0], 200.0, 8, lines), "▁▂█");
    }

    #[test]
    fn a_bar_is_never_longer_than_its_columns() {
        let lines = Theme::new(Look::default()).lines();
        for (value, expected) in [(0, "▏"), (125, "████"), (250, "████████"), (9_999, "████████")]
        {
            assert_eq!(bar(value, 250, 8, lines), expected, "{value}");
        }
    }
}
