//! The table of flows ([`netd_abi::table`]): they are found, begun, marked again, taken out. Never judges one.

use core::ptr;

use netd_abi::Happened;
use netd_abi::flow::{Flow, FlowKey};
use netd_abi::policy::RuleValue;
use netd_abi::table::{ARE_SPILLED, Entry, MOST_CONFIRMED, Mark, Place, Room, WAYS, greediest, places, room};
use netd_ebpf::near::{Near, Nearby};
use netd_ebpf::said::Said;

use crate::maps;
use crate::work::Work;

/// A flow that is known.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    /// What is known of it. Another CPU may write the flow of another key over one that is not confirmed at any time: what decides is in the mark.
    pub(crate) flow: *mut Flow,
    /// What was said of it.
    pub(crate) mark: Mark,
    /// Where the mark is.
    word: *mut u64,
    /// Its place in map `FLOWS`.
    at: u32,
    /// Its mark's check.
    check: u32,
}

impl Known {
    /// None: its parts are set, as the verifier wants them to be wherever the compiler carries them.
    pub(crate) const NONE: Self = Self { flow: ptr::null_mut(), mark: Mark::NOTHING, word: ptr::null_mut(), at: 0, check: 0 };

    /// What was said of it.
    #[inline(always)]
    pub(crate) fn said(&self) -> Said {
        Said::by(RuleValue { rule: self.mark.rule(), verdict: u32::from(self.mark.verdict()) })
    }

    /// Notes that this CPU found it. (Not where it begins: another CPU may begin it at the same moment.)
    #[inline(always)]
    pub(crate) fn is_near(&self, key: &FlowKey, nearby: &mut Nearby, now: u64) {
        nearby.note(key, now, self.at, self.check);
    }

    /// Marks it so from now on.
    #[inline(always)]
    pub(crate) fn write(&self, mark: Mark) {
        // SAFETY: the word is in an array, whose elements are always there, and is written at once. What another CPU wrote at the same moment is lost, and its flow
        // is none then.
        unsafe { self.word.write_volatile(mark.0) };
    }

    /// Takes it out.
    #[inline(always)]
    pub(crate) fn forget(&self) {
        self.write(Mark::NOTHING);
    }

    /// Marks it so from now on, and no new flow takes its place any more. False where the bucket has enough of such.
    #[inline(always)]
    pub(crate) fn confirm(&self, mark: Mark) -> bool {
        let confirms = takes_one_more(self.at / WAYS);
        if confirms {
            self.write(mark.confirmed());
        }
        confirms
    }
}

/// Whether one more flow of a bucket may be confirmed.
#[inline(never)]
fn takes_one_more(bucket: u32) -> bool {
    let Some(words) = words_at(bucket) else { return false };
    let mut confirmed = 0;
    for way in 0..WAYS {
        // SAFETY: a bucket has so many words, and each is read at once.
        let mark = Mark(unsafe { words.add(way as usize).read_volatile() });
        confirmed += u32::from(mark.is_confirmed());
    }
    confirmed < MOST_CONFIRMED
}

#[inline(always)]
fn place_of(key: &FlowKey) -> Option<Place> {
    maps::SPREAD.get(0).map(|spread| Place::of(spread, key))
}

/// The marks of a bucket: [`WAYS`] words.
#[inline(always)]
fn words_at(bucket: u32) -> Option<*mut u64> {
    maps::MARKS.get_ptr_mut(bucket).map(|bucket| bucket.cast())
}

/// The flow of this key.
#[inline(always)]
pub(crate) fn find(key: &FlowKey) -> Option<Known> {
    let place = place_of(key)?;
    let words = words_at(place.bucket)?;
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
    let mut flow = flow_at(key, place, chosen);
    if flow.is_none() {
        // Another flow has the same mark: one of 250,000 has, in a full bucket.
        chosen = way_of(key, place.bucket, place.check);
        // SAFETY: as above.
        mark = Mark(unsafe { words.add((chosen & (WAYS - 1)) as usize).read_volatile() });
        flow = flow_at(key, place, chosen).filter(|_| mark.is_at(place));
    }
    // SAFETY: a bucket has so many words.
    let word = unsafe { words.add((chosen & (WAYS - 1)) as usize) };
    flow.map(|flow| Known { flow, mark, word, at: place.bucket * WAYS + (chosen & (WAYS - 1)), check: place.check })
}

/// The flow of this key, where this CPU found it lately.
#[inline(always)]
pub(crate) fn find_near(key: &FlowKey, nearby: &Nearby, now: u64) -> Option<Known> {
    // SAFETY: it reads a local variable. What was just written is to be read back where it lies: the compiler would keep it on the stack instead, which is full.
    let key = unsafe { ptr::read_volatile(&raw const key) };
    let &Near { at, check, .. } = nearby.of(key, now)?;
    let words = words_at(at / WAYS)?;
    // SAFETY: a bucket has so many words.
    let word = unsafe { words.add((at & (WAYS - 1)) as usize) };
    // SAFETY: as above; it is read at once.
    let mark = Mark(unsafe { word.read_volatile() });
    if !mark.is_at(Place { bucket: 0, check }) {
        return None;
    }
    flow_of(key, at).map(|flow| Known { flow, mark, word, at, check })
}

