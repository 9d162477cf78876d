//! What notifications of rtnetlink say: whether something of ours, or a way out of the host, was changed by somebody else. Asks nothing.
//!
//! A link of ours counts from the moment on that it was up (and a port of its bridge): what comes before is its making.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    time::{Duration, Instant},
};

use netd_core::{mark, objects::TABLE_MAIN};
use netlink_packet_core::NlasIterator;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage, link::LinkMessage};

use super::files;
use crate::kernel::{
    KernelError, address,
    expected::Expected,
    link::{self, Kind, Seen},
    netlink::{self, Part, Rtnetlink},
    route,
};

/// Message types that netlink-packet-route does not decode, or not for every stranger's qdisc (linux/rtnetlink.h).
const NEWQDISC: u16 = 36;
const DELQDISC: u16 = 37;
const DELTFILTER: u16 = 45;
const NEWNETCONF: u16 = 80;
/// TC_H_CLSACT's major number, which is the handle of every clsact qdisc; TCM_IFINDEX_MAGIC_BLOCK, the interface of what is on a shared block.
const CLSACT: u32 = 0xffff_0000;
const ON_A_BLOCK: u32 = u32::MAX;
/// NETCONFA_IFINDEX, and NETCONFA_IFINDEX_ALL (linux/netconf.h).
const NETCONF_INDEX: u16 = 1;
const NETCONF_ALL: i32 = -1;
/// How long a container's namespace is not listened to after we deleted a link that led there.
const QUIET: Duration = Duration::from_secs(1);

/// What is known of links, addresses and routes.
#[derive(Default)]
pub(super) struct Links {
    hosts: HashMap<u32, Seen>,
    /// Host ends of ours, by the namespace of their other ends.
    leading: HashMap<i32, Vec<u32>>,
    /// The container ends of our veths that were seen up, by namespace and number.
    peers: HashMap<(i32, u32), Seen>,
    /// Addresses and routes of links that are not ours: a repeated announcement of what is known is no news.
    facts: HashSet<u64>,
    /// Links that are not ours and have, or had, an address or a route.
    routed: HashSet<u32>,
    quiet: HashMap<i32, Instant>,
}

impl Links {
    /// What there is now.
    pub(super) fn read(socket: &mut Rtnetlink) -> Result<Self, KernelError> {
        let mut links = Self::default();
        link::all(socket)?.into_iter().for_each(|link| links.remember(link));
        address::list(socket, None)?.iter().for_each(|address| drop(links.learn_address(address, true)));
        route::list(socket, None)?.iter().for_each(|route| drop(links.learn_route(route, true)));
        Ok(links)
    }

    /// Hears one message, of our namespace or of another.
    pub(super) fn hear(&mut self, ns: Option<i32>, part: &Part<'_>, expected: &Expected) -> Option<String> {
        match (part.kind, ns) {
            (DELQDISC, None) => return self.qdisc_gone(part, expected),
            (NEWQDISC, None) => return self.bucket_changed(part, expected),
            (DELTFILTER, None) => return filter_gone(part, expected),
            (NEWNETCONF, None) => return self.netconf(part.payload, expected),
            (NEWQDISC | DELQDISC | DELTFILTER | NEWNETCONF, Some(_)) => return None,
            _ => {}
        }
        let message = netlink::decode(part.kind, part.payload)?;
        match ns {
            None => self.on_host(message, part, expected),
            Some(ns) => self.in_container(ns, message, part, expected),
        }
    }

