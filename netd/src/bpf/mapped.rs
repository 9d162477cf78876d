//! Maps whose values are in this process's memory, too (BPF_F_MMAPABLE): to read and to write them takes no system call. Never decides what they mean.

use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU64};

use aya::maps::MapData;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::{BpfError, Cause};

/// A map whose values can be had in this process's memory (BPF_F_MMAPABLE), each a `T`.
pub(super) struct Values<T> {
    fd: OwnedFd,
    name: String,
    bytes: NonZeroUsize,
    types: PhantomData<fn() -> T>,
}

impl<T> Values<T> {
    /// The one pinned here.
    pub(super) fn open(path: &Path) -> Result<Self, BpfError> {
        let name = path.display().to_string();
        let failed = |cause: Cause| BpfError::new(format!("open the map pinned at {name}"), cause);
        let data = MapData::from_pin(path).map_err(|error| failed(error.into()))?;
        let info = data.info().map_err(|error| failed(error.into()))?;
        // Values lie side by side: their size is a multiple of eight (kernel/bpf/arraymap.c).
        let bytes = info.value_size() as usize * info.max_entries() as usize;
        let fits = info.value_size().is_multiple_of(8) && bytes.is_multiple_of(size_of::<T>());
        let Some(bytes) = NonZeroUsize::new(bytes).filter(|_| fits) else { return Err(failed(Cause::UnknownLayout)) };
        let fd = data.fd().as_fd().try_clone_to_owned().map_err(|error| failed(error.into()))?;
        Ok(Self { fd, name, bytes, types: PhantomData })
    }

    /// Brings them into memory.
    pub(super) fn mapped(&self) -> Result<Mapped<T>, BpfError> {
        // SAFETY: a new mapping of a map's values at an address that the kernel chooses; it stays until it is dropped.
        let first = unsafe { mmap(None, self.bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &self.fd, 0) };
        let first = first.map_err(|errno| BpfError::new(format!("map the values of {}", self.name), std::io::Error::from(errno).into()))?;
        Ok(Mapped { first: first.cast(), count: self.bytes.get() / size_of::<T>(), bytes: self.bytes })
    }
}

/// Its values in memory, to which others write at any time.
pub(super) struct Mapped<T> {
    first: NonNull<T>,
    count: usize,
    bytes: NonZeroUsize,
}

// SAFETY: the memory is shared with the kernel's programs anyway, and read and written in ways that do not mind: words and bytes by atomic instructions, the rest by
// volatile copies that are checked.
unsafe impl<T> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Mapped<T> {}

impl<T> Mapped<T> {
    /// A copy of one value, which may be half of one and half of another.
    pub(super) fn read(&self, at: usize) -> Option<T>
    where
        T: Copy,
    {
        // SAFETY: the place is within the mapping, which is aligned to a page, and every byte pattern is a value (`netd_abi`). It may change while it is
        // copied, hence volatile; who asks checks what he got.
        (at < self.count).then(|| unsafe { self.first.add(at).read_volatile() })
    }
}

/// What others may write at any time, as it is written at once.
pub(super) trait Atomic {}

impl Atomic for AtomicU8 {}
impl Atomic for AtomicU64 {}

impl<T: Atomic> Mapped<T> {
    /// All values.
    pub(super) fn all(&self) -> &[T] {
        // SAFETY: so many are mapped, aligned to a page, as long as `self` lives; whoever else writes them does so at once.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `mapped`, and nothing borrowed from it outlives `self`. A failure leaves it there until the process ends.
        let _ = unsafe { munmap(self.first.cast(), self.bytes.get()) };
    }
}

/// Memory of the same kind without a map.
#[cfg(test)]
impl<T> Values<T> {
    pub(super) fn without_map(count: usize) -> Self {
        let (file, bytes) = (tempfile::tempfile().unwrap(), count * size_of::<T>());
        file.set_len(bytes as u64).unwrap();
        Self { fd: file.into(), name: "a file".to_owned(), bytes: NonZeroUsize::new(bytes).unwrap(), types: PhantomData }
    }
}

#[cfg(test)]
impl<T> Mapped<T> {
    /// Writes as a program does; nobody else may write.
    pub(super) fn write(&self, at: usize, value: T) {
        assert!(at < self.count);
        // SAFETY: the place is within the mapping, as just asserted.
        unsafe { self.first.add(at).write(value) };
    }
}
