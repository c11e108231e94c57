//! Probes against targets that answer, refuse, hang and talk nonsense, on loopback.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::clients::Clients;
use super::{connect, grpc, http};
use crate::checks::spec::Http;
use crate::store::command::CheckStatus::{self, Critical, Passing, Warning};
use crate::tasks::Tasks;

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);

/// Says `answer` to whatever comes, and with `holds` keeps the connection.
async fn target(answer: &'static [u8], holds: bool, tasks: &Tasks) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let token = tasks.token();
    tasks.spawn("target", async move {
        let serve = async {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer).await;
                if holds {
                    held.push(stream);
                }
            }
        };
        token.run_until_cancelled(serve).await;
    });
    address
}

/// A port on which nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

#[track_caller]
fn check(said: &(CheckStatus, String), status: CheckStatus, output: &str) {
    let is_so = said.0 == status && said.1.contains(output);
    assert!(is_so, "{said:?} instead of {status:?} with {output:?}");
}

#[tokio::test]
async fn http_is_judged_by_its_status() {
    let (tasks, clients) = (Tasks::new(), Clients::default());
    let ask = async |address: SocketAddr, limit| {
        let what = Http { url: format!("http://{address}/x"), method: "GET".to_owned(), ..Http::default() };
        http::run(&clients, &what, limit, 8).await
    };
    let fine = target(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", false, &tasks).await;
    let said = ask(fine, LONG).await;
    assert_eq!(said, (Passing, format!("HTTP GET http://{fine}/x: 200 OK Output: 23456789")));
    let busy = target(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", false, &tasks).await;
    check(&ask(busy, LONG).await, Warning, "/x: 429 Too Many Requests Output: ");
    let gone = target(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false, &tasks).await;
    check(&ask(gone, LONG).await, Critical, "/x: 404 Not Found Output: ");
    let garbage = target(b"\x00\xff\x00\xff nonsense\r\n\r\n", false, &tasks).await;
    check(&ask(garbage, LONG).await, Critical, &format!("Get \"http://{garbage}/x\": "));
    let silent = target(b"", true, &tasks).await;
    check(&ask(silent, SHORT).await, Critical, "context deadline exceeded");
    let dead = nobody().await;
    let refused = format!("Get \"http://{dead}/x\": dial tcp {dead}: connect: connection refused");
    assert_eq!(ask(dead, LONG).await, (Critical, refused));
    assert!(tasks.end(LONG).await);
}

#[tokio::test]
async fn an_http_check_that_cannot_be_asked_says_why() {
    let clients = Clients::default();
    let ask = async |url: &str, method: &str| {
        let what = Http { url: url.to_owned(), method: method.to_owned(), ..Http::default() };
        http::run(&clients, &what, LONG, 100).await
    };
    check(&ask("::bad", "GET").await, Critical, "parse \"::bad\": ");
    check(&ask("http://a b/", "GET").await, Critical, "parse \"http://a b/\": ");
    check(&ask("http://127.0.0.1:1", "FOO BAR").await, Critical, "net/http: invalid method \"FOO BAR\"");
    check(&ask("gopher://127.0.0.1:1", "GET").await, Critical, "Get \"gopher://127.0.0.1:1\": ");
}

#[tokio::test]
async fn tcp_passes_where_somebody_listens() {
    let tasks = Tasks::new();
    let fine = target(b"", true, &tasks).await;
    let said = connect::tcp(&fine.to_string(), LONG).await;
    assert_eq!(said, (Passing, format!("TCP connect {fine}: Success")));
    let dead = nobody().await;
    let said = connect::tcp(&dead.to_string(), LONG).await;
    assert_eq!(said, (Critical, format!("dial tcp {dead}: connect: connection refused")));
    let said = connect::tcp("bad", LONG).await;
    assert_eq!(said, (Critical, "dial tcp: address bad: missing port in address".to_owned()));
    check(&connect::tcp("127.0.0.1:http?", LONG).await, Critical, "address 127.0.0.1:http?: unknown port");
    check(&connect::tcp("127.0.0.1:99999", LONG).await, Critical, "dial tcp: address 99999: invalid port");
    check(&connect::tcp("::1:80", LONG).await, Critical, "dial tcp: address ::1:80: too many colons in address");
    check(&connect::tcp(&format!(":{}", fine.port()), LONG).await, Passing, "Success");
    assert!(tasks.end(LONG).await);
}

#[tokio::test]
async fn udp_passes_unless_it_is_refused() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    check(&connect::udp(&address.to_string(), SHORT).await, Passing, "Success");
    drop(silent);
    check(&connect::udp(&address.to_string(), LONG).await, Critical, "connection refused");
}

#[tokio::test]
async fn grpc_says_why_there_is_no_answer() {
    let (tasks, clients) = (Tasks::new(), Clients::default());
    let ask = async |target: &str, limit| grpc::run(&clients, target, false, false, limit).await;
    let dead = nobody().await;
    check(&ask(&format!("{dead}/web"), LONG).await, Critical, "rpc error: code = Unavailable");
    check(&ask(&format!("{dead}/web"), LONG).await, Critical, "connection refused");
    let garbage = target(b"HTTP/1.1 400 Bad Request\r\n\r\n", false, &tasks).await;
    check(&ask(&garbage.to_string(), LONG).await, Critical, "rpc error: code = ");
    let silent = target(b"", true, &tasks).await;
    check(&ask(&silent.to_string(), SHORT).await, Critical, "rpc error: code = DeadlineExceeded");
    assert!(tasks.end(LONG).await);
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short payload");
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A header that no table knows.
fn header(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).expect("a short text");
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

/// Answers every call with this status of a service, and this status of the call.
async fn health(serving: u8, code: &'static str, tasks: &Tasks) -> SocketAddr {
    const PREFACE: usize = 24;
    const STATUS_200: u8 = 0x88;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let token = tasks.token();
    let serve = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut preface = [0; PREFACE];
            let _ = stream.read_exact(&mut preface).await;
            let _ = stream.write_all(&[frame(4, 0, 0, &[]), frame(4, 1, 0, &[])].concat()).await;
            let mut head = [0; 9];
            while stream.read_exact(&mut head).await.is_ok() {
                let length = usize::from(head[1]) << 8 | usize::from(head[2]);
                let _ = stream.read_exact(&mut vec![0; length]).await;
                // The end of the question, in a frame of data.
                if (head[3], head[4] & 1) == (0, 1) {
                    let headers = [&[STATUS_200][..], &header("content-type", "application/grpc")].concat();
                    let answer = [
                        frame(1, 4, 1, &headers),
                        frame(0, 0, 1, &[0, 0, 0, 0, 2, 8, serving]),
                        frame(1, 5, 1, &header("grpc-status", code)),
                    ];
                    let _ = stream.write_all(&answer.concat()).await;
                }
            }
        }
    };
    tasks.spawn("health", async move {
        token.run_until_cancelled(serve).await;
    });
    address
}

#[tokio::test]
async fn grpc_passes_where_the_service_says_that_it_serves() {
    let (tasks, clients) = (Tasks::new(), Clients::default());
    let ask = async |target: String| grpc::run(&clients, &target, false, false, LONG).await;
    let fine = health(1, "0", &tasks).await;
    assert_eq!(ask(format!("{fine}/web")).await, (Passing, format!("gRPC check {fine}/web: success")));
    let ill = health(2, "0", &tasks).await;
    check(&ask(ill.to_string()).await, Critical, "serving status is not SERVING");
    let strange = health(1, "5", &tasks).await;
    check(&ask(strange.to_string()).await, Critical, "rpc error: code = NotFound");
    assert!(tasks.end(LONG).await);
}
