//! What the CNI plugin asks for and gets: attachments that a container runtime wants, in the specification's verbs and netd's types.
//! Knows no JSON of the specification; the plugin translates.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    addr::{Mac, Subnet},
    names::{ContainerId, ContainerName, IfName, Namespace, NetworkName},
    publish::PublishSpec,
    spec::Labels,
    view::Trouble,
};

/// What an attachment is known by to a CNI runtime.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CniKey {
    /// The `name` of the network configuration; not always that of a netd network.
    pub config: NetworkName,
    /// CNI_CONTAINERID.
    pub container: ContainerId,
    /// CNI_IFNAME.
    pub ifname: IfName,
}

/// ADD: one interface for a container of a runtime, with all that belongs to it. Whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CniAdd {
    /// What it will be known by.
    pub key: CniKey,
    /// CNI_NETNS: the path of the container's network namespace.
    pub netns: String,
    /// What people call the container; none: the first 12 characters of its id.
    #[serde(default)]
    pub name: Option<ContainerName>,
    /// The namespace it counts to.
    #[serde(default)]
    pub namespace: Namespace,
    /// Labels.
    #[serde(default)]
    pub labels: Labels,
    /// The runtime's cgroup of the container.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// The network.
    pub network: CniNetwork,
    /// Addresses that it shall have; of the sets of ranges that none of them is in, one each is chosen.
    #[serde(default)]
    pub addresses: Vec<CniAddress>,
    /// The hardware address; by default one derived from the key.
    #[serde(default)]
    pub mac: Option<Mac>,
    /// Its routes; none: the default routes that its network gives.
    #[serde(default)]
    pub routes: Option<Vec<CniRoute>>,
    /// Host ports, each named. They are not held by a socket: a runtime's monitor may want to do that itself.
    #[serde(default)]
    pub publish: Vec<PublishSpec>,
    /// How fast it may get and send.
    #[serde(default)]
    pub bandwidth: Bandwidth,
    /// Sysctls of its namespace below `net`, with slashes: `net/ipv4/conf/eth0/arp_ignore`.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Further names on this network.
    #[serde(default)]
    pub aliases: Vec<String>,
}

/// Which network an attachment is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CniNetwork {
    /// One of netd's, with its own settings. `default` is made on first use.
    Named(NetworkName),
    /// One that the configuration describes, made on first use under the configuration's name; it ends with the boot.
    Inline(InlineNetwork),
}

/// A network as the reference plugin `bridge` has it: routed, and not isolated from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct InlineNetwork {
    /// The bridge's name, instead of one that is derived from the network's.
    #[serde(default)]
    pub bridge: Option<IfName>,
    /// Bytes; none: the smallest of the uplinks'.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// Whether packets leave under the host's address.
    #[serde(default)]
    pub masquerade: bool,
    /// Whether the bridge has the gateways' addresses.
    #[serde(default)]
    pub gateway: bool,
    /// Whether a frame may go back where it came from.
    pub hairpin: bool,
    /// Whether the bridge takes in frames for everybody.
    #[serde(default)]
    pub promiscuous: bool,
    /// Whether its containers may talk to each other.
    pub icc: bool,
    /// Labels.
    #[serde(default)]
    pub labels: Labels,
    /// Where addresses come from.
    pub addressing: Addressing,
}

/// Where the addresses of an inline network come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Addressing {
    /// There are none: a segment without IP.
    None,
    /// Each set gives an attachment one address. No set: an IPv4 subnet is chosen that overlaps nothing of the host.
    Sets(Vec<Vec<AddressRange>>),
    /// Each attachment brings its own, with prefix length and gateway (static ones, or those of another IPAM plugin).
    Brought,
}

/// A range of a subnet, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AddressRange {
    /// The subnet.
    pub subnet: Subnet,
    /// The first address; none: the first that a station may have.
    #[serde(default)]
    pub first: Option<IpAddr>,
    /// The last address; none: the last that a station may have.
    #[serde(default)]
    pub last: Option<IpAddr>,
    /// The gateway; none: the first address of the subnet.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
}

