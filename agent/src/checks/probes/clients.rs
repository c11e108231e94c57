//! What HTTP and gRPC checks ask with: one client for each way, made when first needed, and no connection
//! outlives its question. Also Go's words for what went wrong on the way.

use std::error::Error as _;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, redirect};

/// Go's.
const REDIRECTS_MAX: usize = 10;

/// Made at most once each: reading the system's certificates takes time and memory.
#[derive(Default)]
pub(in crate::checks) struct Clients {
    http: [OnceLock<Result<Client, String>>; 2],
    grpc: [OnceLock<Result<Client, String>>; 2],
}

impl Clients {
    pub(super) fn http(&self, skip_verify: bool) -> Result<&Client, String> {
        let made = self.http[usize::from(skip_verify)].get_or_init(|| {
            let builder = Client::builder().redirect(redirect::Policy::limited(REDIRECTS_MAX)).http1_only();
            build(builder, skip_verify)
        });
        made.as_ref().map_err(Clone::clone)
    }

    pub(super) fn grpc(&self, skip_verify: bool) -> Result<&Client, String> {
        let made = self.grpc[usize::from(skip_verify)].get_or_init(|| {
            let builder = Client::builder().redirect(redirect::Policy::none()).http2_prior_knowledge();
            build(builder, skip_verify)
        });
        made.as_ref().map_err(Clone::clone)
    }
}

fn build(builder: reqwest::ClientBuilder, skip_verify: bool) -> Result<Client, String> {
    // A provider that is installed already is as good: this program installs no other.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = builder
        .no_proxy()
        .no_gzip()
        .pool_max_idle_per_host(0)
        .tls_danger_accept_invalid_certs(skip_verify)
        .user_agent("Consul Health Check");
    builder.build().map_err(|problem| format!("set up the client: {}", chain(&problem)))
}

/// Why no answer came from `place`, without the request, which the caller names.
pub(super) fn reason(problem: &reqwest::Error, place: &str) -> String {
    if problem.is_timeout() {
        return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned();
    }
    let mut source = problem.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && problem.is_connect()
            && io.raw_os_error().is_some()
        {
            return format!("dial tcp {place}: connect: {}", words(io));
        }
        source = cause.source();
    }
    let text = chain(problem);
    match text.contains("dns error") {
        true => format!("dial tcp: lookup {}: no such host", place.rsplit_once(':').map_or(place, |(host, _)| host)),
        false => text,
    }
}

/// A time in which nothing came is Go's deadline too.
pub(super) fn late(limit: Duration) -> String {
    format!("context deadline exceeded after {}", shared::duration::format(limit))
}

/// An I/O error in Go's words: in small letters, without its number.
pub(super) fn words(problem: &std::io::Error) -> String {
    let text = problem.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// What caused it, innermost last, without reqwest's own sentence and its URL.
fn chain(problem: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut source = problem.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        source = cause.source();
    }
    if texts.is_empty() { problem.to_string() } else { texts.join(": ") }
}
