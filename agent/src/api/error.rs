//! Every way a request is refused, and the one map from there to status and text (Consul's words).
//!
//! Handlers return a [`Refusal`] with `?`; nothing else in the API names a status code of failure.

use axum::http::StatusCode;

use crate::backend;
use crate::filter;
use crate::gossip::ForceLeaveError;
use crate::local;
use crate::user_events;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("method {0} not allowed")]
    Method(String),
    #[error("Endpoint is blocked by agent configuration")]
    Blocked,
    #[error("Missing {0}")]
    Missing(&'static str),
    #[error("Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove")]
    NoPeer,
    #[error("Bad request: Must specify only one of ?id or ?address")]
    TwoPeers,
    /// `id` or `address`, and what was given.
    #[error("{0} {1:?} was not found in the Raft configuration")]
    UnknownPeer(&'static str, String),
    #[error("Invalid index")]
    Index,
    #[error("Invalid wait time")]
    Wait,
    #[error("Invalid max_stale value {0:?}")]
    MaxStale(String),
    #[error("Invalid Cache-Control header.")]
    CacheControl,
    #[error("Cannot specify ?stale with ?consistent, conflicting semantics.")]
    StaleAndConsistent,
    #[error("Cannot specify ?cached with ?consistent, conflicting semantics.")]
    CachedAndConsistent,
    #[error("Invalid value for ?passing")]
    Passing,
    /// All parameters of the request, sorted and encoded.
    #[error("Conflicting flags: {0}")]
    ConflictingFlags(String),
    /// Go's words for a number that is none.
    #[error("strconv.ParseUint: parsing {text:?}: {why}")]
    Number { text: String, why: &'static str },
    #[error(
        "Request body({length} bytes) too large, max size: {limit} bytes. See https://www.consul.io/docs/agent/options.html#kv_max_value_size."
    )]
    ValueTooLarge { length: u64, limit: usize },
    #[error(
        "Request body too large, max size: {0} bytes. See https://www.consul.io/docs/agent/options.html#kv_max_value_size."
    )]
    BodyTooLarge(usize),
    #[error("The request body did not arrive: {0}")]
    Body(String),
    #[error("The key is not UTF-8 text")]
    KeyNotText,
    #[error("Bad request: Unknown log level: {0}")]
    LogLevel(String),
    #[error("Network segments are not supported in this version of Consul")]
    Segments,
    #[error("Cannot provide a segment with wan=true")]
    SegmentOfWan,
    #[error("Must be a server to join WAN cluster")]
    NoWan,
    /// A parameter that would change the answer and is not there yet.
    #[error("The parameter {0:?} is not supported by this agent yet")]
    Unsupported(&'static str),
    /// What is wrong with what shall be registered or switched, in Consul's words.
    #[error("{0}")]
    Definition(String),
    #[error("Request body too large, max size: {0} bytes")]
    DefinitionTooLarge(usize),
    /// Consul answers as if it were at fault itself.
    #[error("{0}")]
    NoId(&'static str),
    #[error(transparent)]
    Registration(#[from] local::Refused),
    #[error("unknown service ID: {0}")]
    UnknownService(String),
    #[error("Coordinate support disabled")]
    CoordinatesOff,
    /// Consul's words for what is wrong with a coordinate.
    #[error("{0}")]
    Coordinate(&'static str),
    /// A body that is not what it should be.
    #[error("Request decode failed: {0}")]
    Decode(String),
    /// Consul's way to say what is wrong with a request.
    #[error("Bad request: {0}")]
    BadRequest(String),
    #[error("Failed to create boolean expression evaluator: {0}")]
    Filter(filter::Error),
    /// The parameter of a namespace, which only the other edition has.
    #[error("Bad request: Invalid query parameter: {0:?} - Namespaces are a Consul Enterprise feature")]
    Namespace(&'static str),
    /// A part of Consul that is not there yet, named for whoever wants to change something of it.
    #[error("{0} are not supported by this agent yet")]
    NotYet(&'static str),
    #[error("ACL support disabled")]
    AclsOff,
    #[error("Connect must be enabled in order to use this endpoint")]
    ConnectOff,
    #[error("Query not found")]
    NoQuery,
    #[error("Intention not found")]
    NoIntention,
    #[error("Config entry not found for {0:?} / {1:?}")]
    NoEntry(String, String),
    /// Consul's words for a question about what is not there.
    #[error("{0}")]
    Nothing(String),
    #[error(transparent)]
    Event(#[from] user_events::Error),
    /// What members say that did not do as asked with their keys.
    #[error("{0}")]
    Keyring(String),
    #[error("No path to datacenter")]
    Datacenter,
    /// As a server tells a client.
    #[error("rpc error making call: No path to datacenter")]
    RemoteDatacenter,
    #[error("autopilot config not initialized yet")]
    NoAutopilot,
    /// Why no address answered, Consul's words.
    #[error("{0}")]
    Join(String),
    #[error("the state answered another question than was asked")]
    Mismatch,
    #[error("the agent is shutting down")]
    Stopping,
    #[error("{0}")]
    Control(String),
    #[error("encode the answer: {0}")]
    Encode(#[from] serde_json::Error),
    #[error(transparent)]
    ForceLeave(#[from] ForceLeaveError),
    #[error(transparent)]
    Backend(#[from] backend::Error),
}

impl Error {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Blocked => StatusCode::FORBIDDEN,
            Self::UnknownService(_)
            | Self::Registration(local::Refused::Unregistered(_))
            | Self::NoQuery
            | Self::NoIntention
            | Self::NoEntry(..) => StatusCode::NOT_FOUND,
            Self::CoordinatesOff | Self::AclsOff => StatusCode::UNAUTHORIZED,
            Self::Missing(_)
            | Self::NoPeer
            | Self::TwoPeers
            | Self::Index
            | Self::Wait
            | Self::MaxStale(_)
            | Self::CacheControl
            | Self::StaleAndConsistent
            | Self::CachedAndConsistent
            | Self::Passing
            | Self::ConflictingFlags(_)
            | Self::Body(_)
            | Self::Decode(_)
            | Self::Definition(_)
            | Self::BadRequest(_)
            | Self::KeyNotText
            | Self::Namespace(_)
            | Self::SegmentOfWan
            | Self::LogLevel(_) => StatusCode::BAD_REQUEST,
            Self::ValueTooLarge { .. } | Self::BodyTooLarge(_) | Self::DefinitionTooLarge(_) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Unsupported(_) | Self::NotYet(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Stopping | Self::Registration(local::Refused::Stopping) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Registration(local::Refused::Busy) => StatusCode::TOO_MANY_REQUESTS,
            Self::Backend(error) if matches!(error.origin(), backend::Error::TooManyWaiting(_)) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Number { .. }
            | Self::UnknownPeer(..)
            | Self::NoId(_)
            | Self::Registration(_)
            | Self::Segments
            | Self::NoWan
            | Self::Datacenter
            | Self::RemoteDatacenter
            | Self::NoAutopilot
            | Self::Coordinate(_)
            | Self::Join(_)
            | Self::Event(_)
            | Self::Filter(_)
            | Self::ConnectOff
            | Self::Nothing(_)
            | Self::Keyring(_)
            | Self::Control(_)
            | Self::Mismatch
            | Self::Encode(_)
            | Self::ForceLeave(_)
            | Self::Backend(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether Consul's log tells of it.
    pub(super) fn is_logged(&self) -> bool {
        !matches!(self.status(), StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE)
            || matches!(self, Self::LogLevel(_))
    }
}

/// An error on its way out.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: Error,
    /// Asked of the catalog: the answer carries the `X-Consul-…` headers of a state nobody has seen.
    pub(super) of_catalog: bool,
}

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self { error: error.into(), of_catalog: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_the_reference() {
        let check = |error: Error, status: u16, text: &str| {
            assert_eq!(error.to_string(), text);
            assert_eq!(error.status().as_u16(), status, "{text}");
        };
        check(Error::Missing("node name"), 400, "Missing node name");
        check(Error::MaxStale("\"\n".into()), 400, r#"Invalid max_stale value "\"\n""#);
        check(
            Error::Number { text: "x".into(), why: "invalid syntax" },
            500,
            r#"strconv.ParseUint: parsing "x": invalid syntax"#,
        );
        check(backend::Error::NoLeader.into(), 500, "No cluster leader");
        check(ForceLeaveError::UnknownNode("x".into()).into(), 500, "agent: No node found with name 'x'");
    }
}
