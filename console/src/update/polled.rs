//! What Consul's API answers into the model.

use std::collections::BTreeMap;

use shared::api::agent::AgentMember;
use shared::api::coordinate::CoordinateEntry;
use shared::event::{MemberState, MemberStatus, Pool, Role};
use shared::time::WallTime;

use super::{catalog, fact, member, story};
use crate::model::Model;
use crate::model::mark::Mark;
use crate::model::members::Member;
use crate::model::pulse::{Rules, Syncs};
use crate::model::raft::{Gap, Leader, Leading, Peer};
use crate::msg::{AgentKind, Denial, LaneId, Source};
use crate::polled::{AutopilotHealth, Identity, Polled, ServerHealth};

/// How long a suspicion that a log told outlives an API that knows no suspects.
const SUSPICION_US: u64 = 6_000_000;

pub(super) fn polled(model: &mut Model, lane: LaneId, at: WallTime, polled: Polled) -> bool {
    if let Some(source) = source(&polled) {
        model.denials.remove(&source);
    }
    match polled {
        Polled::Identity(it) => identity(model, lane, it),
        Polled::Leader(address) => leader(model, at, address),
        Polled::Peers(addresses) => peers(model, addresses),
        Polled::RaftConfiguration(configuration) => {
            let leading = configuration.servers.iter().find(|server| server.leader).map(|server| server.id.clone());
            let peer = |server: shared::api::operator::RaftServer| Peer {
                id: server.id,
                node: server.node,
                address: server.address,
                voter: Some(server.voter),
            };
            configure(model, at, configuration.servers.into_iter().map(peer).collect());
            // It names a leader by ID, which an address does not always do.
            let is_known = |id: &str| model.raft.peer(id).is_some();
            let is_news = match &model.raft.leader {
                Leader::Unknown => true,
                // Of another of its peers the leader's own answer tells first; an ID that nobody has is over.
                Leader::Known(Leading { id, .. }) => id.as_deref().is_none_or(|id| !is_known(id)),
                Leader::None { .. } => false,
            };
            if let Some(id) = leading
                && is_news
            {
                let same = model.raft.leading().filter(|leading| leading.id.is_none());
                let since = same.and_then(|leading| leading.since);
                model.raft.led_by(&id, since);
            }
        }
        Polled::Autopilot(health) => autopilot(model, at, health),
        Polled::Members(members) => take_members(model, at, Pool::Lan, members),
        Polled::WanMembers(members) => take_members(model, at, Pool::Wan, members),
        Polled::Coordinates(rows) => coordinates(model, &rows),
        Polled::Checks(checks) => catalog::checks(model, at, checks),
        Polled::Services(services) => catalog::services(model, services),
        Polled::Instances { service, entries } => catalog::instances(model, &service, entries),
        Polled::Stats(stats) => take_stats(model, at, &stats),
        Polled::MonitorLine(text) => return fact::line(model, at, &text),
        Polled::Rules(it) => {
            let rules = |contact_ms| Rules { contact_ms, trailing: it.max_trailing_logs };
            model.raft.rules = go_millis(&it.last_contact_threshold).map(rules);
        }
        Polled::Syncs { mean_ms, most_ms } => {
            let us = |ms: f64| (ms * 1_000.0) as u64;
            model.raft.syncs = Some(Syncs { at, mean_us: us(mean_ms), most_us: us(most_ms) });
        }
        Polled::Checked { node, checks } => catalog::checked(model, &node, &checks),
    }
    true
}

fn source(polled: &Polled) -> Option<Source> {
    Some(match polled {
        Polled::Identity(_) => Source::Identity,
        Polled::Leader(_) => Source::Leader,
        Polled::Peers(_) => Source::Peers,
        Polled::RaftConfiguration(_) => Source::RaftConfiguration,
        Polled::Autopilot(_) => Source::Autopilot,
        Polled::Members(_) => Source::Members,
        Polled::WanMembers(_) => Source::WanMembers,
        Polled::Coordinates(_) => Source::Coordinates,
        Polled::Checks(_) => Source::Checks,
        Polled::Services(_) => Source::Services,
        Polled::Instances { .. } => Source::Instances,
        Polled::Stats(_) => Source::Stats,
        Polled::MonitorLine(_) => Source::Monitor,
        Polled::Rules(_) => Source::Rules,
        Polled::Syncs { .. } => Source::Metrics,
        Polled::Checked { .. } => return None,
    })
}

