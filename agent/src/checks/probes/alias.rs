//! What an alias of a service is: the worst of that service's checks and its node's. The judging is pure;
//! whose checks they are is asked by `runner`, here of a node elsewhere.

use std::time::Duration;

use crate::backend::{Backend, Error, ReadOptions};
use crate::store::command::{CheckFields, CheckStatus};
use crate::store::query::{Answer, Query};

/// How long one question waits for a change.
const WAIT: Duration = Duration::from_secs(300);

/// What is known of a node.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// IDs.
    pub services: Vec<String>,
    pub checks: Vec<CheckFields>,
}

/// What the check `own` says of `service` on `node`, which is empty for this one.
pub(in crate::checks) fn judge(own: &str, node: &str, service: &str, view: &View) -> (CheckStatus, String) {
    if !view.services.iter().any(|id| id == service) {
        let is_there = format!("Service {service} could not be found on node {node}");
        return (CheckStatus::Critical, is_there);
    }
    let is_meant = |check: &&CheckFields| {
        let is_of = check.service_id.is_empty() || check.service_id == service;
        // An alias that is a check of the node must not keep itself critical.
        is_of && !(node.is_empty() && check.id == own)
    };
    match view.checks.iter().filter(is_meant).max_by_key(|check| check.status) {
        None => (CheckStatus::Passing, "No checks found.".to_owned()),
        Some(worst) if worst.status == CheckStatus::Passing => (CheckStatus::Passing, "All checks passing.".to_owned()),
        Some(worst) => (worst.status, format!("Aliased check {:?} failing: {}", worst.name, worst.output)),
    }
}

/// What the catalog knows of a node, once it is newer than `index`; with its index.
pub(in crate::checks) async fn remote(backend: &Backend, node: &str, index: u64) -> Result<(u64, View), Error> {
    let options = ReadOptions { min_index: index, wait: WAIT, ..ReadOptions::default() };
    let reply = backend.read(Query::NodeHealth { node: Some(node.to_owned()) }, options).await?;
    let Answer::NodeHealth(nodes) = reply.answer else { return Ok((reply.index, View::default())) };
    let Some(found) = nodes.first() else { return Ok((reply.index, View::default())) };
    let view = View {
        services: found.services.iter().map(|service| service.fields.id.clone()).collect(),
        checks: found.checks.iter().map(|check| check.fields.clone()).collect(),
    };
    Ok((reply.index, view))
}

#[cfg(test)]
mod tests {
    use super::CheckStatus::{Critical, Passing, Warning};
    use super::*;

    #[track_caller]
    fn check(checks: &[(&str, &str, CheckStatus)], expected: (CheckStatus, &str)) {
        let made = |(id, service, status): &(&str, &str, CheckStatus)| CheckFields {
            id: (*id).to_owned(),
            name: format!("n-{id}"),
            status: *status,
            output: "why".to_owned(),
            service_id: (*service).to_owned(),
            ..CheckFields::default()
        };
        let view = View { services: vec!["w".to_owned()], checks: checks.iter().map(made).collect() };
        let (status, output) = judge("own", "", "w", &view);
        assert_eq!((status, output.as_str()), expected, "{checks:?}");
    }

    #[test]
    fn an_alias_is_the_worst_of_its_service_and_node() {
        check(&[], (Passing, "No checks found."));
        check(&[("a", "w", Passing), ("b", "", Passing)], (Passing, "All checks passing."));
        check(&[("a", "w", Warning), ("b", "w", Passing)], (Warning, "Aliased check \"n-a\" failing: why"));
        check(&[("a", "w", Warning), ("b", "", Critical)], (Critical, "Aliased check \"n-b\" failing: why"));
        check(&[("a", "other", Critical), ("own", "", Critical)], (Passing, "No checks found."));
        let (status, output) = judge("own", "two", "w", &View::default());
        assert_eq!((status, output.as_str()), (Critical, "Service w could not be found on node two"));
    }
}
