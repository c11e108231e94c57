//! Registrations in and out: what is registered by whom, so that files win over requests, a reload takes out
//! only what files put in, and what requests put in is kept on disk. Every way in ends in the ledger.
//!
//! Called by edges (requests) and by the root (files), which need not wait for disks: see [`Local::apart`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use shared::event::{CheckEvent, ServiceEvent};
use shared::quote::Quoted;
use tracing::{debug, error, info, warn};

use super::files::{Files, Found, State};
use super::telling::About;
use super::{Local, tell_unfit};
use crate::checks::spec::{Check, DEREGISTER_AFTER_MIN, INTERVAL_MIN};
use crate::clock;
use crate::config::Service;
use crate::moment::Moment;
use crate::store::command::CheckStatus;

/// Who registered something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A configuration file.
    File,
    /// A request, in this run or one before.
    Request,
}

/// Nothing was changed, in every case.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(
        "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"
    )]
    Scripts,
    /// For a check of it.
    #[error("ServiceID {} does not exist", Quoted(.0))]
    NoService(String),
    /// For maintenance of it.
    #[error("No service registered with ID {}", Quoted(.0))]
    Unregistered(String),
    #[error("CheckID {} does not have associated TTL", Quoted(.0))]
    NoTtl(String),
    #[error("failed to persist {0:?}: {1}")]
    Unwritten(String, io::Error),
}

#[derive(Debug, Default)]
pub(super) struct Registry {
    /// By their IDs.
    services: BTreeMap<String, Entry<Service>>,
    checks: BTreeMap<String, Entry<Check>>,
}

/// How a check is before it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    AsDefined,
    /// As the one in whose place it comes, if there was one.
    AsBefore,
    /// Whatever it was: nobody has looked for a while.
    Critical,
}

#[derive(Debug)]
struct Entry<T> {
    source: Source,
    what: T,
}

