//! Health checks of the whole datacenter, worst first, each with what it was in the last minutes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use shared::time::WallTime;

use super::list::ListState;
use super::strip::{Past, SPAN_US, Unseen};

/// The checks that stand for maintenance: of a node, and of a service before its ID.
const NODE_MAINTENANCE: &str = "_node_maintenance";
const SERVICE_MAINTENANCE: &str = "_service_maintenance:";
/// So many turns within the span of a strip are worth a word.
const FLAPS: usize = 3;
/// Nodes whose agents' word on their checks is remembered.
const TOLD_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Health {
    Critical,
    Warning,
    Passing,
    /// A word this console does not know; shown as it came.
    Other,
}

impl Health {
    pub fn parse(text: &str) -> Self {
        match text {
            "critical" => Self::Critical,
            "warning" => Self::Warning,
            "passing" => Self::Passing,
            _ => Self::Other,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Passing => "passing",
            Self::Other => "?",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub node: String,
    pub id: String,
    pub name: String,
    /// Empty for a check of the node itself.
    pub service: String,
    /// As `service`.
    pub service_id: String,
    pub health: Health,
    /// The status as it came.
    pub status: String,
    pub output: String,
    /// Since when it has this status; none when it had it before we came.
    pub since: Option<WallTime>,
    pub past: Past,
}

/// Node and check ID.
pub type CheckKey = (String, String);

impl Check {
    /// The service it is of, else the check itself.
    pub fn subject(&self) -> &str {
        if self.service.is_empty() { &self.id } else { &self.service }
    }

    /// `: connection refused`, or nothing.
    pub fn words(&self) -> String {
        if self.output.is_empty() { String::new() } else { format!(": {}", self.output) }
    }

    /// It stands for maintenance, which somebody meant.
    pub fn is_maintenance(&self) -> bool {
        is_maintenance(&self.id)
    }

    /// How often it turned lately, when that is worth a word.
    pub fn flaps(&self, now: WallTime) -> Option<usize> {
        let since = now.micros() - i64::try_from(SPAN_US).unwrap_or(i64::MAX);
        Some(self.past.count(WallTime::from_micros(since))).filter(|count| *count >= FLAPS)
    }
}

/// How a check works, as far as that was told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What it asks: an URL, an address, a command.
    pub target: String,
    pub interval_ms: Option<u64>,
    pub timeout_ms: Option<u64>,
    pub ttl_ms: Option<u64>,
    /// How long it may be critical before its service is deregistered.
    pub deregister_ms: Option<u64>,
}

impl Policy {
    /// What this one does not say, as the other says it.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            target: if self.target.is_empty() { other.target.clone() } else { self.target },
            interval_ms: self.interval_ms.or(other.interval_ms),
            timeout_ms: self.timeout_ms.or(other.timeout_ms),
            ttl_ms: self.ttl_ms.or(other.ttl_ms),
            deregister_ms: self.deregister_ms.or(other.deregister_ms),
        }
    }
}

pub fn is_maintenance(id: &str) -> bool {
    id == NODE_MAINTENANCE || id.starts_with(SERVICE_MAINTENANCE)
}

