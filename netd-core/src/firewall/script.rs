//! From what the kernel has to the text that makes it ours, for one `nft -f -` and so one transaction. Never runs it.
//!
//! Chains are emptied and refilled, sets stay with what they hold. Only where a set has changed its shape, or the table is not one that we would
//! make (a set of somebody else's, a dormant table), is the whole table made anew with the elements that were in it.

use std::{collections::BTreeSet, fmt::Write};

use super::{
    Element, Ruleset,
    element::wire,
    set::{Field, Set, SetShape},
};

/// What table `inet netd` is in the kernel, as far as writing it again needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// NFTA_TABLE_FLAGS: a dormant table does nothing.
    pub flags: u32,
    /// Its sets that have a name.
    pub sets: BTreeSet<SetShape>,
    /// Its chains.
    pub chains: Vec<FoundChain>,
    /// What our sets hold.
    pub elements: BTreeSet<Element>,
}

/// A chain in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundChain {
    /// Its name.
    pub name: String,
    /// Type, hook number, priority, and policy (NF_ACCEPT is 1) of a base chain.
    pub base: Option<(String, u32, i32, u32)>,
}

/// NF_ACCEPT (linux/netfilter.h): the only policy of ours.
const NF_ACCEPT: u32 = 1;

pub(super) fn script(ruleset: &Ruleset, found: &Found) -> String {
    let mut text = String::from("add table inet netd\n");
    let ours = |shape: &SetShape| Set::named(&shape.name).is_some_and(|set| set.shape() == *shape);
    if found.flags != 0 || !found.sets.iter().all(ours) {
        text.push_str("delete table inet netd\n");
        let kept = found.elements.iter().filter(|element| !matches!(element, Element::Stray(_))).cloned();
        let _ = write!(text, "{}", ruleset.clone().with(kept));
        return text;
    }
    text.push_str("flush table inet netd\n");
    for chain in found.chains.iter().filter(|chain| !ruleset.has(chain)) {
        let _ = writeln!(text, "delete chain inet netd {}", chain.name);
    }
    let _ = write!(text, "{ruleset}");
    text
}

impl Ruleset {
    /// Whether a chain of the kernel may stay: then its rules are replaced, and it is called all the while.
    fn has(&self, found: &FoundChain) -> bool {
        self.chains.iter().any(|chain| {
            let base = chain.base.map(|base| (base.kind.to_owned(), base.hook_number, base.priority_number, NF_ACCEPT));
            chain.name == found.name && base == found.base
        })
    }
}

/// The elements of a set as nft 1.0.6 lists them: an address sorts as a number, every other key as a number with its last byte first; two
/// IPv4 addresses in a line, one of anything else. (A range of two fields keeps the kernel's order, that of adding.)
pub(super) fn listed(set: &Set, elements: &BTreeSet<Element>) -> String {
    let mut members: Vec<&Element> = elements.iter().filter(|element| element.set() == set.name).collect();
    let in_a_line = match set.key.0 {
        [Field::Ipv4] => 2,
        _ => 1,
    };
    if !set.interval {
        members.sort_by_cached_key(|element| {
            wire::encode(element).into_iter().map(|wire| wire.key.into_iter().rev().collect::<Vec<u8>>()).collect::<Vec<_>>()
        });
    }
    let mut text = String::new();
    for (number, element) in members.into_iter().enumerate() {
        let before = match number {
            0 => "",
            _ if number % in_a_line == 0 => ",\n\t\t\t     ",
            _ => ", ",
        };
        let _ = write!(text, "{before}{}", element.inner());
    }
    text
}
