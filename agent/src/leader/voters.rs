//! PURE: what gossip knows of the servers and what Raft's configuration says, to the next change that
//! brings the two together. One change at a time, and never one that puts the quorum at risk.
//!
//! `membership` carries the changes out. A server is a learner first, and a voter once it has kept up
//! for a while; a dead one is removed when few enough are dead (Consul's autopilot rules).

use std::collections::BTreeMap;
use std::time::Duration;

use shared::addr::host_port;
use shared::event::{MemberState, MemberStatus, RaftPeer};

use super::health::{Healths, Led, Rules};
use crate::moment::Moment;

/// Consul looks every ten seconds of a leadership, and removes who is dead by then: one that was killed has
/// 5 to 27 seconds, for death and election are noticed late. Ours are noticed at once, and one that is
/// started again shall find its seat all the same.
const DEAD_FOR: Duration = Duration::from_secs(30);
/// Consul compares once a minute, and adds again by then who is still there.
const TAKEN_OUT_FOR: Duration = Duration::from_secs(60);
/// How soon to look again while somebody is on the way to a vote, or out.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A voter that has not answered for so long does not count for the majority that a change needs.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It gets the log, and has no vote yet.
    AddLearner {
        id: String,
        name: String,
        address: String,
    },
    Promote {
        id: String,
        name: String,
    },
    /// It moved, or has another name.
    Place {
        id: String,
        name: String,
        address: String,
    },
    Remove {
        id: String,
        name: String,
        why: Why,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Left,
    /// A voter that has lost its log; it is added again as one who never had any.
    Lost,
    /// Another server has its name or its address now.
    Replaced,
    /// Dead for long enough; gossip may still hope for it.
    Dead,
    /// Gossip does not know it.
    Unknown,
}

/// What a look at one moment cannot tell; begins anew with each leadership.
#[derive(Debug, Default)]
pub struct Voters {
    dead_since: BTreeMap<String, Moment>,
    /// Those that were taken out by others than this: they leave, or an operator wants them out.
    taken_out: BTreeMap<String, Moment>,
    peers: Vec<RaftPeer>,
    removing: Option<String>,
    /// Told once each.
    refused: BTreeMap<String, String>,
}

/// The next thing to do, what to tell of it, and when to look again though nothing changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub change: Option<Change>,
    pub told: Vec<String>,
    pub again_in: Option<Duration>,
}

impl Voters {
    pub fn plan(
        &mut self,
        now: Moment,
        rules: &Rules,
        led: &Led<'_>,
        members: &[MemberState],
        healths: &Healths,
    ) -> Plan {
        let mut plan = Plan::default();
        let servers: Vec<Server<'_>> = members.iter().filter_map(|member| server(led, member)).collect();
        self.note_dead(now, led, &servers);
        self.note_taken_out(now, led);
        plan.change = self.next(now, rules, led, &servers, healths, &mut plan.told);
        self.removing = match &plan.change {
            Some(Change::Remove { id, .. }) => Some(id.clone()),
            _ => None,
        };
        // At first nobody has answered a new leader, and nothing else may tell when they have.
        let waits = !has_majority(led, led.peers.iter())
            || led.followers.values().any(|f| f.lost)
            || led.peers.iter().any(|peer| !peer.voter)
            || !self.dead_since.is_empty()
            || !self.taken_out.is_empty();
        plan.again_in = (waits || plan.change.is_some()).then_some(LOOK_AGAIN);
        plan
    }

