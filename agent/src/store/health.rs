//! Reading the catalog: nodes, instances, checks, and what the checks imply.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::catalog::{Catalog, NodeRow, ServiceRow};
use super::changes::{Topic, fold};
use super::command::CheckStatus;
use super::index::TableIndexes;
use super::query::{Answer, Check, InstanceHealth, Node, NodeHealth, NodeServices, Query, Service};

impl Catalog {
    /// The answer to a query of the catalog; keys are not its business and answer nothing.
    pub(super) fn query(&self, query: &Query) -> Answer {
        match query {
            Query::Nodes => Answer::Nodes(self.nodes.values().map(|row| Arc::clone(&row.node)).collect()),
            Query::Node { node } => Answer::Node(self.node(node).map(|row| NodeServices {
                node: Arc::clone(&row.node),
                services: row.services.values().cloned().collect(),
            })),
            Query::Services => Answer::Services(self.names(|_| true)),
            Query::ServiceNodes { service, tag } => Answer::ServiceNodes(
                self.instances(service, tag.as_deref())
                    .map(|(row, s)| (Arc::clone(&row.node), Arc::clone(s)))
                    .collect(),
            ),
            Query::NodeChecks { node } => {
                Answer::Checks(self.node(node).map(|row| row.checks.values().cloned().collect()).unwrap_or_default())
            }
            Query::ServiceChecks { service } => Answer::Checks(self.service_checks(service)),
            Query::StateChecks { state } => Answer::Checks(self.state_checks(*state)),
            Query::ServiceHealth { service, tag, passing_only } => Answer::Health(
                self.instances(service, tag.as_deref())
                    .map(|(row, service)| instance_health(row, service))
                    .filter(|health| !passing_only || health.is_passing())
                    .collect(),
            ),
            Query::NodeHealth { node: Some(node) } => {
                Answer::NodeHealth(self.node(node).map(|row| row.health()).into_iter().collect())
            }
            Query::NodeHealth { node: None } => {
                Answer::NodeHealth(self.nodes.values().map(|row| row.health()).collect())
            }
            Query::OnNodes { meta, of } => self.on_nodes(meta, of),
            Query::AtAddress { address } => Answer::Node(self.at_address(*address)),
            Query::KvGet { .. } => Answer::KvPair(None),
            Query::KvList { .. } => Answer::KvPairs(Vec::new()),
            Query::KvKeys { .. } => Answer::KvKeys(Vec::new()),
            Query::Autopilot => Answer::Autopilot(None),
        }
    }

    /// The answer to `query` with what belongs to other nodes left out.
    fn on_nodes(&self, meta: &BTreeMap<String, String>, query: &Query) -> Answer {
        let is_meant = |node: &Node| meta.iter().all(|(name, value)| node.fields.meta.get(name) == Some(value));
        if *query == Query::Services {
            return Answer::Services(self.names(is_meant));
        }
        let mut answer = self.query(query);
        match &mut answer {
            Answer::Nodes(nodes) => nodes.retain(|node| is_meant(node)),
            Answer::ServiceNodes(rows) => rows.retain(|(node, _)| is_meant(node)),
            Answer::Health(rows) => rows.retain(|row| is_meant(&row.node)),
            Answer::NodeHealth(rows) => rows.retain(|row| is_meant(&row.node)),
            Answer::Checks(checks) => {
                checks.retain(|check| self.node(&check.node).is_some_and(|row| is_meant(&row.node)));
            }
            Answer::Node(found) if !found.as_ref().is_some_and(|found| is_meant(&found.node)) => *found = None,
            Answer::Node(_)
            | Answer::Services(_)
            | Answer::KvPair(_)
            | Answer::KvPairs(_)
            | Answer::KvKeys(_)
            | Answer::Autopilot(_) => {}
        }
        answer
    }

