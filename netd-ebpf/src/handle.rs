//! A packet's way through a program: whose it is, guard, flow and policy, count, and why it goes on or not. Never turns a reason into an action.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use netd_abi::attachment::{End, flag};
use netd_abi::counters::reason_key_of;
use netd_abi::flow::{Fragment, FragmentKey, NO_NEIGHBOUR};
use netd_abi::policy::{NO_RULE, NO_SET};
use netd_abi::{Attachment, Counters, Direction, Happened, Why};
use netd_ebpf::count::counted;
use netd_ebpf::flow::{key, opener};
use netd_ebpf::guard;
use netd_ebpf::packet::{self, Cut, Far, Header as _, Inside, Packet, bytes, is_v4, mark, protocol, v4};
use netd_ebpf::plain::{self, Plain};
use netd_ebpf::said::Said;
use netd_ebpf::verdict::Outcome;

use crate::judge::judge;
use crate::read::Linear;
use crate::reply::{self, made};
use crate::short::is_short;
use crate::track::{self, GoesOn, Passing, is_for_another};
use crate::work::{Seen, Work};
use crate::{emit, maps, read, short, table};

/// The kernel waits so long for a packet's fragments at most (net.ipv4.ipfrag_time, net.ipv6.ip6frag_time); what is said of the first holds no longer.
const FRAGMENTS_NS: u64 = 60_000_000_000;

/// Counts the packet and says what becomes of it. It is counted once: an ifb gives it back behind this hook (`tc_skip_classify` in
/// linux/drivers/net/ifb.c).
#[inline(always)]
pub(crate) fn handle(ctx: &TcContext, direction: Direction) -> Outcome {
    let counted = counted(read::size(ctx));
    let Some(end) = maps::end(read::ifindex(ctx)) else {
        return unanswered(Why::DropUnknownInterface, direction, counted);
    };
    if let Some(why) = made_by_us(ctx, direction) {
        count_number(end.slot, direction, why.number(), counted);
        ctx.set_mark(0);
        return Outcome::Says { why, pacer: 0, is_last: end.is_last() };
    }
    let Some(work) = maps::work() else { return unanswered(Why::DropPolicy, direction, counted) };
    let Some(plain) = plain::read(&Linear::within(ctx), end, direction, &mut work.seen.key) else {
        return closely(ctx, work, direction, counted);
    };
    let config = maps::config();
    let packet = Passing { now: work.seen.ticks(), counted, epoch: config.epoch, flags: plain.flags };
    let Some(GoesOn { neighbour, rule }) = track::near(&work.seen.key, &work.nearby, &packet, direction) else {
        work.seen.is(ctx, direction, counted, config);
        fill(plain, work, direction);
        return done(ctx, end, work, direction, track::track());
    };
    count_plain(end.slot, direction, counted, rule);
    if !is_short(direction, config) || neighbour == NO_NEIGHBOUR {
        return goes_on(end, direction);
    }
    work.seen.is(ctx, direction, counted, config);
    shortly(ctx, end, work, plain, neighbour)
}

/// The next packet of a flow of which it may be known where the short way leads.
#[inline(always)]
fn shortly(ctx: &TcContext, end: &End, work: &mut Work, plain: Plain, neighbour: u32) -> Outcome {
    let mut ways = short::THE_LONG_WAY;
    if neighbour != 0 {
        let (mac, rest_of_mac) = plain.destination_mac;
        ways = short::known_way(ctx.skb.skb, neighbour, u32::from(mac), rest_of_mac, u32::from(plain.flags));
    }
    if ways == short::THE_LONG_WAY {
        fill(plain, work, Direction::FromContainer);
        return short_or_long(ctx, end);
    }
    if ways == short::TO_BE_FOUND {
        // Asked for anew, as somebody else has written there meanwhile.
        if let Some(work) = maps::work() {
            fill(plain, work, Direction::ToContainer);
        }
        return as_received(ctx, end);
    }
    Outcome::Done(ways)
}

