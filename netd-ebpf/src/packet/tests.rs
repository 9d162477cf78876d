//! Real packet bytes and what is read of them. `made` puts frames together, the others hold the tests.

mod ethernet;
mod ipv4;
mod ipv6;
pub(crate) mod made;
pub(crate) mod random;
mod transport;

use super::*;
use crate::packet::slice::Slice;

/// What is read of a frame. What a former one left must not be seen: there is something of everything at first.
pub(crate) fn read(bytes: &[u8]) -> Frame {
    let mut frame =
        Frame { tags: 8, packet: Packet { marks: 0xff, icmp_type: 9, fragment: Cut::Later(7), ..tcp_packet(0xff) }, ..Frame::default() };
    let is_read = parse(&Slice::of(bytes), &mut frame);
    assert_eq!(is_read, bytes.len() >= 14, "an Ethernet header is all that it takes");
    frame
}

/// The IP packet of a frame that holds one.
#[track_caller]
pub(crate) fn packet(bytes: &[u8]) -> Packet {
    let frame = read(bytes);
    assert_eq!(frame.inside, Inside::Ip, "{bytes:02x?}");
    frame.packet
}

/// Nothing is read of these frames but that they are wrong.
#[track_caller]
fn wrong(why: Why, frames: &[std::vec::Vec<u8>]) {
    for frame in frames {
        assert_eq!(read(frame).inside, Inside::Wrong(why), "{frame:02x?}");
    }
}

/// A TCP packet with these flags.
pub(crate) fn tcp_packet(flags: u8) -> Packet {
    Packet {
        source: v4(u32::from_ne_bytes([10, 4, 0, 2])),
        destination: v4(u32::from_ne_bytes([10, 4, 0, 3])),
        protocol: protocol::TCP,
        source_port: 43_210,
        destination_port: 5_432,
        flags,
        icmp_type: 0,
        fragment: Cut::Whole,
        marks: 0,
        network_at: 14,
        transport_at: 34,
    }
}
