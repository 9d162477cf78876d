//! The stored form of what is wanted, version 3: what these types write is on users' disks, so they change only with the schema's number.
//! Version 1 is the same without what CNI brought, version 2 without what policies brought: they read both as they are. Not used for planning,
//! and decides nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use netd_api::{
    addr::{Family, Mac, Subnet},
    cni::{Bandwidth, CniRoute},
    names::{ContainerId, ContainerName, IfName, Namespace, NetworkName},
    publish::{PortRange, Protocol},
    spec::{Guard, Labels, NamedPort},
};
use netd_core::{
    desired::{self, Edit},
    objects::{self, Ns},
    policy::{
        model,
        parse::{File, OtherKinds, parse},
    },
};
use serde::{Deserialize, Serialize};

/// The number of this form. A field more or less, or another meaning, is the next number.
pub(super) const SCHEMA: u32 = 3;
/// The oldest form that these types read.
pub(super) const OLDEST: u32 = 1;

/// A network.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Network {
    name: NetworkName,
    bridge: IfName,
    mac: Mac,
    mtu: Option<u32>,
    internal: bool,
    routed: BTreeSet<Family>,
    masquerade: bool,
    icc: bool,
    pools: Vec<Pool>,
    labels: Labels,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inline: Option<Inline>,
}

/// What a network of a CNI configuration has otherwise.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inline {
    gateway: bool,
    hairpin: bool,
    promiscuous: bool,
    brought: bool,
}

/// A subnet of a network.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pool {
    subnet: Subnet,
    gateway: Option<IpAddr>,
    range: IpNet,
    excludes: Vec<IpNet>,
    /// None: the set of its family, 0 for IPv4 and 1 for IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    set: Option<u8>,
}

/// A container with its interfaces.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Container {
    id: ContainerId,
    name: ContainerName,
    namespace: Namespace,
    origin: Origin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cgroup: Option<String>,
    labels: Labels,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    ports: BTreeMap<String, NamedPort>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allow: Vec<IpNet>,
    #[serde(default, skip_serializing_if = "is_on")]
    guard: Guard,
    attachments: Vec<Attachment>,
}

fn is_on(guard: &Guard) -> bool {
    *guard == Guard::On
}

/// Who makes a container's network namespace.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Origin {
    Made,
    Adopted { path: String, dev: u64, ino: u64 },
    Cni { path: String, dev: u64, ino: u64, order: u64 },
}

/// An interface of a container.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attachment {
    network: NetworkName,
    ifname: IfName,
    host_ifname: IfName,
    mac: Mac,
    host_mac: Mac,
    addresses: Vec<IpNet>,
    slot: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cni: Option<Cni>,
}

/// What a CNI runtime asked for with an interface.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cni {
    config: NetworkName,
    routes: Option<Vec<CniRoute>>,
    ports: Vec<Port>,
    bandwidth: Bandwidth,
    sysctls: BTreeMap<String, String>,
    aliases: Vec<String>,
}

/// A host port that a CNI runtime asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Port {
    address: Option<IpAddr>,
    protocol: Protocol,
    host: PortRange,
    target: PortRange,
}

/// A published port, or several in a row.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Publish {
    container: ContainerId,
    address: Option<IpAddr>,
    protocol: Protocol,
    host: PortRange,
    target: PortRange,
}

/// A policy, as the text that says it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    source: String,
}

/// The labels of a namespace.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamespaceLabels {
    namespace: Namespace,
    labels: Labels,
}

/// What a sysctl was; no namespace is the host's.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Original {
    ns: Option<String>,
    key: String,
    value: String,
}

impl From<&desired::Network> for Network {
    fn from(network: &desired::Network) -> Self {
        let desired::Network { name, bridge, mac, mtu, internal, routed, masquerade, icc, pools, labels, inline } = network.clone();
        let pools = pools
            .into_iter()
            .map(|desired::Pool { subnet, gateway, range, excludes, set }| {
                let set = Some(set).filter(|set| inline.is_some() || *set != set_of(subnet));
                Pool { subnet, gateway, range, excludes, set }
            })
            .collect();
        let inline =
            inline.map(|desired::Inline { gateway, hairpin, promiscuous, brought }| Inline { gateway, hairpin, promiscuous, brought });
        Self { name, bridge, mac, mtu, internal, routed, masquerade, icc, pools, labels, inline }
    }
}

/// The set of a subnet in a network that was made by name.
fn set_of(subnet: Subnet) -> u8 {
    u8::from(subnet.family() == Family::V6)
}

impl From<&desired::Container> for Container {
    fn from(container: &desired::Container) -> Self {
        let desired::Container { id, name, namespace, origin, cgroup, labels, ports, allow, guard, attachments } = container.clone();
        let origin = match origin {
            desired::Origin::Made => Origin::Made,
            desired::Origin::Adopted { path, id } => Origin::Adopted { path, dev: id.dev, ino: id.ino },
            desired::Origin::Cni { path, id, order } => Origin::Cni { path, dev: id.dev, ino: id.ino, order },
        };
        let attachments = attachments
            .into_iter()
            .map(|desired::Attachment { network, ifname, host_ifname, mac, host_mac, addresses, slot, cni }| {
                let cni = cni.as_deref().map(Cni::from);
                Attachment { network, ifname, host_ifname, mac, host_mac, addresses, slot, cni }
            })
            .collect();
        Self { id, name, namespace, origin, cgroup, labels, ports, allow, guard, attachments }
    }
}

