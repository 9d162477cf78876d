//! ICMP errors about a packet, true or made up. Never any other ICMP.

use super::{Frame, checksum};

/// What is said about a packet, in the words of RFC 792 and RFC 4443.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complaint {
    /// "Fragmentation needed", "packet too big": a link takes so many bytes only.
    TooBig(u16),
    /// Nobody listens on the port.
    PortUnreachable,
}

impl Frame {
    /// An ICMP error about a frame that was sent before: as much of that packet as fits into the smallest MTU.
    pub fn complains(&self, complaint: Complaint, about: &[u8]) -> Vec<u8> {
        let packet = &about[14..about.len().min(14 + 500)];
        let v6 = self.to.is_ipv6();
        let mut message = match (complaint, v6) {
            (Complaint::TooBig(mtu), false) => [&[3, 4, 0, 0, 0, 0][..], &mtu.to_be_bytes()].concat(),
            (Complaint::TooBig(mtu), true) => [&[2, 0, 0, 0][..], &u32::from(mtu).to_be_bytes()].concat(),
            (Complaint::PortUnreachable, false) => vec![3, 3, 0, 0, 0, 0, 0, 0],
            (Complaint::PortUnreachable, true) => vec![1, 4, 0, 0, 0, 0, 0, 0],
        };
        message.extend_from_slice(packet);
        self.icmp(message)
    }

    /// An ICMP or ICMPv6 message, whose checksum is put in.
    pub(super) fn icmp(&self, mut message: Vec<u8>) -> Vec<u8> {
        let v6 = self.to.is_ipv6();
        let length = u16::try_from(message.len()).expect("a small packet");
        let sum = checksum(&message, if v6 { self.pseudo_header(58, length) } else { 0 });
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.ip(if v6 { 58 } else { 1 }, &message)
    }
}
