//! The kernel objects a host network is made of: one value says what is wanted, another of the same type what was observed.
//! Knows nothing of how they are read or written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use ipnet::IpNet;
use netd_api::{addr::Mac, names::IfName, publish::Protocol};

use crate::firewall::Element;

/// A network namespace: the host's, or the one at a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ns {
    /// The one netd runs in.
    Host,
    /// A container's: `/run/netns/web`, `/proc/4711/ns/net`, or wherever its runtime bound it.
    At(String),
}

impl Ns {
    /// The path, where it is not the host's.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Host => None,
            Self::At(path) => Some(path),
        }
    }
}

impl fmt::Display for Ns {
    /// As the argument that `ip` takes: nothing for the host, `-n web ` for a named one, `-n PATH ` for the rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => Ok(()),
            Self::At(path) => write!(f, "-n {} ", path.strip_prefix("/run/netns/").unwrap_or(path)),
        }
    }
}

/// What a namespace is known by, so that another one at the same path is not taken for it: its file's device and inode (stat(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetnsId {
    /// st_dev of nsfs.
    pub dev: u64,
    /// st_ino: the namespace's number, as `ls -l /proc/self/ns/net` shows it.
    pub ino: u64,
}

/// A container's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Netns {
    /// netd makes and removes it.
    Made,
    /// Somebody else's: netd only looks whether it is still the one it was.
    Adopted(NetnsId),
}

/// A bridge with our mark, in the host's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Set at birth, so that it does not follow the lowest of its ports'.
    pub mac: Mac,
    /// Bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Takes in frames for everybody (IFF_PROMISC).
    pub promiscuous: bool,
}

/// A veth pair: the host's end is a port of a bridge, the other end is a container's interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Veth {
    /// The bridge that the host's end is a port of; none when somebody took it out.
    pub bridge: Option<IfName>,
    /// The host end's hardware address.
    pub mac: Mac,
    /// Bytes, of both ends.
    pub mtu: u32,
    /// Whether the host's end is administratively up.
    pub up: bool,
    /// IFLA_ALIAS: `netd:` and what it belongs to, for people. Not compared when empty.
    pub alias: String,
    /// Whether it may not talk to other isolated ports (IFLA_BRPORT_ISOLATED).
    pub isolated: bool,
    /// Whether a frame may go back where it came from (IFLA_BRPORT_MODE): a container that reaches its own published port under br_netfilter.
    pub hairpin: bool,
    /// Whether clsact binds the host's end to our two shared blocks.
    pub on_blocks: bool,
    /// The number under which the eBPF programs count it; none while it is unknown to them.
    pub slot: Option<u32>,
    /// What else they know of it; none where that is not this.
    pub entry: Option<Box<Entry>>,
    /// How fast the container may get; none: as fast as it can. A token bucket at the root of the host's end.
    pub to_container: Option<Bucket>,
    /// The link of kind ifb that the programs hand what the container sends to, so that it is paced there; none: it goes as fast as it can.
    pub from_container: Option<IfName>,
    /// The container's end; none where it is not where it should be.
    pub peer: Option<Peer>,
}

/// What the eBPF programs know of an attachment besides its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its hardware address.
    pub mac: Mac,
    /// Its own addresses, the first of each family first.
    pub addresses: Vec<IpAddr>,
    /// Those that it has on other networks.
    pub elsewhere: BTreeSet<IpAddr>,
    /// Further ones that it may send from in others' stead.
    pub allowed: BTreeSet<IpNet>,
    /// What of what it sends is checked.
    pub checks: Checks,
    /// The bridge that it is a port of.
    pub bridge: Option<IfName>,
    /// It may not talk to other isolated ports.
    pub isolated: bool,
    /// What it gets waits in a bucket.
    pub paced: bool,
}

/// What of what a container sends is checked against what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checks {
    /// Nothing.
    Nothing,
    /// Its hardware address: what runs over a network without addresses is its containers' own business.
    Mac,
    /// Hardware and IP addresses, ARP, neighbour discovery, router advertisements, DHCP, source routes.
    All,
}

/// A token bucket (tc-tbf(8)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket {
    /// Bytes a second.
    pub rate: u64,
    /// Bytes that may go at once.
    pub burst: u32,
    /// Bytes that may wait; what comes beyond them is dropped.
    pub limit: u32,
}

