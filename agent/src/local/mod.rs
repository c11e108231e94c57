//! What this node claims, and keeping the catalog in step with it.
//!
//! The agent is the truth for its own entry, services and checks: a `ledger` of claims, compared
//! (`diff`) and pushed (`sync`). `registry` takes registrations in and out, those of requests by way of `changes`, and
//! `journal` keeps them on disk.
//! The root starts it and says who looks at checks; nothing here knows who changed a claim.

mod changes;
#[cfg(test)]
mod changes_tests;
pub mod diff;
mod files;
mod journal;
#[cfg(test)]
mod law_tests;
pub mod ledger;
mod record;
mod registry;
mod sync;
mod telling;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shared::event::{Body, MemberState};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::changes::Change;
use self::changes::Waiting;
pub use self::files::Files;
pub use self::ledger::Definition;
use self::ledger::{Ledger, News, Verdict};
use self::registry::Registry;
pub use self::registry::{Refused, Source};
use self::sync::Syncer;
use self::telling::{About, Untold};
use crate::backend::Backend;
use crate::checks::spec::Check;
use crate::clock;
use crate::store::command::{CheckFields, CheckStatus, NodeFields, ServiceFields};
use crate::tasks::Tasks;

/// How often services are looked for that have been critical for too long; Consul's.
const REAP_EVERY: Duration = Duration::from_secs(30);

/// For the write that is on its way when this agent leaves.
const SILENT_WITHIN: Duration = Duration::from_secs(1);

/// The longest label of a DNS name.
const DNS_LABEL_BYTES_MAX: usize = 63;

/// What the root decides once.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub node: NodeFields,
    /// How long an output that changes alone may wait to be told (`check_update_interval`).
    pub update_interval: Duration,
    /// What checks print is not kept (`discard_check_output`).
    pub discard_output: bool,
    /// Scripts of requests are run (`enable_script_checks`); those of files were decided on with the file.
    pub scripts_of_requests: bool,
    /// Where registrations of requests are kept; none with `-dev`.
    pub files: Option<Files>,
    /// Told what was registered and how checks are. While the queue is full the last of each is kept for it, and
    /// what that replaces is counted.
    pub notices: Option<mpsc::Sender<Body>>,
}

/// Who looks at checks. The root's.
pub trait Runner: Send + Sync {
    /// Starts a check, in place of one of the same ID.
    fn start(&self, check: &Check);

    fn stop(&self, id: &str);

    /// Takes a report; what it says as it is kept. None: no such check waits for any.
    fn renew(&self, id: &str, status: CheckStatus, output: String) -> Option<String>;
}

/// Keeps the catalog's entry of this node true; clones speak of the same one.
#[derive(Clone)]
pub struct Local(Arc<Inner>);

struct Inner {
    settings: Settings,
    ledger: Arc<Mutex<Ledger>>,
    /// Taken before the ledger, and held while the journal is written.
    registry: Mutex<Registry>,
    /// Changes that wait for it.
    waiting: Waiting,
    /// Held while reports of checks are kept or forgotten.
    reports: Mutex<()>,
    /// To be had by who keeps a report.
    turn: Semaphore,
    runner: OnceLock<Box<dyn Runner>>,
    about: Mutex<BTreeMap<String, About>>,
    untold: Untold,
    asked: watch::Sender<Asked>,
    /// Counts changes of services and checks.
    changes: watch::Sender<u64>,
    silence: Silence,
}

/// For the end of the syncer before that of the agent.
#[derive(Clone, Debug, Default)]
struct Silence {
    wanted: CancellationToken,
    kept: CancellationToken,
}

/// How often a pass was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Asked {
    /// Compare with the catalog, then push.
    whole: u64,
    /// Push what is known to differ.
    part: u64,
}

