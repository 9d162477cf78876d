//! Elements as the bytes that nf_tables keeps, there and back. Never sends them.
//!
//! A key or data of several fields is a row of registers: each field padded to 4 bytes with zeroes behind. A range of a single field is two
//! wire elements, its first key and, with NFT_SET_ELEM_INTERVAL_END, the first key behind it; a range of several fields is one with NFTA_SET_ELEM_KEY_END.

use std::{net::IpAddr, str};

use netd_api::{
    addr::{Family, Subnet},
    names::IfName,
    publish::Protocol,
};

use super::{Element, Publish, Stray, address, octets};
use crate::firewall::set::{Field, Fields, Set};

/// One element as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wire {
    /// NFTA_SET_ELEM_KEY.
    pub key: Vec<u8>,
    /// Whether it is only the end of a range (NFT_SET_ELEM_INTERVAL_END).
    pub ends: bool,
    /// NFTA_SET_ELEM_KEY_END: the last key of a range of several fields.
    pub last: Option<Vec<u8>>,
    /// NFTA_SET_ELEM_DATA, of a map.
    pub data: Option<Vec<u8>>,
}

/// The wire elements of one element, in the order in which they are sent.
pub fn encode(element: &Element) -> Vec<Wire> {
    let set = Set::named(element.set()).expect("every element is of one of our sets");
    let one = |key: &[Vec<u8>]| vec![Wire { key: row(set.key, key), ends: false, last: None, data: None }];
    let name = |name: &IfName| name.as_str().as_bytes().to_vec();
    let family = |family: &Family| vec![nfproto(*family)];
    match element {
        Element::Bridge(link) | Element::Internal(link) => one(&[name(link)]),
        Element::Within(link) => one(&[name(link), name(link)]),
        Element::Routed(link, of) | Element::SwitchedOn(link, of) => one(&[name(link), family(of)]),
        Element::Refuse(protocol, port) => one(&[vec![protocol.number()], port.to_be_bytes().to_vec()]),
        Element::Publish(Publish { address, protocol, port, target, target_port }) => {
            let key: Vec<Vec<u8>> = address.map(octets).into_iter().chain([vec![protocol.number()], port.to_be_bytes().to_vec()]).collect();
            let data = row(set.data, &[octets(*target), target_port.to_be_bytes().to_vec()]);
            vec![Wire { key: row(set.key, &key), ends: false, last: None, data: Some(data) }]
        }
        Element::Masquerade(subnet) => {
            let behind = following(subnet.net().broadcast());
            let end = behind.map(|behind| Wire { key: octets(behind), ends: true, last: None, data: None });
            one(&[octets(subnet.net().network())]).into_iter().chain(end).collect()
        }
        Element::Hairpin(subnet) => {
            let (first, last) = (octets(subnet.net().network()), octets(subnet.net().broadcast()));
            vec![Wire {
                key: row(set.key, &[first.clone(), first]),
                ends: false,
                last: Some(row(set.key, &[last.clone(), last])),
                data: None,
            }]
        }
        Element::Stray(stray) => stray.wires.clone(),
    }
}

/// The elements of one set, from all its wire elements in any order. Nothing is lost: what none of ours looks like comes back as a stray.
pub fn decode(set: &'static Set, wires: impl IntoIterator<Item = Wire>) -> Vec<Element> {
    let mut wires: Vec<Wire> = wires.into_iter().collect();
    if !set.interval || set.key.0.len() > 1 {
        return wires
            .into_iter()
            .map(|wire| whole(set, &wire).unwrap_or(Element::Stray(Stray { set: set.name, wires: vec![wire] })))
            .collect();
    }
    // The end of one range may have the same key as the first of the next: ends sort first. An end before any range is how nft marks the
    // gap at zero.
    wires.sort_by(|a, b| (&a.key, !a.ends).cmp(&(&b.key, !b.ends)));
    let mut elements = Vec::new();
    let mut wires = wires.into_iter().skip_while(|wire| wire.ends).peekable();
    while let Some(first) = wires.next() {
        if first.ends {
            continue;
        }
        let behind = wires.peek().map(|next| next.key.clone());
        let end = wires.next_if(|next| next.ends);
        let subnet = range(&first.key, behind.as_deref()).map(Element::Masquerade);
        elements.push(subnet.unwrap_or_else(|| Element::Stray(Stray { set: set.name, wires: [first].into_iter().chain(end).collect() })));
    }
    elements
}

