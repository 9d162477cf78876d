//! Frames put together from the inside out: a transport, an IP packet around it, Ethernet around that. Never reads one.

use std::{vec, vec::Vec};

use crate::packet::{Address, protocol, tcp, v4, words};

/// The container's hardware address, and its neighbour's.
pub(crate) const OWN_MAC: [u8; 6] = [2, 0x6e, 0x64, 0, 0, 2];
pub(crate) const PEER_MAC: [u8; 6] = [2, 0x6e, 0x64, 0, 0, 3];
pub(crate) const OWN_V4: [u8; 4] = [10, 4, 0, 2];
pub(crate) const PEER_V4: [u8; 4] = [10, 4, 0, 3];
/// fd00:4::2 and fd00:4::3.
pub(crate) const OWN_V6: [u8; 16] = [0xfd, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
pub(crate) const PEER_V6: [u8; 16] = [0xfd, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const IPV6: u16 = 0x86dd;

/// The address as a packet's words.
pub(crate) fn address4(address: [u8; 4]) -> Address {
    v4(u32::from_ne_bytes(address))
}

/// See above.
pub(crate) fn address6(address: [u8; 16]) -> Address {
    words(&address)
}

/// A frame of the container's to its neighbour.
pub(crate) fn ethernet(kind: u16, body: &[u8]) -> Vec<u8> {
    [&PEER_MAC[..], &OWN_MAC, &kind.to_be_bytes(), body].concat()
}

/// The same frame from another hardware address.
pub(crate) fn from_mac(mac: [u8; 6], mut frame: Vec<u8>) -> Vec<u8> {
    frame[6..12].copy_from_slice(&mac);
    frame
}

/// What stands in a frame of type 0x8100 or 0x88a8: a tag and what is behind it.
pub(crate) fn tag(vlan: u16, kind: u16, body: &[u8]) -> Vec<u8> {
    [&vlan.to_be_bytes()[..], &kind.to_be_bytes(), body].concat()
}

/// An ARP request (1) or reply (2) for the neighbour.
pub(crate) fn arp(operation: u16, mac: [u8; 6], sender: [u8; 4]) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4][..], &operation.to_be_bytes(), &mac, &sender, &[0; 6], &PEER_V4].concat()
}

/// An IPv4 packet.
#[derive(Clone)]
pub(crate) struct Ipv4 {
    pub(crate) from: [u8; 4],
    pub(crate) to: [u8; 4],
    pub(crate) protocol: u8,
    pub(crate) options: Vec<u8>,
    pub(crate) id: u16,
    /// Flags and offset as the header has them.
    pub(crate) cut: u16,
    /// In place of the true numbers: words of the header, bytes of the packet.
    pub(crate) ihl: Option<u8>,
    pub(crate) length: Option<u16>,
    pub(crate) body: Vec<u8>,
}

impl Ipv4 {
    /// From the container to its neighbour.
    pub(crate) fn of(protocol: u8, body: &[u8]) -> Self {
        let (options, body) = (Vec::new(), body.to_vec());
        Self { from: OWN_V4, to: PEER_V4, protocol, options, id: 0x1234, cut: 0, ihl: None, length: None, body }
    }

    /// The part that begins at this byte.
    pub(crate) fn part(self, offset: u16, more: bool) -> Self {
        Self { cut: (offset / 8) | (u16::from(more) << 13), ..self }
    }

    pub(crate) fn options(self, options: &[u8]) -> Self {
        Self { options: options.to_vec(), ..self }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let header = 20 + self.options.len();
        let ihl = self.ihl.unwrap_or((header / 4) as u8);
        let length = self.length.unwrap_or((header + self.body.len()) as u16);
        let (length, id, cut) = (length.to_be_bytes(), self.id.to_be_bytes(), self.cut.to_be_bytes());
        let first = [0x40 | ihl, 0, length[0], length[1], id[0], id[1], cut[0], cut[1], 64, self.protocol, 0, 0];
        [&first[..], &self.from, &self.to, &self.options, &self.body].concat()
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        ethernet(IPV4, &self.bytes())
    }
}

/// An IPv6 packet; the body begins with its extension headers.
#[derive(Clone)]
pub(crate) struct Ipv6 {
    pub(crate) from: [u8; 16],
    pub(crate) to: [u8; 16],
    pub(crate) next: u8,
    pub(crate) hops: u8,
    /// In place of the true number of bytes behind the header.
    pub(crate) length: Option<u16>,
    pub(crate) body: Vec<u8>,
}

impl Ipv6 {
    /// From the container to its neighbour.
    pub(crate) fn of(next: u8, body: &[u8]) -> Self {
        Self { from: OWN_V6, to: PEER_V6, next, hops: 255, length: None, body: body.to_vec() }
    }