/// Who answers on this lane. An agent of another datacenter voids what is on screen.
pub(super) fn identity(model: &mut Model, lane: LaneId, identity: Identity) {
    let datacenter = Some(identity.datacenter.clone()).filter(|dc| !dc.is_empty());
    if datacenter.is_some() && model.datacenter.is_some() && model.datacenter != datacenter {
        model.members.clear();
        model.checks.clear();
        model.services.clear();
        model.instances.turn_to("");
        model.raft = Default::default();
        model.told.clear();
    }
    model.datacenter = datacenter.or(model.datacenter.take());
    if let Some(lane) = model.lane_mut(lane) {
        lane.identity = Some(identity);
    }
}

fn leader(model: &mut Model, at: WallTime, address: Option<String>) {
    let Some(address) = address else {
        if model.raft.leading().is_some() {
            let here = model.here().to_owned();
            story::leader_lost(model, at, &here, "");
        }
        return model.raft.led_by_nobody(at);
    };
    let was = model.raft.leader.clone();
    if model.raft.leading().is_some_and(|leading| leading.address.as_deref() == Some(&address)) {
        // The same one as before we were away, for all that is known.
        model.raft.unwatched = None;
        return;
    }
    // Since when it leads is only known when we saw that there was another, or none.
    let since = (was != Leader::Unknown).then_some(at);
    let found = server_at(model, &address);
    let (id, node) = found.clone().unzip();
    if let Leader::Known(leading) = &mut model.raft.leader
        && leading.node.is_some()
        && leading.node == node
    {
        // The log named it first; now it has an address.
        leading.id = leading.id.take().or(id);
        leading.address = Some(address);
        return;
    }
    if let Some(id) = &id {
        model.raft.led_by(id, since);
    }
    if model.raft.leader_id().is_none() || model.raft.leader_id() != id.as_deref() {
        model.raft.leader = Leader::Known(Leading { since, ..Leading::default() });
    }
    if let Leader::Known(leading) = &mut model.raft.leader {
        leading.address = Some(address);
        leading.node = leading.node.take().or(node.clone());
    }
    if since.is_some()
        && let Some(name) = model.raft.leader_name().map(str::to_owned)
    {
        model.raft.last_gap = lost_for(&was, at).map(Gap::Of).or(model.raft.last_gap);
        if let Some(node) = node {
            // This answer does not tell the term.
            model.raft.timeline.leads(&node, 0, at, false);
        }
        let here = model.here().to_owned();
        story::raft(model, at, &here, Mark::Leader, format!("{name} leads now"));
    }
}

fn lost_for(was: &Leader, at: WallTime) -> Option<u64> {
    match was {
        Leader::None { since: Some(since) } => Some(at.micros_since(*since) / 1_000),
        _ => None,
    }
}

/// ID and node name of the one server with this Raft address, by the configuration or by gossip.
fn server_at(model: &Model, address: &str) -> Option<(String, String)> {
    if let Some(peer) = model.raft.peer_at(address) {
        return Some((peer.id.clone(), peer.node.clone()));
    }
    let member = member_at(model, address)?;
    Some((member.id()?.to_owned(), member.state.name.clone()))
}

/// The one server member whose Raft address this is (hashicorp/consul #9539: never one of two).
fn member_at<'a>(model: &'a Model, address: &str) -> Option<&'a Member> {
    let (host, port) = address.rsplit_once(':')?;
    let mut found = model.members.lan().filter(|member| {
        member.is_server()
            && member.state.address == host
            && member.state.tags.get("port").is_some_and(|tag| tag == port)
    });
    found.next().filter(|_| found.next().is_none())
}

