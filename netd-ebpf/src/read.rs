//! The only place that follows the kernel's pointer to a packet. Never decides anything.

use aya_ebpf::programs::TcContext;
use netd_ebpf::count::Size;

/// The interface at which the program runs.
#[inline(always)]
pub(crate) fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the kernel passes a valid __sk_buff, and the verifier checks each access to it.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// How large the packet is.
#[inline(always)]
pub(crate) fn size(ctx: &TcContext) -> Size {
    let skb = ctx.skb.skb;
    // SAFETY: as above.
    unsafe { Size { bytes: (*skb).len, gso_segs: (*skb).gso_segs, gso_size: (*skb).gso_size } }
}
