//! PURE: what clients did and what came of it, against the one history that the servers share. Its
//! order is known (the entries' indexes), so that whether reads and writes agree with it and with real
//! time is a matter of comparing numbers.

use std::collections::BTreeMap;

use crate::store::command::Outcome;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Set(Vec<u8>),
    /// When the key's modify index is this.
    Cas(Vec<u8>, u64),
    /// Served as consistent.
    Read,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// As this entry, which said this.
    Wrote(u64, Outcome),
    /// The value, and the entry that wrote it; 0 for none.
    Saw(u64, Vec<u8>),
    /// Nothing happened.
    Refused,
    Unknown,
}

#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) key: String,
    pub(crate) act: Act,
    /// Counts what began and ended, on one scale.
    pub(crate) start: u64,
    /// Never, while its outcome is unknown.
    pub(crate) end: u64,
    pub(crate) came: Came,
}

impl Op {
    /// Its place in the history: a write's entry, the entry a read saw.
    fn place(&self) -> Option<u64> {
        match &self.came {
            Came::Wrote(index, _) | Came::Saw(index, _) => Some(*index),
            Came::Refused | Came::Unknown => None,
        }
    }

    fn is_read(&self) -> bool {
        self.act == Act::Read
    }
}

/// The entries that changed a key, in order, and the values they wrote.
pub(crate) type Versions = Vec<(u64, Vec<u8>)>;

/// What is not linearizable, key by key. `versions`: the entries that changed each key.
pub(crate) fn order(ops: &[Op], versions: &BTreeMap<String, Versions>) -> Vec<String> {
    let mut keys: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
    for op in ops.iter().filter(|op| op.place().is_some()) {
        keys.entry(&op.key).or_default().push(op);
    }
    let none = Vec::new();
    let mut breaches = Vec::new();
    for (key, ops) in keys {
        let versions = versions.get(key).unwrap_or(&none);
        breaches.extend(ops.iter().filter_map(|op| unreal(op, versions)));
        breaches.extend(of_key(ops, versions));
    }
    let early: BTreeMap<&[u8], u64> = ops
        .iter()
        .filter_map(|op| match &op.act {
            Act::Set(value) | Act::Cas(value, _) => Some((value.as_slice(), op.start)),
            Act::Read => None,
        })
        .collect();
    breaches.extend(ops.iter().filter_map(|op| match &op.came {
        Came::Saw(index, value) if *index > 0 && early.get(value.as_slice()).is_none_or(|start| *start > op.end) => {
            Some(format!("a read of {} saw entry {index} before anybody wrote it", op.key))
        }
        _ => None,
    }));
    breaches
}

/// A read of what never was.
fn unreal(op: &Op, versions: &[(u64, Vec<u8>)]) -> Option<String> {
    let Came::Saw(index, value) = &op.came else { return None };
    let is_real = *index == 0 || versions.iter().any(|version| version.0 == *index && version.1 == *value);
    (!is_real).then(|| format!("a read of {} saw {} as entry {index}, which never was", op.key, text(value)))
}

/// Whatever had ended before an operation began is before it in the history. A write that changed
/// nothing read as well: it counts as its entry.
fn of_key(ops: Vec<&Op>, versions: &[(u64, Vec<u8>)]) -> Vec<String> {
    let mut ended = ops.clone();
    ended.sort_by_key(|op| op.end);
    let mut began = ops;
    began.sort_by_key(|op| op.start);
    let (mut at, mut last): (usize, Option<&Op>) = (0, None);
    let mut breaches = Vec::new();
    for op in began {
        while let Some(done) = ended.get(at).filter(|done| done.end < op.start) {
            if last.is_none_or(|last| last.place() < done.place()) {
                last = Some(done);
            }
            at += 1;
        }
        let (Some(last), Some(place)) = (last, op.place()) else { continue };
        let before = last.place().unwrap_or_default();
        // A read sees the newest version; a write that changed nothing made none.
        let before = if op.is_read() { newest(versions, before) } else { before };
        if place < before {
            let (what, key) = (if op.is_read() { "a consistent read" } else { "a write" }, &op.key);
            breaches.push(format!("{what} of {key} came to entry {place} after entry {before} had been answered"));
        }
    }
    breaches
}

/// The last version at or before an entry.
fn newest(versions: &[(u64, Vec<u8>)], entry: u64) -> u64 {
    versions.iter().map(|version| version.0).take_while(|index| *index <= entry).last().unwrap_or_default()
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(start: u64, end: u64, index: u64) -> Op {
        let value = index.to_string().into_bytes();
        Op { key: "k".into(), act: Act::Set(value), start, end, came: Came::Wrote(index, Outcome::Done) }
    }

    fn read(start: u64, end: u64, index: u64) -> Op {
        let value = if index == 0 { Vec::new() } else { index.to_string().into_bytes() };
        Op { key: "k".into(), act: Act::Read, start, end, came: Came::Saw(index, value) }
    }

    #[track_caller]
    fn check(ops: &[Op], expected: usize) {
        let versions = [5, 7, 9].map(|index: u64| (index, index.to_string().into_bytes())).to_vec();
        let found = order(ops, &BTreeMap::from([("k".to_owned(), versions)]));
        assert_eq!(found.len(), expected, "{found:?}");
    }

    #[test]
    fn a_history_agrees_with_real_time_or_is_told() {
        check(&[write(1, 2, 5), read(3, 4, 5), write(5, 8, 7), read(6, 7, 7)], 0);
        check(&[write(1, 2, 5), write(3, 9, 7), read(4, 5, 7), read(6, 7, 5)], 1);
        check(&[write(1, 2, 5), read(3, 4, 0)], 1);
        check(&[write(1, 8, 5), read(2, 3, 0), read(4, 5, 5)], 0);
        check(&[write(1, 2, 7), write(3, 4, 5)], 1);
        check(&[write(1, 2, 5), read(3, 4, 6)], 2);
        check(&[read(1, 2, 5), write(3, 4, 5)], 1);
    }

    #[test]
    fn a_write_that_changed_nothing_makes_no_version() {
        let mut failed = write(3, 4, 6);
        failed.came = Came::Wrote(6, Outcome::Held(false));
        check(&[write(1, 2, 5), failed, read(5, 6, 5)], 0);
    }
}
