//! PURE: how healthy each server of the Raft configuration is by autopilot's rules, and since when.
//!
//! `membership` looks while this server leads and has the picture told; `voters` lets only a server vote
//! that has been healthy for long enough.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::api::operator::{OperatorHealth, ServerHealth};
use shared::duration;
use shared::event::{MemberState, MemberStatus, RaftPeer};

use crate::moment::{Moment, WallTime};

/// One that has not answered for so long, or for some heartbeats, has nothing known of it.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// Between two heartbeats everybody is silent, and a look may come late.
const HEARTBEATS_MISSED: u32 = 3;
/// As Consul shows a time that is none.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Consul's `autopilot` settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Remove servers that failed.
    pub cleanup_dead_servers: bool,
    /// One that is silent for longer is not healthy.
    pub last_contact_threshold: Duration,
    /// One that lacks more entries is not healthy.
    pub max_trailing_logs: u64,
    /// Never fewer voters than this by cleaning up.
    pub min_quorum: usize,
    /// Healthy for so long before it votes.
    pub server_stabilization_time: Duration,
}

impl Default for Rules {
    /// Consul's.
    fn default() -> Self {
        Self {
            cleanup_dead_servers: true,
            last_contact_threshold: Duration::from_millis(200),
            max_trailing_logs: 250,
            min_quorum: 0,
            server_stabilization_time: Duration::from_secs(10),
        }
    }
}

/// The leader, and what it knows of those that follow it.
#[derive(Clone, Debug)]
pub struct Led<'a> {
    pub server_id: &'a str,
    pub datacenter: &'a str,
    /// This server formed its cluster alone.
    pub bootstrap: bool,
    pub term: u64,
    pub last_log: u64,
    pub heartbeat: Duration,
    pub peers: &'a [RaftPeer],
    pub followers: &'a BTreeMap<String, Follows>,
}

/// How one server follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Follows {
    /// Its last entry known to be the leader's too, and that entry's term.
    pub matched: u64,
    pub matched_term: u64,
    /// Since it last answered; none: never.
    pub silent: Option<Duration>,
    /// It came back without its log.
    pub lost: bool,
}

/// What a look at one moment cannot tell; begins anew with each leadership.
#[derive(Debug, Default)]
pub struct Healths(BTreeMap<String, Since>);

#[derive(Clone, Copy, Debug)]
struct Since {
    healthy: bool,
    moment: Moment,
    wall: WallTime,
}

impl Healths {
    pub fn look(
        &mut self,
        (now, wall): (Moment, WallTime),
        rules: &Rules,
        led: &Led<'_>,
        members: &[MemberState],
    ) -> OperatorHealth {
        let mut seen = BTreeMap::new();
        let mut servers = Vec::new();
        for peer in led.peers {
            let member = members.iter().find(|member| member.tags.get("id").is_some_and(|id| *id == peer.id));
            let mut server = server(rules, led, peer, member);
            let before = self.0.get(&peer.id).filter(|since| since.healthy == server.healthy);
            let since = before.copied().unwrap_or(Since { healthy: server.healthy, moment: now, wall });
            if server.last_index > 0 {
                server.stable_since = seconds(since.wall);
            }
            seen.insert(peer.id.clone(), since);
            servers.push(server);
        }
        self.0 = seen;
        let voters = servers.iter().filter(|server| server.voter).count() as u64;
        let healthy_voters = servers.iter().filter(|server| server.voter && server.healthy).count() as u64;
        OperatorHealth {
            healthy: servers.iter().all(|server| server.healthy),
            failure_tolerance: healthy_voters.saturating_sub(voters / 2 + 1),
            servers,
        }
    }

    /// Whether it has been healthy for as long as the rules want.
    pub fn is_stable(&self, now: Moment, rules: &Rules, id: &str) -> bool {
        let since = self.0.get(id).filter(|since| since.healthy);
        since.is_some_and(|since| now.since(since.moment) >= rules.server_stabilization_time)
    }
}

fn server(rules: &Rules, led: &Led<'_>, peer: &RaftPeer, member: Option<&MemberState>) -> ServerHealth {
    let leads = peer.id == led.server_id;
    let follows = match led.followers.get(&peer.id) {
        _ if leads => {
            Follows { matched: led.last_log, matched_term: led.term, silent: Some(Duration::ZERO), lost: false }
        }
        found => found.copied().unwrap_or_default(),
    };
    let pauses = led.heartbeat * HEARTBEATS_MISSED;
    let contact = follows.silent.filter(|silent| *silent < ANSWERS_WITHIN.max(pauses));
    let is_here = member.is_some_and(|member| matches!(member.status, MemberStatus::Alive | MemberStatus::Suspect));
    let hears = contact.is_some_and(|silent| silent <= rules.last_contact_threshold.max(pauses));
    let keeps_up =
        follows.matched_term == led.term && led.last_log.saturating_sub(follows.matched) <= rules.max_trailing_logs;
    let (last_term, last_index) = contact.map_or((0, 0), |_| (follows.matched_term, follows.matched));
    let version = member.and_then(|member| member.tags.get("build")).map_or("", String::as_str);
    ServerHealth {
        id: peer.id.clone(),
        name: member.map_or_else(|| peer.node.clone(), |member| member.name.clone()),
        address: peer.address.clone(),
        serf_status: member.map_or("none", |member| shown(member.status)).to_owned(),
        version: version.split(':').next().unwrap_or_default().to_owned(),
        leader: leads,
        last_contact: contact.map_or_else(|| "-1ns".to_owned(), duration::format),
        last_term,
        last_index,
        healthy: is_here && hears && keeps_up,
        voter: peer.voter,
        stable_since: NEVER.to_owned(),
    }
}

/// Consul's word for it.
fn shown(status: MemberStatus) -> &'static str {
    match status {
        MemberStatus::Alive | MemberStatus::Suspect => "alive",
        MemberStatus::Leaving => "leaving",
        MemberStatus::Left => "left",
        MemberStatus::Failed => "failed",
    }
}

/// To the second, as Consul's.
fn seconds(at: WallTime) -> String {
    let text = at.to_string();
    format!("{}Z", text.split('.').next().unwrap_or_default())
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
