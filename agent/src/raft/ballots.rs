//! Who was asked for a vote and what each one said: an election as it is seen by the one who stands,
//! and by the one who votes. `network` and `serving` tell what passes by; out come Consul's lines and
//! notices, in the order in which it happened. Decides nothing about who leads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::raft::{VoteRequest, VoteResponse};
use shared::event::{ElectionEvent, ElectionRecord, ElectionResult, RaftPeer, VoteAnswer};
use tokio::sync::mpsc;

use super::Notice;
use super::types::{Config, LogId, Vote, shown_id};
use crate::clock;
use crate::moment::Moment;

/// So many candidates are remembered; a cluster has a few servers.
const CANDIDATES_MAX: usize = 64;
/// A server that was removed stands again and again, and is refused each time.
const NO_SEAT_LASTS: Duration = Duration::from_secs(30);
/// What a voter says first to a candidate that its configuration does not have.
const NO_SEAT: &str = "the candidate is not in the configuration";

/// Clones tell of the same server.
#[derive(Clone)]
pub(crate) struct Ballots {
    inner: Arc<Mutex<Inner>>,
    notices: mpsc::Sender<Notice>,
}

struct Inner {
    id: String,
    name: String,
    address: String,
    peers: Vec<RaftPeer>,
    /// What makes this server stand next; none: nobody was heard for too long.
    cause: Option<String>,
    leader: Option<Leader>,
    /// Term and ID of the last leader that was told.
    led_by: Option<(u64, String)>,
    leaderless_since: Moment,
    running: Option<Election>,
    /// When another last refused its vote since its configuration does not have this server.
    no_seat: Option<Moment>,
    /// What each other was last told here: term, whether it was granted, whether it was a pre-vote. The same
    /// question again is not told again, and servers that were removed ask for as long as they run.
    last_told: BTreeMap<String, (u64, bool, bool)>,
}

/// A server's place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    Voter,
    Learner,
    None,
}

struct Leader {
    name: String,
    address: String,
}

/// An election of this server.
struct Election {
    term: u64,
    is_pre_vote: bool,
    cause: String,
    votes: BTreeMap<String, VoteAnswer>,
    tally: u32,
    need: u32,
    is_over: bool,
    /// That others do not have this server in their configuration; once for each term it stands for.
    is_told_no_seat: bool,
}

impl Ballots {
    pub(crate) fn new(id: String, name: String, address: String, notices: mpsc::Sender<Notice>) -> Self {
        let inner = Inner {
            id,
            name,
            address,
            peers: Vec::new(),
            cause: None,
            leader: None,
            led_by: None,
            leaderless_since: clock::now(),
            running: None,
            no_seat: None,
            last_told: BTreeMap::new(),
        };
        Self { inner: Arc::new(Mutex::new(inner)), notices }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: ElectionEvent) {
        if self.notices.try_send(Notice::Election(event)).is_err() {
            metrics::counter!("quorate.raft.notices_dropped").increment(1);
        }
    }

    /// The servers of the configuration as it is now.
    pub(crate) fn peers(&self, peers: &[RaftPeer]) {
        self.lock().peers = peers.to_vec();
    }

    /// The next election of this server is because of this.
    pub(crate) fn because(&self, cause: &str) {
        self.lock().cause = Some(cause.to_owned());
    }

    /// Who leads now, as this server sees it; an election of this server that another won is lost.
    pub(crate) fn led_by(&self, term: u64, leader_id: Option<&str>) {
        let mut inner = self.lock();
        let Some(id) = leader_id else {
            if inner.leader.is_some() {
                inner.leaderless_since = clock::now();
            }
            return;
        };
        let peer = inner.peers.iter().find(|peer| peer.id == id);
        let leader = peer.map(|peer| Leader { name: peer.node.clone(), address: peer.address.clone() });
        inner.leader = leader;
        // The same one again says nothing about why this server is about to stand.
        let led_by = Some((term, id.to_owned()));
        if inner.led_by != led_by {
            inner.led_by = led_by;
            inner.cause = None;
        }
        let is_me = inner.id == id;
        if !is_me && inner.running.as_ref().is_some_and(|election| election.term <= term) {
            self.end(&mut inner, ElectionResult::Lost);
        }
    }

    /// What the configuration has for a server.
    pub(crate) fn seat(&self, id: &str) -> Seat {
        match self.lock().peers.iter().find(|peer| peer.id == id) {
            Some(peer) if peer.voter => Seat::Voter,
            Some(_) => Seat::Learner,
            None => Seat::None,
        }
    }

