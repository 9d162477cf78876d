//! Reads what there is of netd's objects: all with our mark, or only those that a request is about. Changes nothing, decides nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
};

use netd_api::names::IfName;
use netd_core::{
    mark,
    objects::{Address, Bridge, Ifb, Netns, Ns, Objects, Peer, Route, Sysctl, Veth},
};

use super::{
    KernelError, Look, address,
    link::{self, Kind, Seen},
    netlink::Rtnetlink,
    netns, route,
    sysctl::{self, Trees},
};

/// From how many namespaces on a second thread pays for itself (each takes some 0.1 ms to look into).
const WORTH_A_THREAD: usize = 64;

/// What was found, and the numbers that the kernel has given the host ends and the ifbs.
pub(crate) struct Found {
    /// Links, addresses, routes, namespaces and sysctls; the rest is added by its own owners.
    pub(crate) objects: Objects,
    /// Interface numbers of the veths' host ends and of the ifbs.
    pub(crate) numbers: BTreeMap<IfName, u32>,
}

/// All that rtnetlink and files tell.
pub(crate) fn observe(host: &mut Rtnetlink, look: Look<'_>) -> Result<Found, KernelError> {
    let (Look::Everything(wanted) | Look::At(wanted)) = look;
    let mut objects = Objects::default();
    let links = match look {
        Look::Everything(_) => link::all(host)?,
        Look::At(wanted) => named(host, wanted)?,
    };
    let name_of: BTreeMap<u32, IfName> = links.iter().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect();
    let is_ours = |link: &Seen, wanted: bool| {
        link.group == mark::GROUP && link.name != mark::ANCHOR && (wanted || matches!(look, Look::Everything(_)))
    };
    let (mut host_ends, mut numbers) = (BTreeMap::new(), BTreeMap::new());
    for link in &links {
        let Some(name) = name_of.get(&link.index) else { continue };
        match link.kind {
            Kind::Bridge if is_ours(link, wanted.bridges.contains_key(name)) => {
                if let Some(mac) = link.mac {
                    objects.bridges.insert(name.clone(), Bridge { mac, mtu: link.mtu, up: link.up, promiscuous: link.promiscuous });
                    host_addresses(host, &mut objects, wanted, name, link.index)?;
                }
            }
            Kind::Veth if is_ours(link, wanted.veths.contains_key(name)) => {
                if let Some(veth) = host_end(host, link, &name_of)? {
                    host_ends.insert(name.clone(), link);
                    numbers.insert(name.clone(), link.index);
                    objects.veths.insert(name.clone(), veth);
                }
            }
            Kind::Ifb if is_ours(link, wanted.ifbs.contains_key(name)) => {
                objects.ifbs.insert(name.clone(), Ifb { up: link.up, bucket: None });
                numbers.insert(name.clone(), link.index);
            }
            _ => {}
        }
    }
    for (path, netns) in &wanted.netns {
        if let Some(id) = netns::id(path) {
            let seen = if matches!(netns, Netns::Made) { Netns::Made } else { Netns::Adopted(id) };
            objects.netns.insert(path.clone(), seen);
        }
    }
    for wanted_sysctl in wanted.sysctls.keys().filter(|sysctl| sysctl.ns == Ns::Host) {
        if let Some(value) = sysctl::read(&wanted_sysctl.key)? {
            objects.sysctls.insert(wanted_sysctl.clone(), value);
        }
    }
    let within = within(wanted, &objects);
    for inside in look_inside(&within)? {
        inside.join(&mut objects, wanted, &within, &host_ends);
    }
    Ok(Found { objects, numbers })
}

/// The links that are wanted by name, and nothing else.
fn named(host: &mut Rtnetlink, wanted: &Objects) -> Result<Vec<Seen>, KernelError> {
    let bridges = wanted.veths.values().filter_map(|veth| veth.bridge.as_ref());
    let names: BTreeSet<&IfName> = wanted.bridges.keys().chain(wanted.veths.keys()).chain(wanted.ifbs.keys()).chain(bridges).collect();
    let mut links = Vec::with_capacity(names.len());
    for name in names {
        links.extend(link::get(host, name)?);
    }
    Ok(links)
}

fn host_addresses(host: &mut Rtnetlink, objects: &mut Objects, wanted: &Objects, name: &IfName, index: u32) -> Result<(), KernelError> {
    let seen = match address::list(host, Some(index)) {
        Err(KernelError::Errno { errno: libc::ENODEV, .. }) => return Ok(()), // it went away meanwhile
        other => other?,
    };
    for seen in seen {
        let address = Address { ns: Ns::Host, link: name.clone(), net: seen.net };
        if seen.ours || wanted.addresses.contains(&address) {
            objects.addresses.insert(address);
        }
    }
    Ok(())
}

fn host_end(host: &mut Rtnetlink, link: &Seen, name_of: &BTreeMap<u32, IfName>) -> Result<Option<Veth>, KernelError> {
    let Some(mac) = link.mac else { return Ok(None) };
    let bridge = match link.master {
        None => None,
        // A bridge that was not asked for: whoever put the link there, its name says that it is the wrong one.
        Some(master) => match name_of.get(&master) {
            Some(name) => Some(name.clone()),
            None => link::by_index(host, master)?.and_then(|link| link.name.parse().ok()),
        },
    };
    Ok(Some(Veth {
        to_container: None,
        from_container: None,
        bridge,
        mac,
        mtu: link.mtu,
        up: link.up,
        alias: link.alias.clone(),
        isolated: link.isolated,
        hairpin: link.hairpin,
        on_blocks: false,
        slot: None,
        entry: None,
        peer: None,
    }))
}

