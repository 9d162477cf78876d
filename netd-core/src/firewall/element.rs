//! What the sets and maps of table `inet netd` hold, typed. Never talks to the kernel: `wire` has the bytes, netd sends them.

pub mod wire;

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use netd_api::{
    addr::{Family, Subnet},
    names::IfName,
    publish::Protocol,
};

use self::wire::Wire;

/// One element of one set or map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// One of our bridges. Goes with `Within` of the same name.
    Bridge(IfName),
    /// A link between whose sides frames are bridged, not routed: each bridge of ours, and each interface that is switched on.
    Within(IfName),
    /// A bridge whose containers have no way out, and none in but from the host.
    Internal(IfName),
    /// A bridge that may be reached from outside in this family.
    Routed(IfName, Family),
    /// A subnet whose packets leave under the host's address.
    Masquerade(Subnet),
    /// A subnet whose containers reach published ports of their own network: the answer must come back through the host.
    Hairpin(Subnet),
    /// An interface whose forwarding netd switched on: strangers are not to be routed through it because of us. Goes with `Within`.
    SwitchedOn(IfName, Family),
    /// One published port. Goes with `Refuse` where `Publish::refused` says so.
    Publish(Publish),
    /// A port published on all IPv6 addresses, which ::1 has no way to and whose holder would swallow the packet.
    Refuse(Protocol, u16),
    /// An element of one of our sets that none of ours looks like: somebody else put it there. Never wanted, so it goes.
    Stray(Stray),
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

impl Publish {
    /// The element that refuses this port to ::1: a TCP port is refused by the socket that holds it.
    pub fn refused(&self) -> Option<Element> {
        let swallowed = self.target.is_ipv6() && self.address.is_none() && self.protocol != Protocol::Tcp;
        swallowed.then_some(Element::Refuse(self.protocol, self.port))
    }
}

/// Bytes in one of our sets that are nothing of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stray {
    /// The set.
    pub set: &'static str,
    /// What the kernel holds: one wire element, or the two ends of a range.
    pub wires: Vec<Wire>,
}

impl Element {
    /// The set or map it belongs to.
    pub fn set(&self) -> &'static str {
        match self {
            Self::Bridge(_) => "bridges",
            Self::Within(_) => "within",
            Self::Internal(_) => "internal",
            Self::Routed(..) => "routed",
            Self::SwitchedOn(..) => "switched_on",
            Self::Masquerade(subnet) => by_family(subnet.family(), "masquerade4", "masquerade6"),
            Self::Hairpin(subnet) => by_family(subnet.family(), "hairpin4", "hairpin6"),
            Self::Publish(Publish { address: Some(_), target, .. }) => by_family(Family::of(*target), "publish4", "publish6"),
            Self::Publish(Publish { address: None, target, .. }) => by_family(Family::of(*target), "publish4_any", "publish6_any"),
            Self::Refuse(..) => "refuse6",
            Self::Stray(stray) => stray.set,
        }
    }

    /// As nft prints it between the braces of its set.
    pub(super) fn inner(&self) -> String {
        let family = |family: &Family| by_family(*family, "ipv4", "ipv6");
        match self {
            Self::Bridge(name) | Self::Internal(name) => format!("\"{name}\""),
            Self::Within(name) => format!("\"{name}\" . \"{name}\""),
            Self::Routed(name, of) | Self::SwitchedOn(name, of) => format!("\"{name}\" . {}", family(of)),
            Self::Masquerade(subnet) => subnet.to_string(),
            Self::Hairpin(subnet) => format!("{subnet} . {subnet}"),
            Self::Publish(Publish { address, protocol, port, target, target_port }) => {
                let address = address.map(|address| format!("{address} . ")).unwrap_or_default();
                format!("{address}{protocol} . {port} : {target} . {target_port}")
            }
            Self::Refuse(protocol, port) => format!("{protocol} . {port}"),
            Self::Stray(stray) => {
                let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                let wires: Vec<String> = stray.wires.iter().map(|wire| format!("0x{}", hex(&wire.key))).collect();
                wires.join("-")
            }
        }
    }
}

impl fmt::Display for Element {
    /// As `nft add element inet netd` takes it: `publish4_any { tcp . 8080 : 10.4.0.2 . 80 }`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {{ {} }}", self.set(), self.inner())
    }
}

fn by_family(family: Family, v4: &'static str, v6: &'static str) -> &'static str {
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
    }
}

/// An address in the family's length; a 4-byte one as the last bytes of 16 would be another type on the wire.
fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The address of 4 or 16 bytes.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    match *bytes {
        [a, b, c, d] => Some(IpAddr::from([a, b, c, d])),
        _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
    }
}

#[cfg(test)]
mod tests;
