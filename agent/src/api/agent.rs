//! `/v1/agent/…`: the agent itself, its members, joining and leaving.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use serde_json::{Map, Value, json};
use shared::api::agent::AgentMember;
use shared::api::query;
use shared::event::{MemberStatus, RaftState, Role};

use super::error::{Error, Refusal};
use super::extract::Call;
use super::router::Method;
use super::{Context, convert, reply, stream};
use crate::backend::Status;
use crate::gossip::{ForceLeft, Gossip};

pub(super) async fn oneself(call: Call, _: Method) -> Result<Response, Refusal> {
    let context = &call.context;
    let member = context.lan.members().borrow().iter().find(|m| m.name == context.node_name).map(convert::member);
    let mut meta = context.node_meta.clone();
    meta.entry("consul-network-segment".to_owned()).or_default();
    let oneself = json!({
        "Config": {
            "Datacenter": context.datacenter,
            "NodeName": context.node_name,
            "NodeID": context.node_id,
            "Revision": context.revision,
            "Server": context.server,
            "Version": context.version,
        },
        "DebugConfig": context.debug_config,
        "Coord": context.lan.places().await.ours,
        "Member": member,
        "Stats": stats(context),
        "Meta": meta,
    });
    reply::json(&call, &oneself)
}

/// Strings by section, as `info` prints them.
fn stats(context: &Context) -> BTreeMap<&'static str, Value> {
    let status = context.backend.status();
    let (services, checks) = (context.local.services().len(), context.local.checks().len());
    let counts = context.checks.counts();
    let of_kind = |kind: &str| counts.get(kind).copied().unwrap_or(0).to_string();
    let mut stats = BTreeMap::from([
        (
            "agent",
            texts([
                ("check_monitors", of_kind("script")),
                ("check_ttls", of_kind("ttl")),
                ("checks", checks.to_string()),
                ("services", services.to_string()),
            ]),
        ),
        (
            "build",
            texts([
                ("prerelease", String::new()),
                ("revision", context.revision.clone()),
                ("version", context.version.to_owned()),
            ]),
        ),
        ("consul", consul_stats(context, &status)),
        ("runtime", runtime_stats()),
        ("serf_lan", serf_stats(context, &context.lan)),
    ]);
    if let Some(raft) = &status.raft {
        stats.insert("raft", raft_stats(raft));
    }
    if let Some(wan) = &context.wan {
        stats.insert("serf_wan", serf_stats(context, wan));
    }
    stats
}

fn texts<const N: usize>(pairs: [(&str, String); N]) -> Value {
    Value::Object(pairs.into_iter().map(|(key, text)| (key.to_owned(), Value::String(text))).collect::<Map<_, _>>())
}

fn consul_stats(context: &Context, status: &Status) -> Value {
    if !context.server {
        let is_server = |role: Option<&String>| role.is_some_and(|role| role == "consul");
        let members = context.lan.members();
        let servers = members.borrow().iter().filter(|member| is_server(member.tags.get("role"))).count();
        return texts([
            ("acl", "disabled".to_owned()),
            ("known_servers", servers.to_string()),
            ("server", "false".to_owned()),
        ]);
    }
    let mut datacenters = BTreeSet::from([context.datacenter.clone()]);
    if let Some(wan) = &context.wan {
        datacenters.extend(wan.members().borrow().iter().filter_map(|member| member.tags.get("dc").cloned()));
    }
    let leads = status.raft.as_ref().is_some_and(|raft| raft.role == Role::Leader);
    texts([
        ("acl", "disabled".to_owned()),
        ("bootstrap", context.bootstrap.to_string()),
        ("known_datacenters", datacenters.len().to_string()),
        ("leader", leads.to_string()),
        ("leader_addr", status.leader.clone()),
        ("server", "true".to_owned()),
    ])
}

fn raft_stats(raft: &RaftState) -> Value {
    let servers: Vec<_> = raft
        .peers
        .iter()
        .map(|peer| {
            let suffrage = if peer.voter { "Voter" } else { "Nonvoter" };
            format!("{{Suffrage:{suffrage} ID:{} Address:{}}}", peer.id, peer.address)
        })
        .collect();
    let voters = raft.peers.iter().filter(|peer| peer.voter).count();
    let state = match raft.role {
        Role::Leader => "Leader",
        Role::Candidate => "Candidate",
        Role::Follower | Role::Learner => "Follower",
        Role::Shutdown => "Shutdown",
    };
    texts([
        ("applied_index", raft.applied.to_string()),
        ("commit_index", raft.commit.to_string()),
        ("fsm_pending", "0".to_owned()),
        ("last_contact", if raft.leader_id.is_some() { "0" } else { "never" }.to_owned()),
        ("last_log_index", raft.last_log.to_string()),
        ("last_log_term", raft.term.to_string()),
        ("last_snapshot_index", raft.snapshot.to_string()),
        ("last_snapshot_term", if raft.snapshot == 0 { 0 } else { raft.term }.to_string()),
        ("latest_configuration", format!("[{}]", servers.join(" "))),
        ("latest_configuration_index", "0".to_owned()),
        ("num_peers", voters.saturating_sub(1).to_string()),
        ("protocol_version", "3".to_owned()),
        ("protocol_version_max", "3".to_owned()),
        ("protocol_version_min", "0".to_owned()),
        ("snapshot_version_max", "1".to_owned()),
        ("snapshot_version_min", "0".to_owned()),
        ("state", state.to_owned()),
        ("term", raft.term.to_string()),
    ])
}

