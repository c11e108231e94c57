//! Raft as far as it is seen from here: configuration, leader, progress of each server, own state.
//!
//! Fed by events or by polling, in the same terms. What nobody told is `None`, never a guess.
//! The leader is known by its Raft server ID; an address serves only until an ID is found for it.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use shared::event::Role;
use shared::time::WallTime;

use super::elections::Elections;
use super::list::ListState;
use super::pulse::{Contacts, Rules, Syncs};
use super::timeline::Timeline;

/// One server of the Raft configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub id: String,
    /// Empty when only the address is known.
    pub node: String,
    /// `host:port`
    pub address: String,
    /// None when the configuration itself may not be read.
    pub voter: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Leader {
    /// Nobody has said yet.
    #[default]
    Unknown,
    /// There is none, as the agent in use sees it; since when, if that was seen to begin.
    None {
        since: Option<WallTime>,
    },
    Known(Leading),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Leading {
    /// None while only its address is known.
    pub id: Option<String>,
    pub node: Option<String>,
    pub address: Option<String>,
    pub since: Option<WallTime>,
    /// A quorum acknowledges it; none where that cannot be asked.
    pub confirmed: Option<bool>,
    /// Which it leads, where that was told with it.
    pub term: Option<u64>,
}

/// A leader that others follow, of a later term than the agent in use knows a leader of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Later {
    pub id: String,
    pub term: u64,
    pub seen: WallTime,
}

/// What is known of one server's log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub role: Option<Role>,
    /// Who leads as this server itself says, by ID; empty: nobody. In which term, and when it said so.
    pub follows: Option<String>,
    pub told_term: Option<u64>,
    pub told: WallTime,
    pub term: Option<u64>,
    pub last_log: Option<u64>,
    /// Highest index the leader knows to be on its disk.
    pub matched: Option<u64>,
    pub commit: Option<u64>,
    pub applied: Option<u64>,
    /// Milliseconds since the leader heard from it, at `seen`.
    pub contact_ms: Option<u64>,
    pub healthy: Option<bool>,
    pub stable_since: Option<WallTime>,
    /// serf's word for it in the autopilot's answer.
    pub serf_alive: Option<bool>,
    pub seen: WallTime,
}

/// The log of the agent in use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Own {
    /// Whose figures these are.
    pub node: String,
    /// The term this server itself is in; it goes down only when its data are gone.
    pub term: Option<u64>,
    pub role: Option<Role>,
    pub last_log: Option<u64>,
    pub commit: Option<u64>,
    pub applied: Option<u64>,
    pub snapshot: Option<u64>,
}

/// A time without a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gap {
    /// Milliseconds.
    Of(u64),
    /// It ended; when it began was not seen.
    Unseen,
}

impl Gap {
    /// One time as two measured it: who noticed it first counts.
    pub fn longer(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(Self::Of(one)), Some(Self::Of(other))) => Some(Self::Of(one.max(other))),
            (one, other) => one.or(other),
        }
    }
}

/// The leader's own word of its election may be a little later than that of who elected it.
const BLIND_MORE_US: i64 = 1_000_000;
/// Figures of several servers that are this close together can be compared.
const FIGURES_US: u64 = 3_000_000;
const SAMPLES_MAX: usize = 120;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Raft {
    pub peers: Vec<Peer>,
    /// The configuration, or its refusal, has been answered.
    pub peers_known: bool,
    pub leader: Leader,
    pub term: Option<u64>,
    pub own: Own,
    /// By server ID.
    pub progress: BTreeMap<String, Progress>,
    pub elections: Elections,
    pub timeline: Timeline,
    /// The last time without a leader, as the servers measured it.
    pub last_gap: Option<Gap>,
    /// The term whose leader was last written down.
    pub leader_told: Option<u64>,
    /// Since when nobody told us who leads: the agent in use was away. Ends with the next word of it.
    pub unwatched: Option<WallTime>,
    /// While the agent in use was stopped it saw nothing either: what it says lasted since then may
    /// have lasted longer. From when, and to when there was a leader again.
    pub blind: Option<(WallTime, Option<WallTime>)>,
    /// The agent in use hears no leader, and others say that their configuration does not have it.
    pub has_no_seat: bool,
    /// What a log last said of a missing heartbeat, until an election follows.
    pub heartbeat_lost: Option<(WallTime, String)>,
    /// Commit index once a second, oldest first.
    pub commits: VecDeque<(WallTime, u64)>,
    pub contacts: Contacts,
    /// Of the agent in use.
    pub syncs: Option<Syncs>,
    pub rules: Option<Rules>,
    /// Rows of Servers and of Replication: the same list in two places.
    pub list: ListState<String>,
}

