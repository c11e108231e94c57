//! `/v1/catalog/register` and `/v1/catalog/deregister`: the catalog told of nodes that run no agent.
//!
//! `body` reads what came; here it becomes a command, checked as Consul's servers check it and in their
//! order. What depends on the state, such as a check of a service that is not there, the state refuses.

use std::net::IpAddr;

use axum::response::Response;

use super::body::{self, Fields, Go, INDEX, INT, Object, TEXT, TEXT_MAP, TEXTS, Way, also, field};
use super::error::{Error, Refusal};
use super::extract::Call;
use super::reply;
use super::router::Method;
use super::works;
use crate::backend;
use crate::config::weights;
use crate::store::command::{
    CheckFields, CheckStatus, Command, Deregistration, NodeFields, Outcome, Registration, ServiceFields,
};

/// A node with a service and its checks is a few thousand bytes.
const BYTES_MAX: usize = 512 << 10;

const PORT: Go = Go::Whole("int", 0, u16::MAX as i128);

static REGISTRATION: Object = Object {
    name: "RegisterRequest",
    whole: "structs.RegisterRequest",
    way: Way::Along,
    fields: &[
        field("Datacenter", TEXT),
        field("ID", Go::Text("types.NodeID")),
        field("Node", TEXT),
        field("Address", TEXT),
        field("TaggedAddresses", TEXT_MAP),
        field("NodeMeta", TEXT_MAP),
        field("Service", Go::Object(&SERVICE)),
        field("Check", Go::Object(&CHECK)),
        field("Checks", Go::List("structs.HealthChecks", &Go::Object(&CHECK))),
        field("SkipNodeUpdate", Go::Flag),
        field("CreateIndex", INDEX),
        field("ModifyIndex", INDEX),
        field("Token", TEXT),
    ],
};

static SERVICE: Object = Object {
    name: "NodeService",
    whole: "structs.NodeService",
    way: Way::Along,
    fields: &[
        field("Kind", Go::Text("structs.ServiceKind")),
        field("ID", TEXT),
        field("Service", TEXT),
        field("Tags", TEXTS),
        field("Address", TEXT),
        field("TaggedAddresses", Go::Map("map[string]structs.ServiceAddress", &Go::Object(&ADDRESS))),
        field("Meta", TEXT_MAP),
        field("Port", PORT),
        field("Weights", Go::Object(&WEIGHTS)),
        field("EnableTagOverride", Go::Flag),
        field("Proxy", Go::Object(&PROXY)),
        field("Connect", Go::Object(&CONNECT)),
        field("CreateIndex", INDEX),
        field("ModifyIndex", INDEX),
    ],
};

static ADDRESS: Object = Object {
    name: "ServiceAddress",
    whole: "structs.ServiceAddress",
    way: Way::Along,
    fields: &[field("Address", TEXT), field("Port", PORT)],
};

pub(super) static WEIGHTS: Object = Object {
    name: "Weights",
    whole: "structs.Weights",
    way: Way::Along,
    fields: &[field("Passing", INT), field("Warning", INT)],
};

/// Of a service of the mesh, which is refused as a whole when it asks for something.
pub(super) static PROXY: Object = Object {
    name: "ConnectProxyConfig",
    whole: "structs.ConnectProxyConfig",
    way: Way::Apart,
    fields: &[
        also("DestinationServiceName", &["destination_service_name"], TEXT),
        also("DestinationServiceID", &["destination_service_id"], TEXT),
        also("LocalServiceAddress", &["local_service_address"], TEXT),
        also("LocalServicePort", &["local_service_port"], INT),
        field("Config", Go::Any),
        field("Upstreams", Go::Any),
        also("MeshGateway", &["mesh_gateway"], Go::Any),
        field("Expose", Go::Any),
    ],
};

pub(super) static CONNECT: Object = Object {
    name: "ServiceConnect",
    whole: "structs.ServiceConnect",
    way: Way::Loose,
    fields: &[field("Native", Go::Flag), also("SidecarService", &["sidecar_service"], Go::Any)],
};

