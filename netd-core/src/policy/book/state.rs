//! What the maps hold, and why: containers, addresses, identities and rule sets of one law. Never compares two laws.

mod admit;
mod place;
mod renumber;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use netd_abi::policy::{ANYBODY, AddressKey, AddressValue, NO_SET, RuleKey};
use netd_api::{
    names::{LabelKey, LabelValue},
    publish::Protocol,
};

use super::{
    division::{NO_CLASS, bits},
    identity::{Identities, Key},
    law::{Content, Law, Who},
    set::Set,
    steps::{Sets, Write},
    wish::{Direction, Host, Placed, Pod},
};

/// Gives numbers for generations, identities and rule sets, each once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counter(pub(super) u32);

impl Counter {
    pub(super) fn next(&mut self) -> u32 {
        let number = self.0;
        // After four billion it begins anew: what had those numbers has long gone.
        self.0 = number.checked_add(1).unwrap_or(1);
        number
    }
}

/// A container as policies see it.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// Attachments of such containers.
    pub(super) users: usize,
    pub(super) who: Who,
    /// Its rule sets, or [`NO_SET`], by direction.
    pub(super) sets: [u32; 2],
}

#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) law: Arc<Law>,
    pub(super) generation: u32,
    pub(super) identities: Identities,
    pub(super) sets: BTreeMap<u32, Set>,
    by_content: [BTreeMap<Content, u32>; 2],
    pub(super) facts: BTreeMap<Arc<Pod>, Facts>,
    pub(super) slots: BTreeMap<u32, Placed>,
    /// Attachments by address; the lowest counts.
    owners: BTreeMap<u128, BTreeSet<u32>>,
    /// The host's addresses, and whether each is a gateway.
    host: BTreeMap<u128, bool>,
    /// What the DNS server on gateways is taken for.
    dns: Option<Who>,
    /// What addresses with an owner are.
    pub(super) values: BTreeMap<u128, AddressValue>,
    /// What addresses of a class without an owner are, by class.
    pub(super) world: Vec<u32>,
    pub(super) rules: usize,
    pub(super) addresses: usize,
    pub(super) nets: usize,
}

/// The DNS server as the container that people's policies mean.
fn dns_pod() -> Option<Pod> {
    let label: (LabelKey, LabelValue) = ("k8s-app".parse().ok()?, "kube-dns".parse().ok()?);
    let ports = [("dns", Protocol::Udp), ("dns-tcp", Protocol::Tcp)].map(|(name, protocol)| (name.to_owned(), vec![(protocol, 53)]));
    Some(Pod { namespace: "kube-system".parse().ok()?, labels: [label].into(), ports: ports.into() })
}

impl State {
    /// Of a law, with the host and no container.
    pub(super) fn new(law: Arc<Law>, host: &Host, counter: &mut Counter) -> Self {
        let mut state = Self { law, ..Self::default() };
        if state.law.is_idle() {
            return state;
        }
        state.generation = counter.next();
        for class in 0..u32::try_from(state.law.division.classes.len()).unwrap_or(u32::MAX) {
            let number = state.identify(&(Who::World, class), counter);
            state.identities.use_one(number);
            state.world.push(number);
        }
        state.nets = state.law.division.prefixes.keys().filter(|(_, length)| *length < 128).count();
        state.addresses = state.law.division.prefixes.len() - state.nets;
        state.dns = dns_pod().map(|pod| state.law.who(&pod));
        state.host = host.addresses.iter().map(|address| (bits(*address), false)).collect();
        state.host.extend(host.gateways.iter().map(|address| (bits(*address), true)));
        for address in state.host.keys().copied().collect::<Vec<_>>() {
            state.settle(address, None, counter);
        }
        state
    }

    /// The number of an identity, made if need be.
    fn identify(&mut self, key: &Key, counter: &mut Counter) -> u32 {
        self.identities.number(key).unwrap_or_else(|| {
            let number = counter.next();
            self.identities.add(&self.law, key.clone(), number);
            number
        })
    }

    /// Whom an address is taken for, and who answers on its port 53, when these attachments have it; none: nobody has it.
    fn owner(&self, address: u128, attachment: Option<&Who>) -> Option<(Key, Option<Key>)> {
        let class = self.law.division.class_of(address);
        match (attachment, self.host.get(&address)) {
            (Some(who), _) => Some(((who.clone(), class), None)),
            (None, Some(is_gateway)) => {
                let host = self.law.who_host();
                let dns = self.dns.as_ref().filter(|_| *is_gateway).map(|who| match who {
                    // Not the host, though no rule knows it: a zero would say that it is.
                    Who::World if host == Who::Host => (Who::Pod(Arc::default()), class),
                    who => (who.clone(), class),
                });
                Some(((host, class), dns))
            }
            (None, None) => None,
        }
    }

