//! Servers, and one client agent, each a process on a host of its own, that may be killed, paused and
//! started again at any moment; which of them should be running, and which ended unasked.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::ask::{self, Answer, Trouble};
use super::now;
use super::shim::Page;
use crate::support::lan::{Host, Lan};
use crate::support::within;

/// Short spans, so that a run of a minute has snapshots, purges, learners that become voters, requests that give
/// up, and servers that join again though nobody could be reached when they started.
const CONFIG: &str = r#"{
    "raft_snapshot_threshold": 400, "raft_snapshot_interval": "1s", "raft_trailing_logs": 100,
    "retry_interval": "1s",
    "autopilot": { "server_stabilization_time": "1s" },
    "performance": { "rpc_hold_timeout": "2s", "leave_drain_time": "200ms" }
}"#;
/// One whose disk failed may take so long to find out and to end.
const EXCUSED_FOR: Duration = Duration::from_secs(20);
/// An orderly end.
const END_WITHIN: Duration = Duration::from_secs(15);
/// For what must be true in the end, on a machine that is busy.
pub(super) const LIMIT: Duration = Duration::from_secs(120);

pub(super) struct Agent {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) page: Page,
    host: Arc<Host>,
    log: PathBuf,
    arguments: Vec<String>,
    library: PathBuf,
    process: Mutex<Process>,
    lives: AtomicU64,
}

struct Process {
    child: Option<Child>,
    /// Whether it shall run.
    is_wanted: bool,
    /// Until then it may end by itself.
    excused: Option<Instant>,
}

