//! Every pinned map: its name, layout version, size and budget. Never opens one.

use crate::{
    Attachment, Counters, MAX_ATTACHMENTS,
    attachment::{AllowedKey, End},
    flow::{Config, Denied, Flow, FlowKey, Fragment, FragmentKey, Judged, JudgedKey, PublishedKey, PublishedValue},
    policy::{AddressKey, AddressValue, MAX_RULES, RuleKey, RuleValue, SetValue},
    table::{BUCKETS, Bucket, Entry, Spread, WAYS},
};

/// What a map is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// Hash without preallocation.
    Hash,
    /// Hash that evicts what was not used for longest; all its memory is taken at once.
    LruHash,
    /// Hash with a value for each CPU, without preallocation.
    PerCpuHash,
    /// Array; only the daemon writes to it.
    Array,
    /// Array that the daemon has in its own memory, too (BPF_F_MMAPABLE).
    Mapped,
    /// Array with a value for each CPU; only the programs write to it, the daemon zeroes.
    PerCpuArray,
    /// Longest-prefix match, without preallocation. The key begins with its length (`u32`).
    Lpm,
    /// Ring buffer; `entries` are bytes.
    Ring,
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

const fn map<K, V>(name: &'static str, kind: MapKind, entries: u32) -> MapSpec {
    MapSpec { name, version: 1, kind, key: size_of::<K>() as u32, value: size_of::<V>() as u32, entries }
}

/// From interface index to [`Attachment`].
pub const ATTACHMENTS: MapSpec = MapSpec { version: 3, ..map::<u32, Attachment>("ATTACHMENTS", MapKind::Hash, MAX_ATTACHMENTS) };
/// Who is behind most interfaces, at [`crate::attachment::place_of`]: found with a tenth of the steps that map `ATTACHMENTS` takes.
pub const ENDS: MapSpec = map::<u32, End>("ENDS", MapKind::Array, MAX_ATTACHMENTS * 2);
/// What went on of each attachment's packets, at [`crate::Direction::counter_of`].
pub const COUNTERS: MapSpec = map::<u32, Counters>("COUNTERS", MapKind::PerCpuArray, MAX_ATTACHMENTS * 2);
/// What did not simply go on, by attachment, direction and reason ([`crate::counters::reason_key`]).
pub const REASONS: MapSpec = map::<u32, Counters>("REASONS", MapKind::PerCpuHash, 65_536);
/// Packets that no attachment answers for, at [`crate::Why::counter_of`]; with room for reasons to come.
pub const DROPS: MapSpec = map::<u32, Counters>("DROPS", MapKind::PerCpuArray, 128);
/// Packets of flows that each rule decided, by the rule's number.
pub const RULE_HITS: MapSpec = map::<u32, Counters>("RULE_HITS", MapKind::PerCpuArray, MAX_RULES);
/// How often what [`crate::happened::Happened`] says happened; with room for more.
pub const HAPPENED: MapSpec = map::<u32, u64>("HAPPENED", MapKind::PerCpuArray, 32);
/// Further addresses that attachments may send from.
pub const ALLOWED: MapSpec = map::<(u32, AllowedKey), u32>("ALLOWED", MapKind::Lpm, 16_384);
/// Flows ([`crate::table`]).
pub const FLOWS: MapSpec = MapSpec { version: 4, ..map::<u32, Entry>("FLOWS", MapKind::Mapped, BUCKETS * WAYS) };
/// What was said of each of them.
pub const MARKS: MapSpec = MapSpec { version: 3, ..map::<u32, Bucket>("MARKS", MapKind::Mapped, BUCKETS) };
/// Confirmed flows that found no room there. Nothing evicts them but the daemon.
pub const SPILLED: MapSpec = MapSpec { version: 2, ..map::<FlowKey, Flow>("SPILLED", MapKind::Hash, 131_072) };
/// What flows are spread with.
pub const SPREAD: MapSpec = MapSpec { version: 2, ..map::<u32, Spread>("SPREAD", MapKind::Mapped, 1) };
/// What was denied lately.
pub const DENIED: MapSpec = MapSpec { version: 2, ..map::<FlowKey, Denied>("DENIED", MapKind::LruHash, 4_096) };
/// What was said of first fragments.
pub const FRAGMENTS: MapSpec = map::<FragmentKey, Fragment>("FRAGMENTS", MapKind::LruHash, 4_096);
/// What rule sets say.
pub const RULES: MapSpec = map::<RuleKey, RuleValue>("RULES", MapKind::Hash, 262_144);
/// Each rule set's default.
pub const SETS: MapSpec = map::<u32, SetValue>("SETS", MapKind::Hash, 4_096);
/// From address to identity.
pub const ADDRESSES: MapSpec = map::<AddressKey, AddressValue>("ADDRESSES", MapKind::Hash, 262_144);
/// From prefix to identity.
pub const NETS: MapSpec = map::<(u32, AddressKey), AddressValue>("NETS", MapKind::Lpm, 262_144);
/// The host's own addresses.
pub const HOSTS: MapSpec = map::<[u8; 16], u32>("HOSTS", MapKind::Hash, 16_384);
/// From a container's address to the index of its host end.
pub const LOCALS: MapSpec = map::<[u8; 16], u32>("LOCALS", MapKind::Hash, MAX_ATTACHMENTS * 2);
/// Where published ports lead.
pub const PUBLISHED: MapSpec = map::<PublishedKey, PublishedValue>("PUBLISHED", MapKind::Hash, 131_072);
/// Connections through published ports that were let through where they started.
pub const JUDGED: MapSpec = map::<JudgedKey, Judged>("JUDGED", MapKind::LruHash, 8_192);
/// What holds for all programs.
pub const CONFIG: MapSpec = map::<u32, Config>("CONFIG", MapKind::Array, 1);
/// Goes up whenever something has changed that policy is judged by: what was said before it did holds no longer.
pub const REVISION: MapSpec = map::<u32, u64>("REVISION", MapKind::Mapped, 1);
/// Records for the daemon.
pub const EVENTS: MapSpec = MapSpec { name: "EVENTS", version: 2, kind: MapKind::Ring, key: 0, value: 0, entries: 1 << 20 };

