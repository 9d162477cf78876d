//! Chooses all that an attachment has: interface names, addresses, hardware address and number. Never decides which network it is on.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use netd_abi::MAX_ATTACHMENTS;
use netd_api::{
    addr::{Family, Mac},
    fault::{Code, Fault},
    names::IfName,
};

use super::Context;
use crate::{
    desired::{Attachment, Container, Desired, Network, Pool, number},
    ipam, mark,
};

/// The ports a Linux bridge has: BR_MAX_PORTS in net/bridge/br_private.h is 1024, and port number 0 is not given.
const BRIDGE_PORTS: usize = 1023;

/// What is asked of an attachment; the rest is chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Who asks.
    pub(super) by: Asker,
    /// The interface's name in the container.
    pub(super) ifname: Option<&'a IfName>,
    /// Addresses that it shall have.
    pub(super) addresses: &'a [IpAddr],
    /// The container end's hardware address.
    pub(super) mac: Option<Mac>,
}

/// Who asks for an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// Somebody who types: at most one address of each subnet.
    User,
    /// A container runtime: as many as it likes.
    Runtime,
}

impl Asker {
    fn hint(self, user: &str, runtime: &str) -> String {
        match self {
            Self::User => user.to_owned(),
            Self::Runtime => runtime.to_owned(),
        }
    }
}

/// A new attachment of a container, which need not be in the wish yet. What the container has there and no longer has in `container` is free.
pub(super) fn attachment(
    desired: &Desired,
    container: &Container,
    network: &Network,
    asked: &Asked<'_>,
    context: Context<'_>,
) -> Result<Attachment, Fault> {
    let id = &container.id;
    let refuse = |code, why: String| Fault::new(code, format!("cannot attach {id} to network {}: {why}", network.name));
    let on_it = |container: &Container| container.attachments.iter().filter(|attachment| attachment.network == network.name).count();
    let known = desired.containers().get(id).map_or(0, |known| on_it(known));
    let ports = desired.member_count(&network.name) - known + on_it(container);
    if ports >= BRIDGE_PORTS {
        return Err(refuse(Code::BridgeFull, format!("its bridge {} has {ports} ports, the most that Linux allows", network.bridge))
            .hint("make another network"));
    }
    let ifname = ifname(container, network, asked, context)?;
    let addresses = Addresses { desired, container, network, asked }.all()?;
    let mac = mac(desired, container, network, &ifname, asked)?;
    let slot = slot(desired, container).ok_or_else(|| {
        refuse(Code::Exhausted, format!("there are {MAX_ATTACHMENTS} attachments, the most that the eBPF maps hold"))
            .hint("remove containers that are no longer needed (netctl container rm)")
    })?;
    Ok(Attachment {
        network: network.name.clone(),
        host_ifname: mark::veth_name(&network.name, id, &ifname),
        mac,
        host_mac: mark::mac(&["host", network.name.as_str(), id.as_str(), ifname.as_str()]),
        addresses,
        slot,
        cni: None,
        ifname,
    })
}

fn ifname(container: &Container, network: &Network, asked: &Asked<'_>, context: Context<'_>) -> Result<IfName, Fault> {
    let refuse = |code, why: String| Fault::new(code, format!("cannot attach {} to network {}: {why}", container.id, network.name));
    let there: BTreeSet<&IfName> = container
        .attachments
        .iter()
        .map(|attachment| &attachment.ifname)
        .chain(context.found.into_iter().flat_map(|found| &found.links))
        .collect();
    if asked.ifname.is_none()
        && let Some(other) = container.attachments.iter().find(|attachment| attachment.network == network.name)
    {
        return Err(refuse(Code::Exists, format!("it is attached already, by {}", other.ifname))
            .hint("name the second interface (ifname=) if you mean two"));
    }
    match asked.ifname {
        Some(ifname) if there.contains(ifname) || ifname.as_str() == "lo" => {
            Err(refuse(Code::BadInterface, format!("the container has an interface {ifname} already"))
                .hint(asked.by.hint("choose another ifname=", "detach that one first (DEL), or choose another CNI_IFNAME")))
        }
        Some(ifname) => Ok(ifname.clone()),
        None => (0..)
            .find_map(|n| format!("eth{n}").parse().ok().filter(|name| !there.contains(name)))
            .ok_or_else(|| refuse(Code::BadInterface, "no name is free".to_owned())),
    }
}

