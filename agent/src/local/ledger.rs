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
    /// Claims that the catalog is not known to hold.
    open: BTreeSet<Claim>,
    /// In the catalog on this node, and not claimed.
    strays: BTreeSet<Claim>,
    /// When an output that changed alone shall be told, by the check's ID.
    outputs_due: BTreeMap<String, Moment>,
    /// Since when a check that is critical has been so, by its ID.
    critical_since: BTreeMap<String, Moment>,
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
    /// The output changed alone: told when it is due, or with something else before.
    Later,
    /// The output changed alone, and is told at once.
    Now,
    /// The status changed, from this one; told at once.
    Changed(CheckStatus),
}

impl Ledger {
    /// Nothing is known to be in the catalog. Of two services or checks with one ID the later counts.
    pub fn new(node: NodeFields, definitions: Vec<Definition>) -> Self {
        let mut ledger = Self {
            node,
            services: BTreeMap::new(),
            checks: BTreeMap::new(),
            open: BTreeSet::from([Claim::Node]),
            strays: BTreeSet::new(),
            outputs_due: BTreeMap::new(),
            critical_since: BTreeMap::new(),
        };
        for Definition { service, checks } in definitions {
            ledger.checks.retain(|_, check| check.service_id != service.id);
            ledger.checks.extend(checks.into_iter().map(|check| (check.id.clone(), check)));
            ledger.services.insert(service.id.clone(), service);
        }
        ledger.open.extend(ledger.services.keys().cloned().map(Claim::Service));
        ledger.open.extend(ledger.checks.keys().cloned().map(Claim::Check));
        ledger
    }

    /// Claims a service from now on, in place of one of the same ID. Its checks stay.
    pub fn put_service(&mut self, service: ServiceFields) {
        let claim = Claim::Service(service.id.clone());
        self.strays.remove(&claim);
        if self.services.get(&service.id) != Some(&service) {
            self.open.insert(claim);
        }
        self.services.insert(service.id.clone(), service);
    }

    /// Claims a check from now on, in place of one of the same ID.
    pub fn put_check(&mut self, check: CheckFields, now: Moment) {
        let claim = Claim::Check(check.id.clone());
        self.strays.remove(&claim);
        if self.checks.get(&check.id) != Some(&check) {
            self.open.insert(claim);
            self.outputs_due.remove(&check.id);
        }
        self.note_status(&check.id, check.status, now);
        self.checks.insert(check.id.clone(), check);
    }

    /// Claims a service no more; its checks are another matter.
    pub fn drop_service(&mut self, id: &str) -> Option<ServiceFields> {
        let service = self.services.remove(id)?;
        self.disclaim(Claim::Service(id.to_owned()));
        Some(service)
    }

    pub fn drop_check(&mut self, id: &str) -> Option<CheckFields> {
        let check = self.checks.remove(id)?;
        self.outputs_due.remove(id);
        self.critical_since.remove(id);
        self.disclaim(Claim::Check(id.to_owned()));
        Some(check)
    }

    /// The catalog may hold it, whatever was seen there last: a push may be on its way.
    fn disclaim(&mut self, claim: Claim) {
        self.open.remove(&claim);
        // The catalog knows one entry for all ways of writing an ID: its removal is another's too.
        let twin = match &claim {
            Claim::Node => None,
            Claim::Service(id) => {
                self.services.keys().find(|k| k.eq_ignore_ascii_case(id)).cloned().map(Claim::Service)
            }
            Claim::Check(id) => self.checks.keys().find(|k| k.eq_ignore_ascii_case(id)).cloned().map(Claim::Check),
        };
        match twin {
            Some(twin) => drop(self.open.insert(twin)),
            None => drop(self.strays.insert(claim)),
        }
    }

    fn note_status(&mut self, check_id: &str, status: CheckStatus, now: Moment) {
        match status {
            CheckStatus::Critical => drop(self.critical_since.entry(check_id.to_owned()).or_insert(now)),
            _ => drop(self.critical_since.remove(check_id)),
        }
    }

