//! `/v1/coordinate/…`: where nodes are in the network, in seconds of round trip.

use serde::{Deserialize, Serialize};

/// Numbers that make up the place itself, beside height and adjustment.
pub const DIMENSIONS: usize = 8;

/// A place in Vivaldi's space, by which round trips between nodes that never met are estimated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Coordinate {
    pub vec: [f64; DIMENSIONS],
    /// How little it is to be trusted: 1.5 at first, less with every good guess.
    pub error: f64,
    /// What the last guesses were short of, shared by the two ends.
    pub adjustment: f64,
    /// The way from the node to the network.
    pub height: f64,
}

impl Coordinate {
    /// Without the adjustments: what a measurement is compared with.
    pub fn raw_distance_to(&self, other: &Self) -> f64 {
        let squares: f64 = self.vec.iter().zip(&other.vec).map(|(a, b)| (a - b) * (a - b)).sum();
        squares.sqrt() + self.height + other.height
    }

    /// The round trip in seconds, as it is estimated.
    pub fn distance_to(&self, other: &Self) -> f64 {
        let raw = self.raw_distance_to(other);
        let adjusted = raw + self.adjustment + other.adjustment;
        if adjusted > 0.0 { adjusted } else { raw }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CoordinateEntry {
    pub node: String,
    #[serde(default)]
    pub segment: String,
    pub coord: Coordinate,
}

/// The servers of one datacenter, as the WAN pool has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DatacenterCoordinates {
    pub datacenter: String,
    #[serde(rename = "AreaID")]
    pub area_id: String,
    pub coordinates: Vec<CoordinateEntry>,
}
