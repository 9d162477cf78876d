//! Makes, changes and removes containers in the wish: names, interface names, addresses and numbers are chosen and checked here.

use std::{collections::BTreeSet, sync::Arc};

use ipnet::IpNet;
use netd_abi::MAX_ATTACHMENTS;
use netd_api::{
    addr::{Family, Mac},
    fault::{Code, Fault},
    names::{ContainerId, ContainerName, IfName, NetworkName},
    spec::{AttachSpec, ContainerChange, ContainerSpec, NetworkSpec, Source},
};

use super::{Context, network, publish};
use crate::{
    desired::{Attachment, Change, Container, Desired, Edit, Network, Origin, Pool, number},
    ipam, mark,
};

/// The ports a Linux bridge has: BR_MAX_PORTS in net/bridge/br_private.h is 1024, and port number 0 is not given.
const BRIDGE_PORTS: usize = 1023;

pub(super) fn create(desired: &Desired, spec: &ContainerSpec, context: Context<'_>) -> Result<Change, Fault> {
    let id = &spec.name;
    let name = ContainerName::from(id.clone());
    if id.as_str().len() > 63 {
        return Err(Fault::new(Code::BadRequest, format!("cannot make container {id}: its name has {} bytes", id.as_str().len()))
            .hint("use at most 63, as a host name has (RFC 1123)"));
    }
    if let Some(other) = desired.find(&name) {
        return Err(Fault::new(Code::Exists, format!("cannot make container {id}: there is one of that name (id {})", other.id))
            .hint(format!("remove it (netctl container rm {id}), or choose another name")));
    }
    let origin = match (&spec.netns, context.found) {
        (Source::Made, _) => Origin::Made,
        (_, Some(found)) => {
            // One that netd made is known by its path: it has no number before it is made.
            let made = found
                .path
                .strip_prefix(mark::NETNS_DIR)
                .and_then(|name| desired.containers().get(name.strip_prefix('/')?))
                .filter(|other| other.origin == Origin::Made);
            let mut adopters = desired.adopters(found.id).filter(|other| !desired.is_absent(&other.id));
            if let Some(other) = made.or_else(|| adopters.next()) {
                return Err(Fault::new(
                    Code::InUse,
                    format!("cannot adopt {}: it is the namespace of container {}", found.path, other.name),
                )
                .hint(format!("connect that one to further networks (netctl network connect NET {})", other.name)));
            }
            Origin::Adopted { path: found.path.clone(), id: found.id }
        }
        (_, None) => {
            return Err(Fault::new(Code::BadNamespace, format!("cannot adopt container {id}: its namespace was not found"))
                .hint("give --netns PATH or --pid PID"));
        }
    };
    let mut container = Container {
        id: id.clone(),
        name,
        namespace: spec.namespace.clone(),
        origin,
        cgroup: None,
        labels: spec.labels.clone(),
        attachments: Vec::new(),
    };
    let mut change = Change::default();
    let fallback = "default".parse::<NetworkName>().map_err(|error| Fault::new(Code::BadRequest, error.to_string()))?;
    let default = [AttachSpec::to(fallback.clone())];
    let wanted = if spec.networks.is_empty() { &default[..] } else { &spec.networks };
    let mut made_default = None;
    if spec.networks.is_empty() && !desired.networks().contains_key(&fallback) {
        let network = Arc::new(network::network(desired, &NetworkSpec::named(fallback), context)?);
        change.edits.push(Edit::Network { before: None, after: Some(Arc::clone(&network)) });
        made_default = Some(network);
    }
    for attach in wanted {
        let network = desired.networks().get(&attach.network).or(made_default.as_ref()).ok_or_else(|| network::missing(&attach.network))?;
        let attachment = attachment(desired, &container, network, attach, context)?;
        container.attachments.push(attachment);
    }
    let container = Arc::new(container);
    change.edits.push(Edit::Container { before: None, after: Some(Arc::clone(&container)) });
    let mut preview = PreviewNetworks { desired, made: made_default.as_deref() };
    change.edits.extend(publish::edits(&mut preview, &container, &spec.publish, context)?);
    Ok(change)
}

/// The networks of the wish and the one that the same request makes.
pub(super) struct PreviewNetworks<'a> {
    pub(super) desired: &'a Desired,
    pub(super) made: Option<&'a Network>,
}

impl PreviewNetworks<'_> {
    pub(super) fn get(&self, name: &NetworkName) -> Option<&Network> {
        self.desired.networks().get(name).map(Arc::as_ref).or(self.made)
    }
    /// The network whose subnet an address is of.
    pub(super) fn pool_of(&self, address: std::net::IpAddr) -> Option<(&Network, &Pool)> {
        let networks = self.desired.networks().values().map(Arc::as_ref).chain(self.made);
        networks.flat_map(|network| network.pools.iter().map(move |pool| (network, pool))).find(|(_, pool)| pool.subnet.contains(address))
    }
}

