//! One step that changes the kernel, and the command one would have typed for it.

use std::{fmt, net::IpAddr, sync::Arc};

use netd_api::{
    addr::Mac,
    names::IfName,
    publish::{PortRange, Protocol},
};

use crate::{
    firewall::Element,
    mark,
    objects::{Address, Bridge, Bucket, Entry, Ns, Reservation, Route, Sysctl, TABLE_MAIN, Veth},
    policy::book::steps::Steps,
};

/// One step. Its `Display` is what logs, `netctl plan`, golden files and errors show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Make table `inet netd` as this netd writes it: chains refilled in one transaction, elements kept where the set's type is the same.
    PutTable,
    /// Remove it with all that is in it.
    DelTable,
    /// Make a namespace with `lo` up, and bind it to this path.
    AddNetns(String),
    /// Unbind it; the kernel removes it when its last process has gone.
    DelNetns(String),
    /// Make a bridge, down.
    AddBridge(IfName, Bridge),
    /// Make a veth pair, both ends down: the host's born as a port of its bridge, the peer born in the container's namespace.
    AddVeth(IfName, Veth),
    /// Remove a link of the host's namespace; for a veth its other end goes with it.
    DelLink(IfName),
    /// Put a link up or down.
    SetUp(Ns, IfName, bool),
    /// Set the MTU, in bytes.
    SetMtu(Ns, IfName, u32),
    /// Set the hardware address.
    SetMac(Ns, IfName, Mac),
    /// Make a link a port of a bridge.
    SetMaster(IfName, IfName),
    /// Set the two flags of a bridge port.
    SetPort {
        /// The host end.
        link: IfName,
        /// May not talk to other isolated ports.
        isolated: bool,
        /// May get back what it sent.
        hairpin: bool,
    },
    /// Make a link of kind ifb, up: what is sent through it comes back where it came from, after its bucket (linux/drivers/net/ifb.c).
    AddIfb(IfName),
    /// Put a token bucket at the root of a link, or change the one that is there.
    SetBucket(IfName, Bucket),
    /// Take the bucket from the root of a link.
    DelBucket(IfName),
    /// Let a link take in frames for everybody, or not.
    SetPromiscuous(IfName, bool),
    /// Say to people what a link belongs to.
    SetAlias(IfName, String),
    /// Give an interface an address, without duplicate address detection.
    AddAddress(Address),
    /// Take it away.
    DelAddress(Address),
    /// Add a route.
    AddRoute(Route),
    /// Remove it.
    DelRoute(Route),
    /// Set a sysctl.
    SetSysctl(Sysctl, String),
    /// Add an element to its set or map; there already is no error.
    AddElement(Element),
    /// Delete it; gone already is no error.
    DelElement(Element),
    /// Put the eBPF programs of this build on the shared blocks, making the anchor that keeps the blocks where it is missing.
    PutFilters,
    /// Remove the anchor, the programs and all pins.
    DelFilters,
    /// Let the eBPF programs know a host end under this number, with counters at zero if the number is new there; and the link that paces what
    /// its container sends, if any, and who it is: for the guard, and for those who look for it by its address.
    AddSlot(IfName, u32, Option<IfName>, Option<Box<Entry>>),
    /// Let them forget the link that had this number and has gone, so that the next one starts with counters at zero. None is no error.
    DelSlot(u32),
    /// Bind a host end to the shared blocks.
    JoinBlocks(IfName),
    /// Put the programs at a host end's own hooks too, before the shared blocks.
    TakeHooks(IfName),
    /// Take them away from there, so that the blocks' see its packets again.
    LeaveHooks(IfName),
    /// Let the programs judge by other policies: entries that nobody asks for yet, then each attachment's, then away with what nobody asks for any more.
    Enforce(Arc<Steps>),
    /// Hold a host port.
    Reserve(Reservation),
    /// Let it go.
    Release(Reservation),
    /// Forget the connections through a published port, so that they are judged anew.
    FlushPort {
        /// The protocol.
        protocol: Protocol,
        /// The host's address; none: any.
        address: Option<IpAddr>,
        /// The host's ports.
        ports: PortRange,
    },
    /// Forget the connections and neighbour entries of an address that changes hands.
    FlushAddress(IfName, IpAddr),
    /// Tell the network that an address is here now: gratuitous ARP or unsolicited neighbour advertisement, once the bridge port forwards.
    Announce {
        /// The namespace.
        ns: Ns,
        /// The interface.
        link: IfName,
        /// Its hardware address.
        mac: Mac,
        /// The address.
        address: IpAddr,
    },
}

impl Op {
    /// Whether it is about a link that `failed` did not make: it would fail too, or change a stranger's link of the same name.
    #[must_use]
    pub fn needs(&self, failed: &Self) -> bool {
        match failed {
            Self::AddBridge(link, _) | Self::AddIfb(link) => self.is_about(&Ns::Host, link),
            Self::AddVeth(host_end, veth) => {
                self.is_about(&Ns::Host, host_end) || veth.peer.as_ref().is_some_and(|peer| self.is_about(&peer.ns, &peer.name))
            }
            _ => false,
        }
    }

