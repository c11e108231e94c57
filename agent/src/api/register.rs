//! `/v1/catalog/register` and `/v1/catalog/deregister`: the catalog told of nodes that run no agent.
//!
//! `body` reads what came; here it becomes a command, checked as Consul's servers check it and in their
//! order. What depends on the state, such as a check of a service that is not there, the state refuses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::response::Response;
use serde_json::{Map, Value};

use super::body::{self, Go, Object, TEXT};
use super::error::{Error, Refusal};
use super::extract::Call;
use super::reply;
use super::router::Method;
use super::works;
use crate::backend;
use crate::store::command::{
    CheckFields, CheckStatus, Command, Deregistration, NodeFields, Outcome, Registration, ServiceFields,
};

/// A node with a service and its checks is a few thousand bytes.
const BYTES_MAX: usize = 512 << 10;

const TEXTS: Go = Go::Map("map[string]string", &TEXT);
const TAGS: Go = Go::List("[]string", &TEXT);
const INT: (i64, i64) = (i64::MIN, i64::MAX);
const INDEX: Go = Go::Whole("uint64", 0, INT.1);

static REGISTRATION: Object = Object {
    name: "RegisterRequest",
    whole: "structs.RegisterRequest",
    apart: false,
    fields: &[
        ("Datacenter", TEXT),
        ("ID", Go::Text("types.NodeID")),
        ("Node", TEXT),
        ("Address", TEXT),
        ("TaggedAddresses", TEXTS),
        ("NodeMeta", TEXTS),
        ("Service", Go::Object(&SERVICE)),
        ("Check", Go::Object(&CHECK)),
        ("Checks", Go::List("structs.HealthChecks", &Go::Object(&CHECK))),
        ("SkipNodeUpdate", Go::Flag),
        ("CreateIndex", INDEX),
        ("ModifyIndex", INDEX),
        ("Token", TEXT),
    ],
};

static SERVICE: Object = Object {
    name: "NodeService",
    whole: "structs.NodeService",
    apart: false,
    fields: &[
        ("Kind", Go::Text("structs.ServiceKind")),
        ("ID", TEXT),
        ("Service", TEXT),
        ("Tags", TAGS),
        ("Address", TEXT),
        ("TaggedAddresses", Go::Map("map[string]structs.ServiceAddress", &Go::Object(&ADDRESS))),
        ("Meta", TEXTS),
        ("Port", Go::Whole("int", 0, u16::MAX as i64)),
        ("Weights", Go::Object(&WEIGHTS)),
        ("EnableTagOverride", Go::Flag),
        ("Proxy", Go::Object(&PROXY)),
        ("Connect", Go::Object(&CONNECT)),
        ("CreateIndex", INDEX),
        ("ModifyIndex", INDEX),
    ],
};

static ADDRESS: Object = Object {
    name: "ServiceAddress",
    whole: "structs.ServiceAddress",
    apart: false,
    fields: &[("Address", TEXT), ("Port", Go::Whole("int", 0, u16::MAX as i64))],
};

static WEIGHTS: Object = Object {
    name: "Weights",
    whole: "structs.Weights",
    apart: false,
    fields: &[("Passing", Go::Whole("int", 0, u32::MAX as i64)), ("Warning", Go::Whole("int", 0, u32::MAX as i64))],
};

static PROXY: Object = Object {
    name: "ConnectProxyConfig",
    whole: "structs.ConnectProxyConfig",
    apart: false,
    fields: &[
        ("DestinationServiceName", TEXT),
        ("DestinationServiceID", TEXT),
        ("LocalServiceAddress", TEXT),
        ("LocalServicePort", Go::Whole("int", INT.0, INT.1)),
        ("Config", Go::Any),
        ("Upstreams", Go::Any),
        ("MeshGateway", Go::Any),
        ("Expose", Go::Any),
    ],
};

static CONNECT: Object = Object {
    name: "ServiceConnect",
    whole: "structs.ServiceConnect",
    apart: true,
    fields: &[("Native", Go::Flag), ("SidecarService", Go::Any)],
};

static CHECK: Object = Object {
    name: "HealthCheck",
    whole: "structs.HealthCheck",
    apart: false,
    fields: &[
        ("Node", TEXT),
        ("CheckID", Go::Text("types.CheckID")),
        ("Name", TEXT),
        ("Status", TEXT),
        ("Notes", TEXT),
        ("Output", TEXT),
        ("ServiceID", TEXT),
        ("ServiceName", TEXT),
        ("ServiceTags", TAGS),
        ("Type", TEXT),
        ("Definition", Go::Object(&works::DEFINITION)),
        ("CreateIndex", INDEX),
        ("ModifyIndex", INDEX),
    ],
};

static DEREGISTRATION: Object = Object {
    name: "",
    whole: "struct { Address string; *structs.Alias }",
    apart: false,
    fields: &[
        ("Address", TEXT),
        ("Datacenter", TEXT),
        ("Node", TEXT),
        ("ServiceID", TEXT),
        ("CheckID", Go::Text("types.CheckID")),
        ("Token", TEXT),
    ],
};

pub(super) async fn register(mut call: Call, _: Method) -> Result<Response, Refusal> {
    let body = call.take_body(BYTES_MAX).await?;
    let given = body::read(&body, &REGISTRATION).map_err(Error::Decode)?;
    write(&call, &given, |given| registration(given, &call.context.datacenter).map(Command::from)).await
}

