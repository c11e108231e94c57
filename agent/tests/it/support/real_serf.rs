//! HashiCorp's `serf` on a loopback address of its own, on Consul's port and with the tags of a Consul
//! client, ended with the test.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::own_address;
use super::pool::Seen;
use super::real_consul::named_by;

/// The program that `QUORATE_REAL_SERF` names; without one says on its line that the test did not run.
pub(crate) fn program(test: &str) -> Option<PathBuf> {
    named_by("QUORATE_REAL_SERF", test)
}

pub(crate) struct RealSerf {
    process: Child,
    program: PathBuf,
    pub(crate) ip: String,
    log: PathBuf,
}

impl RealSerf {
    /// Its log is `dir/NAME.log`.
    pub(crate) fn start(program: &Path, name: &str, dir: &Path, more: &[&str]) -> Self {
        let (ip, log) = (own_address(), dir.join(format!("{name}.log")));
        let file = File::create(&log).expect("a log file");
        let id = format!("id={}", uuid::Uuid::new_v4());
        let tags =
            ["role=node", "dc=dc1", "segment=", "vsn=2", "vsn_min=2", "vsn_max=3", "build=1.8.7:", "acls=0", &id];
        let process = Command::new(program)
            .args(["agent", "-profile=lan", "-log-level=debug"])
            .args([format!("-node={name}"), format!("-bind={ip}:8301"), format!("-rpc-addr={ip}:7373")])
            .args(tags.iter().flat_map(|tag| ["-tag", *tag]))
            .args(more)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .expect("the real serf starts");
        Self { process, program: program.to_owned(), ip, log }
    }

    /// One of its verbs: what it printed.
    fn verb<'a>(&self, verb: &str, words: impl IntoIterator<Item = &'a OsStr>) -> String {
        let rpc = format!("-rpc-addr={}:7373", self.ip);
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", "60"]).arg(&self.program).args([verb, &rpc]).args(words);
        let output = command.stdin(Stdio::null()).output().expect("serf's verb runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Fires a user event; the payload holds no zero byte.
    #[track_caller]
    pub(crate) fn fire(&self, name: &str, payload: &[u8]) {
        let words = ["-coalesce=false".as_ref(), name.as_ref(), OsStr::from_bytes(payload)];
        let said = self.verb("event", words);
        assert!(said.contains("dispatched"), "{said}");
    }

    /// What it says of all; nothing while it does not answer.
    pub(crate) fn members(&self) -> Seen {
        let Ok(said) = serde_json::from_str::<serde_json::Value>(&self.verb("members", ["-format=json".as_ref()]))
        else {
            return Seen::new();
        };
        let text = |member: &serde_json::Value, key: &str| member[key].as_str().unwrap_or_default().to_owned();
        let one = |member: &serde_json::Value| {
            let status = match text(member, "status").as_str() {
                "alive" => "alive",
                "leaving" => "leaving",
                "left" => "left",
                "failed" => "failed",
                _ => "none",
            };
            let address = text(member, "addr");
            (text(member, "name"), (status, address.split(':').next().unwrap_or_default().to_owned()))
        };
        said["members"].as_array().map(|members| members.iter().map(one).collect()).unwrap_or_default()
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it ran");
        self.process.wait().expect("it ended");
    }
}

impl Drop for RealSerf {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
