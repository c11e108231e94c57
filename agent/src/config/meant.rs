//! From what was written to what is meant: one [`Config`], or everything that is wrong with it.
//!
//! Called by [`super::load`] after every source was laid over the others. Checks that look at one value
//! are here, those that look at several in `validate.rs`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use base64::Engine as _;

use super::addresses;
use super::document::Written;
use super::keys::{self, Standing};
use super::problem::{Form, Problem};
use super::values::Values;
use super::*;

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Builds the configuration; the problems are all there are.
pub(super) fn build(written: &Written, dev: bool, host: &Host) -> (Config, Vec<Problem>) {
    let mut values = Values { written, host, problems: Vec::new() };
    let v = &mut values;
    let mut config = Config { dev, ..Config::plain("", LOOPBACK) };
    identity(v, host, &mut config);
    network(v, host, &mut config);
    joining(v, &mut config);
    consensus(v, &mut config);
    config.dns = dns(v);
    http(v, &mut config);
    process(v, &mut config);
    encryption(v, &mut config);
    super::validate::check(v, &mut config);
    refuse_keys(v);
    (config, values.problems)
}

/// Keys that we do not have, when they ask for something that Consul would give.
fn refuse_keys(v: &mut Values<'_>) {
    let refused: Vec<_> = (v.written.iter())
        .filter(|(path, given)| !keys::is_off(&given.value) && !v.problems.iter().any(|p| p.key == *path))
        .filter_map(|(path, given)| match keys::find(path) {
            keys::Found::Key(key) => match key.standing {
                Standing::Refused(why) => Some((path, why, given.place.clone())),
                _ => None,
            },
            _ => None,
        })
        .collect();
    for (path, why, place) in refused {
        // Values are left out: tokens and keys are among them.
        let text = match path {
            "segment" | "segments" => why.to_owned(),
            _ => format!("{path} is not supported: {why}"),
        };
        let detail = format!("{path} ({place})");
        v.problems.push(Problem { key: path.to_owned(), text, form: Form::Bare, detail });
    }
}

fn identity(v: &mut Values<'_>, host: &Host, config: &mut Config) {
    config.server = v.bool("server").unwrap_or(config.dev);
    let name = v.text("node_name").unwrap_or_default();
    config.node_name = if name.is_empty() { host.hostname.clone() } else { name.trim().to_owned() };
    if let Some(text) = v.filled("node_id") {
        config.node_id = text.to_lowercase().parse().ok();
        if config.node_id.is_none() || text.len() != 36 {
            let dashes = [8, 13, 18, 23].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
            let stray = text.chars().find(|c| !c.is_ascii_hexdigit() && *c != '-');
            let why = match stray {
                _ if text.len() != 36 => "uuid string is wrong length".to_owned(),
                Some(c) if dashes => format!("encoding/hex: invalid byte: U+{:04X} '{c}'", c as u32),
                _ => "uuid is improperly formatted".to_owned(),
            };
            v.refuse("node_id", format!("failed to setup node ID: specified NodeID is invalid: {why}"));
        }
    }
    config.datacenter = v.text("datacenter").map_or_else(|| "dc1".to_owned(), |dc| dc.to_lowercase());
    config.primary_datacenter =
        v.filled("primary_datacenter").map_or_else(|| config.datacenter.clone(), |dc| dc.to_lowercase());
    config.data_dir = v.path("data_dir");
    config.disable_host_node_id = v.bool("disable_host_node_id").unwrap_or(true);
    config.pid_file = v.path("pid_file");
    config.node_meta = v.map("node_meta");
    config.translate_wan_addrs = v.bool("translate_wan_addrs").unwrap_or(false);
}

