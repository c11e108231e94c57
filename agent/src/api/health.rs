//! `/v1/health/…`

use axum::response::Response;
use bytes::Bytes;

use super::catalog::{has_tags, mark_cached};
use super::convert;
use super::error::{Error, Refusal};
use super::extract::{Call, ReadParams};
use super::router::Method;
use super::rows::{Question, Sieve};
use crate::filter::{CHECK, INSTANCE};
use crate::store::command::CheckStatus;
use crate::store::query::{Answer, Query};

async fn checks_of(call: &Call, query: Query, params: ReadParams, by_meta: bool) -> Result<Response, Refusal> {
    let draw = |answer, sieve: &Sieve| {
        let Answer::Checks(mut checks) = answer else { return None };
        sieve.sort(&mut checks, |check| &check.node);
        sieve.rows(checks.iter().map(|check| convert::check(check)))
    };
    call.rows(params, Question { look: "checks", query, shape: Some(&CHECK), by_meta, draw: &draw }).await
}

pub(super) async fn node(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let query = Query::NodeChecks { node: call.tail("node name")? };
    checks_of(&call, query, params, false).await
}

pub(super) async fn checks(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let query = Query::ServiceChecks { service: call.tail("service name")? };
    checks_of(&call, query, params, true).await
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
            let query = Query::StateChecks { state: None };
            let draw = |_, sieve: &Sieve| sieve.rows(std::iter::empty::<()>());
            let question = Question { look: "no checks", query, shape: Some(&CHECK), by_meta: false, draw: &draw };
            return call.rows(params, question).await;
        }
    };
    checks_of(&call, Query::StateChecks { state }, params, true).await
}

pub(super) async fn service(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let tags = call.tags();
    let passing_only = passing_only(&call);
    let query = Query::ServiceHealth {
        service: call.tail("service name")?,
        tag: tags.first().cloned(),
        passing_only: *passing_only.as_ref().unwrap_or(&false),
    };
    let draw = |answer, sieve: &Sieve| draw_instances(answer, &tags, sieve);
    let question = Question { look: "health", query, shape: Some(&INSTANCE), by_meta: true, draw: &draw };
    let mut response = call.rows(params, question).await?;
    // Consul looks at it last.
    passing_only?;
    mark_cached(&call, &mut response);
    Ok(response)
}

fn draw_instances(answer: Answer, tags: &[String], sieve: &Sieve) -> Option<Bytes> {
    let Answer::Health(mut instances) = answer else { return None };
    sieve.sort(&mut instances, |instance| &instance.node.fields.name);
    let tagged = instances.iter().filter(|instance| has_tags(tags, &instance.service.fields.tags));
    sieve.rows(tagged.map(convert::entry))
}

/// The body for whoever asks for nothing more: what a bench weighs.
pub fn plain_instances(answer: Answer) -> Option<Bytes> {
    draw_instances(answer, &[], &Sieve::default())
}

/// Nothing here speaks for the mesh.
pub(super) async fn connect(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let query = Query::ServiceHealth { service: call.tail("service name")?, tag: None, passing_only: false };
    let draw = |_, sieve: &Sieve| sieve.rows(std::iter::empty::<()>());
    let question = Question { look: "mesh", query, shape: Some(&INSTANCE), by_meta: true, draw: &draw };
    let response = call.rows(params, question).await?;
    passing_only(&call)?;
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
