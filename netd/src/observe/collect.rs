//! Collecting: what is over is deleted and told, what is audited is told once, and room is made where there is none. Never sleeps, and keeps nothing.
//!
//! Each entry is read again right before it is deleted, as a packet may have come since. One that comes in the moment between loses only what it was counted
//! for in the flow, never in the attachment's counters, and the one after it is judged as the first of a new flow.
//!
//! What the programs themselves give up is not told as closed: a connection in whose place another one of its key begins (`end_not_told`), and the oldest new
//! ones where a flood needs their room (`new_flow_gave_way`). Both count as lost.

use std::collections::HashMap;

use netd_abi::Verdict;
use netd_abi::flow::{Denied, Flow, FlowKey};
use netd_api::flow::FlowEvent;

use super::flows::{RawFlow, TELL_AGAIN_NS};
use super::kernel::clock::Clock;
use super::kernel::maps::FlowMaps;
use super::over::over_ns;
use super::share::{Excess, excess};
use crate::bpf::BpfError;
use crate::bpf::switch::wait_for_programs;
use crate::bpf::table::{Spilled, Stage};

/// One part of so many of the spilled flows' room is free after room was made.
const FREE: usize = 10;

/// What a collection goes by.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    /// Now.
    pub(crate) clock: Clock,
    /// How long what is left of closed connections is waited for.
    pub(crate) linger_ns: u64,
    /// Audited flows that began in this time, and not at its end itself, are told as what would be denied.
    pub(crate) audited: (u64, u64),
}

/// Tells and deletes what is over. Says whether anything is left.
pub(crate) fn collect(maps: &FlowMaps, round: Round, told: &mut Vec<RawFlow>) -> Result<bool, BpfError> {
    let mut is_left = denied(maps, round.clock, told)?;
    let audited =
        |key: &FlowKey, flow: &Flow| is_to_tell(flow, round.audited).then(|| RawFlow::of_flow(FlowEvent::Denied, *key, flow, round.clock));
    let is_over = |key: &FlowKey, stage, flow: &Flow| over_ns(key.protocol, stage, flow, round.linger_ns) <= round.clock.mono_ns;
    let mut ended = Vec::new();
    maps.flows.walk(
        |key, stage, flow| {
            told.extend(audited(key, flow));
            let is_over = is_over(key, stage, flow);
            is_left |= !is_over;
            is_over
        },
        |key, flow| ended.push(closed(key, flow, round.clock)),
    )?;
    told.append(&mut ended);
    let mut spilled = maps.flows.spilled();
    maps.spilled.walk(|key, flow| {
        told.extend(audited(key, flow));
        if is_over(key, Stage::Confirmed, flow) {
            end_spilled(maps, key, |flow| is_over(key, Stage::Confirmed, flow), round.clock, told)
        } else {
            is_left = true;
            spilled.note(key);
            Ok(())
        }
    })?;
    let look = |spilled: &mut Spilled<'_>| {
        maps.spilled.walk(|key, _| {
            spilled.note(key);
            Ok(())
        })
    };
    maps.flows.spare_spilled(&spilled, look, wait_for_programs)?;
    Ok(is_left)
}

/// Frees a tenth of the room for spilled flows, and tells those that go as closed: of who has more than its share, longest silent first. Says how many it had to
/// give up.
pub(crate) fn make_room(maps: &FlowMaps, clock: Clock, told: &mut Vec<RawFlow>) -> Result<u64, BpfError> {
    let room = maps.spilled.entries();
    let mut times: HashMap<u16, Vec<u64>> = HashMap::new();
    maps.spilled.walk(|key, flow| {
        times.entry(key.slot).or_default().push(flow.last_ns);
        Ok(())
    })?;
    let mut excess = excess(&mut times, room - room / FREE);
    drop(times);
    if excess.is_empty() {
        return Ok(0);
    }
    let before = told.len();
    maps.spilled.walk(|key, flow| {
        let is_silent = |excess: &Excess, flow: &Flow| excess.count > 0 && flow.last_ns <= excess.latest_ns;
        let Some(excess) = excess.get_mut(&key.slot).filter(|excess| is_silent(excess, flow)) else { return Ok(()) };
        let told_before = told.len();
        end_spilled(maps, key, |flow| is_silent(excess, flow), clock, told)?;
        excess.count -= told.len() - told_before;
        Ok(())
    })?;
    Ok((told.len() - before) as u64)
}