    fn is_about(&self, at: &Ns, name: &IfName) -> bool {
        let on_host = |link: &IfName| *at == Ns::Host && link == name;
        match self {
            Self::SetUp(ns, link, _) | Self::SetMtu(ns, link, _) | Self::SetMac(ns, link, _) => ns == at && link == name,
            Self::AddAddress(Address { ns, link, .. })
            | Self::DelAddress(Address { ns, link, .. })
            | Self::AddRoute(Route { ns, link, .. })
            | Self::DelRoute(Route { ns, link, .. })
            | Self::Announce { ns, link, .. } => ns == at && link == name,
            Self::AddVeth(_, Veth { bridge, .. }) => bridge.as_ref().is_some_and(on_host),
            Self::SetMaster(link, bridge) => on_host(link) || on_host(bridge),
            Self::SetBucket(link, _) | Self::DelBucket(link) | Self::SetPromiscuous(link, _) => on_host(link),
            Self::SetPort { link, .. }
            | Self::SetAlias(link, _)
            | Self::JoinBlocks(link)
            | Self::TakeHooks(link)
            | Self::LeaveHooks(link) => on_host(link),
            Self::AddSlot(link, _, ifb, _) => on_host(link) || ifb.as_ref().is_some_and(on_host),
            Self::SetSysctl(Sysctl { ns, key }, _) => ns == at && key.split('/').nth(3) == Some(name.as_str()),
            _ => false,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on_off = |on: bool| if on { "on" } else { "off" };
        match self {
            Self::PutTable => write!(f, "nft -f inet-netd.nft"),
            Self::DelTable => write!(f, "nft delete table inet netd"),
            Self::AddNetns(path) => write!(f, "ip netns add {}", name_of(path)),
            Self::DelNetns(path) => write!(f, "ip netns del {}", name_of(path)),
            Self::AddBridge(name, bridge) => {
                write!(f, "ip link add {name} address {} mtu {} group {} type bridge", bridge.mac, bridge.mtu, mark::GROUP)
            }
            Self::AddVeth(name, veth) => {
                write!(f, "ip link add {name} address {} mtu {} group {}", veth.mac, veth.mtu, mark::GROUP)?;
                if let Some(bridge) = &veth.bridge {
                    write!(f, " master {bridge}")?;
                }
                write!(f, " type veth")?;
                match &veth.peer {
                    Some(peer) => {
                        let ns = peer.ns.path().map_or("1", name_of);
                        write!(f, " peer name {} address {} mtu {} netns {ns}", peer.name, peer.mac, veth.mtu)
                    }
                    None => Ok(()),
                }
            }
            Self::AddIfb(name) => write!(f, "ip link add {name} group {} up type ifb", mark::GROUP),
            Self::SetBucket(name, bucket) => {
                let Bucket { rate, burst, limit } = bucket;
                write!(
                    f,
                    "tc qdisc replace dev {name} root handle {:x}: tbf rate {rate}bps burst {burst} limit {limit}",
                    mark::BUCKET_HANDLE >> 16
                )
            }
            Self::DelBucket(name) => write!(f, "tc qdisc del dev {name} root"),
            Self::SetPromiscuous(name, on) => write!(f, "ip link set {name} promisc {}", on_off(*on)),
            Self::DelLink(name) => write!(f, "ip link del {name}"),
            Self::SetUp(ns, name, up) => write!(f, "ip {ns}link set {name} {}", if *up { "up" } else { "down" }),
            Self::SetMtu(ns, name, mtu) => write!(f, "ip {ns}link set {name} mtu {mtu}"),
            Self::SetMac(ns, name, mac) => write!(f, "ip {ns}link set {name} address {mac}"),
            Self::SetMaster(name, bridge) => write!(f, "ip link set {name} master {bridge}"),
            Self::SetPort { link, isolated, hairpin } => {
                write!(f, "bridge link set dev {link} isolated {} hairpin {}", on_off(*isolated), on_off(*hairpin))
            }
            Self::SetAlias(name, alias) => write!(f, "ip link set {name} alias '{alias}'"),
            Self::AddAddress(Address { ns, link, net }) => write!(f, "ip {ns}addr add {net} dev {link} nodad"),
            Self::DelAddress(Address { ns, link, net }) => write!(f, "ip {ns}addr del {net} dev {link}"),
            Self::AddRoute(route) => write!(f, "ip {}route add {}", route.ns, Target(route)),
            Self::DelRoute(route) => write!(f, "ip {}route del {}", route.ns, Target(route)),
            Self::SetSysctl(Sysctl { ns: Ns::Host, key }, value) => write!(f, "sysctl -w {key}={value}"),
            Self::SetSysctl(Sysctl { ns: Ns::At(path), key }, value) => write!(f, "nsenter --net={path} sysctl -w {key}={value}"),
            Self::AddElement(element) => write!(f, "nft add element inet netd {element}"),
            Self::DelElement(element) => write!(f, "nft delete element inet netd {element}"),
            Self::PutFilters => write!(f, "tc filter replace block … bpf direct-action (from_container, to_container)"),
            Self::DelFilters => write!(f, "ip link del {}", mark::ANCHOR),
            Self::AddSlot(link, slot, None, _) => write!(f, "bpftool map update pinned attachments key {link} value {slot}"),
            Self::AddSlot(link, slot, Some(ifb), _) => write!(f, "bpftool map update pinned attachments key {link} value {slot} {ifb}"),
            Self::DelSlot(slot) => write!(f, "bpftool map delete pinned attachments value {slot}"),
            Self::Enforce(steps) => {
                let Steps { before, flips, after, .. } = &**steps;
                write!(
                    f,
                    "bpftool map update pinned rules, sets, addresses, nets ({} entries), attachments ({}); map delete ({})",
                    before.len(),
                    flips.len(),
                    after.len()
                )
            }
            Self::JoinBlocks(link) => write!(f, "tc qdisc add dev {link} ingress_block … egress_block … clsact"),
            Self::TakeHooks(link) => write!(f, "bpftool net attach tcx_ingress, tcx_egress … dev {link}"),
            Self::LeaveHooks(link) => write!(f, "bpftool net detach tcx_ingress, tcx_egress dev {link}"),
            Self::Reserve(port) => write!(f, "bind {port}"),
            Self::Release(port) => write!(f, "close {port}"),
            Self::FlushPort { protocol, address, ports } => {
                write!(f, "conntrack -D -p {protocol}")?;
                if let Some(address) = address {
                    write!(f, " --orig-dst {address}")?;
                }
                write!(f, " --orig-port-dst {ports}")
            }
            Self::FlushAddress(bridge, address) => {
                write!(f, "conntrack -D -s {address}; conntrack -D -r {address}; ip neigh del {address} dev {bridge}")
            }
            Self::Announce { ns, link, address: IpAddr::V4(address), .. } => {
                write!(f, "{}arping -U -c 2 -I {link} {address}", Enter(ns))
            }
            Self::Announce { ns, link, address: IpAddr::V6(address), .. } => {
                write!(f, "{}ndsend {address} {link}", Enter(ns))
            }
        }
    }
}

/// `ip netns` speaks of names below /run/netns.
fn name_of(path: &str) -> &str {
    path.strip_prefix("/run/netns/").unwrap_or(path)
}

struct Target<'a>(&'a Route);

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Route { link, dst, via, metric, table, scope, mtu, advmss, .. } = self.0;
        if dst.prefix_len() == 0 {
            write!(f, "default")?;
        } else {
            write!(f, "{dst}")?;
        };
        if let Some(via) = via {
            write!(f, " via {via}")?;
        }
        write!(f, " dev {link} proto {}", mark::ROUTE_PROTOCOL)?;
        for (word, value, usual) in [
            ("metric", *metric, 0),
            ("table", *table, TABLE_MAIN),
            ("scope", u32::from(*scope), 0),
            ("mtu", *mtu, 0),
            ("advmss", *advmss, 0),
        ] {
            if value != usual {
                write!(f, " {word} {value}")?;
            }
        }
        Ok(())
    }
}

