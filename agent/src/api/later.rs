//! What of Consul is not there yet: sessions, prepared queries, transactions, access control, the mesh,
//! snapshots. A question is answered as a Consul answers it that was never told anything, with access
//! control and the mesh off; a change is refused with 501 and the name of what is missing.

use axum::response::Response;
use serde::Serialize;
use serde_json::json;

use super::coordinate::{WAIT, WAIT_MAX};
use super::error::{Error, Refusal};
use super::extract::{Call, ReadParams};
use super::reply::{self, Meta};
use super::router::Method;
use crate::store::query::Query;

/// Consul refuses what needs access control with 401, questions and changes alike.
pub(super) async fn acl(_: Call, _: Method) -> Result<Response, Refusal> {
    Err(Error::AclsOff.into())
}

/// Certificates and the like.
pub(super) async fn mesh(_: Call, _: Method) -> Result<Response, Refusal> {
    Err(Error::ConnectOff.into())
}

/// The same, asked of the state.
pub(super) async fn mesh_roots(call: Call, _: Method) -> Result<Response, Refusal> {
    call.read_params()?;
    call.check_datacenter().map_err(|error| Refusal { error, of_catalog: true })?;
    Err(Refusal { error: call.found_by_leader(Error::ConnectOff), of_catalog: true })
}

pub(super) async fn discovery_chain(call: Call, _: Method) -> Result<Response, Refusal> {
    call.read_params()?;
    if call.tail.is_empty() {
        return Err(Error::BadRequest("Missing chain name".to_owned()).into());
    }
    Err(Refusal { error: call.found_by_leader(Error::ConnectOff), of_catalog: true })
}

pub(super) async fn authorize(_: Call, _: Method) -> Result<Response, Refusal> {
    Err(Error::NotYet("authorizations of the mesh").into())
}

/// Nothing, as the state says it: index 1, and a wait that nothing ends.
async fn nothing(call: &Call, told: &(impl Serialize + Sync)) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    reply::json_with(call, meta(call, params, false).await?, told)
}

async fn meta(call: &Call, params: ReadParams, of_catalog: bool) -> Result<Meta, Refusal> {
    let asked = async {
        call.check_datacenter()?;
        call.read(Query::Node { node: String::new() }, ReadParams { index: 0, ..params }).await
    };
    let mut reply = asked.await.map_err(|error| Refusal { error, of_catalog: true })?;
    if params.index > 0 {
        let wait = if params.wait.is_zero() { WAIT } else { params.wait.min(WAIT_MAX) };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = call.stop.cancelled() => {}
        }
    }
    reply.index = 1;
    Ok(if of_catalog { Meta::of_catalog(&reply, params.freshness) } else { Meta::of_kv(&reply) })
}

/// A question about one thing that has a UUID.
fn check_uuid(call: &Call, what: &str) -> Result<(), Refusal> {
    let is_uuid = call.tail.len() == 36;
    if is_uuid {
        return Ok(());
    }
    let why = format!("failed {what} lookup: index error: UUID must be 36 characters");
    Err(call.refused_by_server(Error::Nothing(why)))
}

pub(super) async fn session_list(call: Call, _: Method) -> Result<Response, Refusal> {
    nothing(&call, &[(); 0]).await
}

pub(super) async fn session_node(call: Call, _: Method) -> Result<Response, Refusal> {
    call.read_params()?;
    call.tail("node name")?;
    nothing(&call, &[(); 0]).await
}

pub(super) async fn session_info(call: Call, _: Method) -> Result<Response, Refusal> {
    call.read_params()?;
    call.tail("session")?;
    check_uuid(&call, "session")?;
    nothing(&call, &[(); 0]).await
}

pub(super) async fn session_create(call: Call, _: Method) -> Result<Response, Refusal> {
    call.check_servers()?;
    Err(Error::NotYet("sessions").into())
}

pub(super) async fn session_change(call: Call, _: Method) -> Result<Response, Refusal> {
    call.tail("session")?;
    Err(Error::NotYet("sessions").into())
}

pub(super) async fn queries(call: Call, method: Method) -> Result<Response, Refusal> {
    if method != Method::Get {
        return Err(Error::NotYet("prepared queries").into());
    }
    let params = call.read_params()?;
    reply::json_with::<[(); 0]>(&call, meta(&call, params, true).await?, &[])
}