/// A link of kind ifb with our mark: what is sent through it comes back where it came from, at its bucket's pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ifb {
    /// Administratively up; while it is not, its container can send nothing.
    pub up: bool,
    /// The bucket at its root; none where somebody took it away.
    pub bucket: Option<Bucket>,
}

/// The container's end of a veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub ns: Ns,
    /// Its name there.
    pub name: IfName,
    /// Its hardware address.
    pub mac: Mac,
    /// Whether it is administratively up.
    pub up: bool,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The namespace.
    pub ns: Ns,
    /// The interface.
    pub link: IfName,
    /// Address and prefix length.
    pub net: IpNet,
}

/// A unicast route; protocol 110.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The namespace.
    pub ns: Ns,
    /// The interface it leaves through.
    pub link: IfName,
    /// Where to; a default route has the prefix length 0.
    pub dst: IpNet,
    /// The gateway; none: whoever is on the link.
    pub via: Option<IpAddr>,
    /// RTA_PRIORITY; 0 is the kernel's default of IPv4, and stands for 1024 in IPv6 (IP6_RT_PRIO_USER).
    pub metric: u32,
    /// RTA_TABLE.
    pub table: u32,
    /// RTM's scope (rtnetlink(7)); IPv6 knows none, so it is 0 there.
    pub scope: u8,
    /// RTAX_MTU in bytes; 0: the link's.
    pub mtu: u32,
    /// RTAX_ADVMSS in bytes; 0: what follows from the MTU.
    pub advmss: u32,
}

/// Table main (RT_TABLE_MAIN).
pub const TABLE_MAIN: u32 = 254;

impl Route {
    /// A default route of table main.
    pub fn default_via(ns: Ns, link: IfName, via: IpAddr) -> Self {
        let dst = match via {
            IpAddr::V4(_) => IpNet::V4(ipnet::Ipv4Net::default()),
            IpAddr::V6(_) => IpNet::V6(ipnet::Ipv6Net::default()),
        };
        Self { ns, link, dst, via: Some(via), metric: 0, table: TABLE_MAIN, scope: 0, mtu: 0, advmss: 0 }
    }
    /// Of two routes of a namespace with this in common the kernel takes one (EEXIST).
    pub fn key(&self) -> (IpNet, u32, u32) {
        (self.dst, self.table, self.metric)
    }
}

/// A sysctl below `net`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sysctl {
    /// The namespace.
    pub ns: Ns,
    /// With slashes, as interface names may have dots: `net/ipv4/conf/eth0.5/forwarding`.
    pub key: String,
}

/// Our nft table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Table {
    /// There is none.
    #[default]
    Absent,
    /// It is there, but its chains or sets are not the ones this netd would write.
    Stale,
    /// It is as this netd writes it.
    Current,
}

/// The shared tc blocks and the programs on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filters {
    /// No anchor, or no filter.
    #[default]
    Absent,
    /// Filters of another build, or only one of them.
    Stale,
    /// Both filters of this build.
    Current,
}

/// A host port that is held by a socket, so that nobody else takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reservation {
    /// The protocol.
    pub protocol: Protocol,
    /// The address; `0.0.0.0`: all of IPv4, `::`: all of IPv6, none: all of both.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// A state of the kernel, as far as it carries our mark or concerns our objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Objects {
    /// Containers' namespaces, by path.
    pub netns: BTreeMap<String, Netns>,
    /// Bridges, by name.
    pub bridges: BTreeMap<IfName, Bridge>,
    /// Veth pairs, by the host end's name.
    pub veths: BTreeMap<IfName, Veth>,
    /// Links of kind ifb, each the pacer of what one container sends.
    pub ifbs: BTreeMap<IfName, Ifb>,
    /// Addresses of our bridges and of containers' interfaces.
    pub addresses: BTreeSet<Address>,
    /// Routes of protocol 110.
    pub routes: BTreeSet<Route>,
    /// Sysctls and their values.
    pub sysctls: BTreeMap<Sysctl, String>,
    /// Table `inet netd`.
    pub table: Table,
    /// What its sets and maps hold.
    pub elements: BTreeSet<Element>,
    /// The eBPF programs; `Absent` also where the kernel cannot have them, and then it is not wanted either.
    pub filters: Filters,
    /// Host ports that are held.
    pub reservations: BTreeSet<Reservation>,
    /// Numbers under which the eBPF programs still know a link that has gone, as a veth goes with its namespace. Never wanted; a key of a
    /// look at some objects only.
    pub left_slots: BTreeSet<u32>,
}

impl Objects {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
