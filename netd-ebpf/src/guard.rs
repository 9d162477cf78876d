//! Whether what a container sends is its own to send. Decides on values alone; whether a further address is allowed it asks.

use netd_abi::{
    Why,
    attachment::{End, allowance, flag},
};

use crate::packet::{Address, Arp, Bytes, Cut, Far, Frame, Header as _, Inside, Packet, is_v4, mark, protocol, v4, words};

/// Neighbour discovery's messages (RFC 4861, 4).
mod nd {
    pub(super) const ROUTER_ADVERTISEMENT: u8 = 134;
    pub(super) const SOLICITATION: u8 = 135;
    pub(super) const ADVERTISEMENT: u8 = 136;
    pub(super) const REDIRECT: u8 = 137;
    /// Options: the sender's and the target's hardware address.
    pub(super) const SOURCE: u8 = 1;
    pub(super) const TARGET: u8 = 2;
    /// Where the options begin in a solicitation and in an advertisement.
    pub(super) const OPTIONS: u32 = 24;
}

/// Says why a container may not send this frame; none: it may. `allows` knows [`netd_abi::attachment::allowance`] of an address. Who stands for others (a virtual
/// IP, a machine behind the container) may do so by any hardware address, but gives no service of the host's and speaks for no other address.
#[inline(always)]
pub fn refuses(end: &End, frame: &Frame, bytes: &impl Bytes, allows: impl Fn(&Address) -> Option<u32>) -> Option<Why> {
    let is_own_mac = frame.source_mac == mac(end);
    let checks_ip = end.has(flag::GUARD_IP);
    let allowed = |address: &Address| if end.has(flag::ALLOWED) { allows(address) } else { None };
    match frame.inside {
        Inside::Arp if checks_ip => {
            let allowance = allowed(&v4(frame.arp.sender));
            if allowance == Some(allowance::OTHERS) {
                return None;
            }
            if refuses_arp(end, &frame.arp, allowance.is_some()) {
                return Some(Why::DropArpSpoof);
            }
        }
        Inside::Ip if checks_ip => {
            let packet = &frame.packet;
            if packet.has(mark::SOURCE_ROUTE) {
                return Some(Why::DropSourceRoute);
            }
            let allowance = if owns(end, packet, bytes) { Some(allowance::OWN) } else { allowed(&packet.source) };
            let Some(allowance) = allowance else { return Some(Why::DropSourceAddress) };
            let stands_for_others = allowance == allowance::OTHERS;
            if let Some(why) = refuses_service(packet) {
                return Some(why);
            }
            if packet.protocol == protocol::ICMPV6 && refuses_discovery(end, packet, bytes, &allowed, stands_for_others) {
                return Some(Why::DropNdSpoof);
            }
            if stands_for_others {
                return None;
            }
        }
        _ => {}
    }
    (end.has(flag::GUARD_MAC) && !is_own_mac).then_some(Why::DropSourceMac)
}

/// Whether clients of a service that only the host gives listen at this UDP port, wherever it is sent from: DHCP (RFC 2131, 4.1), DHCPv6 (RFC 8415, 7.2).
#[inline(always)]
#[must_use]
pub const fn is_of_clients(port: u16) -> bool {
    port == 68 || port == 546
}

/// The container's hardware address, split as a frame's is.
#[inline(always)]
#[must_use]
pub const fn mac(end: &End) -> (u16, u32) {
    let [a, b, c, d, e, f] = end.mac;
    (u16::from_ne_bytes([a, b]), u32::from_ne_bytes([c, d, e, f]))
}

/// Whether a frame that came to a container is meant for somebody else: a bridge that does not know where somebody is sends what is for them to everybody. Of who
/// may stand for others, or send as anybody, nobody can say.
#[inline(always)]
#[must_use]
pub const fn is_for_another(end: &End, destination_mac: (u16, u32)) -> bool {
    let own = mac(end);
    let [first, _] = destination_mac.0.to_ne_bytes();
    let is_to_group = first & 1 != 0;
    !is_to_group && (destination_mac.0 != own.0 || destination_mac.1 != own.1) && end.has(flag::GUARD_MAC) && !end.has(flag::ALLOWED)
}

