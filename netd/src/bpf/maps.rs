//! One typed accessor per map, over its pin. Never decides what an entry should be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use netd_abi::attachment::{End, place_of};
use netd_abi::flow::{Flow, FlowKey};
use netd_abi::maps::{ATTACHMENTS, CONFIG, COUNTERS, DROPS, ENDS, HAPPENED, REASONS, RULE_HITS, SPILLED};
use netd_abi::{Attachment, Counters, Direction, Happened, MapSpec, Why};

use netd_core::policy::book::steps::Sets;

use super::laws::Laws;
use super::older::OlderCounters;
use super::pins::{self, Pins};
use super::places::Places;
use super::reasons::Reasons;
use super::revision::Revision;
use super::switch::Switch;
use super::table::FlowTable;
use super::{BpfError, Cause, older};

/// All maps, each with what older layouts of it left.
pub(crate) struct Maps {
    /// From interface to attachment.
    pub(crate) attachments: Attachments,
    /// Per attachment and direction.
    pub(crate) counters: CounterArray,
    /// Per reason and direction.
    pub(crate) drops: CounterArray,
    /// Per rule.
    pub(crate) hits: CounterArray,
    /// Per attachment, direction and reason.
    pub(crate) reasons: Reasons,
    /// What rule sets and addresses say.
    pub(crate) laws: Laws,
    /// Who is where.
    pub(crate) places: Places,
    /// What the programs gave up.
    pub(crate) happened: PerCpuArray<MapData, u64>,
    /// Flows, to be counted.
    pub(crate) flows: FlowTable,
    /// Those that found no room there.
    pub(crate) spilled: HashMap<MapData, FlowKey, Flow>,
    /// What holds for all programs.
    pub(crate) switch: Switch,
    /// How often what policy is judged by has changed.
    pub(crate) revision: Revision,
    ids: BTreeSet<u32>,
}

impl Maps {
    /// Opens the pins of today's layout and takes over what older ones hold.
    pub(crate) fn open(pins: &Pins) -> Result<Self, BpfError> {
        let revision = Revision::open(pins)?;
        let mut attachments = Attachments::open(pins, revision.clone())?;
        for path in pins.older(&ATTACHMENTS)? {
            let Some(taken) = known(older::attachments(&path))? else { continue };
            for (ifindex, attachment) in taken {
                if !attachments.known.contains_key(&ifindex) {
                    attachments.put(ifindex, attachment)?;
                }
            }
            pins::remove(&path)?;
        }
        let ids = netd_abi::MAPS.iter().map(|spec| number(&pins.map(spec))).collect::<Result<_, _>>()?;
        Ok(Self {
            attachments,
            counters: CounterArray::open(pins, &COUNTERS)?,
            drops: CounterArray::open(pins, &DROPS)?,
            hits: CounterArray::open(pins, &RULE_HITS)?,
            reasons: Reasons::open(&pins.map(&REASONS))?,
            laws: Laws::open(pins, revision.clone())?,
            places: Places::open(pins, &revision)?,
            happened: typed(&pins.map(&HAPPENED))?,
            flows: FlowTable::open(pins)?,
            spilled: typed(&pins.map(&SPILLED))?,
            switch: Switch::open(&pins.map(&CONFIG))?,
            revision,
            ids,
        })
    }

    /// The kernel's numbers of all maps that programs use.
    pub(crate) fn ids(&self) -> BTreeSet<u32> {
        self.ids.clone()
    }

    /// How many flows there are: in the table, and spilled.
    pub(crate) fn flow_count(&self) -> [u64; 2] {
        [self.flows.count().0 as u64, self.spilled.keys().filter(Result::is_ok).count() as u64]
    }

    /// How often something happened.
    pub(crate) fn happened(&self, what: Happened) -> Result<u64, BpfError> {
        let values = self.happened.get(&what.number(), 0);
        let values = values.map_err(|error| BpfError::new("read the map HAPPENED".to_owned(), error.into()))?;
        Ok(values.iter().sum())
    }
}

/// Map `ATTACHMENTS`. The daemon alone writes it, so that what it last read or wrote is kept beside it.
pub(crate) struct Attachments {
    map: HashMap<MapData, u32, Attachment>,
    ends: Array<MapData, End>,
    known: BTreeMap<u32, Attachment>,
    ifindexes: BTreeMap<u32, u32>,
    revision: Revision,
}

