//! The value of map `ATTACHMENTS`: what a program knows of the container behind an interface. Never holds names.

use core::ops::Deref;

/// Attachments that fit into the maps. A host with 1,023 ports a bridge reaches it with 16 full bridges.
pub const MAX_ATTACHMENTS: u32 = 16_384;

/// In place of a pacer's index: the container sends as fast as it can.
pub const NO_PACER: u32 = 0;

/// Added to a pacer's index where a filter behind the program leads there, as the program itself cannot; interface indexes are below it.
pub const BEHIND: u32 = 1 << 31;

/// Bits of [`Attachment::flags`].
pub mod flag {
    /// What it sends has its own hardware address.
    pub const GUARD_MAC: u32 = 1;
    /// What it sends has its own IP addresses, and ARP, neighbour discovery, router advertisements, DHCP and source routes are checked.
    pub const GUARD_IP: u32 = 1 << 1;
    /// Map `ALLOWED` has further addresses that it may send from.
    pub const ALLOWED: u32 = 1 << 2;
    /// It is a bridge port that does not talk to other isolated ones.
    pub const ISOLATED: u32 = 1 << 3;
    /// What it gets waits in a queue of its host end, which the short way would pass by.
    pub const PACED: u32 = 1 << 4;
    /// The programs may stand at the link's own hooks, before the shared blocks: what goes on has been seen, and the blocks are not to see it again.
    /// (A netd that does not know this flag would clear it, and see each packet twice.)
    pub const OWN_HOOKS: u32 = 1 << 5;
}

/// Values of map `ALLOWED`.
pub mod allowance {
    /// An address of the container itself: a further one, or one of another network. By its own hardware address only.
    pub const OWN: u32 = 0;
    /// The container stands for others with it, by whatever hardware address.
    pub const OTHERS: u32 = 1;
}

/// Who is behind one host-side veth.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Number of the attachment, below [`MAX_ATTACHMENTS`]; other maps are indexed with it.
    pub slot: u32,
    /// Index of the interface whose queue paces what the container sends, with or without [`BEHIND`], or [`NO_PACER`].
    pub pacer: u32,
    /// See [`flag`].
    pub flags: u32,
    /// Index of the bridge that it is a port of, or zero: unknown, and the short way is not taken.
    pub bridge: u32,
    /// Index of the interface itself.
    pub ifindex: u32,
    /// Its first IPv4 address, network order; zero: none.
    pub v4: [u8; 4],
    /// Its first IPv6 address, network order; zero: none.
    pub v6: [u8; 16],
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Zero.
    pub padding: [u8; 2],
}

/// The attachment behind one host-side veth; the key is the interface's index (`u32`). An element is replaced as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Who it is.
    pub end: End,
    /// The division of addresses into identities that its rule sets speak of.
    pub generation: u32,
    /// The rule set for what comes to it, or [`crate::policy::NO_SET`].
    pub ingress: u32,
    /// The rule set for what it sends, or [`crate::policy::NO_SET`].
    pub egress: u32,
}

impl Deref for Attachment {
    type Target = End;

    #[inline(always)]
    fn deref(&self) -> &End {
        &self.end
    }
}

/// Where map `ENDS` keeps an interface: the last bits of its index. Of two that share a place one is found in map `ATTACHMENTS` alone.
#[inline(always)]
#[must_use]
pub const fn place_of(ifindex: u32) -> u32 {
    ifindex % crate::maps::ENDS.entries
}

impl End {
    /// Where the program leads what the container sends; [`NO_PACER`] also where a filter behind it does.
    #[must_use]
    pub const fn pacer_of_program(&self) -> u32 {
        if self.is_paced_behind() { NO_PACER } else { self.pacer }
    }

    /// Whether a filter behind the program leads to the pacer.
    #[must_use]
    pub const fn is_paced_behind(&self) -> bool {
        self.pacer & BEHIND != 0
    }

    /// 1 where no program behind this one is to be asked of what goes on ([`flag::OWN_HOOKS`]), else 0. (A number that is read anew: a choice, and what is known of
    /// flags that were looked at before, is followed by the verifier into all that comes after.)
    #[inline(always)]
    #[must_use]
    pub fn is_last(&self) -> u32 {
        // SAFETY: it is a reference's.
        let flags = unsafe { (&raw const self.flags).read_volatile() };
        flags >> flag::OWN_HOOKS.trailing_zeros() & 1
    }

    /// Whether it has a [`flag`].
    #[must_use]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// Key of the prefix map `ALLOWED`, after its length: an address that an attachment may send from besides its first ones. A prefix of n bits of the
/// 128-bit address has the length 32 + n.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AllowedKey {
    /// The attachment.
    pub slot: u32,
    /// The address, network order; IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
}

const _: () = assert!(size_of::<End>() == 5 * 4 + 4 + 16 + 6 + 2); // the sum of the fields: no hidden padding
const _: () = assert!(size_of::<Attachment>() == size_of::<End>() + 3 * 4);
const _: () = assert!(align_of::<Attachment>() == 4);
const _: () = assert!(size_of::<AllowedKey>() == 4 + 16);

// SAFETY: repr(C), integers and byte arrays only and no padding (asserted above), so that every byte pattern is a value and every byte is set.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Attachment {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for End {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for AllowedKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_leads_nowhere_where_a_filter_behind_it_does() {
        for (pacer, of_program, behind) in [(NO_PACER, NO_PACER, false), (7, 7, false), (7 | BEHIND, NO_PACER, true)] {
            let attachment = End { slot: 3, pacer, ..End::default() };
            assert_eq!((attachment.pacer_of_program(), attachment.is_paced_behind()), (of_program, behind));
        }
    }
}
