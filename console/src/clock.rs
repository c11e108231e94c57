//! The one file of the console that reads the clock. `client` and `runtime` stamp messages with it;
//! nothing past [`crate::msg`] knows another time.

use std::time::Duration;

use shared::time::WallTime;

/// The wall clock.
pub fn now() -> WallTime {
    WallTime::from_micros(jiff::Timestamp::now().as_microsecond())
}

/// `wait` from now on the wall clock.
pub fn after(wait: Duration) -> WallTime {
    let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    WallTime::from_micros(now().micros().saturating_add(micros))
}

/// Seconds east of UTC where the console runs.
pub fn utc_offset_s() -> i32 {
    jiff::Zoned::now().offset().seconds()
}
