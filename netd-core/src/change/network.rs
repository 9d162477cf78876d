//! Makes and removes networks in the wish: subnets, gateways and ranges are chosen and checked here.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use netd_api::{
    addr::{Family, Subnet},
    fault::{Code, Fault},
    names::{IfName, NetworkName},
    spec::NetworkSpec,
};

use super::Context;
use crate::{
    desired::{Change, Desired, Edit, MTU_MAX, MTU_V4, MTU_V6, Network, Pool},
    ipam, mark,
};

/// The network that comes into being when somebody needs one and names none.
pub(super) const DEFAULT: &str = "default";
/// Names that say something else to users of Docker and Podman: the host's own namespace, and no network at all.
pub(super) const RESERVED: [&str; 2] = ["host", "none"];
/// More excludes than these are refused: each choice of an address looks at all of them.
const EXCLUDES_MOST: usize = 256;

pub(super) fn create(desired: &Desired, spec: &NetworkSpec, context: Context<'_>) -> Result<Change, Fault> {
    let network = network(desired, spec, context)?;
    Ok(Change { edits: vec![Edit::Network { before: None, after: Some(Arc::new(network)) }] })
}

/// The network of a spec, with everything chosen.
pub(super) fn network(desired: &Desired, spec: &NetworkSpec, context: Context<'_>) -> Result<Network, Fault> {
    let name = &spec.name;
    let refuse = |code, why: String| Fault::new(code, format!("cannot create network {name}: {why}"));
    if desired.networks().contains_key(name) {
        return Err(refuse(Code::Exists, "there is one of that name".to_owned())
            .hint(format!("see `netctl network inspect {name}`, or choose another name")));
    }
    if RESERVED.contains(&name.as_str()) {
        return Err(refuse(Code::BadRequest, "the name is reserved".to_owned())
            .hint("choose a name other than host and none, which mean something else to container runtimes"));
    }
    if spec.internal && !spec.routed.is_empty() {
        return Err(
            refuse(Code::BadRequest, "an internal network cannot be routed".to_owned()).hint("choose one of --internal and --routed")
        );
    }
    let bridge = bridge(desired, name, spec.bridge.as_ref(), context)?;
    let subnets = subnets(desired, spec, context)?;
    let mut pools = Vec::new();
    for subnet in &subnets {
        pools.push(pool(spec, *subnet, &subnets)?);
    }
    unplaced(spec, &subnets)?;
    for (family, least) in [(Family::V4, MTU_V4), (Family::V6, MTU_V6)] {
        if let Some(mtu) = spec.mtu
            && subnets.iter().any(|subnet| subnet.family() == family)
            && !(least..=MTU_MAX).contains(&mtu)
        {
            return Err(
                refuse(Code::BadRequest, format!("an MTU of {mtu} bytes is out of range")).hint(format!("use {least} to {MTU_MAX}"))
            );
        }
    }
    let routed: BTreeSet<Family> =
        spec.routed.iter().copied().filter(|family| subnets.iter().any(|subnet| subnet.family() == *family)).collect();
    if routed.is_empty() && !spec.routed.is_empty() {
        return Err(refuse(Code::BadRequest, "it shall be routed in a family that it has no subnet of".to_owned())
            .hint("add a --subnet of that family, or --ipv6"));
    }
    Ok(Network {
        name: name.clone(),
        mac: mark::mac(&["bridge", bridge.as_str(), name.as_str()]),
        bridge,
        mtu: spec.mtu,
        internal: spec.internal,
        routed,
        masquerade: spec.masquerade && !spec.internal,
        icc: spec.icc,
        pools,
        labels: spec.labels.clone(),
        inline: None,
    })
}

/// The bridge's name, the asked one or one that is made of the network's.
pub(super) fn bridge(desired: &Desired, network: &NetworkName, asked: Option<&IfName>, context: Context<'_>) -> Result<IfName, Fault> {
    let name = asked.cloned().unwrap_or_else(|| mark::bridge_name(network));
    let refuse = |why: String| {
        Err(Fault::new(Code::BadInterface, format!("cannot create network {network}: interface name {name} {why}"))
            .hint("choose another --bridge"))
    };
    if context.host.foreign_links.contains(&name) {
        return refuse("is taken on this host".to_owned());
    }
    if let Some(other) = desired.networks().values().find(|other| other.bridge == name && other.name != *network) {
        return refuse(format!("is the bridge of network {}", other.name));
    }
    if name.as_str() == mark::ANCHOR || name.as_str() == "lo" || name.as_str().starts_with(mark::VETH_PREFIX) {
        return refuse("is reserved".to_owned());
    }
    Ok(name)
}

