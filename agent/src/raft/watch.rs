//! What openraft's metrics tell: role, leader and configuration as log lines, notices and a
//! [`RaftState`]. [`Watcher`] is PURE (pairs of pictures in, effects out); [`start`] is its loop.
//! Metrics coalesce: a term that went by unseen is a `Gap`, never a guess. Votes are not in them;
//! only a lone voter's own election can be told from here.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use openraft::{Instant as _, ServerState};
use shared::event::{
    ElectionEvent, ElectionRecord, ElectionResult, Progress, RaftEvent, RaftPeer, RaftState, ReplicationEvent, Role,
    VoteAnswer,
};
use tokio::sync::{mpsc, watch};

use super::Notice;
use super::ballots::Ballots;
use super::following::{Following, PROGRESS_EVERY};
use super::heard::Heard;
use super::types::{Metrics, ServerId, StoredMembership, shown, shown_id};
use super::upkeep::Upkeep;
use crate::clock;
use crate::moment::{Moment, WallTime};
use crate::tasks::Tasks;

/// How often what only grows (indexes) is looked at while it grows.
const INDEXES_EVERY: Duration = Duration::from_millis(100);

/// The server that watches itself.
#[derive(Clone, Debug)]
pub(crate) struct Me {
    pub(crate) id: ServerId,
    pub(crate) name: String,
    pub(crate) address: String,
    /// A leader that no quorum answered for this long is not confirmed.
    pub(crate) lease_ms: u64,
}

/// This server was told to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stood {
    pub(crate) cause: String,
}

/// One of Consul's lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    InitialConfiguration { index: u64, servers: String },
    Follower { leader: String },
    StartingElection { last_leader: String, cause: String },
    Candidate { term: u64 },
    Won { tally: u32 },
    Leader,
    AddedPeer { id: String },
    Pipelining { peer: RaftPeer },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    Log(Line),
    Notice(Notice),
}

/// The last picture, and what a pair of pictures cannot hold.
pub(crate) struct Watcher {
    me: Me,
    state: RaftState,
    stood: Option<String>,
    leaderless_since: Moment,
    progress: Option<(Moment, Progress)>,
}

impl Watcher {
    /// A server that just opened its log with the configuration of entry `index` (Consul's count).
    pub(crate) fn open(me: Me, now: Moment, index: u64, state: RaftState) -> (Self, Vec<Effect>) {
        let effects = vec![
            Effect::Log(Line::InitialConfiguration { index, servers: servers(&state.peers) }),
            Effect::Log(Line::Follower { leader: String::new() }),
        ];
        (Self { me, state, stood: None, leaderless_since: now, progress: None }, effects)
    }

    pub(crate) fn state(&self) -> &RaftState {
        &self.state
    }

    /// This server is about to ask for votes.
    pub(crate) fn stood(&mut self, stood: Stood) -> Vec<Effect> {
        let last_leader = self.leader_name(self.state.leader_id.as_deref());
        let lost = ElectionEvent::HeartbeatLost {
            term: self.state.term,
            last_leader: last_leader.clone(),
            cause: stood.cause.clone(),
        };
        self.stood = Some(stood.cause.clone());
        vec![
            Effect::Log(Line::StartingElection { last_leader, cause: stood.cause }),
            Effect::Notice(Notice::Election(lost)),
        ]
    }