/// The flow at a place, if it has this key.
#[inline(always)]
fn flow_at(key: &FlowKey, place: Place, way: u32) -> Option<*mut Flow> {
    flow_of(key, place.bucket * WAYS + (way & (WAYS - 1)))
}

#[inline(always)]
fn flow_of(key: &FlowKey, at: u32) -> Option<*mut Flow> {
    let entry: *mut Entry = maps::FLOWS.get_ptr_mut(at)?;
    // SAFETY: an array's element is always there.
    unsafe { (*entry).key.is(key).then_some(&raw mut (*entry).flow) }
}

/// The way of a bucket that has this key and its mark; some way where none has. (A flow that was taken out leaves its key behind.)
#[inline(never)]
fn way_of(key: &FlowKey, bucket: u32, check: u32) -> u32 {
    let place = Place { bucket, check };
    let Some(words) = words_at(bucket) else { return 0 };
    let mut found = 0;
    for way in 0..WAYS {
        // SAFETY: a bucket has so many words, and each is read at once.
        let mark = Mark(unsafe { words.add(way as usize).read_volatile() });
        if mark.is_at(place) && flow_at(key, place, way).is_some() {
            found = way;
        }
    }
    found
}

/// Puts a flow in that is not there: where [`room`] says.
#[inline(always)]
pub(crate) fn begin(key: &FlowKey, flow: &Flow) {
    if put(key, flow).is_none() {
        maps::note(Happened::FlowNotTracked);
    }
}

#[inline(always)]
fn put(key: &FlowKey, flow: &Flow) -> Option<()> {
    let place = place_of(key)?;
    let words = words_at(place.bucket)?;
    let chosen = way_for(place.bucket, place.check, flow.last_ns);
    if chosen >= WAYS {
        return None;
    }
    let entry: *mut Entry = maps::FLOWS.get_ptr_mut(place.bucket * WAYS + chosen)?;
    // SAFETY: an array's element is always there, and a bucket has so many words. First the former mark goes, last comes the new one: what is written in
    // between is nobody's.
    unsafe {
        let word = words.add(chosen as usize);
        word.write_volatile(Mark::NOTHING.0);
        (*entry).key = *key;
        (*entry).flow = *flow;
        word.write_volatile(Mark::of(place, flow).0);
    }
    Some(())
}

/// The way of a bucket that a new flow gets, or [`WAYS`]: none. (By itself, as the verifier would follow each choice into all that comes after it.)
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn way_for(bucket: u32, check: u32, now: u64) -> u32 {
    let Some(words) = words_at(bucket) else { return WAYS };
    // SAFETY: a bucket has so many words, and each is read at once.
    let mark = |way: u32| Mark(unsafe { words.add(way as usize).read_volatile() });
    let way = match room(mark, Place { bucket, check }, now) {
        Room::Free(way) => return way,
        Room::None => return WAYS,
        Room::Of(way) => way,
        Room::OfGreediest => greediest(mark, |mark| places_of(bucket, mark.0), now),
    };
    maps::note(Happened::NewFlowGaveWay);
    way
}

/// How many places in a bucket the attachment of a mark has. (By itself, too.)
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn places_of(bucket: u32, mark: u64) -> u32 {
    let Some(words) = words_at(bucket) else { return 0 };
    // SAFETY: as above.
    places(|way| Mark(unsafe { words.add(way as usize).read_volatile() }), Mark(mark))
}

/// A confirmed flow that found no room in the table.
#[inline(always)]
pub(crate) fn spilled(key: &FlowKey) -> Option<*mut Flow> {
    let is_any = maps::SPREAD.get(0).is_some_and(|spread| spread.spilled != 0);
    if is_any { maps::SPILLED.get_ptr_mut(key) } else { None }
}

/// Keeps a confirmed flow for which there is no room in the table.
#[inline(never)]
pub(crate) fn spill(key: &FlowKey, flow: &Flow) -> bool {
    let Some(spread) = maps::SPREAD.get_ptr_mut(0) else { return false };
    // SAFETY: an array's element is always there.
    let word = unsafe { &raw mut (*spread).spilled };
    // SAFETY: as above; the word is written at once.
    unsafe { word.write_volatile(ARE_SPILLED) };
    let is_kept = maps::SPILLED.insert(key, flow, 0).is_ok();
    // Once more, as the daemon may have found nothing in between and not have waited long enough for a CPU that was taken away.
    // SAFETY: as above.
    unsafe { word.write_volatile(ARE_SPILLED) };
    is_kept
}

/// Whether the other flow that is in [`Work`] is known, and goes on by what holds now.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn knows_other() -> u32 {
    let Some(Work { other, seen, .. }) = maps::work() else { return 0 };
    let epoch = seen.config.epoch;
    if let Some(known) = find(other) {
        // SAFETY: an array's element is always there.
        return u32::from(known.said().passes() && known.mark.is_of(epoch) && unsafe { (*known.flow).epoch } == epoch);
    }
    let Some(flow) = spilled(other) else { return 0 };
    // SAFETY: the element is there until the program has ended.
    let (verdict, judged) = unsafe { ((*flow).verdict, (*flow).epoch) };
    u32::from(Said::by(RuleValue { rule: 0, verdict: u32::from(verdict) }).passes() && judged == epoch)
}
