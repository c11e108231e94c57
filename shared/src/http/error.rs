//! What can go wrong between a client and an agent, in the words that Consul's own programs print.
//! A caller tells cases apart by variant and [`Failure`], never by text.

use std::error::Error as StdError;
use std::fmt;

/// A request that did not end well, or settings no client can be built from.
/// Nothing here says that a write did not happen, except [`Failure::Refused`], [`Failure::NoSuchHost`] and
/// [`Failure::Unreachable`]: those were never sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Unknown protocol scheme: {0}")]
    Scheme(String),
    #[error(
        "the address unix://{0} is a Unix socket, which is not supported; use the agent's HTTP address, such as \
         127.0.0.1:8500"
    )]
    UnixSocket(String),
    /// A file that the settings name; `cause` names the file and the fault.
    #[error("{what}{cause}")]
    File { what: &'static str, cause: String },
    #[error("both client cert and client key must be provided")]
    HalfIdentity,
    /// The settings name an address or certificates that cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The name would be changed on its way (a path with `.` or `..` in it).
    #[error("the path {0} cannot be sent as it is")]
    Path(String),
    /// No answer, or it broke off.
    #[error("{method} \"{url}\": {failure}")]
    Request { method: &'static str, url: String, failure: Failure },
    /// An answer that is no success.
    #[error("Unexpected response code: {code} ({body})")]
    Status { code: u16, body: String },
    /// A success whose body is not what it should be.
    #[error("decode the answer to {url}: {cause}")]
    Decode { url: String, cause: String },
}

impl Error {
    /// Why no answer came, when that is what happened.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Request { failure, .. } => Some(failure),
            _ => None,
        }
    }

    /// The status of an answer that was no success.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// Why no answer came; reads as Go's `net` and `net/http` tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens there.
    Refused {
        address: String,
    },
    /// No way there, in the system's words.
    Unreachable {
        address: String,
        reason: String,
    },
    NoSuchHost {
        host: String,
    },
    TimedOut,
    /// The other side speaks plain HTTP where TLS was wanted.
    NotTls,
    /// The other side's certificate is not trusted.
    Certificate(String),
    /// The other side closed without an answer.
    Closed,
    /// It does not speak HTTP.
    NotHttp(String),
    /// Anything else, innermost cause first.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { address } => write!(f, "dial tcp {address}: connect: connection refused"),
            Self::Unreachable { address, reason } => write!(f, "dial tcp {address}: connect: {reason}"),
            Self::NoSuchHost { host } => write!(f, "dial tcp: lookup {host}: no such host"),
            Self::TimedOut => write!(f, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
            Self::NotTls => write!(f, "http: server gave HTTP response to HTTPS client"),
            Self::Certificate(reason) => write!(f, "x509: {reason}"),
            Self::Closed => write!(f, "EOF"),
            Self::NotHttp(reason) => write!(f, "net/http: HTTP/1.x transport connection broken: {reason}"),
            Self::Broken(reason) => write!(f, "{reason}"),
        }
    }
}

impl Failure {
    /// Reads `reqwest`'s chain of causes; `address` is where the request was going (`127.0.0.1:8500`).
    pub(super) fn from_chain(error: &reqwest::Error, address: &str, host: &str) -> Self {
        if error.is_timeout() {
            return Self::TimedOut;
        }
        let mut cause: Option<&(dyn StdError + 'static)> = error.source();
        let mut last = error.to_string();
        let mut is_lookup = false;
        while let Some(inner) = cause {
            if let Some(found) = Self::from_tls(inner).or_else(|| Self::from_hyper(inner)) {
                return found;
            }
            if let Some(io) = inner.downcast_ref::<std::io::Error>() {
                if let Some(found) = Self::from_io(io, error.is_connect() && !is_lookup, address) {
                    return found;
                }
                // An io::Error answers its inner error's source as its own: what it wraps must be asked for.
                if let Some(wrapped) = io.get_ref() {
                    last = wrapped.to_string();
                    cause = Some(wrapped);
                    continue;
                }
            }
            last = inner.to_string();
            is_lookup |= last == "dns error";
            cause = inner.source();
        }
        if is_lookup { Self::NoSuchHost { host: host.to_owned() } } else { Self::Broken(last) }
    }

    fn from_io(io: &std::io::Error, is_connecting: bool, address: &str) -> Option<Self> {
        use std::io::ErrorKind;
        match io.kind() {
            ErrorKind::ConnectionRefused => Some(Self::Refused { address: address.to_owned() }),
            ErrorKind::TimedOut if !is_connecting => Some(Self::TimedOut),
            ErrorKind::UnexpectedEof => Some(Self::Closed),
            _ if is_connecting && io.raw_os_error().is_some() => {
                Some(Self::Unreachable { address: address.to_owned(), reason: system_text(io) })
            }
            _ => None,
        }
    }

    fn from_tls(cause: &(dyn StdError + 'static)) -> Option<Self> {
        use rustls::{CertificateError, Error as Tls, InvalidMessage};
        Some(match cause.downcast_ref::<Tls>()? {
            Tls::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            // The library has no words of its own for the others: one that signed itself is among them.
            Tls::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_)) => {
                Self::Certificate("certificate signed by unknown authority".to_owned())
            }
            Tls::InvalidCertificate(other) => Self::Certificate(other.to_string()),
            other => Self::Broken(other.to_string()),
        })
    }

    fn from_hyper(cause: &(dyn StdError + 'static)) -> Option<Self> {
        let hyper = cause.downcast_ref::<hyper::Error>()?;
        if hyper.is_incomplete_message() {
            Some(Self::Closed)
        } else if hyper.is_parse() {
            Some(Self::NotHttp("malformed HTTP response".to_owned()))
        } else {
            None
        }
    }
}

/// A system error as Go words it: lower case, without its number.
pub fn system_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