/// Raft addresses are all there is when the configuration may not be read.
fn peers(model: &mut Model, addresses: Vec<String>) {
    let is_hidden = model.denials.contains_key(&Source::RaftConfiguration);
    if model.raft.peers_known && !is_hidden {
        return;
    }
    let peers = addresses
        .into_iter()
        .map(|address| {
            let member = member_at(model, &address);
            Peer {
                id: member.and_then(|m| m.id()).unwrap_or(&address).to_owned(),
                node: member.map(|m| m.state.name.clone()).unwrap_or_default(),
                address,
                voter: None,
            }
        })
        .collect();
    model.raft.configure(peers);
}

/// Takes a configuration and tells when it changed.
fn configure(model: &mut Model, at: WallTime, peers: Vec<Peer>) {
    if model.raft.is_foreign(&peers) {
        story::other_cluster(model, at, &peers);
    }
    if model.raft.peers_known {
        let before = std::mem::take(&mut model.raft.peers);
        let here = model.here().to_owned();
        for peer in peers.iter().filter(|peer| !before.iter().any(|old| old.id == peer.id)) {
            let role = if peer.voter == Some(true) { "voter" } else { "learner" };
            let text = match before.iter().any(|old| old.node == peer.node) {
                true => format!("{} has a new ID, {}: a {role} of the Raft configuration", peer.node, peer.id),
                false => format!("{} is a {role} of the Raft configuration", peer.node),
            };
            story::raft(model, at, &here, Mark::Good, text);
        }
        let gone = |old: &&Peer| !peers.iter().any(|new| new.id == old.id || new.node == old.node);
        for peer in before.iter().filter(gone) {
            story::raft(model, at, &here, Mark::Quiet, format!("{} left the Raft configuration", peer.node));
        }
    }
    model.raft.configure(peers);
}

fn autopilot(model: &mut Model, at: WallTime, health: AutopilotHealth) {
    // What our agents push of their logs is newer and more.
    let is_pushed = model.lane().and_then(|lane| lane.kind) == Some(AgentKind::Quorate);
    unknown_health(model);
    for server in health.servers {
        let ServerHealth {
            id, serf_status, leader, last_contact, last_term, last_index, healthy, stable_since, ..
        } = server;
        let seen = model.raft.progress.get(&id).filter(|_| is_pushed).map_or(at, |known| known.seen);
        let progress = model.raft.progress_mut(&id, seen);
        if !is_pushed {
            progress.term = Some(last_term).filter(|term| *term > 0);
            progress.last_log = Some(last_index).filter(|index| *index > 0);
            progress.contact_ms = if leader { None } else { go_millis(&last_contact) };
            progress.serf_alive = Some(serf_status == "alive");
        }
        progress.healthy = Some(healthy);
        let since = stable_since.parse::<jiff::Timestamp>().ok().map(|t| t.as_microsecond());
        // Go's zero stands for a time that nobody knows.
        progress.stable_since = since.filter(|micros| *micros > 0).map(WallTime::from_micros);
    }
}

/// What autopilot said before is no word of now.
fn unknown_health(model: &mut Model) {
    for progress in model.raft.progress.values_mut() {
        (progress.healthy, progress.stable_since) = (None, None);
    }
}

