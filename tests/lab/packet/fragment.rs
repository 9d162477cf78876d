//! Datagrams cut into fragments, and fragments that belong to none. Never puts them together.

use super::{Frame, checksum};

/// Where in a frame the IPv4 identification, flags and offset stand: after 14 bytes of Ethernet and 4 of IPv4 (RFC 791).
const IDENTIFICATION: usize = 14 + 4;
/// The protocol number of IPv6's fragment header (RFC 8200 §4.5).
const FRAGMENT: u8 = 44;

impl Frame {
    /// A UDP datagram in fragments of at most `size` bytes, a multiple of 8, in order.
    pub fn udp_in_fragments(&self, payload: &[u8], size: usize, identification: u32) -> Vec<Vec<u8>> {
        let datagram = self.datagram(payload);
        let parts = datagram.chunks(size).enumerate();
        parts.map(|(at, part)| self.fragment(17, part, at * size, (at + 1) * size < datagram.len(), identification)).collect()
    }

    /// A fragment of a packet of this protocol: what it holds, where that belongs, and whether more follows.
    pub fn fragment(&self, protocol: u8, part: &[u8], offset: usize, more: bool, identification: u32) -> Vec<u8> {
        let units = u16::try_from(offset / 8).expect("an offset within a packet");
        if self.to.is_ipv6() {
            let mut header = vec![protocol, 0];
            header.extend_from_slice(&(units << 3 | u16::from(more)).to_be_bytes());
            header.extend_from_slice(&identification.to_be_bytes());
            return self.ip(FRAGMENT, &[&header, part].concat());
        }
        let mut frame = self.ip(protocol, part);
        let [_, _, high, low] = identification.to_be_bytes();
        frame[IDENTIFICATION..IDENTIFICATION + 2].copy_from_slice(&[high, low]);
        frame[IDENTIFICATION + 2..IDENTIFICATION + 4].copy_from_slice(&(units | u16::from(more) << 13).to_be_bytes());
        frame[14 + 10..14 + 12].copy_from_slice(&[0, 0]);
        let sum = checksum(&frame[14..14 + 20], 0);
        frame[14 + 10..14 + 12].copy_from_slice(&sum.to_be_bytes());
        frame
    }
}
