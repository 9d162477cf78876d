//! Publishes and withdraws ports in the wish: conflicts with other published ports are found here, those with strangers when the port is held.

use std::{net::IpAddr, sync::Arc};

use netd_api::{
    addr::Family,
    fault::{Code, Fault},
    publish::{PortRange, PublishSpec, RANGE_MOST},
};

use super::{Context, attachment::Asker, container::PreviewNetworks};
use crate::{
    desired::{Change, Container, Desired, Edit, Network, PublishKey, Published},
    ipam::Ranges,
    objects::Reservation,
};

pub(super) fn publish(desired: &Desired, container: &Container, spec: &PublishSpec, context: Context<'_>) -> Result<Change, Fault> {
    let preview = PreviewNetworks { desired, made: None };
    Ok(Change { edits: edits(&preview, container, &[*spec], context)? })
}

/// The edits that publish several ports of a container that need not be in the wish yet.
pub(super) fn edits(
    networks: &PreviewNetworks<'_>,
    container: &Container,
    specs: &[PublishSpec],
    context: Context<'_>,
) -> Result<Vec<Edit>, Fault> {
    let mut chosen: Vec<Published> = Vec::new();
    for spec in specs {
        let published = Choice { networks, container, mine: &chosen, leaving: &[], by: Asker::User, context }.of(spec)?;
        chosen.push(published);
    }
    Ok(chosen.into_iter().map(|published| comes(container, published)).collect())
}

fn comes(container: &Container, published: Published) -> Edit {
    Edit::Publish { container: container.id.clone(), before: None, after: Some(published) }
}

/// The ports that a runtime asks for, and the edits that publish those which the container does not have. What it has and is `leaving` is in nobody's way.
/// A container may have no way out yet: runtimes ask for all its ports with each of its networks.
pub(super) fn of_runtime(
    networks: &PreviewNetworks<'_>,
    container: &Container,
    specs: &[PublishSpec],
    leaving: &[Published],
    context: Context<'_>,
) -> Result<(Vec<Published>, Vec<Edit>), Fault> {
    let (mut asked, mut edits) = (Vec::new(), Vec::new());
    for spec in specs {
        let exact = spec.host.map(|host| Published { address: spec.address, protocol: spec.protocol, host, target: spec.container });
        if let Some(exact) = exact {
            if asked.contains(&exact) {
                continue;
            }
            if networks.desired.publishes().get(&exact.key(&container.id)) == Some(&exact) {
                asked.push(exact);
                continue;
            }
        }
        let published = Choice { networks, container, mine: &asked, leaving, by: Asker::Runtime, context }.of(spec)?;
        asked.push(published);
        edits.push(comes(container, published));
    }
    Ok((asked, edits))
}

/// What one port is chosen by.
struct Choice<'a> {
    networks: &'a PreviewNetworks<'a>,
    container: &'a Container,
    /// Those of the same request.
    mine: &'a [Published],
    /// Those of the container that go with the same change.
    leaving: &'a [Published],
    by: Asker,
    context: Context<'a>,
}

