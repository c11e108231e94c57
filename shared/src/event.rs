//! The live event stream of `GET /v1/agent/events`, as both ends see it.
//!
//! One frame of the stream is `id: <boot>-<sequence>`, `event: <kind>`, `data: <one Event as JSON>`.
//! A new stream opens with the picture (events whose type is a state, such as `present`), then the
//! framing event `snapshot-end`, then what happens. `reset` and `lagged` are the other two framing
//! events. Types and fields only ever grow: a reader skips what it does not know.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use crate::member_event::{Account, Cause, MemberEvent, MemberNews, NameHolder, Source};
pub use crate::service_event::{CheckEvent, CheckState, CheckStatus, Registrar, ServiceEvent, ServiceState};
use crate::time::WallTime;
pub use crate::user_event::UserEvent;

/// Names of the framing events; their data is a [`Framing`].
pub const SNAPSHOT_END: &str = "snapshot-end";
pub const RESET: &str = "reset";
pub const LAGGED: &str = "lagged";

/// Every kind a stream can be asked for with `kind=`, in the order they are documented.
pub const KINDS: [&str; 9] = ["member", "raft", "election", "replication", "service", "check", "user", "agent", "log"];

/// Position in one agent's stream: the process's boot (random, hexadecimal) and a sequence from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    pub boot: String,
    pub seq: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.boot, self.seq)
    }
}

impl FromStr for EventId {
    type Err = ParseEventIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (boot, seq) = text.rsplit_once('-').ok_or(ParseEventIdError)?;
        let seq = seq.parse().map_err(|_| ParseEventIdError)?;
        if boot.is_empty() || boot.len() > 64 {
            return Err(ParseEventIdError);
        }
        Ok(Self { boot: boot.to_owned(), seq })
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event ID is <boot>-<sequence>")]
pub struct ParseEventIdError;

impl Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Who first saw it. An event relayed by another agent keeps its origin, so that a reader who moved
/// to another agent can drop what it has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Origin {
    pub node: String,
    pub boot: String,
    pub seq: u64,
}

/// One thing that happened, or (in the picture) one thing that is so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Event {
    #[serde(rename = "ID")]
    pub id: EventId,
    pub origin: Origin,
    pub time: WallTime,
    /// The node it is about; the origin's when it is about no other.
    pub node: String,
    #[serde(flatten)]
    pub body: Body,
}

/// The data of the three framing events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Framing {
    /// `lagged`: how many events this reader has missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// `reset`: why what the reader has is void.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "Kind", rename_all = "kebab-case")]
pub enum Body {
    Agent(AgentEvent),
    Member(MemberEvent),
    Raft(RaftEvent),
    Election(ElectionEvent),
    Replication(ReplicationEvent),
    User(UserEvent),
    Service(ServiceEvent),
    Check(CheckEvent),
    Log(LogEvent),
}

impl Body {
    /// The kind, as in the frame's `event:` field.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Agent(_) => "agent",
            Self::Member(_) => "member",
            Self::Raft(_) => "raft",
            Self::Election(_) => "election",
            Self::Replication(_) => "replication",
            Self::User(_) => "user",
            Self::Service(_) => "service",
            Self::Check(_) => "check",
            Self::Log(_) => "log",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "Type", rename_all = "kebab-case", rename_all_fields = "PascalCase")]
pub enum AgentEvent {
    /// Picture: the agent at the other end of the stream.
    Running {
        #[serde(rename = "NodeID")]
        node_id: String,
        datacenter: String,
        server: bool,
        /// What we are, `0.1.0`.
        version: String,
        /// The Consul API level, `1.8.7`.
        #[serde(rename = "API")]
        api: String,
        /// The advertised address, no port.
        address: String,
        started: WallTime,
    },
    /// The agent ends; `leaving` tells whether it leaves the pool first.
    Stopping { reason: String, leaving: bool },
    /// Configuration was read again after a hang-up.
    Reloaded,
}

/// Which gossip pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    Lan,
    Wan,
}

/// What a member is; `suspect` is ours to show, Consul's API reports it as alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberStatus {
    Alive,
    Suspect,
    Leaving,
    Left,
    Failed,
}

/// A member as it is after what happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MemberState {
    pub pool: Pool,
    pub name: String,
    pub address: String,
    pub port: u16,
    pub status: MemberStatus,
    pub incarnation: u32,
    /// The protocol version it speaks.
    pub protocol: u8,
    /// Protocol versions: lowest, highest, spoken; the same of serf's.
    #[serde(default)]
    pub versions: [u8; 6],
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Leader,
    Follower,
    Candidate,
    Learner,
    Shutdown,
}

/// One server of the Raft configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RaftPeer {
    #[serde(rename = "ID")]
    pub id: String,
    pub node: String,
    pub address: String,
    pub voter: bool,
}

/// Raft as one server sees it. Indexes are those of Consul's API: openraft's plus 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RaftState {
    pub role: Role,
    pub term: u64,
    /// The leader's server ID, when one is known.
    #[serde(rename = "LeaderID", skip_serializing_if = "Option::is_none", default)]
    pub leader_id: Option<String>,
    /// A quorum has acknowledged that leader; false on a leader that is cut off.
    pub confirmed: bool,
    /// Since when this leader leads, as this server saw it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub leader_since: Option<WallTime>,
    pub last_log: u64,
    pub commit: u64,
    pub applied: u64,
    pub snapshot: u64,
    pub peers: Vec<RaftPeer>,
    /// It hears no leader, and others refuse it their votes since their configuration does not have it: it was
    /// removed, which it never learns from its log, or was not added yet.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub no_seat: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "Type", rename_all = "kebab-case", rename_all_fields = "PascalCase")]
