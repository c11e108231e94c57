//! PURE: what was seen of keys, wherever and however it was read: a Raft index wrote one value, a value
//! was written at one index, and nothing goes back where it was read before.

use std::collections::BTreeMap;

/// Anomalies kept: one bug shows a thousand times.
const TOLD_MAX: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Versions {
    /// By index.
    written: BTreeMap<u64, (String, u64)>,
    /// By value.
    at: BTreeMap<u64, u64>,
    pub(super) seen: u64,
    pub(super) anomalies: Vec<String>,
}

/// What one process has shown so far.
#[derive(Debug, Default)]
pub(super) struct Life {
    indexes: BTreeMap<String, u64>,
}

impl Versions {
    /// A key held this value, with this `ModifyIndex`.
    pub(super) fn see(&mut self, key: &str, value: u64, index: u64, by: &str) {
        self.seen += 1;
        let first = self.written.entry(index).or_insert_with(|| (key.to_owned(), value)).clone();
        if first != (key.to_owned(), value) {
            let (other, before) = first;
            self.tell(format!("index {index} wrote {before} to {other}, and {value} to {key} as {by} says"));
        }
        let before = *self.at.entry(value).or_insert(index);
        if before != index {
            self.tell(format!("{key}: {value} was applied twice: at {before}, and at {index} as {by} says"));
        }
    }

    /// As `see`, by a process that must not go back.
    pub(super) fn see_in(&mut self, life: &mut Life, key: &str, value: u64, index: u64, by: &str) {
        self.see(key, value, index, by);
        self.follow(life, key, index, by);
    }

    /// The index of this answer is none before the last.
    pub(super) fn follow(&mut self, life: &mut Life, what: &str, index: u64, by: &str) {
        let last = life.indexes.entry(what.to_owned()).or_default();
        let before = std::mem::replace(last, (*last).max(index));
        if index < before {
            self.tell(format!("{what}: {by} went back from index {before} to {index}"));
        }
    }

    fn tell(&mut self, text: String) {
        if self.anomalies.len() < TOLD_MAX {
            self.anomalies.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seen: &[(&str, u64, u64)], anomalies: &[&str]) {
        let (mut versions, mut life) = (Versions::default(), Life::default());
        for (key, value, index) in seen {
            versions.see_in(&mut life, key, *value, *index, "s0");
        }
        assert_eq!(versions.anomalies, anomalies);
    }

    #[test]
    fn each_index_has_a_value_and_each_value_an_index() {
        check(&[("a", 1, 5), ("a", 1, 5), ("b", 2, 6), ("a", 3, 7)], &[]);
        check(&[("a", 1, 5), ("a", 2, 5)], &["index 5 wrote 1 to a, and 2 to a as s0 says"]);
        check(&[("a", 1, 5), ("b", 2, 5)], &["index 5 wrote 1 to a, and 2 to b as s0 says"]);
        check(&[("a", 1, 5), ("a", 1, 9)], &["a: 1 was applied twice: at 5, and at 9 as s0 says"]);
        check(&[("a", 1, 5), ("a", 2, 6), ("a", 1, 5)], &["a: s0 went back from index 6 to 5"]);
    }
}
