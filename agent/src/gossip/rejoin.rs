//! Coming back to a pool that is remembered: one previous member after the other, until one answers.
//! Asked for by `discovery`, which decides how often.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{SeedableRng, TryRngCore};
use shared::event::MemberStatus;

use super::look::Unfit;
use super::memory::Previous;
use super::{Gossip, journal};

/// Members tried in one round.
const TRIED_MAX: usize = 64;

/// A HashiCorp server of our datacenter is where we were: this server must not be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Foreign(String);

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
    pub async fn rejoin(&self) -> Result<bool, Foreign> {
        let mut order: Vec<&Previous> = self.previous.iter().collect();
        let mut dice = SmallRng::from_rng(&mut rand::rngs::OsRng.unwrap_err());
        order.shuffle(&mut dice);
        for previous in order.into_iter().take(TRIED_MAX) {
            // The file's reader let nothing else pass.
            let Ok(to) = previous.address.parse() else { continue };
            journal::rejoining(self.scope, previous);
            match self.join_address(to).await {
                Ok(()) => {
                    journal::rejoined(self.scope, previous);
                    return Ok(true);
                }
                Err(Unfit::Foreign(rejection)) => return Err(Foreign(rejection.to_string())),
                Err(Unfit::Unreachable(reason)) => {
                    journal::join_failed(self.scope, &format!("Failed to join {}: {reason}", to.ip()));
                }
            }
        }
        journal::not_rejoined(self.scope);
        Ok(false)
    }
}
