//! Flows: finds a packet's, judges a new one and those of an older epoch, keeps what is known of it. Never says what becomes of a packet that is no part of
//! a flow.

use netd_abi::flow::{EventKind, Flow, FlowKey, config};
use netd_abi::policy::RuleValue;
use netd_abi::{Attachment, Direction, Happened, Why};
use netd_ebpf::flow::{begins_anew, direction_of, opener};
use netd_ebpf::packet::Packet;
use netd_ebpf::said::Said;

use crate::judge::judge;
use crate::work::{Seen, Work};
use crate::{emit, maps};

/// What is known of a packet's flow.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    /// It is known and goes on, as was said of it.
    GoesOn(&'static Flow, Said),
    /// It is known, and there is more to see to.
    Known,
    /// Nothing.
    Nothing,
}

/// Looks for a packet's flow, and notes one more packet of it where that is all there is to do.
#[inline(always)]
pub(crate) fn find(key: &FlowKey, seen: &Seen, flags: u8, direction: Direction) -> Found {
    let flow = if let Some(flow) = maps::FLOWS.get_ptr_mut(key) {
        // SAFETY: the element is there until the program has ended, whoever deletes it; what two CPUs add at once may be lost (see `Flow`).
        unsafe { &mut *flow }
    } else if let Some(flow) = maps::NEW_FLOWS.get_ptr_mut(key) {
        // SAFETY: as above; one that is evicted meanwhile is used again at once, and then counts for another flow what this packet adds.
        let flow = unsafe { &mut *flow };
        // What goes on without a reply, as datagrams often do. With a reply there is more to do.
        if direction_of(flow).number() != direction.number() {
            return Found::Known;
        }
        flow
    } else {
        return Found::Nothing;
    };
    let said = said_of(flow);
    if flow.epoch != seen.config.epoch || begins_anew(flow, flags, direction) || !said.passes() {
        return Found::Known;
    }
    add(flow, direction.number() as usize & 1, seen, flags);
    Found::GoesOn(flow, said)
}

/// What is said of a packet that is in [`Work`], and by which rule; a known flow goes on, a new one begins where it may.
#[inline(always)]
pub(crate) fn track(seen: &Seen, flags: u8) -> Said {
    match find(&seen.key, seen, flags, seen.direction()) {
        Found::GoesOn(_, said) => said,
        Found::Known => Said::from_raw(look_closer()),
        Found::Nothing => Said::from_raw(begins()),
    }
}

/// Whether a packet's flow is known: what is related to it may pass.
#[inline(always)]
pub(crate) fn is_known(key: &FlowKey) -> bool {
    maps::FLOWS.get_ptr(key).is_some() || maps::NEW_FLOWS.get_ptr(key).is_some()
}

/// What was said of a flow.
#[inline(always)]
fn said_of(flow: &Flow) -> Said {
    Said::by(RuleValue { rule: flow.rule, verdict: u32::from(flow.verdict) })
}

/// One more packet of a flow.
#[inline(always)]
fn add(flow: &mut Flow, way: usize, seen: &Seen, flags: u8) {
    flow.last_ns = seen.now;
    flow.counters[way] = flow.counters[way].plus(seen.counted);
    flow.flags[way] |= flags;
}

/// A reply was seen: from now on a flood of new flows does not evict it.
#[inline(never)]
fn confirm(key: &FlowKey, flow: &Flow) -> bool {
    if maps::FLOWS.insert(key, flow, 0).is_ok() {
        // Gone already is as good.
        let _ = maps::NEW_FLOWS.remove(key);
        return true;
    }
    maps::note(Happened::FlowNotConfirmed);
    emit::wake(EventKind::Full);
    false
}

/// A flow of which nothing is known: judged, and begun where it passes. A [`Said`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn begins() -> u64 {
    let Some(Work { frame, seen, flow, .. }) = maps::work() else { return Said::because(Why::DropPolicy).raw() };
    let Some(attachment) = maps::attachment(seen.ifindex) else { return Said::because(Why::DropUnknownInterface).raw() };
    asks_as_opener(seen);
    let said = judge(attachment, seen);
    if said.passes() {
        begin(&frame.packet, seen, flow, said);
    }
    said.raw()
}

