//! Services as files define them: which keys a definition has, what they mean, and Consul's words for
//! what is wrong. PURE.
//!
//! `document` holds each definition against the keys; `meant` asks what they mean when all is read.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::document::{Format, fit, go_type, single};
use super::keys::Kind::{self, Any, Bool, Int, Text, Texts};
use super::problem::BadFile;
use super::validate::meta_fault;
use super::values::Values;

/// Where all definitions are gathered, whichever key they were written under.
pub(super) const KEY: &str = "services";

/// Consul's, where a check says nothing.
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);

/// Consul runs none more often.
const CHECK_INTERVAL_MIN: Duration = Duration::from_secs(1);

const SERVICE: &[(&str, Kind)] = &[
    ("name", Text),
    ("id", Text),
    ("tags", Texts),
    ("address", Text),
    ("port", Int),
    ("meta", Kind::Map),
    ("enable_tag_override", Bool),
    ("token", Text),
    ("kind", Text),
    ("proxy", Any),
    ("connect", Any),
];

const CHECK: &[(&str, Kind)] = &[
    ("id", Text),
    ("name", Text),
    ("notes", Text),
    ("status", Text),
    ("args", Texts),
    ("interval", Kind::Duration),
    ("timeout", Kind::Duration),
    ("service_id", Text),
    ("token", Text),
    ("http", Text),
    ("header", Any),
    ("method", Text),
    ("body", Text),
    ("tcp", Text),
    ("ttl", Kind::Duration),
    ("docker_container_id", Text),
    ("shell", Text),
    ("grpc", Text),
    ("grpc_use_tls", Bool),
    ("tls_skip_verify", Bool),
    ("alias_node", Text),
    ("alias_service", Text),
    ("deregister_critical_service_after", Kind::Duration),
    ("output_max_size", Int),
    ("success_before_passing", Int),
    ("failures_before_critical", Int),
];

/// Keys of a check that it can do without being another kind of check.
const CHECK_WORKS: &[&str] = &["id", "name", "notes", "status", "args", "interval", "timeout"];

/// A service of this agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub id: String,
    pub name: String,
    pub tags: Vec<String>,
    pub address: String,
    pub port: u16,
    pub meta: BTreeMap<String, String>,
    /// Address and port by tag; Consul's own ones for an address that is an IP are among them.
    pub tagged_addresses: BTreeMap<String, (String, u16)>,
    /// While passing and while warning.
    pub weights: (u32, u32),
    pub enable_tag_override: bool,
    pub checks: Vec<Check>,
}

/// A script that says how a service is: its exit code is the status, what it prints the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub id: String,
    pub name: String,
    pub notes: String,
    /// Before it has run for the first time.
    pub status: InitialStatus,
    pub args: Vec<String>,
    pub interval: Duration,
    pub timeout: Duration,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InitialStatus {
    Passing,
    Warning,
    #[default]
    Critical,
}

/// The definitions below `service` or `services`, with the keys in lower case; what is wrong goes to `bad`.
pub(super) fn read(path: &str, value: &Value, format: Format, bad: &mut BadFile) -> Vec<Value> {
    let mut reader = Reader { format, bad };
    match (path.eq_ignore_ascii_case("service"), value) {
        (true, value) => reader.block(path, value, Reader::service).into_iter().collect(),
        (false, Value::Array(list)) => {
            let each = list.iter().enumerate();
            each.filter_map(|(i, one)| reader.block(&format!("{path}[{i}]"), one, Reader::service)).collect()
        }
        (false, Value::Object(_)) => {
            reader.wrong(format!("'{path}': source data must be an array or slice, got map"));
            Vec::new()
        }
        (false, other) => {
            let found = go_type(other, format);
            reader.wrong(format!("'{path}': source data must be an array or slice, got {found}"));
            Vec::new()
        }
    }
}

struct Reader<'a> {
    format: Format,
    bad: &'a mut BadFile,
}