fn network(v: &mut Values<'_>, host: &Host, config: &mut Config) {
    config.ports = Ports {
        dns: v.port("ports.dns", Some(8600)),
        http: v.port("ports.http", Some(8500)),
        https: None,
        grpc: None,
        server: required_port(v, "ports.server", 8300),
        serf_lan: required_port(v, "ports.serf_lan", 8301),
        serf_wan: v.port("ports.serf_wan", Some(8302)),
    };
    let bind = match v.filled("bind_addr") {
        None if v.is_given("bind_addr") => None,
        None => Some(if config.dev { LOOPBACK } else { ANY }),
        Some(text) => match addresses::expand(&text, host) {
            Ok(found) if found.len() > 1 => {
                let way = "Use 'addresses.{dns,http,https}' instead.";
                v.refuse("bind_addr", format!("bind_addr cannot contain multiple addresses. {way}"));
                None
            }
            Ok(found) => found.first().copied(),
            Err(_) => None,
        },
    };
    // Consul calls a bind address empty that it cannot read; the line below ours shows what was written.
    if bind.is_none() && v.problems.iter().all(|p| p.key != "bind_addr") {
        v.refuse("bind_addr", "bind_addr cannot be empty");
    }
    config.bind_addr = bind.unwrap_or(LOOPBACK);
    let told = v.address("advertise_addr");
    config.advertise_addr = match told {
        Some(addr) if addr.is_unspecified() => {
            v.refuse("advertise_addr", "Advertise address cannot be 0.0.0.0, :: or [::]");
            addr
        }
        Some(addr) => addr,
        None if config.bind_addr.is_unspecified() && v.filled("advertise_addr").is_none() => {
            addresses::detect(config.bind_addr, host).unwrap_or_else(|fault| {
                v.refuse("bind_addr", fault);
                LOOPBACK
            })
        }
        None => config.bind_addr,
    };
    let told_wan = v.address("advertise_addr_wan");
    if told_wan.is_some_and(|addr| addr.is_unspecified()) {
        v.refuse("advertise_addr_wan", "Advertise WAN address cannot be 0.0.0.0, :: or [::]");
    }
    config.advertise_addr_wan = told_wan.unwrap_or(config.advertise_addr);
    config.client_addrs = v.addresses("client_addr").unwrap_or_else(|| vec![LOOPBACK]);
    listeners(v, config);
    tagged_addresses(v, config);
}

fn required_port(v: &mut Values<'_>, key: &str, default: u16) -> u16 {
    v.port(key, Some(default)).unwrap_or_else(|| {
        // Consul panics here.
        v.misread(key, format!("{key} cannot be switched off"));
        default
    })
}

fn listeners(v: &mut Values<'_>, config: &mut Config) {
    let at = |addrs: &[IpAddr], port: Option<u16>| -> Vec<SocketAddr> {
        port.map_or(Vec::new(), |port| addrs.iter().map(|addr| SocketAddr::new(*addr, port)).collect())
    };
    let dns = v.addresses("addresses.dns").unwrap_or_else(|| config.client_addrs.clone());
    let http = v.addresses("addresses.http").unwrap_or_else(|| config.client_addrs.clone());
    let lan = v.address("serf_lan").unwrap_or(config.bind_addr);
    let wan = v.address("serf_wan").unwrap_or(config.bind_addr);
    let ports = &config.ports;
    config.listen = Listen {
        dns: at(&dns, ports.dns),
        http: at(&http, ports.http),
        https: Vec::new(),
        grpc: Vec::new(),
        rpc_bind: SocketAddr::new(config.bind_addr, ports.server),
        rpc_advertise: SocketAddr::new(config.advertise_addr, ports.server),
        serf_lan_bind: SocketAddr::new(lan, ports.serf_lan),
        serf_lan_advertise: SocketAddr::new(config.advertise_addr, ports.serf_lan),
        serf_wan_bind: ports.serf_wan.map(|port| SocketAddr::new(wan, port)),
        serf_wan_advertise: ports.serf_wan.map(|port| SocketAddr::new(config.advertise_addr_wan, port)),
    };
}

