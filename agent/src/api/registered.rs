//! `/v1/agent/services`, `/v1/agent/service/ID`, `/v1/agent/checks`: what is registered with this agent.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use shared::api::agent::AgentService;
use shared::api::catalog::{ServiceAddress, Weights};
use shared::api::health::HealthCheck;
use tokio::time::{Instant, timeout_at};

use super::content_hash;
use super::error::{Error, Refusal};
use super::extract::Call;
use super::reply;
use super::router::Method;
use crate::filter::{self, Filter};
use crate::store::command::ServiceFields;

/// Consul's wait of a question that does not say, and of any.
const WAIT_MAX: Duration = Duration::from_secs(600);

const CONTENT_HASH: HeaderName = HeaderName::from_static("x-consul-contenthash");

pub(super) async fn services(call: Call, _: Method) -> Result<Response, Refusal> {
    let mut services: BTreeMap<_, _> =
        call.context.local.services().into_iter().map(|service| (service.id.clone(), shown(service))).collect();
    if let Some(text) = call.params.given("filter") {
        let filter = Filter::compile(text, &filter::SERVICE).map_err(Error::Filter)?;
        services.retain(|_, service| serde_json::to_value(service).is_ok_and(|row| filter.holds(&row)));
    }
    reply::json(&call, &services)
}

/// With `?hash=` as soon as its definition has another one.
pub(super) async fn service(call: Call, _: Method) -> Result<Response, Refusal> {
    let id = call.tail.clone();
    let known = call.params.given("hash");
    let (wait, _) = call.waits()?;
    let until = Instant::now() + if wait.is_zero() { WAIT_MAX } else { wait.min(WAIT_MAX) };
    let mut changes = call.context.local.changes();
    let (mut shown, hash) = loop {
        changes.mark_unchanged();
        let service = call.context.local.service(&id).ok_or_else(|| Error::UnknownService(id.clone()))?;
        let shown = shown(service);
        let hash = content_hash::of(&shown);
        if known != Some(hash.as_str()) {
            break (shown, hash);
        }
        tokio::select! {
            changed = timeout_at(until, changes.changed()) => if !matches!(changed, Ok(Ok(()))) {
                break (shown, hash);
            },
            () = call.stop.cancelled() => break (shown, hash),
        }
    };
    let header = HeaderValue::from_str(&hash);
    shown.content_hash = hash;
    let mut response = reply::json(&call, &shown)?;
    if let Ok(header) = header {
        response.headers_mut().insert(CONTENT_HASH, header);
    }
    Ok(response)
}

pub(super) async fn checks(call: Call, _: Method) -> Result<Response, Refusal> {
    let mut checks = BTreeMap::new();
    for (check, service) in call.context.local.checks() {
        let (service_name, service_tags) = service.map(|service| (service.name, service.tags)).unwrap_or_default();
        let shown = HealthCheck {
            node: call.context.node_name.clone(),
            check_id: check.id.clone(),
            name: check.name,
            status: check.status.as_str().to_owned(),
            notes: check.notes,
            output: check.output,
            service_id: check.service_id,
            service_name,
            service_tags,
            kind: check.kind,
            definition: serde_json::Value::Object(serde_json::Map::new()),
            create_index: 0,
            modify_index: 0,
        };
        checks.insert(check.id, shown);
    }
    if let Some(text) = call.params.given("filter") {
        filter_checks(text, &mut checks)?;
    }
    reply::json(&call, &checks)
}

/// Consul holds an expression against each check, so that of none it refuses only what it cannot read.
fn filter_checks(text: &str, checks: &mut BTreeMap<String, HealthCheck>) -> Result<(), Error> {
    match Filter::compile(text, &filter::CHECK) {
        Ok(filter) => {
            checks.retain(|_, check| serde_json::to_value(check).is_ok_and(|row| filter.holds(&row)));
            Ok(())
        }
        Err(error) if error.is_syntax() => Err(Error::Filter(error)),
        Err(_) if checks.is_empty() => Ok(()),
        Err(error) => Err(Error::Nothing(error.to_string())),
    }
}

pub(super) fn shown(service: ServiceFields) -> AgentService {
    let (passing, warning) = service.weights;
    let address = |(tag, (address, port))| (tag, ServiceAddress { address, port });
    AgentService {
        id: service.id,
        service: service.name,
        tags: service.tags,
        meta: service.meta,
        port: service.port,
        address: service.address,
        tagged_addresses: service.tagged_addresses.into_iter().map(address).collect(),
        weights: Weights { passing, warning },
        enable_tag_override: service.enable_tag_override,
        content_hash: String::new(),
    }
}
