//! Wires the agent: binds every socket first, so that a port in use is known before anything is
//! written, then opens engines, waist, workers and edges, from the inside out.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue};
use futures_util::future::BoxFuture;
use shared::event::{AgentEvent, MemberEvent, Pool};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::claims;
use super::servers::{self, View};
use super::tags::{self, tags};
use crate::backend::{self, Backend, Others, Watches};
use crate::checks::Checks;
use crate::config::Config;
use crate::control::{Control, Order};
use crate::events::{self, Bus, Relay, Sources, pump};
use crate::gossip::seal::{Key, Seal};
use crate::gossip::{self, Gossip, Heard};
use crate::leader::{Duties, Membership};
use crate::local::Local;
use crate::logs::Logs;
use crate::raft::bootstrap::Own;
use crate::raft::forming::{Forming, Wanted};
use crate::raft::{self, Raft};
use crate::store::command::AutopilotFields;
use crate::swim::admission::Admission;
use crate::swim::timing::Timing;
use crate::tasks::Tasks;
use crate::telemetry::Telemetry;
use crate::user_events::filter::Service;
use crate::user_events::{self, UserEvents};
use crate::{api, clock, dns, rpc};

/// Notices on their way to the event pump; a full queue is counted by its sender.
const NOTICES: usize = 4_096;

/// What the process decided before there was an agent.
pub(super) struct Ground {
    pub config: Config,
    pub node_id: uuid::Uuid,
    /// `raft/` under the data directory; none with `-dev`.
    pub raft_dir: Option<std::path::PathBuf>,
    /// `serf/` under the data directory; none with `-dev`.
    pub serf_dir: Option<std::path::PathBuf>,
    pub logs: Logs,
    pub telemetry: Telemetry,
}

/// Everything that runs. Ended by `ending`, in the reverse order of its making.
pub(super) struct Running {
    pub edges: Tasks,
    pub workers: Tasks,
    pub engines: Tasks,
    /// 8300, which is closed last: to its peers that is the end of this process.
    pub server: Tasks,
    pub stream: Tasks,
    pub lan: Gossip,
    pub wan: Option<Gossip>,
    pub raft: Option<Raft>,
    /// How a server with `bootstrap_expect` comes to a cluster.
    pub forming: Option<Forming>,
    pub backend: Backend,
    pub local: Local,
    /// This server's Raft ID, the node ID.
    pub server_id: String,
    pub orders: mpsc::Receiver<Order>,
    pub agent_events: mpsc::Sender<AgentEvent>,
    pub http: Vec<SocketAddr>,
    pub dns: Vec<SocketAddr>,
    /// What answers there, to be told of a new configuration.
    pub names: Vec<dns::Handle>,
}

/// Consul's text for what kept the agent from starting.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct StartError(pub String);

/// Where the edges are.
struct Edges {
    dns: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    names: Vec<dns::Handle>,
}

/// What is bound before anything starts, and the recursors by their addresses.
struct Sockets {
    rpc: Option<TcpListener>,
    dns: Vec<dns::Sockets>,
    recursors: Vec<SocketAddr>,
    http: Vec<TcpListener>,
}

