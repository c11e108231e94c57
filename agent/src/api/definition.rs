//! Bodies of registrations into definitions: which fields there are, and Consul's order of saying what is
//! wrong. Called by `registration`; registers nothing.

use super::body::{Fields, Go, INT, LISTS, Object, TEXT, TEXT_MAP, TEXTS, Way, also, field};
use super::error::Error;
use super::register::{CONNECT, PROXY, WEIGHTS};
use crate::checks::spec::{Check, of_service};
use crate::config::{Service, meta_fault, weights, with_family};
use crate::store::command::{CheckStatus, ServiceFields};

static ADDRESS: Object = Object {
    name: "ServiceAddress",
    whole: "structs.ServiceAddress",
    way: Way::Along,
    fields: &[field("Address", TEXT), field("Port", INT)],
};

/// A check of a service or of its own, beside the first fields, in which they differ.
macro_rules! check_fields {
    ($($first:expr),*) => {
        &[
            $($first,)*
            field("Name", TEXT),
            field("Status", TEXT),
            field("Notes", TEXT),
            also("ServiceID", &["service_id"], TEXT),
            also("ScriptArgs", &["args", "script_args"], TEXTS),
            field("HTTP", TEXT),
            field("Header", LISTS),
            field("Method", TEXT),
            field("Body", TEXT),
            field("TCP", TEXT),
            field("UDP", TEXT),
            field("Interval", Go::Span),
            field("Timeout", Go::Span),
            field("TTL", Go::Span),
            also("DockerContainerID", &["docker_container_id"], TEXT),
            field("Shell", TEXT),
            field("GRPC", TEXT),
            field("GRPCUseTLS", Go::Flag),
            also("TLSSkipVerify", &["tls_skip_verify"], Go::Flag),
            field("AliasNode", TEXT),
            field("AliasService", TEXT),
            also("DeregisterCriticalServiceAfter", &["deregister_critical_service_after"], Go::Span),
            field("OutputMaxSize", INT),
            field("SuccessBeforePassing", INT),
            field("FailuresBeforeCritical", INT),
        ]
    };
}

static CHECK_OF_SERVICE: Object = Object {
    name: "CheckType",
    whole: "structs.CheckType",
    way: Way::Apart,
    fields: check_fields!(field("CheckID", Go::Text("types.CheckID"))),
};

/// Go reads it, as a service, into a struct that has no name.
pub(super) static CHECK: Object = Object {
    name: "",
    whole: "structs.CheckDefinition",
    way: Way::Apart,
    fields: check_fields!(field("ID", Go::Text("types.CheckID")), field("Token", TEXT)),
};

pub(super) static SERVICE: Object = Object {
    name: "",
    whole: "structs.ServiceDefinition",
    way: Way::Apart,
    fields: &[
        field("ID", TEXT),
        field("Name", TEXT),
        field("Kind", Go::Text("structs.ServiceKind")),
        field("Tags", TEXTS),
        field("Address", TEXT),
        also(
            "TaggedAddresses",
            &["tagged_addresses"],
            Go::Map("map[string]structs.ServiceAddress", &Go::Object(&ADDRESS)),
        ),
        field("Meta", TEXT_MAP),
        field("Port", INT),
        field("Check", Go::Object(&CHECK_OF_SERVICE)),
        field("Checks", Go::List("structs.CheckTypes", &Go::Object(&CHECK_OF_SERVICE))),
        field("Weights", Go::Object(&WEIGHTS)),
        field("Token", TEXT),
        also("EnableTagOverride", &["enable_tag_override"], Go::Flag),
        field("Proxy", Go::Object(&PROXY)),
        field("Connect", Go::Object(&CONNECT)),
    ],
};

fn wrong(text: impl Into<String>) -> Error {
    Error::Definition(text.into())
}

