//! What policy says of a new connection. Decides nothing about known ones, counts nothing.

use netd_abi::flow::{FlowKey, Judged, JudgedKey, PublishedKey, PublishedValue, config};
use netd_abi::policy::{ANYBODY, NO_SET, PREFIXES, RuleKey};
use netd_abi::{Direction, Why};
use netd_ebpf::flow::{leading, opener, policy_port};
use netd_ebpf::packet::{bytes, is_v4, protocol, words};
use netd_ebpf::recent::Question;
use netd_ebpf::said::Said;

use crate::maps::{self, Governed};
use crate::work::{Seen, Work};

/// A connection that came through a published port under the host's address is known by its target alone for so long, where masquerading changed its port.
const JUDGED_NS: u64 = 2_000_000_000;
/// By its client's port, too, for so long: as a SYN is sent again (net.ipv4.tcp_syn_retries).
const JUDGED_BY_PORT_NS: u64 = 130_000_000_000;
/// DNS (RFC 1035, 4.2).
const DNS: [u8; 2] = 53_u16.to_be_bytes();

/// What policy says of the flow that is asked about in [`Work`].
#[inline(always)]
pub(crate) fn judge(seen: &mut Seen) -> Said {
    let needs_no_policy = match seen.asked() {
        Direction::FromContainer => seen.config.flags & config::POLICY == 0,
        Direction::ToContainer => seen.opener & opener::HOST != 0,
    };
    if needs_no_policy {
        return Said::FORWARD;
    }
    // Before anything else is read: what changes meanwhile is not remembered as what holds then.
    let Some(revision) = maps::revision() else { return Said::because(Why::DropPolicy) };
    let question = Question::of(&seen.key, seen.asked());
    let Some(recent) = maps::recent(&question) else { return Said::because(Why::DropPolicy) };
    let said = recent.answers(&question, revision).unwrap_or_else(|| {
        let said = Said::from_raw(weigh());
        // Of an interface that has just gone nobody has said anything, and its number may be another's already.
        if said.number() != Why::DropUnknownInterface.number() {
            recent.remember(&question, revision, said);
        }
        said
    });
    if said == Said::MORE_TO_DO { Said::from_raw(weigh_by_host()) } else { said }
}

/// What the maps say of the flow that is asked about, where that depends on nothing but the [`Question`]; else [`Said::MORE_TO_DO`]. A [`Said`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn weigh() -> u64 {
    let Some(Work { seen, .. }) = maps::work() else { return Said::because(Why::DropPolicy).raw() };
    let governed = maps::governed(seen.ifindex, u32::from(seen.key.slot), seen.asked());
    let Some(governed) = governed else { return Said::because(Why::DropUnknownInterface).raw() };
    let key = &seen.key;
    let said = match seen.asked() {
        Direction::FromContainer if published(key).is_some() => Said::MORE_TO_DO,
        Direction::FromContainer => ask_to_send(governed, key.protocol, &key.remote, key.remote_port),
        Direction::ToContainer if governed.set != NO_SET && maps::is_host(&key.remote) => Said::MORE_TO_DO,
        Direction::ToContainer => ask_to_receive(governed, key.protocol, &key.remote, key.local_port),
    };
    said.raw()
}

/// What is said of a connection to a published port, and of what comes under the host's address. A [`Said`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn weigh_by_host() -> u64 {
    let Some(Work { seen, .. }) = maps::work() else { return Said::because(Why::DropPolicy).raw() };
    let governed = maps::governed(seen.ifindex, u32::from(seen.key.slot), seen.asked());
    let Some(governed) = governed else { return Said::because(Why::DropUnknownInterface).raw() };
    let said = match seen.asked() {
        Direction::FromContainer => to_published(governed, &seen.key, seen.now),
        Direction::ToContainer => match judged(&seen.key, seen.now) {
            Some(who) => {
                seen.opener |= opener::JUDGED;
                ask_to_receive(governed, seen.key.protocol, &who.client, seen.key.local_port)
            }
            // One that goes on was let through where it started, by what holds now, too.
            None if seen.opener & opener::JUDGED != 0 => Said::FORWARD,
            None => ask_to_receive(governed, seen.key.protocol, &seen.key.remote, seen.key.local_port),
        },
    };
    said.raw()
}

/// Whether a container may send to a port.
#[inline(always)]
fn ask_to_send(governed: Governed, protocol: u8, remote: &[u8; 16], port: [u8; 2]) -> Said {
    if governed.set == NO_SET {
        return Said::FORWARD;
    }
    let owner = maps::owner(governed.generation, remote);
    let (protocol, port) = policy_port(protocol, port);
    let is_dns = owner.dns != 0 && port == DNS && protocol != protocol::SCTP;
    ask(governed.set, if is_dns { owner.dns } else { owner.identity }, protocol, port)
}

/// Whether it may be sent to at a port of its own.
#[inline(always)]
fn ask_to_receive(governed: Governed, protocol: u8, remote: &[u8; 16], port: [u8; 2]) -> Said {
    if governed.set == NO_SET {
        return Said::FORWARD;
    }
    let owner = maps::owner(governed.generation, remote);
    let (protocol, port) = policy_port(protocol, port);
    ask(governed.set, owner.identity, protocol, port)
}

