//! Waiting for a level, never for time to pass.

use std::fmt::Debug;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);

/// Asks until `good` holds and returns that answer; on time-out the last answer is in the panic.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test has to stop waiting")]
pub(crate) fn eventually<T: Debug>(what: &str, mut ask: impl FnMut() -> T, good: impl Fn(&T) -> bool) -> T {
    let start = Instant::now();
    loop {
        let seen = ask();
        if good(&seen) {
            return seen;
        }
        assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}, last seen: {seen:?}");
        std::thread::sleep(PAUSE);
    }
}
