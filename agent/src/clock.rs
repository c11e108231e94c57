//! The one file that reads the clocks.

#[cfg(test)]
use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::moment::{Moment, WallTime};

/// Now, on the monotonic clock; counted from the first call in this process.
#[expect(clippy::disallowed_methods, reason = "the one file that reads the clock")]
pub fn now() -> Moment {
    #[cfg(test)]
    if let Some(run) = simulated() {
        return Moment::from_micros(run);
    }
    static ZERO: OnceLock<Instant> = OnceLock::new();
    let zero = ZERO.get_or_init(Instant::now);
    Moment::from_micros(u64::try_from(zero.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// Now, on the wall clock; before 1970 it is 1970.
#[expect(clippy::disallowed_methods, reason = "the one file that reads the clock")]
pub fn wall() -> WallTime {
    #[cfg(test)]
    if let Some(run) = simulated() {
        return WallTime::from_micros(SIMULATED_WALL.get().saturating_add_unsigned(run));
    }
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
    WallTime::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

#[cfg(test)]
thread_local! {
    /// When the simulation of this thread began, on tokio's clock, which is paused there.
    static SIMULATED: Cell<Option<tokio::time::Instant>> = const { Cell::new(None) };
    /// What the wall clock of a simulation showed then, in microseconds.
    static SIMULATED_WALL: Cell<i64> = const { Cell::new(0) };
}

#[cfg(test)]
fn simulated() -> Option<u64> {
    SIMULATED.get().map(|start| u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// From here on this thread's clocks are tokio's, until it is told that the simulation is over.
#[cfg(test)]
pub(crate) fn simulate(on: bool) {
    SIMULATED.set(on.then(tokio::time::Instant::now));
    SIMULATED_WALL.set(1_800_000_000_000_000);
}

/// Somebody sets the wall clock of a simulation.
#[cfg(test)]
pub(crate) fn set_wall(by_micros: i64) {
    SIMULATED_WALL.set(SIMULATED_WALL.get().saturating_add(by_micros));
}
