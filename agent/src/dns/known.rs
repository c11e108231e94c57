//! What was read of services, kept for as long as a read would find the same.
//!
//! A question for a service then costs what its answer holds, not what the service has. Kept by a
//! server, which alone can tell without a read; others read every time.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::answer::instance_alias;
use crate::store::query::{InstanceHealth, Query};

/// The most answers kept, and the most instances in them. Beyond either the one that was not asked for
/// the longest goes.
const ANSWERS_MAX: usize = 256;
const INSTANCES_MAX: usize = 100_000;

/// The instances of a service.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) instances: Vec<InstanceHealth>,
    /// The addresses among theirs that are names, each once.
    pub(super) aliases: BTreeSet<String>,
}

impl Known {
    pub(super) fn of(instances: Vec<InstanceHealth>) -> Self {
        let aliases = instances.iter().filter_map(instance_alias).map(str::to_owned).collect();
        Self { instances, aliases }
    }
}

#[derive(Debug, Default)]
pub(super) struct Memo(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    kept: HashMap<Query, Kept>,
    instances: usize,
    /// Counts the questions.
    now: u64,
}

#[derive(Debug)]
struct Kept {
    known: Arc<Known>,
    index: u64,
    asked_at: u64,
}

impl Memo {
    /// What the query was answered last, and with which index.
    pub(super) fn get(&self, query: &Query) -> Option<(u64, Arc<Known>)> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.now += 1;
        let now = shelf.now;
        let kept = shelf.kept.get_mut(query)?;
        kept.asked_at = now;
        Some((kept.index, Arc::clone(&kept.known)))
    }

    /// Keeps what `query` was answered now. Services that are not there are not kept: their names are
    /// whatever clients think of. Nor is one that would take the room of all others.
    pub(super) fn put(&self, query: Query, index: u64, known: &Arc<Known>) {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.forget(&query);
        if known.instances.is_empty() || known.instances.len() > INSTANCES_MAX {
            return;
        }
        shelf.instances += known.instances.len();
        let asked_at = shelf.now;
        shelf.kept.insert(query, Kept { known: Arc::clone(known), index, asked_at });
        while shelf.kept.len() > ANSWERS_MAX || shelf.instances > INSTANCES_MAX {
            let oldest = shelf.kept.iter().min_by_key(|(_, kept)| kept.asked_at).map(|(query, _)| query.clone());
            let Some(oldest) = oldest else { return };
            shelf.forget(&oldest);
        }
    }
}

impl Shelf {
    fn forget(&mut self, query: &Query) {
        if let Some(gone) = self.kept.remove(query) {
            self.instances -= gone.known.instances.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{instance, many};
    use super::*;
    use crate::store::command::CheckStatus;

    fn query(service: usize) -> Query {
        Query::ServiceHealth { service: service.to_string(), tag: None, passing_only: false }
    }

    fn indexes(memo: &Memo, services: &[usize]) -> Vec<Option<u64>> {
        services.iter().map(|service| memo.get(&query(*service)).map(|(index, _)| index)).collect()
    }

    #[test]
    fn the_last_answer_is_kept_and_one_without_instances_is_not() {
        let memo = Memo::default();
        let some = Arc::new(Known::of(many(3)));
        assert_eq!(indexes(&memo, &[1]), [None]);
        memo.put(query(1), 5, &some);
        memo.put(query(2), 6, &some);
        assert_eq!(indexes(&memo, &[1, 2]), [Some(5), Some(6)]);
        memo.put(query(1), 7, &some);
        memo.put(query(2), 8, &Arc::default());
        assert_eq!(indexes(&memo, &[1, 2]), [Some(7), None]);
        assert_eq!(memo.0.lock().unwrap().instances, 3);
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes() {
        let memo = Memo::default();
        let one = Arc::new(Known::of(many(1)));
        for service in 0..ANSWERS_MAX {
            memo.put(query(service), 1, &one);
            memo.get(&query(service));
        }
        memo.get(&query(0));
        memo.put(query(ANSWERS_MAX), 1, &one);
        assert_eq!(indexes(&memo, &[0, 1, ANSWERS_MAX]), [Some(1), None, Some(1)]);
        let large = Arc::new(Known::of(many(1).into_iter().cycle().take(INSTANCES_MAX + 1).collect()));
        memo.put(query(1), 2, &large);
        assert_eq!(indexes(&memo, &[0, 1, ANSWERS_MAX]), [Some(1), None, Some(1)], "too large to be kept");
        assert_eq!(memo.0.lock().unwrap().instances, ANSWERS_MAX);
    }

    #[test]
    fn addresses_that_are_names_are_known_once() {
        let at = |node: &str, service: &str| instance("n", node, service, 80, CheckStatus::Passing);
        let instances =
            vec![at("a.example", ""), at("a.example", "10.0.0.1"), at("10.0.0.1", "b"), at("a.example", "")];
        assert_eq!(Known::of(instances).aliases, ["a.example", "b"].map(str::to_owned).into());
    }
}