/// A flow that is known but not confirmed yet, or was judged in another epoch, or begins anew, or was cut. A [`Said`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn look_closer() -> u64 {
    let Some(Work { frame, seen, flow, .. }) = maps::work() else { return Said::because(Why::DropPolicy).raw() };
    let Some(attachment) = maps::attachment(seen.ifindex) else { return Said::because(Why::DropUnknownInterface).raw() };
    closer(attachment, &frame.packet, seen, flow).raw()
}

/// The packet is the first of its flow.
#[inline(always)]
fn asks_as_opener(seen: &mut Seen) {
    seen.asks(seen.direction());
    seen.opener = if seen.from_host { opener::HOST } else { 0 };
}

#[inline(always)]
fn closer(attachment: &Attachment, packet: &Packet, seen: &mut Seen, fresh: &mut Flow) -> Said {
    let confirmed = maps::FLOWS.get_ptr_mut(&seen.key);
    let is_confirmed = confirmed.is_some();
    let known = confirmed.or_else(|| maps::NEW_FLOWS.get_ptr_mut(&seen.key));
    asks_as_opener(seen);
    let mut begins = true;
    let mut is_judged = false;
    if let Some(flow) = known {
        // SAFETY: the element is there until the program has ended; one of NEW_FLOWS that is evicted meanwhile is used again at once, and then counts for
        // another flow what this packet adds.
        let flow = unsafe { &mut *flow };
        begins = begins_anew(flow, packet.flags, seen.direction());
        if !begins {
            seen.asks(direction_of(flow));
            seen.opener = flow.opener & !opener::DIRECTION;
            is_judged = flow.epoch == seen.config.epoch;
        }
    }
    let said = if is_judged { Said::NOTHING } else { judge(attachment, seen) };
    if begins && !said.passes() {
        // One of its key that is known stays as it was.
        return said;
    }
    if let (Some(flow), false) = (known, begins) {
        // SAFETY: as above.
        let flow = unsafe { &mut *flow };
        if !is_judged {
            // An established connection that policy denies now is cut: it stays known as denied, or the other side's next packet would look like the first of a
            // connection of its own.
            flow.epoch = seen.config.epoch;
            flow.rule = said.rule();
            flow.verdict = said.verdict();
        }
        let said = said_of(flow);
        if !said.passes() {
            // What it still sends is counted as denied.
            flow.last_ns = seen.now;
            return said;
        }
        add(flow, seen.place(), seen, packet.flags);
        if !is_confirmed && direction_of(flow).number() != seen.direction().number() {
            confirm(&seen.key, flow);
        }
        return said;
    }
    // What begins anew is among the new flows, and must not be found behind the old one.
    if is_confirmed {
        forget(&seen.key);
    }
    begin(packet, seen, fresh, said);
    said
}

/// Takes a flow out of both tables; gone already is as good.
#[inline(never)]
fn forget(key: &FlowKey) {
    let _ = maps::FLOWS.remove(key);
    let _ = maps::NEW_FLOWS.remove(key);
}

/// A flow begins.
#[inline(never)]
fn begin(packet: &Packet, seen: &mut Seen, flow: &mut Flow, said: Said) {
    let way = seen.place();
    *flow = Flow {
        first_ns: seen.now,
        last_ns: seen.now,
        epoch: seen.config.epoch,
        rule: said.rule(),
        verdict: said.verdict(),
        opener: way as u8 | seen.opener,
        ..Flow::default()
    };
    flow.counters[way] = seen.counted;
    flow.flags[way] = packet.flags;
    if maps::NEW_FLOWS.insert(&seen.key, &*flow, 0).is_err() {
        maps::note(Happened::FlowNotTracked);
    }
    if seen.config.flags & (config::WATCHED | config::SLEEPING) != 0 {
        emit::begun(packet, seen, said);
    }
}