/// Builds the agent and starts it; nothing is asked of Raft before all of it stands.
pub(super) async fn build(ground: &Ground, tasks: &Tasks) -> Result<Running, StartError> {
    let config = &ground.config;
    let mut sockets = bind(config).await?;
    let boot = format!("{:016x}", uuid::Uuid::new_v4().as_u64_pair().0);
    let bus = Bus::new(&config.node_name, &boot);
    let (member_notices, members) = mpsc::channel(NOTICES);
    let (raft_notices, raft_events) = mpsc::channel(NOTICES);
    let (agent_events, from_agent) = mpsc::channel(64);
    let (heard, from_pool) = mpsc::channel(NOTICES);
    let (user_told, user_events) = mpsc::channel(NOTICES);
    let (local_notices, from_local) = mpsc::channel(NOTICES);
    let (stream, logs) = (tasks.child(), ground.logs.clone());
    let sources = Sources { members, raft: raft_events, agent: from_agent, user: user_events, local: from_local, logs };
    stream.spawn("events", pump::run(bus.clone(), sources, stream.token()));

    let engines = tasks.child();
    let watches = Watches::new();
    let pool = rpc_pool(config, &engines);
    let raft = open_raft(ground, pool.clone(), &engines, raft_notices, &watches).await?;
    let wan = open_wan(ground, &engines, member_notices.clone()).await?;
    let lan = open_pool(ground, Pool::Lan, &engines, member_notices, heard).await?;
    let workers = tasks.child();
    let backend = backend(ground, raft.as_ref(), watches, pool.clone(), &lan, &workers);
    let forming = raft.as_ref().map(|raft| forming(ground, raft, pool.clone(), &lan, &workers));
    relay(ground, &bus, pool, &lan).start(&workers);
    let (server, handlers) = (tasks.child(), handlers(&backend, raft.as_ref(), forming.as_ref(), &bus));
    if let Some(listener) = sockets.rpc.take() {
        rpc::serve(listener, handlers, rpc_limits(config), &server);
    }
    let ((control, orders), edges) = (Control::new(), tasks.child());
    start_workers(ground, &workers, &lan, wan.as_ref(), raft.as_ref(), &backend);
    let (local, checks) = claims::open(ground, local_notices, &backend, &workers).map_err(StartError)?;
    let user_events =
        UserEvents::start(user_event_settings(config, &local), lan.clone(), from_pool, user_told, &workers);
    let Edges { dns, http, names } =
        start_edges(ground, &edges, sockets, &lan, wan.as_ref(), &backend, &local, checks, &bus, user_events, control)?;
    local.start(backend.clone(), lan.members(), &workers);
    let _ = agent_events.try_send(running_event(ground));
    Ok(Running {
        edges,
        workers,
        engines,
        server,
        stream,
        lan,
        wan,
        raft,
        forming,
        backend,
        local,
        server_id: ground.node_id.to_string(),
        orders,
        agent_events,
        http,
        dns,
        names,
    })
}

/// Bound to one address, so that others count our connections as ours.
fn rpc_pool(config: &Config, engines: &Tasks) -> rpc::Pool {
    let source = config.listen.rpc_bind.ip();
    rpc::Pool::new((!source.is_unspecified()).then_some(source), engines)
}

async fn bind(config: &Config) -> Result<Sockets, StartError> {
    let rpc =
        match config.server {
            true => Some(listen(config.listen.rpc_bind).await.map_err(|text| {
                StartError(format!("Failed to start Consul server: Failed to start RPC layer: {text}"))
            })?),
            false => None,
        };
    let mut dns = Vec::new();
    for address in &config.listen.dns {
        let bound = dns::Sockets::bind(*address).await;
        dns.push(bound.map_err(|(network, problem)| StartError(listen_text(network, *address, &problem)))?);
    }
    let mut http = Vec::new();
    for address in &config.listen.http {
        http.push(listen(*address).await.map_err(StartError)?);
    }
    let recursors = dns::recursors(&config.dns.recursors).await.map_err(StartError)?;
    Ok(Sockets { rpc, dns, recursors, http })
}

async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|problem| listen_text("tcp", address, &problem))
}

/// `listen tcp 127.0.0.1:8500: bind: address already in use`, as Go says it.
fn listen_text(network: &str, address: SocketAddr, problem: &std::io::Error) -> String {
    let reason = match problem.raw_os_error() {
        Some(code) => rustix::io::Errno::from_raw_os_error(code).to_string().to_lowercase(),
        None => problem.to_string(),
    };
    let reason = reason.split(" (os error").next().unwrap_or_default().to_owned();
    format!("listen {network} {address}: bind: {reason}")
}

async fn open_raft(
    ground: &Ground,
    pool: rpc::Pool,
    engines: &Tasks,
    notices: mpsc::Sender<raft::Notice>,
    watches: &Watches,
) -> Result<Option<Raft>, StartError> {
    let config = &ground.config;
    if !config.server {
        return Ok(None);
    }
    let options = raft::Options {
        dir: ground.raft_dir.clone(),
        node_id: ground.node_id,
        node_name: config.node_name.clone(),
        address: config.listen.rpc_advertise.to_string(),
        multiplier: config.performance.raft_multiplier,
        bootstrap: config.elects_itself(),
        snapshot_threshold: config.raft.snapshot_threshold,
        snapshot_interval: config.raft.snapshot_interval,
        trailing_logs: config.raft.trailing_logs,
    };
    let raft = Raft::prepare(options, pool, engines, notices, watches.on_applied()).await;
    raft.map(Some).map_err(|problem| {
        StartError(format!("Failed to start Consul server: Failed to start Raft: {}", chain(&problem)))
    })
}

