//! `/v1/health/…`

use axum::response::Response;

use super::catalog::{has_tags, mark_cached};
use super::convert;
use super::coordinate::Near;
use super::error::{Error, Refusal};
use super::extract::{Call, ReadParams};
use super::reply;
use super::router::Method;
use crate::store::command::CheckStatus;
use crate::store::query::{Answer, Query};

async fn checks_of(call: &Call, query: Query, params: ReadParams) -> Result<Response, Refusal> {
    let (meta, answer) = call.ask_with(query, params).await?;
    let Answer::Checks(mut checks) = answer else { return Err(Error::Mismatch.into()) };
    if let Some(near) = Near::of(call).await {
        near.sort(&mut checks, |check| &check.node);
    }
    let checks: Vec<_> = checks.iter().map(|check| convert::check(check)).collect();
    reply::json_with(call, meta, &checks)
}

pub(super) async fn node(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let query = Query::NodeChecks { node: call.tail("node name")? };
    checks_of(&call, query, params).await
}

pub(super) async fn checks(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let query = Query::ServiceChecks { service: call.tail("service name")? };
    checks_of(&call, query, params).await
}

pub(super) async fn state(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let wanted = call.tail("check state")?;
    let state = match wanted.as_str() {
        "any" => None,
        "passing" => Some(CheckStatus::Passing),
        "warning" => Some(CheckStatus::Warning),
        "critical" => Some(CheckStatus::Critical),
        // No check is in a state that does not exist; the index is that of all checks.
        _ => {
            let (meta, _) = call.ask_with(Query::StateChecks { state: None }, params).await?;
            return reply::json_with::<[(); 0]>(&call, meta, &[]);
        }
    };
    checks_of(&call, Query::StateChecks { state }, params).await
}

pub(super) async fn service(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let tags = call.tags();
    let query = Query::ServiceHealth {
        service: call.tail("service name")?,
        tag: tags.first().cloned(),
        passing_only: passing_only(&call)?,
    };
    let (meta, answer) = call.ask_with(query, params).await?;
    let Answer::Health(mut instances) = answer else { return Err(Error::Mismatch.into()) };
    if let Some(near) = Near::of(&call).await {
        near.sort(&mut instances, |instance| &instance.node.fields.name);
    }
    let rows: Vec<_> = instances
        .iter()
        .filter(|instance| has_tags(&tags, &instance.service.fields.tags))
        .map(convert::entry)
        .collect();
    let mut response = reply::json_with(&call, meta, &rows)?;
    mark_cached(&call, &mut response);
    Ok(response)
}

/// `?passing` with no value is true; with one it is Go's `strconv.ParseBool`.
fn passing_only(call: &Call) -> Result<bool, Error> {
    match call.params.get("passing") {
        None => Ok(false),
        Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(_) => Err(Error::Passing),
    }
}
