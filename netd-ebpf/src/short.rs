//! The short way: a packet between two containers of one network goes straight into the other's namespace. Taken only where the long way would let it pass
//! too, so that both give the same answers; what is dropped or rejected takes the long way to its drop.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_redirect_peer, bpf_skb_change_type};
use aya_ebpf::programs::TcContext;
use netd_abi::Direction;
use netd_abi::attachment::{End, NO_PACER, flag};
use netd_abi::flow::{Config, FlowKey, NO_NEIGHBOUR, config};
use netd_ebpf::flow::key;
use netd_ebpf::guard::{is_own, mac};
use netd_ebpf::near::Nearby;
use netd_ebpf::packet::{Address, Cut, Frame, bytes, words};
use netd_ebpf::said::Said;

use crate::handle::{count, count_plain};
use crate::track::{GoesOn, near};
use crate::work::Work;
use crate::{maps, read, table};

/// For this host (PACKET_HOST in linux/if_packet.h): the bridge would have sent it on, and the other end takes it in.
const PACKET_HOST: u32 = 0;

/// In place of the kernel's word for a packet that is on its way: it is not.
pub(crate) const THE_LONG_WAY: i32 = -1;
/// The same: its receiver is in the sender's place in [`Work`], and what is known of it there is to be found.
pub(crate) const TO_BE_FOUND: i32 = -2;

/// Whether the short way may be taken at all.
#[inline(always)]
pub(crate) fn is_short(direction: Direction, config: Config) -> bool {
    matches!(direction, Direction::FromContainer) && config.flags & config::FAST_PATH != 0
}

/// Where the short way leads the packet in [`Work`], as in [`Flow::neighbour`](netd_abi::flow::Flow::neighbour).
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn leads_to() -> u32 {
    looked_for().unwrap_or(0)
}

#[inline(always)]
fn looked_for() -> Option<u32> {
    let Work { frame, seen, nearby, .. } = maps::work()?;
    let from = maps::end(seen.ifindex).filter(|from| may_go(from, frame))?;
    Some(neighbour(from, &frame.packet.destination, frame.destination_mac, nearby).map_or(NO_NEIGHBOUR, |to| to.ifindex))
}

/// Whether the frame may go the short way at all.
#[inline(always)]
fn may_go(from: &End, frame: &Frame) -> bool {
    let packet = &frame.packet;
    frame.tags == 0 && packet.marks == 0 && matches!(packet.fragment, Cut::Whole) && may_leave(from, &packet.source)
}

/// Puts the packet's receiver in the sender's place in [`Work`]: from now on that is about the packet as it gets it. 0 where the packet has to go the long way.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn leads() -> u32 {
    u32::from(turned().is_some())
}

#[inline(always)]
fn turned() -> Option<()> {
    let Work { frame, seen, .. } = maps::work()?;
    let from = maps::end(seen.ifindex).filter(|from| may_go(from, frame))?;
    // The index may be another's by now.
    let is_there = |to: &&End| is_own(to, &frame.packet.destination) && is_neighbour(from, to, frame.destination_mac);
    let known = match seen.neighbour {
        NO_NEIGHBOUR => return None,
        0 => None,
        ifindex => maps::end(ifindex).filter(is_there),
    };
    let to = known.or_else(|| found_anew(&seen.key).filter(is_there))?;
    seen.key = key(to.slot, &frame.packet, Direction::ToContainer);
    seen.goes(Direction::ToContainer);
    seen.ifindex = to.ifindex;
    Some(())
}

/// Who is the neighbour now, for a flow that does not know it, or knows one that has gone.
#[inline(always)]
fn found_anew(key: &FlowKey) -> Option<&'static End> {
    let neighbour = leads_to();
    if let Some(known) = table::find(key, table::place_of(key)) {
        // SAFETY: an array's element is always there. The next packets of the flow go by it, after a look at who is there.
        unsafe { (*known.flow).neighbour = neighbour };
    }
    if neighbour == NO_NEIGHBOUR { None } else { maps::end(neighbour) }
}

/// The container that has an address, where it is a neighbour.
#[inline(always)]
fn neighbour(from: &End, address: &Address, mac: (u16, u32), nearby: &mut Nearby) -> Option<&'static End> {
    let lately = maps::end(nearby.neighbour(address)).filter(|to| is_own(to, address));
    let to = lately.or_else(|| {
        let ifindex = maps::local(&bytes(*address))?;
        nearby.note_neighbour(address, ifindex);
        maps::end(ifindex)
    });
    to.filter(|to| is_neighbour(from, to, mac))
}

/// Sends the packet to the receiver that [`leads`] has found, and counts it there.
#[inline(always)]
pub(crate) fn send(ctx: &TcContext, said: Said) -> Option<i32> {
    let seen = &maps::work()?.seen;
    let ways = redirect(ctx.skb.skb, seen.ifindex)?;
    count(u32::from(seen.key.slot), Direction::ToContainer, seen.counted, said);
    Some(ways)
}

/// The same for a plain packet with these TCP flags, to this hardware address, of a flow that knows its neighbour, where that only has to count it.
/// [`THE_LONG_WAY`] where the neighbour is not there any more, or cannot be asked; [`TO_BE_FOUND`] where there is more to do.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn known_way(skb: *mut __sk_buff, neighbour: u32, mac: u32, rest_of_mac: u32, flags: u32) -> i32 {
    go_known_way(&TcContext::new(skb), neighbour, (mac as u16, rest_of_mac), flags as u8).unwrap_or(THE_LONG_WAY)
}

#[inline(always)]
fn go_known_way(ctx: &TcContext, neighbour: u32, mac: (u16, u32), flags: u8) -> Option<i32> {
    let Work { seen, other, nearby, .. } = maps::work()?;
    let from = maps::end(seen.ifindex)?;
    let to = maps::end(neighbour)?;
    let key = &seen.key;
    // The index may be another's by now.
    let is_there = is_own(to, &words(&key.remote)) && is_neighbour(from, to, mac);
    if !is_there || read::is_tagged(ctx) || !may_leave(from, &words(&key.local)) {
        return None;
    }
    *other = key.from_other_end(to.slot as u16);
    let Some(GoesOn { rule, .. }) = near(other, nearby, &seen.passing(flags), Direction::ToContainer) else {
        seen.key = *other;
        seen.goes(Direction::ToContainer);
        seen.ifindex = neighbour;
        return Some(TO_BE_FOUND);
    };
    let ways = redirect(ctx.skb.skb, neighbour)?;
    count_plain(to.slot, Direction::ToContainer, seen.counted, rule);
    Some(ways)
}

/// Whether what a container sends may leave the long way at all.
#[inline(always)]
fn may_leave(from: &End, source: &Address) -> bool {
    from.bridge != 0
        && from.pacer == NO_PACER
        && !from.has(flag::ISOLATED)
        // What a container sends with its address of another network may be a reply that a filtered bridge translates back.
        && is_own(from, source)
}

/// Whether another container is on the same bridge, and is meant, and is reached by it.
#[inline(always)]
fn is_neighbour(from: &End, to: &End, destination: (u16, u32)) -> bool {
    to.bridge == from.bridge && to.slot != from.slot && !to.has(flag::ISOLATED | flag::PACED) && destination == mac(to)
}

#[inline(always)]
fn redirect(skb: *mut __sk_buff, ifindex: u32) -> Option<i32> {
    // SAFETY: the helpers take the packet and numbers.
    unsafe { (bpf_skb_change_type(skb, PACKET_HOST) == 0).then(|| bpf_redirect_peer(ifindex, 0) as i32) }
}
