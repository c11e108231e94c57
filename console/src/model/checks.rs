//! Health checks of the whole datacenter, worst first.

use serde::{Deserialize, Serialize};
use shared::time::WallTime;

use super::list::ListState;

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
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub node: String,
    pub id: String,
    pub name: String,
    /// Empty for a check of the node itself.
    pub service: String,
    pub health: Health,
    /// The status as it came.
    pub status: String,
    pub output: String,
    /// Since when it has this status; none when it had it before we came.
    pub since: Option<WallTime>,
}

/// Node and check ID.
pub type CheckKey = (String, String);

impl Check {
    /// The service it is of, else the check itself.
    pub fn subject(&self) -> &str {
        if self.service.is_empty() { &self.id } else { &self.service }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checks {
    /// Worst first, then by node and ID.
    rows: Vec<Check>,
    /// They have been answered at least once.
    pub known: bool,
    pub list: ListState<CheckKey>,
}

impl Checks {
    pub fn rows(&self) -> &[Check] {
        &self.rows
    }

    pub fn selected(&self) -> Option<&Check> {
        self.rows.get(self.list.at)
    }

    pub fn count(&self, health: Health) -> usize {
        self.rows.iter().filter(|check| check.health == health).count()
    }

    /// Takes the whole answer; returns what changed from a known status, as `(check, status before)`.
    pub fn replace(&mut self, mut rows: Vec<Check>, at: WallTime) -> Vec<(Check, String)> {
        let mut changed = Vec::new();
        let before: std::collections::HashMap<(&str, &str), &Check> =
            self.rows.iter().map(|check| ((check.node.as_str(), check.id.as_str()), check)).collect();
        for row in &mut rows {
            match before.get(&(row.node.as_str(), row.id.as_str())) {
                Some(old) if old.status == row.status => row.since = old.since,
                Some(old) => {
                    row.since = Some(at);
                    changed.push((row.clone(), old.status.clone()));
                }
                // New since we look: its status is as new as it.
                None => row.since = self.known.then_some(at),
            }
        }
        rows.sort_by(|a, b| (a.health, &a.node, &a.id).cmp(&(b.health, &b.node, &b.id)));
        self.rows = rows;
        self.known = true;
        changed
    }

    pub fn clear(&mut self) {
        self.rows.clear();
        self.known = false;
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
            health: Health::parse(status),
            status: status.into(),
            output: String::new(),
            since: None,
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
}
