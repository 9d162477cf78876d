//! Flows: finds a packet's, judges a new one and those of an older epoch, keeps what is known of it, where the short way leads too. Never says what becomes of
//! a packet that is no part of a flow.

use core::ptr;

use netd_abi::flow::{EventKind, Flow, FlowKey, NO_NEIGHBOUR, config};
use netd_abi::policy::RuleValue;
use netd_abi::table::{Mark, seconds};
use netd_abi::{Counters, Direction, Happened, Why};
use netd_ebpf::flow::{begins_anew, direction_of, opener, opens};
use netd_ebpf::guard;
use netd_ebpf::near::{Held, Nearby};
use netd_ebpf::packet::Packet;
use netd_ebpf::said::Said;

use crate::judge::judge;
use crate::short::is_short;
use crate::table::{self, Known};
use crate::work::{Seen, Work};
use crate::{emit, maps, short};

/// What a flow notes of a packet.
#[derive(Clone, Copy)]
pub(crate) struct Passing {
    /// When it comes.
    pub(crate) now: u64,
    /// How much it counts.
    pub(crate) counted: Counters,
    /// What holds now: flows of another epoch are judged again.
    pub(crate) epoch: u32,
    /// Its TCP flags; 0 of other protocols.
    pub(crate) flags: u8,
}

impl Passing {
    /// When and in which epoch.
    #[inline(always)]
    const fn held(&self) -> Held {
        Held::since(self.now, self.epoch)
    }
}

/// What is known of a flow that goes on.
#[derive(Clone, Copy)]
pub(crate) struct GoesOn {
    /// As in [`Flow::neighbour`].
    pub(crate) neighbour: u32,
    /// The rule that lets it.
    pub(crate) rule: u32,
}

/// Notes one more packet of a flow that this CPU found lately and that simply goes on, where that is all there is to do. None where it has to be looked for, or
/// looked at.
#[inline(always)]
pub(crate) fn near(key: &FlowKey, nearby: &Nearby, packet: &Passing, direction: Direction) -> Option<GoesOn> {
    if opens(packet.flags) {
        return None;
    }
    let Known { flow, mark, .. } = table::find_near(key, nearby, packet.held())?;
    if !mark.is_confirmed() && is_reply(mark, direction) {
        return None;
    }
    // SAFETY: an array's element is always there. Another flow may be written over it meanwhile: what is added to that is wrong there and decides nothing.
    let flow = unsafe { &mut *flow };
    add(flow, direction.number() as usize & 1, packet);
    Some(GoesOn { neighbour: flow.neighbour, rule: mark.rule() })
}

/// Whether it goes the other way than the first one did.
#[inline(always)]
fn is_reply(mark: Mark, direction: Direction) -> bool {
    u32::from(mark.opener() & opener::DIRECTION) != direction.number()
}

/// The same of the flow of a packet wherever it is.
#[inline(always)]
fn find(seen: &mut Seen, nearby: &mut Nearby, packet: &Passing, direction: Direction) -> Found {
    seen.at = table::place_of(&seen.key);
    let (flow, said) = if let Some(known) = table::find(&seen.key, seen.at) {
        // SAFETY: as above; of the flags of another flow the worst is that a SYN is judged once more, or goes on as the mark says, and of its neighbour that it
        // is looked for once more, or found not to be there.
        let flow = unsafe { &mut *known.flow };
        let said = known.said();
        let is_judged = known.mark.is_of(packet.epoch) && flow.epoch == packet.epoch;
        if !is_judged || begins_anew(known.mark.opener(), flow.flags, packet.flags, direction) || !said.passes() {
            return Found::Known;
        }
        let mut mark = known.mark;
        if !mark.is_confirmed() {
            mark = mark.seen(packet.now);
            if is_reply(mark, direction) {
                if !known.confirm(mark) {
                    return Found::Known;
                }
                mark = mark.confirmed();
            } else if mark != known.mark {
                known.write(mark);
            }
        }
        // (Not where it begins: another CPU may begin it at the same moment.)
        if said.number() == Why::Forward.number() {
            nearby.note(&seen.key, packet.held(), known.number, mark);
        }
        (flow, said)
    } else {
        let Some(flow) = table::spilled(&seen.key, seen.at.bucket) else { return Found::Nothing };
        // SAFETY: the element is there until the program has ended, whoever deletes it; what two CPUs add at once may be lost (see `Flow`).
        let flow = unsafe { &mut *flow };
        let said = said_of(flow);
        if flow.epoch != packet.epoch || begins_anew(flow.opener, flow.flags, packet.flags, direction) || !said.passes() {
            return Found::Known;
        }
        (flow, said)
    };
    // Somebody may have come there meanwhile, whichever way the first packet of a second goes.
    if flow.neighbour == NO_NEIGHBOUR && seconds(flow.last_ns) != seconds(packet.now) {
        flow.neighbour = 0;
    }
    add(flow, direction.number() as usize & 1, packet);
    if flow.neighbour == 0 && is_short(direction, seen.config) {
        flow.neighbour = short::leads_to();
    }
    seen.neighbour = flow.neighbour;
    Found::GoesOn(said)
}

