//! PURE: who led in which term, as every server's event stream tells it: one leader a term.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

#[derive(Debug, Default)]
pub(super) struct Terms {
    leaders: BTreeMap<u64, BTreeSet<String>>,
}

impl Terms {
    /// An event of kind `raft` or `election`; `ids` are the servers' IDs by name.
    pub(super) fn see(&mut self, event: &Value, ids: &BTreeMap<String, String>) {
        let (Some(kind), Some(term)) = (event["Type"].as_str(), event["Term"].as_u64()) else { return };
        let leader = match kind {
            // Only one who leads says so of itself; a follower may know of none.
            "state" | "leader-elected" => event["LeaderID"].as_str().map(str::to_owned),
            "ended" | "past" if event["Result"] == "won" => {
                event["Candidate"].as_str().map(|name| ids.get(name).cloned().unwrap_or_else(|| name.to_owned()))
            }
            _ => None,
        };
        if let Some(leader) = leader {
            self.leaders.entry(term).or_default().insert(leader);
        }
    }

    /// Of the highest term that had one.
    pub(super) fn last_leader(&self) -> Option<&String> {
        self.leaders.last_key_value().and_then(|(_, leaders)| leaders.first())
    }

    pub(super) fn count(&self) -> usize {
        self.leaders.len()
    }

    pub(super) fn anomalies(&self) -> Vec<String> {
        let several = self.leaders.iter().filter(|(_, leaders)| leaders.len() > 1);
        several.map(|(term, leaders)| format!("term {term} had {} leaders: {leaders:?}", leaders.len())).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_term_with_two_leaders_is_an_anomaly() {
        let ids = BTreeMap::from([("s0".to_owned(), "a".to_owned())]);
        let mut terms = Terms::default();
        for event in [
            json!({ "Type": "state", "Term": 1, "LeaderID": "a" }),
            json!({ "Type": "past", "Term": 1, "Result": "won", "Candidate": "s0" }),
            json!({ "Type": "ended", "Term": 1, "Result": "lost", "Candidate": "s1" }),
            json!({ "Type": "state", "Term": 2 }),
            json!({ "Type": "leader-elected", "Term": 3, "LeaderID": "b" }),
        ] {
            terms.see(&event, &ids);
        }
        assert_eq!((terms.count(), terms.anomalies()), (2, vec![]));
        assert_eq!(terms.last_leader().map(String::as_str), Some("b"));
        terms.see(&json!({ "Type": "state", "Term": 3, "LeaderID": "a" }), &ids);
        assert_eq!(terms.anomalies(), [r#"term 3 had 2 leaders: {"a", "b"}"#]);
    }
}