    fn on_host(&mut self, message: RouteNetlinkMessage, part: &Part<'_>, expected: &Expected) -> Option<String> {
        let is_added =
            matches!(message, RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::NewRoute(_));
        match &message {
            // A bridge tells of its ports in its own family too; the link itself follows, or is not changed.
            RouteNetlinkMessage::NewLink(LinkMessage { header, .. }) | RouteNetlinkMessage::DelLink(LinkMessage { header, .. }) => {
                let is_link = header.interface_family == AddressFamily::Unspec;
                let link = link::seen(message).filter(|_| is_link)?;
                if is_added { self.link_changed(link, expected) } else { self.link_gone(link.index, expected) }
            }
            RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_) => {
                let address = address::seen(message)?;
                let news = self.learn_address(&address, is_added)?;
                if !self.is_ours(address.index) {
                    return Some(news);
                }
                let is_loss = !is_added && !expected.is_ours(part.port) && !expected.deletes(address.index);
                is_loss.then_some(news)
            }
            RouteNetlinkMessage::NewRoute(_) | RouteNetlinkMessage::DelRoute(_) => {
                self.learn_route(&route::seen(message).filter(|route| route.table == TABLE_MAIN)?, is_added)
            }
            _ => None,
        }
    }

    fn link_changed(&mut self, link: Seen, expected: &Expected) -> Option<String> {
        let (index, ours) = (link.index, link.group == mark::GROUP);
        let news = match self.hosts.get(&index) {
            Some(before) if before.group == mark::GROUP => {
                let changed = is_settled(before) && !is_same(before, &link) && !expected.deletes(index);
                changed.then(|| format!("link {} was changed", before.name))
            }
            Some(before) if self.routed.contains(&index) && !is_same(before, &link) => Some(format!("link {} was changed", before.name)),
            _ => None,
        };
        if ours {
            // A number that was a stranger's is ours now.
            self.routed.remove(&index);
        }
        self.remember(link);
        news
    }

    fn remember(&mut self, link: Seen) {
        self.forget(link.index);
        if let Some(ns) = link.other_ns.filter(|_| link.group == mark::GROUP) {
            self.leading.entry(ns).or_default().push(link.index);
        }
        self.hosts.insert(link.index, link);
    }

    fn forget(&mut self, index: u32) -> Option<Seen> {
        let link = self.hosts.remove(&index)?;
        if let Some(ns) = link.other_ns
            && let Some(leading) = self.leading.get_mut(&ns)
        {
            leading.retain(|other| *other != index);
            if leading.is_empty() {
                self.leading.remove(&ns);
            }
        }
        Some(link)
    }

    /// The host ends of ours that lead into a namespace.
    fn leading_to(&self, ns: i32) -> impl Iterator<Item = &Seen> {
        self.leading.get(&ns).into_iter().flatten().filter_map(|index| self.hosts.get(index))
    }

    fn link_gone(&mut self, index: u32, expected: &Expected) -> Option<String> {
        let before = self.forget(index)?;
        let was_routed = self.routed.remove(&index);
        if before.group != mark::GROUP {
            return was_routed.then(|| format!("link {} has gone", before.name));
        }
        let by_us = expected.deletes(index);
        if let Some(ns) = before.other_ns {
            self.peers.retain(|(other, peer), _| *other != ns || Some(*peer) != before.other_end);
            if by_us {
                self.quiet.retain(|_, until| *until > Instant::now());
                self.quiet.insert(ns, Instant::now() + QUIET);
            }
        }
        (!by_us).then(|| format!("link {} has gone", before.name))
    }

    /// Whether an address is news: one of a link of ours always, else only where it was not known so.
    fn learn_address(&mut self, address: &address::Seen, is_added: bool) -> Option<String> {
        if is_link_local(address.net.addr()) || address.net.addr().is_loopback() {
            return None;
        }
        let name = self.hosts.get(&address.index).map_or_else(|| format!("link {}", address.index), |link| link.name.clone());
        let verb = if is_added { "was added to" } else { "was removed from" };
        let news = || format!("address {} {verb} {name}", address.net);
        if self.is_ours(address.index) {
            return Some(news());
        }
        self.routed.insert(address.index);
        self.learn(&(address.index, address.net), is_added).then(news)
    }

    /// Whether a route is news; those through links of ours never are.
    fn learn_route(&mut self, route: &route::Seen, is_added: bool) -> Option<String> {
        if is_link_local(route.net.addr()) || route.links.iter().any(|index| self.is_ours(*index)) {
            return None;
        }
        self.routed.extend(&route.links);
        let verb = if is_added { "was added" } else { "was removed" };
        self.learn(&(route.net, &route.links, route.via, route.protocol), is_added).then(|| format!("route {} {verb}", route.net))
    }

    /// Whether this was not known, or no longer is.
    fn learn(&mut self, fact: &impl Hash, is_added: bool) -> bool {
        let mut hasher = DefaultHasher::new();
        fact.hash(&mut hasher);
        let hash = hasher.finish();
        if is_added { self.facts.insert(hash) } else { self.facts.remove(&hash) }
    }

    fn in_container(&mut self, ns: i32, message: RouteNetlinkMessage, part: &Part<'_>, expected: &Expected) -> Option<String> {
        let is_loss = matches!(message, RouteNetlinkMessage::DelAddress(_) | RouteNetlinkMessage::DelRoute(_));
        let host_end = |index: Option<u32>| {
            let is_it = |link: &&Seen| index.is_none_or(|index| link.other_end == Some(index));
            self.leading_to(ns).find(is_it).map(|link| (link.name.clone(), link.up))
        };
        match message {
            RouteNetlinkMessage::NewLink(_) => {
                let link = link::seen(message)?;
                let (name, host_end_is_up) = host_end(Some(link.index))?;
                let changed = match self.peers.insert((ns, link.index), link.clone()) {
                    Some(before) => before.up && !is_same(&before, &link),
                    // Never seen: the container's end goes up first, so if only the host's is up, somebody put it down.
                    None => host_end_is_up && !link.up,
                };
                (changed && !self.is_quiet(ns, expected)).then(|| format!("the container's end of {name} was changed"))
            }
            RouteNetlinkMessage::DelAddress(_) if is_loss => {
                let address = address::seen(message).filter(|address| !is_link_local(address.net.addr()))?;
                let (name, _) = host_end(Some(address.index))?;
                let lost = !expected.is_ours(part.port) && !self.is_quiet(ns, expected);
                lost.then(|| format!("address {} was removed inside the container at {name}", address.net))
            }
            RouteNetlinkMessage::DelRoute(_) | RouteNetlinkMessage::NewRoute(_) => {
                let is_ours = |route: &route::Seen| route.protocol == mark::ROUTE_PROTOCOL;
                let route = route::seen(message).filter(|route| is_ours(route) || route.net.prefix_len() == 0)?;
                // Somebody's `ip route replace` tells only of the new one.
                let replaces = part.flags & libc::NLM_F_REPLACE as u16 != 0 && route.protocol != mark::ROUTE_PROTOCOL;
                let concerns = if is_loss { route.protocol == mark::ROUTE_PROTOCOL } else { replaces };
                let (name, _) = host_end(None).filter(|_| concerns)?;
                let lost = !expected.is_ours(part.port) && !self.is_quiet(ns, expected);
                lost.then(|| format!("the route to {} was changed inside the container at {name}", route.net))
            }
            _ => None,
        }
    }

    /// Whether what happens in a namespace is the echo of our own deletion.
    fn is_quiet(&self, ns: i32, expected: &Expected) -> bool {
        let being_deleted = self.leading_to(ns).any(|link| expected.deletes(link.index));
        being_deleted || self.quiet.get(&ns).is_some_and(|until| *until > Instant::now())
    }

    fn is_ours(&self, index: u32) -> bool {
        self.hosts.get(&index).is_some_and(|link| link.group == mark::GROUP)
    }

    fn qdisc_gone(&self, part: &Part<'_>, expected: &Expected) -> Option<String> {
        let index = word(part.payload, 4)?;
        let link = self.hosts.get(&index).filter(|link| link.group == mark::GROUP && !expected.deletes(index))?;
        match word(part.payload, 8)? {
            CLSACT => Some(format!("clsact was removed from {}", link.name)),
            mark::BUCKET_HANDLE if !expected.is_ours(part.port) => Some(format!("the bucket was removed from {}", link.name)),
            _ => None,
        }
    }

    /// Somebody's `tc qdisc change` tells only of what is there now.
    fn bucket_changed(&self, part: &Part<'_>, expected: &Expected) -> Option<String> {
        let link = self.hosts.get(&word(part.payload, 4)?).filter(|link| link.group == mark::GROUP)?;
        let changed = word(part.payload, 8)? == mark::BUCKET_HANDLE && !expected.is_ours(part.port);
        changed.then(|| format!("the bucket of {} was changed", link.name))
    }

    fn netconf(&self, payload: &[u8], expected: &Expected) -> Option<String> {
        let attributes = payload.get(4..)?; // struct netconfmsg: a family and three bytes
        let index = NlasIterator::new(attributes).filter_map(Result::ok).find(|attribute| attribute.kind() == NETCONF_INDEX)?;
        let index = i32::from_ne_bytes(index.value().try_into().ok()?);
        let name = if index == NETCONF_ALL { "all" } else { &self.hosts.get(&u32::try_from(index).ok()?)?.name };
        // It tells of some sysctls only; of the others the kernel's value may be one that we are about to change.
        expected.keys_of(name).iter().filter(|key| files::is_heard(key)).find_map(|key| files::differs(key, expected))
    }
}

fn filter_gone(part: &Part<'_>, expected: &Expected) -> Option<String> {
    let lost = word(part.payload, 4)? == ON_A_BLOCK && !expected.is_ours(part.port);
    lost.then(|| "a filter was removed from a shared tc block".to_owned())
}

/// A 32-bit field of a header.
fn word(payload: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(payload.get(at..at + 4)?.try_into().ok()?))
}

/// Whether a link of ours has been put to work.
fn is_settled(link: &Seen) -> bool {
    link.up && (link.kind != Kind::Veth || link.master.is_some())
}

/// Whether nothing differs that a plan would mend. (A bridge port's state and its flags are told in the bridge's family.)
fn is_same(one: &Seen, other: &Seen) -> bool {
    one.name == other.name
        && one.up == other.up
        && one.mac == other.mac
        && one.mtu == other.mtu
        && one.master == other.master
        && one.alias == other.alias
        && (one.kind != Kind::Bridge || one.promiscuous == other.promiscuous)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local() || v6.is_multicast())
}

#[cfg(test)]
mod tests;
