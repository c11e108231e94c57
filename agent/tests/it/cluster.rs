//! Three real servers: they find their leader by themselves, lose it, find another, and lose nothing
//! that was acknowledged.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use crate::support::{Agent, Stream, eventually, own_address, scratch};

/// Servers that were started with the same arguments but for their names.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Agent>,
    pub(crate) dirs: Vec<tempfile::TempDir>,
}

impl Cluster {
    pub(crate) fn launch(expects: &[u32]) -> Self {
        let addresses: Vec<String> = expects.iter().map(|_| own_address()).collect();
        let (mut servers, mut dirs) = (Vec::new(), Vec::new());
        for (at, (address, expect)) in addresses.iter().zip(expects).enumerate() {
            let dir = scratch();
            let mut arguments = vec![
                "-server".to_owned(),
                format!("-node=n{at}"),
                format!("-bootstrap-expect={expect}"),
                format!("-data-dir={}", dir.path().join("data").display()),
            ];
            arguments.extend(addresses.iter().map(|address| format!("-retry-join={address}")));
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            servers.push(Agent::launch_at(address.clone(), None, dir.path(), &arguments));
            dirs.push(dir);
        }
        servers.iter().for_each(Agent::wait_for_http);
        Self { servers, dirs }
    }

    /// Which one leads, once all but `without` say so.
    #[track_caller]
    pub(crate) fn leader(&self, without: Option<usize>) -> usize {
        let up = || self.servers.iter().enumerate().filter(move |(at, _)| Some(*at) != without);
        let say = || up().map(|(_, server)| server.get("/v1/status/leader").body).collect::<Vec<_>>();
        let is_there = |said: &Vec<String>| {
            let leads = up().any(|(_, server)| said[0].contains(&format!("{}:", server.address)));
            leads && said.iter().all(|leader| *leader == said[0])
        };
        let said = eventually("one leader", say, is_there);
        let leads = |server: &Agent| said[0].contains(&format!("{}:", server.address));
        self.servers.iter().position(leads).expect("one of these")
    }

    #[track_caller]
    pub(crate) fn wait_for_voters(&self, at: usize, count: usize) {
        let voters = || {
            let configuration = self.servers[at].get("/v1/operator/raft/configuration?stale").json();
            let servers = configuration["Servers"].as_array().cloned().unwrap_or_default();
            servers.iter().filter(|server| server["Voter"] == true).count()
        };
        eventually("the voters", voters, |seen| *seen == count);
    }
}

/// What was acknowledged, by key.
type Acknowledged = Mutex<BTreeMap<String, String>>;

/// Writes to whoever takes it until told to stop; only an answer `true` counts.
fn write(servers: &[Agent], writer: usize, stop: &AtomicBool, acknowledged: &Acknowledged) {
    for n in 0..u64::MAX {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (key, value) = (format!("{writer}/{n}"), format!("{writer}-{n}"));
        // One that is killed, or does not lead, refuses or never answers: another is asked for the next key.
        let server = &servers[usize::try_from(n).expect("small") % servers.len()];
        if server.try_put(&format!("/v1/kv/{key}"), &value).is_ok_and(|a| a.status == 200 && a.body.trim() == "true") {
            acknowledged.lock().expect("whole").insert(key, value);
        }
    }
}

#[test]
fn three_servers_lose_their_leaders_and_nothing_that_was_acknowledged() {
    let mut cluster = Cluster::launch(&[3, 3, 3]);
    cluster.leader(None);
    cluster.wait_for_voters(0, 3);
    let acknowledged = Acknowledged::default();
    for round in 0..3 {
        let leader = cluster.leader(None);
        let stop = AtomicBool::new(false);
        let count = || acknowledged.lock().expect("whole").len();
        std::thread::scope(|scope| {
            for writer in 0..2 {
                let (servers, acknowledged, stop) = (&cluster.servers, &acknowledged, &stop);
                scope.spawn(move || write(servers, round * 2 + writer, stop, acknowledged));
            }
            let before = count();
            eventually("a write", count, |count| *count > before);
            cluster.servers[leader].signal(Signal::KILL);
            cluster.leader(Some(leader));
            let before = count();
            eventually("a write without the old leader", count, |count| *count > before);
            stop.store(true, Ordering::Relaxed);
        });
        cluster.servers[leader].ended();
        cluster.servers[leader].start_again();
        let next = cluster.leader(None);
        assert_ne!(next, leader, "one that was just started does not depose a healthy leader");
    }
    cluster.leader(None);
    let acknowledged = acknowledged.into_inner().expect("whole");
    let (last, value) = acknowledged.last_key_value().expect("writes");
    for server in &cluster.servers {
        let read = |key: &str| server.get(&format!("/v1/kv/{key}?raw&stale")).body;
        for (key, value) in &acknowledged {
            eventually(key, || read(key), |seen| seen == value);
        }
        assert_eq!(read(last), *value);
    }
}

