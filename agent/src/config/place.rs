//! What an entry of `retry_join` names: an address, or a provider that knows addresses.
//! Read by `meant`, which refuses what is wrong, and by `discovery`, which asks the providers.

use std::path::PathBuf;
use std::time::Duration;

use shared::duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A host or DNS name, with or without a port.
    Address(String),
    /// A file with one address a line, or a JSON list of them.
    File { path: PathBuf },
    /// Services announced in the local network.
    Mdns { service: String, domain: String, timeout: Duration, v4: bool, v6: bool },
}

/// Providers of Consul that ours does not have.
const ELSEWHERE: &[&str] = &[
    "aliyun",
    "aws",
    "azure",
    "digitalocean",
    "gce",
    "k8s",
    "linode",
    "os",
    "packet",
    "scaleway",
    "softlayer",
    "tencentcloud",
    "triton",
    "vsphere",
];
const INSTEAD: &str = "name a DNS name that resolves to the members, or write their addresses to a file and use \
                       provider=file path=/where/it/is";

impl Place {
    /// Names of the providers that are built in.
    pub const PROVIDERS: &str = "file mdns";

    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.contains("provider=") {
            return Ok(Self::Address(text.to_owned()));
        }
        let mut pairs = pairs(text)?;
        let mut take = |key: &str| pairs.iter().position(|(known, _)| known == key).map(|at| pairs.remove(at).1);
        let provider = take("provider").unwrap_or_default();
        let place = match provider.as_str() {
            "file" => {
                let path = take("path").filter(|path| !path.is_empty());
                Self::File { path: path.ok_or("provider=file wants path=/where/it/is")?.into() }
            }
            "mdns" => {
                let service = take("service").filter(|service| !service.is_empty());
                let service = service.ok_or("provider=mdns wants service=_name._tcp")?;
                let domain = take("domain").filter(|domain| !domain.is_empty()).unwrap_or_else(|| "local".to_owned());
                if domain.trim_matches('.') != "local" {
                    return Err(format!("domain={domain}: multicast DNS knows the domain local alone"));
                }
                if !(service.ends_with("._tcp") || service.ends_with("._udp")) {
                    return Err(format!("service={service}: it must end in ._tcp or ._udp"));
                }
                let timeout = take("timeout").filter(|timeout| !timeout.is_empty()).unwrap_or_else(|| "5s".to_owned());
                let timeout = duration::parse(&timeout).map_err(|fault| format!("timeout={timeout}: {fault}"))?;
                let (v4, v6) = (boolean("v4", take("v4"))?, boolean("v6", take("v6"))?);
                if !(v4 || v6) {
                    return Err("v4=false and v6=false leave no address to find".to_owned());
                }
                Self::Mdns { service, domain, timeout, v4, v6 }
            }
            name if ELSEWHERE.contains(&name) => {
                return Err(format!("the provider {name} is not built in: {INSTEAD}"));
            }
            "" => return Err(format!("provider= wants a name: {}", Self::PROVIDERS.replace(' ', " or "))),
            name => {
                return Err(format!("there is no provider {name}: it can be {}", Self::PROVIDERS.replace(' ', " or ")));
            }
        };
        match pairs.first() {
            Some((key, _)) => Err(format!("the provider {provider} has no setting {key}")),
            None => Ok(place),
        }
    }
}

fn boolean(key: &str, text: Option<String>) -> Result<bool, String> {
    match text.as_deref() {
        None | Some("" | "true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(format!("{key}={other}: it can be true or false")),
    }
}

/// `key=value key="a value" …`, each key once.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(|| format!("{rest:?} is no key=value"))?;
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(format!("{key:?} is no key"));
        }
        let value;
        (value, rest) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(|| format!("the quotes of {key} do not end"))?,
            None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        if pairs.iter().any(|(known, _)| known == key) {
            return Err(format!("{key} is given twice"));
        }
        pairs.push((key.to_owned(), value.to_owned()));
        rest = rest.trim_start();
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mdns(timeout: u64, v6: bool) -> Place {
        let (service, domain) = ("_quorate._tcp".to_owned(), "local".to_owned());
        Place::Mdns { service, domain, timeout: Duration::from_secs(timeout), v4: true, v6 }
    }

    #[track_caller]
    fn good(text: &str, expected: &Place) {
        assert_eq!(Place::parse(text).as_ref(), Ok(expected));
    }

    #[track_caller]
    fn refused(text: &str, words: &str) {
        let said = Place::parse(text).expect_err("a refusal");
        assert!(said.contains(words), "{text}: {said}");
    }

    #[test]
    fn providers_are_read_with_their_settings() {
        good("10.0.0.1:8301", &Place::Address("10.0.0.1:8301".to_owned()));
        good("provider=file path=/a", &Place::File { path: "/a".into() });
        good("provider=file path=\"/a b\"", &Place::File { path: "/a b".into() });
        good("provider=mdns service=_quorate._tcp", &mdns(5, true));
        good("  service=_quorate._tcp   provider=mdns timeout=2s v6=false domain=local", &mdns(2, false));
    }

    #[test]
    fn other_providers_are_refused_by_name_with_what_to_use_instead() {
        for name in ELSEWHERE {
            refused(&format!("provider={name} tag_key=a tag_value=b"), &format!("the provider {name} is not built in"));
            refused(&format!("provider={name}"), "provider=file path=/where/it/is");
        }
        refused("provider=moon", "there is no provider moon: it can be file or mdns");
        refused("provider=", "provider= wants a name: file or mdns");
    }

    #[test]
    fn what_is_malformed_is_told() {
        refused("provider=file", "wants path=");
        refused("provider=file path=/a mode=x", "the provider file has no setting mode");
        refused("provider=file path=/a path=/b", "path is given twice");
        refused("provider=file path=\"/a", "the quotes of path do not end");
        refused("provider=file what", "\"what\" is no key=value");
        refused("provider=mdns", "wants service=");
        refused("provider=mdns service=consul", "must end in ._tcp or ._udp");
        refused("provider=mdns service=_a._tcp domain=example.org", "the domain local alone");
        refused("provider=mdns service=_a._tcp timeout=soon", "timeout=soon");
        refused("provider=mdns service=_a._tcp v4=maybe", "v4=maybe: it can be true or false");
        refused("provider=mdns service=_a._tcp v4=false v6=false", "no address to find");
    }
}