/// A new attachment, with everything chosen.
fn attachment(
    desired: &Desired,
    container: &Container,
    network: &Network,
    spec: &AttachSpec,
    context: Context<'_>,
) -> Result<Attachment, Fault> {
    let id = &container.id;
    let refuse = |code, why: String| Fault::new(code, format!("cannot attach {id} to network {}: {why}", network.name));
    let earlier = || container.attachments.iter().filter(|attachment| attachment.network == network.name);
    let ports = desired.member_count(&network.name) + earlier().count();
    if ports >= BRIDGE_PORTS {
        return Err(refuse(Code::BridgeFull, format!("its bridge {} has {ports} ports, the most that Linux allows", network.bridge))
            .hint("make another network"));
    }
    let there: BTreeSet<&IfName> = container
        .attachments
        .iter()
        .map(|attachment| &attachment.ifname)
        .chain(context.found.into_iter().flat_map(|found| &found.links))
        .collect();
    if spec.ifname.is_none()
        && let Some(other) = earlier().next()
    {
        return Err(refuse(Code::Exists, format!("it is attached already, by {}", other.ifname))
            .hint("name the second interface (ifname=) if you mean two"));
    }
    let ifname = match &spec.ifname {
        Some(ifname) if there.contains(ifname) || ifname.as_str() == "lo" => {
            return Err(
                refuse(Code::BadInterface, format!("the container has an interface {ifname} already")).hint("choose another ifname=")
            );
        }
        Some(ifname) => ifname.clone(),
        None => (0..)
            .find_map(|n| format!("eth{n}").parse().ok().filter(|name| !there.contains(name)))
            .ok_or_else(|| refuse(Code::BadInterface, "no name is free".to_owned()))?,
    };
    let mut addresses = Vec::new();
    let mut statics = spec.addresses.clone();
    for pool in &network.pools {
        let family = pool.subnet.family();
        let wanted = statics.iter().position(|address| Family::of(*address) == family).map(|at| statics.remove(at));
        let used = desired.used(&network.name, family);
        let mine: BTreeSet<u128> = earlier().filter_map(|attachment| attachment.address(family)).map(number).collect();
        let address = match wanted {
            Some(address) => {
                let (first, last) = ipam::usable(pool.subnet.net());
                let why = if !pool.subnet.contains(address) {
                    Some(format!("{address} is not inside {}", pool.subnet))
                } else if !(first..=last).contains(&number(address)) {
                    Some(format!("{address} is the network's own or its broadcast address"))
                } else if pool.gateway == Some(address) {
                    Some(format!("{address} is the gateway"))
                } else if let Some(excluded) = pool.excludes.iter().find(|net| net.contains(&address)) {
                    Some(format!("{address} is excluded ({excluded})"))
                } else if used.is_some_and(|used| used.contains(number(address))) || mine.contains(&number(address)) {
                    let holder = desired.members(&network.name).find(|(_, other)| other.address(family) == Some(address));
                    Some(format!("{address} is taken by {}", holder.map_or_else(|| id.to_string(), |(other, _)| other.name.to_string())))
                } else {
                    None
                };
                match why {
                    Some(why) => return Err(refuse(Code::BadAddress, why).hint("choose another ip=, or none to have one chosen")),
                    None => address,
                }
            }
            None => {
                // Attachments of the same request are not in the index yet.
                let with_mine = (!mine.is_empty()).then(|| {
                    let mut all = used.cloned().unwrap_or_default();
                    mine.iter().for_each(|address| all.insert(*address));
                    all
                });
                let last_given = desired.last_given(&network.name, family);
                ipam::choose_address(pool, with_mine.as_ref().or(used), last_given).ok_or_else(|| {
                    refuse(Code::Exhausted, format!("no address of {} is free", pool.range))
                        .hint("remove containers, or make a network with a larger subnet")
                })?
            }
        };
        let prefix = pool.subnet.net().prefix_len();
        addresses.push(IpNet::new(address, prefix).map_err(|error| refuse(Code::BadAddress, error.to_string()))?);
    }
    if let Some(left) = statics.first() {
        return Err(refuse(Code::BadAddress, format!("{left} is not inside {}, or a second address of one family", subnets(network)))
            .hint("see `netctl network inspect`"));
    }
    let mac_of = |mac: Mac| match () {
        () if mac == network.mac => Some(format!("bridge {}", network.bridge)),
        () if earlier().any(|attachment| attachment.mac == mac) => Some(id.to_string()),
        () => desired.mac_holder(&network.name, mac).map(|other| other.name.to_string()),
    };
    let key = [network.name.as_str(), id.as_str(), ifname.as_str()];
    let mac = match spec.mac {
        Some(mac) => match mac_of(mac) {
            Some(other) => {
                return Err(refuse(Code::BadAddress, format!("the MAC address {mac} is that of {other}"))
                    .hint("choose another mac=, or none to have one chosen"));
            }
            None => mac,
        },
        None => mark::macs(&["container", key[0], key[1], key[2]])
            .find(|mac| mac_of(*mac).is_none())
            .ok_or_else(|| refuse(Code::Exhausted, "no MAC address is free".to_owned()))?,
    };
    let slot = slot(desired, container).ok_or_else(|| {
        refuse(Code::Exhausted, format!("there are {MAX_ATTACHMENTS} attachments, the most that the eBPF maps hold"))
            .hint("remove containers that are no longer needed (netctl container rm)")
    })?;
    Ok(Attachment {
        network: network.name.clone(),
        host_ifname: mark::veth_name(&network.name, id, &ifname),
        mac,
        host_mac: mark::mac(&["host", key[0], key[1], key[2]]),
        addresses,
        slot,
        cni: None,
        ifname,
    })
}