/// What is known of a plain packet besides its flow's key, for who finds it in [`Work`].
#[inline(always)]
fn fill(plain: Plain, work: &mut Work, direction: Direction) {
    work.frame.inside = Inside::Ip;
    work.frame.tags = 0;
    work.frame.destination_mac = plain.destination_mac;
    work.frame.packet = plain::packet(plain, &work.seen.key, direction);
}

/// A packet that is not plain, or plainly not allowed.
#[inline(always)]
fn closely(ctx: &TcContext, work: &mut Work, direction: Direction, counted: Counters) -> Outcome {
    let Some(attachment) = maps::attachment(read::ifindex(ctx)) else {
        return unanswered(Why::DropUnknownInterface, direction, counted);
    };
    let mut refused = NOT_REFUSED;
    if parse(ctx.skb.skb) == 0 {
        refused = wrong(attachment, direction, Why::DropMalformed).number();
    } else if matches!(direction, Direction::FromContainer) && attachment.flags & (flag::GUARD_MAC | flag::GUARD_IP) != 0 {
        work.seen.ifindex = read::ifindex(ctx);
        refused = refuses(ctx.skb.skb);
    }
    if matches!(work.frame.inside, Inside::Ip) {
        let (packet, seen) = (&work.frame.packet, &mut work.seen);
        seen.key = key(attachment.slot, packet, direction);
        seen.ticks();
        seen.is(ctx, direction, counted, maps::config());
        if refused != NOT_REFUSED {
            let said = Said::new(refused, NO_RULE);
            let _ = denied(ctx.skb.skb, said.raw());
            return Outcome::Says { why: said.done(), pacer: 0, is_last: attachment.is_last() };
        }
        return ip(ctx, attachment, work, direction);
    }
    let number = match work.frame.inside {
        _ if refused != NOT_REFUSED => refused,
        Inside::Other if governs(attachment, direction) => Why::DropNotIp.number(),
        Inside::Wrong(Why::DropFragmentOverlap) => Why::DropFragmentOverlap.number(),
        Inside::Wrong(_) => wrong(attachment, direction, Why::DropMalformed).number(),
        _ => Why::Forward.number(),
    };
    count_number(attachment.slot, direction, number, counted);
    Outcome::Says { why: Said::new(number, NO_RULE).done(), pacer: pacer(attachment, direction), is_last: attachment.is_last() }
}

/// The packet goes on.
#[inline(always)]
fn goes_on(end: &End, direction: Direction) -> Outcome {
    Outcome::Says { why: Why::Forward, pacer: pacer(end, direction), is_last: end.is_last() }
}

/// Where what a container sends waits. What it gets waits in the queue of its own interface, after this hook.
#[inline(always)]
fn pacer(end: &End, direction: Direction) -> u32 {
    match direction {
        Direction::FromContainer => end.pacer_of_program(),
        Direction::ToContainer => 0,
    }
}

/// Reads the frame; gives 0 where its headers could not be read at all.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn parse(skb: *mut __sk_buff) -> u32 {
    let Some(work) = maps::work() else { return 0 };
    let frame = &mut work.frame;
    let Some(linear) = Linear::of(&TcContext::new(skb)) else {
        maps::note(Happened::HeadersOutOfReach);
        frame.inside = Inside::Wrong(Why::DropMalformed);
        return 0;
    };
    u32::from(packet::parse(&linear, frame))
}

/// No reason has this number.
const NOT_REFUSED: u32 = u32::MAX;

/// The guard: a reason's number, or [`NOT_REFUSED`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn refuses(skb: *mut __sk_buff) -> u32 {
    let Some(work) = maps::work() else { return NOT_REFUSED };
    let Some(attachment) = maps::attachment(work.seen.ifindex) else { return NOT_REFUSED };
    let linear = Linear::within(&TcContext::new(skb));
    guard::refuses(attachment, &work.frame, &linear, |address| maps::allows(attachment.slot, address)).map_or(NOT_REFUSED, Why::number)
}

