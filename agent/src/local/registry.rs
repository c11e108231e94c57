//! Registrations in and out: what is registered by whom, so that files win over requests, a reload takes out
//! only what files put in, and what requests put in is kept on disk. Every way in ends in the ledger.
//!
//! Called by edges (requests) and by the root (files), which need not wait for disks: see [`Local::apart`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use shared::event::{CheckEvent, ServiceEvent};
use shared::quote::Quoted;
use tracing::{debug, error, info, warn};

use super::changes::Change;
use super::files::{Files, State};
use super::journal::Journal;
use super::record::{self, Kept, Written};
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
    Unwritten(String, Arc<io::Error>),
    #[error("too many registrations wait for the disk, try again later")]
    Busy,
    #[error("the agent is shutting down")]
    Stopping,
}

#[derive(Debug)]
pub(super) struct Registry {
    /// By their IDs.
    services: BTreeMap<String, Entry<Service>>,
    checks: BTreeMap<String, Entry<Check>>,
    /// Checks of requests that are kept and must not run for now.
    dormant: Vec<Check>,
    /// Where registrations of requests are kept.
    journal: Option<Journal>,
}

impl Registry {
    pub(super) fn new(files: Option<&Files>) -> Self {
        let journal = files.map(Files::journal);
        Self { services: BTreeMap::new(), checks: BTreeMap::new(), dormant: Vec::new(), journal }
    }

    pub(super) fn is_kept(&self) -> bool {
        self.journal.is_some()
    }

    pub(super) fn has_service(&self, id: &str) -> bool {
        self.services.contains_key(id)
    }

    pub(super) fn has_check(&self, id: &str) -> bool {
        self.checks.contains_key(id)
    }

    /// The IDs of its checks.
    pub(super) fn checks_of(&self, service_id: &str) -> Vec<String> {
        let of_it = self.checks.iter().filter(|(_, entry)| entry.what.service_id == service_id);
        of_it.map(|(id, _)| id.clone()).collect()
    }

    /// The IDs of its checks, and of those of it that must not run for now.
    pub(super) fn kept_checks_of(&self, service_id: &str) -> Vec<String> {
        let dormant = self.dormant.iter().filter(|check| check.service_id == service_id);
        let mut ids = self.checks_of(service_id);
        ids.extend(dormant.map(|check| check.id.clone()));
        ids
    }

    /// Those that must not run for now are no more.
    pub(super) fn drop_dormant(&mut self, which: impl Fn(&Check) -> bool) {
        self.dormant.retain(|check| !which(check));
    }

    /// On disk when this returns, all or nothing.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let Self { services, checks, dormant, journal } = self;
        match journal {
            Some(journal) if !lines.is_empty() => journal.append(lines, || all(services, checks, dormant)),
            _ => Ok(()),
        }
    }

    /// What is registered by requests, in place of what was on disk.
    fn write_anew(&mut self) -> io::Result<()> {
        let Self { services, checks, dormant, journal } = self;
        journal.as_mut().map_or(Ok(()), |journal| journal.write_anew(&all(services, checks, dormant)))
    }

    /// For what goes out by another way than a change.
    fn forget(&mut self, record: &Written<'_>) {
        let mut lines = Vec::new();
        record::write(record, &mut lines);
        let written = self.write(&lines);
        self.owe(&written);
    }

    /// What went out and is not on disk is written with the next change.
    pub(super) fn owe<E: std::fmt::Display>(&mut self, written: &Result<(), E>) {
        if let Err(problem) = written {
            error!(target: "agent", error = %problem, "a registration cannot be removed from the data directory");
            if let Some(journal) = &mut self.journal {
                journal.owe();
            }
        }
    }
}

/// Lines for all that requests registered.
fn all(
    services: &BTreeMap<String, Entry<Service>>,
    checks: &BTreeMap<String, Entry<Check>>,
    dormant: &[Check],
) -> Vec<u8> {
    let mut lines = Vec::new();
    // First: checks of no service are dropped at the next start, while a service without its checks would pass.
    let of_requests = checks.values().filter(|entry| entry.source == Source::Request).map(|entry| &entry.what);
    for check in of_requests.chain(dormant) {
        record::write(&Written { checks: vec![check], ..Written::default() }, &mut lines);
    }
    for entry in services.values().filter(|entry| entry.source == Source::Request) {
        record::write(&Written { services: vec![&entry.what.fields], ..Written::default() }, &mut lines);
    }
    lines
}

