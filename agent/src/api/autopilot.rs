//! `/v1/operator/autopilot/…`: the rules by which servers vote and are cleaned away, and how they are.

use std::fmt;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;
use shared::api::operator::AutopilotConfiguration;
use shared::duration;

use super::body::{self, Fields, Go, INDEX, Object, TEXT, Way, field};
use super::error::{Error, Refusal};
use super::extract::Call;
use super::router::Method;
use super::{json, reply};
use crate::backend;
use crate::store::command::{AutopilotCommand, AutopilotFields, Outcome};
use crate::store::query::{Answer, AutopilotEntry, Query};

/// No rules are that long.
const BODY_BYTES_MAX: usize = 64 << 10;

static RULES: Object = Object {
    name: "AutopilotConfiguration",
    whole: "api.AutopilotConfiguration",
    way: Way::Along,
    fields: &[
        field("CleanupDeadServers", Go::Flag),
        field("LastContactThreshold", Go::StrictSpan),
        field("MaxTrailingLogs", INDEX),
        field("MinQuorum", Go::Whole("uint", 0, u64::MAX as i128)),
        field("ServerStabilizationTime", Go::StrictSpan),
        field("RedundancyZoneTag", TEXT),
        field("DisableUpgradeMigration", Go::Flag),
        field("UpgradeVersionTag", TEXT),
        field("CreateIndex", INDEX),
        field("ModifyIndex", INDEX),
    ],
};

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
    let bad = |what: &str, why: &dyn fmt::Display| Error::BadRequest(format!("Error parsing {what}: {why}"));
    let given = body::take(&mut call, BODY_BYTES_MAX, &RULES).await;
    let fields = given.and_then(|given| rules(&given).map_err(Error::Decode)).map_err(|error| match error {
        Error::Decode(why) => bad("autopilot config", &why),
        other => other,
    })?;
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

/// The whole of the rules: what is not named is off.
fn rules(given: &Fields) -> Result<AutopilotFields, String> {
    let is_negative = |name: &&&str| given.get(name).and_then(Value::as_i64).is_some_and(|nanos| nanos < 0);
    if let Some(name) = ["LastContactThreshold", "ServerStabilizationTime"].iter().find(is_negative) {
        return Err(format!("{name} is below zero or beyond 292 years"));
    }
    Ok(AutopilotFields {
        cleanup_dead_servers: given.is("CleanupDeadServers"),
        last_contact_threshold: given.duration("LastContactThreshold"),
        max_trailing_logs: given.number("MaxTrailingLogs"),
        min_quorum: given.number("MinQuorum"),
        server_stabilization_time: given.duration("ServerStabilizationTime"),
        redundancy_zone_tag: given.text("RedundancyZoneTag"),
        disable_upgrade_migration: given.is("DisableUpgradeMigration"),
        upgrade_version_tag: given.text("UpgradeVersionTag"),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(body: &[u8]) -> Result<AutopilotFields, String> {
        rules(&body::read(body, &RULES)?)
    }

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
        refused(r#"{"Bogus": 1, "LastContactThreshold": "x"}"#, "time: invalid duration \"x\"");
        let negative = "ServerStabilizationTime is below zero or beyond 292 years";
        refused(r#"{"ServerStabilizationTime": -5}"#, negative);
        refused(r#"{"ServerStabilizationTime": 1e30}"#, negative);
    }
}
