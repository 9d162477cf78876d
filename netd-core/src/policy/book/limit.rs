//! How much fits into the maps, and how to say that something does not. Never shortens anything.

use std::fmt;

use netd_abi::{maps, policy::MAX_RULES};

use crate::policy::model::PolicyName;

// Of these a map holds twice as many: while policies are replaced, and when a restarted daemon writes them beside what it finds, old and new are there.
/// Entries of map `RULES`: a set of 30,000 blocks with four kinds of protocols.
pub const RULES_MOST: usize = maps::RULES.entries as usize / 2;
/// Entries of map `ADDRESSES`: 100,000 single addresses in policies, and the containers.
pub const ADDRESSES_MOST: usize = maps::ADDRESSES.entries as usize / 2;
/// Entries of map `NETS`: 100,000 prefixes in policies.
pub const NETS_MOST: usize = maps::NETS.entries as usize / 2;
/// Entries of map `SETS`.
pub const SETS_MOST: usize = maps::SETS.entries as usize / 2;
/// Numbers for rules; 0 is none.
pub const NUMBERS_MOST: usize = MAX_RULES as usize - 1;
/// Memberships of prefixes in rules' blocks, all together: what overlaps more takes seconds to compute.
pub const OVERLAPS_MOST: usize = 1 << 24;

/// What can be too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// [`RULES_MOST`].
    Rules,
    /// [`ADDRESSES_MOST`].
    Addresses,
    /// [`NETS_MOST`].
    Nets,
    /// [`SETS_MOST`].
    Sets,
    /// [`NUMBERS_MOST`].
    Numbers,
    /// [`OVERLAPS_MOST`].
    Overlaps,
}

impl Limit {
    /// How many fit.
    #[must_use]
    pub fn most(self) -> usize {
        match self {
            Self::Rules => RULES_MOST,
            Self::Addresses => ADDRESSES_MOST,
            Self::Nets => NETS_MOST,
            Self::Sets => SETS_MOST,
            Self::Numbers => NUMBERS_MOST,
            Self::Overlaps => OVERLAPS_MOST,
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Rules => ("rule entries", "use fewer separate ports, peers or addresses"),
            Self::Addresses => ("single addresses", "use prefixes in place of /32 and /128"),
            Self::Nets => ("prefixes of addresses", "merge neighbouring prefixes"),
            Self::Sets => ("rule sets", "let fewer combinations of policies select containers"),
            Self::Numbers => ("rules with a number", "merge rules that differ in peers or ports alone"),
            Self::Overlaps => ("overlaps of address blocks", "do not repeat the same blocks with other exceptions in many rules"),
        }
    }
}

/// Policies and containers that do not fit into the maps. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooLarge {
    /// What there are too many of.
    pub limit: Limit,
    /// How many are wanted; at least so many, where counting stopped there.
    pub wanted: usize,
    /// Which policy takes the most of them, as far as that is known.
    pub policy: Option<PolicyName>,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, instead) = self.limit.words();
        let most = self.limit.most();
        write!(f, "policies need {} {what}, and {most} fit", self.wanted)?;
        if let Some(policy) = &self.policy {
            write!(f, "; {policy} takes the most")?;
        }
        write!(f, "; {instead}")
    }
}

impl std::error::Error for TooLarge {}
