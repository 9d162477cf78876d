//! Turns a rejected packet into the answer that its sender gets, and sends it back. The only place that writes to a packet.

use aya_ebpf::bindings::{__sk_buff, BPF_F_INGRESS, BPF_F_INVALIDATE_HASH, BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM};
use aya_ebpf::helpers::generated::{
    bpf_csum_diff, bpf_l4_csum_replace, bpf_redirect, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::TcContext;
use netd_abi::Direction;
use netd_ebpf::answer::{self, PROHIBITED_V4, PROHIBITED_V6, Segment, TCP_HEADER};
use netd_ebpf::packet::{Cut, Packet, is_v4, mark, protocol, tcp};

use crate::read;

/// Marks a packet that netd made, from the program that made it to the one that it meets next, on the same interface: `nd` and a number. Nobody else sees
/// it: that program takes it off, and a container's end takes off every mark.
pub(crate) mod made {
    /// A TCP reset.
    pub(crate) const RESET: u32 = 0x6e64_0001;
    /// An ICMP error.
    pub(crate) const UNREACHABLE: u32 = 0x6e64_0002;
}

/// ICMP errors a second and CPU, as the kernel limits its own (net.ipv4.icmp_msgs_per_sec).
const MOST_ERRORS: u64 = 1_000;
const SECOND_NS: u64 = 1_000_000_000;
/// Flags of every write: a checksum that the device made for the whole packet stays true.
const WRITE: u64 = (BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH) as u64;
/// Bytes of two hardware addresses.
const MACS: u32 = 12;

#[repr(C)]
#[derive(Clone, Copy)]
struct Sent {
    since_ns: u64,
    count: u64,
}

#[map]
static SENT: PerCpuArray<Sent> = PerCpuArray::with_max_entries(1, 0);

/// In place of the kernel's word for an answer that is on its way: there is none.
pub(crate) const NO_ANSWER: i32 = -1;

/// Makes the answer and sends it back where the packet came from: to the container by its own interface, or back into the network as if the container
/// had sent it, so that it takes the way of a reply. [`NO_ANSWER`] where there is none to it, or it cannot be made; then
/// the packet is as good as dropped.
#[inline(always)]
pub(crate) fn answer(skb: *mut __sk_buff, packet: &Packet, direction: Direction, now: u64) -> i32 {
    make(skb, packet, direction, now).unwrap_or(NO_ANSWER)
}

#[inline(always)]
fn make(skb: *mut __sk_buff, packet: &Packet, direction: Direction, now: u64) -> Option<i32> {
    let ctx = &TcContext::new(skb);
    let ifindex = read::ifindex(ctx);
    let is_tcp = packet.protocol == protocol::TCP;
    let kind = if is_tcp { made::RESET } else { made::UNREACHABLE };
    let is_made = if is_tcp { reset(ctx, packet) } else { unreachable(ctx, packet, now) };
    if !is_made {
        return None;
    }
    swap_macs(ctx)?;
    ctx.set_mark(kind);
    let flags = match direction {
        Direction::FromContainer => 0,
        Direction::ToContainer => BPF_F_INGRESS,
    };
    // SAFETY: the helper takes two numbers and touches no memory of ours.
    Some(unsafe { bpf_redirect(ifindex, u64::from(flags)) } as i32)
}

#[inline(never)]
fn reset(ctx: &TcContext, packet: &Packet) -> bool {
    write_reset(ctx, packet).is_some()
}

#[inline(always)]
fn write_reset(ctx: &TcContext, packet: &Packet) -> Option<()> {
    // A reset is not answered (RFC 9293, 3.5.2), nor is a later fragment, which has no header.
    if packet.flags & tcp::RST != 0 || !matches!(packet.fragment, Cut::Whole) {
        return None;
    }
    let mut header = [0_u32; 5];
    load(ctx, packet.transport_at, &mut header)?;
    let length = (u32::from_be(header[3]) >> 28) * 4;
    let segment = Segment {
        source_port: packet.source_port,
        destination_port: packet.destination_port,
        seq: u32::from_be(header[1]),
        ack: u32::from_be(header[2]),
        flags: packet.flags,
        payload: ctx.len().wrapping_sub(packet.transport_at).wrapping_sub(length),
    };
    let at = headers(ctx, packet, protocol::TCP, TCP_HEADER)?;
    let made = answer::reset(&segment);
    store(ctx, at, &made)?;
    checksum(ctx, packet, protocol::TCP, at, 16, &made)
}

#[inline(never)]
fn unreachable(ctx: &TcContext, packet: &Packet, now: u64) -> bool {
    write_unreachable(ctx, packet, now).is_some()
}

#[inline(always)]
fn write_unreachable(ctx: &TcContext, packet: &Packet, now: u64) -> Option<()> {
    // Nobody is told about errors, nor about what goes to many (RFC 1122, 3.2.2; RFC 4443, 2.4).
    let is_error = packet.has(mark::ICMP_ERROR) || matches!(packet.fragment, Cut::Later(_));
    if is_error || packet.goes_to_group() || !may_send(now) {
        return None;
    }
    if is_v4(&packet.destination) {
        // Unused word, IP header and eight bytes more (RFC 792).
        let mut message = [0_u8; 8 + 20 + 8];
        if packet.transport_at.wrapping_sub(packet.network_at) != 20 {
            return None;
        }
        let quoted: &mut [u8; 28] = message.last_chunk_mut()?;
        load(ctx, packet.network_at, quoted)?;
        [message[0], message[1]] = PROHIBITED_V4;
        let sum = difference(&message, 0);
        [message[2], message[3]] = (!answer::fold(sum)).to_ne_bytes();
        let at = headers(ctx, packet, protocol::ICMP, message.len() as u32)?;
        store(ctx, at, &message)?;
    } else {
        let mut message = [0_u8; 8 + 40 + 8];
        if packet.transport_at.wrapping_sub(packet.network_at) != 40 {
            return None;
        }
        let quoted: &mut [u8; 48] = message.last_chunk_mut()?;
        load(ctx, packet.network_at, quoted)?;
        [message[0], message[1]] = PROHIBITED_V6;
        let sum = difference(&message, pseudo(packet, protocol::ICMPV6, message.len() as u32));
        [message[2], message[3]] = (!answer::fold(sum)).to_ne_bytes();
        let at = headers(ctx, packet, protocol::ICMPV6, message.len() as u32)?;
        store(ctx, at, &message)?;
    }
    Some(())
}

#[inline(always)]
fn may_send(now: u64) -> bool {
    let Some(sent) = SENT.get_ptr_mut(0) else { return false };
    // SAFETY: the place is this CPU's own, and a tc program is not interrupted by another one on its CPU.
    let sent = unsafe { &mut *sent };
    if now.wrapping_sub(sent.since_ns) >= SECOND_NS {
        *sent = Sent { since_ns: now, count: 0 };
    }
    sent.count += 1;
    sent.count <= MOST_ERRORS
}

/// Makes the packet as long as the answer, and writes its IP header. Gives where the transport begins.
#[inline(always)]
fn headers(ctx: &TcContext, packet: &Packet, protocol: u8, payload: u32) -> Option<u32> {
    let is_v4 = is_v4(&packet.destination);
    let at = packet.network_at + if is_v4 { 20 } else { 40 };
    // SAFETY: the kernel passes a valid __sk_buff.
    if unsafe { bpf_skb_change_tail(ctx.skb.skb, at + payload, 0) } != 0 {
        return None;
    }
    if is_v4 {
        store(ctx, packet.network_at, &answer::ipv4(packet.destination, packet.source, protocol, payload as u16))?;
    } else {
        store(ctx, packet.network_at, &answer::ipv6(packet.destination, packet.source, protocol, payload as u16))?;
    }
    Some(at)
}

/// Writes the checksum of a transport header that has zero there. Where the device makes it (CHECKSUM_PARTIAL), the kernel's helper writes the sum of the
/// pseudo header alone, as it must be then; all ones stands for zero in both ways of reading it.
#[inline(always)]
fn checksum(ctx: &TcContext, packet: &Packet, protocol: u8, at: u32, place: u32, header: &[u8; 20]) -> Option<()> {
    store(ctx, at + place, &[0xff_u8; 2])?;
    let skb = ctx.skb.skb;
    let of_pseudo = u64::from(pseudo(packet, protocol, header.len() as u32));
    let of_header = u64::from(difference(header, 0));
    // SAFETY: the kernel passes a valid __sk_buff; the helper checks the place.
    let done = unsafe {
        bpf_l4_csum_replace(skb, at + place, 0, of_pseudo, u64::from(BPF_F_PSEUDO_HDR)) == 0
            && bpf_l4_csum_replace(skb, at + place, 0, of_header, 0) == 0
    };
    done.then_some(())
}

/// The sum of the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1): the same for both directions.
#[inline(always)]
fn pseudo(packet: &Packet, protocol: u8, length: u32) -> u32 {
    let (a, b) = (packet.source, packet.destination);
    // An IPv4 address's three leading words have no place in it.
    let words = if is_v4(&a) {
        [a[3], b[3], 0, 0, 0, 0, 0, 0, length.to_be(), u32::from(protocol).to_be()]
    } else {
        [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], length.to_be(), u32::from(protocol).to_be()]
    };
    difference(&words, 0)
}

