//! What stations of a link tell each other: ARP, neighbour discovery, multicast listeners, DHCP. True or not is the story's business.

use std::net::IpAddr;

use super::{ARP, Frame, octets};

/// Where in a frame IPv6's hop limit stands; neighbour discovery is believed only with 255.
const HOP_LIMIT: usize = 14 + 7;

impl Frame {
    /// An ARP request (1) or reply (2): the hardware address that `from` is said to have, and whom it is told.
    pub fn arp(&self, operation: u16, sender: [u8; 6]) -> Vec<u8> {
        let mut frame = [self.to_mac, self.from_mac].concat();
        frame.extend_from_slice(&ARP.to_be_bytes());
        frame.extend_from_slice(&[0, 1, 8, 0, 6, 4]);
        frame.extend_from_slice(&operation.to_be_bytes());
        frame.extend_from_slice(&sender);
        frame.extend_from_slice(&octets(self.from.ip()));
        frame.extend_from_slice(&[0; 6]);
        frame.extend_from_slice(&octets(self.to.ip()));
        frame
    }

    /// A neighbour advertisement (RFC 4861 §4.4) that overrides what was known of `target`.
    pub fn neighbour_advertisement(&self, target: IpAddr, hardware: [u8; 6]) -> Vec<u8> {
        let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
        message.extend_from_slice(&octets(target));
        message.extend_from_slice(&[2, 1]);
        message.extend_from_slice(&hardware);
        self.with_hop_limit(message, 255)
    }

    /// A neighbour solicitation (RFC 4861 §4.3); from `::` it is that of duplicate address detection (RFC 4862 §5.4.2).
    pub fn neighbour_solicitation(&self, target: IpAddr) -> Vec<u8> {
        let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&octets(target));
        if !self.from.ip().is_unspecified() {
            message.extend_from_slice(&[1, 1]);
            message.extend_from_slice(&self.from_mac);
        }
        self.with_hop_limit(message, 255)
    }

    /// A report of a multicast listener (MLDv1, RFC 2710 §3) to the group that it listens to.
    pub fn listener_report(&self) -> Vec<u8> {
        let mut message = vec![131, 0, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&octets(self.to.ip()));
        self.with_hop_limit(message, 1)
    }

    fn with_hop_limit(&self, message: Vec<u8>, limit: u8) -> Vec<u8> {
        let mut frame = self.icmp(message);
        frame[HOP_LIMIT] = limit;
        frame
    }
}

/// A DHCP server's offer (RFC 2131 §2): from port 67 to port 68.
pub fn dhcp_offer() -> Vec<u8> {
    let mut message = vec![0; 236];
    message[..4].copy_from_slice(&[2, 1, 6, 0]);
    message.extend_from_slice(&[0x63, 0x82, 0x53, 0x63, 53, 1, 2, 255]);
    message
}

/// A DHCPv6 server's advertisement (RFC 8415 §8): from port 547 to port 546.
pub fn dhcpv6_advertisement() -> Vec<u8> {
    vec![2, 0, 0, 1]
}
