//! Who waits for what: a write wakes only those who watch what it changed.
//!
//! Exact topics and key prefixes, in 64 shards, so that a write costs a few look-ups however many
//! wait. A prefix is found from a changed key by the lengths of the prefixes that are watched.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::raft::OnApplied;
use crate::store::{Changes, Topic};

const SHARDS: usize = 64;

/// The most reads that wait at once: at a few hundred bytes each the rest of the request costs more.
pub const WAITING_MAX: usize = 65_536;

/// Consul's name for how many wait.
const BLOCKING: &str = "consul.rpc.queries_blocking";

/// The registry of blocking reads; clones speak of the same one.
#[derive(Clone, Default)]
pub struct Watches(Arc<Registry>);

/// What became of those who waited, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Now.
    pub waiting: usize,
    pub woken_total: u64,
    /// Turned away because [`WAITING_MAX`] waited.
    pub refused_total: u64,
}

struct Registry {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// How many watched prefixes have each length in bytes.
    prefix_lengths: Mutex<BTreeMap<usize, usize>>,
    waiting: AtomicUsize,
    woken: AtomicU64,
    refused: AtomicU64,
}

#[derive(Default)]
struct Shard {
    exact: HashMap<Topic, Waiters>,
    prefixes: HashMap<String, Waiters>,
}

/// Those who wait for one topic.
#[derive(Default)]
struct Waiters {
    notify: Arc<Notify>,
    count: usize,
}

/// A place among those who wait for one topic; left when dropped.
pub(super) struct Watch {
    registry: Arc<Registry>,
    topic: Topic,
    notify: Arc<Notify>,
}

impl Watches {
    pub fn new() -> Self {
        Self::default()
    }

    /// What Raft calls after a batch was applied and its view published.
    pub fn on_applied(&self) -> OnApplied {
        let registry = Arc::clone(&self.0);
        Arc::new(move |_, changes| registry.wake(changes))
    }

    pub fn counts(&self) -> Counts {
        Counts {
            waiting: self.0.waiting.load(Ordering::Relaxed),
            woken_total: self.0.woken.load(Ordering::Relaxed),
            refused_total: self.0.refused.load(Ordering::Relaxed),
        }
    }

    /// None when too many wait.
    pub(super) fn watch(&self, topic: Topic) -> Option<Watch> {
        let registry = &self.0;
        if registry.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            registry.waiting.fetch_sub(1, Ordering::Relaxed);
            registry.refused.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("quorate.rpc.queries_refused").increment(1);
            return None;
        }
        metrics::gauge!(BLOCKING).increment(1.0);
        let mut shard = registry.shard(&topic);
        let waiters = shard.waiters(&topic);
        waiters.count += 1;
        let notify = Arc::clone(&waiters.notify);
        if let Topic::KvPrefix(prefix) = &topic
            && waiters.count == 1
        {
            *lock(&registry.prefix_lengths).entry(prefix.len()).or_default() += 1;
        }
        drop(shard);
        Some(Watch { registry: Arc::clone(registry), topic, notify })
    }
}

impl Watch {
    /// Ends at the first change after the call, even one before the first poll.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut shard = self.registry.shard(&self.topic);
        let waiters = shard.waiters(&self.topic);
        waiters.count = waiters.count.saturating_sub(1);
        if waiters.count == 0 {
            shard.forget(&self.topic);
            if let Topic::KvPrefix(prefix) = &self.topic {
                let mut lengths = lock(&self.registry.prefix_lengths);
                if let Some(count) = lengths.get_mut(&prefix.len()) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        lengths.remove(&prefix.len());
                    }
                }
            }
        }
        drop(shard);
        metrics::gauge!(BLOCKING).decrement(1.0);
        self.registry.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            prefix_lengths: Mutex::default(),
            waiting: AtomicUsize::new(0),
            woken: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }
}

