//! Plain questions, answered without hyper: GET without a body of what is in the state. Many wait here for
//! a change at once, and hyper's buffers are most of what one of them would cost.
//!
//! A connection whose next request is anything else, or is not written in the plainest way, goes to hyper
//! for good with what was read of it. So this file needs to know of HTTP only what it accepts.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::company::{Answer, Called, Companies, Place, Round, Seat, Settled, Told};
use super::{Context, router};
use crate::clock;

/// A longer head is hyper's.
const HEAD_MAX: usize = 8 << 10;
/// The most that is read at once.
const READ_MAX: usize = 4 << 10;
/// A longer body is not copied behind its head.
const BODY_MAX: usize = 16 << 10;
/// How long an answer may still take that does not wait for a change, once the client has sent its last.
const LAST_TIME: Duration = Duration::from_secs(2);

/// Questions of the state: none of them is answered by a stream.
const PATHS: &[&str] = &["/v1/catalog/", "/v1/health/", "/v1/kv/", "/v1/status/"];

/// What makes a request more than a plain one, whatever it says.
const OTHERS: &[&str] = &["content-length", "expect", "te", "transfer-encoding", "upgrade"];

/// What all plain requests of a listener share.
pub(super) struct Desk {
    pub(super) context: Arc<Context>,
    pub(super) companies: Arc<Companies>,
    pub(super) stop: CancellationToken,
    pub(super) head_time: Duration,
}

/// Answers one plain request after the other; what was read of another one, or none at the end.
pub(super) async fn answer(stream: &Arc<TcpStream>, peer: SocketAddr, desk: &Desk) -> io::Result<Option<Vec<u8>>> {
    let mut read = Vec::new();
    loop {
        let (request, keep, place) = match head(stream, &mut read, desk).await? {
            Head::Plain { request, keep, place } => (request, keep, place),
            Head::Other => return Ok(Some(read)),
            Head::End => return Ok(None),
        };
        let company = place.as_ref().map(Place::company);
        // In a box, so that it takes room only for as long as it is under way.
        let mut answer =
            Box::pin(router::answer(Arc::clone(&desk.context), *request, peer, desk.stop.clone(), company));
        let Some(end) = end(answer.as_mut(), stream, &mut read, place.as_ref()).await else { return Ok(None) };
        drop(answer);
        let keep = match end {
            End::Told(told) => {
                // From here on the connection is this task's alone.
                drop(place);
                write(stream, &told.round.answer, told.written?).await?;
                told.round.answer.keep
            }
            End::Own(response, followers) => {
                let answer = encode(response, keep && !desk.stop.is_cancelled()).await?;
                if !followers.is_empty() {
                    Box::pin(Round::tell(followers, Arc::clone(&answer))).await;
                }
                drop(place);
                write(stream, &answer, 0).await?;
                answer.keep
            }
        };
        if !keep {
            return Ok(None);
        }
        // What one long head took is not kept for the next.
        read.shrink_to(HEAD_MAX / 16);
    }
}

/// How a request ended.
enum End {
    /// With an answer, for these too.
    Own(Response, Vec<Arc<Seat>>),
    /// With that of another.
    Told(Told),
}

/// None when the client went.
async fn end<F: Future<Output = Response>>(
    mut answer: Pin<&mut F>,
    stream: &TcpStream,
    read: &mut Vec<u8>,
    place: Option<&Place>,
) -> Option<End> {
    let response = loop {
        tokio::select! {
            biased;
            called = called(place) => match called {
                Called::Help(round) => Box::pin(round.work()).await,
                Called::Told(told) => return Some(End::Told(told)),
            },
            response = answer.as_mut() => break response,
            () = gone(stream, read) => match place {
                Some(_) => return None,
                // Its half of the connection may have ended alone.
                None => break timeout(LAST_TIME, answer.as_mut()).await.ok()?,
            },
        }
    };
    let Some(place) = place else { return Some(End::Own(response, Vec::new())) };
    match place.settle() {
        Settled::Own(followers) => Some(End::Own(response, followers)),
        Settled::Others => loop {
            match place.called().await {
                Called::Help(round) => Box::pin(round.work()).await,
                Called::Told(told) => return Some(End::Told(told)),
            }
        },
    }
}

