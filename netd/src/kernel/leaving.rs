//! Lets removed namespaces go some together: the kernel ends a namespace under locks that making and deleting links need too, some 15 ms for one and
//! not much more for several (cleanup_net in net/core/net_namespace.c). Never keeps a namespace that somebody else made.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// How long the first of them waits for others.
const WAIT: Duration = Duration::from_millis(50);
/// Bytes; the thread sleeps and closes.
const STACK: usize = 64 * 1024;

/// Namespaces whose names have gone.
#[derive(Clone, Default)]
pub(crate) struct Leaving(Arc<Mutex<Vec<OwnedFd>>>);

impl Leaving {
    fn lock(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a namespace for a moment; it ends with the others that do.
    pub(crate) fn hold(&self, ns: OwnedFd) {
        let mut held = self.lock();
        held.push(ns);
        if held.len() > 1 {
            return; // somebody waits already
        }
        let this = self.clone();
        let waiting = thread::Builder::new().name("leaving".to_owned()).stack_size(STACK).spawn(move || {
            thread::sleep(WAIT);
            let together = std::mem::take(&mut *this.lock());
            drop(together);
        });
        if waiting.is_err() {
            held.clear();
        }
    }
}
