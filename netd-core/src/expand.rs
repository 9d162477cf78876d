//! What a wish amounts to in kernel objects, for all of it or only for what a request is about. Pure: a host's facts come in.

mod host;
mod routes;
mod shape;

pub use host::{given_back, is_hosts_own};
pub(crate) use routes::{METRIC_V6, SCOPE_LINK, routes};

use std::collections::BTreeSet;

use netd_api::{
    addr::Family,
    names::{ContainerId, NetworkName},
    spec::Guard,
};

use crate::{
    change,
    desired::{Attachment, Change, Container, Desired, Edit, Network, Origin, PublishKey, Published},
    firewall::{Element, element::Publish},
    host::Host,
    mark,
    objects::{Address, Bridge, Checks, Entry, Filters, Netns, Ns, Objects, Peer, Reservation, Sysctl, Table, Veth},
};

/// How much of the wish is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    Everything,
    /// What a request is about; the cost does not grow with the rest.
    Parts(Parts),
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parts {
    /// Networks made or removed; with the first and the last of them come and go the table, the programs and the uplinks' sysctls.
    pub networks: BTreeSet<NetworkName>,
    /// Containers made, changed or removed.
    pub containers: BTreeSet<ContainerId>,
    /// Ports published, withdrawn, or led elsewhere because their container's networks changed.
    pub publishes: BTreeSet<PublishKey>,
}

impl Scope {
    /// What a change is about. `desired` is the wish before or after it: a container's ports follow its networks.
    pub fn of(change: &Change, desired: &Desired) -> Self {
        let mut parts = Parts::default();
        for edit in &change.edits {
            match edit {
                Edit::Network { before, after } => {
                    parts.networks.extend(before.iter().chain(after).map(|network| network.name.clone()));
                    if let (Some(before), Some(after)) = (before, after)
                        && is_felt_by_members(before, after)
                    {
                        for (container, _) in desired.members(&after.name) {
                            parts.containers.insert(container.id.clone());
                            parts.publishes.extend(desired.publishes_of(&container.id).map(|(key, _)| key.clone()));
                        }
                    }
                }
                Edit::Container { before, after } => {
                    let felt =
                        |container: &std::sync::Arc<Container>| (container.attachments.clone(), container.guard, container.allow.clone());
                    if before.as_ref().map(felt) == after.as_ref().map(felt) {
                        continue; // labels and names are no kernel objects
                    }
                    for container in before.iter().chain(after) {
                        parts.containers.insert(container.id.clone());
                        parts.publishes.extend(desired.publishes_of(&container.id).map(|(key, _)| key.clone()));
                    }
                }
                Edit::Publish { container, before, after } => {
                    parts.publishes.extend(before.iter().chain(after).map(|published| published.key(container)));
                }
                // Neither are kernel objects: the policy maps follow by themselves.
                Edit::Policy { .. } | Edit::Namespace { .. } | Edit::Original { .. } => {}
            }
        }
        Self::Parts(parts)
    }
}

/// Whether a network's change is one of its members' interfaces, routes or ports too: all but labels and subnets that nobody has an address of yet.
fn is_felt_by_members(before: &Network, after: &Network) -> bool {
    let felt = |network: &Network| {
        (network.internal, network.icc, network.mtu, network.pool(Family::V6).is_some(), network.is_gateway(), network.inline)
    };
    felt(before) != felt(after) || before.pools.iter().any(|pool| !after.pools.contains(pool))
}

/// The kernel objects that a wish amounts to.
pub fn expand(desired: &Desired, host: &Host, scope: &Scope) -> Objects {
    let mut objects = Objects::default();
    match scope {
        Scope::Everything => {
            host::expand(&mut objects, desired, host);
            desired.networks().values().for_each(|each| network(&mut objects, each, host));
            desired.containers().values().for_each(|each| container(&mut objects, desired, each, host));
            desired.publishes().iter().for_each(|(key, each)| publish(&mut objects, desired, &key.container, each, host));
        }
        Scope::Parts(parts) => {
            if !parts.networks.is_empty() {
                host::expand(&mut objects, desired, host);
            }
            parts.networks.iter().filter_map(|name| desired.networks().get(name)).for_each(|each| network(&mut objects, each, host));
            parts
                .containers
                .iter()
                .filter_map(|id| desired.containers().get(id))
                .for_each(|each| container(&mut objects, desired, each, host));
            parts
                .publishes
                .iter()
                .filter_map(|key| desired.publishes().get_key_value(key))
                .for_each(|(key, each)| publish(&mut objects, desired, &key.container, each, host));
            // What every part stands on.
            if !desired.networks().is_empty() {
                objects.table = Table::Current;
                objects.filters = filters(host);
            }
        }
    }
    objects
}

