//! `/v1/status/…`: who leads and who is in the Raft configuration, with a vote or not yet, as this server
//! knows it, or the one that a client asks.

use axum::response::Response;

use super::error::Refusal;
use super::extract::Call;
use super::reply;
use super::router::Method;
use crate::backend::{Consistency, Seen};

pub(super) async fn leader(call: Call, _: Method) -> Result<Response, Refusal> {
    let seen = seen(&call).await?;
    reply::json(&call, &seen.leader)
}

pub(super) async fn peers(call: Call, _: Method) -> Result<Response, Refusal> {
    let seen = seen(&call).await?;
    let peers: Vec<_> = seen.peers.into_iter().map(|peer| peer.address).collect();
    reply::json(&call, &peers)
}

/// Of this server, or of the one that a client asks.
async fn seen(call: &Call) -> Result<Seen, Refusal> {
    call.read_params()?;
    call.check_datacenter()?;
    Ok(call.context.backend.cluster(Consistency::Stale).await?)
}