    /// Behind one more extension header, which stands before what there was.
    pub(crate) fn behind(self, header: Extension) -> Self {
        let body = [&[self.next][..], &header.rest, &self.body].concat();
        Self { next: header.kind, body, ..self }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = self.length.unwrap_or(self.body.len() as u16).to_be_bytes();
        [&[0x60, 0, 0, 0, length[0], length[1], self.next, self.hops][..], &self.from, &self.to, &self.body].concat()
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        ethernet(IPV6, &self.bytes())
    }
}

/// An extension header without its first byte, which says what is next.
#[derive(Clone, Debug)]
pub(crate) struct Extension {
    pub(crate) kind: u8,
    pub(crate) rest: Vec<u8>,
}

/// Hop-by-hop (0), destination (60) or mobility (135), of so many units of eight bytes.
pub(crate) fn extension(kind: u8, units: u8) -> Extension {
    let mut rest = vec![0; usize::from(units) * 8 - 1];
    rest[0] = units - 1;
    Extension { kind, rest }
}

/// A routing header of this type over one address.
pub(crate) fn routing(kind: u8) -> Extension {
    let mut header = extension(43, 3);
    header.rest[1] = kind;
    header
}

/// The fragment header of the part that begins at this byte.
pub(crate) fn fragment(offset: u16, more: bool, id: u32) -> Extension {
    let place = (offset | u16::from(more)).to_be_bytes();
    Extension { kind: 44, rest: [&[0][..], &place, &id.to_be_bytes()].concat() }
}

/// An authentication header of 24 bytes.
pub(crate) fn authentication() -> Extension {
    let mut rest = vec![0; 23];
    rest[0] = 4;
    Extension { kind: 51, rest }
}

/// Transports from port 4000 to port 80 and nothing behind them.
pub(crate) fn tcp(flags: u8) -> Vec<u8> {
    [&[0x0f, 0xa0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 5 << 4, flags][..], &[0xff, 0xff, 0, 0, 0, 0]].concat()
}

pub(crate) fn syn() -> Vec<u8> {
    tcp(tcp::SYN)
}

pub(crate) fn udp(from: u16, to: u16) -> Vec<u8> {
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0, 12, 0, 0, b'n', b'e', b't', b'd']].concat()
}

pub(crate) fn sctp() -> Vec<u8> {
    vec![0x0f, 0xa0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// An ICMP or ICMPv6 message of this type; of an echo with this identifier.
pub(crate) fn icmp(kind: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    vec![kind, 0, 0, 0, high, low, 0, 1]
}

/// A neighbour solicitation (135), advertisement (136) or redirect (137) about a target, with options.
pub(crate) fn neighbour(kind: u8, target: [u8; 16], options: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0x60, 0, 0, 0][..], &target, options].concat()
}

/// The option that names the source's (1) or the target's (2) hardware address.
pub(crate) fn names(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    [&[kind, 1][..], &mac].concat()
}

/// One good frame of each kind that is read further than its Ethernet type.
pub(crate) fn good_frames() -> Vec<Vec<u8>> {
    let v4 = Ipv4::of;
    let v6 = Ipv6::of;
    let long = [syn(), vec![7; 40]].concat();
    vec![
        ethernet(ARP, &arp(1, OWN_MAC, OWN_V4)),
        v4(protocol::TCP, &syn()).frame(),
        v4(protocol::UDP, &udp(53, 4000)).options(&[1, 1, 1, 0]).frame(),
        v4(protocol::TCP, &syn()).options(&[131, 7, 4, 10, 4, 0, 9, 0]).frame(),
        v4(protocol::SCTP, &sctp()).frame(),
        v4(protocol::ICMP, &icmp(8, 77)).frame(),
        v4(protocol::TCP, &long).part(0, true).frame(),
        v4(protocol::TCP, &long).part(1480, false).frame(),
        ethernet(0x8100, &tag(5, IPV4, &v4(protocol::UDP, &udp(1, 2)).bytes())),
        ethernet(0x88a8, &tag(5, 0x8100, &tag(6, IPV6, &v6(protocol::TCP, &syn()).bytes()))),
        v6(protocol::TCP, &syn()).frame(),
        v6(protocol::UDP, &udp(547, 546)).behind(extension(60, 2)).behind(extension(0, 1)).frame(),
        v6(protocol::TCP, &syn()).behind(routing(0)).frame(),
        v6(protocol::TCP, &long).behind(fragment(0, true, 99)).frame(),
        v6(protocol::TCP, &long).behind(fragment(1448, false, 99)).frame(),
        v6(protocol::SCTP, &sctp()).behind(authentication()).behind(fragment(0, false, 99)).frame(),
        v6(protocol::ICMPV6, &icmp(128, 77)).frame(),
        v6(protocol::ICMPV6, &neighbour(136, OWN_V6, &names(2, OWN_MAC))).frame(),
        v6(protocol::ICMPV6, &neighbour(135, PEER_V6, &names(1, OWN_MAC))).behind(extension(0, 1)).frame(),
    ]
}
