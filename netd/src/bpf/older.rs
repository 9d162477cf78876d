//! What maps of an older layout hold. Never written by a program of today, never of use to one.
//!
//! Shared types only grow at their end, so that a shorter value of an older layout is the beginning of today's and the
//! rest is zero; of a longer one (a newer netd was here) the beginning is ours. Attachments are copied once. Counters are
//! not: the old programs count into the old map until they are replaced, and adding to a per-CPU value from here would
//! race with the new ones; so the old map stays pinned and is added when somebody reads.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use aya::maps::{MapData, MapType};
use netd_abi::attachment::End;
use netd_abi::{Attachment, Counters};

use super::syscall::bpf;
use super::{BpfError, Cause};

/// Commands of bpf(2), linux/bpf.h.
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_GET_NEXT_KEY: libc::c_long = 4;

/// A map read as bytes: aya's own maps want the size of a value at compile time.
struct RawMap {
    data: MapData,
    path: PathBuf,
    /// Bytes that the kernel copies for one value, of all CPUs.
    stride: usize,
    entries: u32,
}

/// `union bpf_attr` as the commands above read it.
#[repr(C)]
struct ElementAttr {
    map: u32,
    padding: u32,
    key: u64,
    value_or_next_key: u64,
    flags: u64,
}

impl RawMap {
    fn open(path: &Path, kind: MapType, cpus: usize) -> Result<Self, BpfError> {
        let failed = |cause| BpfError::new(format!("take over the map of another layout pinned at {}", path.display()), cause);
        let data = MapData::from_pin(path).map_err(|error| failed(error.into()))?;
        let info = data.info().map_err(|error| failed(error.into()))?;
        // What is indexed by something else cannot be carried over without knowing by what; it stays pinned, and start says so.
        if info.key_size() != 4 || !info.map_type().is_ok_and(|found| found == kind) {
            return Err(failed(Cause::UnknownLayout));
        }
        let value = info.value_size() as usize;
        let stride = match kind {
            MapType::PerCpuArray => value.next_multiple_of(8) * cpus,
            _ => value,
        };
        let entries = info.max_entries();
        Ok(Self { data, path: path.to_owned(), stride, entries })
    }

    fn get(&self, key: u32) -> Result<Option<Vec<u8>>, BpfError> {
        let mut value = vec![0; self.stride];
        match self.call(BPF_MAP_LOOKUP_ELEM, Some(&key), &mut value) {
            Ok(()) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn zero(&self, key: u32) -> Result<(), BpfError> {
        self.call(BPF_MAP_UPDATE_ELEM, Some(&key), &mut vec![0; self.stride]).map_err(|error| self.failed(error))
    }

    fn keys(&self) -> Result<Vec<u32>, BpfError> {
        let mut keys: Vec<u32> = Vec::new();
        loop {
            let mut next = [0; 4];
            match self.call(BPF_MAP_GET_NEXT_KEY, keys.last(), &mut next) {
                Ok(()) => keys.push(u32::from_ne_bytes(next)),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(keys),
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// One command on one element; `value` is as long as the kernel takes it to be.
    fn call(&self, command: libc::c_long, key: Option<&u32>, value: &mut [u8]) -> io::Result<()> {
        let mut attr = ElementAttr {
            map: self.data.fd().as_fd().as_raw_fd() as u32,
            padding: 0,
            key: key.map_or(0, |key| std::ptr::from_ref(key) as u64),
            value_or_next_key: value.as_mut_ptr() as u64,
            flags: 0,
        };
        // SAFETY: the attribute has the layout of these three commands. The key is 4 bytes (checked in open) or absent, and the kernel writes at
        // most a key (4 bytes) or a value (`stride` bytes) to `value`, which its callers made that long. Both outlive the call.
        unsafe { bpf(command, &mut attr) }.map(drop)
    }

    fn failed(&self, error: io::Error) -> BpfError {
        BpfError::new(format!("read the map of another layout pinned at {}", self.path.display()), error.into())
    }
}

/// Every entry of an attachment map of another layout.
pub(crate) fn attachments(path: &Path) -> Result<Vec<(u32, Attachment)>, BpfError> {
    let map = RawMap::open(path, MapType::Hash, 1)?;
    let mut all = Vec::new();
    for ifindex in map.keys()? {
        if let Some(value) = map.get(ifindex)? {
            let slot = bytes(&value, 0).map_or(0, u32::from_ne_bytes);
            let pacer = bytes(&value, 4).map_or(0, u32::from_ne_bytes);
            all.push((ifindex, Attachment { end: End { ifindex, slot, pacer, ..End::default() }, ..Attachment::default() }));
        }
    }
    Ok(all)
}

/// Counters of another layout.
pub(crate) struct OlderCounters {
    map: RawMap,
    cpus: usize,
}

impl OlderCounters {
    /// The map pinned here.
    pub(crate) fn open(path: &Path, cpus: usize) -> Result<Self, BpfError> {
        Ok(Self { map: RawMap::open(path, MapType::PerCpuArray, cpus)?, cpus })
    }

    /// The sum over all CPUs; zero where the map has no such place.
    pub(crate) fn get(&self, at: u32) -> Result<Counters, BpfError> {
        if at >= self.map.entries {
            return Ok(Counters::ZERO);
        }
        let value = self.map.get(at)?.unwrap_or_default();
        Ok(value.chunks_exact(self.map.stride / self.cpus).map(counters).fold(Counters::ZERO, Counters::plus))
    }

    /// Sets the place to zero, where there is one.
    pub(crate) fn zero(&self, at: u32) -> Result<(), BpfError> {
        if at < self.map.entries { self.map.zero(at) } else { Ok(()) }
    }
}

/// Counters from the bytes of a shorter, equal or longer layout.
fn counters(value: &[u8]) -> Counters {
    let field = |index: usize| bytes(value, index * 8).map_or(0, u64::from_ne_bytes);
    Counters { packets: field(0), bytes: field(1), segments: field(2) }
}

/// `N` bytes from here, if they are all there.
fn bytes<const N: usize>(value: &[u8], from: usize) -> Option<[u8; N]> {
    value.get(from..from + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_a_shorter_and_of_a_longer_layout_are_read() {
        let value: Vec<u8> = [3_u64, 180, 5, 9].into_iter().flat_map(u64::to_ne_bytes).collect();
        assert_eq!(counters(&value), Counters { packets: 3, bytes: 180, segments: 5 });
        assert_eq!(counters(&value[..16]), Counters { packets: 3, bytes: 180, segments: 0 });
    }
}
