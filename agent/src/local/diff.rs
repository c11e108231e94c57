//! PURE: the ledger against the catalog's entry of this node, to marks and commands.

use super::ledger::{Claim, Ledger};
use crate::store::command::{Command, NodeFields, Registration};
use crate::store::query::NodeHealth;

/// A claim to push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    pub claim: Claim,
    pub command: Command,
}

/// Marks the ledger by what the catalog holds (none: it does not know this node).
pub fn compare(ledger: &mut Ledger, catalog: Option<&NodeHealth>) {
    let is_there = catalog.is_some_and(|there| is_same(ledger.node(), &there.node.fields));
    if is_there {
        ledger.mark_in_sync(Claim::Node);
    } else {
        ledger.mark_out_of_sync(Claim::Node);
    }
}

/// What has to be written to make the catalog hold every claim, in this order.
pub fn pushes(ledger: &Ledger) -> Vec<Push> {
    let mut pushes = Vec::new();
    if !ledger.is_in_sync(Claim::Node) {
        let registration = Registration { node: ledger.node().clone(), ..Registration::default() };
        pushes.push(Push { claim: Claim::Node, command: registration.into() });
    }
    pushes
}

/// Names and IDs are compared as the catalog looks them up.
fn is_same(claimed: &NodeFields, there: &NodeFields) -> bool {
    claimed.name.eq_ignore_ascii_case(&there.name)
        && claimed.id.eq_ignore_ascii_case(&there.id)
        && claimed.address == there.address
        && claimed.datacenter == there.datacenter
        && claimed.tagged_addresses == there.tagged_addresses
        && claimed.meta == there.meta
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::query::Node;

    fn claimed() -> NodeFields {
        NodeFields {
            name: "one".to_owned(),
            id: "40e4a748".to_owned(),
            address: "10.0.0.1".to_owned(),
            datacenter: "dc1".to_owned(),
            tagged_addresses: [("lan".to_owned(), "10.0.0.1".to_owned())].into(),
            meta: [("consul-network-segment".to_owned(), String::new())].into(),
        }
    }

    #[track_caller]
    fn check(there: Option<NodeFields>, is_pushed: bool) {
        let there = there.map(|fields| NodeHealth {
            node: Arc::new(Node { fields, create_index: 1, modify_index: 1 }),
            services: Vec::new(),
            checks: Vec::new(),
        });
        // Whatever was known before, only the catalog counts.
        for mark in [Ledger::mark_in_sync, Ledger::mark_out_of_sync] {
            let mut ledger = Ledger::new(claimed());
            mark(&mut ledger, Claim::Node);
            compare(&mut ledger, there.as_ref());
            assert_eq!(ledger.is_in_sync(Claim::Node), !is_pushed);
            let pushed = pushes(&ledger);
            assert_eq!(pushed.len(), usize::from(is_pushed));
            for push in pushed {
                assert!(matches!(push.command, Command::Register(r) if r.node == claimed() && !r.skip_node_update));
            }
        }
    }

    #[test]
    fn a_node_is_pushed_when_the_catalog_has_it_differently() {
        check(None, true);
        check(Some(claimed()), false);
        check(Some(NodeFields { name: "ONE".to_owned(), ..claimed() }), false);
        check(Some(NodeFields { address: "10.0.0.2".to_owned(), ..claimed() }), true);
        check(Some(NodeFields { meta: Default::default(), ..claimed() }), true);
        check(Some(NodeFields { tagged_addresses: Default::default(), ..claimed() }), true);
        check(Some(NodeFields { id: String::new(), ..claimed() }), true);
    }
}