impl From<&desired::Cni> for Cni {
    fn from(cni: &desired::Cni) -> Self {
        let desired::Cni { config, routes, ports, bandwidth, sysctls, aliases } = cni.clone();
        let port = |desired::Published { address, protocol, host, target }| Port { address, protocol, host, target };
        Self { config, routes, ports: ports.into_iter().map(port).collect(), bandwidth, sysctls, aliases }
    }
}

impl From<Cni> for desired::Cni {
    fn from(Cni { config, routes, ports, bandwidth, sysctls, aliases }: Cni) -> Self {
        let port = |Port { address, protocol, host, target }| desired::Published { address, protocol, host, target };
        Self { config, routes, ports: ports.into_iter().map(port).collect(), bandwidth, sysctls, aliases }
    }
}

impl Publish {
    pub(super) fn new(container: &ContainerId, published: &desired::Published) -> Self {
        let desired::Published { address, protocol, host, target } = *published;
        Self { container: container.clone(), address, protocol, host, target }
    }

    /// One host port of one address has one record for each container, as [`desired::PublishKey`].
    pub(super) fn key(&self) -> String {
        let address = self.address.map_or_else(|| "*".to_owned(), |address| address.to_string());
        format!("{}/{}/{}/{address}", self.container, self.protocol, self.host.first)
    }
}

impl Original {
    pub(super) fn new(sysctl: &objects::Sysctl, value: &str) -> Self {
        Self { ns: sysctl.ns.path().map(str::to_owned), key: sysctl.key.clone(), value: value.to_owned() }
    }

    /// No path holds a NUL.
    pub(super) fn key(&self) -> String {
        format!("{}\0{}", self.ns.as_deref().unwrap_or_default(), self.key)
    }
}

impl From<&model::Policy> for Policy {
    fn from(policy: &model::Policy) -> Self {
        Self { source: policy.source.clone() }
    }
}

impl Policy {
    /// The policy that its text says.
    pub(super) fn parse(self) -> Result<model::Policy, String> {
        let file = File { name: "its text", text: &self.source };
        let parsed = parse(&[file], OtherKinds::Refuse).map_err(|errors| errors.to_string())?;
        let [policy] = <[_; 1]>::try_from(parsed.policies).map_err(|policies| format!("its text says {} policies", policies.len()))?;
        Ok(policy)
    }
}

impl NamespaceLabels {
    pub(super) fn new(namespace: &Namespace, labels: &Labels) -> Self {
        Self { namespace: namespace.clone(), labels: labels.clone() }
    }
}

impl From<NamespaceLabels> for Edit {
    fn from(NamespaceLabels { namespace, labels }: NamespaceLabels) -> Self {
        Self::Namespace { namespace, before: None, after: Some(labels) }
    }
}

impl From<Network> for Edit {
    fn from(Network { name, bridge, mac, mtu, internal, routed, masquerade, icc, pools, labels, inline }: Network) -> Self {
        let pools = pools
            .into_iter()
            .map(|Pool { subnet, gateway, range, excludes, set }| {
                let set = set.unwrap_or_else(|| set_of(subnet));
                desired::Pool { subnet, gateway, range, excludes, set }
            })
            .collect();
        let inline =
            inline.map(|Inline { gateway, hairpin, promiscuous, brought }| desired::Inline { gateway, hairpin, promiscuous, brought });
        let network = desired::Network { name, bridge, mac, mtu, internal, routed, masquerade, icc, pools, labels, inline };
        Self::Network { before: None, after: Some(Arc::new(network)) }
    }
}

impl From<Container> for Edit {
    fn from(Container { id, name, namespace, origin, cgroup, labels, ports, allow, guard, attachments }: Container) -> Self {
        let origin = match origin {
            Origin::Made => desired::Origin::Made,
            Origin::Adopted { path, dev, ino } => desired::Origin::Adopted { path, id: objects::NetnsId { dev, ino } },
            Origin::Cni { path, dev, ino, order } => desired::Origin::Cni { path, id: objects::NetnsId { dev, ino }, order },
        };
        let attachments = attachments
            .into_iter()
            .map(|Attachment { network, ifname, host_ifname, mac, host_mac, addresses, slot, cni }| {
                let cni = cni.map(|cni| Arc::new(cni.into()));
                desired::Attachment { network, ifname, host_ifname, mac, host_mac, addresses, slot, cni }
            })
            .collect();
        let container = desired::Container { id, name, namespace, origin, cgroup, labels, ports, allow, guard, attachments };
        Self::Container { before: None, after: Some(Arc::new(container)) }
    }
}

impl From<Publish> for Edit {
    fn from(Publish { container, address, protocol, host, target }: Publish) -> Self {
        Self::Publish { container, before: None, after: Some(desired::Published { address, protocol, host, target }) }
    }
}

impl From<Original> for Edit {
    fn from(Original { ns, key, value }: Original) -> Self {
        Self::Original { sysctl: objects::Sysctl { ns: ns.map_or(Ns::Host, Ns::At), key }, before: None, after: Some(value) }
    }
}