    fn next(
        &mut self,
        now: Moment,
        rules: &Rules,
        led: &Led<'_>,
        servers: &[Server<'_>],
        healths: &Healths,
        told: &mut Vec<String>,
    ) -> Option<Change> {
        if let Some(change) = self.lost(led, told) {
            return Some(change);
        }
        if !has_majority(led, led.peers.iter()) {
            return None;
        }
        if let Some(change) = self.remove(now, rules, led, servers, told) {
            return Some(change);
        }
        for here in servers.iter().filter(|server| server.is_here) {
            let (id, name, address) = (here.id.to_owned(), here.name.to_owned(), here.address.clone());
            match led.peers.iter().find(|peer| peer.id == here.id) {
                Some(peer) if peer.address != address || peer.node != name => {
                    return Some(Change::Place { id, name, address });
                }
                Some(peer) if !peer.voter && !here.is_nonvoter && healths.is_stable(now, rules, here.id) => {
                    return Some(Change::Promote { id, name });
                }
                Some(_) => {}
                None if self.taken_out.contains_key(here.id) => {}
                None => match refusal(led, here) {
                    Some(why) => {
                        if self.refused.insert(id, why.clone()).as_ref() != Some(&why) {
                            told.push(why);
                        }
                    }
                    None => return Some(Change::AddLearner { id, name, address }),
                },
            }
        }
        None
    }

    /// A voter without its log only holds up the others. It is removed where they have a quorum without it.
    fn lost(&mut self, led: &Led<'_>, told: &mut Vec<String>) -> Option<Change> {
        let is_lost = |peer: &&RaftPeer| peer.voter && led.followers.get(&peer.id).is_some_and(|f| f.lost);
        let peer = led.peers.iter().find(is_lost)?;
        let rest = || led.peers.iter().filter(|other| other.id != peer.id);
        if has_majority(led, rest()) && has_majority(led, led.peers.iter()) {
            return Some(removal(peer, Why::Lost));
        }
        let voters = rest().filter(|other| other.voter).count();
        let text = format!(
            "{} has lost its Raft log and cannot be removed: too few of the {voters} other voters answer; bring one of \
             them back, or stop all servers and recover with raft/peers.json, which raft/peers.info explains",
            peer.node
        );
        if self.refused.insert(peer.id.clone(), text.clone()).as_ref() != Some(&text) {
            told.push(text);
        }
        None
    }

    fn remove(
        &mut self,
        now: Moment,
        rules: &Rules,
        led: &Led<'_>,
        servers: &[Server<'_>],
        told: &mut Vec<String>,
    ) -> Option<Change> {
        let mut dead = Vec::new();
        for peer in led.peers.iter().filter(|peer| peer.id != led.server_id) {
            let server = servers.iter().find(|server| server.id == peer.id);
            let takes_its_place =
                |s: &Server<'_>| s.is_here && s.id != peer.id && (s.address == peer.address || s.name == peer.node);
            let why = match server {
                Some(server) if server.has_left => Why::Left,
                Some(server) if server.is_here => continue,
                _ if servers.iter().any(takes_its_place) => Why::Replaced,
                Some(_) => Why::Dead,
                None => Why::Unknown,
            };
            match why {
                Why::Left | Why::Lost | Why::Replaced => {
                    let rest = led.peers.iter().filter(|other| other.id != peer.id);
                    if has_majority(led, rest) {
                        return Some(removal(peer, why));
                    }
                }
                Why::Dead | Why::Unknown => {
                    let since = self.dead_since.get(&peer.id).copied().unwrap_or(now);
                    dead.push((peer, why, now.since(since) >= DEAD_FOR));
                }
            }
        }
        if !rules.cleanup_dead_servers {
            return None;
        }
        let voters = led.peers.iter().filter(|peer| peer.voter).count();
        let dead_voters = dead.iter().filter(|(peer, ..)| peer.voter).count();
        let (peer, why, _) = dead.iter().find(|(.., is_due)| *is_due)?;
        if voters.saturating_sub(dead_voters) < rules.min_quorum || dead_voters > voters.saturating_sub(1) / 2 {
            let text = format!("{dead_voters} of {voters} voters are dead: none is removed, that would not be safe");
            if self.refused.insert(String::new(), text.clone()).as_ref() != Some(&text) {
                told.push(text);
            }
            return None;
        }
        let rest = led.peers.iter().filter(|other| other.id != peer.id);
        has_majority(led, rest).then(|| removal(peer, *why))
    }

    fn note_taken_out(&mut self, now: Moment, led: &Led<'_>) {
        let gone = self.peers.iter().filter(|old| !led.peers.iter().any(|peer| peer.id == old.id));
        let by_others = gone.filter(|old| self.removing.as_ref() != Some(&old.id));
        self.taken_out.extend(by_others.map(|old| (old.id.clone(), now)));
        self.taken_out.retain(|_, at| now.since(*at) < TAKEN_OUT_FOR);
        self.peers = led.peers.to_vec();
    }

    fn note_dead(&mut self, now: Moment, led: &Led<'_>, servers: &[Server<'_>]) {
        let mut dead = BTreeMap::new();
        for peer in led.peers.iter().filter(|peer| peer.id != led.server_id) {
            if !servers.iter().any(|server| server.id == peer.id && server.is_here) {
                dead.insert(peer.id.clone(), self.dead_since.get(&peer.id).copied().unwrap_or(now));
            }
        }
        self.dead_since = dead;
    }
}

/// A member that is a server of this datacenter.
struct Server<'a> {
    id: &'a str,
    name: &'a str,
    address: String,
    is_here: bool,
    has_left: bool,
    is_nonvoter: bool,
    is_bootstrap: bool,
    is_ours: bool,
}

fn server<'a>(led: &Led<'_>, member: &'a MemberState) -> Option<Server<'a>> {
    let tag = |name: &str| member.tags.get(name).map_or("", String::as_str);
    if tag("role") != "consul" || tag("dc") != led.datacenter || tag("id").is_empty() {
        return None;
    }
    let port = tag("port").parse().ok()?;
    Some(Server {
        id: tag("id"),
        name: &member.name,
        address: host_port(&member.address, port),
        is_here: matches!(member.status, MemberStatus::Alive | MemberStatus::Suspect),
        has_left: member.status == MemberStatus::Left,
        is_nonvoter: member.tags.contains_key("nonvoter"),
        is_bootstrap: tag("bootstrap") == "1",
        is_ours: tag("impl").starts_with("quorate"),
    })
}

/// Why a server is not added, if so.
fn refusal(led: &Led<'_>, server: &Server<'_>) -> Option<String> {
    let name = server.name;
    if !server.is_ours {
        return Some(format!("{name} is a server of another kind: it is not added to Raft, two kinds never share one"));
    }
    let both = led.bootstrap && server.is_bootstrap;
    both.then(|| {
        format!("{name} and this server both have bootstrap set: it is not added to Raft; only one may have it, take it out of the other's configuration, empty its data directory and start it again")
    })
}

fn removal(peer: &RaftPeer, why: Why) -> Change {
    Change::Remove { id: peer.id.clone(), name: peer.node.clone(), why }
}

/// Whether more than half of the voters among `peers` answer the leader, who answers itself.
fn has_majority<'a>(led: &Led<'_>, peers: impl Iterator<Item = &'a RaftPeer>) -> bool {
    let (mut voters, mut answer) = (0, 0);
    for peer in peers.filter(|peer| peer.voter) {
        voters += 1;
        let silent = led.followers.get(&peer.id).and_then(|follows| follows.silent);
        if peer.id == led.server_id || silent.is_some_and(|silent| silent < ANSWERS_WITHIN) {
            answer += 1;
        }
    }
    answer > voters / 2
}

#[cfg(test)]
#[path = "voters_tests.rs"]
mod tests;