/// The user's, and ours over them, as in Consul.
fn tagged_addresses(v: &mut Values<'_>, config: &mut Config) {
    let mut tagged = v.map("tagged_addresses");
    let family = |addr: IpAddr| if addr.is_ipv4() { "ipv4" } else { "ipv6" };
    for (pool, addr) in [("lan", config.advertise_addr), ("wan", config.advertise_addr_wan)] {
        tagged.insert(pool.to_owned(), addr.to_string());
        tagged.insert(format!("{pool}_{}", family(addr)), addr.to_string());
    }
    let named = [
        ("advertise_addr_ipv4", "lan_ipv4"),
        ("advertise_addr_ipv6", "lan_ipv6"),
        ("advertise_addr_wan_ipv4", "wan_ipv4"),
    ];
    for (key, tag) in named {
        if let Some(addr) = v.address(key) {
            tagged.insert(tag.to_owned(), addr.to_string());
        }
    }
    config.tagged_addresses = tagged;
}

fn joining(v: &mut Values<'_>, config: &mut Config) {
    let pool = |v: &mut Values<'_>, suffix: &str| {
        let key = |name: &str| format!("{name}{suffix}");
        let retry = v.texts(&key("retry_join"));
        for text in &retry {
            if let Err(fault) = Place::parse(text) {
                v.refuse(&key("retry_join"), format!("{} cannot be {text:?}: {fault}", key("retry_join")));
            }
        }
        Join {
            start: v.texts(&key("start_join")),
            retry: retry.into_iter().filter(|text| !text.is_empty()).collect(),
            retry_interval: v.duration(&key("retry_interval"), 30 * super::defaults::SECOND),
            // Consul: below 0 is for ever too.
            retry_max: v.int(&key("retry_max")).and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        }
    };
    config.join_lan = pool(v, "");
    config.join_wan = pool(v, "_wan");
    config.rejoin_after_leave = v.bool("rejoin_after_leave").unwrap_or(false);
    config.reconnect_timeout_lan = v.duration("reconnect_timeout", config.reconnect_timeout_lan);
    config.reconnect_timeout_wan = v.duration("reconnect_timeout_wan", config.reconnect_timeout_wan);
    let standard = |gossip: Gossip| if config.dev { gossip.hurried() } else { gossip };
    config.gossip_lan = gossip(v, "gossip_lan", &standard(Gossip::lan()));
    config.gossip_wan = gossip(v, "gossip_wan", &standard(Gossip::wan()));
    config.protocol = match v.int("protocol") {
        // Consul: 0 is the default.
        None | Some(0 | 2) => 2,
        Some(3) => 3,
        Some(other) => {
            let far = if other < 2 { "low" } else { "high" };
            v.refuse("protocol", format!("Protocol version '{other}' too {far}. Must be in range: [2, 3]"));
            2
        }
    };
    config.disable_keyring_file = v.bool("disable_keyring_file").unwrap_or(config.dev);
    config.disable_coordinates = v.bool("disable_coordinates").unwrap_or(false);
    config.leave_on_terminate = v.bool("leave_on_terminate").unwrap_or(!config.server);
    config.skip_leave_on_interrupt = v.bool("skip_leave_on_interrupt");
}

fn gossip(v: &mut Values<'_>, pool: &str, standard: &Gossip) -> Gossip {
    let key = |name: &str| format!("{pool}.{name}");
    let mut span = |name: &str, standard: Duration| {
        let found = v.duration(&key(name), standard);
        if found.is_zero() {
            v.refuse(&key(name), format!("{} cannot be 0s. Must be greater than zero", key(name)));
            return standard;
        }
        found
    };
    let gossip_interval = span("gossip_interval", standard.gossip_interval);
    let probe_interval = span("probe_interval", standard.probe_interval);
    let probe_timeout = span("probe_timeout", standard.probe_timeout);
    let mut count = |name: &str, standard: u32| match v.count(&key(name), standard) {
        0 => {
            v.refuse(&key(name), format!("{} cannot be 0. Must be greater than zero", key(name)));
            standard
        }
        found => found,
    };
    Gossip {
        gossip_interval,
        gossip_nodes: count("gossip_nodes", standard.gossip_nodes),
        probe_interval,
        probe_timeout,
        retransmit_mult: count("retransmit_mult", standard.retransmit_mult),
        suspicion_mult: count("suspicion_mult", standard.suspicion_mult),
    }
}