    /// Gives an address to its owner, and returns what it was and is in map `ADDRESSES`, as far as it is there.
    fn settle(&mut self, address: u128, attachment: Option<&Who>, counter: &mut Counter) -> (Option<AddressValue>, Option<AddressValue>) {
        let before = self.stored(address);
        let value = self.owner(address, attachment).map(|(key, dns)| {
            let identity = self.identify(&key, counter);
            let dns = dns.map_or(0, |key| self.identify(&key, counter));
            AddressValue { identity, dns: if dns == identity { 0 } else { dns } }
        });
        let old = match value {
            Some(value) => {
                self.identities.use_one(value.identity);
                self.identities.use_one(value.dns);
                self.values.insert(address, value)
            }
            None => self.values.remove(&address),
        };
        if let Some(old) = old {
            for number in [old.identity, old.dns] {
                self.identities.leave_one(number);
            }
        }
        let after = self.stored(address);
        self.addresses = self.addresses + usize::from(after.is_some()) - usize::from(before.is_some());
        (before, after)
    }

    /// What an address is, by its owner or its class.
    pub(super) fn value(&self, address: u128) -> AddressValue {
        let world = || AddressValue { identity: self.world_at(address, 128), dns: 0 };
        self.values.get(&address).copied().unwrap_or_else(world)
    }

    fn world_at(&self, address: u128, most: u8) -> u32 {
        let division = &self.law.division;
        let class = division.prefix_of(address, most).map_or(NO_CLASS, |prefix| division.prefixes[&prefix]);
        self.world.get(class as usize).copied().unwrap_or(ANYBODY)
    }

    /// What map `ADDRESSES` says of an address: nothing where map `NETS` says the same.
    pub(super) fn stored(&self, address: u128) -> Option<AddressValue> {
        let value = self.value(address);
        (value != AddressValue { identity: self.world_at(address, 127), dns: 0 }).then_some(value)
    }

    /// All of map `ADDRESSES`, in order.
    pub(super) fn all_stored(&self) -> impl Iterator<Item = (u128, AddressValue)> + '_ {
        let exact = self.law.division.prefixes.keys().filter(|(_, length)| *length == 128).map(|(address, _)| *address);
        let all: BTreeSet<u128> = exact.chain(self.values.keys().copied()).collect();
        all.into_iter().filter_map(|address| Some((address, self.stored(address)?)))
    }

    /// All of map `NETS`, in order.
    pub(super) fn all_nets(&self) -> impl Iterator<Item = (u128, u8, AddressValue)> + '_ {
        let nets = self.law.division.prefixes.iter().filter(|((_, length), _)| *length < 128);
        nets.map(|((start, length), class)| (*start, *length, AddressValue { identity: self.world[*class as usize], dns: 0 }))
    }

    pub(super) fn key(&self, address: u128) -> AddressKey {
        AddressKey { generation: self.generation, address: address.to_be_bytes() }
    }

    /// Everything that the maps hold, in the order in which it may be written.
    pub(super) fn entries(&self) -> impl Iterator<Item = Write> + '_ {
        let rules = self.sets.iter().flat_map(|(number, set)| {
            let of_identity = set.entries.iter().flat_map(|(identity, entries)| entries.iter().map(move |entry| (*identity, entry)));
            of_identity.map(|(identity, (entry, value))| Write::PutRule(entry.key(*number, identity), *value))
        });
        let sets = self.sets.iter().map(|(number, set)| Write::PutSet(*number, set.value()));
        let nets = self.all_nets().map(|(start, length, value)| Write::PutNet(self.key(start), length, value));
        let addresses = self.all_stored().map(|(address, value)| Write::PutAddress(self.key(address), value));
        rules.chain(sets).chain(nets).chain(addresses)
    }

    /// What an attachment's entry says of policy.
    pub(super) fn sets_of(&self, slot: u32) -> Sets {
        let facts = self.slots.get(&slot).and_then(|placed| self.facts.get(&placed.pod));
        match facts.map_or([NO_SET; 2], |facts| facts.sets) {
            [NO_SET, NO_SET] => Sets::default(),
            [ingress, egress] => Sets { generation: self.generation, ingress, egress },
        }
    }

    /// Deletes for all entries of a set that go.
    pub(super) fn deletes(number: u32, identity: u32, entries: &super::set::Entries) -> impl Iterator<Item = Write> {
        let keys: Vec<RuleKey> = entries.iter().map(|(entry, _)| entry.key(number, identity)).collect();
        keys.into_iter().map(Write::DelRule)
    }

    pub(super) fn set_number(&self, direction: Direction, content: &Content) -> Option<u32> {
        self.by_content[direction.index()].get(content).copied()
    }
}