    /// The configuration does not have that server; not so where there is none yet.
    pub(crate) fn is_unknown(&self, id: &str) -> bool {
        let inner = self.lock();
        !inner.peers.is_empty() && !inner.peers.iter().any(|peer| peer.id == id)
    }

    /// The name of a server; its ID when the configuration does not have it.
    pub(crate) fn name_of(&self, id: &str) -> String {
        self.lock().name_of(id)
    }

    /// This server asks `voter` for a vote. A round of pre-votes that is only repeated is not told again.
    pub(crate) fn asks(&self, request: &VoteRequest<Config>, voter: &str, is_pre_vote: bool) {
        let term = request.vote.leader_id.term;
        let mut inner = self.lock();
        let (candidate, voter) = (inner.name.clone(), inner.name_of(voter));
        if !inner.running.as_ref().is_some_and(|e| e.term == term && e.is_pre_vote == is_pre_vote) {
            self.begin(&mut inner, term, is_pre_vote);
        }
        let Some(election) = &mut inner.running else { return };
        if election.votes.contains_key(&voter) {
            return;
        }
        election.votes.insert(voter.clone(), VoteAnswer::Silent);
        drop(inner);
        self.tell(ElectionEvent::VoteAsked { term, candidate, voter, pre_vote: is_pre_vote });
    }

    fn begin(&self, inner: &mut Inner, term: u64, is_pre_vote: bool) {
        let before = inner.running.take();
        let goes_on = before.as_ref().is_some_and(|b| b.term == term && b.is_pre_vote);
        let cause = match &before {
            Some(before) if goes_on => before.cause.clone(),
            _ => inner.cause.take().unwrap_or_else(|| "no heartbeat within the election timeout".to_owned()),
        };
        if let Some(mut before) = before.filter(|before| !before.is_pre_vote && !before.is_over) {
            before.is_over = true;
            self.tell(ElectionEvent::Ended(inner.record(&before, ElectionResult::TimedOut)));
            tracing::warn!(target: "agent.server.raft", "Election timeout reached, restarting election");
        } else if !goes_on {
            let (last_leader, address) =
                inner.leader.as_ref().map_or_else(Default::default, |l| (l.name.clone(), l.address.clone()));
            tracing::warn!(
                target: "agent.server.raft",
                { "last-leader" = %address, %cause },
                "heartbeat timeout reached, starting election"
            );
            let term = term.saturating_sub(1);
            self.tell(ElectionEvent::HeartbeatLost { term, last_leader, cause: cause.clone() });
        }
        let voters = inner.peers.iter().filter(|peer| peer.voter).count();
        let voters = u32::try_from(voters).unwrap_or(u32::MAX);
        let need = voters / 2 + 1;
        let candidate = inner.name.clone();
        if !is_pre_vote {
            let node = format!("Node at {} [Candidate]", inner.address);
            tracing::info!(target: "agent.server.raft", %node, term, "entering candidate state");
            tracing::debug!(target: "agent.server.raft", needed = need, "votes");
            tracing::debug!(target: "agent.server.raft", from = %inner.id, term, tally = 1, "vote granted");
        }
        let started = ElectionEvent::Started {
            term,
            candidate: candidate.clone(),
            cause: cause.clone(),
            need,
            voters,
            pre_vote: is_pre_vote,
        };
        self.tell(started);
        self.tell(ElectionEvent::VoteGranted {
            term,
            candidate: candidate.clone(),
            voter: candidate.clone(),
            tally: 1,
            need,
            pre_vote: is_pre_vote,
        });
        let votes = BTreeMap::from([(candidate, VoteAnswer::Granted)]);
        inner.running =
            Some(Election { term, is_pre_vote, cause, votes, tally: 1, need, is_over: false, is_told_no_seat: false });
    }

    /// Others said lately that they do not have this server in their configuration.
    pub(crate) fn has_no_seat(&self, now: Moment) -> bool {
        self.lock().no_seat.is_some_and(|at| now.since(at) < NO_SEAT_LASTS)
    }

