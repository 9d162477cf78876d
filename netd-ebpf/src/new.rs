//! The cache of flows of which no reply was seen ([`netd_abi::new_flow`]): found, begun, marked again, taken out. Never judges one.

use netd_abi::flow::{Flow, FlowKey};
use netd_abi::new_flow::{Mark, NewFlow, Place, WAYS};
use netd_abi::policy::RuleValue;
use netd_abi::Happened;
use netd_ebpf::said::Said;

use crate::maps;

/// A new flow that is known.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    /// What is known of it. Another CPU may write the flow of another key over it at any time: what decides is in the mark.
    pub(crate) flow: *mut Flow,
    /// What was said of it.
    pub(crate) mark: Mark,
    /// Where the mark is.
    word: *mut u64,
    place: Place,
}

impl Known {
    /// What was said of it.
    #[inline(always)]
    pub(crate) fn said(&self) -> Said {
        Said::by(RuleValue { rule: self.mark.rule(), verdict: u32::from(self.mark.verdict()) })
    }

    /// Marks it as the flow says now.
    #[inline(always)]
    pub(crate) fn mark_again(&self) {
        // SAFETY: both pointers are into arrays, whose elements are always there; the word is written at once. What else another CPU wrote at the same moment
        // is lost, and its flow is none then.
        unsafe { self.word.write_volatile(Mark::of(self.place, &*self.flow).0) };
    }

    /// Takes it out.
    #[inline(always)]
    pub(crate) fn forget(&self) {
        // SAFETY: as above.
        unsafe { self.word.write_volatile(Mark::NOTHING.0) };
    }
}

#[inline(always)]
fn place_of(key: &FlowKey) -> Option<Place> {
    maps::SEEDS.get(0).map(|seeds| Place::of(seeds, key))
}

/// The flow of this key.
#[inline(always)]
pub(crate) fn find(key: &FlowKey) -> Option<Known> {
    let place = place_of(key)?;
    let words: *mut u64 = maps::NEW_MARKS.get_ptr_mut(place.bucket)?.cast();
    let (mut chosen, mut mark) = (0, Mark::NOTHING);
    for way in 0..WAYS {
        // SAFETY: a bucket has so many words, and each is read at once.
        let this = Mark(unsafe { words.add(way as usize).read_volatile() });
        if this.is_at(place) {
            (chosen, mark) = (way, this);
        }
    }
    if !mark.is_there() {
        return None;
    }
    let new: *mut NewFlow = maps::NEW_FLOWS.get_ptr_mut(place.bucket * WAYS + chosen)?;
    // SAFETY: an array's element is always there, and a bucket has so many words.
    let (is_it, flow, word) = unsafe { ((*new).key == *key, &raw mut (*new).flow, words.add((chosen & (WAYS - 1)) as usize)) };
    is_it.then_some(Known { flow, mark, word, place })
}

/// Puts a flow in that is not there: at a free way, or in place of the one that was silent longest.
#[inline(always)]
pub(crate) fn begin(key: &FlowKey, flow: &Flow) {
    if put(key, flow).is_none() {
        maps::note(Happened::FlowNotTracked);
    }
}

#[inline(always)]
fn put(key: &FlowKey, flow: &Flow) -> Option<()> {
    let place = place_of(key)?;
    let words: *mut u64 = maps::NEW_MARKS.get_ptr_mut(place.bucket)?.cast();
    let (mut chosen, mut longest) = (0, -1);
    for way in 0..WAYS {
        // SAFETY: a bucket has so many words, and each is read at once.
        let mark = Mark(unsafe { words.add(way as usize).read_volatile() });
        let idle = if mark.is_there() { mark.idle(flow.last_ns).cast_signed() } else { i32::MAX };
        if idle > longest {
            (chosen, longest) = (way, idle);
        }
    }
    if longest < i32::MAX {
        maps::note(Happened::NewFlowGaveWay);
    }
    let chosen = chosen & (WAYS - 1);
    // SAFETY: a bucket has so many words.
    let word = unsafe { words.add(chosen as usize) };
    let new: *mut NewFlow = maps::NEW_FLOWS.get_ptr_mut(place.bucket * WAYS + chosen)?;
    // SAFETY: an array's element is always there. First the former mark goes, last comes the new one: what is written in between is nobody's.
    unsafe {
        word.write_volatile(Mark::NOTHING.0);
        (*new).key = *key;
        (*new).flow = *flow;
        word.write_volatile(Mark::of(place, flow).0);
    }
    Some(())
}
