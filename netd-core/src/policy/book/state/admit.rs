//! What a container needs that is not there yet: rule sets, identities and their entries. Leaves no trace when it does not fit.

use std::sync::Arc;

use netd_abi::policy::{NO_RULE, NO_SET, RuleValue, Verdict};

use super::{Counter, Facts, State};
use crate::policy::{
    book::{
        flatten::{End, denial},
        identity::Key,
        law::{Content, Law, Stage},
        limit::{ADDRESSES_MOST, Limit, NETS_MOST, RULES_MOST, SETS_MOST, TooLarge},
        number::{CONFIGURATION, Register, RuleId, RuleName},
        set::{Entries, Set},
        steps::Write,
        wish::{ByDefault, Direction, Pod},
    },
    model::PolicyName,
};

/// What comes into the maps.
#[derive(Default)]
pub(super) struct Admission {
    pub(super) sets: Vec<(u32, Set)>,
    identities: Vec<u32>,
    ids: Vec<RuleId>,
    /// By set and identity, for sets that there are.
    pub(super) entries: Vec<(u32, u32, Entries)>,
    /// Numbers to zero.
    pub(super) writes: Vec<Write>,
}

impl State {
    /// What policies see in a container; its rule sets, where they are new, go to the admission.
    pub(super) fn facts_of(
        &self,
        pod: &Arc<Pod>,
        admission: &mut Admission,
        counter: &mut Counter,
        register: &mut Register,
    ) -> Result<Facts, TooLarge> {
        if let Some(facts) = self.facts.get(pod) {
            return Ok(facts.clone());
        }
        let mut sets = [NO_SET; 2];
        for ((direction, content), set) in Direction::ALL.into_iter().zip(self.law.contents(pod)).zip(&mut sets) {
            let Some(content) = content else { continue };
            *set = match self.set_number(direction, &content) {
                Some(number) => number,
                None => {
                    let ends = ends(&self.law, direction, &content, admission, register)?;
                    let number = counter.next();
                    admission.sets.push((number, Set::new(&self.law, direction, content, ends)));
                    number
                }
            };
        }
        Ok(Facts { users: 0, who: self.law.who(pod), sets })
    }

    /// Makes the identities of these keys, and what all sets say of them.
    pub(super) fn admit(&mut self, keys: Vec<Key>, admission: &mut Admission, counter: &mut Counter) -> Result<(), TooLarge> {
        for key in keys {
            if self.identities.number(&key).is_none() {
                let number = counter.next();
                self.identities.add(&self.law, key, number);
                admission.identities.push(number);
            }
        }
        let law = Arc::clone(&self.law);
        let mut rules = self.rules;
        let mut counted = |set: &Set, entries: &Entries| {
            rules += entries.len();
            if rules > RULES_MOST { Err(set.too_large(&law, rules - set.len() - entries.len(), entries)) } else { Ok(()) }
        };
        for number in &admission.identities {
            let Some(identity) = self.identities.all.get(number) else { continue };
            for (set_number, set) in &self.sets {
                let entries = set.of(&self.law, identity);
                if !entries.is_empty() {
                    counted(set, &entries)?;
                    admission.entries.push((*set_number, *number, entries));
                }
            }
        }
        for (_, set) in &mut admission.sets {
            let of_everybody = set.entries.values().flatten().copied().collect();
            counted(set, &of_everybody)?;
            for number in self.identities.members(set.atoms(&self.law)) {
                let entries = set.of(&self.law, &self.identities.all[&number]);
                counted(set, &entries)?;
                set.put(number, entries);
            }
        }
        let sets = self.sets.len() + admission.sets.len();
        if sets > SETS_MOST {
            return Err(TooLarge { limit: Limit::Sets, wanted: sets, policy: self.commonest() });
        }
        Ok(())
    }

    /// Whether the addresses that policies name fit.
    pub(in crate::policy::book) fn check_world(&self) -> Result<(), TooLarge> {
        if self.nets > NETS_MOST {
            return Err(TooLarge { limit: Limit::Nets, wanted: self.nets, policy: None });
        }
        self.check_addresses(0)
    }

    /// Whether so many further addresses fit.
    pub(super) fn check_addresses(&self, further: usize) -> Result<(), TooLarge> {
        let wanted = self.addresses + further;
        if wanted > ADDRESSES_MOST { Err(TooLarge { limit: Limit::Addresses, wanted, policy: None }) } else { Ok(()) }
    }

    /// Takes back what was made for a container that does not fit.
    pub(super) fn dismiss(&mut self, admission: Admission, register: &mut Register) {
        for number in admission.identities {
            self.identities.remove(number);
        }
        register.take_back(admission.ids);
    }

    /// The policy that is in the most rule sets.
    fn commonest(&self) -> Option<PolicyName> {
        let mut counts = vec![0_usize; self.law.statutes.len()];
        self.sets.values().flat_map(|set| &set.content.statutes).for_each(|statute| counts[*statute as usize] += 1);
        let (statute, _) = counts.into_iter().enumerate().max_by_key(|(_, count)| *count)?;
        Some(self.law.statutes[statute].name.clone())
    }
}

/// What holds after the rules of a content: once for what is enforced, and once for all if somebody is in audit.
fn ends(
    law: &Law,
    direction: Direction,
    content: &Content,
    admission: &mut Admission,
    register: &mut Register,
) -> Result<Vec<End>, TooLarge> {
    let statutes = || content.statutes.iter().map(|statute| &law.statutes[*statute as usize]);
    let mut give = |tokens: &str, policies: Vec<PolicyName>| {
        let id = RuleId::new(tokens, direction, None);
        if !register.numbers.contains_key(&id) {
            admission.ids.push(id.clone());
        }
        let config_default = policies.is_empty();
        let name = || RuleName { policies, tier: None, direction, rule: None, name: None, config_default };
        register.give(id, name, &mut admission.writes)
    };
    let otherwise = match law.default {
        ByDefault::Allow => RuleValue { rule: NO_RULE, verdict: Verdict::Forward.number() },
        ByDefault::Deny => RuleValue { rule: give(CONFIGURATION, Vec::new())?, verdict: Verdict::Drop.number() },
    };
    let views = if statutes().any(|statute| statute.audit) { [false, true].as_slice() } else { &[false] };
    views
        .iter()
        .map(|with_audit| {
            let isolating: Vec<_> =
                statutes().filter(|statute| statute.stage == Stage::Network && (*with_audit || !statute.audit)).collect();
            let isolated = if isolating.is_empty() {
                None
            } else {
                let tokens: Vec<&str> = isolating.iter().map(|statute| statute.token.as_str()).collect();
                let names = isolating.iter().map(|statute| statute.name.clone()).collect();
                let verdict = denial(isolating.iter().any(|statute| statute.reject));
                Some(RuleValue { rule: give(&tokens.join(","), names)?, verdict: verdict.number() })
            };
            Ok(End { isolated, otherwise })
        })
        .collect()
}
