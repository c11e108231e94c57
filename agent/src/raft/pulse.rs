//! What openraft's clock is for, with fewer ticks. That one looks fifty times a second whether an election or a
//! heartbeat is due, and a server that has nothing to do would do little else.
//! A follower's clock ticks only while its leader is silent, and a leader sends its heartbeats from here.

use std::time::Duration;

use shared::event::{RaftState, Role};
use tokio::sync::watch;

use super::heard::Heard;
use super::node::Core;
use crate::clock;
use crate::moment::Moment;
use crate::tasks::Tasks;

/// So many heartbeats may be missing before the clock ticks: less than the shortest election timeout.
const MISSING: u32 = 2;

pub(crate) struct Pulse {
    pub(crate) core: Core,
    pub(crate) id: String,
    pub(crate) heard: Heard,
    pub(crate) heartbeat: Duration,
}

/// What is to be done at a moment.
#[derive(Debug, PartialEq, Eq)]
struct Beat {
    ticks: bool,
    sends: bool,
    /// When to look again though nothing changes.
    again_in: Option<Duration>,
}

impl Pulse {
    pub(crate) fn start(self, state: watch::Receiver<RaftState>, tasks: &Tasks) {
        let end = tasks.token();
        tasks.spawn("raft-pulse", async move {
            end.run_until_cancelled(self.run(state)).await;
        });
    }

    async fn run(self, mut state: watch::Receiver<RaftState>) {
        let mut sent: Option<Moment> = None;
        loop {
            let now = clock::now();
            let beat = {
                let state = state.borrow_and_update();
                let heard_ago = self.heard.ago(state.term, now);
                beat(&state, &self.id, heard_ago, sent.map(|at| now.since(at)), self.heartbeat)
            };
            self.core.runtime_config().tick(beat.ticks);
            if beat.sends {
                sent = Some(now);
                // Raft that has stopped is told of by its metrics.
                let _ = self.core.trigger().heartbeat().await;
            }
            tokio::select! {
                biased;
                changed = state.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(beat.again_in.unwrap_or_default()), if beat.again_in.is_some() => {}
            }
        }
    }
}

/// PURE. A server that is alone has nothing to time.
fn beat(
    state: &RaftState,
    id: &str,
    heard_ago: Option<Duration>,
    sent_ago: Option<Duration>,
    heartbeat: Duration,
) -> Beat {
    if state.peers.iter().all(|peer| peer.id == id) {
        return Beat { ticks: false, sends: false, again_in: None };
    }
    if state.role == Role::Leader {
        let left = heartbeat.saturating_sub(sent_ago.unwrap_or(heartbeat));
        let sends = left.is_zero();
        return Beat { ticks: false, sends, again_in: Some(if sends { heartbeat } else { left }) };
    }
    let quiet = heartbeat * MISSING;
    match heard_ago.filter(|ago| *ago < quiet) {
        Some(ago) => Beat { ticks: false, sends: false, again_in: Some(quiet.saturating_sub(ago)) },
        None => Beat { ticks: true, sends: false, again_in: Some(quiet) },
    }
}

#[cfg(test)]
mod tests {
    use shared::event::RaftPeer;

    use super::*;

    fn state(role: Role, ids: &[&str]) -> RaftState {
        let peer =
            |id: &&str| RaftPeer { id: (*id).to_owned(), node: String::new(), address: String::new(), voter: true };
        let peers = ids.iter().map(peer).collect();
        let (leader_id, leader_since, confirmed) = (None, None, false);
        RaftState {
            role,
            term: 1,
            leader_id,
            confirmed,
            leader_since,
            last_log: 0,
            commit: 0,
            applied: 0,
            snapshot: 0,
            peers,
            no_seat: false,
        }
    }

    #[track_caller]
    fn check(role: Role, ids: &[&str], heard: Option<u64>, sent: Option<u64>, expected: (bool, bool, Option<u64>)) {
        let ms = Duration::from_millis;
        let told = beat(&state(role, ids), "a", heard.map(ms), sent.map(ms), ms(100));
        let (ticks, sends, again_in) = expected;
        assert_eq!(told, Beat { ticks, sends, again_in: again_in.map(ms) });
    }

    #[test]
    fn a_server_that_is_alone_or_in_no_configuration_times_nothing() {
        check(Role::Leader, &["a"], None, None, (false, false, None));
        check(Role::Follower, &[], None, None, (false, false, None));
    }

    #[test]
    fn a_follower_ticks_while_its_leader_is_silent() {
        let all = &["a", "b", "c"];
        check(Role::Follower, all, None, None, (true, false, Some(200)));
        check(Role::Follower, all, Some(0), None, (false, false, Some(200)));
        check(Role::Learner, all, Some(199), None, (false, false, Some(1)));
        check(Role::Follower, all, Some(200), None, (true, false, Some(200)));
        check(Role::Candidate, all, None, None, (true, false, Some(200)));
    }

    #[test]
    fn a_leader_sends_a_heartbeat_in_each_interval() {
        let all = &["a", "b", "c"];
        check(Role::Leader, all, None, None, (false, true, Some(100)));
        check(Role::Leader, all, None, Some(30), (false, false, Some(70)));
        check(Role::Leader, all, Some(5), Some(100), (false, true, Some(100)));
    }
}
