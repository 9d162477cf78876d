//! `netctl network …`, as it is typed. Never decides what a word leads to.

use std::net::IpAddr;

use clap::{Args, Subcommand, builder::RangedU64ValueParser};
use ipnet::IpNet;
use netd_api::{
    addr::{Mac, Subnet},
    names::{ContainerName, IfName, NetworkName},
    spec::Driver,
};

use super::value::{self, Label, Routed};

/// The second word.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Make a network; without a subnet one is chosen that overlaps nothing of this host
    Create(Box<Create>),
    /// List the networks
    #[command(visible_alias = "list")]
    Ls(super::container::List),
    /// Show one network: subnets with their addresses used and free, and who is attached
    Inspect(Inspect),
    /// Remove networks without containers
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// Remove every network that no container is attached to
    Prune,
    /// Attach a container to a further network, while it runs
    Connect(Connect),
    /// Detach a container from a network, while it runs
    Disconnect(Disconnect),
}

/// `netctl network create`.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The new network's name
    #[arg(value_name = "NAME")]
    pub(crate) name: NetworkName,
    /// What the network is made of
    #[arg(long, value_name = "DRIVER", default_value = "bridge", value_parser = value::driver())]
    pub(crate) driver: Driver,
    /// A subnet, once for each family: 10.4.0.0/24 or fd00:4::/64
    #[arg(long = "subnet", value_name = "CIDR")]
    pub(crate) subnets: Vec<Subnet>,
    /// Choose an IPv6 subnet too
    #[arg(long)]
    pub(crate) ipv6: bool,
    /// The host's address in a subnet, by default its first
    #[arg(long = "gateway", value_name = "IP")]
    pub(crate) gateways: Vec<IpAddr>,
    /// The part of a subnet that addresses are chosen from, by default all of it
    #[arg(long = "ip-range", value_name = "CIDR", value_parser = value::range)]
    pub(crate) ip_ranges: Vec<IpNet>,
    /// Addresses that nobody is ever given; may be repeated
    #[arg(long = "exclude", value_name = "IP|CIDR", value_parser = value::exclude)]
    pub(crate) excludes: Vec<IpNet>,
    /// The largest packet in bytes, by default what the way to the outside carries
    #[arg(long, value_name = "BYTES", value_parser = RangedU64ValueParser::<u32>::new().range(68..=65535))]
    pub(crate) mtu: Option<u32>,
    /// No way out, and none in but from this host
    #[arg(long)]
    pub(crate) internal: bool,
    /// Not masqueraded, and reachable from outside: for one family or, without a value, for both
    #[arg(long, value_name = "FAMILY", num_args = 0..=1, require_equals = true, default_missing_value = "both")]
    pub(crate) routed: Option<Routed>,
    /// Let packets leave under the containers' own addresses; still protected from outside
    #[arg(long)]
    pub(crate) no_masquerade: bool,
    /// Keep the network's containers from talking to each other
    #[arg(long)]
    pub(crate) no_icc: bool,
    /// The bridge's name, instead of one made from the network's
    #[arg(long, value_name = "IF")]
    pub(crate) bridge: Option<IfName>,
    /// A label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<Label>,
}

/// `netctl network inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The network
    #[arg(value_name = "NETWORK")]
    pub(crate) name: NetworkName,
}

/// `netctl network rm`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The networks
    #[arg(value_name = "NETWORK", required = true)]
    pub(crate) names: Vec<NetworkName>,
}

/// `netctl network connect`.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// The network
    #[arg(value_name = "NETWORK")]
    pub(crate) network: NetworkName,
    /// The container's name or id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: ContainerName,
    /// A static address; once for each family
    #[arg(long = "ip", value_name = "IP")]
    pub(crate) addresses: Vec<IpAddr>,
    /// The hardware address, by default one made from the names
    #[arg(long, value_name = "MAC")]
    pub(crate) mac: Option<Mac>,
    /// The interface's name in the container, by default the first free of eth0, eth1, …
    #[arg(long, value_name = "IF")]
    pub(crate) ifname: Option<IfName>,
}

/// `netctl network disconnect`.
#[derive(Debug, Args)]
pub(crate) struct Disconnect {
    /// The network
    #[arg(value_name = "NETWORK")]
    pub(crate) network: NetworkName,
    /// The container's name or id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: ContainerName,
    /// Only this interface of the container; without it all it has on the network
    #[arg(long, value_name = "IF")]
    pub(crate) ifname: Option<IfName>,
}