/// The sum of these bytes, added to a seed, folded to 16 bits.
#[inline(always)]
fn difference<T>(of: &T, seed: u32) -> u32 {
    let size = size_of::<T>() as u32;
    // SAFETY: the pointer is to `size` bytes, a multiple of four, and the other one is not looked at with a size of zero.
    let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, core::ptr::from_ref(of).cast_mut().cast(), size, seed) };
    u32::from(answer::fold(sum as u32))
}

#[inline(always)]
fn swap_macs(ctx: &TcContext) -> Option<()> {
    let mut macs = [0_u8; MACS as usize];
    load(ctx, 0, &mut macs)?;
    let [a, b, c, d, e, f, g, h, i, j, k, l] = macs;
    store(ctx, 0, &[g, h, i, j, k, l, a, b, c, d, e, f])
}

#[inline(always)]
fn load<T>(ctx: &TcContext, at: u32, into: &mut T) -> Option<()> {
    // SAFETY: the helper writes at most the size of `T`, which holds plain bytes or integers.
    let read = unsafe { bpf_skb_load_bytes(ctx.skb.skb.cast(), at, core::ptr::from_mut(into).cast(), size_of::<T>() as u32) };
    (read == 0).then_some(())
}

#[inline(always)]
fn store<T>(ctx: &TcContext, at: u32, bytes: &T) -> Option<()> {
    // SAFETY: the helper reads the size of `T` from it, and checks that the packet has so many bytes there.
    let written = unsafe { bpf_skb_store_bytes(ctx.skb.skb, at, core::ptr::from_ref(bytes).cast(), size_of::<T>() as u32, WRITE) };
    (written == 0).then_some(())
}
