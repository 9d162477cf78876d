//! Real packet bytes and what is read of them. Here is how a test reads a slice; `made` puts frames together, the others hold the tests.

mod ethernet;
mod ipv4;
mod ipv6;
pub(crate) mod made;
pub(crate) mod random;
mod transport;

use super::*;

/// A frame in memory.
#[derive(Clone, Copy)]
pub(crate) struct Slice<'a> {
    whole: &'a [u8],
    /// Where this view of it begins.
    begins: usize,
}

impl<'a> Slice<'a> {
    pub(crate) fn of(whole: &'a [u8]) -> Self {
        Self { whole, begins: 0 }
    }
}

impl Header for Slice<'_> {
    fn u8(&self, at: u32) -> Option<u8> {
        self.far(self.begins as u32 + at).map(|[byte]| byte)
    }

    fn u16(&self, at: u32) -> Option<u16> {
        self.far(self.begins as u32 + at).map(u16::from_be_bytes)
    }

    fn word(&self, at: u32) -> Option<u32> {
        self.far(self.begins as u32 + at).map(u32::from_ne_bytes)
    }
}

impl Bytes for Slice<'_> {
    fn from(&self, at: u32) -> Option<Self> {
        Some(Self { begins: at as usize, ..*self })
    }

    fn far<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        self.whole.get(at as usize..)?.first_chunk().copied()
    }

    fn block<const N: u32>(&self) -> Option<impl Header> {
        let end = self.begins + N as usize;
        self.whole.get(..end).map(|whole| Slice { whole, ..*self })
    }

    fn length(&self) -> u32 {
        self.whole.len() as u32
    }
}

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
