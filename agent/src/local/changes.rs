//! Changes of what is registered, as they come: those that wait while the disk is busy are written and synced together,
//! and answered when they are on it. Who finds nobody at work does the work for all, until nobody waits.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Local;
use super::record::{self, LINE_BYTES_MAX, Written};
use super::registry::{Refused, Registry, Source, Start};
use crate::checks::spec::Check;
use crate::config::Service;

/// Changes that wait for the disk; more are refused, and counted.
const WAITING_MAX: usize = 1024;

/// Changes of one write.
const BATCH_MAX: usize = 256;

/// What a request wants.
#[derive(Debug)]
pub enum Change {
    /// A service with its checks, in place of one of the same ID, whose other checks stay unless they shall be
    /// `replaced`.
    Service { service: Service, replaced: bool },
    /// A check, in place of one of the same ID.
    Check(Box<Check>),
    /// Out, by its ID, with its checks.
    NoService(String),
    /// Out, by its ID.
    NoCheck(String),
}

impl Change {
    /// Neighbours of one kind neither read what the other writes nor depend on their order on the disk, so they may
    /// be written at once. None: alone.
    fn kind(&self) -> Option<bool> {
        match self {
            Self::Service { replaced: true, .. } => None,
            Self::Service { .. } | Self::Check(_) => Some(true),
            Self::NoService(_) | Self::NoCheck(_) => Some(false),
        }
    }
}

/// What came of a change: for what goes out, whether it was there.
type Outcome = Result<bool, Refused>;

#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    changes: VecDeque<(Change, oneshot::Sender<Outcome>)>,
    /// Somebody is at work.
    is_led: bool,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a change in; whether nobody is at work, so that whoever brought it has to see to that.
    fn push(&self, change: Change) -> Result<(oneshot::Receiver<Outcome>, bool), Refused> {
        let (answer, outcome) = oneshot::channel();
        let mut queue = self.lock();
        if queue.changes.len() >= WAITING_MAX {
            metrics::counter!("quorate.local.changes_refused").increment(1);
            return Err(Refused::Busy);
        }
        queue.changes.push_back((change, answer));
        Ok((outcome, !std::mem::replace(&mut queue.is_led, true)))
    }

    /// The next to be written at once; empty: nobody waits, and nobody is at work any more.
    fn take(&self) -> (Vec<Change>, Vec<oneshot::Sender<Outcome>>) {
        let mut queue = self.lock();
        queue.is_led = !queue.changes.is_empty();
        let count = queue.changes.len().min(BATCH_MAX);
        queue.changes.drain(..count).unzip()
    }
}

/// A panic at work refuses those who wait, instead of leaving them waiting for ever.
struct Lead<'a>(&'a Waiting);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.lock() = Queue::default();
        }
    }
}

impl Local {
    /// On disk when this returns, where registrations are kept; for what goes out, whether it was there.
    pub async fn change(&self, change: Change) -> Result<bool, Refused> {
        if self.0.settings.files.is_none() {
            return self.change_now(change);
        }
        let (outcome, is_lead) = self.0.waiting.push(change)?;
        if is_lead {
            let local = self.clone();
            drop(tokio::task::spawn_blocking(move || local.lead()));
        }
        outcome.await.unwrap_or(Err(Refused::Stopping))
    }

    fn lead(&self) {
        let _lead = Lead(&self.0.waiting);
        loop {
            let (changes, answers) = self.0.waiting.take();
            if changes.is_empty() {
                return;
            }
            for (outcome, answer) in self.perform(changes).into_iter().zip(answers) {
                // Whoever has gone does not want to know.
                let _ = answer.send(outcome);
            }
        }
    }

    /// By itself, on this thread.
    pub(super) fn change_now(&self, change: Change) -> Result<bool, Refused> {
        self.perform(vec![change]).pop().unwrap_or(Err(Refused::Stopping))
    }

    /// One outcome for each, in their order.
    pub(super) fn perform(&self, changes: Vec<Change>) -> Vec<Outcome> {
        let mut registry = self.registry();
        let mut outcomes = Vec::with_capacity(changes.len());
        let mut changes = changes.into_iter().peekable();
        while let Some(first) = changes.next() {
            let kind = first.kind();
            let mut run = vec![first];
            while let Some(next) = changes.next_if(|next| kind.is_some() && next.kind() == kind) {
                run.push(next);
            }
            outcomes.extend(self.run(&mut registry, run));
        }
        drop(registry);
        if outcomes.iter().any(|outcome| matches!(outcome, Ok(true))) {
            self.changed();
        }
        outcomes
    }

    /// On disk first, then here.
    fn run(&self, registry: &mut Registry, run: Vec<Change>) -> Vec<Outcome> {
        let (mut lines, mut coming) = (Vec::new(), BTreeSet::new());
        let mut staged = Vec::with_capacity(run.len());
        for change in run {
            staged.push(self.stage(registry, &mut coming, &mut lines, &change).map(|()| change));
        }
        let written = registry.write(&lines).map_err(Arc::new);
        let outcomes =
            staged.into_iter().map(|staged| staged.and_then(|change| self.finish(registry, change, &written)));
        outcomes.collect()
    }

