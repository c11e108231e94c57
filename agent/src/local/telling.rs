//! What happens to services and checks, as the event stream tells it. Takes no lock but the ledger's and its own
//! leaf: checks report here while they hold theirs.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use shared::event::{self, Body, CheckEvent, CheckState, Registrar, ServiceEvent, ServiceState};

use super::{Local, Source};
use crate::store::command::{CheckStatus, ServiceFields};

/// What events tell of a check beside what the catalog holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) source: Source,
    pub(super) deregister_after: Option<Duration>,
}

impl Local {
    /// By the IDs of checks.
    pub(super) fn about(&self) -> MutexGuard<'_, BTreeMap<String, About>> {
        self.0.about.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell_service(&self, fields: &ServiceFields, source: Source, event: fn(ServiceState) -> ServiceEvent) {
        self.tell(Body::Service(event(ServiceState {
            service_id: fields.id.clone(),
            service: fields.name.clone(),
            address: fields.address.clone(),
            port: fields.port,
            tags: fields.tags.clone(),
            meta: fields.meta.clone(),
            registrar: registrar(source),
        })));
    }

    pub(super) fn tell_check(&self, id: &str, event: fn(CheckState) -> CheckEvent) {
        if let Some(state) = self.check_state(id) {
            self.tell(Body::Check(event(state)));
        }
    }

    pub(super) fn tell_status(&self, id: &str, from: CheckStatus) {
        if let Some(state) = self.check_state(id) {
            self.tell(Body::Check(CheckEvent::StatusChanged { state, from: status(from) }));
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
            deregister_after_ms: about.deregister_after.and_then(|after| u64::try_from(after.as_millis()).ok()),
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