fn subnets(desired: &Desired, spec: &NetworkSpec, context: Context<'_>) -> Result<Vec<Subnet>, Fault> {
    let refuse = |code, why: String| Fault::new(code, format!("cannot create network {}: {why}", spec.name));
    let ours = || desired.networks().values().flat_map(|network| network.pools.iter().map(move |pool| (network, pool.subnet)));
    for family in Family::BOTH {
        if spec.subnets.iter().filter(|subnet| subnet.family() == family).count() > 1 {
            return Err(refuse(Code::BadRequest, "it has two subnets of one family".to_owned())
                .hint("give at most one IPv4 and one IPv6 subnet, or make two networks"));
        }
    }
    for subnet in &spec.subnets {
        if let Some((other, theirs)) = ours().find(|(_, other)| subnet.overlaps(other.net())) {
            return Err(refuse(Code::SubnetOverlap, format!("subnet {subnet} overlaps {theirs} of network {}", other.name))
                .hint("choose another subnet, or none to have one chosen"));
        }
        if let Some(taken) = ipam::overlap(context.host, *subnet) {
            return Err(refuse(Code::SubnetOverlap, format!("subnet {subnet} overlaps {} ({})", taken.net, taken.by))
                .hint("choose another subnet, or none to have one chosen"));
        }
    }
    let mut subnets = spec.subnets.clone();
    let has = |subnets: &[Subnet], family| subnets.iter().any(|subnet| subnet.family() == family);
    let mut choose = vec![];
    if subnets.is_empty() {
        choose.push(Family::V4);
    }
    if spec.ipv6 && !has(&subnets, Family::V6) {
        choose.push(Family::V6);
    }
    for family in choose {
        let subnet = self::choose(desired, family, context).ok_or_else(|| {
            refuse(Code::Exhausted, "every subnet of the address pools is taken".to_owned())
                .hint("give --subnet, or add to `pools` in netd.toml")
        })?;
        subnets.push(subnet);
    }
    if has(&subnets, Family::V6) && !context.host.features.ipv6 {
        return Err(refuse(Code::Unsupported, "this kernel has no IPv6".to_owned()).hint("boot without ipv6.disable=1, or use IPv4 alone"));
    }
    subnets.sort();
    Ok(subnets)
}

/// A subnet that overlaps nothing of ours and of the host.
pub(super) fn choose(desired: &Desired, family: Family, context: Context<'_>) -> Option<Subnet> {
    let bases: Vec<_> = context.pools.iter().copied().filter(|base| Family::of(base.base.addr()) == family).collect();
    let ours = desired.networks().values().flat_map(|network| network.pools.iter().map(|pool| pool.subnet.net()));
    let taken: Vec<IpNet> = ours.chain(context.host.taken.iter().map(|taken| taken.net)).collect();
    ipam::choose_subnet(&bases, &taken)
}

