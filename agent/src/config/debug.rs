//! `DebugConfig` of `/v1/agent/self`: every key that Consul 1.8.7 shows there, with our values.
//!
//! Called by the root once. `debug.json` has the keys and what Consul's agent shows by default; what the
//! configuration decides is put over it here, and secrets read `hidden`, as Consul's do.

use serde_json::{Map, Value, json};
use shared::duration;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Config, Gossip};

/// Heartbeat silence, election and lease at `raft_multiplier` 1, as `raft` sets them.
const RAFT_SILENCE: Duration = Duration::from_millis(300);
const RAFT_LEASE: Duration = Duration::from_millis(600);

/// The whole object; `node_id` is the one in use, `version` the one programs see.
pub fn debug_config(config: &Config, node_id: &str, version: &str) -> Value {
    let mut shown: Map<String, Value> =
        serde_json::from_str(include_str!("debug.json")).expect("debug.json is an object; a test reads it");
    for part in [identity, network, joining, consensus, dns, http, process] {
        for (key, value) in part(config) {
            shown.insert(key.to_owned(), value);
        }
    }
    shown.insert("NodeID".to_owned(), json!(node_id));
    shown.insert("Version".to_owned(), json!(version));
    Value::Object(shown)
}

type Shown = Vec<(&'static str, Value)>;

fn time(duration: Duration) -> Value {
    Value::String(duration::format(duration))
}

fn path(path: &Option<std::path::PathBuf>) -> Value {
    json!(path.as_ref().map_or(String::new(), |p| p.to_string_lossy().into_owned()))
}

fn port(port: Option<u16>) -> Value {
    port.map_or(json!(-1), |port| json!(port))
}

fn at(protocol: &str, addrs: &[SocketAddr]) -> Vec<String> {
    addrs.iter().map(|addr| format!("{protocol}://{addr}")).collect()
}

fn tcp(addr: impl Into<Option<SocketAddr>>) -> Value {
    json!(addr.into().map_or(String::new(), |addr| format!("tcp://{addr}")))
}

fn identity(c: &Config) -> Shown {
    vec![
        ("ACLDatacenter", json!(c.primary_datacenter)),
        ("Bootstrap", json!(c.bootstrap)),
        ("BootstrapExpect", json!(c.bootstrap_expect)),
        ("DataDir", path(&c.data_dir)),
        ("Datacenter", json!(c.datacenter)),
        ("DevMode", json!(c.dev)),
        ("NodeMeta", json!(c.node_meta)),
        ("NodeName", json!(c.node_name)),
        ("PidFile", path(&c.pid_file)),
        ("PrimaryDatacenter", json!(c.primary_datacenter)),
        ("ServerMode", json!(c.server)),
        ("DisableHostNodeID", json!(c.disable_host_node_id)),
    ]
}

fn network(c: &Config) -> Shown {
    let listen = &c.listen;
    let dns: Vec<String> = at("tcp", &listen.dns).into_iter().chain(at("udp", &listen.dns)).collect();
    vec![
        ("AdvertiseAddrLAN", json!(c.advertise_addr.to_string())),
        ("AdvertiseAddrWAN", json!(c.advertise_addr_wan.to_string())),
        ("BindAddr", json!(c.bind_addr.to_string())),
        ("ClientAddrs", json!(c.client_addrs.iter().map(ToString::to_string).collect::<Vec<_>>())),
        ("DNSAddrs", json!(dns)),
        ("DNSPort", port(c.ports.dns)),
        ("HTTPAddrs", json!(at("tcp", &listen.http))),
        ("HTTPPort", port(c.ports.http)),
        ("HTTPSAddrs", json!(at("tcp", &listen.https))),
        ("HTTPSPort", port(c.ports.https)),
        ("GRPCAddrs", json!(at("tcp", &listen.grpc))),
        ("GRPCPort", port(c.ports.grpc)),
        ("RPCAdvertiseAddr", tcp(listen.rpc_advertise)),
        ("RPCBindAddr", tcp(listen.rpc_bind)),
        ("SerfAdvertiseAddrLAN", tcp(listen.serf_lan_advertise)),
        ("SerfAdvertiseAddrWAN", tcp(listen.serf_wan_advertise)),
        ("SerfBindAddrLAN", tcp(listen.serf_lan_bind)),
        ("SerfBindAddrWAN", tcp(listen.serf_wan_bind)),
        ("SerfPortLAN", json!(c.ports.serf_lan)),
        ("SerfPortWAN", port(c.ports.serf_wan)),
        ("ServerPort", json!(c.ports.server)),
        ("TaggedAddresses", json!(c.tagged_addresses)),
        ("TranslateWANAddrs", json!(c.translate_wan_addrs)),
    ]
}

fn gossip(g: &Gossip, names: [&'static str; 6]) -> Shown {
    let values = [
        time(g.gossip_interval),
        json!(g.gossip_nodes),
        time(g.probe_interval),
        time(g.probe_timeout),
        json!(g.retransmit_mult),
        json!(g.suspicion_mult),
    ];
    names.into_iter().zip(values).collect()
}

fn joining(c: &Config) -> Shown {
    let mut shown = vec![
        ("DisableCoordinates", json!(c.disable_coordinates)),
        ("DisableKeyringFile", json!(c.disable_keyring_file)),
        ("EncryptVerifyIncoming", json!(c.encrypt_verify_incoming)),
        ("EncryptVerifyOutgoing", json!(c.encrypt_verify_outgoing)),
        ("ReconnectTimeoutLAN", time(c.reconnect_timeout_lan)),
        ("ReconnectTimeoutWAN", time(c.reconnect_timeout_wan)),
        ("RejoinAfterLeave", json!(c.rejoin_after_leave)),
        ("RetryJoinIntervalLAN", time(c.join_lan.retry_interval)),
        ("RetryJoinIntervalWAN", time(c.join_wan.retry_interval)),
        ("RetryJoinLAN", json!(c.join_lan.retry)),
        ("RetryJoinMaxAttemptsLAN", json!(c.join_lan.retry_max)),
        ("RetryJoinMaxAttemptsWAN", json!(c.join_wan.retry_max)),
        ("RetryJoinWAN", json!(c.join_wan.retry)),
        ("StartJoinAddrsLAN", json!(c.join_lan.start)),
        ("StartJoinAddrsWAN", json!(c.join_wan.start)),
    ];
    let lan = [
        "GossipLANGossipInterval",
        "GossipLANGossipNodes",
        "GossipLANProbeInterval",
        "GossipLANProbeTimeout",
        "GossipLANRetransmitMult",
        "GossipLANSuspicionMult",
    ];
    let wan = [
        "GossipWANGossipInterval",
        "GossipWANGossipNodes",
        "GossipWANProbeInterval",
        "GossipWANProbeTimeout",
        "GossipWANRetransmitMult",
        "GossipWANSuspicionMult",
    ];
    shown.extend(gossip(&c.gossip_lan, lan));
    shown.extend(gossip(&c.gossip_wan, wan));
    shown
}

fn consensus(c: &Config) -> Shown {
    let a = &c.autopilot;
    let times = c.performance.raft_multiplier;
    vec![
        ("AutopilotCleanupDeadServers", json!(a.cleanup_dead_servers)),
        ("AutopilotDisableUpgradeMigration", json!(a.disable_upgrade_migration)),
        ("AutopilotLastContactThreshold", time(a.last_contact_threshold)),
        ("AutopilotMaxTrailingLogs", json!(a.max_trailing_logs)),
        ("AutopilotMinQuorum", json!(a.min_quorum)),
        ("AutopilotRedundancyZoneTag", json!(a.redundancy_zone_tag)),
        ("AutopilotServerStabilizationTime", time(a.server_stabilization_time)),
        ("AutopilotUpgradeVersionTag", json!(a.upgrade_version_tag)),
        ("ConsulRaftElectionTimeout", time(RAFT_SILENCE * times)),
        ("ConsulRaftHeartbeatTimeout", time(RAFT_SILENCE * times)),
        ("ConsulRaftLeaderLeaseTimeout", time(RAFT_LEASE * times)),
        ("LeaveDrainTime", time(c.performance.leave_drain_time)),
        ("LeaveOnTerm", json!(c.leave_on_terminate)),
        ("RPCHoldTimeout", time(c.performance.rpc_hold_timeout)),
        ("RaftProtocol", json!(c.raft.protocol)),
        ("RaftSnapshotInterval", time(c.raft.snapshot_interval)),
        ("RaftSnapshotThreshold", json!(c.raft.snapshot_threshold)),
        ("RaftTrailingLogs", json!(c.raft.trailing_logs)),
        // Ours depends on the quorum when nothing is said; what is shown then is Consul's default.
        ("SkipLeaveOnInt", json!(c.skip_leave_on_interrupt.unwrap_or(c.server))),
    ]
}

fn dns(c: &Config) -> Shown {
    let d = &c.dns;
    let ttls: Map<String, Value> = d.service_ttl.iter().map(|(name, ttl)| (name.clone(), time(*ttl))).collect();
    vec![
        ("DNSARecordLimit", json!(d.a_record_limit)),
        ("DNSAllowStale", json!(d.allow_stale)),
        ("DNSAltDomain", json!(d.alt_domain.clone().unwrap_or_default())),
        ("DNSCacheMaxAge", time(d.cache_max_age)),
        ("DNSDisableCompression", json!(d.disable_compression)),
        ("DNSDomain", json!(d.domain)),
        ("DNSEnableTruncate", json!(d.enable_truncate)),
        ("DNSMaxStale", time(d.max_stale)),
        ("DNSNodeMetaTXT", json!(d.enable_additional_node_meta_txt)),
        ("DNSNodeTTL", time(d.node_ttl)),
        ("DNSOnlyPassing", json!(d.only_passing)),
        ("DNSRecursorTimeout", time(d.recursor_timeout)),
        ("DNSRecursors", json!(d.recursors)),
        (
            "DNSSOA",
            json!({ "Expire": d.soa.expire, "Minttl": d.soa.min_ttl, "Refresh": d.soa.refresh, "Retry": d.soa.retry }),
        ),
        ("DNSServiceTTL", Value::Object(ttls)),
        ("DNSUDPAnswerLimit", json!(d.udp_answer_limit)),
        ("DNSUseCache", json!(d.use_cache)),
    ]
}

fn http(c: &Config) -> Shown {
    let (h, l) = (&c.http, &c.limits);
    let networks: Vec<String> = h.allow_write_http_from.iter().map(|n| format!("{}/{}", n.addr, n.prefix)).collect();
    vec![
        ("AllowWriteHTTPFrom", json!(networks)),
        ("DefaultQueryTime", time(c.default_query_time)),
        ("DisableHTTPUnprintableCharFilter", json!(h.disable_unprintable_char_filter)),
        ("DiscoveryMaxStale", time(c.discovery_max_stale)),
        ("EnableUI", json!(c.ui.enabled)),
        ("HTTPBlockEndpoints", json!(h.block_endpoints)),
        ("HTTPMaxConnsPerClient", json!(l.http_max_conns_per_client)),
        ("HTTPResponseHeaders", json!(h.response_headers)),
        ("HTTPSHandshakeTimeout", time(l.https_handshake_timeout)),
        ("HTTPUseCache", json!(h.use_cache)),
        ("KVMaxValueSize", json!(l.kv_max_value_size)),
        ("MaxQueryTime", time(c.max_query_time)),
        ("RPCHandshakeTimeout", time(l.rpc_handshake_timeout)),
        ("RPCMaxBurst", json!(l.rpc_max_burst)),
        ("RPCMaxConnsPerClient", json!(l.rpc_max_conns_per_client)),
        ("RPCRateLimit", l.rpc_rate.map_or(json!(-1), |rate| json!(rate))),
        ("SessionTTLMin", time(c.session_ttl_min)),
        ("TxnMaxReqLen", json!(l.txn_max_req_len)),
        ("UIContentPath", json!(c.ui.content_path)),
        ("UIDir", path(&c.ui.dir)),
    ]
}

fn process(c: &Config) -> Shown {
    let (log, checks) = (&c.log, &c.checks);
    vec![
        ("CheckOutputMaxSize", json!(checks.output_max_size)),
        ("CheckUpdateInterval", time(checks.update_interval)),
        ("DisableAnonymousSignature", json!(c.disable_anonymous_signature)),
        ("DisableRemoteExec", json!(c.disable_remote_exec)),
        ("DisableUpdateCheck", json!(c.disable_update_check)),
        ("DiscardCheckOutput", json!(checks.discard_output)),
        ("EnableDebug", json!(c.enable_debug)),
        ("EnableLocalScriptChecks", json!(checks.enable_local_script)),
        ("EnableRemoteScriptChecks", json!(checks.enable_script)),
        (
            "Logging",
            json!({
                "EnableSyslog": false,
                "LogFilePath": path(&log.file),
                "LogJSON": log.json,
                "LogLevel": log.level,
                "LogRotateBytes": log.rotate_bytes,
                "LogRotateDuration": time(log.rotate_duration),
                "LogRotateMaxFiles": log.rotate_max_files,
                "Name": "",
                "SyslogFacility": "LOCAL0",
            }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_one_that_consul_shows() {
        let consul: Map<String, Value> = serde_json::from_str(include_str!("debug.json")).expect("an object");
        let shown = debug_config(&Config::for_tests("a"), "id", "1.8.7");
        let shown = shown.as_object().expect("an object");
        assert_eq!(shown.keys().collect::<Vec<_>>(), consul.keys().collect::<Vec<_>>());
        for (key, value) in shown {
            let kind = |v: &Value| std::mem::discriminant(v);
            assert_eq!(kind(value), kind(&consul[key]), "{key}");
        }
    }
}
