//! Routes, over rtnetlink: routes of protocol 110 made and removed, a namespace's routes read. Never touches a stranger's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netd_core::{
    mark,
    objects::{Route, TABLE_MAIN},
};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteNextHop, RouteProtocol, RouteScope, RouteType},
};

use super::{KernelError, netlink::Rtnetlink};

/// One unicast route.
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
    /// RTA_PRIORITY, 0 for the kernel's default of the family.
    pub(crate) metric: u32,
    /// The table.
    pub(crate) table: u32,
    /// The scope, 0 in IPv6.
    pub(crate) scope: u8,
    /// RTAX_MTU; 0: none.
    pub(crate) mtu: u32,
    /// RTAX_ADVMSS; 0: none.
    pub(crate) advmss: u32,
}

/// The metric of an IPv6 route that was given none (IP6_RT_PRIO_USER in linux/ipv6_route.h).
const METRIC_V6: u32 = 1024;

/// RTPROT_RA: learnt from a router advertisement.
pub(crate) const PROTOCOL_RA: u8 = 9;

/// Adds a route.
pub(crate) fn add(socket: &mut Rtnetlink, index: u32, route: &Route) -> Result<(), KernelError> {
    socket.ask(RouteNetlinkMessage::NewRoute(message(index, route)), NLM_F_CREATE | NLM_F_EXCL)
}

/// Removes it.
pub(crate) fn delete(socket: &mut Rtnetlink, index: u32, route: &Route) -> Result<(), KernelError> {
    socket.ask(RouteNetlinkMessage::DelRoute(message(index, route)), 0)
}

/// The unicast routes of both families: those of one protocol, or all of table main.
pub(crate) fn list(socket: &mut Rtnetlink, protocol: Option<u8>) -> Result<Vec<Seen>, KernelError> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.header.table = if protocol.is_none() { RouteHeader::RT_TABLE_MAIN } else { RouteHeader::RT_TABLE_UNSPEC };
        message.header.protocol = RouteProtocol::from(protocol.unwrap_or(0));
        match socket.dump(&RouteNetlinkMessage::GetRoute(message)) {
            // No IPv6 in this kernel; or no such table yet in this namespace (IPv6 makes it with the first route).
            Err(KernelError::Errno { errno: libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::ENOENT, .. }) => {}
            answer => routes.extend(answer?.into_iter().filter_map(seen)),
        }
    }
    routes.retain(|route| protocol.map_or(route.table == TABLE_MAIN, |protocol| route.protocol == protocol));
    Ok(routes)
}

fn message(index: u32, route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = if route.dst.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.destination_prefix_length = route.dst.prefix_len();
    // Tables from 256 on do not fit into the header's byte and have an attribute instead (rtm_table, rtnetlink(7)).
    message.header.table = u8::try_from(route.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.header.protocol = RouteProtocol::Other(mark::ROUTE_PROTOCOL);
    message.header.scope = RouteScope::from(route.scope);
    message.header.kind = RouteType::Unicast;
    if route.dst.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(route.dst.addr().into()));
    }
    message.attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
    message.attributes.push(RouteAttribute::Oif(index));
    if route.table > u32::from(u8::MAX) {
        message.attributes.push(RouteAttribute::Table(route.table));
    }
    if route.metric != 0 {
        message.attributes.push(RouteAttribute::Priority(route.metric));
    }
    let metrics = [(route.mtu, RouteMetric::Mtu as fn(u32) -> RouteMetric), (route.advmss, RouteMetric::Advmss)];
    let metrics: Vec<RouteMetric> = metrics.into_iter().filter(|(value, _)| *value != 0).map(|(value, metric)| metric(value)).collect();
    if !metrics.is_empty() {
        message.attributes.push(RouteAttribute::Metrics(metrics));
    }
    message
}

/// What a message says of a route; none for one of another kind.
pub(crate) fn seen(message: RouteNetlinkMessage) -> Option<Seen> {
    let (RouteNetlinkMessage::NewRoute(message) | RouteNetlinkMessage::DelRoute(message)) = message else { return None };
    let header = message.header;
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    if header.kind != RouteType::Unicast {
        return None;
    }
    let (mut to, mut links, mut via) = (unspecified, Vec::new(), None);
    let (mut metric, mut table, mut mtu, mut advmss) = (0, u32::from(header.table), 0, 0);
    let is_v6 = header.address_family == AddressFamily::Inet6;
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(&address)?,
            RouteAttribute::Gateway(address) => via = ip(&address),
            RouteAttribute::Oif(index) => links.push(index),
            RouteAttribute::MultiPath(hops) => links.extend(hops.iter().map(|hop: &RouteNextHop| hop.interface_index)),
            RouteAttribute::Priority(priority) if !(is_v6 && priority == METRIC_V6) => metric = priority,
            RouteAttribute::Table(number) => table = number,
            RouteAttribute::Metrics(metrics) => {
                for one in metrics {
                    match one {
                        RouteMetric::Mtu(bytes) => mtu = bytes,
                        RouteMetric::Advmss(bytes) => advmss = bytes,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let scope = if is_v6 { 0 } else { header.scope.into() };
    let net = IpNet::new(to, header.destination_prefix_length).ok()?;
    Some(Seen { net, links, via, protocol: header.protocol.into(), metric, table, scope, mtu, advmss })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}
