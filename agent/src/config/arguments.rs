//! The agent's own flags: their table, and what each sets.
//!
//! Called by [`super::load`]. A flag is a setting by another name, so that files and flags are checked by
//! the same code; `-config-*`, `-hcl`, `-dev` and the Atlas flags of old are the exceptions.

use serde_json::{Map, Value};

use crate::flags::{self, Flag, Kind};

use super::document::Written;
use super::keys::{self, Found};
use super::problem::Errors;

const fn text(name: &'static str, help: &'static str) -> Flag {
    Flag::new(name, Kind::String, help).value("value")
}

const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag::new(name, Kind::BoolValue, help)
}

const fn number(name: &'static str, help: &'static str) -> Flag {
    Flag::new(name, Kind::IntValue, help)
}

const fn list(name: &'static str, help: &'static str) -> Flag {
    Flag::new(name, Kind::List, help)
}

/// What Consul lists apart, for other commands have it too.
const SHARED: &[Flag] = &[text("datacenter", "Datacenter of the agent.")];

#[rustfmt::skip]
const OWN: &[Flag] = &[
    text("advertise", "Address told to other members; by default the bind address."),
    text("advertise-wan", "Address told to members of other datacenters; by default the one of -advertise."),
    list("allow-write-http-from", "Network in CIDR notation that may write by HTTP. May be given several times."),
    text("alt-domain", "A second domain to answer DNS questions in."),
    text("atlas", "Without effect: Atlas has ended. Use -retry-join."),
    switch("atlas-join", "Without effect: Atlas has ended. Use -retry-join."),
    text("atlas-endpoint", "Without effect: Atlas has ended. Use -retry-join."),
    text("atlas-token", "Without effect: Atlas has ended. Use -retry-join."),
    text("bind", "Address to bind for gossip and for other servers; by default all, and the one private IPv4 address is told."),
    switch("bootstrap", "Lets this server elect itself. For the first server of a new datacenter only."),
    number("bootstrap-expect", "Number of servers to wait for before the first election; the same on all of them."),
    number("check_output_max_size", "The most bytes of a check's output that are kept."),
    text("client", "Addresses for clients, HTTP and DNS, separated by blanks."),
    list("config-dir", "Directory whose .json and .hcl files are read in the order of their names. May be given several times."),
    list("config-file", "File of settings in JSON or HCL, told apart by its name. May be given several times."),
    Flag::new("config-format", Kind::String, "How to read configuration files whatever their names: 'hcl' or 'json'."),
    text("data-dir", "Directory for the agent's state."),
    text("default-query-time", "How long a blocking query waits when it does not say."),
    switch("dev", "Starts a server that keeps everything in memory, on loopback."),
    switch("disable-host-node-id", "Makes the node ID random, as it always is here."),
    switch("disable-keyring-file", "Keeps gossip keys out of the data directory."),
    number("dns-port", "Port for DNS; -1 for none."),
    text("domain", "Domain to answer DNS questions in."),
    switch("enable-local-script-checks", "Allows check scripts from configuration files."),
    switch("enable-script-checks", "Allows check scripts."),
    text("encrypt", "Key for the encryption of gossip, in base64."),
    number("grpc-port", "Port for gRPC; -1 for none."),
    list("hcl", "Settings in HCL. May be given several times."),
    number("http-port", "Port for HTTP; -1 for none."),
    number("https-port", "Port for HTTPS; -1 for none."),
    list("join", "Address of a member to join at start. May be given several times."),
    list("join-wan", "Address of a server of another datacenter to join at start. May be given several times."),
    text("log-file", "File to write the log to."),
    switch("log-json", "Writes the log as JSON."),
    text("log-level", "The least level to log: TRACE, DEBUG, INFO, WARN or ERROR."),
    number("log-rotate-bytes", "Size at which a log file is closed."),
    text("log-rotate-duration", "Time after which a log file is closed."),
    number("log-rotate-max-files", "The most log files to keep."),
    text("max-query-time", "The longest a blocking query may wait."),
    text("node", "Name of this node, different from all others; by default the host's."),
    text("node-id", "ID of this node; by default a random one that is kept in the data directory."),
    list("node-meta", "Metadata of this node as key:value. May be given several times.").value("key:value"),
    switch("non-voting-server", "(Enterprise-only) Without effect."),
    text("pid-file", "File to write the process ID to."),
    list("primary-gateway", "Address of a mesh gateway in the primary datacenter. May be given several times."),
    number("protocol", "Version of the agents' protocol; by default the latest."),
    number("raft-protocol", "Version of the Raft protocol; by default the latest."),
    list("recursor", "Address of a DNS server for other domains. May be given several times."),
    switch("rejoin", "Joins the pool again after a leave."),
    text("retry-interval", "The longest pause between attempts to join."),
    text("retry-interval-wan", "The longest pause between attempts to join other datacenters."),
    list("retry-join", "Address of a member to join, tried until it answers. May be given several times."),
    list("retry-join-wan", "Address of a server of another datacenter to join, tried until it answers. May be given several times."),
    number("retry-max", "The most attempts to join; 0 for no end."),
    number("retry-max-wan", "The most attempts to join other datacenters; 0 for no end."),
    text("segment", "(Enterprise-only) Network segment to join."),
    list("serf-lan-allowed-cidrs", "Network in CIDR notation that LAN members may be in. May be given several times."),
    text("serf-lan-bind", "Address to bind for LAN gossip; by default that of -bind."),
    number("serf-lan-port", "Port for LAN gossip."),
    list("serf-wan-allowed-cidrs", "Network in CIDR notation that WAN members may be in. May be given several times."),
    text("serf-wan-bind", "Address to bind for WAN gossip; by default that of -bind."),
    number("serf-wan-port", "Port for WAN gossip; -1 for none."),
    switch("server", "Makes this agent a server."),
    number("server-port", "Port for other servers."),
    switch("syslog", "Writes the log to syslog."),
    switch("ui", "Opens the address of the web view, which is not built yet and says so."),
    text("ui-content-path", "Where the web view will be; by default /ui/."),
    text("ui-dir", "Without effect: pages of your own are not served."),
];

