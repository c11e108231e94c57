//! What a hang-up may change in a running agent, and what waits for its next start.
//!
//! `agent.rs` loads the configuration again, asks here, applies what may change and logs the rest.

use super::Config;

/// The difference between what runs and what is written now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reload {
    /// The new level of the log, when it differs.
    pub log_level: Option<String>,
    /// Node metadata is told to the catalog and the pool anew.
    pub node_meta: bool,
    /// DNS answers by the new rules (limits, times to live, what passes).
    pub dns: bool,
    /// The largest value of a key, and other limits of requests.
    pub limits: bool,
    /// Keys that differ and only count from the next start.
    pub later: Vec<&'static str>,
}

/// Compares; both are whole configurations, so nothing is read from files here.
pub fn reload(running: &Config, written: &Config) -> Reload {
    let mut later = Vec::new();
    let mut fixed = |key: &'static str, same: bool| {
        if !same {
            later.push(key);
        }
    };
    let (a, b) = (running, written);
    fixed("node_name", a.node_name == b.node_name);
    fixed("node_id", a.node_id == b.node_id);
    fixed("datacenter", a.datacenter == b.datacenter);
    fixed("server", a.server == b.server);
    fixed("bootstrap", a.bootstrap == b.bootstrap);
    fixed("bootstrap_expect", a.bootstrap_expect == b.bootstrap_expect);
    fixed("data_dir", a.data_dir == b.data_dir);
    fixed("pid_file", a.pid_file == b.pid_file);
    fixed("bind_addr", a.bind_addr == b.bind_addr);
    fixed("advertise_addr", a.advertise_addr == b.advertise_addr);
    fixed("advertise_addr_wan", a.advertise_addr_wan == b.advertise_addr_wan);
    fixed("client_addr", a.client_addrs == b.client_addrs);
    fixed("ports", a.ports == b.ports);
    fixed("addresses", a.listen.dns.len() == b.listen.dns.len() && a.listen.http.len() == b.listen.http.len());
    fixed("tagged_addresses", a.tagged_addresses == b.tagged_addresses);
    fixed("retry_join", a.join_lan == b.join_lan);
    fixed("retry_join_wan", a.join_wan == b.join_wan);
    fixed("rejoin_after_leave", a.rejoin_after_leave == b.rejoin_after_leave);
    fixed("gossip_lan", a.gossip_lan == b.gossip_lan);
    fixed("gossip_wan", a.gossip_wan == b.gossip_wan);
    fixed("reconnect_timeout", a.reconnect_timeout_lan == b.reconnect_timeout_lan);
    fixed("reconnect_timeout_wan", a.reconnect_timeout_wan == b.reconnect_timeout_wan);
    fixed("protocol", a.protocol == b.protocol);
    fixed("encrypt", a.encrypt == b.encrypt);
    fixed("leave_on_terminate", a.leave_on_terminate == b.leave_on_terminate);
    fixed("skip_leave_on_interrupt", a.skip_leave_on_interrupt == b.skip_leave_on_interrupt);
    fixed("performance", a.performance == b.performance);
    fixed("raft_snapshot_threshold", a.raft == b.raft);
    fixed("domain", a.dns.domain == b.dns.domain && a.dns.alt_domain == b.dns.alt_domain);
    Reload {
        log_level: (a.log.level != b.log.level).then(|| b.log.level.clone()),
        node_meta: a.node_meta != b.node_meta,
        dns: a.dns != b.dns,
        limits: a.limits != b.limits,
        later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_changes_at_once_and_a_port_with_the_next_start() {
        let running = Config::for_tests("a");
        let mut written = running.clone();
        assert_eq!(reload(&running, &written), Reload::default());
        written.log.level = "TRACE".to_owned();
        written.ports.http = Some(1);
        written.node_meta.insert("rack".to_owned(), "1".to_owned());
        let expected =
            Reload { log_level: Some("TRACE".to_owned()), node_meta: true, later: vec!["ports"], ..Reload::default() };
        assert_eq!(reload(&running, &written), expected);
    }
}
