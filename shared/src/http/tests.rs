//! The client against sockets that answer by a script.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;

/// Answers each of `scripts` to one connection, in order, then closes it; returns the address and the requests.
fn serve(scripts: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let server = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for script in scripts {
            let (mut socket, _) = listener.accept().expect("a client");
            let mut buffer = [0; 4096];
            let read = socket.read(&mut buffer).expect("a request");
            requests.push(String::from_utf8_lossy(&buffer[..read]).into_owned());
            socket.write_all(script.as_bytes()).expect("a reader");
        }
        requests
    });
    (address, server)
}

fn client(address: &str) -> Client {
    let settings = Settings { address: address.to_owned(), token: Some("secret".into()), ..Settings::default() };
    Client::new(&settings).expect("plain settings")
}

#[track_caller]
fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

#[test]
fn a_request_carries_its_token_and_sorted_parameters() {
    let (address, server) = serve(vec!["HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: 4\r\n\r\n[1]\n"]);
    let client = client(&address);
    run(async {
        let answer = client.get("/v1/kv/a b").query("stale", "").query("dc", "d/1").send().await.expect("an answer");
        assert_eq!((answer.status(), answer.index(), answer.knows_leader()), (200, Some(7), None));
        assert_eq!(answer.json::<Vec<u8>>().await.expect("JSON"), vec![1]);
    });
    let request = server.join().expect("the server").remove(0);
    assert!(request.starts_with("GET /v1/kv/a%20b?dc=d%2F1&stale= HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nx-consul-token: secret\r\n"), "{request}");
}

#[test]
fn an_answer_that_is_no_success_is_told_with_its_text() {
    let refused = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 17\r\n\r\nNo cluster leader";
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let (address, server) = serve(vec![refused, missing]);
    run(async {
        let error = client(&address).put("/v1/kv/a").send().await.expect_err("a refusal");
        assert_eq!(error.to_string(), "Unexpected response code: 500 (No cluster leader)");
        assert_eq!(error.status(), Some(500));
        assert_eq!(client(&address).get("/v1/kv/a").json_if_found::<u8>().await.expect("none"), None);
    });
    server.join().expect("the server");
}

#[track_caller]
fn fails(address: &str, expected: &Failure) {
    let error = run(client(address).get("/v1/agent/members").send()).expect_err("no answer");
    assert_eq!(error.failure(), Some(expected));
    let base = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    assert_eq!(error.to_string(), format!("Get \"{base}/v1/agent/members\": {expected}"));
}

#[test]
fn a_refused_connection_reads_as_go_tells_it() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").to_string();
    fails(&closed, &Failure::Refused { address: closed.clone() });
    let error = run(client(&closed).get("/x").send()).expect_err("refused").to_string();
    assert_eq!(error, format!("Get \"http://{closed}/x\": dial tcp {closed}: connect: connection refused"));
}

#[test]
fn what_does_not_speak_http_is_told_apart() {
    let (address, server) = serve(vec!["garbage\r\n\r\n"]);
    fails(&address, &Failure::NotHttp("malformed HTTP response".into()));
    server.join().expect("the server");
    let (address, server) = serve(vec![""]);
    fails(&address, &Failure::Closed);
    server.join().expect("the server");
    let (address, server) = serve(vec!["HTTP/1.1 400 Bad Request\r\n\r\n"]);
    fails(&format!("https://{address}"), &Failure::NotTls);
    server.join().expect("the server");
}

#[test]
fn silence_ends_at_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let error = run(client(&address).get("/x").within(Duration::from_millis(50)).send()).expect_err("silence");
    assert_eq!(error.failure(), Some(&Failure::TimedOut));
}

#[test]
fn a_path_that_would_be_changed_is_not_sent() {
    let error = run(client("127.0.0.1:1").put("/v1/kv/a/../b").send()).expect_err("dots");
    assert_eq!(error.to_string(), "the path /v1/kv/a/../b cannot be sent as it is");
}
