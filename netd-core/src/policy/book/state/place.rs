//! One attachment comes, changes or goes. Never touches what other attachments need.

use std::{collections::BTreeSet, sync::Arc};

use netd_abi::policy::{ANYBODY, AddressValue, NO_SET};

use super::{Counter, Facts, State, admit::Admission};
use crate::policy::book::{
    division::bits,
    identity::Key,
    law::Who,
    limit::TooLarge,
    number::Register,
    set::{Entries, Set},
    steps::{Steps, Write},
    wish::Placed,
};

fn addresses(placed: Option<&Placed>) -> BTreeSet<u128> {
    placed.into_iter().flat_map(|placed| &placed.addresses).map(|address| bits(*address)).collect()
}

impl State {
    /// Says what an attachment is from now on, or with none that it has gone. On an error nothing is changed.
    pub(in crate::policy::book) fn place(
        &mut self,
        slot: u32,
        placed: Option<Placed>,
        counter: &mut Counter,
        register: &mut Register,
    ) -> Result<Steps, TooLarge> {
        if self.slots.get(&slot) == placed.as_ref() {
            return Ok(Steps::default());
        }
        if self.law.is_idle() {
            match placed {
                Some(placed) => self.slots.insert(slot, placed),
                None => self.slots.remove(&slot),
            };
            return Ok(Steps::default());
        }
        let mut admission = Admission::default();
        match self.prepare(slot, placed.as_ref(), &mut admission, counter, register) {
            Ok(facts) => Ok(self.commit(slot, placed, facts.as_ref(), admission, counter)),
            Err(error) => {
                self.dismiss(admission, register);
                Err(error)
            }
        }
    }

    fn prepare(
        &mut self,
        slot: u32,
        placed: Option<&Placed>,
        admission: &mut Admission,
        counter: &mut Counter,
        register: &mut Register,
    ) -> Result<Option<Facts>, TooLarge> {
        let facts = placed.map(|placed| self.facts_of(&placed.pod, admission, counter, register)).transpose()?;
        let new = addresses(placed);
        let mut keys: Vec<Key> = Vec::new();
        for address in addresses(self.slots.get(&slot)).union(&new) {
            let who = self.holder(*address, slot, new.contains(address).then_some(facts.as_ref()).flatten());
            if let Some((key, dns)) = self.owner(*address, who.as_ref()) {
                keys.push(key);
                keys.extend(dns);
            }
        }
        self.check_addresses(new.iter().filter(|address| self.stored(**address).is_none()).count())?;
        self.admit(keys, admission, counter)?;
        Ok(facts)
    }

    /// Whom the attachment with an address is taken for: the lowest one that has it, if `slot` is as `facts` say.
    fn holder(&self, address: u128, slot: u32, facts: Option<&Facts>) -> Option<Who> {
        let other = self.owners.get(&address).and_then(|slots| slots.iter().find(|other| **other != slot));
        match (other, facts) {
            (Some(other), Some(_)) if *other < slot => self.facts_at(*other),
            (_, Some(facts)) => Some(facts.who.clone()),
            (Some(other), None) => self.facts_at(*other),
            (None, None) => None,
        }
    }

    fn facts_at(&self, slot: u32) -> Option<Who> {
        Some(self.facts.get(&self.slots.get(&slot)?.pod)?.who.clone())
    }

