//! Waiting for a level, never for time to pass.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Far beyond what a busy machine needs, for only a failure waits for it.
const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// Asks until `good` holds and returns that answer; on time-out the last answer is in the panic.
#[track_caller]
pub(crate) fn eventually<T: Debug>(what: &str, ask: impl FnMut() -> T, good: impl Fn(&T) -> bool) -> T {
    within(LIMIT, what, ask, good)
}

/// As `eventually`, of what takes its time by design.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test has to stop waiting")]
pub(crate) fn within<T: Debug>(
    limit: Duration,
    what: &str,
    mut ask: impl FnMut() -> T,
    good: impl Fn(&T) -> bool,
) -> T {
    let start = Instant::now();
    loop {
        let seen = ask();
        if good(&seen) {
            return seen;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}, last seen: {seen:?}");
        std::thread::sleep(PAUSE);
    }
}

/// Asks again and again for so long; what is so must stay so.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "what must not happen is waited for in vain")]
pub(crate) fn throughout<T: Debug>(span: Duration, what: &str, mut ask: impl FnMut() -> T, good: impl Fn(&T) -> bool) {
    let start = Instant::now();
    while start.elapsed() < span {
        let seen = ask();
        assert!(good(&seen), "{what}: no longer after {:?}: {seen:?}", start.elapsed());
        std::thread::sleep(PAUSE * 50);
    }
}
