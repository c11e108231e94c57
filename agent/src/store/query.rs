//! Every read there is, and its answer. Answers are the store's own records; edges turn them into
//! JSON or DNS. Both travel between agents: enums only grow at the end.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::command::{AutopilotFields, CheckFields, NodeFields, ServiceFields};

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// The first node with this address; if there is none the first service, with its node.
    /// Answered as a node, without its services or with that one alone.
    AtAddress {
        address: IpAddr,
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

impl Node {
    /// None where the address is a name.
    pub fn ip(&self) -> Option<IpAddr> {
        ip(&self.fields.address)
    }
}

impl Service {
    /// Of its own; none where that is a name or where it has its node's.
    pub fn ip(&self) -> Option<IpAddr> {
        ip(&self.fields.address)
    }
}

/// Consul: `::ffff:10.0.0.1` is `10.0.0.1`, and so is `10.0.0.01`.
fn ip(text: &str) -> Option<IpAddr> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Some(ip.to_canonical()),
        Err(_) if text.len() <= 64 => decimal(text).map(IpAddr::V4),
        Err(_) => None,
    }
}

fn decimal(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        *octet = is_number.then(|| part.parse().ok())??;
    }
    parts.next().is_none().then(|| octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(ip(text), expected.map(|text| text.parse().unwrap()), "{text:?}");
    }

    #[test]
    fn an_address_is_what_it_is_to_consul() {
        check("10.0.0.1", Some("10.0.0.1"));
        check("10.00.0.010", Some("10.0.0.10"));
        check("::ffff:10.0.0.1", Some("10.0.0.1"));
        check("FD00:0::9", Some("fd00::9"));
        for text in ["", "10.0.0", "10.0.0.256", "10.0.0.1.2", "10.0.0.", "10.0.0.+1", "10.0.0.1 ", "a.b.c.d", "web"] {
            check(text, None);
        }
    }
}
