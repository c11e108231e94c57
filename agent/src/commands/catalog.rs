//! `catalog nodes`, `services`, `datacenters`: what the servers know.

use std::collections::BTreeMap;

use serde::Deserialize;
use shared::api::catalog::{Node, ServiceNode};
use shared::http::Request;

use super::members::pairs;
use super::{Call, Ended, Group, Reach, Verb, Word, failing, table};
use crate::flags::{Flag, Kind};

pub(super) const GROUP: Group = Group {
    path: "catalog",
    synopsis: "Looks into the catalog",
    form: "[options]",
    about: "  Looks into the catalog of nodes and services that the servers keep.\n\n  \
            All datacenters:\n\n      $ {program} catalog datacenters\n\n  \
            All nodes:\n\n      $ {program} catalog nodes\n\n  \
            All services:\n\n      $ {program} catalog services",
    words: &[Word::Verb(&DATACENTERS), Word::Verb(&NODES), Word::Verb(&SERVICES)],
};

const DATACENTERS: Verb = Verb {
    path: "catalog datacenters",
    synopsis: "Lists the datacenters that are known",
    form: "[options]",
    about: "  Lists the datacenters that are known, the nearest first.",
    flags: &[],
    reach: Reach::Agent,
    run: |call| Box::pin(async move { Ended::from(datacenters(call).await) }),
};

const NODE_META: Flag =
    Flag::new("node-meta", Kind::Pairs, "Only nodes with this metadata; may be given more than once.")
        .value("key=value");

const NODES: Verb = Verb {
    path: "catalog nodes",
    synopsis: "Lists the nodes of a datacenter",
    form: "[options]",
    about: "  Lists the nodes of a datacenter, that of the agent if nothing is said.\n\n  \
            Those that run a service:\n\n      $ {program} catalog nodes -service=web\n\n  \
            Those with some metadata:\n\n      $ {program} catalog nodes -node-meta=\"rack=a1\"",
    flags: &[
        Flag::new("detailed", Kind::Bool, "Show whole IDs, tagged addresses and metadata."),
        Flag::new("filter", Kind::String, "An expression that nodes must satisfy."),
        Flag::new("near", Kind::String, "Sort by round trip time from this node; _agent is the agent's own."),
        NODE_META,
        Flag::new("service", Kind::String, "Only nodes that run this service.").value("name"),
    ],
    reach: Reach::Servers,
    run: |call| Box::pin(async move { Ended::from(nodes(call).await) }),
};

const SERVICES: Verb = Verb {
    path: "catalog services",
    synopsis: "Lists the services of a datacenter",
    form: "[options]",
    about: "  Lists the services of a datacenter, that of the agent if nothing is said.\n\n  \
            With their tags:\n\n      $ {program} catalog services -tags\n\n  \
            Those of a node:\n\n      $ {program} catalog services -node=one",
    flags: &[
        Flag::new("node", Kind::String, "Only services of this node.").value("id or name"),
        NODE_META,
        Flag::new("tags", Kind::Bool, "Show each service's tags."),
    ],
    reach: Reach::Servers,
    run: |call| Box::pin(async move { Ended::from(services(call).await) }),
};

/// What `catalog services -node` needs of `/v1/catalog/node/…`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServicesOfNode {
    services: BTreeMap<String, ServiceOfNode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceOfNode {
    service: String,
    #[serde(default)]
    tags: Option<Vec<String>>,
}

async fn datacenters(call: &Call) -> Result<Ended, Ended> {
    call.none()?;
    let client = call.client()?;
    let names: Vec<String> =
        client.get("/v1/catalog/datacenters").json().await.map_err(failing("Error listing datacenters"))?;
    Ok(Ended::said(names.iter().map(|name| format!("{name}\n")).collect::<String>()))
}

/// `key:value` is how the API takes what is typed as `key=value`.
fn with_meta<'a>(mut request: Request<'a>, call: &Call) -> Request<'a> {
    for pair in call.flags.list("node-meta") {
        request = request.query("node-meta", pair.replacen('=', ":", 1));
    }
    request
}

