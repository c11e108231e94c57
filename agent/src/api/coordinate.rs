//! `/v1/coordinate/…`, and `?near=`: where nodes are, and which of them are closest.
//!
//! Answered from this agent's own pools, which hear every member's coordinate while probing; nodes
//! that are no members were placed over this API. Knows no Vivaldi but the distance.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use shared::api::coordinate::{Coordinate, CoordinateEntry, DIMENSIONS, DatacenterCoordinates};
use shared::event::{MemberState, MemberStatus};

use super::body::{self, Fields, Go, Object, TEXT, Way, field};
use super::error::{Error, Refusal};
use super::extract::{Call, ReadParams};
use super::reply::{self, Meta};
use super::router::Method;
use crate::backend::{self, Consistency, ReadOptions};
use crate::store::query::{Answer, Query};

/// Consul's waits: of a question that does not say, and of any.
pub(super) const WAIT: Duration = Duration::from_secs(300);
pub(super) const WAIT_MAX: Duration = Duration::from_secs(600);
/// An update is a few hundred bytes.
const UPDATE_BYTES_MAX: usize = 64 << 10;

fn check_enabled(call: &Call) -> Result<(), Error> {
    if call.context.coordinates { Ok(()) } else { Err(Error::CoordinatesOff) }
}

/// Every place there is to tell of, by node.
async fn places(call: &Call, params: ReadParams) -> (Meta, Vec<CoordinateEntry>) {
    let lan = &call.context.lan;
    if params.index > 0 {
        let wait = if params.wait.is_zero() { WAIT } else { params.wait.min(WAIT_MAX) };
        tokio::select! {
            () = lan.places_after(params.index, wait) => {}
            () = call.stop.cancelled() => {}
        }
    }
    let places = lan.places().await;
    let mut all: BTreeMap<String, Coordinate> = places.members.into_iter().collect();
    if !places.others.is_empty() {
        let known = catalog_nodes(call).await;
        all.extend(places.others.into_iter().filter(|(name, _)| known.contains(&name.to_lowercase())));
    }
    let entry = |(node, coord)| CoordinateEntry { node, segment: String::new(), coord };
    let status = call.context.backend.status();
    (Meta::of_gossip(places.index, !status.leader.is_empty()), all.into_iter().map(entry).collect())
}

/// Names in the catalog, in lower case: who is no member counts while it is registered.
async fn catalog_nodes(call: &Call) -> HashSet<String> {
    let options = ReadOptions { consistency: Consistency::Stale, ..ReadOptions::default() };
    match call.context.backend.read(Query::Nodes, options).await.map(|reply| reply.answer) {
        Ok(Answer::Nodes(nodes)) => nodes.iter().map(|node| node.fields.name.to_lowercase()).collect(),
        // Nothing is known of any: then nothing is told of them.
        _ => HashSet::new(),
    }
}

/// `?segment=`: there is one, and its name is empty.
fn is_other_segment(call: &Call) -> bool {
    call.params.given("segment").is_some()
}

pub(super) async fn nodes(call: Call, _: Method) -> Result<Response, Refusal> {
    check_enabled(&call)?;
    let params = call.read_params()?;
    call.check_datacenter().map_err(|error| Refusal { error, of_catalog: true })?;
    call.check_servers().map_err(|error| Refusal { error, of_catalog: true })?;
    let (meta, mut entries) = places(&call, params).await;
    if is_other_segment(&call) {
        entries.clear();
    }
    reply::json_with(&call, meta, &entries)
}

pub(super) async fn node(call: Call, _: Method) -> Result<Response, Refusal> {
    check_enabled(&call)?;
    let params = call.read_params()?;
    call.check_datacenter().map_err(|error| Refusal { error, of_catalog: true })?;
    call.check_servers().map_err(|error| Refusal { error, of_catalog: true })?;
    let (meta, mut entries) = places(&call, params).await;
    entries.retain(|entry| entry.node == call.tail && !is_other_segment(&call));
    if entries.is_empty() {
        return Ok(reply::bare(StatusCode::NOT_FOUND));
    }
    reply::json_with(&call, meta, &entries)
}

