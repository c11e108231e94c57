//! What clients did to one key and what they were told, with the times of both.

use std::collections::BTreeMap;
use std::fmt;

/// What a key holds, as written: every write of a run has a value of its own. None: there is no such key.
pub(super) type Held = Option<u64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Read,
    Write(u64),
    /// `?cas`: written only where the key holds `expects`.
    Cas {
        expects: Held,
        value: u64,
    },
    /// `?cas` too: a key that is not there counts as deleted.
    Delete {
        expects: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// What a read found.
    Found(Held),
    /// A write without a condition is done.
    Done,
    /// Whether the condition held.
    Was(bool),
    /// Nobody can tell: it takes effect at any time after it began, or never.
    Unknown,
}

/// One request and its answer. One that provably changed nothing is not in a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) client: usize,
    /// Who was asked.
    pub(super) agent: usize,
    pub(super) action: Action,
    pub(super) outcome: Outcome,
    /// Microseconds since the run began.
    pub(super) began: u64,
    /// For an unknown outcome `u64::MAX`.
    pub(super) ended: u64,
}

/// By key.
pub(super) type History = BTreeMap<String, Vec<Operation>>;

struct Shown(Held);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{value}"),
            None => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |micros: u64| std::time::Duration::from_micros(micros).as_secs_f64();
        write!(f, "{:10.6} s to ", seconds(self.began))?;
        match self.ended {
            u64::MAX => f.write_str("         ?  ")?,
            ended => write!(f, "{:10.6} s", seconds(ended))?,
        }
        write!(f, "  client {} at agent {}: ", self.client, self.agent)?;
        match self.action {
            Action::Read => f.write_str("read")?,
            Action::Write(value) => write!(f, "write {value}")?,
            Action::Cas { expects, value } => write!(f, "write {value} over {}", Shown(expects))?,
            Action::Delete { expects } => write!(f, "delete {expects}")?,
        }
        match self.outcome {
            Outcome::Found(held) => write!(f, " -> {}", Shown(held)),
            Outcome::Done => f.write_str(" -> done"),
            Outcome::Was(held) => write!(f, " -> {held}"),
            Outcome::Unknown => f.write_str(" -> nobody knows"),
        }
    }
}
