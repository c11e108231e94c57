//! A HashiCorp agent in development mode on a loopback address of its own, ended with the test.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::eventually;

/// The program that `QUORATE_REAL_CONSUL` names; without one says on its line that the test did not run.
#[expect(clippy::print_stdout, reason = "a test that did not run says so")]
pub(crate) fn program(test: &str) -> Option<PathBuf> {
    let program = std::env::var_os("QUORATE_REAL_CONSUL").map(PathBuf::from);
    if program.is_none() {
        println!("{test}: did not run, QUORATE_REAL_CONSUL names no program");
    }
    program
}

pub(crate) struct RealConsul {
    process: Child,
    pub(crate) ip: String,
}

impl RealConsul {
    /// Starts `consul agent -dev -node=one` and waits until it leads.
    pub(crate) fn start(program: &PathBuf) -> Self {
        let id = std::process::id();
        let ip = format!("127.{}.{}.{}", 64 + id / 62_500 % 64, id / 250 % 250, 1 + id % 250);
        let process = Command::new(program)
            .args(["agent", "-dev", "-node=one", "-log-level=err"])
            .args([format!("-bind={ip}"), format!("-client={ip}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the real consul starts");
        let real = Self { process, ip };
        let ask = || real.http("/v1/health/node/one");
        eventually("the real consul leads and knows itself", ask, |health| health.contains("\"passing\""));
        real
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
            match question(&client).within(Duration::from_secs(5)).send().await {
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

/// Runs a program to its end, at most 20 s, with this environment and nothing else of Consul's.
pub(crate) fn run(program: &PathBuf, words: &[String], environment: &[(&str, &str)], stdin: &str) -> Output {
    use std::io::Write;
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "20"]).arg(program).args(words);
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