    /// The picture is now `new`, whose `leader_since` is filled in here.
    pub(crate) fn step(&mut self, now: Moment, wall: WallTime, mut new: RaftState) -> Vec<Effect> {
        let mut out = Vec::new();
        let old = self.state.clone();
        let leader_changed = (old.term, &old.leader_id) != (new.term, &new.leader_id);
        new.leader_since = match (&new.leader_id, leader_changed) {
            (None, _) => None,
            (Some(_), true) => Some(wall),
            (Some(_), false) => old.leader_since,
        };
        if new.term > old.term + 1 {
            notice(&mut out, RaftEvent::Gap { from_term: old.term + 1, to_term: new.term - 1 });
        }
        if old.peers != new.peers {
            notice(&mut out, RaftEvent::MembershipChanged { peers: new.peers.clone() });
        }
        if let Some(leader_id) = old.leader_id.clone().filter(|_| leader_changed) {
            self.leaderless_since = now;
            self.lost(&mut out, &old, &new, leader_id);
        }
        self.role(&mut out, now, wall, &old, &new);
        if let Some(leader_id) = new.leader_id.clone().filter(|_| leader_changed) {
            let leader = self.name_of(&new, &leader_id);
            let leaderless_ms = millis(now.since(self.leaderless_since));
            notice(&mut out, RaftEvent::LeaderElected { term: new.term, leader_id, leader, leaderless_ms });
        }
        if new.confirmed && (!old.confirmed || leader_changed) {
            notice(&mut out, RaftEvent::LeaderConfirmed { term: new.term });
        }
        if new.snapshot > old.snapshot {
            notice(&mut out, RaftEvent::SnapshotTaken { index: new.snapshot });
        }
        let told = |s: &RaftState| (s.role, s.term, s.leader_id.clone(), s.confirmed, s.peers.clone(), s.no_seat);
        if told(&old) != told(&new) {
            notice(&mut out, RaftEvent::State(new.clone()));
        }
        self.state = new;
        self.tell_progress(&mut out, now);
        out
    }

    /// When [`Watcher::step`] should be called again although nothing changed.
    pub(crate) fn due(&self) -> Option<Moment> {
        let (told_at, told) = self.progress.as_ref()?;
        (self.progress_now().as_ref() != Some(told)).then(|| *told_at + PROGRESS_EVERY)
    }

    fn lost(&self, out: &mut Vec<Effect>, old: &RaftState, new: &RaftState, leader_id: String) {
        let cause = if new.term > old.term { format!("term {} began", new.term) } else { "it is silent".to_owned() };
        if old.role == Role::Leader && new.role != Role::Leader {
            let leader = self.me.name.clone();
            let down = ElectionEvent::SteppedDown { term: old.term, leader, cause: cause.clone() };
            out.push(Effect::Notice(Notice::Election(down)));
        }
        notice(out, RaftEvent::LeaderLost { term: old.term, leader_id, cause });
    }

    fn role(&mut self, out: &mut Vec<Effect>, now: Moment, wall: WallTime, old: &RaftState, new: &RaftState) {
        let again = old.term != new.term;
        match new.role {
            Role::Candidate if again || old.role != Role::Candidate => self.started(out, new),
            Role::Leader if again || old.role != Role::Leader => {
                if again || old.role != Role::Candidate {
                    self.started(out, new);
                }
                self.won(out, now, wall, new);
                out.push(Effect::Log(Line::Leader));
                let others = new.peers.iter().filter(|peer| peer.id != self.me.id.to_string());
                out.extend(others.map(|peer| Effect::Log(Line::AddedPeer { id: peer.id.clone() })));
            }
            Role::Follower if old.role != Role::Follower => {
                out.push(Effect::Log(Line::Follower { leader: self.leader_name(new.leader_id.as_deref()) }));
            }
            _ => {}
        }
    }

    /// Of a lone voter; where others vote, `ballots` has seen it begin.
    fn started(&self, out: &mut Vec<Effect>, new: &RaftState) {
        let voters = voters(new);
        if voters != 1 {
            return;
        }
        out.push(Effect::Log(Line::Candidate { term: new.term }));
        out.push(Effect::Notice(Notice::Election(ElectionEvent::Started {
            term: new.term,
            candidate: self.me.name.clone(),
            cause: self.cause(),
            need: voters / 2 + 1,
            voters,
            pre_vote: false,
        })));
    }

    /// A lone voter's own vote decides; where others vote, `ballots` has seen them.
    fn won(&mut self, out: &mut Vec<Effect>, now: Moment, wall: WallTime, new: &RaftState) {
        let cause = self.cause();
        self.stood = None;
        if voters(new) != 1 {
            return;
        }
        let name = self.me.name.clone();
        out.push(Effect::Notice(Notice::Election(ElectionEvent::VoteGranted {
            term: new.term,
            candidate: name.clone(),
            voter: name.clone(),
            tally: 1,
            need: 1,
            pre_vote: false,
        })));
        out.push(Effect::Log(Line::Won { tally: 1 }));
        out.push(Effect::Notice(Notice::Election(ElectionEvent::Ended(ElectionRecord {
            term: new.term,
            at: wall,
            candidate: name.clone(),
            cause,
            votes: BTreeMap::from([(name, VoteAnswer::Granted)]),
            tally: 1,
            need: 1,
            result: ElectionResult::Won,
            leaderless_ms: Some(millis(now.since(self.leaderless_since))),
        }))));
    }

