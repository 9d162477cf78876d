//! Packets made by hand and taken apart: ARP, neighbour advertisements, UDP, SCTP INIT, TCP SYN. Only values and slices, no sockets.
//! Never more of a protocol than a story needs. In `packet/`: fragments, ICMP errors, what neighbours tell each other, and what no station should send.

pub mod fragment;
pub mod icmp;
pub mod neighbour;
pub mod odd;

use std::net::{IpAddr, SocketAddr};

/// Ethernet types of IEEE 802.
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// The internet checksum (RFC 1071) over `bytes` and a partial sum.
pub fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = bytes.chunks(2).fold(start, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

/// A frame to be sent: who to whom on the link, and an IP packet from whom to whom.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Sender's hardware address.
    pub from_mac: [u8; 6],
    /// Receiver's hardware address.
    pub to_mac: [u8; 6],
    /// Source.
    pub from: SocketAddr,
    /// Destination.
    pub to: SocketAddr,
}

impl Frame {
    /// A UDP datagram.
    pub fn udp(&self, payload: &[u8]) -> Vec<u8> {
        self.ip(17, &self.datagram(payload))
    }

    fn datagram(&self, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + payload.len()).expect("a small payload");
        let mut datagram = self.ports();
        datagram.extend_from_slice(&length.to_be_bytes());
        datagram.extend_from_slice(&[0, 0]);
        datagram.extend_from_slice(payload);
        let sum = checksum(&datagram, self.pseudo_header(17, length));
        datagram[6..8].copy_from_slice(&sum.to_be_bytes());
        datagram
    }

    /// A TCP SYN.
    pub fn syn(&self) -> Vec<u8> {
        self.tcp(0x02)
    }

    /// A TCP acknowledgement in the middle of a connection.
    pub fn ack(&self) -> Vec<u8> {
        self.tcp(0x10)
    }

    fn tcp(&self, flags: u8) -> Vec<u8> {
        let mut segment = self.ports();
        segment.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        let sum = checksum(&segment, self.pseudo_header(6, 20));
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        self.ip(6, &segment)
    }

    /// An SCTP INIT.
    pub fn sctp_init(&self) -> Vec<u8> {
        self.ip(132, &sctp(self.from.port(), self.to.port(), INIT))
    }

    /// A router advertisement (RFC 4861 §4.2) of a default route that lives 1800 s.
    pub fn router_advertisement(&self) -> Vec<u8> {
        let mut message = vec![134, 0, 0, 0, 64, 0];
        message.extend_from_slice(&1800_u16.to_be_bytes());
        message.extend_from_slice(&[0; 8]);
        let sum = checksum(&message, self.pseudo_header(58, 16));
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut frame = self.ip(58, &message);
        // Neighbour discovery is believed only with a hop limit of 255; it stands after the Ethernet header and 7 bytes of IPv6.
        frame[14 + 7] = 255;
        frame
    }

    fn ports(&self) -> Vec<u8> {
        [self.from.port().to_be_bytes(), self.to.port().to_be_bytes()].concat()
    }

    fn pseudo_header(&self, protocol: u8, length: u16) -> u32 {
        let words = |bytes: &[u8]| bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u32>();
        words(&octets(self.from.ip())) + words(&octets(self.to.ip())) + u32::from(protocol) + u32::from(length)
    }

    fn ip(&self, protocol: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = [self.to_mac, self.from_mac].concat();
        let length = u16::try_from(body.len()).expect("a small packet");
        if self.to.is_ipv4() {
            frame.extend_from_slice(&IPV4.to_be_bytes());
            let mut header = vec![0x45, 0];
            header.extend_from_slice(&(length + 20).to_be_bytes());
            header.extend_from_slice(&[0, 1, 0, 0, 64, protocol, 0, 0]);
            header.extend_from_slice(&octets(self.from.ip()));
            header.extend_from_slice(&octets(self.to.ip()));
            let sum = checksum(&header, 0);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            frame.extend_from_slice(&header);
        } else {
            frame.extend_from_slice(&IPV6.to_be_bytes());
            frame.extend_from_slice(&[0x60, 0, 0, 0]);
            frame.extend_from_slice(&length.to_be_bytes());
            frame.extend_from_slice(&[protocol, 64]);
            frame.extend_from_slice(&octets(self.from.ip()));
            frame.extend_from_slice(&octets(self.to.ip()));
        }
        frame.extend_from_slice(body);
        frame
    }
}

/// SCTP chunks that begin an association: its question, and the answer to it (RFC 9260 §3.2).
pub const INIT: u8 = 1;
/// See [`INIT`].
pub const INIT_ACK: u8 = 2;

/// An SCTP INIT or INIT ACK (RFC 9260 §3.3.2, 3.3.3) from one port to another: tag 1 at both ends, window 65535, one stream each way.
pub fn sctp(from: u16, to: u16, chunk: u8) -> Vec<u8> {
    let mut packet = [from.to_be_bytes(), to.to_be_bytes()].concat();
    // An INIT has no tag to answer to yet.
    packet.extend_from_slice(&u32::from(chunk != INIT).to_be_bytes());
    packet.extend_from_slice(&[0; 4]);
    packet.extend_from_slice(&[chunk, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1]);
    let sum = crc32c(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    packet
}

/// A frame that was seen, as far as stories ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// An ARP packet that tells where an address is: sender's hardware and protocol address.
    Arp([u8; 6], IpAddr),
    /// A neighbour advertisement: the hardware address of the frame's sender, and the target.
    Advertisement([u8; 6], IpAddr),
    /// An IP packet: source, destination, protocol, and what follows the IP header.
    Ip(IpAddr, IpAddr, u8, Vec<u8>),
}

impl Seen {
    /// Takes a frame apart; none for what no story asks for.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let sender: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
        let body = frame.get(14..)?;
        match u16::from_be_bytes([frame[12], frame[13]]) {
            ARP => Some(Self::Arp(body.get(8..14)?.try_into().ok()?, v4(body.get(14..18)?)?)),
            IPV4 => {
                let header = usize::from(body.first()? & 0xf) * 4;
                Some(Self::Ip(v4(body.get(12..16)?)?, v4(body.get(16..20)?)?, *body.get(9)?, body.get(header..)?.to_vec()))
            }
            IPV6 => {
                let (protocol, payload) = (*body.get(6)?, body.get(40..)?);
                // 58 is ICMPv6, 136 a neighbour advertisement (RFC 4861).
                if protocol == 58 && payload.first() == Some(&136) {
                    return Some(Self::Advertisement(sender, v6(payload.get(8..24)?)?));
                }
                Some(Self::Ip(v6(body.get(8..24)?)?, v6(body.get(24..40)?)?, protocol, payload.to_vec()))
            }
            _ => None,
        }
    }

    /// Source and destination port of a transport packet.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self {
            Self::Ip(_, _, 6 | 17 | 132, body) if body.len() >= 4 => {
                Some((u16::from_be_bytes([body[0], body[1]]), u16::from_be_bytes([body[2], body[3]])))
            }
            _ => None,
        }
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn v4(bytes: &[u8]) -> Option<IpAddr> {
    Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?))
}

fn v6(bytes: &[u8]) -> Option<IpAddr> {
    Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?))
}

/// CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected), which SCTP uses (RFC 9260 appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
