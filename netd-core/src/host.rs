//! What decisions need to know of the host: uplinks, what is taken, what the kernel can do. Says nothing of our own objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use ipnet::IpNet;
use netd_api::{addr::Family, names::IfName};

/// The host as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// Interfaces through which containers reach the outside: up, not ours, not lo, with a route.
    pub uplinks: BTreeMap<IfName, Uplink>,
    /// Nets that no subnet of ours may overlap: routes, addresses and resolvers of the host that are not ours.
    pub taken: Vec<Taken>,
    /// All addresses of the host itself, our bridges' and loopback's among them.
    pub addresses: BTreeSet<IpAddr>,
    /// Its name (hostname(7)).
    pub name: String,
    /// Interface names in use that are not ours.
    pub foreign_links: BTreeSet<IfName>,
    /// The range that the kernel takes free ports from (net.ipv4.ip_local_port_range): first and last. Ours come from it too.
    pub ephemeral: (u16, u16),
    /// A number that stays the same on this host and differs from others' (made from machine-id(5)): the private IPv6 prefix comes from it.
    pub seed: u64,
    /// Whether the host forwards IPv6 as a whole (net.ipv6.conf.all.forwarding): then every interface does, for strangers too.
    pub forwards_v6: bool,
    /// What the kernel can do.
    pub features: Features,
}

/// One uplink.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uplink {
    /// Bytes.
    pub mtu: u32,
    /// Families in which it has a route.
    pub families: BTreeSet<Family>,
    /// Whether its IPv6 default route or address came from a router advertisement, and would be lost when forwarding is switched on
    /// with accept_ra below 2 (Documentation/networking/ip-sysctl.rst).
    pub lives_from_ra: bool,
}

/// A net that is not free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The net.
    pub net: IpNet,
    /// Who has it.
    pub by: Holder,
}

/// Why a net is not free.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A route leads there through this interface.
    Route(IfName),
    /// This interface has an address of it.
    Address(IfName),
    /// The host asks this resolver.
    Resolver(IpAddr),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(link) => write!(f, "route via {link}"),
            Self::Address(link) => write!(f, "address of {link}"),
            Self::Resolver(address) => write!(f, "resolver {address}"),
        }
    }
}

/// What the kernel can do, found out once at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// IPv6 is there (ipv6.disable=1 takes it away).
    pub ipv6: bool,
    /// net.ipv6.conf.IF.force_forwarding, from Linux 6.17 on.
    pub force_forwarding: bool,
    /// The eBPF programs can be loaded and put on shared blocks.
    pub datapath: bool,
    /// SCTP sockets, to hold an SCTP port with.
    pub sctp_sockets: bool,
    /// /proc/sys/net can be written.
    pub sysctls: bool,
}

impl Host {
    /// The MTU a network takes that names none: the smallest of the uplinks', 1500 without one (RFC 894).
    pub fn mtu(&self) -> u32 {
        self.uplinks.values().map(|uplink| uplink.mtu).min().unwrap_or(1500)
    }
}

/// The namespace that a container's source leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The path by which it is reached from now on.
    pub path: String,
    /// What it is known by.
    pub id: crate::objects::NetnsId,
    /// The interfaces that are in it already.
    pub links: BTreeSet<IfName>,
}
