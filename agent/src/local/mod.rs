//! What this node claims, and keeping the catalog in step with it.
//!
//! The agent is the truth for its own entry: a `ledger` of claims, compared (`diff`) and pushed
//! (`sync`). The root starts it; nothing here knows who changed a claim.

pub mod diff;
pub mod ledger;
mod sync;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use shared::event::MemberState;
use tokio::sync::watch;
use tracing::info;

use self::ledger::Ledger;
use self::sync::Syncer;
use crate::backend::Backend;
use crate::store::command::NodeFields;
use crate::tasks::Tasks;

/// Keeps the catalog's entry of this node true; clones speak of the same one.
#[derive(Clone)]
pub struct Local {
    asked: Arc<watch::Sender<u64>>,
}

impl Local {
    /// Starts the state syncer, and says so. `node` is what this node says of itself; `members` only
    /// sets the pace.
    pub fn start(
        node: NodeFields,
        backend: Backend,
        members: watch::Receiver<Arc<Vec<MemberState>>>,
        tasks: &Tasks,
    ) -> Self {
        let (asked, asks) = watch::channel(0);
        let syncer = Syncer::new(Ledger::new(node), backend, members, asks);
        let asked = Arc::new(asked);
        // The task keeps a handle of its own: it goes on when the root drops this one.
        let handle = Self { asked: Arc::clone(&asked) };
        let token = tasks.token();
        tasks.spawn("local-sync", async move {
            token.run_until_cancelled(syncer.run()).await;
            drop(asked);
        });
        info!(target: "agent", "started state syncer");
        handle
    }

    /// Asks for a pass now; several asked for at once are one.
    pub fn sync_soon(&self) {
        self.asked.send_modify(|asked| *asked += 1);
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
