//! Attaches and detaches containers of CNI runtimes in the wish, and says how they are. Never knows the specification's JSON.
//!
//! A container of a runtime comes with its first attachment and goes with its last. What a runtime knows an attachment by is (configuration,
//! container, interface).

mod network;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use netd_api::{
    addr::Family,
    cni::{Addressing, CniAdd, CniAdded, CniAddedAddress, CniCheck, CniGc, CniKey, CniNetwork, CniReadiness, CniRoute, CniStatus},
    fault::{Code, Fault},
    names::{ContainerId, ContainerName, IfName, Namespace, NetworkName},
    spec::Guard,
    view::Trouble,
};

use super::{
    Context,
    attachment::{Asked, Asker, attachment},
    container::{self, PreviewNetworks, detach},
    publish,
};
use crate::{
    desired::{Attachment, Change, Cni, Container, Desired, Edit, Origin, Published, SHORT_ID},
    expand,
    host::{Found, Host},
    objects::{NetnsId, Route, TABLE_MAIN},
};

/// More aliases than these are refused, and longer ones: a DNS name has at most 253 bytes (RFC 1035, 2.3.4).
const ALIASES_MOST: usize = 256;
const ALIAS_LONGEST: usize = 253;
/// What stands in for a container whose ADD is only tried.
const NEWCOMER: &str = "newcomer";

/// What makes an attachment of a runtime, with all that belongs to it. `context.found` is the namespace at CNI_NETNS.
///
/// # Errors
/// The fault that goes back to the plugin.
pub fn add(desired: &Desired, add: &CniAdd, context: Context<'_>) -> Result<Change, Fault> {
    let id = &add.key.container;
    let found = context.found.ok_or_else(|| {
        Fault::new(Code::BadNamespace, format!("cannot attach {id}: there is no network namespace at {}", add.netns))
            .hint("give the path of one as CNI_NETNS")
    })?;
    possible(add, context.host)?;
    let brings = matches!(&add.network, CniNetwork::Inline(inline) if inline.addressing == Addressing::Brought);
    if brings && add.addresses.is_empty() {
        return Err(Fault::new(Code::BadAddress, format!("cannot attach {id}: its configuration's IPAM gave it no address"))
            .hint("see what the IPAM plugin says, or leave `ipam` out for a segment without IP"));
    }
    let before = desired.containers().get(id);
    if let Some(other) = before.filter(|other| !matches!(other.origin, Origin::Cni { .. })) {
        return Err(Fault::new(Code::Exists, format!("cannot attach {id}: netd has a container of that name, which no runtime brought"))
            .hint(format!("remove it (netctl container rm {}), or give another CNI_CONTAINERID", other.name)));
    }
    let mut edits = others_of(desired, add, found)?;
    let step = network::step(desired, &add.key.config, &add.network, &add.addresses, context)?;
    edits.extend(step.edits);
    // A runtime that lost its container comes again with another namespace: nothing of the old one is there any more.
    let stays = before.filter(|before| before.origin.netns_id() == Some(found.id) && !desired.is_absent(id));
    let mut after = stays.map_or_else(|| newcomer(desired, add, found), |before| with_more(before, add));
    let addresses: Vec<_> = add.addresses.iter().map(|address| address.address).collect();
    let asked = Asked { by: Asker::Runtime, ifname: Some(&add.key.ifname), addresses: &addresses, mac: add.mac };
    let mut attachment = attachment(desired, &after, &step.network, &asked, context)?;
    let leaving: Vec<Published> = match stays {
        Some(_) => Vec::new(),
        None => desired.publishes_of(id).map(|(_, published)| *published).collect(),
    };
    let preview = PreviewNetworks { desired, made: Some(&step.network) };
    let (ports, published) = publish::of_runtime(&preview, &after, &add.publish, &leaving, context)?;
    let goes = leaving.iter().filter(|port| !ports.contains(port));
    edits.extend(goes.map(|port| Edit::Publish { container: id.clone(), before: Some(*port), after: None }));
    attachment.cni = Some(Arc::new(Cni {
        config: add.key.config.clone(),
        routes: add.routes.clone(),
        ports,
        bandwidth: add.bandwidth,
        sysctls: add.sysctls.clone(),
        aliases: add.aliases.clone(),
    }));
    after.attachments.push(attachment);
    set_otherwise(&after, add)?;
    edits.push(Edit::Container { before: before.cloned(), after: Some(Arc::new(after)) });
    edits.extend(published);
    Ok(Change { edits })
}

