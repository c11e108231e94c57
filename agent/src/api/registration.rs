//! `/v1/agent/service/…`, `/v1/agent/check/…`, `/v1/agent/maintenance`: what requests register with this agent,
//! take out, report and switch. The definitions themselves are `definition`'s business.

use axum::response::Response;

use super::body::{self, Object, TEXT, Way, field};
use super::definition;
use super::error::{Error, Refusal};
use super::extract::Call;
use super::reply;
use super::router::Method;
use crate::local::Change;
use crate::store::command::CheckStatus;

/// Far more than a definition needs; every server keeps what is registered.
const BYTES_MAX: usize = 1024 * 1024;

static UPDATE: Object = Object {
    name: "checkUpdate",
    whole: "agent.checkUpdate",
    way: Way::Along,
    fields: &[field("Status", TEXT), field("Output", TEXT)],
};

pub(super) async fn register_service(mut call: Call, _: Method) -> Result<Response, Refusal> {
    let fields = body::take(&mut call, BYTES_MAX, &definition::SERVICE).await?;
    let service = definition::service(&fields)?;
    let replaced = call.params.get("replace-existing-checks").is_some_and(|value| matches!(value, "" | "true"));
    call.context.local.change(Change::Service { service, replaced }).await?;
    Ok(reply::empty())
}

pub(super) async fn deregister_service(call: Call, _: Method) -> Result<Response, Refusal> {
    let id = call.tail.clone();
    if id.is_empty() {
        return Err(Error::NoId("ServiceID missing").into());
    }
    let was_there = call.context.local.change(Change::NoService(id)).await?;
    if !was_there {
        let error = format!("Service {{{:?} {{}}}} does not exist", call.tail);
        tracing::warn!(target: "agent", service = %call.tail, %error, "Failed to deregister service");
    }
    Ok(reply::empty())
}

/// `?enable=`, as Go's `ParseBool` reads it.
fn enable(call: &Call) -> Result<bool, Error> {
    match call.params.get("enable") {
        None => Err(Error::Definition("Missing value for enable".to_owned())),
        Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
        Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
        Some(other) => Err(Error::Definition(format!("Invalid value for enable: {other:?}"))),
    }
}

pub(super) async fn service_maintenance(call: Call, _: Method) -> Result<Response, Refusal> {
    let id = call.tail.clone();
    if id.is_empty() {
        return Err(Error::Definition("Missing service ID".to_owned()).into());
    }
    maintain(&call, Some(id)).await
}

pub(super) async fn node_maintenance(call: Call, _: Method) -> Result<Response, Refusal> {
    maintain(&call, None).await
}

async fn maintain(call: &Call, service: Option<String>) -> Result<Response, Refusal> {
    let reason = enable(call)?.then(|| call.params.get("reason").unwrap_or_default().to_owned());
    call.context.local.maintain(service.as_deref(), reason.as_deref()).await?;
    Ok(reply::empty())
}

pub(super) async fn register_check(mut call: Call, _: Method) -> Result<Response, Refusal> {
    let fields = body::take(&mut call, BYTES_MAX, &definition::CHECK).await?;
    let check = definition::check_of_its_own(&fields)?;
    call.context.local.change(Change::Check(Box::new(check))).await?;
    Ok(reply::empty())
}

pub(super) async fn deregister_check(call: Call, _: Method) -> Result<Response, Refusal> {
    let id = call.tail.clone();
    if id.is_empty() {
        return Err(Error::NoId("CheckID missing").into());
    }
    call.context.local.change(Change::NoCheck(id)).await?;
    Ok(reply::empty())
}

pub(super) async fn pass(call: Call, _: Method) -> Result<Response, Refusal> {
    let note = call.params.get("note").unwrap_or_default().to_owned();
    renew(&call, CheckStatus::Passing, note).await
}

pub(super) async fn warn(call: Call, _: Method) -> Result<Response, Refusal> {
    let note = call.params.get("note").unwrap_or_default().to_owned();
    renew(&call, CheckStatus::Warning, note).await
}

pub(super) async fn fail(call: Call, _: Method) -> Result<Response, Refusal> {
    let note = call.params.get("note").unwrap_or_default().to_owned();
    renew(&call, CheckStatus::Critical, note).await
}

pub(super) async fn update(mut call: Call, _: Method) -> Result<Response, Refusal> {
    let fields = body::take(&mut call, BYTES_MAX, &UPDATE).await?;
    let given = fields.text("Status");
    let status = definition::status(&given).flatten();
    let status = status.ok_or_else(|| Error::Definition(format!("Invalid check status: '{given}'")))?;
    renew(&call, status, fields.text("Output")).await
}

async fn renew(call: &Call, status: CheckStatus, output: String) -> Result<Response, Refusal> {
    let id = call.tail.clone();
    let renewed = call.context.local.apart(move |local| local.renew(&id, status, output)).await;
    renewed.ok_or(Error::Stopping)?.map_err(Error::from)?;
    Ok(reply::empty())
}