/// Every map of the programs.
pub const MAPS: [MapSpec; 25] = [
    ATTACHMENTS,
    ENDS,
    COUNTERS,
    REASONS,
    DROPS,
    RULE_HITS,
    HAPPENED,
    ALLOWED,
    FLOWS,
    MARKS,
    SPILLED,
    SPREAD,
    DENIED,
    FRAGMENTS,
    RULES,
    SETS,
    ADDRESSES,
    NETS,
    HOSTS,
    LOCALS,
    PUBLISHED,
    JUDGED,
    CONFIG,
    REVISION,
    EVENTS,
];

/// Kernel memory that all maps take while they are empty, without and for each possible CPU: a host with 2 CPUs spends 28 MiB.
pub const EMPTY_BUDGET: (u64, u64) = (25 << 20, 5 << 19);
/// What they take at most, when every one is full.
pub const BUDGET: (u64, u64) = (160 << 20, 5 << 20);

impl MapSpec {
    /// Kernel memory of the full map in bytes, without the page that the map itself takes.
    #[must_use]
    pub const fn memory(&self, cpus: u64) -> u64 {
        let key = (self.key as u64).next_multiple_of(8);
        let value = (self.value as u64).next_multiple_of(8);
        let entries = self.entries as u64;
        match self.kind {
            MapKind::Hash => self.empty_memory(cpus) + entries * (48 + key + value),
            MapKind::PerCpuHash => self.empty_memory(cpus) + entries * (48 + key + 8 + value * cpus),
            // struct lpm_trie_node is 40 bytes before the key, and each second one may be one in between (kernel/bpf/lpm_trie.c).
            MapKind::Lpm => entries * 2 * (40 + key + value),
            MapKind::LruHash | MapKind::Array | MapKind::Mapped | MapKind::PerCpuArray | MapKind::Ring => self.empty_memory(cpus),
        }
    }

    /// What of it is taken before there is an entry.
    #[must_use]
    pub const fn empty_memory(&self, cpus: u64) -> u64 {
        let key = (self.key as u64).next_multiple_of(8);
        let value = (self.value as u64).next_multiple_of(8);
        let entries = self.entries as u64;
        // struct htab_elem is 48 bytes before the key; a bucket is 16, and there is one for each entry, rounded up to a power of two (kernel/bpf/hashtab.c).
        match self.kind {
            MapKind::Hash | MapKind::PerCpuHash => entries.next_power_of_two() * 16,
            MapKind::LruHash => entries * (48 + key + value) + entries.next_power_of_two() * 16,
            MapKind::Array | MapKind::Mapped => entries * value,
            MapKind::PerCpuArray => entries * (8 + value * cpus),
            MapKind::Lpm => 0,
            MapKind::Ring => entries,
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
            let empty: u64 = MAPS.iter().map(|map| map.empty_memory(cpus)).sum();
            assert!(empty <= EMPTY_BUDGET.0 + EMPTY_BUDGET.1 * cpus, "{empty} bytes with {cpus} CPUs");
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
