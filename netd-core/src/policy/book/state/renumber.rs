//! The same state under other numbers. Never changes what it says.

use std::collections::BTreeMap;

use netd_abi::policy::AddressValue;

use super::{Facts, State};
impl State {
    /// With another generation, and with other numbers for those identities and sets that are here by their present ones.
    pub(in crate::policy::book) fn renumbered(self, generation: u32, identities: &BTreeMap<u32, u32>, sets: &BTreeMap<u32, u32>) -> Self {
        let other = |numbers: &BTreeMap<u32, u32>, number: u32| numbers.get(&number).copied().unwrap_or(number);
        let identity = |number: u32| other(identities, number);
        let set = |number: u32| other(sets, number);
        let value = |value: AddressValue| AddressValue { identity: identity(value.identity), dns: identity(value.dns) };
        Self {
            generation,
            identities: self.identities.renumbered(identity),
            sets: self.sets.into_iter().map(|(number, of_number)| (set(number), of_number.renumbered(identity))).collect(),
            by_content: self.by_content.map(|by_content| by_content.into_iter().map(|(content, number)| (content, set(number))).collect()),
            facts: self.facts.into_iter().map(|(pod, facts)| (pod, Facts { sets: facts.sets.map(set), ..facts })).collect(),
            values: self.values.into_iter().map(|(address, of_address)| (address, value(of_address))).collect(),
            world: self.world.into_iter().map(identity).collect(),
            ..self
        }
    }
}
