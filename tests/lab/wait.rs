//! Waiting for something to become true, with a deadline. Never a fixed sleep: a machine may be slow, a story may not be wrong for it.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a story waits for what must happen: far more than it takes, for emulated machines too.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// How long a story listens for what must not happen.
pub const SILENCE: Duration = Duration::from_millis(900);

/// Waits until `look` gives something, and panics with `what` after [`PATIENCE`].
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Waits until `look` gives something, and panics with `what` after `limit`.
pub fn within<T>(limit: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    poll(limit, look).unwrap_or_else(|| panic!("waited {limit:?} in vain: {what}"))
}

/// Looks until there is something, or `limit` is over.
pub fn poll<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if start.elapsed() > limit {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