fn newcomer(desired: &Desired, add: &CniAdd, found: &Found) -> Container {
    let id = &add.key.container;
    let short = || id.as_str().get(..SHORT_ID).and_then(|short| short.parse().ok()).unwrap_or_else(|| ContainerName::from(id.clone()));
    Container {
        id: id.clone(),
        name: add.name.clone().unwrap_or_else(short),
        namespace: add.namespace.clone(),
        origin: Origin::Cni { path: found.path.clone(), id: found.id, order: desired.next_order() },
        cgroup: add.cgroup.clone(),
        labels: add.labels.clone(),
        ports: [].into(),
        allow: Vec::new(),
        guard: Guard::On,
        attachments: Vec::new(),
    }
}

fn with_more(before: &Container, add: &CniAdd) -> Container {
    let mut after = before.clone();
    after.labels.extend(add.labels.clone());
    after.cgroup = after.cgroup.or_else(|| add.cgroup.clone());
    after
}

/// What can be refused without looking at anything else.
fn possible(add: &CniAdd, host: &Host) -> Result<(), Fault> {
    let refuse = |code, why: String| Fault::new(code, format!("cannot attach {}: {why}", add.key.container));
    if add.bandwidth.egress.is_some() && !host.features.datapath {
        return Err(refuse(Code::Unsupported, "what it sends cannot be paced, as the eBPF programs are off".to_owned())
            .hint("see `netctl status` for why, or give no egressRate"));
    }
    for route in add.routes.iter().flatten() {
        if let Some(gw) = route.gw.filter(|gw| Family::of(*gw) != Family::of(route.dst.addr()) || gw.is_unspecified()) {
            return Err(refuse(Code::BadRequest, format!("the route to {} cannot lead by {gw}", route.dst))
                .hint("give a gateway of the same family, or none"));
        }
    }
    for (key, value) in &add.sysctls {
        let below_net = key.strip_prefix("net/").is_some_and(|rest| rest.split('/').all(|part| !["", ".", ".."].contains(&part)));
        if !below_net || key.contains('\0') || value.contains('\0') {
            return Err(refuse(Code::BadRequest, format!("the sysctl {key:?} is none of a network namespace"))
                .hint("give sysctls below net, as net.ipv4.conf.IFNAME.arp_ignore"));
        }
    }
    if let Some(alias) = add.aliases.iter().find(|alias| alias.is_empty() || alias.len() > ALIAS_LONGEST) {
        return Err(refuse(Code::BadRequest, format!("an alias has {} bytes", alias.len())).hint(format!("use 1 to {ALIAS_LONGEST}")));
    }
    if add.aliases.len() > ALIASES_MOST {
        return Err(
            refuse(Code::BadRequest, format!("{} aliases are too many", add.aliases.len())).hint(format!("give at most {ALIASES_MOST}"))
        );
    }
    Ok(())
}

/// Sysctls that netd itself has another value for would be set back at once.
fn set_otherwise(container: &Container, add: &CniAdd) -> Result<(), Fault> {
    let asked = container.attachments.iter().filter_map(|attachment| attachment.cni.as_ref()).flat_map(|cni| &cni.sysctls);
    let asked: BTreeMap<&String, &String> = asked.collect();
    for attachment in &container.attachments {
        for (key, value) in expand::sysctls_inside(attachment) {
            if let Some(other) = asked.get(&key).filter(|other| other.trim() != value) {
                return Err(Fault::new(
                    Code::Impossible,
                    format!("cannot attach {}: the sysctl {key} cannot be {other}, as netd needs it to be {value}", add.key.container),
                )
                .hint("take it out of the configuration"));
            }
        }
    }
    Ok(())
}

