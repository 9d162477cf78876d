//! Reads flows: what the kernel tells of connections that begin, end and are denied. Never knows whose they are; who is told knows that.
//!
//! One thread owns all reading and deleting of flows (`thread`): it collects what is over (`over`, `collect`), makes room, and sleeps without a single waking
//! while there is nothing to look after. What it tells are [`flows::RawFlow`]s; [`record::Recorder`] keeps what others make of them.

pub(crate) mod record;
pub(crate) mod flows;
mod over;
mod share;
mod collect;
mod thread;
mod kernel;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};

use netd_abi::flow::config;

use self::flows::RawFlow;
pub(crate) use self::kernel::clock::Clock;
use self::kernel::ears::{Bell, Ears};
use self::kernel::maps::FlowMaps;
use self::thread::{Command, Thread, Times, Told};
use crate::bpf::BpfError;
use crate::bpf::switch::Switch;

/// Bytes; the thread calls nothing deep.
const STACK: usize = 256 * 1024;

/// A handle on the flows thread. With the last one the thread ends; what is in the kernel stays for the next daemon.
#[derive(Clone)]
pub(crate) struct Observer(Arc<Line>);

/// The line to the thread.
struct Line {
    commands: Sender<Command>,
    bell: Bell,
    switch: Switch,
    evicted: Arc<AtomicU64>,
}

/// What there is at one moment.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What happened before and was not told yet; it is told here alone.
    pub(crate) records: Vec<RawFlow>,
    /// What is open.
    pub(crate) open: Vec<RawFlow>,
    /// Records that were lost since the daemon started.
    pub(crate) lost: u64,
}

impl Observer {
    /// Starts the thread over the maps that are pinned in this directory. Records that a former daemon left unread are told first.
    ///
    /// `tell` takes records and how many were lost since the daemon started. It must not wait for anybody who might wait for [`Observer::open_flows`]. Where it
    /// gives false nobody took them: they count as lost, and the thread goes on.
    ///
    /// # Errors
    /// A map that cannot be opened, or no thread; then nothing runs.
    pub(crate) fn start(
        pins: &Path,
        switch: Switch,
        tell: impl FnMut(Vec<RawFlow>, u64) -> bool + Send + 'static,
    ) -> Result<Self, BpfError> {
        let failed = |error: std::io::Error| BpfError::new("start the flows thread".to_owned(), error.into());
        let maps = FlowMaps::open(pins)?;
        let bell = Bell::new().map_err(failed)?;
        let (commands, hears) = channel();
        let evicted = Arc::new(AtomicU64::new(0));
        let told = Told::new(maps.lost()?);
        let line = Line { commands, bell: bell.clone(), switch: switch.clone(), evicted: evicted.clone() };
        let ears = Ears::new(bell, maps.events_fd()).map_err(failed)?;
        let thread = Thread { maps, switch, ears, commands: hears, tell, evicted, times: Times::new(), told };
        std::thread::Builder::new().name("flows".to_owned()).stack_size(STACK).spawn(move || thread.run()).map_err(failed)?;
        Ok(Self(Arc::new(line)))
    }

    /// What is open, and what happened and was not told yet. Waits for the thread, which takes some 150 ms for 100,000 flows (and 20 MB, for as long as they are
    /// kept); where it has ended or the kernel refuses, there is nothing. Records that were told before, and still wait where `tell` put them, are older
    /// than these.
    pub(crate) fn open_flows(&self) -> Seen {
        let (answer, seen) = sync_channel(1);
        self.0.send(Command::Open(answer));
        seen.recv().unwrap_or_default()
    }

    /// Somebody follows: for 10 s new flows are told as they begin, and ends within some seconds.
    ///
    /// # Errors
    /// The kernel's; then new ones are not told.
    pub(crate) fn watch(&self) -> Result<(), BpfError> {
        // Here and now, so that what the asker does next is seen; the thread clears it.
        self.0.switch.set(config::WATCHED, true)?;
        self.0.send(Command::Watch);
        Ok(())
    }

    /// An attachment went, or its address changed hands: what its slot had until now is told as closed and deleted, what was said of it forgotten. Does not
    /// wait. It is not certain to be done before the slot is used again; what began after this call stays, but a packet of the next owner that
    /// looks like one of an old connection (the same addresses and ports) may find that until then.
    pub(crate) fn forget_slot(&self, slot: u32) {
        self.0.send(Command::Forget { slot, until_ns: Clock::now().mono_ns });
    }

    /// How many flows had to be given up for room since the daemon started.
    pub(crate) fn evicted(&self) -> u64 {
        self.0.evicted.load(Ordering::Relaxed)
    }
}

impl Line {
    fn send(&self, command: Command) {
        // A thread that has ended needs none; the command, and the channel in it, is dropped.
        if self.commands.send(command).is_ok() {
            self.bell.ring();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.send(Command::Stop);
    }
}
