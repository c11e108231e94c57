//! Asks recursors: one question, each of them in turn, and how many questions are with them at once.
//! [`super::server`] calls it for names outside the domain; what is said and believed is decided in
//! [`super::upstream`].
//!
//! Each question goes out of a socket of its own, so that an answer has to guess a port and an ID, and
//! the kernel keeps other sources away. The addresses of these sockets tell a loop: a question that
//! comes from one of them is our own.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::rr::RecordType;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::counters::Counters;
use super::domain::Name;
use super::record::Record;
use super::request::Request;
use super::upstream::{self, Verdict};
use super::wire::{TCP_SIZE_MAX, Transport};
use crate::clock;

/// Questions with recursors at once, whoever asked; half of what one UDP socket lets wait, so that
/// recursors that hang leave room for names of our own.
const IN_FLIGHT_MAX: usize = 512;
/// The same question at once: more is a loop through somebody else, or a flood.
const SAME_MAX: usize = 64;
/// Consul's DNS library: a time-out of 0 is this one.
const TIMEOUT_STANDARD: Duration = Duration::from_secs(2);

/// Whom to ask, by the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recursors {
    pub(super) addrs: Vec<SocketAddr>,
    pub(super) timeout: Duration,
}

/// Addresses of recursors out of the configuration's texts; names are looked up.
pub async fn recursors(texts: &[String]) -> Result<Vec<SocketAddr>, String> {
    let mut found = Vec::new();
    for text in texts {
        let invalid = |reason: String| format!("Invalid recursor address: {reason}");
        let (host, port) = upstream::place(text).map_err(invalid)?;
        let address = match host.parse::<IpAddr>() {
            Ok(ip) => Some(SocketAddr::new(ip, port)),
            Err(_) => {
                let looked_up = timeout(TIMEOUT_STANDARD, tokio::net::lookup_host((host.as_str(), port))).await;
                let addresses = looked_up
                    .map_err(|_| invalid(format!("lookup {host}: i/o timeout")))?
                    .map_err(|error| invalid(format!("lookup {host}: {error}")))?;
                // Go's order: the first address of the older family, if any.
                let (four, six): (Vec<_>, Vec<_>) = addresses.partition(SocketAddr::is_ipv4);
                four.first().or(six.first()).copied()
            }
        };
        found.push(address.ok_or_else(|| invalid(format!("lookup {host}: no such host")))?);
    }
    Ok(found)
}

/// Questions that are with recursors now.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    asked: Mutex<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    total: usize,
    same: HashMap<(Name, RecordType), usize>,
    sockets: HashSet<SocketAddr>,
}

/// One question's place; given back when dropped.
struct Place<'a> {
    in_flight: &'a InFlight,
    key: (Name, RecordType),
}

/// A socket that waits for an answer; forgotten when dropped.
struct Waiting<'a> {
    in_flight: &'a InFlight,
    addr: SocketAddr,
}

impl InFlight {
    fn with<T>(&self, change: impl FnOnce(&mut Asked) -> T) -> T {
        change(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether `client` is ourselves, asking a recursor.
    pub(super) fn is_own(&self, client: SocketAddr) -> bool {
        self.with(|asked| asked.sockets.contains(&client))
    }

    fn enter(&self, request: &Request) -> Option<Place<'_>> {
        let key = (request.name.to_lowercase(), request.kind);
        let is_in = self.with(|asked| {
            let same = asked.same.get(&key).copied().unwrap_or(0);
            let has_room = asked.total < IN_FLIGHT_MAX && same < SAME_MAX;
            if has_room {
                asked.total += 1;
                asked.same.insert(key.clone(), same + 1);
            }
            has_room
        });
        // Made only for who is in: its drop gives the place back.
        is_in.then(|| Place { in_flight: self, key })
    }

    fn wait_at(&self, addr: SocketAddr) -> Waiting<'_> {
        self.with(|asked| asked.sockets.insert(addr));
        Waiting { in_flight: self, addr }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.in_flight.with(|asked| {
            asked.total -= 1;
            match asked.same.get_mut(&self.key) {
                Some(same) if *same > 1 => *same -= 1,
                _ => {
                    asked.same.remove(&self.key);
                }
            }
        });
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.in_flight.with(|asked| asked.sockets.remove(&self.addr));
    }
}

/// What one question needs.
pub(super) struct Recursion<'a> {
    pub(super) recursors: &'a Recursors,
    pub(super) in_flight: &'a InFlight,
    pub(super) counters: &'a Counters,
}

