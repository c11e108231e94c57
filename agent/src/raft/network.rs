//! openraft's messages to other servers. Nothing is served on 8300 yet, so every peer is unreachable:
//! a cluster of one never asks. `rpc` will carry the messages; votes, refusals and their reasons
//! will be recorded here, on both sides.

use std::future::Future;

use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{AnyError, OptionalSend};

use super::snapshot::Body;
use super::types::{Config, Peer, ServerId};

/// Makes one client for each peer and purpose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {}

impl RaftNetworkFactory<Config> for Network {
    type Network = PeerClient;

    async fn new_client(&mut self, target: ServerId, node: &Peer) -> PeerClient {
        PeerClient { target, address: node.address.clone() }
    }
}

/// The way to one peer.
#[derive(Debug)]
pub(crate) struct PeerClient {
    target: ServerId,
    address: String,
}

impl PeerClient {
    fn unreachable(&self) -> Unreachable<Config> {
        Unreachable::new(&AnyError::error(format!("no way to server {} at {}", self.target, self.address)))
    }
}

impl RaftNetworkV2<Config> for PeerClient {
    type SnapshotData = Body;

    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<Config>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Config>, RPCError<Config>> {
        Err(self.unreachable().into())
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<Config>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Config>, RPCError<Config>> {
        Err(self.unreachable().into())
    }

    // openraft's default grants, so that a peer that nobody reached would count.
    async fn pre_vote(
        &mut self,
        _rpc: VoteRequest<Config>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Config>, RPCError<Config>> {
        Err(self.unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: VoteOf<Config>,
        _snapshot: SnapshotOf<Config, Body>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Config>, StreamingError<Config>> {
        Err(self.unreachable().into())
    }

    async fn transfer_leader(
        &mut self,
        _req: TransferLeaderRequest<Config>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<Config>, RPCError<Config>> {
        Err(self.unreachable().into())
    }
}
