//! What an agent is told: defaults < `-dev` defaults < files in order < flags, as one immutable value.
//!
//! `commands` calls [`load`] and prints what it refuses; `agent.rs` builds the agent from the [`Config`].
//! Everything here is pure but `read.rs`, which reads the files that flags name. What may be written is
//! one table, `keys.rs`; every value is checked once, here, and is valid by type past this door.

mod addresses;
mod arguments;
mod banner;
mod debug;
mod defaults;
mod defined;
mod definitions;
mod document;
mod hcl;
mod keys;
mod load;
mod meant;
mod place;
mod problem;
mod read;
mod reload;
mod sections;
mod table;
#[cfg(test)]
mod tests;
mod validate;
mod values;

pub use arguments::help;
pub use banner::{Warning, banner, messages, warnings};
pub use debug::debug_config;
pub use defined::{Service, weights, with_family};
pub use keys::{is_off, listing};
pub use load::{Loaded, Notice, load, services, validate};
pub use place::Place;
pub use problem::{Errors, Refusal};
pub use reload::{Reload, reload};
pub use sections::*;
pub use validate::meta_fault;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::checks::spec::Check;

/// The machine, as values, so that this room asks nothing of it.
#[derive(Debug, Clone, Default)]
pub struct Host {
    pub hostname: String,
    /// One entry for each address of each interface that is up.
    pub interfaces: Vec<Interface>,
}

#[derive(Debug, Clone)]
pub struct Interface {
    pub name: String,
    pub addr: IpAddr,
    pub is_loopback: bool,
}

/// Final and meant: no key is unset, no two contradict. Built by [`load`] and never changed;
/// a reload builds another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub node_name: String,
    /// Set only when the user names one; otherwise the data directory's, or a new one.
    pub node_id: Option<uuid::Uuid>,
    pub datacenter: String,
    pub primary_datacenter: String,
    pub server: bool,
    /// A server that elects itself at once. `bootstrap_expect = 1` arrives here as `true`.
    pub bootstrap: bool,
    /// Servers to wait for; 0 when none are. Never 1.
    pub bootstrap_expect: u32,
    pub dev: bool,
    /// None only with `dev`.
    pub data_dir: Option<PathBuf>,
    pub pid_file: Option<PathBuf>,
    pub disable_host_node_id: bool,
    pub node_meta: BTreeMap<String, String>,
    /// `lan`, `lan_ipv4`, `wan`, `wan_ipv4` (or `_ipv6`) and what the user adds.
    pub tagged_addresses: BTreeMap<String, String>,
    pub translate_wan_addrs: bool,

    pub bind_addr: IpAddr,
    pub advertise_addr: IpAddr,
    pub advertise_addr_wan: IpAddr,
    /// Where DNS and HTTP listen when `addresses` says nothing else.
    pub client_addrs: Vec<IpAddr>,
    pub ports: Ports,
    pub listen: Listen,

    pub join_lan: Join,
    pub join_wan: Join,
    pub rejoin_after_leave: bool,
    /// What agents say that they speak, 2 or 3.
    pub protocol: u8,
    /// Zero: serf's own default.
    pub reconnect_timeout_lan: Duration,
    pub reconnect_timeout_wan: Duration,
    pub gossip_lan: Gossip,
    pub gossip_wan: Gossip,
    pub encrypt: Option<EncryptKey>,
    pub encrypt_verify_incoming: bool,
    pub encrypt_verify_outgoing: bool,
    pub disable_keyring_file: bool,
    pub disable_coordinates: bool,

    pub leave_on_terminate: bool,
    /// None: the user said nothing, and an interrupt leaves where that is safe.
    pub skip_leave_on_interrupt: Option<bool>,
    pub performance: Performance,
    pub raft: Raft,
    pub autopilot: Autopilot,
    pub dns: Dns,
    pub http: Http,
    pub limits: Limits,
    pub ui: Ui,
    pub log: Log,
    pub checks: Checks,
    pub services: Vec<Service>,
    /// Checks that stand outside of services, though they may belong to one.
    pub node_checks: Vec<Check>,

    pub default_query_time: Duration,
    pub max_query_time: Duration,
    pub session_ttl_min: Duration,
    /// `max_stale` that is asked of discovery requests; zero: none.
    pub discovery_max_stale: Duration,
    pub enable_debug: bool,
    pub disable_remote_exec: bool,
    pub disable_update_check: bool,
    pub disable_anonymous_signature: bool,
}

/// Where the agent listens, ports and addresses put together. Empty: that protocol is off.
#[derive(Debug, Clone, PartialEq)]
pub struct Listen {
    pub dns: Vec<SocketAddr>,
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    pub grpc: Vec<SocketAddr>,
    /// Port 8300 of servers: bound at `rpc_bind`, told to others as `rpc_advertise`.
    pub rpc_bind: SocketAddr,
    pub rpc_advertise: SocketAddr,
    pub serf_lan_bind: SocketAddr,
    pub serf_lan_advertise: SocketAddr,
    /// None: `ports.serf_wan` is -1.
    pub serf_wan_bind: Option<SocketAddr>,
    pub serf_wan_advertise: Option<SocketAddr>,
}

impl Config {
    /// Whether this server stands at once, without waiting for others.
    pub fn elects_itself(&self) -> bool {
        self.server && (self.bootstrap || self.dev)
    }
}
