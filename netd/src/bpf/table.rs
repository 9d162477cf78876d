//! The table of flows ([`netd_abi::table`]) in this process's memory, where the programs write it: looking through it takes no system call. Never decides
//! what is over.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};

use aya::maps::{Array, MapData};
use netd_abi::flow::{Flow, FlowKey};
use netd_abi::maps::{FLOWS, MARKS, SPREAD};
use netd_abi::table::{ARE_SPILLED, BUCKETS, Entry, Mark, NONE_SEEN, Place, SPILLED_AT, Spread, WAYS, place_in_flows};

use super::BpfError;
use super::mapped::{Mapped, Values};
use super::maps::typed;
use super::pins::Pins;

/// Whether a reply was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It gives way where another needs its place.
    New,
    /// It stays.
    Confirmed,
}

/// All flows but those that were spilled.
pub(crate) struct FlowTable {
    marks: Mapped<AtomicU64>,
    /// In this process's memory only while it is walked through: they are four megabytes.
    flows: Values<Entry>,
    spread: Spread,
    /// The same in this process's memory, for what it says of each bucket.
    bytes: Mapped<AtomicU8>,
}

/// Buckets of which flows are spilled.
pub(crate) struct Spilled<'a> {
    spread: &'a Spread,
    buckets: Vec<bool>,
}

impl Spilled<'_> {
    /// A flow is there.
    pub(crate) fn note(&mut self, key: &FlowKey) {
        self.buckets[Place::of(self.spread, key).bucket as usize] = true;
    }
}

impl FlowTable {
    /// The one pinned here. What flows are spread with is chosen where it was not yet.
    pub(crate) fn open(pins: &Pins) -> Result<Self, BpfError> {
        Ok(Self {
            marks: Values::open(&pins.map(&MARKS))?.mapped()?,
            flows: Values::open(&pins.map(&FLOWS))?,
            spread: spread(pins)?,
            bytes: Values::open(&pins.map(&SPREAD))?.mapped()?,
        })
    }

    /// How many flows there are, and how many of them are confirmed.
    pub(crate) fn count(&self) -> (usize, usize) {
        let marks = self.marks.all().iter().map(|word| Mark(word.load(Ordering::Relaxed))).filter(|mark| mark.is_there());
        marks.fold((0, 0), |(all, confirmed), mark| (all + 1, confirmed + usize::from(mark.is_confirmed())))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.marks.all().iter().all(|word| !Mark(word.load(Ordering::Relaxed)).is_there())
    }

    /// Shows every flow, and takes those out that the first visitor says are over. Shows each of those to the second one.
    pub(crate) fn walk(
        &self,
        mut is_over: impl FnMut(&FlowKey, Stage, &Flow) -> bool,
        mut over: impl FnMut(&FlowKey, &Flow),
    ) -> Result<(), BpfError> {
        if self.is_empty() {
            return Ok(());
        }
        let flows = self.flows.mapped()?;
        for (at, word) in self.marks.all().iter().enumerate() {
            let seen = word.load(Ordering::Acquire);
            let mark = Mark(seen);
            let Some((key, flow)) = self.flow_of(&flows, at, mark) else { continue };
            let stage = if mark.is_confirmed() { Stage::Confirmed } else { Stage::New };
            // A mark that a program has set meanwhile is another flow's, or says that there is more to this one.
            if is_over(&key, stage, &flow) && word.compare_exchange(seen, Mark::NOTHING.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                over(&key, &flow);
            }
        }
        Ok(())
    }

    /// To note which buckets' flows are spilled.
    pub(crate) fn spilled(&self) -> Spilled<'_> {
        Spilled { spread: &self.spread, buckets: vec![false; BUCKETS as usize] }
    }

    /// Spares the programs the look into map `SPILLED` for each new flow of a bucket of which none was seen there, if a second look finds none either. A program that
    /// spills a flow meanwhile has said so before, and is heeded: either it said so after the first step, or its flow is there by the second look.
    pub(crate) fn spare_spilled(
        &self,
        seen: &Spilled<'_>,
        look: impl FnOnce(&mut Spilled<'_>) -> Result<(), BpfError>,
        wait: impl FnOnce(),
    ) -> Result<(), BpfError> {
        let says = &self.bytes.all()[SPILLED_AT..];
        let free: Vec<usize> = (0..says.len()).filter(|at| !seen.buckets[*at] && says[*at].load(Ordering::SeqCst) != 0).collect();
        if free.is_empty() {
            return Ok(());
        }
        free.iter().for_each(|at| says[*at].store(NONE_SEEN, Ordering::SeqCst));
        wait();
        let mut again = self.spilled();
        look(&mut again)?;
        for at in free.into_iter().filter(|at| !again.buckets[*at]) {
            let _spilled_meanwhile = says[at].compare_exchange(NONE_SEEN, 0, Ordering::SeqCst, Ordering::SeqCst);
        }
        Ok(())
    }

    /// The flow that has this mark, which is so many words behind the first one; none where it is being written. A mark that is no flow's, as two CPUs have
    /// written one place at the same moment, is taken out where the place stays so.
    fn flow_of(&self, flows: &Mapped<Entry>, at: usize, mark: Mark) -> Option<(FlowKey, Flow)> {
        if !mark.is_there() {
            return None;
        }
        let (bucket, way) = (at as u32 / WAYS, at as u32 % WAYS);
        let entry = place_in_flows(bucket, way) as usize;
        let Entry { key, mut flow } = flows.read(entry)?;
        fence(Ordering::Acquire);
        // What decides is in the mark.
        (flow.rule, flow.verdict, flow.opener) = (mark.rule(), mark.verdict(), mark.opener());
        let place = Place::of(&self.spread, &key);
        let is_its_own = mark.is_at(place) && place.bucket == bucket;
        if !is_its_own && flows.read(entry).is_some_and(|again| again.key == key) {
            let _ = self.marks.all()[at].compare_exchange(mark.0, Mark::NOTHING.0, Ordering::AcqRel, Ordering::Relaxed);
        }
        is_its_own.then_some((key, flow))
    }
}

/// The numbers that keys are spread with, which stay as long as the maps do; those of a map of another kind are taken over if its values have the same size, as
/// the flows are where they say.
fn spread(pins: &Pins) -> Result<Spread, BpfError> {
    let path = &pins.map(&SPREAD);
    let tried = || format!("choose the numbers in the map pinned at {}", path.display());
    let mut map: Array<MapData, Spread> = typed(path)?;
    let there = map.get(&0, 0).map_err(|error| BpfError::new(tried(), error.into()))?;
    if there.seeds != [0; 11] {
        return Ok(there);
    }
    let former = pins.older(&SPREAD)?.into_iter().find_map(|path| typed::<Array<MapData, Spread>>(&path).ok()?.get(&0, 0).ok());
    // Each state has random keys of its own, and so has what it makes of nothing.
    let seeds = || std::array::from_fn(|_| RandomState::new().build_hasher().finish());
    let spread = Spread { seeds: former.map_or_else(seeds, |former| former.seeds), spilled: [ARE_SPILLED; BUCKETS as usize] };
    map.set(0, spread, 0).map_err(|error| BpfError::new(tried(), error.into()))?;
    Ok(spread)
}

#[cfg(test)]
mod tests;
