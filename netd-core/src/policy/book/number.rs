//! Gives rules their numbers, and keeps them while the policy's content stays the same. Never counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    limit::{Limit, NUMBERS_MOST, TooLarge},
    steps::Write,
    wish::Direction,
};
use crate::policy::model::{Policy, PolicyName, Tier};

/// What a rule is known by across restarts: its policies with a hash of their content, the direction, and which of their rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub String);

/// Which rule has which number.
pub type Numbers = BTreeMap<RuleId, u32>;

/// What a rule's number stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleName {
    /// Whose rule it is; where no rule matches, all policies that isolate the container.
    pub policies: Vec<PolicyName>,
    /// The tier, for a ClusterNetworkPolicy.
    pub tier: Option<Tier>,
    /// Of what comes or of what is sent.
    pub direction: Direction,
    /// Which of the direction's rules, counted from 1; none: that no rule matches.
    pub rule: Option<usize>,
    /// The name that a rule of a ClusterNetworkPolicy has.
    pub name: Option<String>,
    /// No policy selects the container, and the configuration denies.
    pub config_default: bool,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { direction, .. } = self;
        if self.config_default {
            return write!(f, "configured default {direction} (no policy selects it)");
        }
        write!(f, "{}", if self.policies.len() == 1 { "policy " } else { "policies " })?;
        match self.tier {
            Some(Tier::Admin) => write!(f, "admin tier ")?,
            Some(Tier::Baseline) => write!(f, "baseline tier ")?,
            None => {}
        }
        for (n, policy) in self.policies.iter().enumerate() {
            write!(f, "{}{policy}", if n == 0 { "" } else { ", " })?;
        }
        match (self.rule, &self.name) {
            (None, _) => write!(f, " {direction} (no rule matches)"),
            (Some(rule), None) => write!(f, " {direction} rule {rule}"),
            (Some(rule), Some(name)) => write!(f, " {direction} rule {rule} ({name})"),
        }
    }
}

/// In a [`RuleId`], the place of policies where the configuration is meant.
pub(super) const CONFIGURATION: &str = "configuration";

/// A policy in a [`RuleId`]: no name has a comma, a space or an `@`.
pub(super) fn token(policy: &Policy) -> String {
    // FNV-1a: a change has to be noticed, nobody has to be stopped from making one that is not.
    let hash =
        policy.source.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{}@{hash:016x}", policy.name)
}

impl RuleId {
    pub(super) fn new(tokens: &str, direction: Direction, rule: Option<usize>) -> Self {
        Self(rule.map_or_else(|| format!("{tokens} {direction} default"), |rule| format!("{tokens} {direction} {rule}")))
    }

    fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ').next().unwrap_or_default().split(',')
    }
}

/// Numbers in use and free ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Register {
    pub(super) numbers: Numbers,
    pub(super) names: BTreeMap<u32, RuleName>,
    /// Zeroed by us, and not used since.
    clean: BTreeSet<u32>,
    /// Never given by us: their counters may hold something.
    strange: BTreeSet<u32>,
    /// All from here on are strange.
    next: u32,
    /// How often a number was given or taken back.
    pub(super) changes: u64,
}

impl Register {
    /// Goes on with what an earlier one gave.
    pub(super) fn new(mut numbers: Numbers) -> Self {
        let mut taken = BTreeSet::new();
        numbers.retain(|_, number| (1..=NUMBERS_MOST as u32).contains(number) && taken.insert(*number));
        let next = taken.last().map_or(1, |last| last + 1);
        let strange = (1..next).filter(|number| !taken.contains(number)).collect();
        Self { numbers, names: BTreeMap::new(), clean: BTreeSet::new(), strange, next, changes: 0 }
    }

    /// The number of a rule, a new one if need be: one that nobody had, as long as there are such, for flows and records may still name an earlier rule by the
    /// number that it had. What has to be zeroed before it is used goes to `writes`.
    pub(super) fn give(&mut self, id: RuleId, name: impl FnOnce() -> RuleName, writes: &mut Vec<Write>) -> Result<u32, TooLarge> {
        let number = match self.numbers.get(&id) {
            Some(number) => *number,
            None => {
                let number = if self.next as usize <= NUMBERS_MOST {
                    self.next += 1;
                    writes.push(Write::ZeroRule(self.next - 1));
                    self.next - 1
                } else if let Some(number) = self.clean.pop_first() {
                    number
                } else if let Some(number) = self.strange.pop_first() {
                    writes.push(Write::ZeroRule(number));
                    number
                } else {
                    return Err(TooLarge { limit: Limit::Numbers, wanted: self.numbers.len() + 1, policy: None });
                };
                self.numbers.insert(id, number);
                self.changes += 1;
                number
            }
        };
        self.names.entry(number).or_insert_with(name);
        Ok(number)
    }

    /// Takes back numbers that were given for what did not come to be.
    pub(super) fn take_back(&mut self, ids: Vec<RuleId>) {
        for id in ids {
            if let Some(number) = self.numbers.remove(&id) {
                self.changes += 1;
                self.names.remove(&number);
                self.strange.insert(number);
            }
        }
    }

    /// Forgets the rules of policies that are not among these any more, with their numbers. The numbers are free when `writes` are done.
    pub(super) fn keep(&mut self, tokens: &BTreeSet<&str>, writes: &mut Vec<Write>) {
        let Self { numbers, names, clean, changes, .. } = self;
        numbers.retain(|id, number| {
            let stays = id.tokens().all(|token| tokens.contains(token));
            if !stays {
                names.remove(number);
                clean.insert(*number);
                *changes += 1;
                writes.push(Write::ZeroRule(*number));
            }
            stays
        });
    }
}
