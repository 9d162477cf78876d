//! Chains and rules as text of nft. Never says what a rule is for: the files beside it do.

use std::fmt;

/// One rule and the reason it is there. `nft` keeps a comment of up to 128 bytes (libnftnl, NFTNL_UDATA_COMMENT_MAXLEN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// What it does, in the words in which `nft list` prints it.
    pub says: &'static str,
    /// Why, for the reader of the ruleset.
    pub why: &'static str,
}

/// Where a chain is called from the packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// `filter` or `nat`.
    pub kind: &'static str,
    /// The hook's name.
    pub hook: &'static str,
    /// Its number (NF_INET_* of linux/netfilter.h).
    pub hook_number: u32,
    /// The priority as `nft list` prints it for this hook.
    pub priority: &'static str,
    /// The same as a number (NF_IP_PRI_* of linux/netfilter_ipv4.h).
    pub priority_number: i32,
}

/// A chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// Spells the packet's way: the hook, then what this part of it decides.
    pub name: &'static str,
    /// The hook, for the chains that the kernel calls; the others are reached by goto.
    pub base: Option<Base>,
    /// In the order of evaluation.
    pub rules: &'static [Rule],
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\tchain {} {{", self.name)?;
        if let Some(Base { kind, hook, priority, .. }) = self.base {
            writeln!(f, "\t\ttype {kind} hook {hook} priority {priority}; policy accept;")?;
        }
        for Rule { says, why } in self.rules {
            writeln!(f, "\t\t{says} comment \"{why}\"")?;
        }
        writeln!(f, "\t}}")
    }
}
