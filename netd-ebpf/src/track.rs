//! Flows: finds a packet's, judges a new one and those of an older epoch, keeps what is known of it. Never says what becomes of a packet that is no part of
//! a flow.

use netd_abi::flow::{EventKind, Flow, FlowKey, config};
use netd_abi::policy::RuleValue;
use netd_abi::{Attachment, Counters, Direction, Happened, Why};
use netd_ebpf::flow::{begins_anew, direction_of, opener};
use netd_ebpf::packet::Packet;
use netd_ebpf::said::Said;

use crate::judge::judge;
use crate::new::{self, Known};
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
    if let Some(flow) = maps::FLOWS.get_ptr_mut(key) {
        // SAFETY: the element is there until the program has ended, whoever deletes it; what two CPUs add at once may be lost (see `Flow`).
        let flow = unsafe { &mut *flow };
        let said = said_of(flow);
        if flow.epoch != seen.config.epoch || begins_anew(flow, flags, direction) || !said.passes() {
            return Found::Known;
        }
        add(flow, direction.number() as usize & 1, seen, flags);
        return Found::GoesOn(flow, said);
    }
    let Some(known) = new::find(key) else { return Found::Nothing };
    // SAFETY: an array's element is always there; what is added to another flow that is written over it meanwhile is wrong there, and decides nothing.
    let flow = unsafe { &mut *known.flow };
    let said = known.said();
    // What goes on without a reply, as datagrams often do. With a reply there is more to do.
    let is_same_way = u32::from(known.mark.opener() & opener::DIRECTION) == direction.number();
    if !is_same_way || !known.mark.is_of(seen.config.epoch) || begins_anew(flow, flags, direction) || !said.passes() {
        return Found::Known;
    }
    add(flow, direction.number() as usize & 1, seen, flags);
    if known.mark.idle(seen.now) > 0 {
        known.mark_again();
    }
    Found::GoesOn(flow, said)
}

/// What is said of the packet that is in [`Work`], and by which rule; a known flow goes on, a new one begins where it may. A [`Said`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn track() -> u64 {
    let Some(Work { frame, seen, .. }) = maps::work() else { return Said::because(Why::DropPolicy).raw() };
    match find(&seen.key, seen, frame.packet.flags, seen.direction()) {
        Found::GoesOn(_, said) => said.raw(),
        Found::Known => look_closer(),
        Found::Nothing => begins(),
    }
}

/// Whether a packet's flow is known: what is related to it may pass.
#[inline(always)]
pub(crate) fn is_known(key: &FlowKey) -> bool {
    maps::FLOWS.get_ptr(key).is_some() || new::find(key).is_some()
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
    if let Some(flow) = maps::FLOWS.get_ptr_mut(&seen.key) {
        // SAFETY: the element is there until the program has ended.
        return confirmed(attachment, packet, seen, unsafe { &mut *flow }, fresh);
    }
    asks_as_opener(seen);
    let Some(known) = new::find(&seen.key) else {
        // It was evicted a moment ago.
        let said = judge(attachment, seen);
        if said.passes() {
            begin(packet, seen, fresh, said);
        }
        return said;
    };
    unanswered(attachment, packet, seen, known, fresh)
}

/// A confirmed flow of another epoch, or one that was cut, or that begins anew.
#[inline(always)]
fn confirmed(attachment: &Attachment, packet: &Packet, seen: &mut Seen, flow: &mut Flow, fresh: &mut Flow) -> Said {
    asks_as_opener(seen);
    if begins_anew(flow, packet.flags, seen.direction()) {
        let said = judge(attachment, seen);
        if said.passes() {
            // It is among the new flows now, and must not be found behind the old one. (One that is denied stays as it was.)
            let _ = maps::FLOWS.remove(&seen.key);
            begin(packet, seen, fresh, said);
        }
        return said;
    }
    judge_again(attachment, seen, flow);
    let said = said_of(flow);
    goes_on(flow, packet, seen, said)
}

/// A flow without a reply so far: of another epoch, or one that was cut, or that begins anew, or that this packet replies to.
#[inline(always)]
fn unanswered(attachment: &Attachment, packet: &Packet, seen: &mut Seen, known: Known, fresh: &mut Flow) -> Said {
    // SAFETY: an array's element is always there.
    *fresh = unsafe { *known.flow };
    // What decides is in the mark: the rest may be another's by now.
    fresh.rule = known.mark.rule();
    fresh.verdict = known.mark.verdict();
    fresh.opener = known.mark.opener();
    if begins_anew(fresh, packet.flags, seen.direction()) {
        let said = judge(attachment, seen);
        if said.passes() {
            known.forget();
            begin(packet, seen, fresh, said);
        }
        return said;
    }
    fresh.epoch = if known.mark.is_of(seen.config.epoch) { seen.config.epoch } else { !seen.config.epoch };
    judge_again(attachment, seen, fresh);
    let said = said_of(fresh);
    let said = goes_on(fresh, packet, seen, said);
    if said.passes() && direction_of(fresh).number() != seen.direction().number() && confirm(&seen.key, fresh) {
        known.forget();
    } else {
        // SAFETY: as above.
        unsafe { *known.flow = *fresh };
        known.mark_again();
    }
    said
}

/// Judges a known flow that was judged in another epoch. An established connection that policy denies now is cut: it stays known as denied, or the other
/// side's next packet would look like the first of a connection of its own.
#[inline(always)]
fn judge_again(attachment: &Attachment, seen: &mut Seen, flow: &mut Flow) {
    if flow.epoch == seen.config.epoch {
        return;
    }
    seen.asks(direction_of(flow));
    seen.opener = flow.opener & !opener::DIRECTION;
    let said = judge(attachment, seen);
    flow.epoch = seen.config.epoch;
    flow.rule = said.rule();
    flow.verdict = said.verdict();
}

/// One more packet of a known flow, of which this is said.
#[inline(always)]
fn goes_on(flow: &mut Flow, packet: &Packet, seen: &Seen, said: Said) -> Said {
    if said.passes() {
        add(flow, seen.place(), seen, packet.flags);
    } else {
        // What it still sends is counted as denied.
        flow.last_ns = seen.now;
    }
    said
}

/// A flow begins.
#[inline(never)]
fn begin(packet: &Packet, seen: &mut Seen, flow: &mut Flow, said: Said) {
    let way = seen.place();
    flow.first_ns = seen.now;
    flow.last_ns = seen.now;
    flow.counters[way] = seen.counted;
    flow.counters[1 - way] = Counters::ZERO;
    flow.epoch = seen.config.epoch;
    flow.rule = said.rule();
    flow.verdict = said.verdict();
    flow.opener = way as u8 | seen.opener;
    flow.flags[way] = packet.flags;
    flow.flags[1 - way] = 0;
    flow.neighbour = 0;
    new::begin(&seen.key, flow);
    if seen.config.flags & (config::WATCHED | config::SLEEPING) != 0 {
        emit::begun(packet, seen, said);
    }
}
