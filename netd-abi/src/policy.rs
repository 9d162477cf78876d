//! Keys and values of the maps that policy is in: whom an address belongs to, and what a rule set says of it. Never decides anything.
//!
//! A packet's question is answered by at most three look-ups: address → identity ([`AddressKey`], exact first, then by prefix), and
//! (rule set, identity, protocol, port) → verdict ([`RuleKey`]), first for the identity, then for [`ANYBODY`]. The daemon has resolved all
//! precedence beforehand, so that the longest port prefix that is found is the answer.

/// The identity that stands for whoever has no entries of its own in a rule set.
pub const ANYBODY: u32 = 0;
/// The rule set of a container that no policy selects in a direction: everything passes, nothing is looked up.
pub const NO_SET: u32 = 0;
/// The number of no rule.
pub const NO_RULE: u32 = 0;
/// Rules that have a number, and so a counter. Numbers begin with 1.
pub const MAX_RULES: u32 = 65_536;
/// In place of a protocol: all but TCP, UDP and SCTP; the port is 0 then.
pub const OTHER_PROTOCOL: u8 = 0;

/// The prefix lengths that ports are cut into, longest first. Each costs a look-up for a new flow, and all seventeen would be too many for the verifier, too;
/// with these a range has at most 15 prefixes of each length on either side.
pub const PREFIXES: [u32; 5] = [16, 12, 8, 4, 0];

/// What becomes of a packet. Part of shared types as its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Verdict {
    /// It goes on.
    Forward = 0,
    /// It is freed, and nobody is told.
    Drop = 1,
    /// It is freed, and its sender gets a TCP RST or ICMP "administratively prohibited".
    Reject = 2,
    /// It goes on, and is counted and logged as what would be dropped.
    Audit = 3,
}

impl Verdict {
    /// All verdicts, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Forward, Self::Drop, Self::Reject, Self::Audit];

    /// The number that stands for it in maps and records.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The verdict with this number; one that is none drops.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Forward,
            2 => Self::Reject,
            3 => Self::Audit,
            _ => Self::Drop,
        }
    }

    /// Its stable name in metrics and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Audit => "audit",
        }
    }

    /// Whether the packet goes on.
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Self::Forward | Self::Audit)
    }
}

/// A question to map `RULES`: what a rule set says of an identity, a protocol and the ports with this prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleKey {
    /// The rule set.
    pub set: u32,
    /// The identity, or [`ANYBODY`].
    pub identity: u32,
    /// The port's leading bits, network order; the rest is zero. For ICMP and the like zero.
    pub port: [u8; 2],
    /// How many leading bits of the port count: one of [`PREFIXES`].
    pub prefix: u8,
    /// IP protocol number of TCP, UDP or SCTP, or [`OTHER_PROTOCOL`].
    pub protocol: u8,
}

/// The answer: what becomes of the packet, and which rule says so.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleValue {
    /// The rule's number, or [`NO_RULE`].
    pub rule: u32,
    /// A [`Verdict`]'s number.
    pub verdict: u32,
}

/// Value of map `SETS`, by the rule set's number: what holds where no entry is found, and where entries can be.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetValue {
    /// What holds for whom and what no entry speaks of.
    pub default: RuleValue,
    /// Bit n: the set has entries with a port prefix of n bits, so that no others are looked for.
    pub prefixes: u32,
}

/// Key of map `ADDRESSES`, and what the key of the prefix map `NETS` has after its length.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressKey {
    /// Which division of all addresses into identities is meant; two may be in the maps while one takes the other's place.
    pub generation: u32,
    /// The address, network order; IPv4 as `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2).
    pub address: [u8; 16],
}

/// Bits of an [`AddressKey`] before its address: a prefix of `n` bits has the length `GENERATION_BITS + n`, one of IPv4 96 more.
pub const GENERATION_BITS: u32 = 32;

/// Whom an address belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressValue {
    /// Its identity.
    pub identity: u32,
    /// The identity that answers on its port 53 (the DNS server on a network's gateway), or zero: the same.
    pub dns: u32,
}

const _: () = assert!(size_of::<RuleKey>() == 4 + 4 + 2 + 1 + 1); // sums of fields: no hidden padding
const _: () = assert!(size_of::<RuleValue>() == 4 + 4);
const _: () = assert!(size_of::<SetValue>() == 8 + 4);
const _: () = assert!(size_of::<AddressKey>() == 4 + 16);
const _: () = assert!(size_of::<AddressValue>() == 4 + 4);

// SAFETY: repr(C), integers and byte arrays only and no padding (asserted above), so that every byte pattern is a value.
#[cfg(feature = "user")]
mod pod {
    use super::*;
    // SAFETY: see above.
    unsafe impl aya::Pod for RuleKey {}
    // SAFETY: see above.
    unsafe impl aya::Pod for RuleValue {}
    // SAFETY: see above.
    unsafe impl aya::Pod for SetValue {}
    // SAFETY: see above.
    unsafe impl aya::Pod for AddressKey {}
    // SAFETY: see above.
    unsafe impl aya::Pod for AddressValue {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_leads_back_to_its_verdict_and_a_strange_one_drops() {
        for verdict in Verdict::ALL {
            assert_eq!(Verdict::from_number(verdict.number()), verdict);
        }
        assert_eq!(Verdict::from_number(4), Verdict::Drop);
    }
}
