//! Agents and catalog come to agree: services come and go and checks change, as a seed has it, while leaders and
//! agents are killed and started again. What was acknowledged to a registrar is there, and soon after the last
//! fault the catalog holds what each agent claims and nothing else.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::support::{Agent, eventually, scratch};

const SERVERS: usize = 3;
const ROUNDS: usize = 3;
const DEEDS: usize = 15;

/// By the IDs of services or checks, what is compared of them.
type Claims = BTreeMap<String, String>;

struct World {
    cluster: Cluster,
    client: Agent,
    _dir: tempfile::TempDir,
    dice: SmallRng,
    down: Option<usize>,
    /// By agent, the services that were acknowledged, with their ports.
    acknowledged: Vec<Claims>,
}

fn of(rows: impl IntoIterator<Item = Value>, id: &str, fields: &[&str]) -> Claims {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let one = |row: Value| (text(&row[id]), fields.iter().map(|field| text(&row[field])).collect::<Vec<_>>().join(" "));
    rows.into_iter().map(one).collect()
}

fn values(object: &Value) -> Vec<Value> {
    object.as_object().into_iter().flat_map(|object| object.values().cloned()).collect()
}

impl World {
    fn new(seed: u64) -> Self {
        let cluster = Cluster::launch(&[3; SERVERS]);
        cluster.wait_for_voters(cluster.leader(None), SERVERS);
        let dir = scratch();
        let mut arguments = vec!["-node=n3".to_owned(), format!("-data-dir={}", dir.path().join("data").display())];
        arguments.extend(cluster.servers.iter().map(|server| format!("-retry-join={}", server.address)));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let client = Agent::start(dir.path(), &arguments);
        let datacenters = || client.get("/v1/catalog/datacenters").body;
        eventually("the client knows servers", datacenters, |body| body.trim() == r#"["dc1"]"#);
        let (dice, acknowledged) = (SmallRng::seed_from_u64(seed), vec![Claims::new(); SERVERS + 1]);
        Self { cluster, client, _dir: dir, dice, down: None, acknowledged }
    }

    fn agent(&self, at: usize) -> &Agent {
        self.cluster.servers.get(at).unwrap_or(&self.client)
    }

    fn put(&self, at: usize, path: &str, body: &str) {
        let answer = self.agent(at).put(path, body);
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.body);
    }

    /// One thing that a registrar does, with an agent that is up.
    fn deed(&mut self) {
        let up: Vec<usize> = (0..=SERVERS).filter(|at| Some(*at) != self.down).collect();
        let at = up[self.dice.random_range(0..up.len())];
        let id = format!("web{}", self.dice.random_range(0..4));
        let is_there = self.acknowledged[at].contains_key(&id);
        match self.dice.random_range(0..10) {
            0..4 => {
                let port = self.dice.random_range(1..1000);
                let check = json!({"CheckID": format!("up-{id}"), "TTL": "1h"});
                let service = json!({"ID": id, "Name": "web", "Port": port, "Check": check});
                self.put(at, "/v1/agent/service/register", &service.to_string());
                self.acknowledged[at].insert(id, port.to_string());
            }
            4..6 => {
                self.put(at, &format!("/v1/agent/service/deregister/{id}"), "");
                self.acknowledged[at].remove(&id);
            }
            6..9 if is_there => {
                let status = ["pass", "warn", "fail"][self.dice.random_range(0..3)];
                self.put(at, &format!("/v1/agent/check/{status}/up-{id}"), "");
            }
            9 if is_there => {
                let on = self.dice.random_bool(0.5);
                self.put(at, &format!("/v1/agent/service/maintenance/{id}?enable={on}"), "");
            }
            _ => {}
        }
    }

    fn deeds(&mut self) {
        (0..DEEDS).for_each(|_| self.deed());
    }

    /// Registrars go on while nobody leads, while another does, and when the old one is back.
    fn lose_the_leader(&mut self) {
        let leader = self.cluster.leader(None);
        self.cluster.servers[leader].stop(Signal::KILL);
        self.down = Some(leader);
        self.deeds();
        self.cluster.leader(Some(leader));
        self.deeds();
        self.cluster.servers[leader].start_again();
        self.down = None;
        self.deeds();
    }

    fn lose_the_client(&mut self) {
        self.client.stop(Signal::KILL);
        self.client.start_again();
        self.deeds();
    }

    fn agrees(&self, at: usize) {
        let (node, agent) = (format!("n{at}"), self.agent(at));
        let services = of(values(&agent.get("/v1/agent/services").json()), "ID", &["Port"]);
        assert_eq!(services, self.acknowledged[at], "what was acknowledged by {node}");
        let checks = of(values(&agent.get("/v1/agent/checks").json()), "CheckID", &["ServiceID", "Status"]);
        let in_catalog = || {
            let there = self.client.get(&format!("/v1/catalog/node/{node}")).json();
            let mut services = of(values(&there["Services"]), "ID", &["Port"]);
            services.remove("consul");
            let there = self.client.get(&format!("/v1/health/node/{node}")).json();
            let mut checks = of(there.as_array().cloned().unwrap_or_default(), "CheckID", &["ServiceID", "Status"]);
            let health = checks.remove("serfHealth");
            (services, checks, health)
        };
        let expected = (services, checks, Some(" passing".to_owned()));
        eventually(&format!("the catalog of {node}, {expected:?}"), in_catalog, |seen| *seen == expected);
    }
}

#[test]
fn agents_and_catalog_agree_soon_after_leaders_and_agents_were_killed() {
    let mut world = World::new(20_261_130);
    for _ in 0..ROUNDS {
        world.lose_the_leader();
        world.lose_the_client();
    }
    world.cluster.leader(None);
    (0..=SERVERS).for_each(|at| world.agrees(at));
}
