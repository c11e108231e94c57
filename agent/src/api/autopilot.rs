//! `/v1/operator/autopilot/…`: the rules by which servers vote and are cleaned away, and how they are.

use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use shared::api::operator::AutopilotConfiguration;
use shared::duration;

use super::error::{Error, Refusal};
use super::extract::Call;
use super::router::Method;
use super::{json, reply};
use crate::backend;
use crate::store::command::{AutopilotCommand, AutopilotFields, Outcome};
use crate::store::query::{Answer, AutopilotEntry, Query};

/// No rules are that long.
const BODY_BYTES_MAX: usize = 64 << 10;

pub(super) async fn configuration(call: Call, method: Method) -> Result<Response, Refusal> {
    match method {
        Method::Put => set(call).await,
        _ => get(&call).await,
    }
}

async fn get(call: &Call) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    call.check_datacenter()?;
    let reply = call.read(Query::Autopilot, params).await?;
    let Answer::Autopilot(entry) = reply.answer else { return Err(Error::Mismatch.into()) };
    let entry = entry.ok_or(Error::NoAutopilot)?;
    reply::json(call, &shown(&entry))
}

async fn set(mut call: Call) -> Result<Response, Refusal> {
    let body = call.take_body(BODY_BYTES_MAX).await?;
    let bad = |what: &str, why: &dyn fmt::Display| Error::BadRequest(format!("Error parsing {what}: {why}"));
    let fields = read(&body).map_err(|why| bad("autopilot config", &why))?;
    let cas = call.number("cas").map_err(|why| bad("cas value", &why))?;
    call.check_datacenter()?;
    let command = match cas {
        Some(index) => AutopilotCommand::Cas { fields, index },
        None => AutopilotCommand::Set { fields },
    };
    let (_, outcome) = call.context.backend.write(command.into()).await?;
    match outcome {
        Outcome::Done => reply::json(&call, &true),
        Outcome::Held(held) => reply::json(&call, &held),
        Outcome::Refused(why) => Err(backend::Error::Refused(why).into()),
    }
}

/// 429, as Consul says that somebody is not well, with the same body.
pub(super) async fn health(call: Call, _: Method) -> Result<Response, Refusal> {
    call.read_consistency()?;
    call.check_datacenter()?;
    let health = call.context.backend.health().await?;
    if health.healthy {
        return reply::json(&call, &health);
    }
    Ok(reply::text(StatusCode::TOO_MANY_REQUESTS, json::encode(&health, call.is_pretty())?))
}

fn shown(entry: &AutopilotEntry) -> AutopilotConfiguration {
    let fields = &entry.fields;
    AutopilotConfiguration {
        cleanup_dead_servers: fields.cleanup_dead_servers,
        last_contact_threshold: duration::format(fields.last_contact_threshold),
        max_trailing_logs: fields.max_trailing_logs,
        min_quorum: fields.min_quorum,
        server_stabilization_time: duration::format(fields.server_stabilization_time),
        redundancy_zone_tag: fields.redundancy_zone_tag.clone(),
        disable_upgrade_migration: fields.disable_upgrade_migration,
        upgrade_version_tag: fields.upgrade_version_tag.clone(),
        create_index: entry.create_index,
        modify_index: entry.modify_index,
    }
}

/// An object's fields in the order written, for the first fault is the one told.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// The whole of the rules: what is not named is off. Faults are told in Go's words.
fn read(body: &[u8]) -> Result<AutopilotFields, String> {
    let mut fields = AutopilotFields::default();
    match body.trim_ascii_start().first() {
        None => return Err("EOF".to_owned()),
        Some(b'{') => {}
        Some(other) if !b"[\"-0123456789tfn".contains(other) => {
            return Err(format!("invalid character {:?} looking for beginning of value", char::from(*other)));
        }
        Some(_) => {
            let value: Value = first(body)?;
            return match value {
                Value::Null => Ok(fields),
                other => Err(format!(
                    "json: cannot unmarshal {} into Go value of type api.AutopilotConfiguration",
                    kind(&other)
                )),
            };
        }
    }
    let Pairs(pairs) = first(body)?;
    for (name, value) in pairs {
        set_field(&mut fields, &name, &value)?;
    }
    Ok(fields)
}

/// As Go's decoder, which looks no further.
fn first<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, String> {
    match serde_json::Deserializer::from_slice(body).into_iter().next() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) if error.is_eof() => Err("unexpected EOF".to_owned()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("EOF".to_owned()),
    }
}

