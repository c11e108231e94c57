//! PURE: which faults there are, and a seed's order of them: all of the deck, in rounds of one to three
//! that overlap.

use std::fmt;
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// Who led last, as far as is known when it begins.
    Leader,
    /// By the dice.
    Any,
    /// One that did not lead.
    Follower,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    Kill(Whom),
    KillAll,
    Pause(Whom),
    /// The leader is with the fewer.
    LeaderInMinority,
    /// The leader is with the more, and some are cut off.
    LeaderInMajority,
    /// Each hears its neighbours alone; of three, two hear each other no more.
    Ring,
    /// It hears none of the others.
    Deaf(Whom),
    /// None of the others hears it.
    Mute(Whom),
    /// Of all packets so many are lost, the others late.
    Weather {
        loss_percent: u8,
        delay_ms: u8,
    },
    Jump {
        whom: Whom,
        seconds: i32,
    },
    FullDisk(Whom),
    SyncFails(Whom),
    SyncSlow {
        whom: Whom,
        ms: u16,
    },
    Restart(Whom),
    /// It leaves the pool and Raft's configuration, and comes back.
    Leave(Whom),
    /// An operator takes it out; it starts again and comes back.
    Remove(Whom),
    Transfer,
}

impl Fault {
    /// For counting.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::KillAll => "kill of all",
            Self::Pause(_) => "pause",
            Self::LeaderInMinority => "partition, leader in the minority",
            Self::LeaderInMajority => "partition, leader in the majority",
            Self::Ring => "ring",
            Self::Deaf(_) | Self::Mute(_) => "one-way partition",
            Self::Weather { .. } => "loss and delay",
            Self::Jump { .. } => "clock jump",
            Self::FullDisk(_) => "full disk",
            Self::SyncFails(_) => "failing sync",
            Self::SyncSlow { .. } => "slow sync",
            Self::Restart(_) => "orderly restart",
            Self::Leave(_) => "leave and rejoin",
            Self::Remove(_) => "removal and rejoin",
            Self::Transfer => "transfer of leadership",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// One fault of a round: when in the round it begins, and how long it lasts.
#[derive(Clone, Debug)]
pub(super) struct Strike {
    pub(super) fault: Fault,
    pub(super) after: Duration,
    pub(super) lasts: Duration,
}

/// Every kind of fault, the frequent ones with the leader and without.
fn deck(dice: &mut SmallRng) -> Vec<Fault> {
    use Whom::{Any, Follower, Leader};
    let one = |dice: &mut SmallRng| *[Leader, Any].choose(dice).expect("two");
    let mut jump = |forward: bool| {
        let seconds = dice.random_range(5..900);
        Fault::Jump { whom: one(dice), seconds: if forward { seconds } else { -seconds } }
    };
    let jumps = [jump(true), jump(false)];
    let weather = Fault::Weather { loss_percent: dice.random_range(1..10), delay_ms: dice.random_range(1..25) };
    let slow = [Leader, Follower].map(|whom| Fault::SyncSlow { whom, ms: dice.random_range(20..400) });
    let fixed = [
        Fault::Kill(Leader),
        Fault::Kill(Leader),
        Fault::Kill(Follower),
        Fault::KillAll,
        Fault::Pause(Leader),
        Fault::Pause(Any),
        Fault::LeaderInMinority,
        Fault::LeaderInMinority,
        Fault::LeaderInMajority,
        Fault::Ring,
        Fault::Deaf(Leader),
        Fault::Mute(Leader),
        Fault::FullDisk(Leader),
        Fault::FullDisk(Follower),
        Fault::SyncFails(one(dice)),
        Fault::Restart(Leader),
        Fault::Restart(Follower),
        Fault::Leave(one(dice)),
        Fault::Remove(one(dice)),
        Fault::Transfer,
        Fault::Transfer,
        weather,
    ];
    fixed.into_iter().chain(jumps).chain(slow).collect()
}

/// The whole deck once, shuffled, in rounds.
pub(super) fn rounds(dice: &mut SmallRng) -> Vec<Vec<Strike>> {
    let mut cards = deck(dice);
    cards.shuffle(dice);
    let mut rounds = Vec::new();
    while !cards.is_empty() {
        let count = [1, 2, 2, 3].choose(dice).copied().unwrap_or(1).min(cards.len());
        let strike = |fault| Strike {
            fault,
            after: Duration::from_millis(dice.random_range(0..700)),
            lasts: Duration::from_millis(dice.random_range(200..2_200)),
        };
        rounds.push(cards.split_off(cards.len() - count).into_iter().map(strike).collect());
    }
    rounds
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_seed_is_an_order_of_the_whole_deck() {
        let told = |seed| format!("{:?}", rounds(&mut SmallRng::seed_from_u64(seed)));
        assert_eq!(told(1), told(1));
        assert_ne!(told(1), told(2));
        for name in ["KillAll", "Ring", "Deaf", "Mute", "Jump", "FullDisk", "SyncFails", "SyncSlow", "Leave", "Remove"]
        {
            assert!(told(3).contains(name), "{name}");
        }
    }
}