/// What is wanted inside one namespace.
#[derive(Default)]
struct Within<'a> {
    links: BTreeSet<&'a IfName>,
    sysctls: Vec<&'a Sysctl>,
    /// Host ends, and where they should lead.
    veths: Vec<(&'a IfName, &'a Veth, &'a Peer)>,
}

/// What was found inside one namespace.
struct Inside {
    path: String,
    links: Vec<Seen>,
    addresses: Vec<address::Seen>,
    routes: Vec<route::Seen>,
    sysctls: Vec<(Sysctl, String)>,
}

/// What is wanted inside namespaces, as far as these are there, are the ones they should be, and have anything of ours.
fn within<'a>(wanted: &'a Objects, seen: &Objects) -> BTreeMap<&'a str, Within<'a>> {
    let mut within: BTreeMap<&str, Within<'_>> = BTreeMap::new();
    for (name, veth) in &wanted.veths {
        if let Some((peer, path)) = veth.peer.as_ref().and_then(|peer| Some((peer, peer.ns.path()?))) {
            let within = within.entry(path).or_default();
            within.links.insert(&peer.name);
            within.veths.push((name, veth, peer));
        }
    }
    let addresses = wanted.addresses.iter().map(|address| (&address.ns, &address.link));
    let routes = wanted.routes.iter().map(|route| (&route.ns, &route.link));
    for (ns, link) in addresses.chain(routes) {
        if let Some(path) = ns.path() {
            within.entry(path).or_default().links.insert(link);
        }
    }
    for sysctl in wanted.sysctls.keys() {
        if let Some(path) = sysctl.ns.path() {
            within.entry(path).or_default().sysctls.push(sysctl);
        }
    }
    // Where no pair of ours leads to, nothing of ours is: nobody need enter, and sysctls are set unseen (one that is so already is not written).
    let led_to = |within: &Within<'_>| within.veths.iter().any(|(name, ..)| seen.veths.contains_key(*name));
    within.retain(|path, within| seen.netns.contains_key(*path) && seen.netns.get(*path) == wanted.netns.get(*path) && led_to(within));
    within
}

fn look_inside(within: &BTreeMap<&str, Within<'_>>) -> Result<Vec<Inside>, KernelError> {
    let paths: Vec<&str> = within.keys().copied().collect();
    let look = |path: &str, socket: &mut Rtnetlink, trees: &mut Trees| inside(path, &within[path], socket, trees);
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    if paths.len() < WORTH_A_THREAD {
        return netns::visit(&paths, look);
    }
    let half = paths.len() / 2;
    thread::scope(|scope| {
        let second = scope.spawn(|| netns::visit(&paths[half..], look));
        let mut all = netns::visit(&paths[..half], look)?;
        all.extend(
            second.join().unwrap_or_else(|_| Err(KernelError::Namespace("the thread that looked into the namespaces died".to_owned())))?,
        );
        Ok(all)
    })
}

/// Runs on a thread inside the namespace.
fn inside(path: &str, within: &Within<'_>, socket: &mut Rtnetlink, trees: &mut Trees) -> Result<Inside, KernelError> {
    let links: Vec<Seen> =
        link::all(socket)?.into_iter().filter(|link| within.links.iter().any(|name| name.as_str() == link.name)).collect();
    let (addresses, routes) = if links.is_empty() {
        (Vec::new(), Vec::new())
    } else {
        (address::list(socket, None)?, route::list(socket, Some(mark::ROUTE_PROTOCOL))?)
    };
    let mut sysctls = Vec::new();
    for sysctl in &within.sysctls {
        if let Some(value) = trees.tree().read(&sysctl.key)? {
            sysctls.push(((*sysctl).clone(), value));
        }
    }
    Ok(Inside { path: path.to_owned(), links, addresses, routes, sysctls })
}

impl Inside {
    /// Adds what was found to the objects; a link counts only if it is the other end of the host end that should lead there.
    fn join(self, objects: &mut Objects, wanted: &Objects, within: &BTreeMap<&str, Within<'_>>, host_ends: &BTreeMap<IfName, &Seen>) {
        let ns = Ns::At(self.path.clone());
        let mut ours: BTreeMap<u32, IfName> = BTreeMap::new();
        for (host_name, wanted_veth, wanted_peer) in &within[self.path.as_str()].veths {
            let Some(veth) = objects.veths.get_mut(*host_name) else { continue };
            let found = self.links.iter().find(|link| link.name == wanted_peer.name.as_str());
            let Some(link) = found.filter(|link| link.kind == Kind::Veth && host_ends[*host_name].other_end == Some(link.index)) else {
                continue;
            };
            let Some(mac) = link.mac else { continue };
            veth.peer = Some(Peer { ns: ns.clone(), name: wanted_peer.name.clone(), mac, up: link.up });
            // One number stands for both ends: the wrong one is the one to show.
            if veth.mtu == wanted_veth.mtu {
                veth.mtu = link.mtu;
            }
            ours.insert(link.index, wanted_peer.name.clone());
        }
        for seen in self.addresses {
            let Some(link) = ours.get(&seen.index) else { continue };
            let address = Address { ns: ns.clone(), link: link.clone(), net: seen.net };
            if seen.ours || wanted.addresses.contains(&address) {
                objects.addresses.insert(address);
            }
        }
        for seen in self.routes {
            if let Some(link) = seen.links.first().and_then(|index| ours.get(index)) {
                objects.routes.insert(Route {
                    ns: ns.clone(),
                    link: link.clone(),
                    dst: seen.net,
                    via: seen.via,
                    metric: seen.metric,
                    table: seen.table,
                    scope: seen.scope,
                    mtu: seen.mtu,
                    advmss: seen.advmss,
                });
            }
        }
        objects.sysctls.extend(self.sysctls);
    }
}