/// Whether a rule set holds for this direction.
#[inline(always)]
fn governs(attachment: &Attachment, direction: Direction) -> bool {
    match direction {
        Direction::FromContainer => attachment.egress != NO_SET,
        Direction::ToContainer => attachment.ingress != NO_SET,
    }
}

/// What cannot be understood is dropped where somebody relies on that it is: a policy, or a guard. Elsewhere it passes.
#[inline(always)]
fn wrong(attachment: &Attachment, direction: Direction, why: Why) -> Why {
    let guarded = matches!(direction, Direction::FromContainer) && attachment.has(flag::GUARD_IP);
    if guarded || governs(attachment, direction) { why } else { Why::Forward }
}

/// The reason for which one of our programs made this packet a moment ago, on this same interface.
#[inline(always)]
fn made_by_us(ctx: &TcContext, direction: Direction) -> Option<Why> {
    let why = match read::mark(ctx) {
        made::RESET => Why::MadeReset,
        made::UNREACHABLE => Why::MadeUnreachable,
        _ => return None,
    };
    (matches!(direction, Direction::FromContainer) || read::came_by(ctx) == read::ifindex(ctx)).then_some(why)
}

/// An IP packet that the guard lets through.
#[inline(always)]
fn ip(ctx: &TcContext, end: &End, work: &mut Work, direction: Direction) -> Outcome {
    let packet = &work.frame.packet;
    let is_particular = !matches!(packet.fragment, Cut::Whole) || packet.marks != 0 || packet.protocol == protocol::IGMP;
    let mut said = if is_particular { Said::from_raw(particular(ctx.skb.skb)) } else { Said::NOTHING };
    if said == Said::NOTHING {
        said = track::track();
    }
    if matches!(packet.fragment, Cut::First(_)) {
        remember_fragment(said.raw());
    }
    done(ctx, end, work, direction, said)
}

/// Does with an IP packet what was said of it.
#[inline(always)]
fn done(ctx: &TcContext, end: &End, work: &mut Work, direction: Direction, said: Said) -> Outcome {
    if !said.passes() {
        return match denied(ctx.skb.skb, said.raw()) {
            reply::NO_ANSWER => Outcome::Says { why: Why::DropPolicy, pacer: 0, is_last: 0 },
            ways => Outcome::Done(ways),
        };
    }
    count(end.slot, direction, work.seen.counted, said);
    if is_short(direction, work.seen.config) {
        return short_or_long(ctx, end);
    }
    goes_on(end, direction)
}

/// A packet that goes on: by the short way where that leads to its receiver, whose policy lets it in.
#[inline(always)]
fn short_or_long(ctx: &TcContext, end: &End) -> Outcome {
    if short::leads() != 0 && !read::is_tagged(ctx) { as_received(ctx, end) } else { goes_on(end, Direction::FromContainer) }
}

/// A packet whose receiver is in the sender's place in [`Work`].
#[inline(always)]
fn as_received(ctx: &TcContext, end: &End) -> Outcome {
    let said = track::track();
    if said.passes()
        && let Some(ways) = short::send(ctx, said)
    {
        return Outcome::Done(ways);
    }
    goes_on(end, Direction::FromContainer)
}

/// What is said of a packet that is no plain part of a flow; nothing where it is one after all. A [`Said`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn particular(skb: *mut __sk_buff) -> u64 {
    let Some(Work { frame, seen, .. }) = maps::work() else { return Said::because(Why::DropPolicy).raw() };
    let Some(attachment) = maps::attachment(seen.ifindex) else { return Said::because(Why::DropUnknownInterface).raw() };
    of_particular(skb, attachment, &frame.packet, seen).raw()
}

