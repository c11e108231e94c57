//! PURE: how the others follow this leader, as lines and notices: told once a second while it changes.
//! `watch` looks and tells.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shared::event::{Progress, RaftPeer, ReplicationEvent};

use super::Notice;
use super::watch::{Effect, Line};
use crate::moment::Moment;

/// How often a server's progress is told while it changes.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Between two heartbeats everybody is silent for a while; longer than this is news.
const SILENCE_MS: u64 = 500;

/// One leadership's; begin anew with each.
#[derive(Default)]
pub(crate) struct Following {
    told: BTreeMap<String, (Moment, Progress)>,
    /// Those whose log was found to fit this leader's.
    in_step: BTreeSet<String>,
}

impl Following {
    pub(crate) fn look(&mut self, now: Moment, peers: &[RaftPeer], progress: Vec<Progress>) -> Vec<Effect> {
        let mut out = Vec::new();
        self.told.retain(|id, _| progress.iter().any(|p| p.server_id == *id));
        self.in_step.retain(|id| progress.iter().any(|p| p.server_id == *id));
        for new in progress {
            let peer = peers.iter().find(|peer| peer.id == new.server_id);
            if let Some(peer) = peer.filter(|_| new.matched > 0 && self.in_step.insert(new.server_id.clone())) {
                out.push(Effect::Log(Line::Pipelining { peer: peer.clone() }));
            }
            let is_news = match self.told.get(&new.server_id) {
                None => true,
                Some((at, old)) => {
                    let same = Progress { contact_ms: old.contact_ms, ..new.clone() } == *old;
                    now.since(*at) >= PROGRESS_EVERY && (!same || new.contact_ms.max(old.contact_ms) >= SILENCE_MS)
                }
            };
            if is_news {
                self.told.insert(new.server_id.clone(), (now, new.clone()));
                out.push(Effect::Notice(Notice::Replication(ReplicationEvent::Progress(new))));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(matched: u64, contact_ms: u64) -> Progress {
        Progress {
            server_id: "2".to_owned(),
            server: "two".to_owned(),
            term: 1,
            last_log: 9,
            matched,
            commit: 0,
            applied: 0,
            voter: true,
            leader: false,
            contact_ms,
        }
    }

    #[test]
    fn a_follower_is_told_once_a_second_while_it_changes_or_is_silent() {
        let peer = RaftPeer { id: "2".into(), node: "two".into(), address: "10.0.0.2:8300".into(), voter: true };
        let mut following = Following::default();
        let mut look = |at_ms: u64, matched: u64, contact_ms: u64| {
            let now = Moment::from_micros(at_ms * 1_000);
            following.look(now, std::slice::from_ref(&peer), vec![progress(matched, contact_ms)]).len()
        };
        assert_eq!(look(0, 0, 0), 1, "its first");
        assert_eq!(look(100, 5, 0), 1, "in step, a line");
        assert_eq!(look(1_000, 5, 90), 1, "it has moved");
        assert_eq!(look(2_000, 5, 20), 0, "nothing new");
        assert_eq!(look(2_500, 6, 20), 1);
        assert_eq!(look(2_600, 7, 20), 0, "too soon");
        assert_eq!(look(4_000, 7, 900), 1);
        assert_eq!(look(5_000, 7, 1_900), 1, "silent");
        assert_eq!(look(6_000, 7, 10), 1, "back");
    }
}
