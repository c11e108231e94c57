//! Checks that look at more than one value, or at what a value means; Consul's words where it has any.
//!
//! Called by `meant.rs` when every value has been read.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::Config;
use super::values::Values;

/// Node metadata: Consul's limits.
const META_PAIRS_MAX: usize = 64;
const META_KEY_BYTES_MAX: usize = 128;
const META_VALUE_BYTES_MAX: usize = 512;

pub(super) fn check(v: &mut Values<'_>, config: &mut Config) {
    directory(v, config);
    bootstrap(v, config);
    names(v, config);
    addresses(v, config);
    node_meta(v, config);
    if v.bool("ui") == Some(true) && v.filled("ui_dir").is_some() {
        let first = "Both the ui and ui-dir flags were specified, please provide only one.";
        let second = "If trying to use your own web UI resources, use the ui-dir flag.";
        v.refuse("ui_dir", format!("{first}\n{second}\nThe web UI is included in the binary so use ui to enable it"));
    }
    for recursor in config.dns.recursors.clone() {
        if recursor.starts_with("unix://") {
            v.refuse("recursors", format!("DNS Recursors cannot be unix sockets: {recursor}"));
        }
        let bare = recursor.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<IpAddr>().is_ok_and(|addr| addr.is_unspecified()) {
            v.refuse("recursors", "DNS recursor address cannot be 0.0.0.0, :: or [::]");
        }
    }
}

fn directory(v: &mut Values<'_>, config: &Config) {
    match &config.data_dir {
        None if !config.dev => v.refuse("data_dir", "data_dir cannot be empty"),
        Some(dir) if super::read::is_in_the_way(dir) => {
            let text = format!("data_dir {:?} is not a directory", dir.to_string_lossy());
            v.refuse("data_dir", text);
        }
        _ => {}
    }
}

fn bootstrap(v: &mut Values<'_>, config: &mut Config) {
    let expect = config.bootstrap_expect;
    if config.bootstrap && !config.server {
        v.refuse("bootstrap", "'bootstrap = true' requires 'server = true'");
    }
    if expect > 0 && config.dev {
        v.refuse("bootstrap_expect", "'bootstrap_expect > 0' not allowed in dev mode");
    } else if expect > 0 && !config.server {
        v.refuse("bootstrap_expect", "'bootstrap_expect > 0' requires 'server = true'");
    }
    if expect > 1 && config.bootstrap {
        v.refuse("bootstrap_expect", "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive");
    }
    if expect == 1 {
        config.bootstrap = true;
        config.bootstrap_expect = 0;
    }
}

fn is_datacenter(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

fn names(v: &mut Values<'_>, config: &Config) {
    if config.datacenter.is_empty() {
        v.refuse("datacenter", "datacenter cannot be empty");
    } else if !is_datacenter(&config.datacenter) {
        v.refuse("datacenter", format!("datacenter cannot be {:?}. Please use only [a-z0-9-_]", config.datacenter));
    }
    let is_given = v.filled("primary_datacenter").is_some();
    if is_given && !is_datacenter(&config.primary_datacenter) {
        let text = format!("acl_datacenter cannot be {:?}. Please use only [a-z0-9-_]", config.primary_datacenter);
        v.refuse("primary_datacenter", text);
    } else if is_given && config.primary_datacenter != config.datacenter {
        let text = format!(
            "primary_datacenter cannot be {:?}: datacenters are not federated yet, so it can only be {:?}",
            config.primary_datacenter, config.datacenter
        );
        v.refuse("primary_datacenter", text);
    }
    if config.node_name.is_empty() {
        v.refuse("node_name", "node_name cannot be empty");
    }
}

/// Two uses of one address and port, as Consul names them.
fn addresses(v: &mut Values<'_>, config: &Config) {
    let listen = &config.listen;
    let mut uses: Vec<(&str, &str, SocketAddr)> = Vec::new();
    uses.extend(listen.dns.iter().map(|addr| ("DNS", "ports.dns", *addr)));
    uses.extend(listen.http.iter().map(|addr| ("HTTP", "ports.http", *addr)));
    uses.push(("RPC Advertise", "ports.server", listen.rpc_advertise));
    uses.push(("Serf Advertise LAN", "ports.serf_lan", listen.serf_lan_advertise));
    uses.extend(listen.serf_wan_advertise.map(|addr| ("Serf Advertise WAN", "ports.serf_wan", addr)));
    let mut taken: BTreeMap<SocketAddr, &str> = BTreeMap::new();
    for (name, key, addr) in uses {
        if addr.port() == 0 {
            continue;
        }
        if let Some(other) = taken.insert(addr, name) {
            v.refuse(key, format!("{name} address {addr} already configured for {other}"));
        }
    }
}

fn node_meta(v: &mut Values<'_>, config: &Config) {
    if let Some(fault) = meta_fault(&config.node_meta) {
        v.refuse("node_meta", format!("node_meta invalid: {fault}"));
    }
}

/// What is wrong with metadata of a node or a service.
pub fn meta_fault(meta: &BTreeMap<String, String>) -> Option<String> {
    let fault = |key: &str, value: &str| {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if key.is_empty() {
            Some("Key cannot be blank".to_owned())
        } else if !key.bytes().all(is_plain) {
            Some("Key contains invalid characters".to_owned())
        } else if key.len() > META_KEY_BYTES_MAX {
            Some(format!("Key is too long (limit: {META_KEY_BYTES_MAX} characters)"))
        } else if key.starts_with("consul-") {
            Some("Key prefix 'consul-' is reserved for internal use".to_owned())
        } else if value.len() > META_VALUE_BYTES_MAX {
            Some(format!("Value is too long (limit: {META_VALUE_BYTES_MAX} characters)"))
        } else {
            None
        }
    };
    if meta.len() > META_PAIRS_MAX {
        return Some(format!("Node metadata cannot contain more than {META_PAIRS_MAX} key/value pairs"));
    }
    let mut faults = meta.iter().filter_map(|(key, value)| Some((key, value, fault(key, value)?)));
    faults.next().map(|(key, value, fault)| format!("Couldn't load metadata pair ('{key}', '{value}'): {fault}"))
}
