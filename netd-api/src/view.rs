//! What the daemon shows. The JSON form is stable: fields are added, never renamed or taken away.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    addr::{Family, Mac, Subnet},
    cni::Bandwidth,
    names::{ContainerId, ContainerName, IfName, Namespace, NetworkName},
    policy::PolicyName,
    publish::{PortRange, Protocol},
    spec::{Driver, Guard, Labels, NamedPort},
};

/// A network as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetworkView {
    /// Its name.
    pub name: NetworkName,
    /// What it is made of.
    pub driver: Driver,
    /// The bridge.
    pub bridge: IfName,
    /// Bytes.
    pub mtu: u32,
    /// No way out.
    pub internal: bool,
    /// Families in which it is routed.
    pub routed: Vec<Family>,
    /// Whether it is masqueraded where it is not routed.
    pub masquerade: bool,
    /// Whether its containers may talk to each other.
    pub icc: bool,
    /// Its subnets.
    pub subnets: Vec<SubnetView>,
    /// Whether a CNI configuration describes it; then it ends with the boot.
    #[serde(default)]
    pub cni: bool,
    /// Labels.
    pub labels: Labels,
    /// Who is attached.
    pub containers: Vec<MemberView>,
}

/// A subnet and how much of it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SubnetView {
    /// The subnet.
    pub subnet: Subnet,
    /// The host's address in it; none in an internal network of two addresses (/31, /127).
    pub gateway: Option<IpAddr>,
    /// Where addresses are chosen from.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Net"))]
    pub ip_range: IpNet,
    /// What is never chosen.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub excludes: Vec<IpNet>,
    /// How many addresses attachments have.
    pub used: u64,
    /// How many can still be chosen; 2^64 - 1 where there are more.
    pub free: u64,
}

/// One attachment, seen from its network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MemberView {
    /// The container.
    pub container: ContainerName,
    /// Its interface there.
    pub ifname: IfName,
    /// Its addresses.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub addresses: Vec<IpNet>,
    /// Its hardware address.
    pub mac: Mac,
}

/// Where a container comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// netd made it, and makes it again at boot.
    Made,
    /// Another runtime made it; gone with the boot.
    Adopted,
    /// A container runtime brought it through CNI; gone with the boot.
    Cni,
}

/// Whether a container is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Its namespace is there and its attachments are made.
    Running,
    /// Its namespace has gone.
    Absent,
}

/// A container as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ContainerView {
    /// Its id.
    pub id: ContainerId,
    /// Its display name.
    pub name: ContainerName,
    /// The namespace it counts to.
    pub namespace: Namespace,
    /// Where it comes from.
    pub kind: Kind,
    /// Whether it is there.
    pub state: Presence,
    /// The path of its network namespace.
    pub netns: String,
    /// The runtime's cgroup of it, where it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Labels.
    pub labels: Labels,
    /// Names of its ports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub port_names: BTreeMap<String, NamedPort>,
    /// Addresses that it may send from besides its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub allow_addresses: Vec<IpNet>,
    /// Whether what it sends is checked against what it is.
    #[serde(default)]
    pub guard: Guard,
    /// The policies that select it: `ingress` and `egress`, with no entry where none does.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<String, Vec<PolicyName>>,
    /// Its interfaces.
    pub attachments: Vec<AttachmentView>,
    /// Its published ports.
    pub ports: Vec<PortView>,
}

/// One interface of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AttachmentView {
    /// The network.
    pub network: NetworkName,
    /// The interface in the container.
    pub ifname: IfName,
    /// Its other end, on the host.
    pub host_ifname: IfName,
    /// Its hardware address.
    pub mac: Mac,
    /// Its addresses.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub addresses: Vec<IpNet>,
    /// The gateways of its network.
    pub gateways: Vec<IpAddr>,
    /// The `name` of the CNI configuration that brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cni: Option<NetworkName>,
    /// How fast it may get and send, where that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// Further names that it has on the network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Counters of what went on; none where no eBPF program runs (see `netctl status`).
    pub counters: Option<Counters>,
    /// Counters by verdict and reason of all that was not simply passed on; with `counters` they sum up to the interface's own. Packets that netd
    /// made for the container (resets, ICMP errors) are those with the verdict `made`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<ReasonView>,
}