/// The element that is this one wire element.
fn whole(set: &'static Set, wire: &Wire) -> Option<Element> {
    let key = fields(set.key, &wire.key)?;
    let element = match (set.name, key.as_slice()) {
        ("bridges", [name]) => Element::Bridge(ifname(name)?),
        ("internal", [name]) => Element::Internal(ifname(name)?),
        ("within", [name, _]) => Element::Within(ifname(name)?),
        ("routed", [name, of]) => Element::Routed(ifname(name)?, family(of)?),
        ("switched_on", [name, of]) => Element::SwitchedOn(ifname(name)?, family(of)?),
        ("refuse6", [protocol, port]) => Element::Refuse(protocol_of(protocol)?, number(port)?),
        ("hairpin4" | "hairpin6", [first, _]) => {
            let last = fields(set.key, wire.last.as_ref()?)?;
            Element::Hairpin(range(first, following(address(last.first()?)?).map(octets).as_deref())?)
        }
        (_, [on @ .., protocol, port]) => {
            let data = fields(set.data, wire.data.as_ref()?)?;
            let [target, target_port] = data.as_slice() else { return None };
            let on = match on {
                [on] => Some(address(on)?),
                _ => None,
            };
            let (protocol, port) = (protocol_of(protocol)?, number(port)?);
            Element::Publish(Publish { address: on, protocol, port, target: address(target)?, target_port: number(target_port)? })
        }
        _ => return None,
    };
    // What a field leaves out (the second name of `within`, a range that is no subnet twice) shows when it is written again.
    (encode(&element) == [wire.clone()]).then_some(element)
}

/// A row of fields, each padded; a single one is not.
fn row(fields: Fields, values: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(fields.bytes() as usize);
    for (field, value) in fields.0.iter().zip(values) {
        bytes.extend(value);
        let len = if fields.0.len() == 1 { field.bytes() } else { field.bytes().next_multiple_of(4) };
        bytes.resize(bytes.len() + len - value.len(), 0);
    }
    bytes
}

/// The row's fields without their padding.
fn fields(fields: Fields, mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut values = Vec::with_capacity(fields.0.len());
    for field in fields.0 {
        let padded = if fields.0.len() == 1 { field.bytes() } else { field.bytes().next_multiple_of(4) };
        let (value, rest) = bytes.split_at_checked(padded)?;
        values.push(if *field == Field::IfName { value.split(|byte| *byte == 0).next()? } else { value.get(..field.bytes())? });
        bytes = rest;
    }
    bytes.is_empty().then_some(values)
}

/// NFPROTO_IPV4 and NFPROTO_IPV6 (linux/netfilter.h).
fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

fn family(bytes: &[u8]) -> Option<Family> {
    Family::BOTH.into_iter().find(|family| [nfproto(*family)] == bytes)
}

fn protocol_of(bytes: &[u8]) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|protocol| [protocol.number()] == bytes)
}

fn ifname(bytes: &[u8]) -> Option<IfName> {
    str::from_utf8(bytes).ok()?.parse().ok()
}

fn number(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

/// The address behind this one; none behind the last.
fn following(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|next| IpAddr::V6(next.into())),
    }
}

/// The subnet from a first address up to the one behind it; none behind it: up to the last there is.
fn range(first: &[u8], behind: Option<&[u8]>) -> Option<Subnet> {
    let wide = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    };
    let network = address(first)?;
    let bits: u32 = if network.is_ipv4() { 32 } else { 128 };
    let end = match behind {
        Some(behind) => wide(address(behind)?),
        None => 1_u128.checked_shl(bits).unwrap_or(0),
    };
    let size = end.wrapping_sub(wide(network));
    let prefix = size.is_power_of_two().then(|| bits - size.trailing_zeros())?;
    format!("{network}/{prefix}").parse().ok()
}