    /// Whether it may be, and its line. `coming` are the services of lines before it.
    fn stage(
        &self,
        registry: &Registry,
        coming: &mut BTreeSet<String>,
        lines: &mut Vec<u8>,
        change: &Change,
    ) -> Result<(), Refused> {
        let (id, record) = match change {
            Change::Service { service, replaced } => {
                self.may_run(&service.checks)?;
                let gone_checks = if *replaced { replaced_by(registry, service) } else { Vec::new() };
                let (services, checks) = (vec![&service.fields], service.checks.iter().collect());
                (&service.fields.id, Written { gone_checks, services, checks, ..Written::default() })
            }
            Change::Check(check) => {
                let check: &Check = check;
                self.may_run(std::slice::from_ref(check))?;
                let service = &check.service_id;
                if !service.is_empty() && !registry.has_service(service) && !coming.contains(service) {
                    return Err(Refused::NoService(service.clone()));
                }
                (&check.id, Written { checks: vec![check], ..Written::default() })
            }
            Change::NoService(id) if registry.has_service(id) => {
                let (gone_services, gone_checks) = (vec![id.clone()], registry.kept_checks_of(id));
                (id, Written { gone_services, gone_checks, ..Written::default() })
            }
            Change::NoCheck(id) if registry.has_check(id) => {
                (id, Written { gone_checks: vec![id.clone()], ..Written::default() })
            }
            Change::NoService(_) | Change::NoCheck(_) => return Ok(()),
        };
        if registry.is_kept() {
            line(id, &record, lines)?;
        }
        if let Change::Service { service, .. } = change {
            coming.insert(service.fields.id.clone());
        }
        Ok(())
    }

    /// What goes out goes, whatever the disk says: it comes back at the worst with the next start, which is told.
    fn finish(&self, registry: &mut Registry, change: Change, written: &Result<(), Arc<io::Error>>) -> Outcome {
        let unwritten = |id: &str| written.clone().map_err(|problem| Refused::Unwritten(id.to_owned(), problem));
        match change {
            Change::Service { service, replaced } => {
                unwritten(&service.fields.id)?;
                if replaced {
                    for id in replaced_by(registry, &service) {
                        self.take_out_check(registry, &id);
                    }
                    registry.drop_dormant(|check| check.service_id == service.fields.id);
                }
                self.put_service(registry, service, Source::Request);
                Ok(true)
            }
            Change::Check(check) => {
                unwritten(&check.id)?;
                self.put_check(registry, *check, Source::Request, Start::AsDefined);
                Ok(true)
            }
            Change::NoService(id) => {
                registry.owe(written);
                Ok(self.take_out_service(registry, &id))
            }
            Change::NoCheck(id) => {
                registry.owe(written);
                Ok(self.take_out_check(registry, &id))
            }
        }
    }
}

/// The IDs of checks that go when a service comes that replaces them.
fn replaced_by(registry: &Registry, service: &Service) -> Vec<String> {
    let mut ids = registry.kept_checks_of(&service.fields.id);
    ids.retain(|id| service.checks.iter().all(|check| check.id != *id));
    ids
}

fn line(id: &str, record: &Written<'_>, lines: &mut Vec<u8>) -> Result<(), Refused> {
    let start = lines.len();
    record::write(record, lines);
    let length = lines.len() - start;
    if length <= LINE_BYTES_MAX {
        return Ok(());
    }
    lines.truncate(start);
    let why = format!("its {length} bytes are more than {LINE_BYTES_MAX}");
    Err(Refused::Unwritten(id.to_owned(), Arc::new(io::Error::new(io::ErrorKind::InvalidInput, why))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_full_refuses_and_is_emptied_in_batches_by_one() {
        let waiting = Waiting::default();
        let change = || Change::NoCheck("c".to_owned());
        let leads: Vec<_> = (0..WAITING_MAX).map(|_| waiting.push(change()).expect("room").1).collect();
        assert_eq!(leads.iter().filter(|is_lead| **is_lead).count(), 1, "the first");
        assert!(leads[0] && matches!(waiting.push(change()), Err(Refused::Busy)));
        let batches: Vec<_> = std::iter::repeat_with(|| waiting.take().0.len()).take_while(|len| *len > 0).collect();
        assert_eq!(batches, [BATCH_MAX; WAITING_MAX / BATCH_MAX]);
        assert!(waiting.push(change()).expect("room").1, "nobody is at work any more");
    }

    #[test]
    fn a_panic_at_work_leaves_nobody_waiting() {
        let waiting = Waiting::default();
        let (mut outcome, _) = waiting.push(Change::NoCheck("c".to_owned())).expect("room");
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _lead = Lead(&waiting);
            assert!(!waiting.lock().is_led, "at work");
        }));
        assert!(worked.is_err());
        assert!(matches!(outcome.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        assert!(waiting.push(Change::NoCheck("c".to_owned())).expect("room").1);
    }
}
