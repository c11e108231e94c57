//! What a name asks for: Consul's names, plain and RFC 2782, and the reverse trees.
//! Called by [`super::server`] for each question; knows no record and no state.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::RecordType;

use super::domain::{Label, Name};

/// The names this agent answers for.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    /// `consul.` as labels, lower case.
    domain: Vec<String>,
    alt_domain: Option<Vec<String>>,
    /// `consul.`
    text: String,
    datacenter: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// SOA of the domain, whatever the name under it.
    Authority,
    /// NS of the domain, likewise.
    NameServers,
    /// AXFR, which nobody gets.
    Transfer,
    Service {
        service: String,
        tag: Option<String>,
        datacenter: String,
    },
    Node {
        node: String,
        datacenter: String,
    },
    /// `0a000001.addr.dc1.consul`, which carries its own answer; none when the digits are neither
    /// four nor sixteen bytes.
    Address(Option<IpAddr>),
    /// A prepared query or a service of the mesh, of which there are none.
    Nobody {
        datacenter: String,
    },
    /// Under `arpa`; none when it is no whole address.
    Reverse(Option<IpAddr>),
    /// In the domain, but means nothing.
    Invalid,
    /// In no domain of ours.
    Outside,
}

impl Zone {
    pub(super) fn new(domain: &str, alt_domain: Option<&str>, datacenter: &str) -> Self {
        let domain = labels(domain);
        Self {
            text: domain.iter().map(|label| format!("{label}.")).collect(),
            domain,
            alt_domain: alt_domain.map(labels).filter(|labels| !labels.is_empty()),
            datacenter: datacenter.to_owned(),
        }
    }

    /// With the final dot. Consul: answers name it, whichever domain the question was under.
    pub(super) fn domain(&self) -> &str {
        &self.text
    }

    /// What of a name comes before the domain, with the final dot, as logs show it.
    pub(super) fn before(&self, name: &Name) -> String {
        let name = name.to_lowercase();
        self.cut(&name.texts()).map_or_else(String::new, |rest| rest.join(".") + ".")
    }

    /// Whether a name found in the catalog is ours to resolve.
    pub(super) fn holds(&self, text: &str) -> bool {
        let name = Name::of(&[text]).map(|name| name.to_lowercase());
        name.is_some_and(|name| self.cut(&name.texts()).is_some_and(|rest| !rest.is_empty()))
    }

    pub(super) fn parse(&self, name: &Name, kind: RecordType) -> Question {
        let name = name.to_lowercase();
        let labels = name.texts();
        let Some(rest) = self.cut(&labels) else {
            let under_arpa = labels.last().is_some_and(|label| label == "arpa");
            return if under_arpa { Question::Reverse(reversed(&labels)) } else { Question::Outside };
        };
        match kind {
            RecordType::SOA => Question::Authority,
            RecordType::NS => Question::NameServers,
            RecordType::AXFR => Question::Transfer,
            _ => self.meaning(rest, kind).unwrap_or(Question::Invalid),
        }
    }

