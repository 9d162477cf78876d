//! Which network an attachment of a runtime is on: one of netd's by name, or one that the configuration describes, made or changed for it.
//! Never decides what the attachment has there.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use netd_api::{
    addr::{Family, Subnet},
    cni::{AddressRange, Addressing, CniAddress, CniNetwork, InlineNetwork},
    fault::{Code, Fault},
    names::NetworkName,
    spec::NetworkSpec,
};

use crate::{
    change::{Context, network},
    desired::{Desired, Edit, Inline, MTU_MAX, MTU_V4, MTU_V6, Network, Pool, number},
    host::Holder,
    ipam, mark,
};

/// More sets than these are refused: an attachment has an address of each.
const SETS_MOST: usize = 32;
/// More ranges than these are refused: each choice of an address looks at what is between them.
const RANGES_MOST: usize = 256;
/// More subnets than these are refused where attachments bring them: each is a part of the network for good.
const BROUGHT_MOST: usize = 256;

/// A network, and what has to be done for it to be so.
pub(super) struct Step {
    pub(super) network: Arc<Network>,
    pub(super) edits: Vec<Edit>,
}

impl Step {
    fn kept(network: &Arc<Network>) -> Self {
        Self { network: Arc::clone(network), edits: Vec::new() }
    }
}

/// The network of an attachment that a configuration asks for, with the addresses it brings.
pub(super) fn step(
    desired: &Desired,
    config: &NetworkName,
    wanted: &CniNetwork,
    brought: &[CniAddress],
    context: Context<'_>,
) -> Result<Step, Fault> {
    match wanted {
        CniNetwork::Named(name) => match desired.networks().get(name) {
            Some(network) => Ok(Step::kept(network)),
            None if name.as_str() == network::DEFAULT => {
                let network = Arc::new(network::network(desired, &NetworkSpec::named(name.clone()), context)?);
                Ok(Step { edits: vec![Edit::Network { before: None, after: Some(Arc::clone(&network)) }], network })
            }
            None => Err(network::missing(name)),
        },
        CniNetwork::Inline(inline) => described(desired, config, inline, brought, context),
    }
}

fn described(
    desired: &Desired,
    config: &NetworkName,
    wanted: &InlineNetwork,
    brought: &[CniAddress],
    context: Context<'_>,
) -> Result<Step, Fault> {
    let before = desired.networks().get(config);
    if before.is_some_and(|before| before.inline.is_none()) {
        return Err(Fault::new(
            Code::Exists,
            format!("cannot make network {config} as its CNI configuration says: netd has one of that name"),
        )
        .hint(format!("say \"network\": \"{config}\" in the configuration to use that one, or give the configuration another name")));
    }
    let after = Description { desired, config, wanted, before: before.map(AsRef::as_ref), context }.network(brought)?;
    let Some(before) = before else {
        return checked(desired, None, after, context)
            .map(|network| Step { edits: vec![Edit::Network { before: None, after: Some(Arc::clone(&network)) }], network });
    };
    if **before == after {
        return Ok(Step::kept(before));
    }
    if let Some(why) = blocked(desired, before, &after) {
        return Err(Fault::new(
            Code::InUse,
            format!("cannot change network {config}: its CNI configuration is another than the one it was made by, and {why}"),
        )
        .hint("remove its containers first, or put the configuration back"));
    }
    let network = checked(desired, Some(before), after, context)?;
    let edits = vec![Edit::Network { before: Some(Arc::clone(before)), after: Some(Arc::clone(&network)) }];
    Ok(Step { network, edits })
}

/// What keeps a network from being changed in place.
fn blocked(desired: &Desired, before: &Network, after: &Network) -> Option<String> {
    let (first, _) = desired.members(&before.name).next()?;
    if before.bridge != after.bridge {
        return Some(format!(
            "its bridge would be {} instead of {}, while container {} is attached",
            after.bridge, before.bridge, first.name
        ));
    }
    desired.members(&before.name).find_map(|(container, attachment)| {
        attachment.addresses.iter().find_map(|net| match after.pool_of(*net) {
            None => Some(format!("container {} has {net}, which it does not have", container.name)),
            Some(pool) if pool.gateway == Some(net.addr()) => Some(format!("container {} has {net}, its gateway", container.name)),
            Some(_) => None,
        })
    })
}

