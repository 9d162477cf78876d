//! Map `REVISION`: programs remember what policy said until it goes up. Whoever writes a map by which they judge says so here; never decides what changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use netd_abi::maps::REVISION;

use super::BpfError;
use super::mapped::{Mapped, Values};
use super::pins::Pins;

/// A handle on it.
#[derive(Clone)]
pub(crate) struct Revision(Arc<Mapped<AtomicU64>>);

impl Revision {
    /// The one pinned here, gone up: a former daemon may have ended between a change and its word of it, and the first revision is one.
    pub(crate) fn open(pins: &Pins) -> Result<Self, BpfError> {
        let opened = Self(Arc::new(Values::open(&pins.map(&REVISION))?.mapped()?));
        opened.next();
        Ok(opened)
    }

    /// Something has changed.
    pub(crate) fn next(&self) {
        // Behind the system call that changed it, which the programs of other CPUs see first.
        for word in self.0.all() {
            word.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_a_revision_of_its_own() {
        let revision = Revision(Arc::new(Values::without_map(1).mapped().unwrap()));
        let now = || revision.0.all()[0].load(Ordering::SeqCst);
        assert_eq!(now(), 0);
        revision.next();
        revision.clone().next();
        assert_eq!(now(), 2);
    }
}
