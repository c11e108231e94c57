//! One question of an HTTP check: 2xx passes, 429 warns, anything else is critical.

use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::clients::{Clients, reason};
use super::tail::Tail;
use crate::checks::spec::Http;
use crate::store::command::CheckStatus;

/// Of a body no more is read, however fast it comes.
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub(in crate::checks) async fn run(
    clients: &Clients,
    what: &Http,
    limit: Duration,
    output_max: usize,
) -> (CheckStatus, String) {
    match ask(clients, what, limit, output_max).await {
        Ok(said) => said,
        Err(problem) => (CheckStatus::Critical, problem),
    }
}

async fn ask(
    clients: &Clients,
    what: &Http,
    limit: Duration,
    output_max: usize,
) -> Result<(CheckStatus, String), String> {
    let url = Url::parse(&what.url).map_err(|problem| format!("parse {:?}: {problem}", what.url))?;
    let method = Method::from_bytes(what.method.as_bytes())
        .map_err(|_| format!("net/http: invalid method {:?}", what.method))?;
    let mut request = clients.http(what.tls_skip_verify)?.request(method, url.clone()).timeout(limit);
    if !what.header.keys().any(|name| name.eq_ignore_ascii_case("accept")) {
        request = request.header("accept", "text/plain, text/*, */*");
    }
    for (name, values) in &what.header {
        let wrong = || format!("net/http: invalid header field {name:?}");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        for value in values {
            let value = HeaderValue::from_str(value).map_err(|_| wrong())?;
            request = request.header(name.clone(), value);
        }
    }
    if !what.body.is_empty() {
        request = request.body(what.body.clone());
    }
    let failed = |problem: &reqwest::Error| {
        let verb = capitalised(&what.method);
        format!("{verb} {:?}: {}", what.url, reason(problem, &place(&url)))
    };
    let mut response = request.send().await.map_err(|problem| failed(&problem))?;
    let status = response.status();
    let mut body = Tail::new(output_max);
    // What came of a body that breaks off is shown all the same: the status was said.
    while let Ok(Some(chunk)) = response.chunk().await {
        body.take(&chunk);
        if body.total() > BODY_BYTES_MAX {
            break;
        }
    }
    let said = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let output = format!("HTTP {} {}: {} Output: {}", what.method, what.url, said.trim_end(), body.text());
    let verdict = match status.as_u16() {
        200..=299 => CheckStatus::Passing,
        429 => CheckStatus::Warning,
        _ => CheckStatus::Critical,
    };
    Ok((verdict, output))
}

/// Go writes a method so where it tells of an error.
fn capitalised(method: &str) -> String {
    let (first, rest) = method.split_at(method.chars().next().map_or(0, char::len_utf8));
    format!("{}{}", first.to_uppercase(), rest.to_lowercase())
}

fn place(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}