/// What is known of a packet's flow.
#[derive(Clone, Copy)]
enum Found {
    /// It is known and goes on, as was said of it; its neighbour is in [`Seen`].
    GoesOn(Said),
    /// It is known, and there is more to see to.
    Known,
    /// Nothing.
    Nothing,
}

/// What is said of the packet that is in [`Work`], and by which rule; a known flow goes on, a new one begins where it may. (Not one function of the object
/// with those that it calls: their frames would not fit on the stack together.)
#[inline(always)]
pub(crate) fn track() -> Said {
    let said = Said::from_raw(find_known());
    if said == Said::NOTHING {
        Said::from_raw(begins())
    } else if said == Said::MORE_TO_DO {
        Said::from_raw(look_closer())
    } else {
        said
    }
}

/// The same of a known flow that goes on, whose neighbour is in [`Work`] then; [`Said::NOTHING`] where it is not known, [`Said::MORE_TO_DO`] where there is. A
/// [`Said`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn find_known() -> u64 {
    // Without a place to work in nothing goes on: the next to be asked says so.
    let Some(Work { frame, seen, nearby, .. }) = maps::work() else { return Said::MORE_TO_DO.raw() };
    let packet = seen.passing(frame.packet.flags);
    let direction = seen.direction();
    let said = match find(seen, nearby, &packet, direction) {
        Found::GoesOn(said) => said,
        Found::Known => Said::MORE_TO_DO,
        Found::Nothing => Said::NOTHING,
    };
    said.raw()
}

/// What was said of a flow.
#[inline(always)]
fn said_of(flow: &Flow) -> Said {
    Said::by(RuleValue { rule: flow.rule, verdict: u32::from(flow.verdict) })
}

/// One more packet of a flow.
#[inline(always)]
fn add(flow: &mut Flow, way: usize, packet: &Passing) {
    flow.last_ns = packet.now;
    flow.counters[way] = flow.counters[way].plus(packet.counted);
    flow.flags[way] |= packet.flags;
}

/// A reply was seen, and the flow's bucket has enough of such: it goes beside the table, where no flood evicts it either.
#[inline(always)]
fn spill(seen: &Seen, known: Known, flow: &Flow, mark: Mark) {
    if table::spill(&seen.key, seen.at.bucket, flow) {
        known.forget();
        emit::wake_seldom(EventKind::Crowded, flow.last_ns);
        return;
    }
    known.write(mark);
    maps::note(Happened::FlowNotConfirmed);
    emit::wake_seldom(EventKind::Full, flow.last_ns);
}

/// A flow gave its place to another connection of its key. (In the moment in which the daemon takes it out itself it is told and counted.)
#[inline(always)]
fn end_not_told(now: u64) {
    maps::note(Happened::EndNotTold);
    emit::wake_seldom(EventKind::Busy, now);
}

/// A flow of which nothing is known: judged, and begun where it passes. A [`Said`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn begins() -> u64 {
    let Some(Work { frame, seen, .. }) = maps::work() else { return Said::because(Why::DropPolicy).raw() };
    asks_as_opener(seen);
    let said = judge(seen);
    if said.passes() && is_for_another() == 0 {
        begin(&frame.packet, seen, said);
    }
    said.raw()
}

/// Whether the packet in [`Work`] came to a container for which it is not meant: it is judged and counted, but neither a connection of it nor answered by it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn is_for_another() -> u32 {
    let Some(Work { frame, seen, .. }) = maps::work() else { return 0 };
    let Some(end) = maps::end(seen.ifindex) else { return 0 };
    u32::from(matches!(seen.direction(), Direction::ToContainer) && guard::is_for_another(end, frame.destination_mac))
}

