//! The root: arguments -> Config -> build -> run until something ends it -> orderly end.
//! Nobody imports it but `cli`. It alone asks the machine for its name, its addresses and its signals.

mod build;
mod claims;
mod descriptors;
mod ending;
pub mod quorum;
mod servers;
mod tags;

use std::path::PathBuf;
use std::process::ExitCode;

use shared::event::{AgentEvent, Pool};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::build::{Ground, Running, StartError, build, chain};
use self::ending::Cause;
pub use self::tags::{API_VERSION, VERSION};
use crate::config::{self, Config, Host, Interface};
use crate::control::{Order, Refused};
use crate::datadir::DataDir;
use crate::discovery::{self, Search};
use crate::dns;
use crate::logs::Logs;
use crate::tasks::Tasks;
use crate::telemetry::Telemetry;

/// Runs an agent with these arguments until it ends, and tells how it did.
/// A refusal is Consul's text, `==> …`, for standard error; nothing ran.
pub fn run(arguments: &[String]) -> Result<ExitCode, String> {
    start(arguments).map(ExitCode::from)
}

fn start(arguments: &[String]) -> Result<u8, String> {
    let loaded = config::load(arguments, &host()).map_err(|errors| errors.to_string())?;
    let config = loaded.config.clone();
    let mut data = None;
    if let Some(path) = &config.data_dir {
        data = Some(DataDir::open(path, config.node_id).map_err(|problem| format!("==> {}", chain(&problem)))?);
    }
    let node_id = match &data {
        Some(data) => data.node_id(),
        None => config.node_id.unwrap_or_else(uuid::Uuid::new_v4),
    };
    let (logs, _) = Logs::install(level(&config));
    logs.announce(config::banner(&config, &node_id.to_string(), VERSION).trim_end_matches('\n'));
    logs.announce("");
    logs.open_gate();
    tell(&loaded);
    descriptors::raise();
    let ground = Ground {
        raft_dir: data.as_ref().map(DataDir::raft),
        serf_dir: data.as_ref().map(DataDir::serf),
        node_id,
        logs,
        telemetry: Telemetry::install(),
        config,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("agent")
        .build()
        .map_err(|problem| format!("==> start the runtime: {problem}"))?;
    let code = runtime.block_on(serve(ground, arguments));
    // Blocking threads of a stuck disk must not keep a process that has said good-bye.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    drop(data);
    Ok(code)
}

/// What the configuration deserves to have said of it, first thing in the log.
fn tell(loaded: &config::Loaded) {
    for warning in config::warnings(loaded) {
        match warning.logger {
            "agent.auto_config" => tracing::warn!(target: "agent.auto_config", "{}", warning.message),
            _ => tracing::warn!(target: "agent", "{}", warning.message),
        }
    }
    for notice in &loaded.notices {
        match notice.is_warning {
            true => tracing::warn!(target: "agent", "{notice}"),
            false => tracing::info!(target: "agent", "{notice}"),
        }
    }
}

fn level(config: &Config) -> shared::event::Level {
    config.log.level.parse().unwrap_or(shared::event::Level::Info)
}

/// This machine's name and addresses. An interface that cannot be read is left out.
pub fn host() -> Host {
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let interfaces = interfaces
        .into_iter()
        .map(|one| Interface { addr: one.ip(), is_loopback: one.is_loopback(), name: one.name })
        .collect();
    Host { hostname, interfaces }
}

async fn serve(ground: Ground, arguments: &[String]) -> u8 {
    match PidFile::write(&ground.config) {
        Ok(_pid_file) => match try_serve(ground, arguments).await {
            Ok(code) => return code,
            Err(problem) => failed(&problem),
        },
        Err(problem) => failed(&problem),
    }
    tracing::info!(target: "agent", code = 1, "Exit code");
    1
}

fn failed(problem: &StartError) {
    tracing::error!(target: "agent", error = %problem, "Error starting agent");
}

async fn try_serve(ground: Ground, arguments: &[String]) -> Result<u8, StartError> {
    let mut signals = Signals::listen()?;
    let tasks = Tasks::new();
    let mut running = build(&ground, &tasks).await?;
    join(&ground.config, &running, &ground.logs).await?;
    ground.logs.say("==> Consul agent running!");
    search(&ground.config, &running);
    if let Some(raft) = &running.raft {
        raft.stand().await.map_err(|problem| StartError(chain(&problem)))?;
    }
    if let Some(forming) = &running.forming {
        forming.clone().start(&running.workers);
    }
    let mut config = ground.config.clone();
    loop {
        let cause = wait(&mut running, &mut signals, &tasks).await;
        let cause = match cause {
            Next::End(cause) => cause,
            Next::Reload(answer) => {
                let done = reload(&mut config, &ground, arguments, &running).await;
                if let Some(answer) = answer {
                    let _ = answer.send(done.map_err(Refused));
                }
                continue;
            }
        };
        tokio::select! {
            ended = running.end(&config, cause) => match ended {
                Ok(code) => return Ok(code),
                Err(still) => running = *still,
            },
            () = signals.any() => {
                tracing::warn!(target: "agent", "a second signal: the agent ends at once");
                return Ok(1);
            }
        }
    }
}

/// `start_join` and `start_join_wan`: nobody there ends the start, as in Consul.
async fn join(config: &Config, running: &Running, logs: &Logs) -> Result<(), StartError> {
    for (gossip, start) in
        [(Some(&running.lan), &config.join_lan.start), (running.wan.as_ref(), &config.join_wan.start)]
    {
        let Some(gossip) = gossip.filter(|_| !start.is_empty()) else { continue };
        logs.say("==> Joining cluster...");
        discovery::join_once(gossip, start.clone()).await.map_err(StartError)?;
    }
    Ok(())
}

/// Whom the agent knew before, `retry_join` and `retry_join_wan`.
fn search(config: &Config, running: &Running) {
    let pools = [
        (Pool::Lan, Some(&running.lan), &config.join_lan, config.node_name.clone()),
        (Pool::Wan, running.wan.as_ref(), &config.join_wan, format!("{}.{}", config.node_name, config.datacenter)),
    ];
    for (pool, gossip, join, name) in pools {
        let Some(gossip) = gossip else { continue };
        discovery::rejoin(gossip.clone(), &running.workers);
        if join.retry.is_empty() {
            continue;
        }
        let (entries, interval_max, tries_max) = (join.retry.clone(), join.retry_interval, join.retry_max);
        let search = Search { pool, name, entries, interval_max, tries_max };
        discovery::start(search, gossip.clone(), &running.workers);
    }
}

enum Next {
    End(Cause),
    Reload(Option<tokio::sync::oneshot::Sender<Result<(), Refused>>>),
}

async fn wait(running: &mut Running, signals: &mut Signals, tasks: &Tasks) -> Next {
    let fatal = tasks.fatal();
    tokio::select! {
        biased;
        () = fatal.cancelled() => {
            Next::End(Cause::Failure(tasks.failure().unwrap_or_else(|| "a part failed".to_owned())))
        }
        _ = signals.interrupt.recv() => Next::End(Cause::Interrupt),
        _ = signals.terminate.recv() => Next::End(Cause::Terminate),
        _ = signals.hangup.recv() => {
            tracing::info!(target: "agent", signal = "hangup", "Caught");
            Next::Reload(None)
        }
        Some(order) = running.orders.recv() => match order {
            Order::Leave { lose_quorum, answer } => Next::End(Cause::Leave { lose_quorum, answer }),
            Order::Reload { answer } => Next::Reload(Some(answer)),
        },
    }
}

/// Reads the configuration again and takes over what may change while an agent runs.
async fn reload(config: &mut Config, ground: &Ground, arguments: &[String], running: &Running) -> Result<(), String> {
    let loaded = config::load(arguments, &host()).map_err(|errors| {
        let text = errors.to_string();
        tracing::error!(target: "agent", error = text, "Failed to reload the configuration, the old one stays in force");
        text
    })?;
    let change = config::reload(config, &loaded.config);
    running.local.reload(&loaded.config.services, &loaded.config.node_checks).inspect_err(|text| {
        tracing::error!(target: "agent", error = text, "Failed to reload services and checks, the old ones stay");
    })?;
    if change.dns {
        let recursors = dns::recursors(&loaded.config.dns.recursors).await.map_err(|reason| {
            let error = format!("Failed reloading dns config : {reason}");
            tracing::error!(target: "agent", error, "Reload config failed");
            error
        })?;
        running.names.iter().for_each(|names| names.reload(&loaded.config.dns, recursors.clone()));
        let (domain, alt_domain) = (config.dns.domain.clone(), config.dns.alt_domain.clone());
        config.dns = config::Dns { domain, alt_domain, ..loaded.config.dns.clone() };
    }
    // The new level first: what follows is told at it.
    config.log.level.clone_from(&loaded.config.log.level);
    config.leave_on_terminate = loaded.config.leave_on_terminate;
    config.skip_leave_on_interrupt = loaded.config.skip_leave_on_interrupt;
    ground.logs.set_level(level(config));
    let told_once = [("node_meta", change.node_meta), ("limits", change.limits)];
    let told_once = told_once.into_iter().filter_map(|(key, changed)| changed.then_some(key));
    for key in change.later.iter().copied().chain(told_once) {
        tracing::warn!(target: "agent", key, "changed in the configuration, takes effect with the next start");
    }
    let _ = running.agent_events.try_send(AgentEvent::Reloaded);
    Ok(())
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self, StartError> {
        let on = |kind| signal(kind).map_err(|problem| StartError(format!("listen for signals: {problem}")));
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    /// An interrupt or a terminate.
    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The file with the process ID; gone when the agent ends in order.
struct PidFile(Option<PathBuf>);

impl PidFile {
    fn write(config: &Config) -> Result<Self, StartError> {
        if let Some(path) = &config.pid_file {
            std::fs::write(path, format!("{}\n", std::process::id())).map_err(|problem| {
                StartError(format!("Could not open pid file: open {}: {problem}", path.display()))
            })?;
        }
        Ok(Self(config.pid_file.clone()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Nobody is left to be told that it could not be removed.
            let _ = std::fs::remove_file(path);
        }
    }
}