#[test]
fn a_leader_that_stops_hands_over_and_comes_back_as_a_follower() {
    let mut cluster = Cluster::launch(&[3, 3, 3]);
    let leader = cluster.leader(None);
    let ended = cluster.servers[leader].stop(Signal::TERM);
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(ended.output.contains("handed the leadership over"), "{}", ended.output);
    let next = cluster.leader(Some(leader));
    let log = cluster.servers[next].log();
    assert!(log.contains("handed its leadership over") && log.contains("election won: tally=2"), "{log}");
    cluster.servers[leader].start_again();
    assert_eq!(cluster.leader(None), next);
}

#[test]
fn a_server_leaves_where_that_is_safe_and_is_refused_with_the_arithmetic_where_not() {
    let mut cluster = Cluster::launch(&[3, 3, 3]);
    let leader = cluster.leader(None);
    let answer = cluster.servers[leader].put("/v1/agent/leave", "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(cluster.servers[leader].ended().code, Some(0));
    let stays = cluster.leader(Some(leader));
    cluster.wait_for_voters(stays, 2);
    let other = (0..3).find(|at| *at != leader && *at != stays).expect("three");
    cluster.servers[other].signal(Signal::KILL);
    cluster.servers[other].ended();
    let refused = || {
        let answer = cluster.servers[stays].put("/v1/agent/leave", "");
        (answer.status, answer.body)
    };
    // Gossip has to see it first.
    let gone = || cluster.servers[stays].get("/v1/agent/members").json().to_string();
    eventually("the death", gone, |members| members.contains(r#""Status":4"#));
    let (status, body) = refused();
    assert!(status == 500 && body.contains("0 of them up, 1 needed"), "{status} {body}");
}

#[test]
fn a_leave_with_one_of_three_down_is_refused_unless_the_quorum_may_be_lost() {
    let mut cluster = Cluster::launch(&[3, 3, 3]);
    let leader = cluster.leader(None);
    cluster.wait_for_voters(leader, 3);
    let (down, stays) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.servers[down].signal(Signal::KILL);
    cluster.servers[down].ended();
    let refused = "leave refused: 2 voters would remain, 1 of them up, 2 needed: no quorum; ?lose-quorum=yes insists";
    for at in [leader, stays] {
        let members = || cluster.servers[at].get("/v1/agent/members").json().to_string();
        eventually("the death", members, |members| members.contains(r#""Status":4"#));
        let answer = cluster.servers[at].put("/v1/agent/leave", "");
        assert_eq!((answer.status, answer.body.trim()), (500, refused));
    }
    let health = || {
        let answer = cluster.servers[stays].get("/v1/operator/autopilot/health");
        (answer.status, answer.json()["FailureTolerance"].as_u64())
    };
    eventually("the health of two of three", health, |seen| *seen == (429, Some(0)));
    let answer = cluster.servers[stays].put("/v1/agent/leave?lose-quorum=yes", "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(cluster.servers[stays].ended().code, Some(0));
}

#[test]
fn autopilots_rules_are_those_of_the_first_leader_and_then_of_whoever_sets_them() {
    let mut cluster = Cluster::launch(&[3, 3, 3]);
    let leader = cluster.leader(None);
    let path = "/v1/operator/autopilot/configuration";
    let follower = (leader + 1) % 3;
    // Until the first leader wrote them there are none, which is no JSON.
    let rules = |at: usize| cluster.servers[at].get(path).body;
    let ours = r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"#;
    eventually("the first leader's rules", || rules(follower), |rules| rules.starts_with(ours));
    let set = cluster.servers[follower].put(path, r#"{"MinQuorum": 3, "ServerStabilizationTime": "1m10.5s"}"#);
    assert_eq!((set.status, set.body.trim()), (200, "true"));
    let told = || cluster.servers[leader].log();
    eventually("the leader takes them over", told, |log| log.contains("the rules of autopilot have changed"));
    cluster.servers[leader].signal(Signal::KILL);
    cluster.servers[leader].ended();
    let next = cluster.leader(Some(leader));
    let kept = r#""MinQuorum":3,"ServerStabilizationTime":"1m10.5s","#;
    eventually("the next leader keeps them", || cluster.servers[next].get(path).body, |rules| rules.contains(kept));
}

#[test]
fn servers_with_different_expectations_are_told_so_by_name() {
    let cluster = Cluster::launch(&[3, 2]);
    for (at, words) in
        [(0, "n1 has bootstrap_expect 2, this server 3"), (1, "n0 has bootstrap_expect 3, this server 2")]
    {
        eventually(words, || cluster.servers[at].log(), |log| log.contains(words));
    }
    assert_eq!(cluster.servers[0].get("/v1/status/leader").body.trim(), "\"\"");
}

#[test]
fn a_server_that_waits_for_others_says_which_hosts_are_missing_and_why() {
    let (dir, absent) = (scratch(), own_address());
    let data = format!("-data-dir={}", dir.path().join("data").display());
    let join = format!("-retry-join={absent}:8301");
    let server = Agent::start(dir.path(), &["-server", "-node=n0", "-bootstrap-expect=2", &data, &join]);
    let line = format!("bootstrap: 1 of 2 servers: n0; missing one more server; {absent} refused the connection");
    eventually("what it waits for", || server.log(), |log| log.contains(&line));
}

#[test]
fn an_election_is_heard_at_every_agent_as_each_server_saw_it() {
    let mut cluster = Cluster::launch(&[3, 3, 3]);
    let leader = cluster.leader(None);
    cluster.wait_for_voters(0, 3);
    let dir = scratch();
    let (data, join) = (dir.path().join("data"), format!("-retry-join={}", cluster.servers[0].address));
    let client = Agent::start(dir.path(), &["-node=c", &join, &format!("-data-dir={}", data.display())]);
    let bystander = (0..3).find(|at| *at != leader).expect("three");
    let asked = [&client, &cluster.servers[bystander]];
    let open = |agent: &Agent| Stream::open(&agent.http(), "/v1/agent/events?kind=raft&kind=election", None);
    let mut streams: Vec<_> = asked.iter().map(|agent| open(agent).expect("a stream").1).collect();
    // Each server's own state, whether in the picture or after it.
    for stream in &mut streams {
        let mut heard = std::collections::BTreeSet::new();
        stream.until(|_, data| {
            if data["Type"] == "state" {
                heard.insert(data["Origin"]["Node"].to_string());
            }
            heard.len() == 3
        });
    }
    cluster.servers[leader].signal(Signal::KILL);
    cluster.servers[leader].ended();
    let old = format!("n{leader}");
    let is_won = |data: &serde_json::Value| data["Result"] == "won" && data["Candidate"] != old.as_str();
    // A client whose server was the one that died has it from the picture of the next.
    streams[0].until(|_, data| (data["Type"] == "ended" || data["Type"] == "past") && is_won(data));
    let (mut won, mut granted) = (None, None);
    streams[1].until(|_, data| {
        let from = data["Origin"]["Node"].as_str().map(str::to_owned);
        if data["Type"] == "ended" && is_won(data) {
            won = from;
        } else if data["Type"] == "vote-granted" && data["PreVote"] == false && data["Tally"] == 0 {
            // The voter's own word, which does not count votes.
            granted = from;
        }
        won.is_some() && granted.is_some() && won != granted
    });
}