/// An address that an attachment shall have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CniAddress {
    /// The address.
    pub address: IpAddr,
    /// The length of its subnet's prefix; needed with [`Addressing::Brought`], else that of the network's subnet.
    #[serde(default)]
    pub prefix: Option<u8>,
    /// The gateway of its subnet, with [`Addressing::Brought`].
    #[serde(default)]
    pub gateway: Option<IpAddr>,
}

/// A route of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CniRoute {
    /// Where to.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Net"))]
    pub dst: IpNet,
    /// The gateway; none: that of the attachment's first address of the family, or none at all where `scope` is link.
    #[serde(default)]
    pub gw: Option<IpAddr>,
    /// RTAX_MTU, in bytes.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// RTAX_ADVMSS, in bytes.
    #[serde(default)]
    pub advmss: Option<u32>,
    /// The metric; the lowest wins.
    #[serde(default)]
    pub priority: Option<u32>,
    /// The routing table; none: main (254).
    #[serde(default)]
    pub table: Option<u32>,
    /// The scope (rtnetlink(7)): 0 universe, 200 site, 253 link, 254 host.
    #[serde(default)]
    pub scope: Option<u8>,
}

/// How fast a container may get and send; none: as fast as it can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// What it gets.
    #[serde(default)]
    pub ingress: Option<Rate>,
    /// What it sends.
    #[serde(default)]
    pub egress: Option<Rate>,
}

/// A rate and how much may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Bits a second.
    pub bits_per_second: u64,
    /// Bits that may come at once; none: as few as the rate can be kept with.
    #[serde(default)]
    pub burst_bits: Option<u64>,
}

impl Rate {
    /// Bits from which on an asked burst is none: runtimes that want no limit say 2³¹ - 1 (kubelet, containerd) or 2³² - 1 (CRI-O).
    pub const NO_BURST: u64 = i32::MAX as u64;
}

/// What ADD made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CniAdded {
    /// The container's display name.
    pub name: ContainerName,
    /// netd's network.
    pub network: NetworkName,
    /// The bridge.
    pub bridge: IfName,
    /// The bridge's hardware address.
    pub bridge_mac: Mac,
    /// The host's end of the pair.
    pub host_ifname: IfName,
    /// Its hardware address.
    pub host_mac: Mac,
    /// The container's end's hardware address.
    pub mac: Mac,
    /// Bytes, of all three.
    pub mtu: u32,
    /// The container's addresses.
    pub addresses: Vec<CniAddedAddress>,
    /// The container's routes by this interface.
    pub routes: Vec<CniRoute>,
}

/// An address that an attachment has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CniAddedAddress {
    /// Address and prefix length.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Net"))]
    pub net: IpNet,
    /// The gateway of its subnet.
    pub gateway: Option<IpAddr>,
}

/// CHECK: whether an attachment is still as it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CniCheck {
    /// Which.
    pub key: CniKey,
    /// CNI_NETNS.
    pub netns: String,
    /// The addresses that it should have.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub addresses: Vec<IpNet>,
    /// The routes that it should have.
    #[serde(default)]
    pub routes: Vec<CniRoute>,
    /// The container end's hardware address, where the runtime knows it.
    #[serde(default)]
    pub mac: Option<Mac>,
}

/// What CHECK found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CniChecked {
    /// What is not as it should be, each in a few words with the command that would mend it; empty is well.
    pub wrong: Vec<String>,
}

/// STATUS: whether ADD would work for a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CniStatus {
    /// The `name` of the configuration.
    pub config: NetworkName,
    /// The network.
    pub network: CniNetwork,
}

/// What STATUS says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CniReadiness {
    /// Why ADD would be refused; none: it would not.
    pub unable: Option<Trouble>,
    /// What limits the connectivity of containers that are there and of new ones.
    pub limited: Vec<Trouble>,
}

/// GC: everything of a configuration but these goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CniGc {
    /// The `name` of the configuration.
    pub config: NetworkName,
    /// The attachments that stay.
    pub valid: Vec<CniAttachment>,
}

/// An attachment of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CniAttachment {
    /// CNI_CONTAINERID.
    pub container: ContainerId,
    /// CNI_IFNAME.
    pub ifname: IfName,
}

/// What GC took away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CniCollected {
    /// The attachments that went.
    pub removed: Vec<CniKey>,
}