/// The ID of the check that stands for maintenance: of a service instance, else of the node.
pub fn maintenance_id(service_id: Option<&str>) -> String {
    service_id.map_or(NODE_MAINTENANCE.to_owned(), |id| format!("{SERVICE_MAINTENANCE}{id}"))
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checks {
    /// Worst first, then by node and ID.
    rows: Vec<Check>,
    /// Where in `rows`, by node and check ID.
    index: HashMap<String, HashMap<String, usize>>,
    /// The worst by node and service ID; that of the node's own checks has none.
    worst: HashMap<String, HashMap<String, Health>>,
    /// What agents themselves told of how their checks work, by node and check ID.
    told: HashMap<String, HashMap<String, Policy>>,
    /// They have been answered at least once.
    pub known: bool,
    pub unseen: Unseen,
    pub list: ListState<CheckKey>,
}

impl Checks {
    pub fn rows(&self) -> &[Check] {
        &self.rows
    }

    pub fn selected(&self) -> Option<&Check> {
        self.rows.get(self.list.stands_at()?)
    }

    pub fn find(&self, node: &str, id: &str) -> Option<&Check> {
        self.index.get(node)?.get(id).map(|at| &self.rows[*at])
    }

    /// How a check works, as its own agent told it.
    pub fn told(&self, node: &str, id: &str) -> Option<&Policy> {
        self.told.get(node)?.get(id)
    }

    /// Takes an agent's word on one of its checks; none: it is gone.
    pub fn tell(&mut self, node: &str, id: &str, policy: Option<Policy>) {
        if !self.told.contains_key(node) {
            if self.told.len() >= TOLD_MAX {
                // Who is looked at is asked again.
                self.told.clear();
            }
            self.told.insert(node.to_owned(), HashMap::new());
        }
        let Some(told) = self.told.get_mut(node) else { return };
        match policy {
            Some(policy) => told.insert(id.to_owned(), policy),
            None => told.remove(id),
        };
    }

    /// Forgets an agent's word, before it says all of it anew.
    pub fn forget_told(&mut self, node: &str) {
        self.told.remove(node);
    }

    pub fn count(&self, health: Health) -> usize {
        self.rows.iter().filter(|check| check.health == health).count()
    }

    /// How an instance is: the worst of its own checks and its node's. One without any is passing.
    pub fn of_instance(&self, node: &str, service_id: &str) -> Health {
        let Some(worst) = self.worst.get(node) else { return Health::Passing };
        let of = |id: &str| worst.get(id).copied().unwrap_or(Health::Passing);
        of("").min(of(service_id))
    }

    /// Whether an instance is in maintenance, or with no ID the node.
    pub fn is_kept(&self, node: &str, service_id: Option<&str>) -> bool {
        self.find(node, &maintenance_id(service_id)).is_some()
    }

    /// Takes the whole answer; returns what changed from a known status, as `(check, status before)`.
    pub fn replace(&mut self, mut rows: Vec<Check>, at: WallTime) -> Vec<(Check, String)> {
        self.unseen.ends(at);
        let mut changed = Vec::new();
        for row in &mut rows {
            let before = self.index.get(&row.node).and_then(|ids| ids.get(&row.id)).copied();
            let Some(old) = before.and_then(|at| self.rows.get_mut(at)) else {
                // New since we look: its status is as new as it.
                row.since = self.known.then_some(at);
                row.past = Past::new(at, row.health);
                continue;
            };
            row.past = std::mem::replace(&mut old.past, Past::new(at, row.health));
            row.since = old.since;
            if old.status != row.status {
                row.since = Some(at);
                row.past.turn(at, row.health);
                changed.push((row.clone(), old.status.clone()));
            }
        }
        rows.sort_by(|a, b| (a.health, &a.node, &a.id).cmp(&(b.health, &b.node, &b.id)));
        self.rows = rows;
        self.known = true;
        self.enter();
        changed
    }

    fn enter(&mut self) {
        self.index.clear();
        self.worst.clear();
        for (at, check) in self.rows.iter().enumerate() {
            if !self.index.contains_key(&check.node) {
                self.index.insert(check.node.clone(), HashMap::new());
                self.worst.insert(check.node.clone(), HashMap::new());
            }
            if let Some(ids) = self.index.get_mut(&check.node) {
                ids.insert(check.id.clone(), at);
            }
            // The first one is the worst: so they are sorted.
            if let Some(worst) = self.worst.get_mut(&check.node)
                && !worst.contains_key(&check.service_id)
            {
                worst.insert(check.service_id.clone(), check.health);
            }
        }
    }

    pub fn clear(&mut self) {
        *self = Self { list: std::mem::take(&mut self.list), ..Self::default() };
    }

    pub fn settle(&mut self, page: usize) {
        let Self { rows, list, .. } = self;
        list.settle(
            rows.len(),
            page,
            |(node, id)| rows.iter().position(|check| check.node == *node && check.id == *id),
            |at| rows.get(at).map(|check| (check.node.clone(), check.id.clone())),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(node: &str, status: &str) -> Check {
        Check {
            node: node.into(),
            id: "serfHealth".into(),
            name: "Serf Health Status".into(),
            service: String::new(),
            service_id: String::new(),
            health: Health::parse(status),
            status: status.into(),
            output: String::new(),
            since: None,
            past: Past::new(WallTime::from_micros(0), Health::parse(status)),
        }
    }

    #[test]
    fn a_change_is_told_once_and_dated() {
        let (t1, t2) = (WallTime::from_micros(1), WallTime::from_micros(2));
        let mut checks = Checks::default();
        assert_eq!(checks.replace(vec![check("a", "passing")], t1).len(), 0);
        assert_eq!(checks.rows()[0].since, None);
        let changed = checks.replace(vec![check("a", "critical"), check("b", "passing")], t2);
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].1, "passing");
        assert_eq!(checks.rows()[0].since, Some(t2));
        assert_eq!(checks.replace(vec![check("a", "critical")], t2).len(), 0);
    }

    #[test]
    fn an_instance_is_as_bad_as_the_worst_of_its_own_checks_and_its_nodes() {
        let of = |id: &str, service: &str, status: &str| Check {
            id: id.into(),
            service: service.into(),
            service_id: service.into(),
            ..check("a", status)
        };
        let mut checks = Checks::default();
        let rows = vec![of("serfHealth", "", "warning"), of("1", "web", "passing"), of("2", "web", "critical")];
        checks.replace(rows, WallTime::from_micros(1));
        assert_eq!(checks.of_instance("a", "web"), Health::Critical);
        assert_eq!(checks.of_instance("a", "db"), Health::Warning);
        assert_eq!(checks.of_instance("b", "db"), Health::Passing);
    }

    #[test]
    fn a_check_that_turns_again_and_again_is_told_of() {
        let mut checks = Checks::default();
        for (at, status) in (1..).zip(["passing", "critical", "passing", "critical"]) {
            checks.replace(vec![check("a", status)], WallTime::from_micros(at * 1_000_000));
        }
        assert_eq!(checks.rows()[0].flaps(WallTime::from_micros(9_000_000)), Some(3));
        assert_eq!(checks.rows()[0].flaps(WallTime::from_micros(700_000_000)), None);
    }
}
