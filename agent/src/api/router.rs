//! From a request to its endpoint and back, as Go's mux and the reference's wrapper around it do:
//! paths cleaned by redirects, methods, OPTIONS, gzip, the log lines. Called by `server` per request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use ::metrics::Histogram;
use axum::extract::Request;
use axum::http::header::{CONNECTION, HOST, HeaderValue};
use axum::http::{StatusCode, Version};
use axum::response::Response;
use futures_util::future::BoxFuture;
use shared::quote;
use tokio_util::sync::CancellationToken;

use super::error::{Error, Refusal};
use super::extract::{Call, Params, unescape_path};
use super::{Context, ENDPOINTS, reply};
use crate::backend::Company;
use crate::clock;
use crate::moment::Moment;

/// Under the address that `ui` opens.
const NO_WEB_VIEW: &str =
    "The web view is not built yet. The console shows the cluster in a terminal; the HTTP API is under /v1/.\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Put,
    Post,
    Delete,
}

impl Method {
    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

pub(super) struct Endpoint {
    pub(super) path: &'static str,
    pub(super) methods: &'static [Method],
    pub(super) answer: fn(Call, Method) -> BoxFuture<'static, Result<Response, Refusal>>,
}

/// The table's rows: path, methods, handler.
macro_rules! endpoints {
    ($($path:literal $methods:ident $handler:path,)*) => {
        &[$(Endpoint { path: $path, methods: $methods, answer: |call, method| Box::pin($handler(call, method)) }),*]
    };
}
pub(super) use endpoints;

impl Endpoint {
    fn allow(&self) -> String {
        let mut allow = "OPTIONS".to_owned();
        for method in self.methods {
            allow.push(',');
            allow.push_str(method.as_str());
        }
        allow
    }
}

/// What one path means.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    /// Index into the table, and what follows the endpoint's path.
    Endpoint(usize, String),
    /// The path it should have been.
    Redirect(String),
    Root,
    Unknown,
}

/// Finds the endpoint of a decoded path.
fn route(path: &str) -> Route {
    let clean = clean(path);
    if clean != path {
        // As Go, straight to the slash that the path lacks.
        return match route(&clean) {
            Route::Redirect(further) => Route::Redirect(further),
            _ => Route::Redirect(clean),
        };
    }
    if path == "/" {
        return Route::Root;
    }
    for (at, endpoint) in ENDPOINTS.iter().enumerate() {
        let is_prefix = endpoint.path.ends_with('/');
        match path.strip_prefix(endpoint.path) {
            Some(tail) if is_prefix || tail.is_empty() => return Route::Endpoint(at, tail.to_owned()),
            _ if is_prefix && endpoint.path.strip_suffix('/') == Some(path) => {
                return Route::Redirect(endpoint.path.to_owned());
            }
            _ => {}
        }
    }
    Route::Unknown
}

/// Go's `path.Clean` with the slash at the end kept.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut out = format!("/{}", parts.join("/"));
    if path.ends_with('/') && out != "/" {
        out.push('/');
    }
    out
}

/// Go's way to write a path into a URL.
fn escape_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn is_printable(path: &str) -> bool {
    path.chars().all(quote::is_printable)
}

/// Answers one request. `company` is that of those who ask the very same, if it may wait with them.
pub(super) async fn answer(
    context: Arc<Context>,
    request: Request,
    peer: SocketAddr,
    stop: CancellationToken,
    company: Option<Arc<dyn Company>>,
) -> Response {
    let extra = context.response_headers.clone();
    let mut response = dispatch(context, request, peer, stop, company).await;
    for (name, value) in extra {
        response.headers_mut().insert(name, value);
    }
    response
}