static CHECK: Object = Object {
    name: "HealthCheck",
    whole: "structs.HealthCheck",
    way: Way::Along,
    fields: &[
        field("Node", TEXT),
        field("CheckID", Go::Text("types.CheckID")),
        field("Name", TEXT),
        field("Status", TEXT),
        field("Notes", TEXT),
        field("Output", TEXT),
        field("ServiceID", TEXT),
        field("ServiceName", TEXT),
        field("ServiceTags", TEXTS),
        field("Type", TEXT),
        field("Definition", Go::Object(&works::DEFINITION)),
        field("CreateIndex", INDEX),
        field("ModifyIndex", INDEX),
    ],
};

static DEREGISTRATION: Object = Object {
    name: "",
    whole: "struct { Address string; *structs.Alias }",
    way: Way::Along,
    fields: &[
        field("Address", TEXT),
        field("Datacenter", TEXT),
        field("Node", TEXT),
        field("ServiceID", TEXT),
        field("CheckID", Go::Text("types.CheckID")),
        field("Token", TEXT),
    ],
};

pub(super) async fn register(mut call: Call, _: Method) -> Result<Response, Refusal> {
    let given = take(&mut call, &REGISTRATION).await?;
    write(&call, &given, |given| registration(given, &call.context.datacenter).map(Command::from)).await
}

pub(super) async fn deregister(mut call: Call, _: Method) -> Result<Response, Refusal> {
    let given = take(&mut call, &DEREGISTRATION).await?;
    write(&call, &given, |given| deregistration(given).map(Command::Deregister)).await
}

/// Here Consul tells who asks for a namespace why there is none.
async fn take(call: &mut Call, object: &'static Object) -> Result<Fields, Error> {
    body::take(call, BYTES_MAX, object).await.map_err(|error| match error {
        Error::Decode(why) if why.ends_with("unknown field \"Namespace\"") => {
            Error::Decode(format!("{why} - Namespaces are a Consul Enterprise feature"))
        }
        other => other,
    })
}

