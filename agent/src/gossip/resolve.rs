//! From what an operator types to addresses, and from failures to the words Go prints for them.
//! Used by `join`. The texts are Consul's, since scripts and people search for them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::tcp::DialFailure;

/// Addresses that one name may stand for, at most.
const ADDRESSES_MAX: usize = 64;

/// `host`, `host:port`, `[v6]:port` or a bare v6 address.
pub(super) async fn resolve(text: &str, default_port: u16) -> Result<Vec<SocketAddr>, String> {
    let failed = |why: String| format!("Failed to resolve {text}: {why}");
    let (host, port) = split(text, default_port).map_err(failed)?;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    if host.is_empty() {
        // Nobody is asked for it.
        return Err(failed("lookup : no such host".to_owned()));
    }
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => {
            let mut addresses: Vec<SocketAddr> = Vec::new();
            for address in found.take(ADDRESSES_MAX) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            Ok(addresses)
        }
        Err(_) => Err(failed(format!("lookup {host}{}: no such host", name_server().await))),
    }
}

fn split(text: &str, default_port: u16) -> Result<(&str, u16), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("missing ']' in address")?;
        return Ok((host, port.strip_prefix(':').map_or(Ok(default_port), to_port)?));
    }
    match text.split_once(':') {
        None => Ok((text, default_port)),
        Some((_, port)) if port.contains(':') => Ok((text, default_port)),
        Some((host, port)) => Ok((host, to_port(port)?)),
    }
}

fn to_port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.ParseUint: parsing \"{text}\": {why}")
    })
}

/// ` on 10.0.0.2:53`, as Go tells it: the first server of the resolver's file.
async fn name_server() -> String {
    let Ok(text) = tokio::fs::read_to_string("/etc/resolv.conf").await else { return String::new() };
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .map(|server| format!(" on {}:53", server.trim()))
        .next()
        .unwrap_or_default()
}

/// Go's words for a stream that did not come to be.
pub(super) fn dial_text(to: SocketAddr, failure: &DialFailure) -> String {
    match failure {
        DialFailure::Late => format!("dial tcp {to}: i/o timeout"),
        DialFailure::Connect(error) => format!("dial tcp {to}: connect: {}", errno_text(error)),
        DialFailure::Exchange(error) if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        DialFailure::Exchange(error) => format!("read tcp {to}: {}", errno_text(error)),
    }
}

fn errno_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(&str, u16), &str>) {
        assert_eq!(split(text, 8301), expected.map_err(str::to_owned));
    }

    #[test]
    fn a_port_is_taken_from_the_address_or_is_the_pools() {
        check("172.20.20.10", Ok(("172.20.20.10", 8301)));
        check("node-b:9000", Ok(("node-b", 9000)));
        check("[::1]:9000", Ok(("::1", 9000)));
        check("[::1]", Ok(("::1", 8301)));
        check("fd00::7", Ok(("fd00::7", 8301)));
        check("a:foo", Err("strconv.ParseUint: parsing \"foo\": invalid syntax"));
        check("a:70000", Err("strconv.ParseUint: parsing \"70000\": value out of range"));
    }
}
