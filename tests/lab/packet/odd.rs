//! Packets that no well-meaning station sends: with options, with many headers, cut off, of unknown kinds. Never sends them.

use super::{Frame, checksum, octets};

/// IPv6 extension headers (RFC 8200 §4).
pub const HOP_BY_HOP: u8 = 0;
/// See [`HOP_BY_HOP`].
pub const ROUTING: u8 = 43;
/// See [`HOP_BY_HOP`].
pub const DESTINATION: u8 = 60;

impl Frame {
    /// A packet of a protocol of this number.
    pub fn of_protocol(&self, number: u8, body: &[u8]) -> Vec<u8> {
        self.ip(number, body)
    }

    /// A frame of an Ethernet type of this number.
    pub fn of_ethernet(&self, number: u16, body: &[u8]) -> Vec<u8> {
        [&self.to_mac[..], &self.from_mac, &number.to_be_bytes(), body].concat()
    }

    /// A UDP datagram with IPv4 options, a multiple of 4 bytes.
    pub fn udp_with_options(&self, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut frame = self.udp(payload);
        let words = u8::try_from(options.len() / 4).expect("at most 40 bytes of options");
        frame[14] = 0x45 + words;
        let length = u16::try_from(frame.len() - 14 + options.len()).expect("a small packet");
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        frame[24..26].copy_from_slice(&[0, 0]);
        frame.splice(34..34, options.iter().copied());
        let sum = checksum(&frame[14..34 + options.len()], 0);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    /// A UDP datagram by a route of the sender's choice over `to`: loose source routing (RFC 791 §3.1), or a routing header of type 0
    /// (RFC 2460 §4.4).
    pub fn udp_source_routed(&self, payload: &[u8]) -> Vec<u8> {
        let hop = octets(self.to.ip());
        if self.to.is_ipv4() {
            // Type, length, pointer, one address, end.
            return self.udp_with_options(&[&[131, 7, 4][..], &hop, &[0]].concat(), payload);
        }
        let route = [&[17, 2, 0, 1, 0, 0, 0, 0][..], &hop].concat();
        self.ip(ROUTING, &[route, self.datagram(payload)].concat())
    }

    /// A UDP datagram over IPv6 behind so many extension headers of a kind, each of 8 bytes of padding.
    pub fn udp_behind(&self, kind: u8, count: usize, payload: &[u8]) -> Vec<u8> {
        let header = |at: usize| [if at + 1 == count { 17 } else { kind }, 0, 1, 4, 0, 0, 0, 0];
        let headers: Vec<u8> = (0..count).flat_map(header).collect();
        self.ip(kind, &[headers, self.datagram(payload)].concat())
    }

    /// A UDP datagram whose IP header says that the packet has so many bytes.
    pub fn udp_of_length(&self, length: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = self.udp(payload);
        if self.to.is_ipv6() {
            frame[18..20].copy_from_slice(&length.to_be_bytes());
            return frame;
        }
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        frame[24..26].copy_from_slice(&[0, 0]);
        let sum = checksum(&frame[14..34], 0);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame
    }
}
