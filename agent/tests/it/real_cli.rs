//! HashiCorp's own `consul` command, pointed at an agent of ours and at one of its own in the same state:
//! the same text and the same exit code. `QUORATE_REAL_CONSUL` names the program.

use std::path::PathBuf;
use std::process::Output;

use regex_lite::Regex;

use crate::support::real_consul::{self, RealConsul, run};
use crate::support::{Agent, eventually, scratch};

/// What was said, with what differs from agent to agent named instead.
fn said(program: &PathBuf, ip: &str, line: &[&str]) -> String {
    let words: Vec<String> = line.iter().map(|word| word.replace("{ip}", ip)).collect();
    let address = format!("{ip}:8500");
    let Output { status, stdout, stderr } = run(program, &words, &[("CONSUL_HTTP_ADDR", &address)], "");
    let text =
        format!("exit {:?}\n{}\n{}", status.code(), String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let named = [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
        (r"(?m)^(\S+ +)[0-9a-f]{8}( +\S+ +dc1)", "${1}ID${2}"),
        (r"(CreateIndex|ModifyIndex|LockIndex|Index)(\W+)\d+", "${1}${2}N"),
        (r"[\d.]+ ms", "T ms"),
        (r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", "TIME"),
        (r"[ \t]+", " "),
    ];
    let text = named.iter().fold(text.replace(ip, "IP"), |text, (pattern, name)| {
        Regex::new(pattern).expect("a pattern").replace_all(&text, *name).into_owned()
    });
    if UNORDERED.contains(&line) { sorted(&text) } else { text }
}

/// Consul collects the tags of a service in a Go map, and this one line prints them as they come.
const UNORDERED: &[&[&str]] = &[&["watch", "-type=services"]];

/// Its lines in order, without the commas that tell which was the last.
fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches(',')).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// In this order: what one writes the next reads.
const LINES: &[&[&str]] = &[
    &["members"],
    &["members", "-status=alive"],
    &["members", "-status=failed"],
    &["members", "-wan"],
    &["catalog", "nodes"],
    &["catalog", "nodes", "-detailed"],
    &["catalog", "nodes", "-service=db"],
    &["catalog", "nodes", "-service=nope"],
    &["catalog", "nodes", "-node-meta=kind=db"],
    &["catalog", "nodes", "-filter=Meta.kind == db"],
    &["catalog", "nodes", "-filter=bad"],
    &["catalog", "nodes", "-near=_agent"],
    &["catalog", "services"],
    &["catalog", "services", "-tags"],
    &["catalog", "services", "-node=ext", "-tags"],
    &["catalog", "services", "-node-meta=kind=db"],
    &["catalog", "datacenters"],
    &["kv", "put", "a/b", "1"],
    &["kv", "put", "-flags=7", "a/c", "x"],
    &["kv", "get", "a/b"],
    &["kv", "get", "-detailed", "a/c"],
    &["kv", "get", "-recurse", "a"],
    &["kv", "get", "-keys", "a/"],
    &["kv", "get", "nope"],
    &["kv", "export", "a/"],
    &["kv", "delete", "-recurse", "a/"],
    &["kv", "get", "-recurse", "a"],
    &["event", "-name=deploy", "payload"],
    &["rtt", "one", "one"],
    &["rtt", "one", "nope"],
    &["operator", "raft", "list-peers"],
    &["operator", "raft", "remove-peer", "-address=127.9.9.9:8300"],
    &["watch", "-type=key", "-key=watched"],
    &["watch", "-type=keyprefix", "-prefix=watch"],
    &["watch", "-type=services"],
    &["watch", "-type=nodes"],
    &["watch", "-type=service", "-service=db"],
    &["watch", "-type=service", "-service=db", "-passingonly=true", "-tag=primary"],
    &["watch", "-type=checks", "-state=critical"],
    &["watch", "-type=checks", "-service=db"],
    &["force-leave", "nope"],
    &["join", "{ip}"],
    &["reload"],
    &["intention", "match", "db"],
    &["intention", "check", "a", "b"],
    &["config", "list", "-kind=service-defaults"],
    &["config", "read", "-kind=service-defaults", "-name=db"],
    &["acl", "token", "list"],
    &["acl", "bootstrap"],
];

const REGISTRATIONS: &[&str] = &[
    r#"{"Node": "ext", "Address": "10.9.0.1", "NodeMeta": {"kind": "db"}, "TaggedAddresses": {"lan": "10.9.0.1"},
        "Service": {"ID": "db1", "Service": "db", "Tags": ["primary"], "Port": 5432, "Meta": {"v": "1"}},
        "Checks": [{"Name": "up", "ServiceID": "db1", "Status": "passing"}, {"Name": "disk", "Status": "critical"}]}"#,
    r#"{"Node": "ext2", "Address": "10.9.0.2", "Service": {"Service": "db", "Tags": ["standby"]}}"#,
];

#[test]
fn the_real_command_prints_the_same_of_our_agent_as_of_its_own() {
    let Some(program) = real_consul::program("the_real_command_prints_the_same_of_our_agent_as_of_its_own") else {
        return;
    };
    let real = RealConsul::start(&program);
    let dir = scratch();
    let ours = Agent::server(dir.path());
    for registration in REGISTRATIONS {
        assert_eq!(real.order("/v1/catalog/register", registration).trim(), "true");
        assert_eq!(ours.put("/v1/catalog/register", registration).body.trim(), "true");
    }
    real.order("/v1/kv/watched", "value");
    ours.put("/v1/kv/watched", "value");
    let placed = |text: &str| text.contains("\"one\"");
    eventually("the real one has its place", || real.http("/v1/coordinate/nodes"), |text| placed(text));
    eventually("ours has its place", || ours.get("/v1/coordinate/nodes").body, |text| placed(text));
    let mut differing = Vec::new();
    for line in LINES {
        let theirs = said(&program, &real.ip, line);
        let of_ours = said(&program, &ours.address, line);
        if of_ours != theirs {
            differing.push(format!("{line:?}\n--- ours\n{of_ours}\n--- theirs\n{theirs}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
