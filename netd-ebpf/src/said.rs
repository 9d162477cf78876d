//! What policy, or a fragment's first part, says of a packet: a reason and a rule in one number, as a program's functions can only give numbers back.

use netd_abi::policy::{NO_RULE, RuleValue};
use netd_abi::{Verdict, Why};

/// A reason and a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said(u64);

impl Said {
    /// It passes, and no rule says so.
    pub const FORWARD: Self = Self::new(Why::Forward.number(), NO_RULE);
    /// Nothing is said. (No reason has this number.)
    pub const NOTHING: Self = Self::new(u32::MAX, NO_RULE);

    /// Nothing is said yet, as there is more to look at. (No reason has this number either.)
    pub const MORE_TO_DO: Self = Self::new(u32::MAX - 1, NO_RULE);

    /// A reason's number and a rule's.
    #[inline(always)]
    #[must_use]
    pub const fn new(why: u32, rule: u32) -> Self {
        Self((rule as u64) << 32 | why as u64)
    }

    /// As a number, to be given back by a function of the program.
    #[inline(always)]
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// From such a number.
    #[inline(always)]
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// What a reason says that is no rule's.
    #[inline(always)]
    #[must_use]
    pub const fn because(why: Why) -> Self {
        Self::new(why.number(), NO_RULE)
    }

    /// What a rule says.
    #[inline(always)]
    #[must_use]
    pub const fn by(rule: RuleValue) -> Self {
        Self::new(Why::of_policy(Verdict::from_number(rule.verdict)).number(), rule.rule)
    }

    /// The reason's number.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// The rule's number.
    #[inline(always)]
    #[must_use]
    pub const fn rule(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The verdict's number of what a policy says.
    #[inline(always)]
    #[must_use]
    pub const fn verdict(self) -> u8 {
        let verdict = if self.number() == Why::Forward.number() {
            Verdict::Forward
        } else if self.number() == Why::AuditPolicy.number() {
            Verdict::Audit
        } else if self.number() == Why::RejectPolicy.number() {
            Verdict::Reject
        } else {
            Verdict::Drop
        };
        verdict.number() as u8
    }

    /// A reason with the same action: for what is done with the packet now, when it has been counted. (A table of all reasons is more than a program needs to look
    /// that up.)
    #[inline(always)]
    #[must_use]
    pub const fn done(self) -> Why {
        if self.passes() { Why::Forward } else { Why::DropPolicy }
    }

    /// Whether the packet goes on.
    #[inline(always)]
    #[must_use]
    pub const fn passes(self) -> bool {
        self.number() == Why::Forward.number() || self.number() == Why::AuditPolicy.number()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_holds_reason_and_rule() {
        for why in Why::ALL {
            let said = Said::new(why.number(), 77);
            assert_eq!((said.number(), said.rule()), (why.number(), 77));
            let judged = matches!(why, Why::Forward | Why::AuditPolicy | Why::DropPolicy | Why::RejectPolicy);
            assert!(!judged || said.done().action() == why.action());
            assert_eq!(Said::because(why).passes(), matches!(why, Why::Forward | Why::AuditPolicy));
        }
        assert!(!Said::NOTHING.passes() && !Said::MORE_TO_DO.passes());
    }

    #[test]
    fn a_rules_verdict_has_its_reason() {
        for (verdict, why) in [
            (Verdict::Forward, Why::Forward),
            (Verdict::Drop, Why::DropPolicy),
            (Verdict::Reject, Why::RejectPolicy),
            (Verdict::Audit, Why::AuditPolicy),
        ] {
            assert_eq!(Said::by(RuleValue { rule: 5, verdict: verdict.number() }), Said::new(why.number(), 5));
        }
    }
}
