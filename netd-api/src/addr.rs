//! Addresses: subnets and hardware addresses, parsed when made.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in the order in which they are shown.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// An address that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {given:?} {why}")]
pub struct AddrError {
    /// What it should have been.
    pub kind: &'static str,
    /// What was given.
    pub given: String,
    /// What is wrong, and what would be right.
    pub why: String,
}

/// A subnet in network form: no host bits are set, unicast, not loopback or link-local.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet(IpNet);

impl Subnet {
    /// The subnet as ipnet's type.
    pub fn net(self) -> IpNet {
        self.0
    }
    /// Its family.
    pub fn family(self) -> Family {
        Family::of(self.0.addr())
    }
    /// Whether an address is inside.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
    /// Whether it shares an address with another net.
    pub fn overlaps(self, other: IpNet) -> bool {
        self.0.contains(&other.network()) || other.contains(&self.0.network())
    }
}

/// What no network can have (RFC 6890): this host, loopback, link-local, multicast, what was never given out, IPv4 in IPv6.
const RESERVED: [IpNet; 10] = [
    v4([0, 0, 0, 0], 8),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
    v6([0; 8], 128),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
];

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), length))
}

impl FromStr for Subnet {
    type Err = AddrError;
    fn from_str(given: &str) -> Result<Self, AddrError> {
        let error = |why: String| AddrError { kind: "subnet", given: given.chars().take(80).collect(), why };
        let net: IpNet = given.parse().map_err(|_| error("is none; write it as 10.4.0.0/24 or fd00:4::/64".to_owned()))?;
        if net.trunc() != net {
            return Err(error(format!("has host bits set; did you mean {}?", net.trunc())));
        }
        if RESERVED.iter().any(|reserved| reserved.contains(&net.network()) || net.contains(reserved)) {
            return Err(error(
                "is reserved for another use (RFC 6890); take one of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or fd00::/8".to_owned(),
            ));
        }
        if net.prefix_len() == net.max_prefix_len() || net.prefix_len() < 8 {
            return Err(error(format!("has a prefix length of {}; use 8 to {}", net.prefix_len(), net.max_prefix_len() - 1)));
        }
        Ok(Self(net))
    }
}

impl TryFrom<String> for Subnet {
    type Error = AddrError;
    fn try_from(given: String) -> Result<Self, AddrError> {
        given.parse()
    }
}
impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}
impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A hardware address of one station: 6 bytes, in the order of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = AddrError;
    fn from_str(given: &str) -> Result<Self, AddrError> {
        let error = |why: &str| AddrError { kind: "MAC address", given: given.chars().take(80).collect(), why: why.to_owned() };
        let mut bytes = [0; 6];
        let mut parts = given.split(':');
        for byte in &mut bytes {
            *byte = parts
                .next()
                .filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| error("is none; write it as 02:42:ac:11:00:02"))?;
        }
        if parts.next().is_some() {
            return Err(error("is none; write it as 02:42:ac:11:00:02"));
        }
        if bytes[0] & 1 == 1 {
            return Err(error("is a group address; the first byte must be even"));
        }
        if bytes == [0; 6] {
            return Err(error("is all zeroes; the first byte should be 02 for an address of your own"));
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Mac {
    type Error = AddrError;
    fn try_from(given: String) -> Result<Self, AddrError> {
        given.parse()
    }
}
impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}
impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

#[cfg(test)]
mod tests;