async fn dispatch(
    context: Arc<Context>,
    request: Request,
    peer: SocketAddr,
    stop: CancellationToken,
    company: Option<Arc<dyn Company>>,
) -> Response {
    let (parts, body) = request.into_parts();
    if parts.version == Version::HTTP_11 && !parts.headers.contains_key(HOST) {
        let mut response = reply::text(StatusCode::BAD_REQUEST, "400 Bad Request: missing required Host header");
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    if parts.uri.path() == "*" {
        let is_options = parts.method == axum::http::Method::OPTIONS;
        return reply::bare(if is_options { StatusCode::OK } else { StatusCode::BAD_REQUEST });
    }
    let path = match unescape_path(parts.uri.path()) {
        Some(Ok(path)) => path,
        Some(Err(_)) => return reply::refuse(&Error::KeyNotText.into(), ""),
        None => return reply::text(StatusCode::BAD_REQUEST, "400 Bad Request"),
    };
    if !is_printable(&path) {
        return reply::bare(StatusCode::BAD_REQUEST);
    }
    let query = parts.uri.query();
    let (at, tail) = match route(&path) {
        Route::Endpoint(at, tail) => (at, tail),
        Route::Redirect(to) => {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            return reply::redirect(&parts.method, &format!("{}{query}", escape_path(&to)));
        }
        Route::Root => {
            return match &context.ui {
                Some(ui) if ui != "/" => reply::redirect(&parts.method, ui),
                Some(_) => reply::text(StatusCode::NOT_FOUND, NO_WEB_VIEW),
                None => reply::text(StatusCode::OK, "Consul Agent"),
            };
        }
        Route::Unknown if context.ui.as_ref().is_some_and(|ui| format!("{path}/") == *ui) => {
            return reply::redirect(&parts.method, &format!("{path}/"));
        }
        Route::Unknown if context.ui.as_ref().is_some_and(|ui| path.starts_with(ui)) => {
            return reply::text(StatusCode::NOT_FOUND, NO_WEB_VIEW);
        }
        Route::Unknown => return reply::bare(StatusCode::NOT_FOUND),
    };
    let gzip = reply::accepts_gzip(&parts.headers);
    let Some(params) = Params::parse(query.unwrap_or_default()) else {
        return reply::finish(reply::bare(StatusCode::INTERNAL_SERVER_ERROR), gzip).await;
    };
    let url = shown_url(&parts.uri, &params);
    let asked = Asked { method: parts.method, url, peer, started: clock::now() };
    // What is near changes without news.
    let company = company.filter(|_| !params.has("near"));
    let call = Call { context, tail, params, headers: parts.headers, body: Mutex::new(body), stop, company };
    let response = call_endpoint(at, call, &path, &asked).await;
    drop(asked);
    reply::finish(response, gzip).await
}

/// A request as the log tells of it, once it is over: also where another one's answer was written.
struct Asked {
    method: axum::http::Method,
    url: String,
    peer: SocketAddr,
    started: Moment,
}

impl Drop for Asked {
    fn drop(&mut self) {
        tracing::debug!(target: "agent.http", method = %self.method, url = %self.url, from = %self.peer,
            latency = %shared::duration::format(clock::now().since(self.started)), "Request finished");
    }
}

/// Measures an endpoint until it is dropped.
struct Timed {
    histogram: &'static Histogram,
    started: Moment,
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.histogram.record(clock::now().since(self.started).as_secs_f64() * 1000.0);
    }
}

/// Families of endpoints that know of namespaces, to refuse them.
const NAMESPACED: &[&str] = &[
    "/v1/agent/check",
    "/v1/agent/health/",
    "/v1/agent/service",
    "/v1/catalog/connect/",
    "/v1/catalog/deregister",
    "/v1/catalog/node-services/",
    "/v1/catalog/node/",
    "/v1/catalog/register",
    "/v1/catalog/service",
    "/v1/config/",
    "/v1/health/",
    "/v1/kv/",
    "/v1/session/",
];