const TABLES: &[&[Flag]] = &[SHARED, OWN];

/// Flags whose key is not their name with `_` for `-`.
const KEYS: &[(&str, &str)] = &[
    ("advertise", "advertise_addr"),
    ("advertise-wan", "advertise_addr_wan"),
    ("allow-write-http-from", "http_config.allow_write_http_from"),
    ("bind", "bind_addr"),
    ("client", "client_addr"),
    ("dns-port", "ports.dns"),
    ("grpc-port", "ports.grpc"),
    ("http-port", "ports.http"),
    ("https-port", "ports.https"),
    ("join", "start_join"),
    ("join-wan", "start_join_wan"),
    ("node", "node_name"),
    ("primary-gateway", "primary_gateways"),
    ("recursor", "recursors"),
    ("rejoin", "rejoin_after_leave"),
    ("serf-lan-bind", "serf_lan"),
    ("serf-lan-port", "ports.serf_lan"),
    ("serf-wan-bind", "serf_wan"),
    ("serf-wan-port", "ports.serf_wan"),
    ("server-port", "ports.server"),
    ("syslog", "enable_syslog"),
];

const ATLAS: &[&str] = &["atlas", "atlas-join", "atlas-endpoint", "atlas-token"];

/// Flags that are not settings.
const OTHERS: &[&str] = &["config-dir", "config-file", "config-format", "dev", "hcl"];

/// What the flags said.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub dev: bool,
    /// Files and directories, in the order given.
    pub paths: Vec<String>,
    pub format: Option<String>,
    pub hcl: Vec<String>,
    pub settings: Written,
    /// The Atlas flags given.
    pub atlas: Vec<&'static str>,
}

