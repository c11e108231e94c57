//! Services and checks as files define them: which keys a definition has and of what kind they are. PURE.
//!
//! `document` holds each definition against the keys; `defined` asks what they mean when all is read.

use serde_json::{Map, Value};

use super::document::{Format, fit, go_type, single};
use super::keys::Kind::{self, Any, Bool, Int, Text, Texts};
use super::problem::BadFile;

/// Where all definitions of services are gathered, whichever key they were written under.
pub(super) const SERVICES: &str = "services";
/// The same for checks that stand outside of services.
pub(super) const CHECKS: &str = "checks";

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
    ("method", Text),
    ("body", Text),
    ("tcp", Text),
    ("udp", Text),
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

/// Consul: names that older versions wrote in one word, for those they stand for.
const OF_OLD: &[(&str, &str)] = &[
    ("deregistercriticalserviceafter", "deregister_critical_service_after"),
    ("dockercontainerid", "docker_container_id"),
    ("enabletagoverride", "enable_tag_override"),
    ("scriptargs", "args"),
    ("serviceid", "service_id"),
    ("taggedaddresses", "tagged_addresses"),
    ("tlsskipverify", "tls_skip_verify"),
];

/// The key under which the definitions of `path` are gathered, if it has any.
pub(super) fn gathered(path: &str) -> Option<&'static str> {
    match path {
        "service" | SERVICES => Some(SERVICES),
        "check" | CHECKS => Some(CHECKS),
        _ => None,
    }
}

/// The definitions below a key of [`gathered`], with the keys in lower case; what is wrong goes to `bad`.
pub(super) fn read(path: &str, value: &Value, format: Format, bad: &mut BadFile) -> Vec<Value> {
    let mut reader = Reader { format, bad };
    let lower = path.to_lowercase();
    let inside = if gathered(&lower) == Some(CHECKS) { Reader::check } else { Reader::service };
    match (matches!(lower.as_str(), "service" | "check"), value) {
        (true, value) => reader.block(path, value, inside).into_iter().collect(),
        (false, Value::Array(list)) => {
            let each = list.iter().enumerate();
            each.filter_map(|(i, one)| reader.block(&format!("{path}[{i}]"), one, inside)).collect()
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
        self.keys(path, object, CHECK, |reader, path, name, value| match name {
            "header" => reader.block(path, value, Reader::header),
            _ => reader.unknown(path, name, value),
        })
    }

    fn header(&mut self, path: &str, object: &Map<String, Value>) -> Value {
        let each = object.iter().filter_map(|(name, value)| {
            let below = format!("{path}[{name}]");
            let values = fit(Texts, value, &below, self.format).map_err(|mut f| self.bad.types.append(&mut f));
            Some((name.clone(), values.ok()?))
        });
        Value::Object(each.collect())
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
            let (lower, below) = (written.to_lowercase(), format!("{path}.{written}"));
            let name = OF_OLD.iter().find(|(old, _)| *old == lower).map_or(lower, |(_, now)| (*now).to_owned());
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
