//! Who is at the other end: one of ours, HashiCorp's, or no agent at all; and why, when nobody answers.

use std::time::Duration;

use serde_json::Value;
use shared::event::{KINDS, Level};
use shared::http::{Answer, Error, Failure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::poll::identity_of;
use super::stream::Memory;
use super::wire::{DEADLINE, Wire};
use crate::msg::Trouble;

/// What answers.
pub(super) enum Found {
    /// Its event stream, open.
    Ours(Answer),
    /// `/v1/agent/self`, unless the token may not read it.
    HashiCorp(Option<Value>),
}

/// Asks for the event stream, and takes what else answers for what it is.
pub(super) async fn detect(wire: &Wire, memory: &Memory, level: Level) -> Result<Found, Trouble> {
    let answer = match open_stream(wire, memory, level).await {
        Ok(answer) => answer,
        Err(error) => return Err(closer_look(wire, &error).await),
    };
    if is_stream(&answer) {
        return Ok(Found::Ours(answer));
    }
    let status = answer.status();
    let stream_error = answer.into_error().await;
    if speaks_tls(&stream_error) {
        return Err(Trouble::TlsExpected);
    }
    if status == 503 {
        return Err(Trouble::Other(short(&stream_error)));
    }
    own(wire).await
}

/// Sends the request for the event stream; its head must come within the deadline, its body never ends.
pub(super) async fn open_stream(wire: &Wire, memory: &Memory, level: Level) -> Result<Answer, Error> {
    open_kinds(wire, memory, level, &KINDS).await
}

pub(super) async fn open_kinds(wire: &Wire, memory: &Memory, level: Level, kinds: &[&str]) -> Result<Answer, Error> {
    let mut request = wire
        .get("/v1/agent/events")
        .query("kind", kinds.join(","))
        .query("level", format!("{level:?}").to_lowercase())
        .header("accept", "text/event-stream")
        .streaming();
    if let Some(id) = memory.resume() {
        request = request.header("last-event-id", id);
    }
    match timeout(DEADLINE, wire.ask(request)).await {
        Ok(answer) => answer,
        Err(_) => Err(timed_out()),
    }
}

pub(super) fn timed_out() -> Error {
    Error::Request { method: "Get", url: String::new(), failure: Failure::TimedOut }
}

pub(super) fn is_stream(answer: &Answer) -> bool {
    answer.status() == 200 && answer.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
}

/// Whether an agent of HashiCorp's kind answers here.
async fn own(wire: &Wire) -> Result<Found, Trouble> {
    let request = wire.get("/v1/agent/self").within(DEADLINE);
    let answer = wire.ask(request).await.map_err(|error| trouble_of(&error))?;
    match answer.status() {
        200 => {
            let said = answer.header("server").unwrap_or("something else").to_owned();
            match answer.json::<Value>().await {
                Ok(own) if identity_of(&own).is_some() => Ok(Found::HashiCorp(Some(own))),
                Ok(_) => Err(Trouble::NotAnAgent(format!("{said}, /v1/agent/self names no datacenter"))),
                Err(Error::Decode { .. }) => Err(Trouble::NotAnAgent(format!("{said}, /v1/agent/self is no JSON"))),
                Err(error) => Err(trouble_of(&error)),
            }
        }
        401 | 403 => {
            // The leader may be asked for without a token.
            match wire.get("/v1/status/leader").within(DEADLINE).json::<String>().await {
                Ok(_) => Ok(Found::HashiCorp(None)),
                Err(_) => Err(Trouble::Forbidden),
            }
        }
        // An agent that cannot answer now.
        500..600 => Err(Trouble::Other(short(&answer.into_error().await))),
        _ => {
            let said = answer.header("server").map(|name| format!("{name} says ")).unwrap_or_default();
            Err(Trouble::NotAnAgent(format!("{said}{}", short(&answer.into_error().await))))
        }
    }
}

/// `404 page not found`: the status and what of its text fits on a line.
fn short(error: &Error) -> String {
    let Error::Status { code, body } = error else { return error.to_string() };
    let line = body.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line = line.strip_prefix(&code.to_string()).unwrap_or(line).trim();
    let line: String = line.chars().filter(|c| !c.is_control()).take(60).collect();
    if line.is_empty() || line.starts_with('<') { code.to_string() } else { format!("{code} {line}") }
}

/// Go's servers answer a plain request on a TLS port with these words.
fn speaks_tls(error: &Error) -> bool {
    matches!(error, Error::Status { code: 400, body } if body.contains("HTTP request to an HTTPS server"))
}

/// One who answers no HTTP, or closes without a word, may want TLS; it is greeted so, and its bytes tell.
async fn closer_look(wire: &Wire, error: &Error) -> Trouble {
    let trouble = trouble_of(error);
    let is_odd = matches!(error.failure(), Some(Failure::NotHttp(_) | Failure::Closed | Failure::Broken(_)));
    match wire.authority() {
        Some(authority) if is_odd && answers_tls(authority).await => Trouble::TlsExpected,
        _ => trouble,
    }
}

/// A hello of TLS 1.2 with two ciphers and nothing else. Who speaks TLS takes it or refuses it with an alert.
const HELLO: [u8; 54] = {
    let mut hello = [0x51; 54];
    // A record of type handshake, in it a client's hello, its version; then 32 bytes that were to be random.
    put(&mut hello, 0, &[0x16, 3, 1, 0, 49, 1, 0, 0, 45, 3, 3]);
    // No session, two ciphers, one compression: none. An empty list of extensions.
    put(&mut hello, 43, &[0, 0, 4, 0xc0, 0x2f, 0xc0, 0x2b, 1, 0, 0, 0]);
    hello
};

const fn put(hello: &mut [u8; 54], at: usize, bytes: &[u8]) {
    let mut i = 0;
    while i < bytes.len() {
        hello[at + i] = bytes[i];
        i += 1;
    }
}

async fn answers_tls(authority: &str) -> bool {
    let look = async {
        let mut stream = TcpStream::connect(authority).await.ok()?;
        stream.write_all(&HELLO).await.ok()?;
        let mut head = [0; 2];
        stream.read_exact(&mut head).await.ok()?;
        // A record of type alert (or handshake) of some TLS version.
        Some(matches!(head, [0x15 | 0x16, 0x03]))
    };
    timeout(Duration::from_secs(1), look).await.ok().flatten().unwrap_or(false)
}

/// Why there was no answer.
pub fn trouble_of(error: &Error) -> Trouble {
    match error {
        Error::Request { failure, .. } => match failure {
            Failure::Refused { .. } => Trouble::Refused,
            Failure::Unreachable { reason, .. } => Trouble::Unreachable(reason.clone()),
            Failure::NoSuchHost { .. } => Trouble::Unresolved,
            Failure::TimedOut => Trouble::TimedOut,
            Failure::NotTls => Trouble::TlsFailed("it answers plain HTTP".to_owned()),
            Failure::Certificate(reason) => {
                Trouble::TlsFailed(format!("{reason}: give CONSUL_CACERT, or CONSUL_HTTP_SSL_VERIFY=false"))
            }
            Failure::Closed => Trouble::Ended,
            Failure::NotHttp(_) => Trouble::NotAnAgent("it does not speak HTTP".to_owned()),
            Failure::Broken(reason) => Trouble::Other(format!("broke off: {reason}")),
        },
        Error::Status { code: 401 | 403, .. } => Trouble::Forbidden,
        Error::Status { .. } => Trouble::Other(format!("answers {}", short(error))),
        other => Trouble::Other(other.to_string()),
    }
}
