//! Replicated state: applies commands in log order, deterministically; cheap to clone.
//!
//! `raft` applies and publishes, `backend` queries. A clone is a view that never changes.
//! Nothing here knows time but the entry's, nor who asks.

mod addresses;
mod autopilot;
mod catalog;
pub mod changes;
pub mod command;
mod health;
mod index;
mod kv;
pub mod query;
mod snapshot;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};

pub use self::catalog::SERF_HEALTH;
pub use self::changes::{Changes, Topic};
use self::command::{Command, Outcome};
use self::query::{Answer, Query};
use crate::moment::WallTime;

/// The state after some entry of the log. A clone is a view that never changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Store {
    /// The latest entry's, in microseconds; an entry stamped earlier counts as this late.
    time: i64,
    catalog: catalog::Catalog,
    kv: kv::Kv,
    autopilot: autopilot::Autopilot,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("read the state snapshot")]
    Io(#[from] io::Error),
    /// Written by a later version: nothing can be done with it here.
    #[error("the state snapshot has format {0}, which this version does not read")]
    Format(u16),
    #[error("the state snapshot is damaged: {0}")]
    Damaged(String),
}

impl Store {
    /// Applies the command of log entry `index` (Consul's count: openraft's plus 1), stamped `at`.
    /// Changes name what it touched; they are empty when nothing was.
    pub fn apply(&mut self, index: u64, at: WallTime, command: Command) -> (Outcome, Changes) {
        let mut changes = Changes::default();
        self.time = self.time.max(at.micros());
        let outcome = match command {
            Command::Register(registration) => self.catalog.register(index, *registration, &mut changes),
            Command::Deregister(what) => self.catalog.deregister(index, what, &mut changes),
            Command::Kv(command) => self.kv.apply(kv::At { index, time: self.time }, command, &mut changes),
            Command::Autopilot(command) => self.autopilot.apply(index, *command, &mut changes),
        };
        (outcome, changes)
    }

    /// The index of the answer to `query` (at least 1), without the answer where that costs less.
    pub fn index(&self, query: &Query) -> u64 {
        match Topic::from(query) {
            Topic::KvKey(_) | Topic::KvPrefix(_) | Topic::Autopilot => self.query(query).0,
            topic => self.catalog.index_of(&topic).max(1),
        }
    }

    /// The answer and the index it is good for (at least 1).
    pub fn query(&self, query: &Query) -> (u64, Answer) {
        let (index, answer) = match query {
            Query::KvGet { key } => {
                let (index, entry) = self.kv.get(key);
                (index, Answer::KvPair(entry))
            }
            Query::KvList { prefix } => {
                let (index, entries) = self.kv.list(prefix);
                (index, Answer::KvPairs(entries))
            }
            Query::KvKeys { prefix, separator } => {
                let (index, keys) = self.kv.keys(prefix, separator);
                (index, Answer::KvKeys(keys))
            }
            Query::Autopilot => {
                let (index, entry) = self.autopilot.get();
                (index, Answer::Autopilot(entry))
            }
            _ => (self.catalog.index_of(&query.into()), self.catalog.query(query)),
        };
        (index.max(1), answer)
    }

    /// Writes the whole state, record by record.
    pub fn dump(&self, out: impl Write) -> io::Result<()> {
        snapshot::dump(self, out)
    }

    /// Reads what [`Store::dump`] wrote. After a view made this way is published, those who wait
    /// must be told [`Changes::everything`].
    pub fn load(input: impl Read) -> Result<Self, LoadError> {
        snapshot::load(input)
    }
}
