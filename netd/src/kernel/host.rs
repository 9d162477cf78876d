//! Reads the host's own facts: uplinks, what is taken, what the kernel can do. Says nothing of netd's objects, changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
};

use ipnet::IpNet;
use netd_api::{addr::Family, names::IfName};
use netd_core::{
    host::{Features, Holder, Host, Taken, Uplink},
    mark,
};

use super::{KernelError, address, link, netlink::Rtnetlink, route, sysctl};

/// The kernel's default (ip-sysctl.rst), for a host that does not show its own.
const EPHEMERAL: (u16, u16) = (32768, 60999);
/// Where resolvers stand: the second has those behind systemd-resolved's 127.0.0.53.
const RESOLVERS: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// The host as it is now; what the kernel can do was found out before.
pub(crate) fn host(socket: &mut Rtnetlink, features: Features) -> Result<Host, KernelError> {
    let links = link::all(socket)?;
    let routes = route::list(socket, None)?;
    let addresses = address::list(socket, None)?;
    let foreign: BTreeMap<u32, (&link::Seen, IfName)> = links
        .iter()
        .filter(|link| link.group != mark::GROUP)
        .filter_map(|link| Some((link.index, (link, link.name.parse().ok()?))))
        .collect();

    let mut uplinks = BTreeMap::new();
    for (index, (link, name)) in &foreign {
        if !link.up || link.name == "lo" || link.master.is_some() {
            continue;
        }
        let through = || routes.iter().filter(|route| route.links.contains(index) && !is_link_local(route.net.addr()));
        let families: BTreeSet<Family> = through().map(|route| Family::of(route.net.addr())).collect();
        if families.is_empty() {
            continue;
        }
        let learnt_route = through().any(|route| route.protocol == route::PROTOCOL_RA);
        let learnt_address = addresses.iter().any(|address| {
            address.index == *index && address.dynamic && address.net.addr().is_ipv6() && !is_link_local(address.net.addr())
        });
        uplinks.insert(name.clone(), Uplink { mtu: link.mtu, families, lives_from_ra: learnt_route || learnt_address });
    }

    let mut taken = Vec::new();
    for route in routes.iter().filter(|route| !is_default(route.net) && !is_link_local(route.net.addr())) {
        if let Some((_, name)) = route.links.iter().find_map(|index| foreign.get(index)) {
            taken.push(Taken { net: route.net.trunc(), by: Holder::Route(name.clone()) });
        }
    }
    for address in addresses.iter().filter(|address| !is_link_local(address.net.addr()) && !address.net.addr().is_loopback()) {
        if let Some((_, name)) = foreign.get(&address.index) {
            taken.push(Taken { net: address.net.trunc(), by: Holder::Address(name.clone()) });
        }
    }
    taken.extend(RESOLVERS.iter().filter_map(|path| fs::read_to_string(path).ok()).flat_map(|text| resolvers(&text).collect::<Vec<_>>()));
    let mut known = BTreeSet::new();
    taken.retain(|taken| known.insert((taken.net, taken.by.clone())));

    Ok(Host {
        uplinks,
        taken,
        addresses: addresses.iter().map(|address| address.net.addr()).collect(),
        name: hostname(),
        foreign_links: foreign.into_values().map(|(_, name)| name).collect(),
        ephemeral: ephemeral(),
        seed: seed(),
        forwards_v6: sysctl::read("net/ipv6/conf/all/forwarding").ok().flatten().is_some_and(|value| value.trim() == "1"),
        features,
    })
}

/// What the kernel can do; `datapath` is said by who loads the programs.
pub(crate) fn features(datapath: bool) -> Features {
    Features {
        ipv6: sysctl::exists("net/ipv6/conf/all/forwarding"),
        force_forwarding: sysctl::exists("net/ipv6/conf/default/force_forwarding"),
        datapath,
        sctp_sockets: super::port::has_sctp(),
        sysctls: sysctl::writable("net/ipv4/conf/default/forwarding"),
    }
}

/// The nameservers of a resolv.conf(5), without those of the host itself.
fn resolvers(text: &str) -> impl Iterator<Item = Taken> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address: IpAddr = words.next().filter(|word| *word == "nameserver").and(words.next())?.parse().ok()?;
        (!address.is_loopback() && !address.is_unspecified()).then(|| Taken { net: IpNet::from(address), by: Holder::Resolver(address) })
    })
}

/// A default route, also one in halves as VPN programs add it (0.0.0.0/1 and 128.0.0.0/1; 2000::/3): it says nothing about what is in use.
fn is_default(net: IpNet) -> bool {
    net.prefix_len() <= if net.addr().is_ipv4() { 1 } else { 3 }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local() || v6.is_multicast())
}

fn ephemeral() -> (u16, u16) {
    let range = sysctl::read("net/ipv4/ip_local_port_range").ok().flatten().unwrap_or_default();
    let mut ports = range.split_whitespace().map_while(|port| port.parse().ok());
    ports.next().zip(ports.next()).unwrap_or(EPHEMERAL)
}

fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// The first 64 bits of machine-id(5), 128 random bits in hexadecimal; the host name stands in for it where there is none.
fn seed() -> u64 {
    let id = fs::read_to_string("/etc/machine-id").ok().and_then(|id| u64::from_str_radix(id.get(..16)?, 16).ok());
    id.unwrap_or_else(|| {
        let name = hostname();
        // FNV-1a (Fowler, Noll, Vo): spread, not secret.
        name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_of_other_hosts_are_taken_and_our_own_stub_is_not() {
        let text = "# comment\nsearch lan\nnameserver 10.0.0.2\nnameserver 127.0.0.53\nnameserver fd00::53 \nnameserver fe80::1%eth0\n";
        let found: Vec<String> = resolvers(text).map(|taken| format!("{} {}", taken.net, taken.by)).collect();
        assert_eq!(found, ["10.0.0.2/32 resolver 10.0.0.2", "fd00::53/128 resolver fd00::53"]);
    }

    #[test]
    fn a_default_route_in_halves_takes_no_net() {
        let default = |net: &str| is_default(net.parse().expect("a net"));
        assert!(default("0.0.0.0/0") && default("0.0.0.0/1") && default("128.0.0.0/1") && default("2000::/3"));
        assert!(!default("10.0.0.0/8") && !default("fd00::/8"));
    }
}