fn runtime_stats() -> Value {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = tokio::runtime::Handle::current().metrics();
    texts([
        ("arch", arch.to_owned()),
        ("cpu_count", cores.to_string()),
        ("goroutines", runtime.num_alive_tasks().to_string()),
        ("max_procs", runtime.num_workers().to_string()),
        ("os", std::env::consts::OS.to_owned()),
        ("version", concat!("rust", env!("CARGO_PKG_RUST_VERSION")).to_owned()),
    ])
}

fn serf_stats(context: &Context, pool: &Gossip) -> Value {
    let facts = pool.facts();
    let members = pool.members();
    let members = members.borrow();
    let count = |status: MemberStatus| members.iter().filter(|member| member.status == status).count().to_string();
    texts([
        ("coordinate_resets", facts.coordinate_resets.to_string()),
        ("encrypted", context.encrypted.to_string()),
        ("event_queue", facts.event_queue.to_string()),
        ("event_time", facts.event_time.to_string()),
        ("failed", count(MemberStatus::Failed)),
        ("health_score", facts.health_score.to_string()),
        ("intent_queue", facts.intent_queue.to_string()),
        ("left", count(MemberStatus::Left)),
        ("member_time", facts.member_time.to_string()),
        ("members", members.len().to_string()),
        ("query_queue", facts.query_queue.to_string()),
        ("query_time", facts.query_time.to_string()),
    ])
}

pub(super) async fn members(call: Call, _: Method) -> Result<Response, Refusal> {
    let segment = call.params.given("segment").filter(|segment| *segment != "_all");
    let pool = if call.params.given("wan").is_some() {
        if segment.is_some() {
            return Err(Error::SegmentOfWan.into());
        }
        call.context.wan.as_ref()
    } else {
        if segment.is_some() {
            return Err(Error::Segments.into());
        }
        Some(&call.context.lan)
    };
    let rows: Option<Vec<AgentMember>> = pool.map(|pool| pool.members().borrow().iter().map(convert::member).collect());
    reply::json(&call, &rows)
}

pub(super) async fn join(call: Call, _: Method) -> Result<Response, Refusal> {
    let address = call.tail.clone();
    let joined = if call.params.given("wan").is_some() {
        let wan = call.context.wan.as_ref().ok_or(Error::NoWan)?;
        tracing::info!(target: "agent", wan_addresses = %format_args!("[{address}]"), "(WAN) joining");
        let joined = wan.join(vec![address]).await;
        if joined.contacted > 0 {
            tracing::info!(target: "agent", number_of_nodes = joined.contacted, "(WAN) joined");
        }
        joined
    } else {
        tracing::info!(target: "agent", lan_addresses = %format_args!("[{address}]"), "(LAN) joining");
        let joined = call.context.lan.join(vec![address]).await;
        if joined.contacted > 0 {
            tracing::info!(target: "agent", number_of_nodes = joined.contacted, "(LAN) joined");
        }
        joined
    };
    if joined.contacted == 0 {
        return Err(Error::Join(joined.error_text().unwrap_or_default()).into());
    }
    Ok(reply::empty())
}

pub(super) async fn force_leave(call: Call, _: Method) -> Result<Response, Refusal> {
    let name = call.tail.clone();
    tracing::info!(target: "agent", node = %name, "Force leaving node");
    let outcome = call.context.lan.force_leave(name.clone(), call.params.has("prune")).await?;
    let mut answer = reply::empty();
    if outcome == ForceLeft::StillThere {
        // Consul answers the same, and may leave the member stuck in leaving: see compat.md.
        let warning = format!("{name} is alive: nothing was changed, stop it or let it leave");
        tracing::warn!(target: "agent", node = %name, "force-leave changes nothing: the member is alive");
        if let Ok(value) = HeaderValue::from_str(&warning) {
            answer.headers_mut().insert(HeaderName::from_static(query::WARNING), value);
        }
    }
    Ok(answer)
}

pub(super) async fn leave(call: Call, _: Method) -> Result<Response, Refusal> {
    let lose_quorum = call.params.get("lose-quorum").is_some_and(|value| value == "yes");
    call.context.control.leave(lose_quorum).await.map_err(Error::Control)?;
    Ok(reply::empty())
}

pub(super) async fn reload(call: Call, _: Method) -> Result<Response, Refusal> {
    call.context.control.reload().await.map_err(Error::Control)?;
    Ok(reply::empty())
}

pub(super) async fn events(call: Call, _: Method) -> Result<Response, Refusal> {
    Ok(stream::open(&call.context.events, call.params.pairs(), &call.headers, call.stop.clone()))
}
