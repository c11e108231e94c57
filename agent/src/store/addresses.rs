//! Who is at an address: the reverse of the catalog, for questions that begin with one.
//!
//! Made of the rows as they come and go, never written down: a snapshot's rows bring it back.

use std::net::IpAddr;

use imbl::OrdSet;

use super::catalog::Name;

/// In the order of their names, as Consul meets them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Addresses {
    nodes: OrdSet<(IpAddr, Name)>,
    /// Services with an address of their own, by node and ID.
    services: OrdSet<(IpAddr, Name, Name)>,
}

impl Addresses {
    /// A node is no longer at `was` but at `is`.
    pub(super) fn move_node(&mut self, name: &Name, was: Option<IpAddr>, is: Option<IpAddr>) {
        if was == is {
            return;
        }
        if let Some(ip) = was {
            self.nodes.remove(&(ip, name.clone()));
        }
        if let Some(ip) = is {
            self.nodes.insert((ip, name.clone()));
        }
    }

    /// The same of a service.
    pub(super) fn move_service(&mut self, node: &Name, id: &Name, was: Option<IpAddr>, is: Option<IpAddr>) {
        if was == is {
            return;
        }
        if let Some(ip) = was {
            self.services.remove(&(ip, node.clone(), id.clone()));
        }
        if let Some(ip) = is {
            self.services.insert((ip, node.clone(), id.clone()));
        }
    }

    pub(super) fn node_at(&self, ip: IpAddr) -> Option<&Name> {
        self.nodes.range((ip, Name::from(""))..).next().filter(|(at, _)| *at == ip).map(|(_, name)| name)
    }

    /// Node and ID.
    pub(super) fn service_at(&self, ip: IpAddr) -> Option<(&Name, &Name)> {
        let from = (ip, Name::from(""), Name::from(""));
        self.services.range(from..).next().filter(|(at, ..)| *at == ip).map(|(_, node, id)| (node, id))
    }
}
