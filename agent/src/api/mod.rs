//! The HTTP API: Consul's paths, parameters, headers, texts and bodies, plus our event stream.
//!
//! The root makes a [`Context`] of handles and calls [`serve`] for each listener. [`router`] finds the
//! endpoint in [`ENDPOINTS`], every path on one screen; an endpoint turns a `Call` into a response or a
//! `Refusal`. State is asked of the backend alone: nothing here knows Raft, SWIM or the store's tables.

mod agent;
mod agent_health;
mod autopilot;
mod body;
mod catalog;
mod company;
mod content_hash;
mod convert;
mod coordinate;
#[cfg(test)]
mod coordinate_tests;
mod definition;
mod error;
mod event;
mod extract;
mod health;
mod host;
mod json;
mod keyring;
mod kv;
mod later;
#[cfg(test)]
mod later_tests;
mod metrics;
mod monitor;
mod operator;
#[cfg(test)]
mod operator_tests;
mod plain;
mod register;
mod registered;
mod registration;
#[cfg(test)]
mod registration_tests;
mod reply;
mod router;
mod rows;
mod server;
mod status;
mod stream;
mod syntax;
mod target;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_tests;
mod works;

use std::collections::BTreeMap;

use axum::http::{HeaderName, HeaderValue};
use futures_util::future::BoxFuture;

pub use self::health::plain_instances;
use self::router::{Endpoint, Method, endpoints};
pub use self::server::serve;
use crate::backend::Backend;
use crate::checks::Checks;
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
    pub checks: Checks,
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
const READ_POST: &[Method] = &[Method::Get, Method::Post];
const READ_DELETE: &[Method] = &[Method::Get, Method::Delete];
const ALL: &[Method] = &[Method::Get, Method::Put, Method::Delete];