/// A flow that is known but not confirmed yet, or was judged in another epoch, or begins anew, or was cut. A [`Said`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn look_closer() -> u64 {
    let Some(Work { frame, seen, flow, .. }) = maps::work() else { return Said::because(Why::DropPolicy).raw() };
    closer(&frame.packet, seen, flow).raw()
}

/// The packet is the first of its flow.
#[inline(always)]
fn asks_as_opener(seen: &mut Seen) {
    seen.asks(seen.direction());
    seen.opener = if seen.from_host { opener::HOST } else { 0 };
}

#[inline(always)]
fn closer(packet: &Packet, seen: &mut Seen, flow: &mut Flow) -> Said {
    seen.at = table::place_of(&seen.key);
    let known = table::find(&seen.key, seen.at).unwrap_or(Known::NONE);
    let mut place = known.flow;
    if place.is_null() {
        place = table::spilled(&seen.key, seen.at.bucket).unwrap_or(ptr::null_mut());
    }
    // Else it gave way a moment ago.
    let is_known = !place.is_null();
    if is_known {
        // SAFETY: an array's element is always there, one of the hash until the program has ended; neither is this CPU's place to work in. (An assignment would
        // copy byte by byte, as it has to reckon with one and the same place.)
        unsafe { ptr::copy_nonoverlapping(place, flow, 1) };
    }
    if known.mark.is_there() {
        // What decides is in the mark: the rest may be another's by now.
        flow.rule = known.mark.rule();
        flow.verdict = known.mark.verdict();
        flow.opener = known.mark.opener();
        if !known.mark.is_of(flow.epoch) {
            flow.epoch = !seen.config.epoch;
        }
    }
    asks_as_opener(seen);
    let begins = !is_known || begins_anew(flow.opener, flow.flags, packet.flags, seen.direction());
    if !begins {
        seen.asks(direction_of(flow.opener));
        seen.opener = flow.opener & !opener::DIRECTION;
    }
    // Who came by a published port under the host's address is known when the client has spoken: until then its own program sees to it.
    let waits = !begins && flow.opener & opener::JUDGED != 0 && matches!(seen.direction(), Direction::FromContainer);
    if begins || flow.epoch != seen.config.epoch && !waits {
        let said = judge(seen);
        if begins {
            if said.passes() {
                if known.mark.is_there() {
                    known.forget();
                    end_not_told(seen.now);
                } else if is_known && maps::SPILLED.remove(&seen.key).is_ok() {
                    end_not_told(seen.now);
                }
                begin(packet, seen, said);
            }
            // One that is denied stays as it was.
            return said;
        }
        if said.number() == Why::DropUnknownInterface.number() {
            // Nobody has said anything of it: the interface has just gone.
            return said;
        }
        // An established connection that policy denies now is cut: it stays known as denied, or the other side's next packet would look like the first of a
        // connection of its own.
        flow.epoch = seen.config.epoch;
        flow.rule = said.rule();
        flow.verdict = said.verdict();
    }
    let said = said_of(flow);
    if said.passes() {
        add(flow, seen.place(), &seen.passing(packet.flags));
    } else {
        // What it still sends is counted as denied.
        flow.last_ns = seen.now;
    }
    let is_reply = said.passes() && direction_of(flow.opener).number() != seen.direction().number();
    // SAFETY: as above.
    unsafe { ptr::copy_nonoverlapping(flow, place, 1) };
    if known.mark.is_there() {
        let mark = known.mark.again(flow);
        if !is_reply || mark.is_confirmed() {
            known.write(mark);
        } else if !known.confirm(mark) {
            spill(seen, known, flow, mark);
        }
    }
    said
}

/// A flow begins.
#[inline(never)]
fn begin(packet: &Packet, seen: &mut Seen, said: Said) {
    let way = seen.place() as u8;
    seen.neighbour = if is_short(seen.direction(), seen.config) { short::leads_to() } else { 0 };
    let flow = Flow {
        first_ns: seen.now,
        epoch: seen.config.epoch,
        rule: said.rule(),
        padding: 0,
        last_ns: seen.now,
        // By numbers: a choice between both would be a call that zeroes bytes.
        counters: [seen.counted.times(u64::from(way) ^ 1), seen.counted.times(u64::from(way))],
        neighbour: seen.neighbour,
        verdict: said.verdict(),
        opener: way | seen.opener,
        flags: [packet.flags * (way ^ 1), packet.flags * way],
    };
    table::begin(&seen.key, seen.at, flow);
    if seen.config.flags & (config::WATCHED | config::SLEEPING) != 0 {
        emit::begun(packet, seen, said);
    }
}
