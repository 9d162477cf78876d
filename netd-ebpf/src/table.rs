//! The table of flows ([`netd_abi::table`]): they are found, begun, marked again, taken out. Never judges one.

use core::ptr;

use netd_abi::Happened;
use netd_abi::flow::{Flow, FlowKey};
use netd_abi::policy::RuleValue;
use netd_abi::table::{ARE_SPILLED, BUCKETS, Entry, MOST_CONFIRMED, Mark, Place, Room, WAYS, greediest, place_in_flows, places, room};
use netd_ebpf::near::{Held, Near, Nearby};
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
    /// Which word of map `MARKS` that is.
    pub(crate) number: u32,
}

impl Known {
    /// None: its parts are set, as the verifier wants them to be wherever the compiler carries them.
    pub(crate) const NONE: Self = Self { flow: ptr::null_mut(), mark: Mark::NOTHING, word: ptr::null_mut(), number: 0 };

    /// What was said of it.
    #[inline(always)]
    pub(crate) fn said(&self) -> Said {
        Said::by(RuleValue { rule: self.mark.rule(), verdict: u32::from(self.mark.verdict()) })
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
        let confirms = takes_one_more(self.number / WAYS);
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

/// Where the flow of this key is looked for, and begins.
#[inline(always)]
pub(crate) fn place_of(key: &FlowKey) -> Place {
    maps::SPREAD.get(0).map_or(Place { bucket: 0, check: 0 }, |spread| Place::of(spread, key))
}

/// The marks of a bucket: [`WAYS`] words.
#[inline(always)]
fn words_at(bucket: u32) -> Option<*mut u64> {
    maps::MARKS.get_ptr_mut(bucket).map(|bucket| bucket.cast())
}

/// The flow of this key, in its place.
#[inline(always)]
pub(crate) fn find(key: &FlowKey, place: Place) -> Option<Known> {
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
    flow.map(|flow| Known { flow, mark, word, number: place.bucket * WAYS + (chosen & (WAYS - 1)) })
}

/// The flow of this key, where this CPU found it lately and nothing has been said of it since.
#[inline(always)]
pub(crate) fn find_near(key: &FlowKey, nearby: &Nearby, held: Held) -> Option<Known> {
    // SAFETY: it reads a local variable. What was just written is to be read back where it lies: the compiler would keep it on the stack instead, which is full.
    let key = unsafe { ptr::read_volatile(&raw const key) };
    let &Near { word: number, at, mark, .. } = nearby.of(key, held)?;
    let words = words_at(number / WAYS)?;
    // SAFETY: a bucket has so many words.
    let word = unsafe { words.add((number & (WAYS - 1)) as usize) };
    // SAFETY: as above; it is read at once.
    if unsafe { word.read_volatile() } != mark.0 {
        return None;
    }
    let entry: *mut Entry = maps::FLOWS.get_ptr_mut(at)?;
    // SAFETY: an array's element is always there.
    Some(Known { flow: unsafe { &raw mut (*entry).flow }, mark, word, number })
}

/// The flow at a place, if it has this key.
#[inline(always)]
fn flow_at(key: &FlowKey, place: Place, way: u32) -> Option<*mut Flow> {
    let entry: *mut Entry = maps::FLOWS.get_ptr_mut(place_in_flows(place.bucket, way & (WAYS - 1)))?;
    // SAFETY: as above.
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
pub(crate) fn begin(key: &FlowKey, place: Place, flow: Flow) {
    if put(key, place, flow).is_none() {
        maps::note(Happened::FlowNotTracked);
    }
}

#[inline(always)]
fn put(key: &FlowKey, place: Place, flow: Flow) -> Option<()> {
    let words = words_at(place.bucket)?;
    let chosen = way_for(place.bucket, place.check, flow.last_ns);
    if chosen >= WAYS {
        return None;
    }
    let entry: *mut Entry = maps::FLOWS.get_ptr_mut(place_in_flows(place.bucket, chosen))?;
    let mark = Mark::of(place, &flow);
    // SAFETY: an array's element is always there, and a bucket has so many words. First the former mark goes, last comes the new one: what is written in
    // between is nobody's.
    unsafe {
        let word = words.add(chosen as usize);
        word.write_volatile(Mark::NOTHING.0);
        (*entry).key = *key;
        (*entry).flow = flow;
        word.write_volatile(mark.0);
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

/// A confirmed flow that found no room in its bucket of the table.
#[inline(always)]
pub(crate) fn spilled(key: &FlowKey, bucket: u32) -> Option<*mut Flow> {
    // SAFETY: the byte is in an array's element, which is always there, and read at once.
    let is_any = says_spilled(bucket).is_some_and(|says| unsafe { says.read_volatile() } != 0);
    if is_any { maps::SPILLED.get_ptr_mut(key) } else { None }
}

/// Where it is said whether a bucket's flows were spilled.
#[inline(always)]
fn says_spilled(bucket: u32) -> Option<*mut u8> {
    let spread = maps::SPREAD.get_ptr_mut(0)?;
    // SAFETY: an array's element is always there, and has a byte for each bucket.
    Some(unsafe { (&raw mut (*spread).spilled).cast::<u8>().add((bucket & (BUCKETS - 1)) as usize) })
}

/// Keeps a confirmed flow for which there is no room in its bucket of the table.
#[inline(never)]
pub(crate) fn spill(key: &FlowKey, bucket: u32, flow: &Flow) -> bool {
    let Some(says) = says_spilled(bucket) else { return false };
    // SAFETY: an array's element is always there; the byte is written at once.
    unsafe { says.write_volatile(ARE_SPILLED) };
    let is_kept = maps::SPILLED.insert(key, flow, 0).is_ok();
    // Once more, as the daemon may have found nothing in between and not have waited long enough for a CPU that was taken away.
    // SAFETY: as above.
    unsafe { says.write_volatile(ARE_SPILLED) };
    is_kept
}

/// Whether the other flow that is in [`Work`] is known, and goes on by what holds now.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn knows_other() -> u32 {
    let Some(Work { other, seen, .. }) = maps::work() else { return 0 };
    let epoch = seen.config.epoch;
    let place = place_of(other);
    if let Some(known) = find(other, place) {
        // SAFETY: an array's element is always there.
        return u32::from(known.said().passes() && known.mark.is_of(epoch) && unsafe { (*known.flow).epoch } == epoch);
    }
    let Some(flow) = spilled(other, place.bucket) else { return 0 };
    // SAFETY: the element is there until the program has ended.
    let (verdict, judged) = unsafe { ((*flow).verdict, (*flow).epoch) };
    u32::from(Said::by(RuleValue { rule: 0, verdict: u32::from(verdict) }).passes() && judged == epoch)
}
