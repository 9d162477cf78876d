//! How redb reaches its file: writes at once, syncs in the background, and never a write past a sync that has not ended.
//! Knows nothing of what is stored.
//!
//! redb commits with one sync: pages, then a header that makes them the current state, then `sync_data`. Pages that the commit freed may be
//! overwritten from then on, because redb takes the sync for done. Here `sync_data` only starts it, and the next write waits until it ended,
//! so what reaches the disk keeps redb's order: all that was written before a sync is durable before anything that is written after it.
//! A sync that failed fails every write from then on, as nobody knows what the page cache still has to write.

use std::{
    fmt,
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use redb::StorageBackend;

/// EIO of errno(3): what a failure without a number is taken for.
const EIO: i32 = 5;

/// What a database lies on.
pub(crate) trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills `out` from `offset` on, or fails.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data`, or fails.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Cuts the end off, or adds zeroes that have room on the disk: a write below the end never meets a full disk.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Waits until all that was written would survive a loss of power.
    fn sync(&self) -> io::Result<()>;
}

impl Disk for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all_at(data, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        let before = self.metadata()?.len();
        if len <= before {
            return Self::set_len(self, len);
        }
        // Written out, not left as a hole: the disk is found full here, where nothing has changed yet, and not in the middle of a commit;
        // and a later fdatasync has no block allocation to write into the file system's journal.
        let zeroes = [0; 1 << 16];
        let mut at = before;
        while at < len {
            let part = usize::try_from(len - at).unwrap_or(usize::MAX).min(zeroes.len());
            if let Err(why) = self.write_all_at(&zeroes[..part], at) {
                Self::set_len(self, before)?;
                return Err(why);
            }
            at += part as u64;
        }
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Whether a database has to survive a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// It dies with the power anyway (tmpfs): syncs are not made.
    UntilBoot,
    /// Syncs are made in the background.
    Lasting,
}

/// The sync in the background, seen from both sides.
#[derive(Debug, Default)]
pub(super) struct Syncing {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Started, and not ended yet.
    running: bool,
    /// The errno of a sync that failed; stays.
    failed: Option<i32>,
    /// The database is closed, the thread shall end.
    closed: bool,
}

impl Syncing {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a sync was started that was not waited for.
    pub(super) fn is_running(&self) -> bool {
        self.lock().running
    }

    /// Whether a sync ever failed.
    pub(super) fn has_failed(&self) -> bool {
        self.lock().failed.is_some()
    }

    /// Waits until no sync runs; fails if one ever failed.
    pub(super) fn wait(&self) -> io::Result<()> {
        let state = self.changed.wait_while(self.lock(), |state| state.running).unwrap_or_else(PoisonError::into_inner);
        state.failed.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    fn start(&self) -> io::Result<()> {
        self.wait()?;
        self.lock().running = true;
        self.changed.notify_all();
        Ok(())
    }

    /// The thread's life.
    fn serve(&self, disk: &dyn Disk) {
        loop {
            let state =
                self.changed.wait_while(self.lock(), |state| !state.running && !state.closed).unwrap_or_else(PoisonError::into_inner);
            if !state.running {
                return;
            }
            drop(state);
            let result = disk.sync();
            let mut state = self.lock();
            state.running = false;
            state.failed = result.err().map(|why| why.raw_os_error().unwrap_or(EIO));
            let ends = state.failed.is_some();
            drop(state);
            self.changed.notify_all();
            if ends {
                return;
            }
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

/// redb's way to one file.
#[derive(Debug)]
pub(super) struct Backend {
    disk: Arc<dyn Disk>,
    durability: Durability,
    syncing: Arc<Syncing>,
}

impl Backend {
    /// Starts the thread that syncs, where there is something to sync. It ends when redb closes the backend.
    pub(super) fn start(disk: Arc<dyn Disk>, durability: Durability) -> io::Result<Self> {
        let syncing = Arc::new(Syncing::default());
        if durability == Durability::Lasting {
            let (syncing, disk) = (Arc::clone(&syncing), Arc::clone(&disk));
            thread::Builder::new().name("store-sync".to_owned()).stack_size(1 << 16).spawn(move || syncing.serve(disk.as_ref()))?;
        }
        Ok(Self { disk, durability, syncing })
    }

    /// The other side of its syncs.
    pub(super) fn syncing(&self) -> Arc<Syncing> {
        Arc::clone(&self.syncing)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.syncing.wait()?;
        self.disk.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        match self.durability {
            Durability::UntilBoot => Ok(()),
            Durability::Lasting => self.syncing.start(),
        }
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.syncing.wait()?;
        self.disk.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        let result = self.syncing.wait();
        self.syncing.close();
        result
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.syncing.close();
    }
}
