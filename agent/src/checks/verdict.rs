//! PURE: from what single looks at a service said to what its check is: results in a row against
//! thresholds, and reports against the time that they are good for.

use std::time::Duration;

use crate::moment::Moment;
use crate::store::command::CheckStatus;

/// Counts results in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    success_before_passing: u32,
    failures_before_critical: u32,
    successes: u32,
    failures: u32,
}

/// What a result comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The check is as the result says.
    Told,
    /// It stays as it was: so many of so many have passed.
    NotYetPassing { count: u32, threshold: u32 },
    /// It stays as it was: so many of so many have failed.
    NotYetCritical { count: u32, threshold: u32 },
}

impl Row {
    /// 0 and below are as 1.
    pub fn new(success_before_passing: i64, failures_before_critical: i64) -> Self {
        let threshold = |given: i64| u32::try_from(given).unwrap_or(0);
        Self {
            success_before_passing: threshold(success_before_passing),
            failures_before_critical: threshold(failures_before_critical),
            ..Self::default()
        }
    }

    /// A warning counts as a success, as in Consul.
    pub fn judge(&mut self, result: CheckStatus) -> Verdict {
        if result == CheckStatus::Critical {
            (self.successes, self.failures) = (0, self.failures.saturating_add(1));
            let (count, threshold) = (self.failures, self.failures_before_critical);
            return if count >= threshold { Verdict::Told } else { Verdict::NotYetCritical { count, threshold } };
        }
        (self.successes, self.failures) = (self.successes.saturating_add(1), 0);
        let (count, threshold) = (self.successes, self.success_before_passing);
        if count >= threshold { Verdict::Told } else { Verdict::NotYetPassing { count, threshold } }
    }
}

/// How long the last report is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    ttl: Duration,
    due: Moment,
    last_output: String,
    is_over: bool,
}

impl Lease {
    pub fn new(ttl: Duration, now: Moment) -> Self {
        Self { ttl, due: now + ttl, last_output: String::new(), is_over: false }
    }

    /// Somebody reported, and said this.
    pub fn renew(&mut self, now: Moment, output: &str) {
        (self.due, self.is_over) = (now + self.ttl, false);
        output.clone_into(&mut self.last_output);
    }

    /// When it is over; none when it is already.
    pub fn due(&self) -> Option<Moment> {
        (!self.is_over).then_some(self.due)
    }

    /// What the check says from now on, once: its time is over.
    pub fn expire(&mut self, now: Moment) -> Option<String> {
        if self.is_over || now < self.due {
            return None;
        }
        self.is_over = true;
        Some(match self.last_output.as_str() {
            "" => "TTL expired".to_owned(),
            last => format!("TTL expired (last output before timeout follows): {last}"),
        })
    }
}

/// Of a report no more than `max` bytes are kept, with Consul's words where it was longer.
pub fn cut(mut output: String, max: usize) -> String {
    let total = output.len();
    if total <= max {
        return output;
    }
    let end = (0..=max).rev().find(|at| output.is_char_boundary(*at)).unwrap_or(0);
    output.truncate(end);
    format!("{output} ... (captured {max} of {total} bytes)")
}

#[cfg(test)]
mod tests {
    use super::CheckStatus::{Critical, Passing, Warning};
    use super::*;

    #[track_caller]
    fn check(thresholds: (i64, i64), results: &[CheckStatus], expected: &[Verdict]) {
        let mut row = Row::new(thresholds.0, thresholds.1);
        let verdicts: Vec<_> = results.iter().map(|result| row.judge(*result)).collect();
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn results_count_in_a_row() {
        use Verdict::{NotYetCritical, NotYetPassing, Told};
        check((0, 0), &[Critical, Passing, Warning], &[Told, Told, Told]);
        check((-1, -1), &[Critical, Passing], &[Told, Told]);
        let one_of_two = NotYetPassing { count: 1, threshold: 2 };
        check((2, 0), &[Passing, Warning, Passing], &[one_of_two, Told, Told]);
        check((2, 0), &[Passing, Critical, Passing, Passing], &[one_of_two, Told, one_of_two, Told]);
        let failed = |count| NotYetCritical { count, threshold: 3 };
        check((0, 3), &[Critical, Critical, Critical, Critical], &[failed(1), failed(2), Told, Told]);
        check((0, 3), &[Critical, Critical, Passing, Critical], &[failed(1), failed(2), Told, failed(1)]);
    }

    #[test]
    fn a_report_is_good_for_its_time_and_its_end_is_told_once() {
        let at = |second: u64| Moment::from_micros(second * 1_000_000);
        let mut lease = Lease::new(Duration::from_secs(10), at(0));
        assert_eq!((lease.due(), lease.expire(at(9))), (Some(at(10)), None));
        assert_eq!(lease.expire(at(10)).as_deref(), Some("TTL expired"));
        assert_eq!((lease.due(), lease.expire(at(11))), (None, None));
        lease.renew(at(20), "well");
        assert_eq!((lease.due(), lease.expire(at(29))), (Some(at(30)), None));
        let over = lease.expire(at(31));
        assert_eq!(over.as_deref(), Some("TTL expired (last output before timeout follows): well"));
    }

    #[test]
    fn long_reports_are_cut_where_a_character_ends() {
        assert_eq!(cut("abc".to_owned(), 3), "abc");
        assert_eq!(cut("abcd".to_owned(), 3), "abc ... (captured 3 of 4 bytes)");
        assert_eq!(cut("aéb".to_owned(), 2), "a ... (captured 2 of 4 bytes)");
    }
}