fn subnets(network: &Network) -> String {
    network.pools.iter().map(|pool| pool.subnet.to_string()).collect::<Vec<_>>().join(" or ")
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

pub(super) fn connect(desired: &Desired, name: &ContainerName, spec: &AttachSpec, context: Context<'_>) -> Result<Change, Fault> {
    let before = super::container(desired, name)?;
    if desired.is_absent(&before.id) {
        return Err(absent(before).hint(format!("remove it (netctl container rm {name}) and attach it again")));
    }
    let network = desired.networks().get(&spec.network).ok_or_else(|| network::missing(&spec.network))?;
    let mut after = Container::clone(before);
    after.attachments.push(attachment(desired, before, network, spec, context)?);
    Ok(Change { edits: vec![Edit::Container { before: Some(Arc::clone(before)), after: Some(Arc::new(after)) }] })
}

fn absent(container: &Container) -> Fault {
    Fault::new(Code::BadNamespace, format!("the network namespace of container {} ({}) has gone", container.name, container.netns()))
}

pub(super) fn disconnect(desired: &Desired, name: &ContainerName, network: &NetworkName, ifname: Option<&IfName>) -> Result<Change, Fault> {
    let before = super::container(desired, name)?;
    let meant = |attachment: &Attachment| attachment.network == *network && ifname.is_none_or(|ifname| attachment.ifname == *ifname);
    let mut after = Container::clone(before);
    after.attachments.retain(|attachment| !meant(attachment));
    if after.attachments.len() == before.attachments.len() {
        let by = ifname.map_or(String::new(), |ifname| format!(" by {ifname}"));
        return Err(Fault::new(Code::NotFound, format!("container {name} is not attached to network {network}{by}"))
            .hint(format!("see `netctl container inspect {name}`")));
    }
    let preview = PreviewNetworks { desired, made: None };
    for (_, published) in desired.publishes_of(&before.id) {
        if !publish::reachable(&preview, &after, published) {
            return Err(Fault::new(
                Code::InUse,
                format!("cannot disconnect {name} from network {network}: its published port {} would lead nowhere", published.host),
            )
            .hint(format!("withdraw it first (netctl unpublish {name}), or connect another network before")));
        }
    }
    Ok(Change { edits: vec![Edit::Container { before: Some(Arc::clone(before)), after: Some(Arc::new(after)) }] })
}

pub(super) fn alter(desired: &Desired, name: &ContainerName, wanted: &ContainerChange) -> Result<Change, Fault> {
    let before = super::container(desired, name)?;
    let mut after = Container::clone(before);
    for (key, value) in &wanted.labels {
        match value {
            Some(value) => after.labels.insert(key.clone(), value.clone()),
            None => after.labels.remove(key),
        };
    }
    if let Some(namespace) = &wanted.namespace {
        after.namespace = namespace.clone();
    }
    if after == **before {
        return Ok(Change::default());
    }
    Ok(Change { edits: vec![Edit::Container { before: Some(Arc::clone(before)), after: Some(Arc::new(after)) }] })
}

/// Its published ports go first, then itself.
pub(super) fn remove(desired: &Desired, container: &Arc<Container>) -> Change {
    let id: &ContainerId = &container.id;
    let ports =
        desired.publishes_of(id).map(|(_, published)| Edit::Publish { container: id.clone(), before: Some(*published), after: None });
    let mut edits: Vec<Edit> = ports.collect();
    edits.push(Edit::Container { before: Some(Arc::clone(container)), after: None });
    Change { edits }
}