fn filters(host: &Host) -> Filters {
    if host.features.datapath { Filters::Current } else { Filters::Absent }
}

fn sysctl(ns: &Ns, key: String) -> Sysctl {
    Sysctl { ns: ns.clone(), key }
}

fn network(objects: &mut Objects, network: &Network, host: &Host) {
    let bridge = &network.bridge;
    objects.bridges.insert(
        bridge.clone(),
        Bridge {
            mac: network.mac,
            mtu: network.mtu_on(host),
            up: true,
            promiscuous: network.inline.is_some_and(|inline| inline.promiscuous),
        },
    );
    objects.elements.extend([Element::Bridge(bridge.clone()), Element::Within(bridge.clone())]);
    if network.internal {
        objects.elements.insert(Element::Internal(bridge.clone()));
    }
    for family in &network.routed {
        objects.elements.insert(Element::Routed(bridge.clone(), *family));
    }
    for pool in &network.pools {
        let family = pool.subnet.family();
        if let Some(gateway) = pool.gateway.filter(|_| network.is_gateway())
            && let Ok(net) = ipnet::IpNet::new(gateway, pool.subnet.net().prefix_len())
        {
            objects.addresses.insert(Address { ns: Ns::Host, link: bridge.clone(), net });
        }
        // What a CNI configuration describes is reached from outside, and may still leave under the host's address.
        if network.masquerade && (network.inline.is_some() || !network.routed.contains(&family)) {
            objects.elements.insert(Element::Masquerade(pool.subnet));
        }
        if !network.internal {
            objects.elements.insert(Element::Hairpin(pool.subnet));
        }
    }
    if !host.features.sysctls {
        return;
    }
    let mut set = |key: String, value: &str| objects.sysctls.insert(sysctl(&Ns::Host, key), value.to_owned());
    if network.pool(Family::V4).is_some() {
        set(format!("net/ipv4/conf/{bridge}/forwarding"), if network.internal { "0" } else { "1" });
        // Loose: a container on two networks may send with the other network's address (RFC 3704, 2.4).
        set(format!("net/ipv4/conf/{bridge}/rp_filter"), "2");
        // 127.0.0.1 of the host reaches published ports; the raw chain keeps everybody else from 127.0.0.0/8.
        set(format!("net/ipv4/conf/{bridge}/route_localnet"), if network.internal { "0" } else { "1" });
    }
    if host.features.ipv6 {
        let six = network.pool(Family::V6).is_some();
        set(format!("net/ipv6/conf/{bridge}/disable_ipv6"), if six { "0" } else { "1" });
        if six {
            set(format!("net/ipv6/conf/{bridge}/accept_ra"), "0");
            set(format!("net/ipv6/conf/{bridge}/accept_dad"), "0");
            if host.features.force_forwarding {
                set(format!("net/ipv6/conf/{bridge}/force_forwarding"), if network.internal { "0" } else { "1" });
            }
        }
    }
}

fn container(objects: &mut Objects, desired: &Desired, container: &Container, host: &Host) {
    if desired.is_absent(&container.id) {
        return;
    }
    let path = container.netns();
    let ns = Ns::At(path.clone());
    let netns = match &container.origin {
        Origin::Made => Netns::Made,
        Origin::Adopted { id, .. } | Origin::Cni { id, .. } => Netns::Adopted(*id),
    };
    objects.netns.insert(path, netns);
    for attachment in &container.attachments {
        if let Some(network) = desired.networks().get(&attachment.network) {
            veth(objects, container, attachment, network, host);
        }
    }
    objects.routes.extend(routes(desired, container));
    if host.features.sysctls {
        // Last, so that a runtime's word counts where netd's own is only a guess.
        for cni in container.attachments.iter().filter_map(|attachment| attachment.cni.as_ref()) {
            objects.sysctls.extend(cni.sysctls.iter().map(|(key, value)| (sysctl(&ns, key.clone()), value.clone())));
        }
    }
}

