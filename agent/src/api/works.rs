//! How a check works, as the catalog is told of it for whoever runs it: read, put in Consul's form,
//! never acted upon. Called by `register`.

use std::time::Duration;

use serde_json::{Map, Value};

use super::body::{Fields, Go, LISTS, Object, TEXT, TEXTS, Way, field};

pub(super) static DEFINITION: Object = Object {
    name: "HealthCheckDefinition",
    whole: "struct { Interval interface {}; Timeout interface {}; DeregisterCriticalServiceAfter interface {}; TTL interface {}; *structs.Alias }",
    way: Way::Loose,
    fields: &[
        field("Interval", Go::Span),
        field("OutputMaxSize", Go::Whole("uint", 0, u64::MAX as i128)),
        field("Timeout", Go::Span),
        field("DeregisterCriticalServiceAfter", Go::Span),
        field("HTTP", TEXT),
        field("TLSSkipVerify", Go::Flag),
        field("Header", LISTS),
        field("Method", TEXT),
        field("Body", TEXT),
        field("TCP", TEXT),
        field("ScriptArgs", TEXTS),
        field("DockerContainerID", TEXT),
        field("Shell", TEXT),
        field("GRPC", TEXT),
        field("GRPCUseTLS", Go::Flag),
        field("AliasNode", TEXT),
        field("AliasService", TEXT),
        field("TTL", Go::Span),
    ],
};

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Works {
    /// The check's type as it follows from the rest; empty when nothing follows.
    pub(super) kind: &'static str,
    /// Consul's JSON of it; empty when nothing is told.
    pub(super) definition: String,
}

/// Puts what [`DEFINITION`] let through in Consul's form.
pub(super) fn read(given: Option<&Fields>) -> Works {
    let Some(given) = given else { return Works::default() };
    let mut told = Map::new();
    // Consul writes the fields in this order.
    for field in DEFINITION.fields {
        let Some(value) = given.get(field.name).filter(|value| !is_nothing(value)) else { continue };
        let value = match (field.name, value.as_i64()) {
            ("Interval" | "Timeout" | "DeregisterCriticalServiceAfter", Some(nanos)) => duration(nanos).into(),
            ("Header", _) => sorted(value),
            _ => value.clone(),
        };
        told.insert(field.name.to_owned(), value);
    }
    let kind = kind(&told);
    let definition = if told.is_empty() { String::new() } else { Value::Object(told).to_string() };
    Works { kind, definition }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn kind(told: &Map<String, Value>) -> &'static str {
    let has = |name: &str| told.contains_key(name);
    let is_repeated = told.get("Interval").and_then(Value::as_str).is_some_and(|text| !text.starts_with('-'));
    if has("GRPC") && is_repeated {
        "grpc"
    } else if has("HTTP") && is_repeated {
        "http"
    } else if told.get("TTL").and_then(Value::as_i64).is_some_and(|nanos| nanos > 0) {
        "ttl"
    } else if has("TCP") && is_repeated {
        "tcp"
    } else if has("AliasNode") || has("AliasService") {
        "alias"
    } else if has("ScriptArgs") && has("DockerContainerID") && is_repeated {
        "docker"
    } else if has("ScriptArgs") {
        "script"
    } else {
        ""
    }
}

fn duration(nanos: i64) -> String {
    let size = shared::duration::format(Duration::from_nanos(nanos.unsigned_abs()));
    if nanos < 0 { format!("-{size}") } else { size }
}

/// Go writes a map by its names.
fn sorted(value: &Value) -> Value {
    let Value::Object(map) = value else { return value.clone() };
    let mut pairs: Vec<_> = map.iter().collect();
    pairs.sort_by_key(|(name, _)| name.as_str());
    Value::Object(pairs.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::body;

    #[track_caller]
    fn check(given: Value, kind: &'static str, definition: &str) {
        let told = body::read(given.to_string().as_bytes(), &DEFINITION).map(|fields| read(Some(&fields)));
        assert_eq!(told, Ok(Works { kind, definition: definition.to_owned() }), "{given}");
    }

    #[test]
    fn a_definition_is_told_in_consuls_form() {
        check(
            json!({"TCP": "localhost:8888", "Timeout": "1s", "Interval": "5s", "DeregisterCriticalServiceAfter": "30s"}),
            "tcp",
            r#"{"Interval":"5s","Timeout":"1s","DeregisterCriticalServiceAfter":"30s","TCP":"localhost:8888"}"#,
        );
        check(
            json!({"Header": {"b": ["1"], "a": ["x"]}, "HTTP": "http://x", "Interval": 90_000_000_000_i64, "Timeout": 1.5}),
            "http",
            r#"{"Interval":"1m30s","Timeout":"1ns","HTTP":"http://x","Header":{"a":["x"],"b":["1"]}}"#,
        );
        check(json!({"TTL": "10s"}), "ttl", r#"{"TTL":10000000000}"#);
        check(json!({"GRPC": "x:1"}), "", r#"{"GRPC":"x:1"}"#);
        check(json!({"Interval": -5}), "", r#"{"Interval":"-5ns"}"#);
        check(json!({"AliasService": "x"}), "alias", r#"{"AliasService":"x"}"#);
        check(
            json!({"ScriptArgs": ["a"], "DockerContainerID": "x"}),
            "script",
            r#"{"ScriptArgs":["a"],"DockerContainerID":"x"}"#,
        );
        check(json!({"HTTP": "", "Interval": "0s", "TLSSkipVerify": false}), "", "");
        check(json!({"Bogus": 1}), "", "");
    }
}
