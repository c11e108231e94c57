//! What a member says of itself in gossip: Consul's tags, and `impl`, which says what it really is.

use std::collections::BTreeMap;

use crate::config::Config;

/// The Consul API level: clients compare it, so it is Consul's number and not ours.
pub const API_VERSION: &str = "1.8.7";
/// What we are.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The tags of this agent in the LAN pool, or with `wan` in the WAN pool.
pub(super) fn tags(config: &Config, node_id: uuid::Uuid, wan: bool) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([
        ("dc", config.datacenter.clone()),
        ("id", node_id.to_string()),
        ("acls", "0".to_owned()),
        ("segment", String::new()),
        ("vsn", config.protocol.to_string()),
        ("vsn_min", "2".to_owned()),
        ("vsn_max", "3".to_owned()),
        ("build", format!("{API_VERSION}:")),
        ("impl", format!("quorate-{VERSION}")),
    ]);
    if config.server {
        tags.insert("role", "consul".to_owned());
        tags.insert("port", config.listen.rpc_advertise.port().to_string());
        tags.insert("raft_vsn", config.raft.protocol.to_string());
        tags.insert("ft_fs", "1".to_owned());
        if let Some(address) = config.listen.serf_wan_advertise.filter(|_| !wan) {
            tags.insert("wan_join_port", address.port().to_string());
        }
        if config.bootstrap {
            tags.insert("bootstrap", "1".to_owned());
        }
        if config.bootstrap_expect > 0 {
            tags.insert("expect", config.bootstrap_expect.to_string());
        }
    } else {
        tags.insert("role", "node".to_owned());
    }
    tags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bootstrap_server_says_what_consul_says() {
        let config = Config { server: true, bootstrap: true, ..Config::for_tests("one") };
        let names: Vec<_> = tags(&config, uuid::Uuid::nil(), false).into_keys().filter(|name| name != "impl").collect();
        let consul = [
            "acls",
            "bootstrap",
            "build",
            "dc",
            "ft_fs",
            "id",
            "port",
            "raft_vsn",
            "role",
            "segment",
            "vsn",
            "vsn_max",
            "vsn_min",
            "wan_join_port",
        ];
        assert_eq!(names, consul);
    }

    #[test]
    fn a_client_has_no_server_tags() {
        let config = Config { server: false, ..Config::for_tests("one") };
        let tags = tags(&config, uuid::Uuid::nil(), false);
        assert_eq!(tags["role"], "node");
        assert!(!tags.contains_key("port"));
    }
}
