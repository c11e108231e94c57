//! `/v1/event/…`: firing a user event, and the last that were meant for this node.
//!
//! Fired from this agent's own gossip: in the pool that is the same as from a server's. As at Consul,
//! a client fires none while it knows no server.

use std::time::Duration;

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shared::api::event::UserEvent;
use tokio::time::{Instant, timeout_at};

use super::error::{Error, Refusal};
use super::extract::Call;
use super::reply;
use super::router::Method;
use crate::user_events::payload::Payload;
use crate::user_events::{Event, Events};

/// Consul's wait of a question that does not say, and of any.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// More than any pool carries in an event; what is longer is not even read.
const BODY_BYTES_MAX: usize = 64 << 10;

fn to_json(event: &Payload, ltime: u64) -> UserEvent {
    UserEvent {
        id: event.id.clone(),
        name: event.name.clone(),
        payload: (!event.payload.is_empty()).then(|| STANDARD.encode(&event.payload)),
        node_filter: event.node_filter.clone(),
        service_filter: event.service_filter.clone(),
        tag_filter: event.tag_filter.clone(),
        version: event.version,
        ltime,
    }
}

pub(super) async fn fire(mut call: Call, _: Method) -> Result<Response, Refusal> {
    if call.tail.is_empty() {
        return Err(Error::Missing("name").into());
    }
    let payload = call.take_body(BODY_BYTES_MAX).await?.to_vec();
    let filter = |name: &str| call.params.given(name).unwrap_or_default().to_owned();
    let event = Payload {
        name: call.tail.clone(),
        payload,
        node_filter: filter("node"),
        service_filter: filter("service"),
        tag_filter: filter("tag"),
        ..Payload::default()
    };
    call.check_datacenter()?;
    call.check_servers()?;
    let fired = call.context.user_events.fire(event).await.map_err(Error::Event)?;
    reply::json(&call, &to_json(&fired, 0))
}

/// The events of that name, and Consul's index of them.
fn named(events: &Events, name: Option<&str>) -> (u64, Vec<UserEvent>) {
    let wanted: Vec<&Event> = events
        .iter()
        .map(std::convert::AsRef::as_ref)
        .filter(|event: &&Event| name.is_none_or(|name| event.what.name == name))
        .collect();
    let index = wanted.last().map_or(1, |event| event.what.index());
    (index, wanted.into_iter().map(|event| to_json(&event.what, event.ltime)).collect())
}

pub(super) async fn list(call: Call, _: Method) -> Result<Response, Refusal> {
    // Consul: a list of the agent's own has no consistency to speak of.
    let (wait, index) = call.waits()?;
    let name = call.params.given("name").map(str::to_owned);
    let mut events = call.context.user_events.events();
    let wait = if wait.is_zero() { WAIT_MAX } else { wait.min(WAIT_MAX) };
    let until = Instant::now() + wait;
    loop {
        let (now, list) = named(&events.borrow_and_update(), name.as_deref());
        // The index of one list says nothing of another's age: only the very same one waits.
        if index == 0 || now != index {
            return reply::json_at(&call, now, &list);
        }
        tokio::select! {
            changed = timeout_at(until, events.changed()) => if !matches!(changed, Ok(Ok(()))) {
                return reply::json_at(&call, now, &list);
            },
            () = call.stop.cancelled() => return reply::json_at(&call, now, &list),
        }
    }
}
