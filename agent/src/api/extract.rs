//! A request as its endpoint sees it: path and query read as Go reads them, the options that every
//! read shares, and a body with a limit. Called by the router and by every endpoint.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderMap};
use http_body_util::{BodyExt, Limited};
use tokio_util::sync::CancellationToken;

use super::Context;
use super::error::{Error, Refusal};
use crate::backend::{self, Company, Consistency, ReadOptions, Reply};
use crate::store::query::Query;

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);
/// How much of a body that is refused is taken from the wire, and for how long.
const DISCARD_BYTES: usize = 1 << 20;
const DISCARD_TIME: Duration = Duration::from_millis(500);

/// A request whose path and method are known to be right.
pub(super) struct Call {
    pub(super) context: Arc<Context>,
    /// What follows the endpoint's path, decoded; empty unless that path ends in `/`.
    pub(super) tail: String,
    pub(super) params: Params,
    pub(super) headers: HeaderMap,
    /// In a lock because a body is not `Sync` and a call is lent across waits.
    pub(super) body: Mutex<Body>,
    /// Cancelled when the agent ends: whoever waits answers now.
    pub(super) stop: CancellationToken,
    /// Those who ask the very same.
    pub(super) company: Option<Arc<dyn Company>>,
}

/// Query parameters in the order given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// `a=1&b;c=%20`; none when an escape is damaged.
    pub(super) fn parse(query: &str) -> Option<Self> {
        let mut pairs = Vec::new();
        for pair in query.split(['&', ';']).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((unescape(name)?, unescape(value)?));
        }
        Some(Self(pairs))
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// The first value of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of that name, unless it is empty.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Sorted by name and encoded again, as Go's `url.Values` does.
    pub(super) fn encode(&self) -> String {
        let mut pairs: Vec<_> = self.0.iter().collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{}={}", escape(k), escape(v))).collect();
        pairs.join("&")
    }
}

/// A path with its percent escapes undone: none when one is damaged, the bytes when they are no text.
pub(super) fn unescape_path(path: &str) -> Option<Result<String, Vec<u8>>> {
    if path.contains('%') { unescape_bytes(path, false) } else { Some(Ok(path.to_owned())) }
}

/// Percent escapes undone; none when one is damaged. Bytes that are no text become U+FFFD.
fn unescape(text: &str) -> Option<String> {
    Some(match unescape_bytes(text, true)? {
        Ok(text) => text,
        Err(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
    })
}

fn unescape_bytes(text: &str, plus_is_blank: bool) -> Option<Result<String, Vec<u8>>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'%' => {
                let [high, low, tail @ ..] = rest else { return None };
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                rest = tail;
            }
            b'+' if plus_is_blank => bytes.push(b' '),
            byte => bytes.push(*byte),
        }
    }
    Some(String::from_utf8(bytes).map_err(std::string::FromUtf8Error::into_bytes))
}

/// As Go's `url.QueryEscape`.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Which of Consul's consistency modes answered, by its name in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    Leader,
    Consistent,
    Stale,
}

impl Freshness {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Consistent => "consistent",
            Self::Stale => "stale",
        }
    }
}

/// The options that every read shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadParams {
    pub(super) freshness: Freshness,
    pub(super) index: u64,
    pub(super) wait: Duration,
    /// `?cached`: ours answers from the state itself, which is never older.
    pub(super) cached: bool,
}

impl ReadParams {
    pub(super) fn options(self) -> ReadOptions {
        let consistency = match self.freshness {
            Freshness::Leader => Consistency::Default,
            Freshness::Consistent => Consistency::Consistent,
            Freshness::Stale => Consistency::Stale,
        };
        ReadOptions { consistency, min_index: self.index, wait: self.wait }
    }
}

impl Call {
    pub(super) fn is_pretty(&self) -> bool {
        self.context.always_pretty || self.params.has("pretty")
    }

    /// Reads the options in the reference's order, so that of two faults the same one is told.
    pub(super) fn read_params(&self) -> Result<ReadParams, Refusal> {
        let freshness = self.freshness()?;
        self.check_cache_control()?;
        let (wait, index) = self.waits()?;
        Ok(ReadParams { freshness, index, wait, cached: self.params.has("cached") })
    }

    /// The consistency alone, for a question that never waits.
    pub(super) fn read_consistency(&self) -> Result<(), Error> {
        self.freshness()?;
        self.check_cache_control()
    }

    fn freshness(&self) -> Result<Freshness, Error> {
        let mut stale = self.params.has("stale");
        let consistent = self.params.has("consistent");
        if let Some(text) = self.params.given("max_stale") {
            let age = wait(text).ok_or_else(|| Error::MaxStale(text.to_owned()))?;
            stale |= !age.is_zero();
        }
        if stale && consistent {
            return Err(Error::StaleAndConsistent);
        }
        if self.params.has("cached") && consistent {
            return Err(Error::CachedAndConsistent);
        }
        Ok(match (stale, consistent) {
            (true, _) => Freshness::Stale,
            (_, true) => Freshness::Consistent,
            _ => Freshness::Leader,
        })
    }

