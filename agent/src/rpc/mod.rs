//! Requests between agents on 8300.
//!
//! The first byte of a connection names its protocol, as Consul's does: 0 to 7 are Consul's, ours
//! start at 0x40. None is served yet, so a connection is read for that byte, counted and closed;
//! the port is held so that two servers never share it. The root starts [`serve`].

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::seats::Seats;
use crate::tasks::Tasks;

/// Connections whose first byte is awaited.
const HANDSHAKES_MAX: usize = 128;
/// Of them from one address.
const HANDSHAKES_OF_ONE_MAX: usize = 16;
/// `limits.rpc_handshake_timeout` of Consul.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// After an error of accept, such as no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the group ends.
pub fn serve(listener: TcpListener, tasks: &Tasks) {
    let (token, group) = (tasks.token(), tasks.clone());
    tasks.spawn("rpc", async move {
        token.run_until_cancelled(accept(listener, group)).await;
    });
}

async fn accept(listener: TcpListener, tasks: Tasks) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let seats = Seats::new(HANDSHAKES_OF_ONE_MAX);
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let (Some(seat), Ok(place)) = (seats.take(from.ip()), Arc::clone(&places).try_acquire_owned()) else {
                    metrics::counter!("quorate.rpc.over_limit").increment(1);
                    continue;
                };
                let token = tasks.token();
                tasks.spawn("rpc connection", async move {
                    token.run_until_cancelled(refuse(stream, from)).await;
                    drop((seat, place));
                });
            }
            Err(error) => {
                metrics::counter!("quorate.rpc.accept_failed").increment(1);
                tracing::warn!(target: "agent.server.rpc", %error, "cannot accept a connection, pausing");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn refuse(mut stream: TcpStream, from: std::net::SocketAddr) {
    if let Ok(Ok(protocol)) = tokio::time::timeout(HANDSHAKE, stream.read_u8()).await {
        metrics::counter!("quorate.rpc.unknown_protocol").increment(1);
        tracing::debug!(target: "agent.server.rpc", byte = protocol, %from, "unrecognized RPC byte");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn an_unknown_protocol_is_closed_and_the_port_goes_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let tasks = Tasks::new();
        serve(listener, &tasks);
        for byte in [0x40, 0xff] {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.write_all(&[byte]).await.expect("written");
            let mut rest = Vec::new();
            // Closed, or reset because of the byte: both are an end.
            let _ = stream.read_to_end(&mut rest).await;
            assert!(rest.is_empty(), "{rest:?}");
        }
        assert!(tasks.end(Duration::from_secs(5)).await);
    }
}
