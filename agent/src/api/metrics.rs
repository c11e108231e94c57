//! `/v1/agent/metrics`: the telemetry as Consul's JSON or as Prometheus text.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use shared::event::{MemberStatus, Role};

use super::error::Refusal;
use super::extract::Call;
use super::router::Method;
use super::{Context, reply};
use crate::gossip::Gossip;
use crate::moment::WallTime;
use crate::telemetry::{Id, Picture, Summary};

pub(super) async fn metrics(call: Call, _: Method) -> Result<Response, Refusal> {
    let mut picture = call.context.telemetry.picture();
    picture.gauges.extend(levels(&call.context));
    picture.gauges.sort_by(|a, b| a.0.cmp(&b.0));
    if call.params.get("format") == Some("prometheus") {
        let mut response = Response::new(prometheus(&picture).into());
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        return Ok(response);
    }
    reply::json(&call, &Report::of(&picture))
}

/// What needs no report because it can be looked at.
fn levels(context: &Context) -> Vec<(Id, f64)> {
    let mut levels = Vec::new();
    if let Some(raft) = context.backend.status().raft {
        levels.push((Id::named("consul.raft.applied_index"), raft.applied as f64));
        levels.push((Id::named("consul.raft.last_index"), raft.last_log as f64));
        levels.push((Id::named("quorate.raft.commit_index"), raft.commit as f64));
        levels.push((Id::named("quorate.raft.term"), raft.term as f64));
        levels.push((Id::named("consul.server.isLeader"), f64::from(u8::from(raft.role == Role::Leader))));
        levels.push((Id::named("consul.raft.peers"), raft.peers.len() as f64));
    }
    for (name, status) in [
        ("alive", MemberStatus::Alive),
        ("suspect", MemberStatus::Suspect),
        ("left", MemberStatus::Left),
        ("failed", MemberStatus::Failed),
    ] {
        let count = context.lan.members().borrow().iter().filter(|member| member.status == status).count();
        let labels = BTreeMap::from([("status".to_owned(), name.to_owned())]);
        levels.push((Id { name: "quorate.members.lan".to_owned(), labels }, count as f64));
    }
    levels.extend(gossip_levels("lan", &context.lan));
    levels.extend(context.wan.iter().flat_map(|wan| gossip_levels("wan", wan)));
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    levels.push((Id::named("quorate.runtime.tasks"), tasks as f64));
    if let Some(bytes) = resident_bytes() {
        levels.push((Id::named("quorate.runtime.resident_bytes"), bytes as f64));
    }
    levels
}

/// A pool's health and queues, and what it refused or dropped since its start.
fn gossip_levels(network: &str, pool: &Gossip) -> Vec<(Id, f64)> {
    let facts = pool.facts();
    let counters = facts.counters;
    let figures = [
        ("consul.memberlist.health.score", u64::from(facts.health_score)),
        ("quorate.gossip.intents_waiting", facts.intent_queue as u64),
        ("quorate.gossip.events_waiting", facts.event_queue as u64),
        ("quorate.gossip.queries_waiting", facts.query_queue as u64),
        ("quorate.gossip.user_events", counters.events),
        ("quorate.gossip.user_queries", counters.queries),
        ("quorate.gossip.answers_relayed", counters.relayed),
        ("quorate.gossip.name_conflicts", counters.conflicts),
        ("quorate.gossip.malformed", counters.malformed),
        ("quorate.gossip.refused", counters.refused),
        ("quorate.gossip.rumours_dropped", counters.rumours_dropped),
        ("quorate.gossip.incompatible", counters.incompatible),
        ("quorate.gossip.merges_refused", counters.merges_refused),
        ("quorate.gossip.members_rejected", counters.rejected),
        ("quorate.gossip.coordinates_rejected", counters.coordinates_rejected),
        ("quorate.gossip.coordinate_resets", facts.coordinate_resets),
        ("quorate.gossip.not_opened", pool.seal().refused()),
    ];
    let labels = BTreeMap::from([("network".to_owned(), network.to_owned())]);
    figures.map(|(name, value)| (Id { name: name.to_owned(), labels: labels.clone() }, value as f64)).to_vec()
}

