//! The one file that reads the clocks.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::moment::{Moment, WallTime};

/// Now, on the monotonic clock; counted from the first call in this process.
#[expect(clippy::disallowed_methods, reason = "the one file that reads the clock")]
pub fn now() -> Moment {
    static ZERO: OnceLock<Instant> = OnceLock::new();
    let zero = ZERO.get_or_init(Instant::now);
    Moment::from_micros(u64::try_from(zero.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// Now, on the wall clock; before 1970 it is 1970.
#[expect(clippy::disallowed_methods, reason = "the one file that reads the clock")]
pub fn wall() -> WallTime {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
    WallTime::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
