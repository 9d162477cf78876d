//! The maps of policy in memory. They hold what they are given; nobody is judged by them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use netd_core::{
    firewall::element::Publish,
    policy::book::steps::{Sets, Steps, Write},
};

/// What an earlier daemon leaves to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdicts {
    /// The entries, by what would take each away.
    entries: BTreeMap<Write, Write>,
    /// What the entries of attachments say of policy, by number.
    pub(crate) sets: BTreeMap<u32, Sets>,
    /// The host's addresses.
    pub(crate) hosts: BTreeSet<IpAddr>,
    /// All published ports.
    pub(crate) published: BTreeSet<Publish>,
    /// Whether the short way is taken.
    pub(crate) fast_path: bool,
}

impl Verdicts {
    pub(super) fn enforce(&mut self, steps: &Steps) {
        steps.before.iter().for_each(|write| self.write(*write));
        self.sets.extend(&steps.flips);
        self.sets.retain(|_, sets| *sets != Sets::default());
        steps.after.iter().for_each(|write| self.write(*write));
    }

    pub(super) fn hold(&mut self, entries: &[Write]) {
        self.entries.clear();
        entries.iter().for_each(|write| self.write(*write));
    }

    pub(super) fn inform(&mut self, hosts: &BTreeSet<IpAddr>, published: Option<&BTreeSet<Publish>>, fast_path: bool) {
        self.hosts.clone_from(hosts);
        if let Some(published) = published {
            self.published.clone_from(published);
        }
        self.fast_path = fast_path;
    }

    /// The highest number that anything has here.
    pub(super) fn highest(&self) -> u32 {
        let of_entries = self.entries.values().map(|entry| match entry {
            Write::PutRule(key, _) => key.set.max(key.identity),
            Write::PutSet(set, _) => *set,
            Write::PutAddress(key, value) | Write::PutNet(key, _, value) => key.generation.max(value.identity).max(value.dns),
            _ => 0,
        });
        let of_sets = self.sets.values().map(|sets| sets.generation.max(sets.ingress).max(sets.egress));
        of_entries.chain(of_sets).max().unwrap_or(0)
    }

    /// All entries, in no order that matters.
    pub(crate) fn entries(&self) -> BTreeSet<Write> {
        self.entries.values().copied().collect()
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::PutRule(key, _) => drop(self.entries.insert(Write::DelRule(key), write)),
            Write::PutSet(set, _) => drop(self.entries.insert(Write::DelSet(set), write)),
            Write::PutAddress(key, _) => drop(self.entries.insert(Write::DelAddress(key), write)),
            Write::PutNet(key, bits, _) => drop(self.entries.insert(Write::DelNet(key, bits), write)),
            Write::ZeroRule(_) => {}
            del => drop(self.entries.remove(&del)),
        }
    }
}