/// Milliseconds of a Go duration such as `12.5ms` or `1m3.2s`; none when it is negative or `never`.
fn go_millis(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut millis = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        millis += number
            * match &rest[digits..unit_end] {
                "h" => 3_600_000.0,
                "m" => 60_000.0,
                "s" => 1_000.0,
                "ms" => 1.0,
                "µs" | "us" => 0.001,
                "ns" => 0.000_001,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then_some(millis as u64)
}

/// How far each node is from the agent in use.
fn coordinates(model: &mut Model, rows: &[CoordinateEntry]) {
    let here = rows.iter().find(|row| row.node == model.here()).map(|row| &row.coord);
    let away = |row: &CoordinateEntry| {
        let seconds = here?.distance_to(&row.coord);
        Some((row.node.clone(), (seconds * 1e6).round() as u64))
    };
    let rtts_us = rows.iter().filter_map(away).collect();
    model.members.set_rtts(rtts_us);
}

fn take_members(model: &mut Model, at: WallTime, pool: Pool, members: Vec<AgentMember>) {
    let was_known = model.members.known && (pool == Pool::Lan || model.members.count(pool) > 0);
    model.members.picture_begins(Some(pool));
    for row in members {
        let Some(mut status) = serf_status(row.status) else { continue };
        let known = model.members.find(pool, &row.name);
        if let Some(known) = known
            && known.state.status == MemberStatus::Suspect
            && status == MemberStatus::Alive
            && known.since.is_some_and(|since| at.micros_since(since) < SUSPICION_US)
        {
            status = MemberStatus::Suspect;
        }
        let state = MemberState {
            pool,
            name: row.name,
            address: row.addr,
            port: row.port,
            status,
            // Not in this API.
            incarnation: 0,
            protocol: row.protocol_cur,
            versions: [
                row.protocol_min,
                row.protocol_max,
                row.protocol_cur,
                row.delegate_min,
                row.delegate_max,
                row.delegate_cur,
            ],
            tags: row.tags,
        };
        let before = known.map(|known| known.state.status);
        if was_known && before != Some(status) {
            let name = state.name.clone();
            model.members.put(state, Some(at));
            member::polled(model, at, pool, &name, before);
        } else {
            model.members.put(state, was_known.then_some(at));
        }
    }
    let gone = model.members.picture_ends();
    if was_known {
        for old in gone {
            member::reaped(model, at, &old);
        }
    }
}

fn serf_status(number: u8) -> Option<MemberStatus> {
    match number {
        1 => Some(MemberStatus::Alive),
        2 => Some(MemberStatus::Leaving),
        3 => Some(MemberStatus::Left),
        4 => Some(MemberStatus::Failed),
        _ => None,
    }
}

fn take_stats(model: &mut Model, at: WallTime, stats: &BTreeMap<String, String>) {
    let number = |key: &str| stats.get(key).and_then(|text| text.parse().ok());
    let (here, term) = (model.here().to_owned(), number("term"));
    if term.is_some_and(|term| model.raft.is_younger(&here, term)) {
        let peers = std::mem::take(&mut model.raft.peers);
        story::other_cluster(model, at, &peers);
        model.raft.configure(peers);
    }
    let own = &mut model.raft.own;
    (own.node, own.term) = (here, term);
    own.last_log = number("last_log_index");
    own.commit = number("commit_index");
    own.applied = number("applied_index");
    own.snapshot = number("last_snapshot_index");
    own.role = match stats.get("state").map(String::as_str) {
        Some("Leader") => Some(Role::Leader),
        Some("Follower") => Some(Role::Follower),
        Some("Candidate") => Some(Role::Candidate),
        Some("Shutdown") => Some(Role::Shutdown),
        _ => None,
    };
    if let Some(term) = term {
        model.raft.saw_term(term);
    }
}

/// The denial of one question.
pub(super) fn denied(model: &mut Model, source: Source, denial: Denial) -> bool {
    if source == Source::RaftConfiguration && denial == Denial::Forbidden {
        // What was known of the voters is no longer known to be so.
        model.raft.peers.iter_mut().for_each(|peer| peer.voter = None);
        model.raft.peers_known = true;
    }
    if source == Source::Autopilot {
        unknown_health(model);
    }
    model.denials.insert(source, denial) != Some(denial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_become_milliseconds() {
        for (text, expected) in [
            ("0s", Some(0)),
            ("12.5ms", Some(12)),
            ("1m3.2s", Some(63_200)),
            ("31.7µs", Some(0)),
            ("-1ns", None),
            ("never", None),
            ("", None),
        ] {
            assert_eq!(go_millis(text), expected, "{text}");
        }
    }
}
