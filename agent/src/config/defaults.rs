//! What an agent is when nobody says otherwise: Consul 1.8.7's defaults, and ours where compat.md says so.
//!
//! The loader starts from here; tests of other rooms use [`Config::for_tests`].

use super::*;
use std::net::Ipv4Addr;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);

impl Gossip {
    pub fn lan() -> Gossip {
        Gossip {
            gossip_interval: Duration::from_millis(200),
            gossip_nodes: 3,
            probe_interval: SECOND,
            probe_timeout: Duration::from_millis(500),
            retransmit_mult: 4,
            suspicion_mult: 4,
        }
    }

    pub fn wan() -> Gossip {
        Gossip {
            gossip_interval: Duration::from_millis(500),
            gossip_nodes: 3,
            probe_interval: 5 * SECOND,
            probe_timeout: 3 * SECOND,
            retransmit_mult: 4,
            suspicion_mult: 6,
        }
    }

    /// As `-dev` has it in both pools.
    #[must_use]
    pub fn hurried(self) -> Gossip {
        let soon = Duration::from_millis(100);
        Gossip { gossip_interval: soon, probe_interval: soon, probe_timeout: soon, suspicion_mult: 3, ..self }
    }
}

impl Default for Ports {
    fn default() -> Ports {
        Ports {
            dns: Some(8600),
            http: Some(8500),
            https: None,
            grpc: None,
            server: 8300,
            serf_lan: 8301,
            serf_wan: Some(8302),
        }
    }
}

impl Default for Performance {
    fn default() -> Performance {
        Performance { raft_multiplier: 1, leave_drain_time: 5 * SECOND, rpc_hold_timeout: 7 * SECOND }
    }
}

impl Default for Raft {
    fn default() -> Raft {
        Raft { protocol: 3, snapshot_threshold: 16_384, snapshot_interval: 30 * SECOND, trailing_logs: 10_240 }
    }
}

impl Default for Autopilot {
    fn default() -> Autopilot {
        Autopilot {
            cleanup_dead_servers: true,
            last_contact_threshold: Duration::from_millis(200),
            max_trailing_logs: 250,
            min_quorum: 0,
            server_stabilization_time: 10 * SECOND,
            disable_upgrade_migration: false,
            redundancy_zone_tag: String::new(),
            upgrade_version_tag: String::new(),
        }
    }
}

impl Default for Dns {
    fn default() -> Dns {
        Dns {
            domain: "consul.".to_owned(),
            alt_domain: None,
            recursors: Vec::new(),
            recursor_timeout: 2 * SECOND,
            allow_stale: true,
            max_stale: 87_600 * 60 * MINUTE,
            a_record_limit: 0,
            udp_answer_limit: 3,
            node_ttl: Duration::ZERO,
            service_ttl: BTreeMap::new(),
            only_passing: false,
            disable_compression: false,
            enable_truncate: false,
            enable_additional_node_meta_txt: true,
            use_cache: false,
            cache_max_age: Duration::ZERO,
            soa: Soa { refresh: 3600, retry: 600, expire: 86_400, min_ttl: 0 },
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            http_max_conns_per_client: 200,
            https_handshake_timeout: 5 * SECOND,
            rpc_handshake_timeout: 5 * SECOND,
            rpc_max_conns_per_client: 100,
            rpc_rate: None,
            rpc_max_burst: 1000,
            kv_max_value_size: 512 * 1024,
            txn_max_req_len: 512 * 1024,
        }
    }
}

impl Default for Ui {
    fn default() -> Ui {
        Ui { enabled: false, content_path: "/ui/".to_owned(), dir: None }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log {
            level: "INFO".to_owned(),
            json: false,
            file: None,
            rotate_bytes: 0,
            rotate_duration: Duration::ZERO,
            rotate_max_files: 0,
        }
    }
}

impl Default for Checks {
    fn default() -> Checks {
        Checks {
            update_interval: 5 * MINUTE,
            output_max_size: 4096,
            discard_output: false,
            enable_script: false,
            enable_local_script: false,
        }
    }
}

impl Listen {
    /// Every listener on `addr`, at the ports given.
    pub fn at(addr: IpAddr, ports: &Ports) -> Listen {
        let all = |port: Option<u16>| port.map(|p| SocketAddr::new(addr, p)).into_iter().collect::<Vec<_>>();
        let rpc = SocketAddr::new(addr, ports.server);
        let lan = SocketAddr::new(addr, ports.serf_lan);
        let wan = ports.serf_wan.map(|p| SocketAddr::new(addr, p));
        Listen {
            dns: all(ports.dns),
            http: all(ports.http),
            https: all(ports.https),
            grpc: all(ports.grpc),
            rpc_bind: rpc,
            rpc_advertise: rpc,
            serf_lan_bind: lan,
            serf_lan_advertise: lan,
            serf_wan_bind: wan,
            serf_wan_advertise: wan,
        }
    }
}

impl Config {
    /// A lone bootstrap server in memory on loopback with every port free to choose: what a test starts from.
    pub fn for_tests(node_name: &str) -> Config {
        let ports =
            Ports { dns: Some(0), http: Some(0), https: None, grpc: None, server: 0, serf_lan: 0, serf_wan: Some(0) };
        Config {
            listen: Listen::at(LOOPBACK, &ports),
            ports,
            server: true,
            bootstrap: true,
            dev: true,
            ..Config::plain(node_name, LOOPBACK)
        }
    }

    /// A client agent of `dc1` at `addr` with every default.
    pub(super) fn plain(node_name: &str, addr: IpAddr) -> Config {
        let ports = Ports::default();
        let retry = || Join { retry_interval: 30 * SECOND, ..Join::default() };
        Config {
            node_name: node_name.to_owned(),
            node_id: None,
            datacenter: "dc1".to_owned(),
            primary_datacenter: "dc1".to_owned(),
            server: false,
            bootstrap: false,
            bootstrap_expect: 0,
            dev: false,
            data_dir: None,
            pid_file: None,
            disable_host_node_id: true,
            node_meta: BTreeMap::new(),
            tagged_addresses: BTreeMap::new(),
            translate_wan_addrs: false,
            bind_addr: addr,
            advertise_addr: addr,
            advertise_addr_wan: addr,
            client_addrs: vec![LOOPBACK],
            listen: Listen::at(addr, &ports),
            ports,
            join_lan: retry(),
            join_wan: retry(),
            rejoin_after_leave: false,
            protocol: 2,
            reconnect_timeout_lan: Duration::ZERO,
            reconnect_timeout_wan: Duration::ZERO,
            gossip_lan: Gossip::lan(),
            gossip_wan: Gossip::wan(),
            encrypt: None,
            encrypt_verify_incoming: true,
            encrypt_verify_outgoing: true,
            disable_keyring_file: false,
            disable_coordinates: false,
            leave_on_terminate: true,
            skip_leave_on_interrupt: None,
            performance: Performance::default(),
            raft: Raft::default(),
            autopilot: Autopilot::default(),
            dns: Dns::default(),
            http: Http { use_cache: true, ..Http::default() },
            limits: Limits::default(),
            ui: Ui::default(),
            log: Log::default(),
            checks: Checks::default(),
            services: Vec::new(),
            node_checks: Vec::new(),
            default_query_time: 5 * MINUTE,
            max_query_time: 10 * MINUTE,
            session_ttl_min: Duration::ZERO,
            discovery_max_stale: Duration::ZERO,
            enable_debug: false,
            disable_remote_exec: true,
            disable_update_check: false,
            disable_anonymous_signature: false,
        }
    }
}
