//! What `publish` takes: `[HOSTIP:]HOST[-END]:PORT[-END][/PROTO]`, parsed once and printed back the same.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::addr::AddrError;

/// The protocols whose ports can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, the one meant when none is given.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The IANA protocol number, as in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl FromStr for Protocol {
    type Err = AddrError;
    fn from_str(given: &str) -> Result<Self, AddrError> {
        match given.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(AddrError {
                kind: "protocol",
                given: given.chars().take(80).collect(),
                why: "is none; use tcp, udp or sctp".to_owned(),
            }),
        }
    }
}

/// More ports than these in one published range are refused: each is an element and a held socket.
pub const RANGE_MOST: u32 = 4096;

/// One or more ports in a row: 1 to 65535, the first not above the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

impl PortRange {
    /// A single port.
    pub fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }
    /// How many ports: 1 to 65535.
    pub fn count(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }
    /// Whether both have a port in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// What a user asks to publish. `host` is empty where the daemon shall choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublishSpec {
    /// The address of the host; `0.0.0.0` means every IPv4 address, `::` every IPv6 one, none every address of both families.
    pub address: Option<IpAddr>,
    /// The host's ports; none means that free ones are chosen.
    pub host: Option<PortRange>,
    /// The container's ports, as many as the host's.
    pub container: PortRange,
    /// The protocol.
    pub protocol: Protocol,
}

impl FromStr for PublishSpec {
    type Err = AddrError;
    fn from_str(given: &str) -> Result<Self, AddrError> {
        let error = |why: &str| AddrError { kind: "publish", given: given.chars().take(80).collect(), why: why.to_owned() };
        const FORM: &str =
            "is none; write it as 8080:80, 8080:80/udp, 127.0.0.1:8080:80, [fd00::1]:8080:80, 8000-8009:80-89, or 80 for a free host port";
        let (ports, protocol) = match given.split_once('/') {
            Some((ports, protocol)) => (ports, protocol.parse()?),
            None => (given, Protocol::Tcp),
        };
        let (address, ports) = split_address(ports).ok_or_else(|| error(FORM))?;
        let (host, container) = match ports.split_once(':') {
            None => (None, range(ports).ok_or_else(|| error(FORM))??),
            Some((host, container)) => {
                let host = match host {
                    "" | "0" => None,
                    host => Some(range(host).ok_or_else(|| error(FORM))??),
                };
                (host, range(container).ok_or_else(|| error(FORM))??)
            }
        };
        if let Some(host) = host
            && host.count() != container.count()
        {
            return Err(error(&format!(
                "has {} host ports and {} container ports; both ranges must be of the same length",
                host.count(),
                container.count()
            )));
        }
        // `::ffff:192.0.2.1` is an IPv4 address in IPv6's clothes.
        let address = address.map(|address| address.to_canonical());
        Ok(Self { address, host, container, protocol })
    }
}

/// `[v6]:rest`, `v4:rest` or `rest` without an address.
fn split_address(text: &str) -> Option<(Option<IpAddr>, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        return Some((Some(IpAddr::V6(address.parse().ok()?)), rest.strip_prefix(':')?));
    }
    match text.split_once(':') {
        Some((first, rest)) if first.contains('.') => Some((Some(IpAddr::V4(first.parse().ok()?)), rest)),
        _ => Some((None, text)),
    }
}

/// Outer none: not of the form; inner error: of the form, but no port range.
fn range(text: &str) -> Option<Result<PortRange, AddrError>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |part: &str| {
        (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<u16>().ok().filter(|port| *port > 0))
    };
    let (first, last) = (number(first)?, number(last)?);
    let error = |why: &str| Some(Err(AddrError { kind: "port", given: text.chars().take(80).collect(), why: why.to_owned() }));
    match (first, last) {
        (Some(first), Some(last)) if first <= last => Some(Ok(PortRange { first, last })),
        (Some(_), Some(_)) => error("ends before it begins"),
        _ => error("is out of range; ports go from 1 to 65535"),
    }
}

impl TryFrom<String> for PublishSpec {
    type Error = AddrError;
    fn try_from(given: String) -> Result<Self, AddrError> {
        given.parse()
    }
}
impl From<PublishSpec> for String {
    fn from(spec: PublishSpec) -> String {
        spec.to_string()
    }
}
impl fmt::Display for PublishSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V4(address)) => write!(f, "{address}:")?,
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            None => {}
        }
        match self.host {
            Some(host) => write!(f, "{host}:")?,
            None if self.address.is_some() => write!(f, "0:")?,
            None => {}
        }
        write!(f, "{}/{}", self.container, self.protocol)
    }
}

#[cfg(test)]
mod tests;
