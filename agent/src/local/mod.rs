//! What this node claims, and keeping the catalog in step with it.
//!
//! The agent is the truth for its own entry, services and checks: a `ledger` of claims, compared
//! (`diff`) and pushed (`sync`). The root starts it; nothing here knows who changed a claim.

pub mod diff;
pub mod ledger;
mod sync;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shared::event::MemberState;
use tokio::sync::watch;
use tracing::{info, warn};

pub use self::ledger::Definition;
use self::ledger::{Ledger, News, Verdict};
use self::sync::Syncer;
use crate::backend::Backend;
use crate::clock;
use crate::store::command::{CheckFields, CheckStatus, NodeFields, ServiceFields};
use crate::tasks::Tasks;

/// The longest label of a DNS name.
const DNS_LABEL_BYTES_MAX: usize = 63;

/// What this node says of itself from the start.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    pub node: NodeFields,
    pub services: Vec<Definition>,
    /// How long an output that changes alone may wait to be told (`check_update_interval`).
    pub update_interval: Duration,
    /// What checks print is not kept (`discard_check_output`).
    pub discard_output: bool,
}

/// Keeps the catalog's entry of this node true; clones speak of the same one.
#[derive(Clone)]
pub struct Local(Arc<Inner>);

struct Inner {
    ledger: Arc<Mutex<Ledger>>,
    asked: watch::Sender<Asked>,
    update_interval: Duration,
    discard_output: bool,
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
    pub fn new(claims: Claims) -> Self {
        let Claims { node, services, update_interval, discard_output } = claims;
        for service in &services {
            tell_unfit(&service.service);
        }
        let (asked, _) = watch::channel(Asked::default());
        let ledger = Arc::new(Mutex::new(Ledger::new(node, services)));
        Self(Arc::new(Inner { ledger, asked, update_interval, discard_output }))
    }

    /// Starts the state syncer, and says so. `members` only sets the pace.
    pub fn start(&self, backend: Backend, members: watch::Receiver<Arc<Vec<MemberState>>>, tasks: &Tasks) {
        let syncer = Syncer::new(Arc::clone(&self.0.ledger), backend, members, self.0.asked.subscribe());
        // The task keeps a handle of its own: it goes on when the root drops this one.
        let (kept, token) = (self.clone(), tasks.token());
        tasks.spawn("local-sync", async move {
            token.run_until_cancelled(syncer.run()).await;
            drop(kept);
        });
        info!(target: "agent", "started state syncer");
    }

    /// Asks for a pass now; several asked for at once are one.
    pub fn sync_soon(&self) {
        self.0.asked.send_modify(|asked| asked.whole += 1);
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

    /// What a run of a check said.
    pub fn judge(&self, check_id: &str, status: CheckStatus, output: String) {
        let Inner { update_interval, discard_output, .. } = &*self.0;
        let output = if *discard_output { String::new() } else { output };
        // Consul: between half the interval and one and a half, so that agents do not tell together.
        let later = (!update_interval.is_zero()).then(|| {
            let share: f64 = SmallRng::from_os_rng().random();
            clock::now() + *update_interval / 2 + update_interval.mul_f64(share)
        });
        match self.ledger().judge(check_id, Verdict { status, output }, later) {
            News::Nothing => {}
            // Also for what comes later: the syncer looks how long it may rest.
            News::Now | News::Later => self.0.asked.send_modify(|asked| asked.part += 1),
        }
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