    /// The index of a topic of the catalog; 0 when nothing was ever written to it.
    pub(super) fn index_of(&self, topic: &Topic) -> u64 {
        let node =
            |name: &str, of: fn(&NodeRow) -> u64, without: u64| self.nodes.get(name).map_or(without, |row| of(row));
        let service = |name: &str, of: fn(&ServiceRow) -> u64, without: u64| {
            self.services.get(name).map_or(without, |row| of(row))
        };
        let TableIndexes { node_gone, service_gone, checks, catalog, .. } = self.indexes;
        // Consul: until some service is gone, what was never there is as old as the tables.
        let no_service = if service_gone > 0 { service_gone } else { catalog };
        match topic {
            Topic::Nodes => self.indexes.nodes,
            Topic::Services => self.indexes.services,
            Topic::Catalog => self.indexes.catalog,
            Topic::Checks(state) => self.indexes.of_state(*state),
            Topic::Node(name) => node(name, |row| row.indexes.node, node_gone),
            Topic::NodeChecks(name) => node(name, |row| row.indexes.checks, checks),
            Topic::NodeHealth(name) => node(name, |row| row.indexes.health, node_gone),
            Topic::ServiceNodes(name) => service(name, |row| row.indexes.nodes, no_service),
            Topic::ServiceChecks(name) => service(name, |row| row.indexes.checks, checks),
            Topic::ServiceHealth(name) => service(name, |row| row.indexes.health, no_service),
            Topic::KvKey(_) | Topic::KvPrefix(_) | Topic::Autopilot => 0,
        }
    }

    fn node(&self, name: &str) -> Option<&Arc<NodeRow>> {
        self.nodes.get(&*fold(name))
    }

    fn at_address(&self, address: IpAddr) -> Option<NodeServices> {
        if let Some(node) = self.addresses.node_at(address) {
            let node = Arc::clone(&self.nodes.get(&**node)?.node);
            return Some(NodeServices { node, services: Vec::new() });
        }
        let (node, id) = self.addresses.service_at(address)?;
        let row = self.nodes.get(&**node)?;
        Some(NodeServices { node: Arc::clone(&row.node), services: vec![Arc::clone(row.services.get(&**id)?)] })
    }

    /// The union of the instances' tags, in the order they are met.
    fn names(&self, is_meant: impl Fn(&Node) -> bool) -> BTreeMap<String, Vec<String>> {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let meant = |node: &str| self.nodes.get(node).is_some_and(|row| is_meant(&row.node));
        let instances = self.services.values().flat_map(|row| row.instances.iter());
        for (_, service) in instances.filter(|((node, _), _)| meant(node)) {
            let tags = names.entry(service.fields.name.clone()).or_default();
            for tag in &service.fields.tags {
                if !tags.contains(tag) {
                    tags.push(tag.clone());
                }
            }
        }
        names
    }

    fn instances<'a>(
        &'a self,
        service: &str,
        tag: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Arc<NodeRow>, &'a Arc<Service>)> {
        self.services
            .get(&*fold(service))
            .into_iter()
            .flat_map(|row| row.instances.iter())
            .filter(move |(_, service)| tag.is_none_or(|tag| service.has_tag(tag)))
            .filter_map(|((node, _), service)| Some((self.nodes.get(&**node)?, service)))
    }

    fn service_checks(&self, service: &str) -> Vec<Arc<Check>> {
        self.instances(service, None)
            .flat_map(|(row, service)| row.checks.values().filter(|check| check.is_of(&service.fields.id)))
            .cloned()
            .collect()
    }

    fn state_checks(&self, state: Option<CheckStatus>) -> Vec<Arc<Check>> {
        self.nodes
            .values()
            .flat_map(|row| row.checks.values())
            .filter(|check| state.is_none_or(|state| check.fields.status == state))
            .cloned()
            .collect()
    }
}

fn instance_health(row: &NodeRow, service: &Arc<Service>) -> InstanceHealth {
    // In one pass: the node's come first.
    let (mut checks, mut of_service) = (Vec::new(), Vec::new());
    for check in row.checks.values() {
        if check.fields.service_id.is_empty() {
            checks.push(Arc::clone(check));
        } else if check.is_of(&service.fields.id) {
            of_service.push(Arc::clone(check));
        }
    }
    checks.append(&mut of_service);
    InstanceHealth { node: Arc::clone(&row.node), service: Arc::clone(service), checks }
}

impl InstanceHealth {
    fn is_passing(&self) -> bool {
        self.checks.iter().all(|check| check.fields.status == CheckStatus::Passing)
    }
}

impl NodeRow {
    fn health(&self) -> NodeHealth {
        NodeHealth {
            node: Arc::<Node>::clone(&self.node),
            services: self.services.values().cloned().collect(),
            checks: self.checks.values().cloned().collect(),
        }
    }
}

impl Service {
    /// Consul: tags are compared in lower case.
    fn has_tag(&self, tag: &str) -> bool {
        self.fields.tags.iter().any(|own| own == tag || fold(own) == fold(tag))
    }
}
