//! PURE: what this node claims of itself, which of it the catalog is known to hold, and what the catalog
//! holds that this node does not claim. `diff` marks it, `sync` pushes it.

use std::collections::{BTreeMap, BTreeSet};

use crate::moment::Moment;
use crate::store::command::{CheckFields, CheckStatus, NodeFields, ServiceFields};

#[derive(Clone, Debug)]
pub struct Ledger {
    node: NodeFields,
    services: BTreeMap<String, ServiceFields>,
    checks: BTreeMap<String, CheckFields>,
    in_sync: BTreeSet<Claim>,
    /// In the catalog on this node, and not claimed.
    strays: BTreeSet<Claim>,
    /// When an output that changed alone shall be told, by the check's ID.
    outputs_due: BTreeMap<String, Moment>,
}

/// What a mark is about. In the order of pushing: a node before what is on it, services before checks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    Node,
    /// By its ID.
    Service(String),
    /// By its ID.
    Check(String),
}

/// A service with its checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    pub service: ServiceFields,
    pub checks: Vec<CheckFields>,
}

/// What a check's run said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub status: CheckStatus,
    pub output: String,
}

/// What a verdict asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    Nothing,
    /// Told when it is due, or with something else before.
    Later,
    Now,
}

impl Ledger {
    /// Nothing is known to be in the catalog. Of two services or checks with one ID the later counts.
    pub fn new(node: NodeFields, definitions: Vec<Definition>) -> Self {
        let mut ledger = Self {
            node,
            services: BTreeMap::new(),
            checks: BTreeMap::new(),
            in_sync: BTreeSet::new(),
            strays: BTreeSet::new(),
            outputs_due: BTreeMap::new(),
        };
        for Definition { service, checks } in definitions {
            ledger.checks.retain(|_, check| check.service_id != service.id);
            ledger.checks.extend(checks.into_iter().map(|check| (check.id.clone(), check)));
            ledger.services.insert(service.id.clone(), service);
        }
        ledger
    }

    pub fn node(&self) -> &NodeFields {
        &self.node
    }

    pub fn services(&self) -> &BTreeMap<String, ServiceFields> {
        &self.services
    }

    pub fn checks(&self) -> &BTreeMap<String, CheckFields> {
        &self.checks
    }

    /// The checks of a service.
    pub fn checks_of<'a>(&'a self, service_id: &'a str) -> impl Iterator<Item = &'a CheckFields> {
        self.checks.values().filter(move |check| check.service_id == service_id)
    }

    pub fn strays(&self) -> impl Iterator<Item = &Claim> {
        self.strays.iter()
    }

    /// The catalog was seen or made to hold the claim.
    pub fn mark_in_sync(&mut self, claim: Claim) {
        if let Claim::Check(id) = &claim {
            self.outputs_due.remove(id);
        }
        self.in_sync.insert(claim);
    }

    /// The catalog was seen without the claim, or may be.
    pub fn mark_out_of_sync(&mut self, claim: &Claim) {
        self.in_sync.remove(claim);
    }

    pub fn is_in_sync(&self, claim: &Claim) -> bool {
        self.in_sync.contains(claim)
    }

    /// All that the catalog holds of this node and this node does not claim.
    pub fn set_strays(&mut self, strays: BTreeSet<Claim>) {
        self.strays = strays;
    }

    /// The catalog was made to hold it no more.
    pub fn removed(&mut self, claim: &Claim) {
        self.strays.remove(claim);
    }

    /// Tags that others may set, and have set.
    pub fn adopt_tags(&mut self, service_id: &str, tags: &[String]) {
        if let Some(service) = self.services.get_mut(service_id) {
            service.tags = tags.to_vec();
        }
    }

    /// A run ended. A status is told at once, an output that changes alone `later`, at the latest.
    pub fn judge(&mut self, check_id: &str, verdict: Verdict, later: Option<Moment>) -> News {
        let Some(check) = self.checks.get_mut(check_id) else { return News::Nothing };
        if (check.status, &check.output) == (verdict.status, &verdict.output) {
            return News::Nothing;
        }
        let is_status_same = check.status == verdict.status;
        (check.status, check.output) = (verdict.status, verdict.output);
        match later {
            Some(due) if is_status_same => {
                self.outputs_due.entry(check_id.to_owned()).or_insert(due);
                News::Later
            }
            _ => {
                self.outputs_due.remove(check_id);
                self.in_sync.remove(&Claim::Check(check_id.to_owned()));
                News::Now
            }
        }
    }

    /// When the next output has to be told.
    pub fn next_due(&self) -> Option<Moment> {
        self.outputs_due.values().min().copied()
    }

    /// Outputs whose time has come are out of sync.
    pub fn mature(&mut self, now: Moment) {
        let due: Vec<_> = self.outputs_due.iter().filter(|(_, due)| **due <= now).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.outputs_due.remove(&id);
            self.in_sync.remove(&Claim::Check(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let service = ServiceFields { id: "w".to_owned(), name: "web".to_owned(), ..ServiceFields::default() };
        let check = CheckFields { id: "c".to_owned(), service_id: "w".to_owned(), ..CheckFields::default() };
        let mut ledger = Ledger::new(NodeFields::default(), vec![Definition { service, checks: vec![check] }]);
        ledger.mark_in_sync(Claim::Check("c".to_owned()));
        ledger
    }

    fn verdict(status: CheckStatus, output: &str) -> Verdict {
        Verdict { status, output: output.to_owned() }
    }

    #[test]
    fn a_status_is_told_at_once_and_an_output_when_it_is_due() {
        use CheckStatus::{Critical, Passing};
        let check = Claim::Check("c".to_owned());
        let at = |second: u64| Moment::from_micros(second * 1_000_000);
        let mut ledger = ledger();
        assert_eq!(ledger.judge("c", verdict(Critical, ""), Some(at(9))), News::Nothing);
        assert_eq!(ledger.judge("c", verdict(Passing, "a"), Some(at(9))), News::Now);
        assert!(!ledger.is_in_sync(&check));
        ledger.mark_in_sync(check.clone());
        assert_eq!(ledger.judge("c", verdict(Passing, "b"), Some(at(10))), News::Later);
        assert_eq!(ledger.judge("c", verdict(Passing, "c"), Some(at(20))), News::Later);
        assert_eq!((ledger.is_in_sync(&check), ledger.next_due()), (true, Some(at(10))));
        ledger.mature(at(9));
        assert!(ledger.is_in_sync(&check));
        ledger.mature(at(10));
        assert_eq!((ledger.is_in_sync(&check), ledger.next_due()), (false, None));
        assert_eq!(ledger.judge("c", verdict(Passing, "d"), None), News::Now);
        assert_eq!(ledger.judge("nobody", verdict(Passing, "d"), None), News::Nothing);
    }

    #[test]
    fn of_two_definitions_with_one_id_the_later_counts() {
        let service = |port| ServiceFields { id: "w".to_owned(), port, ..ServiceFields::default() };
        let check = CheckFields { id: "c".to_owned(), service_id: "w".to_owned(), ..CheckFields::default() };
        let first = Definition { service: service(1), checks: vec![check] };
        let second = Definition { service: service(2), checks: Vec::new() };
        let ledger = Ledger::new(NodeFields::default(), vec![first, second]);
        assert_eq!((ledger.services()["w"].port, ledger.checks().len()), (2, 0));
    }
}