impl Raft {
    pub fn peer(&self, id: &str) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.id == id)
    }

    /// The one peer at this `host:port`; none when there are several (hashicorp/consul #9539).
    pub fn peer_at(&self, address: &str) -> Option<&Peer> {
        let mut found = self.peers.iter().filter(|peer| peer.address == address);
        found.next().filter(|_| found.next().is_none())
    }

    pub fn leader_id(&self) -> Option<&str> {
        match &self.leader {
            Leader::Known(leading) => leading.id.as_deref(),
            _ => None,
        }
    }

    pub fn leading(&self) -> Option<&Leading> {
        match &self.leader {
            Leader::Known(leading) => Some(leading),
            _ => None,
        }
    }

    /// There is a leader, and nothing says that no quorum answers it.
    pub fn is_led(&self) -> bool {
        self.leading().is_some_and(|leading| leading.confirmed != Some(false))
    }

    /// The term that the known leader leads.
    pub fn led_term(&self) -> Option<u64> {
        self.leading().and_then(|leading| leading.term).or(self.term)
    }

    /// What other servers say of a leader that the agent in use does not know of: it is cut off from them.
    pub fn later(&self) -> Option<Later> {
        let own = self.leading().and_then(|leading| leading.term).max(self.own.term)?;
        let told = self.progress.values().filter_map(|progress| {
            let id = progress.follows.clone().filter(|id| !id.is_empty() && self.leader_id() != Some(id))?;
            let term = progress.told_term.filter(|term| *term > own)?;
            Some(Later { id, term, seen: progress.told })
        });
        told.max_by_key(|later| (later.term, later.seen))
    }

    /// What to call the leader: its node name, else its address, else its ID.
    pub fn leader_name(&self) -> Option<&str> {
        let leading = self.leading()?;
        leading.node.as_deref().or(leading.address.as_deref()).or(leading.id.as_deref())
    }

    /// Whether these servers are another cluster than the one known: no server of that is among them.
    /// Peers known by their address alone are the same when the address is.
    pub fn is_foreign(&self, peers: &[Peer]) -> bool {
        let same = |old: &Peer, new: &Peer| old.id == new.id || (old.id == old.address && old.address == new.address);
        let shared = || self.peers.iter().any(|old| peers.iter().any(|new| same(old, new)));
        !self.peers.is_empty() && !peers.is_empty() && !shared()
    }

    /// Whether this server was in a later term before: terms only grow, so it has lost its data.
    pub fn is_younger(&self, node: &str, term: u64) -> bool {
        self.own.node == node && self.own.term.is_some_and(|known| known > term)
    }

    /// Forgets a cluster that is no more. The courses of nodes that go by the same names go on, since
    /// that is what was seen; terms and elections start over.
    pub fn begin_again(&mut self, peers: &[Peer]) {
        let Self { list, mut timeline, .. } = std::mem::take(self);
        timeline.keep(|node| peers.iter().any(|peer| peer.node == node));
        *self = Self { list, timeline, ..Self::default() };
    }

    /// Takes a new configuration, with the leader's name if that was missing.
    pub fn configure(&mut self, peers: Vec<Peer>) {
        self.peers = peers;
        self.peers_known = true;
        let Self { leader, peers, progress, elections, .. } = self;
        for peer in peers.iter().filter(|peer| !peer.node.is_empty()) {
            elections.name_voter(&peer.id, &peer.node);
        }
        progress.retain(|id, _| peers.iter().any(|peer| peer.id == *id));
        if let Leader::Known(leading) = leader {
            let found = peers.iter().find(|peer| match (&leading.id, &leading.node, &leading.address) {
                (Some(id), _, _) => peer.id == *id,
                (None, Some(node), _) => peer.node == *node,
                (None, None, address) => address.as_ref() == Some(&peer.address),
            });
            if let Some(peer) = found {
                leading.id = Some(peer.id.clone());
                leading.address = Some(peer.address.clone());
                if !peer.node.is_empty() {
                    leading.node = Some(peer.node.clone());
                }
            }
        }
    }

    /// `id` leads; what was known of that same leader is kept.
    pub fn led_by(&mut self, id: &str, at: Option<WallTime>) {
        self.leader_seen(at.unwrap_or_default());
        if self.leader_id() == Some(id) {
            if let Leader::Known(leading) = &mut self.leader {
                leading.since = leading.since.or(at);
            }
            return;
        }
        let peer = self.peer(id).cloned().unwrap_or_default();
        let name = |text: String| Some(text).filter(|text| !text.is_empty());
        self.leader = Leader::Known(Leading {
            id: Some(id.to_owned()),
            node: name(peer.node),
            address: name(peer.address),
            since: at,
            ..Leading::default()
        });
    }

    /// The node of this name leads. Its ID is looked up in the configuration.
    pub fn led_by_name(&mut self, node: &str, at: WallTime) {
        let id = self.peers.iter().find(|peer| peer.node == node).map(|peer| peer.id.clone());
        match id {
            Some(id) => self.led_by(&id, Some(at)),
            None => {
                self.leader_seen(at);
                let node = Some(node.to_owned());
                self.leader = Leader::Known(Leading { node, since: Some(at), ..Leading::default() });
            }
        }
    }

    /// How long there has been no leader, if that was seen to begin.
    pub fn leaderless_ms(&self, now: WallTime) -> Option<u64> {
        match self.leader {
            Leader::None { since: Some(since) } => Some(now.micros_since(since) / 1_000),
            _ => None,
        }
    }

    /// Nobody leads; the first who says so gives the time.
    pub fn led_by_nobody(&mut self, at: WallTime) {
        match self.leader {
            Leader::None { .. } => {}
            // How long before we came is not known.
            Leader::Unknown => self.leader = Leader::None { since: None },
            Leader::Known(_) => {
                // Of what went by unseen only one thing is sure: without its one voter nobody led.
                let since = match self.unwatched.take() {
                    Some(from) => self.has_one_voter().then_some(from),
                    None => Some(at),
                };
                self.leader = Leader::None { since };
            }
        }
    }

    fn has_one_voter(&self) -> bool {
        self.peers.iter().filter(|peer| peer.voter != Some(false)).count() == 1
    }

    /// The agent in use is lost: what its cluster does from here on nobody tells.
    pub fn lost_sight(&mut self, at: WallTime) {
        self.unwatched = self.unwatched.or(Some(at));
    }

    /// The agent in use was stopped and runs again.
    pub fn restarted(&mut self) {
        self.blind = self.unwatched.map(|from| (from, None));
    }

    /// How long there was no leader up to `at`, of which its teller says `told`. What began while the
    /// teller did not run it counts from its own start.
    pub fn gap(&self, at: WallTime, told: u64) -> Gap {
        let began = at.micros().saturating_sub(i64::try_from(told.saturating_mul(1_000)).unwrap_or(i64::MAX));
        match self.blind {
            Some((from, to)) if began >= from.micros() && to.is_none_or(|to| began <= to.micros() + BLIND_MORE_US) => {
                if self.has_one_voter() {
                    Gap::Of(at.micros_since(from) / 1_000)
                } else {
                    Gap::Unseen
                }
            }
            _ => Gap::Of(told),
        }
    }

    fn leader_seen(&mut self, at: WallTime) {
        self.unwatched = None;
        self.has_no_seat = false;
        if let Some((_, to @ None)) = &mut self.blind {
            *to = Some(at);
        }
    }

    pub fn saw_term(&mut self, term: u64) {
        self.term = self.term.max(Some(term));
    }

    pub fn progress_mut(&mut self, id: &str, at: WallTime) -> &mut Progress {
        let progress = self.progress.entry(id.to_owned()).or_default();
        progress.seen = at;
        progress
    }

    /// Highest index the leader is known to have.
    pub fn leader_last(&self) -> Option<u64> {
        self.leader_id().and_then(|id| self.progress.get(id)).and_then(|progress| progress.last_log)
    }

    /// These figures are older than the leader's, by more than the pace at which figures come.
    fn is_older(&self, progress: &Progress) -> bool {
        let leader = self.leader_id().and_then(|id| self.progress.get(id));
        leader.is_some_and(|leader| leader.seen.micros_since(progress.seen) > FIGURES_US)
    }

    /// How many entries a server lacks of what the leader has.
    pub fn behind(&self, id: &str) -> Option<u64> {
        let progress = self.progress.get(id)?;
        if self.leader_id() == Some(id) {
            // What it has is the measure, however far its own disk is.
            return self.leader_last().map(|_| 0);
        }
        let has = match progress.matched {
            Some(matched) => matched,
            // What it said of itself some time ago is not what it lacks now.
            None if self.is_older(progress) => return None,
            None => progress.last_log?,
        };
        Some(self.leader_last()?.saturating_sub(has))
    }

    /// The highest index that any server says is committed.
    pub fn commit(&self) -> Option<u64> {
        self.progress.values().filter_map(|progress| progress.commit).max().max(self.own.commit)
    }

    /// Keeps the commit index of this second.
    pub fn sample(&mut self, now: WallTime) {
        let Some(commit) = self.commit() else { return };
        if self.commits.back().is_some_and(|(at, _)| now.micros_since(*at) < 1_000_000) {
            return;
        }
        self.commits.push_back((now, commit));
        if self.commits.len() > SAMPLES_MAX {
            self.commits.pop_front();
        }
    }

    /// Commits per second of each sampled step, oldest first.
    pub fn commit_rates(&self) -> Vec<f64> {
        let pairs = self.commits.iter().zip(self.commits.iter().skip(1));
        pairs
            .map(|((t0, c0), (t1, c1))| {
                let seconds = t1.micros_since(*t0) as f64 / 1e6;
                if seconds > 0.0 { c1.saturating_sub(*c0) as f64 / seconds } else { 0.0 }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: &str, node: &str, address: &str) -> Peer {
        Peer { id: id.into(), node: node.into(), address: address.into(), voter: Some(true) }
    }

    #[test]
    fn a_leader_known_by_id_gets_its_name_with_the_configuration() {
        let mut raft = Raft::default();
        raft.led_by("a1", None);
        assert_eq!(raft.leader_name(), Some("a1"));
        raft.configure(vec![peer("a1", "one", "10.0.0.1:8300")]);
        assert_eq!(raft.leader_name(), Some("one"));
    }

    #[test]
    fn two_peers_of_one_address_name_nobody() {
        let mut raft = Raft::default();
        raft.configure(vec![peer("a1", "one", "10.0.0.1:8300"), peer("a2", "two", "10.0.0.1:8300")]);
        assert_eq!(raft.peer_at("10.0.0.1:8300"), None);
    }

    #[test]
    fn being_told_twice_of_one_leader_keeps_its_time() {
        let at = WallTime::from_micros(5);
        let mut raft = Raft::default();
        raft.led_by("a1", Some(at));
        raft.led_by("a1", Some(WallTime::from_micros(9)));
        assert_eq!(raft.leading().and_then(|leading| leading.since), Some(at));
    }

    #[test]
    fn no_leader_dates_from_its_loss_only_if_that_was_seen() {
        let mut raft = Raft::default();
        raft.led_by_nobody(WallTime::from_micros(1));
        assert_eq!(raft.leader, Leader::None { since: None });
        raft.led_by("a1", None);
        raft.led_by_nobody(WallTime::from_micros(7));
        raft.led_by_nobody(WallTime::from_micros(9));
        assert_eq!(raft.leader, Leader::None { since: Some(WallTime::from_micros(7)) });
    }

    #[test]
    fn rates_are_per_second() {
        let mut raft = Raft::default();
        for (s, commit) in [(0, 10), (2, 14), (3, 14)] {
            raft.own.commit = Some(commit);
            raft.sample(WallTime::from_micros(s * 1_000_000));
        }
        assert_eq!(raft.commit_rates(), [2.0, 0.0]);
    }
}