struct Enter<'a>(&'a Ns);

impl fmt::Display for Enter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ns::Host => Ok(()),
            Ns::At(path) => write!(f, "nsenter --net={path} "),
        }
    }
}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            None => write!(f, "{} [::]:{}", self.protocol, self.port),
            Some(address) => write!(f, "{} {}", self.protocol, std::net::SocketAddr::new(address, self.port)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_on_a_link_that_was_not_made_waits_for_it() {
        let name = |name: &str| name.parse::<IfName>().expect("a name");
        let failed = Op::AddBridge(name("nd-web"), Bridge { mac: Mac([2, 0, 0, 0, 0, 1]), mtu: 1500, up: false, promiscuous: false });
        let on = |ns: Ns, link: &str| Op::SetUp(ns, name(link), true);
        let veth = |bridge: &str| Veth {
            bridge: Some(name(bridge)),
            mac: Mac([2, 0, 0, 0, 0, 2]),
            mtu: 1500,
            up: false,
            alias: String::new(),
            isolated: false,
            hairpin: false,
            on_blocks: false,
            slot: None,
            entry: None,
            to_container: None,
            from_container: None,
            peer: None,
        };
        assert!(on(Ns::Host, "nd-web").needs(&failed));
        assert!(Op::SetAlias(name("nd-web"), String::new()).needs(&failed));
        assert!(Op::AddVeth(name("ndv1"), veth("nd-web")).needs(&failed));
        assert!(Op::JoinBlocks(name("ndv1")).needs(&Op::AddVeth(name("ndv1"), veth("nd-web"))));
        assert!(!on(Ns::Host, "nd-db").needs(&failed) && !on(Ns::At("/run/netns/a".to_owned()), "nd-web").needs(&failed));
        assert!(!Op::AddVeth(name("ndv2"), veth("nd-db")).needs(&failed) && !Op::PutTable.needs(&failed));
    }
}