    /// The labels before the longer of the domains that match.
    fn cut<'a, 'n>(&self, labels: &'a [Label<'n>]) -> Option<&'a [Label<'n>]> {
        let before = |domain: &[String]| {
            let (rest, end) = labels.split_at_checked(labels.len().checked_sub(domain.len())?)?;
            end.iter().eq(domain).then_some(rest)
        };
        let main = before(&self.domain);
        let alt = self.alt_domain.as_deref().and_then(before);
        match (main, alt) {
            (Some(main), Some(alt)) => Some(if alt.len() < main.len() { alt } else { main }),
            (main, alt) => main.or(alt),
        }
    }

    fn meaning(&self, labels: &[Label<'_>], kind: RecordType) -> Option<Question> {
        // Consul: the last label that is a keyword decides, so a node may be named `service.web`.
        let at = labels
            .iter()
            .rposition(|label| is_keyword(label) || (kind == RecordType::SRV && label.starts_with('_')))?;
        if !is_keyword(&labels[at]) {
            // Consul: in a question for SRV the keyword `service` may be left out of a name of RFC 2782.
            return self.service(&labels[..=at], &labels[at + 1..]);
        }
        let (parts, suffixes) = (&labels[..at], &labels[at + 1..]);
        if parts.is_empty() {
            return None;
        }
        match &*labels[at] {
            "service" => self.service(parts, suffixes),
            "node" => Some(Question::Node { node: parts.join("."), datacenter: self.datacenter(suffixes)? }),
            "addr" => address(parts),
            // Prepared queries and Connect have no entries yet.
            _ => Some(Question::Nobody { datacenter: self.datacenter(suffixes)? }),
        }
    }

    fn service(&self, parts: &[Label<'_>], suffixes: &[Label<'_>]) -> Option<Question> {
        let datacenter = self.datacenter(suffixes)?;
        if let [service, tag] = parts
            && let (Some(service), Some(tag)) = (service.strip_prefix('_'), tag.strip_prefix('_'))
        {
            // Consul: `_tcp` is the default of RFC 2782 and filters nothing, and neither does an empty tag.
            let tag = Some(tag).filter(|tag| !matches!(*tag, "tcp" | "")).map(str::to_owned);
            return Some(Question::Service { service: service.to_owned(), tag, datacenter });
        }
        let (service, tag) = parts.split_last()?;
        let tag = Some(tag.join(".")).filter(|tag| !tag.is_empty());
        Some(Question::Service { service: service.to_string(), tag, datacenter })
    }

    /// The datacenter that the labels after the keyword name; none when they are too many.
    fn datacenter(&self, suffixes: &[Label<'_>]) -> Option<String> {
        match suffixes {
            [] => Some(self.datacenter.clone()),
            [datacenter] => Some(datacenter.to_string()),
            _ => None,
        }
    }
}

fn is_keyword(label: &str) -> bool {
    matches!(label, "service" | "connect" | "ingress" | "node" | "query" | "addr")
}

/// Of a domain in the configuration.
fn labels(text: &str) -> Vec<String> {
    let name = Name::of(&[text]).map_or_else(Name::root, |name| name.to_lowercase());
    name.texts().into_iter().map(Label::into_owned).collect()
}

/// Consul: any datacenter, or several, may follow `addr`: nothing is looked up.
fn address(parts: &[Label<'_>]) -> Option<Question> {
    let [digits] = parts else { return None };
    let ip = match digits.len() / 2 {
        4 => Some(IpAddr::V4(Ipv4Addr::from(u32::from_be_bytes(bytes(digits)?)))),
        16 => Some(IpAddr::V6(Ipv6Addr::from(u128::from_be_bytes(bytes(digits)?)))),
        _ => None,
    };
    Some(Question::Address(ip))
}

fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(out)
}

/// The address whose reverse name this is.
fn reversed(labels: &[Label<'_>]) -> Option<IpAddr> {
    let (tree, digits) = labels.split_last()?.1.split_last()?;
    match &**tree {
        "in-addr" => {
            let mut octets = [0; 4];
            if digits.len() != octets.len() {
                return None;
            }
            for (octet, label) in octets.iter_mut().zip(digits.iter().rev()) {
                *octet = label.parse().ok()?;
                // Consul compares texts: `01` is nobody's.
                if octet.to_string() != **label {
                    return None;
                }
            }
            Some(IpAddr::from(octets))
        }
        "ip6" => {
            if digits.len() != 32 || digits.iter().any(|label| label.len() != 1) {
                return None;
            }
            let digits: String = digits.iter().rev().map(|label| &**label).collect();
            let ip = Ipv6Addr::from(u128::from_be_bytes(bytes(&digits)?));
            // Such an address has its name in the other tree.
            Some(IpAddr::V6(ip)).filter(|_| ip.to_ipv4_mapped().is_none())
        }
        _ => None,
    }
}
