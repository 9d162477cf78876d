//! Routes, over rtnetlink: default routes of protocol 110 made and removed, a namespace's routes read. Never touches a stranger's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netd_core::mark;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteProtocol, RouteScope, RouteType},
};

use super::{KernelError, netlink::Rtnetlink};

/// One unicast route of table main.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Where to.
    pub(crate) net: IpNet,
    /// The numbers of the interfaces it leaves through; several for a multipath route.
    pub(crate) links: Vec<u32>,
    /// The gateway, if it has just one.
    pub(crate) via: Option<IpAddr>,
    /// Who made it.
    pub(crate) protocol: u8,
}

/// RTPROT_RA: learnt from a router advertisement.
pub(crate) const PROTOCOL_RA: u8 = 9;

/// Adds a default route.
pub(crate) fn add(socket: &mut Rtnetlink, index: u32, via: IpAddr) -> Result<(), KernelError> {
    socket.ask(RouteNetlinkMessage::NewRoute(message(index, via)), NLM_F_CREATE | NLM_F_EXCL)
}

/// Removes it.
pub(crate) fn delete(socket: &mut Rtnetlink, index: u32, via: IpAddr) -> Result<(), KernelError> {
    socket.ask(RouteNetlinkMessage::DelRoute(message(index, via)), 0)
}

/// The unicast routes of table main, of both families; those of one protocol, or all.
pub(crate) fn list(socket: &mut Rtnetlink, protocol: Option<u8>) -> Result<Vec<Seen>, KernelError> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::from(protocol.unwrap_or(0));
        match socket.dump(&RouteNetlinkMessage::GetRoute(message)) {
            // No IPv6 in this kernel; or no such table yet in this namespace (IPv6 makes it with the first route).
            Err(KernelError::Errno { errno: libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::ENOENT, .. }) => {}
            answer => routes.extend(answer?.into_iter().filter_map(seen)),
        }
    }
    routes.retain(|route| protocol.is_none_or(|protocol| route.protocol == protocol));
    Ok(routes)
}

fn message(index: u32, via: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = if via.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Other(mark::ROUTE_PROTOCOL);
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Gateway(via.into()));
    message.attributes.push(RouteAttribute::Oif(index));
    message
}

/// What a message says of a route; none for one of another kind or table.
pub(crate) fn seen(message: RouteNetlinkMessage) -> Option<Seen> {
    let (RouteNetlinkMessage::NewRoute(message) | RouteNetlinkMessage::DelRoute(message)) = message else { return None };
    let header = message.header;
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    if header.kind != RouteType::Unicast || header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let (mut to, mut links, mut via) = (unspecified, Vec::new(), None);
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(&address)?,
            RouteAttribute::Gateway(address) => via = ip(&address),
            RouteAttribute::Oif(index) => links.push(index),
            RouteAttribute::MultiPath(hops) => links.extend(hops.iter().map(|hop: &RouteNextHop| hop.interface_index)),
            _ => {}
        }
    }
    let net = IpNet::new(to, header.destination_prefix_length).ok()?;
    Some(Seen { net, links, via, protocol: header.protocol.into() })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}
