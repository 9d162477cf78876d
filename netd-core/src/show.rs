//! The wish as people and programs see it. Never shows what the kernel does; the daemon adds counters and port states.

mod policy;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use netd_api::{
    addr::Family,
    cni::Bandwidth,
    names::{ContainerId, NetworkName},
    policy::PolicyView,
    spec::Driver,
    view::{AttachmentView, ContainerView, Kind, MemberView, NetworkView, PortState, PortView, Presence, SubnetView, Traffic},
};

use crate::{
    change,
    desired::{Attachment, Container, Desired, Network, Origin, Pool, Published},
    host::Host,
    ipam,
    policy::{book::number::RuleName, model::Policy, pod},
};

/// A network with its members and how many of its addresses are used.
pub fn network(desired: &Desired, network: &Network, host: &Host) -> NetworkView {
    NetworkView {
        name: network.name.clone(),
        driver: Driver::Bridge,
        bridge: network.bridge.clone(),
        mtu: network.mtu_on(host),
        internal: network.internal,
        routed: network.routed.iter().copied().collect(),
        masquerade: network.masquerade,
        icc: network.icc,
        cni: network.inline.is_some(),
        subnets: network.pools.iter().map(|pool| subnet(desired, &network.name, pool)).collect(),
        labels: network.labels.clone(),
        containers: desired.members(&network.name).map(|(container, attachment)| member(container, attachment)).collect(),
    }
}

fn subnet(desired: &Desired, network: &NetworkName, pool: &Pool) -> SubnetView {
    let used = desired.used(network, pool.subnet.family());
    SubnetView {
        subnet: pool.subnet,
        gateway: pool.gateway,
        ip_range: pool.range,
        excludes: pool.excludes.clone(),
        used: ipam::used(pool, used),
        free: ipam::free(pool, used),
    }
}

fn member(container: &Container, attachment: &Attachment) -> MemberView {
    MemberView {
        container: container.name.clone(),
        ifname: attachment.ifname.clone(),
        addresses: attachment.addresses.clone(),
        mac: attachment.mac,
    }
}

/// A container with its interfaces and ports; counters are the daemon's to add.
pub fn container(desired: &Desired, container: &Container) -> ContainerView {
    ContainerView {
        id: container.id.clone(),
        name: container.name.clone(),
        namespace: container.namespace.clone(),
        kind: match container.origin {
            Origin::Made => Kind::Made,
            Origin::Adopted { .. } => Kind::Adopted,
            Origin::Cni { .. } => Kind::Cni,
        },
        state: if desired.is_absent(&container.id) { Presence::Absent } else { Presence::Running },
        netns: container.netns(),
        cgroup: container.cgroup.clone(),
        labels: container.labels.clone(),
        port_names: container.ports.clone(),
        allow_addresses: container.allow.clone(),
        guard: container.guard,
        policies: pod::selected_by(desired.policies().values().map(AsRef::as_ref), desired.namespaces(), container),
        attachments: container.attachments.iter().map(|each| attachment(desired, each)).collect(),
        ports: desired.publishes_of(&container.id).map(|(_, published)| port(desired, container, published)).collect(),
    }
}

fn attachment(desired: &Desired, attachment: &Attachment) -> AttachmentView {
    let network = desired.networks().get(&attachment.network);
    AttachmentView {
        network: attachment.network.clone(),
        ifname: attachment.ifname.clone(),
        host_ifname: attachment.host_ifname.clone(),
        mac: attachment.mac,
        addresses: attachment.addresses.clone(),
        gateways: gateways(network, attachment),
        cni: attachment.cni.as_ref().map(|cni| cni.config.clone()),
        bandwidth: attachment.cni.as_ref().map(|cni| cni.bandwidth).filter(|bandwidth| *bandwidth != Bandwidth::default()),
        aliases: attachment.cni.as_ref().map(|cni| cni.aliases.clone()).unwrap_or_default(),
        counters: None,
        reasons: Vec::new(),
    }
}

/// Those of the subnets that it has addresses of.
fn gateways(network: Option<&Arc<Network>>, attachment: &Attachment) -> Vec<IpAddr> {
    let pools = network.into_iter().flat_map(|network| &network.pools);
    let mut gateways: Vec<IpAddr> = pools
        .filter(|pool| attachment.addresses.iter().any(|net| pool.subnet.contains(net.addr())))
        .filter_map(|pool| pool.gateway)
        .collect();
    // Two sets may share a subnet.
    gateways.dedup();
    gateways
}

/// A policy with those whom it selects; which of `rules` decided what, `hits` knows.
pub fn policy(desired: &Desired, policy: &Policy, rules: &BTreeMap<u32, RuleName>, hits: impl Fn(u32) -> Traffic) -> PolicyView {
    policy::view(desired, policy, &policy::by_policy(rules), &hits)
}

/// All policies, likewise.
pub fn policies(desired: &Desired, rules: &BTreeMap<u32, RuleName>, hits: impl Fn(u32) -> Traffic) -> Vec<PolicyView> {
    let by_policy = policy::by_policy(rules);
    desired.policies().values().map(|policy| policy::view(desired, policy, &by_policy, &hits)).collect()
}

/// The published ports of one container, or of all.
pub fn ports(desired: &Desired, of: Option<&ContainerId>) -> Vec<PortView> {
    let view = |(id, published): (&ContainerId, &Published)| Some(port(desired, desired.containers().get(id)?, published));
    match of {
        Some(id) => desired.publishes_of(id).map(|(key, published)| (&key.container, published)).filter_map(view).collect(),
        None => desired.publishes().iter().map(|(key, published)| (&key.container, published)).filter_map(view).collect(),
    }
}

/// One published port; whether it is held is the daemon's to add.
pub fn port(desired: &Desired, container: &Container, published: &Published) -> PortView {
    let absent = desired.is_absent(&container.id);
    let target = |family: Family| change::publish::target(container, family, |name| desired.networks().get(name).map(AsRef::as_ref));
    let targets: Vec<IpAddr> = published.families().filter_map(target).collect();
    let note = match () {
        () if absent => format!("the network namespace {} has gone", container.netns()),
        () if targets.is_empty() => "the container has no address on a network with a way out".to_owned(),
        () => String::new(),
    };
    PortView {
        container: container.name.clone(),
        address: published.address,
        host: published.host,
        target: published.target,
        protocol: published.protocol,
        targets,
        state: if note.is_empty() { PortState::Active } else { PortState::Waiting },
        note,
    }
}

#[cfg(test)]
mod tests;
