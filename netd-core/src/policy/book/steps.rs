//! What has to be written to the maps, in which order, and the command one would have typed for it. Never decides what.

use std::{collections::BTreeMap, fmt, net::Ipv6Addr};

use netd_abi::policy::{AddressKey, AddressValue, GENERATION_BITS, RuleKey, RuleValue, SetValue, Verdict};

/// What an attachment's entry says of policy. All zero: nothing governs it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sets {
    /// The division of addresses into identities that both sets speak of.
    pub generation: u32,
    /// The rule set for what comes to the container.
    pub ingress: u32,
    /// The rule set for what it sends.
    pub egress: u32,
}

/// One change of one map entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Write {
    /// Map `RULES`.
    PutRule(RuleKey, RuleValue),
    /// Map `RULES`.
    DelRule(RuleKey),
    /// Map `SETS`.
    PutSet(u32, SetValue),
    /// Map `SETS`.
    DelSet(u32),
    /// Map `ADDRESSES`.
    PutAddress(AddressKey, AddressValue),
    /// Map `ADDRESSES`.
    DelAddress(AddressKey),
    /// Map `NETS`; the prefix's bits are counted in the address of 128 bits.
    PutNet(AddressKey, u8, AddressValue),
    /// Map `NETS`; as above.
    DelNet(AddressKey, u8),
    /// The counter of a rule's number goes back to zero, on all processors.
    ZeroRule(u32),
}

/// How to get from what the maps hold to what they shall hold: `before`, then each of `flips` by one atomic update of an attachment's
/// entry, then `after`. At no moment a packet gets a verdict that is neither the old one nor the new one, if programs that run while the
/// last flip is done have ended before `after` begins. One exception: a container whose labels change, asking for its own address
/// meanwhile.
#[must_use = "steps do nothing until they are performed"]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// What no packet asks for yet, or what alone changes verdicts.
    pub before: Vec<Write>,
    /// What the entries of attachments, by slot, shall say. A slot that goes has none: its entry must be gone before `after`.
    pub flips: BTreeMap<u32, Sets>,
    /// What no packet asks for any more.
    pub after: Vec<Write>,
    /// Established connections must be judged again.
    pub rejudge: bool,
}

impl Steps {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.flips.is_empty() && self.after.is_empty()
    }
}

impl fmt::Display for Steps {
    /// A line for each step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for write in &self.before {
            writeln!(f, "{write}")?;
        }
        for (slot, sets) in &self.flips {
            let Sets { generation, ingress, egress } = sets;
            writeln!(
                f,
                "bpftool map update pinned attachments key slot {slot} value generation {generation} ingress {ingress} egress {egress}"
            )?;
        }
        for write in &self.after {
            writeln!(f, "{write}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutRule(key, value) => write!(f, "bpftool map update pinned rules key {} value {}", Rule(key), Answer(value)),
            Self::DelRule(key) => write!(f, "bpftool map delete pinned rules key {}", Rule(key)),
            Self::PutSet(set, value) => {
                write!(f, "bpftool map update pinned sets key {set} value {} prefixes {:#x}", Answer(&value.default), value.prefixes)
            }
            Self::DelSet(set) => write!(f, "bpftool map delete pinned sets key {set}"),
            Self::PutAddress(key, value) => {
                write!(f, "bpftool map update pinned addresses key {} value {}", Address(key, None), Owner(value))
            }
            Self::DelAddress(key) => write!(f, "bpftool map delete pinned addresses key {}", Address(key, None)),
            Self::PutNet(key, bits, value) => {
                write!(f, "bpftool map update pinned nets key {} value {}", Address(key, Some(*bits)), Owner(value))
            }
            Self::DelNet(key, bits) => write!(f, "bpftool map delete pinned nets key {}", Address(key, Some(*bits))),
            Self::ZeroRule(rule) => write!(f, "bpftool map update pinned rule_counters key {rule} value 0"),
        }
    }
}

struct Rule<'a>(&'a RuleKey);

impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RuleKey { set, identity, port, prefix, protocol } = self.0;
        write!(f, "set {set} identity {identity} protocol {protocol} port {}/{prefix}", u16::from_be_bytes(*port))
    }
}

struct Answer<'a>(&'a RuleValue);

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rule {}", Verdict::from_number(self.0.verdict).name(), self.0.rule)
    }
}

struct Address<'a>(&'a AddressKey, Option<u8>);

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AddressKey { generation, address } = self.0;
        if let Some(bits) = self.1 {
            write!(f, "length {} ", GENERATION_BITS + u32::from(bits))?;
        }
        write!(f, "generation {generation} address {}", Ipv6Addr::from(*address))?;
        self.1.map_or(Ok(()), |bits| write!(f, "/{bits}"))
    }
}

struct Owner<'a>(&'a AddressValue);

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "identity {}", self.0.identity)?;
        if self.0.dns == 0 { Ok(()) } else { write!(f, " dns {}", self.0.dns) }
    }
}
