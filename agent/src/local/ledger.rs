//! PURE: what this node claims of itself, and which of it the catalog is known to hold.
//!
//! One entry so far, the node's own; services and checks join it with their own marks.

use crate::store::command::NodeFields;

#[derive(Clone, Debug)]
pub struct Ledger {
    node: NodeFields,
    is_node_in_sync: bool,
}

/// What a mark is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    Node,
}

impl Ledger {
    /// Nothing is known to be in the catalog.
    pub fn new(node: NodeFields) -> Self {
        Self { node, is_node_in_sync: false }
    }

    pub fn node(&self) -> &NodeFields {
        &self.node
    }

    /// The catalog was seen or made to hold the claim.
    pub fn mark_in_sync(&mut self, claim: Claim) {
        match claim {
            Claim::Node => self.is_node_in_sync = true,
        }
    }

    /// The catalog was seen without the claim, or may be.
    pub fn mark_out_of_sync(&mut self, claim: Claim) {
        match claim {
            Claim::Node => self.is_node_in_sync = false,
        }
    }

    pub fn is_in_sync(&self, claim: Claim) -> bool {
        match claim {
            Claim::Node => self.is_node_in_sync,
        }
    }
}