    /// `voter` said this to this server; `reason` is its own, empty when it granted.
    pub(crate) fn answered(
        &self,
        request: &VoteRequest<Config>,
        voter: &str,
        granted: bool,
        reason: &str,
        pre_vote: bool,
    ) {
        let term = request.vote.leader_id.term;
        let mut inner = self.lock();
        if !granted && reason.starts_with(NO_SEAT) {
            inner.no_seat = Some(clock::now());
        }
        let (candidate, name) = (inner.name.clone(), inner.name_of(voter));
        let Some(election) = inner.running.as_mut().filter(|e| e.term == term && e.is_pre_vote == pre_vote) else {
            return;
        };
        let answer = if granted { VoteAnswer::Granted } else { VoteAnswer::Refused };
        if election.votes.insert(name.clone(), answer) == Some(answer) {
            return;
        }
        if !granted {
            let refused =
                ElectionEvent::VoteRefused { term, candidate, voter: name, reason: reason.to_owned(), pre_vote };
            let is_news = reason.starts_with(NO_SEAT) && !std::mem::replace(&mut election.is_told_no_seat, true);
            drop(inner);
            tracing::debug!(target: "agent.server.raft", from = voter, term, reason, pre_vote, "vote refused");
            if is_news {
                tracing::warn!(
                    target: "agent.server.raft",
                    { %voter },
                    "another server does not have this one in its Raft configuration: it was removed, or has just been \
                     added. The leader adds it again within a minute while it is a member; to take it out for good, \
                     let it leave"
                );
            }
            return self.tell(refused);
        }
        election.tally += 1;
        let (tally, need) = (election.tally, election.need);
        if !pre_vote {
            tracing::debug!(target: "agent.server.raft", from = voter, term, tally, "vote granted");
        }
        self.tell(ElectionEvent::VoteGranted { term, candidate, voter: name, tally, need, pre_vote });
        if !pre_vote && tally == need {
            tracing::info!(target: "agent.server.raft", tally, "election won");
            self.end(&mut inner, ElectionResult::Won);
        }
    }

    /// This server was asked for a vote and said this.
    pub(crate) fn was_asked(&self, request: &VoteRequest<Config>, granted: bool, reason: &str, pre_vote: bool) {
        let (term, id) = (request.vote.leader_id.term, request.vote.leader_id.voted_for.to_string());
        let mut inner = self.lock();
        let (candidate, voter) = (inner.name_of(&id), inner.name.clone());
        let told = (term, granted, pre_vote);
        if inner.last_told.len() >= CANDIDATES_MAX && !inner.last_told.contains_key(&id) {
            inner.last_told.clear();
        }
        if inner.last_told.insert(id.clone(), told) == Some(told) {
            return;
        }
        drop(inner);
        if granted {
            tracing::debug!(target: "agent.server.raft", candidate = %id, term, pre_vote, "granted a vote");
            // Only the one who stands can count.
            self.tell(ElectionEvent::VoteGranted { term, candidate, voter, tally: 0, need: 0, pre_vote });
        } else {
            tracing::warn!(target: "agent.server.raft", candidate = %id, term, reason, pre_vote, "rejecting vote request");
            self.tell(ElectionEvent::VoteRefused { term, candidate, voter, reason: reason.to_owned(), pre_vote });
        }
    }

    fn end(&self, inner: &mut Inner, result: ElectionResult) {
        let Some(mut election) = inner.running.take() else { return };
        if !election.is_over && !election.is_pre_vote {
            election.is_over = true;
            self.tell(ElectionEvent::Ended(inner.record(&election, result)));
        }
        // Late answers of an election that was won are still told.
        inner.running = Some(election).filter(|_| result == ElectionResult::Won);
    }
}

impl Inner {
    fn name_of(&self, id: &str) -> String {
        self.peers.iter().find(|peer| peer.id == id).map_or_else(|| id.to_owned(), |peer| peer.node.clone())
    }

