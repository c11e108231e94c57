//! The few meanings a row can have; `theme` turns each into a glyph and a style.

use serde::{Deserialize, Serialize};
use shared::event::{MemberStatus, Role};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Mark {
    /// Good, alive, passing.
    Good,
    Leader,
    /// Candidate, election.
    Candidate,
    /// Suspect, leaving.
    Suspect,
    Warning,
    /// Failed, critical, no quorum.
    Failed,
    /// Left, learner: nothing to worry about, nothing to count on.
    Quiet,
    /// Not seen from here.
    Unknown,
}

impl From<MemberStatus> for Mark {
    fn from(status: MemberStatus) -> Self {
        match status {
            MemberStatus::Alive => Self::Good,
            MemberStatus::Suspect | MemberStatus::Leaving => Self::Suspect,
            MemberStatus::Left => Self::Quiet,
            MemberStatus::Failed => Self::Failed,
        }
    }
}

impl From<Role> for Mark {
    fn from(role: Role) -> Self {
        match role {
            Role::Leader => Self::Leader,
            Role::Follower => Self::Good,
            Role::Candidate => Self::Candidate,
            Role::Learner => Self::Quiet,
            Role::Shutdown => Self::Failed,
        }
    }
}
