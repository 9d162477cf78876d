//! Bytes of a frame → what policy, guards and flows need to know of it. Never follows a pointer: bytes come from a [`Bytes`], and what is not there is none.
//!
//! Ethernet, up to two VLAN tags, ARP, IPv4 with options, IPv6 with a bounded walk over its extension headers, fragments, TCP, UDP, SCTP, ICMP, ICMPv6.

mod ethernet;
mod ipv4;
mod ipv6;
pub mod slice;
mod transport;

use netd_abi::Why;

pub use self::ethernet::parse;

/// A frame's bytes from some place on, at first from the Ethernet header. Numbers come in host order; each is none where the frame ends before.
///
/// Places within a header are constants, and each header begins a new view ([`Bytes::from`]): so the verifier can follow.
pub trait Bytes: Header + Sized {
    /// The bytes from this place of the whole frame on. For places that are known beforehand, or nearly.
    fn from(&self, at: u32) -> Option<Self>;
    /// Some bytes at any place of the whole frame: slower, but nothing that the verifier has to keep apart.
    fn far<const N: usize>(&self, at: u32) -> Option<[u8; N]>;
    /// The first `N` bytes of this view, looked for once: what is read of them is there.
    fn block<const N: u32>(&self) -> Option<impl Header>;
    /// The whole frame's length.
    fn length(&self) -> u32;
}

/// A header at any place of a frame.
pub struct Far<'a, B> {
    frame: &'a B,
    at: u32,
}

impl<'a, B: Bytes> Far<'a, B> {
    /// The header that begins here.
    #[inline(always)]
    pub fn at(frame: &'a B, at: u32) -> Self {
        Self { frame, at }
    }
}

/// What is read of a header: at places that count from its beginning.
pub trait Header {
    /// One byte.
    fn u8(&self, at: u32) -> Option<u8>;
    /// Two, the first one the highest.
    fn u16(&self, at: u32) -> Option<u16>;
    /// Four, as they stand.
    fn word(&self, at: u32) -> Option<u32>;
}

impl<B: Bytes> Header for Far<'_, B> {
    #[inline(always)]
    fn u8(&self, at: u32) -> Option<u8> {
        self.frame.far::<1>(self.at + at).map(|[byte]| byte)
    }

    #[inline(always)]
    fn u16(&self, at: u32) -> Option<u16> {
        self.frame.far(self.at + at).map(u16::from_be_bytes)
    }

    #[inline(always)]
    fn word(&self, at: u32) -> Option<u32> {
        self.frame.far(self.at + at).map(u32::from_ne_bytes)
    }
}

/// An address: four words as they stand in a packet; IPv4 as `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2).
pub type Address = [u32; 4];

/// The address of an IPv4 word.
#[inline(always)]
#[must_use]
pub const fn v4(word: u32) -> Address {
    [0, 0, 0xffff_u32.to_be(), word]
}

/// Whether it is an IPv4 address.
#[inline(always)]
#[must_use]
pub const fn is_v4(address: &Address) -> bool {
    address[0] == 0 && address[1] == 0 && address[2] == 0xffff_u32.to_be()
}

/// The bytes of an address, for a map's key.
#[inline(always)]
#[must_use]
pub const fn bytes(address: Address) -> [u8; 16] {
    // SAFETY: four integers without padding are sixteen bytes, and every byte pattern is a byte.
    unsafe { core::mem::transmute(address) }
}

/// The words of an address that came from a map.
#[inline(always)]
#[must_use]
pub fn words(address: &[u8; 16]) -> Address {
    // SAFETY: sixteen bytes are four integers, whatever they are; transmute copies them, so that their place may be aligned to one.
    unsafe { core::mem::transmute(*address) }
}

/// IP protocol numbers (IANA).
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6's fragment header.
    pub const FRAGMENT: u8 = 44;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// TCP flags as the header has them (RFC 9293, 3.1).