async fn open_wan(
    ground: &Ground,
    engines: &Tasks,
    notices: mpsc::Sender<MemberEvent>,
) -> Result<Option<Gossip>, StartError> {
    if !ground.config.server || ground.config.listen.serf_wan_bind.is_none() {
        return Ok(None);
    }
    // Consul: nobody hears user events of the WAN pool.
    let (nobody, _) = mpsc::channel(1);
    open_pool(ground, Pool::Wan, engines, notices, nobody).await.map(Some)
}

async fn open_pool(
    ground: &Ground,
    pool: Pool,
    engines: &Tasks,
    notices: mpsc::Sender<MemberEvent>,
    heard: mpsc::Sender<Heard>,
) -> Result<Gossip, StartError> {
    let config = &ground.config;
    let wan = pool == Pool::Wan;
    let listen = &config.listen;
    let (bind, advertise, name) = match (wan, listen.serf_wan_bind, listen.serf_wan_advertise) {
        (true, Some(bind), Some(advertise)) => (bind, advertise, format!("{}.{}", config.node_name, config.datacenter)),
        _ => (listen.serf_lan_bind, listen.serf_lan_advertise, config.node_name.clone()),
    };
    let (seal, keyring_file) = open_seal(ground, wan)?;
    let admission = Admission {
        pool,
        name: name.clone(),
        node_id: ground.node_id.to_string(),
        datacenter: config.datacenter.clone(),
        server: config.server,
    };
    let options = gossip::Options {
        admission: Some(admission),
        pool,
        name,
        bind,
        advertise: advertise.ip(),
        advertise_port: advertise.port(),
        tags: tags(config, ground.node_id, wan),
        timing: timing(config, wan),
        server: config.server,
        seal,
        keyring_file,
        heard,
        coordinates: !config.disable_coordinates,
        memory: ground.serf_dir.as_ref().map(|dir| gossip::keeper::Options {
            path: dir.join(if wan { "remote.snapshot" } else { "local.snapshot" }),
            rejoin_after_leave: config.rejoin_after_leave,
        }),
    };
    let what = if config.server { "server" } else { "client" };
    let pool_name = if wan { "WAN" } else { "LAN" };
    Gossip::open(options, engines, notices).await.map_err(|problem| {
        let reason = match &problem {
            gossip::OpenError::Bind { address, source, .. } => format!(
                "Failed to create memberlist: Could not set up network transport: failed to obtain an address: \
                 Failed to start TCP listener on {:?} port {}: {}",
                address.ip().to_string(),
                address.port(),
                listen_text("tcp", *address, source)
            ),
            gossip::OpenError::Refused(text) => text.clone(),
        };
        StartError(format!("Failed to start Consul {what}: Failed to start {pool_name} Serf: {reason}"))
    })
}

/// What the configuration says of a pool's timing; the rest is the pool's own.
fn timing(config: &Config, wan: bool) -> Timing {
    let (said, kept, own) = match wan {
        true => (&config.gossip_wan, config.reconnect_timeout_wan, Timing::wan()),
        false => (&config.gossip_lan, config.reconnect_timeout_lan, Timing::lan()),
    };
    Timing {
        gossip_interval: said.gossip_interval,
        gossip_nodes: said.gossip_nodes as usize,
        probe_interval: said.probe_interval,
        probe_timeout: said.probe_timeout,
        suspicion_multiplier: said.suspicion_mult,
        retransmit_multiplier: said.retransmit_mult,
        failed_kept: if kept.is_zero() { own.failed_kept } else { kept },
        ..own
    }
}

/// The pool's keys: of the keyring file where there is one, else the one that is configured.
fn open_seal(ground: &Ground, wan: bool) -> Result<(Arc<Seal>, Option<std::path::PathBuf>), StartError> {
    let config = &ground.config;
    let failed = |problem: &dyn std::error::Error| {
        let source = problem.source().map(|source| format!(": {source}")).unwrap_or_default();
        StartError(format!("{problem}{source}"))
    };
    let given = config.encrypt.as_ref().map(|key| Key::new(&key.0)).transpose().map_err(|problem| failed(&problem))?;
    let file = match &ground.serf_dir {
        Some(dir) if !config.disable_keyring_file => {
            Some(dir.join(if wan { "remote.keyring" } else { "local.keyring" }))
        }
        _ => None,
    };
    let keys = match &file {
        Some(path) => gossip::keyring::open(path, given).map_err(|problem| failed(&problem))?,
        None => given.into_iter().collect(),
    };
    Ok((Seal::new(keys, config.encrypt_verify_incoming, config.encrypt_verify_outgoing), file))
}