async fn called(place: Option<&Place>) -> Called {
    match place {
        Some(place) => place.called().await,
        None => std::future::pending().await,
    }
}

enum Head {
    Plain {
        request: Box<Request>,
        /// Whether the connection stays after the answer.
        keep: bool,
        /// Of one who may have to wait.
        place: Option<Place>,
    },
    Other,
    End,
}

/// The next request's.
async fn head(stream: &Arc<TcpStream>, read: &mut Vec<u8>, desk: &Desk) -> io::Result<Head> {
    let until = Instant::now() + desk.head_time;
    loop {
        if let Some(length) = length(read) {
            let Some((request, keep)) = request(&read[..length]) else { return Ok(Head::Other) };
            let may_wait = request.uri().query().is_some_and(|query| query.contains("index="));
            let place = may_wait.then(|| desk.companies.place(&read[..length], stream));
            read.drain(..length);
            return Ok(Head::Plain { request: Box::new(request), keep, place });
        }
        if read.len() > HEAD_MAX || !may_be_plain(read) {
            return Ok(Head::Other);
        }
        let more = tokio::select! {
            more = timeout_at(until, fill(stream, read)) => more,
            () = desk.stop.cancelled() => return Ok(Head::End),
        };
        match more {
            Ok(Ok(0)) | Err(_) => return Ok(Head::End),
            Ok(more) => more?,
        };
    }
}

/// Bytes of a whole head, with the empty line that ends it.
fn length(read: &[u8]) -> Option<usize> {
    read.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)
}

/// As far as it is there. A line that ends without a carriage return is for hyper to judge.
fn may_be_plain(read: &[u8]) -> bool {
    const START: &[u8] = b"GET /v1/";
    let common = read.len().min(START.len());
    let is_bare = |pair: &[u8]| pair[1] == b'\n' && pair[0] != b'\r';
    read[..common] == START[..common] && !read.windows(2).any(is_bare)
}

/// A request of that head, and whether the connection stays; none when it is not plain.
fn request(head: &[u8]) -> Option<(Request, bool)> {
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let target = lines.next()?.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"<>\"`#".contains(&byte);
    if !target.bytes().all(is_plain) || !PATHS.iter().any(|path| target.starts_with(path)) {
        return None;
    }
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = target.parse().ok()?;
    let mut keep = true;
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = value.trim_matches([' ', '\t']);
        match name.as_str() {
            "connection" if value.eq_ignore_ascii_case("close") => keep = false,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => {}
            "connection" => return None,
            other if OTHERS.contains(&other) => return None,
            _ => {
                request.headers_mut().append(name, HeaderValue::from_str(value).ok()?);
            }
        }
    }
    request.headers().contains_key(HOST).then_some((request, keep))
}

