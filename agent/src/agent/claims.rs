//! What the configuration says of this node, in the words of the catalog: its entry, its services and
//! their checks. The root hands it to `local` and `checks`.

use std::sync::Arc;

use super::build::Ground;
use crate::checks;
use crate::config::{self, Config, InitialStatus};
use crate::local::{self, Claims, Definition, Local};
use crate::store::command::{CheckFields, CheckStatus, NodeFields, ServiceFields};
use crate::tasks::Tasks;

/// Checks report to what keeps the catalog in step.
pub(super) fn start_checks(config: &Config, local: Local, workers: &Tasks) {
    let report: checks::Report = Arc::new(move |id, status, output| local.judge(id, status, output));
    let all = config.services.iter().flat_map(|service| service.checks.clone()).collect();
    checks::start(all, config.checks.output_max_size, &report, workers);
}

/// What this agent claims: its node, and the services of its configuration.
pub(super) fn claims(ground: &Ground) -> Claims {
    let config = &ground.config;
    Claims {
        node: node(ground),
        services: config.services.iter().map(definition).collect(),
        update_interval: config.checks.update_interval,
        discard_output: config.checks.discard_output,
    }
}

fn definition(service: &config::Service) -> Definition {
    let check = |check: &config::Check| CheckFields {
        id: check.id.clone(),
        name: check.name.clone(),
        status: match check.status {
            InitialStatus::Passing => CheckStatus::Passing,
            InitialStatus::Warning => CheckStatus::Warning,
            InitialStatus::Critical => CheckStatus::Critical,
        },
        notes: check.notes.clone(),
        output: String::new(),
        service_id: service.id.clone(),
        kind: "script".to_owned(),
    };
    let checks = service.checks.iter().map(check).collect();
    let service = ServiceFields {
        id: service.id.clone(),
        name: service.name.clone(),
        tags: service.tags.clone(),
        address: service.address.clone(),
        tagged_addresses: service.tagged_addresses.clone(),
        meta: service.meta.clone(),
        port: service.port,
        weights: service.weights,
        enable_tag_override: service.enable_tag_override,
    };
    Definition { service, checks }
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
