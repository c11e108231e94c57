//! The client of Consul's HTTP API that the verbs and the console use.
//!
//! [`Settings`] say where, [`Client`] asks, [`Request`] is one question, [`Answer`] its headers and body.
//! Every request has a limit of time, every body one of size; bodies that stream have neither and are
//! read piece by piece. Redirects are answers, not orders. Knows no endpoint by name.

pub mod blocking;
mod error;
pub mod escape;
mod settings;
pub mod sse;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Method;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::query;
pub use error::{Error, Failure, system_text};
pub use settings::{ADDRESS_DEFAULT, Settings, open_text};

/// Longer than an agent holds a write while it waits for a leader, or a join that tries several addresses.
const LIMIT_DEFAULT: Duration = Duration::from_secs(60);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A kv export of a large tree fits; what an agent sends by mistake does not fill the memory.
const BODY_BYTES_MAX: usize = 512 << 20;
/// An error's text beyond this helps nobody.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// A way to one agent; cheap to clone, and clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// As told to people: `http://127.0.0.1:8500`.
    base: String,
    /// As sent; differs from `base` when another name must be in the agent's certificate.
    target: String,
    host: String,
    port: u16,
    basic_auth: Option<(String, String)>,
}

impl Client {
    /// Reads the files that the settings name; opens no connection.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let token = settings.effective_token()?;
        let (scheme, authority) = settings.place()?;
        let base = format!("{scheme}://{authority}");
        let url = reqwest::Url::parse(&base).map_err(|e| Error::Settings(format!("parse \"{base}\": {e}")))?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .tcp_keepalive(Duration::from_secs(30))
            .default_headers(headers(token.as_deref())?);
        if host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()) {
            // Go asks no proxy for these either.
            builder = builder.no_proxy();
        }
        builder = tls(builder, settings, scheme == "https")?;
        let mut target = base.clone();
        if let (Some(name), "https") = (&settings.tls_server_name, scheme) {
            target = format!("https://{name}:{port}");
            builder = builder.resolve_to_addrs(name, &look_up(&host, port));
        }
        let http = builder.build().map_err(|e| Error::Settings(innermost(&e)))?;
        Ok(Self { http, base, target, host, port, basic_auth: settings.basic_auth.clone() })
    }

    /// Where this client asks: `http://127.0.0.1:8500`.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn get(&self, path: &str) -> Request<'_> {
        self.request(Method::GET, "Get", path)
    }

    pub fn put(&self, path: &str) -> Request<'_> {
        self.request(Method::PUT, "Put", path)
    }

    pub fn post(&self, path: &str) -> Request<'_> {
        self.request(Method::POST, "Post", path)
    }

    pub fn delete(&self, path: &str) -> Request<'_> {
        self.request(Method::DELETE, "Delete", path)
    }

    /// `path` is unescaped: `/v1/kv/a b`.
    fn request(&self, method: Method, word: &'static str, path: &str) -> Request<'_> {
        Request {
            client: self,
            method,
            word,
            path: escape::path(path),
            parameters: Vec::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            limit: Some(LIMIT_DEFAULT),
        }
    }
}

fn headers(token: Option<&str>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(token)
            .map_err(|_| Error::Settings("the token holds characters that no header can carry".to_owned()))?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(query::TOKEN), value);
    }
    Ok(headers)
}

fn tls(builder: reqwest::ClientBuilder, settings: &Settings, is_tls: bool) -> Result<reqwest::ClientBuilder, Error> {
    // A provider that is installed already is as good: both programs install this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut authorities = Vec::new();
    for (path, pem) in settings.authorities()? {
        let found = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if found.is_empty() {
            let cause = format!("Couldn't parse PEM in: {}", path.display());
            return Err(Error::File { what: settings.authorities_complaint(), cause });
        }
        authorities.extend(found);
    }
    let identity = settings.identity()?;
    if !is_tls {
        // Trusts nobody, so that no certificates of the machine are read for a plain connection.
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        return Ok(builder.tls_backend_preconfigured(config));
    }
    let mut builder = builder.tls_danger_accept_invalid_certs(!settings.is_verified);
    if !authorities.is_empty() {
        builder = builder.tls_certs_only(authorities);
    }
    if let Some(pem) = identity {
        let fault = |e: reqwest::Error| Error::Settings(format!("load client certificate: {}", innermost(&e)));
        builder = builder.identity(reqwest::Identity::from_pem(&pem).map_err(fault)?);
    }
    Ok(builder)
}

/// What the system says a name means; blocks, and only for names.
fn look_up(host: &str, port: u16) -> Vec<SocketAddr> {
    use std::net::ToSocketAddrs;
    (host, port).to_socket_addrs().map(Iterator::collect).unwrap_or_default()
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// One question, not yet asked.
#[derive(Debug)]
pub struct Request<'a> {
    client: &'a Client,
    method: Method,
    word: &'static str,
    path: String,
    parameters: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
    limit: Option<Duration>,
}

