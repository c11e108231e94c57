//! What Consul's API answers when it is asked again and again: the other way into the model.
//!
//! `client` decodes answers into these and sends them; `update::polled` turns them into the same
//! model that the event stream feeds. Only the fields the screens use; the rest is ignored coming in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::api::agent::AgentMember;
use shared::api::coordinate::CoordinateEntry;
use shared::api::health::HealthCheck;
use shared::api::operator::{AutopilotConfiguration, RaftConfiguration};
use shared::event::CheckState;

pub use crate::msg::Identity;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Polled {
    /// `/v1/agent/self`, first thing on every connection, ours included.
    Identity(Identity),
    /// `/v1/status/leader`: `host:port` of the leader's Raft address, none when it is empty.
    Leader(Option<String>),
    /// `/v1/status/peers`: Raft addresses.
    Peers(Vec<String>),
    /// `/v1/operator/raft/configuration`
    RaftConfiguration(RaftConfiguration),
    /// `/v1/operator/autopilot/health`, whether 200 or 429.
    Autopilot(AutopilotHealth),
    /// `/v1/agent/members`
    Members(Vec<AgentMember>),
    /// `/v1/agent/members?wan=1`; empty where there is no such pool.
    WanMembers(Vec<AgentMember>),
    /// `/v1/coordinate/nodes`, asked of both kinds of agent; empty while it is being measured.
    Coordinates(Vec<CoordinateEntry>),
    /// `/v1/health/state/any`, asked of both kinds of agent.
    Checks(Vec<HealthCheck>),
    /// `/v1/catalog/services`: tags by name. Asked of both kinds of agent.
    Services(BTreeMap<String, Vec<String>>),
    /// `/v1/health/service/…`: all instances of one service. Asked of both kinds of agent.
    Instances { service: String, entries: Vec<InstanceEntry> },
    /// `Stats.raft` of `/v1/agent/self`, as its strings.
    Stats(BTreeMap<String, String>),
    /// One line of `/v1/agent/monitor?loglevel=debug`, as it came, without its newline.
    MonitorLine(String),
    /// `/v1/operator/autopilot/configuration`, asked of both kinds of agent.
    Rules(AutopilotConfiguration),
    /// `/v1/agent/metrics`: what it took to have the log on disk, mean and most in milliseconds; asked of ours.
    Syncs { mean_ms: f64, most_ms: f64 },
    /// What a node's own agent tells of its checks.
    Checked { node: String, checks: Vec<CheckState> },
}

/// A row of `/v1/health/service/…`, of which other agents may leave out what they have not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct InstanceEntry {
    pub node: EntryNode,
    pub service: EntryService,
    pub checks: Option<Vec<HealthCheck>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EntryNode {
    pub node: String,
    pub address: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EntryService {
    #[serde(rename = "ID")]
    pub id: String,
    pub tags: Option<Vec<String>>,
    pub address: String,
    pub port: u64,
    pub meta: Option<BTreeMap<String, String>>,
    pub weights: EntryWeights,
    pub enable_tag_override: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EntryWeights {
    pub passing: u64,
    pub warning: u64,
}

/// `/v1/operator/autopilot/health`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AutopilotHealth {
    pub healthy: bool,
    pub failure_tolerance: i64,
    pub servers: Vec<ServerHealth>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServerHealth {
    #[serde(rename = "ID")]
    pub id: String,
    pub name: String,
    /// `host:port`
    pub address: String,
    /// serf's word: `alive`, `failed`, `left`.
    pub serf_status: String,
    pub version: String,
    pub leader: bool,
    /// Go's notation: `12.5ms`, `0s`; `-1ns` or `never` when unknown.
    pub last_contact: String,
    pub last_term: u64,
    pub last_index: u64,
    pub healthy: bool,
    pub voter: bool,
    /// RFC 3339.
    pub stable_since: String,
}
