//! HashiCorp's agent on a loopback address of its own, ended with the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::{did_not_run, eventually, own_address};

/// The program that `QUORATE_REAL_CONSUL` names; without one says on its line that the test did not run.
pub(crate) fn program(test: &str) -> Option<PathBuf> {
    named_by("QUORATE_REAL_CONSUL", test)
}

/// The program that a variable names; without one says on its line that the test did not run.
pub(crate) fn named_by(variable: &str, test: &str) -> Option<PathBuf> {
    let program = std::env::var_os(variable).map(PathBuf::from);
    if program.is_none() {
        did_not_run(test, &format!("{variable} names no program"));
    }
    program
}

pub(crate) struct RealConsul {
    process: Child,
    pub(crate) ip: String,
}

impl RealConsul {
    /// Starts `consul agent -dev -node=one` and waits until it leads.
    pub(crate) fn start(program: &Path) -> Self {
        let real = Self::launch(program, &["-dev", "-node=one"]);
        let ask = || real.http("/v1/health/node/one");
        eventually("the real consul leads and knows itself", ask, |health| health.contains("\"passing\""));
        real
    }

    /// Starts a client with its data in `dir`, and waits until it answers.
    pub(crate) fn client(program: &Path, dir: &Path, more: &[&str]) -> Self {
        let data = format!("-data-dir={}", dir.display());
        let real = Self::launch(program, &[&[&*data], more].concat());
        eventually("the real consul answers", || real.http("/v1/agent/self"), |itself| itself.contains("\"Config\""));
        real
    }

    fn launch(program: &Path, more: &[&str]) -> Self {
        let ip = own_address();
        let process = Command::new(program)
            .args(["agent", "-log-level=err"])
            .args([format!("-bind={ip}"), format!("-client={ip}")])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the real consul starts");
        Self { process, ip }
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it ran");
        self.process.wait().expect("it ended");
    }

    pub(crate) fn address(&self) -> String {
        format!("{}:8500", self.ip)
    }

    /// The body of an answer, or "".
    pub(crate) fn http(&self, path: &str) -> String {
        self.ask(|client| client.get(path))
    }

    /// Writes, and gives the body of the answer.
    pub(crate) fn order(&self, path: &str, body: &str) -> String {
        self.ask(|client| client.put(path).body(body.to_owned()))
    }

    fn ask(&self, question: impl for<'a> Fn(&'a shared::http::Client) -> shared::http::Request<'a>) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let settings = shared::http::Settings { address: self.address(), ..Default::default() };
        let client = shared::http::Client::new(&settings).expect("plain settings");
        runtime.block_on(async {
            match question(&client).within(Duration::from_secs(30)).send().await {
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(_) => String::new(),
            }
        })
    }
}

impl Drop for RealConsul {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a program to its end, at most 60 s, with this environment and nothing else of Consul's.
pub(crate) fn run(program: &PathBuf, words: &[String], environment: &[(&str, &str)], stdin: &str) -> Output {
    use std::io::Write;
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "60"]).arg(program).args(words);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CONSUL_")) {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // One that does not read its input may have closed it.
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    child.wait_with_output().expect("the program ends")
}
