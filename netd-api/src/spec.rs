//! All that a user can ask for. Unknown fields are errors, so a misspelt one is never silently without effect.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    addr::{Family, Mac, Subnet},
    names::{ContainerId, IfName, LabelKey, LabelValue, Namespace, NetworkName},
    publish::{Protocol, PublishSpec},
};

/// Labels of a network or container.
pub type Labels = BTreeMap<LabelKey, LabelValue>;

/// How a network is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A Linux bridge and a veth pair for each attachment.
    #[default]
    Bridge,
}

/// A network to be made. Everything but the name has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Its name.
    pub name: NetworkName,
    /// What it is made of.
    #[serde(default)]
    pub driver: Driver,
    /// Its subnets, each family at most once. None: one is chosen that overlaps nothing of the host.
    #[serde(default)]
    pub subnets: Vec<Subnet>,
    /// Whether an IPv6 subnet is chosen too, where `subnets` has none.
    #[serde(default)]
    pub ipv6: bool,
    /// The host's address in a subnet; by default its first.
    #[serde(default)]
    pub gateways: Vec<IpAddr>,
    /// Where addresses are taken from; by default the whole subnet.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub ip_ranges: Vec<IpNet>,
    /// Addresses that are never given to anybody.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub excludes: Vec<IpNet>,
    /// Bytes; none: the smallest of the uplinks', followed as it changes. IPv4 needs 68 (RFC 791), IPv6 1280 (RFC 8200).
    #[serde(default)]
    pub mtu: Option<u32>,
    /// No way out and none in, but from the host itself.
    #[serde(default)]
    pub internal: bool,
    /// The families in which it is not masqueraded and can be reached from outside.
    #[serde(default)]
    pub routed: Vec<Family>,
    /// Whether packets leave under the host's address. Without it the network is still protected from outside.
    #[serde(default = "yes")]
    pub masquerade: bool,
    /// Whether its containers may talk to each other.
    #[serde(default = "yes")]
    pub icc: bool,
    /// The bridge's name, instead of one that is derived from the network's.
    #[serde(default)]
    pub bridge: Option<IfName>,
    /// Labels.
    #[serde(default)]
    pub labels: Labels,
}

fn yes() -> bool {
    true
}

impl NetworkSpec {
    /// A bridge network with defaults only.
    pub fn named(name: NetworkName) -> Self {
        Self {
            name,
            driver: Driver::Bridge,
            subnets: Vec::new(),
            ipv6: false,
            gateways: Vec::new(),
            ip_ranges: Vec::new(),
            excludes: Vec::new(),
            mtu: None,
            internal: false,
            routed: Vec::new(),
            masquerade: true,
            icc: true,
            bridge: None,
            labels: Labels::new(),
        }
    }
}

/// How a container shall be attached to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AttachSpec {
    /// The network.
    pub network: NetworkName,
    /// Static addresses, at most one of each family; the others are chosen.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// The hardware address; by default one derived from the attachment's key.
    #[serde(default)]
    pub mac: Option<Mac>,
    /// The interface's name in the container; by default the first free of eth0, eth1, …
    #[serde(default)]
    pub ifname: Option<IfName>,
}

impl AttachSpec {
    /// An attachment with defaults only.
    pub fn to(network: NetworkName) -> Self {
        Self { network, addresses: Vec::new(), mac: None, ifname: None }
    }
}

/// Where a container's network namespace comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// netd makes `/run/netns/NAME`, again at each boot.
    #[default]
    Made,
    /// Another runtime made it, and bound it to this path.
    Path(String),
    /// The one this process lives in.
    Pid(u32),
}

/// A container to be made or adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ContainerSpec {
    /// Its name, which is its id too.
    pub name: ContainerId,
    /// Where its namespace comes from.
    #[serde(default)]
    pub netns: Source,
    /// Its networks, the first one its way out. None: the network `default`, made on first use.
    #[serde(default)]
    pub networks: Vec<AttachSpec>,
    /// Ports to publish.
    #[serde(default)]
    pub publish: Vec<PublishSpec>,
    /// Labels.
    #[serde(default)]
    pub labels: Labels,
    /// The namespace it counts to.
    #[serde(default)]
    pub namespace: Namespace,
    /// Addresses that it may send from besides its own: virtual IPs, virtual machines, routed prefixes.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub allow_addresses: Vec<IpNet>,
    /// Whether what it sends is checked: hardware and IP addresses, ARP and neighbour discovery, router advertisements, DHCP servers, source routing.
    #[serde(default)]
    pub guard: Guard,
}

/// Whether what a container sends is checked against what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Guard {
    /// It is.
    #[default]
    On,
    /// It is not: it may send as whom it likes.
    Off,
}

/// A port's name: up to 15 of `a-z 0-9 -`, with a letter, no `-` at either end and none after another (RFC 6335, 5.1, in lower case as Kubernetes has it).
#[must_use]
pub fn is_port_name(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=15).contains(&name.len())
        && name.bytes().all(is_known)
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

/// A port that has a name: which one, of which protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NamedPort {
    /// The port, 1 to 65535.
    pub port: u16,
    /// The protocol.
    #[serde(default)]
    pub protocol: Protocol,
}

impl ContainerSpec {
    /// A container that netd makes, on the network `default`.
    pub fn named(name: ContainerId) -> Self {
        Self {
            name,
            netns: Source::Made,
            networks: Vec::new(),
            publish: Vec::new(),
            labels: Labels::new(),
            namespace: Namespace::default(),
            allow_addresses: Vec::new(),
            guard: Guard::On,
        }
    }
}

/// What shall be different about a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ContainerChange {
    /// Labels to set, or with null to take away.
    #[serde(default)]
    pub labels: BTreeMap<LabelKey, Option<LabelValue>>,
    /// Its new namespace.
    #[serde(default)]
    pub namespace: Option<Namespace>,
    /// Names of its ports to set, or with null to take away. Policies speak of ports by these names.
    #[serde(default)]
    pub ports: BTreeMap<String, Option<NamedPort>>,
}

#[cfg(test)]
mod tests;