    fn tell_progress(&mut self, out: &mut Vec<Effect>, now: Moment) {
        let Some(progress) = self.progress_now() else {
            self.progress = None;
            return;
        };
        let due = self.progress.as_ref().is_none_or(|(at, told)| *told != progress && now.since(*at) >= PROGRESS_EVERY);
        if due {
            out.push(Effect::Notice(Notice::Replication(ReplicationEvent::Progress(progress.clone()))));
            self.progress = Some((now, progress));
        }
    }

    /// The leader's own; what it knows of the others comes with replication.
    fn progress_now(&self) -> Option<Progress> {
        let state = &self.state;
        (state.role == Role::Leader).then(|| Progress {
            server_id: self.me.id.to_string(),
            server: self.me.name.clone(),
            term: state.term,
            last_log: state.last_log,
            matched: state.commit,
            commit: state.commit,
            applied: state.applied,
            voter: true,
            leader: true,
            contact_ms: 0,
        })
    }

    fn cause(&self) -> String {
        self.stood.clone().unwrap_or_else(|| "no heartbeat within the election timeout".to_owned())
    }

    fn name_of(&self, state: &RaftState, id: &str) -> String {
        state.peers.iter().find(|p| p.id == id).map_or_else(|| id.to_owned(), |p| p.node.clone())
    }

    /// As Consul's lines name a leader: its address.
    fn leader_name(&self, id: Option<&str>) -> String {
        let peer = id.and_then(|id| self.state.peers.iter().find(|p| p.id == id));
        peer.map(|p| p.address.clone()).unwrap_or_default()
    }
}

