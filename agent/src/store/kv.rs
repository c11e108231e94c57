//! Keys, their values, and the memory of deleted keys.
//!
//! A key has its own index; a prefix has the highest index of what is or was under it. For the
//! latter a deleted key leaves a tombstone. Tombstones are dropped by age (the entries' time) and
//! by number; their highest index then holds for every prefix, so that no answer's index goes back.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet, Vector};

use super::changes::{Changes, Topic};
use super::command::{KvCommand, Outcome};
use super::query::KvEntry;

/// How long a deletion is remembered, in microseconds; Consul's `tombstone_ttl` of 15 minutes.
const TOMBSTONE_AGE_MAX: i64 = 15 * 60 * 1_000_000;

/// So that deleting without end cannot fill the memory: some 20 MiB.
const TOMBSTONES_MAX: usize = 131_072;

/// Expired tombstones dropped by one apply, so that none takes long.
const TOMBSTONES_DROPPED_MAX: usize = 256;

/// An entry, ordered by its key: the key is kept once.
#[derive(Clone, Debug)]
struct ByKey(Arc<KvEntry>);

impl Borrow<str> for ByKey {
    fn borrow(&self) -> &str {
        &self.0.key
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

/// A deletion, in the order they happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tombstone {
    pub(super) key: Arc<str>,
    pub(super) index: u64,
    /// Microseconds, the entry's time.
    pub(super) at: i64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Kv {
    entries: OrdSet<ByKey>,
    /// The last write that changed anything.
    index: u64,
    /// Deleted keys that were not set again, with the index of the deletion.
    deleted: OrdMap<Arc<str>, u64>,
    /// May hold more than `deleted`: a key set again stays here until its turn comes.
    tombstones: Vector<Tombstone>,
    /// The highest index of the tombstones dropped.
    floor: u64,
}

impl PartialEq for Kv {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
            && self.floor == other.floor
            && self.deleted == other.deleted
            && self.tombstones == other.tombstones
            && self.entries.len() == other.entries.len()
            && self.entries.iter().zip(other.entries.iter()).all(|(a, b)| a.0 == b.0)
    }
}

/// Where in the log a command stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) index: u64,
    /// Microseconds, the entry's time.
    pub(super) time: i64,
}

impl Kv {
    pub(super) fn apply(&mut self, at: At, command: KvCommand, changes: &mut Changes) -> Outcome {
        let outcome = match command {
            KvCommand::Set { key, value, flags } => {
                self.set(at, key, value, flags, changes);
                Outcome::Done
            }
            KvCommand::Cas { key, value, flags, index } => {
                let held = self.modify_index(&key) == index;
                if held {
                    self.set(at, key, value, flags, changes);
                }
                Outcome::Held(held)
            }
            KvCommand::Delete { key } => {
                self.delete(at, &key, changes);
                Outcome::Done
            }
            KvCommand::DeleteCas { key, index } => {
                // Consul: a key that is not there counts as deleted, whatever the index.
                let current = self.modify_index(&key);
                let held = current == 0 || current == index;
                if held {
                    self.delete(at, &key, changes);
                }
                Outcome::Held(held)
            }
            KvCommand::DeleteTree { prefix } => {
                let keys: Vec<Arc<KvEntry>> = self.under(&prefix).cloned().collect();
                for entry in keys {
                    self.delete(at, &entry.key, changes);
                }
                Outcome::Done
            }
        };
        self.drop_tombstones(at.time);
        outcome
    }

    /// 0 when there is no such key; no write has index 0.
    fn modify_index(&self, key: &str) -> u64 {
        self.entries.get(key).map_or(0, |e| e.0.modify_index)
    }

    fn set(&mut self, at: At, key: String, value: Vec<u8>, flags: u64, changes: &mut Changes) {
        let old = self.entries.get(key.as_str()).map(|e| &e.0);
        if old.is_some_and(|old| old.flags == flags && old.value == value) {
            return;
        }
        let (create_index, lock_index) = old.map_or((at.index, 0), |old| (old.create_index, old.lock_index));
        // Boxed first: the spare capacity of a decoded vector would stay with the value.
        let value = Bytes::from(value.into_boxed_slice());
        changes.touch(Topic::KvKey(key.clone()));
        self.deleted.remove(key.as_str());
        self.insert(KvEntry { key, value, flags, lock_index, create_index, modify_index: at.index });
        self.index = at.index;
    }