fn consensus(v: &mut Values<'_>, config: &mut Config) {
    config.bootstrap = v.bool("bootstrap").unwrap_or(false);
    config.bootstrap_expect = v.count("bootstrap_expect", 0);
    let standard = Performance::default();
    config.performance = Performance {
        raft_multiplier: match v.int("performance.raft_multiplier") {
            None => standard.raft_multiplier,
            Some(n @ 1..=10) => n as u32,
            Some(n) => {
                let text = format!("performance.raft_multiplier cannot be {n}. Must be between 1 and 10");
                v.refuse("performance.raft_multiplier", text);
                standard.raft_multiplier
            }
        },
        leave_drain_time: v.duration("performance.leave_drain_time", standard.leave_drain_time),
        rpc_hold_timeout: v.duration("performance.rpc_hold_timeout", standard.rpc_hold_timeout),
    };
    // Consul: 0 is the default.
    let standard = Raft::default();
    let or_default = |n: u64, default| if n == 0 { default } else { n };
    let interval = v.duration("raft_snapshot_interval", standard.snapshot_interval);
    config.raft = Raft {
        protocol: v.count("raft_protocol", standard.protocol),
        snapshot_threshold: or_default(v.count("raft_snapshot_threshold", 0), standard.snapshot_threshold),
        snapshot_interval: if interval.is_zero() { standard.snapshot_interval } else { interval },
        trailing_logs: or_default(v.count("raft_trailing_logs", 0), standard.trailing_logs),
    };
    let standard = Autopilot::default();
    let text = |key: &str| v.text(key).unwrap_or_default();
    let (zone, upgrade) = (text("autopilot.redundancy_zone_tag"), text("autopilot.upgrade_version_tag"));
    config.autopilot = Autopilot {
        cleanup_dead_servers: v.bool("autopilot.cleanup_dead_servers").unwrap_or(true),
        last_contact_threshold: v.duration("autopilot.last_contact_threshold", standard.last_contact_threshold),
        max_trailing_logs: v.count("autopilot.max_trailing_logs", standard.max_trailing_logs),
        min_quorum: v.count("autopilot.min_quorum", 0),
        server_stabilization_time: v
            .duration("autopilot.server_stabilization_time", standard.server_stabilization_time),
        disable_upgrade_migration: v.bool("autopilot.disable_upgrade_migration").unwrap_or(false),
        redundancy_zone_tag: zone,
        upgrade_version_tag: upgrade,
    };
}

/// Consul: a text may name several, and each is asked once.
fn recursors(v: &Values<'_>) -> Vec<String> {
    let mut once = Vec::new();
    for one in v.texts("recursors").iter().flat_map(|text| text.split_whitespace()) {
        if !once.iter().any(|known| known == one) {
            once.push(one.to_owned());
        }
    }
    once
}

