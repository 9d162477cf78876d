//! What the sets and maps of table `inet netd` hold, typed.

use std::net::IpAddr;

use netd_api::{
    addr::{Family, Subnet},
    names::IfName,
    publish::Protocol,
};

/// One element of one set or map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// One of our bridges.
    Bridge(IfName),
    /// A bridge whose containers have no way out, and none in but from the host.
    Internal(IfName),
    /// A bridge that may be reached from outside in this family.
    Routed(IfName, Family),
    /// A subnet whose packets leave under the host's address.
    Masquerade(Subnet),
    /// A subnet whose containers reach published ports of their own network: the answer must come back through the host.
    Hairpin(Subnet),
    /// An interface whose forwarding netd switched on: strangers are not to be routed through it because of us.
    SwitchedOn(IfName, Family),
    /// One published port.
    Publish(Publish),
}

/// One published port of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Publish {
    /// The host's address; none: any local one.
    pub address: Option<IpAddr>,
    /// The protocol.
    pub protocol: Protocol,
    /// The host's port.
    pub port: u16,
    /// The container's address; its family is the element's.
    pub target: IpAddr,
    /// The container's port.
    pub target_port: u16,
}
