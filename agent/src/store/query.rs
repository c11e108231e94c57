//! Every read there is, and its answer. Answers are the store's own records; edges turn them into
//! JSON or DNS. Both travel between agents: enums only grow at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::command::{AutopilotFields, CheckFields, NodeFields, ServiceFields};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    Nodes,
    /// A node with its services.
    Node {
        node: String,
    },
    /// Every service name with the union of its instances' tags.
    Services,
    /// The instances of a service, with their nodes.
    ServiceNodes {
        service: String,
        tag: Option<String>,
    },
    /// The checks of a node.
    NodeChecks {
        node: String,
    },
    /// The checks of a service's instances.
    ServiceChecks {
        service: String,
    },
    /// The checks in a state; none for any.
    StateChecks {
        state: Option<super::command::CheckStatus>,
    },
    /// The instances of a service with node and service checks.
    ServiceHealth {
        service: String,
        tag: Option<String>,
        passing_only: bool,
    },
    /// The nodes with all that is on them (`/v1/internal/ui/nodes` and the console use it).
    NodeHealth {
        node: Option<String>,
    },
    KvGet {
        key: String,
    },
    KvList {
        prefix: String,
    },
    KvKeys {
        prefix: String,
        separator: String,
    },
    /// Autopilot's rules.
    Autopilot,
    /// The same, of those nodes alone that have all of this metadata.
    OnNodes {
        meta: BTreeMap<String, String>,
        of: Box<Query>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Nodes(Vec<Arc<Node>>),
    /// None when there is no such node.
    Node(Option<NodeServices>),
    Services(BTreeMap<String, Vec<String>>),
    ServiceNodes(Vec<(Arc<Node>, Arc<Service>)>),
    Checks(Vec<Arc<Check>>),
    Health(Vec<InstanceHealth>),
    NodeHealth(Vec<NodeHealth>),
    KvPair(Option<Arc<KvEntry>>),
    KvPairs(Vec<Arc<KvEntry>>),
    KvKeys(Vec<String>),
    /// None before the first leader wrote them.
    Autopilot(Option<Arc<AutopilotEntry>>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeServices {
    pub node: Arc<Node>,
    pub services: Vec<Arc<Service>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceHealth {
    pub node: Arc<Node>,
    pub service: Arc<Service>,
    /// The node's own checks and the instance's.
    pub checks: Vec<Arc<Check>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeHealth {
    pub node: Arc<Node>,
    pub services: Vec<Arc<Service>>,
    pub checks: Vec<Arc<Check>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub fields: NodeFields,
    pub create_index: u64,
    pub modify_index: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub node: String,
    pub fields: ServiceFields,
    pub create_index: u64,
    pub modify_index: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub node: String,
    pub fields: CheckFields,
    /// Of the service it belongs to; empty for a check of the node.
    pub service_name: String,
    pub service_tags: Vec<String>,
    pub create_index: u64,
    pub modify_index: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KvEntry {
    pub key: String,
    pub value: Bytes,
    pub flags: u64,
    pub lock_index: u64,
    pub create_index: u64,
    pub modify_index: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutopilotEntry {
    pub fields: AutopilotFields,
    pub create_index: u64,
    pub modify_index: u64,
}
