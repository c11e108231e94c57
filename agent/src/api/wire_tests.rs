//! The API over real connections: bytes in, bytes out, limits and ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
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

/// From one of many addresses, since each may have few connections.
async fn connect_from(at: usize, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let from = [127, 0, 1, u8::try_from(at + 1).expect("few")];
    socket.bind(SocketAddr::from((from, 0))).expect("an address");
    socket.connect(address).await.expect("connected")
}

async fn waiting(lab: &Lab, count: usize) {
    let level = async {
        while lab.watches.counts().waiting != count {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(PATIENCE, level).await.is_ok(), "{:?} instead of {count}", lab.watches.counts());
}

async fn send(stream: &mut TcpStream, request: &str) {
    stream.write_all(request.as_bytes()).await.expect("sent");
}

/// One whole answer: its index and its body.
async fn answer(stream: &mut TcpStream, body: &str) -> String {
    let answer = read_until(stream, body).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(body), "{answer} has no {body}");
    let index = answer.split("X-Consul-Index: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    index.expect("an index").to_owned()
}

#[tokio::test]
async fn all_who_wait_for_the_same_are_told_and_go_on() {
    let lab = Lab::new().await;
    let address = serve(&lab).await;
    let ask = |index: &str| format!("GET /v1/kv/a?raw&index={index}&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n");
    lab.check("PUT /v1/kv/a", 200, "true").await;
    let mut index = lab.ask("GET /v1/kv/a").await.header("x-consul-index").to_owned();
    let mut all = Vec::new();
    for at in 0..20 {
        all.push(connect_from(at, address).await);
    }
    // Of the first round one goes before the news; of the second some come back, some ask something else.
    for value in ["<one>", "<two>", "<three>"] {
        for stream in &mut all {
            send(stream, &ask(&index)).await;
        }
        waiting(&lab, all.len()).await;
        drop(all.remove(0));
        waiting(&lab, all.len()).await;
        lab.send("PUT /v1/kv/a", value, &[]).await;
        let mut told = Vec::new();
        for stream in &mut all {
            told.push(answer(stream, value).await);
        }
        assert!(told.iter().all(|one| *one == told[0]) && told[0] != index, "{told:?} after {index}");
        index = told.remove(0);
        waiting(&lab, 0).await;
        send(&mut all[1], "PUT /v1/kv/b HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx").await;
        assert!(read_until(&mut all[1], "true").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    assert!(lab.tasks.end(PATIENCE).await);
}

#[tokio::test]
async fn who_waits_beside_others_has_an_end_of_its_own() {
    let lab = Lab::new().await;
    let address = serve(&lab).await;
    let ask = "GET /v1/kv/none?index=100000&wait=20ms HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut all = Vec::new();
    for at in 0..8 {
        let mut stream = connect_from(at, address).await;
        send(&mut stream, ask).await;
        all.push(stream);
    }
    for stream in &mut all {
        let told = read_until(stream, "\r\n\r\n").await;
        assert!(told.starts_with("HTTP/1.1 404 Not Found\r\n"), "{told}");
    }
    waiting(&lab, 0).await;
    assert!(lab.tasks.end(PATIENCE).await);
}

#[tokio::test]
async fn who_has_sent_its_last_is_answered() {
    let lab = Lab::new().await;
    let address = serve(&lab).await;
    for _ in 0..20 {
        let mut stream = connect(address, "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n").await;
        stream.shutdown().await.expect("half closed");
        let told = read_until(&mut stream, "").await;
        assert!(told.starts_with("HTTP/1.1 200 OK\r\n") && told.ends_with(":8300\""), "{told}");
    }
    assert!(lab.tasks.end(PATIENCE).await);
}