/// Reads what there is, once there is something; 0 at the end.
async fn fill(stream: &TcpStream, read: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match read_now(stream, read) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

fn read_now(stream: &TcpStream, read: &mut Vec<u8>) -> io::Result<usize> {
    let mut bytes = [0; READ_MAX];
    let count = stream.try_read(&mut bytes)?;
    read.extend_from_slice(&bytes[..count]);
    Ok(count)
}

/// Ends when the client does. What it sends ahead of an answer is kept, up to a limit.
async fn gone(stream: &TcpStream, read: &mut Vec<u8>) {
    while read.len() <= HEAD_MAX {
        if !matches!(fill(stream, read).await, Ok(1..)) {
            return;
        }
    }
    std::future::pending().await
}

/// The bytes of an answer.
async fn encode(response: Response, keep: bool) -> io::Result<Arc<Answer>> {
    let (parts, body) = response.into_parts();
    // It is made already, and as long as it is.
    let body = axum::body::to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
    let is_short = body.len() <= BODY_MAX;
    let mut head = Vec::with_capacity(512 + if is_short { body.len() } else { 0 });
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(parts.status.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(parts.status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in parts.headers.iter().filter(|(name, _)| **name != CONTENT_LENGTH) {
        head.extend_from_slice(b"\r\n");
        title(name.as_str(), &mut head);
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
    }
    head.extend_from_slice(format!("\r\nContent-Length: {}\r\nDate: ", body.len()).as_bytes());
    date(&mut head);
    head.extend_from_slice(if keep { b"\r\n\r\n" } else { b"\r\nConnection: close\r\n\r\n" });
    let body = if is_short {
        head.extend_from_slice(&body);
        Bytes::new()
    } else {
        body
    };
    Ok(Arc::new(Answer { head: head.into(), body, keep }))
}

/// What follows the first `written` bytes.
async fn write(stream: &TcpStream, answer: &Answer, mut written: usize) -> io::Result<()> {
    while written < answer.length() {
        match answer.write(stream, written)? {
            0 => stream.writable().await?,
            count => written += count,
        }
    }
    Ok(())
}

/// `X-Consul-Index`, as hyper writes names for us.
fn title(name: &str, out: &mut Vec<u8>) {
    let mut is_first = true;
    for byte in name.bytes() {
        out.push(if is_first { byte.to_ascii_uppercase() } else { byte });
        is_first = byte == b'-';
    }
}

/// Written anew each second.
fn date(out: &mut Vec<u8>) {
    static LAST: Mutex<(i64, String)> = Mutex::new((i64::MIN, String::new()));
    let now = clock::wall();
    let second = now.micros().div_euclid(1_000_000);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.0 != second {
        *last = (second, now.http_date());
    }
    out.extend_from_slice(last.1.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_plain_is_taken() {
        let check = |head: &str, expected: Option<(&str, usize, bool)>| {
            let found = length(head.as_bytes()).and_then(|length| request(&head.as_bytes()[..length]));
            let found = found.map(|(request, keep)| (request.uri().to_string(), request.headers().len(), keep));
            assert_eq!(found, expected.map(|(target, headers, keep)| (target.to_owned(), headers, keep)), "{head:?}");
        };
        let get = |rest: &str| format!("GET /v1/kv/a?index=1 HTTP/1.1\r\n{rest}\r\n");
        let target = "/v1/kv/a?index=1";
        check(&get("Host: x\r\nAccept:\r\n"), Some((target, 2, true)));
        check(&get("Host: x\r\nConnection: Keep-Alive\r\n"), Some((target, 1, true)));
        check(&get("host:x\r\nconnection: close\r\n"), Some((target, 1, false)));
        check(&get("Host: x\r\n\r\nGET /"), Some((target, 1, true)));
        for rest in [
            "Host: x\r\nContent-Length: 0\r\n",
            "Host: x\r\nTransfer-Encoding: chunked\r\n",
            "Host: x\r\nExpect: 100-continue\r\n",
            "Host: x\r\nConnection: upgrade\r\n",
            "Host : x\r\n",
            "Host: x\r\n folded\r\n",
            "Host: x\ny: z\r\n",
            "no header\r\n",
            "Accept: x\r\n",
        ] {
            check(&get(rest), None);
        }
        for line in [
            "PUT /v1/kv/a HTTP/1.1",
            "HEAD /v1/kv/a HTTP/1.1",
            "GET /v1/kv/a HTTP/1.0",
            "GET /v1/kv/a b HTTP/1.1",
            "GET /v1/kv/<a> HTTP/1.1",
            "GET /v1/agent/events HTTP/1.1",
            "GET  /v1/kv/a HTTP/1.1",
            "GET http://x/v1/kv/a HTTP/1.1",
        ] {
            check(&format!("{line}\r\nHost: x\r\n\r\n"), None);
        }
        check("GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n", None);
        assert!(may_be_plain(b"") && may_be_plain(b"GET /v") && may_be_plain(b"GET /v1/health/"));
        assert!(!may_be_plain(b"P") && !may_be_plain(b"GET /ui"));
        assert!(
            may_be_plain(b"GET /v1/kv/a HTTP/1.1\r\nHost: x\r") && !may_be_plain(b"GET /v1/kv/a HTTP/1.1\nHost: x\n\n")
        );
    }

    #[test]
    fn names_are_written_as_go_writes_them() {
        let mut out = Vec::new();
        title("x-consul-knownleader", &mut out);
        assert_eq!(out, b"X-Consul-Knownleader");
    }
}
