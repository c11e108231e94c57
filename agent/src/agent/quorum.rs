//! PURE: what a leave costs. Whether the voters that remain can still decide is counted here, in the
//! words that the log, the HTTP answer and the console use.

use std::fmt;

/// The voters as this server knows them. `up` counts those that answer, this one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voters {
    pub all: usize,
    pub up: usize,
    /// Whether this server is one of them.
    pub me: bool,
}

/// What a leave of this server would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// It has no vote: nothing changes for the others.
    None,
    /// It is the only voter: it keeps its seat and its log, and is to be started first.
    Alone,
    /// The others keep a quorum of their own.
    Safe { remain: usize, up: usize, need: usize },
    /// The others cannot decide any more.
    Lost { remain: usize, up: usize, need: usize },
}

/// A majority of `voters`.
pub fn need(voters: usize) -> usize {
    voters / 2 + 1
}

pub fn cost(voters: Voters) -> Cost {
    if !voters.me {
        return Cost::None;
    }
    if voters.all <= 1 {
        return Cost::Alone;
    }
    let (remain, up) = (voters.all - 1, voters.up.saturating_sub(1));
    // The change itself commits under the new majority, which those who are up must meet.
    let need = need(remain);
    if up >= need { Cost::Safe { remain, up, need } } else { Cost::Lost { remain, up, need } }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "this agent has no vote"),
            Self::Alone => write!(f, "this is the only voter: it keeps its seat, start it first"),
            Self::Safe { remain, up, need } => {
                write!(f, "{remain} voters remain, {up} of them up, {need} needed: they keep a quorum")
            }
            Self::Lost { remain, up, need } => {
                write!(f, "{remain} voters would remain, {up} of them up, {need} needed: no quorum")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(all: usize, up: usize, expected: Cost) {
        assert_eq!(cost(Voters { all, up, me: true }), expected);
    }

    #[test]
    fn a_leave_is_safe_when_those_who_stay_are_a_majority_of_themselves() {
        check(1, 1, Cost::Alone);
        check(2, 2, Cost::Safe { remain: 1, up: 1, need: 1 });
        check(3, 3, Cost::Safe { remain: 2, up: 2, need: 2 });
        check(5, 4, Cost::Safe { remain: 4, up: 3, need: 3 });
    }

    #[test]
    fn a_leave_that_costs_the_quorum_is_known_beforehand() {
        check(2, 1, Cost::Lost { remain: 1, up: 0, need: 1 });
        check(3, 2, Cost::Lost { remain: 2, up: 1, need: 2 });
        check(5, 3, Cost::Lost { remain: 4, up: 2, need: 3 });
    }

    #[test]
    fn who_has_no_vote_costs_nothing() {
        assert_eq!(cost(Voters { all: 3, up: 2, me: false }), Cost::None);
    }
}
