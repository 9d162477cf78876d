//! Policy in the programs: steps in their order, and what came of them. Never decides what holds.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netd_abi::flow::config;
use netd_abi::maps::{ADDRESSES, FLOWS, NETS, RULES, SETS, SPILLED};
use netd_abi::policy::MAX_RULES;
use netd_abi::{Attachment, Counters, Direction, Happened, Why};
use netd_core::firewall::element::Publish;
use netd_core::policy::book::Fill;
use netd_core::policy::book::steps::{Sets, Steps, Write};

use super::places::Places;
use super::switch::{Switch, wait_for_programs};
use super::{Bpf, BpfError, DataPath};

impl Bpf {
    /// Lets the programs judge by other policies: what nobody asks for yet, then each attachment, then away with what nobody asks for any more.
    pub fn enforce(&mut self, steps: &Steps) -> Result<(), BpfError> {
        let path = self.on("let the programs judge by policies")?;
        steps.before.iter().try_for_each(|write| path.write(write))?;
        if steps.flips.values().any(|sets| *sets != Sets::default()) {
            // Before the first of them judges: published ports are judged where connections start.
            path.maps.switch.set(config::POLICY, true)?;
        }
        steps.flips.iter().try_for_each(|(slot, sets)| path.flip(*slot, *sets))?;
        if steps.rejudge {
            path.maps.switch.next_epoch()?;
        }
        if !steps.after.is_empty() {
            if !steps.flips.is_empty() {
                // Those that run now may have read an attachment's former entry: what it speaks of stays until they have ended.
                wait_for_programs();
                // A CPU that does not keep loads in their order may have remembered what held before for what held then.
                path.maps.revision.next();
            }
            steps.after.iter().try_for_each(|write| path.write(write))?;
        }
        path.maps.switch.set(config::POLICY, !path.sets.is_empty())
    }

    /// The highest number of a rule set, an identity or a generation that an earlier daemon left in the maps; 0 without eBPF.
    pub fn highest_number(&self) -> Result<u32, BpfError> {
        let Ok(path) = &self.path else { return Ok(0) };
        let of_attachments = path.sets.values().map(|sets| sets.generation.max(sets.ingress).max(sets.egress)).max();
        Ok(path.maps.laws.highest()?.max(of_attachments.unwrap_or(0)))
    }

    /// Makes the maps of policy hold these entries and no others. Says how many were changed.
    pub fn hold_only(&mut self, entries: impl Iterator<Item = Write>) -> Result<u64, BpfError> {
        self.on("look at the maps of policy")?.maps.laws.hold_only(entries)
    }

    /// Lets established connections be judged again.
    pub fn rejudge(&mut self) -> Result<(), BpfError> {
        self.on("let connections be judged again")?.maps.switch.next_epoch().map(drop)
    }

    /// Whether packets between containers of one network take the short way.
    pub fn set_fast_path(&mut self, on: bool) -> Result<(), BpfError> {
        self.on("switch the short way")?.maps.switch.set(config::FAST_PATH, on)
    }

    /// The switches that hold for all programs; none without eBPF.
    pub(crate) fn switch(&self) -> Option<Switch> {
        self.path.as_ref().ok().map(|path| path.maps.switch.clone())
    }

    /// The host's own addresses.
    pub fn set_hosts(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<(), BpfError> {
        self.on("tell the programs the host's addresses")?.changes_places(|places| places.set_hosts(addresses))
    }

    /// All published ports.
    pub fn set_published<'a>(&mut self, all: impl Iterator<Item = &'a Publish>) -> Result<(), BpfError> {
        self.on("tell the programs the published ports")?.changes_places(|places| places.set_published(all))
    }

    /// A port is published: the programs judge connections to it before any is led there.
    pub fn publish(&mut self, publish: &Publish) -> Result<(), BpfError> {
        if self.is_on() { self.on("publish a port")?.changes_places(|places| places.publish(publish)) } else { Ok(()) }
    }

    /// A port is published no more.
    pub fn withdraw(&mut self, publish: &Publish) -> Result<(), BpfError> {
        if self.is_on() { self.on("withdraw a port")?.changes_places(|places| places.withdraw(publish)) } else { Ok(()) }
    }

    /// What a rule decided.
    pub fn hits(&self, rule: u32) -> Result<Counters, BpfError> {
        self.on_ref("read a rule's counter")?.maps.hits.get(rule)
    }

    /// What of an attachment's packets did not simply go on.
    pub fn reasons_of(&self, slot: u32) -> Result<Vec<(Direction, Why, Counters)>, BpfError> {
        self.on_ref("read counters")?.maps.reasons.of(slot)
    }

    /// How often what the programs gave up happened.
    pub fn happened(&self) -> Result<Vec<(Happened, u64)>, BpfError> {
        let maps = &self.on_ref("read counters")?.maps;
        Happened::ALL.into_iter().map(|what| Ok((what, maps.happened(what)?))).collect()
    }

    /// Name, entries and room of each table that fills.
    pub fn fills(&self, book: Fill) -> Vec<(&'static str, u64, u64)> {
        let Ok(path) = &self.path else { return Vec::new() };
        let [flows, spilled] = path.maps.flow_count();
        let of = |used: usize, most: u32| (used as u64, u64::from(most));
        [
            ("flows", (flows, u64::from(FLOWS.entries))),
            ("spilled flows", (spilled, u64::from(SPILLED.entries))),
            ("rules", of(book.rules, RULES.entries)),
            ("rule sets", of(book.sets, SETS.entries)),
            ("addresses", of(book.addresses, ADDRESSES.entries)),
            ("nets", of(book.nets, NETS.entries)),
            ("numbered rules", of(book.numbers, MAX_RULES)),
        ]
        .map(|(name, (used, most))| (name, used, most))
        .to_vec()
    }
}

impl DataPath {
    /// Changes where ports lead, or what the host's addresses are. Connections that are known were judged by who it was before: they are judged again.
    fn changes_places(&mut self, change: impl FnOnce(&mut Places) -> Result<bool, BpfError>) -> Result<(), BpfError> {
        let is_other = change(&mut self.maps.places)?;
        if is_other && self.maps.switch.flags() & config::POLICY != 0 {
            self.maps.switch.next_epoch()?;
        }
        Ok(())
    }

    fn write(&mut self, write: &Write) -> Result<(), BpfError> {
        match write {
            Write::ZeroRule(rule) => self.maps.hits.zero(*rule),
            other => self.maps.laws.write(other),
        }
    }

    /// What an attachment's entry says of policy changes in one step; where it is not there yet, it will say so from its beginning.
    fn flip(&mut self, slot: u32, sets: Sets) -> Result<(), BpfError> {
        if sets == Sets::default() {
            self.sets.remove(&slot);
        } else {
            self.sets.insert(slot, sets);
        }
        let attachments = &mut self.maps.attachments;
        let Some((ifindex, known)) = attachments.ifindex_of(slot).and_then(|ifindex| Some((ifindex, attachments.get(ifindex)?))) else {
            return Ok(());
        };
        let Sets { generation, ingress, egress } = sets;
        let after = Attachment { generation, ingress, egress, ..known };
        if after == known { Ok(()) } else { attachments.put(ifindex, after) }
    }
}
