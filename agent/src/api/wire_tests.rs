//! The API over real connections: bytes in, bytes out, limits and ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tracing_subscriber::layer::SubscriberExt;

use super::tests::Lab;

const PATIENCE: Duration = Duration::from_secs(10);

async fn serve(lab: &Lab) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = super::serve(listener, Arc::clone(&lab.context), lab.tasks.clone());
    lab.tasks.spawn("http", serving);
    address
}

async fn connect(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

/// Reads until `text` was there, or the other side closed.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let seen = String::from_utf8_lossy(&got).into_owned();
        if !text.is_empty() && seen.contains(text) {
            return seen;
        }
        let count = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("in time").unwrap_or(0);
        if count == 0 {
            return seen;
        }
        got.extend_from_slice(&buffer[..count]);
    }
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let lab = Lab::new().await;
    let address = serve(&lab).await;
    let first = "PUT /v1/kv/<a># HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n<b>";
    let then = "GET /v1/kv/<a>%23?raw HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut stream = connect(address, &format!("{first}{then}")).await;
    let answers = read_until(&mut stream, "").await;
    assert!(answers.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"), "{answers}");
    assert!(answers.contains("\r\n\r\ntrueHTTP/1.1 200 OK\r\n"), "{answers}");
    assert!(answers.contains("\r\nX-Consul-Knownleader: true\r\n"), "{answers}");
    assert!(answers.ends_with("\r\n\r\n<b>"), "{answers}");
    assert!(lab.tasks.end(PATIENCE).await);
}

#[tokio::test]
async fn a_request_without_a_host_is_none_of_http_1_1() {
    let lab = Lab::new().await;
    let address = serve(&lab).await;
    let mut stream = connect(address, "GET /v1/status/leader HTTP/1.1\r\n\r\n").await;
    let answer = read_until(&mut stream, "").await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.ends_with("400 Bad Request: missing required Host header"), "{answer}");
    let mut stream = connect(address, "GET /v1/status/leader HTTP/1.0\r\n\r\n").await;
    assert!(read_until(&mut stream, "").await.starts_with("HTTP/1.0 200 OK\r\n"));
    assert!(lab.tasks.end(PATIENCE).await);
}

#[tokio::test]
async fn an_address_with_too_many_connections_is_not_answered() {
    let lab = Lab::new().await;
    let address = serve(&lab).await;
    let request = "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(address, request).await;
        assert!(read_until(&mut stream, ":8300\"").await.starts_with("HTTP/1.1 200"));
        open.push(stream);
    }
    let mut third = connect(address, request).await;
    assert_eq!(read_until(&mut third, "").await, "");
    assert!(lab.tasks.end(PATIENCE).await);
}

#[tokio::test]
async fn the_monitor_follows_the_log_and_ends_with_the_agent() {
    let lab = Lab::new().await;
    let address = serve(&lab).await;
    let logs = tracing_subscriber::registry().with(lab.context.logs.layer());
    let _default = tracing::subscriber::set_default(logs);
    let request = "GET /v1/agent/monitor?loglevel=warn HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stream = connect(address, request).await;
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nVary: Accept-Encoding\r\n"), "{head}");
    assert!(!head.contains("Content-Type"), "{head}");
    tracing::info!(target: "agent", "nobody asked");
    tracing::warn!(target: "agent.server", node = "two", "look here");
    let line = read_until(&mut stream, "\n\r\n").await;
    assert!(line.contains(" [WARN]  agent.server: look here: node=two\n"), "{line}");
    assert!(!line.contains("nobody asked"), "{line}");
    assert!(lab.tasks.end(PATIENCE).await);
    // Lines of the end may come before the last chunk, or none.
    assert!(read_until(&mut stream, "").await.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_blocking_read_does_not_hold_up_the_end() {
    let lab = Lab::new().await;
    let address = serve(&lab).await;
    let request = "GET /v1/kv/none?index=100&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut waiting = connect(address, request).await;
    // The second connection is answered after the first was accepted.
    let mut other = connect(address, "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n").await;
    read_until(&mut other, ":8300\"").await;
    assert!(lab.tasks.end(PATIENCE).await);
    let answer = read_until(&mut waiting, "").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 "), "{answer}");
}