pub mod tcp {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 1 << 1;
    /// Reset.
    pub const RST: u8 = 1 << 2;
    /// The acknowledgement counts.
    pub const ACK: u8 = 1 << 4;
}

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Frame {
    /// Where it says it comes from: the first two bytes and the last four, as they stand.
    pub source_mac: (u16, u32),
    /// Where it goes.
    pub destination_mac: (u16, u32),
    /// How many bytes of VLAN tags stand in it.
    pub tags: u32,
    /// What is in it: says which of the following counts.
    pub inside: Inside,
    /// The IP packet.
    pub packet: Packet,
    /// The ARP packet.
    pub arp: Arp,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Inside {
    /// IPv4 or IPv6.
    Ip,
    /// ARP for IPv4 over Ethernet.
    Arp,
    /// Something else.
    #[default]
    Other,
    /// What says it is IP or ARP and is not.
    Wrong(Why),
}

/// An ARP packet (RFC 826).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Arp {
    /// The sender's hardware address, split as in [`Frame`].
    pub sender_mac: (u16, u32),
    /// The sender's address, as it stands; zero in a probe (RFC 5227).
    pub sender: u32,
}

/// An IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Packet {
    /// Where it says it comes from.
    pub source: Address,
    /// Where it goes.
    pub destination: Address,
    /// The protocol of what it carries.
    pub protocol: u8,
    /// The sender's port as it stands, in host order; of an ICMP echo its identifier; else 0.
    pub source_port: u16,
    /// The receiver's.
    pub destination_port: u16,
    /// TCP flags; 0 elsewhere.
    pub flags: u8,
    /// ICMP's type; 0 elsewhere.
    pub icmp_type: u8,
    /// Whether it is cut, and which part it is.
    pub fragment: Cut,
    /// What is known of it besides.
    pub marks: u8,
    /// Where the IP header begins, in bytes of the frame.
    pub network_at: u32,
    /// Where the transport header begins; of a later fragment where its bytes do.
    pub transport_at: u32,
}

/// Bits of [`Packet::marks`].
pub mod mark {
    /// It has a source route.
    pub const SOURCE_ROUTE: u8 = 1;
    /// An ICMP message that is an error about another packet.
    pub const ICMP_ERROR: u8 = 1 << 1;
    /// A message of neighbour discovery or multicast listening. Whether it is one of its link [`Packet::is_of_link`] says.
    pub const LINK: u8 = 1 << 2;
    /// There were more extension headers than are looked through.
    pub const TOO_MANY_HEADERS: u8 = 1 << 3;
}

/// Which part of a packet this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Cut {
    /// All of it.
    #[default]
    Whole,
    /// The first part, with the transport header; others follow.
    First(u32),
    /// A later part.
    Later(u32),
}

impl Packet {
    /// Forgets what a former packet's transport said.
    #[inline(always)]
    const fn clear_transport(&mut self) {
        self.source_port = 0;
        self.destination_port = 0;
        self.flags = 0;
        self.icmp_type = 0;
        self.marks = 0;
        self.fragment = Cut::Whole;
    }

    /// Whether a mark is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    /// Whether it is what a link needs to work at all, and of this link: with the hop limit of one's own link for multicast listeners (RFC 2710, 3; RFC 3810, 5),
    /// and for neighbour discovery with one that no router has lowered (RFC 4861, 11.2). The hop limit is read here, as nothing else asks for it.
    #[inline(always)]
    #[must_use]
    pub fn is_of_link(&self, bytes: &impl Bytes) -> bool {
        let of_listeners = matches!(self.icmp_type, 130..=132 | 143);
        self.has(mark::LINK) && Far::at(bytes, self.network_at).u8(7) == Some(if of_listeners { 1 } else { 255 })
    }

    /// Whether it goes to many: a multicast group, or IPv4's broadcast.
    #[inline(always)]
    #[must_use]
    pub const fn goes_to_group(&self) -> bool {
        let [first, .., last] = self.destination;
        if is_v4(&self.destination) { u32::from_be(last) >> 28 >= 0xe } else { u32::from_be(first) >> 24 == 0xff }
    }
}

#[cfg(test)]
pub(crate) mod tests;