/// Everything that is there, as open. A flow that is spilled meanwhile is there once.
pub(crate) fn open(maps: &FlowMaps, clock: Clock) -> Result<Vec<RawFlow>, BpfError> {
    let mut flows = HashMap::new();
    // In the order in which a flow moves, so that none is missed.
    let see = |key: &FlowKey, _, flow: &Flow| {
        flows.insert(*key, *flow);
        false
    };
    maps.flows.walk(see, |_, _| {})?;
    maps.spilled.walk(|key, flow| {
        flows.insert(*key, *flow);
        Ok(())
    })?;
    Ok(flows.iter().map(|(key, flow)| RawFlow::of_flow(FlowEvent::Open, *key, flow, clock)).collect())
}

/// Tells what was counted of denied connections since they were told. What was told longer ago than that a next packet would be told again needs no entry.
/// Says whether anything is left.
pub(crate) fn denied(maps: &FlowMaps, clock: Clock, told: &mut Vec<RawFlow>) -> Result<bool, BpfError> {
    let mut is_left = false;
    maps.denied.walk(|key, denied| {
        let is_old = |denied: &Denied| denied.told_ns.saturating_add(TELL_AGAIN_NS) <= clock.mono_ns;
        if is_old(denied) {
            end_denied(maps, key, is_old, clock, told)
        } else {
            is_left = true;
            Ok(())
        }
    })?;
    Ok(is_left)
}

/// Ends everything of these slots that began until the time beside each: what began later is its next owner's.
pub(crate) fn forget(maps: &FlowMaps, slots: &HashMap<u32, u64>, clock: Clock, told: &mut Vec<RawFlow>) -> Result<(), BpfError> {
    let is_gone = |slot: u32, since_ns: u64| slots.get(&slot).is_some_and(|until_ns| since_ns <= *until_ns);
    let is_gone_flow = |key: &FlowKey, flow: &Flow| is_gone(u32::from(key.slot), flow.first_ns);
    maps.flows.walk(|key, _, flow| is_gone_flow(key, flow), |key, flow| told.push(closed(key, flow, clock)))?;
    maps.spilled.walk(|key, flow| {
        if is_gone_flow(key, flow) { end_spilled(maps, key, |flow| is_gone_flow(key, flow), clock, told) } else { Ok(()) }
    })?;
    maps.denied.walk(|key, denied| {
        let is_gone = |denied: &Denied| is_gone(u32::from(key.slot), denied.told_ns);
        if is_gone(denied) { end_denied(maps, key, is_gone, clock, told) } else { Ok(()) }
    })?;
    maps.fragments.walk(|key, fragment| if is_gone(key.slot, fragment.first_ns) { maps.fragments.remove(key).map(drop) } else { Ok(()) })
}

/// Whether an audited flow was not told yet: each begins in one round's time only, and nothing has to be remembered.
fn is_to_tell(flow: &Flow, (from_ns, until_ns): (u64, u64)) -> bool {
    u32::from(flow.verdict) == Verdict::Audit.number() && (from_ns..until_ns).contains(&flow.first_ns)
}

fn closed(key: &FlowKey, flow: &Flow, clock: Clock) -> RawFlow {
    RawFlow::of_flow(FlowEvent::Closed, *key, flow, clock)
}

/// Deletes a spilled flow if it still is to end, and tells it.
fn end_spilled(
    maps: &FlowMaps,
    key: &FlowKey,
    is_to_end: impl Fn(&Flow) -> bool,
    clock: Clock,
    told: &mut Vec<RawFlow>,
) -> Result<(), BpfError> {
    let Some(flow) = maps.spilled.get(key)?.filter(is_to_end) else { return Ok(()) };
    if maps.spilled.remove(key)? {
        told.push(closed(key, &flow, clock));
    }
    Ok(())
}

/// The same for what was denied; it is told only where something is left to tell.
fn end_denied(
    maps: &FlowMaps,
    key: &FlowKey,
    is_to_end: impl Fn(&Denied) -> bool,
    clock: Clock,
    told: &mut Vec<RawFlow>,
) -> Result<(), BpfError> {
    let Some(denied) = maps.denied.get(key)?.filter(is_to_end) else { return Ok(()) };
    if maps.denied.remove(key)? && denied.counted.packets > 0 {
        told.push(RawFlow::of_denied(*key, &denied, clock));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audited_flow_is_told_in_the_round_in_which_it_began() {
        let flow = |first_ns, verdict: Verdict| Flow { first_ns, verdict: verdict.number() as u8, ..Flow::default() };
        assert!(is_to_tell(&flow(10, Verdict::Audit), (10, 20)));
        assert!(!is_to_tell(&flow(20, Verdict::Audit), (10, 20)), "the next round's");
        assert!(!is_to_tell(&flow(9, Verdict::Audit), (10, 20)), "the last round's");
        assert!(!is_to_tell(&flow(15, Verdict::Forward), (10, 20)));
    }
}