#[inline(always)]
fn of_particular(skb: *mut __sk_buff, attachment: &Attachment, packet: &Packet, seen: &mut Seen) -> Said {
    if let Cut::Later(id) = packet.fragment {
        return later_fragment(attachment, packet, seen, id);
    }
    // What a link needs to work at all: neighbours, and who listens to which group.
    if packet.is_of_link(&Linear::within(&TcContext::new(skb))) || packet.protocol == protocol::IGMP && packet.goes_to_group() {
        return Said::FORWARD;
    }
    if packet.has(mark::TOO_MANY_HEADERS) {
        return Said::because(wrong(attachment, seen.direction(), Why::DropExtensionHeaders));
    }
    // What is about a known flow passes with it: "fragmentation needed" above all.
    if packet.has(mark::ICMP_ERROR) && is_about(skb) != 0 && table::knows_other() != 0 {
        return Said::FORWARD;
    }
    if packet.marks == 0 {
        return Said::NOTHING;
    }
    // Neither an error nor a source route begins a flow. An error of the host's about what the container never sent was made by whoever sent that in its name.
    seen.asks(seen.direction());
    seen.opener = if seen.from_host && !packet.has(mark::ICMP_ERROR) { opener::HOST } else { 0 };
    judge(seen)
}

/// Counts and tells what does not pass, and answers it where a policy says so.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn denied(skb: *mut __sk_buff, said: u64) -> i32 {
    let said = Said::from_raw(said);
    let Some(Work { frame, seen, .. }) = maps::work() else { return reply::NO_ANSWER };
    let Some(attachment) = maps::attachment(seen.ifindex) else { return reply::NO_ANSWER };
    let packet = &frame.packet;
    count_number(attachment.slot, seen.direction(), said.number(), seen.counted);
    count_rule(said.rule(), seen.counted);
    if is_for_another() == 0 {
        emit::denied(packet, seen, said);
    }
    if said.number() != Why::RejectPolicy.number() || is_meant() == 0 {
        return reply::NO_ANSWER;
    }
    let answered = reply::answer(skb, packet, seen.direction(), seen.now);
    if answered == reply::NO_ANSWER {
        maps::note(Happened::AnswerNotMade);
    }
    answered
}

/// Whether the packet in [`Work`] is from this container or meant for it: a bridge that does not know where somebody is sends what is for them to everybody.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_meant() -> u32 {
    let Some(Work { frame, seen, .. }) = maps::work() else { return 0 };
    let Some(end) = maps::end(seen.ifindex) else { return 0 };
    u32::from(matches!(seen.direction(), Direction::FromContainer) || frame.destination_mac == guard::mac(end))
}

#[inline(always)]
fn fragment_key(packet: &Packet, seen: &Seen, id: u32) -> FragmentKey {
    FragmentKey {
        slot: u32::from(seen.key.slot),
        source: bytes(packet.source),
        destination: bytes(packet.destination),
        id,
        // IPv6 puts parts together whatever header each names next (RFC 8200, 4.5), and only the first one's says what is behind others.
        protocol: if is_v4(&packet.source) { packet.protocol } else { protocol::FRAGMENT },
        direction: seen.direction().number() as u8,
        padding: [0; 2],
    }
}

/// A later fragment shares what was said of the first. Without that, a policy cannot know its ports: it does not pass.
#[inline(always)]
fn later_fragment(attachment: &Attachment, packet: &Packet, seen: &Seen, id: u32) -> Said {
    // SAFETY: a value that is replaced meanwhile is that of another packet with the same identification, which would be mixed up on reassembly, too.
    if let Some(first) = unsafe { maps::FRAGMENTS.get(fragment_key(packet, seen, id)) }
        && seen.now.wrapping_sub(first.first_ns) < FRAGMENTS_NS
    {
        return Said::new(first.why, first.rule);
    }
    let is_governed = governs(attachment, seen.direction()) && !seen.from_host;
    Said::because(if is_governed { Why::DropFragmentWithoutFirst } else { Why::Forward })
}

/// What was said of a first fragment holds for the later ones.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn remember_fragment(said: u64) -> u32 {
    let Some(Work { frame, seen, .. }) = maps::work() else { return 0 };
    let Cut::First(id) = frame.packet.fragment else { return 0 };
    let said = Said::from_raw(said);
    let first = Fragment { why: said.number(), rule: said.rule(), first_ns: seen.now };
    let is_remembered = maps::FRAGMENTS.insert(fragment_key(&frame.packet, seen, id), first, 0).is_ok();
    if !is_remembered {
        maps::note(Happened::FragmentNotTracked);
    }
    u32::from(is_remembered)
}

