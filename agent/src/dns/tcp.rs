//! DNS over TCP: connections, the questions on each, and their limits.
//! [`super::server`] answers what arrives here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::server::Server;
use super::wire::Transport;

const CONNECTIONS_MAX: usize = 256;
/// Consul's DNS library closes a connection after as many.
const QUESTIONS_MAX: usize = 128;
const IDLE: Duration = Duration::from_secs(8);
const WRITE: Duration = Duration::from_secs(2);
/// After an error of accept, such as no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn tcp(server: Arc<Server>, listener: TcpListener, token: CancellationToken) {
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            Some(()) = open.next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) if open.len() < CONNECTIONS_MAX => {
                    let server = &server;
                    // What ends a connection early (silence, a cut frame) concerns its client alone.
                    open.push(async move { let _ = connection(server, stream, client).await; });
                }
                Ok(_) => {
                    server.counters.count(&server.counters.tcp_dropped, "quorate.dns.tcp_dropped");
                }
                Err(error) => {
                    tracing::warn!(target: "agent.dns", %error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn connection(server: &Server, mut stream: TcpStream, client: SocketAddr) -> io::Result<()> {
    let mut packet = Vec::new();
    for _ in 0..QUESTIONS_MAX {
        let Some(read) = frame(&mut stream, &mut packet).await else { return Ok(()) };
        read.inspect_err(|_| server.counters.count(&server.counters.tcp_cut, "quorate.dns.tcp_cut"))?;
        let answer = match server.accept(&packet) {
            Ok(request) => server.reply(&request, client, Transport::Tcp).await,
            Err(Some(refusal)) => refusal.to_vec(),
            Err(None) => continue,
        };
        // A length that does not fit cannot happen: the encoder was told the limit.
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        timeout(WRITE, stream.write_all(&framed)).await??;
    }
    // What is asked beyond is read and not answered: left unread it would take the last answers with it.
    stream.shutdown().await?;
    let mut buffer = [0; 512];
    let rest = async {
        while stream.read(&mut buffer).await? > 0 {}
        Ok(())
    };
    timeout(WRITE, rest).await?
}

/// The next packet of a connection; none when the client has no more to say.
async fn frame(stream: &mut TcpStream, packet: &mut Vec<u8>) -> Option<io::Result<()>> {
    let first = timeout(IDLE, stream.read_u8()).await.ok()?.ok()?;
    let rest = async {
        let second = stream.read_u8().await?;
        packet.resize(usize::from(u16::from_be_bytes([first, second])), 0);
        stream.read_exact(packet).await.map(drop)
    };
    Some(timeout(IDLE, rest).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))
}
