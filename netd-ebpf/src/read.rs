//! The only place that follows the kernel's pointers to a packet. Never decides anything.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes;
use aya_ebpf::programs::TcContext;
use netd_ebpf::count::Size;
use netd_ebpf::packet::{Bytes, Header};

/// So many bytes are brought into reach where the kernel holds them elsewhere: Ethernet, two tags, the largest IPv4 header and TCP's, or IPv6 with some
/// extension headers.
const REACH: u32 = 192;
/// No header begins further on: Ethernet, tags and eight extension headers of the largest size.
const FARTHEST: u32 = 0x4fff;

/// The interface at which the program runs.
#[inline(always)]
pub(crate) fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the kernel passes a valid __sk_buff, and the verifier checks each access to it.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// The interface by which the packet came into this host; 0 for what the host sends itself.
#[inline(always)]
pub(crate) fn came_by(ctx: &TcContext) -> u32 {
    // SAFETY: as above.
    unsafe { (*ctx.skb.skb).ingress_ifindex }
}

/// The packet's mark.
#[inline(always)]
pub(crate) fn mark(ctx: &TcContext) -> u32 {
    // SAFETY: as above.
    unsafe { (*ctx.skb.skb).mark }
}

/// Whether the kernel keeps a VLAN tag beside the packet.
#[inline(always)]
pub(crate) fn is_tagged(ctx: &TcContext) -> bool {
    // SAFETY: as above.
    unsafe { (*ctx.skb.skb).vlan_present != 0 }
}

/// Whether a socket of this host sent it.
#[inline(always)]
pub(crate) fn has_socket(ctx: &TcContext) -> bool {
    // SAFETY: as above; the pointer is compared and not followed.
    unsafe { !(*ctx.skb.skb).__bindgen_anon_2.sk.is_null() }
}

/// How large the packet is.
#[inline(always)]
pub(crate) fn size(ctx: &TcContext) -> Size {
    let skb = ctx.skb.skb;
    // SAFETY: as above.
    unsafe { Size { bytes: (*skb).len, gso_segs: (*skb).gso_segs, gso_size: (*skb).gso_size } }
}

/// The frame, read where it lies.
#[derive(Clone, Copy)]
pub(crate) struct Linear {
    skb: *mut __sk_buff,
    /// Where the frame begins.
    whole: usize,
    /// Where this view of it begins.
    data: usize,
    end: usize,
    len: u32,
}

impl Linear {
    /// The frame of this packet, with its headers in reach; none where they cannot be brought there.
    #[inline(always)]
    pub(crate) fn of(ctx: &TcContext) -> Option<Self> {
        let len = ctx.len();
        let wanted = if len < REACH { len } else { REACH };
        if ctx.data() + wanted as usize > ctx.data_end() && ctx.pull_data(wanted).is_err() {
            return None;
        }
        Some(Self::within(ctx))
    }

    /// The frame, with what of it is in reach already.
    #[inline(always)]
    pub(crate) fn within(ctx: &TcContext) -> Self {
        Self { skb: ctx.skb.skb, whole: ctx.data(), data: ctx.data(), end: ctx.data_end(), len: ctx.len() }
    }

    #[inline(always)]
    fn read<T: Copy>(&self, at: u32) -> Option<T> {
        let place = self.data + at as usize;
        if place + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: the bytes lie before the packet's end (checked above, and by the verifier again). They may be unaligned, which the architectures that
        // netd runs on allow; a read by single bytes would cost four times as much on each packet.
        Some(unsafe { *(place as *const T) })
    }
}

impl Header for Linear {
    #[inline(always)]
    fn u8(&self, at: u32) -> Option<u8> {
        self.read(at)
    }

    #[inline(always)]
    fn u16(&self, at: u32) -> Option<u16> {
        self.read(at).map(u16::from_be)
    }

    #[inline(always)]
    fn word(&self, at: u32) -> Option<u32> {
        self.read(at)
    }
}

impl Bytes for Linear {
    #[inline(always)]
    fn from(&self, at: u32) -> Option<Self> {
        if at > FARTHEST {
            return None;
        }
        let data = self.whole + at as usize;
        // SAFETY: it reads a local variable. The compiler must not compute this pointer again where it uses it: what the verifier knows of one does not hold for
        // the other.
        let data = unsafe { core::ptr::read_volatile(&raw const data) };
        Some(Self { data, ..*self })
    }

    #[inline(always)]
    fn far<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        // SAFETY: the helper writes at most N bytes, and checks that the packet has them.
        let read = unsafe { bpf_skb_load_bytes(self.skb.cast(), at, bytes.as_mut_ptr().cast(), N as u32) };
        (read == 0).then_some(bytes)
    }

    #[inline(always)]
    fn block<const N: u32>(&self) -> Option<impl Header> {
        (self.data + N as usize <= self.end).then_some(Block::<N> { data: self.data })
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.len
    }
}

/// Bytes that are known to be in reach: the first `N` of a view.
struct Block<const N: u32> {
    data: usize,
}

impl<const N: u32> Block<N> {
    #[inline(always)]
    fn read<T: Copy>(&self, at: u32) -> Option<T> {
        if at + size_of::<T>() as u32 > N {
            return None;
        }
        // SAFETY: the bytes are among those that `Linear::block` has looked for, and the verifier checks it again. As to alignment see `Linear::read`.
        Some(unsafe { *((self.data + at as usize) as *const T) })
    }
}

impl<const N: u32> Header for Block<N> {
    #[inline(always)]
    fn u8(&self, at: u32) -> Option<u8> {
        self.read(at)
    }

    #[inline(always)]
    fn u16(&self, at: u32) -> Option<u16> {
        self.read(at).map(u16::from_be)
    }

    #[inline(always)]
    fn word(&self, at: u32) -> Option<u32> {
        self.read(at)
    }
}
