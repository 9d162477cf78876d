//! Values that only the command line has: labels, attach options, address ranges. Never asks the daemon whether they are free.

use std::{net::IpAddr, str::FromStr};

use clap::{
    ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use ipnet::IpNet;
use netd_api::{
    addr::{AddrError, Family},
    names::{LabelKey, LabelValue, NameError, NetworkName},
    spec::{AttachSpec, Driver, Guard},
};

/// `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) key: LabelKey,
    pub(crate) value: LabelValue,
}

impl FromStr for Label {
    type Err = NameError;
    fn from_str(given: &str) -> Result<Self, NameError> {
        let (key, value) = given.split_once('=').ok_or_else(|| not_a_label(given, "is none; write it as KEY=VALUE"))?;
        Ok(Self { key: key.parse()?, value: value.parse()? })
    }
}

/// `KEY=VALUE` sets, `KEY-` takes away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LabelEdit {
    Set(Label),
    Drop(LabelKey),
}

impl FromStr for LabelEdit {
    type Err = NameError;
    fn from_str(given: &str) -> Result<Self, NameError> {
        match given.strip_suffix('-') {
            Some(key) if !given.contains('=') => Ok(Self::Drop(key.parse()?)),
            _ if given.contains('=') => Ok(Self::Set(given.parse()?)),
            _ => Err(not_a_label(given, "is none; write it as KEY=VALUE, or as KEY- to take it away")),
        }
    }
}

fn not_a_label(given: &str, why: &'static str) -> NameError {
    NameError { kind: "label", given: shortened(given), why: why.to_owned() }
}

/// The families that `--routed` is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Routed {
    /// IPv4 only
    #[value(name = "4")]
    V4,
    /// IPv6 only
    #[value(name = "6")]
    V6,
    /// IPv4 and IPv6
    Both,
}

impl Routed {
    pub(crate) fn families(self) -> Vec<Family> {
        match self {
            Self::V4 => vec![Family::V4],
            Self::V6 => vec![Family::V6],
            Self::Both => Family::BOTH.to_vec(),
        }
    }
}

/// The drivers there are, by name.
pub(super) fn driver() -> impl TypedValueParser<Value = Driver> {
    PossibleValuesParser::new(["bridge"]).map(|_| Driver::Bridge)
}

/// `on` and `off`.
pub(super) fn guard() -> impl TypedValueParser<Value = Guard> {
    PossibleValuesParser::new(["on", "off"]).map(|word| if word == "off" { Guard::Off } else { Guard::On })
}

/// `NETWORK[,ip=IP][,mac=MAC][,ifname=IF]`; `ip` once for each family.
pub(super) fn attach(given: &str) -> Result<AttachSpec, String> {
    let mut parts = given.split(',');
    let network: NetworkName = parts.next().unwrap_or_default().parse().map_err(|why: NameError| why.to_string())?;
    let mut spec = AttachSpec::to(network);
    for part in parts {
        let (option, value) = part.split_once('=').ok_or_else(|| format!("option {part:?} is none; use ip=IP, mac=MAC or ifname=IF"))?;
        match option {
            "ip" => spec.addresses.push(address(value)?),
            "mac" if spec.mac.is_none() => spec.mac = Some(value.parse().map_err(|why: AddrError| why.to_string())?),
            "ifname" if spec.ifname.is_none() => spec.ifname = Some(value.parse().map_err(|why: NameError| why.to_string())?),
            "mac" | "ifname" => return Err(format!("option {option} is given twice; an attachment has one")),
            _ => return Err(format!("option {option:?} is none; use ip=IP, mac=MAC or ifname=IF")),
        }
    }
    one_of_each_family(&spec.addresses)?;
    Ok(spec)
}

/// Refuses a second address of one family.
pub(crate) fn one_of_each_family(addresses: &[IpAddr]) -> Result<(), String> {
    for family in Family::BOTH {
        let mut same = addresses.iter().filter(|address| Family::of(**address) == family);
        if let (Some(first), Some(second)) = (same.next(), same.next()) {
            return Err(format!("addresses {first} and {second} are of one family; an attachment has at most one of each"));
        }
    }
    Ok(())
}

fn address(given: &str) -> Result<IpAddr, String> {
    given.parse().map_err(|_| {
        AddrError { kind: "address", given: shortened(given), why: "is none; write it as 10.4.0.7 or fd00:4::7".to_owned() }.to_string()
    })
}

/// A part of a subnet, with no host bits set.
pub(super) fn range(given: &str) -> Result<IpNet, AddrError> {
    let error = |why: String| AddrError { kind: "range", given: shortened(given), why };
    let net: IpNet = given.parse().map_err(|_| error("is none; write it as 10.4.0.128/25 or fd00:4::1:0/112".to_owned()))?;
    if net.trunc() == net { Ok(net) } else { Err(error(format!("has host bits set; did you mean {}?", net.trunc()))) }
}

/// One address or a range of them.
pub(super) fn exclude(given: &str) -> Result<IpNet, AddrError> {
    given.parse::<IpAddr>().map(IpNet::from).or_else(|_| range(given))
}

/// The path of a namespace. The daemon runs in another directory, so that only a path from the root means the same there.
pub(super) fn netns(given: &str) -> Result<String, String> {
    if given.starts_with('/') {
        Ok(given.to_owned())
    } else {
        Err(format!("path {:?} is not one from the root; write it as /run/netns/NAME or /proc/PID/ns/net", shortened(given)))
    }
}

/// As much of a wrong value as a message needs.
fn shortened(given: &str) -> String {
    given.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
