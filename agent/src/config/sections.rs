//! The parts of a [`Config`](super::Config), named as Consul's configuration blocks are.
//!
//! Values only; their defaults are Consul 1.8.7's where the field says nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// None: -1, switched off. `Some(0)`: any free port, for tests and the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    pub dns: Option<u16>,
    pub http: Option<u16>,
    pub https: Option<u16>,
    pub grpc: Option<u16>,
    pub server: u16,
    pub serf_lan: u16,
    pub serf_wan: Option<u16>,
}

/// How one pool is joined at start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Join {
    /// Tried once, before the agent is up; a failure ends it.
    pub start: Vec<String>,
    /// Tried until one answers.
    pub retry: Vec<String>,
    /// The longest pause between two tries.
    pub retry_interval: Duration,
    /// 0: for ever.
    pub retry_max: u32,
}

/// The timing of one gossip pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gossip {
    pub gossip_interval: Duration,
    pub gossip_nodes: u32,
    pub probe_interval: Duration,
    pub probe_timeout: Duration,
    pub retransmit_mult: u32,
    pub suspicion_mult: u32,
}

/// 16, 24 or 32 bytes; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptKey(pub Vec<u8>);

impl std::fmt::Debug for EncryptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EncryptKey(hidden)")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Performance {
    /// 1 to 10; 1 by default, where Consul has 5 (see compat.md).
    pub raft_multiplier: u32,
    pub leave_drain_time: Duration,
    pub rpc_hold_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raft {
    pub protocol: u32,
    pub snapshot_threshold: u64,
    pub snapshot_interval: Duration,
    pub trailing_logs: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Autopilot {
    pub cleanup_dead_servers: bool,
    pub last_contact_threshold: Duration,
    pub max_trailing_logs: u64,
    pub min_quorum: u32,
    pub server_stabilization_time: Duration,
    pub disable_upgrade_migration: bool,
    pub redundancy_zone_tag: String,
    pub upgrade_version_tag: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// With the final dot: `consul.`
    pub domain: String,
    /// With the final dot; None when there is none.
    pub alt_domain: Option<String>,
    /// `host:port` or a bare address, in the order to ask.
    pub recursors: Vec<String>,
    pub recursor_timeout: Duration,
    pub allow_stale: bool,
    pub max_stale: Duration,
    /// 0: no limit.
    pub a_record_limit: usize,
    pub udp_answer_limit: usize,
    pub node_ttl: Duration,
    /// By service name; `*` and prefixes ending in `*` are patterns.
    pub service_ttl: BTreeMap<String, Duration>,
    pub only_passing: bool,
    pub disable_compression: bool,
    pub enable_truncate: bool,
    pub enable_additional_node_meta_txt: bool,
    pub use_cache: bool,
    pub cache_max_age: Duration,
    pub soa: Soa,
}

/// In seconds, as they go on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soa {
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
    pub min_ttl: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Http {
    /// Path prefixes that are answered with 403.
    pub block_endpoints: Vec<String>,
    pub response_headers: BTreeMap<String, String>,
    /// Networks that may write; empty: any.
    pub allow_write_http_from: Vec<Network>,
    pub use_cache: bool,
    pub disable_unprintable_char_filter: bool,
}

/// An address block in CIDR notation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub addr: std::net::IpAddr,
    pub prefix: u8,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    pub http_max_conns_per_client: usize,
    pub https_handshake_timeout: Duration,
    pub rpc_handshake_timeout: Duration,
    pub rpc_max_conns_per_client: usize,
    /// Requests a second; None: no limit.
    pub rpc_rate: Option<f64>,
    pub rpc_max_burst: usize,
    /// Bytes.
    pub kv_max_value_size: usize,
    pub txn_max_req_len: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ui {
    pub enabled: bool,
    pub content_path: String,
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `TRACE`, `DEBUG`, `INFO`, `WARN` or `ERROR`.
    pub level: String,
    pub json: bool,
    pub file: Option<PathBuf>,
    pub rotate_bytes: u64,
    pub rotate_duration: Duration,
    pub rotate_max_files: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks {
    pub update_interval: Duration,
    pub output_max_size: usize,
    pub discard_output: bool,
    pub enable_script: bool,
    pub enable_local_script: bool,
}