    fn commit(&mut self, slot: u32, placed: Option<Placed>, facts: Option<&Facts>, admission: Admission, counter: &mut Counter) -> Steps {
        let mut steps = Steps { before: admission.writes, ..Steps::default() };
        let old_sets = self.sets_of(slot);
        let mut changed = BTreeSet::new();
        for (number, identity, entries) in admission.entries {
            steps.before.extend(entries.iter().map(|(entry, value)| Write::PutRule(entry.key(number, identity), *value)));
            self.rules += entries.len();
            if let Some(set) = self.sets.get_mut(&number) {
                let before = set.value();
                set.put(identity, entries);
                if set.value() != before {
                    changed.insert(number);
                }
            }
        }
        steps.before.extend(changed.into_iter().map(|number| Write::PutSet(number, self.sets[&number].value())));
        for (number, set) in admission.sets {
            for (identity, entries) in &set.entries {
                steps.before.extend(entries.iter().map(|(entry, value)| Write::PutRule(entry.key(number, *identity), *value)));
            }
            steps.before.push(Write::PutSet(number, set.value()));
            self.rules += set.len();
            self.by_content[set.direction.index()].insert(set.content.clone(), number);
            self.sets.insert(number, set);
        }
        let (was, is) = (self.slots.get(&slot).cloned(), addresses(placed.as_ref()));
        let old_addresses = addresses(was.as_ref());
        let mut left = BTreeSet::new();
        let settled: Vec<(u128, Option<Who>)> = old_addresses
            .union(&is)
            .map(|address| (*address, self.holder(*address, slot, is.contains(address).then_some(facts).flatten())))
            .collect();
        if let (Some(placed), Some(facts)) = (&placed, facts) {
            self.join(placed, facts);
        }
        for (address, who) in settled {
            let old = self.value(address);
            let (before, after) = self.settle(address, who.as_ref(), counter);
            match after {
                Some(value) if before != after => steps.before.push(Write::PutAddress(self.key(address), value)),
                None if before.is_some() => steps.before.push(Write::DelAddress(self.key(address))),
                _ => {}
            }
            let new = self.value(address);
            steps.rejudge |= self.differs(old, new);
            left.extend([old.identity, old.dns]);
            let owners = self.owners.entry(address).or_default();
            if is.contains(&address) {
                owners.insert(slot)
            } else {
                owners.remove(&slot)
            };
            if owners.is_empty() {
                self.owners.remove(&address);
            }
        }
        for identity in left {
            self.forget(identity, &mut steps.after);
        }
        match placed {
            Some(placed) => {
                self.slots.insert(slot, placed);
                if self.sets_of(slot) != old_sets {
                    steps.flips.insert(slot, self.sets_of(slot));
                    // An attachment that comes has no connections yet.
                    steps.rejudge |= was.is_some();
                }
            }
            None => {
                self.slots.remove(&slot);
            }
        }
        if let Some(was) = was {
            self.leave(&was, &mut steps.after);
        }
        steps
    }

    /// Whether any set answers two identities otherwise.
    fn differs(&self, old: AddressValue, new: AddressValue) -> bool {
        let dns = |value: AddressValue| if value.dns == 0 { value.identity } else { value.dns };
        [(old.identity, new.identity), (dns(old), dns(new))]
            .into_iter()
            .any(|(old, new)| old != new && self.sets.values().any(|set| entries(set, old) != entries(set, new)))
    }

    fn join(&mut self, placed: &Placed, facts: &Facts) {
        if !self.facts.contains_key(&placed.pod) {
            for number in facts.sets {
                if let Some(set) = self.sets.get_mut(&number) {
                    set.users += 1;
                }
            }
        }
        self.facts.entry(Arc::clone(&placed.pod)).or_insert_with(|| facts.clone()).users += 1;
    }

    fn leave(&mut self, placed: &Placed, after: &mut Vec<Write>) {
        let Some(facts) = self.facts.get_mut(&placed.pod) else { return };
        facts.users -= 1;
        if facts.users > 0 {
            return;
        }
        let sets = facts.sets;
        self.facts.remove(&placed.pod);
        for number in sets {
            let Some(set) = self.sets.get_mut(&number) else { continue };
            set.users -= 1;
            if set.users == 0 && number != NO_SET {
                for (identity, entries) in &set.entries {
                    after.extend(Self::deletes(number, *identity, entries));
                }
                after.push(Write::DelSet(number));
                self.rules -= set.len();
                self.by_content[set.direction.index()].remove(&set.content);
                self.sets.remove(&number);
            }
        }
    }

    /// Removes an identity that nobody uses any more, and what sets say of it.
    fn forget(&mut self, identity: u32, after: &mut Vec<Write>) {
        if self.identities.all.get(&identity).is_none_or(|identity| identity.users > 0) {
            return;
        }
        self.identities.remove(identity);
        for (number, set) in &mut self.sets {
            let before = set.value();
            let entries = set.take(identity);
            self.rules -= entries.len();
            after.extend(Self::deletes(*number, identity, &entries));
            if set.value() != before {
                after.push(Write::PutSet(*number, set.value()));
            }
        }
    }
}

fn entries(set: &Set, identity: u32) -> Option<&Entries> {
    if identity == ANYBODY { None } else { set.entries.get(&identity) }
}