/// Memory of this process, where `/proc` tells it.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Report<'a> {
    timestamp: String,
    gauges: Vec<Level<'a>>,
    points: [(); 0],
    counters: Vec<Sample<'a>>,
    samples: Vec<Sample<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Level<'a> {
    name: &'a str,
    value: f64,
    labels: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Sample<'a> {
    name: &'a str,
    count: u64,
    rate: f64,
    sum: f64,
    min: f64,
    max: f64,
    mean: f64,
    stddev: f64,
    labels: &'a BTreeMap<String, String>,
}

impl<'a> Report<'a> {
    fn of(picture: &'a Picture) -> Self {
        let samples = |all: &'a [(Id, Summary)]| all.iter().filter(|(_, s)| s.count > 0).map(Sample::of).collect();
        Self {
            timestamp: go_time(picture.start),
            gauges: picture
                .gauges
                .iter()
                .map(|(id, value)| Level { name: &id.name, value: *value, labels: &id.labels })
                .collect(),
            points: [],
            counters: samples(&picture.counters),
            samples: samples(&picture.samples),
        }
    }
}

impl<'a> Sample<'a> {
    fn of((id, summary): &'a (Id, Summary)) -> Self {
        Self {
            name: &id.name,
            count: summary.count,
            rate: summary.rate(),
            sum: summary.sum,
            min: summary.min,
            max: summary.max,
            mean: summary.mean(),
            stddev: summary.deviation(),
            labels: &id.labels,
        }
    }
}

/// As Go prints a time: `2006-01-02 15:04:05 +0000 UTC`.
fn go_time(at: WallTime) -> String {
    Timestamp::from_microsecond(at.micros()).unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

/// The text format of Prometheus: gauges, counters, and samples as summaries.
fn prometheus(picture: &Picture) -> String {
    let mut text = String::with_capacity(4096);
    let mut last = String::new();
    let mut head = |text: &mut String, name: &str, kind: &str| {
        if last != name {
            let _ = write!(text, "# HELP {name} {name}\n# TYPE {name} {kind}\n");
            name.clone_into(&mut last);
        }
    };
    for (id, value) in &picture.gauges {
        let name = plain(&id.name);
        head(&mut text, &name, "gauge");
        let _ = writeln!(text, "{name}{} {value}", label_set(&id.labels));
    }
    for (id, summary) in &picture.counters {
        let name = plain(&id.name);
        head(&mut text, &name, "counter");
        let _ = writeln!(text, "{name}{} {}", label_set(&id.labels), summary.total_sum);
    }
    for (id, summary) in &picture.samples {
        let name = plain(&id.name);
        head(&mut text, &name, "summary");
        let labels = label_set(&id.labels);
        let _ = writeln!(text, "{name}_sum{labels} {}", summary.total_sum);
        let _ = writeln!(text, "{name}_count{labels} {}", summary.total_count);
    }
    text
}

/// A name that Prometheus takes.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' }).collect()
}

fn label_set(labels: &BTreeMap<String, String>) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<_> = labels.iter().map(|(k, v)| format!("{}=\"{}\"", plain(k), escape(v))).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_reads_names_labels_and_totals() {
        let mut labelled = Id::named("consul.members");
        labelled.labels.insert("status".to_owned(), "a\"b".to_owned());
        let summary = Summary { total_count: 2, total_sum: 0.5, ..Summary::default() };
        let picture = Picture {
            gauges: vec![(labelled, 1.0)],
            counters: vec![(Id::named("consul.rpc.request"), summary)],
            samples: vec![(Id::named("consul.http.GET.v1.kv._"), summary)],
            ..Picture::default()
        };
        let expected = "# HELP consul_members consul_members\n# TYPE consul_members gauge\nconsul_members{status=\"a\\\"b\"} 1\n\
            # HELP consul_rpc_request consul_rpc_request\n# TYPE consul_rpc_request counter\nconsul_rpc_request 0.5\n\
            # HELP consul_http_GET_v1_kv__ consul_http_GET_v1_kv__\n# TYPE consul_http_GET_v1_kv__ summary\n\
            consul_http_GET_v1_kv___sum 0.5\nconsul_http_GET_v1_kv___count 2\n";
        assert_eq!(prometheus(&picture), expected);
    }

    #[test]
    fn a_time_looks_as_go_prints_it() {
        assert_eq!(go_time(WallTime::from_micros(1_795_226_780_000_000)), "2026-11-21 02:06:20 +0000 UTC");
    }
}
