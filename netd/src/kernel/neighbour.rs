//! Neighbour entries (ARP and ND), over rtnetlink. Only ever forgets them.

use std::net::IpAddr;

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAttribute, NeighbourMessage},
};

use super::{KernelError, netlink::Rtnetlink};

/// Forgets who had an address on the link with this number; nobody is no error.
pub(crate) fn forget(socket: &mut Rtnetlink, index: u32, address: IpAddr) -> Result<(), KernelError> {
    let mut message = NeighbourMessage::default();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.ifindex = index;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    match socket.ask(RouteNetlinkMessage::DelNeighbour(message), 0) {
        Err(KernelError::Errno { errno: libc::ENOENT, .. }) => Ok(()),
        other => other,
    }
}