pub(super) fn service(fields: &Fields) -> Result<Service, Error> {
    let name = fields.text("Name");
    if name.is_empty() {
        return Err(wrong("Missing service name"));
    }
    let address = fields.text("Address");
    if matches!(address.as_str(), "0.0.0.0" | "::" | "[::]") {
        return Err(wrong("Invalid service address"));
    }
    for key in ["Kind", "Proxy", "Connect"] {
        if fields.asks(key) {
            return Err(wrong(format!("{key} cannot be given: the service mesh is not built")));
        }
    }
    let weights = match fields.object("Weights") {
        None => (1, 1),
        Some(given) => weights(given.number("Passing"), given.number("Warning"))
            .map_err(|fault| wrong(format!("Invalid Weights: {fault}")))?,
    };
    let meta = fields.text_map("Meta");
    if let Some(fault) = meta_fault(&meta) {
        return Err(wrong(format!("Invalid Service Meta: {fault}")));
    }
    let port = port(fields, "Port")?;
    let mut tagged = std::collections::BTreeMap::new();
    for (tag, one) in fields.named_objects("TaggedAddresses") {
        tagged.insert(tag, (one.text("Address"), self::port(&one, "TaggedAddresses.Port")?));
    }
    let service = ServiceFields {
        id: Some(fields.text("ID")).filter(|id| !id.is_empty()).unwrap_or_else(|| name.clone()),
        name,
        tags: fields.texts("Tags"),
        tagged_addresses: with_family(tagged, &address, port),
        address,
        meta,
        port,
        weights,
        enable_tag_override: fields.is("EnableTagOverride"),
    };
    let checks = checks_of(fields)?;
    let checks = of_service(&service, checks);
    Ok(Service { fields: service, checks })
}

fn port(fields: &Fields, name: &'static str) -> Result<u16, Error> {
    let given: i64 = fields.number("Port");
    u16::try_from(given).map_err(|_| wrong(format!("Invalid {name}: {given} is no port, they are 0 to 65535")))
}

/// The single one first, unless it is left empty.
fn checks_of(fields: &Fields) -> Result<Vec<Check>, Error> {
    let single = fields.object("Check").map(|given| (check(&given), given)).filter(|(read, given)| {
        // What is none of a status or a duration is no reason to leave a block out.
        !read.is_empty() || !given.text("Status").is_empty() || given.is_some_negative()
    });
    let others = fields.objects("Checks").into_iter().map(|given| (check(&given), given));
    let all: Vec<_> = single.into_iter().chain(others).collect();
    for (read, _) in &all {
        if let Some(fault) = read.fault() {
            return Err(wrong(format!("Invalid check: {fault}")));
        }
    }
    for (_, given) in &all {
        if status(&given.text("Status")).is_none() {
            return Err(wrong("Status for checks must 'passing', 'warning', 'critical'"));
        }
    }
    Ok(all.into_iter().map(|(read, _)| Check { service_id: String::new(), ..read }).collect())
}

pub(super) fn check_of_its_own(fields: &Fields) -> Result<Check, Error> {
    let mut check = check(fields);
    if check.name.is_empty() {
        return Err(wrong("Missing check name"));
    }
    if status(&fields.text("Status")).is_none() {
        return Err(wrong("Bad check status"));
    }
    if let Some(fault) = check.fault() {
        return Err(wrong(format!("Invalid check: {fault}")));
    }
    if check.id.is_empty() {
        check.id.clone_from(&check.name);
    }
    Ok(check)
}

/// None in it for an empty text, none at all for one that is no status.
pub(super) fn status(text: &str) -> Option<Option<CheckStatus>> {
    match text {
        "" => Some(None),
        "passing" => Some(Some(CheckStatus::Passing)),
        "warning" => Some(Some(CheckStatus::Warning)),
        "critical" => Some(Some(CheckStatus::Critical)),
        _ => None,
    }
}

fn check(fields: &Fields) -> Check {
    let id = fields.text("ID");
    Check {
        id: if id.is_empty() { fields.text("CheckID") } else { id },
        name: fields.text("Name"),
        notes: fields.text("Notes"),
        service_id: fields.text("ServiceID"),
        status: status(&fields.text("Status")).flatten(),
        args: fields.texts("ScriptArgs"),
        shell: fields.text("Shell"),
        docker_container_id: fields.text("DockerContainerID"),
        http: fields.text("HTTP"),
        method: fields.text("Method"),
        header: fields.lists("Header"),
        body: fields.text("Body"),
        tls_skip_verify: fields.is("TLSSkipVerify"),
        tcp: fields.text("TCP"),
        udp: fields.text("UDP"),
        grpc: fields.text("GRPC"),
        grpc_use_tls: fields.is("GRPCUseTLS"),
        alias_node: fields.text("AliasNode"),
        alias_service: fields.text("AliasService"),
        interval: fields.duration("Interval"),
        timeout: fields.duration("Timeout"),
        ttl: fields.duration("TTL"),
        deregister_critical_service_after: fields.duration("DeregisterCriticalServiceAfter"),
        output_max_size: fields.number("OutputMaxSize"),
        success_before_passing: fields.number("SuccessBeforePassing"),
        failures_before_critical: fields.number("FailuresBeforeCritical"),
    }
}