/// A network that is new or changed, if it can be on this host.
fn checked(desired: &Desired, before: Option<&Network>, after: Network, context: Context<'_>) -> Result<Arc<Network>, Fault> {
    let refuse = |code, why: String| Fault::new(code, format!("cannot make network {} as its CNI configuration says: {why}", after.name));
    if before.is_none_or(|before| before.bridge != after.bridge) {
        network::bridge(desired, &after.name, Some(&after.bridge), context).map_err(|fault| {
            fault.hint(format!(
                "remove the old bridge (ip link del {}) once its containers are gone, or name another one in the configuration",
                after.bridge
            ))
        })?;
    }
    let known: BTreeSet<Subnet> = before.iter().flat_map(|before| &before.pools).map(|pool| pool.subnet).collect();
    for subnet in after.pools.iter().map(|pool| pool.subnet).filter(|subnet| !known.contains(subnet)) {
        let hint = "choose another subnet, or none to have one chosen";
        let others = desired.networks().values().filter(|other| other.name != after.name);
        let mut others = others.flat_map(|other| other.pools.iter().map(move |pool| (other, pool.subnet)));
        if let Some((other, theirs)) = others.find(|(_, theirs)| subnet.overlaps(theirs.net())) {
            return Err(refuse(Code::SubnetOverlap, format!("subnet {subnet} overlaps {theirs} of network {}", other.name)).hint(hint));
        }
        // Routes overlap on purpose where a cluster's nodes have a part each.
        let taken = context.host.taken.iter().find(|taken| matches!(taken.by, Holder::Address(_)) && subnet.overlaps(taken.net));
        if let Some(taken) = taken {
            return Err(refuse(Code::SubnetOverlap, format!("subnet {subnet} overlaps {} ({})", taken.net, taken.by)).hint(hint));
        }
        if subnet.family() == Family::V6 && !context.host.features.ipv6 {
            return Err(
                refuse(Code::Unsupported, "this kernel has no IPv6".to_owned()).hint("boot without ipv6.disable=1, or use IPv4 alone")
            );
        }
    }
    let least = if after.pool(Family::V6).is_some() { MTU_V6 } else { MTU_V4 };
    if let Some(mtu) = after.mtu.filter(|mtu| !(least..=MTU_MAX).contains(mtu)) {
        return Err(refuse(Code::BadRequest, format!("an MTU of {mtu} bytes is out of range")).hint(format!("use {least} to {MTU_MAX}")));
    }
    Ok(Arc::new(after))
}

/// What a configuration says of its network, and what is there of it.
struct Description<'a> {
    desired: &'a Desired,
    config: &'a NetworkName,
    wanted: &'a InlineNetwork,
    before: Option<&'a Network>,
    context: Context<'a>,
}