impl Recursion<'_> {
    /// The packet of the first recursor that knows whether the name is there; none when nobody does.
    pub(super) async fn forward(&self, request: &Request, transport: Transport) -> Option<Vec<u8>> {
        let _place = self.enter(request)?;
        let question = format!("{{{} {} {}}}", request.name, u16::from(request.kind), u16::from(request.class));
        for recursor in &self.recursors.addrs {
            let start = clock::now();
            let answer = self.exchange(*recursor, request, transport).await;
            let rtt = clock::now().since(start);
            match answer {
                Ok((Verdict::Answer { .. }, packet)) => {
                    tracing::debug!(target: "agent.dns", question, ?rtt, %recursor, "recurse succeeded for question");
                    return Some(packet);
                }
                Ok((verdict, _)) => {
                    let rcode = match verdict {
                        Verdict::Failure(code) => code_text(code),
                        _ => String::new(),
                    };
                    tracing::debug!(target: "agent.dns", question, ?rtt, %recursor, rcode, "recurse failed for question");
                }
                Err(error) => tracing::error!(target: "agent.dns", %error, %recursor, "recurse failed"),
            }
        }
        None
    }

    /// What a name outside the domain that stands for an address stands for. A recursor that answers,
    /// be it with a failure, is the last one asked, as in Consul.
    pub(super) async fn alias(&self, name: &str) -> Vec<Record> {
        let Some(owner) = Name::of(&[name]).filter(|_| !self.recursors.addrs.is_empty()) else { return Vec::new() };
        let request = Request { recursion_desired: true, ..Request::inner(owner, RecordType::A) };
        let Some(_place) = self.enter(&request) else { return Vec::new() };
        let name = request.name.to_string();
        for recursor in &self.recursors.addrs {
            let start = clock::now();
            let mut answer = self.exchange(*recursor, &request, Transport::Udp).await;
            if let Ok((Verdict::Answer { is_truncated: true }, _)) = answer {
                answer = self.exchange(*recursor, &request, Transport::Tcp).await;
            }
            match answer {
                Ok((_, packet)) => {
                    let rtt = clock::now().since(start);
                    tracing::debug!(target: "agent.dns", name, ?rtt, "cname recurse RTT for name");
                    return upstream::alias_records(&packet);
                }
                Err(error) => {
                    tracing::error!(target: "agent.dns", name, %error, %recursor, "cname recurse failed for name");
                }
            }
        }
        tracing::error!(target: "agent.dns", name, "all resolvers failed for name");
        Vec::new()
    }

    fn enter(&self, request: &Request) -> Option<Place<'_>> {
        let place = self.in_flight.enter(request);
        match &place {
            Some(_) => self.counters.count(&self.counters.recursed, "quorate.dns.recursed"),
            None => self.counters.count(&self.counters.recursor_dropped, "quorate.dns.recursor_dropped"),
        }
        place
    }

    async fn exchange(
        &self,
        recursor: SocketAddr,
        request: &Request,
        transport: Transport,
    ) -> io::Result<(Verdict, Vec<u8>)> {
        let limit = match self.recursors.timeout {
            Duration::ZERO => TIMEOUT_STANDARD,
            limit => limit,
        };
        // What nobody can foresee: a forger has to guess it.
        let id = SmallRng::from_os_rng().random::<u16>();
        let exchanged = match transport {
            Transport::Udp => timeout(limit, self.over_udp(recursor, request, id)).await,
            Transport::Tcp => timeout(limit, self.over_tcp(recursor, request, id)).await,
        };
        exchanged.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "i/o timeout")))
    }

    async fn over_udp(&self, recursor: SocketAddr, request: &Request, id: u16) -> io::Result<(Verdict, Vec<u8>)> {
        let any = match recursor {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(recursor).await?;
        let _waiting = self.in_flight.wait_at(socket.local_addr()?);
        socket.send(&upstream::question(request, id)).await?;
        let mut packet = vec![0; TCP_SIZE_MAX];
        loop {
            let length = socket.recv(&mut packet).await?;
            match upstream::judge(request, id, &packet[..length]) {
                // The true answer may still come.
                Verdict::Noise => self.counters.count(&self.counters.recursor_noise, "quorate.dns.recursor_noise"),
                verdict => {
                    packet.truncate(length);
                    return Ok((verdict, packet));
                }
            }
        }
    }

    async fn over_tcp(&self, recursor: SocketAddr, request: &Request, id: u16) -> io::Result<(Verdict, Vec<u8>)> {
        let mut stream = TcpStream::connect(recursor).await?;
        let _waiting = self.in_flight.wait_at(stream.local_addr()?);
        let question = upstream::question(request, id);
        let length = u16::try_from(question.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &question].concat()).await?;
        let mut packet = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut packet).await?;
        match upstream::judge(request, id, &packet) {
            Verdict::Noise => {
                self.counters.count(&self.counters.recursor_noise, "quorate.dns.recursor_noise");
                Err(io::Error::new(io::ErrorKind::InvalidData, "what came back is no answer to the question"))
            }
            verdict => Ok((verdict, packet)),
        }
    }
}

/// The names of the codes, as logs show them.
fn code_text(code: u16) -> String {
    let known = match code {
        1 => "FORMERR",
        2 => "SERVFAIL",
        4 => "NOTIMP",
        5 => "REFUSED",
        16 => "BADVERS",
        _ => return code.to_string(),
    };
    known.to_owned()
}