/// Leaves the flow that an ICMP error is about in [`Work`], and says whether there is one: its packet went the other way.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn is_about(skb: *mut __sk_buff) -> u32 {
    let Some(Work { frame, seen, other, .. }) = maps::work() else { return 0 };
    let linear = Linear::within(&TcContext::new(skb));
    let Some(inner) = inner(&linear, &frame.packet) else { return 0 };
    *other = key(u32::from(seen.key.slot), &inner, seen.direction().reverse());
    1
}

/// The packet that an ICMP error quotes, as far as a flow's key needs it: at least eight bytes of the transport are there (RFC 792, RFC 4443).
#[inline(always)]
fn inner(linear: &Linear, outer: &Packet) -> Option<Packet> {
    let at = outer.transport_at + 8;
    let ip = Far::at(linear, at);
    let mut packet = *outer;
    packet.fragment = Cut::Whole;
    match outer.protocol {
        protocol::ICMP => {
            packet.protocol = ip.u8(9)?;
            (packet.source, packet.destination) = (v4(ip.word(12)?), v4(ip.word(16)?));
            packet.transport_at = at + u32::from(ip.u8(0)? & 0x0f) * 4;
        }
        _ => {
            let word = |offset| ip.word(offset);
            packet.protocol = ip.u8(6)?;
            packet.source = [word(8)?, word(12)?, word(16)?, word(20)?];
            packet.destination = [word(24)?, word(28)?, word(32)?, word(36)?];
            packet.transport_at = at + 40;
        }
    }
    let transport = Far::at(linear, packet.transport_at);
    (packet.source_port, packet.destination_port) = match packet.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => (transport.u16(0)?, transport.u16(2)?),
        protocol::ICMP | protocol::ICMPV6 => (transport.u16(4)?, transport.u16(4)?),
        _ => (0, 0),
    };
    Some(packet)
}

/// Counts a packet that passes, for its attachment and for the rule that let it.
#[inline(always)]
pub(crate) fn count(slot: u32, direction: Direction, packet: Counters, said: Said) {
    let why = if said.number() == Why::Forward.number() { Why::Forward } else { Why::AuditPolicy };
    count_number(slot, direction, why.number(), packet);
    count_rule(said.rule(), packet);
}

/// The same of a packet that simply goes on.
#[inline(always)]
pub(crate) fn count_plain(slot: u32, direction: Direction, packet: Counters, rule: u32) {
    count_number(slot, direction, Why::Forward.number(), packet);
    count_rule(rule, packet);
}

#[inline(always)]
fn count_rule(rule: u32, packet: Counters) {
    if rule != NO_RULE {
        // Every number of a rule has its place.
        let _ = maps::count(&maps::RULE_HITS, rule, packet);
    }
}

/// Counts a packet for its attachment by the reason's number: plain ones in an array, all others by their reason.
#[inline(always)]
fn count_number(slot: u32, direction: Direction, why: u32, packet: Counters) {
    let is_plain = why == Why::Forward.number();
    let is_counted = if is_plain {
        direction.counter_of(slot).is_some_and(|at| maps::count(&maps::COUNTERS, at, packet))
    } else {
        maps::count_reason(reason_key_of(slot, direction, why), packet)
    };
    if !is_counted {
        maps::note(Happened::ReasonNotCounted);
        let why = if is_plain { Why::ForwardUncounted.number() } else { why };
        // The array has a place for every reason (a test of netd-abi), so this cannot fail.
        let _ = maps::count(&maps::DROPS, why * 2 + direction.number(), packet);
    }
}

/// What no attachment answers for is counted by reason.
#[inline(always)]
fn unanswered(why: Why, direction: Direction, packet: Counters) -> Outcome {
    let _ = maps::count(&maps::DROPS, why.counter_of(direction), packet);
    Outcome::Says { why, pacer: 0, is_last: 0 }
}
