//! What is wanted: networks, containers, published ports; and the change from one wish to the next.
//! Changed only by [`Desired::apply`], which keeps the indexes true. Never looks at the kernel.

mod edit;
mod index;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::Bound,
    sync::Arc,
};

use ipnet::IpNet;
use netd_api::{
    addr::{Family, Mac, Subnet},
    cni::{Bandwidth, CniKey, CniRoute},
    names::{ContainerId, ContainerName, IfName, Namespace, NetworkName},
    publish::{PortRange, Protocol},
    spec::{Guard, Labels, NamedPort},
};

pub use self::edit::{Change, Edit};
use self::index::Index;
use crate::{
    host::Host,
    ipam::Ranges,
    objects::{NetnsId, Sysctl},
    policy::model::{Policy, PolicyName},
};

/// As many bytes of an id are shown where people look, and are enough to mean it by (Docker's and podman's short ids).
pub const SHORT_ID: usize = 12;
/// The smallest MTU of IPv4, in bytes (RFC 791).
pub const MTU_V4: u32 = 68;
/// The smallest MTU of IPv6, in bytes (RFC 8200).
pub const MTU_V6: u32 = 1280;
/// The largest MTU that a veth takes, in bytes (ETH_MAX_MTU).
pub const MTU_MAX: u32 = 65535;

/// A network, with everything chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: NetworkName,
    /// The bridge.
    pub bridge: IfName,
    /// The bridge's hardware address.
    pub mac: Mac,
    /// Bytes; none follows the uplinks.
    pub mtu: Option<u32>,
    /// No way out and none in, but from the host.
    pub internal: bool,
    /// Families in which it is routed.
    pub routed: BTreeSet<Family>,
    /// Whether it is masqueraded where it is not routed.
    pub masquerade: bool,
    /// Whether its containers may talk to each other.
    pub icc: bool,
    /// Its subnets. Each set of them gives an attachment one address; without `inline` there is one set of one subnet for each family.
    pub pools: Vec<Pool>,
    /// Labels.
    pub labels: Labels,
    /// What is particular to a network that a CNI configuration describes; none: it was made by name.
    pub inline: Option<Inline>,
}

/// What a network that a CNI configuration describes may have otherwise. It is routed, masqueraded or not, and ends with the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inline {
    /// Whether the bridge has the gateways' addresses.
    pub gateway: bool,
    /// Whether a frame may go back where it came from.
    pub hairpin: bool,
    /// Whether the bridge takes in frames for everybody.
    pub promiscuous: bool,
    /// Whether attachments bring their addresses, and with them the subnets.
    pub brought: bool,
}

impl Network {
    /// The MTU of its links, in bytes: its own, or what the uplinks give; but with less than 1280 a link has no IPv6 (RFC 8200, 5).
    pub fn mtu_on(&self, host: &Host) -> u32 {
        let least = if self.pool(Family::V6).is_some() { MTU_V6 } else { MTU_V4 };
        self.mtu.unwrap_or_else(|| host.mtu().clamp(least, MTU_MAX))
    }
    /// Its first subnet of a family; `Some` wherever it has the family at all.
    pub fn pool(&self, family: Family) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.subnet.family() == family)
    }
    /// The subnet that an attachment's address is of.
    pub fn pool_of(&self, net: IpNet) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.subnet.net() == net.trunc())
    }
    /// Whether its bridge has the gateways' addresses.
    pub fn is_gateway(&self) -> bool {
        self.inline.is_none_or(|inline| inline.gateway)
    }
}

/// A subnet and what of it may be given away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The subnet.
    pub subnet: Subnet,
    /// The host's address; none in an internal point-to-point network.
    pub gateway: Option<IpAddr>,
    /// Where addresses are chosen from; static ones may be anywhere in the subnet but where excluded.
    pub range: IpNet,
    /// What nobody gets.
    pub excludes: Vec<IpNet>,
    /// The set it belongs to: an attachment gets one address of each set, from the set's first pool that has a free one.
    pub set: u8,
}

/// Where a container's namespace comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// netd makes it at /run/netns/ID, again at each boot.
    Made,
    /// Somebody else made it.
    Adopted {
        /// Where it is reached.
        path: String,
        /// What it is known by.
        id: NetnsId,
    },
    /// A container runtime made it and attached it through CNI.
    Cni {
        /// Where it is reached.
        path: String,
        /// What it is known by.
        id: NetnsId,
        /// Grows with each container that comes: of two with one name, the newer is meant.
        order: u64,
    },
}