fn set_field(fields: &mut AutopilotFields, name: &str, value: &Value) -> Result<(), String> {
    match name.to_lowercase().as_str() {
        "cleanupdeadservers" => put(&mut fields.cleanup_dead_servers, "CleanupDeadServers", value),
        "lastcontactthreshold" => put_duration(&mut fields.last_contact_threshold, value),
        "maxtrailinglogs" => put(&mut fields.max_trailing_logs, "MaxTrailingLogs", value),
        "minquorum" => put(&mut fields.min_quorum, "MinQuorum", value),
        "serverstabilizationtime" => put_duration(&mut fields.server_stabilization_time, value),
        "redundancyzonetag" => put(&mut fields.redundancy_zone_tag, "RedundancyZoneTag", value),
        "disableupgrademigration" => put(&mut fields.disable_upgrade_migration, "DisableUpgradeMigration", value),
        "upgradeversiontag" => put(&mut fields.upgrade_version_tag, "UpgradeVersionTag", value),
        "createindex" => put(&mut 0_u64, "CreateIndex", value),
        "modifyindex" => put(&mut 0_u64, "ModifyIndex", value),
        _ => Err(format!("json: unknown field {name:?}")),
    }
}

/// A value that Go takes for a field of this kind, and its name there.
trait Field: Sized {
    fn of(value: &Value) -> Option<Self>;
    fn kind(name: &str) -> &'static str;
}

impl Field for bool {
    fn of(value: &Value) -> Option<Self> {
        value.as_bool()
    }

    fn kind(_: &str) -> &'static str {
        "bool"
    }
}

impl Field for u64 {
    fn of(value: &Value) -> Option<Self> {
        value.as_u64()
    }

    fn kind(name: &str) -> &'static str {
        if name == "MinQuorum" { "uint" } else { "uint64" }
    }
}

impl Field for String {
    fn of(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }

    fn kind(_: &str) -> &'static str {
        "string"
    }
}

/// Nothing for null, as Go.
fn put<T: Field>(field: &mut T, name: &str, value: &Value) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    *field = T::of(value).ok_or_else(|| {
        let to = T::kind(name);
        let given = match value {
            Value::Number(number) if to.starts_with("uint") => format!("number {number}"),
            other => kind(other).to_owned(),
        };
        format!("json: cannot unmarshal {given} into Go struct field AutopilotConfiguration.{name} of type {to}")
    })?;
    Ok(())
}

/// A text such as `200ms`, or a number of nanoseconds.
fn put_duration(field: &mut Duration, value: &Value) -> Result<(), String> {
    *field = match value {
        Value::Null => return Ok(()),
        Value::String(text) => duration::parse(text).map_err(|error| error.to_string())?,
        Value::Number(number) => match number.as_f64() {
            Some(nanos) if (0.0..9.2e18).contains(&nanos) => Duration::from_nanos(nanos as u64),
            _ => return Err(format!("time: invalid duration \"{number}\"")),
        },
        other => return Err(format!("strconv.ParseFloat: parsing {:?}: invalid syntax", other.to_string())),
    };
    Ok(())
}

/// What Go calls a value of JSON.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(body: &str, why: &str) {
        assert_eq!(read(body.as_bytes()), Err(why.to_owned()), "{body}");
    }

    #[test]
    fn rules_are_read_as_go_reads_them() {
        let full = r#"{"cleanupdeadservers": true, "LastContactThreshold": "1m10.5s", "MaxTrailingLogs": 7,
            "MinQuorum": 3, "ServerStabilizationTime": 1500, "RedundancyZoneTag": null, "UpgradeVersionTag": "v",
            "ModifyIndex": 9} and more"#;
        let expected = AutopilotFields {
            cleanup_dead_servers: true,
            last_contact_threshold: Duration::from_millis(70_500),
            max_trailing_logs: 7,
            min_quorum: 3,
            server_stabilization_time: Duration::from_nanos(1500),
            upgrade_version_tag: "v".to_owned(),
            ..AutopilotFields::default()
        };
        assert_eq!(read(full.as_bytes()), Ok(expected));
        for nothing in ["{}", "null"] {
            assert_eq!(read(nothing.as_bytes()), Ok(AutopilotFields::default()));
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_gos_words() {
        let field = |given: &str, name: &str, kind: &str| {
            format!("json: cannot unmarshal {given} into Go struct field AutopilotConfiguration.{name} of type {kind}")
        };
        refused("", "EOF");
        refused("{\"MinQuorum\": 1", "unexpected EOF");
        refused("x", "invalid character 'x' looking for beginning of value");
        refused("[]", "json: cannot unmarshal array into Go value of type api.AutopilotConfiguration");
        refused(r#"{"Nonsense": 1}"#, "json: unknown field \"Nonsense\"");
        refused(r#"{"CleanupDeadServers": "x"}"#, &field("string", "CleanupDeadServers", "bool"));
        refused(r#"{"MaxTrailingLogs": -1}"#, &field("number -1", "MaxTrailingLogs", "uint64"));
        refused(r#"{"MinQuorum": 1.5}"#, &field("number 1.5", "MinQuorum", "uint"));
        refused(r#"{"RedundancyZoneTag": 1}"#, &field("number", "RedundancyZoneTag", "string"));
        refused(r#"{"LastContactThreshold": "x"}"#, "time: invalid duration \"x\"");
        refused(r#"{"LastContactThreshold": true}"#, "strconv.ParseFloat: parsing \"true\": invalid syntax");
        refused(r#"{"ServerStabilizationTime": -5}"#, "time: invalid duration \"-5\"");
    }
}
