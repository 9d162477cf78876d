//! The cache of flows without a reply ([`netd_abi::new_flow`]) in this process's memory, where the programs write it: looking through it takes no system call.
//! Never decides what is over.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use aya::maps::{Array, MapData};
use netd_abi::flow::{Flow, FlowKey};
use netd_abi::maps::{NEW_FLOWS, NEW_MARKS, SEEDS};
use netd_abi::new_flow::{Mark, NewFlow, Place, Seeds};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::maps::typed;
use super::pins::Pins;
use super::{BpfError, Cause};

/// All new flows.
pub(crate) struct NewFlows {
    marks: Mapped<AtomicU64>,
    flows: Mapped<NewFlow>,
    seeds: Seeds,
}

impl NewFlows {
    /// Those pinned here. What they are spread with is chosen where it was not yet.
    pub(crate) fn open(pins: &Pins) -> Result<Self, BpfError> {
        Ok(Self { marks: Mapped::open(&pins.map(&NEW_MARKS))?, flows: Mapped::open(&pins.map(&NEW_FLOWS))?, seeds: seeds(&pins.map(&SEEDS))? })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.marks.all().iter().filter(|word| Mark(word.load(Ordering::Relaxed)).is_there()).count()
    }

    /// Shows every flow, and takes those out that the visitor says are over. Gives each of them as it was seen last.
    pub(crate) fn walk(&self, mut is_over: impl FnMut(&FlowKey, &Flow) -> bool, mut over: impl FnMut(&FlowKey, &Flow)) {
        for (at, word) in self.marks.all().iter().enumerate() {
            let seen = word.load(Ordering::Acquire);
            let Some((key, flow)) = self.flow_of(at, Mark(seen)) else { continue };
            // A mark that a program has set meanwhile is another flow's, or says that a packet came.
            if is_over(&key, &flow) && word.compare_exchange(seen, Mark::NOTHING.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                over(&key, &flow);
            }
        }
    }

    /// The flow that has this mark; none where it is being written.
    fn flow_of(&self, at: usize, mark: Mark) -> Option<(FlowKey, Flow)> {
        if !mark.is_there() {
            return None;
        }
        let NewFlow { key, mut flow, .. } = self.flows.read(at)?;
        fence(Ordering::Acquire);
        // What decides is in the mark.
        (flow.rule, flow.verdict, flow.opener) = (mark.rule(), mark.verdict(), mark.opener());
        mark.is_at(Place::of(&self.seeds, &key)).then_some((key, flow))
    }
}

/// The numbers that keys are spread with, which stay as long as the maps do.
fn seeds(path: &Path) -> Result<Seeds, BpfError> {
    let tried = || format!("choose the numbers in the map pinned at {}", path.display());
    let mut map: Array<MapData, Seeds> = typed(path)?;
    let there = map.get(&0, 0).map_err(|error| BpfError::new(tried(), error.into()))?;
    if there != Seeds::default() {
        return Ok(there);
    }
    // Each state has random keys of its own, and so has what it makes of nothing.
    let seeds = Seeds(std::array::from_fn(|_| RandomState::new().build_hasher().finish()));
    map.set(0, seeds, 0).map_err(|error| BpfError::new(tried(), error.into()))?;
    Ok(seeds)
}

/// A map's values (BPF_F_MMAPABLE) as a slice of `T`, which others write to at any time.
struct Mapped<T> {
    first: NonNull<T>,
    count: usize,
    bytes: NonZeroUsize,
}

// SAFETY: the memory is shared with the kernel's programs anyway, and read and written in ways that do not mind: words by atomic instructions, the rest by
// volatile copies that are checked.
unsafe impl<T> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Mapped<T> {}

impl<T> Mapped<T> {
    fn open(path: &Path) -> Result<Self, BpfError> {
        let failed = |cause: Cause| BpfError::new(format!("map the values of the map pinned at {}", path.display()), cause);
        let data = MapData::from_pin(path).map_err(|error| failed(error.into()))?;
        let info = data.info().map_err(|error| failed(error.into()))?;
        // Values lie side by side: their size is a multiple of eight (kernel/bpf/arraymap.c).
        let bytes = info.value_size() as usize * info.max_entries() as usize;
        if info.value_size() % 8 != 0 || bytes % size_of::<T>() != 0 {
            return Err(failed(Cause::UnknownLayout));
        }
        let Some(length) = NonZeroUsize::new(bytes) else { return Err(failed(Cause::UnknownLayout)) };
        // SAFETY: a new mapping of a map's values at an address that the kernel chooses; it stays until it is dropped.
        let first = unsafe { mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, data.fd().as_fd(), 0) };
        let first = first.map_err(|errno| failed(std::io::Error::from(errno).into()))?;
        Ok(Self { first: first.cast(), count: bytes / size_of::<T>(), bytes: length })
    }

    /// A copy of one value, which may be half of one and half of another.
    fn read(&self, at: usize) -> Option<T>
    where
        T: Copy,
    {
        // SAFETY: the place is within the mapping, which is aligned to a page, and every byte pattern is a value (`netd_abi`). It may change while it is
        // copied, hence volatile; who asks checks what he got.
        (at < self.count).then(|| unsafe { self.first.add(at).read_volatile() })
    }
}

impl Mapped<AtomicU64> {
    fn all(&self) -> &[AtomicU64] {
        // SAFETY: so many words are mapped, aligned to a page, as long as `self` lives; whoever else writes them does so at once.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `open`, and nothing borrowed from it outlives `self`. A failure leaves it there until the process ends.
        let _ = unsafe { munmap(self.first.cast(), self.bytes.get()) };
    }
}
