//! The catalog into the model: services, their instances, checks; and what of it is worth asking for.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use shared::api::health::HealthCheck;
use shared::event::{CheckEvent, CheckState, Level, MemberStatus, Pool};
use shared::time::WallTime;

use crate::model::Model;
use crate::model::checks::{Check, Health, Policy};
use crate::model::dialog::own_place;
use crate::model::instances::{Instance, Probe};
use crate::model::journal::{Kind, News};
use crate::model::mark::Mark;
use crate::model::strip::Past;
use crate::msg::{AgentKind, Denial, Effect, Interest, OwnAgent, Place, Screen, Source};
use crate::polled::InstanceEntry;

pub(super) fn services(model: &mut Model, mut services: BTreeMap<String, Vec<String>>) {
    // Consul tells them in another order each time.
    services.values_mut().for_each(|tags| tags.sort_unstable());
    model.services.replace(services);
    // What is looked at is not asked for a second time, and its answer may have come before its name.
    if model.instances.known {
        model.services.place(&model.instances.of, model.instances.places());
    }
}

/// Where the instances of a service are; when it is the one that is looked at, all of them whole.
pub(super) fn instances(model: &mut Model, service: &str, entries: Vec<InstanceEntry>) {
    let places = entries.iter().map(|entry| (entry.node.node.clone(), entry.service.id.clone()));
    model.services.place(service, places.collect());
    if model.instances.of == service {
        model.instances.replace(entries.into_iter().map(instance).collect());
    }
}

fn instance(entry: InstanceEntry) -> Instance {
    let InstanceEntry { node, service, checks } = entry;
    let address = if service.address.is_empty() { node.address.clone() } else { service.address };
    Instance {
        node: node.node,
        node_address: node.address,
        id: service.id,
        address,
        port: service.port,
        tags: service.tags.unwrap_or_default(),
        meta: service.meta.unwrap_or_default(),
        weights: (service.weights.passing, service.weights.warning),
        tag_override: service.enable_tag_override,
        probes: checks.unwrap_or_default().into_iter().map(probe).collect(),
    }
}

fn probe(check: HealthCheck) -> Probe {
    Probe {
        policy: policy(&check.definition),
        id: check.check_id,
        name: check.name,
        is_nodes: check.service_id.is_empty(),
        kind: check.kind,
        health: Health::parse(&check.status),
        status: check.status,
        output: check.output,
        notes: check.notes,
    }
}

/// What the catalog was told of how a check works; agents of 1.8 tell it nothing.
fn policy(definition: &Value) -> Policy {
    let text = |name: &str| definition.get(name).and_then(Value::as_str).unwrap_or_default();
    let ms = |name: &str| {
        let span = shared::duration::parse(text(name)).ok().filter(|span| *span > Duration::ZERO)?;
        u64::try_from(span.as_millis()).ok()
    };
    let target = ["HTTP", "TCP", "GRPC", "AliasService", "AliasNode"].into_iter().map(text).find(|it| !it.is_empty());
    let script = || {
        let words = definition.get("ScriptArgs").and_then(Value::as_array)?;
        Some(words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "))
    };
    Policy {
        target: target.map(str::to_owned).or_else(script).unwrap_or_default(),
        interval_ms: ms("Interval"),
        timeout_ms: ms("Timeout"),
        ttl_ms: ms("TTL"),
        deregister_ms: ms("DeregisterCriticalServiceAfter"),
    }
}

pub(super) fn checks(model: &mut Model, at: WallTime, checks: Vec<HealthCheck>) {
    let rows = checks.into_iter().map(|check| {
        let health = Health::parse(&check.status);
        Check {
            node: check.node,
            id: check.check_id,
            name: check.name,
            service: if check.service_name.is_empty() { check.service_id.clone() } else { check.service_name },
            service_id: check.service_id,
            health,
            status: check.status,
            output: check.output.lines().next().unwrap_or("").to_owned(),
            since: None,
            past: Past::new(at, health),
        }
    });
    let changed = model.checks.replace(rows.collect(), at);
    model.services.recount();
    for (check, before) in changed {
        let (mark, level) = match check.health {
            Health::Critical => (Mark::Failed, Level::Warn),
            Health::Warning => (Mark::Warning, Level::Warn),
            Health::Passing => (Mark::Good, Level::Info),
            Health::Other => (Mark::Unknown, Level::Info),
        };
        let text = format!("{} on {}: {before} to {}{}", check.subject(), check.node, check.status, check.words());
        model.journal.push(News { at, node: check.node, kind: Kind::Check, level, mark, text });
    }
}

/// What an agent tells of how one of its checks works; the status comes from the catalog.
pub(super) fn told(model: &mut Model, node: &str, event: &CheckEvent) {
    let state = event.state();
    let policy = (!matches!(event, CheckEvent::Deregistered(_))).then(|| policy_told(state));
    model.checks.tell(node, &state.check_id, policy);
}

/// All that a node's agent tells of its checks.
pub(super) fn checked(model: &mut Model, node: &str, checks: &[CheckState]) {
    model.checks.forget_told(node);
    for state in checks {
        model.checks.tell(node, &state.check_id, Some(policy_told(state)));
    }
}

fn policy_told(state: &CheckState) -> Policy {
    let CheckState { interval_ms, timeout_ms, ttl_ms, deregister_after_ms, .. } = *state;
    Policy { target: String::new(), interval_ms, timeout_ms, ttl_ms, deregister_ms: deregister_after_ms }
}

/// The agent that keeps the selected instance, which alone knows how its checks work. Where the one in use is
/// not ours, that one would not tell.
fn own_agent(model: &Model) -> Option<OwnAgent> {
    let node = &model.instances.selected()?.node;
    let member = model.members.find(Pool::Lan, node)?;
    let is_ours = model.lane().and_then(|lane| lane.kind) == Some(AgentKind::Quorate);
    // That of the agent in use comes by itself.
    if !is_ours || member.state.status != MemberStatus::Alive || node == model.here() {
        return None;
    }
    let (address, _) = own_place(model, node);
    Some(OwnAgent { node: node.clone(), place: Place { lane: model.active, address: Some(address) } })
}

/// What of the catalog should be asked for now, when that is not what is asked for already. Only the
/// Services screen has any need of it.
pub(super) fn interest(model: &mut Model) -> Vec<Effect> {
    let mut interest = Interest::default();
    if model.screen == Screen::Services {
        interest.service = Some(model.instances.of.clone()).filter(|name| !name.is_empty());
        // A service that a token may not read is not asked for again and again.
        if model.denials.get(&Source::Instances) != Some(&Denial::NotOffered) {
            interest.counted = model.services.uncounted();
            interest.counted.retain(|name| interest.service.as_ref() != Some(name));
        }
        interest.agent = own_agent(model);
    }
    if interest == model.interest {
        return Vec::new();
    }
    model.interest = interest.clone();
    vec![Effect::Watch(interest)]
}
