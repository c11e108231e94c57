//! Coordinates of a pool's members, for those who ask its handle.
//! The state machine keeps them; each question goes to its task, so nothing is copied until it is asked.

use std::time::Duration;

use shared::api::coordinate::Coordinate;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Gossip;
use super::driver::Request;
use crate::swim::coordinate::is_sound;

/// What the pool's task knows of places at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    /// Grows with every piece of news; at least 1.
    pub index: u64,
    /// Our own; none where coordinates are off.
    pub ours: Option<Coordinate>,
    /// Members that told theirs, ourselves included, by name.
    pub members: Vec<(String, Coordinate)>,
    /// Nodes that are no members, as somebody told over the API, by name.
    pub others: Vec<(String, Coordinate)>,
}

impl Gossip {
    /// Nothing when the pool's task has ended.
    pub async fn places(&self) -> Places {
        let (done, answer) = oneshot::channel();
        if self.requests.send(Request::Places { done }).await.is_err() {
            return Places::default();
        }
        answer.await.unwrap_or_default()
    }

    /// Waits until the index passes `seen`, at most so long.
    pub async fn places_after(&self, seen: u64, wait: Duration) {
        let mut facts = self.facts.clone();
        // Late or ended: what is known then is the answer.
        let _ = timeout(wait, facts.wait_for(|facts| facts.coordinate_index > seen)).await;
    }

    /// Gives a node a coordinate, as whoever measured it from outside has it. False where no node
    /// can be.
    pub async fn set_place(&self, name: String, coordinate: Coordinate) -> bool {
        if !is_sound(&coordinate) {
            return false;
        }
        // As Consul's servers: what belongs to no node is forgotten without a word. An ended pool has
        // no places.
        if !name.is_empty() {
            let _ = self.requests.send(Request::SetPlace { name, coordinate }).await;
        }
        true
    }
}