/// What is said of a connection to a published port: by the sender's rules, and by its target's, as the target may see another source address and then could not
/// tell; where they let it in the target's own program says so, and counts it.
#[inline(always)]
fn to_published(governed: Governed, key: &FlowKey, now: u64) -> Said {
    // Else it was withdrawn a moment ago.
    let Some(target) = published(key) else { return ask_to_send(governed, key.protocol, &key.remote, key.remote_port) };
    let said = ask_to_send(governed, key.protocol, &target.address, target.port);
    if !said.passes() {
        return said;
    }
    let of_target = at_target(key, target);
    if of_target == Said::NOTHING {
        return said;
    }
    if !of_target.passes() {
        return of_target;
    }
    note_judged(key, target, now);
    said
}

/// What the target's ingress rules say of a connection to a published port; nothing where it leads to nobody.
#[inline(never)]
fn at_target(key: &FlowKey, target: &PublishedValue) -> Said {
    let Some(other) = maps::local(&target.address).and_then(maps::governed_target) else { return Said::NOTHING };
    ask_to_receive(other, key.protocol, &key.local, target.port)
}

/// Notes who it is that comes through a published port. Where it cannot be noted, the target's own program judges by the address that it sees, and drops
/// in doubt.
#[inline(never)]
fn note_judged(key: &FlowKey, target: &PublishedValue, now: u64) {
    let Some(Work { judged: (judged, who), .. }) = maps::work() else { return };
    judged.target = target.address;
    judged.target_port = target.port;
    judged.client_port = key.local_port;
    judged.protocol = key.protocol;
    judged.padding = [0; 3];
    who.client = key.local;
    who.time_ns = now;
    let _ = maps::JUDGED.insert(&*judged, &*who, 0);
    judged.client_port = [0; 2];
    let _ = maps::JUDGED.insert(&*judged, &*who, 0);
}

/// Where a published port leads that the container sends to.
#[inline(never)]
fn published(key: &FlowKey) -> Option<&'static PublishedValue> {
    let mut place = PublishedKey { address: key.remote, port: key.remote_port, protocol: key.protocol, padding: 0 };
    // SAFETY: only the daemon writes, and it replaces whole elements.
    let target = unsafe { maps::PUBLISHED.get(&place) };
    if target.is_some() || !maps::is_host(&key.remote) {
        return target;
    }
    let remote = words(&key.remote);
    place.address = bytes(if is_v4(&remote) { [remote[0], remote[1], remote[2], 0] } else { [0; 4] });
    // SAFETY: as above.
    unsafe { maps::PUBLISHED.get(&place) }
}

/// Who it is that comes under the host's address, where it is a connection through a published port that its container was allowed. Whatever else is
/// masqueraded is judged by the address that it has, never as the host's own.
#[inline(never)]
fn judged(key: &FlowKey, now: u64) -> Option<&'static Judged> {
    let mut judged =
        JudgedKey { target: key.local, target_port: key.local_port, client_port: key.remote_port, protocol: key.protocol, padding: [0; 3] };
    // SAFETY: a value that is replaced meanwhile is as true as the former one.
    let by_port = unsafe { maps::JUDGED.get(&judged) };
    if by_port.is_some_and(|who| now.wrapping_sub(who.time_ns) < JUDGED_BY_PORT_NS) {
        return by_port;
    }
    judged.client_port = [0; 2];
    // SAFETY: as above.
    unsafe { maps::JUDGED.get(&judged) }.filter(|who| now.wrapping_sub(who.time_ns) < JUDGED_NS)
}

/// What a rule set says: the longest prefix of the port that it has for the identity, else for anybody, else its default.
#[inline(always)]
fn ask(set: u32, identity: u32, protocol: u8, port: [u8; 2]) -> Said {
    Said::from_raw(ask_rules(set, identity, u32::from(protocol), u32::from(u16::from_be_bytes(port))))
}

/// The same of numbers alone, which the verifier looks at once. A [`Said`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ask_rules(set: u32, identity: u32, protocol: u32, port: u32) -> u64 {
    look_up(set, identity, protocol as u8, (port as u16).to_be_bytes()).raw()
}

#[inline(always)]
fn look_up(set: u32, identity: u32, protocol: u8, port: [u8; 2]) -> Said {
    // SAFETY: only the daemon writes, and it replaces whole elements.
    let Some(rules) = (unsafe { maps::SETS.get(set) }) else {
        // A number without a set is none that the daemon gave: closed.
        return Said::because(Why::DropPolicy);
    };
    if identity != ANYBODY {
        let said = find(rules.prefixes, set, identity, protocol, port);
        if said != Said::NOTHING {
            return said;
        }
    }
    let said = find(rules.prefixes, set, ANYBODY, protocol, port);
    if said != Said::NOTHING { said } else { Said::by(rules.default) }
}

/// What a rule set says of an identity, by the longest prefix of the port that it has for it.
#[inline(always)]
fn find(prefixes: u32, set: u32, identity: u32, protocol: u8, port: [u8; 2]) -> Said {
    let mut key = RuleKey { set, identity, port, prefix: 0, protocol };
    for prefix in PREFIXES {
        if prefixes & (1 << prefix) != 0 {
            let said = probe(&mut key, port, prefix);
            if said != Said::NOTHING {
                return said;
            }
        }
    }
    Said::NOTHING
}

/// By itself, as the loop around it is unrolled, and the masks of all prefixes need more of the stack than there is.
#[inline(never)]
fn probe(key: &mut RuleKey, port: [u8; 2], prefix: u32) -> Said {
    key.port = leading(port, prefix);
    key.prefix = prefix as u8;
    // SAFETY: only the daemon writes, and it replaces whole elements.
    unsafe { maps::RULES.get(&*key) }.map_or(Said::NOTHING, |said| Said::by(*said))
}
