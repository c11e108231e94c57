//! `/v1/operator/…`

use axum::response::Response;
use shared::api::operator::{RaftConfiguration, RaftServer};

use super::error::Refusal;
use super::extract::Call;
use super::reply;
use super::router::Method;
use crate::backend;

pub(super) async fn raft_configuration(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    call.check_datacenter()?;
    let status = call.context.backend.status();
    let raft = status.raft.ok_or(backend::Error::NoServers)?;
    if raft.leader_id.is_none() && params.freshness != super::extract::Freshness::Stale {
        return Err(backend::Error::NoLeader.into());
    }
    let servers = raft
        .peers
        .into_iter()
        .map(|peer| RaftServer {
            leader: raft.leader_id.as_ref() == Some(&peer.id),
            node: if peer.node.is_empty() { "(unknown)".to_owned() } else { peer.node },
            id: peer.id,
            address: peer.address,
            protocol_version: "3".to_owned(),
            voter: peer.voter,
        })
        .collect();
    reply::json(&call, &RaftConfiguration { servers, index: 0 })
}