/// The edits that remove containers whose namespace had the number that this one has now. One that is still there is in the way.
fn others_of(desired: &Desired, add: &CniAdd, found: &Found) -> Result<Vec<Edit>, Fault> {
    let id = &add.key.container;
    let in_use = |other: &Container| {
        Fault::new(Code::InUse, format!("cannot attach {id}: {} is the namespace of container {}", add.netns, other.name))
    };
    if let Some(other) = container::maker(desired, found) {
        return Err(in_use(other).hint(format!("connect it to further networks (netctl network connect NET {})", other.name)));
    }
    let mut edits = Vec::new();
    for other in desired.adopters(found.id).filter(|other| other.id != *id && !desired.is_absent(&other.id)) {
        let there = other.attachments.iter().any(|attachment| found.links.contains(&attachment.ifname));
        let by_runtime = matches!(other.origin, Origin::Cni { .. });
        if there || other.attachments.is_empty() {
            return Err(in_use(other).hint(if by_runtime {
                format!("detach that one first (DEL with CNI_CONTAINERID {})", other.id)
            } else {
                format!("connect it to further networks (netctl network connect NET {})", other.name)
            }));
        }
        if by_runtime {
            edits.extend(container::remove(desired, other).edits);
        }
    }
    Ok(edits)
}

/// The containers of runtimes that have a host port which an ADD asks for. One whose namespace has gone, because its runtime lost it without
/// DEL, is not in the way: see [`give_up`].
pub fn in_the_way(desired: &Desired, add: &CniAdd) -> BTreeSet<ContainerId> {
    let others = wished(add).flat_map(|port| desired.conflicts(&port).map(|(key, _)| key.container.clone()).collect::<Vec<_>>());
    let of_runtime = |id: &ContainerId| desired.containers().get(id).is_some_and(|one| matches!(one.origin, Origin::Cni { .. }));
    others.filter(|id| *id != add.key.container && of_runtime(id)).collect()
}

/// What takes the host ports that an ADD asks for from containers of runtimes that are gone.
pub fn give_up(desired: &Desired, add: &CniAdd) -> Change {
    let gone = in_the_way(desired, add).into_iter().filter(|id| desired.is_absent(id));
    let wished: Vec<Published> = wished(add).collect();
    let edits = gone.filter_map(|id| desired.containers().get(&id)).flat_map(|container| {
        let theirs = desired.publishes_of(&container.id).map(|(_, port)| *port);
        publish::let_go(desired, container, &theirs.filter(|port| wished.iter().any(|wish| wish.conflicts(port))).collect::<Vec<_>>())
    });
    Change { edits: edits.collect() }
}

/// The host ports that an ADD names.
fn wished(add: &CniAdd) -> impl Iterator<Item = Published> {
    add.publish
        .iter()
        .filter_map(|spec| Some(Published { address: spec.address, protocol: spec.protocol, host: spec.host?, target: spec.container }))
}

/// What takes an attachment away; nothing where there is none.
pub fn del(desired: &Desired, key: &CniKey) -> Change {
    del_all(desired, std::slice::from_ref(key))
}

/// What takes several attachments away at once, as after a pause of the daemon.
pub fn del_all(desired: &Desired, keys: &[CniKey]) -> Change {
    let mut goes: BTreeMap<&ContainerId, BTreeSet<(&NetworkName, &IfName)>> = BTreeMap::new();
    for key in keys {
        goes.entry(&key.container).or_default().insert((&key.config, &key.ifname));
    }
    let containers = goes.iter().filter_map(|(id, which)| Some((desired.containers().get(*id)?, which)));
    let edits = containers.flat_map(|(container, which)| {
        detach(desired, container, |attachment| which.iter().any(|(config, ifname)| attachment.is_of(config, ifname)))
    });
    Change { edits: edits.collect() }
}

