//! The one value of map `CONFIG`: which flags hold for the programs, and the epoch. Everything in this process that changes it goes through here; never decides
//! what should hold.
//!
//! The kernel replaces the whole value, so that changing one flag means writing all of them. Two threads do (policy and fast path; flows), each a few
//! times an hour, and each must not undo the other's: hence a lock around the map and what was last written, held for one system call.
//!
//! Programs write here, too: one that finds [`config::SLEEPING`] puts back the flags that it had read, without that one. What was changed in the microseconds
//! between is lost in the map, but not here: it is written again when that program has ended, before anybody relies on it ([`Switch::set`]).

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::maps::{Array, Map, MapData, MapError};
use netd_abi::flow::{Config, config};

use super::{BpfError, Cause};

/// What ends with the daemon that set it.
const OF_THIS_DAEMON: u32 = config::WATCHED | config::SLEEPING;

/// A handle on the configuration of the programs.
#[derive(Clone)]
pub(crate) struct Switch(Arc<Mutex<Held>>);

struct Held {
    map: Array<MapData, Config>,
    /// As last written.
    config: Config,
}

impl Switch {
    /// Opens the map pinned here, and takes over what a former daemon set, but for whether it slept or somebody watched.
    ///
    /// # Errors
    /// The pin is missing, or is none of an array of configurations.
    pub(crate) fn open(path: &Path) -> Result<Self, BpfError> {
        let failed = |error: MapError| BpfError::new(format!("open the map pinned at {}", path.display()), error.into());
        let map = MapData::from_pin(path).and_then(Map::from_map_data).and_then(Array::try_from).map_err(failed)?;
        let config: Config = map.get(&0, 0).map_err(failed)?;
        let mut held = Held { map, config };
        held.write(Config { flags: config.flags & !OF_THIS_DAEMON, ..config })?;
        Ok(Self(Arc::new(Mutex::new(held))))
    }

    /// Sets or clears these flags.
    ///
    /// # Errors
    /// The kernel's; then nothing is changed.
    pub(crate) fn set(&self, flags: u32, on: bool) -> Result<(), BpfError> {
        let mut held = self.lock();
        let Config { epoch, flags: before } = held.config;
        let after = Config { epoch, flags: if on { before | flags } else { before & !flags } };
        held.write(after)?;
        // Also where nobody sleeps: a program may have read the flags when somebody did, and been kept from its CPU since.
        if (before ^ after.flags) & !OF_THIS_DAEMON != 0 {
            wait_for_programs();
            held.write(after)?;
        }
        Ok(())
    }

    /// Begins a new epoch: every known flow is judged again with its next packet. Gives its number.
    ///
    /// # Errors
    /// The kernel's; then the old one goes on.
    pub(crate) fn next_epoch(&self) -> Result<u32, BpfError> {
        let mut held = self.lock();
        let Config { epoch, flags } = held.config;
        let epoch = epoch.wrapping_add(1);
        held.write(Config { epoch, flags })?;
        Ok(epoch)
    }

    /// The flags as this process last set them.
    pub(crate) fn flags(&self) -> u32 {
        self.lock().config.flags
    }

    /// Whether the programs still find these flags. They clear [`config::SLEEPING`].
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn holds(&self, flags: u32) -> Result<bool, BpfError> {
        let now = self.lock().map.get(&0, 0).map_err(|error| BpfError::new("read the map CONFIG".to_owned(), Cause::from(error)))?;
        Ok(now.flags & flags == flags)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Whoever panicked had either written both or neither.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until programs that run now have ended, whatever they have read. MEMBARRIER_CMD_GLOBAL waits for an RCU grace period (membarrier(2),
/// kernel/sched/membarrier.c); a kernel without it gives ENOSYS, and then some microseconds must do.
pub(crate) fn wait_for_programs() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: the call takes three numbers and touches no memory of ours.
    let waited = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if waited != 0 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

impl Held {
    /// Writes even what is already so: it puts right what a program may have undone.
    fn write(&mut self, config: Config) -> Result<(), BpfError> {
        self.map.set(0, config, 0).map_err(|error| BpfError::new("write the map CONFIG".to_owned(), error.into()))?;
        self.config = config;
        Ok(())
    }
}
