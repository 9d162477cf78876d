//! Table `inet netd`: chains are code, the same on every host; networks, subnets and ports are elements of its sets and maps. Never asks the kernel.
//!
//! ```text
//! ─► prerouting_loopback ─► prerouting_publish ─► published ─► forward ─► forward_from_container │ forward_to_container │
//!                           (host:) output_publish ─┘                                             forward_between_strangers
//!    ─► postrouting_masquerade ─► postrouting_to_container ─►
//! ```
//! Each base chain decides by interface first, and every rule looks up at most one element, so a packet's cost does not grow with what is in the sets.

pub mod chain;
pub mod element;
mod isolate;
mod loopback;
mod masquerade;
mod publish;
mod script;
pub mod set;
mod strangers;

use std::{collections::BTreeSet, fmt};

use self::{chain::Chain, set::SETS};
pub use self::{
    element::Element,
    script::{Found, FoundChain},
};

/// The table as this build writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    chains: Vec<Chain>,
    elements: BTreeSet<Element>,
}

/// The table without elements.
pub fn ruleset() -> Ruleset {
    let chains = [&loopback::CHAINS[..], &publish::CHAINS, &isolate::CHAINS, &strangers::CHAINS, &masquerade::CHAINS].concat();
    Ruleset { chains, elements: BTreeSet::new() }
}

impl Ruleset {
    /// The same with these elements in its sets.
    pub fn with(mut self, elements: impl IntoIterator<Item = Element>) -> Self {
        self.elements.extend(elements);
        self
    }

    /// What the chains and sets of this build are known by; elements do not count. 64 bits of FNV-1a: it tells builds apart, and keeps no secret.
    pub fn hash(&self) -> u64 {
        fingerprint(Self { chains: self.chains.clone(), elements: BTreeSet::new() }.to_string().as_bytes())
    }

    /// The text for `nft -f -` that makes this of what is there, in one transaction.
    pub fn script(&self, found: &Found) -> String {
        script::script(self, found)
    }
}

/// 64 bits of FNV-1a (the Fowler–Noll–Vo hash).
pub fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

impl fmt::Display for Ruleset {
    /// As `nft list table inet netd` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet netd {{")?;
        for set in &SETS {
            writeln!(f, "{}", set.declared(&script::listed(set, &self.elements)))?;
        }
        for (number, chain) in self.chains.iter().enumerate() {
            write!(f, "{}{chain}", if number == 0 { "" } else { "\n" })?;
        }
        writeln!(f, "}}")
    }
}

#[cfg(test)]
mod tests;