impl Description<'_> {
    fn refuse(&self, code: Code, why: &str) -> Fault {
        Fault::new(code, format!("cannot make network {} as its CNI configuration says: {why}", self.config))
    }

    fn network(&self, brought: &[CniAddress]) -> Result<Network, Fault> {
        if network::RESERVED.contains(&self.config.as_str()) {
            return Err(self.refuse(Code::BadRequest, "the name is reserved").hint("give the configuration another name"));
        }
        let bridge = self.wanted.bridge.clone().unwrap_or_else(|| mark::bridge_name(self.config));
        let pools = match &self.wanted.addressing {
            Addressing::None => Vec::new(),
            Addressing::Sets(sets) if sets.is_empty() => vec![self.automatic()?],
            Addressing::Sets(sets) => self.sets(sets)?,
            Addressing::Brought => self.brought(brought)?,
        };
        Ok(Network {
            name: self.config.clone(),
            mac: mark::mac(&["bridge", bridge.as_str(), self.config.as_str()]),
            bridge,
            mtu: self.wanted.mtu,
            internal: false,
            routed: pools.iter().map(|pool| pool.subnet.family()).collect(),
            masquerade: self.wanted.masquerade,
            icc: self.wanted.icc,
            pools,
            labels: self.wanted.labels.clone(),
            inline: Some(Inline {
                gateway: self.wanted.gateway,
                hairpin: self.wanted.hairpin,
                promiscuous: self.wanted.promiscuous,
                brought: self.wanted.addressing == Addressing::Brought,
            }),
        })
    }

    /// The subnet that was chosen before, or a new one.
    fn automatic(&self) -> Result<Pool, Fault> {
        if let Some(Network { pools, inline: Some(Inline { brought: false, .. }), .. }) = self.before
            && let [pool] = &pools[..]
            && pool.subnet.family() == Family::V4
            && pool.excludes.is_empty()
        {
            return Ok(pool.clone());
        }
        let subnet = network::choose(self.desired, Family::V4, self.context).ok_or_else(|| {
            self.refuse(Code::Exhausted, "every subnet of the address pools is taken").hint("give a subnet, or add to `pools` in netd.toml")
        })?;
        let gateway = ipam::default_gateway(subnet, &[]);
        Ok(Pool { subnet, gateway, range: subnet.net(), excludes: Vec::new(), set: 0 })
    }

    fn sets(&self, sets: &[Vec<AddressRange>]) -> Result<Vec<Pool>, Fault> {
        let all = || sets.iter().flatten();
        if sets.len() > SETS_MOST || all().count() > RANGES_MOST {
            return Err(self
                .refuse(Code::BadRequest, &format!("{} sets of {} ranges are too many", sets.len(), all().count()))
                .hint(format!("give at most {SETS_MOST} sets and {RANGES_MOST} ranges")));
        }
        let mut pools = Vec::new();
        let mut given: Vec<(Subnet, u128, u128)> = Vec::new();
        for (set, ranges) in (0_u8..).zip(sets) {
            let families: BTreeSet<Family> = ranges.iter().map(|range| range.subnet.family()).collect();
            if families.len() != 1 {
                let why = if families.is_empty() { "a set of ranges is empty" } else { "a set has ranges of both families" };
                return Err(self.refuse(Code::BadRequest, why).hint("give each family a set of its own"));
            }
            let mut placed = Vec::new();
            for range in ranges {
                placed.push((range.subnet, self.ends(range)?));
            }
            let mut subnets: Vec<Subnet> = Vec::new();
            for range in ranges {
                if !subnets.contains(&range.subnet) {
                    subnets.push(range.subnet);
                }
            }
            for subnet in subnets {
                let runs: Vec<(u128, u128)> = placed.iter().filter(|(of, _)| *of == subnet).map(|(_, ends)| *ends).collect();
                let shares =
                    |(of, first, last): &&(Subnet, u128, u128)| *of == subnet && runs.iter().any(|run| run.0 <= *last && *first <= run.1);
                if given.iter().any(|other| shares(&other)) {
                    return Err(self
                        .refuse(Code::BadAddress, &format!("two sets have the same addresses of {subnet}"))
                        .hint("give each set addresses of its own"));
                }
                if let Some((other, ..)) = given.iter().find(|(other, ..)| *other != subnet && other.overlaps(subnet.net())) {
                    return Err(self
                        .refuse(Code::SubnetOverlap, &format!("its subnets {other} and {subnet} overlap"))
                        .hint("give separate ones"));
                }
                given.extend(runs.iter().map(|(first, last)| (subnet, *first, *last)));
                let gateway = self.gateway(subnet, all().filter(|range| range.subnet == subnet).filter_map(|range| range.gateway))?;
                pools.push(Pool { subnet, gateway, range: subnet.net(), excludes: complement(subnet, runs), set });
            }
        }
        Ok(pools)
    }

    /// The first and the last address of a range.
    fn ends(&self, range: &AddressRange) -> Result<(u128, u128), Fault> {
        let subnet = range.subnet;
        let (first, last) = ipam::usable(subnet.net());
        if let Some(outside) = [range.first, range.last].into_iter().flatten().find(|address| !subnet.contains(*address)) {
            return Err(self
                .refuse(Code::BadAddress, &format!("{outside} is not inside {subnet}"))
                .hint("choose a range inside the subnet"));
        }
        let ends = (range.first.map_or(first, number).max(first), range.last.map_or(last, number).min(last));
        if ends.0 > ends.1 {
            let of = |address: Option<IpAddr>| address.map_or_else(String::new, |address| address.to_string());
            return Err(self
                .refuse(Code::BadAddress, &format!("the range {}-{} of {subnet} has no address", of(range.first), of(range.last)))
                .hint("let it end after it begins"));
        }
        Ok(ends)
    }

    /// The gateway of a subnet: the given one, else the first address.
    fn gateway(&self, subnet: Subnet, given: impl Iterator<Item = IpAddr>) -> Result<Option<IpAddr>, Fault> {
        let given: BTreeSet<IpAddr> = given.collect();
        let mut given = given.into_iter();
        match (given.next(), given.next()) {
            (None, _) => Ok(ipam::default_gateway(subnet, &[])),
            (Some(gateway), None) => self.possible(gateway, subnet).map(Some),
            (Some(one), Some(other)) => Err(self
                .refuse(Code::BadAddress, &format!("{subnet} has two gateways, {one} and {other}"))
                .hint("give one for each subnet")),
        }
    }

    fn possible(&self, gateway: IpAddr, subnet: Subnet) -> Result<IpAddr, Fault> {
        let (first, last) = ipam::usable(subnet.net());
        if subnet.contains(gateway) && (first..=last).contains(&number(gateway)) {
            return Ok(gateway);
        }
        let why = format!("the gateway {gateway} is no address of a station in {subnet}");
        Err(self.refuse(Code::BadAddress, &why).hint("choose another address of the subnet"))
    }

    /// The subnets of the addresses that an attachment brings, added to those of the others.
    fn brought(&self, addresses: &[CniAddress]) -> Result<Vec<Pool>, Fault> {
        let theirs =
            self.before.filter(|before| before.inline.is_some_and(|inline| inline.brought) && self.desired.member_count(self.config) > 0);
        let mut pools: Vec<Pool> = theirs.map(|before| before.pools.clone()).unwrap_or_default();
        for address in addresses {
            let subnet = self.subnet(address)?;
            let gateway = address.gateway.map(|gateway| self.possible(gateway, subnet)).transpose()?;
            if let Some(pool) = pools.iter_mut().find(|pool| pool.subnet == subnet) {
                match (pool.gateway, gateway) {
                    (Some(theirs), Some(gateway)) if theirs != gateway => {
                        return Err(self
                            .refuse(Code::BadAddress, &format!("the gateway of {subnet} is {theirs}, not {gateway}"))
                            .hint("let the IPAM plugin give the same gateway to all of a subnet"));
                    }
                    (theirs, gateway) => pool.gateway = theirs.or(gateway),
                }
                continue;
            }
            if let Some(other) = pools.iter().find(|pool| pool.subnet.overlaps(subnet.net())) {
                return Err(self
                    .refuse(Code::SubnetOverlap, &format!("its subnets {} and {subnet} overlap", other.subnet))
                    .hint("let the IPAM plugin give the same prefix length to all of a subnet"));
            }
            if pools.len() >= BROUGHT_MOST {
                return Err(self
                    .refuse(Code::Exhausted, &format!("it has {BROUGHT_MOST} subnets already"))
                    .hint("remove its containers, and let the IPAM plugin give addresses of fewer subnets"));
            }
            let chosen = || self.wanted.gateway.then(|| ipam::default_gateway(subnet, &[])).flatten();
            pools.push(Pool { subnet, gateway: gateway.or_else(chosen), range: subnet.net(), excludes: Vec::new(), set: 0 });
        }
        Ok(pools)
    }

    fn subnet(&self, address: &CniAddress) -> Result<Subnet, Fault> {
        let refuse = |why: &str| self.refuse(Code::BadAddress, why).hint("give each address with the length of its subnet's prefix");
        let prefix = address.prefix.ok_or_else(|| refuse(&format!("{} has no prefix length", address.address)))?;
        let net = IpNet::new(address.address, prefix).map_err(|error| refuse(&format!("{}: {error}", address.address)))?;
        net.trunc().to_string().parse().map_err(|error: netd_api::addr::AddrError| refuse(&error.to_string()))
    }
}

/// All of a subnet but these runs.
fn complement(subnet: Subnet, mut runs: Vec<(u128, u128)>) -> Vec<IpNet> {
    let family = subnet.family();
    let nets = |first: u128, last: u128| -> Vec<IpNet> {
        match (ipam::address(first, family), ipam::address(last, family)) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect(),
            (IpAddr::V6(first), IpAddr::V6(last)) => Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect(),
            _ => Vec::new(),
        }
    };
    let (first, last) = ipam::usable(subnet.net());
    runs.sort_unstable();
    let (mut at, mut rest) = (Some(first), Vec::new());
    for (from, to) in runs {
        if let Some(at) = at.filter(|at| *at < from) {
            rest.extend(nets(at, from - 1));
        }
        at = at.and_then(|at| Some(at.max(to.checked_add(1)?)));
    }
    if let Some(at) = at.filter(|at| *at <= last) {
        rest.extend(nets(at, last));
    }
    rest
}
