//! The store's records as Consul's JSON has them. Called by the catalog and health endpoints.

use std::collections::BTreeMap;

use shared::api::agent::AgentMember;
use shared::api::catalog::{NoProxy, Node, NodeService, Nothing, ServiceAddress, ServiceNode, Weights};
use shared::api::health::{HealthCheck, ServiceEntry};
use shared::event::{MemberState, MemberStatus};

use crate::store::query as stored;

/// Go writes a map that was never made as null.
fn null_if_empty(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then(|| map.clone())
}

fn addresses(stored: &BTreeMap<String, (String, u16)>) -> BTreeMap<String, ServiceAddress> {
    let address = |(address, port): &(String, u16)| ServiceAddress { address: address.clone(), port: *port };
    stored.iter().map(|(tag, at)| (tag.clone(), address(at))).collect()
}

pub(super) fn node(stored: &stored::Node) -> Node {
    let fields = &stored.fields;
    Node {
        id: fields.id.clone(),
        node: fields.name.clone(),
        address: fields.address.clone(),
        datacenter: fields.datacenter.clone(),
        tagged_addresses: null_if_empty(&fields.tagged_addresses),
        meta: null_if_empty(&fields.meta),
        create_index: stored.create_index,
        modify_index: stored.modify_index,
    }
}

pub(super) fn service(stored: &stored::Service) -> NodeService {
    let fields = &stored.fields;
    let (passing, warning) = fields.weights;
    NodeService {
        id: fields.id.clone(),
        service: fields.name.clone(),
        tags: fields.tags.clone(),
        address: fields.address.clone(),
        tagged_addresses: addresses(&fields.tagged_addresses),
        meta: null_if_empty(&fields.meta),
        port: fields.port,
        weights: Weights { passing, warning },
        enable_tag_override: fields.enable_tag_override,
        proxy: NoProxy::default(),
        connect: Nothing {},
        create_index: stored.create_index,
        modify_index: stored.modify_index,
    }
}

pub(super) fn service_node(node: &stored::Node, service: &stored::Service) -> ServiceNode {
    let (of_node, of_service) = (&node.fields, &service.fields);
    let (passing, warning) = of_service.weights;
    ServiceNode {
        id: of_node.id.clone(),
        node: of_node.name.clone(),
        address: of_node.address.clone(),
        datacenter: of_node.datacenter.clone(),
        tagged_addresses: null_if_empty(&of_node.tagged_addresses),
        node_meta: null_if_empty(&of_node.meta),
        service_kind: String::new(),
        service_id: of_service.id.clone(),
        service_name: of_service.name.clone(),
        service_tags: of_service.tags.clone(),
        service_address: of_service.address.clone(),
        service_tagged_addresses: addresses(&of_service.tagged_addresses),
        service_weights: Weights { passing, warning },
        service_meta: of_service.meta.clone(),
        service_port: of_service.port,
        service_enable_tag_override: of_service.enable_tag_override,
        service_proxy: NoProxy::default(),
        service_connect: Nothing {},
        create_index: service.create_index,
        modify_index: service.modify_index,
    }
}

pub(super) fn check(stored: &stored::Check) -> HealthCheck {
    let fields = &stored.fields;
    HealthCheck {
        node: stored.node.clone(),
        check_id: fields.id.clone(),
        name: fields.name.clone(),
        status: fields.status.as_str().to_owned(),
        notes: fields.notes.clone(),
        output: fields.output.clone(),
        service_id: fields.service_id.clone(),
        service_name: stored.service_name.clone(),
        service_tags: stored.service_tags.clone(),
        kind: fields.kind.clone(),
        definition: match &*fields.definition {
            "" => serde_json::Value::Object(serde_json::Map::new()),
            told => serde_json::from_str(told).unwrap_or_default(),
        },
        create_index: stored.create_index,
        modify_index: stored.modify_index,
    }
}

pub(super) fn entry(stored: &stored::InstanceHealth) -> ServiceEntry {
    ServiceEntry {
        node: node(&stored.node),
        service: service(&stored.service),
        checks: stored.checks.iter().map(|stored| check(stored)).collect(),
    }
}

/// A suspect is still alive to programs.
pub(super) fn member(state: &MemberState) -> AgentMember {
    let [protocol_min, protocol_max, protocol_cur, delegate_min, delegate_max, delegate_cur] = state.versions;
    AgentMember {
        name: state.name.clone(),
        addr: state.address.clone(),
        port: state.port,
        // Programs compare Consul's tags; what we are is for the pool and the event stream (compat.md).
        tags: state.tags.iter().filter(|(name, _)| *name != "impl").map(|(k, v)| (k.clone(), v.clone())).collect(),
        status: match state.status {
            MemberStatus::Alive | MemberStatus::Suspect => 1,
            MemberStatus::Leaving => 2,
            MemberStatus::Left => 3,
            MemberStatus::Failed => 4,
        },
        protocol_min,
        protocol_max,
        protocol_cur,
        delegate_min,
        delegate_max,
        delegate_cur,
    }
}