impl Origin {
    /// What somebody else's namespace is known by.
    pub fn netns_id(&self) -> Option<NetnsId> {
        match self {
            Self::Made => None,
            Self::Adopted { id, .. } | Self::Cni { id, .. } => Some(*id),
        }
    }
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// What files, URLs and interfaces are named by.
    pub id: ContainerId,
    /// What people call it.
    pub name: ContainerName,
    /// The namespace it counts to.
    pub namespace: Namespace,
    /// Where its network namespace comes from.
    pub origin: Origin,
    /// The runtime's cgroup of it.
    pub cgroup: Option<String>,
    /// Labels.
    pub labels: Labels,
    /// Names of its ports.
    pub ports: BTreeMap<String, NamedPort>,
    /// Addresses that it may send from besides its own.
    pub allow: Vec<IpNet>,
    /// Whether what it sends is checked against what it is.
    pub guard: Guard,
    /// Its interfaces; the first one on a network with a way out is its way out.
    pub attachments: Vec<Attachment>,
}

impl Container {
    /// The path of its network namespace.
    pub fn netns(&self) -> String {
        match &self.origin {
            Origin::Made => format!("{}/{}", crate::mark::NETNS_DIR, self.id),
            Origin::Adopted { path, .. } | Origin::Cni { path, .. } => path.clone(),
        }
    }
    /// Whether a published port is one that its runtime asked for.
    pub fn asked_by_runtime(&self, published: &Published) -> bool {
        let mut by_runtime = self.attachments.iter().filter_map(|attachment| attachment.cni.as_ref());
        by_runtime.any(|cni| cni.ports.contains(published))
    }
}

/// One interface of a container on one network; its key is (network, container, ifname).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The network.
    pub network: NetworkName,
    /// The interface in the container.
    pub ifname: IfName,
    /// The other end, on the host.
    pub host_ifname: IfName,
    /// The container end's hardware address.
    pub mac: Mac,
    /// The host end's hardware address.
    pub host_mac: Mac,
    /// Addresses with the subnet's prefix length.
    pub addresses: Vec<IpNet>,
    /// Its number in the eBPF maps.
    pub slot: u32,
    /// What a CNI runtime asked for besides; none where no runtime did.
    pub cni: Option<Arc<Cni>>,
}

/// What a CNI runtime asked for with an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cni {
    /// The `name` of the configuration, part of what the attachment is known by.
    pub config: NetworkName,
    /// The routes of the container by this interface; none: the default routes that its network gives.
    pub routes: Option<Vec<CniRoute>>,
    /// The host ports. A container's published ports are those of all its attachments, and those that `netctl publish` added.
    pub ports: Vec<Published>,
    /// How fast it may get and send.
    pub bandwidth: Bandwidth,
    /// Sysctls of the container's namespace: keys with slashes, below `net`.
    pub sysctls: BTreeMap<String, String>,
    /// Further names on the network.
    pub aliases: Vec<String>,
}

impl Attachment {
    /// Its address of a family.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().map(IpNet::addr).find(|address| Family::of(*address) == family)
    }
    /// Whether a runtime knows it by this configuration and interface.
    pub fn is_of(&self, config: &NetworkName, ifname: &IfName) -> bool {
        self.ifname == *ifname && self.cni.as_ref().is_some_and(|cni| cni.config == *config)
    }
}

/// A published port, or several in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The address of the host; `0.0.0.0`: all of IPv4, `::`: all of IPv6, none: all of both.
    pub address: Option<IpAddr>,
    /// The protocol.
    pub protocol: Protocol,
    /// The host's ports.
    pub host: PortRange,
    /// The container's ports, as many.
    pub target: PortRange,
}

impl Published {
    /// The one address of the host that it is meant for; none where it is all of a family, or of both.
    pub fn one_address(&self) -> Option<IpAddr> {
        self.address.filter(|address| !address.is_unspecified())
    }
    /// The families in which it is reached.
    pub fn families(&self) -> impl Iterator<Item = Family> + use<> {
        let only = self.address.map(Family::of);
        Family::BOTH.into_iter().filter(move |family| only.is_none_or(|only| only == *family))
    }
    /// What it is known by.
    pub fn key(&self, container: &ContainerId) -> PublishKey {
        PublishKey { container: container.clone(), protocol: self.protocol, first: self.host.first, address: self.address }
    }
    /// Whether both want the same port of the same address.
    pub fn conflicts(&self, other: &Self) -> bool {
        let same_address = match (self.address, other.address) {
            (Some(one), Some(other)) => {
                Family::of(one) == Family::of(other) && (one == other || one.is_unspecified() || other.is_unspecified())
            }
            _ => true,
        };
        self.protocol == other.protocol && same_address && self.host.overlaps(other.host)
    }
}

