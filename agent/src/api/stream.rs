//! `GET /v1/agent/events`: the live event stream as `text/event-stream`. Ours, not Consul's.
//! The bus has the frames; here are the parameters, the framing of a connection, and its end.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use shared::event::{EventId, KINDS, Level};
use tokio_util::sync::CancellationToken;

use crate::events::{Bus, Filter, Item, Opening, Reader};

/// How often a quiet stream says that it lives, so that proxies keep it.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const COMMENT: Bytes = Bytes::from_static(b": alive\n\n");

/// Answers with a stream that ends when the client goes away or `end` is cancelled.
/// `pairs` are the decoded parameters of the query.
pub(crate) fn open(bus: &Bus, pairs: &[(String, String)], headers: &HeaderMap, end: CancellationToken) -> Response {
    let (filter, since) = match parameters(pairs, headers) {
        Ok(wanted) => wanted,
        Err(text) => return (StatusCode::BAD_REQUEST, text).into_response(),
    };
    let Opening { frames, reader } = match bus.open(filter, since.as_ref()) {
        Ok(opening) => opening,
        Err(full) => return (StatusCode::SERVICE_UNAVAILABLE, full.to_string()).into_response(),
    };
    let state = Connection { first: frames.into_iter(), reader, bus: bus.clone(), end };
    let body = Body::from_stream(stream::unfold(state, |mut state| async move {
        let chunk = state.next().await?;
        Some((Ok::<_, Infallible>(chunk), state))
    }));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx and its like hold back what they could not buffer whole.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

struct Connection {
    first: std::vec::IntoIter<Bytes>,
    reader: Reader,
    bus: Bus,
    end: CancellationToken,
}

impl Connection {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(frame) = self.first.next() {
            return Some(frame);
        }
        tokio::select! {
            biased;
            item = self.reader.next() => match item? {
                Item::Frame(frame) => Some(frame),
                Item::Lagged(missed) => Some(self.bus.lagged(missed)),
            },
            () = self.end.cancelled() => None,
            () = tokio::time::sleep(KEEP_ALIVE) => Some(COMMENT),
        }
    }
}

fn parameters(pairs: &[(String, String)], headers: &HeaderMap) -> Result<(Filter, Option<EventId>), String> {
    let mut kinds = BTreeSet::new();
    let mut level = Level::Info;
    let mut node = None;
    let mut since = None;
    for (name, value) in pairs {
        match name.as_str() {
            "kind" => {
                for kind in value.split(',').filter(|kind| !kind.is_empty()) {
                    kinds.insert(known_kind(kind)?);
                }
            }
            "level" => {
                level = value
                    .parse()
                    .map_err(|()| format!("level {value:?} is none of TRACE, DEBUG, INFO, WARN, ERROR"))?;
            }
            "node" => node = Some(value.clone()),
            "since" => since = Some(event_id("since", value)?),
            _ => {}
        }
    }
    if let Some(value) = headers.get("last-event-id") {
        since = Some(event_id("Last-Event-ID", value.to_str().unwrap_or_default())?);
    }
    if kinds.is_empty() {
        kinds.extend(KINDS.into_iter().filter(|kind| *kind != "log"));
    }
    Ok((Filter { kinds, level, node, own: false }, since))
}

fn known_kind(text: &str) -> Result<&'static str, String> {
    KINDS.into_iter().find(|kind| *kind == text).ok_or_else(|| format!("kind {text:?} is none of {}", KINDS.join(", ")))
}

fn event_id(place: &str, text: &str) -> Result<EventId, String> {
    text.parse().map_err(|problem| format!("{place} {text:?}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &[(&str, &str)], expected: Result<(&[&str], Level), &str>) {
        let pairs: Vec<_> = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let seen = parameters(&pairs, &HeaderMap::new());
        match (seen, expected) {
            (Ok((filter, _)), Ok((kinds, level))) => {
                assert_eq!(filter.kinds.into_iter().collect::<Vec<_>>(), kinds);
                assert_eq!(filter.level, level);
            }
            (Err(text), Err(part)) => assert!(text.contains(part), "{text}"),
            (seen, expected) => panic!("{seen:?} is not {expected:?}"),
        }
    }

    #[test]
    fn everything_but_the_log_is_the_default() {
        let kinds = ["agent", "check", "election", "member", "raft", "replication", "service", "user"];
        check(&[], Ok((&kinds, Level::Info)));
    }

    #[test]
    fn kinds_may_be_repeated_or_listed() {
        check(
            &[("kind", "raft"), ("kind", "log,election"), ("level", "warn")],
            Ok((&["election", "log", "raft"], Level::Warn)),
        );
    }

    #[test]
    fn what_is_not_known_is_named() {
        check(&[("kind", "rift")], Err("\"rift\" is none of member, raft"));
        check(&[("level", "loud")], Err("\"loud\""));
        check(&[("since", "x")], Err("since \"x\""));
    }

    #[test]
    fn the_header_says_where_to_resume() {
        let headers = HeaderMap::from_iter([(
            header::HeaderName::from_static("last-event-id"),
            HeaderValue::from_static("ab-12"),
        )]);
        let (_, since) = parameters(&[("since".into(), "ab-1".into())], &headers).expect("parameters");
        assert_eq!(since.expect("an ID").seq, 12);
    }
}