/// Checks the method and lets the endpoint answer.
async fn call_endpoint(at: usize, call: Call, path: &str, asked: &Asked) -> Response {
    let method = &asked.method;
    let endpoint = &ENDPOINTS[at];
    let blocked = call.context.block_endpoints.iter().any(|prefix| path.starts_with(prefix.as_str()));
    let known = endpoint.methods.iter().position(|known| known.as_str() == method.as_str());
    let has_namespace = call.params.given("ns").is_some() && NAMESPACED.iter().any(|family| path.starts_with(family));
    let result = if blocked {
        Err(Error::Blocked.into())
    } else if *method == axum::http::Method::OPTIONS {
        let mut response = reply::empty();
        reply::insert_allow(&mut response, &endpoint.allow());
        return response;
    } else if known.is_some() && has_namespace {
        Err(Error::Namespace("ns").into())
    } else if let Some(which) = known {
        let _timed = Timed { histogram: latency(at, which), started: clock::now() };
        (endpoint.answer)(call, endpoint.methods[which]).await
    } else {
        Err(Error::Method(method.to_string()).into())
    };
    match result {
        Ok(response) => response,
        Err(refusal) => {
            if refusal.error.is_logged() {
                tracing::error!(target: "agent.http", method = %method, url = %asked.url, from = %asked.peer,
                    error = %refusal.error, "Request error");
            }
            reply::refuse(&refusal, &endpoint.allow())
        }
    }
}

/// The path and query as the log shows them: a token stays secret.
fn shown_url(uri: &axum::http::Uri, params: &Params) -> String {
    let mut url = uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string);
    for token in params.all("token").filter(|token| !token.is_empty()) {
        url = url.replace(token, "<hidden>");
    }
    url
}

/// Consul's sample of how long an endpoint takes, in milliseconds: `consul.http.GET.v1.kv._`.
fn latency(endpoint: usize, method: usize) -> &'static Histogram {
    static ALL: OnceLock<Vec<Vec<Histogram>>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let name = |endpoint: &Endpoint, method: &Method| {
            let path = endpoint.path.trim_start_matches('/').replace('/', ".");
            let rest = if path.ends_with('.') { "_" } else { "" };
            ::metrics::histogram!(format!("consul.http.{}.{path}{rest}", method.as_str()))
        };
        ENDPOINTS
            .iter()
            .map(|endpoint| endpoint.methods.iter().map(|method| name(endpoint, method)).collect())
            .collect()
    });
    &all[endpoint][method]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &str) {
        let shown = match route(path) {
            Route::Endpoint(at, tail) => format!("{} [{tail}]", ENDPOINTS[at].path),
            Route::Redirect(to) => format!("301 {to}"),
            Route::Root => "root".to_owned(),
            Route::Unknown => "404".to_owned(),
        };
        assert_eq!(shown, expected, "{path}");
    }

    #[test]
    fn paths_find_their_endpoint_as_gos_mux_does() {
        check("/", "root");
        check("/v1", "404");
        check("/v1/", "404");
        check("/v1/agent/self", "/v1/agent/self []");
        check("/v1/agent/self/", "404");
        check("//v1/agent/self", "301 /v1/agent/self");
        check("/v1/../v1/status/leader", "301 /v1/status/leader");
        check("/v1/kv", "301 /v1/kv/");
        check("/v1/kv/", "/v1/kv/ []");
        check("/v1/kv/a/b/", "/v1/kv/ [a/b/]");
        check("/v1/kv//a", "301 /v1/kv/a");
        check("/v1/kv/a/..", "301 /v1/kv/");
        check("/v1/kv/.", "301 /v1/kv/");
        check("/v1/catalog/node", "301 /v1/catalog/node/");
        check("/v1/catalog/nodes", "/v1/catalog/nodes []");
        check("/v1/catalog/node/x/y", "/v1/catalog/node/ [x/y]");
        check("/../..", "301 /");
    }

    #[test]
    fn what_cannot_be_printed_is_told_apart() {
        for good in ["a b", "é", "😀", "\u{fffd}", "e\u{301}", "\"'\\"] {
            assert!(is_printable(good), "{good:?}");
        }
        for bad in ["\t", "\u{7f}", "\u{a0}", "\u{2028}", "\u{200b}", "\u{e000}"] {
            assert!(!is_printable(bad), "{bad:?}");
        }
    }
}