pub(super) async fn deregister(mut call: Call, _: Method) -> Result<Response, Refusal> {
    let body = call.take_body(BYTES_MAX).await?;
    let given = body::read(&body, &DEREGISTRATION).map_err(Error::Decode)?;
    write(&call, &given, |given| deregistration(given).map(Command::Deregister)).await
}

/// Hands the command to the leader, in whose name it is checked.
async fn write(
    call: &Call,
    given: &Map<String, Value>,
    command: impl Fn(&Map<String, Value>) -> Result<Command, Error>,
) -> Result<Response, Refusal> {
    let datacenter = text(given, "Datacenter");
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

fn text(of: &Map<String, Value>, name: &str) -> String {
    of.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn flag(of: &Map<String, Value>, name: &str) -> bool {
    of.get(name).and_then(Value::as_bool).unwrap_or_default()
}

fn number<N: TryFrom<i64> + Default>(of: &Map<String, Value>, name: &str) -> N {
    of.get(name).and_then(Value::as_i64).and_then(|number| number.try_into().ok()).unwrap_or_default()
}

fn object<'a>(of: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    of.get(name).and_then(Value::as_object)
}

fn texts(of: &Map<String, Value>, name: &str) -> BTreeMap<String, String> {
    let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    object(of, name).into_iter().flatten().filter_map(pair).collect()
}

fn registration(given: &Map<String, Value>, datacenter: &str) -> Result<Registration, Error> {
    let skip_node_update = flag(given, "SkipNodeUpdate");
    let node = NodeFields {
        name: text(given, "Node"),
        id: text(given, "ID"),
        address: text(given, "Address"),
        datacenter: datacenter.to_owned(),
        tagged_addresses: texts(given, "TaggedAddresses"),
        meta: texts(given, "NodeMeta"),
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
    let service = object(given, "Service").map(service).transpose()?;
    let checks = object(given, "Check").into_iter();
    let all = given.get("Checks").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    let checks = all.chain(checks).map(|given| check(given, &node.name)).collect::<Result<_, _>>()?;
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

fn service(given: &Map<String, Value>) -> Result<ServiceFields, Error> {
    let name = text(given, "Service");
    let id = Some(text(given, "ID")).filter(|id| !id.is_empty()).unwrap_or_else(|| name.clone());
    if name.is_empty() {
        return refused(match &*id {
            "" => "failed inserting service: failed inserting service: object missing primary index",
            _ => "Must provide service name with ID",
        });
    }
    let address = text(given, "Address");
    if address.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        return refused("Invalid service address");
    }
    let is_said = |value: &Value| match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::Null => false,
    };
    let of_mesh = ["Proxy", "Connect"].into_iter().filter_map(|part| object(given, part)).flatten();
    if !text(given, "Kind").is_empty() || of_mesh.map(|(_, value)| value).any(is_said) {
        return Err(Error::NotYet("services of the mesh (Kind, Proxy, Connect)"));
    }
    let weights = object(given, "Weights");
    let address_of = |(tag, at): (&String, &Value)| {
        let at = at.as_object()?;
        Some((tag.clone(), (text(at, "Address"), number(at, "Port"))))
    };
    Ok(ServiceFields {
        tags: tags(given),
        tagged_addresses: object(given, "TaggedAddresses").into_iter().flatten().filter_map(address_of).collect(),
        meta: texts(given, "Meta"),
        port: number(given, "Port"),
        weights: weights.map_or((1, 1), |weights| (number(weights, "Passing"), number(weights, "Warning"))),
        enable_tag_override: flag(given, "EnableTagOverride"),
        id,
        name,
        address,
    })
}

fn tags(given: &Map<String, Value>) -> Vec<String> {
    let tags = given.get("Tags").and_then(Value::as_array).into_iter().flatten();
    tags.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn check(given: &Map<String, Value>, node: &str) -> Result<CheckFields, Error> {
    let name = text(given, "Name");
    let id = Some(text(given, "CheckID")).filter(|id| !id.is_empty()).unwrap_or_else(|| name.clone());
    let told = text(given, "Node");
    if !told.is_empty() && !told.eq_ignore_ascii_case(node) {
        return refused(format!("check node {told:?} does not match node {node:?}"));
    }
    if id.is_empty() {
        return refused(format!(
            "failed inserting check: failed inserting check: object missing primary index on node {node:?}"
        ));
    }
    let status = match &*text(given, "Status") {
        "passing" => CheckStatus::Passing,
        "warning" => CheckStatus::Warning,
        "critical" | "" => CheckStatus::Critical,
        other => {
            let why = format!("the status {other:?} of check {id:?} is none of passing, warning and critical");
            return Err(Error::Decode(why));
        }
    };
    let works = works::read(object(given, "Definition")).map_err(Error::Decode)?;
    let kind = text(given, "Type").replace('\0', "");
    Ok(CheckFields {
        notes: text(given, "Notes"),
        output: text(given, "Output"),
        service_id: text(given, "ServiceID"),
        kind: if kind.is_empty() { works.kind.to_owned() } else { kind },
        definition: works.definition,
        id,
        name,
        status,
    })
}

fn deregistration(given: &Map<String, Value>) -> Result<Deregistration, Error> {
    let (node, service_id, check_id) = (text(given, "Node"), text(given, "ServiceID"), text(given, "CheckID"));
    match (&*node, &*service_id, &*check_id) {
        ("", ..) => refused("Must provide node"),
        (_, "", "") => Ok(Deregistration::Node { node }),
        // Consul: of the two the service counts.
        (_, "", _) => Ok(Deregistration::Check { node, check_id }),
        _ => Ok(Deregistration::Service { node, service_id }),
    }
}
