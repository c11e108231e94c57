//! What definitions of services and checks mean, and Consul's words for what is wrong with them. PURE.
//!
//! `meant` and `load` call it for what `definitions` has read.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::Checks;
use super::definitions::{CHECKS, SERVICES};
use super::keys::is_off;
use super::validate::meta_fault;
use super::values::Values;
use crate::checks::spec::{Check, of_service};
use crate::store::command::{CheckStatus, ServiceFields};

/// A service of this agent, with the checks that came with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    pub fields: ServiceFields,
    /// With IDs and names.
    pub checks: Vec<Check>,
}

const NO_LOCAL_SCRIPTS: &str = "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or \
                                'enable_local_script_checks' to true";

/// Reads services and checks; what is wrong with them is noted in `v`.
pub(super) fn meant(v: &mut Values<'_>, settings: &Checks) -> (Vec<Service>, Vec<Check>) {
    let scripts = settings.enable_script || settings.enable_local_script;
    let services = each(v, SERVICES, |value| service(value, scripts));
    let checks = each(v, CHECKS, |value| check_of_its_own(value, scripts));
    (services, checks)
}

fn each<T>(v: &mut Values<'_>, key: &str, read: impl Fn(&Value) -> Result<T, String>) -> Vec<T> {
    let Some(Value::Array(list)) = v.written.get(key).map(|given| given.value.clone()) else { return Vec::new() };
    let mut all = Vec::new();
    for value in &list {
        match read(value) {
            Ok(one) => all.push(one),
            Err(text) => v.misread(key, text),
        }
    }
    all
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn duration(value: &Value, key: &str) -> Result<Duration, String> {
    match value[key].as_str() {
        None => Ok(Duration::ZERO),
        Some(text) => {
            shared::duration::parse(text).map_err(|fault| format!("check[].{key}: invalid duration: {text:?}: {fault}"))
        }
    }
}

fn service(value: &Value, scripts: bool) -> Result<Service, String> {
    let name = text(value, "name");
    if name.is_empty() {
        return Err(format!("Failed to register service {name:?}: Service name missing"));
    }
    for key in ["kind", "proxy", "connect"] {
        if !is_off(&value[key]) {
            return Err(format!("service {name}: {key} cannot be given: the service mesh is not built"));
        }
    }
    no_token(value, &format!("service {name}"))?;
    let port = port(&value["port"]).ok_or_else(|| format!("service {name}: invalid port: {}", value["port"]))?;
    let meta: BTreeMap<_, _> = (value["meta"].as_object().into_iter().flatten())
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    if let Some(fault) = meta_fault(&meta) {
        return Err(format!("invalid meta for service {name}: {fault}"));
    }
    let weight = |key: &str| value["weights"][key].as_i64().unwrap_or(1);
    let weights = weights(weight("passing"), weight("warning"))
        .map_err(|fault| format!("Invalid weight definition for service {name}: {fault}"))?;
    let address = text(value, "address");
    let mut tagged = BTreeMap::new();
    for (tag, one) in value["tagged_addresses"].as_object().into_iter().flatten() {
        let port =
            self::port(&one["port"]).ok_or_else(|| format!("service {name}: invalid port in tagged_addresses"))?;
        tagged.insert(tag.clone(), (text(one, "address"), port));
    }
    let fields = ServiceFields {
        id: Some(text(value, "id")).filter(|id| !id.is_empty()).unwrap_or_else(|| name.clone()),
        tags: texts(&value["tags"]),
        tagged_addresses: with_family(tagged, &address, port),
        address,
        port,
        meta,
        weights,
        enable_tag_override: value["enable_tag_override"].as_bool().unwrap_or(false),
        name,
    };
    let checks = checks_of(value, &fields, scripts)?;
    Ok(Service { fields, checks })
}

/// Those of the list, then the single one.
fn checks_of(value: &Value, fields: &ServiceFields, scripts: bool) -> Result<Vec<Check>, String> {
    let written = value["checks"].as_array().into_iter().flatten();
    let mut checks = Vec::new();
    for one in written.chain(Some(&value["check"]).filter(|check| !check.is_null())) {
        let check = check(one)?;
        if let Some(fault) = check.fault() {
            return Err(format!("Failed to validate checks for service {:?}: {fault}", fields.name));
        }
        if check.is_script() && !scripts {
            return Err(format!("Failed to register service {:?}: {NO_LOCAL_SCRIPTS}", fields.name));
        }
        checks.push(check);
    }
    Ok(of_service(fields, checks))
}

fn check_of_its_own(value: &Value, scripts: bool) -> Result<Check, String> {
    let mut check = check(value)?;
    let wrong = |why: &str| format!("Failed to register check '{}': {why}", check.name);
    if check.id.is_empty() && check.name.is_empty() {
        return Err(wrong("CheckID missing"));
    }
    if let Some(fault) = check.fault() {
        return Err(wrong(&format!("Check is not valid: {fault}")));
    }
    if check.is_script() && !scripts {
        return Err(wrong(NO_LOCAL_SCRIPTS));
    }
    if check.id.is_empty() {
        check.id.clone_from(&check.name);
    }
    Ok(check)
}

fn no_token(value: &Value, what: &str) -> Result<(), String> {
    match is_off(&value["token"]) {
        true => Ok(()),
        false => Err(format!("{what}: token cannot be given: access control is not built yet")),
    }
}

fn check(value: &Value) -> Result<Check, String> {
    let name = text(value, "name");
    no_token(value, &format!("check '{name}'"))?;
    let status = match text(value, "status").as_str() {
        "passing" => Some(CheckStatus::Passing),
        "warning" => Some(CheckStatus::Warning),
        "critical" => Some(CheckStatus::Critical),
        "" => None,
        other => return Err(format!("check '{name}': status cannot be {other:?}")),
    };
    let number = |key: &str| value[key].as_i64().unwrap_or(0);
    let is = |key: &str| value[key].as_bool().unwrap_or(false);
    let header = value["header"].as_object().into_iter().flatten();
    Ok(Check {
        id: text(value, "id"),
        notes: text(value, "notes"),
        service_id: text(value, "service_id"),
        status,
        args: texts(&value["args"]),
        shell: text(value, "shell"),
        docker_container_id: text(value, "docker_container_id"),
        http: text(value, "http"),
        method: text(value, "method"),
        header: header.map(|(name, values)| (name.clone(), texts(values))).collect(),
        body: text(value, "body"),
        tls_skip_verify: is("tls_skip_verify"),
        tcp: text(value, "tcp"),
        udp: text(value, "udp"),
        grpc: text(value, "grpc"),
        grpc_use_tls: is("grpc_use_tls"),
        alias_node: text(value, "alias_node"),
        alias_service: text(value, "alias_service"),
        interval: duration(value, "interval")?,
        timeout: duration(value, "timeout")?,
        ttl: duration(value, "ttl")?,
        deregister_critical_service_after: duration(value, "deregister_critical_service_after")?,
        output_max_size: number("output_max_size"),
        success_before_passing: number("success_before_passing"),
        failures_before_critical: number("failures_before_critical"),
        name,
    })
}

fn port(value: &Value) -> Option<u16> {
    value.as_i64().map_or(Some(0), |port| u16::try_from(port).ok())
}

/// While passing and while warning, or what is wrong with them.
pub fn weights(passing: i64, warning: i64) -> Result<(u32, u32), &'static str> {
    match (passing, warning) {
        (..1, _) => Err("Passing must be greater than 0"),
        (_, ..0) => Err("Warning must be greater or equal than 0"),
        (65_536.., _) | (_, 65_536..) => Err("DNS Weight must be between 0 and 65535"),
        (passing, warning) => Ok((passing as u32, warning as u32)),
    }
}

/// The addresses of a service, and Consul's own for an address that is an IP.
pub fn with_family(
    mut tagged: BTreeMap<String, (String, u16)>,
    address: &str,
    port: u16,
) -> BTreeMap<String, (String, u16)> {
    if let Ok(ip) = address.parse::<std::net::IpAddr>() {
        let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
        for pool in ["lan", "wan"] {
            tagged.entry(format!("{pool}_{family}")).or_insert_with(|| (address.to_owned(), port));
        }
    }
    tagged
}
