//! Ethernet, VLAN tags, ARP.

use netd_abi::Why;

use super::{Arp, Bytes, Far, Frame, Header as _, Inside, ipv4, ipv6};

/// Bytes of the Ethernet header (IEEE 802.3).
const HEADER: u32 = 14;
/// Bytes of a VLAN tag (IEEE 802.1Q).
const TAG: u32 = 4;
/// The kernel keeps the outer tag beside the packet, so two more are one more than usual.
const MOST_TAGS: u32 = 2;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const VLAN: [u16; 2] = [0x8100, 0x88a8];

/// Reads what a frame says; false where it has no Ethernet header.
#[inline(always)]
pub fn parse(bytes: &impl Bytes, frame: &mut Frame) -> bool {
    frame.inside = Inside::Wrong(Why::DropMalformed);
    let Some(kind) = macs(bytes, frame) else { return false };
    frame.tags = 0;
    if kind == VLAN[0] || kind == VLAN[1] {
        tagged(bytes, frame);
    } else {
        inside(bytes, frame, kind, HEADER);
    }
    true
}

#[inline(always)]
fn macs(bytes: &impl Bytes, frame: &mut Frame) -> Option<u16> {
    frame.destination_mac = (bytes.u16(0)?.to_be(), bytes.word(2)?);
    frame.source_mac = (bytes.u16(6)?.to_be(), bytes.word(8)?);
    bytes.u16(12)
}

#[inline(always)]
fn inside(bytes: &impl Bytes, frame: &mut Frame, kind: u16, at: u32) {
    let wrong = match kind {
        IPV4 => ipv4::parse(bytes, at, &mut frame.packet),
        IPV6 => ipv6::parse(bytes, at, &mut frame.packet),
        ARP => {
            frame.inside = arp(bytes, at).map_or(Inside::Wrong(Why::DropMalformed), |arp| {
                frame.arp = arp;
                Inside::Arp
            });
            return;
        }
        _ => {
            frame.inside = Inside::Other;
            return;
        }
    };
    frame.inside = if matches!(wrong, Why::Forward) { Inside::Ip } else { Inside::Wrong(wrong) };
}

/// A frame with tags in it: seldom, and by itself, so that the usual way stays short.
#[inline(never)]
fn tagged<B: Bytes>(bytes: &B, frame: &mut Frame) {
    let mut at = HEADER;
    let mut kind = VLAN[0];
    while (kind == VLAN[0] || kind == VLAN[1]) && frame.tags < MOST_TAGS * TAG {
        let Some(next) = Far::at(bytes, at).u16(2) else { return };
        kind = next;
        at += TAG;
        frame.tags += TAG;
    }
    inside(bytes, frame, kind, at);
}

/// Ethernet and IPv4 only: nothing else is spoken on a veth, and what is not understood is wrong.
#[inline(always)]
fn arp(bytes: &impl Bytes, at: u32) -> Option<Arp> {
    let arp = bytes.from(at)?;
    let is_ours = arp.u16(0)? == 1 && arp.u16(2)? == IPV4 && arp.u16(4)? == 0x0604;
    // The target's addresses have to be there too.
    arp.word(24)?;
    is_ours.then_some(Arp { sender_mac: (arp.u16(8)?.to_be(), arp.word(10)?), sender: arp.word(14)? })
}