fn dns(v: &mut Values<'_>) -> Dns {
    let standard = Dns::default();
    let domain = |v: &Values<'_>, key: &str| -> Option<String> {
        let text = v.filled(key)?.to_lowercase();
        Some(format!("{}.", text.trim_matches('.'))).filter(|text| text != ".")
    };
    let mut service_ttl = BTreeMap::new();
    for (name, text) in v.map("dns_config.service_ttl") {
        match shared::duration::parse(&text) {
            Ok(ttl) => {
                service_ttl.insert(name, ttl);
            }
            Err(fault) => {
                let text = format!("dns_config.service_ttl[{name:?}]: invalid duration: {text:?}: {fault}");
                v.misread("dns_config.service_ttl", text);
            }
        }
    }
    Dns {
        domain: domain(v, "domain").unwrap_or(standard.domain),
        alt_domain: domain(v, "alt_domain"),
        recursors: recursors(v),
        recursor_timeout: v.duration("dns_config.recursor_timeout", standard.recursor_timeout),
        allow_stale: v.bool("dns_config.allow_stale").unwrap_or(standard.allow_stale),
        max_stale: v.duration("dns_config.max_stale", standard.max_stale),
        a_record_limit: v.count("dns_config.a_record_limit", standard.a_record_limit),
        udp_answer_limit: v.count("dns_config.udp_answer_limit", standard.udp_answer_limit),
        node_ttl: v.duration("dns_config.node_ttl", standard.node_ttl),
        service_ttl,
        only_passing: v.bool("dns_config.only_passing").unwrap_or(standard.only_passing),
        disable_compression: v.bool("dns_config.disable_compression").unwrap_or(standard.disable_compression),
        enable_truncate: v.bool("dns_config.enable_truncate").unwrap_or(standard.enable_truncate),
        enable_additional_node_meta_txt: (v.bool("dns_config.enable_additional_node_meta_txt"))
            .unwrap_or(standard.enable_additional_node_meta_txt),
        use_cache: v.bool("dns_config.use_cache").unwrap_or(standard.use_cache),
        cache_max_age: v.duration("dns_config.cache_max_age", standard.cache_max_age),
        soa: Soa {
            refresh: v.count("dns_config.soa.refresh", standard.soa.refresh),
            retry: v.count("dns_config.soa.retry", standard.soa.retry),
            expire: v.count("dns_config.soa.expire", standard.soa.expire),
            min_ttl: v.count("dns_config.soa.min_ttl", standard.soa.min_ttl),
        },
    }
}

fn http(v: &mut Values<'_>, config: &mut Config) {
    config.http = Http {
        block_endpoints: v.texts("http_config.block_endpoints"),
        response_headers: v.map("http_config.response_headers"),
        allow_write_http_from: v.networks("http_config.allow_write_http_from"),
        use_cache: v.bool("http_config.use_cache").unwrap_or(true),
        disable_unprintable_char_filter: v.bool("disable_http_unprintable_char_filter").unwrap_or(false),
    };
    let standard = Limits::default();
    config.limits = Limits {
        http_max_conns_per_client: v.count("limits.http_max_conns_per_client", standard.http_max_conns_per_client),
        https_handshake_timeout: v.duration("limits.https_handshake_timeout", standard.https_handshake_timeout),
        rpc_handshake_timeout: v.duration("limits.rpc_handshake_timeout", standard.rpc_handshake_timeout),
        rpc_max_conns_per_client: v.count("limits.rpc_max_conns_per_client", standard.rpc_max_conns_per_client),
        rpc_rate: v.float("limits.rpc_rate").filter(|rate| *rate >= 0.0),
        rpc_max_burst: v.count("limits.rpc_max_burst", standard.rpc_max_burst),
        kv_max_value_size: v.count("limits.kv_max_value_size", standard.kv_max_value_size),
        txn_max_req_len: v.count("limits.txn_max_req_len", standard.txn_max_req_len),
    };
    config.ui =
        Ui { enabled: v.bool("ui").unwrap_or(config.dev), content_path: ui_content_path(v), dir: v.path("ui_dir") };
    config.default_query_time = v.duration("default_query_time", config.default_query_time);
    config.max_query_time = v.duration("max_query_time", config.max_query_time);
    config.session_ttl_min = v.duration("session_ttl_min", config.session_ttl_min);
    config.discovery_max_stale = v.duration("discovery_max_stale", config.discovery_max_stale);
}

