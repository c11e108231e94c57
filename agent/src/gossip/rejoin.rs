//! Coming back to a pool that is remembered: one previous member after the other, until one answers.
//! Asked for by `discovery`, which decides how often.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{SeedableRng, TryRngCore};
use shared::event::MemberStatus;
use tokio::sync::oneshot;

use super::memory::Previous;
use super::{Gossip, Request, journal};

/// Members tried in one round.
const TRIED_MAX: usize = 64;

impl Gossip {
    /// Somebody was here when the agent ended, and it did not leave.
    pub fn has_previous(&self) -> bool {
        !self.previous.is_empty()
    }

    /// Another member is here.
    pub fn has_others(&self) -> bool {
        let there = |status| matches!(status, MemberStatus::Alive | MemberStatus::Suspect);
        self.members.borrow().iter().any(|member| member.name != self.name && there(member.status))
    }

    /// Tries those who were here, in random order: all restart after a power cut, and must not fall upon
    /// one. True when one answered.
    pub async fn rejoin(&self) -> bool {
        let mut order: Vec<&Previous> = self.previous.iter().collect();
        let mut dice = SmallRng::from_rng(&mut rand::rngs::OsRng.unwrap_err());
        order.shuffle(&mut dice);
        for previous in order.into_iter().take(TRIED_MAX) {
            // The file's reader let nothing else pass.
            let Ok(to) = previous.address.parse() else { continue };
            journal::rejoining(self.scope, previous);
            let (done, outcome) = oneshot::channel();
            if self.requests.send(Request::Join { to, done }).await.is_err() {
                return false;
            }
            match outcome.await {
                Ok(Ok(())) => {
                    journal::rejoined(self.scope, previous);
                    return true;
                }
                Ok(Err(reason)) => journal::join_failed(self.scope, &format!("Failed to join {}: {reason}", to.ip())),
                Err(_) => return false,
            }
        }
        journal::not_rejoined(self.scope);
        false
    }
}
