//! A packet as part of a flow: its key, what its flags mean for what is known. Never looks anything up.

use netd_abi::{Direction, flow::FlowKey};

use crate::packet::{Packet, bytes, protocol, tcp};

/// Bits of [`netd_abi::flow::Flow::opener`].
pub mod opener {
    /// The direction of the first packet.
    pub const DIRECTION: u8 = 1;
    /// The host itself opened it.
    pub const HOST: u8 = 1 << 1;
    /// It came through a published port under the host's address, and was judged where it started.
    pub const JUDGED: u8 = 1 << 2;
}

/// The key of the flow that a packet belongs to.
#[inline(always)]
#[must_use]
pub fn key(slot: u32, packet: &Packet, direction: Direction) -> FlowKey {
    let (source, destination) = (bytes(packet.source), bytes(packet.destination));
    let (from, to) = (packet.source_port.to_be_bytes(), packet.destination_port.to_be_bytes());
    let (local, remote, local_port, remote_port) = match direction {
        Direction::FromContainer => (source, destination, from, to),
        Direction::ToContainer => (destination, source, to, from),
    };
    FlowKey { slot: slot as u16, protocol: packet.protocol, padding: 0, local_port, remote_port, local, remote }
}

/// Whether a connection of which these TCP flags were seen each way is over: reset, or both sides have sent their last.
#[inline(always)]
#[must_use]
pub const fn is_over([one, other]: [u8; 2]) -> bool {
    (one | other) & tcp::RST != 0 || one & other & tcp::FIN != 0
}

/// Whether TCP flags ask for a connection. Of other protocols they are 0.
#[inline(always)]
#[must_use]
pub const fn opens(flags: u8) -> bool {
    flags & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) == tcp::SYN
}

/// Whether a packet begins a connection anew though one of its key is known, of which this is the opener and these TCP flags were seen: a SYN from the other
/// side, or after the end. It is judged as a new one, so that an old connection is no way around a policy.
#[inline(always)]
#[must_use]
pub const fn begins_anew(opener: u8, seen: [u8; 2], flags: u8, direction: Direction) -> bool {
    opens(flags) && (direction_of(opener) as u32 != direction as u32 || is_over(seen))
}

/// Which way a flow's first packet went, of [`netd_abi::flow::Flow::opener`].
#[inline(always)]
#[must_use]
pub const fn direction_of(opener: u8) -> Direction {
    Direction::from_number((opener & opener::DIRECTION) as u32)
}

/// The protocol and port that policy speaks of; both zero for what is neither TCP, UDP nor SCTP.
#[inline(always)]
#[must_use]
pub const fn policy_port(protocol: u8, port: [u8; 2]) -> (u8, [u8; 2]) {
    match protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => (protocol, port),
        _ => (netd_abi::policy::OTHER_PROTOCOL, [0, 0]),
    }
}

/// The leading bits of a port.
#[inline(always)]
#[must_use]
pub const fn leading(port: [u8; 2], bits: u32) -> [u8; 2] {
    let mask = !(0xffff_u32 >> bits) as u16;
    (u16::from_be_bytes(port) & mask).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_bits_of_a_port_are_those_of_its_prefix() {
        for (bits, port) in [(0, 0), (1, 0x8000), (8, 0xab00), (15, 0xabcc), (16, 0xabcd)] {
            assert_eq!(leading(0xabcd_u16.to_be_bytes(), bits), u16::to_be_bytes(port), "{bits}");
        }
    }

    #[test]
    fn a_connection_is_over_with_a_reset_or_with_both_last_words() {
        assert!(!is_over([tcp::SYN | tcp::ACK | tcp::FIN, tcp::SYN | tcp::ACK]));
        assert!(is_over([tcp::SYN | tcp::ACK | tcp::FIN, tcp::ACK | tcp::FIN]));
        assert!(is_over([tcp::SYN, tcp::RST]));
    }

    #[test]
    fn a_syn_of_the_other_side_or_after_the_end_begins_anew() {
        let (from, to) = (Direction::FromContainer, Direction::ToContainer);
        let opener = from.number() as u8 | opener::HOST;
        assert!(!begins_anew(opener, [tcp::SYN, 0], tcp::SYN, from), "a SYN sent again");
        assert!(begins_anew(opener, [tcp::SYN, tcp::SYN], tcp::SYN, to));
        assert!(begins_anew(opener, [tcp::FIN, tcp::FIN], tcp::SYN, from));
        assert!(!begins_anew(opener, [tcp::SYN, 0], tcp::SYN | tcp::ACK, to));
    }

    #[test]
    fn both_directions_of_a_connection_have_one_key() {
        let out = crate::packet::tests::tcp_packet(tcp::SYN);
        let back = Packet {
            source: out.destination,
            destination: out.source,
            source_port: out.destination_port,
            destination_port: out.source_port,
            ..out
        };
        assert_eq!(key(7, &out, Direction::FromContainer), key(7, &back, Direction::ToContainer));
        assert_ne!(key(7, &out, Direction::FromContainer), key(8, &out, Direction::FromContainer));
    }
}
