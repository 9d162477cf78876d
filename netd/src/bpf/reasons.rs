//! Map `REASONS`: what did not simply go on, by attachment, direction and reason. Never says whose a slot is.

use std::path::Path;

use aya::maps::{MapData, PerCpuHashMap};
use netd_abi::counters::reason_key;
use netd_abi::{Counters, Direction, Why};

use super::BpfError;
use super::maps::{is_absent, typed};

/// See the module.
pub(crate) struct Reasons {
    map: PerCpuHashMap<MapData, u32, Counters>,
}

impl Reasons {
    /// The map pinned here.
    pub(crate) fn open(path: &Path) -> Result<Self, BpfError> {
        Ok(Self { map: typed(path)? })
    }

    /// What was counted for an attachment, where anything was.
    pub(crate) fn of(&self, slot: u32) -> Result<Vec<(Direction, Why, Counters)>, BpfError> {
        let mut all = Vec::new();
        for direction in Direction::ALL {
            for why in Why::ALL {
                match self.map.get(&reason_key(slot, direction, why), 0) {
                    Ok(values) => all.push((direction, why, values.iter().fold(Counters::ZERO, |sum, cpu| sum.plus(*cpu)))),
                    Err(error) if is_absent(&error) => {}
                    Err(error) => return Err(BpfError::new(format!("read what the map REASONS has of slot {slot}"), error.into())),
                }
            }
        }
        Ok(all)
    }

    /// Forgets what was counted for an attachment.
    pub(crate) fn zero(&mut self, slot: u32) -> Result<(), BpfError> {
        for direction in Direction::ALL {
            for why in Why::ALL {
                match self.map.remove(&reason_key(slot, direction, why)) {
                    Err(error) if !is_absent(&error) => {
                        return Err(BpfError::new(format!("forget what the map REASONS has of slot {slot}"), error.into()));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
