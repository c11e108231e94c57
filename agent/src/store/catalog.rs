//! Nodes, services and checks: what a registration changes. Reading them is in `health.rs`.
//!
//! Names are looked up in lower case, as Consul does; they are shown as they were registered.
//! A write that changes nothing changes no index. A refused one changes nothing.

use std::sync::Arc;

use imbl::OrdMap;

use super::addresses::Addresses;
use super::changes::{Changes, Topic, fold};
use super::command::{CheckFields, CheckStatus, Deregistration, NodeFields, Outcome, Registration, ServiceFields};
use super::index::{NodeIndexes, ServiceIndexes, TableIndexes};
use super::query::{Check, Node, Service};

/// The check that says what gossip knows of a node.
pub const SERF_HEALTH: &str = "serfHealth";

/// A folded name.
pub(super) type Name = Arc<str>;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct NodeRow {
    pub(super) node: Arc<Node>,
    pub(super) services: OrdMap<Name, Arc<Service>>,
    pub(super) checks: OrdMap<Name, Arc<Check>>,
    pub(super) indexes: NodeIndexes,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ServiceRow {
    /// By node and service ID.
    pub(super) instances: OrdMap<(Name, Name), Arc<Service>>,
    pub(super) indexes: ServiceIndexes,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Catalog {
    pub(super) nodes: OrdMap<Name, Arc<NodeRow>>,
    pub(super) services: OrdMap<Name, Arc<ServiceRow>>,
    /// Node IDs in lower case, to folded names.
    pub(super) node_ids: OrdMap<Name, Name>,
    pub(super) addresses: Addresses,
    pub(super) indexes: TableIndexes,
}

impl Catalog {
    pub(super) fn register(&mut self, index: u64, registration: Registration, changes: &mut Changes) -> Outcome {
        if let Err(reason) = self.may_register(&registration) {
            return Outcome::Refused(reason);
        }
        let Registration { node, skip_node_update, service, checks } = registration;
        let name: Name = fold(&node.name).into();
        let mut edit = Edit { catalog: self, changes, index };
        if !(skip_node_update && edit.catalog.nodes.contains_key(&*name)) {
            edit.put_node(&name, node);
        }
        if let Some(service) = service {
            edit.put_service(&name, service);
        }
        for check in checks {
            edit.put_check(&name, check);
        }
        Outcome::Done
    }

    pub(super) fn deregister(&mut self, index: u64, what: Deregistration, changes: &mut Changes) -> Outcome {
        let mut edit = Edit { catalog: self, changes, index };
        match what {
            Deregistration::Node { node } => edit.remove_node(&fold(&node).into()),
            Deregistration::Service { node, service_id } => {
                edit.remove_service(&fold(&node).into(), &fold(&service_id));
            }
            Deregistration::Check { node, check_id } => edit.remove_check(&fold(&node).into(), &fold(&check_id)),
        }
        Outcome::Done
    }

    fn may_register(&self, registration: &Registration) -> Result<(), String> {
        let node = &registration.node;
        let name = fold(&node.name);
        let row = self.nodes.get(&*name);
        if !(registration.skip_node_update && row.is_some()) {
            self.may_name(node, &name).map_err(|reason| format!("failed inserting node: {reason}"))?;
        }
        let is_here = |id: &str| {
            let id = fold(id);
            registration.service.as_ref().is_some_and(|s| fold(&s.id) == id)
                || row.is_some_and(|row| row.services.contains_key(&*id))
        };
        match registration.checks.iter().find(|c| !c.service_id.is_empty() && !is_here(&c.service_id)) {
            None => Ok(()),
            Some(_) => Err(format!(
                "failed inserting check: Missing service registration on node {:?}",
                registration.node.name
            )),
        }
    }

    /// Whether a node of this name and ID may take the place of another: only of one that gossip
    /// does not vouch for.
    fn may_name(&self, node: &NodeFields, name: &str) -> Result<(), String> {
        let Some(row) = self.nodes.get(name) else { return Ok(()) };
        let holder = &row.node.fields;
        if node.id.is_empty() || holder.id.eq_ignore_ascii_case(&node.id) {
            return Ok(());
        }
        let is_vouched =
            row.checks.get(&*fold(SERF_HEALTH)).is_some_and(|check| check.fields.status != CheckStatus::Critical);
        // Consul: a node registered without an ID may get one, unless another node is renamed to it.
        let is_rename = self.node_ids.contains_key(&*fold(&node.id));
        if !is_vouched || (holder.id.is_empty() && !is_rename) {
            return Ok(());
        }
        // Consul's words, with the address only where it has it.
        let from = if is_rename { format!(" ({})", node.address) } else { String::new() };
        Err(format!(
            "Error while renaming Node ID: {:?}{from}: Node name {} is reserved by node {} with name {} ({})",
            node.id, node.name, holder.id, holder.name, holder.address
        ))
    }
}

/// One command's changes to the catalog, each told to those who wait.
struct Edit<'a> {
    catalog: &'a mut Catalog,
    changes: &'a mut Changes,
    index: u64,
}

impl Edit<'_> {
    fn put_node(&mut self, name: &Name, fields: NodeFields) {
        let mut create_index = self.index;
        let id: Name = fold(&fields.id).into();
        if !id.is_empty()
            && let Some(other) = self.catalog.node_ids.get(&*id).filter(|other| *other != name).cloned()
        {
            // Consul: the ID is the node, so this is a new name for it; what was on it goes.
            create_index = self.catalog.nodes.get(&*other).map_or(create_index, |row| row.node.create_index);
            self.remove_node(&other);
        } else if let Some(row) = self.catalog.nodes.get(&**name) {
            create_index = row.node.create_index;
        }
        if let Some(row) = self.catalog.nodes.get(&**name) {
            if row.node.fields == fields {
                return;
            }
            let old_id = fold(&row.node.fields.id);
            if *old_id != *id {
                self.catalog.node_ids.remove(&*old_id);
            }
        }
        if !id.is_empty() {
            self.catalog.node_ids.insert(id, Arc::clone(name));
        }
        let node = Arc::new(Node { fields, create_index, modify_index: self.index });
        let was = self.catalog.nodes.get(&**name).and_then(|row| row.node.ip());
        self.catalog.addresses.move_node(name, was, node.ip());
        match self.catalog.nodes.get_mut(&**name) {
            Some(row) => Arc::make_mut(row).node = node,
            None => {
                // Until something is said of it, its checks are as they were when it was not there.
                let indexes = NodeIndexes { checks: self.catalog.indexes.checks, ..NodeIndexes::default() };
                let row = NodeRow { node, services: OrdMap::new(), checks: OrdMap::new(), indexes };
                self.catalog.nodes.insert(Arc::clone(name), Arc::new(row));
            }
        }
        self.node_changed(name);
        for service in self.services_on(name) {
            self.instances_changed(&service);
        }
    }

    fn put_service(&mut self, node: &Name, fields: ServiceFields) {
        let id: Name = fold(&fields.id).into();
        let service: Name = fold(&fields.name).into();
        let old = self.catalog.nodes.get(&**node).and_then(|row| row.services.get(&*id)).cloned();
        if old.as_ref().is_some_and(|old| old.fields == fields) {
            return;
        }
        let is_listed_anew =
            old.as_ref().is_none_or(|old| old.fields.tags != fields.tags || old.fields.name != fields.name);
        let is_renamed = old.as_ref().is_some_and(|old| *fold(&old.fields.name) != *service);
        if let Some(old) = old.as_ref().filter(|_| is_renamed) {
            self.forget_instance(&fold(&old.fields.name).into(), node, &id);
        }
        let was = old.as_ref().and_then(|old| old.ip());
        let create_index = old.map_or(self.index, |old| old.create_index);
        let Some(row) = self.catalog.nodes.get_mut(&**node) else { return };
        let row = Arc::make_mut(row);
        let name = row.node.fields.name.clone();
        let record = Arc::new(Service { node: name, fields, create_index, modify_index: self.index });
        row.services.insert(Arc::clone(&id), Arc::clone(&record));
        self.catalog.addresses.move_service(node, &id, was, record.ip());
        if !self.catalog.services.contains_key(&*service) {
            let indexes = ServiceIndexes { checks: self.catalog.indexes.checks, ..ServiceIndexes::default() };
            self.catalog.services.insert(Arc::clone(&service), Arc::new(ServiceRow { indexes, ..Default::default() }));
        }
        if let Some(row) = self.catalog.services.get_mut(&*service) {
            Arc::make_mut(row).instances.insert((Arc::clone(node), Arc::clone(&id)), record);
        }
        self.node_services_changed(node);
        self.instances_changed(&service);
        if is_listed_anew {
            self.names_changed();
        }
        if is_renamed {
            self.rename_checks(node, &id);
        }
    }

    /// The checks follow the name of their service. Consul: they do not follow its tags.
    fn rename_checks(&mut self, node: &Name, service_id: &str) {
        let Some(row) = self.catalog.nodes.get(&**node) else { return };
        let checks: Vec<_> = row.checks.values().filter(|check| check.is_of(service_id)).cloned().collect();
        for check in checks {
            self.put_check(node, check.fields.clone());
        }
    }

    fn put_check(&mut self, node: &Name, fields: CheckFields) {
        let id: Name = fold(&fields.id).into();
        let Some(row) = self.catalog.nodes.get(&**node) else { return };
        let service = row.services.get(&*fold(&fields.service_id));
        let check = Check {
            node: row.node.fields.name.clone(),
            service_name: service.map(|s| s.fields.name.clone()).unwrap_or_default(),
            service_tags: service.map(|s| s.fields.tags.clone()).unwrap_or_default(),
            create_index: self.index,
            modify_index: self.index,
            fields,
        };
        let old = row.checks.get(&*id).cloned();
        let check = match &old {
            Some(old) if old.is_same(&check) => return,
            Some(old) => Check { create_index: old.create_index, ..check },
            None => check,
        };
        let check = Arc::new(check);
        if let Some(row) = self.catalog.nodes.get_mut(&**node) {
            Arc::make_mut(row).checks.insert(id, Arc::clone(&check));
        }
        if let Some(old) = old {
            self.check_changed(node, &old);
        }
        self.check_changed(node, &check);
    }

    fn remove_node(&mut self, name: &Name) {
        let Some(row) = self.catalog.nodes.get(&**name).cloned() else { return };
        for id in row.services.keys() {
            self.remove_service(name, id);
        }
        for id in row.checks.keys() {
            self.remove_check(name, id);
        }
        self.catalog.nodes.remove(&**name);
        self.catalog.addresses.move_node(name, row.node.ip(), None);
        let id = fold(&row.node.fields.id);
        if self.catalog.node_ids.get(&*id) == Some(name) {
            self.catalog.node_ids.remove(&*id);
        }
        self.catalog.indexes.node_gone = self.index;
        self.node_changed(name);
    }

    fn remove_service(&mut self, node: &Name, id: &str) {
        let Some(row) = self.catalog.nodes.get_mut(&**node) else { return };
        if !row.services.contains_key(id) {
            return;
        }
        let checks: Vec<Name> = row.checks.iter().filter(|(_, c)| c.is_of(id)).map(|(id, _)| Arc::clone(id)).collect();
        for check in checks {
            self.remove_check(node, &check);
        }
        let Some(row) = self.catalog.nodes.get_mut(&**node) else { return };
        let Some(gone) = Arc::make_mut(row).services.remove(id) else { return };
        self.catalog.addresses.move_service(node, &id.into(), gone.ip(), None);
        self.node_services_changed(node);
        self.forget_instance(&fold(&gone.fields.name).into(), node, &id.into());
        self.names_changed();
    }

    /// Takes an instance from its service's row, and the row when it was the last.
    fn forget_instance(&mut self, service: &Name, node: &Name, id: &Name) {
        let Some(row) = self.catalog.services.get_mut(&**service) else { return };
        let row = Arc::make_mut(row);
        row.instances.remove(&(Arc::clone(node), Arc::clone(id)));
        let is_last = row.instances.is_empty();
        self.instances_changed(service);
        if is_last {
            self.catalog.services.remove(&**service);
            self.catalog.indexes.service_gone = self.index;
        }
    }

    fn remove_check(&mut self, node: &Name, id: &str) {
        let Some(row) = self.catalog.nodes.get_mut(&**node) else { return };
        if !row.checks.contains_key(id) {
            return;
        }
        let Some(gone) = Arc::make_mut(row).checks.remove(id) else { return };
        self.check_changed(node, &gone);
    }

    fn services_on(&self, node: &Name) -> Vec<Name> {
        let Some(row) = self.catalog.nodes.get(&**node) else { return Vec::new() };
        let mut names: Vec<Name> = row.services.values().map(|s| fold(&s.fields.name).into()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The node's own record changed, came or went.
    fn node_changed(&mut self, node: &Name) {
        self.catalog.indexes.nodes = self.index;
        self.changes.touch(Topic::Nodes);
        self.node_services_changed(node);
    }

    /// The node's own record or what runs on it changed.
    fn node_services_changed(&mut self, node: &Name) {
        self.catalog.indexes.catalog = self.index;
        if let Some(row) = self.catalog.nodes.get_mut(&**node) {
            let indexes = &mut Arc::make_mut(row).indexes;
            (indexes.node, indexes.health) = (self.index, self.index);
        }
        self.changes.touch(Topic::Catalog);
        self.changes.touch(Topic::Node(node.to_string()));
        self.changes.touch(Topic::NodeHealth(node.to_string()));
    }

    /// A service's instances or their nodes changed.
    fn instances_changed(&mut self, service: &Name) {
        if let Some(row) = self.catalog.services.get_mut(&**service) {
            let indexes = &mut Arc::make_mut(row).indexes;
            (indexes.nodes, indexes.health) = (self.index, self.index);
        }
        self.changes.touch(Topic::ServiceNodes(service.to_string()));
        self.changes.touch(Topic::ServiceHealth(service.to_string()));
    }

    /// The list of services and their tags changed.
    fn names_changed(&mut self) {
        self.catalog.indexes.services = self.index;
        self.changes.touch(Topic::Services);
    }

    fn check_changed(&mut self, node: &Name, check: &Check) {
        let status = check.fields.status;
        self.catalog.indexes.catalog = self.index;
        self.catalog.indexes.checks = self.index;
        *self.catalog.indexes.state(status) = self.index;
        if let Some(row) = self.catalog.nodes.get_mut(&**node) {
            let indexes = &mut Arc::make_mut(row).indexes;
            (indexes.checks, indexes.health) = (self.index, self.index);
        }
        self.changes.touch(Topic::Catalog);
        self.changes.touch(Topic::Checks(None));
        self.changes.touch(Topic::Checks(Some(status)));
        self.changes.touch(Topic::NodeChecks(node.to_string()));
        self.changes.touch(Topic::NodeHealth(node.to_string()));
        let services = match &*check.service_name {
            // A check of the node is part of the health of all that runs on it.
            "" => self.services_on(node),
            name => vec![fold(name).into()],
        };
        for service in services {
            let of_node = check.service_name.is_empty();
            if let Some(row) = self.catalog.services.get_mut(&*service) {
                let indexes = &mut Arc::make_mut(row).indexes;
                indexes.health = self.index;
                if !of_node {
                    indexes.checks = self.index;
                }
            }
            self.changes.touch(Topic::ServiceHealth(service.to_string()));
            if !of_node {
                self.changes.touch(Topic::ServiceChecks(service.to_string()));
            }
        }
    }
}

impl Check {
    /// Equal but for the indexes.
    fn is_same(&self, other: &Self) -> bool {
        self.fields == other.fields
            && self.node == other.node
            && self.service_name == other.service_name
            && self.service_tags == other.service_tags
    }

    /// Whether it is a check of the service of this ID, in any case.
    pub(super) fn is_of(&self, service_id: &str) -> bool {
        self.fields.service_id == service_id || fold(&self.fields.service_id) == fold(service_id)
    }
}