impl Request<'_> {
    /// Adds `name=value`; a flag such as `stale` has the value "".
    #[must_use]
    pub fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.parameters.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds `name=value` when there is a value.
    #[must_use]
    pub fn query_some(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Adds a header; the name is lower case.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    #[must_use]
    pub fn json_body(self, body: &impl Serialize) -> Self {
        let text = serde_json::to_vec(body).expect("the API's types are plain data");
        self.header("content-type", "application/json").body(text)
    }

    /// Bounds the whole exchange, the body included; 60 s when not said.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// For an answer that has no end: only connecting is bounded, and the body comes as it is sent.
    #[must_use]
    pub fn streaming(mut self) -> Self {
        self.limit = None;
        self.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        self
    }

    /// What follows the host, parameters in order of their names, as Go sends it.
    fn tail(&self) -> String {
        let mut parameters = self.parameters.clone();
        parameters.sort_by(|a, b| a.0.cmp(&b.0));
        let pairs: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{}={}", escape::query(name), escape::query(value)))
            .collect();
        if pairs.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, pairs.join("&")) }
    }

    /// Asks, and answers whatever status came.
    pub async fn send_any(self) -> Result<Answer, Error> {
        let tail = self.tail();
        let shown = format!("{}{tail}", self.client.base);
        let url = reqwest::Url::parse(&format!("{}{tail}", self.client.target))
            .map_err(|e| Error::Settings(format!("parse \"{shown}\": {e}")))?;
        if url.path() != self.path {
            return Err(Error::Path(self.path));
        }
        let client = self.client;
        let mut request = client.http.request(self.method, url).headers(self.headers);
        if let Some((user, password)) = &client.basic_auth {
            request = request.basic_auth(user, Some(password));
        }
        if let Some(limit) = self.limit {
            request = request.timeout(limit);
        }
        if !self.body.is_empty() {
            request = request.body(self.body);
        }
        match request.send().await {
            Ok(response) => Ok(Answer { response, word: self.word, url: shown }),
            Err(error) => {
                let address = client.dialled().await;
                let failure = Failure::from_chain(&error, &address, &client.host);
                Err(Error::Request { method: self.word, url: shown, failure })
            }
        }
    }

    /// Asks; an answer that is no success is an error with its text.
    pub async fn send(self) -> Result<Answer, Error> {
        let answer = self.send_any().await?;
        if answer.response.status().is_success() { Ok(answer) } else { Err(answer.into_error().await) }
    }

    /// Asks and reads the body as JSON.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        self.send().await?.json().await
    }

    /// Asks for what may not be there: 404 is none.
    pub async fn json_if_found<T: DeserializeOwned>(self) -> Result<Option<T>, Error> {
        match self.send().await {
            Ok(answer) => answer.json().await.map(Some),
            Err(Error::Status { code: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Client {
    /// The address a connection goes to first, to be told in an error.
    async fn dialled(&self) -> String {
        let named = crate::addr::host_port(&self.host, self.port);
        if self.host.parse::<std::net::IpAddr>().is_ok() {
            return named;
        }
        let found = tokio::time::timeout(CONNECT_LIMIT, tokio::net::lookup_host((self.host.as_str(), self.port))).await;
        match found {
            Ok(Ok(mut addresses)) => addresses.next().map_or(named, |first| first.to_string()),
            _ => named,
        }
    }
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Answer {
    response: reqwest::Response,
    word: &'static str,
    url: String,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// A header's text; names as in [`crate::api::query`].
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// `X-Consul-Index`.
    pub fn index(&self) -> Option<u64> {
        self.header(query::INDEX)?.parse().ok()
    }

    /// `X-Consul-KnownLeader`.
    pub fn knows_leader(&self) -> Option<bool> {
        self.header(query::KNOWN_LEADER)?.parse().ok()
    }

    /// `X-Consul-LastContact`, in milliseconds.
    pub fn last_contact_ms(&self) -> Option<u64> {
        self.header(query::LAST_CONTACT)?.parse().ok()
    }

    /// The next piece of the body; none at its end. May be dropped while it waits without loss.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.response.chunk().await.map_err(|error| {
            let failure = Failure::from_chain(&error, "", "");
            Error::Request { method: self.word, url: self.url.clone(), failure }
        })
    }

    /// The whole body, up to 512 MiB.
    pub async fn bytes(self) -> Result<Bytes, Error> {
        let url = self.url.clone();
        match self.bounded(BODY_BYTES_MAX).await? {
            (body, true) => Ok(body),
            (_, false) => Err(Error::Decode { url, cause: format!("larger than {BODY_BYTES_MAX} bytes") }),
        }
    }

    pub async fn text(self) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.bytes().await?).into_owned())
    }

    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let url = self.url.clone();
        let body = self.bytes().await?;
        serde_json::from_slice(&body).map_err(|e| Error::Decode { url, cause: e.to_string() })
    }

    /// Up to `limit` bytes of the body, and whether that was all.
    async fn bounded(mut self, limit: usize) -> Result<(Bytes, bool), Error> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            let room = limit - body.len();
            if piece.len() > room {
                body.extend_from_slice(&piece[..room]);
                return Ok((body.freeze(), false));
            }
            body.extend_from_slice(&piece);
        }
        Ok((body.freeze(), true))
    }

    /// This answer as the error it is.
    pub async fn into_error(self) -> Error {
        let code = self.status();
        let body = match self.bounded(ERROR_BYTES_MAX).await {
            Ok((body, _)) => String::from_utf8_lossy(&body).into_owned(),
            Err(error) => return error,
        };
        Error::Status { code, body }
    }
}
