//! Waiting for something to become true, with a deadline. Never a fixed sleep: a machine may be slow, a story may not be wrong for it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
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

/// Does something again and again on a thread of its own while `looks` looks; ends with it, also where it panics.
pub fn meanwhile<T>(does: impl Fn() + Sync, looks: impl FnOnce() -> T) -> T {
    struct EndsWith<'a>(&'a AtomicBool);
    impl Drop for EndsWith<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                does();
            }
        });
        let _end = EndsWith(&is_over);
        looks()
    })
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