/// What takes everything of a configuration away but what is valid.
pub fn gc(desired: &Desired, gc: &CniGc) -> Change {
    let valid: BTreeSet<(&ContainerId, &IfName)> = gc.valid.iter().map(|one| (&one.container, &one.ifname)).collect();
    let left = desired.attached_by(&gc.config).filter(|attached| !valid.contains(attached));
    let key = |(container, ifname): (&ContainerId, &IfName)| CniKey {
        config: gc.config.clone(),
        container: container.clone(),
        ifname: ifname.clone(),
    };
    del_all(desired, &left.map(key).collect::<Vec<_>>())
}

/// The attachments of runtimes that a change takes away.
pub fn removed(change: &Change) -> Vec<CniKey> {
    let keys = |container: &Arc<Container>| -> BTreeSet<CniKey> {
        let by_runtime = container.attachments.iter().filter_map(|attachment| Some((attachment, attachment.cni.as_ref()?)));
        by_runtime
            .map(|(attachment, cni)| CniKey {
                config: cni.config.clone(),
                container: container.id.clone(),
                ifname: attachment.ifname.clone(),
            })
            .collect()
    };
    let gone = change.edits.iter().filter_map(|edit| match edit {
        Edit::Container { before: Some(before), after } => Some((keys(before), after.as_ref().map(keys).unwrap_or_default())),
        _ => None,
    });
    gone.flat_map(|(before, after)| before.into_iter().filter(move |key| !after.contains(key))).collect()
}

/// What the runtime is told of an attachment that is in the wish.
pub fn added(desired: &Desired, key: &CniKey, host: &Host) -> Option<CniAdded> {
    let (container, attachment) = desired.cni(key)?;
    let network = desired.networks().get(&attachment.network)?;
    let routes = expand::routes(desired, container).into_iter().filter(|route| route.link == attachment.ifname);
    Some(CniAdded {
        name: container.name.clone(),
        network: network.name.clone(),
        bridge: network.bridge.clone(),
        bridge_mac: network.mac,
        host_ifname: attachment.host_ifname.clone(),
        host_mac: attachment.host_mac,
        mac: attachment.mac,
        mtu: network.mtu_on(host),
        addresses: attachment
            .addresses
            .iter()
            .map(|net| CniAddedAddress { net: *net, gateway: network.pool_of(*net).and_then(|pool| pool.gateway) })
            .collect(),
        routes: routes.map(|route| told(&route)).collect(),
    })
}

/// A route in the runtime's words; what is the default is left out.
fn told(route: &Route) -> CniRoute {
    let other = |value: u32, default: u32| (value != default).then_some(value);
    CniRoute {
        dst: route.dst,
        gw: route.via,
        mtu: other(route.mtu, 0),
        advmss: other(route.advmss, 0),
        priority: other(route.metric, 0),
        table: other(route.table, TABLE_MAIN),
        // Without a gateway it must say so, or one is chosen.
        scope: match route.via {
            None => Some(if route.dst.addr().is_ipv4() { route.scope } else { expand::SCOPE_LINK }),
            Some(_) => (route.scope != 0).then_some(route.scope),
        },
    }
}

/// Whether ADD would be refused: the same decision is taken for a container that is not there. `limited` is the daemon's to fill.
pub fn readiness(desired: &Desired, status: &CniStatus, context: Context<'_>) -> CniReadiness {
    let unable = tried(desired, status, context).err();
    CniReadiness { unable: unable.map(|fault| Trouble { what: fault.what, hint: fault.hint }), limited: Vec::new() }
}

