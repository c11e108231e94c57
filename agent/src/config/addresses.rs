//! Which addresses an agent binds, tells others and serves clients on.
//!
//! Called by `meant.rs`. The machine's addresses come in as values; nothing is asked or looked up here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Host, Interface, Network};

/// Addresses of a text: several separated by blanks, or one of the templates people use
/// (`{{ GetPrivateIP }}`, `{{ GetInterfaceIP "eth0" }}`, …).
/// The error is Consul's message without the key: `invalid ip address: x`.
pub(super) fn expand(text: &str, host: &Host) -> Result<Vec<IpAddr>, String> {
    let text = text.trim();
    if text.contains("{{") {
        return template(text, host);
    }
    let bare = |word: &str| word.strip_prefix('[').and_then(|w| w.strip_suffix(']')).unwrap_or(word).to_owned();
    text.split_whitespace().map(|word| bare(word).parse().map_err(|_| format!("invalid ip address: {word}"))).collect()
}

/// One call between `{{ }}`; the rest of go-sockaddr's language is refused by name.
fn template(text: &str, host: &Host) -> Result<Vec<IpAddr>, String> {
    let refuse = || {
        let known = "GetPrivateIP, GetPrivateIPs, GetPublicIP, GetPublicIPs, GetInterfaceIP \"NAME\" and GetInterfaceIPs \"NAME\"";
        Err(format!("error parsing {text:?}: of templates only {known} are known here"))
    };
    let Some(inner) = text.strip_prefix("{{").and_then(|t| t.strip_suffix("}}")) else { return refuse() };
    let inner = inner.trim().trim_start_matches('-').trim_end_matches('-').trim();
    let (function, argument) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
    let argument = argument.trim().trim_matches(['"', '`']);
    let here = active(host);
    let of = |wanted: &dyn Fn(&Interface) -> bool| -> Vec<IpAddr> {
        here.iter().filter(|i| wanted(i)).map(|i| i.addr).collect()
    };
    let private = |i: &Interface| i.addr.is_ipv4() && !i.is_loopback && is_private(i.addr);
    let public = |i: &Interface| i.addr.is_ipv4() && !i.is_loopback && !is_private(i.addr);
    let named = |i: &Interface| i.name == argument && !is_link_local(i.addr);
    let mut found = match (function, argument) {
        ("GetPrivateIP" | "GetPrivateIPs", "") => of(&private),
        ("GetPublicIP" | "GetPublicIPs", "") => of(&public),
        ("GetInterfaceIP" | "GetInterfaceIPs", name) if !name.is_empty() => of(&named),
        _ => return refuse(),
    };
    if !function.ends_with('s') {
        found.truncate(1);
    }
    Ok(found)
}

/// Addresses of real interfaces; those of the loopback one only when there is no other.
fn active(host: &Host) -> Vec<&Interface> {
    let real: Vec<_> = host.interfaces.iter().filter(|i| !i.is_loopback).collect();
    if real.is_empty() { host.interfaces.iter().collect() } else { real }
}

/// What to tell others when the agent binds every address: the only private IPv4, or the only public IPv6.
pub(super) fn detect(bind: IpAddr, host: &Host) -> Result<IpAddr, String> {
    let (kind, wanted): (_, fn(IpAddr) -> bool) = match bind {
        IpAddr::V4(_) => ("private IPv4", |addr| addr.is_ipv4() && is_private(addr)),
        IpAddr::V6(_) => ("public IPv6", is_public_v6),
    };
    let found: Vec<IpAddr> = active(host).iter().map(|i| i.addr).filter(|addr| wanted(*addr)).collect();
    match found.as_slice() {
        [] => Err(format!("No {kind} address found")),
        [one] => Ok(*one),
        _ => Err(format!("Multiple {kind} addresses found. Please configure one with 'bind' and/or 'advertise'.")),
    }
}

/// Consul: carrier-grade, loopback and link-local addresses count as private (`ipaddr.go`; measured).
fn is_private(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared
        }
        IpAddr::V6(_) => !is_public_v6(addr),
    }
}