pub enum RaftEvent {
    /// Picture, and sent again whenever role, term, leader or configuration changes.
    State(RaftState),
    LeaderLost {
        term: u64,
        #[serde(rename = "LeaderID")]
        leader_id: String,
        cause: String,
    },
    LeaderElected {
        term: u64,
        #[serde(rename = "LeaderID")]
        leader_id: String,
        leader: String,
        /// How long there was no leader before, in milliseconds, as this server saw it.
        leaderless_ms: u64,
    },
    /// A quorum acknowledged the leader of this term.
    LeaderConfirmed {
        term: u64,
    },
    /// Terms went by that this server did not see.
    Gap {
        from_term: u64,
        to_term: u64,
    },
    MembershipChanged {
        peers: Vec<RaftPeer>,
    },
    SnapshotTaken {
        index: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VoteAnswer {
    Granted,
    Refused,
    /// Asked, and no answer came.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ElectionResult {
    Won,
    Lost,
    TimedOut,
}

/// One finished election, as the picture keeps it (the last 100).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ElectionRecord {
    pub term: u64,
    pub at: WallTime,
    /// The candidate's node name.
    pub candidate: String,
    pub cause: String,
    /// By the voter's node name.
    pub votes: BTreeMap<String, VoteAnswer>,
    pub tally: u32,
    pub need: u32,
    pub result: ElectionResult,
    /// Milliseconds without a leader up to here; none when the election did not end that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub leaderless_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "Type", rename_all = "kebab-case", rename_all_fields = "PascalCase")]
pub enum ElectionEvent {
    /// Picture: an election of the past.
    Past(ElectionRecord),
    HeartbeatLost {
        term: u64,
        last_leader: String,
        cause: String,
    },
    Started {
        term: u64,
        candidate: String,
        cause: String,
        need: u32,
        voters: u32,
        pre_vote: bool,
    },
    VoteAsked {
        term: u64,
        candidate: String,
        voter: String,
        pre_vote: bool,
    },
    VoteGranted {
        term: u64,
        candidate: String,
        voter: String,
        tally: u32,
        need: u32,
        pre_vote: bool,
    },
    VoteRefused {
        term: u64,
        candidate: String,
        voter: String,
        reason: String,
        pre_vote: bool,
    },
    /// The election is over, whatever its end.
    Ended(ElectionRecord),
    SteppedDown {
        term: u64,
        leader: String,
        cause: String,
    },
}

/// How far one server is, as the leader knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Progress {
    #[serde(rename = "ServerID")]
    pub server_id: String,
    pub server: String,
    pub term: u64,
    pub last_log: u64,
    /// The highest index known to be on that server's disk.
    pub matched: u64,
    pub commit: u64,
    pub applied: u64,
    pub voter: bool,
    pub leader: bool,
    /// Milliseconds since the leader last heard from it; 0 for the leader itself.
    pub contact_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "Type", rename_all = "kebab-case")]
pub enum ReplicationEvent {
    /// Picture, and at most once a second per server while it changes.
    Progress(Progress),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl FromStr for Level {
    type Err = ();

    /// Consul's names, any case; `err` is `error`.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_uppercase().as_str() {
            "TRACE" => Ok(Self::Trace),
            "DEBUG" => Ok(Self::Debug),
            "INFO" => Ok(Self::Info),
            "WARN" => Ok(Self::Warn),
            "ERR" | "ERROR" => Ok(Self::Error),
            _ => Err(()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "Type", rename_all = "kebab-case", rename_all_fields = "PascalCase")]
pub enum LogEvent {
    /// One line of the agent's log.
    Line {
        level: Level,
        /// `agent.server.raft`
        logger: String,
        /// The message with its `key=value` fields, as printed.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_object() {
        let event = Event {
            id: "ab12-7".parse().expect("an ID"),
            origin: Origin { node: "one".into(), boot: "ab12".into(), seq: 7 },
            time: WallTime::from_micros(1_000_001),
            node: "one".into(),
            body: Body::Raft(RaftEvent::LeaderConfirmed { term: 2 }),
        };
        let text = serde_json::to_string(&event).expect("JSON");
        assert_eq!(
            text,
            r#"{"ID":"ab12-7","Origin":{"Node":"one","Boot":"ab12","Seq":7},"Time":"1970-01-01T00:00:01.000001Z","Node":"one","Kind":"raft","Type":"leader-confirmed","Term":2}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&text).expect("an event"), event);
    }

    #[test]
    fn a_state_with_tags_survives_the_wire() {
        let state = MemberState {
            pool: Pool::Lan,
            name: "one".into(),
            address: "172.20.20.10".into(),
            port: 8301,
            status: MemberStatus::Alive,
            incarnation: 1,
            protocol: 2,
            versions: [1, 5, 2, 2, 5, 4],
            tags: BTreeMap::from([("role".into(), "consul".into())]),
        };
        let body = Body::Member(MemberEvent::Present(state.into()));
        let text = serde_json::to_string(&body).expect("JSON");
        assert_eq!(serde_json::from_str::<Body>(&text).expect("a body"), body);
    }
}
