//! The store at its boundary: commands in, answers and indexes out.

mod formats;
mod laws;
mod on_nodes;
mod stories;

use super::command::{CheckFields, CheckStatus, Command, KvCommand, NodeFields, Registration, ServiceFields};
use super::query::{Answer, Query};
use super::{Changes, Outcome, Store};
use crate::moment::WallTime;

fn set(key: &str, value: &str) -> Command {
    Command::Kv(KvCommand::Set { key: key.to_owned(), value: value.into(), flags: 0 })
}

fn delete(key: &str) -> Command {
    Command::Kv(KvCommand::Delete { key: key.to_owned() })
}

fn delete_tree(prefix: &str) -> Command {
    Command::Kv(KvCommand::DeleteTree { prefix: prefix.to_owned() })
}

fn node(name: &str, address: &str) -> Registration {
    let node = NodeFields { name: name.to_owned(), address: address.to_owned(), ..NodeFields::default() };
    Registration { node, ..Registration::default() }
}

fn service(id: &str, name: &str, tags: &[&str]) -> ServiceFields {
    let tags = tags.iter().map(ToString::to_string).collect();
    ServiceFields { id: id.to_owned(), name: name.to_owned(), tags, weights: (1, 1), ..ServiceFields::default() }
}

fn check(id: &str, service_id: &str, status: CheckStatus) -> CheckFields {
    CheckFields {
        id: id.to_owned(),
        name: id.to_owned(),
        service_id: service_id.to_owned(),
        status,
        ..CheckFields::default()
    }
}

/// A store and the index of its last command.
#[derive(Clone, Debug, Default)]
struct World {
    store: Store,
    index: u64,
}

impl World {
    fn at(index: u64) -> Self {
        Self { store: Store::default(), index: index - 1 }
    }

    /// Applies the next command, a millisecond after the last.
    fn apply(&mut self, command: Command) -> (Outcome, Changes) {
        self.index += 1;
        let at = WallTime::from_micros(i64::try_from(self.index).expect("small") * 1000);
        self.store.apply(self.index, at, command)
    }

    fn register(&mut self, registration: Registration) -> Outcome {
        self.apply(registration.into()).0
    }

    fn answer(&self, query: &Query) -> Answer {
        self.store.query(query).1
    }
}

fn kv_get(key: &str) -> Query {
    Query::KvGet { key: key.to_owned() }
}

fn kv_list(prefix: &str) -> Query {
    Query::KvList { prefix: prefix.to_owned() }
}

fn kv_keys(prefix: &str, separator: &str) -> Query {
    Query::KvKeys { prefix: prefix.to_owned(), separator: separator.to_owned() }
}