fn notice(out: &mut Vec<Effect>, event: RaftEvent) {
    out.push(Effect::Notice(Notice::Raft(event)));
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn voters(state: &RaftState) -> u32 {
    u32::try_from(state.peers.iter().filter(|p| p.voter).count()).unwrap_or(u32::MAX)
}

/// `[{Suffrage:Voter ID:… Address:…} …]`
fn servers(peers: &[RaftPeer]) -> String {
    let one = |p: &RaftPeer| {
        let suffrage = if p.voter { "Voter" } else { "Nonvoter" };
        format!("{{Suffrage:{suffrage} ID:{} Address:{}}}", p.id, p.address)
    };
    format!("[{}]", peers.iter().map(one).collect::<Vec<_>>().join(" "))
}

pub(crate) fn peers(membership: &StoredMembership) -> Vec<RaftPeer> {
    let voters: Vec<ServerId> = membership.voter_ids().collect();
    let one = |(id, peer): (&ServerId, &super::types::Peer)| RaftPeer {
        id: id.to_string(),
        node: peer.name.clone(),
        address: peer.address.clone(),
        voter: voters.contains(id),
    };
    membership.nodes().map(one).collect()
}

/// openraft's metrics as a picture; `leader_since` is not in them.
fn picture(me: &Me, metrics: &Metrics) -> RaftState {
    let role = match metrics.state {
        ServerState::Learner => Role::Learner,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Leader => Role::Leader,
        ServerState::Shutdown => Role::Shutdown,
    };
    let peers = peers(&metrics.membership_config);
    let alone = peers.iter().filter(|p| p.voter).all(|p| p.id == me.id.to_string());
    let fresh = metrics.last_quorum_acked.as_ref().is_some_and(|at| millis(at.elapsed()) < me.lease_ms);
    let leader_id = metrics.current_leader.filter(|_| role != Role::Shutdown).map(|id| id.to_string());
    RaftState {
        role,
        term: metrics.current_term,
        confirmed: leader_id.is_some() && (role != Role::Leader || alone || fresh),
        leader_id,
        leader_since: None,
        last_log: metrics.last_log_index.map_or(0, shown),
        commit: shown_id(metrics.local_committed.as_ref()),
        applied: shown_id(metrics.last_applied.as_ref()),
        snapshot: shown_id(metrics.snapshot.as_ref()),
        peers,
        no_seat: false,
    }
}

/// How the others follow, on a leader.
fn followers(state: &RaftState, metrics: &Metrics) -> Vec<Progress> {
    let Some(replication) = metrics.replication.as_ref().filter(|_| state.role == Role::Leader) else {
        return Vec::new();
    };
    let heard = metrics.heartbeat.as_ref();
    // One that never answered this leader has been silent for as long as this one leads.
    let led = state.leader_since.map_or(0, |since| clock::wall().micros().saturating_sub(since.micros()));
    let led_ms = u64::try_from(led / 1_000).unwrap_or(0);
    let one = |peer: &RaftPeer| {
        let id = ServerId::from(peer.id.parse::<uuid::Uuid>().ok()?);
        let matched = shown_id(replication.get(&id)?.as_ref());
        let at = heard.and_then(|heard| heard.get(&id)).and_then(Option::as_ref);
        Some(Progress {
            server_id: peer.id.clone(),
            server: peer.node.clone(),
            term: state.term,
            last_log: state.last_log,
            matched,
            // What a follower has committed and applied it knows best; this is what it can have.
            commit: state.commit.min(matched),
            applied: state.commit.min(matched),
            voter: peer.voter,
            leader: false,
            contact_ms: at.map_or(led_ms, |at| millis(at.elapsed())),
        })
    };
    let me = metrics.id.to_string();
    state.peers.iter().filter(|peer| peer.id != me).filter_map(one).collect()
}

/// Starts the loop and returns where the pictures go. `membership` and `term` are those of the log:
/// metrics may not have them yet.
pub(crate) fn start(
    me: Me,
    upkeep: Upkeep,
    membership: &StoredMembership,
    term: u64,
    stands: mpsc::Receiver<Stood>,
    tasks: &Tasks,
    told: Told,
) -> watch::Receiver<RaftState> {
    let mut first = picture(&me, &upkeep.core.metrics().borrow_watched().clone());
    first.peers = peers(membership);
    first.term = term;
    first.role = Role::Follower;
    // Whom the log names has not been heard since.
    (first.leader_id, first.confirmed) = (None, false);
    let index = shown_id(membership.log_id().as_ref());
    let (watcher, effects) = Watcher::open(me, clock::now(), index, first.clone());
    let (published, state) = watch::channel(first);
    let Told { ballots, heard, notices } = told;
    let following = Following::default();
    let work = Loop { watcher, upkeep, stands, following, ballots, heard, notices, published, tasks: tasks.clone() };
    work.perform(effects);
    tasks.spawn("raft-watch", work.run());
    state
}

/// Who is told of what is seen.
pub(crate) struct Told {
    pub(crate) ballots: Ballots,
    pub(crate) heard: Heard,
    pub(crate) notices: mpsc::Sender<Notice>,
}

struct Loop {
    watcher: Watcher,
    upkeep: Upkeep,
    stands: mpsc::Receiver<Stood>,
    following: Following,
    ballots: Ballots,
    heard: Heard,
    notices: mpsc::Sender<Notice>,
    published: watch::Sender<RaftState>,
    tasks: Tasks,
}

impl Loop {
    async fn run(mut self) {
        let end = self.tasks.token();
        let mut roles = self.upkeep.core.server_metrics();
        let mut indexes = self.upkeep.core.metrics();
        // Indexes grow with every write; looking at each step would cost more than the write.
        let mut rest: Option<Moment> = None;
        loop {
            let now = clock::now();
            let resting = rest.map(|until| until.since(now));
            let due = self.watcher.due().into_iter().chain(self.recheck(now)).min().map(|at| at.since(now));
            tokio::select! {
                biased;
                Some(stood) = self.stands.recv() => {
                    let effects = self.watcher.stood(stood);
                    self.perform(effects);
                    continue;
                }
                changed = roles.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(resting.unwrap_or_default()), if resting.is_some() => {
                    rest = None;
                    continue;
                }
                changed = indexes.changed(), if resting.is_none() => {
                    if changed.is_err() { break }
                    rest = Some(clock::now() + INDEXES_EVERY);
                }
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => {}
                () = end.cancelled() => break,
            }
            if !self.look().await {
                break;
            }
        }
        self.upkeep.stopped();
        self.published.send_modify(|state| {
            state.role = Role::Shutdown;
            state.leader_id = None;
            state.confirmed = false;
        });
    }

    /// A leader that nobody answers, and a follower that hears no leader, learn nothing new: their time
    /// runs out unseen. So does that of one which was removed: others only refuse it their votes.
    fn recheck(&self, now: Moment) -> Option<Moment> {
        let state = self.watcher.state();
        let waits = match state.role {
            Role::Leader => state.peers.len() > 1,
            Role::Follower | Role::Candidate => !state.peers.is_empty(),
            Role::Learner | Role::Shutdown => state.leader_id.is_some(),
        };
        waits.then(|| now + Duration::from_millis(self.watcher.me.lease_ms / 2))
    }

    /// False when Raft has stopped by itself.
    async fn look(&mut self) -> bool {
        let metrics = self.upkeep.core.metrics().borrow_watched().clone();
        if metrics.running_state.is_err() {
            return false;
        }
        let mut new = picture(&self.watcher.me, &metrics);
        let silence_max = Duration::from_millis(2 * self.watcher.me.lease_ms);
        if new.role != Role::Leader && !self.heard.hears(new.term, clock::now(), silence_max) {
            new.leader_id = None;
            new.confirmed = false;
        }
        if new.snapshot > self.watcher.state().snapshot {
            self.upkeep.purge(&metrics).await;
        }
        self.upkeep.correct(&metrics);
        if new.peers != self.watcher.state().peers {
            self.ballots.peers(&new.peers);
        }
        self.ballots.led_by(new.term, new.leader_id.as_deref());
        let now = clock::now();
        new.no_seat = new.leader_id.is_none() && self.ballots.has_no_seat(now);
        let led = (self.watcher.state().role, self.watcher.state().term);
        let effects = self.watcher.step(now, clock::wall(), new);
        if led != (self.watcher.state().role, self.watcher.state().term) {
            self.following = Following::default();
        }
        let progress = followers(self.watcher.state(), &metrics);
        // First: whoever acts on the picture logs, too, and what led to it stands before that.
        self.perform(effects);
        self.published.send_if_modified(|state| {
            let changed = state != self.watcher.state();
            if changed {
                state.clone_from(self.watcher.state());
            }
            changed
        });
        let effects = self.following.look(now, &self.watcher.state().peers, progress);
        self.perform(effects);
        true
    }

    fn perform(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Log(line) => print(&self.watcher.me, &line),
                Effect::Notice(notice) => {
                    if self.notices.try_send(notice).is_err() {
                        metrics::counter!("quorate.raft.notices_dropped").increment(1);
                    }
                }
            }
        }
    }
}

