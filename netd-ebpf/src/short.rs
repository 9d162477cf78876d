//! The short way: a packet between two containers of one network goes straight into the other's namespace. Taken only where the long way would let it pass
//! too, so that both give the same answers; what is dropped or rejected takes the long way to its drop.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_redirect_peer, bpf_skb_change_type};
use aya_ebpf::programs::TcContext;
use netd_abi::Direction;
use netd_abi::attachment::{NO_PACER, flag};
use netd_ebpf::flow::key;
use netd_ebpf::guard::{is_own, mac};
use netd_ebpf::packet::{Cut, bytes};

use crate::track::track;
use crate::work::Work;
use crate::{handle, maps, read};

/// For this host (PACKET_HOST in linux/if_packet.h): the bridge would have sent it on, and the other end takes it in.
const PACKET_HOST: u32 = 0;

/// In place of the kernel's word for a packet that is on its way: it is not.
pub(crate) const THE_LONG_WAY: i32 = -1;

/// Sends the packet the short way and counts it for its receiver. [`THE_LONG_WAY`] where it has to go that; what is known of it as sent is overwritten.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn short_way(skb: *mut __sk_buff) -> i32 {
    pass(skb).unwrap_or(THE_LONG_WAY)
}

#[inline(always)]
fn pass(skb: *mut __sk_buff) -> Option<i32> {
    let Work { frame, seen, .. } = maps::work()?;
    let from = maps::attachment(seen.ifindex)?;
    let packet = &frame.packet;
    let stays = from.bridge != 0
        && from.pacer == NO_PACER
        && !from.has(flag::ISOLATED)
        && frame.tags == 0
        && matches!(packet.fragment, Cut::Whole)
        // What a container sends with its address of another network may be a reply that a filtered bridge translates back.
        && is_own(from, &packet.source);
    if !stays || read::is_tagged(&TcContext::new(skb)) {
        return None;
    }
    let ifindex = maps::local(&bytes(packet.destination))?;
    let to = maps::attachment(ifindex)?;
    let is_neighbour =
        to.bridge == from.bridge && to.slot != from.slot && !to.has(flag::ISOLATED | flag::PACED) && frame.destination_mac == mac(to);
    if !is_neighbour {
        return None;
    }
    seen.key = key(to.slot, packet, Direction::ToContainer);
    seen.goes(Direction::ToContainer);
    seen.ifindex = ifindex;
    let said = track(packet, seen);
    if !said.passes() {
        return None;
    }
    // SAFETY: the helpers take the packet and numbers.
    let ways = unsafe {
        if bpf_skb_change_type(skb, PACKET_HOST) != 0 {
            return None;
        }
        bpf_redirect_peer(ifindex, 0)
    };
    handle::count(to, seen, said);
    Some(ways as i32)
}