    fn delete(&mut self, at: At, key: &str, changes: &mut Changes) {
        if self.entries.remove(key).is_none() {
            return;
        }
        changes.touch(Topic::KvKey(key.to_owned()));
        self.bury(Tombstone { key: key.into(), index: at.index, at: at.time });
        self.index = at.index;
    }

    fn drop_tombstones(&mut self, now: i64) {
        let mut dropped = 0;
        while let Some(oldest) = self.tombstones.front() {
            let is_expired = now.saturating_sub(oldest.at) > TOMBSTONE_AGE_MAX && dropped < TOMBSTONES_DROPPED_MAX;
            if !is_expired && self.tombstones.len() <= TOMBSTONES_MAX {
                break;
            }
            dropped += 1;
            let oldest = self.tombstones.pop_front().expect("it was just seen");
            if self.deleted.get(&*oldest.key) == Some(&oldest.index) {
                self.deleted.remove(&*oldest.key);
                self.floor = self.floor.max(oldest.index);
            }
        }
    }

    fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<KvEntry>> {
        self.entries
            .range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
            .map(|e| &e.0)
            .take_while(move |e| e.key.starts_with(prefix))
    }

    /// Of a key that is there its own; of another the table's.
    pub(super) fn get(&self, key: &str) -> (u64, Option<Arc<KvEntry>>) {
        match self.entries.get(key) {
            Some(entry) => (entry.0.modify_index, Some(Arc::clone(&entry.0))),
            None => (self.index, None),
        }
    }

    pub(super) fn list(&self, prefix: &str) -> (u64, Vec<Arc<KvEntry>>) {
        let entries: Vec<_> = self.under(prefix).cloned().collect();
        let index = self.index_under(prefix, entries.iter().map(|e| e.modify_index).max());
        (index, entries)
    }

    /// The keys under `prefix`, each cut after the first `separator` that follows it, once.
    pub(super) fn keys(&self, prefix: &str, separator: &str) -> (u64, Vec<String>) {
        let mut keys: Vec<String> = Vec::new();
        let mut index = None;
        for entry in self.under(prefix) {
            index = index.max(Some(entry.modify_index));
            let cut = match separator {
                "" => None,
                _ => entry.key[prefix.len()..].find(separator).map(|at| prefix.len() + at + separator.len()),
            };
            let key = &entry.key[..cut.unwrap_or(entry.key.len())];
            if keys.last().is_none_or(|last| last != key) {
                keys.push(key.to_owned());
            }
        }
        (self.index_under(prefix, index), keys)
    }

    /// `live` is the highest index of the keys under `prefix`.
    fn index_under(&self, prefix: &str, live: Option<u64>) -> u64 {
        let dead = self
            .deleted
            .range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, index)| *index)
            .max();
        // Consul: a prefix that never was anything has the table's index.
        live.max(dead).map_or(self.index, |index| index.max(self.floor))
    }

    // What a snapshot reads and writes.

    pub(super) fn entries(&self) -> impl Iterator<Item = &KvEntry> {
        self.entries.iter().map(|e| &*e.0)
    }

    pub(super) fn tombstones(&self) -> impl Iterator<Item = &Tombstone> {
        self.tombstones.iter()
    }

    /// The table's index and the floor.
    pub(super) fn marks(&self) -> (u64, u64) {
        (self.index, self.floor)
    }

    pub(super) fn set_marks(&mut self, index: u64, floor: u64) {
        (self.index, self.floor) = (index, floor);
    }

    pub(super) fn insert(&mut self, entry: KvEntry) {
        self.entries.insert(ByKey(Arc::new(entry)));
    }

    pub(super) fn bury(&mut self, tombstone: Tombstone) {
        if !self.entries.contains(&*tombstone.key) {
            self.deleted.insert(Arc::clone(&tombstone.key), tombstone.index);
        }
        self.tombstones.push_back(tombstone);
    }
}
