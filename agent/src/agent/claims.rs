//! What the configuration says of this node, in the words of the catalog, and the one place where what is
//! claimed (`local`) meets who looks at it (`checks`), which do not know each other.

use std::sync::Arc;

use shared::event::Body;
use tokio::sync::mpsc;

use super::build::Ground;
use crate::backend::Backend;
use crate::checks::spec::Check;
use crate::checks::{self, Checks, Here, View};
use crate::local::{self, Files, Local, Runner};
use crate::store::command::{CheckStatus, NodeFields};
use crate::tasks::Tasks;

/// What this agent claims, from its files and what requests registered before, and who looks at it.
pub(super) fn open(
    ground: &Ground,
    notices: mpsc::Sender<Body>,
    backend: &Backend,
    workers: &Tasks,
) -> Result<(Local, Checks), String> {
    let local = local(ground, notices);
    let checks = wire(ground, &local, backend, workers);
    local.open(&ground.config.services, &ground.config.node_checks)?;
    Ok((local, checks))
}

/// The node, and nothing else yet.
fn local(ground: &Ground, notices: mpsc::Sender<Body>) -> Local {
    let config = &ground.config;
    Local::new(local::Settings {
        node: node(ground),
        update_interval: config.checks.update_interval,
        discard_output: config.checks.discard_output,
        scripts_of_requests: config.checks.enable_script,
        files: config.data_dir.as_deref().map(Files::new),
        notices: Some(notices),
    })
}

/// Checks report to what keeps the catalog in step, which starts and stops them.
fn wire(ground: &Ground, local: &Local, backend: &Backend, workers: &Tasks) -> Checks {
    let (report, look) = (local.clone(), local.clone());
    let settings = checks::Settings {
        output_max: ground.config.checks.output_max_size,
        backend: backend.clone(),
        here: Here {
            changes: local.changes(),
            look: Arc::new(move || View {
                services: look.services().into_iter().map(|service| service.id).collect(),
                checks: look.checks().into_iter().map(|(check, _)| check).collect(),
            }),
        },
        report: Box::new(move |id, status, output| report.judge(id, status, output)),
    };
    let checks = Checks::new(settings, workers);
    local.set_runner(Box::new(Looked(checks.clone())));
    checks
}

struct Looked(Checks);

impl Runner for Looked {
    fn start(&self, check: &Check) {
        self.0.start(check);
    }

    fn stop(&self, id: &str) {
        self.0.stop(id);
    }

    fn renew(&self, id: &str, status: CheckStatus, output: String) -> Option<String> {
        self.0.renew(id, status, output)
    }
}

fn node(ground: &Ground) -> NodeFields {
    let config = &ground.config;
    let (lan, wan) = (config.advertise_addr, config.advertise_addr_wan);
    let id = ground.node_id.to_string();
    let mut node = local::node_fields(&config.node_name, &id, &config.datacenter, lan, wan);
    node.tagged_addresses.extend(config.tagged_addresses.clone());
    node.meta.extend(config.node_meta.clone());
    node
}