impl Choice<'_> {
    fn of(&self, spec: &PublishSpec) -> Result<Published, Fault> {
        let Self { networks, container, mine, leaving, by, context } = *self;
        let refuse = |code, why: String| Fault::new(code, format!("cannot publish {spec} for {}: {why}", container.name));
        if let Some(address) = spec.address {
            impossible_address(address).map_or(Ok(()), |(why, hint)| Err(refuse(Code::Impossible, why.to_owned()).hint(hint)))?;
            if let Some((network, false)) = networks.subnet_of(address) {
                return Err(refuse(Code::Impossible, format!("it is an address of network {}, not of the host", network.name))
                    .hint("publish on an address of this host, or name none"));
            }
        }
        if spec.container.count() > RANGE_MOST {
            return Err(refuse(Code::BadRequest, format!("{} ports are too many at once", spec.container.count()))
                .hint(format!("publish at most {RANGE_MOST} in one range")));
        }
        let candidate = |host| Published { address: spec.address, protocol: spec.protocol, host, target: spec.container };
        if by == Asker::User && !reachable(networks, container, &candidate(spec.container)) {
            let why = match spec.address.map(Family::of) {
                _ if container.attachments.is_empty() => "it is attached to no network",
                _ if container
                    .attachments
                    .iter()
                    .all(|attachment| networks.get(&attachment.network).is_some_and(|network| network.internal)) =>
                {
                    "it is attached to internal networks only"
                }
                Some(Family::V4) => "it has no IPv4 address on a network that is not internal",
                Some(Family::V6) => "it has no IPv6 address on a network that is not internal",
                None => "it has no address on a network that is not internal",
            };
            return Err(refuse(Code::Impossible, why.to_owned()).hint("connect it to a network first (netctl network connect)"));
        }
        let taken = |published: &Published| {
            let goes = |(key, other): &(&PublishKey, &Published)| key.container == container.id && leaving.contains(other);
            networks
                .desired
                .conflicts(published)
                .find(|other| !goes(other))
                .map(|(key, other)| (key.container.clone(), *other))
                .or_else(|| mine.iter().find(|other| other.conflicts(published)).map(|other| (container.id.clone(), *other)))
        };
        match spec.host {
            Some(host) => match taken(&candidate(host)) {
                None => match context.held.iter().find(|(port, _)| by == Asker::Runtime && is_on(port, &candidate(host))) {
                    Some((port, holder)) => Err(refuse(Code::PortTaken, format!("port {} is in use by {holder}", port.port))
                        .hint("stop it, or choose another host port")),
                    None => Ok(candidate(host)),
                },
                Some((holder, other)) => {
                    let holder =
                        networks.desired.containers().get(&holder).map_or_else(|| holder.to_string(), |holder| holder.name.to_string());
                    Err(refuse(Code::PortTaken, format!("port {} is published for container {holder}", other.host)).hint(format!(
                        "choose another host port, or withdraw that one (netctl unpublish {holder} {}/{})",
                        other.host, other.protocol
                    )))
                }
            },
            None => {
                let busy = context.busy.iter().filter(|(protocol, _)| *protocol == spec.protocol).map(|(_, ports)| *ports);
                let mine = mine.iter().filter(|other| other.protocol == spec.protocol).map(|other| other.host);
                let others: Vec<PortRange> = busy.chain(mine).collect();
                free(spec.container.count(), context.host.ephemeral, networks.desired.taken_ports(spec.protocol), &others)
                    .map(candidate)
                    .ok_or_else(|| {
                        refuse(Code::Exhausted, "no host port is free".to_owned()).hint("see `netctl ports`, or name a host port")
                    })
            }
        }
    }
}

/// Whether a host port that is held is one of those.
fn is_on(port: &Reservation, published: &Published) -> bool {
    let ports = PortRange::one(port.port);
    Published { address: port.address, protocol: port.protocol, host: ports, target: ports }.conflicts(published)
}

/// Addresses that can never work as a published port's, and why.
fn impossible_address(address: IpAddr) -> Option<(&'static str, &'static str)> {
    match address {
        IpAddr::V6(v6) if v6.is_loopback() => Some((
            "a connection to ::1 cannot be led to a container, as IPv6 has no route_localnet (ip-sysctl.rst)",
            "publish on 127.0.0.1, or on an address of the host",
        )),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            Some(("a link-local address is not unique on this host", "publish on a global address, or on all"))
        }
        address if address.is_multicast() || address == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) => {
            Some(("it is no address of a host", "publish on an address of this host"))
        }
        _ => None,
    }
}