fn is_public_v6(addr: IpAddr) -> bool {
    let IpAddr::V6(v6) = addr else { return false };
    let local = v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unique_local();
    !(local || v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some())
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// `10.0.0.0/8`; None when it is no block.
pub(super) fn network(text: &str) -> Option<Network> {
    let (addr, prefix) = text.split_once('/')?;
    let addr: IpAddr = addr.parse().ok()?;
    let prefix: u8 = prefix.parse().ok()?;
    (prefix <= if addr.is_ipv4() { 32 } else { 128 }).then_some(Network { addr, prefix })
}

impl Network {
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.addr, other) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                Ipv4Addr::to_bits(mine) & mask == Ipv4Addr::to_bits(other) & mask
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                Ipv6Addr::to_bits(mine) & mask == Ipv6Addr::to_bits(other) & mask
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(addrs: &str) -> Host {
        let interface = |word: &str| {
            let (name, addr) = word.split_once('=').expect("name=addr");
            Interface { name: name.to_owned(), addr: addr.parse().expect("an address"), is_loopback: name == "lo" }
        };
        Host { hostname: "h".to_owned(), interfaces: addrs.split_whitespace().map(interface).collect() }
    }

    #[track_caller]
    fn told(bind: &str, addrs: &str, expected: Result<&str, &str>) {
        let found = detect(bind.parse().expect("an address"), &host(addrs)).map(|addr| addr.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{bind} on {addrs}");
    }

    #[test]
    fn the_one_private_address_is_told_to_others() {
        let several = "Multiple private IPv4 addresses found. Please configure one with 'bind' and/or 'advertise'.";
        told("0.0.0.0", "lo=127.0.0.1 lo=::1", Ok("127.0.0.1"));
        told("0.0.0.0", "lo=127.0.0.1 eth0=10.1.1.1 eth0=fe80::1", Ok("10.1.1.1"));
        told("0.0.0.0", "lo=127.0.0.1 eth0=10.1.1.1 eth1=192.168.1.1", Err(several));
        told("0.0.0.0", "lo=127.0.0.1 eth0=9.9.9.9", Err("No private IPv4 address found"));
        told("0.0.0.0", "lo=127.0.0.1 eth0=fe80::1", Err("No private IPv4 address found"));
        told("0.0.0.0", "eth0=9.9.9.9 eth0=172.16.0.1", Ok("172.16.0.1"));
        told("0.0.0.0", "eth0=100.64.0.1", Ok("100.64.0.1"));
        told("0.0.0.0", "eth0=169.254.0.1", Ok("169.254.0.1"));
        told("0.0.0.0", "eth0=198.18.0.1", Err("No private IPv4 address found"));
        told("::", "eth0=172.16.0.1 eth0=fd00::1", Err("No public IPv6 address found"));
        told("::", "eth0=172.16.0.1 eth0=2001:db9::1", Ok("2001:db9::1"));
    }

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let host = host("lo=127.0.0.1 v0=10.1.1.1 v0=10.1.1.2 v1=9.9.9.9 v1=fe80::1");
        let found = expand(text, &host).map(|all| all.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" "));
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn addresses_are_written_as_such_or_as_templates() {
        check("10.1.1.1 ::1 [::2]", Ok("10.1.1.1 ::1 ::2"));
        check("localhost", Err("invalid ip address: localhost"));
        check("{{ GetPrivateIP }}", Ok("10.1.1.1"));
        check("{{GetPrivateIPs}}", Ok("10.1.1.1 10.1.1.2"));
        check("{{ GetPublicIP }}", Ok("9.9.9.9"));
        check("{{ GetInterfaceIP \"v1\" }}", Ok("9.9.9.9"));
        check("{{ GetInterfaceIP \"v7\" }}", Ok(""));
        assert!(expand("{{ GetAllInterfaces | include \"network\" }}", &host("")).is_err());
    }

    #[test]
    fn a_network_holds_the_addresses_of_its_prefix() {
        let holds = |block: &str, addr: &str| network(block).expect(block).contains(addr.parse().expect(addr));
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("fd00::/8", "fd12::1"));
        assert_eq!(network("1.2.3.4/44"), None);
        assert_eq!(network("x"), None);
    }
}