fn veth(objects: &mut Objects, container: &Container, attachment: &Attachment, network: &Network, host: &Host) {
    let ns = Ns::At(container.netns());
    let ifname = &attachment.ifname;
    let mut veth = Veth {
        bridge: Some(network.bridge.clone()),
        mac: attachment.host_mac,
        mtu: network.mtu_on(host),
        up: true,
        alias: mark::alias(container, attachment),
        isolated: !network.icc,
        hairpin: network.inline.map_or(!network.internal, |inline| inline.hairpin),
        on_blocks: host.features.datapath,
        slot: host.features.datapath.then_some(attachment.slot),
        entry: None,
        to_container: None,
        from_container: None,
        peer: Some(Peer { ns: ns.clone(), name: ifname.clone(), mac: attachment.mac, up: true }),
    };
    shape::shape(objects, &mut veth, container, attachment, host);
    if host.features.datapath {
        veth.entry = Some(Box::new(entry(&veth, container, attachment)));
    }
    objects.veths.insert(attachment.host_ifname.clone(), veth);
    for net in &attachment.addresses {
        objects.addresses.insert(Address { ns: ns.clone(), link: ifname.clone(), net: *net });
    }
    if !host.features.sysctls {
        return;
    }
    if host.features.ipv6 {
        // A bridge port needs no address of its own, and what it would send is nobody's traffic.
        objects.sysctls.insert(sysctl(&Ns::Host, format!("net/ipv6/conf/{}/disable_ipv6", attachment.host_ifname)), "1".to_owned());
        objects.sysctls.extend(sysctls_inside(attachment).into_iter().map(|(key, value)| (sysctl(&ns, key), value.to_owned())));
    }
    if container.attachments.first() != Some(attachment) && attachment.address(Family::V4).is_some() {
        // Strict filtering, which a namespace may inherit from the host, would drop what comes in on a network that is not the way out. The
        // first one needs nothing: it is the way out, or internal; so a second network changes nothing of it, and taking that back neither.
        objects.sysctls.insert(sysctl(&ns, format!("net/ipv4/conf/{ifname}/rp_filter")), "2".to_owned());
    }
}

/// What the eBPF programs are told of an attachment.
fn entry(veth: &Veth, container: &Container, attachment: &Attachment) -> Entry {
    let mut addresses: Vec<_> = attachment.addresses.iter().map(ipnet::IpNet::addr).collect();
    addresses.sort_by_key(|address| Family::of(*address));
    // On several networks a container may send by one of them with its address of another (RFC 3704, 2.4).
    let others = container.attachments.iter().filter(|other| other.slot != attachment.slot);
    let elsewhere = others.flat_map(|other| &other.addresses).map(ipnet::IpNet::addr);
    Entry {
        mac: attachment.mac,
        checks: match container.guard {
            Guard::Off => Checks::Nothing,
            Guard::On if addresses.is_empty() => Checks::Mac,
            Guard::On => Checks::All,
        },
        addresses,
        elsewhere: elsewhere.collect(),
        allowed: container.allow.iter().copied().collect(),
        bridge: veth.bridge.clone(),
        isolated: veth.isolated,
        paced: veth.to_container.is_some(),
    }
}

/// The sysctls that an attachment's end in the container must have in IPv6.
pub(crate) fn sysctls_inside(attachment: &Attachment) -> Vec<(String, &'static str)> {
    let key = |name: &str| format!("net/ipv6/conf/{}/{name}", attachment.ifname);
    if attachment.addresses.is_empty() {
        // A segment without IP: what runs over it is its containers' own business.
        Vec::new()
    } else if attachment.address(Family::V6).is_some() {
        // A container that was made with IPv6 off (Docker's default in some versions) still gets what its network has.
        vec![(key("disable_ipv6"), "0"), (key("accept_ra"), "0")]
    } else {
        // Without an IPv6 network nobody should be able to give it a route by a router advertisement.
        vec![(key("disable_ipv6"), "1")]
    }
}

fn publish(objects: &mut Objects, desired: &Desired, id: &ContainerId, published: &Published, host: &Host) {
    let Some(container) = desired.containers().get(id).filter(|_| !desired.is_absent(id)) else { return };
    for family in published.families() {
        let target = change::publish::target(container, family, |name| desired.networks().get(name).map(AsRef::as_ref));
        let Some(target) = target else { continue };
        for (port, target_port) in (published.host.first..=published.host.last).zip(published.target.first..=published.target.last) {
            let publish = Publish { address: published.one_address(), protocol: published.protocol, port, target, target_port };
            objects.elements.extend(publish.refused().into_iter().chain([Element::Publish(publish)]));
        }
    }
    // The runtime or its monitor may want to listen there itself.
    let is_held = !container.asked_by_runtime(published);
    if is_held && (published.protocol != netd_api::publish::Protocol::Sctp || host.features.sctp_sockets) {
        for port in published.host.first..=published.host.last {
            objects.reservations.insert(Reservation { protocol: published.protocol, address: published.address, port });
        }
    }
}

#[cfg(test)]
mod tests;
