//! A hash map of the kernel's, read many entries at a time: a system call for each of 100,000 flows would take ten times as long. Never interprets a byte.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use aya::Pod;
use aya::maps::{MapData, MapError};

use crate::bpf::syscall::bpf;
use crate::bpf::{BpfError, Cause};

/// Commands of bpf(2), linux/bpf.h.
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_MAP_GET_NEXT_KEY: libc::c_long = 4;
/// Since Linux 5.6; the ring buffer, without which the programs do not load, is of 5.8. So there is no other way beside it.
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
/// Entries that are read at a time: some 130 KiB of flows.
const BATCH: usize = 1024;

/// A map from `K` to `V`.
pub(crate) struct Table<K, V> {
    data: MapData,
    name: String,
    entries: usize,
    types: PhantomData<fn() -> (K, V)>,
}

/// `union bpf_attr` as commands on one element read it.
#[repr(C)]
struct ElementAttr {
    map: u32,
    padding: u32,
    key: u64,
    value_or_next_key: u64,
    flags: u64,
}

/// `union bpf_attr` as commands on many read it.
#[repr(C)]
struct BatchAttr {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

impl<K: Pod + Default, V: Pod + Default> Table<K, V> {
    /// The hash map pinned here.
    pub(crate) fn open(path: &Path) -> Result<Self, BpfError> {
        let failed = |cause: Cause| BpfError::new(format!("open the map pinned at {}", path.display()), cause);
        let data = MapData::from_pin(path).map_err(|error: MapError| failed(error.into()))?;
        let info = data.info().map_err(|error| failed(error.into()))?;
        // What the calls below write must fit into what they are given.
        if (info.key_size() as usize, info.value_size() as usize) != (size_of::<K>(), size_of::<V>()) {
            return Err(failed(Cause::UnknownLayout));
        }
        let (name, entries) = (info.name_as_str().unwrap_or("?").to_owned(), info.max_entries() as usize);
        Ok(Self { data, name, entries, types: PhantomData })
    }

    /// How many entries fit.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &K) -> Result<Option<V>, BpfError> {
        let mut value = V::default();
        Ok(self.element(BPF_MAP_LOOKUP_ELEM, std::ptr::from_ref(key), (&raw mut value).cast())?.then_some(value))
    }

    /// Deletes an entry, and says whether there was one.
    pub(crate) fn remove(&self, key: &K) -> Result<bool, BpfError> {
        self.element(BPF_MAP_DELETE_ELEM, std::ptr::from_ref(key), std::ptr::null_mut())
    }

    /// Whether there is no entry at all.
    pub(crate) fn is_empty(&self) -> Result<bool, BpfError> {
        let mut first = K::default();
        Ok(!self.element(BPF_MAP_GET_NEXT_KEY, std::ptr::null(), (&raw mut first).cast())?)
    }

    /// Shows every entry. The visitor may delete any. What others add meanwhile may be shown or not; what is there all the time is shown once.
    pub(crate) fn walk(&self, mut visit: impl FnMut(&K, &V) -> Result<(), BpfError>) -> Result<(), BpfError> {
        let mut room = BATCH.min(self.entries);
        let (mut keys, mut values) = (vec![K::default(); room], vec![V::default(); room]);
        // Where the kernel goes on: the number of a bucket; the manual page gives it as much room as a key has.
        let mut place = [0_u64; 8];
        let mut is_first = true;
        loop {
            let place_at = (&raw mut place) as u64;
            let mut attr = BatchAttr {
                from: if is_first { 0 } else { place_at },
                to: place_at,
                keys: keys.as_mut_ptr() as u64,
                values: values.as_mut_ptr() as u64,
                count: room as u32,
                map: self.data.fd().as_fd().as_raw_fd() as u32,
                element_flags: 0,
                flags: 0,
            };
            // SAFETY: the attribute has the layout of this command. The kernel writes at most `count` keys and values, for which both vectors have room (their
            // sizes are checked in `open`), and at most a key's size to `place`, which is longer; all of them outlive the call.
            let read = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attr) };
            let is_last = match read.map_err(|error| (error.raw_os_error(), error)) {
                Ok(_) => false,
                Err((Some(libc::ENOENT), _)) => true,
                Err((Some(libc::EINTR), _)) => continue,
                // One bucket holds more than there was room for; nothing was read.
                Err((Some(libc::ENOSPC), _)) if room < self.entries => {
                    room = (room * 2).min(self.entries);
                    keys.resize(room, K::default());
                    values.resize(room, V::default());
                    continue;
                }
                Err((_, error)) => return Err(self.failed(error)),
            };
            keys.iter().zip(&values).take(attr.count as usize).try_for_each(|(key, value)| visit(key, value))?;
            if is_last {
                return Ok(());
            }
            is_first = false;
        }
    }

    /// One command on one element. Gives false where the kernel says that there is none.
    fn element(&self, command: libc::c_long, key: *const K, value_or_next_key: *mut libc::c_void) -> Result<bool, BpfError> {
        let mut attr = ElementAttr {
            map: self.data.fd().as_fd().as_raw_fd() as u32,
            padding: 0,
            key: key as u64,
            value_or_next_key: value_or_next_key as u64,
            flags: 0,
        };
        // SAFETY: the attribute has the layout of these three commands. The kernel reads a key, and writes a value for the first of them, nothing for the
        // second, and a key for the third: each caller points to just that, and the sizes are checked in `open`. All of it outlives the call.
        match unsafe { bpf(command, &mut attr) } {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: io::Error) -> BpfError {
        BpfError::new(format!("read the map {}", self.name), error.into())
    }
}
