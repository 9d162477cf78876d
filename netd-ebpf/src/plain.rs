//! A packet as most are: TCP or UDP, whole, without options or tags, and plainly the container's own where that is checked. It is read with few steps right
//! into its flow's key; whatever else a frame is, [`crate::packet`] reads it. Never says anything that that would not say, too.

use netd_abi::Direction;
use netd_abi::attachment::{End, flag};
use netd_abi::flow::{FlowKey, first_word};

use crate::guard;
use crate::packet::{Address, Bytes, Header, Packet, is_v4, protocol, v4, words};

/// Where the headers of such a packet begin: behind Ethernet, and behind IPv4 without options or IPv6.
const IP: u32 = 14;
const BEHIND_V4: u32 = IP + 20;
const BEHIND_V6: u32 = IP + 40;
/// Bytes of UDP's header (RFC 768), and of TCP's without options (RFC 9293, 3.1).
const UDP: u32 = 8;
const TCP: u32 = 20;

/// What such a packet says besides its flow's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// TCP's flags; 0 of UDP.
    pub flags: u8,
    /// Where it goes, split as in [`crate::packet::Frame`].
    pub destination_mac: (u16, u32),
    /// Where its transport header begins.
    pub transport_at: u32,
}

/// Addresses and ports, as they stand.
struct Ends {
    source: Address,
    destination: Address,
    protocol: u8,
    flags: u8,
    ports: ([u8; 2], [u8; 2]),
    transport_at: u32,
}

/// Reads a plain packet of an attachment's; none where it has to be looked at closely.
#[inline(always)]
pub fn read(frame: &impl Bytes, end: &End, direction: Direction, key: &mut FlowKey) -> Option<Plain> {
    let head = frame.block::<{ BEHIND_V4 + UDP }>()?;
    let kind = head.u16(12)?;
    // Each by itself to the end: what is known of one kind is decided when the program is compiled.
    if kind == 0x0800 {
        keyed(&head, v4_ends(frame, &head)?, end, direction, key)
    } else if kind == 0x86dd {
        keyed(&head, v6_ends(frame)?, end, direction, key)
    } else {
        None
    }
}

/// Writes the key of an attachment's packet, if the guard need not look at it closely.
#[inline(always)]
fn keyed(head: &impl Header, ends: Ends, end: &End, direction: Direction, key: &mut FlowKey) -> Option<Plain> {
    if matches!(direction, Direction::FromContainer) && end.flags & (flag::GUARD_MAC | flag::GUARD_IP) != 0 {
        let source_mac = (head.u16(6)?.to_be(), head.word(8)?);
        let is_service = ends.protocol == protocol::UDP && guard::is_of_clients(u16::from_be_bytes(ends.ports.1));
        if source_mac != guard::mac(end) || is_service || !guard::is_own(end, &ends.source) {
            return None;
        }
    }
    let (local, remote, local_port, remote_port) = match direction {
        Direction::FromContainer => (ends.source, ends.destination, ends.ports.0, ends.ports.1),
        Direction::ToContainer => (ends.destination, ends.source, ends.ports.1, ends.ports.0),
    };
    *key = FlowKey::of_words([
        first_word(end.slot as u16, ends.protocol, local_port, remote_port),
        pair(local[0], local[1]),
        pair(local[2], local[3]),
        pair(remote[0], remote[1]),
        pair(remote[2], remote[3]),
    ]);
    let destination_mac = (head.u16(0)?.to_be(), head.word(2)?);
    Some(Plain { flags: ends.flags, destination_mac, transport_at: ends.transport_at })
}

/// Two words of an address, as they stand, in one.
#[inline(always)]
const fn pair(one: u32, other: u32) -> u64 {
    if cfg!(target_endian = "big") { (one as u64) << 32 | other as u64 } else { one as u64 | (other as u64) << 32 }
}

#[inline(always)]
fn v4_ends<B: Bytes>(frame: &B, head: &impl Header) -> Option<Ends> {
    let length = u32::from(head.u16(IP + 2)?);
    // Version and words of the header; neither more fragments nor an offset.
    if head.u8(IP)? != 0x45 || head.u16(IP + 6)? & 0x3fff != 0 || IP + length > frame.length() {
        return None;
    }
    let protocol = head.u8(IP + 9)?;
    let flags = flags::<B, { BEHIND_V4 + TCP }>(frame, protocol, length.wrapping_sub(BEHIND_V4 - IP).cast_signed())?;
    Some(Ends {
        source: v4(head.word(IP + 12)?),
        destination: v4(head.word(IP + 16)?),
        protocol,
        flags,
        ports: (head.u16(BEHIND_V4)?.to_be_bytes(), head.u16(BEHIND_V4 + 2)?.to_be_bytes()),
        transport_at: BEHIND_V4,
    })
}

#[inline(always)]
fn v6_ends<B: Bytes>(frame: &B) -> Option<Ends> {
    let head = frame.block::<{ BEHIND_V6 + UDP }>()?;
    let room = u32::from(head.u16(IP + 4)?);
    if head.u8(IP)? >> 4 != 6 || BEHIND_V6 + room > frame.length() {
        return None;
    }
    let address = |at| Some([head.word(at)?, head.word(at + 4)?, head.word(at + 8)?, head.word(at + 12)?]);
    let (source, destination) = (address(IP + 8)?, address(IP + 24)?);
    let protocol = head.u8(IP + 6)?;
    let flags = flags::<B, { BEHIND_V6 + TCP }>(frame, protocol, room.cast_signed())?;
    (!is_v4(&source) && !is_v4(&destination)).then_some(Ends {
        source,
        destination,
        protocol,
        flags,
        ports: (head.u16(BEHIND_V6)?.to_be_bytes(), head.u16(BEHIND_V6 + 2)?.to_be_bytes()),
        transport_at: BEHIND_V6,
    })
}

/// TCP's flags, and 0 of UDP; none of anything else and where the header does not fit into the packet's `room`. `END` is where a TCP header ends.
#[inline(always)]
fn flags<B: Bytes, const END: u32>(frame: &B, protocol: u8, room: i32) -> Option<u8> {
    if protocol == protocol::UDP {
        return (room >= UDP.cast_signed()).then_some(0);
    }
    if protocol != protocol::TCP {
        return None;
    }
    let head = frame.block::<END>()?;
    let length = i32::from(head.u8(END - TCP + 12)? >> 4) * 4;
    (length >= TCP.cast_signed() && length <= room).then_some(head.u8(END - TCP + 13)?)
}

/// The packet whose flow has this key, for who wants to know more than the key.
#[inline(always)]
#[must_use]
pub fn packet(plain: Plain, key: &FlowKey, direction: Direction) -> Packet {
    let (local, remote) = (words(&key.local), words(&key.remote));
    let (local_port, remote_port) = (u16::from_be_bytes(key.local_port), u16::from_be_bytes(key.remote_port));
    let (source, destination, source_port, destination_port) = match direction {
        Direction::FromContainer => (local, remote, local_port, remote_port),
        Direction::ToContainer => (remote, local, remote_port, local_port),
    };
    Packet {
        source,
        destination,
        protocol: key.protocol,
        source_port,
        destination_port,
        flags: plain.flags,
        network_at: IP,
        transport_at: plain.transport_at,
        ..Packet::default()
    }
}

#[cfg(test)]
mod tests;
