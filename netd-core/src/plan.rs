//! What is missing or too much, as steps in an order that works. Pure; an equal pair gives no step.
//!
//! The order: ports are withdrawn before what they lead to goes; links go before the namespaces and bridges they are in; the
//! firewall is there before anything can send; a link goes up last, when address, filter and sysctls are in place; ports come at the end.

mod links;

use std::{collections::BTreeSet, net::IpAddr};

use netd_api::publish::{PortRange, Protocol};

use crate::{
    desired::{Change, Edit, Published},
    expand,
    firewall::Element,
    objects::{Address, Filters, Netns, Ns, Objects, Route, Table},
    op::Op,
};

/// Steps, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "a plan does nothing until it is applied"]
pub struct Plan {
    /// The steps.
    pub ops: Vec<Op>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, op) in self.ops.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{op}")?;
        }
        Ok(())
    }
}

/// The steps from what is observed to what is wanted.
pub fn plan(wanted: &Objects, observed: &Objects) -> Plan {
    let mut ops = Vec::new();
    // What keeps strangers from being routed stays until forwarding has been given back.
    let is_guard = |element: &&Element| matches!(element, Element::SwitchedOn(..));
    let is_port = |element: &&Element| matches!(element, Element::Publish(_));
    let table_goes = wanted.table == Table::Absent && observed.table != Table::Absent;
    let surplus: BTreeSet<&Element> = observed.elements.difference(&wanted.elements).collect();
    if !table_goes {
        ops.extend(surplus.iter().copied().filter(|e| is_port(e)).cloned().map(Op::DelElement));
    }
    ops.extend(observed.reservations.difference(&wanted.reservations).copied().map(Op::Release));

    let gone = links::gone(wanted, observed);
    ops.extend(gone.veths.iter().map(|name| Op::DelLink((*name).clone())));
    // A wanted veth that somebody removed comes back under its number, and goes on counting.
    let kept: BTreeSet<u32> = wanted.veths.values().filter_map(|veth| veth.slot).collect();
    ops.extend(observed.left_slots.difference(&kept).copied().map(Op::DelSlot));
    for (path, netns) in &observed.netns {
        if !wanted.netns.contains_key(path) && *netns == Netns::Made {
            ops.push(Op::DelNetns(path.clone()));
        }
    }
    ops.extend(gone.bridges.iter().map(|name| Op::DelLink((*name).clone())));
    if !table_goes {
        ops.extend(surplus.iter().copied().filter(|e| !is_port(e) && !is_guard(e)).cloned().map(Op::DelElement));
    }
    if wanted.filters == Filters::Absent && observed.filters != Filters::Absent {
        ops.push(Op::DelFilters);
    }

    // Ports are held first: a conflict is found before anything is made.
    ops.extend(wanted.reservations.difference(&observed.reservations).copied().map(Op::Reserve));
    let table_comes = wanted.table == Table::Current && observed.table != Table::Current;
    if table_comes {
        ops.push(Op::PutTable);
    }
    let missing: Vec<&Element> = wanted.elements.difference(&observed.elements).collect();
    ops.extend(missing.iter().filter(|e| !is_port(e)).map(|e| Op::AddElement((*e).clone())));
    if wanted.filters == Filters::Current && observed.filters != Filters::Current {
        ops.push(Op::PutFilters);
    }
    ops.extend(
        wanted
            .netns
            .iter()
            .filter(|(path, netns)| **netns == Netns::Made && !observed.netns.contains_key(*path))
            .map(|(path, _)| Op::AddNetns(path.clone())),
    );
    links::born(&mut ops, wanted, observed, &gone);
    // Whether to listen to routers is settled before an interface becomes a router itself: switching that on drops the routes of an
    // interface that does not (addrconf_fixup_forwarding in net/ipv6/addrconf.c).
    let (listening, others): (Vec<_>, Vec<_>) = wanted.sysctls.iter().partition(|(sysctl, _)| sysctl.key.ends_with("/accept_ra"));
    for (sysctl, value) in listening.into_iter().chain(others) {
        // What is the host's own and is not there (an uplink that has gone) cannot be set.
        let there = observed.sysctls.contains_key(sysctl) || !expand::is_hosts_own(sysctl, wanted);
        if there && observed.sysctls.get(sysctl) != Some(value) {
            ops.push(Op::SetSysctl(sysctl.clone(), value.clone()));
        }
    }
    if !table_goes {
        ops.extend(surplus.iter().copied().filter(|e| is_guard(e)).cloned().map(Op::DelElement));
    }
    // New addresses before old ones go: an interface without any loses its routes.
    let has = |address: &Address| observed.addresses.contains(address) && !gone.inside(&address.ns, &address.link);
    let added: Vec<&Address> = wanted.addresses.iter().filter(|address| !has(address)).collect();
    ops.extend(added.iter().map(|address| Op::AddAddress((*address).clone())));
    let left = |ns: &Ns, link| {
        gone.inside(ns, link) || gone.bridges.contains(&link) || ns.path().is_some_and(|path| !wanted.netns.contains_key(path))
    };
    let old = observed.addresses.difference(&wanted.addresses).filter(|address| !left(&address.ns, &address.link));
    ops.extend(old.cloned().map(Op::DelAddress));
    links::up(&mut ops, wanted, observed, &gone);
    let has = |route: &Route| observed.routes.contains(route) && !gone.inside(&route.ns, &route.link);
    // Old routes before new ones come: two default routes of one metric exclude each other (EEXIST).
    let old = observed.routes.difference(&wanted.routes).filter(|route| !left(&route.ns, &route.link));
    ops.extend(old.cloned().map(Op::DelRoute));
    // A gateway must be reachable when its route comes: by an address, or by a route without a gateway.
    let (on_link, by_gateway): (Vec<_>, Vec<_>) = wanted.routes.iter().filter(|route| !has(route)).partition(|route| route.via.is_none());
    ops.extend(on_link.into_iter().chain(by_gateway).cloned().map(Op::AddRoute));
    ops.extend(missing.iter().filter(|e| is_port(e)).map(|e| Op::AddElement((*e).clone())));
    ops.extend(links::announcements(wanted, &added));
    if table_goes {
        ops.push(Op::DelTable);
    }
    Plan { ops }
}

