//! Messages about elements of sets. Never decides which.

use netd_core::firewall::{
    Element,
    element::wire::{Wire, encode},
    set::Set,
};
use netlink_packet_core::{DefaultNla, NlasIterator};
use netlink_packet_netfilter::nftables::{
    DataAttribute, ListAttribute, NfTablesMessage, SetElementAttribute, SetElementFlags, SetElementList, SetElementMessage,
};

use super::table::{FAMILY_HEADER, NAME, TYPE};

/// Wire elements in one message: the list's length is 16 bits, and the longest of ours has some 120 bytes.
const IN_A_MESSAGE: usize = 200;
/// Bytes of `struct nlattr`.
const ATTRIBUTE_HEADER: usize = 4;
/// NFTA_DATA_VALUE (linux/netfilter/nf_tables.h, as all that follow): the bytes of a key or of data.
const DATA_VALUE: u16 = 1;
/// NFTA_SET_ELEM_LIST_ELEMENTS.
const LIST_ELEMENTS: u16 = 3;
/// NFTA_SET_ELEM_KEY.
const ELEMENT_KEY: u16 = 1;
/// NFTA_SET_ELEM_DATA.
const ELEMENT_DATA: u16 = 2;
/// NFTA_SET_ELEM_FLAGS: a number in network order.
const ELEMENT_FLAGS: u16 = 3;
/// NFTA_SET_ELEM_KEY_END.
const ELEMENT_KEY_END: u16 = 10;
/// NFT_SET_ELEM_INTERVAL_END.
const INTERVAL_END: u8 = 1;

/// These elements as messages to make or delete them; neighbours of one set share one.
pub(super) fn messages(elements: &[Element], kind: fn(SetElementMessage) -> NfTablesMessage) -> Vec<NfTablesMessage> {
    let mut messages: Vec<(&str, Vec<Wire>)> = Vec::new();
    for element in elements {
        match messages.last_mut() {
            Some((set, wires)) if *set == element.set() && wires.len() < IN_A_MESSAGE => wires.extend(encode(element)),
            _ => messages.push((element.set(), encode(element))),
        }
    }
    messages.into_iter().map(|(set, wires)| kind(list(set, &wires))).collect()
}

/// Asks for the elements under these keys, or for all of a set.
pub(super) fn question(set: &Set, keys: &[Wire]) -> NfTablesMessage {
    NfTablesMessage::GetSetElement(list(set.name, keys))
}

/// The elements in an answer. Read here and not through the messages of netlink-packet-netfilter, which for each element of a list prints the
/// whole list into an error that is then not needed (0.4.0): seconds for 10,000 ports.
pub(super) fn answered(_kind: u16, payload: &[u8]) -> Option<Vec<Wire>> {
    let list = inside(payload.get(FAMILY_HEADER..)?).find(|(kind, _)| *kind == LIST_ELEMENTS)?.1;
    Some(inside(list).map(|(_, element)| wire(element)).collect())
}

fn list(set: &str, wires: &[Wire]) -> SetElementMessage {
    let elements = wires.iter().map(|wire| ListAttribute::Element(attributes(wire))).collect::<Vec<_>>();
    let mut attributes = vec![SetElementList::Table(NAME.to_owned()), SetElementList::Set(set.to_owned())];
    if !elements.is_empty() {
        attributes.push(SetElementList::Elements(elements));
    }
    SetElementMessage { attributes }
}

fn attributes(wire: &Wire) -> Vec<SetElementAttribute> {
    let mut attributes = vec![SetElementAttribute::Key(DataAttribute::Value(wire.key.clone()))];
    if wire.ends {
        attributes.push(SetElementAttribute::Flags(SetElementFlags::IntervalEnd));
    }
    if let Some(last) = &wire.last {
        attributes.push(SetElementAttribute::KeyEnd(vec![DefaultNla::new(DATA_VALUE, last.clone())]));
    }
    if let Some(data) = &wire.data {
        attributes.push(SetElementAttribute::Data(DataAttribute::Value(data.clone())));
    }
    attributes
}

fn wire(element: &[u8]) -> Wire {
    let mut wire = Wire { key: Vec::new(), ends: false, last: None, data: None };
    for (kind, value) in inside(element) {
        let bytes = || inside(value).find(|(kind, _)| *kind == DATA_VALUE).map(|(_, bytes)| bytes.to_vec());
        match kind {
            ELEMENT_KEY => wire.key = bytes().unwrap_or_default(),
            ELEMENT_DATA => wire.data = bytes(),
            ELEMENT_FLAGS => wire.ends = value.last().is_some_and(|flags| flags & INTERVAL_END != 0),
            ELEMENT_KEY_END => wire.last = bytes(),
            _ => {}
        }
    }
    wire
}

/// The attributes in these bytes, without the flags of their kind.
fn inside(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).filter_map(Result::ok).map(|attribute| {
        let (kind, length) = (attribute.kind() & TYPE, attribute.length() as usize);
        (kind, &attribute.into_inner()[ATTRIBUTE_HEADER..length])
    })
}
