//! A resource record as [`super::answer`] makes it and [`super::wire`] writes it.
//! It knows nothing of Consul; names are hickory's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{Name, RecordType};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) owner: Name,
    pub(super) ttl: u32,
    pub(super) data: Data,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(Name),
    Ns(Name),
    Ptr(Name),
    Soa(Box<Soa>),
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: Name,
    },
    /// Cut into strings of 255 bytes on the wire.
    Txt(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Soa {
    pub(super) primary: Name,
    pub(super) mailbox: Name,
    pub(super) serial: u32,
    pub(super) refresh: u32,
    pub(super) retry: u32,
    pub(super) expire: u32,
    pub(super) minimum: u32,
}

impl Data {
    pub(super) fn address(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::A(ip),
            IpAddr::V6(ip) => Self::Aaaa(ip),
        }
    }

    pub(super) fn kind(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::AAAA,
            Self::Cname(_) => RecordType::CNAME,
            Self::Ns(_) => RecordType::NS,
            Self::Ptr(_) => RecordType::PTR,
            Self::Soa(_) => RecordType::SOA,
            Self::Srv { .. } => RecordType::SRV,
            Self::Txt(_) => RecordType::TXT,
        }
    }
}

/// `text` as an absolute name, byte for byte; none when it cannot be one (a label above 63 bytes,
/// more than 255 in all).
pub(super) fn fqdn(text: &str) -> Option<Name> {
    let mut name = Name::from_labels(text.split('.').filter(|label| !label.is_empty()).map(str::as_bytes)).ok()?;
    name.set_fqdn(true);
    Some(name)
}