impl Attachments {
    fn open(pins: &Pins, revision: Revision) -> Result<Self, BpfError> {
        let (map, ends) = (typed(&pins.map(&ATTACHMENTS))?, typed(&pins.map(&ENDS))?);
        let mut opened = Self { map, ends, known: BTreeMap::new(), ifindexes: BTreeMap::new(), revision };
        opened.read()?;
        opened.mend_ends()?;
        Ok(opened)
    }

    /// What stands in map `ENDS` is what map `ATTACHMENTS` says: a daemon may have ended between its writes to both.
    fn mend_ends(&mut self) -> Result<(), BpfError> {
        for (ifindex, attachment) in self.known.clone() {
            let there =
                self.ends.get(&place_of(ifindex), 0).map_err(|error| BpfError::new("read the map ENDS".to_owned(), error.into()))?;
            if there != attachment.end {
                self.put_end(ifindex, attachment.end)?;
            }
        }
        Ok(())
    }

    /// Whether another interface that is there has its place in map `ENDS`.
    fn shares_with(&self, ifindex: u32) -> Result<bool, BpfError> {
        let there = self.ends.get(&place_of(ifindex), 0).map_err(|error| BpfError::new("read the map ENDS".to_owned(), error.into()))?;
        Ok(there.ifindex != ifindex && self.known.contains_key(&there.ifindex))
    }

    /// Lets the programs find an interface without a search, where no other has its place.
    fn put_end(&mut self, ifindex: u32, end: End) -> Result<(), BpfError> {
        if self.shares_with(ifindex)? {
            return Ok(());
        }
        let tried = || format!("put interface #{ifindex} into the map ENDS");
        self.ends.set(place_of(ifindex), end, 0).map_err(|error| BpfError::new(tried(), error.into()))
    }

    /// Reads the whole map: interface to attachment.
    pub(crate) fn read(&mut self) -> Result<&BTreeMap<u32, Attachment>, BpfError> {
        let all: Result<BTreeMap<u32, Attachment>, MapError> = self.map.iter().collect();
        self.known = all.map_err(|error| BpfError::new("read the map ATTACHMENTS".to_owned(), error.into()))?;
        self.ifindexes = self.known.iter().map(|(ifindex, attachment)| (attachment.slot, *ifindex)).collect();
        Ok(&self.known)
    }

    /// What all interfaces are, as last read or written.
    pub(crate) fn all(&self) -> &BTreeMap<u32, Attachment> {
        &self.known
    }

    /// What this interface is, as last read or written.
    pub(crate) fn get(&self, ifindex: u32) -> Option<Attachment> {
        self.known.get(&ifindex).copied()
    }

    /// What each slot's entry says of policy.
    pub(crate) fn sets(&self) -> BTreeMap<u32, Sets> {
        let sets =
            |attachment: &Attachment| Sets { generation: attachment.generation, ingress: attachment.ingress, egress: attachment.egress };
        let all = self.known.values().map(|attachment| (attachment.slot, sets(attachment)));
        all.filter(|(_, sets)| *sets != Sets::default()).collect()
    }

    /// Which interface has this slot.
    pub(crate) fn ifindex_of(&self, slot: u32) -> Option<u32> {
        self.ifindexes.get(&slot).copied()
    }

    /// Lets the programs count this interface under its slot, and lead what comes in by it to its pacer.
    pub(crate) fn put(&mut self, ifindex: u32, attachment: Attachment) -> Result<(), BpfError> {
        let slot = attachment.slot;
        let tried = || format!("put interface #{ifindex} with slot {slot} into the map ATTACHMENTS");
        if slot >= ATTACHMENTS.entries {
            return Err(BpfError::new(tried(), Cause::NoSuchSlot(slot)));
        }
        let put = self.map.insert(ifindex, attachment, 0);
        self.revision.next();
        put.map_err(|error| BpfError::new(tried(), error.into()))?;
        if self.known.get(&ifindex).is_none_or(|before| before.end != attachment.end) {
            self.put_end(ifindex, attachment.end)?;
        }
        if let Some(before) = self.known.insert(ifindex, attachment).filter(|before| before.slot != slot) {
            self.ifindexes.remove(&before.slot);
        }
        self.ifindexes.insert(slot, ifindex);
        Ok(())
    }

