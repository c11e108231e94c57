//! Questions that the agent holds until something changes: asked again and again, each from the index of
//! its last answer. One loop for the names of the catalog, the instances of one service and all checks.

use std::time::Duration;

use serde::de::DeserializeOwned;
use shared::http::blocking::Watch;

use super::poll::{Pace, hand_on};
use super::wire::{Miss, Wire, pause};
use crate::clock;
use crate::msg::{Denial, Source, Trouble};
use crate::polled::Polled;

/// How long the agent may hold a question.
const WAIT: Duration = Duration::from_secs(60);
/// An agent that tells no index must not be asked without a pause.
const NO_INDEX: Duration = Duration::from_secs(1);
/// Where something changes all the time, an answer is followed by so many times what it took to read it, so
/// that a tenth of the time goes into reading.
const REST: u32 = 9;
/// The longest such pause.
const REST_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Held {
    pace: Pace,
    watch: Watch,
    kicks: tokio::sync::watch::Receiver<u64>,
    is_offered: bool,
}

impl Held {
    pub(super) fn new(wire: &Wire, source: Source) -> Self {
        let pace = Pace::new(wire, source, Duration::ZERO);
        Self { pace, watch: Watch::new(WAIT), kicks: wire.kicks(), is_offered: true }
    }

    /// The next answer comes at once.
    pub(super) fn reset(&mut self) {
        self.watch.reset();
    }

    pub(super) fn is_new(&self) -> bool {
        self.watch.index().is_none()
    }

    /// Asks `path` once, hands on what is new in the answer, and waits until it is worth asking again.
    /// May be dropped at any moment.
    pub(super) async fn turn<T: DeserializeOwned + Default>(
        &mut self,
        wire: &Wire,
        path: &str,
        tell: impl FnOnce(T) -> Polled,
    ) -> Result<(), Trouble> {
        if !self.is_offered {
            // Not before the next connection, which may be to another version.
            return std::future::pending().await;
        }
        let outcome = tokio::select! {
            outcome = once(wire, &mut self.watch, path, tell) => outcome,
            () = pause(Duration::MAX, &mut self.kicks) => {
                self.watch.reset();
                return Ok(());
            }
        };
        let outcome = match outcome {
            Ok(reading) => {
                self.pace.set_period((reading * REST).min(REST_MAX));
                Ok(())
            }
            Err(miss) => {
                self.watch.reset();
                self.is_offered = !matches!(miss, Miss::Denied(Denial::NotOffered));
                Err(miss)
            }
        };
        self.pace.turn(wire, outcome).await
    }
}

/// How long it took to read the answer.
async fn once<T: DeserializeOwned + Default>(
    wire: &Wire,
    watch: &mut Watch,
    path: &str,
    tell: impl FnOnce(T) -> Polled,
) -> Result<Duration, Miss> {
    let request = wire.get(path).query("stale", "").within(watch.limit());
    let request = match watch.index() {
        // The first answer comes at once.
        None => request,
        Some(index) => request.query("index", index).query("wait", watch.wait()),
    };
    let answer = request.send().await?;
    let begun = clock::now();
    let index = answer.index();
    // Go writes an empty list as null.
    let told = answer.json::<Option<T>>().await?.unwrap_or_default();
    if watch.accept(index) {
        hand_on(wire, tell(told)).await?;
    }
    let reading = Duration::from_micros(clock::now().micros_since(begun));
    if watch.index().is_none() {
        tokio::time::sleep(NO_INDEX).await;
    }
    Ok(reading)
}
