//! What happens to services and checks, as the event stream tells it. Takes no lock but the ledger's and its own
//! leaves: checks report here while they hold theirs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::event::{self, Body, CheckEvent, CheckState, Registrar, ServiceEvent, ServiceState};
use tokio::sync::Notify;
use tokio::sync::mpsc::error::TrySendError;

use super::ledger::Claim;
use super::{Local, Source};
use crate::checks::spec::{Check, Probe};
use crate::store::command::{CheckStatus, ServiceFields};

/// What events tell of a check beside what the catalog holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) source: Source,
    deregister_after: Option<Duration>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    pub(super) ttl: Option<Duration>,
}

impl About {
    pub(super) fn of(check: &Check, source: Source) -> Self {
        let deregister_after = check.deregister_after();
        let about = Self { source, deregister_after, interval: None, timeout: None, ttl: None };
        match check.probe() {
            Probe::Ttl { ttl } => Self { ttl: Some(ttl), ..about },
            Probe::Alias { .. } | Probe::Nothing => about,
            _ => Self { interval: Some(check.interval()), timeout: Some(check.timeout()), ..about },
        }
    }
}

fn millis(span: Option<Duration>) -> Option<u64> {
    span.and_then(|span| u64::try_from(span.as_millis()).ok())
}

/// More things than an agent has; what is beyond is lost, and counted.
const UNTOLD_MAX: usize = 65_536;

/// Events that found the queue full, the last of each service and check: whoever keeps a picture of them has it right
/// in the end, however many come at once.
#[derive(Debug, Default)]
pub(super) struct Untold {
    events: Mutex<BTreeMap<Claim, Body>>,
    some: Notify,
}

impl Untold {
    fn events(&self) -> MutexGuard<'_, BTreeMap<Claim, Body>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Local {
    /// Nothing overtakes what waits.
    fn tell(&self, about: Claim, body: Body) {
        let Some(notices) = &self.0.settings.notices else { return };
        let mut events = self.0.untold.events();
        let body = match events.is_empty() {
            true => match notices.try_send(body) {
                Err(TrySendError::Full(body)) => body,
                Ok(()) | Err(TrySendError::Closed(_)) => return,
            },
            false => body,
        };
        let is_room = events.len() < UNTOLD_MAX || events.contains_key(&about);
        if !is_room || events.insert(about, body).is_some() {
            metrics::counter!("quorate.events.local_dropped").increment(1);
        }
        self.0.untold.some.notify_one();
    }

    /// Tells what found the queue full, as room comes; ends with whoever listens.
    pub(super) async fn tell_later(&self) {
        let Some(notices) = &self.0.settings.notices else { return };
        loop {
            self.0.untold.some.notified().await;
            loop {
                let Ok(room) = notices.reserve().await else { return };
                let mut events = self.0.untold.events();
                let Some((_, body)) = events.pop_first() else { break };
                room.send(body);
            }
        }
    }

    /// By the IDs of checks.
    pub(super) fn about(&self) -> MutexGuard<'_, BTreeMap<String, About>> {
        self.0.about.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell_service(&self, fields: &ServiceFields, source: Source, event: fn(ServiceState) -> ServiceEvent) {
        let about = Claim::Service(fields.id.clone());
        self.tell(
            about,
            Body::Service(event(ServiceState {
                service_id: fields.id.clone(),
                service: fields.name.clone(),
                address: fields.address.clone(),
                port: fields.port,
                tags: fields.tags.clone(),
                meta: fields.meta.clone(),
                registrar: registrar(source),
            })),
        );
    }

    pub(super) fn tell_check(&self, id: &str, event: fn(CheckState) -> CheckEvent) {
        if let Some(state) = self.check_state(id) {
            self.tell(Claim::Check(id.to_owned()), Body::Check(event(state)));
        }
    }

    pub(super) fn tell_status(&self, id: &str, from: CheckStatus) {
        if let Some(state) = self.check_state(id) {
            let about = Claim::Check(id.to_owned());
            self.tell(about, Body::Check(CheckEvent::StatusChanged { state, from: status(from) }));
        }
    }

    fn check_state(&self, id: &str) -> Option<CheckState> {
        let about = self.about().get(id).copied()?;
        let ledger = self.ledger();
        let fields = ledger.checks().get(id)?;
        let service = ledger.services().get(&fields.service_id);
        Some(CheckState {
            check_id: fields.id.clone(),
            name: fields.name.clone(),
            status: status(fields.status),
            output: fields.output.clone(),
            notes: fields.notes.clone(),
            check_type: fields.kind.clone(),
            service_id: fields.service_id.clone(),
            service: service.map(|service| service.name.clone()).unwrap_or_default(),
            registrar: registrar(about.source),
            deregister_after_ms: millis(about.deregister_after),
            interval_ms: millis(about.interval),
            timeout_ms: millis(about.timeout),
            ttl_ms: millis(about.ttl),
        })
    }
}

fn registrar(source: Source) -> Registrar {
    match source {
        Source::File => Registrar::File,
        Source::Request => Registrar::Api,
    }
}

fn status(status: CheckStatus) -> event::CheckStatus {
    match status {
        CheckStatus::Passing => event::CheckStatus::Passing,
        CheckStatus::Warning => event::CheckStatus::Warning,
        CheckStatus::Critical => event::CheckStatus::Critical,
    }
}