    /// There is no cache to control, yet a header that cannot be read is refused.
    fn check_cache_control(&self) -> Result<(), Error> {
        let Some(value) = self.headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()) else { return Ok(()) };
        let is_bad = value.to_ascii_lowercase().split(',').any(|part| match part.trim().split_once('=') {
            Some(("max-age" | "stale-if-error", seconds)) => seconds.parse::<i64>().is_err(),
            _ => false,
        });
        if is_bad { Err(Error::CacheControl) } else { Ok(()) }
    }

    /// How long to wait at most, and from which index on.
    pub(super) fn waits(&self) -> Result<(Duration, u64), Error> {
        let wait = match self.params.given("wait") {
            Some(text) => wait(text).ok_or(Error::Wait)?,
            None => Duration::ZERO,
        };
        let index = match self.params.given("index") {
            Some(text) => go_uint(text).map_err(|_| Error::Index)?,
            None => 0,
        };
        Ok((wait, index))
    }

    /// Refuses another datacenter than ours: nothing leads there.
    pub(super) fn check_datacenter(&self) -> Result<(), Error> {
        match self.params.given("dc") {
            Some(dc) if dc != self.context.datacenter => {
                Err(if self.context.server { Error::Datacenter } else { Error::RemoteDatacenter })
            }
            _ => Ok(()),
        }
    }

    /// Refuses where nobody could be asked: a client that knows no server.
    pub(super) fn check_servers(&self) -> Result<(), Error> {
        if self.context.backend.knows_servers() { Ok(()) } else { Err(backend::Error::NoServers.into()) }
    }

    /// Asks the state. A blocking read ends with the agent: it is answered with what is so then.
    pub(super) async fn read(&self, query: Query, params: ReadParams) -> Result<Reply, Error> {
        let options = params.options();
        if options.min_index == 0 {
            return Ok(self.context.backend.read(query, options).await?);
        }
        tokio::select! {
            reply = self.context.backend.read_among(query.clone(), options, self.company.as_ref()) => return Ok(reply?),
            () = self.stop.cancelled() => {}
        }
        let now = self.context.backend.read(query, ReadOptions { min_index: 0, ..options });
        match tokio::time::timeout(Duration::from_millis(250), now).await {
            Ok(reply) => Ok(reply?),
            Err(_) => Err(Error::Stopping),
        }
    }

    /// A number of the query, in Go's words when it is none; absent is none.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        self.params.get(name).map(go_uint).transpose()
    }

    /// Takes the body. One that is too long is refused, where its length is told without being kept.
    pub(super) async fn take_body(&mut self, limit: usize) -> Result<Bytes, Error> {
        let told = self.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|t| t.parse().ok());
        let body = std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner));
        if let Some(length) = told.filter(|length| *length > limit as u64) {
            discard(body).await;
            return Err(Error::ValueTooLarge { length, limit });
        }
        match tokio::time::timeout(BODY_TIME, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Error::BodyTooLarge(limit)),
            Ok(Err(error)) => Err(Error::Body(error.to_string())),
            Err(_) => Err(Error::Body("too slow".to_owned())),
        }
    }
}

/// Whoever is still sending when the connection ends finds it broken, and never reads why it was refused.
async fn discard(body: Body) {
    let mut body = Limited::new(body, DISCARD_BYTES);
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    // What is longer, or slower, has been warned.
    let _ = tokio::time::timeout(DISCARD_TIME, all).await;
}

/// A duration of Go's; a negative one is none at all.
fn wait(text: &str) -> Option<Duration> {
    match text.strip_prefix('-') {
        Some(rest) => shared::duration::parse(rest).ok().map(|_| Duration::ZERO),
        None => shared::duration::parse(text).ok(),
    }
}

/// Go's `strconv.ParseUint` in base 10: digits, no sign.
fn go_uint(text: &str) -> Result<u64, Error> {
    let fault = |why| Error::Number { text: text.to_owned(), why };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault("invalid syntax"));
    }
    text.parse().map_err(|_| fault("value out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn pairs(query: &str, expected: Option<&[(&str, &str)]>) {
        let expected =
            expected.map(|list| Params(list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()));
        assert_eq!(Params::parse(query), expected, "{query}");
    }

    #[test]
    fn a_query_is_read_as_go_reads_it() {
        pairs("", Some(&[]));
        pairs("a=1&b;c=%20+x&&a=2", Some(&[("a", "1"), ("b", ""), ("c", "  x"), ("a", "2")]));
        pairs("a=%zz", None);
        pairs("a=%2", None);
        pairs("%ff=x=y", Some(&[("\u{fffd}", "x=y")]));
    }

    #[test]
    fn parameters_are_encoded_sorted() {
        let params = Params::parse("recurse&cas=1&token=a%20b&a=/é").expect("a query");
        assert_eq!(params.encode(), "a=%2F%C3%A9&cas=1&recurse=&token=a+b");
    }

    #[test]
    fn numbers_are_gos() {
        let check = |text: &str, expected: Result<u64, &str>| {
            assert_eq!(go_uint(text).map_err(|error| error.to_string()), expected.map_err(str::to_owned));
        };
        check("18446744073709551615", Ok(u64::MAX));
        check("18446744073709551616", Err(r#"strconv.ParseUint: parsing "18446744073709551616": value out of range"#));
        check("+1", Err(r#"strconv.ParseUint: parsing "+1": invalid syntax"#));
        check("", Err(r#"strconv.ParseUint: parsing "": invalid syntax"#));
    }
}