/// Reads the agent's arguments.
pub(super) fn parse(arguments: &[String]) -> Result<Arguments, Errors> {
    let parsed = flags::parse(TABLES, arguments).map_err(|fault| match fault {
        flags::Error::Help => Errors::Help(help()),
        fault => Errors::Usage(format!("{fault}\n{}", flags::usage(TABLES))),
    })?;
    if !parsed.rest().is_empty() {
        let text = format!("==> Unexpected extra arguments: [{}]\n", parsed.rest().join(" "));
        return Err(Errors::Usage(text));
    }
    let mut found = Arguments {
        dev: parsed.is_on("dev"),
        paths: (parsed.in_order())
            .filter(|(name, _)| matches!(*name, "config-file" | "config-dir"))
            .map(|(_, path)| path.to_owned())
            .collect(),
        format: parsed.given_text("config-format").map(str::to_owned),
        hcl: parsed.list("hcl").to_vec(),
        atlas: ATLAS.iter().copied().filter(|name| parsed.is_given(name)).collect(),
        settings: Written::default(),
    };
    for flag in TABLES.iter().copied().flatten() {
        let is_setting = !OTHERS.contains(&flag.name) && !ATLAS.contains(&flag.name);
        if let (true, Some(value)) = (is_setting, value(&parsed, flag))
            && let Found::Key(key) = keys::find(&key_of(flag.name))
        {
            found.settings.put(key, value, &format!("flag -{}", flag.name));
        }
    }
    Ok(found)
}

fn key_of(name: &str) -> String {
    KEYS.iter().find(|(flag, _)| *flag == name).map_or_else(|| name.replace('-', "_"), |(_, key)| (*key).to_owned())
}

fn value(parsed: &flags::Parsed, flag: &Flag) -> Option<Value> {
    if !parsed.is_given(flag.name) {
        return None;
    }
    Some(match flag.kind {
        Kind::Bool | Kind::BoolValue => Value::Bool(parsed.is_on(flag.name)),
        Kind::IntValue | Kind::Uint | Kind::UintValue => Value::from(parsed.given_int(flag.name).unwrap_or(0)),
        Kind::String | Kind::Duration | Kind::DurationValue => Value::from(parsed.text(flag.name)),
        Kind::List if flag.name == "node-meta" => {
            let pair = |text: &String| {
                let (key, value) = text.split_once(':').unwrap_or((text, ""));
                (key.to_owned(), Value::from(value))
            };
            Value::Object(parsed.list(flag.name).iter().map(pair).collect::<Map<_, _>>())
        }
        Kind::List | Kind::Pairs => parsed.list(flag.name).iter().cloned().map(Value::from).collect(),
    })
}

/// `agent -h`.
pub fn help() -> String {
    format!(
        "Usage: agent agent [options]\n\n  Starts an agent and runs until an interrupt is received. The agent is\n  \
         one node of a cluster: a server with -server, otherwise a client.\n\n{}\n{}",
        flags::options("HTTP API Options", &[SHARED]),
        flags::options("Command Options", &[OWN]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_that_is_a_setting_has_a_key() {
        for flag in TABLES.iter().copied().flatten() {
            let exempt = OTHERS.contains(&flag.name) || ATLAS.contains(&flag.name);
            assert!(exempt || matches!(keys::find(&key_of(flag.name)), Found::Key(_)), "-{}", flag.name);
        }
    }

    #[test]
    fn node_meta_is_split_at_its_first_colon() {
        let words: Vec<String> = ["-node-meta", "a:b:c", "-node-meta=d"].map(str::to_owned).to_vec();
        let settings = parse(&words).expect("good flags").settings;
        let given = settings.get("node_meta").expect("given");
        assert_eq!(given.value, serde_json::json!({"a": "b:c", "d": ""}));
        assert_eq!(given.place, "flag -node-meta");
    }
}
