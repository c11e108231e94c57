//! After the faults: everything works again, the cluster goes on, all servers come to be equal, and what
//! they hold in the end belongs to the history.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::Signal;

use super::ask::{Answer, Trouble};
use super::client::{Field, read};
use super::cluster::{Agent, Cluster, LIMIT};
use super::history::{Action, History, Operation, Outcome};
use super::now;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Of state, what every server must hold alike.
const REPLICATED: [&str; 3] = ["/v1/kv/?recurse", "/v1/catalog/nodes?", "/v1/health/service/consul?"];

/// No fault is left, and all agents run.
pub(super) fn heal(cluster: &Cluster) {
    cluster.lan.heal();
    for agent in &cluster.agents {
        agent.page.wall_clock_is_ahead_by(0);
        agent.page.syncs_take(0);
        agent.page.syncs_fail(0);
        agent.page.writes_fail(0);
        agent.start();
        agent.signal(Signal::CONT);
    }
}

/// Asks again and again until `good` holds; what is wrong where it does not within the limit.
fn reached<T>(
    what: &str,
    mut ask: impl FnMut() -> T,
    good: impl Fn(&T) -> bool,
    tell: impl Fn(&T) -> String,
) -> Result<T, String> {
    let until = now() + LIMIT;
    loop {
        let seen = ask();
        if good(&seen) {
            return Ok(seen);
        }
        if now() >= until {
            return Err(format!("{what}: not within {LIMIT:?} after the faults: {}", tell(&seen)));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Within a limit after the faults, writes are answered: without it a run would prove nothing.
pub(super) fn goes_on(field: &Field, cluster: &Cluster, wrong: &mut Vec<String>) {
    let before = field.acknowledged.load(Ordering::Relaxed);
    let mut unasked = Vec::new();
    let written = || {
        unasked.extend(cluster.tend());
        field.acknowledged.load(Ordering::Relaxed) - before
    };
    let reached = reached("writes", written, |count| *count > 10, u64::to_string);
    wrong.extend(unasked.into_iter().chain(reached.err()));
}

/// The clients have ended: waits until all servers vote and hold the same, and reads all keys at last.
pub(super) fn settle(cluster: &Cluster, field: &Field, history: &mut History, wrong: &mut Vec<String>) {
    // A new leader takes in whom an operator took out, as it has not seen that.
    let transfer = || cluster.agents[0].ask("POST /v1/operator/raft/transfer-leader", "", ANSWER_WITHIN);
    let is_done = |answer: &Result<Answer, Trouble>| answer.as_ref().is_ok_and(|answer| answer.status == 200);
    wrong.extend(reached("a transfer", transfer, is_done, |answer| format!("{answer:?}")).err());
    let count = cluster.servers().len();
    let mut unasked = Vec::new();
    let voters = || {
        unasked.extend(cluster.tend());
        cluster.voters(count)
    };
    let all_vote = reached("all servers vote", voters, |voters| *voters == count, |_| views(cluster));
    wrong.extend(all_vote.err());
    let equal = || {
        // One whose disk failed may still have been on its way out before.
        unasked.extend(cluster.tend());
        let began = field.began.elapsed();
        let consistent = state(&cluster.agents[count], "consistent");
        let ended = field.began.elapsed();
        let replicas: Vec<_> = cluster.servers().iter().map(|server| state(server, "stale")).collect();
        let differing: Vec<String> = (replicas.iter().zip(cluster.servers()))
            .filter(|(replica, _)| replica.is_none() || **replica != consistent)
            .map(|(replica, server)| told(&server.name, replica.as_ref(), consistent.as_ref()))
            .collect();
        (differing, consistent.unwrap_or_default(), began, ended)
    };
    let are_equal = reached("replicas equal", equal, |seen| seen.0.is_empty(), |seen| seen.0.join("; "));
    wrong.append(&mut unasked);
    let (_, state, began, ended) = match are_equal {
        Ok(seen) => seen,
        Err(why) => return wrong.push(why),
    };
    let pairs: serde_json::Value = serde_json::from_str(&state[0]).unwrap_or_default();
    let micros = |at: Duration| u64::try_from(at.as_micros()).expect("a run ends");
    for (key, operations) in history {
        let pair = pairs.as_array().into_iter().flatten().find(|pair| pair["Key"] == **key);
        let outcome = Outcome::Found(pair.and_then(read).map(|(value, _)| value));
        let (client, agent, action) = (super::client::CLIENTS, count, Action::Read);
        operations.push(Operation { client, agent, action, outcome, began: micros(began), ended: micros(ended) });
    }
}

/// How each agent sees the others, for whoever looks for the reason.
fn views(cluster: &Cluster) -> String {
    let view = |agent: &Agent| {
        let body = |path: &str| {
            let answer = agent.ask(&format!("GET {path}"), "", ANSWER_WITHIN);
            answer.map_or_else(|trouble| format!("{trouble:?}"), |answer| answer.body)
        };
        let raft = body("/v1/operator/raft/configuration?stale");
        format!("\n{}: {raft}\n    {}", agent.name, body("/v1/agent/members"))
    };
    cluster.agents.iter().map(view).collect()
}

/// None where it does not answer.
fn state(agent: &Agent, how: &str) -> Option<Vec<String>> {
    let part = |path: &&str| {
        let line = format!("GET {path}&{how}").replace("?&", "?");
        let answer = agent.ask(&line, "", ANSWER_WITHIN).ok();
        answer.filter(|answer| answer.status == 200).map(|answer| answer.body)
    };
    REPLICATED.iter().map(part).collect()
}

fn told(name: &str, replica: Option<&Vec<String>>, expected: Option<&Vec<String>>) -> String {
    let (Some(replica), Some(expected)) = (replica, expected) else { return format!("{name} or the client is silent") };
    let differs = REPLICATED.iter().zip(replica.iter().zip(expected)).find(|(_, (a, b))| a != b);
    differs.map_or_else(
        || name.to_owned(),
        |(path, (a, b))| {
            let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
            let near = |text: &str| text.chars().skip(same.saturating_sub(80)).take(240).collect::<String>();
            format!("{name}, {path}: `{}`, and the leader `{}`", near(a), near(b))
        },
    )
}
