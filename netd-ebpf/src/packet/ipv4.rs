//! IPv4 (RFC 791): header, options, fragments.

use netd_abi::Why;

use super::{Bytes, Cut, Far, Header as _, Packet, mark, transport, v4};

/// Bytes of the header without options.
const HEADER: u32 = 20;
/// Bytes of all options at most: IHL has four bits, of words.
const OPTIONS: u32 = 40;
/// Loose and strict source route.
const SOURCE_ROUTES: [u8; 2] = [131, 137];

/// Reads the IPv4 packet that begins here; says what is wrong with it, or that it may go on.
#[inline(always)]
pub(super) fn parse(bytes: &impl Bytes, at: u32, packet: &mut Packet) -> Why {
    read(bytes, at, packet).unwrap_or(Why::DropMalformed)
}

#[inline(always)]
fn read(bytes: &impl Bytes, at: u32, packet: &mut Packet) -> Option<Why> {
    let ip = bytes.from(at)?;
    // The whole header is there, so that what follows needs no look at the end each.
    ip.word(HEADER - 4)?;
    let first = ip.u8(0)?;
    let header = u32::from(first & 0x0f) * 4;
    let length = u32::from(ip.u16(2)?);
    // A frame may be longer than its packet (Ethernet pads), never shorter; a length of 0 is that of a packet over 64 KiB (BIG TCP), whose bytes are all there.
    let end = if length == 0 { bytes.length() } else { at + length };
    if first >> 4 != 4 || header < HEADER || at + header > end || end > bytes.length() {
        return Some(Why::DropMalformed);
    }
    let cut = ip.u16(6)?;
    let (offset, more) = (u32::from(cut & 0x1fff) * 8, cut & 0x2000 != 0);
    packet.source = v4(ip.word(12)?);
    packet.destination = v4(ip.word(16)?);
    packet.protocol = ip.u8(9)?;
    packet.clear_transport();
    packet.network_at = at;
    packet.transport_at = at + header;
    if offset != 0 || more {
        let id = u32::from(ip.u16(4)?);
        packet.fragment = if offset == 0 { Cut::First(id) } else { Cut::Later(id) };
    }
    if header > HEADER && !options(bytes, at + HEADER, header - HEADER, packet) {
        return Some(Why::DropMalformed);
    }
    if offset > 0 {
        return Some(if transport::overwrites(packet.protocol, offset) { Why::DropFragmentOverlap } else { Why::Forward });
    }
    if header == HEADER {
        let header = bytes.from(at + HEADER)?;
        transport::read_v4(&header, packet, end - (at + HEADER))?;
        return Some(Why::Forward);
    }
    Some(if far(bytes, packet, end) { Why::Forward } else { Why::DropMalformed })
}

/// What stands behind options: seldom.
#[inline(never)]
fn far<B: Bytes>(bytes: &B, packet: &mut Packet, end: u32) -> bool {
    let (at, room) = (packet.transport_at, end.wrapping_sub(packet.transport_at));
    at <= end && transport::read_v4(&Far::at(bytes, at), packet, room).is_some()
}

/// Walks over the options, and says whether that can be done to their end.
#[inline(never)]
fn options<B: Bytes>(bytes: &B, at: u32, length: u32, packet: &mut Packet) -> bool {
    let mut place = 0;
    // Each option has at least one byte; a bound that the verifier sees.
    for _ in 0..OPTIONS {
        if place >= length {
            break;
        }
        let option = Far::at(bytes, at + place);
        let Some(kind) = option.u8(0) else { return false };
        if kind == 0 {
            break;
        }
        let mut size = 1;
        if kind != 1 {
            let Some(stated) = option.u8(1) else { return false };
            size = u32::from(stated);
            if size < 2 || place + size > length {
                return false;
            }
            if SOURCE_ROUTES[0] == kind || SOURCE_ROUTES[1] == kind {
                packet.marks |= mark::SOURCE_ROUTE;
            }
        }
        place += size;
    }
    true
}
