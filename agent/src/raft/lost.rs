//! Servers without a log. One that has none may have had one, and what it acknowledged and for whom it
//! voted went with it: as a voter it must neither vote nor count until it was removed and added again.
//! It says so to whoever sends it entries ([`Newcomer`]); the leader, who knows whether it is a voter,
//! welcomes it as a learner or notes that it is lost ([`Lost`]), for its duties to remove it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::types::{LogId, ServerId, Vote};

/// Whom a leader found to be lost, and in which term. Clones are the same note.
#[derive(Clone)]
pub(crate) struct Lost {
    servers: Arc<Mutex<BTreeMap<ServerId, u64>>>,
    /// Learners without a log that are to be told that they are welcome.
    unwelcomed: Arc<Mutex<BTreeSet<ServerId>>>,
    news: watch::Sender<()>,
}

impl Default for Lost {
    fn default() -> Self {
        Self { servers: Arc::default(), unwelcomed: Arc::default(), news: watch::Sender::new(()) }
    }
}

impl Lost {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServerId, u64>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when that is news. There are never more than servers of the configuration.
    pub(crate) fn note(&self, id: ServerId, term: u64) -> bool {
        let is_news = self.lock().insert(id, term) != Some(term);
        if is_news {
            self.news.send_replace(());
        }
        is_news
    }

    /// That learner is to be welcomed before it is sent anything.
    pub(crate) fn owe_welcome(&self, id: ServerId) {
        self.unwelcomed.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    pub(crate) fn owes_welcome(&self, id: ServerId) -> bool {
        self.unwelcomed.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    pub(crate) fn has_welcomed(&self, id: ServerId) {
        self.unwelcomed.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Changes when there is news.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// It has a log, or was welcomed as one without.
    pub(crate) fn forget(&self, id: ServerId) {
        self.lock().remove(&id);
    }

    pub(crate) fn includes(&self, id: ServerId, term: u64) -> bool {
        self.lock().get(&id) == Some(&term)
    }
}

/// A server without a log takes entries only of a leader who has said that it is no voter.
#[derive(Default)]
pub(crate) struct Newcomer {
    by: Mutex<Option<(u64, ServerId)>>,
    is_told: std::sync::atomic::AtomicBool,
}

impl Newcomer {
    fn lock(&self) -> MutexGuard<'_, Option<(u64, ServerId)>> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn welcome(&self, leader: &Vote) {
        *self.lock() = Some((leader.leader_id.term, leader.leader_id.voted_for));
    }

    pub(crate) fn is_welcome(&self, leader: &Vote) -> bool {
        *self.lock() == Some((leader.leader_id.term, leader.leader_id.voted_for))
    }

    /// True the first time.
    pub(crate) fn is_news(&self) -> bool {
        !self.is_told.swap(true, std::sync::atomic::Ordering::Relaxed)
    }
}

/// The first of a leader's entries that cannot be: what is committed here is the same everywhere, so
/// that none that is later may have its place. It happens where servers recovered with `peers.json`
/// from logs that had parted.
pub(crate) fn contradiction(committed: Option<LogId>, mut told: impl Iterator<Item = LogId>) -> Option<LogId> {
    let committed = committed?;
    told.find(|id| *id > committed && id.index <= committed.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_server_is_news_once_a_term() {
        let lost = Lost::default();
        assert!(lost.note(ServerId(1), 3) && !lost.note(ServerId(1), 3));
        assert!(lost.includes(ServerId(1), 3) && !lost.includes(ServerId(1), 4) && !lost.includes(ServerId(2), 3));
        assert!(lost.note(ServerId(1), 4));
        lost.forget(ServerId(1));
        assert!(!lost.includes(ServerId(1), 4));
    }

    #[test]
    fn a_newcomer_is_welcome_to_one_leader_in_one_term() {
        let newcomer = Newcomer::default();
        let leader = |term, id| Vote::new_committed(term, ServerId(id));
        assert!(!newcomer.is_welcome(&leader(3, 1)));
        newcomer.welcome(&leader(3, 1));
        assert!(newcomer.is_welcome(&leader(3, 1)));
        assert!(!newcomer.is_welcome(&leader(4, 1)) && !newcomer.is_welcome(&leader(3, 2)));
    }

    /// (term, index) of what is committed, what the leader says, and what of it cannot be.
    #[track_caller]
    fn check(committed: (u64, u64), told: &[(u64, u64)], expected: Option<(u64, u64)>) {
        let id = |(term, index): (u64, u64)| LogId::new_term_index(term, index);
        let found = contradiction(Some(id(committed)), told.iter().copied().map(id));
        assert_eq!(found, expected.map(id), "{committed:?} {told:?}");
    }

    #[test]
    fn an_entry_of_a_later_term_in_a_committed_place_cannot_be() {
        check((3, 100), &[(3, 99), (3, 100), (4, 101)], None);
        check((3, 100), &[(2, 50)], None);
        check((3, 100), &[(3, 98), (4, 99)], Some((4, 99)));
        check((3, 100), &[(4, 100)], Some((4, 100)));
        assert_eq!(contradiction(None, [LogId::new_term_index(4, 0)].into_iter()), None);
    }
}
