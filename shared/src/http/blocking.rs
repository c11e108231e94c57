//! The index a blocking query carries from answer to answer; pure.
//! Called by whoever watches something through [`super::Client`]: the console's polls, a verb that waits.

use std::time::Duration;

/// Where a watch stands. Ask with [`Watch::index`] and [`Watch::wait`], then tell it the answer's index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    index: u64,
    wait: Duration,
}

impl Watch {
    /// `wait` is how long the agent may hold a query; the agent allows 10 minutes.
    pub fn new(wait: Duration) -> Self {
        Self { index: 0, wait }
    }

    /// What to send as `index`; 0, which answers at once, is not sent.
    pub fn index(&self) -> Option<u64> {
        (self.index > 0).then_some(self.index)
    }

    /// What to send as `wait`, in Go's notation.
    pub fn wait(&self) -> String {
        crate::duration::format(self.wait)
    }

    /// How long to wait for the answer: the agent adds up to a sixteenth, and the way takes time too.
    pub fn limit(&self) -> Duration {
        self.wait + self.wait / 16 + Duration::from_secs(5)
    }

    /// Takes the index of an answer; true when there is something new to look at.
    /// An index that went back (a restored snapshot, another agent) or is none starts over from 0.
    pub fn accept(&mut self, index: Option<u64>) -> bool {
        let index = index.unwrap_or(0);
        let is_new = index != self.index || index == 0;
        self.index = if index < self.index { 0 } else { index };
        is_new
    }

    /// Starts over, after an error: the next answer comes at once.
    pub fn reset(&mut self) {
        self.index = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answers: &[u64], expected_new: &[bool], expected_index: Option<u64>) {
        let mut watch = Watch::new(Duration::from_secs(60));
        let new: Vec<bool> = answers.iter().map(|index| watch.accept(Some(*index))).collect();
        assert_eq!((new.as_slice(), watch.index()), (expected_new, expected_index), "{answers:?}");
    }

    #[test]
    fn the_index_follows_the_answers_and_starts_over_when_it_goes_back() {
        check(&[], &[], None);
        check(&[5, 5, 6], &[true, false, true], Some(6));
        check(&[5, 3], &[true, true], None);
        check(&[5, 3, 3], &[true, true, true], Some(3));
        check(&[5, 0], &[true, true], None);
    }

    #[test]
    fn the_limit_outlasts_the_agents_own_wait() {
        let watch = Watch::new(Duration::from_secs(160));
        assert_eq!((watch.wait().as_str(), watch.limit()), ("2m40s", Duration::from_secs(175)));
    }
}