async fn nodes(call: &Call) -> Result<Ended, Ended> {
    call.none()?;
    let client = call.client()?;
    let some = |name: &str| Some(call.flags.text(name)).filter(|text| !text.is_empty()).map(str::to_owned);
    let ask = |path: &str| {
        let request = call.scoped(with_meta(client.get(path), call));
        request.query_some("near", some("near")).query_some("filter", some("filter"))
    };
    let nodes = match some("service") {
        None => ask("/v1/catalog/nodes").json::<Vec<Node>>().await.map_err(failing("Error listing nodes"))?,
        Some(service) => {
            let request = ask(&format!("/v1/catalog/service/{service}"));
            let instances: Vec<ServiceNode> =
                request.json().await.map_err(failing("Error listing nodes for service"))?;
            instances.into_iter().map(of_instance).collect()
        }
    };
    if nodes.is_empty() {
        return Err(Ended::remarked("No nodes match the given query - try expanding your search."));
    }
    Ok(Ended::said(if call.flags.is_on("detailed") { detailed(&nodes) } else { brief(&nodes) }))
}

/// One row for each instance, as Consul has it.
fn of_instance(one: ServiceNode) -> Node {
    Node {
        id: one.id,
        node: one.node,
        address: one.address,
        datacenter: one.datacenter,
        tagged_addresses: one.tagged_addresses,
        meta: one.node_meta,
        create_index: one.create_index,
        modify_index: one.modify_index,
    }
}

fn brief(nodes: &[Node]) -> String {
    let mut rows = vec![table::row(["Node", "ID", "Address", "DC"])];
    for node in nodes {
        let id: String = node.id.chars().take(8).collect();
        rows.push(table::row([&node.node, &id, &node.address, &node.datacenter]));
    }
    table::columns(&rows)
}

fn detailed(nodes: &[Node]) -> String {
    let mut rows = vec![table::row(["Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"])];
    for node in nodes {
        let map =
            |map: &Option<BTreeMap<String, String>>| map.as_ref().map_or_else(String::new, |map| pairs(map, ", "));
        let (tagged, meta) = (map(&node.tagged_addresses), map(&node.meta));
        rows.push(table::row([&node.node, &node.id, &node.address, &node.datacenter, &tagged, &meta]));
    }
    table::columns(&rows)
}

async fn services(call: &Call) -> Result<Ended, Ended> {
    call.none()?;
    let client = call.client()?;
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    match call.flags.text("node") {
        "" => {
            let request = call.scoped(with_meta(client.get("/v1/catalog/services"), call));
            let all: BTreeMap<String, Vec<String>> = request.json().await.map_err(failing("Error listing services"))?;
            found.extend(all);
        }
        node => {
            let request = call.scoped(with_meta(client.get(&format!("/v1/catalog/node/{node}")), call));
            let complaint = "Error listing services for node";
            let of_node: Option<ServicesOfNode> = request.json().await.map_err(failing(complaint))?;
            for service in of_node.into_iter().flat_map(|of_node| of_node.services.into_values()) {
                found.entry(service.service).or_default().extend(service.tags.unwrap_or_default());
            }
        }
    }
    if found.is_empty() {
        return Err(Ended::remarked("No services match the given query - try expanding your search."));
    }
    if !call.flags.is_on("tags") {
        return Ok(Ended::said(found.keys().map(|name| format!("{name}\n")).collect::<String>()));
    }
    // Consul: six blanks at least, and none at the very end.
    let width = found.keys().map(|name| name.chars().count()).max().unwrap_or(0) + 6;
    let mut text = String::new();
    for (name, mut tags) in found {
        tags.sort();
        text += &format!("{name:width$}{}\n", tags.join(","));
    }
    Ok(Ended::said(text.trim_end().to_owned() + "\n"))
}