/// What was counted for one verdict and reason in one direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReasonView {
    /// `from` the container or `to` it.
    pub direction: String,
    /// `forward`, `drop`, `reject`, `audit` or `made`.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// How much.
    pub counted: Traffic,
}

/// What an attachment has carried since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Counters {
    /// What the container sent.
    pub from: Traffic,
    /// What it was sent.
    pub to: Traffic,
}

/// Packets in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Traffic {
    /// Packets as the kernel hands them on: one with segmentation offload counts once.
    pub packets: u64,
    /// Bytes with the Ethernet header.
    pub bytes: u64,
    /// Packets as they would be on a wire.
    pub segments: u64,
}

/// How a published port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PortState {
    /// It reaches the container, and the port is held.
    Active,
    /// Its container is absent; the port is not held.
    Waiting,
    /// It reaches the container, but something is not as it should be: see `note`.
    Degraded,
}

/// A published port, or several in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PortView {
    /// The container's display name.
    pub container: ContainerName,
    /// The address of the host; `0.0.0.0`: all of IPv4, `::`: all of IPv6, none: all of both.
    pub address: Option<IpAddr>,
    /// The host's ports.
    pub host: PortRange,
    /// The container's ports, in the same order.
    pub target: PortRange,
    /// The protocol.
    pub protocol: Protocol,
    /// The addresses it leads to, at most one of each family.
    pub targets: Vec<IpAddr>,
    /// How it is.
    pub state: PortState,
    /// Why it is degraded or waiting, or what else there is to say.
    pub note: String,
}

/// The daemon and its host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Status {
    /// netd's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// The kernel's release.
    pub kernel: String,
    /// What the kernel gives and what stands in for what it does not.
    pub features: Vec<Feature>,
    /// How many networks.
    pub networks: u64,
    /// How many containers.
    pub containers: u64,
    /// How many attachments.
    pub attachments: u64,
    /// How many published ports.
    pub ports: u64,
    /// The interfaces through which containers reach the outside.
    pub uplinks: Vec<IfName>,
    /// The last time that kernel and wish were compared as a whole; none before the first time.
    pub reconcile: Option<Reconcile>,
    /// How many objects were mended since the start, because somebody else had changed them.
    pub drift_repaired: u64,
    /// How policy is and how full its tables are; none where no eBPF program runs, and then policies are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStatus>,
    /// What is not as it should be; empty is healthy.
    pub degraded: Vec<Trouble>,
}

/// Something the kernel has or lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// Whether it is used.
    pub on: bool,
    /// What it is used for, or what stands in for it and why.
    pub note: String,
}

/// One comparison of kernel and wish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reconcile {
    /// What set it off: start, drift, timer, retry.
    pub reason: String,
    /// Seconds since it ended.
    pub ago_s: u64,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
    /// How many steps were done.
    pub done: u64,
    /// The steps that failed, with the reason.
    pub failed: Vec<String>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Trouble {
    /// What it is.
    pub what: String,
    /// What mends it.
    pub hint: String,
}

/// What reconciling would do now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlanView {
    /// The steps, in order, as the commands one would type.
    pub ops: Vec<String>,
}

/// What a cleanup took away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cleanup {
    /// How many kernel objects.
    pub removed: u64,
    /// What could not be removed, with the reason.
    pub failed: Vec<String>,
}

/// Policy and the tables of the data path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyStatus {
    /// How many policies there are.
    pub policies: u64,
    /// Those that drop nothing and only count and log.
    pub audit: Vec<PolicyName>,
    /// What holds for containers that no policy selects: `allow` or `deny`.
    pub default: String,
    /// Whether packets between containers of one network take the short way past the bridge.
    pub fast_path: bool,
    /// How many links have the programs at their own hooks, because they carry much; none where this is off or the kernel has no such hooks (before Linux 6.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_hooks: Option<u64>,
    /// Tables: how many entries are used of how many.
    pub tables: Vec<Fill>,
    /// Things that went wrong or were given up in the data path, by name: since the maps were made.
    pub events: BTreeMap<String, u64>,
}

/// How full a table is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fill {
    /// Its name.
    pub name: String,
    /// Entries used.
    pub used: u64,
    /// Entries that fit.
    pub of: u64,
}