fn pool(spec: &NetworkSpec, subnet: Subnet, subnets: &[Subnet]) -> Result<Pool, Fault> {
    let refuse = |why: String| Fault::new(Code::BadAddress, format!("cannot create network {}: {why}", spec.name));
    let of_family = |net: &IpNet| Family::of(net.addr()) == subnet.family();
    let (first, last) = ipam::usable(subnet.net());
    let mut ranges = spec.ip_ranges.iter().filter(|range| of_family(range));
    let host_bits = |what: &str, net: &IpNet| {
        (net.trunc() != *net).then(|| refuse(format!("the {what} {net} has host bits set")).hint(format!("did you mean {}?", net.trunc())))
    };
    if let Some(fault) = spec
        .ip_ranges
        .iter()
        .find_map(|range| host_bits("IP range", range))
        .or_else(|| spec.excludes.iter().find_map(|net| host_bits("excluded", net)))
    {
        return Err(fault);
    }
    let range = match (ranges.next(), ranges.next()) {
        (None, _) => subnet.net(),
        (Some(range), None) if subnet.net().contains(range) => *range,
        (Some(range), None) => {
            return Err(refuse(format!("the IP range {range} is not inside {}", list(subnets))).hint("choose a range inside the subnet"));
        }
        (Some(_), Some(_)) => {
            return Err(refuse(format!("there are two IP ranges for {subnet}")).hint("give one, and take addresses out with --exclude"));
        }
    };
    let excludes: Vec<IpNet> = spec.excludes.iter().filter(|net| of_family(net)).copied().collect();
    if let Some(outside) = excludes.iter().find(|net| !subnet.net().contains(*net)) {
        return Err(refuse(format!("the excluded {outside} is not inside {}", list(subnets))).hint("exclude addresses of the subnet only"));
    }
    if excludes.len() > EXCLUDES_MOST {
        return Err(refuse(format!("{} excludes are too many", excludes.len()))
            .hint(format!("give at most {EXCLUDES_MOST}; one CIDR can stand for many addresses")));
    }
    let mut gateways = spec.gateways.iter().filter(|gateway| Family::of(**gateway) == subnet.family());
    let gateway = match (gateways.next(), gateways.next()) {
        (Some(_), Some(_)) => return Err(refuse(format!("there are two gateways for {subnet}")).hint("give at most one for each subnet")),
        (Some(gateway), None) => Some(check_gateway(*gateway, subnet, (first, last), subnets, &refuse)?),
        // Two addresses and no way out: both are for containers, as a point-to-point link between them.
        (None, _) if spec.internal && ipam::is_point_to_point(subnet.net()) => None,
        (None, _) => Some(ipam::default_gateway(subnet, &excludes).ok_or_else(|| {
            Fault::new(Code::Exhausted, format!("cannot create network {}: no address of {subnet} is left for the gateway", spec.name))
                .hint("exclude less")
        })?),
    };
    let set = u8::from(subnet.family() == Family::V6);
    let pool = Pool { subnet, gateway, range, excludes, set };
    if ipam::free(&pool, None) == 0 {
        return Err(Fault::new(
            Code::Exhausted,
            format!("cannot create network {}: {subnet} has no address left for a container", spec.name),
        )
        .hint("take a larger range, or exclude less"));
    }
    Ok(pool)
}

fn check_gateway(
    gateway: IpAddr,
    subnet: Subnet,
    (first, last): (u128, u128),
    subnets: &[Subnet],
    refuse: &impl Fn(String) -> Fault,
) -> Result<IpAddr, Fault> {
    if !subnet.contains(gateway) {
        return Err(refuse(format!("the gateway {gateway} is not inside {}", list(subnets))).hint("choose an address of the subnet"));
    }
    if !(first..=last).contains(&crate::desired::number(gateway)) {
        return Err(refuse(format!("the gateway {gateway} is the network's own or its broadcast address"))
            .hint("choose another address of the subnet"));
    }
    Ok(gateway)
}

/// A range, exclude or gateway of a family that the network has no subnet of would be ignored; so it is an error.
fn unplaced(spec: &NetworkSpec, subnets: &[Subnet]) -> Result<(), Fault> {
    let missing = |family| !subnets.iter().any(|subnet| subnet.family() == family);
    let given = spec.gateways.iter().copied().map(|gateway| ("gateway", gateway));
    let given = given
        .chain(spec.ip_ranges.iter().map(|net| ("IP range", net.addr())))
        .chain(spec.excludes.iter().map(|net| ("excluded address", net.addr())));
    match given.into_iter().find(|(_, address)| missing(Family::of(*address))) {
        None => Ok(()),
        Some((what, address)) => Err(Fault::new(
            Code::BadAddress,
            format!("cannot create network {}: the {what} {address} is not inside {}", spec.name, list(subnets)),
        )
        .hint("add a --subnet of its family")),
    }
}

fn list(subnets: &[Subnet]) -> String {
    subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

pub(super) fn remove(desired: &Desired, name: &NetworkName) -> Result<Change, Fault> {
    let network = desired.networks().get(name).ok_or_else(|| missing(name))?;
    if let Some((container, _)) = desired.members(name).next() {
        let count = desired.member_count(name);
        let others = if count > 1 { format!(" and {} more are", count - 1) } else { " is".to_owned() };
        return Err(Fault::new(Code::InUse, format!("cannot remove network {name}: container {}{others} attached", container.name))
            .hint(format!("disconnect first (netctl network disconnect {name} {})", container.name)));
    }
    Ok(Change { edits: vec![Edit::Network { before: Some(Arc::clone(network)), after: None }] })
}

pub(super) fn prune(desired: &Desired) -> Change {
    let idle = desired.networks().values().filter(|network| desired.member_count(&network.name) == 0);
    Change { edits: idle.map(|network| Edit::Network { before: Some(Arc::clone(network)), after: None }).collect() }
}

pub(super) fn missing(name: &NetworkName) -> Fault {
    Fault::new(Code::NotFound, format!("there is no network {name}"))
        .hint(format!("make it (netctl network create {name}), or see `netctl network ls`"))
}