/// What a change leaves behind in tables that are not ours: connections through its ports, through ports that its plan leads elsewhere, and of
/// addresses that are free again.
/// Only a change has such steps; start, drift and repair never forget a connection.
pub fn aftermath(
    change: &Change,
    plan: &Plan,
    bridge_of: impl Fn(&netd_api::names::NetworkName) -> Option<netd_api::names::IfName>,
) -> Vec<Op> {
    let mut ops = Vec::new();
    for edit in &change.edits {
        match edit {
            Edit::Publish { before, after, .. } => ops.extend(before.iter().chain(after).map(|published| Op::FlushPort {
                protocol: published.protocol,
                address: published.one_address(),
                ports: published.host,
            })),
            Edit::Container { before: Some(before), after } => {
                let kept: BTreeSet<_> =
                    after.iter().flat_map(|after| &after.attachments).flat_map(|attachment| &attachment.addresses).collect();
                for attachment in &before.attachments {
                    let Some(bridge) = bridge_of(&attachment.network) else { continue };
                    let freed = attachment.addresses.iter().filter(|net| !kept.contains(net));
                    ops.extend(freed.map(|net| Op::FlushAddress(bridge.clone(), net.addr())));
                }
            }
            _ => {}
        }
    }
    let flushed = |protocol, port| {
        let same = |published: &Published| published.protocol == protocol && (published.host.first..=published.host.last).contains(&port);
        change.edits.iter().any(|edit| matches!(edit, Edit::Publish { before, after, .. } if before.iter().chain(after).any(same)))
    };
    let led_elsewhere: BTreeSet<_> = plan
        .ops
        .iter()
        .filter_map(|op| match op {
            Op::AddElement(Element::Publish(publish)) if !flushed(publish.protocol, publish.port) => {
                Some((publish.protocol, publish.address, publish.port))
            }
            _ => None,
        })
        .collect();
    ops.extend(rows(&led_elsewhere));
    ops
}

/// One step for each row of ports.
fn rows(ports: &BTreeSet<(Protocol, Option<IpAddr>, u16)>) -> Vec<Op> {
    let mut rows: Vec<(Protocol, Option<IpAddr>, PortRange)> = Vec::new();
    for (protocol, address, port) in ports {
        match rows.last_mut() {
            Some((last_protocol, last_address, row))
                if (*last_protocol, *last_address) == (*protocol, *address) && row.last.checked_add(1) == Some(*port) =>
            {
                row.last = *port;
            }
            _ => rows.push((*protocol, *address, PortRange::one(*port))),
        }
    }
    rows.into_iter().map(|(protocol, address, ports)| Op::FlushPort { protocol, address, ports }).collect()
}

/// The sysctls of the host itself that a plan is about to change, with their values so far, as edits to be remembered before it is applied.
pub fn remember(plan: &Plan, observed: &Objects, wanted: &Objects, known: impl Fn(&crate::objects::Sysctl) -> bool) -> Change {
    let mut change = Change::default();
    for op in &plan.ops {
        if let Op::SetSysctl(sysctl, _) = op
            && expand::is_hosts_own(sysctl, wanted)
            && !known(sysctl)
            && let Some(value) = observed.sysctls.get(sysctl)
        {
            change.edits.push(Edit::Original { sysctl: sysctl.clone(), before: None, after: Some(value.clone()) });
        }
    }
    change
}

#[cfg(test)]
mod tests;