/// A path that ends in `/` is a prefix, and what follows is the call's tail.
static ENDPOINTS: &[Endpoint] = endpoints![
    "/v1/acl/auth-method"                PUT  later::acl,
    "/v1/acl/auth-method/"               ALL  later::acl,
    "/v1/acl/auth-methods"               GET  later::acl,
    "/v1/acl/binding-rule"               PUT  later::acl,
    "/v1/acl/binding-rule/"              ALL  later::acl,
    "/v1/acl/binding-rules"              GET  later::acl,
    "/v1/acl/bootstrap"                  PUT  later::acl,
    "/v1/acl/clone/"                     PUT  later::acl,
    "/v1/acl/create"                     PUT  later::acl,
    "/v1/acl/destroy/"                   PUT  later::acl,
    "/v1/acl/info/"                      GET  later::acl,
    "/v1/acl/list"                       GET  later::acl,
    "/v1/acl/login"                      POST later::acl,
    "/v1/acl/logout"                     POST later::acl,
    "/v1/acl/policies"                   GET  later::acl,
    "/v1/acl/policy"                     PUT  later::acl,
    "/v1/acl/policy/name/"               GET  later::acl,
    "/v1/acl/policy/"                    ALL  later::acl,
    "/v1/acl/replication"                GET  later::acl,
    "/v1/acl/role"                       PUT  later::acl,
    "/v1/acl/role/name/"                 GET  later::acl,
    "/v1/acl/role/"                      ALL  later::acl,
    "/v1/acl/roles"                      GET  later::acl,
    "/v1/acl/rules/translate"            POST later::acl,
    "/v1/acl/rules/translate/"           GET  later::acl,
    "/v1/acl/token"                      PUT  later::acl,
    "/v1/acl/token/self"                 GET  later::acl,
    "/v1/acl/token/"                     ALL  later::acl,
    "/v1/acl/tokens"                     GET  later::acl,
    "/v1/acl/update"                     PUT  later::acl,
    "/v1/agent/check/deregister/"        PUT  registration::deregister_check,
    "/v1/agent/check/fail/"              PUT  registration::fail,
    "/v1/agent/check/pass/"              PUT  registration::pass,
    "/v1/agent/check/register"           PUT  registration::register_check,
    "/v1/agent/check/update/"            PUT  registration::update,
    "/v1/agent/check/warn/"              PUT  registration::warn,
    "/v1/agent/checks"                   GET  registered::checks,
    "/v1/agent/connect/authorize"        POST later::authorize,
    "/v1/agent/connect/ca/leaf/"         GET  later::mesh,
    "/v1/agent/connect/ca/roots"         GET  later::mesh,
    "/v1/agent/events"                   GET  agent::events,
    "/v1/agent/force-leave/"             PUT  agent::force_leave,
    "/v1/agent/health/service/id/"       GET  agent_health::by_id,
    "/v1/agent/health/service/name/"     GET  agent_health::by_name,
    "/v1/agent/host"                     GET  host::host,
    "/v1/agent/join/"                    PUT  agent::join,
    "/v1/agent/leave"                    PUT  agent::leave,
    "/v1/agent/maintenance"              PUT  registration::node_maintenance,
    "/v1/agent/members"                  GET  agent::members,
    "/v1/agent/metrics"                  GET  metrics::metrics,
    "/v1/agent/monitor"                  GET  monitor::monitor,
    "/v1/agent/reload"                   PUT  agent::reload,
    "/v1/agent/self"                     GET  agent::oneself,
    "/v1/agent/service/deregister/"      PUT  registration::deregister_service,
    "/v1/agent/service/maintenance/"     PUT  registration::service_maintenance,
    "/v1/agent/service/register"         PUT  registration::register_service,
    "/v1/agent/service/"                 GET  registered::service,
    "/v1/agent/services"                 GET  registered::services,
    "/v1/agent/token/"                   PUT  later::acl,
    "/v1/catalog/connect/"               GET  catalog::connect,
    "/v1/catalog/datacenters"            GET  catalog::datacenters,
    "/v1/catalog/deregister"             PUT  register::deregister,
    "/v1/catalog/gateway-services/"      GET  later::gateway_services,
    "/v1/catalog/node-services/"         GET  catalog::node_services,
    "/v1/catalog/node/"                  GET  catalog::node,
    "/v1/catalog/nodes"                  GET  catalog::nodes,
    "/v1/catalog/register"               PUT  register::register,
    "/v1/catalog/service/"               GET  catalog::service,
    "/v1/catalog/services"               GET  catalog::services,
    "/v1/config"                         PUT  later::config_put,
    "/v1/config/"                        READ_DELETE later::config,
    "/v1/connect/ca/configuration"       GET_PUT later::mesh,
    "/v1/connect/ca/roots"               GET  later::mesh_roots,
    "/v1/connect/intentions"             READ_POST later::intentions,
    "/v1/connect/intentions/check"       GET  later::intentions_check,
    "/v1/connect/intentions/match"       GET  later::intentions_match,
    "/v1/connect/intentions/"            ALL  later::intention,
    "/v1/coordinate/datacenters"         GET  coordinate::datacenters,
    "/v1/coordinate/node/"               GET  coordinate::node,
    "/v1/coordinate/nodes"               GET  coordinate::nodes,
    "/v1/coordinate/update"              PUT  coordinate::update,
    "/v1/discovery-chain/"               READ_POST later::discovery_chain,
    "/v1/event/fire/"                    PUT  event::fire,
    "/v1/event/list"                     GET  event::list,
    "/v1/health/checks/"                 GET  health::checks,
    "/v1/health/connect/"                GET  health::connect,
    "/v1/health/ingress/"                GET  later::ingress,
    "/v1/health/node/"                   GET  health::node,
    "/v1/health/service/"                GET  health::service,
    "/v1/health/state/"                  GET  health::state,
    "/v1/internal/acl/authorize"         POST later::acl,
    "/v1/kv/"                            ALL  kv::kv,
    "/v1/operator/autopilot/configuration" GET_PUT autopilot::configuration,
    "/v1/operator/autopilot/health"      GET  autopilot::health,
    "/v1/operator/keyring"               KEYS keyring::keyring,
    "/v1/operator/raft/configuration"    GET  operator::raft_configuration,
    "/v1/operator/raft/peer"             DELETE operator::raft_peer,
    "/v1/operator/raft/transfer-leader"  POST operator::transfer_leader,
    "/v1/query"                          READ_POST later::queries,
    "/v1/query/"                         ALL  later::query,
    "/v1/session/create"                 PUT  later::session_create,
    "/v1/session/destroy/"               PUT  later::session_change,
    "/v1/session/info/"                  GET  later::session_info,
    "/v1/session/list"                   GET  later::session_list,
    "/v1/session/node/"                  GET  later::session_node,
    "/v1/session/renew/"                 PUT  later::session_change,
    "/v1/snapshot"                       GET_PUT later::snapshot,
    "/v1/status/leader"                  GET  status::leader,
    "/v1/status/peers"                   GET  status::peers,
    "/v1/txn"                            PUT  later::transaction,
];