/// The choice of addresses.
struct Addresses<'a> {
    desired: &'a Desired,
    container: &'a Container,
    network: &'a Network,
    asked: &'a Asked<'a>,
}

impl Addresses<'_> {
    fn refuse(&self, code: Code, why: &str) -> Fault {
        Fault::new(code, format!("cannot attach {} to network {}: {why}", self.container.id, self.network.name))
    }

    /// The asked ones, and one of each set that none of them is in; in the order of the sets.
    fn all(&self) -> Result<Vec<IpNet>, Fault> {
        let mut chosen: BTreeMap<u8, Vec<(&Pool, IpAddr)>> = BTreeMap::new();
        let mut order = Vec::new();
        for address in self.asked.addresses {
            let pool = self.asked_for(*address)?;
            let set = chosen.entry(pool.set).or_default();
            let again = self.asked.by == Asker::User && set.iter().any(|(other, _)| *other == pool);
            if again || set.iter().any(|(_, other)| other == address) {
                return Err(self.misplaced(*address));
            }
            set.push((pool, *address));
            order.push((pool, *address));
        }
        if self.network.inline.is_some_and(|inline| inline.brought) {
            if order.is_empty() && self.asked.by == Asker::User {
                return Err(self
                    .refuse(Code::BadAddress, "its addresses are somebody else's to give away (ipam of its configuration)")
                    .hint("name one that is free (ip=)"));
            }
            return order.into_iter().map(|(pool, address)| self.net(pool, address)).collect();
        }
        for pool in &self.network.pools {
            if chosen.contains_key(&pool.set) {
                continue;
            }
            let address = self.free_one(pool.set)?;
            chosen.insert(pool.set, vec![address]);
        }
        chosen.into_values().flatten().map(|(pool, address)| self.net(pool, address)).collect()
    }

    fn net(&self, pool: &Pool, address: IpAddr) -> Result<IpNet, Fault> {
        IpNet::new(address, pool.subnet.net().prefix_len()).map_err(|error| self.refuse(Code::BadAddress, &error.to_string()))
    }

    fn misplaced(&self, address: IpAddr) -> Fault {
        let subnets = self.network.pools.iter().map(|pool| pool.subnet.to_string()).collect::<Vec<_>>().join(" or ");
        let why = match self.asked.by {
            _ if self.network.pools.is_empty() => format!("{address} cannot be had, as the network has no subnet"),
            Asker::User => format!("{address} is not inside {subnets}, or a second address of one family"),
            Asker::Runtime if self.network.pools.iter().any(|pool| pool.subnet.contains(address)) => {
                format!("{address} is asked for twice")
            }
            Asker::Runtime => format!("{address} is not inside {subnets}"),
        };
        self.refuse(Code::BadAddress, &why).hint("see `netctl network inspect`")
    }

    /// The subnet of an asked address: of two that have it, because two sets share a subnet, the one that may give it away.
    fn asked_for(&self, address: IpAddr) -> Result<&Pool, Fault> {
        let mut reason = None;
        for pool in self.network.pools.iter().filter(|pool| pool.subnet.contains(address)) {
            match self.why_not(pool, address) {
                None => return Ok(pool),
                Some(why) => reason = reason.or(Some(why)),
            }
        }
        let Some(why) = reason else { return Err(self.not_inside(address)) };
        let hint = self.asked.by.hint("choose another ip=, or none to have one chosen", "ask for another address, or for none");
        Err(self.refuse(Code::BadAddress, &why).hint(hint))
    }

    fn not_inside(&self, address: IpAddr) -> Fault {
        match self.network.pools.iter().find(|pool| pool.subnet.family() == Family::of(address)) {
            Some(pool) if self.asked.by == Asker::User => {
                self.refuse(Code::BadAddress, &format!("{address} is not inside {}", pool.subnet)).hint("see `netctl network inspect`")
            }
            _ => self.misplaced(address),
        }
    }

    fn why_not(&self, pool: &Pool, address: IpAddr) -> Option<String> {
        let family = pool.subnet.family();
        let (first, last) = ipam::usable(pool.subnet.net());
        if !(first..=last).contains(&number(address)) {
            return Some(format!("{address} is the network's own or its broadcast address"));
        }
        if pool.gateway == Some(address) {
            return Some(format!("{address} is the gateway"));
        }
        if let Some(excluded) = pool.excludes.iter().find(|net| net.contains(&address)) {
            return Some(format!("{address} is excluded ({excluded})"));
        }
        let mine = |container: &Container| self.numbers(container, family).any(|number| number == self::number(address));
        let used = self.desired.used(&self.network.name, family).is_some_and(|used| used.contains(number(address)));
        let let_go = || self.desired.containers().get(&self.container.id).is_some_and(|known| mine(known));
        if mine(self.container) || (used && !let_go()) {
            let has = |attachment: &Attachment| attachment.addresses.iter().any(|net| net.addr() == address);
            let holder = self.desired.members(&self.network.name).find(|(_, other)| has(other));
            let holder = holder.map_or_else(|| self.container.id.to_string(), |(other, _)| other.name.to_string());
            return Some(format!("{address} is taken by {holder}"));
        }
        None
    }

    /// The addresses that a container has on the network.
    fn numbers<'a>(&'a self, container: &'a Container, family: Family) -> impl Iterator<Item = u128> + 'a {
        let here = container.attachments.iter().filter(|attachment| attachment.network == self.network.name);
        here.flat_map(|attachment| &attachment.addresses).map(IpNet::addr).filter(move |address| Family::of(*address) == family).map(number)
    }

    fn free_one(&self, set: u8) -> Result<(&Pool, IpAddr), Fault> {
        let pools = || self.network.pools.iter().filter(|pool| pool.set == set);
        let free = |pool: &Pool| {
            let family = pool.subnet.family();
            let used = self.desired.used(&self.network.name, family);
            // Attachments of the same request are not in the index yet.
            let mine: Vec<u128> = self.numbers(self.container, family).collect();
            let with_mine = mine.iter().any(|address| !used.is_some_and(|used| used.contains(*address))).then(|| {
                let mut all = used.cloned().unwrap_or_default();
                mine.iter().for_each(|address| all.insert(*address));
                all
            });
            ipam::choose_address(pool, with_mine.as_ref().or(used), self.desired.last_given(&self.network.name, pool.subnet))
        };
        pools().find_map(|pool| Some((pool, free(pool)?))).ok_or_else(|| {
            let ranges = pools().map(|pool| pool.range.to_string()).collect::<Vec<_>>().join(" or ");
            self.refuse(Code::Exhausted, &format!("no address of {ranges} is free")).hint(
                self.asked
                    .by
                    .hint("remove containers, or make a network with a larger subnet", "remove containers, or give a larger range"),
            )
        })
    }
}

