//! From the entries of `retry_join` to addresses: hosts and DNS names as they are, providers asked anew at
//! each try. One that gives nothing is told in Consul's words and does not stop the others.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::config::Place;

/// Addresses of one provider, at most; the rest is left out, and said so.
const ADDRESSES_MAX: usize = 4_096;
/// A longer file is no list of addresses.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Multicast DNS is listened to no longer, whatever `timeout` says.
const MDNS_TIME_MAX: Duration = Duration::from_secs(60);

/// Everything the entries name now.
pub(super) async fn addresses(entries: &[String], cluster: &str) -> Vec<String> {
    let mut all = Vec::new();
    for entry in entries {
        let found = match Place::parse(entry) {
            Ok(Place::Address(address)) => {
                all.push(address);
                continue;
            }
            Ok(Place::File { path }) => file(&path).await,
            Ok(Place::Mdns { service, domain, timeout, v4, v6 }) => mdns(&service, &domain, timeout, v4, v6).await,
            // The configuration lets no such entry pass.
            Err(fault) => Err(fault),
        };
        match found {
            Ok(mut found) => {
                if found.len() > ADDRESSES_MAX {
                    tracing::warn!(target: "agent", cluster, address = %entry, taken = ADDRESSES_MAX, named = found.len(), "too many addresses, the rest is left out");
                    found.truncate(ADDRESSES_MAX);
                }
                let servers = found.join(" ");
                tracing::info!(target: "agent", cluster, servers = %servers, "Discovered servers");
                all.extend(found);
            }
            Err(error) => {
                tracing::error!(target: "agent", cluster, address = %entry, error = %error, "Cannot discover address");
            }
        }
    }
    all
}

async fn file(path: &Path) -> Result<Vec<String>, String> {
    let failed = |problem: std::io::Error| format!("read {}: {problem}", path.display());
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).await.map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{} is longer than {FILE_BYTES_MAX} bytes", path.display()));
    }
    list(&text).map_err(|fault| format!("{}: {fault}", path.display()))
}

/// One address a line, what follows a `#` left out; or a JSON list of texts.
fn list(text: &str) -> Result<Vec<String>, String> {
    if text.trim_start().starts_with('[') && text.trim_end().ends_with(']') && text.contains('"') {
        return serde_json::from_str(text).map_err(|fault| format!("it begins as a JSON list and is none: {fault}"));
    }
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines
        .filter(|line| !line.is_empty())
        .map(|line| match line.contains(char::is_whitespace) {
            true => Err(format!("{line:?} is no address: one a line")),
            false => Ok(line.to_owned()),
        })
        .collect()
}

/// The daemon of the crate is a thread and a few sockets: it lives for this question alone.
async fn mdns(service: &str, domain: &str, limit: Duration, v4: bool, v6: bool) -> Result<Vec<String>, String> {
    let failed = |problem: mdns_sd::Error| format!("ask for {service} by multicast DNS: {problem}");
    let daemon = mdns_sd::ServiceDaemon::new().map_err(failed)?;
    let name = format!("{}.{}.", service.trim_matches('.'), domain.trim_matches('.'));
    let outcome = match daemon.browse(&name) {
        Ok(events) => {
            let mut found: Vec<SocketAddr> = Vec::new();
            let listen = async {
                while let Ok(event) = events.recv_async().await {
                    if let mdns_sd::ServiceEvent::ServiceResolved(service) = event {
                        let addresses = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr);
                        take(&mut found, addresses, service.port, v4, v6);
                    }
                }
            };
            // The time is over when it is over: there is no last answer.
            let _ = tokio::time::timeout(limit.min(MDNS_TIME_MAX), listen).await;
            Ok(found.iter().map(ToString::to_string).collect())
        }
        Err(problem) => Err(failed(problem)),
    };
    if let Ok(ended) = daemon.shutdown() {
        let _ = tokio::time::timeout(Duration::from_secs(1), ended.recv_async()).await;
    }
    outcome
}

fn take(found: &mut Vec<SocketAddr>, addresses: impl Iterator<Item = IpAddr>, port: u16, v4: bool, v6: bool) {
    for ip in addresses.filter(|ip| if ip.is_ipv4() { v4 } else { v6 }) {
        let address = SocketAddr::new(ip, port);
        if !found.contains(&address) && found.len() < ADDRESSES_MAX {
            found.push(address);
        }
    }
    found.sort_unstable();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(list(text), Ok(expected.iter().map(ToString::to_string).collect()));
    }

    #[test]
    fn a_file_has_one_address_a_line_or_is_a_json_list() {
        check(
            "10.0.0.1\n\n# all of them\n node-b:9000  # the second\n[::1]:8301\n",
            &["10.0.0.1", "node-b:9000", "[::1]:8301"],
        );
        check("[\"10.0.0.1\", \"10.0.0.2:8301\"]\n", &["10.0.0.1", "10.0.0.2:8301"]);
        check("", &[]);
        assert!(list("[\"10.0.0.1\" 5]").is_err());
        assert!(list("10.0.0.1 10.0.0.2").is_err());
    }

    #[tokio::test]
    async fn a_file_is_read_anew_and_one_that_is_not_there_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("servers");
        let entries = [format!("provider=file path={}", path.display()), "127.0.0.9".to_owned()];
        assert_eq!(addresses(&entries, "LAN").await, ["127.0.0.9"]);
        std::fs::write(&path, "127.0.0.1\n").expect("written");
        assert_eq!(addresses(&entries, "LAN").await, ["127.0.0.1", "127.0.0.9"]);
        let fault = file(&dir.path().join("none")).await.expect_err("no such file");
        assert!(fault.contains("none: No such file"), "{fault}");
    }

    #[test]
    fn only_the_families_asked_for_are_taken_and_each_address_once() {
        let mut found = Vec::new();
        let all: Vec<IpAddr> = vec!["10.0.0.1".parse().expect("v4"), "fd00::7".parse().expect("v6")];
        take(&mut found, all.iter().copied().chain(all.iter().copied()), 8301, true, true);
        assert_eq!(found.len(), 2);
        found.clear();
        take(&mut found, all.into_iter(), 8301, true, false);
        assert_eq!(found, ["10.0.0.1:8301".parse().expect("an address")]);
    }
}