impl Reader<'_> {
    fn wrong(&mut self, text: String) {
        self.bad.types.push(text);
    }

    fn block(
        &mut self,
        path: &str,
        value: &Value,
        inside: fn(&mut Self, &str, &Map<String, Value>) -> Value,
    ) -> Option<Value> {
        match single(value) {
            Value::Object(object) => return Some(inside(self, path, object)),
            Value::Array(_) => self.wrong(format!("'{path}' expected a map, got 'slice'")),
            other => {
                let found = go_type(other, self.format);
                self.wrong(format!("'{path}' expected a map, got '{found}'"));
            }
        }
        None
    }

    fn service(&mut self, path: &str, object: &Map<String, Value>) -> Value {
        self.keys(path, object, SERVICE, |reader, path, name, value| match name {
            "check" => reader.block(path, value, Reader::check),
            "checks" => reader.checks(path, value),
            "weights" => reader.block(path, value, Reader::weights),
            "tagged_addresses" => reader.block(path, value, Reader::addresses),
            _ => {
                reader.bad.unknown.push((path.to_owned(), None));
                None
            }
        })
    }

    fn check(&mut self, path: &str, object: &Map<String, Value>) -> Value {
        self.keys(path, object, CHECK, Self::unknown)
    }

    fn weights(&mut self, path: &str, object: &Map<String, Value>) -> Value {
        self.keys(path, object, &[("passing", Int), ("warning", Int)], Self::unknown)
    }

    fn address(&mut self, path: &str, object: &Map<String, Value>) -> Value {
        self.keys(path, object, &[("address", Text), ("port", Int)], Self::unknown)
    }

    fn addresses(&mut self, path: &str, object: &Map<String, Value>) -> Value {
        let each = object.iter().filter_map(|(name, value)| {
            let address = self.block(&format!("{path}[{name}]"), value, Self::address)?;
            Some((name.clone(), address))
        });
        Value::Object(each.collect())
    }

    fn checks(&mut self, path: &str, value: &Value) -> Option<Value> {
        let Value::Array(list) = value else {
            let found = go_type(value, self.format);
            self.wrong(format!("'{path}': source data must be an array or slice, got {found}"));
            return None;
        };
        let each = list.iter().enumerate();
        Some(each.filter_map(|(i, one)| self.block(&format!("{path}[{i}]"), one, Self::check)).collect())
    }

    fn unknown(&mut self, path: &str, _: &str, _: &Value) -> Option<Value> {
        self.bad.unknown.push((path.to_owned(), None));
        None
    }

    fn keys(
        &mut self,
        path: &str,
        object: &Map<String, Value>,
        table: &[(&'static str, Kind)],
        otherwise: impl Fn(&mut Self, &str, &str, &Value) -> Option<Value>,
    ) -> Value {
        let mut read = Map::new();
        for (written, value) in object.iter().filter(|(_, value)| !value.is_null()) {
            let (name, below) = (written.to_lowercase(), format!("{path}.{written}"));
            let value = match table.iter().find(|(known, _)| *known == name) {
                Some((_, kind)) => {
                    fit(*kind, value, &below, self.format).map_err(|mut f| self.bad.types.append(&mut f)).ok()
                }
                None => otherwise(self, &below, &name, value),
            };
            read.extend(value.map(|value| (name, value)));
        }
        Value::Object(read)
    }
}

/// What the definitions mean; what is wrong with them is noted in `v`.
pub(super) fn meant(v: &mut Values<'_>, may_run_scripts: bool) -> Vec<Service> {
    let Some(Value::Array(list)) = v.written.get(KEY).map(|given| given.value.clone()) else { return Vec::new() };
    let mut services = Vec::new();
    for one in &list {
        match service(one) {
            Ok(service) if service.checks.is_empty() || may_run_scripts => services.push(service),
            Ok(service) => {
                let text = "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or \
                            'enable_local_script_checks' to true";
                v.misread(KEY, format!("Failed to register service {:?}: {text}", service.name));
            }
            Err(text) => v.misread(KEY, text),
        }
    }
    services
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    let list = value[key].as_array().into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn duration(value: &Value, key: &str) -> Result<Duration, String> {
    match value[key].as_str() {
        None => Ok(Duration::ZERO),
        Some(text) => {
            shared::duration::parse(text).map_err(|fault| format!("check[].{key}: invalid duration: {text:?}: {fault}"))
        }
    }
}

fn service(value: &Value) -> Result<Service, String> {
    let name = text(value, "name");
    if name.is_empty() {
        return Err(format!("Failed to register service {name:?}: Service name missing"));
    }
    for key in ["token", "kind", "proxy", "connect"] {
        if !super::keys::is_off(&value[key]) {
            let why = if key == "token" { "access control is not built yet" } else { "the service mesh is not built" };
            return Err(format!("service {name}: {key} cannot be given: {why}"));
        }
    }
    let port = port(&value["port"]).ok_or_else(|| format!("service {name}: invalid port: {}", value["port"]))?;
    let meta: BTreeMap<_, _> = (value["meta"].as_object().into_iter().flatten())
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    if let Some(fault) = meta_fault(&meta) {
        return Err(format!("invalid meta for service {name}: {fault}"));
    }
    let weights =
        weights(&value["weights"]).map_err(|fault| format!("Invalid weight definition for service {name}: {fault}"))?;
    let id = Some(text(value, "id")).filter(|id| !id.is_empty()).unwrap_or_else(|| name.clone());
    let written = value["checks"].as_array().into_iter().flatten();
    let written: Vec<_> = written.chain(Some(&value["check"]).filter(|check| !check.is_null())).collect();
    let mut checks = Vec::new();
    for (i, one) in written.iter().enumerate() {
        let of_several = if written.len() > 1 { format!(":{}", i + 1) } else { String::new() };
        let standard = (format!("service:{id}{of_several}"), format!("Service '{name}' check"));
        checks.push(check(one, standard).map_err(|fault| match fault.starts_with("check[]") {
            true => fault,
            false => format!("Failed to register service {name:?}: {fault}"),
        })?);
    }
    let address = text(value, "address");
    let tagged_addresses = tagged_addresses(&value["tagged_addresses"], &address, port)
        .ok_or_else(|| format!("service {name}: invalid port in tagged_addresses"))?;
    Ok(Service {
        id,
        name,
        tags: texts(value, "tags"),
        address,
        port,
        meta,
        tagged_addresses,
        weights,
        enable_tag_override: value["enable_tag_override"].as_bool().unwrap_or(false),
        checks,
    })
}

fn port(value: &Value) -> Option<u16> {
    value.as_i64().map_or(Some(0), |port| u16::try_from(port).ok())
}

fn weights(value: &Value) -> Result<(u32, u32), String> {
    let weight = |key: &str| value[key].as_i64().unwrap_or(1);
    match (weight("passing"), weight("warning")) {
        (..1, _) => Err("Passing must be greater than 0".to_owned()),
        (_, ..0) => Err("Warning must be greater or equal than 0".to_owned()),
        (65_536.., _) | (_, 65_536..) => Err("DNS Weight must be between 0 and 65535".to_owned()),
        (passing, warning) => Ok((passing as u32, warning as u32)),
    }
}

/// Those written, and Consul's for an address that is an IP. None for a port that is none.
fn tagged_addresses(value: &Value, address: &str, of_service: u16) -> Option<BTreeMap<String, (String, u16)>> {
    let mut tagged = BTreeMap::new();
    for (tag, one) in value.as_object().into_iter().flatten() {
        tagged.insert(tag.clone(), (text(one, "address"), port(&one["port"])?));
    }
    if let Ok(ip) = address.parse::<std::net::IpAddr>() {
        let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
        for pool in ["lan", "wan"] {
            let standard = || (address.to_owned(), of_service);
            tagged.entry(format!("{pool}_{family}")).or_insert_with(standard);
        }
    }
    Some(tagged)
}

fn check(value: &Value, (id, name): (String, String)) -> Result<Check, String> {
    let given = |key: &str, standard| Some(text(value, key)).filter(|text| !text.is_empty()).unwrap_or(standard);
    let (id, name) = (given("id", id), given("name", name));
    let other = value
        .as_object()
        .into_iter()
        .flatten()
        .find(|(key, value)| !CHECK_WORKS.contains(&key.as_str()) && !super::keys::is_off(value));
    if let Some((key, _)) = other {
        return Err(format!("check '{name}': {key} is not built yet, only scripts are run: args and interval"));
    }
    let (args, interval) = (texts(value, "args"), duration(value, "interval")?);
    if args.is_empty() {
        return Err(format!("check '{name}' is not valid: it has no args, and only scripts are run yet"));
    }
    if interval.is_zero() {
        return Err(format!("check '{name}' is not valid: Interval must be > 0 for Script, HTTP, or TCP checks"));
    }
    let status = match text(value, "status").as_str() {
        "passing" => InitialStatus::Passing,
        "warning" => InitialStatus::Warning,
        "" | "critical" => InitialStatus::Critical,
        other => return Err(format!("check '{name}': status cannot be {other:?}")),
    };
    let timeout = Some(duration(value, "timeout")?).filter(|t| !t.is_zero()).unwrap_or(CHECK_TIMEOUT);
    let interval = interval.max(CHECK_INTERVAL_MIN);
    Ok(Check { id, name, notes: text(value, "notes"), status, args, interval, timeout })
}