    /// Forgets an interface. None is no error.
    pub(crate) fn remove(&mut self, ifindex: u32) -> Result<(), BpfError> {
        // First here: what is not found here is looked for in the map.
        if self.known.contains_key(&ifindex) {
            self.put_end(ifindex, End::default())?;
        }
        let removed = self.map.remove(&ifindex);
        self.revision.next();
        match removed {
            Err(error) if !is_absent(&error) => {
                return Err(BpfError::new(format!("remove interface #{ifindex} from the map ATTACHMENTS"), error.into()));
            }
            _ => {}
        }
        if let Some(before) = self.known.remove(&ifindex).filter(|before| self.ifindexes.get(&before.slot) == Some(&ifindex)) {
            self.ifindexes.remove(&before.slot);
        }
        Ok(())
    }
}

/// A map of counters: what the programs count now, and what those of an older layout counted.
pub(crate) struct CounterArray {
    map: PerCpuArray<MapData, Counters>,
    name: &'static str,
    older: Vec<OlderCounters>,
    cpus: usize,
}

impl CounterArray {
    fn open(pins: &Pins, spec: &MapSpec) -> Result<Self, BpfError> {
        let path = pins.map(spec);
        let map = typed(&path)?;
        let cpus = aya::util::nr_cpus().map_err(|(file, error)| BpfError::new(format!("read {file}"), error.into()))?;
        let mut older = Vec::new();
        for path in pins.older(spec)? {
            older.extend(known(OlderCounters::open(&path, cpus))?);
        }
        Ok(Self { map, name: spec.name, older, cpus })
    }

    /// The sum over all CPUs at this place.
    pub(crate) fn get(&self, at: u32) -> Result<Counters, BpfError> {
        let values =
            self.map.get(&at, 0).map_err(|error| BpfError::new(format!("read counter {at} of the map {}", self.name), error.into()))?;
        let now = values.iter().fold(Counters::ZERO, |sum, cpu| sum.plus(*cpu));
        self.older.iter().try_fold(now, |sum, older| Ok(sum.plus(older.get(at)?)))
    }

    /// Sets this place to zero. What is counted at the same moment may be lost: only for a slot that nobody uses.
    pub(crate) fn zero(&mut self, at: u32) -> Result<(), BpfError> {
        let tried = || format!("zero counter {at} of the map {}", self.name);
        let zero = PerCpuValues::try_from(vec![Counters::ZERO; self.cpus]).map_err(|error| BpfError::new(tried(), error.into()))?;
        self.map.set(at, zero, 0).map_err(|error| BpfError::new(tried(), error.into()))?;
        self.older.iter().try_for_each(|older| older.zero(at))
    }
}

/// What each reason counted, in both directions.
pub(crate) fn reasons(drops: &CounterArray) -> Result<Vec<(Why, [Counters; 2])>, BpfError> {
    let [from, to] = Direction::ALL;
    Why::ALL.into_iter().map(|why| Ok((why, [drops.get(why.counter_of(from))?, drops.get(why.counter_of(to))?]))).collect()
}

/// A map of another layout, if it is one that can be read. One that cannot stays pinned and is said, and netd goes on without it.
fn known<T>(older: Result<T, BpfError>) -> Result<Option<T>, BpfError> {
    match older {
        Err(error) if matches!(error.cause, Cause::UnknownLayout) => {
            tracing::warn!(why = error.line(), "left a map of another layout alone");
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// The map pinned here, as what it is.
pub(super) fn typed<T: TryFrom<Map, Error = MapError>>(path: &Path) -> Result<T, BpfError> {
    let data = MapData::from_pin(path).map_err(|error| opening(path, error))?;
    Map::from_map_data(data).and_then(T::try_from).map_err(|error| opening(path, error))
}

/// The kernel's number of the map pinned here.
fn number(path: &Path) -> Result<u32, BpfError> {
    let data = MapData::from_pin(path).map_err(|error| opening(path, error))?;
    Ok(data.info().map_err(|error| opening(path, error))?.id())
}

fn opening(path: &Path, error: MapError) -> BpfError {
    BpfError::new(format!("open the map pinned at {}", path.display()), error.into())
}

/// Whether the kernel says that there is no such entry.
pub(super) fn is_absent(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound | MapError::ElementNotFound => true,
        MapError::SyscallError(error) => error.io_error.raw_os_error() == Some(libc::ENOENT),
        _ => false,
    }
}
