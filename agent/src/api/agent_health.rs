//! `/v1/agent/health/service/…`: how services of this agent are, as a status code, for load balancers.

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::Response;
use serde_json::{Value, json};

use super::error::{Error, Refusal};
use super::extract::Call;
use super::registered::shown;
use super::reply;
use super::router::Method;
use crate::checks::spec::{NODE_MAINTENANCE, SERVICE_MAINTENANCE};
use crate::store::command::{CheckFields, CheckStatus, ServiceFields};

const REASON: HeaderName = HeaderName::from_static("x-consul-reason");

/// What counts more comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Health {
    Passing,
    Warning,
    Critical,
    Maintenance,
}

impl Health {
    fn of<'a>(checks: impl Iterator<Item = &'a CheckFields>) -> Self {
        let one = |check: &CheckFields| match check.status {
            _ if check.id == NODE_MAINTENANCE || check.id.starts_with(SERVICE_MAINTENANCE) => Self::Maintenance,
            CheckStatus::Passing => Self::Passing,
            CheckStatus::Warning => Self::Warning,
            CheckStatus::Critical => Self::Critical,
        };
        checks.map(one).max().unwrap_or(Self::Passing)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Maintenance => "maintenance",
        }
    }

    fn code(self) -> StatusCode {
        match self {
            Self::Passing => StatusCode::OK,
            Self::Warning => StatusCode::TOO_MANY_REQUESTS,
            Self::Critical | Self::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A service's health, and all that says so.
fn looked_at(call: &Call, service: ServiceFields, checks: &[CheckFields]) -> Result<(Health, Value), Error> {
    let is_its = |check: &&CheckFields| check.service_id.is_empty() || check.service_id == service.id;
    let its: Vec<_> = checks.iter().filter(is_its).collect();
    let health = Health::of(its.iter().copied());
    let rows: Vec<_> = its.iter().map(|check| row(call, check, &service)).collect();
    let service = serde_json::to_value(shown(service))?;
    Ok((health, json!({"AggregatedStatus": health.as_str(), "Service": service, "Checks": rows})))
}

/// Consul: its kind is left out here, and the definition of nothing written out.
fn row(call: &Call, check: &CheckFields, service: &ServiceFields) -> Value {
    let of_service = !check.service_id.is_empty();
    let tags = of_service.then_some(&service.tags).filter(|tags| !tags.is_empty());
    json!({
        "Node": call.context.node_name,
        "CheckID": check.id,
        "Name": check.name,
        "Status": check.status.as_str(),
        "Notes": check.notes,
        "Output": check.output,
        "ServiceID": check.service_id,
        "ServiceName": if of_service { service.name.as_str() } else { "" },
        "ServiceTags": tags,
        "Type": "",
        "Definition": {
            "Interval": "0s",
            "Timeout": "0s",
            "DeregisterCriticalServiceAfter": "0s",
            "HTTP": "",
            "Header": null,
            "Method": "",
            "Body": "",
            "TLSSkipVerify": false,
            "TCP": "",
        },
        "CreateIndex": 0,
        "ModifyIndex": 0,
    })
}

fn wants_text(call: &Call) -> bool {
    let accept = call.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.starts_with("text/plain") || call.params.given("format").is_some_and(|format| format == "text")
}

fn plain(code: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(text.to_owned()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    coded(response, code, text)
}

/// With what the status code says, for those who read headers alone.
fn coded(mut response: Response, code: StatusCode, reason: &str) -> Response {
    *response.status_mut() = code;
    // A name may hold what no header does.
    if let Ok(reason) = HeaderValue::from_str(reason) {
        response.headers_mut().insert(REASON, reason);
    }
    response
}

fn all_checks(call: &Call) -> Vec<CheckFields> {
    call.context.local.checks().into_iter().map(|(check, _)| check).collect()
}

pub(super) async fn by_id(call: Call, _: Method) -> Result<Response, Refusal> {
    let id = call.tail.clone();
    if id.is_empty() {
        return Err(Error::NoId("Bad request: Missing serviceID").into());
    }
    let Some(service) = call.context.local.service(&id) else {
        let reason = format!("ServiceId {id} not found");
        let unknown = match wants_text(&call) {
            // Consul: in quotation marks, and no plain text.
            true => json!(reason),
            false => json!({"AggregatedStatus": "critical", "Service": null, "Checks": null}),
        };
        return Ok(coded(reply::json(&call, &unknown)?, StatusCode::NOT_FOUND, &reason));
    };
    let (health, shown) = looked_at(&call, service, &all_checks(&call))?;
    if wants_text(&call) {
        return Ok(plain(health.code(), health.as_str()));
    }
    Ok(coded(reply::json(&call, &shown)?, health.code(), health.as_str()))
}

pub(super) async fn by_name(call: Call, _: Method) -> Result<Response, Refusal> {
    let name = call.tail.clone();
    if name.is_empty() {
        return Err(Error::NoId("Bad request: Missing service Name").into());
    }
    let checks = all_checks(&call);
    let named = call.context.local.services().into_iter().filter(|service| service.name == name);
    let all = named.map(|service| looked_at(&call, service, &checks)).collect::<Result<Vec<_>, _>>()?;
    let worst = all.iter().map(|(health, _)| *health).max();
    let code = worst.map_or(StatusCode::NOT_FOUND, Health::code);
    let reason = worst.map_or_else(|| format!("ServiceName {name} Not Found"), |health| health.as_str().to_owned());
    if wants_text(&call) {
        return Ok(plain(code, &reason));
    }
    let rows: Vec<_> = all.into_iter().map(|(_, shown)| shown).collect();
    Ok(coded(reply::json(&call, &rows)?, code, &reason))
}