fn start_workers(
    ground: &Ground,
    workers: &Tasks,
    lan: &Gossip,
    wan: Option<&Gossip>,
    raft: Option<&Raft>,
    backend: &Backend,
) {
    let config = &ground.config;
    let view = if config.server { View::ServerLan } else { View::Client };
    workers.spawn("lan servers", servers::follow(lan.members(), view, workers.token()));
    if let Some(wan) = wan {
        workers.spawn("wan servers", servers::follow(wan.members(), View::ServerWan, workers.token()));
    }
    if let Some(raft) = raft {
        let duties = Duties {
            node_name: config.node_name.clone(),
            server_id: ground.node_id.to_string(),
            datacenter: config.datacenter.clone(),
            backend: backend.clone(),
            raft: raft.state(),
            members: lan.members(),
            membership: Some(Membership {
                raft: raft.clone(),
                lan: lan.clone(),
                rules: rules(config),
                bootstrap: config.bootstrap,
            }),
        };
        duties.start(workers);
    }
}

#[expect(clippy::too_many_arguments, reason = "the edges are where all handles meet")]
fn start_edges(
    ground: &Ground,
    edges: &Tasks,
    Sockets { dns, recursors, http, .. }: Sockets,
    lan: &Gossip,
    wan: Option<&Gossip>,
    backend: &Backend,
    local: &Local,
    checks: Checks,
    bus: &Bus,
    user_events: UserEvents,
    control: Control,
) -> Result<Edges, StartError> {
    let config = &ground.config;
    let unnamed = |problem: std::io::Error| StartError(format!("read a bound address: {problem}"));
    let mut dns_at = Vec::new();
    let mut names = Vec::new();
    for sockets in dns {
        dns_at.push(sockets.local_addr().map_err(unnamed)?);
        let context = dns::Context {
            backend: backend.clone(),
            settings: config.dns.clone(),
            recursors: recursors.clone(),
            datacenter: config.datacenter.clone(),
        };
        names.push(dns::serve(sockets, context, edges));
    }
    let context = Arc::new(api::Context {
        backend: backend.clone(),
        local: local.clone(),
        checks,
        lan: lan.clone(),
        wan: wan.cloned(),
        logs: ground.logs.clone(),
        events: bus.clone(),
        telemetry: ground.telemetry.clone(),
        user_events,
        control: Box::new(control),
        node_name: config.node_name.clone(),
        node_id: ground.node_id.to_string(),
        datacenter: config.datacenter.clone(),
        server: config.server,
        bootstrap: config.bootstrap,
        coordinates: !config.disable_coordinates,
        encrypted: lan.seal().is_on(),
        version: tags::API_VERSION,
        revision: String::new(),
        node_meta: config.node_meta.clone(),
        debug_config: crate::config::debug_config(config, &ground.node_id.to_string(), tags::API_VERSION),
        always_pretty: config.dev,
        kv_max_value_size: config.limits.kv_max_value_size,
        max_conns_per_client: config.limits.http_max_conns_per_client,
        response_headers: response_headers(config)?,
        block_endpoints: config.http.block_endpoints.clone(),
        ui: config.ui.enabled.then(|| config.ui.content_path.clone()),
    });
    let mut http_at = Vec::new();
    for listener in http {
        let address = listener.local_addr().map_err(unnamed)?;
        tracing::info!(target: "agent", %address, network = "tcp", "Started HTTP server");
        http_at.push(address);
        edges.spawn("http", api::serve(listener, Arc::clone(&context), edges.clone()));
    }
    Ok(Edges { dns: dns_at, http: http_at, names })
}

fn user_event_settings(config: &Config, local: &Local) -> user_events::Settings {
    let local = local.clone();
    user_events::Settings {
        node_name: config.node_name.clone(),
        server: config.server,
        services: Box::new(move || {
            let services = local.services().into_iter();
            services.map(|service| Service { id: service.id, tags: service.tags }).collect()
        }),
    }
}

fn backend_options(config: &Config) -> backend::Options {
    backend::Options {
        rpc_hold_timeout: config.performance.rpc_hold_timeout,
        default_query_time: config.default_query_time,
        max_query_time: config.max_query_time,
    }
}

