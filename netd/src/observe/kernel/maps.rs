//! The maps that flows are in, with descriptors of their own: they outlive their pins. Never decides what to delete.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use aya::maps::{Map, MapData, MapError, PerCpuArray, RingBuf};
use netd_abi::flow::{Denied, Event, Flow, FlowKey, Fragment, FragmentKey};
use netd_abi::{Happened, MapSpec, maps};

use super::table::Table;
use crate::bpf::pins::Pins;
use crate::bpf::table::FlowTable;
use crate::bpf::{BpfError, Cause};

/// Of each of these a record is missing that would have been told.
const LOST: [Happened; 4] = [Happened::RecordLost, Happened::DenialNotTold, Happened::EndNotTold, Happened::NewFlowGaveWay];

/// All of them.
pub(crate) struct FlowMaps {
    /// Flows.
    pub(crate) flows: FlowTable,
    /// Those that found no room there.
    pub(crate) spilled: Table<FlowKey, Flow>,
    /// What was denied lately.
    pub(crate) denied: Table<FlowKey, Denied>,
    /// What was said of first fragments.
    pub(crate) fragments: Table<FragmentKey, Fragment>,
    happened: PerCpuArray<MapData, u64>,
    events: RingBuf<MapData>,
}

impl FlowMaps {
    /// Opens those that are pinned in this directory.
    pub(crate) fn open(dir: &Path) -> Result<Self, BpfError> {
        let pins = Pins::open(dir)?;
        let open = |spec: &MapSpec| {
            let path = pins.map(spec);
            let opened = MapData::from_pin(&path).and_then(Map::from_map_data);
            opened.map_err(|error| BpfError::new(format!("open the map pinned at {}", path.display()), error.into()))
        };
        let shape = |error: MapError| BpfError::new(format!("use the maps pinned in {}", dir.display()), error.into());
        Ok(Self {
            flows: FlowTable::open(&pins)?,
            spilled: Table::open(&pins.map(&maps::SPILLED))?,
            denied: Table::open(&pins.map(&maps::DENIED))?,
            fragments: Table::open(&pins.map(&maps::FRAGMENTS))?,
            happened: open(&maps::HAPPENED)?.try_into().map_err(shape)?,
            events: open(&maps::EVENTS)?.try_into().map_err(shape)?,
        })
    }

    /// What to sleep on until there is a record.
    pub(crate) fn events_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// The next record of the ring buffer. One that is too short to be one of ours is passed over.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = Event::from_bytes(&self.events.next()?) {
                return Some(event);
            }
        }
    }

    /// How many records the programs could not tell since the maps were made.
    pub(crate) fn lost(&self) -> Result<u64, BpfError> {
        let failed = |error: MapError| BpfError::new("read the map HAPPENED".to_owned(), Cause::from(error));
        LOST.iter().try_fold(0_u64, |sum, happened| {
            let cpus = self.happened.get(&happened.number(), 0).map_err(failed)?;
            Ok(cpus.iter().fold(sum, |sum, cpu| sum.wrapping_add(*cpu)))
        })
    }

    /// Whether there is nothing to look after.
    pub(crate) fn are_empty(&self) -> Result<bool, BpfError> {
        Ok(self.flows.is_empty() && self.spilled.is_empty()? && self.denied.is_empty()?)
    }
}
