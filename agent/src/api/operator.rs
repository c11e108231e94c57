//! `/v1/operator/raft/…`

use axum::response::Response;
use shared::api::operator::{RaftConfiguration, RaftServer};

use super::error::{Error, Refusal};
use super::extract::{Call, Freshness};
use super::reply;
use super::router::Method;
use crate::backend::{Consistency, Operation, Peer, PeerName};

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

/// `DELETE /v1/operator/raft/peer`, by `?id` or `?address`.
pub(super) async fn raft_peer(call: Call, _: Method) -> Result<Response, Refusal> {
    let name = match (call.params.get("id"), call.params.get("address")) {
        (None, None) => return Err(Error::NoPeer.into()),
        (Some(_), Some(_)) => return Err(Error::TwoPeers.into()),
        (Some(id), None) => PeerName::Id(id.to_owned()),
        (None, Some(address)) => PeerName::Address(address.to_owned()),
    };
    call.check_datacenter()?;
    call.context.backend.remove_peer(name).await?;
    Ok(reply::empty())
}

/// `POST /v1/operator/raft/transfer-leader`, to `?id` where one is given.
pub(super) async fn transfer_leader(call: Call, _: Method) -> Result<Response, Refusal> {
    call.check_datacenter()?;
    let to = match call.params.given("id") {
        Some(given) => {
            let known = peers(&call).await?.iter().any(|peer| peer.id == given);
            let id = given.parse::<uuid::Uuid>().ok().filter(|_| known);
            Some(id.ok_or_else(|| Error::UnknownPeer("id", given.to_owned()))?.as_u128())
        }
        None => None,
    };
    call.context.backend.operate(Operation::Transfer(to)).await?;
    reply::json(&call, &serde_json::json!({ "Success": true }))
}

async fn peers(call: &Call) -> Result<Vec<Peer>, Refusal> {
    Ok(call.context.backend.cluster(Consistency::Default).await?.peers)
}
