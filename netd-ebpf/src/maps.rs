//! Every map, one line each, and the few ways in which the programs use them. Never decides what an entry means.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_map_lookup_elem};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use netd_abi::attachment::{AllowedKey, End, place_of};
use netd_abi::flow::{Config, Denied, Flow, FlowKey, Fragment, FragmentKey, Judged, JudgedKey, PublishedKey, PublishedValue};
use netd_abi::policy::{AddressKey, AddressValue, RuleKey, RuleValue, SetValue};
use netd_abi::table::{Bucket, Entry, Spread};
use netd_abi::{Attachment, Counters, Direction, Happened, maps};
use netd_ebpf::packet::{Address, bytes};
use netd_ebpf::recent::{self, Question, Recent};

use crate::work::Work;

#[map]
static ATTACHMENTS: HashMap<u32, Attachment> = HashMap::with_max_entries(maps::ATTACHMENTS.entries, BPF_F_NO_PREALLOC);
#[map]
static ENDS: Array<End> = Array::with_max_entries(maps::ENDS.entries, 0);
#[map]
pub(crate) static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(maps::COUNTERS.entries, 0);
#[map]
pub(crate) static REASONS: PerCpuHashMap<u32, Counters> = PerCpuHashMap::with_max_entries(maps::REASONS.entries, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static DROPS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(maps::DROPS.entries, 0);
#[map]
pub(crate) static RULE_HITS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(maps::RULE_HITS.entries, 0);
#[map]
static HAPPENED: PerCpuArray<u64> = PerCpuArray::with_max_entries(maps::HAPPENED.entries, 0);
#[map]
static ALLOWED: LpmTrie<AllowedKey, u32> = LpmTrie::with_max_entries(maps::ALLOWED.entries, 0);
#[map]
pub(crate) static FLOWS: Array<Entry> = Array::with_max_entries(maps::FLOWS.entries, BPF_F_MMAPABLE);
#[map]
pub(crate) static MARKS: Array<Bucket> = Array::with_max_entries(maps::MARKS.entries, BPF_F_MMAPABLE);
#[map]
pub(crate) static SPILLED: HashMap<FlowKey, Flow> = HashMap::with_max_entries(maps::SPILLED.entries, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static SPREAD: Array<Spread> = Array::with_max_entries(maps::SPREAD.entries, BPF_F_MMAPABLE);
#[map]
pub(crate) static DENIED: LruHashMap<FlowKey, Denied> = LruHashMap::with_max_entries(maps::DENIED.entries, 0);
#[map]
pub(crate) static FRAGMENTS: LruHashMap<FragmentKey, Fragment> = LruHashMap::with_max_entries(maps::FRAGMENTS.entries, 0);
#[map]
pub(crate) static RULES: HashMap<RuleKey, RuleValue> = HashMap::with_max_entries(maps::RULES.entries, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static SETS: HashMap<u32, SetValue> = HashMap::with_max_entries(maps::SETS.entries, BPF_F_NO_PREALLOC);
#[map]
static ADDRESSES: HashMap<AddressKey, AddressValue> = HashMap::with_max_entries(maps::ADDRESSES.entries, BPF_F_NO_PREALLOC);
#[map]
static NETS: LpmTrie<AddressKey, AddressValue> = LpmTrie::with_max_entries(maps::NETS.entries, 0);
#[map]
static HOSTS: HashMap<[u8; 16], u32> = HashMap::with_max_entries(maps::HOSTS.entries, BPF_F_NO_PREALLOC);
#[map]
static LOCALS: HashMap<[u8; 16], u32> = HashMap::with_max_entries(maps::LOCALS.entries, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static PUBLISHED: HashMap<PublishedKey, PublishedValue> = HashMap::with_max_entries(maps::PUBLISHED.entries, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static JUDGED: LruHashMap<JudgedKey, Judged> = LruHashMap::with_max_entries(maps::JUDGED.entries, 0);
#[map]
static CONFIG: Array<Config> = Array::with_max_entries(maps::CONFIG.entries, 0);
#[map]
static REVISION: Array<u64> = Array::with_max_entries(maps::REVISION.entries, BPF_F_MMAPABLE);
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(maps::EVENTS.entries, 0);

/// Each CPU's place to work in: more than a program's stack of 512 bytes holds. Not pinned: what outlives a packet there is only where things were found lately,
/// and other programs search again. An array, as only such a one begins at a page (that is what the flag is for), so that no line of it is two. Its size is the
/// highest number of a CPU and one, which the daemon knows when it loads it; without that it cannot be made.
#[map]
static WORK: Array<Work> = Array::with_max_entries(0, BPF_F_MMAPABLE);
/// What this CPU has judged lately. Not pinned: other programs judge again.
#[map]
static RECENT: PerCpuArray<Recent> = PerCpuArray::with_max_entries(recent::PLACES, 0);

/// This CPU's place to work in.
#[inline(always)]
pub(crate) fn work() -> Option<&'static mut Work> {
    // SAFETY: the helper takes nothing and gives a number.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    // SAFETY: the place is this CPU's own, and a tc program is not interrupted by another one on its CPU, so that there is one user at a time. Zeroes are
    // a value of it, and whatever a former packet left is, too.
    WORK.get_ptr_mut(cpu).map(|work| unsafe { &mut *work })
}

/// The attachment behind an interface.
#[inline(always)]
pub(crate) fn attachment(ifindex: u32) -> Option<&'static Attachment> {
    // SAFETY: only the daemon writes, and it replaces whole elements; the memory of one that was replaced stays the map's while programs see it.
    unsafe { ATTACHMENTS.get(ifindex) }
}

/// A rule set, and the division of addresses that it speaks of.
#[derive(Clone, Copy)]
pub(crate) struct Governed {
    /// As in [`Attachment`].
    pub(crate) generation: u32,
    /// The rule set of one direction.
    pub(crate) set: u32,
}

/// What the attachment with this number behind an interface is judged by. All is read at once, and first what is written last: the kernel may give the memory of a
/// replaced element to another key at once (kernel/bpf/memalloc.c), and whose it is by then its number says.
#[inline(always)]
pub(crate) fn governed(ifindex: u32, slot: u32, direction: Direction) -> Option<Governed> {
    let attachment = core::ptr::from_ref(attachment(ifindex)?);
    // SAFETY: the memory is there until the program has ended; each number is read at once.
    let (set, generation, now) = unsafe {
        let set = match direction {
            Direction::FromContainer => (&raw const (*attachment).egress).read_volatile(),
            Direction::ToContainer => (&raw const (*attachment).ingress).read_volatile(),
        };
        (set, (&raw const (*attachment).generation).read_volatile(), (&raw const (*attachment).end.slot).read_volatile())
    };
    (now == slot).then_some(Governed { generation, set })
}

/// The same of what may come to whoever is there.
#[inline(always)]
pub(crate) fn governed_target(ifindex: u32) -> Option<Governed> {
    let attachment = core::ptr::from_ref(attachment(ifindex)?);
    // SAFETY: as above.
    let (set, generation) =
        unsafe { ((&raw const (*attachment).ingress).read_volatile(), (&raw const (*attachment).generation).read_volatile()) };
    Some(Governed { generation, set })
}

/// Who is behind an interface.
#[inline(always)]
pub(crate) fn end(ifindex: u32) -> Option<&'static End> {
    match ENDS.get(place_of(ifindex)) {
        Some(end) if end.ifindex == ifindex => Some(end),
        _ => attachment(ifindex).map(|attachment| &attachment.end),
    }
}

/// What holds for all programs.
#[inline(always)]
pub(crate) fn config() -> Config {
    CONFIG.get(0).copied().unwrap_or_default()
}

/// What policy is judged by is as it was while this number is the same. To be asked for before any of it is read.
#[inline(always)]
pub(crate) fn revision() -> Option<u64> {
    // SAFETY: an array's element is always there; the daemon writes it at once, at any time.
    REVISION.get_ptr(0).map(|revision| unsafe { revision.read_volatile() })
}

/// The place for what is said of such a question.
#[inline(always)]
pub(crate) fn recent(question: &Question) -> Option<&'static mut Recent> {
    // SAFETY: as in `work`.
    RECENT.get_ptr_mut(question.place()).map(|recent| unsafe { &mut *recent })
}

/// Sets the flags that hold for all programs, where one of them has done its service.
#[inline(always)]
pub(crate) fn set_flags(flags: u32) {
    if let Some(config) = CONFIG.get_ptr_mut(0) {
        // SAFETY: the array's one element is always there. The daemon may write at the same moment: one of both numbers stays, and where it matters the daemon
        // writes its own again when this program has ended. (There are no atomic instructions for this target in the compiler.)
        unsafe { (*config).flags = flags };
    }
}

/// A question to a prefix map. (aya's own key is packed, so that each of its bytes is written by itself.)
#[repr(C)]
struct Longest<K> {
    /// How many bits of the key count.
    bits: u32,
    key: K,
}

/// The value of the longest prefix that has the key.
#[inline(always)]
fn longest<K, V>(map: &'static LpmTrie<K, V>, question: &Longest<K>) -> Option<&'static V> {
    let map = core::ptr::from_ref(map).cast_mut();
    // SAFETY: the map's definition is all that its type holds, so that a reference to it is what the helper takes; the key is as long as the map's, which the
    // daemon checks (`MapSpec`), and the value lives until the program has ended.
    unsafe { bpf_map_lookup_elem(map.cast(), core::ptr::from_ref(question).cast_mut().cast()).cast::<V>().as_ref() }
}

/// Whom an address belongs to, in a division of addresses.
#[inline(always)]
pub(crate) fn owner(generation: u32, address: &[u8; 16]) -> AddressValue {
    let key = AddressKey { generation, address: *address };
    // SAFETY: only the daemon writes, and it replaces whole elements.
    match unsafe { ADDRESSES.get(key) } {
        Some(owner) => *owner,
        None => match longest(&NETS, &Longest { bits: 32 + 128, key }) {
            Some(owner) => *owner,
            None => AddressValue::default(),
        },
    }
}

/// How an attachment may send from an address besides its first ones: a [`netd_abi::attachment::allowance`].
#[inline(always)]
pub(crate) fn allows(slot: u32, address: &Address) -> Option<u32> {
    match allowance(slot, address) {
        NOT_ALLOWED => None,
        allowance => Some(allowance),
    }
}

/// No allowance has this number.
const NOT_ALLOWED: u32 = u32::MAX;

#[inline(never)]
fn allowance(slot: u32, address: &Address) -> u32 {
    longest(&ALLOWED, &Longest { bits: 32 + 128, key: AllowedKey { slot, address: bytes(*address) } }).copied().unwrap_or(NOT_ALLOWED)
}

/// Whether an address is the host's own.
#[inline(always)]
pub(crate) fn is_host(address: &[u8; 16]) -> bool {
    // SAFETY: only the daemon writes, and nobody reads the value.
    unsafe { HOSTS.get(address) }.is_some()
}

/// The host end of the container that has an address.
#[inline(always)]
pub(crate) fn local(address: &[u8; 16]) -> Option<u32> {
    // SAFETY: only the daemon writes, and it replaces whole elements.
    unsafe { LOCALS.get(address) }.copied()
}

/// Adds the packet to the counters at this place, and says whether there is such a place.
#[inline(always)]
pub(crate) fn count(counters: &PerCpuArray<Counters>, at: u32, packet: Counters) -> bool {
    let Some(place) = counters.get_ptr_mut(at) else { return false };
    // SAFETY: the place is this CPU's own, and a tc program is not interrupted by another one on its CPU.
    unsafe { *place = (*place).plus(packet) };
    true
}

/// Adds the packet to what was counted for a reason, and says whether that could be done.
#[inline(always)]
pub(crate) fn count_reason(key: u32, packet: Counters) -> bool {
    if let Some(place) = REASONS.get_ptr_mut(key) {
        // SAFETY: as in `count`; an element that the daemon deletes meanwhile is freed after the program has ended.
        unsafe { *place = (*place).plus(packet) };
        return true;
    }
    REASONS.insert(key, packet, 0).is_ok()
}

/// Notes that something happened.
#[inline(always)]
pub(crate) fn note(happened: Happened) {
    if let Some(place) = HAPPENED.get_ptr_mut(happened.number()) {
        // SAFETY: as in `count`.
        unsafe { *place += 1 };
    }
}