fn mac(desired: &Desired, container: &Container, network: &Network, ifname: &IfName, asked: &Asked<'_>) -> Result<Mac, Fault> {
    let id = &container.id;
    let refuse = |code, why: String| Fault::new(code, format!("cannot attach {id} to network {}: {why}", network.name));
    let on_it = || container.attachments.iter().filter(|attachment| attachment.network == network.name);
    let holder = |mac: Mac| match () {
        () if mac == network.mac => Some(format!("bridge {}", network.bridge)),
        () if on_it().any(|attachment| attachment.mac == mac) => Some(id.to_string()),
        () => desired.mac_holder(&network.name, mac).filter(|other| other.id != *id).map(|other| other.name.to_string()),
    };
    match asked.mac {
        Some(mac) => match holder(mac) {
            Some(other) => {
                let hint = asked.by.hint("choose another mac=, or none to have one chosen", "ask for another one, or for none");
                Err(refuse(Code::BadAddress, format!("the MAC address {mac} is that of {other}")).hint(hint))
            }
            None => Ok(mac),
        },
        None => mark::macs(&["container", network.name.as_str(), id.as_str(), ifname.as_str()])
            .find(|mac| holder(*mac).is_none())
            .ok_or_else(|| refuse(Code::Exhausted, "no MAC address is free".to_owned())),
    }
}

/// The lowest number that no attachment has.
fn slot(desired: &Desired, container: &Container) -> Option<u32> {
    let mut at = 0;
    loop {
        let free = u32::try_from(desired.slots().next_free(at)?).ok().filter(|slot| *slot < MAX_ATTACHMENTS)?;
        if container.attachments.iter().all(|attachment| attachment.slot != free) {
            return Some(free);
        }
        at = u128::from(free) + 1;
    }
}
