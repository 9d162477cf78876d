//! IPv6 (RFC 8200): header, and a bounded walk over extension headers.

use netd_abi::Why;

use super::{Bytes, Cut, Far, Packet, is_v4, mark, protocol::FRAGMENT, transport};

/// Bytes of the header.
const HEADER: u32 = 40;
/// So many extension headers are looked through. A packet as RFC 8200, 4.1, orders them has at most seven.
const MOST_HEADERS: u32 = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;

/// Reads the IPv6 packet that begins here; says what is wrong with it, or that it may go on.
#[inline(always)]
pub(super) fn parse(bytes: &impl Bytes, at: u32, packet: &mut Packet) -> Why {
    read(bytes, at, packet).unwrap_or(Why::DropMalformed)
}

#[inline(always)]
fn read(bytes: &impl Bytes, at: u32, packet: &mut Packet) -> Option<Why> {
    let ip = bytes.from(at)?;
    ip.word(HEADER - 4)?;
    let payload = u32::from(ip.u16(4)?);
    // A payload of 0 is that of a jumbogram (RFC 2675) or of a packet over 64 KiB of the kernel's (BIG TCP): all bytes of the frame.
    let end = if payload == 0 { bytes.length() } else { at + HEADER + payload };
    if ip.u8(0)? >> 4 != 6 || end > bytes.length() {
        return Some(Why::DropMalformed);
    }
    packet.source = [ip.word(8)?, ip.word(12)?, ip.word(16)?, ip.word(20)?];
    packet.destination = [ip.word(24)?, ip.word(28)?, ip.word(32)?, ip.word(36)?];
    // Never on a wire (draft-itojun-v6ops-v4mapped-harmful; the kernel takes none in): it would be taken for the IPv4 address everywhere else.
    if is_v4(&packet.source) || is_v4(&packet.destination) {
        return Some(Why::DropMalformed);
    }
    packet.protocol = ip.u8(6)?;
    packet.clear_transport();
    packet.network_at = at;
    packet.transport_at = at + HEADER;
    if is_extension(packet.protocol) {
        return Some(walk(bytes, packet, end));
    }
    let header = bytes.from(at + HEADER)?;
    transport::read_v6(&header, packet, end - (at + HEADER))?;
    Some(Why::Forward)
}

#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY)
}

/// Goes over the extension headers to what is behind them.
#[inline(never)]
fn walk<B: Bytes>(bytes: &B, packet: &mut Packet, end: u32) -> Why {
    for _ in 0..MOST_HEADERS {
        if !is_extension(packet.protocol) {
            break;
        }
        let Some([next, length, high, low, id @ ..]) = bytes.far::<8>(packet.transport_at) else { return Why::DropMalformed };
        // The length counts units of eight bytes without the first; an authentication header's words without the first two (RFC 4302, 2.2).
        let mut size = (u32::from(length) + 1) * 8;
        match packet.protocol {
            AUTHENTICATION => size = (u32::from(length) + 2) * 4,
            ROUTING if high == 0 => packet.marks |= mark::SOURCE_ROUTE,
            FRAGMENT => {
                size = 8;
                let offset = u32::from(u16::from_be_bytes([high, low & 0xf8]));
                let id = u32::from_ne_bytes(id);
                if offset > 0 {
                    packet.fragment = Cut::Later(id);
                    packet.protocol = next;
                    packet.transport_at += size;
                    if packet.transport_at > end {
                        return Why::DropMalformed;
                    }
                    return if transport::overwrites(next, offset) { Why::DropFragmentOverlap } else { Why::Forward };
                }
                // An atomic fragment is the whole packet (RFC 6946).
                if low & 1 != 0 {
                    packet.fragment = Cut::First(id);
                }
            }
            _ => {}
        }
        packet.protocol = next;
        packet.transport_at += size;
        if packet.transport_at > end {
            return Why::DropMalformed;
        }
    }
    if is_extension(packet.protocol) {
        packet.marks |= mark::TOO_MANY_HEADERS;
        return Why::Forward;
    }
    let (at, room) = (packet.transport_at, end.wrapping_sub(packet.transport_at));
    let is_read = transport::read_v6(&Far::at(bytes, at), packet, room).is_some();
    if is_read { Why::Forward } else { Why::DropMalformed }
}
