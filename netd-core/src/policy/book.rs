//! Turns policies, containers and addresses into entries of the policy maps, and every change of them into steps that no packet can see
//! half done. Never reads a file, never touches a map.
//!
//! ```text
//! policies ─law─► rules in order, kinds of peers, classes of addresses ┐
//! containers, host ────────────────────────────────────────────────────┴─state─► identities, rule sets ─change─► Steps
//! ```
//! The kernel program stops at the first entry that it finds, so that tiers, isolation and the rest are resolved here (`flatten`).
//! Containers with the same policies share their rule sets, and peers that no rule tells apart share an identity: what the maps hold grows
//! with what policies say, not with how many containers there are.

pub mod wish;
pub mod steps;
pub mod number;
pub mod limit;
mod find;
mod division;
mod law;
mod flatten;
mod cut;
mod set;
mod identity;
mod state;
mod change;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use netd_abi::policy::{ANYBODY, AddressValue, NO_RULE, NO_SET, OTHER_PROTOCOL, RuleValue, Verdict};

use self::{
    division::bits,
    law::{Law, PROTOCOLS},
    limit::TooLarge,
    number::{CONFIGURATION, Numbers, Register, RuleName},
    state::{Counter, State},
    steps::{Sets, Steps, Write},
    wish::{ByDefault, Direction, Placed, Wish},
};

/// How much of the maps is used, in entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fill {
    /// Map `RULES`.
    pub rules: usize,
    /// Map `SETS`.
    pub sets: usize,
    /// Map `ADDRESSES`.
    pub addresses: usize,
    /// Map `NETS`.
    pub nets: usize,
    /// Rules that have a number.
    pub numbers: usize,
}

/// All policies and all that they speak of.
#[derive(Debug, Clone)]
pub struct Book {
    wish: Option<Wish>,
    state: State,
    register: Register,
    counter: Counter,
}

impl Book {
    /// An empty one. Rules keep the numbers that an earlier book gave them; generations, identities and rule sets get numbers from `first`
    /// on, which must be above all that the maps still hold of an earlier one.
    #[must_use]
    pub fn new(numbers: Numbers, first: u32) -> Self {
        Self { wish: None, state: State::default(), register: Register::new(numbers), counter: Counter(first.max(1)) }
    }

    /// Replaces policies, namespaces, host and default. On an error nothing is changed.
    pub fn set(&mut self, wish: Wish) -> Result<Steps, TooLarge> {
        if self.wish.as_ref() == Some(&wish) {
            return Ok(Steps::default());
        }
        let (mut register, mut counter) = (self.register.clone(), self.counter);
        let mut zeros = Vec::new();
        let law = Arc::new(Law::enact(&wish, &mut register, &mut zeros).map_err(|error| error.of(&wish))?);
        let mut new = State::new(Arc::clone(&law), &wish.host, &mut counter);
        new.check_world().map_err(|error| error.of(&wish))?;
        for (slot, placed) in &self.state.slots {
            let steps = new.place(*slot, Some(placed.clone()), &mut counter, &mut register).map_err(|error| error.of(&wish))?;
            zeros.extend(steps.before.into_iter().filter(|write| matches!(write, Write::ZeroRule(_))));
        }
        let new = change::keep_numbers(&self.state, new);
        let mut steps = change::steps(&self.state, &new);
        steps.before.splice(0..0, zeros);
        let configuration = (wish.default == ByDefault::Deny).then_some(CONFIGURATION);
        let tokens: BTreeSet<&str> = law.statutes.iter().map(|statute| statute.token.as_str()).chain(configuration).collect();
        register.keep(&tokens, &mut steps.after);
        *self = Self { wish: Some(wish), state: new, register, counter };
        Ok(steps)
    }

    /// Says what an attachment is, or with none that it has gone. Its cost does not depend on how many others there are, but for the first
    /// container of a kind. On an error nothing is changed.
    pub fn place(&mut self, slot: u32, placed: Option<Placed>) -> Result<Steps, TooLarge> {
        let placed = self.state.place(slot, placed, &mut self.counter, &mut self.register);
        placed.map_err(|error| match &self.wish {
            Some(wish) => error.of(wish),
            None => error,
        })
    }

    /// What an attachment's entry shall say; all zero for one that nothing governs, or that is not here.
    #[must_use]
    pub fn sets(&self, slot: u32) -> Sets {
        self.state.sets_of(slot)
    }

    /// What a rule's number stands for.
    #[must_use]
    pub fn rule(&self, number: u32) -> Option<&RuleName> {
        self.register.names.get(&number)
    }

    /// All rules that can decide, by number.
    #[must_use]
    pub fn rules(&self) -> &BTreeMap<u32, RuleName> {
        &self.register.names
    }

    /// The numbers of rules, for a book after this one. Some are of rules that wait for the containers of an earlier book to come back.
    #[must_use]
    pub fn numbers(&self) -> &Numbers {
        &self.register.numbers
    }

    /// Goes up whenever [`Self::numbers`] change.
    #[must_use]
    pub fn numbered(&self) -> u64 {
        self.register.changes
    }

    /// Whom an address belongs to, whether map `ADDRESSES`, map `NETS` or none of them says so.
    #[must_use]
    pub fn identity_of(&self, address: IpAddr) -> AddressValue {
        self.state.value(bits(address))
    }

    /// The answer to a new connection of a container with these sets, found in the same entries and in the same way as the kernel program
    /// does: with this remote address, IP protocol and port of the receiving side.
    #[must_use]
    pub fn judge(&self, sets: Sets, direction: Direction, remote: IpAddr, protocol: u8, port: u16) -> RuleValue {
        let set = match direction {
            Direction::Ingress => sets.ingress,
            Direction::Egress => sets.egress,
        };
        if set == NO_SET {
            return RuleValue { rule: NO_RULE, verdict: Verdict::Forward.number() };
        }
        let Some(set) = self.state.sets.get(&set) else {
            return RuleValue { rule: NO_RULE, verdict: Verdict::Drop.number() };
        };
        let value = if sets.generation == self.state.generation { self.identity_of(remote) } else { AddressValue::default() };
        let is_dns = direction == Direction::Egress && port == 53 && value.dns != ANYBODY && PROTOCOLS[..2].contains(&protocol);
        let identity = if is_dns { value.dns } else { value.identity };
        if PROTOCOLS[..3].contains(&protocol) { set.judge(identity, protocol, port) } else { set.judge(identity, OTHER_PROTOCOL, 0) }
    }

    /// Everything that the maps shall hold now, as what would write it.
    pub fn entries(&self) -> impl Iterator<Item = Write> + '_ {
        self.state.entries()
    }

    /// How much of the maps is used.
    #[must_use]
    pub fn fill(&self) -> Fill {
        let State { sets, rules, addresses, nets, .. } = &self.state;
        Fill { rules: *rules, sets: sets.len(), addresses: *addresses, nets: *nets, numbers: self.register.numbers.len() }
    }
}

#[cfg(test)]
mod tests;
