//! What is written for the values of `types`: our own structs, so that openraft may change its own.
//! Used by the log and the snapshots. A changed struct is a new frame kind or snapshot format;
//! golden bytes in the tests hold the old ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::types::{LogId, Membership, Peer, Proposal, ServerId, StoredMembership, Vote};
use crate::moment::WallTime;
use crate::store::command::Command;

/// A record of a valid frame that does not decode: damaged before its checksum was made.
#[derive(Debug, thiserror::Error)]
#[error("decode {what}")]
pub(crate) struct DecodeError {
    pub(crate) what: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

fn encode<T: Serialize>(record: &T, into: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(record, into).expect("memory takes every record, and none is of unknown length")
}

fn decode<'a, T: Deserialize<'a>>(what: &'static str, bytes: &'a [u8]) -> Result<T, DecodeError> {
    postcard::from_bytes(bytes).map_err(|error| DecodeError { what, source: Box::new(error) })
}

#[derive(Serialize)]
struct ProposalWritten<'a> {
    at_micros: i64,
    command: &'a Command,
}

#[derive(Deserialize)]
struct ProposalRead {
    at_micros: i64,
    command: Command,
}

pub(crate) fn write_proposal(proposal: &Proposal, into: Vec<u8>) -> Vec<u8> {
    encode(&ProposalWritten { at_micros: proposal.at.micros(), command: &proposal.command }, into)
}

pub(crate) fn read_proposal(bytes: &[u8]) -> Result<Proposal, DecodeError> {
    let read: ProposalRead = decode("a command", bytes)?;
    Ok(Proposal { at: WallTime::from_micros(read.at_micros), command: read.command })
}

pub(crate) type IdBytes = [u8; 16];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerRecord {
    id: IdBytes,
    name: String,
    address: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembershipRecord {
    /// One set of voters, two while they change.
    configs: Vec<Vec<IdBytes>>,
    /// Voters and learners.
    peers: Vec<PeerRecord>,
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        let ids = |set: &BTreeSet<ServerId>| set.iter().map(|id| id.0.to_be_bytes()).collect();
        let peer = |(id, peer): (&ServerId, &Peer)| PeerRecord {
            id: id.0.to_be_bytes(),
            name: peer.name.clone(),
            address: peer.address.clone(),
        };
        Self {
            configs: membership.get_joint_config().iter().map(ids).collect(),
            peers: membership.nodes().map(peer).collect(),
        }
    }
}

impl TryFrom<MembershipRecord> for Membership {
    type Error = DecodeError;

    fn try_from(record: MembershipRecord) -> Result<Self, DecodeError> {
        let id = |bytes: &IdBytes| ServerId(u128::from_be_bytes(*bytes));
        let peers: BTreeMap<ServerId, Peer> =
            record.peers.into_iter().map(|p| (id(&p.id), Peer { name: p.name, address: p.address })).collect();
        let configs: Vec<BTreeSet<ServerId>> = record.configs.iter().map(|set| set.iter().map(id).collect()).collect();
        if configs.is_empty() {
            return Ok(Membership::default());
        }
        Membership::new(configs, peers)
            .map_err(|error| DecodeError { what: "a Raft configuration", source: Box::new(error) })
    }
}

pub(crate) fn write_membership(membership: &Membership, into: Vec<u8>) -> Vec<u8> {
    encode(&MembershipRecord::from(membership), into)
}

pub(crate) fn read_membership(bytes: &[u8]) -> Result<Membership, DecodeError> {
    decode::<MembershipRecord>("a Raft configuration", bytes)?.try_into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteRecord {
    term: u64,
    server: IdBytes,
    committed: bool,
}

impl From<&Vote> for VoteRecord {
    fn from(vote: &Vote) -> Self {
        let leader = &vote.leader_id;
        Self { term: leader.term, server: leader.voted_for.0.to_be_bytes(), committed: vote.committed }
    }
}

impl From<VoteRecord> for Vote {
    fn from(record: VoteRecord) -> Self {
        let server = ServerId(u128::from_be_bytes(record.server));
        if record.committed { Self::new_committed(record.term, server) } else { Self::new(record.term, server) }
    }
}

pub(crate) fn write_vote(vote: &Vote, into: Vec<u8>) -> Vec<u8> {
    encode(&VoteRecord::from(vote), into)
}

pub(crate) fn read_vote(bytes: &[u8]) -> Result<Vote, DecodeError> {
    decode::<VoteRecord>("a vote", bytes).map(Vote::from)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogIdRecord {
    term: u64,
    index: u64,
}

impl From<LogId> for LogIdRecord {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(record: LogIdRecord) -> Self {
        Self::new_term_index(record.term, record.index)
    }
}

/// What a segment has to know of those before it, so that they can go.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Carried {
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    /// The last entry, or the last purged one.
    pub(crate) last: Option<LogId>,
}

#[derive(Serialize, Deserialize)]
struct CarriedRecord {
    vote: Option<VoteRecord>,
    committed: Option<LogIdRecord>,
    purged: Option<LogIdRecord>,
    last: Option<LogIdRecord>,
}

pub(crate) fn write_carried(carried: &Carried, into: Vec<u8>) -> Vec<u8> {
    let record = CarriedRecord {
        vote: carried.vote.as_ref().map(VoteRecord::from),
        committed: carried.committed.map(LogIdRecord::from),
        purged: carried.purged.map(LogIdRecord::from),
        last: carried.last.map(LogIdRecord::from),
    };
    encode(&record, into)
}

pub(crate) fn read_carried(bytes: &[u8]) -> Result<Carried, DecodeError> {
    let record: CarriedRecord = decode("the head of a segment", bytes)?;
    Ok(Carried {
        vote: record.vote.map(Vote::from),
        committed: record.committed.map(LogId::from),
        purged: record.purged.map(LogId::from),
        last: record.last.map(LogId::from),
    })
}

/// What a snapshot says of itself.
#[derive(Serialize, Deserialize)]
struct MetaRecord {
    last: Option<LogIdRecord>,
    membership_at: Option<LogIdRecord>,
    membership: MembershipRecord,
    at_micros: i64,
}

/// A snapshot's place in the log, its configuration, and the time of the last entry in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Meta {
    pub(crate) last: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) at: WallTime,
}

pub(crate) fn write_meta(meta: &Meta, into: Vec<u8>) -> Vec<u8> {
    let record = MetaRecord {
        last: meta.last.map(LogIdRecord::from),
        membership_at: meta.membership.log_id().map(LogIdRecord::from),
        membership: MembershipRecord::from(meta.membership.membership()),
        at_micros: meta.at.micros(),
    };
    encode(&record, into)
}

pub(crate) fn read_meta(bytes: &[u8]) -> Result<Meta, DecodeError> {
    let record: MetaRecord = decode("the head of a snapshot", bytes)?;
    let membership = StoredMembership::new(record.membership_at.map(LogId::from), record.membership.try_into()?);
    Ok(Meta { last: record.last.map(LogId::from), membership, at: WallTime::from_micros(record.at_micros) })
}