/// Hands the command to the leader, in whose name it is checked.
async fn write(
    call: &Call,
    given: &Fields,
    command: impl Fn(&Fields) -> Result<Command, Error>,
) -> Result<Response, Refusal> {
    let datacenter = given.text("Datacenter");
    if !datacenter.is_empty() && datacenter != call.context.datacenter {
        return Err(call.found_by_leader(Error::Datacenter).into());
    }
    let command = command(given).map_err(|error| match error {
        Error::NotYet(_) | Error::Decode(_) => error,
        error => call.found_by_leader(error),
    })?;
    match call.context.backend.write(command).await? {
        (_, Outcome::Refused(why)) => Err(backend::Error::Refused(why).into()),
        _ => reply::json(call, &true),
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T, Error> {
    Err(backend::Error::Refused(why.into()).into())
}

fn registration(given: &Fields, datacenter: &str) -> Result<Registration, Error> {
    let skip_node_update = given.is("SkipNodeUpdate");
    let node = NodeFields {
        name: given.text("Node"),
        id: given.text("ID"),
        address: given.text("Address"),
        datacenter: datacenter.to_owned(),
        tagged_addresses: given.text_map("TaggedAddresses"),
        meta: given.text_map("NodeMeta"),
    };
    if node.name.is_empty() {
        return refused("Must provide node");
    }
    if let Some(why) = fault_of_id(&node.id) {
        return refused(format!("Bad node ID: {why}"));
    }
    if node.address.is_empty() && !skip_node_update {
        return refused("Must provide address if SkipNodeUpdate is not set");
    }
    let service = given.object("Service").as_ref().map(service).transpose()?;
    let checks = given.objects("Checks").into_iter().chain(given.object("Check"));
    let checks = checks.map(|given| check(&given, &node.name)).collect::<Result<_, _>>()?;
    Ok(Registration { node, skip_node_update, service, checks })
}

/// What is wrong with a node's ID; an empty one is none.
fn fault_of_id(id: &str) -> Option<String> {
    if id.is_empty() {
        return None;
    }
    if id.len() != 36 {
        return Some("uuid string is wrong length".to_owned());
    }
    if [8, 13, 18, 23].iter().any(|at| id.as_bytes()[*at] != b'-') {
        return Some("uuid is improperly formatted".to_owned());
    }
    let bad = id.bytes().find(|byte| *byte != b'-' && !byte.is_ascii_hexdigit())?;
    Some(format!("encoding/hex: invalid byte: U+{bad:04X} {:?}", char::from(bad)))
}

fn service(given: &Fields) -> Result<ServiceFields, Error> {
    let name = given.text("Service");
    let id = Some(given.text("ID")).filter(|id| !id.is_empty()).unwrap_or_else(|| name.clone());
    if name.is_empty() {
        return refused(match &*id {
            "" => "failed inserting service: failed inserting service: object missing primary index",
            _ => "Must provide service name with ID",
        });
    }
    let address = given.text("Address");
    if address.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        return refused("Invalid service address");
    }
    if ["Kind", "Proxy", "Connect"].into_iter().any(|part| given.asks(part)) {
        return Err(Error::NotYet("services of the mesh (Kind, Proxy, Connect)"));
    }
    // Consul keeps a service whose weights are none with those of one that says none.
    let weighed = given.object("Weights").and_then(|of| weights(of.number("Passing"), of.number("Warning")).ok());
    let address_of = |(tag, at): (String, Fields)| (tag, (at.text("Address"), at.number("Port")));
    Ok(ServiceFields {
        tags: given.texts("Tags"),
        tagged_addresses: given.named_objects("TaggedAddresses").into_iter().map(address_of).collect(),
        meta: given.text_map("Meta"),
        port: given.number("Port"),
        weights: weighed.unwrap_or((1, 1)),
        enable_tag_override: given.is("EnableTagOverride"),
        id,
        name,
        address,
    })
}

fn check(given: &Fields, node: &str) -> Result<CheckFields, Error> {
    let name = given.text("Name");
    let id = Some(given.text("CheckID")).filter(|id| !id.is_empty()).unwrap_or_else(|| name.clone());
    let told = given.text("Node");
    if !told.is_empty() && !told.eq_ignore_ascii_case(node) {
        return refused(format!("check node {told:?} does not match node {node:?}"));
    }
    if id.is_empty() {
        return refused(format!(
            "failed inserting check: failed inserting check: object missing primary index on node {node:?}"
        ));
    }
    let status = match &*given.text("Status") {
        "passing" => CheckStatus::Passing,
        "warning" => CheckStatus::Warning,
        "critical" | "" => CheckStatus::Critical,
        other => {
            let why = format!("the status {other:?} of check {id:?} is none of passing, warning and critical");
            return Err(Error::Decode(why));
        }
    };
    let works = works::read(given.object("Definition").as_ref());
    let kind = given.text("Type").replace('\0', "");
    Ok(CheckFields {
        notes: given.text("Notes"),
        output: given.text("Output"),
        service_id: given.text("ServiceID"),
        kind: if kind.is_empty() { works.kind.to_owned() } else { kind },
        definition: works.definition,
        id,
        name,
        status,
    })
}

fn deregistration(given: &Fields) -> Result<Deregistration, Error> {
    let (node, service_id, check_id) = (given.text("Node"), given.text("ServiceID"), given.text("CheckID"));
    match (&*node, &*service_id, &*check_id) {
        ("", ..) => refused("Must provide node"),
        (_, "", "") => Ok(Deregistration::Node { node }),
        // Consul: of the two the service counts.
        (_, "", _) => Ok(Deregistration::Check { node, check_id }),
        _ => Ok(Deregistration::Service { node, service_id }),
    }
}