/// Consul's words; what follows `cause=` is ours.
fn print(me: &Me, line: &Line) {
    let node = |role: &str| format!("Node at {} [{role}]", me.address);
    match line {
        Line::InitialConfiguration { index, servers } => {
            tracing::info!(target: "agent.server.raft", index, %servers, "initial configuration");
        }
        Line::Follower { leader } => {
            let follower = node("Follower");
            tracing::info!(target: "agent.server.raft", %follower, %leader, "entering follower state");
        }
        Line::StartingElection { last_leader, cause } => {
            tracing::warn!(
                target: "agent.server.raft",
                { "last-leader" = %last_leader, %cause },
                "heartbeat timeout reached, starting election"
            );
        }
        Line::Candidate { term } => {
            let node = node("Candidate");
            tracing::info!(target: "agent.server.raft", %node, term, "entering candidate state");
        }
        Line::Won { tally } => tracing::info!(target: "agent.server.raft", tally, "election won"),
        Line::Leader => {
            let leader = node("Leader");
            tracing::info!(target: "agent.server.raft", %leader, "entering leader state");
        }
        Line::AddedPeer { id } => {
            tracing::info!(target: "agent.server.raft", peer = %id, "added peer, starting replication");
        }
        Line::Pipelining { peer } => {
            let suffrage = if peer.voter { "Voter" } else { "Nonvoter" };
            let peer = format!("{{{suffrage} {} {}}}", peer.id, peer.address);
            tracing::info!(target: "agent.server.raft", %peer, "pipelining replication");
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
