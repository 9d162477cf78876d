//! From one law to another: what of the maps stays, what is written beside it, what is deleted then. Never computes a rule.

use std::collections::{BTreeMap, BTreeSet};

use netd_abi::policy::{ANYBODY, AddressValue, SetValue};

use super::{
    set::Set,
    state::State,
    steps::{Steps, Write},
};

/// Gives the new state the numbers that the old one has for the same, where that can be done so that every packet sees old or new alone.
/// Otherwise all of it stands beside the old one, under a generation of its own.
pub(super) fn keep_numbers(old: &State, new: State) -> State {
    let Some(identities) = same_identities(old, &new) else { return new };
    let sets = same_sets(old, &new, &identities);
    let other = |numbers: &BTreeMap<u32, u32>, number: u32| numbers.get(&number).copied().unwrap_or(number);
    let value = |value: AddressValue| AddressValue { identity: other(&identities, value.identity), dns: other(&identities, value.dns) };
    let flips = new.slots.keys().any(|slot| {
        let (old, new) = (old.sets_of(*slot), new.sets_of(*slot));
        (old.ingress, old.egress) != (other(&sets, new.ingress), other(&sets, new.egress))
    });
    let mut addresses = old.values.keys().chain(new.values.keys());
    // Entries of attachments and of addresses do not change in one moment; a new generation's do.
    if flips && addresses.any(|address| old.value(*address) != value(new.value(*address))) {
        return new;
    }
    new.renumbered(old.generation, &identities, &sets)
}

/// New identities by old ones, if they divide addresses in the same way.
fn same_identities(old: &State, new: &State) -> Option<BTreeMap<u32, u32>> {
    if old.law.is_idle() || new.law.is_idle() || !old.law.division.prefixes.keys().eq(new.law.division.prefixes.keys()) {
        return None;
    }
    let nets = old.law.division.prefixes.values().zip(new.law.division.prefixes.values());
    let nets = nets.map(|(old_class, new_class)| (old.world[*old_class as usize], new.world[*new_class as usize]));
    let values = new.values.iter().filter_map(|(address, new)| Some((old.values.get(address)?, new)));
    let values = values.flat_map(|(old, new)| [(old.identity, new.identity), (old.dns, new.dns)]);
    let (mut there, mut back) = (BTreeMap::from([(ANYBODY, ANYBODY)]), BTreeMap::from([(ANYBODY, ANYBODY)]));
    for (old, new) in nets.chain(values) {
        if *there.entry(new).or_insert(old) != old || *back.entry(old).or_insert(new) != new {
            return None;
        }
    }
    Some(there)
}

/// New sets by old ones that say the same of all identities that both have.
fn same_sets(old: &State, new: &State, identities: &BTreeMap<u32, u32>) -> BTreeMap<u32, u32> {
    let known = |state: &State, set: &Set| {
        (set.direction, state.law.names_of(&set.content).into_iter().cloned().collect::<Vec<_>>(), set.content.ports.clone())
    };
    let by_content: BTreeMap<_, u32> = old.sets.iter().map(|(number, set)| (known(old, set), *number)).collect();
    let in_both: BTreeSet<u32> = identities.values().copied().collect();
    let same = new.sets.iter().filter_map(|(number, set)| {
        let old_number = by_content.get(&known(new, set))?;
        let old_set = &old.sets[old_number];
        let of_old = old_set.entries.iter().filter(|(identity, _)| in_both.contains(identity));
        let of_new: BTreeMap<u32, _> =
            set.entries.iter().filter_map(|(identity, entries)| Some((*identities.get(identity)?, entries))).collect();
        (old_set.default == set.default && of_old.eq(of_new.iter().map(|(identity, entries)| (identity, *entries))))
            .then_some((*number, *old_number))
    });
    same.collect()
}

/// What leads from one state to the other, each of which fits (`State::place`, `State::check_world`).
pub(super) fn steps(old: &State, new: &State) -> Steps {
    let mut steps = Steps::default();
    sets(old, new, &mut steps);
    if old.generation == new.generation {
        for address in old.values.keys().chain(new.values.keys()).copied().collect::<BTreeSet<_>>() {
            match (old.stored(address), new.stored(address)) {
                (before, Some(after)) if before != Some(after) => steps.before.push(Write::PutAddress(new.key(address), after)),
                (Some(_), None) => steps.before.push(Write::DelAddress(new.key(address))),
                _ => {}
            }
            steps.rejudge |= old.value(address) != new.value(address);
        }
    } else {
        steps.before.extend(new.all_nets().map(|(start, length, value)| Write::PutNet(new.key(start), length, value)));
        steps.before.extend(new.all_stored().map(|(address, value)| Write::PutAddress(new.key(address), value)));
        steps.after.extend(old.all_nets().map(|(start, length, _)| Write::DelNet(old.key(start), length)));
        steps.after.extend(old.all_stored().map(|(address, _)| Write::DelAddress(old.key(address))));
    }
    let flips = new.slots.keys().filter(|slot| old.sets_of(**slot) != new.sets_of(**slot));
    steps.flips = flips.map(|slot| (*slot, new.sets_of(*slot))).collect();
    steps.rejudge |= !steps.flips.is_empty();
    steps
}

fn sets(old: &State, new: &State, steps: &mut Steps) {
    for (number, set) in &new.sets {
        let before = old.sets.get(number);
        for (identity, entries) in &set.entries {
            if before.is_none_or(|before| !before.entries.contains_key(identity)) {
                steps.before.extend(entries.iter().map(|(entry, value)| Write::PutRule(entry.key(*number, *identity), *value)));
            }
        }
        let value = set.value();
        // Until the last entry has gone its length is looked for.
        let meanwhile = before.map_or(value, |before| SetValue { prefixes: before.value().prefixes | value.prefixes, ..value });
        if before.map(Set::value) != Some(meanwhile) {
            steps.before.push(Write::PutSet(*number, meanwhile));
        }
    }
    for (number, set) in &old.sets {
        let after = new.sets.get(number);
        for (identity, entries) in &set.entries {
            if after.is_none_or(|after| !after.entries.contains_key(identity)) {
                steps.after.extend(State::deletes(*number, *identity, entries));
            }
        }
        match after.map(Set::value) {
            None => steps.after.push(Write::DelSet(*number)),
            Some(value) if set.value().prefixes & !value.prefixes != 0 => steps.after.push(Write::PutSet(*number, value)),
            Some(_) => {}
        }
    }
}
