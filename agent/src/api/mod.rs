//! The HTTP API: Consul's paths, parameters, headers, texts and bodies, plus our event stream.
//!
//! The root makes a [`Context`] of handles and calls [`serve`] for each listener. [`router`] finds the
//! endpoint in [`ENDPOINTS`], every path on one screen; an endpoint turns a `Call` into a response or a
//! `Refusal`. State is asked of the backend alone: nothing here knows Raft, SWIM or the store's tables.

mod agent;
mod autopilot;
mod catalog;
mod convert;
mod coordinate;
#[cfg(test)]
mod coordinate_tests;
mod error;
mod event;
mod extract;
mod health;
mod host;
mod json;
mod keyring;
mod kv;
mod metrics;
mod monitor;
mod operator;
#[cfg(test)]
mod operator_tests;
mod registered;
mod reply;
mod router;
mod server;
mod status;
mod stream;
mod target;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_tests;

use std::collections::BTreeMap;

use axum::http::{HeaderName, HeaderValue};
use futures_util::future::BoxFuture;

use self::router::{Endpoint, Method, endpoints};
pub use self::server::serve;
use crate::backend::Backend;
use crate::events::Bus;
use crate::gossip::Gossip;
use crate::local::Local;
use crate::logs::Logs;
use crate::telemetry::Telemetry;
use crate::user_events::UserEvents;

/// What of the agent answers are made from. Made by the root, never changed.
pub struct Context {
    pub backend: Backend,
    pub local: Local,
    pub lan: Gossip,
    /// Servers only.
    pub wan: Option<Gossip>,
    pub logs: Logs,
    pub events: Bus,
    pub telemetry: Telemetry,
    pub user_events: UserEvents,
    pub control: Box<dyn Control>,
    pub node_name: String,
    /// The persisted UUID.
    pub node_id: String,
    pub datacenter: String,
    pub server: bool,
    pub bootstrap: bool,
    /// Network coordinates are kept and told.
    pub coordinates: bool,
    /// Gossip is encrypted.
    pub encrypted: bool,
    /// The API level that programs see, `1.8.7`.
    pub version: &'static str,
    /// What we are, as in the `build` tag after the colon.
    pub revision: String,
    pub node_meta: BTreeMap<String, String>,
    /// `DebugConfig` of `/v1/agent/self`.
    pub debug_config: serde_json::Value,
    /// `-dev`: every JSON answer is indented.
    pub always_pretty: bool,
    pub kv_max_value_size: usize,
    /// Connections from one address; 0 for any number.
    pub max_conns_per_client: usize,
    /// `http_config.response_headers`.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    /// `http_config.block_endpoints`.
    pub block_endpoints: Vec<String>,
    /// Where the web view will be: with a slash at both ends; none where it is off.
    pub ui: Option<String>,
}

/// What an agent can be told to do. The root's.
pub trait Control: Send + Sync {
    /// Leaves the pools and returns; the agent ends once this answer is out. An error's text is told.
    fn leave(&self, lose_quorum: bool) -> BoxFuture<'_, Result<(), String>>;

    /// Reads the configuration again.
    fn reload(&self) -> BoxFuture<'_, Result<(), String>>;
}

const GET: &[Method] = &[Method::Get];
const PUT: &[Method] = &[Method::Put];
const GET_PUT: &[Method] = &[Method::Get, Method::Put];
const POST: &[Method] = &[Method::Post];
const DELETE: &[Method] = &[Method::Delete];
const KEYS: &[Method] = &[Method::Get, Method::Post, Method::Put, Method::Delete];
const ALL: &[Method] = &[Method::Get, Method::Put, Method::Delete];

/// A path that ends in `/` is a prefix, and what follows is the call's tail.
static ENDPOINTS: &[Endpoint] = endpoints![
    "/v1/agent/checks"                   GET  registered::checks,
    "/v1/agent/events"                   GET  agent::events,
    "/v1/agent/force-leave/"             PUT  agent::force_leave,
    "/v1/agent/host"                     GET  host::host,
    "/v1/agent/join/"                    PUT  agent::join,
    "/v1/agent/leave"                    PUT  agent::leave,
    "/v1/agent/members"                  GET  agent::members,
    "/v1/agent/metrics"                  GET  metrics::metrics,
    "/v1/agent/monitor"                  GET  monitor::monitor,
    "/v1/agent/reload"                   PUT  agent::reload,
    "/v1/agent/self"                     GET  agent::oneself,
    "/v1/agent/service/"                 GET  registered::service,
    "/v1/agent/services"                 GET  registered::services,
    "/v1/catalog/datacenters"            GET  catalog::datacenters,
    "/v1/catalog/node-services/"         GET  catalog::node_services,
    "/v1/catalog/node/"                  GET  catalog::node,
    "/v1/catalog/nodes"                  GET  catalog::nodes,
    "/v1/catalog/service/"               GET  catalog::service,
    "/v1/catalog/services"               GET  catalog::services,
    "/v1/coordinate/datacenters"         GET  coordinate::datacenters,
    "/v1/coordinate/node/"               GET  coordinate::node,
    "/v1/coordinate/nodes"               GET  coordinate::nodes,
    "/v1/coordinate/update"              PUT  coordinate::update,
    "/v1/event/fire/"                    PUT  event::fire,
    "/v1/event/list"                     GET  event::list,
    "/v1/health/checks/"                 GET  health::checks,
    "/v1/health/node/"                   GET  health::node,
    "/v1/health/service/"                GET  health::service,
    "/v1/health/state/"                  GET  health::state,
    "/v1/kv/"                            ALL  kv::kv,
    "/v1/operator/autopilot/configuration" GET_PUT autopilot::configuration,
    "/v1/operator/autopilot/health"      GET  autopilot::health,
    "/v1/operator/keyring"               KEYS keyring::keyring,
    "/v1/operator/raft/configuration"    GET  operator::raft_configuration,
    "/v1/operator/raft/peer"             DELETE operator::raft_peer,
    "/v1/operator/raft/transfer-leader"  POST operator::transfer_leader,
    "/v1/status/leader"                  GET  status::leader,
    "/v1/status/peers"                   GET  status::peers,
];