/// Whether an address is one of its first ones.
#[inline(always)]
#[must_use]
pub fn is_own(end: &End, address: &Address) -> bool {
    if is_v4(address) {
        // An attachment without IPv4 has zero there, and zero is nobody's.
        address[3] == u32::from_ne_bytes(end.v4) && address[3] != 0
    } else {
        let own = words(&end.v6);
        *address == own && own != [0; 4]
    }
}

/// fe80::/10: chosen by the interface itself (RFC 4291, 2.5.6).
#[inline(always)]
fn is_link_local(address: &Address) -> bool {
    u32::from_be(address[0]) >> 22 == 0xfe80 >> 6
}

/// Whether the source is the container's: its own, a link-local one, or none yet where it asks for one.
#[inline(always)]
fn owns(end: &End, packet: &Packet, bytes: &impl Bytes) -> bool {
    let source = &packet.source;
    if is_own(end, source) {
        return true;
    }
    if is_v4(source) {
        // A client of DHCP (RFC 2131), and group membership of an interface without address (RFC 3376, 4.2.13).
        let asks = packet.protocol == protocol::UDP && packet.source_port == 68 && packet.destination_port == 67;
        return source[3] == 0 && (asks || packet.protocol == protocol::IGMP);
    }
    // Duplicate address detection and multicast listening begin without address (RFC 4862, 5.4; RFC 3810, 5.2.13).
    is_link_local(source) || *source == [0; 4] && packet.protocol == protocol::ICMPV6 && packet.is_of_link(bytes)
}

/// Services that only the host gives on a network.
#[inline(always)]
fn refuses_service(packet: &Packet) -> Option<Why> {
    match packet.protocol {
        protocol::UDP if is_of_clients(packet.destination_port) => Some(Why::DropDhcpServer),
        protocol::ICMPV6 if packet.icmp_type == nd::ROUTER_ADVERTISEMENT => Some(Why::DropRouterAdvertisement),
        _ => None,
    }
}

/// ARP speaks for the sender's address: its own, or none (a probe).
#[inline(always)]
fn refuses_arp(end: &End, arp: &Arp, is_further: bool) -> bool {
    arp.sender_mac != mac(end) || arp.sender != 0 && !is_further && !is_own(end, &v4(arp.sender))
}

/// An advertisement speaks for its target, and both messages name a hardware address.
#[inline(always)]
fn refuses_discovery(
    end: &End,
    packet: &Packet,
    bytes: &impl Bytes,
    allowed: &impl Fn(&Address) -> Option<u32>,
    stands_for_others: bool,
) -> bool {
    let option = match packet.icmp_type {
        nd::REDIRECT => return true,
        nd::ADVERTISEMENT => nd::TARGET,
        nd::SOLICITATION => nd::SOURCE,
        _ => return false,
    };
    // Never in parts (RFC 6980): what it names could stand in a later one.
    if !matches!(packet.fragment, Cut::Whole) {
        return true;
    }
    let message = Far::at(bytes, packet.transport_at);
    let word = |offset| message.word(offset);
    let (Some(a), Some(b), Some(c), Some(d)) = (word(8), word(12), word(16), word(20)) else { return true };
    let target = [a, b, c, d];
    if option == nd::TARGET {
        match allowed(&target) {
            Some(allowance::OTHERS) => return false,
            None if !is_own(end, &target) && !is_link_local(&target) => return true,
            _ => {}
        }
    } else if stands_for_others {
        return false;
    }
    // The first option is the address's; Linux sends no other before it.
    match message.u8(nd::OPTIONS) {
        Some(kind) if kind == option => {
            let named = (message.u16(nd::OPTIONS + 2).map(u16::to_be), message.word(nd::OPTIONS + 4));
            let own = mac(end);
            named != (Some(own.0), Some(own.1))
        }
        // Another option first would hide the one that counts; a nonce (RFC 7527) comes in solicitations of duplicate address detection, which name none
        // and from which nobody takes one.
        Some(_) => option == nd::TARGET || packet.source != [0; 4],
        None => false,
    }
}

#[cfg(test)]
mod tests;