impl Local {
    pub fn new(settings: Settings) -> Self {
        let (asked, _) = watch::channel(Asked::default());
        let ledger = Arc::new(Mutex::new(Ledger::new(settings.node.clone(), Vec::new())));
        let registry = Mutex::new(Registry::new(settings.files.as_ref()));
        let (about, changes) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Inner {
            settings,
            ledger,
            registry,
            waiting: Waiting::default(),
            reports: Mutex::default(),
            turn: Semaphore::new(1),
            runner: OnceLock::new(),
            about,
            untold: Untold::default(),
            asked,
            changes,
            silence: Silence::default(),
        }))
    }

    /// Who looks at checks from now on; said once, before anything is registered.
    pub fn set_runner(&self, runner: Box<dyn Runner>) {
        // Said twice, the first stays.
        let _ = self.0.runner.set(runner);
    }

    /// Starts the state syncer, and says so. `members` only sets the pace.
    pub fn start(&self, backend: Backend, members: watch::Receiver<Arc<Vec<MemberState>>>, tasks: &Tasks) {
        let silence = self.0.silence.clone();
        let asked = self.0.asked.subscribe();
        let syncer = Syncer::new(Arc::clone(&self.0.ledger), backend, members, asked, silence.wanted);
        // The task keeps a handle of its own: it goes on when the root drops this one.
        let (kept, token) = (self.clone(), tasks.token());
        tasks.spawn("local-sync", async move {
            token.run_until_cancelled(syncer.run()).await;
            silence.kept.cancel();
            drop(kept);
        });
        let (local, token) = (self.clone(), tasks.token());
        tasks.spawn("local-reaper", async move {
            token.run_until_cancelled(local.reap_again_and_again()).await;
        });
        let (local, token) = (self.clone(), tasks.token());
        tasks.spawn("local-teller", async move {
            token.run_until_cancelled(local.tell_later()).await;
        });
        info!(target: "agent", "started state syncer");
    }

    /// Writes to the catalog no more, once started: this agent leaves, and what the leader takes out of the
    /// catalog shall not come back.
    pub async fn fall_silent(&self) {
        let Silence { wanted, kept } = &self.0.silence;
        wanted.cancel();
        if tokio::time::timeout(SILENT_WITHIN, kept.cancelled()).await.is_err() {
            tracing::debug!(target: "agent", "a write to the catalog is still on its way");
        }
    }

    /// Asks for a pass now; several asked for at once are one.
    pub fn sync_soon(&self) {
        self.0.asked.send_modify(|asked| asked.whole += 1);
    }

    async fn reap_again_and_again(&self) {
        loop {
            tokio::time::sleep(REAP_EVERY).await;
            self.apart(|local| local.reap(clock::now())).await;
        }
    }

    /// By their IDs.
    pub fn services(&self) -> Vec<ServiceFields> {
        self.ledger().services().values().cloned().collect()
    }

    pub fn service(&self, id: &str) -> Option<ServiceFields> {
        self.ledger().services().get(id).cloned()
    }

    /// By their IDs, each with the service it belongs to.
    pub fn checks(&self) -> Vec<(CheckFields, Option<ServiceFields>)> {
        let ledger = self.ledger();
        let with_service = |check: &CheckFields| (check.clone(), ledger.services().get(&check.service_id).cloned());
        ledger.checks().values().map(with_service).collect()
    }

    /// Counts changes of services and checks.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// What a look at a check said.
    pub fn judge(&self, check_id: &str, status: CheckStatus, output: String) {
        let Settings { update_interval, discard_output, .. } = &self.0.settings;
        let output = if *discard_output { String::new() } else { output };
        let now = clock::now();
        // Consul: between half the interval and one and a half, so that agents do not tell together.
        let later = (!update_interval.is_zero()).then(|| {
            let share: f64 = SmallRng::from_os_rng().random();
            now + *update_interval / 2 + update_interval.mul_f64(share)
        });
        let news = self.ledger().judge(check_id, Verdict { status, output }, now, later);
        match news {
            News::Nothing => return,
            News::Changed(from) => self.tell_status(check_id, from),
            News::Now | News::Later => {}
        }
        // Also for what comes later: the syncer looks how long it may rest.
        self.changed();
    }

    /// Whatever changed is pushed soon.
    fn changed(&self) {
        self.0.changes.send_modify(|count| *count += 1);
        self.0.asked.send_modify(|asked| asked.part += 1);
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.0.ledger)
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names that DNS cannot say, in Consul's words.
fn tell_unfit(service: &ServiceFields) {
    let is_plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let why = |name: &str| {
        if !is_plain(name) {
            Some("due to invalid characters. Valid characters include all alpha-numerics and dashes.")
        } else if name.len() > DNS_LABEL_BYTES_MAX {
            Some("due to it being too long. Valid lengths are between 1 and 63 bytes.")
        } else {
            None
        }
    };
    if let Some(why) = why(&service.name) {
        warn!(target: "agent", service = %service.name, "Service name will not be discoverable via DNS {why}");
    }
    for tag in &service.tags {
        if let Some(why) = why(tag) {
            tracing::debug!(target: "agent", tag = %tag, "Service tag will not be discoverable via DNS {why}");
        }
    }
}

/// What an agent says of its own node when nothing else is configured: the addresses others reach
/// it at, and the network segment, which is the default one.
pub fn node_fields(name: &str, id: &str, datacenter: &str, lan: std::net::IpAddr, wan: std::net::IpAddr) -> NodeFields {
    let family = |address: std::net::IpAddr| if address.is_ipv4() { "ipv4" } else { "ipv6" };
    let tagged_addresses = [
        ("lan".to_owned(), lan.to_string()),
        (format!("lan_{}", family(lan)), lan.to_string()),
        ("wan".to_owned(), wan.to_string()),
        (format!("wan_{}", family(wan)), wan.to_string()),
    ];
    NodeFields {
        name: name.to_owned(),
        id: id.to_owned(),
        address: lan.to_string(),
        datacenter: datacenter.to_owned(),
        tagged_addresses: tagged_addresses.into(),
        meta: [("consul-network-segment".to_owned(), String::new())].into(),
    }
}
