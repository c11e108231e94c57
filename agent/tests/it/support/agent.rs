//! One agent as a process, with Consul's default ports, on a loopback address that no other test uses or
//! on a host of a network of the test's own.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::eventually::eventually;
use super::http::{self, Answer};
use super::lan::Host;

/// For any answer that is not meant to wait.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// An agent that runs; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    pub address: String,
    arguments: Vec<String>,
    log: PathBuf,
    /// None: this machine's loopback.
    host: Option<Arc<Host>>,
}

/// How an agent ended, and all it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub code: Option<i32>,
    pub output: String,
}

/// An address of this process's own: tests of several processes run side by side.
pub(crate) fn own_address() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let pid = std::process::id();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!((1..255).contains(&next), "this process has used up its addresses");
    format!("127.{}.{}.{next}", 1 + (pid >> 8) % 250, pid % 256)
}

/// A directory that is gone when the test is.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

impl Agent {
    /// Starts an agent with `-bind` and `-client` of its own address, and `more`; waits for HTTP.
    #[track_caller]
    pub(crate) fn start(dir: &Path, more: &[&str]) -> Self {
        let agent = Self::launch(dir, more);
        agent.wait_for_http();
        agent
    }

    /// The usual subject: one server that leads.
    #[track_caller]
    pub(crate) fn server(dir: &Path) -> Self {
        let data = dir.join("data");
        let agent = Self::start(dir, &["-server", "-bootstrap", "-node=one", "-data-dir", &data.to_string_lossy()]);
        agent.wait_for_leader();
        agent
    }

    #[track_caller]
    pub(crate) fn launch(dir: &Path, more: &[&str]) -> Self {
        Self::launch_at(own_address(), None, dir, more)
    }

    /// On a host of a network, or at an address of our own choice.
    #[track_caller]
    pub(crate) fn launch_at(address: String, host: Option<&Arc<Host>>, dir: &Path, more: &[&str]) -> Self {
        let mut arguments = vec![format!("-bind={address}"), format!("-client={address}")];
        arguments.extend(more.iter().map(ToString::to_string));
        let log = dir.join("agent.log");
        let child = spawn(&arguments, &log, host);
        Self { child, address, arguments, log, host: host.cloned() }
    }

    /// Runs an agent that is expected to refuse: its code and output.
    #[track_caller]
    pub(crate) fn refused(arguments: &[&str]) -> Ended {
        let dir = scratch();
        let log = dir.path().join("agent.log");
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        let mut child = spawn(&arguments, &log, None);
        let code = wait_for_end(&mut child);
        Ended { code, output: read(&log) }
    }

    /// Again, with the same arguments, after it was killed or stopped.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.start_again();
        self.wait_for_leader();
    }

    /// As `restart`, of one that need not lead.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.arguments, &self.log, self.host.as_ref());
        self.wait_for_http();
    }

    /// Again, and it is expected to refuse.
    #[track_caller]
    pub(crate) fn refused_again(&mut self) -> Ended {
        self.child = spawn(&self.arguments, &self.log, self.host.as_ref());
        self.ended()
    }

    /// Again, somewhere else.
    #[track_caller]
    pub(crate) fn start_again_at(&mut self, address: String) {
        let moved = |argument: &String| argument.replace(&self.address, &address);
        self.arguments = self.arguments.iter().map(moved).collect();
        self.address = address;
        self.start_again();
    }

    pub(crate) fn http(&self) -> String {
        format!("{}:8500", self.address)
    }

    fn ask(&self, line: &str, body: &str) -> std::io::Result<Answer> {
        let ask = || http::request(&self.http(), line, body, ANSWER_MAX);
        self.host.as_ref().map_or_else(ask, |host| host.within(ask))
    }

    pub(crate) fn try_get(&self, path: &str) -> std::io::Result<Answer> {
        self.ask(&format!("GET {path}"), "")
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|e| panic!("GET {path}: {e}; log:\n{}", self.log()))
    }

    pub(crate) fn try_put(&self, path: &str, body: &str) -> std::io::Result<Answer> {
        self.ask(&format!("PUT {path}"), body)
    }

    #[track_caller]
    pub(crate) fn put(&self, path: &str, body: &str) -> Answer {
        self.try_put(path, body).unwrap_or_else(|e| panic!("PUT {path}: {e}; log:\n{}", self.log()))
    }

    pub(crate) fn log(&self) -> String {
        read(&self.log)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
        rustix::process::kill_process(pid, signal).expect("a signal is sent");
    }

    /// Signals and waits for the end.
    #[track_caller]
    pub(crate) fn stop(&mut self, signal: rustix::process::Signal) -> Ended {
        self.signal(signal);
        self.ended()
    }

    #[track_caller]
    pub(crate) fn ended(&mut self) -> Ended {
        let code = wait_for_end(&mut self.child);
        Ended { code, output: self.log() }
    }

    #[track_caller]
    pub(crate) fn wait_for_http(&self) {
        let seen = eventually(
            "HTTP",
            || self.try_get("/v1/agent/self").map(|a| a.status).map_err(|e| (e, self.log())),
            |seen| matches!(seen, Ok(200)),
        );
        assert!(seen.is_ok());
    }

    #[track_caller]
    pub(crate) fn wait_for_leader(&self) {
        eventually("a leader", || self.get("/v1/status/leader").body, |body| body.contains(&self.address));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already; either way nothing stays behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn spawn(arguments: &[String], log: &Path, host: Option<&Arc<Host>>) -> Child {
    let log = File::options().create(true).append(true).open(log).expect("a log file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command.args(arguments).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("a second handle")).stderr(log);
    let mut start = || command.spawn().expect("the agent starts");
    match host {
        None => start(),
        Some(host) => host.within(start),
    }
}

#[track_caller]
fn wait_for_end(child: &mut Child) -> Option<i32> {
    let ended = eventually("the end of the agent", || child.try_wait().expect("a child"), Option::is_some);
    ended.and_then(|status| status.code())
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    let _ = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    text
}