impl Registry {
    fn wake(&self, changes: &Changes) {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return;
        }
        if changes.everything {
            for shard in &self.shards {
                let shard = lock(shard);
                shard.exact.values().chain(shard.prefixes.values()).for_each(|waiters| self.notify(waiters));
            }
            return;
        }
        for topic in &changes.topics {
            if let Some(waiters) = self.shard(topic).exact.get(topic) {
                self.notify(waiters);
            }
            if let Topic::KvKey(key) = topic {
                self.wake_prefixes(key);
            }
        }
    }

    fn wake_prefixes(&self, key: &str) {
        let lengths: Vec<usize> = lock(&self.prefix_lengths).range(..=key.len()).map(|(len, _)| *len).collect();
        for prefix in lengths.into_iter().filter_map(|len| key.get(..len)) {
            if let Some(waiters) = lock(&self.shards[self.slot(prefix)]).prefixes.get(prefix) {
                self.notify(waiters);
            }
        }
    }

    fn notify(&self, waiters: &Waiters) {
        self.woken.fetch_add(waiters.count as u64, Ordering::Relaxed);
        waiters.notify.notify_waiters();
    }

    fn shard(&self, topic: &Topic) -> MutexGuard<'_, Shard> {
        let slot = match topic {
            Topic::KvPrefix(prefix) => self.slot(prefix.as_str()),
            topic => self.slot(topic),
        };
        lock(&self.shards[slot])
    }

    fn slot<T: Hash + ?Sized>(&self, what: &T) -> usize {
        usize::try_from(self.hasher.hash_one(what) % SHARDS as u64).unwrap_or(0)
    }
}

impl Shard {
    fn waiters(&mut self, topic: &Topic) -> &mut Waiters {
        match topic {
            Topic::KvPrefix(prefix) => self.prefixes.entry(prefix.clone()).or_default(),
            topic => self.exact.entry(topic.clone()).or_default(),
        }
    }

    fn forget(&mut self, topic: &Topic) {
        match topic {
            Topic::KvPrefix(prefix) => self.prefixes.remove(prefix),
            topic => self.exact.remove(topic),
        };
    }
}

/// Nothing is left half done under these locks, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[track_caller]
    fn check(watched: Topic, changed: &[Topic], is_woken: bool) {
        let watches = Watches::new();
        let watch = watches.watch(watched).expect("room to wait");
        let notified = watch.changed();
        let changes = Changes { topics: changed.iter().cloned().collect(), everything: false };
        watches.0.wake(&changes);
        assert_eq!(notified.now_or_never().is_some(), is_woken);
        assert_eq!(watches.counts().woken_total, u64::from(is_woken));
        drop(watch);
        assert_eq!(watches.counts().waiting, 0);
        assert!(watches.0.shards.iter().all(|s| lock(s).exact.is_empty() && lock(s).prefixes.is_empty()));
        assert!(lock(&watches.0.prefix_lengths).is_empty());
    }

    fn key(name: &str) -> Topic {
        Topic::KvKey(name.to_owned())
    }

    fn prefix(name: &str) -> Topic {
        Topic::KvPrefix(name.to_owned())
    }

    #[test]
    fn a_change_wakes_those_who_watch_it_and_no_others() {
        check(Topic::Nodes, &[Topic::Nodes], true);
        check(Topic::Nodes, &[Topic::Services, key("a")], false);
        check(Topic::Node("a".into()), &[Topic::Node("b".into()), Topic::NodeChecks("a".into())], false);
        check(key("a/b"), &[key("a/b")], true);
        check(key("a/b"), &[key("a"), key("a/b/c")], false);
        check(prefix("a/"), &[key("a/b")], true);
        check(prefix("a/b"), &[key("a/b")], true);
        check(prefix("a/b/"), &[key("a/b")], false);
        check(prefix("b"), &[key("a/b")], false);
        check(prefix(""), &[key("anything")], true);
        check(prefix(""), &[Topic::Nodes], false);
        check(prefix("é"), &[key("éa")], true);
        check(prefix("a"), &[key("é")], false);
    }

    #[test]
    fn a_replaced_state_wakes_everyone() {
        let watches = Watches::new();
        let all: Vec<_> = [Topic::Nodes, key("k"), prefix("p")]
            .map(|t| watches.watch(t).expect("room to wait"))
            .into_iter()
            .collect();
        let notified: Vec<_> = all.iter().map(Watch::changed).collect();
        watches.0.wake(&Changes::everything());
        assert!(notified.into_iter().all(|n| n.now_or_never().is_some()));
    }

    #[test]
    fn one_too_many_is_turned_away_and_counted() {
        let watches = Watches::new();
        let all: Vec<_> = (0..WAITING_MAX).map(|_| watches.watch(Topic::Nodes).expect("room to wait")).collect();
        assert!(watches.watch(Topic::Nodes).is_none());
        assert_eq!(watches.counts(), Counts { waiting: WAITING_MAX, woken_total: 0, refused_total: 1 });
        drop(all);
        assert!(watches.watch(Topic::Nodes).is_some());
    }
}
