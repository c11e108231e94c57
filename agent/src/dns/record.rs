//! A resource record as [`super::answer`] makes it and [`super::wire`] writes it.
//! It knows nothing of Consul.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::RecordType;

use super::domain::Name;

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

impl Record {
    /// The bytes it takes where no name points at another.
    pub(super) fn size(&self) -> usize {
        const FIXED: usize = 10;
        self.owner.wire().len() + FIXED + self.data.size()
    }
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

    fn size(&self) -> usize {
        match self {
            Self::A(_) => 4,
            Self::Aaaa(_) => 16,
            Self::Cname(name) | Self::Ns(name) | Self::Ptr(name) => name.wire().len(),
            Self::Soa(soa) => soa.primary.wire().len() + soa.mailbox.wire().len() + 5 * 4,
            Self::Srv { target, .. } => 3 * 2 + target.wire().len(),
            Self::Txt(text) => text.len() + text.len().div_ceil(usize::from(u8::MAX)).max(1),
        }
    }
}