fn process(v: &mut Values<'_>, config: &mut Config) {
    let standard = Log::default();
    let level = v.filled("log_level").map(|level| level.to_uppercase());
    config.log = Log {
        level: match level.as_deref() {
            None => if config.dev { "DEBUG" } else { "INFO" }.to_owned(),
            Some("ERR") => "ERROR".to_owned(),
            Some("TRACE" | "DEBUG" | "INFO" | "WARN" | "ERROR") => level.unwrap_or_default(),
            Some(_) => {
                let given = v.text("log_level").unwrap_or_default();
                let valid = "Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]";
                v.refuse("log_level", format!("Invalid log level: {given}. {valid}"));
                standard.level
            }
        },
        json: v.bool("log_json").unwrap_or(false),
        file: v.path("log_file"),
        rotate_bytes: v.count("log_rotate_bytes", 0),
        rotate_duration: v.duration("log_rotate_duration", standard.rotate_duration),
        rotate_max_files: v.int("log_rotate_max_files").unwrap_or(0),
    };
    let standard = Checks::default();
    config.checks = Checks {
        update_interval: v.duration("check_update_interval", standard.update_interval),
        output_max_size: match v.int("check_output_max_size") {
            Some(size) if size < 1 => {
                let way = "to discard check output use the discard_check_output flag";
                v.refuse("check_output_max_size", format!("check_output_max_size must be positive, {way}"));
                standard.output_max_size
            }
            _ => v.count("check_output_max_size", standard.output_max_size),
        },
        discard_output: v.bool("discard_check_output").unwrap_or(false),
        enable_script: v.bool("enable_script_checks").unwrap_or(false),
        enable_local_script: (v.bool("enable_local_script_checks")).or(v.bool("enable_script_checks")).unwrap_or(false),
    };
    (config.services, config.node_checks) = super::defined::meant(v, &config.checks);
    config.enable_debug = v.bool("enable_debug").unwrap_or(config.dev);
    config.disable_remote_exec = v.bool("disable_remote_exec").unwrap_or(true);
    config.disable_update_check = v.bool("disable_update_check").unwrap_or(false);
    config.disable_anonymous_signature = v.bool("disable_anonymous_signature").unwrap_or(config.dev);
    // Durations of keys that change nothing here are read all the same: a wrong one is wrong.
    for key in super::keys::TABLE.iter().filter(|key| key.kind == keys::Kind::Duration) {
        let known = v.problems.iter().any(|p| p.key == key.path);
        if !known {
            v.duration(key.path, Duration::ZERO);
        }
    }
}

fn encryption(v: &mut Values<'_>, config: &mut Config) {
    config.encrypt_verify_incoming = v.bool("encrypt_verify_incoming").unwrap_or(true);
    config.encrypt_verify_outgoing = v.bool("encrypt_verify_outgoing").unwrap_or(true);
    let Some(text) = v.filled("encrypt") else { return };
    let problem = match base64::engine::general_purpose::STANDARD.decode(&text) {
        Ok(key) if matches!(key.len(), 16 | 24 | 32) => {
            config.encrypt = Some(EncryptKey(key));
            return;
        }
        Ok(_) => "key size must be 16, 24 or 32 bytes".to_owned(),
        Err(base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _)) => {
            format!("illegal base64 data at input byte {at}")
        }
        Err(_) => format!("illegal base64 data at input byte {}", text.len() / 4 * 4),
    };
    let text = format!("encrypt has invalid key: {problem}");
    v.problems.push(Problem { key: "encrypt".to_owned(), text, form: Form::Bare, detail: String::new() });
}

/// With a slash at both ends; what Consul refuses is refused in its words.
fn ui_content_path(v: &mut Values<'_>) -> String {
    let given = v.filled("ui_content_path").unwrap_or_else(|| "ui".to_owned());
    let is_version = |part: &[u8]| part[0] == b'v' && part[1].is_ascii_digit();
    if !given.chars().all(|c| c.is_ascii_alphanumeric() || "-_/".contains(c)) {
        let text = format!("ui-content-path can only contain alphanumeric, -, _, or /. received: {given}");
        v.refuse("ui_content_path", text);
    } else if given.as_bytes().windows(2).any(is_version) {
        v.refuse("ui_content_path", format!("ui-content-path cannot have 'v[0-9]'. received: {given}"));
    }
    match given.trim_matches('/') {
        "" => "/".to_owned(),
        path => format!("/{path}/"),
    }
}
