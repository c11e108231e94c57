//! `rtt`: how long a round trip between two nodes takes, by their coordinates.

use serde_json::Value;
use shared::api::coordinate::{Coordinate, CoordinateEntry, DatacenterCoordinates};
use shared::http::Client;

use super::{Call, Ended, Reach, Verb, failing};
use crate::flags::{Flag, Kind};

pub(super) const RTT: Verb = Verb {
    path: "rtt",
    synopsis: "Estimates the round trip time between nodes",
    form: "[options] node1 [node2]",
    about: "  Estimates how long a round trip between two nodes takes, by the coordinates\n  \
            that members keep while they probe each other. Without a second node the\n  \
            agent's own is meant. Names are those that members prints, no addresses.\n\n  \
            With -wan servers of the WAN pool are meant, as node.datacenter.",
    flags: &[Flag::new("wan", Kind::Bool, "Use WAN coordinates instead of LAN coordinates.")],
    reach: Reach::Agent,
    run: |call| Box::pin(async move { Ended::from(rtt(call).await) }),
};

async fn rtt(call: &Call) -> Result<Ended, Ended> {
    let (first, second) = match call.flags.rest() {
        [one] => (one, None),
        [one, two] => (one, Some(two)),
        _ => {
            return Err(Ended::failed(format!("One or two node names must be specified\n\n{}", call.help())));
        }
    };
    let client = call.client()?;
    let wan = call.flags.is_on("wan");
    let second = match second {
        Some(second) => second.clone(),
        None => oneself(&client, wan).await?,
    };
    let found =
        if wan { wan_places(&client, first, &second).await? } else { lan_places(&client, first, &second).await? };
    let missing = |name: &str| Ended::failed(format!("Could not find a coordinate for node {name:?}"));
    let (here, there) = match found {
        (Some(here), Some(there)) => (here, there),
        // Of the WAN pool Consul names the first whichever is missing.
        (Some(_), None) if !wan => return Err(missing(&second)),
        _ => return Err(missing(first)),
    };
    let milliseconds = here.distance_to(&there) * 1000.0;
    let source = if wan { "WAN" } else { "LAN" };
    Ok(Ended::said(format!("Estimated {first} <-> {second} rtt: {milliseconds:.3} ms (using {source} coordinates)\n")))
}

/// The agent's own node.
async fn oneself(client: &Client, wan: bool) -> Result<String, Ended> {
    let answer: Value = client.get("/v1/agent/self").json().await.map_err(failing("Unable to look up agent info"))?;
    let text = |name: &str| answer["Config"][name].as_str().unwrap_or_default().to_owned();
    let node = text("NodeName");
    Ok(if wan { format!("{node}.{}", text("Datacenter")) } else { node })
}

type Found = (Option<Coordinate>, Option<Coordinate>);

async fn lan_places(client: &Client, first: &str, second: &str) -> Result<Found, Ended> {
    let request = client.get("/v1/coordinate/nodes");
    let entries: Vec<CoordinateEntry> = request.json().await.map_err(failing("Error getting coordinates"))?;
    let place = |name: &str| entries.iter().find(|entry| entry.node == name).map(|entry| entry.coord);
    Ok((place(first), place(second)))
}

async fn wan_places(client: &Client, first: &str, second: &str) -> Result<Found, Ended> {
    let (Some(first), Some(second)) = (split(first), split(second)) else {
        return Err(Ended::failed("Node names must be specified as <node name>.<datacenter> with -wan"));
    };
    let request = client.get("/v1/coordinate/datacenters");
    let all: Vec<DatacenterCoordinates> = request.json().await.map_err(failing("Error getting coordinates"))?;
    let place = |(node, datacenter): (&str, &str)| {
        let of_it = all.iter().filter(|entry| entry.datacenter == datacenter);
        of_it.flat_map(|entry| &entry.coordinates).find(|entry| entry.node == node).map(|entry| entry.coord)
    };
    Ok((place(first), place(second)))
}

/// `node.datacenter`, with one dot.
fn split(name: &str) -> Option<(&str, &str)> {
    name.split_once('.').filter(|(_, datacenter)| !datacenter.contains('.'))
}