impl Agent {
    fn lock(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many processes it has been.
    pub(super) fn lives(&self) -> u64 {
        self.lives.load(Ordering::SeqCst)
    }

    pub(super) fn start(&self) {
        let mut process = self.lock();
        process.is_wanted = true;
        if process.child.is_none() {
            process.child = Some(self.spawn());
        }
    }

    fn spawn(&self) -> Child {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
        command.args(&self.arguments).stdin(Stdio::null());
        command.env("LD_PRELOAD", &self.library).env("NEMESIS_PAGE", &self.page.path);
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        // Before, so that nobody takes what the new one says for the old one's.
        self.lives.fetch_add(1, Ordering::SeqCst);
        self.host.within(|| command.spawn().expect("the agent starts"))
    }

    pub(super) fn signal(&self, signal: Signal) {
        let process = self.lock();
        let pid = process.child.as_ref().and_then(|child| Pid::from_raw(i32::try_from(child.id()).ok()?));
        // One that has ended and is not waited for yet takes a signal too.
        let _ = pid.map(|pid| kill_process(pid, signal));
    }

    pub(super) fn kill(&self) {
        let mut process = self.lock();
        process.is_wanted = false;
        if let Some(mut child) = process.child.take() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// It has been told to end: waits for that, and kills it when that takes too long, as when it is paused.
    pub(super) fn wait_for_end(&self) {
        let until = now() + END_WITHIN;
        while now() < until && self.is_running() {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
    }

    /// From now on it shall not run.
    pub(super) fn is_to_end(&self) {
        self.lock().is_wanted = false;
    }

    fn is_running(&self) -> bool {
        let mut process = self.lock();
        process.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// It may end by itself for a while.
    pub(super) fn excuse(&self) {
        self.lock().excused = Some(now() + EXCUSED_FOR);
    }

    /// Starts it again if it should be running and is not; what is wrong about that, if anything.
    fn tend(&self) -> Option<String> {
        let mut process = self.lock();
        if !process.is_wanted {
            return None;
        }
        let ended = process.child.as_mut().and_then(|child| child.try_wait().ok().flatten())?;
        let is_excused = process.excused.is_some_and(|until| now() < until);
        process.child = Some(self.spawn());
        (!is_excused).then(|| format!("{} ended unasked, with {ended}", self.name))
    }

    /// From its host.
    pub(super) fn ask(&self, line: &str, body: &str, within: Duration) -> Result<Answer, Trouble> {
        self.host.within(|| ask::ask(self.address, line, body, within))
    }

    fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

pub(super) struct Cluster {
    pub(super) lan: Lan,
    /// The servers, then a client.
    pub(super) agents: Vec<Agent>,
    /// The servers' IDs, in their order.
    pub(super) ids: Vec<String>,
    pub(super) dir: tempfile::TempDir,
}

impl Cluster {
    /// So many servers that have a leader, a client, and a host for those who ask them.
    pub(super) fn start(lan: Lan, library: &Path, dir: tempfile::TempDir) -> Self {
        let count = lan.hosts.len() - 2;
        std::fs::write(dir.path().join("config.json"), CONFIG).expect("a file of configuration");
        let agents = (0..=count).map(|place| agent(&lan, place, count, library, dir.path())).collect();
        let mut cluster = Self { lan, agents, ids: Vec::new(), dir };
        cluster.agents.iter().for_each(Agent::start);
        let short = Duration::from_secs(5);
        let id = |agent: &Agent| {
            let own = || agent.ask("GET /v1/agent/self", "", short).map(|answer| answer.json());
            let said =
                within(LIMIT, "an ID", || own().unwrap_or_default(), |said| said["Config"]["NodeID"].is_string());
            said["Config"]["NodeID"].as_str().expect("text").to_owned()
        };
        cluster.ids = cluster.servers().iter().map(id).collect();
        let voters = || cluster.voters(0);
        within(LIMIT, "all are voters", voters, |voters| *voters == count);
        let client = &cluster.agents[count];
        let leader = || client.ask("GET /v1/status/leader", "", short).map(|a| a.body).unwrap_or_default();
        within(LIMIT, "the client knows the leader", leader, |body| body.contains(':'));
        cluster
    }

    pub(super) fn servers(&self) -> &[Agent] {
        &self.agents[..self.agents.len() - 1]
    }

    /// Of those who ask: none of the faults is there.
    pub(super) fn outside(&self) -> &Arc<Host> {
        self.lan.hosts.last().expect("it is there")
    }

    /// As the leader says through this agent.
    pub(super) fn voters(&self, through: usize) -> usize {
        let path = "GET /v1/operator/raft/configuration";
        let answer = self.agents[through].ask(path, "", Duration::from_secs(5));
        let said = answer.map(|answer| answer.json()).unwrap_or_default();
        let servers = said["Servers"].as_array().cloned().unwrap_or_default();
        servers.iter().filter(|server| server["Voter"] == true).count()
    }

    /// Those that ended unasked are started again and told.
    pub(super) fn tend(&self) -> Vec<String> {
        self.agents.iter().filter_map(Agent::tend).collect()
    }

    /// What no log may say.
    pub(super) fn panics(&self) -> Vec<String> {
        let said = |agent: &Agent| {
            let log = agent.log();
            let line = log.lines().find(|line| line.contains("panicked at"));
            line.map(|line| format!("{}: {line}", agent.name))
        };
        self.agents.iter().filter_map(said).collect()
    }

    pub(super) fn kill_all(&self) {
        self.agents.iter().for_each(Agent::kill);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill_all();
        // Of a test that could not go on.
        self.dir.disable_cleanup(std::thread::panicking());
    }
}

/// One of `count` servers, or the client after them.
fn agent(lan: &Lan, place: usize, count: usize, library: &Path, dir: &Path) -> Agent {
    let (host, name) = (Arc::clone(&lan.hosts[place]), format!("s{place}"));
    let path = |what: &str| dir.join(format!("{name}{what}"));
    let mut arguments = vec![
        format!("-node={name}"),
        format!("-bind={}", host.address),
        format!("-client={}", host.address),
        format!("-data-dir={}", path("").display()),
        format!("-config-file={}", dir.join("config.json").display()),
    ];
    if place < count {
        arguments.extend(["-server".to_owned(), format!("-bootstrap-expect={count}")]);
    }
    arguments.extend(lan.hosts[..count].iter().map(|host| format!("-retry-join={}", host.address)));
    Agent {
        address: format!("{}:8500", host.address).parse().expect("an address"),
        page: Page::new(path(".page")),
        log: path(".log"),
        host,
        arguments,
        library: library.to_owned(),
        process: Mutex::new(Process { child: None, is_wanted: false, excused: None }),
        lives: AtomicU64::new(0),
        name,
    }
}
