//! TCP, UDP, SCTP, ICMP, ICMPv6. What ends before its header does is wrong: none.

use super::{Header, Packet, mark, protocol};

/// Bytes of the header that has to be whole in the first part of a packet; 0 for protocols without ports.
#[inline(always)]
const fn size_of_header(protocol: u8) -> u32 {
    match protocol {
        protocol::TCP => 20,
        protocol::UDP => 8,
        protocol::SCTP => 12,
        protocol::ICMP | protocol::ICMPV6 => 8,
        _ => 0,
    }
}

/// Whether a later fragment that begins at this byte would write over the transport header (RFC 1858, RFC 5722).
#[inline(always)]
pub(super) const fn overwrites(protocol: u8, offset: u32) -> bool {
    offset < size_of_header(protocol)
}

/// What IPv4 carries; `room` is how many bytes of the packet are left from here.
#[inline(always)]
pub(super) fn read_v4(header: &impl Header, packet: &mut Packet, room: u32) -> Option<()> {
    if packet.protocol == protocol::ICMP { icmp(header, packet, room) } else { ports(header, packet, room) }
}

/// What IPv6 carries.
#[inline(always)]
pub(super) fn read_v6(header: &impl Header, packet: &mut Packet, room: u32) -> Option<()> {
    if packet.protocol == protocol::ICMPV6 { icmp6(header, packet, room) } else { ports(header, packet, room) }
}

/// Ports, and TCP's flags.
#[inline(always)]
fn ports(header: &impl Header, packet: &mut Packet, room: u32) -> Option<()> {
    let size = size_of_header(packet.protocol);
    if size == 0 {
        return Some(());
    }
    if size > room {
        return None;
    }
    packet.source_port = header.u16(0)?;
    packet.destination_port = header.u16(2)?;
    if packet.protocol == protocol::TCP {
        packet.flags = header.u8(13)?;
        let length = u32::from(header.u8(12)? >> 4) * 4;
        if length < 20 || length > room && matches!(packet.fragment, super::Cut::Whole) {
            return None;
        }
    }
    Some(())
}

/// ICMP (RFC 792).
#[inline(always)]
fn icmp(message: &impl Header, packet: &mut Packet, room: u32) -> Option<()> {
    if size_of_header(protocol::ICMP) > room {
        return None;
    }
    packet.icmp_type = message.u8(0)?;
    match packet.icmp_type {
        // Echo reply and request.
        0 | 8 => identify(packet, message.u16(4)?),
        // Unreachable (with "fragmentation needed"), source quench, time exceeded, parameter problem.
        3 | 4 | 11 | 12 => packet.marks |= mark::ICMP_ERROR,
        _ => {}
    }
    Some(())
}

/// ICMPv6 (RFC 4443).
#[inline(always)]
fn icmp6(message: &impl Header, packet: &mut Packet, room: u32) -> Option<()> {
    if size_of_header(protocol::ICMPV6) > room {
        return None;
    }
    packet.icmp_type = message.u8(0)?;
    match packet.icmp_type {
        128 | 129 => identify(packet, message.u16(4)?),
        // Unreachable, too big, time exceeded, parameter problem.
        1..=4 => packet.marks |= mark::ICMP_ERROR,
        // Multicast listeners (RFC 2710, RFC 3810) and neighbour discovery (RFC 4861).
        130..=137 | 143 => packet.marks |= mark::LINK,
        _ => {}
    }
    Some(())
}

/// An echo's request and reply are one flow.
#[inline(always)]
fn identify(packet: &mut Packet, id: u16) {
    (packet.source_port, packet.destination_port) = (id, id);
}
