//! `/v1/status/…`: who leads, as this server knows it; never waits.

use axum::response::Response;

use super::error::Refusal;
use super::extract::Call;
use super::reply;
use super::router::Method;
use crate::backend::{self, Status};

pub(super) async fn leader(call: Call, _: Method) -> Result<Response, Refusal> {
    let status = status(&call)?;
    reply::json(&call, &status.leader)
}

pub(super) async fn peers(call: Call, _: Method) -> Result<Response, Refusal> {
    let status = status(&call)?;
    reply::json(&call, &status.peers)
}

fn status(call: &Call) -> Result<Status, Refusal> {
    call.read_params()?;
    call.check_datacenter()?;
    let status = call.context.backend.status();
    // A client would have to ask a server.
    if status.raft.is_none() { Err(backend::Error::NoServers.into()) } else { Ok(status) }
}
