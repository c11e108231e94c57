//! Several agents, and what each of them says about all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::lan::Host;
use super::{Agent, own_address, within};

/// Above what SWIM takes for anything in a small pool whose network works, on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(90);

/// A member's status in Consul's words, and where it is.
pub(crate) type Seen = BTreeMap<String, (&'static str, String)>;

/// Agents by name, of which the first is the server.
pub(crate) struct PoolOf {
    pub(crate) agents: Vec<(String, Agent)>,
    /// Where their data are.
    dir: tempfile::TempDir,
}

impl PoolOf {
    /// n1 is a server, the others are clients; nobody knows of anybody. On hosts, where there are any.
    #[track_caller]
    pub(crate) fn strangers(count: usize, hosts: &[Arc<Host>], more: &[&str]) -> Self {
        let mut pool = Self { agents: Vec::new(), dir: super::scratch() };
        for place in 0..count {
            let (role, host) = (if place == 0 { &["-server", "-bootstrap"][..] } else { &[] }, hosts.get(place));
            pool.launch(&format!("n{}", place + 1), host, &[role, more].concat());
        }
        for (_, agent) in &pool.agents {
            agent.wait_for_http();
        }
        pool
    }

    /// One more, which may still be starting.
    #[track_caller]
    pub(crate) fn launch(&mut self, name: &str, host: Option<&Arc<Host>>, more: &[&str]) {
        let dir = self.dir.path().join(name);
        std::fs::create_dir(&dir).expect("a directory");
        let (node, data) = (format!("-node={name}"), format!("-data-dir={}", dir.join("data").display()));
        let address = host.map_or_else(own_address, |host| host.address.clone());
        let agent = Agent::launch_at(address, host, &dir, &[&[&*node, &*data], more].concat());
        self.agents.push((name.to_owned(), agent));
    }

    /// `strangers` who then join n1, one after the other, and know each other.
    #[track_caller]
    pub(crate) fn joined(count: usize, hosts: &[Arc<Host>], more: &[&str]) -> Self {
        let pool = Self::strangers(count, hosts, more);
        for place in 1..count {
            pool.join(place, 0);
        }
        pool.all_see(&[]);
        pool
    }

    /// One asks to be let in by another.
    #[track_caller]
    pub(crate) fn join(&self, who: usize, by: usize) {
        let answer = self.agents[who].1.put(&format!("/v1/agent/join/{}", self.agents[by].1.address), "");
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    pub(crate) fn at(&mut self, place: usize) -> &mut Agent {
        &mut self.agents[place].1
    }

    /// Its data directory.
    pub(crate) fn data(&self, place: usize) -> std::path::PathBuf {
        self.dir.path().join(&self.agents[place].0).join("data")
    }

    pub(crate) fn seen_by(&self, place: usize) -> Seen {
        seen_by(&self.agents[place].1)
    }

    /// All are alive for everybody, at the addresses they have, but for these, which are so.
    /// Whoever is not alive is not asked.
    #[track_caller]
    pub(crate) fn all_see(&self, but: &[(usize, &'static str)]) {
        let all: Vec<usize> = (0..self.agents.len()).collect();
        self.among_see(&all, but);
    }

    /// As `all_see`, and only these are asked.
    #[track_caller]
    pub(crate) fn among_see(&self, among: &[usize], but: &[(usize, &'static str)]) {
        let status = |place| but.iter().find(|(other, _)| *other == place).map_or("alive", |(_, status)| status);
        let place_of =
            |(place, (name, agent)): (usize, &(String, Agent))| (name.clone(), (status(place), agent.address.clone()));
        let expected: Seen = self.agents.iter().enumerate().map(place_of).collect();
        for &place in among.iter().filter(|place| status(**place) == "alive") {
            let what = format!("what {} sees is {expected:?}", self.agents[place].0);
            within(SOON, &what, || self.seen_by(place), |seen| *seen == expected);
        }
    }

    /// How often each agent's log has said this.
    pub(crate) fn said(&self, words: &str) -> usize {
        self.agents.iter().map(|(_, agent)| agent.log().matches(words).count()).sum()
    }
}

/// What one agent says of all; nothing when it does not answer.
pub(crate) fn seen_by(agent: &Agent) -> Seen {
    let Ok(answer) = agent.try_get("/v1/agent/members") else { return Seen::new() };
    read(&answer.json())
}

/// The body of `/v1/agent/members`.
pub(crate) fn read(members: &serde_json::Value) -> Seen {
    let text = |member: &serde_json::Value, key: &str| member[key].as_str().unwrap_or_default().to_owned();
    let one = |member: &serde_json::Value| {
        let status = match member["Status"].as_u64() {
            Some(1) => "alive",
            Some(2) => "leaving",
            Some(3) => "left",
            Some(4) => "failed",
            _ => "none",
        };
        (text(member, "Name"), (status, text(member, "Addr")))
    };
    members.as_array().expect("members").iter().map(one).collect()
}