/// The waist: on a server beside its own Raft, on a client by asking servers.
fn backend(
    ground: &Ground,
    raft: Option<&Raft>,
    watches: Watches,
    pool: rpc::Pool,
    lan: &Gossip,
    workers: &Tasks,
) -> Backend {
    let config = &ground.config;
    let others = Others::start(pool, lan.members(), config.datacenter.clone(), ground.node_id.to_string(), workers);
    match raft {
        Some(raft) => Backend::server(raft.clone(), watches, others, backend_options(config)),
        None => Backend::client(others, backend_options(config)),
    }
}

/// What other agents may ask of this one.
fn handlers(backend: &Backend, raft: Option<&Raft>, forming: Option<&Forming>, bus: &Bus) -> rpc::Handlers {
    let events = Some((rpc::Service::Events, events::relay::handler(bus)));
    let raft = raft.map(|raft| (rpc::Service::Raft, raft.handler()));
    let forming = forming.map(|forming| (rpc::Service::Bootstrap, forming.handler()));
    [Some((rpc::Service::Backend, backend.handler())), raft, forming, events].into_iter().flatten().collect()
}

fn relay(ground: &Ground, bus: &Bus, pool: rpc::Pool, lan: &Gossip) -> Relay {
    let config = &ground.config;
    Relay {
        bus: bus.clone(),
        pool,
        members: lan.members(),
        datacenter: config.datacenter.clone(),
        node_name: config.node_name.clone(),
        server: config.server,
    }
}

fn forming(ground: &Ground, raft: &Raft, pool: rpc::Pool, lan: &Gossip, workers: &Tasks) -> Forming {
    let config = &ground.config;
    let own = Own {
        id: ground.node_id,
        name: config.node_name.clone(),
        datacenter: config.datacenter.clone(),
        expect: config.bootstrap_expect,
    };
    let seen = servers::seen(lan.members(), workers);
    let hosts =
        config.join_lan.retry.iter().filter(|entry| !entry.contains("provider=")).map(|entry| servers::host_of(entry));
    let wanted = Wanted { hosts: hosts.collect(), port: config.listen.rpc_advertise.port() };
    Forming::new(own, raft.clone(), pool, seen, wanted)
}

fn rpc_limits(config: &Config) -> rpc::Limits {
    rpc::Limits {
        handshake: config.limits.rpc_handshake_timeout,
        connections_of_one_max: config.limits.rpc_max_conns_per_client,
    }
}

/// Which servers the leader adds, and which it cleans away, when nobody has said so before.
fn rules(config: &Config) -> AutopilotFields {
    let autopilot = &config.autopilot;
    AutopilotFields {
        cleanup_dead_servers: autopilot.cleanup_dead_servers,
        last_contact_threshold: autopilot.last_contact_threshold,
        max_trailing_logs: autopilot.max_trailing_logs,
        min_quorum: u64::from(autopilot.min_quorum),
        server_stabilization_time: autopilot.server_stabilization_time,
        redundancy_zone_tag: autopilot.redundancy_zone_tag.clone(),
        disable_upgrade_migration: autopilot.disable_upgrade_migration,
        upgrade_version_tag: autopilot.upgrade_version_tag.clone(),
    }
}

fn running_event(ground: &Ground) -> AgentEvent {
    AgentEvent::Running {
        node_id: ground.node_id.to_string(),
        datacenter: ground.config.datacenter.clone(),
        server: ground.config.server,
        version: tags::VERSION.to_owned(),
        api: tags::API_VERSION.to_owned(),
        address: ground.config.advertise_addr.to_string(),
        started: clock::wall(),
    }
}

/// `http_config.response_headers`, checked: a header that HTTP cannot carry ends the start.
fn response_headers(config: &Config) -> Result<Vec<(HeaderName, HeaderValue)>, StartError> {
    let mut headers = Vec::new();
    for (name, value) in &config.http.response_headers {
        let refused = || StartError(format!("http_config.response_headers: {name:?}: {value:?} is no HTTP header"));
        let name = HeaderName::try_from(name.as_str()).map_err(|_| refused())?;
        let value = HeaderValue::try_from(value.as_str()).map_err(|_| refused())?;
        headers.push((name, value));
    }
    Ok(headers)
}

impl api::Control for Control {
    fn leave(&self, lose_quorum: bool) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move { Self::leave(self, lose_quorum).await.map_err(|refused| refused.0) })
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move { Self::reload(self).await.map_err(|refused| refused.0) })
    }
}

/// An error with what caused it, on one line.
pub(super) fn chain(problem: &dyn std::error::Error) -> String {
    let mut text = problem.to_string();
    let mut source = problem.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