    /// Since when a check has been critical, if it is.
    pub fn critical_since(&self, check_id: &str) -> Option<Moment> {
        self.critical_since.get(check_id).copied()
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

    pub fn strays(&self) -> impl Iterator<Item = &Claim> {
        self.strays.iter()
    }

    /// The catalog was made to hold the claim, with the output of a check.
    pub fn mark_in_sync(&mut self, claim: &Claim) {
        if let Claim::Check(id) = claim {
            self.outputs_due.remove(id);
        }
        self.open.remove(claim);
    }

    /// The catalog was seen to hold the claim; an output that is told later still is.
    pub fn mark_seen(&mut self, claim: &Claim) {
        self.open.remove(claim);
    }

    /// Whether the output of a check that changed alone waits to be told.
    pub fn is_output_waiting(&self, check_id: &str) -> bool {
        self.outputs_due.contains_key(check_id)
    }

    /// The catalog was seen without the claim, or may be.
    pub fn mark_out_of_sync(&mut self, claim: Claim) {
        if self.is_claimed(&claim) {
            self.open.insert(claim);
        }
    }

    fn is_claimed(&self, claim: &Claim) -> bool {
        match claim {
            Claim::Node => true,
            Claim::Service(id) => self.services.contains_key(id),
            Claim::Check(id) => self.checks.contains_key(id),
        }
    }

    pub fn is_in_sync(&self, claim: &Claim) -> bool {
        self.is_claimed(claim) && !self.open.contains(claim)
    }

    /// What the catalog is not known to hold, in the order of pushing.
    pub fn open(&self) -> impl Iterator<Item = &Claim> {
        self.open.iter()
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
    pub fn judge(&mut self, check_id: &str, verdict: Verdict, now: Moment, later: Option<Moment>) -> News {
        let Some(check) = self.checks.get_mut(check_id) else { return News::Nothing };
        if (check.status, &check.output) == (verdict.status, &verdict.output) {
            return News::Nothing;
        }
        let before = check.status;
        (check.status, check.output) = (verdict.status, verdict.output);
        self.note_status(check_id, verdict.status, now);
        match later {
            Some(due) if before == verdict.status => {
                self.outputs_due.entry(check_id.to_owned()).or_insert(due);
                News::Later
            }
            _ => {
                self.outputs_due.remove(check_id);
                self.open.insert(Claim::Check(check_id.to_owned()));
                if before == verdict.status { News::Now } else { News::Changed(before) }
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
            self.mark_out_of_sync(Claim::Check(id));
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
        ledger.mark_in_sync(&Claim::Check("c".to_owned()));
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
        assert_eq!(ledger.judge("c", verdict(Critical, ""), at(1), Some(at(9))), News::Nothing);
        assert_eq!(ledger.judge("c", verdict(Passing, "a"), at(1), Some(at(9))), News::Changed(Critical));
        assert!(!ledger.is_in_sync(&check));
        ledger.mark_in_sync(&check);
        assert_eq!(ledger.judge("c", verdict(Passing, "b"), at(1), Some(at(10))), News::Later);
        assert_eq!(ledger.judge("c", verdict(Passing, "c"), at(1), Some(at(20))), News::Later);
        assert_eq!((ledger.is_in_sync(&check), ledger.next_due()), (true, Some(at(10))));
        ledger.mature(at(9));
        assert!(ledger.is_in_sync(&check));
        ledger.mature(at(10));
        assert_eq!((ledger.is_in_sync(&check), ledger.next_due()), (false, None));
        assert_eq!(ledger.judge("c", verdict(Passing, "d"), at(1), None), News::Now);
        assert_eq!(ledger.judge("nobody", verdict(Passing, "d"), at(1), None), News::Nothing);
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

    #[test]
    fn what_is_claimed_no_more_is_a_stray_until_it_is_claimed_again() {
        let (mut ledger, now) = (ledger(), Moment::default());
        let (service, check) = (Claim::Service("w".to_owned()), Claim::Check("c".to_owned()));
        let fields = ledger.checks()["c"].clone();
        assert!(ledger.drop_check("c").is_some() && ledger.drop_check("c").is_none());
        assert!(ledger.drop_service("w").is_some());
        assert_eq!(ledger.strays().collect::<Vec<_>>(), [&service, &check]);
        ledger.put_service(ServiceFields { id: "w".to_owned(), ..ServiceFields::default() });
        ledger.put_check(fields, now);
        assert_eq!(ledger.strays().count(), 0);
        assert!(!ledger.is_in_sync(&service) && !ledger.is_in_sync(&check));
    }

    #[test]
    fn two_ways_to_write_an_id_are_one_to_the_catalog() {
        let mut ledger = ledger();
        ledger.put_service(ServiceFields { id: "W".to_owned(), ..ServiceFields::default() });
        ledger.mark_in_sync(&Claim::Service("w".to_owned()));
        ledger.drop_service("W");
        assert_eq!((ledger.strays().count(), ledger.is_in_sync(&Claim::Service("w".to_owned()))), (0, false));
    }

    #[test]
    fn a_check_is_critical_since_it_turned_so() {
        use CheckStatus::{Critical, Passing};
        let at = |second: u64| Moment::from_micros(second * 1_000_000);
        let mut ledger = ledger();
        ledger.judge("c", verdict(Passing, ""), at(1), None);
        assert_eq!(ledger.critical_since("c"), None);
        ledger.judge("c", verdict(Critical, "a"), at(2), None);
        ledger.judge("c", verdict(Critical, "b"), at(3), None);
        assert_eq!(ledger.critical_since("c"), Some(at(2)));
        let again = ledger.checks()["c"].clone();
        ledger.put_check(again, at(4));
        assert_eq!(ledger.critical_since("c"), Some(at(2)));
    }
}
