//! Records for the daemon: what was denied, what began. Never blocks, counts what is lost, and tells at most so much in a second.

use aya_ebpf::bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use netd_abi::flow::{Denied, Event, EventKind, config};
use netd_abi::{Counters, Happened, maps as spec};
use netd_ebpf::packet::Packet;
use netd_ebpf::said::Said;

use crate::maps;
use crate::work::Seen;

/// A connection that goes on being denied is told again after this.
const TELL_AGAIN_NS: u64 = 5_000_000_000;
/// So many records a second and CPU are told; a flood of denied connections has others to tell of it: counters, by reason and rule.
const MOST_A_SECOND: u32 = 2_000;
const SECOND_NS: u64 = 1_000_000_000;
/// BPF_RB_AVAIL_DATA of bpf_ringbuf_query: bytes that were not read yet.
const AVAILABLE: u64 = 0;

/// What this CPU has told in a second. Not pinned: with new programs it begins anew.
#[derive(Clone, Copy)]
#[repr(C)]
struct Told {
    since_ns: u64,
    count: u64,
    /// When it woke the daemon for room, because it was busy, and because it was crowded.
    woke_ns: [u64; 3],
}

#[map]
static TOLD: PerCpuArray<Told> = PerCpuArray::with_max_entries(1, 0);

/// A packet was denied.
#[inline(never)]
pub(crate) fn denied(packet: &Packet, seen: &Seen, said: Said) {
    let now = seen.now;
    let known = maps::DENIED.get_ptr_mut(&seen.key);
    let mut counted = seen.counted;
    if let Some(known) = known {
        // SAFETY: the element is there until the program has ended; what two CPUs add at once may be lost here, never in the counters.
        let known = unsafe { &mut *known };
        counted = known.counted.plus(counted);
        known.counted = counted;
        known.flags = u32::from(packet.flags);
        if known.why == said.number() && now.wrapping_sub(known.told_ns) < TELL_AGAIN_NS {
            return;
        }
    }
    let is_told = may_tell(now) && {
        let event = Event {
            time_ns: now,
            counted,
            key: seen.key,
            kind: EventKind::Denied as u32,
            why: said.number(),
            rule: said.rule(),
            direction: seen.direction().number(),
            flags: u32::from(packet.flags),
            padding: 0,
        };
        send(event, seen.config.flags & config::WATCHED != 0)
    };
    if !is_told {
        maps::note(Happened::DenialNotTold);
    }
    let denied = Denied {
        told_ns: now,
        counted: if is_told { Counters::ZERO } else { counted },
        why: said.number(),
        rule: said.rule(),
        direction: seen.direction().number(),
        flags: u32::from(packet.flags),
    };
    // Where it cannot be remembered it is told again with its next packet, within what may be told.
    let _ = maps::DENIED.insert(&seen.key, denied, 0);
}

/// A flow began, and somebody wants to know.
#[inline(never)]
pub(crate) fn begun(packet: &Packet, seen: &Seen, said: Said) {
    if seen.config.flags & config::SLEEPING != 0 {
        maps::set_flags(seen.config.flags & !config::SLEEPING);
        let _ = wake(EventKind::Awake);
    }
    if seen.config.flags & config::WATCHED == 0 {
        return;
    }
    if !may_tell(seen.now) {
        maps::note(Happened::RecordLost);
        return;
    }
    let event = Event {
        time_ns: seen.now,
        counted: seen.counted,
        key: seen.key,
        kind: EventKind::New as u32,
        why: said.number(),
        rule: said.rule(),
        direction: seen.direction().number(),
        flags: u32::from(packet.flags),
        padding: 0,
    };
    if !send(event, true) {
        maps::note(Happened::RecordLost);
    }
}

/// Wakes the daemon, if there is room for a word. Nothing is lost where there is none: the daemon has much to read then.
#[inline(never)]
fn wake(kind: EventKind) -> bool {
    send(Event { kind: kind as u32, ..Event::default() }, true)
}

/// Wakes the daemon for this reason, once a second and CPU; where it is crowded ten times, as it is so again by then.
#[inline(never)]
pub(crate) fn wake_seldom(kind: EventKind, now: u64) {
    let Some(told) = TOLD.get_ptr_mut(0) else { return };
    // SAFETY: as in `may_tell`.
    let [full, busy, crowded] = unsafe { &mut (*told).woke_ns };
    let (woke_ns, pause) = match kind {
        EventKind::Crowded => (crowded, SECOND_NS / 10),
        EventKind::Busy => (busy, SECOND_NS),
        _ => (full, SECOND_NS),
    };
    if now.wrapping_sub(*woke_ns) >= pause && wake(kind) {
        *woke_ns = now;
    }
}

/// Whether this CPU may tell one more record in this second.
#[inline(always)]
fn may_tell(now: u64) -> bool {
    let Some(told) = TOLD.get_ptr_mut(0) else { return false };
    // SAFETY: the place is this CPU's own, and a tc program is not interrupted by another one on its CPU.
    let told = unsafe { &mut *told };
    if now.wrapping_sub(told.since_ns) >= SECOND_NS {
        told.since_ns = now;
        told.count = 0;
    }
    told.count += 1;
    told.count <= MOST_A_SECOND as u64
}

/// Puts a record into the buffer; false where there is no room. The reader is woken where somebody waits, and when a quarter is full.
#[inline(always)]
fn send(event: Event, wake: bool) -> bool {
    let Some(mut place) = maps::EVENTS.reserve::<Event>(0) else { return false };
    place.write(event);
    let wake = wake || maps::EVENTS.query(AVAILABLE) > u64::from(spec::EVENTS.entries) / 4;
    place.submit(u64::from(if wake { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }));
    true
}
