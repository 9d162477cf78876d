//! Every pinned map: its name, layout version, size and budget. Never opens one.

use crate::{Attachment, Counters, MAX_ATTACHMENTS};

/// What a map is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// Hash without preallocation; only the daemon writes to it.
    Hash,
    /// Array with a value for each CPU; only the programs write to it, the daemon zeroes.
    PerCpuArray,
}

/// One pinned map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// Its name in the programs and in the kernel; at most 15 bytes.
    pub name: &'static str,
    /// Layout of key and value, and what they mean. Part of the pin's name.
    pub version: u32,
    /// What it is to the kernel.
    pub kind: MapKind,
    /// Bytes of a key.
    pub key: u32,
    /// Bytes of a value.
    pub value: u32,
    /// Entries that fit.
    pub entries: u32,
}

/// From interface index to [`Attachment`].
pub const ATTACHMENTS: MapSpec = MapSpec {
    name: "ATTACHMENTS",
    version: 1,
    kind: MapKind::Hash,
    key: 4,
    value: size_of::<Attachment>() as u32,
    entries: MAX_ATTACHMENTS,
};

/// What each attachment sent and received, at [`crate::Direction::counter_of`].
pub const COUNTERS: MapSpec = MapSpec {
    name: "COUNTERS",
    version: 1,
    kind: MapKind::PerCpuArray,
    key: 4,
    value: size_of::<Counters>() as u32,
    entries: MAX_ATTACHMENTS * 2,
};

/// Packets that no attachment answers for, at [`crate::Why::counter_of`]; with room for reasons to come.
pub const DROPS: MapSpec =
    MapSpec { name: "DROPS", version: 1, kind: MapKind::PerCpuArray, key: 4, value: size_of::<Counters>() as u32, entries: 128 };

/// Every map of the programs.
pub const MAPS: [MapSpec; 3] = [ATTACHMENTS, COUNTERS, DROPS];

/// Kernel memory that all maps may take at most, without and for each possible CPU: a host with 2 CPUs spends 4 MiB, one with 64 spends 66 MiB.
pub const BUDGET: (u64, u64) = (2 << 20, 1 << 20);

impl MapSpec {
    /// Kernel memory of the full map in bytes, without the page that the map itself takes.
    #[must_use]
    pub const fn memory(&self, cpus: u64) -> u64 {
        let entries = self.entries as u64;
        let key = (self.key as u64).next_multiple_of(8);
        let value = (self.value as u64).next_multiple_of(8);
        match self.kind {
            // struct htab_elem is 48 bytes before the key; a bucket is 16, and there is one for each entry, rounded up to a power of two.
            MapKind::Hash => entries * (48 + key + value) + entries.next_power_of_two() * 16,
            MapKind::PerCpuArray => entries * (8 + value * cpus),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_maps_together_keep_their_budget() {
        for cpus in [1, 2, 64, 512] {
            let all: u64 = MAPS.iter().map(|map| map.memory(cpus)).sum();
            assert!(all <= BUDGET.0 + BUDGET.1 * cpus, "{all} bytes with {cpus} CPUs");
        }
    }

    #[test]
    fn names_fit_into_the_kernel_and_differ() {
        for (at, map) in MAPS.iter().enumerate() {
            assert!(map.name.len() < 16, "{}", map.name);
            assert!(MAPS[..at].iter().all(|other| other.name != map.name));
        }
    }
}
