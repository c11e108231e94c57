//! Answers: JSON bodies, the `X-Consul-…` headers, refusals, redirects, gzip.
//! Called by every endpoint and by the router; knows no endpoint.

use std::io::Write;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    LOCATION, VARY,
};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use shared::api::query;

use super::error::{Error, Refusal};
use super::extract::{Call, Freshness};
use super::json;
use crate::backend::{Page, Reply};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const INDEX: HeaderName = HeaderName::from_static(query::INDEX);
const KNOWN_LEADER: HeaderName = HeaderName::from_static(query::KNOWN_LEADER);
const LAST_CONTACT: HeaderName = HeaderName::from_static(query::LAST_CONTACT);
const EFFECTIVE_CONSISTENCY: HeaderName = HeaderName::from_static(query::EFFECTIVE_CONSISTENCY);

/// What the headers of a question say of the state it was answered from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    index: u64,
    known_leader: bool,
    last_contact_ms: u64,
    freshness: Option<Freshness>,
}

impl Meta {
    /// Of the catalog and of health: with the consistency that was effective.
    pub(super) fn of_catalog(reply: &Reply, freshness: Freshness) -> Self {
        Self { freshness: Some(freshness), ..Self::of_kv(reply) }
    }

    pub(super) fn of_page(page: &Page, freshness: Freshness) -> Self {
        Self {
            index: page.index.max(1),
            known_leader: page.known_leader,
            last_contact_ms: page.last_contact_ms,
            freshness: Some(freshness),
        }
    }

    pub(super) fn of_kv(reply: &Reply) -> Self {
        Self {
            index: reply.index.max(1),
            known_leader: reply.known_leader,
            last_contact_ms: reply.last_contact_ms,
            freshness: None,
        }
    }

    /// Of a pool, which is as it is.
    pub(super) fn of_gossip(index: u64, known_leader: bool) -> Self {
        Self { index: index.max(1), known_leader, last_contact_ms: 0, freshness: None }
    }

    /// Of a node that is not there, gone or never seen. Who waits from 1 on waits until it is there.
    pub(super) fn of_absent(self) -> Self {
        Self { index: 1, ..self }
    }

    fn of_nothing() -> Self {
        Self { index: 1, known_leader: false, last_contact_ms: 0, freshness: None }
    }

    pub(super) fn write(self, headers: &mut HeaderMap) {
        if let Some(freshness) = self.freshness {
            headers.insert(EFFECTIVE_CONSISTENCY, HeaderValue::from_static(freshness.as_str()));
        }
        headers.insert(INDEX, self.index.into());
        headers.insert(KNOWN_LEADER, HeaderValue::from_static(if self.known_leader { "true" } else { "false" }));
        headers.insert(LAST_CONTACT, self.last_contact_ms.into());
    }
}

/// A body of JSON, indented when the call or the agent's `-dev` says so.
pub(super) fn json<T: Serialize + ?Sized>(call: &Call, value: &T) -> Result<Response, Refusal> {
    let mut response = Response::new(Body::from(json::encode(value, call.is_pretty())?));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(response)
}

pub(super) fn json_with<T: Serialize + ?Sized>(call: &Call, meta: Meta, value: &T) -> Result<Response, Refusal> {
    let mut response = json(call, value)?;
    meta.write(response.headers_mut());
    Ok(response)
}

/// JSON that is made already, and perhaps packed.
pub(super) fn json_bytes(meta: Meta, body: Bytes, is_packed: bool) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    if is_packed {
        response.headers_mut().insert(CONTENT_ENCODING, GZIP);
    }
    meta.write(response.headers_mut());
    response
}

/// With an index and no word on the state, which was not asked.
pub(super) fn json_at<T: Serialize + ?Sized>(call: &Call, index: u64, value: &T) -> Result<Response, Refusal> {
    let mut response = json(call, value)?;
    response.headers_mut().insert(INDEX, index.into());
    Ok(response)
}

/// 200 with nothing in it.
pub(super) fn empty() -> Response {
    Response::new(Body::empty())
}

/// A status with nothing in it.
pub(super) fn bare(status: StatusCode) -> Response {
    let mut response = empty();
    *response.status_mut() = status;
    response
}

/// 404 of a key: the state was looked at, and says so.
pub(super) fn not_found(meta: Meta) -> Response {
    let mut response = bare(StatusCode::NOT_FOUND);
    meta.write(response.headers_mut());
    response
}

pub(super) fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}

pub(super) fn refuse(refusal: &Refusal, allow: &str) -> Response {
    let mut response = text(refusal.error.status(), refusal.error.to_string());
    if refusal.of_catalog {
        Meta::of_nothing().write(response.headers_mut());
    }
    if matches!(refusal.error, Error::Method(_)) {
        insert_allow(&mut response, allow);
    }
    response
}

pub(super) fn insert_allow(response: &mut Response, allow: &str) {
    if let Ok(value) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(ALLOW, value);
    }
}

/// 301 as Go's mux sends it: a body only where the method takes one.
pub(super) fn redirect(method: &Method, location: &str) -> Response {
    let mut response = bare(StatusCode::MOVED_PERMANENTLY);
    if *method == Method::GET || *method == Method::HEAD {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        *response.body_mut() = Body::from(format!("<a href=\"{}\">Moved Permanently</a>.\n\n", escape_html(location)));
    }
    if let Ok(value) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;").replace('\'', "&#39;")
}

/// What every endpoint of `/v1` adds: Vary, and gzip when it was asked for and there is a body.
/// A body of unknown length is a stream and stays as it is.
pub(super) async fn finish(response: Response, gzip: bool) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    let length = body.size_hint().exact();
    if length.is_none_or(|length| length == 0) || !gzip || parts.headers.contains_key(CONTENT_ENCODING) {
        return Response::from_parts(parts, body);
    }
    let limit = usize::try_from(length.unwrap_or(0)).unwrap_or(usize::MAX);
    let Ok(bytes) = axum::body::to_bytes(body, limit).await else {
        return bare(StatusCode::INTERNAL_SERVER_ERROR);
    };
    match pack(&bytes) {
        Some(packed) => {
            parts.headers.insert(CONTENT_ENCODING, GZIP);
            parts.headers.remove(CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(packed))
        }
        None => Response::from_parts(parts, Body::from(bytes)),
    }
}

/// The same, shorter.
pub(super) fn pack(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4 + 32), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).ok().map(Bytes::from)
}

/// `gzip` named with a weight above 0; `*` does not count, as at the reference.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |text| text.parse().ok());
            is_gzip && weight.is_some_and(|weight: f64| weight > 0.0)
        })
    })
}