/// The first row of `count` ports of the ephemeral range that nobody of ours has on any address; from its start, so that the choice is the
/// same for the same state. Jumps over what is taken as a whole.
pub(super) fn free(count: u32, (first, last): (u16, u16), taken: Option<&Ranges>, others: &[PortRange]) -> Option<PortRange> {
    let further = u16::try_from(count.checked_sub(1)?).ok()?;
    let mut at = first;
    loop {
        let row = PortRange { first: at, last: at.checked_add(further).filter(|end| *end <= last)? };
        let theirs = taken.and_then(|taken| {
            let met = taken.next_taken(u128::from(row.first)).filter(|met| *met <= u128::from(row.last))?;
            taken.next_free(met)
        });
        let others = others.iter().filter(|other| other.overlaps(row)).map(|other| u128::from(other.last) + 1);
        match theirs.into_iter().chain(others).max() {
            None => return Some(row),
            Some(next) => at = u16::try_from(next).ok()?,
        }
    }
}

/// Whether a published port would lead to an address of the container.
pub(super) fn reachable(networks: &PreviewNetworks<'_>, container: &Container, published: &Published) -> bool {
    published.families().any(|family| target(container, family, |name| networks.get(name)).is_some())
}

/// Where a container's published ports lead to: its address on its first network of that family that has a way out.
pub(crate) fn target<'a>(
    container: &Container,
    family: Family,
    network: impl Fn(&netd_api::names::NetworkName) -> Option<&'a Network>,
) -> Option<IpAddr> {
    let mut out = container.attachments.iter().filter(|attachment| network(&attachment.network).is_some_and(|network| !network.internal));
    out.find_map(|attachment| attachment.address(family))
}

pub(super) fn withdraw(desired: &Desired, container: &Container, spec: Option<&PublishSpec>) -> Result<Change, Fault> {
    let meant = |published: &Published| match spec {
        None => true,
        // `8080` alone parses as a container port with a free host port; withdrawing means the host's port then as well.
        Some(spec) => {
            let ports = match spec.host {
                Some(host) => published.host == host && published.target == spec.container,
                None => published.host == spec.container || published.target == spec.container,
            };
            ports && published.protocol == spec.protocol && spec.address.is_none_or(|address| published.address == Some(address))
        }
    };
    let found: Vec<(&PublishKey, &Published)> = desired.publishes_of(&container.id).filter(|(_, published)| meant(published)).collect();
    if found.is_empty()
        && let Some(spec) = spec
    {
        return Err(Fault::new(Code::NotFound, format!("container {} has not published {spec}", container.name))
            .hint(format!("see `netctl ports {}`", container.name)));
    }
    let mut edits: Vec<Edit> = found
        .iter()
        .map(|(key, published)| Edit::Publish { container: key.container.clone(), before: Some(**published), after: None })
        .collect();
    edits.extend(
        desired.containers().get(&container.id).and_then(|container| forget(container, |port| found.iter().any(|(_, gone)| *gone == port))),
    );
    Ok(Change { edits })
}

/// What takes these ports of a container away.
pub(super) fn let_go(desired: &Desired, container: &Arc<Container>, ports: &[Published]) -> Vec<Edit> {
    let had = desired.publishes_of(&container.id).filter(|(_, published)| ports.contains(published));
    let gone = |(_, published): (&PublishKey, &Published)| Edit::Publish {
        container: container.id.clone(),
        before: Some(*published),
        after: None,
    };
    had.map(gone).chain(forget(container, |port| ports.contains(port))).collect()
}

/// What a runtime asked for and is withdrawn does not come again with its other attachments.
fn forget(before: &Arc<Container>, goes: impl Fn(&Published) -> bool) -> Option<Edit> {
    let mut after = Container::clone(before);
    for attachment in &mut after.attachments {
        if let Some(cni) = attachment.cni.as_mut().filter(|cni| cni.ports.iter().any(&goes)) {
            Arc::make_mut(cni).ports.retain(|port| !goes(port));
        }
    }
    (after != **before).then(|| Edit::Container { before: Some(Arc::clone(before)), after: Some(Arc::new(after)) })
}
