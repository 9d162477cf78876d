//! Numbers for those whom rules tell apart: what they are taken for, and in which class of addresses. Never says what rules answer them.

use std::collections::{BTreeMap, BTreeSet};

use netd_abi::policy::ANYBODY;

use super::{
    division::NO_CLASS,
    law::{Law, Ports, Who},
};

/// What makes an identity.
pub(super) type Key = (Who, u32);

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) key: Key,
    /// Kinds of peers that it is a member of, ascending.
    pub(super) atoms: Vec<u32>,
    /// Addresses, and classes of addresses, that have it.
    pub(super) users: usize,
}

impl Identity {
    /// What it calls its ports.
    pub(super) fn ports(&self) -> Option<&Ports> {
        match &self.key.0 {
            Who::Pod(signature) => Some(&signature.ports),
            Who::World | Who::Host => None,
        }
    }
}

/// All of them but [`ANYBODY`], who is the world outside all blocks.
#[derive(Debug, Clone, Default)]
pub(super) struct Identities {
    by_key: BTreeMap<Key, u32>,
    pub(super) all: BTreeMap<u32, Identity>,
    members: BTreeMap<u32, BTreeSet<u32>>,
}

fn is_anybody(key: &Key) -> bool {
    *key == (Who::World, NO_CLASS)
}

impl Identities {
    /// The number of an identity that there is.
    pub(super) fn number(&self, key: &Key) -> Option<u32> {
        if is_anybody(key) { Some(ANYBODY) } else { self.by_key.get(key).copied() }
    }

    /// Makes one that nobody uses yet.
    pub(super) fn add(&mut self, law: &Law, key: Key, number: u32) {
        let atoms = law.atoms_of(&key.0, key.1);
        self.insert(number, Identity { key, atoms, users: 0 });
    }

    fn insert(&mut self, number: u32, identity: Identity) {
        for atom in &identity.atoms {
            self.members.entry(*atom).or_default().insert(number);
        }
        self.by_key.insert(identity.key.clone(), number);
        self.all.insert(number, identity);
    }

    /// Takes away one that nobody uses any more.
    pub(super) fn remove(&mut self, number: u32) {
        if let Some(identity) = self.all.remove(&number) {
            self.by_key.remove(&identity.key);
            for atom in &identity.atoms {
                if let Some(members) = self.members.get_mut(atom) {
                    members.remove(&number);
                }
            }
        }
    }

    pub(super) fn use_one(&mut self, number: u32) {
        if let Some(identity) = self.all.get_mut(&number) {
            identity.users += 1;
        }
    }

    /// Whether nobody uses it now.
    pub(super) fn leave_one(&mut self, number: u32) -> bool {
        self.all.get_mut(&number).is_some_and(|identity| {
            identity.users -= 1;
            identity.users == 0
        })
    }

    /// Who is a member of some of these kinds of peers.
    pub(super) fn members(&self, atoms: impl Iterator<Item = u32>) -> BTreeSet<u32> {
        let atoms: BTreeSet<u32> = atoms.collect();
        atoms.iter().filter_map(|atom| self.members.get(atom)).flatten().copied().collect()
    }

    /// The same under other numbers.
    pub(super) fn renumbered(self, renumber: impl Fn(u32) -> u32) -> Self {
        let mut renumbered = Self::default();
        for (number, identity) in self.all {
            renumbered.insert(renumber(number), identity);
        }
        renumbered
    }
}
