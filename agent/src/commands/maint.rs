//! `maint`: takes a node or a service out of answers and back, and says what is out.

use std::collections::BTreeMap;

use serde::Deserialize;
use shared::api::health::HealthCheck;

use super::{Call, Ended, Reach, Verb, failing};
use crate::checks::spec::{NODE_MAINTENANCE, SERVICE_MAINTENANCE};
use crate::flags::{Flag, Kind};

pub(super) const MAINT: Verb = Verb {
    path: "maint",
    synopsis: "Controls the maintenance mode of a node or a service",
    form: "[options]",
    about: "  Takes the agent's node, or one of its services, out of the answers of DNS\n  \
            and HTTP, and back, by a critical check that is there for as long. It lasts\n  \
            over restarts of the agent.\n\n  \
            Without options it says what is under maintenance.",
    flags: &[
        Flag::new("disable", Kind::Bool, "End the maintenance."),
        Flag::new("enable", Kind::Bool, "Begin the maintenance."),
        Flag::new("reason", Kind::String, "Why, for those who look at the check."),
        Flag::new("service", Kind::String, "The ID of the service; the whole node if nothing is said."),
    ],
    reach: Reach::Agent,
    run: |call| Box::pin(async move { Ended::from(maint(call).await) }),
};

async fn maint(call: &Call) -> Result<Ended, Ended> {
    let (enable, disable) = (call.flags.is_on("enable"), call.flags.is_on("disable"));
    let (service, reason) = (call.flags.text("service"), call.flags.text("reason"));
    if enable && disable {
        return Err(Ended::failed("Only one of -enable or -disable may be provided"));
    }
    if !enable && !reason.is_empty() {
        return Err(Ended::failed("Reason may only be provided with -enable"));
    }
    if !enable && !disable && !service.is_empty() {
        return Err(Ended::failed("Service requires either -enable or -disable"));
    }
    if !enable && !disable {
        return shown(call).await;
    }
    let path = match service {
        "" => "/v1/agent/maintenance".to_owned(),
        id => format!("/v1/agent/service/maintenance/{id}"),
    };
    let what = if service.is_empty() { "node" } else { "service" };
    let doing = if enable { "enabling" } else { "disabling" };
    let client = call.client()?;
    let request = client.put(&path).query("enable", enable).query_some("reason", enable.then_some(reason));
    request.send().await.map_err(failing(&format!("Error {doing} {what} maintenance")))?;
    let done = if enable { "enabled" } else { "disabled" };
    Ok(Ended::said(match service {
        "" => format!("Node maintenance is now {done}\n"),
        id => format!("Service maintenance is now {done} for {id:?}\n"),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Itself {
    config: Named,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    node_name: String,
}

async fn shown(call: &Call) -> Result<Ended, Ended> {
    let client = call.client()?;
    let itself: Itself = client.get("/v1/agent/self").json().await.map_err(failing("Error querying Consul agent"))?;
    let checks: BTreeMap<String, HealthCheck> =
        client.get("/v1/agent/checks").json().await.map_err(failing("Error getting checks"))?;
    let mut text = String::new();
    for check in checks.values() {
        if check.check_id == NODE_MAINTENANCE {
            text += &format!("Node:\n  Name:   {}\n  Reason: {}\n\n", itself.config.node_name, check.notes);
        } else if check.check_id.starts_with(SERVICE_MAINTENANCE) {
            text += &format!("Service:\n  ID:     {}\n  Reason: {}\n\n", check.service_id, check.notes);
        }
    }
    Ok(Ended::said(text))
}
