//! The headers of what netd sends in place of a packet that a policy rejects: a TCP reset, or an ICMP error. Works on values; checksums of the
//! transport are left to the caller, who knows whether the device makes them.

use crate::packet::{Address, tcp};

/// Time to live of what we send (RFC 1700).
const TTL: u8 = 64;
/// Bytes of a TCP header without options.
pub const TCP_HEADER: u32 = 20;

/// Destination unreachable, administratively prohibited: IPv4 (RFC 1812, 5.2.7.1) and IPv6 (RFC 4443, 3.1).
pub const PROHIBITED_V4: [u8; 2] = [3, 13];
/// See [`PROHIBITED_V4`].
pub const PROHIBITED_V6: [u8; 2] = [1, 1];

/// What of a TCP packet its reset depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Ports as the packet has them.
    pub source_port: u16,
    /// See above.
    pub destination_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags.
    pub flags: u8,
    /// Bytes of data.
    pub payload: u32,
}

/// The reset that answers a segment (RFC 9293, 3.10.7.1), with its checksum zero.
#[inline(always)]
#[must_use]
pub fn reset(segment: &Segment) -> [u8; 20] {
    let (seq, ack, flags) = if segment.flags & tcp::ACK != 0 {
        (segment.ack, 0, tcp::RST)
    } else {
        let counted = u32::from(segment.flags & tcp::SYN != 0) + u32::from(segment.flags & tcp::FIN != 0);
        (0, segment.seq.wrapping_add(segment.payload).wrapping_add(counted), tcp::RST | tcp::ACK)
    };
    let ([a, b], [c, d]) = (segment.destination_port.to_be_bytes(), segment.source_port.to_be_bytes());
    let ([e, f, g, h], [i, j, k, l]) = (seq.to_be_bytes(), ack.to_be_bytes());
    [a, b, c, d, e, f, g, h, i, j, k, l, 5 << 4, flags, 0, 0, 0, 0, 0, 0]
}

/// An IPv4 header without options, complete with its checksum.
#[inline(always)]
#[must_use]
pub fn ipv4(source: Address, destination: Address, protocol: u8, payload: u16) -> [u8; 20] {
    let [l, m] = (payload + 20).to_be_bytes();
    let ([a, b, c, d], [e, f, g, h]) = (source[3].to_ne_bytes(), destination[3].to_ne_bytes());
    // Never to be cut: it is smaller than any MTU.
    let header = [0x45, 0, l, m, 0, 0, 0x40, 0, TTL, protocol, 0, 0, a, b, c, d, e, f, g, h];
    let mut sum = 0_u32;
    let mut at = 0;
    while at < 20 {
        sum += u32::from(u16::from_be_bytes([header[at], header[at + 1]]));
        at += 2;
    }
    let [x, y] = (!fold(sum)).to_be_bytes();
    [0x45, 0, l, m, 0, 0, 0x40, 0, TTL, protocol, x, y, a, b, c, d, e, f, g, h]
}

/// An IPv6 header.
#[inline(always)]
#[must_use]
pub fn ipv6(source: Address, destination: Address, protocol: u8, payload: u16) -> [u32; 10] {
    let [l, m] = payload.to_be_bytes();
    let [a, b, c, d] = source;
    let [e, f, g, h] = destination;
    [0x6000_0000_u32.to_be(), u32::from_ne_bytes([l, m, protocol, TTL]), a, b, c, d, e, f, g, h]
}

/// A sum of 16-bit numbers brought back to 16 bits (RFC 1071).
#[inline(always)]
#[must_use]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::v4;

    #[test]
    fn a_header_sums_up_to_all_ones() {
        let header = ipv4(v4(u32::from_ne_bytes([10, 4, 0, 2])), v4(u32::from_ne_bytes([192, 0, 2, 7])), 6, 20);
        let sum = header.chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]))).sum();
        assert_eq!(fold(sum), 0xffff);
        assert_eq!((&header[2..4], &header[12..16]), (&[0, 40][..], &[10, 4, 0, 2][..]));
    }

    #[test]
    fn a_reset_acknowledges_a_syn_and_takes_its_number_from_an_acknowledgement() {
        let syn = Segment { source_port: 4000, destination_port: 80, seq: 1000, ack: 0, flags: tcp::SYN, payload: 0 };
        let answer = reset(&syn);
        assert_eq!(&answer[..4], &[0, 80, 15, 160]);
        assert_eq!((&answer[4..8], &answer[8..12], answer[13]), (&[0, 0, 0, 0][..], &1001_u32.to_be_bytes()[..], tcp::RST | tcp::ACK));
        let data = Segment { ack: 77, flags: tcp::ACK, payload: 100, ..syn };
        let answer = reset(&data);
        assert_eq!((&answer[4..8], &answer[8..12], answer[13]), (&77_u32.to_be_bytes()[..], &[0, 0, 0, 0][..], tcp::RST));
    }
}
