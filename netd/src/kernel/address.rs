//! Addresses of interfaces, over rtnetlink. Never touches one that another program gave.

use std::net::IpAddr;

use ipnet::IpNet;
use netd_core::mark;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol},
};

use super::{KernelError, netlink::Rtnetlink};

/// One address as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The number of its interface.
    pub(crate) index: u32,
    /// Address and prefix length.
    pub(crate) net: IpNet,
    /// Whether it carries our mark (IFA_PROTO, from Linux 5.18 on).
    pub(crate) ours: bool,
    /// Whether it has a lifetime, as those from router advertisements and DHCP do.
    pub(crate) dynamic: bool,
}

/// Gives an interface an address. Without duplicate address detection: netd gives each one only once, and a wait of a second is not worth it.
pub(crate) fn add(socket: &mut Rtnetlink, index: u32, net: IpNet) -> Result<(), KernelError> {
    let mut message = message(index, net);
    if net.addr().is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(mark::ROUTE_PROTOCOL)));
    socket.ask(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Takes it away.
pub(crate) fn delete(socket: &mut Rtnetlink, index: u32, net: IpNet) -> Result<(), KernelError> {
    socket.ask(RouteNetlinkMessage::DelAddress(message(index, net)), 0)
}

/// The addresses of one interface, or of all.
pub(crate) fn list(socket: &mut Rtnetlink, index: Option<u32>) -> Result<Vec<Seen>, KernelError> {
    let mut message = AddressMessage::default();
    message.header.index = index.unwrap_or(0);
    let answer = socket.dump(&RouteNetlinkMessage::GetAddress(message))?;
    Ok(answer.into_iter().filter_map(seen).filter(|address| index.is_none_or(|index| address.index == index)).collect())
}

fn message(index: u32, net: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if net.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = net.prefix_len();
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(net.addr()));
    message.attributes.push(AddressAttribute::Address(net.addr()));
    message
}

/// What a message says of an address.
pub(crate) fn seen(message: RouteNetlinkMessage) -> Option<Seen> {
    let (RouteNetlinkMessage::NewAddress(message) | RouteNetlinkMessage::DelAddress(message)) = message else { return None };
    let (mut local, mut address) = (None::<IpAddr>, None::<IpAddr>);
    let (mut ours, mut permanent) = (false, message.header.flags.contains(AddressHeaderFlags::Permanent));
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(given) => local = Some(given),
            AddressAttribute::Address(given) => address = Some(given),
            AddressAttribute::Protocol(protocol) => ours = u8::from(protocol) == mark::ROUTE_PROTOCOL,
            AddressAttribute::Flags(flags) => permanent = flags.contains(AddressFlags::Permanent),
            _ => {}
        }
    }
    // On a point-to-point interface IFA_ADDRESS is the other side's.
    let net = IpNet::new(local.or(address)?, message.header.prefix_len).ok()?;
    Some(Seen { index: message.header.index, net, ours, dynamic: !permanent })
}
