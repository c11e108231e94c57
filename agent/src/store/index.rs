//! The modify index of every catalog topic, per table and per name.
//!
//! What is not there has no row of its own: it answers the index of the last disappearance, or of its
//! table, which is what Consul does, so that an index never goes back and names are not kept for ever.

use serde::{Deserialize, Serialize};

use super::command::CheckStatus;

/// The topics without a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableIndexes {
    pub(super) nodes: u64,
    pub(super) services: u64,
    /// Any of the catalog.
    pub(super) catalog: u64,
    /// Any check.
    pub(super) checks: u64,
    /// By state: passing, warning, critical.
    pub(super) states: [u64; 3],
    /// When a node last disappeared.
    pub(super) node_gone: u64,
    /// When a service last lost its last instance.
    pub(super) service_gone: u64,
}

/// The topics of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeIndexes {
    /// The node with its services.
    pub(super) node: u64,
    pub(super) checks: u64,
    pub(super) health: u64,
}

/// The topics of one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServiceIndexes {
    /// The instances with their nodes.
    pub(super) nodes: u64,
    pub(super) checks: u64,
    pub(super) health: u64,
}

impl TableIndexes {
    pub(super) fn state(&mut self, status: CheckStatus) -> &mut u64 {
        &mut self.states[slot(status)]
    }

    pub(super) fn of_state(&self, status: Option<CheckStatus>) -> u64 {
        status.map_or(self.checks, |status| self.states[slot(status)])
    }
}

fn slot(status: CheckStatus) -> usize {
    match status {
        CheckStatus::Passing => 0,
        CheckStatus::Warning => 1,
        CheckStatus::Critical => 2,
    }
}
