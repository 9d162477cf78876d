//! Every map, and the two ways in which the programs use one. Never decides what an entry means.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, PerCpuArray};
use netd_abi::{Attachment, Counters, maps};

#[map]
static ATTACHMENTS: HashMap<u32, Attachment> = HashMap::with_max_entries(maps::ATTACHMENTS.entries, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(maps::COUNTERS.entries, 0);
#[map]
pub(crate) static DROPS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(maps::DROPS.entries, 0);

/// The attachment behind an interface.
#[inline(always)]
pub(crate) fn attachment(ifindex: u32) -> Option<Attachment> {
    // SAFETY: only the daemon writes, and it replaces whole elements; without preallocation a replaced element is
    // freed after the programs that see it have ended.
    unsafe { ATTACHMENTS.get(ifindex) }.copied()
}

/// Adds the packet to the counters at this place, and says whether there is such a place.
#[inline(always)]
pub(crate) fn count(counters: &PerCpuArray<Counters>, at: u32, packet: Counters) -> bool {
    let Some(place) = counters.get_ptr_mut(at) else { return false };
    // SAFETY: the place is this CPU's own, and a tc program is not interrupted by another one on its CPU.
    unsafe { *place = (*place).plus(packet) };
    true
}
