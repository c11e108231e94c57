//! `/v1/operator/…`

use axum::response::Response;
use shared::api::operator::{RaftConfiguration, RaftServer};

use super::error::Refusal;
use super::extract::{Call, Freshness};
use super::reply;
use super::router::Method;
use crate::backend::{Consistency, Peer};

pub(super) async fn raft_configuration(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    call.check_datacenter()?;
    let consistency = match params.freshness {
        Freshness::Stale => Consistency::Stale,
        Freshness::Leader | Freshness::Consistent => Consistency::Default,
    };
    let seen = call.context.backend.cluster(consistency).await?;
    let server = |peer: Peer| RaftServer {
        leader: peer.leads,
        node: if peer.name.is_empty() { "(unknown)".to_owned() } else { peer.name },
        id: peer.id,
        address: peer.address,
        protocol_version: "3".to_owned(),
        voter: peer.voter,
    };
    let servers = seen.peers.into_iter().map(server).collect();
    reply::json(&call, &RaftConfiguration { servers, index: 0 })
}