impl Local {
    /// Runs what may write files where nobody waits for a disk.
    pub async fn apart<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> T + Send + 'static) -> Option<T> {
        if self.0.settings.files.is_none() {
            return Some(work(self));
        }
        // One at a time, as the registry's lock has it anyway: a crowd shall wait here, not each on a thread.
        let _turn = self.0.turn.acquire().await.ok()?;
        let local = self.clone();
        tokio::task::spawn_blocking(move || work(&local)).await.ok()
    }

    /// At the start: what files define, then what requests registered before. A refusal ends the start.
    pub fn open(&self, services: &[Service], checks: &[Check]) -> Result<(), String> {
        let states = self.restored_states();
        self.define(services, checks, true)?;
        self.restore();
        let registry = self.registry();
        for state in states {
            let is_known = registry.checks.get(&state.id).is_some_and(|entry| !entry.what.ttl.is_zero());
            match is_known && state.is_good(clock::wall()) {
                true => self.judge(&state.id, state.status, state.output.clone()),
                false => {
                    debug!(target: "agent", check = %state.id, "check state expired, not restoring");
                    self.forget(|files| files.forget_state(&state.id));
                }
            }
        }
        Ok(())
    }

    /// After a reload: what files define now, instead of what they did. A refusal changes nothing.
    pub fn reload(&self, services: &[Service], checks: &[Check]) -> Result<(), String> {
        self.define(services, checks, false)
    }

    fn define(&self, services: &[Service], checks: &[Check], is_start: bool) -> Result<(), String> {
        let mut registry = self.registry();
        // Of two with one ID the later counts.
        let named: BTreeMap<&str, &Service> = services.iter().map(|one| (one.fields.id.as_str(), one)).collect();
        let of_requests = |id: &str| registry.services.get(id).is_some_and(|entry| entry.source == Source::Request);
        let kept = if is_start { self.services_on_disk() } else { BTreeSet::new() };
        for check in checks.iter().filter(|check| !check.service_id.is_empty()) {
            let id = check.service_id.as_str();
            if !(named.contains_key(id) || of_requests(id) || kept.contains(id)) {
                return Err(format!(
                    "Failed to register check '{}': {}",
                    check.name,
                    Refused::NoService(id.to_owned())
                ));
            }
        }
        let inner = named.values().flat_map(|service| &service.checks);
        let checked: BTreeSet<&str> = checks.iter().chain(inner).map(|check| check.id.as_str()).collect();
        let gone = |source: Source, is_named: bool| source == Source::File && !is_named;
        let old_services = registry.services.iter().filter(|(id, e)| gone(e.source, named.contains_key(id.as_str())));
        let old_services: Vec<_> = old_services.map(|(id, _)| id.clone()).collect();
        let old_checks = registry.checks.iter().filter(|(id, e)| gone(e.source, checked.contains(id.as_str())));
        let old_checks: Vec<_> = old_checks.map(|(id, _)| id.clone()).collect();
        for id in old_checks {
            self.take_out_check(&mut registry, &id);
        }
        for id in old_services {
            self.take_out_service(&mut registry, &id);
        }
        for service in named.into_values() {
            self.put_service(&mut registry, service.clone(), Source::File);
        }
        // A service that was defined before may be registered with the rest of what was kept.
        for check in checks {
            self.put_check(&mut registry, check.clone(), Source::File, Start::AsBefore);
        }
        drop(registry);
        self.changed();
        Ok(())
    }

    /// Registers a service with its checks, in place of one of the same ID, whose other checks stay unless
    /// they shall be `replaced`.
    pub fn register_service(&self, service: Service, replaced: bool) -> Result<(), Refused> {
        self.may_run(&service.checks)?;
        let mut registry = self.registry();
        self.keep(&registry, &service)?;
        if replaced {
            let is_new = |id: &str| service.checks.iter().any(|check| check.id == id);
            let of_it = registry.checks.iter().filter(|(id, e)| e.what.service_id == service.fields.id && !is_new(id));
            let old: Vec<_> = of_it.map(|(id, _)| id.clone()).collect();
            for id in old {
                self.take_out_check(&mut registry, &id);
            }
        }
        self.put_service(&mut registry, service, Source::Request);
        drop(registry);
        self.changed();
        Ok(())
    }

    /// Takes a service out with its checks; whether there was one.
    pub fn deregister_service(&self, id: &str) -> bool {
        let mut registry = self.registry();
        let was_there = self.take_out_service(&mut registry, id);
        drop(registry);
        if was_there {
            self.changed();
        }
        was_there
    }

    /// Registers a check, in place of one of the same ID.
    pub fn register_check(&self, check: Check) -> Result<(), Refused> {
        self.may_run(std::slice::from_ref(&check))?;
        let mut registry = self.registry();
        if !check.service_id.is_empty() && !registry.services.contains_key(&check.service_id) {
            return Err(Refused::NoService(check.service_id));
        }
        if let Some(files) = &self.0.settings.files {
            files.keep_check(&check).map_err(|problem| Refused::Unwritten(check.id.clone(), problem))?;
        }
        self.put_check(&mut registry, check, Source::Request, Start::AsDefined);
        drop(registry);
        self.changed();
        Ok(())
    }

    pub fn deregister_check(&self, id: &str) -> bool {
        let mut registry = self.registry();
        let was_there = self.take_out_check(&mut registry, id);
        drop(registry);
        if was_there {
            self.changed();
        }
        was_there
    }

    /// Takes a report of a check that waits for reports, and keeps it for a restart.
    pub fn renew(&self, id: &str, status: CheckStatus, output: String) -> Result<(), Refused> {
        let no_ttl = || Refused::NoTtl(id.to_owned());
        let runner = self.0.runner.get().ok_or_else(no_ttl)?;
        let output = runner.renew(id, status, output).ok_or_else(no_ttl)?;
        let Some(files) = &self.0.settings.files else { return Ok(()) };
        let registry = self.registry();
        let Some(ttl) = registry.checks.get(id).map(|entry| entry.what.ttl) else { return Ok(()) };
        let ttl = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX);
        let good_until = clock::wall().micros().saturating_add(ttl);
        if let Err(problem) = files.keep_state(&State { id: id.to_owned(), status, output, good_until }) {
            error!(target: "agent", check = %id, error = %problem, "failed to persist state for check");
        }
        Ok(())
    }

    /// Takes the node, or one service, out of answers or back. `reason` is for people.
    pub fn maintain(&self, service: Option<&str>, reason: Option<&str>) -> Result<(), Refused> {
        let check = Check::maintenance(service, reason.unwrap_or_default());
        if let Some(id) = service
            && self.ledger().services().get(id).is_none()
        {
            return Err(Refused::Unregistered(id.to_owned()));
        }
        let is_on = self.registry().checks.contains_key(&check.id);
        match (reason.is_some(), is_on, service) {
            (true, true, _) | (false, false, _) => return Ok(()),
            (true, false, _) => self.register_check(check)?,
            (false, true, _) => drop(self.deregister_check(&check.id)),
        }
        match (service, reason.is_some()) {
            (None, true) => info!(target: "agent", "Node entered maintenance mode"),
            (None, false) => info!(target: "agent", "Node left maintenance mode"),
            (Some(id), true) => info!(target: "agent", service = %id, "Service entered maintenance mode"),
            (Some(id), false) => info!(target: "agent", service = %id, "Service left maintenance mode"),
        }
        Ok(())
    }

    /// Takes out services with a check that has been critical for longer than it may be.
    pub(super) fn reap(&self, now: Moment) {
        let mut registry = self.registry();
        let is_over = |check: &Check, limit: Duration| {
            self.ledger().critical_since(&check.id).is_some_and(|since| now.since(since) > limit)
        };
        let of_service = registry.checks.values().map(|entry| &entry.what).filter(|check| !check.service_id.is_empty());
        let over = of_service.filter(|check| check.deregister_after().is_some_and(|limit| is_over(check, limit)));
        let over: Vec<_> = over.map(|check| (check.service_id.clone(), check.id.clone())).collect();
        for (service, check) in &over {
            if self.take_out_service(&mut registry, service) {
                let text = "deregistered service with critical health due to health check";
                info!(target: "agent", service = %service, check = %check, "{text}");
            }
        }
        drop(registry);
        if !over.is_empty() {
            self.changed();
        }
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On disk, all or nothing of what is new.
    fn keep(&self, registry: &Registry, service: &Service) -> Result<(), Refused> {
        let Some(files) = &self.0.settings.files else { return Ok(()) };
        let unwritten = |id: &str| {
            let id = id.to_owned();
            move |problem| Refused::Unwritten(id, problem)
        };
        let mut kept = Ok(());
        for check in &service.checks {
            kept = kept.and_then(|()| files.keep_check(check).map_err(unwritten(&check.id)));
        }
        // Last: should this agent be killed meanwhile, checks of no service are dropped at the next start, while a
        // service without its checks would pass.
        kept = kept.and_then(|()| files.keep_service(&service.fields).map_err(unwritten(&service.fields.id)));
        if kept.is_err() && !registry.services.contains_key(&service.fields.id) {
            self.forget(|files| files.forget_service(&service.fields.id));
            for check in service.checks.iter().filter(|check| !registry.checks.contains_key(&check.id)) {
                self.forget(|files| files.forget_check(&check.id));
            }
        }
        kept
    }

    fn may_run(&self, checks: &[Check]) -> Result<(), Refused> {
        let is_refused = !self.0.settings.scripts_of_requests && checks.iter().any(Check::is_script);
        if is_refused { Err(Refused::Scripts) } else { Ok(()) }
    }

    /// Puts it in; a definition of a file puts itself over what is on disk. What is the same stays as it is.
    fn put_service(&self, registry: &mut Registry, service: Service, source: Source) {
        let id = service.fields.id.clone();
        let is_same = registry.services.get(&id).is_some_and(|e| e.source == source && e.what == service);
        if source == Source::File && !is_same {
            self.forget(|files| files.forget_service(&id));
        }
        if !(source == Source::File && is_same) {
            tell_unfit(&service.fields);
            self.ledger().put_service(service.fields.clone());
        }
        if !is_same {
            self.tell_service(&service.fields, source, ServiceEvent::Registered);
        }
        for check in service.checks.clone() {
            self.put_check(registry, check, source, Start::AsBefore);
        }
        registry.services.insert(id, Entry { source, what: service });
    }

    fn put_check(&self, registry: &mut Registry, check: Check, source: Source, start: Start) {
        let id = check.id.clone();
        let is_same = registry.checks.get(&id).is_some_and(|e| e.source == source && e.what == check);
        if source == Source::File {
            if is_same {
                return;
            }
            self.forget(|files| files.forget_check(&id));
        }
        tell_limits(&check);
        let mut fields = check.fields();
        self.about().insert(id.clone(), About::of(&check, source));
        {
            let mut ledger = self.ledger();
            let before = ledger.checks().get(&id).map(|before| (before.status, before.output.clone()));
            match (start, before) {
                (Start::AsBefore, Some((status, output))) => (fields.status, fields.output) = (status, output),
                (Start::Critical, _) => fields.status = CheckStatus::Critical,
                _ => {}
            }
            ledger.put_check(fields, clock::now());
        }
        if let Some(runner) = self.0.runner.get() {
            runner.start(&check);
        }
        registry.checks.insert(id.clone(), Entry { source, what: check });
        if !is_same {
            self.tell_check(&id, CheckEvent::Registered);
        }
    }

    fn take_out_service(&self, registry: &mut Registry, id: &str) -> bool {
        let of_it = registry.checks.iter().filter(|(_, entry)| entry.what.service_id == id);
        let checks: Vec<_> = of_it.map(|(id, _)| id.clone()).collect();
        if !registry.services.contains_key(id) {
            return false;
        }
        for check in checks {
            self.take_out_check(registry, &check);
        }
        let Some(Entry { source, what }) = registry.services.remove(id) else { return false };
        self.forget(|files| files.forget_service(id));
        self.ledger().drop_service(id);
        self.tell_service(&what.fields, source, ServiceEvent::Deregistered);
        debug!(target: "agent", service = %id, "removed service");
        true
    }

    fn take_out_check(&self, registry: &mut Registry, id: &str) -> bool {
        if !registry.checks.contains_key(id) {
            return false;
        }
        if let Some(runner) = self.0.runner.get() {
            runner.stop(id);
        }
        self.tell_check(id, CheckEvent::Deregistered);
        registry.checks.remove(id);
        self.about().remove(id);
        self.forget(|files| files.forget_check(id).and_then(|()| files.forget_state(id)));
        self.ledger().drop_check(id);
        debug!(target: "agent", check = %id, "removed check");
        true
    }

    /// What cannot be removed from the disk comes back with the next start, and is told.
    fn forget(&self, remove: impl FnOnce(&Files) -> io::Result<()>) {
        let Some(files) = &self.0.settings.files else { return };
        if let Err(problem) = remove(files) {
            error!(target: "agent", error = %problem, "a registration cannot be removed from the data directory");
        }
    }

    fn services_on_disk(&self) -> BTreeSet<String> {
        let found = self.0.settings.files.as_ref().map(Files::services);
        found.into_iter().flat_map(told).map(|service| service.id).collect()
    }

    fn restored_states(&self) -> Vec<State> {
        let found = self.0.settings.files.as_ref().map(Files::states);
        found.map(told).unwrap_or_default()
    }

    /// What requests registered before, unless a file defines the same.
    fn restore(&self) {
        let Some(files) = &self.0.settings.files else { return };
        let mut registry = self.registry();
        for fields in told(files.services()) {
            if registry.services.contains_key(&fields.id) {
                debug!(target: "agent", service = %fields.id, "service exists, not restoring from file");
                self.forget(|files| files.forget_service(&fields.id));
                continue;
            }
            debug!(target: "agent", service = %fields.id, "restored service definition from file");
            self.put_service(&mut registry, Service { fields, checks: Vec::new() }, Source::Request);
        }
        for check in told(files.checks()) {
            let is_lost = !check.service_id.is_empty() && !registry.services.contains_key(&check.service_id);
            let is_defined = registry.checks.contains_key(&check.id);
            let no_more = check.is_script() && !self.0.settings.scripts_of_requests;
            if no_more {
                warn!(target: "agent", check = %check.id, error = %Refused::Scripts, "Failed to restore check");
            } else if is_lost || is_defined {
                warn!(target: "agent", check = %check.id, "a check that was kept is not restored: its service is gone, or a \
                    file defines it");
                self.forget(|files| files.forget_check(&check.id));
            } else {
                debug!(target: "agent", check = %check.id, "restored health check from file");
                self.put_check(&mut registry, check, Source::Request, Start::Critical);
            }
        }
        drop(registry);
        self.changed();
    }
}

/// What was found, once what is damaged is told.
fn told<T>(found: Found<T>) -> Vec<T> {
    for text in found.told {
        error!(target: "agent", "{text}");
    }
    found.kept
}

/// Consul's words for what is rounded up.
fn tell_limits(check: &Check) {
    let id = &check.id;
    if check.interval < INTERVAL_MIN && !check.interval.is_zero() {
        warn!(target: "agent", check = %id, minimum_interval = "1s", "check has interval below minimum");
    }
    let after = check.deregister_critical_service_after;
    if after < DEREGISTER_AFTER_MIN && !after.is_zero() {
        warn!(target: "agent", check = %id, minimum_interval = "1m0s", "check has deregister interval below minimum");
    }
}
