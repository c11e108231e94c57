//! One connection of a TCP check, and one question of a UDP check.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use super::clients::words;
use crate::store::command::CheckStatus::{self, Critical, Passing};

/// A UDP target that is up may well say nothing: how long an error is waited for.
const UDP_SILENCE: Duration = Duration::from_secs(1);

pub(in crate::checks) async fn tcp(address: &str, limit: Duration) -> (CheckStatus, String) {
    match within(limit, address, open(address)).await {
        Ok(_) => (Passing, format!("TCP connect {address}: Success")),
        Err(problem) => (Critical, problem),
    }
}

/// Passes unless the host refuses: who is silent may have understood.
pub(in crate::checks) async fn udp(address: &str, limit: Duration) -> (CheckStatus, String) {
    match within(limit, address, ask(address, limit)).await {
        Ok(()) => (Passing, format!("UDP connect {address}: Success")),
        Err(problem) => (Critical, problem.replacen("dial tcp", "dial udp", 1)),
    }
}

async fn within<T>(limit: Duration, address: &str, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(format!("dial tcp {address}: i/o timeout")))
}

/// The addresses of `host:port`, in Go's words where there are none. No host is this one.
async fn places(address: &str) -> Result<Vec<SocketAddr>, String> {
    let wrong = |what: &str, why: &str| Err(format!("dial tcp: address {what}: {why}"));
    let Some((host, port)) = address.rsplit_once(':') else {
        return wrong(address, "missing port in address");
    };
    if host.contains(':') && !host.starts_with('[') {
        return wrong(address, "too many colons in address");
    }
    let Ok(number) = port.parse::<u16>() else {
        let is_number = port.parse::<i64>().is_ok();
        return if is_number { wrong(port, "invalid port") } else { wrong(address, "unknown port") };
    };
    if host.is_empty() {
        return Ok(vec![(Ipv4Addr::LOCALHOST, number).into(), (Ipv6Addr::LOCALHOST, number).into()]);
    }
    let missing = || format!("dial tcp: lookup {host}: no such host");
    let found: Vec<_> = lookup_host(address).await.map_err(|_| missing())?.collect();
    if found.is_empty() { Err(missing()) } else { Ok(found) }
}

fn failed(place: SocketAddr) -> impl Fn(io::Error) -> String {
    move |problem| format!("dial tcp {place}: connect: {}", words(&problem))
}

async fn open(address: &str) -> Result<TcpStream, String> {
    let mut last = String::new();
    for place in places(address).await? {
        match TcpStream::connect(place).await.map_err(failed(place)) {
            Ok(stream) => return Ok(stream),
            Err(problem) => last = problem,
        }
    }
    Err(last)
}

async fn ask(address: &str, limit: Duration) -> Result<(), String> {
    let Some(place) = places(address).await?.first().copied() else { return Ok(()) };
    let any = if place.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.map_err(failed(place))?;
    socket.connect(place).await.map_err(failed(place))?;
    socket.send(&[]).await.map_err(failed(place))?;
    let mut answer = [0; 512];
    match timeout(UDP_SILENCE.min(limit / 2), socket.recv(&mut answer)).await {
        Ok(Err(problem)) => Err(failed(place)(problem)),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}