/// What a published port is known by: its container, and the place on the host, where only one can be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishKey {
    /// The container.
    pub container: ContainerId,
    /// The protocol.
    pub protocol: Protocol,
    /// The first of the host's ports.
    pub first: u16,
    /// The address of the host, as [`Published`] has it.
    pub address: Option<IpAddr>,
}

/// All that is wanted of this host.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    networks: BTreeMap<NetworkName, Arc<Network>>,
    containers: BTreeMap<ContainerId, Arc<Container>>,
    publishes: BTreeMap<PublishKey, Published>,
    policies: Arc<BTreeMap<PolicyName, Arc<Policy>>>,
    namespaces: BTreeMap<Namespace, Labels>,
    originals: BTreeMap<Sysctl, String>,
    absent: BTreeSet<ContainerId>,
    index: Index,
}

impl PartialEq for Desired {
    /// Indexes follow from the rest, and absence is observed, not wanted.
    fn eq(&self, other: &Self) -> bool {
        self.networks == other.networks
            && self.containers == other.containers
            && self.publishes == other.publishes
            && self.policies == other.policies
            && self.namespaces == other.namespaces
            && self.originals == other.originals
    }
}

impl Desired {
    /// All networks, by name.
    pub fn networks(&self) -> &BTreeMap<NetworkName, Arc<Network>> {
        &self.networks
    }
    /// All containers, by id.
    pub fn containers(&self) -> &BTreeMap<ContainerId, Arc<Container>> {
        &self.containers
    }
    /// All published ports.
    pub fn publishes(&self) -> &BTreeMap<PublishKey, Published> {
        &self.publishes
    }
    /// All policies, by name.
    pub fn policies(&self) -> &Arc<BTreeMap<PolicyName, Arc<Policy>>> {
        &self.policies
    }
    /// The labels that namespaces were given.
    pub fn namespaces(&self) -> &BTreeMap<Namespace, Labels> {
        &self.namespaces
    }
    /// What sysctls were before netd changed them.
    pub fn originals(&self) -> &BTreeMap<Sysctl, String> {
        &self.originals
    }
    /// The container that people mean by a name: one that they named so themselves, else the newest of that display name, else the one of
    /// that id, else the only one whose id begins so, from 12 bytes on.
    pub fn find(&self, name: &ContainerName) -> Option<&Arc<Container>> {
        let by_id = self.containers.get(name.as_str());
        let named = by_id.filter(|container| !matches!(container.origin, Origin::Cni { .. }));
        let newest = || self.containers.get(&self.index.names.get(name)?.last()?.1);
        named.or_else(newest).or(by_id).or_else(|| self.by_prefix(name.as_str()))
    }
    fn by_prefix(&self, prefix: &str) -> Option<&Arc<Container>> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let mut meant = self.containers.range::<str, _>(from).take_while(|(id, _)| id.as_str().starts_with(prefix));
        let (_, container) = meant.next().filter(|_| prefix.len() >= SHORT_ID)?;
        meant.next().is_none().then_some(container)
    }
    /// The number of the next container that a runtime brings.
    pub fn next_order(&self) -> u64 {
        self.index.orders.last().map_or(1, |newest| newest + 1)
    }
    /// The attachment that a runtime knows by this key, and its container.
    pub fn cni(&self, key: &CniKey) -> Option<(&Arc<Container>, &Attachment)> {
        let container = self.containers.get(&key.container)?;
        Some((container, container.attachments.iter().find(|attachment| attachment.is_of(&key.config, &key.ifname))?))
    }
    /// The containers and interfaces that were attached by a configuration of a runtime.
    pub fn attached_by(&self, config: &NetworkName) -> impl Iterator<Item = (&ContainerId, &IfName)> {
        self.index.configs.get(config).into_iter().flatten().map(|(id, ifname)| (id, ifname))
    }
    /// Who is attached to a network.
    pub fn members(&self, network: &NetworkName) -> impl Iterator<Item = (&Arc<Container>, &Attachment)> {
        self.index.members.get(network).into_iter().flatten().filter_map(|(id, ifname)| {
            let container = self.containers.get(id)?;
            let attachment =
                container.attachments.iter().find(|attachment| attachment.network == *network && attachment.ifname == *ifname)?;
            Some((container, attachment))
        })
    }
    /// How many are attached to a network.
    pub fn member_count(&self, network: &NetworkName) -> usize {
        self.index.members.get(network).map_or(0, BTreeSet::len)
    }
    /// The published ports of a container.
    pub fn publishes_of<'a>(&'a self, id: &'a ContainerId) -> impl Iterator<Item = (&'a PublishKey, &'a Published)> {
        let first = PublishKey { container: id.clone(), protocol: Protocol::Tcp, first: 0, address: None };
        self.publishes.range(first..).take_while(move |(key, _)| key.container == *id)
    }
    /// The first published port that is in the way of this one.
    pub fn conflict(&self, wanted: &Published) -> Option<(&PublishKey, &Published)> {
        self.conflicts(wanted).next()
    }
    /// The published ports that are in the way of this one; one of several ports may come more than once.
    pub fn conflicts(&self, wanted: &Published) -> impl Iterator<Item = (&PublishKey, &Published)> + use<'_> {
        let wanted = *wanted;
        let keys =
            self.index.ports.range((wanted.protocol, wanted.host.first)..=(wanted.protocol, wanted.host.last)).flat_map(|(_, keys)| keys);
        keys.filter_map(|key| self.publishes.get_key_value(key)).filter(move |(_, other)| other.conflicts(&wanted))
    }
    /// The addresses that a network's attachments have.
    pub fn used(&self, network: &NetworkName, family: Family) -> Option<&Ranges> {
        self.index.used.get(&(network.clone(), family))
    }
    /// The address of a network's subnet that was given away last.
    pub fn last_given(&self, network: &NetworkName, subnet: Subnet) -> Option<IpAddr> {
        self.index.last.get(network)?.get(&subnet.net()).copied()
    }
    /// Who has a hardware address on a network.
    pub fn mac_holder(&self, network: &NetworkName, mac: Mac) -> Option<&Arc<Container>> {
        self.containers.get(self.index.macs.get(&(network.clone(), mac))?)
    }
    /// The containers that adopted a namespace; more than one where its number came again after the first had gone.
    pub fn adopters(&self, namespace: NetnsId) -> impl Iterator<Item = &Arc<Container>> {
        self.index.adopted.get(&namespace).into_iter().flatten().filter_map(|id| self.containers.get(id))
    }
    /// The host ports of a protocol that are published on any address.
    pub fn taken_ports(&self, protocol: Protocol) -> Option<&Ranges> {
        self.index.taken_ports.get(&protocol)
    }
    /// The numbers that attachments have.
    pub fn slots(&self) -> &Ranges {
        &self.index.slots
    }
    /// The attachment that has a number, and its container.
    pub fn attachment_at(&self, slot: u32) -> Option<(&Arc<Container>, &Attachment)> {
        let (id, _) = self.index.by_slot.get(&slot)?;
        let container = self.containers.get(id)?;
        Some((container, container.attachments.iter().find(|attachment| attachment.slot == slot)?))
    }
    /// The container that has an address.
    pub fn container_with(&self, address: IpAddr) -> Option<&Arc<Container>> {
        self.containers.get(self.index.by_address.get(&address)?)
    }
    /// The container at the other end of a host end.
    pub fn container_at(&self, host_ifname: &IfName) -> Option<&ContainerId> {
        self.index.host_ends.get(host_ifname)
    }
    /// Whether a container's namespace was found gone.
    pub fn is_absent(&self, id: &ContainerId) -> bool {
        self.absent.contains(id)
    }
    /// Notes that a container's namespace is there or gone; says whether that is news.
    pub fn note_presence(&mut self, id: &ContainerId, present: bool) -> bool {
        if present { self.absent.remove(id) } else { self.absent.insert(id.clone()) }
    }

    /// Makes a change. Its `before`s are trusted to be what is there.
    pub fn apply(&mut self, change: &Change) {
        for edit in &change.edits {
            match edit {
                Edit::Network { before, after } => self.put_network(before.as_deref(), after.as_ref()),
                Edit::Container { before, after } => self.put_container(before.as_deref(), after.as_ref()),
                Edit::Publish { container, before, after } => self.put_publish(container, before.as_ref(), after.as_ref()),
                Edit::Policy { name, after, .. } => {
                    let policies = Arc::make_mut(&mut self.policies);
                    match after {
                        Some(policy) => policies.insert(name.clone(), Arc::clone(policy)),
                        None => policies.remove(name),
                    };
                }
                Edit::Namespace { namespace, after, .. } => {
                    match after {
                        Some(labels) => self.namespaces.insert(namespace.clone(), labels.clone()),
                        None => self.namespaces.remove(namespace),
                    };
                }
                Edit::Original { sysctl, after: Some(value), .. } => {
                    self.originals.insert(sysctl.clone(), value.clone());
                }
                Edit::Original { sysctl, after: None, .. } => {
                    self.originals.remove(sysctl);
                }
            }
        }
    }
}

/// An address as a number, IPv4 ones as 32 bits.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

#[cfg(test)]
mod tests;
