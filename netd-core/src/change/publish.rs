//! Publishes and withdraws ports in the wish: conflicts with other published ports are found here, those with strangers when the port is held.

use std::net::IpAddr;

use netd_api::{
    addr::Family,
    fault::{Code, Fault},
    publish::{PortRange, PublishSpec},
};

use super::{Context, container::PreviewNetworks};
use crate::{
    desired::{Change, Container, Desired, Edit, Network, PublishKey, Published},
    ipam::Ranges,
};

/// More ports than these in one range are refused: each is an element and a held socket.
const RANGE_MOST: u32 = 4096;

pub(super) fn publish(desired: &Desired, container: &Container, spec: &PublishSpec, context: Context<'_>) -> Result<Change, Fault> {
    let mut preview = PreviewNetworks { desired, made: None };
    Ok(Change { edits: edits(&mut preview, container, &[*spec], context)? })
}

/// The edits that publish several ports of a container that need not be in the wish yet.
pub(super) fn edits(
    networks: &mut PreviewNetworks<'_>,
    container: &Container,
    specs: &[PublishSpec],
    context: Context<'_>,
) -> Result<Vec<Edit>, Fault> {
    let mut chosen: Vec<Published> = Vec::new();
    for spec in specs {
        let published = choose(networks, container, spec, &chosen, context)?;
        chosen.push(published);
    }
    Ok(chosen
        .into_iter()
        .map(|published| Edit::Publish { container: container.id.clone(), before: None, after: Some(published) })
        .collect())
}

fn choose(
    networks: &PreviewNetworks<'_>,
    container: &Container,
    spec: &PublishSpec,
    mine: &[Published],
    context: Context<'_>,
) -> Result<Published, Fault> {
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
    if !reachable(networks, container, &candidate(spec.container)) {
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
        networks
            .desired
            .conflict(published)
            .map(|(key, other)| (key.container.clone(), *other))
            .or_else(|| mine.iter().find(|other| other.conflicts(published)).map(|other| (container.id.clone(), *other)))
    };
    match spec.host {
        Some(host) => match taken(&candidate(host)) {
            None => Ok(candidate(host)),
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
                .ok_or_else(|| refuse(Code::Exhausted, "no host port is free".to_owned()).hint("see `netctl ports`, or name a host port"))
        }
    }
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
    Ok(Change {
        edits: found
            .into_iter()
            .map(|(key, published)| Edit::Publish { container: key.container.clone(), before: Some(*published), after: None })
            .collect(),
    })
}