    fn record(&self, election: &Election, result: ElectionResult) -> ElectionRecord {
        let leaderless: Duration = clock::now().since(self.leaderless_since);
        ElectionRecord {
            term: election.term,
            at: clock::wall(),
            candidate: self.name.clone(),
            cause: election.cause.clone(),
            votes: election.votes.clone(),
            tally: election.tally,
            need: election.need,
            result,
            leaderless_ms: (result == ElectionResult::Won)
                .then(|| u64::try_from(leaderless.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// Why a voter that answered so did not grant, by openraft's rules in their order. PURE. That its configuration
/// does not have the candidate is no reason for openraft, but what is to be known first.
pub(crate) fn reason(
    request: &VoteRequest<Config>,
    response: &VoteResponse<Config>,
    is_unknown: bool,
    name: impl Fn(&str) -> String,
) -> String {
    let reason = rule(request, response, name);
    if is_unknown && !response.vote_granted { format!("{NO_SEAT}, and {reason}") } else { reason }
}

fn rule(request: &VoteRequest<Config>, response: &VoteResponse<Config>, name: impl Fn(&str) -> String) -> String {
    let (asked, vote) = (&request.vote.leader_id, &response.vote.leader_id);
    let who = || name(&vote.voted_for.to_string());
    let log = |id: &Option<LogId>| shown_id(id.as_ref());
    if response.vote_granted {
        return String::new();
    }
    if vote.term > asked.term {
        return format!("it is in term {} already", vote.term);
    }
    if vote.term == asked.term && vote.voted_for != asked.voted_for {
        return format!("it voted for {} in term {}", who(), vote.term);
    }
    if response.last_log_id > request.last_log_id {
        let (its, ours) = (log(&response.last_log_id), log(&request.last_log_id));
        return format!("its log is ahead: it ends at {its}, the candidate's at {ours}");
    }
    if response.vote.committed {
        return format!("it still hears its leader {} of term {}", who(), vote.term);
    }
    format!("its vote is {}", shown_vote(&response.vote))
}

fn shown_vote(vote: &Vote) -> String {
    format!("for {} in term {}", vote.leader_id.voted_for, vote.leader_id.term)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::ServerId;

    #[test]
    fn why_a_server_stands_is_forgotten_with_another_leader_and_not_before() {
        let (notices, _told) = mpsc::channel(8);
        let ballots = Ballots::new("a".to_owned(), "one".to_owned(), "127.0.0.1:8300".to_owned(), notices);
        ballots.led_by(3, Some("b"));
        ballots.because("b handed its leadership over");
        ballots.led_by(3, Some("b"));
        assert_eq!(ballots.lock().cause.as_deref(), Some("b handed its leadership over"));
        ballots.led_by(4, Some("c"));
        assert_eq!(ballots.lock().cause, None);
    }

    #[test]
    fn servers_that_were_removed_ask_again_and_again_and_are_told_of_once_each() {
        let (notices, mut told) = mpsc::channel(64);
        let ballots = Ballots::new("a".to_owned(), "one".to_owned(), "127.0.0.1:8300".to_owned(), notices);
        let ask = |id, term| VoteRequest::<Config>::new(Vote::new(term, ServerId(id)), None);
        for _ in 0..5 {
            ballots.was_asked(&ask(2, 3), false, "no", true);
            ballots.was_asked(&ask(3, 3), false, "no", true);
        }
        ballots.was_asked(&ask(3, 4), false, "no", true);
        let mut terms = Vec::new();
        while let Ok(Notice::Election(ElectionEvent::VoteRefused { term, .. })) = told.try_recv() {
            terms.push(term);
        }
        assert_eq!(terms, [3, 3, 4]);
    }

    #[test]
    fn a_server_has_no_seat_while_others_say_so_and_not_for_another_refusal() {
        let (notices, _told) = mpsc::channel(8);
        let ballots = Ballots::new("a".to_owned(), "one".to_owned(), "127.0.0.1:8300".to_owned(), notices);
        let request = VoteRequest::<Config>::new(Vote::new(3, ServerId(1)), None);
        ballots.answered(&request, "b", false, "it still hears its leader two of term 2", true);
        assert!(!ballots.has_no_seat(clock::now()));
        ballots.answered(&request, "b", false, &format!("{NO_SEAT}, and its log is ahead"), true);
        assert!(ballots.has_no_seat(clock::now()));
        assert!(!ballots.has_no_seat(clock::now() + NO_SEAT_LASTS));
    }

    #[test]
    fn a_candidate_without_a_seat_is_told_so_first_when_it_is_refused() {
        let request = VoteRequest::<Config>::new(Vote::new(3, ServerId(2)), None);
        let answer = |granted| VoteResponse::new(Vote::new_committed(3, ServerId(1)), None, granted);
        let check = |granted, is_unknown, expected: &str| {
            assert_eq!(reason(&request, &answer(granted), is_unknown, |_| "one".to_owned()), expected);
        };
        check(false, false, "it voted for one in term 3");
        check(false, true, "the candidate is not in the configuration, and it voted for one in term 3");
        check(true, true, "");
    }
}
