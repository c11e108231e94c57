//! What an agent prints before its log, and the warnings that open the log.
//!
//! `commands` prints the banner, `agent.rs` logs the warnings; both are Consul 1.8.7's, line by line.

use super::{Config, Loaded};

/// A line of level WARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub logger: &'static str,
    pub message: String,
}

/// Where the deployment table stands that two warnings point to.
const SCRIPTS: &str = "using enable-script-checks without ACLs and without allow_write_http_from is DANGEROUS, \
                       use enable-local-script-checks instead, see \
                       https://www.hashicorp.com/blog/protecting-consul-from-rce-risk-in-specific-configurations/";
const TABLE: &str = "https://www.consul.io/docs/internals/consensus.html#deployment-table";

/// The text before the log, up to and with the empty line after it. `version` is ours.
pub fn banner(config: &Config, node_id: &str, version: &str) -> String {
    let port = |port: Option<u16>| port.map_or("-1".to_owned(), |port| port.to_string());
    let clients: Vec<String> = config.client_addrs.iter().map(ToString::to_string).collect();
    let segment = if config.server { "<all>" } else { "" };
    let ports = &config.ports;
    let rows = [
        ("Version", format!("'{version}'")),
        ("Node ID", format!("'{node_id}'")),
        ("Node name", format!("'{}'", config.node_name)),
        ("Datacenter", format!("'{}' (Segment: '{segment}')", config.datacenter)),
        ("Server", format!("{} (Bootstrap: {})", config.server, config.bootstrap)),
        (
            "Client Addr",
            format!(
                "[{}] (HTTP: {}, HTTPS: {}, gRPC: {}, DNS: {})",
                clients.join(" "),
                port(ports.http),
                port(ports.https),
                port(ports.grpc),
                port(ports.dns)
            ),
        ),
        ("Cluster Addr", format!("{} (LAN: {}, WAN: {})", config.advertise_addr, ports.serf_lan, port(ports.serf_wan))),
        (
            "Encrypt",
            format!(
                "Gossip: {}, TLS-Outgoing: false, TLS-Incoming: false, Auto-Encrypt-TLS: false",
                config.encrypt.is_some()
            ),
        ),
    ];
    let rows: String = rows.iter().map(|(name, value)| format!("{name:>18}: {value}\n")).collect();
    format!("==> Starting Quorate agent...\n{rows}\n==> Log data will now stream in as it occurs:\n\n")
}

/// What deserves a warning in a configuration that is good; `validate` prints the messages alone.
pub fn messages(loaded: &Loaded) -> Vec<String> {
    let config = &loaded.config;
    let mut all = loaded.remarks.clone();
    if loaded.expects_one {
        all.push("BootstrapExpect is set to 1; this is the same as Bootstrap mode.".to_owned());
    }
    let name = &config.node_name;
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        all.push(format!(
            "Node name {name:?} will not be discoverable via DNS due to invalid characters. \
             Valid characters include all alpha-numerics and dashes."
        ));
    } else if name.len() > 63 {
        all.push(format!(
            "Node name {name:?} will not be discoverable via DNS due to it being too long. \
             Valid lengths are between 1 and 63 bytes."
        ));
    }
    let expect = config.bootstrap_expect;
    if expect == 2 {
        all.push(format!(
            "bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance. See {TABLE}"
        ));
    } else if expect > 2 && expect.is_multiple_of(2) {
        all.push(format!(
            "bootstrap_expect is even number: A cluster with an even number of servers does not achieve \
             optimum fault tolerance. See {TABLE}"
        ));
    }
    if config.bootstrap {
        all.push("bootstrap = true: do not enable unless necessary".to_owned());
    }
    if expect > 0 {
        all.push(format!("bootstrap_expect > 0: expecting {expect} servers"));
    }
    if config.checks.enable_script && config.http.allow_write_http_from.is_empty() {
        all.push(SCRIPTS.to_owned());
    }
    all
}

/// The first warnings of the log: Consul's read the configuration twice, and each says all of them.
pub fn warnings(loaded: &Loaded) -> Vec<Warning> {
    let messages = messages(loaded);
    let of = |logger: &'static str| messages.iter().map(move |m| Warning { logger, message: m.clone() });
    of("agent").chain(of("agent.auto_config")).collect()
}
