//! Looks at services as their definitions say, each at its own pace, and reports what it finds.
//!
//! The root starts it with what it reports to; whoever keeps the definitions starts and stops single checks
//! through the root. `spec` and `verdict` decide, `runner` repeats, `probes` look once. Nothing here knows the
//! catalog, nor what a verdict is for.

mod probes;
mod runner;
pub mod spec;
pub mod verdict;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::probes::alias::View;
use self::probes::clients::Clients;
use self::spec::{Check, Probe};
use self::verdict::{Lease, cut};
use crate::backend::Backend;
use crate::clock;
use crate::store::command::CheckStatus;
use crate::tasks::Tasks;

/// Told after each look: the check's ID, what it is now, what was said.
pub type Report = Box<dyn Fn(&str, CheckStatus, String) + Send + Sync>;

pub struct Settings {
    /// Of what a check says, the last so many bytes are kept.
    pub output_max: usize,
    /// Asked of services on other nodes.
    pub backend: Backend,
    pub here: Here,
    pub report: Report,
}

/// The services and checks of this node, for aliases of them.
#[derive(Clone)]
pub struct Here {
    /// Counts changes.
    pub changes: watch::Receiver<u64>,
    pub look: Arc<dyn Fn() -> View + Send + Sync>,
}

/// All checks that run; clones speak of the same ones.
#[derive(Clone)]
pub struct Checks(Arc<Inner>);

struct Inner {
    settings: Settings,
    clients: Clients,
    tasks: Tasks,
    running: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// By their IDs.
    checks: BTreeMap<String, Running>,
    started: u64,
}

struct Running {
    /// Tells a check from the one before it of the same ID.
    run: u64,
    stop: CancellationToken,
    kind: &'static str,
    output_max: usize,
    /// Of one that waits for reports.
    lease: Option<watch::Sender<Lease>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Which check a task looks at.
struct Seat {
    inner: Arc<Inner>,
    id: String,
    run: u64,
    output_max: usize,
}

impl Checks {
    pub fn new(settings: Settings, tasks: &Tasks) -> Self {
        let running = Mutex::new(Table::default());
        Self(Arc::new(Inner { settings, clients: Clients::default(), tasks: tasks.clone(), running }))
    }

    /// Starts a check, in place of one of the same ID.
    pub fn start(&self, check: &Check) {
        let probe = check.probe();
        if probe == Probe::Nothing {
            return self.stop(&check.id);
        }
        let stop = self.0.tasks.token().child_token();
        let output_max = check.output_max(self.0.settings.output_max);
        let lease = match probe {
            Probe::Ttl { ttl } => Some(watch::Sender::new(Lease::new(ttl, clock::now()))),
            _ => None,
        };
        let leased = lease.as_ref().map(watch::Sender::subscribe);
        let mut table = self.0.table();
        table.started += 1;
        let run = table.started;
        let running = Running { run, stop: stop.clone(), kind: check.kind(), output_max, lease };
        table.checks.insert(check.id.clone(), running);
        drop(table);
        let seat = Seat { inner: Arc::clone(&self.0), id: check.id.clone(), run, output_max };
        let check = check.clone();
        self.0.tasks.spawn("check", async move {
            stop.run_until_cancelled(runner::run(check, probe, leased, seat)).await;
        });
    }

    pub fn stop(&self, id: &str) {
        self.0.table().checks.remove(id);
    }

    /// Takes a report, cut to its limit, which is returned. None: no such check waits for any.
    pub fn renew(&self, id: &str, status: CheckStatus, output: String) -> Option<String> {
        let table = self.0.table();
        let running = table.checks.get(id)?;
        let lease = running.lease.as_ref()?;
        let output = cut(output, running.output_max);
        tracing::debug!(target: "agent", check = %id, status = status.as_str(), "Check status updated");
        lease.send_modify(|lease| lease.renew(clock::now(), &output));
        (self.0.settings.report)(id, status, output.clone());
        Some(output)
    }

    /// How many run of each kind.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for running in self.0.table().checks.values() {
            *counts.entry(running.kind).or_default() += 1;
        }
        counts
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Reports, unless the check is not the one that runs any more: under the lock that stopping takes.
    fn report(&self, status: CheckStatus, output: String) {
        let table = self.inner.table();
        if table.checks.get(&self.id).is_some_and(|running| running.run == self.run) {
            (self.inner.settings.report)(&self.id, status, output);
        }
    }

    /// Turns a check critical whose report came too late.
    fn expire(&self) {
        let table = self.inner.table();
        let Some(running) = table.checks.get(&self.id).filter(|running| running.run == self.run) else { return };
        let mut over = None;
        if let Some(lease) = &running.lease {
            lease.send_if_modified(|lease| {
                over = lease.expire(clock::now());
                over.is_some()
            });
        }
        if let Some(output) = over {
            tracing::warn!(target: "agent", check = %self.id, "Check missed TTL, is now critical");
            (self.inner.settings.report)(&self.id, CheckStatus::Critical, output);
        }
    }
}