fn tried(desired: &Desired, status: &CniStatus, context: Context<'_>) -> Result<Attachment, Fault> {
    let bad = |error: netd_api::names::NameError| Fault::new(Code::BadRequest, error.to_string());
    let id: ContainerId = NEWCOMER.parse().map_err(bad)?;
    let container = Container {
        name: ContainerName::from(id.clone()),
        id,
        namespace: Namespace::default(),
        origin: Origin::Cni { path: String::new(), id: NetnsId { dev: 0, ino: 0 }, order: 0 },
        cgroup: None,
        labels: [].into(),
        ports: [].into(),
        allow: Vec::new(),
        guard: Guard::On,
        attachments: Vec::new(),
    };
    // The ranges of the capability ipRanges come with ADD alone: to STATUS those that are there stand for them.
    let without_ranges = matches!(&status.network, CniNetwork::Inline(inline) if inline.addressing == Addressing::Sets(Vec::new()));
    let known =
        desired.networks().get(&status.config).filter(|network| without_ranges && network.inline.is_some_and(|inline| !inline.brought));
    let network = match known {
        Some(network) => Arc::clone(network),
        None => network::step(desired, &status.config, &status.network, &[], context)?.network,
    };
    let ifname: IfName = "eth0".parse().map_err(bad)?;
    let asked = Asked { by: Asker::Runtime, ifname: Some(&ifname), addresses: &[], mac: None };
    attachment(desired, &container, &network, &asked, Context { found: None, ..context })
}

/// Where what the runtime remembers differs from the wish, in words. `found` is what is at CNI_NETNS; none where there is no namespace.
///
/// # Errors
/// There is no such attachment.
pub fn expectations(desired: &Desired, check: &CniCheck, found: Option<&Found>) -> Result<Vec<String>, Fault> {
    let CniKey { config, container: id, ifname } = &check.key;
    let (container, attachment) = desired.cni(&check.key).ok_or_else(|| {
        Fault::new(Code::NotFound, format!("container {id} is not attached by {ifname} through configuration {config}"))
            .hint("attach it (ADD); `netctl container ls` shows what there is")
    })?;
    let mut wrong = Vec::new();
    match found {
        None => wrong.push(format!("there is no network namespace at {}", check.netns)),
        Some(found) if Some(found.id) != container.origin.netns_id() => {
            wrong.push(format!("{} is another network namespace than the one that was attached ({})", check.netns, container.netns()));
        }
        Some(_) => {}
    }
    for net in check.addresses.iter().filter(|net| !attachment.addresses.contains(net)) {
        wrong.push(format!("{ifname} has not the address {net}, but {}", list(&attachment.addresses)));
    }
    if let Some(mac) = check.mac.filter(|mac| *mac != attachment.mac) {
        wrong.push(format!("{ifname} has not the MAC address {mac}, but {}", attachment.mac));
    }
    let routes = expand::routes(desired, container);
    for asked in check.routes.iter().filter(|asked| !routes.iter().any(|route| serves(route, asked, ifname))) {
        let via = asked.gw.map(|via| format!(" via {via}")).unwrap_or_default();
        wrong.push(format!("{ifname} has not the route to {}{via}", asked.dst));
    }
    Ok(wrong)
}

/// Whether a route is what a runtime remembers, as far as it does: results of older versions know destination and gateway alone. Of two attachments
/// that want the same route one has it.
fn serves(route: &Route, asked: &CniRoute, ifname: &IfName) -> bool {
    let is_v4 = route.dst.addr().is_ipv4();
    let metric = |asked: u32| if !is_v4 && asked == expand::METRIC_V6 { 0 } else { asked };
    let same_key = route.dst == asked.dst.trunc()
        && asked.table.is_none_or(|table| route.table == if table == 0 { TABLE_MAIN } else { table })
        && asked.priority.is_none_or(|priority| route.metric == metric(priority));
    let same_way = asked.gw.is_none_or(|gw| route.via == Some(gw))
        && asked.mtu.is_none_or(|mtu| route.mtu == mtu)
        && asked.advmss.is_none_or(|advmss| route.advmss == advmss)
        && asked.scope.is_none_or(|scope| !is_v4 || route.scope == scope);
    same_key && (route.link != *ifname || same_way)
}

fn list(nets: &[ipnet::IpNet]) -> String {
    if nets.is_empty() { "none".to_owned() } else { nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ") }
}

#[cfg(test)]
mod tests;
