//! The maps that policy is in: `RULES`, `SETS`, `ADDRESSES`, `NETS`. Writes what it is told; never decides what holds.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, MapData, MapError};
use netd_abi::maps::{ADDRESSES, NETS, RULES, SETS};
use netd_abi::policy::{AddressKey, AddressValue, GENERATION_BITS, RuleKey, RuleValue, SetValue};
use netd_core::policy::book::steps::Write;

use super::BpfError;
use super::maps::{is_absent, typed};
use super::pins::Pins;
use super::revision::Revision;

/// See the module.
pub(crate) struct Laws {
    rules: HashMap<MapData, RuleKey, RuleValue>,
    sets: HashMap<MapData, u32, SetValue>,
    addresses: HashMap<MapData, AddressKey, AddressValue>,
    nets: LpmTrie<MapData, AddressKey, AddressValue>,
    revision: Revision,
}

impl Laws {
    /// The maps pinned here.
    pub(crate) fn open(pins: &Pins, revision: Revision) -> Result<Self, BpfError> {
        Ok(Self {
            rules: typed(&pins.map(&RULES))?,
            sets: typed(&pins.map(&SETS))?,
            addresses: typed(&pins.map(&ADDRESSES))?,
            nets: typed(&pins.map(&NETS))?,
            revision,
        })
    }

    /// One change. What shall be gone and is gone is no error; counters are not kept here.
    pub(crate) fn write(&mut self, write: &Write) -> Result<(), BpfError> {
        let done = match write {
            Write::PutRule(key, value) => self.rules.insert(key, value, 0),
            Write::DelRule(key) => gone(self.rules.remove(key)),
            Write::PutSet(number, value) => self.sets.insert(number, value, 0),
            Write::DelSet(number) => gone(self.sets.remove(number)),
            Write::PutAddress(key, value) => self.addresses.insert(key, value, 0),
            Write::DelAddress(key) => gone(self.addresses.remove(key)),
            Write::PutNet(key, bits, value) => self.nets.insert(&net(*key, *bits), value, 0),
            Write::DelNet(key, bits) => gone(self.nets.remove(&net(*key, *bits))),
            Write::ZeroRule(_) => Ok(()),
        };
        self.revision.next();
        done.map_err(|error| BpfError::new(format!("run `{write}`"), error.into()))
    }

    /// The highest number of a rule set, an identity or a generation that is in use.
    pub(crate) fn highest(&self) -> Result<u32, BpfError> {
        let failed = |error: MapError| BpfError::new("read the maps of policy".to_owned(), error.into());
        let mut highest = 0;
        for key in self.rules.keys() {
            let key = key.map_err(failed)?;
            highest = highest.max(key.set).max(key.identity);
        }
        for number in self.sets.keys() {
            highest = highest.max(number.map_err(failed)?);
        }
        for entry in self.addresses.iter() {
            let (key, value) = entry.map_err(failed)?;
            highest = highest.max(key.generation).max(value.identity).max(value.dns);
        }
        for entry in self.nets.iter() {
            let (key, value) = entry.map_err(failed)?;
            highest = highest.max(key.data().generation).max(value.identity).max(value.dns);
        }
        Ok(highest)
    }

    /// Makes the maps hold these entries and no others: what an earlier daemon left goes, what is missing comes. Says how many were changed.
    pub(crate) fn hold_only(&mut self, entries: impl Iterator<Item = Write>) -> Result<u64, BpfError> {
        let failed = |error: MapError| BpfError::new("read the maps of policy".to_owned(), error.into());
        let (mut rules, mut sets) = (BTreeMap::new(), BTreeMap::new());
        let (mut addresses, mut nets) = (BTreeMap::new(), BTreeMap::new());
        for entry in entries {
            match entry {
                Write::PutRule(key, value) => drop(rules.insert(key, value)),
                Write::PutSet(number, value) => drop(sets.insert(number, value)),
                Write::PutAddress(key, value) => drop(addresses.insert(key, value)),
                Write::PutNet(key, bits, value) => drop(nets.insert((key, bits), value)),
                _ => {}
            }
        }
        let (mut changes, mut seen) = (Vec::new(), BTreeSet::new());
        let mut compare = |put: Write, del: Write, wanted: Option<Write>| {
            match wanted {
                Some(wanted) if wanted == put => {}
                Some(wanted) => changes.push(wanted),
                None => changes.push(del),
            }
            seen.insert(del);
        };
        for entry in self.rules.iter() {
            let (key, value) = entry.map_err(failed)?;
            compare(Write::PutRule(key, value), Write::DelRule(key), rules.get(&key).map(|value| Write::PutRule(key, *value)));
        }
        for entry in self.sets.iter() {
            let (number, value) = entry.map_err(failed)?;
            compare(Write::PutSet(number, value), Write::DelSet(number), sets.get(&number).map(|value| Write::PutSet(number, *value)));
        }
        for entry in self.addresses.iter() {
            let (key, value) = entry.map_err(failed)?;
            compare(Write::PutAddress(key, value), Write::DelAddress(key), addresses.get(&key).map(|value| Write::PutAddress(key, *value)));
        }
        for entry in self.nets.iter() {
            let (longest, value) = entry.map_err(failed)?;
            let (key, bits) = (longest.data(), longest.prefix_len().saturating_sub(GENERATION_BITS) as u8);
            let wanted = nets.get(&(key, bits)).map(|value| Write::PutNet(key, bits, *value));
            compare(Write::PutNet(key, bits, value), Write::DelNet(key, bits), wanted);
        }
        let missing = rules.iter().map(|(key, value)| (Write::PutRule(*key, *value), Write::DelRule(*key)));
        let missing = missing.chain(sets.iter().map(|(number, value)| (Write::PutSet(*number, *value), Write::DelSet(*number))));
        let missing = missing.chain(addresses.iter().map(|(key, value)| (Write::PutAddress(*key, *value), Write::DelAddress(*key))));
        let missing =
            missing.chain(nets.iter().map(|((key, bits), value)| (Write::PutNet(*key, *bits, *value), Write::DelNet(*key, *bits))));
        changes.extend(missing.filter(|(_, del)| !seen.contains(del)).map(|(put, _)| put));
        changes.iter().try_for_each(|change| self.write(change))?;
        Ok(changes.len() as u64)
    }
}

fn net(key: AddressKey, bits: u8) -> Key<AddressKey> {
    Key::new(GENERATION_BITS + u32::from(bits), key)
}

/// Gone already is as good.
fn gone(removed: Result<(), MapError>) -> Result<(), MapError> {
    match removed {
        Err(error) if is_absent(&error) => Ok(()),
        other => other,
    }
}