pub(super) async fn query(call: Call, method: Method) -> Result<Response, Refusal> {
    if method != Method::Get {
        return Err(Error::NotYet("prepared queries").into());
    }
    let params = call.read_params()?;
    meta(&call, ReadParams { index: 0, ..params }, true).await?;
    if call.tail.ends_with("/execute") || call.tail.ends_with("/explain") {
        return Err(Error::NoQuery.into());
    }
    check_uuid(&call, "prepared query")?;
    Err(Error::NoQuery.into())
}

pub(super) async fn transaction(_: Call, _: Method) -> Result<Response, Refusal> {
    Err(Error::NotYet("transactions").into())
}

pub(super) async fn snapshot(_: Call, _: Method) -> Result<Response, Refusal> {
    Err(Error::NotYet("snapshots over HTTP").into())
}

pub(super) async fn config_put(_: Call, _: Method) -> Result<Response, Refusal> {
    Err(Error::NotYet("config entries").into())
}

/// The kinds of config entries that 1.8.7 knows.
const KINDS: &[&str] = &[
    "service-defaults",
    "proxy-defaults",
    "service-router",
    "service-splitter",
    "service-resolver",
    "ingress-gateway",
    "terminating-gateway",
];

pub(super) async fn config(call: Call, method: Method) -> Result<Response, Refusal> {
    if method != Method::Get {
        return Err(Error::NotYet("config entries").into());
    }
    let params = call.read_params()?;
    let (kind, name) = call.tail.split_once('/').unwrap_or((call.tail.as_str(), ""));
    let meta = meta(&call, params, false).await?;
    if !kind.is_empty() && !KINDS.contains(&kind) {
        return Err(call.found_by_leader(Error::Nothing(format!("invalid config entry kind: {kind}"))).into());
    }
    if !name.is_empty() {
        let mut response = reply::refuse(&Error::NoEntry(kind.to_owned(), name.to_owned()).into(), "");
        meta.write(response.headers_mut());
        return Ok(response);
    }
    reply::json_with::<[(); 0]>(&call, meta, &[])
}

pub(super) async fn intentions(call: Call, method: Method) -> Result<Response, Refusal> {
    if method != Method::Get {
        return Err(Error::NotYet("intentions").into());
    }
    nothing(&call, &[(); 0]).await
}

pub(super) async fn intention(call: Call, method: Method) -> Result<Response, Refusal> {
    if method != Method::Get {
        return Err(Error::NotYet("intentions").into());
    }
    let params = call.read_params()?;
    meta(&call, ReadParams { index: 0, ..params }, false).await?;
    let why = match call.tail.len() {
        36 => "Intention not found",
        _ => "failed intention lookup: index error: UUID must be 36 characters",
    };
    let error = if call.tail.len() == 36 { Error::NoIntention } else { Error::BadRequest(why.to_owned()) };
    Err(error.into())
}

/// Which intentions there are for these names: none for any.
pub(super) async fn intentions_match(call: Call, _: Method) -> Result<Response, Refusal> {
    call.read_params()?;
    match call.params.get("by") {
        None => return Err(Error::Nothing("required query parameter 'by' not set".to_owned()).into()),
        Some("source" | "destination") => {}
        Some(_) => {
            let why = "'by' parameter must be one of 'source' or 'destination'";
            return Err(Error::Nothing(why.to_owned()).into());
        }
    }
    let names: serde_json::Map<_, _> = call.params.all("name").map(|name| (name.to_owned(), json!(null))).collect();
    if names.is_empty() {
        return Err(Error::Nothing("required query parameter 'name' not set".to_owned()).into());
    }
    reply::json(&call, &names)
}

/// With access control off everything is allowed.
pub(super) async fn intentions_check(call: Call, _: Method) -> Result<Response, Refusal> {
    call.read_params()?;
    for name in ["source", "destination"] {
        if call.params.get(name).is_none() {
            return Err(Error::Nothing(format!("required query parameter '{name}' not set")).into());
        }
    }
    reply::json(&call, &json!({"Allowed": true}))
}

/// Of gateways there are none.
pub(super) async fn gateway_services(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    call.tail("gateway name")?;
    reply::json_with(&call, meta(&call, params, true).await?, &json!(null))
}

pub(super) async fn ingress(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    call.tail("service name")?;
    reply::json_with::<[(); 0]>(&call, meta(&call, params, true).await?, &[])
}