/// How a check is before it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
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
        // One at a time, as locks have it anyway: a crowd shall wait here, not each on a thread.
        let _turn = self.0.turn.acquire().await.ok()?;
        let local = self.clone();
        tokio::task::spawn_blocking(move || work(&local)).await.ok()
    }

    /// At the start: what files define, then what requests registered before. A refusal ends the start.
    pub fn open(&self, services: &[Service], checks: &[Check]) -> Result<(), String> {
        let Some(files) = self.0.settings.files.clone() else {
            return self.define(services, checks, &Kept::default());
        };
        let found = self.registry().journal.as_mut().map(Journal::open).unwrap_or_default();
        let (old_services, old_checks, states) = (files.old_services(), files.old_checks(), files.states());
        tell([&found.told, &old_services.told, &old_checks.told, &states.told].into_iter().flatten());
        let mut kept = found.kept;
        // Whatever wrote them ran after what wrote the journal.
        kept.services.extend(old_services.kept.iter().map(|service| (service.id.clone(), service.clone())));
        kept.checks.extend(old_checks.kept.iter().map(|check| (check.id.clone(), check.clone())));
        let is_old = !old_services.kept.is_empty() || !old_checks.kept.is_empty();
        self.define(services, checks, &kept)?;
        let is_all = self.restore(kept);
        if is_old || !is_all || !found.told.is_empty() {
            let written = self.registry().write_anew();
            match written {
                Ok(()) => tell(old_services.remove().iter().chain(&old_checks.remove())),
                Err(problem) => tell([&format!("failed to persist what was registered: {problem}")]),
            }
        }
        for state in states.kept {
            let is_known = self.about().get(&state.id).is_some_and(|about| about.ttl.is_some());
            match is_known && state.is_good(clock::wall()) {
                true => self.judge(&state.id, state.status, state.output.clone()),
                false => {
                    debug!(target: "agent", check = %state.id, "check state expired, not restoring");
                    self.forget_state(&state.id);
                }
            }
        }
        Ok(())
    }

    /// After a reload: what files define now, instead of what they did. A refusal changes nothing.
    pub fn reload(&self, services: &[Service], checks: &[Check]) -> Result<(), String> {
        self.define(services, checks, &Kept::default())
    }

    /// `kept` is what will be registered again, unless it is defined here.
    fn define(&self, services: &[Service], checks: &[Check], kept: &Kept) -> Result<(), String> {
        let mut registry = self.registry();
        // Of two with one ID the later counts.
        let named: BTreeMap<&str, &Service> = services.iter().map(|one| (one.fields.id.as_str(), one)).collect();
        let of_requests = |id: &str| registry.services.get(id).is_some_and(|entry| entry.source == Source::Request);
        for check in checks.iter().filter(|check| !check.service_id.is_empty()) {
            let id = check.service_id.as_str();
            if !(named.contains_key(id) || of_requests(id) || kept.services.contains_key(id)) {
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
            // Those that requests registered; the service itself is in a file.
            let gone_checks = registry.kept_checks_of(&id);
            if !gone_checks.is_empty() {
                registry.forget(&Written { gone_checks, ..Written::default() });
            }
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

    /// Takes a report of a check that waits for reports, and keeps it for a restart.
    pub fn renew(&self, id: &str, status: CheckStatus, output: String) -> Result<(), Refused> {
        let no_ttl = || Refused::NoTtl(id.to_owned());
        let runner = self.0.runner.get().ok_or_else(no_ttl)?;
        let output = runner.renew(id, status, output).ok_or_else(no_ttl)?;
        let Some(files) = &self.0.settings.files else { return Ok(()) };
        // Held, so that nothing is left behind of a check that is taken out meanwhile.
        let _reports = self.reports();
        let Some(ttl) = self.about().get(id).and_then(|about| about.ttl) else { return Ok(()) };
        let ttl = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX);
        let good_until = clock::wall().micros().saturating_add(ttl);
        if let Err(problem) = files.keep_state(&State { id: id.to_owned(), status, output, good_until }) {
            error!(target: "agent", check = %id, error = %problem, "failed to persist state for check");
        }
        Ok(())
    }

    /// Takes the node, or one service, out of answers or back. `reason` is for people.
    pub async fn maintain(&self, service: Option<&str>, reason: Option<&str>) -> Result<(), Refused> {
        let Some(change) = self.maintenance(service, reason)? else { return Ok(()) };
        self.change(change).await?;
        match (service, reason.is_some()) {
            (None, true) => info!(target: "agent", "Node entered maintenance mode"),
            (None, false) => info!(target: "agent", "Node left maintenance mode"),
            (Some(id), true) => info!(target: "agent", service = %id, "Service entered maintenance mode"),
            (Some(id), false) => info!(target: "agent", service = %id, "Service left maintenance mode"),
        }
        Ok(())
    }

    /// What does that; none where it is so already.
    pub(super) fn maintenance(&self, service: Option<&str>, reason: Option<&str>) -> Result<Option<Change>, Refused> {
        let check = Check::maintenance(service, reason.unwrap_or_default());
        if let Some(id) = service
            && self.ledger().services().get(id).is_none()
        {
            return Err(Refused::Unregistered(id.to_owned()));
        }
        let is_on = self.registry().has_check(&check.id);
        Ok(match (reason.is_some(), is_on) {
            (true, true) | (false, false) => None,
            (true, false) => Some(Change::Check(Box::new(check))),
            (false, true) => Some(Change::NoCheck(check.id)),
        })
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
            let (gone_services, gone_checks) = (vec![service.clone()], registry.kept_checks_of(service));
            if registry.has_service(service) {
                registry.forget(&Written { gone_services, gone_checks, ..Written::default() });
            }
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

    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn may_run(&self, checks: &[Check]) -> Result<(), Refused> {
        let is_refused = !self.0.settings.scripts_of_requests && checks.iter().any(Check::is_script);
        if is_refused { Err(Refused::Scripts) } else { Ok(()) }
    }

    /// Puts it in; a definition of a file puts itself over what is on disk. What is the same stays as it is.
    pub(super) fn put_service(&self, registry: &mut Registry, service: Service, source: Source) {
        let id = service.fields.id.clone();
        let is_same = registry.services.get(&id).is_some_and(|e| e.source == source && e.what == service);
        if source == Source::File && registry.services.get(&id).is_some_and(|e| e.source == Source::Request) {
            registry.forget(&Written { gone_services: vec![id.clone()], ..Written::default() });
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

    pub(super) fn put_check(&self, registry: &mut Registry, check: Check, source: Source, start: Start) {
        let id = check.id.clone();
        let is_same = registry.checks.get(&id).is_some_and(|e| e.source == source && e.what == check);
        if source == Source::File {
            if is_same {
                return;
            }
            if registry.checks.get(&id).is_some_and(|e| e.source == Source::Request) {
                registry.forget(&Written { gone_checks: vec![id.clone()], ..Written::default() });
            }
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
        registry.drop_dormant(|check| check.id == id);
        registry.checks.insert(id.clone(), Entry { source, what: check });
        if !is_same {
            self.tell_check(&id, CheckEvent::Registered);
        }
    }

    pub(super) fn take_out_service(&self, registry: &mut Registry, id: &str) -> bool {
        if !registry.has_service(id) {
            return false;
        }
        registry.drop_dormant(|check| check.service_id == id);
        for check in registry.checks_of(id) {
            self.take_out_check(registry, &check);
        }
        let Some(Entry { source, what }) = registry.services.remove(id) else { return false };
        self.ledger().drop_service(id);
        self.tell_service(&what.fields, source, ServiceEvent::Deregistered);
        debug!(target: "agent", service = %id, "removed service");
        true
    }

    pub(super) fn take_out_check(&self, registry: &mut Registry, id: &str) -> bool {
        if !registry.checks.contains_key(id) {
            return false;
        }
        if let Some(runner) = self.0.runner.get() {
            runner.stop(id);
        }
        self.tell_check(id, CheckEvent::Deregistered);
        registry.checks.remove(id);
        self.about().remove(id);
        self.forget_state(id);
        self.ledger().drop_check(id);
        debug!(target: "agent", check = %id, "removed check");
        true
    }

    /// Taken by who keeps or forgets reports of checks, after all other locks but that of `about`.
    fn reports(&self) -> MutexGuard<'_, ()> {
        self.0.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_state(&self, check_id: &str) {
        let Some(files) = &self.0.settings.files else { return };
        let _reports = self.reports();
        if let Err(problem) = files.forget_state(check_id) {
            error!(target: "agent", check = %check_id, error = %problem, "failed to remove the state of a check");
        }
    }

    /// What requests registered before, unless a file defines the same. False when something of it is dropped.
    fn restore(&self, kept: Kept) -> bool {
        let mut registry = self.registry();
        let mut is_all = true;
        for fields in kept.services.into_values() {
            if registry.services.contains_key(&fields.id) {
                debug!(target: "agent", service = %fields.id, "service exists, not restoring from file");
                is_all = false;
                continue;
            }
            debug!(target: "agent", service = %fields.id, "restored service definition from file");
            self.put_service(&mut registry, Service { fields, checks: Vec::new() }, Source::Request);
        }
        for check in kept.checks.into_values() {
            let is_lost = !check.service_id.is_empty() && !registry.services.contains_key(&check.service_id);
            let is_defined = registry.checks.contains_key(&check.id);
            let no_more = check.is_script() && !self.0.settings.scripts_of_requests;
            if is_lost || is_defined {
                warn!(target: "agent", check = %check.id, "a check that was kept is not restored: its service is gone, or a \
                    file defines it");
                is_all = false;
            } else if no_more {
                warn!(target: "agent", check = %check.id, error = %Refused::Scripts, "Failed to restore check");
                registry.dormant.push(check);
            } else {
                debug!(target: "agent", check = %check.id, "restored health check from file");
                self.put_check(&mut registry, check, Source::Request, Start::Critical);
            }
        }
        drop(registry);
        self.changed();
        is_all
    }
}

fn tell<'a>(texts: impl IntoIterator<Item = &'a String>) {
    for text in texts {
        error!(target: "agent", "{text}");
    }
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