pub(super) async fn datacenters(call: Call, _: Method) -> Result<Response, Refusal> {
    check_enabled(&call)?;
    let wan = call.context.wan.as_ref().ok_or(backend::Error::NoServers)?;
    let places: HashMap<String, Coordinate> = wan.places().await.members.into_iter().collect();
    let mut by_datacenter: BTreeMap<String, Vec<CoordinateEntry>> = BTreeMap::new();
    let members = wan.members().borrow().clone();
    let is_server = |member: &&MemberState| {
        member.status != MemberStatus::Left && member.tags.get("role").is_some_and(|role| role == "consul")
    };
    for member in members.iter().filter(is_server) {
        let Some(datacenter) = member.tags.get("dc") else { continue };
        let Some(coord) = places.get(&member.name) else { continue };
        let node = member.name.strip_suffix(&format!(".{datacenter}")).unwrap_or(&member.name).to_owned();
        let entry = CoordinateEntry { node, segment: String::new(), coord: *coord };
        by_datacenter.entry(datacenter.clone()).or_default().push(entry);
    }
    let all: Vec<_> = by_datacenter
        .into_iter()
        .map(|(datacenter, coordinates)| DatacenterCoordinates { datacenter, area_id: "wan".to_owned(), coordinates })
        .collect();
    reply::json(&call, &all)
}

static UPDATE: Object = Object {
    name: "CoordinateUpdateRequest",
    whole: "structs.CoordinateUpdateRequest",
    way: Way::Along,
    fields: &[
        field("Datacenter", TEXT),
        field("Node", TEXT),
        field("Segment", TEXT),
        field("Coord", Go::Object(&PLACE)),
        field("Token", TEXT),
    ],
};

static PLACE: Object = Object {
    name: "Coordinate",
    whole: "coordinate.Coordinate",
    way: Way::Along,
    fields: &[
        field("Vec", Go::List("[]float64", &Go::Real)),
        field("Error", Go::Real),
        field("Adjustment", Go::Real),
        field("Height", Go::Real),
    ],
};

/// A place in as many dimensions as ours.
fn to_coordinate(place: &Fields) -> Result<Coordinate, Error> {
    let vec = <[f64; DIMENSIONS]>::try_from(place.reals("Vec"));
    let vec = vec.map_err(|_| Error::Coordinate("incompatible coordinate"))?;
    Ok(Coordinate {
        vec,
        error: place.real("Error"),
        adjustment: place.real("Adjustment"),
        height: place.real("Height"),
    })
}

pub(super) async fn update(mut call: Call, _: Method) -> Result<Response, Refusal> {
    check_enabled(&call)?;
    let update = body::take(&mut call, UPDATE_BYTES_MAX, &UPDATE).await?;
    call.check_datacenter()?;
    let coordinate = to_coordinate(&update.object("Coord").ok_or(Error::Coordinate("invalid coordinate"))?)?;
    // There is one segment: as at Consul's servers, what belongs to no node is forgotten without a word.
    let node = if update.text("Segment").is_empty() { update.text("Node") } else { String::new() };
    if call.context.lan.set_place(node, coordinate).await {
        Ok(reply::empty())
    } else {
        Err(Error::Coordinate("invalid coordinate").into())
    }
}

/// How far nodes are from the one that `?near=` names.
pub(super) struct Near {
    from: Coordinate,
    places: HashMap<String, Coordinate>,
}

impl Near {
    /// None when nothing is to be sorted: not asked for, or nobody knows where that node is.
    pub(super) async fn of(call: &Call) -> Option<Self> {
        let name = match call.params.given("near")? {
            "_agent" => &call.context.node_name,
            name => name,
        };
        let lan = call.context.lan.places().await;
        let places: HashMap<String, Coordinate> =
            lan.others.into_iter().chain(lan.members).map(|(name, place)| (name.to_lowercase(), place)).collect();
        let from = *places.get(&name.to_lowercase())?;
        Some(Self { from, places })
    }

    /// Nearest first; whose place nobody knows comes last. Equals keep their order.
    pub(super) fn sort<T>(&self, rows: &mut [T], node: impl Fn(&T) -> &str) {
        let distance = |row: &T| {
            let place = self.places.get(&node(row).to_lowercase());
            place.map_or(f64::INFINITY, |place| self.from.distance_to(place))
        };
        rows.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
    }
}
