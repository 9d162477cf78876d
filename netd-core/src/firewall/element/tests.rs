//! Elements to bytes and back, and in nft's words. Never asks a kernel.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::{
    wire::{decode, encode},
    *,
};
use crate::firewall::set::Set;

fn any_ifname() -> impl Strategy<Value = IfName> {
    "[a-z][a-z0-9.-]{0,14}".prop_filter_map("reserved", |name| name.parse().ok())
}

fn any_family() -> impl Strategy<Value = Family> {
    prop::sample::select(Family::BOTH.to_vec())
}

fn any_protocol() -> impl Strategy<Value = Protocol> {
    prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp])
}

fn any_subnet() -> impl Strategy<Value = Subnet> {
    let v4 = (any::<u32>(), 8_u32..=31).prop_map(|(bits, len)| format!("{}/{len}", Ipv4Addr::from(bits & (u32::MAX << (32 - len)))));
    let v6 = (any::<u128>(), 8_u32..=127).prop_map(|(bits, len)| format!("{}/{len}", Ipv6Addr::from(bits & (u128::MAX << (128 - len)))));
    prop_oneof![v4, v6].prop_filter_map("reserved", |text| text.parse().ok())
}

fn any_address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => any::<[u8; 4]>().prop_map(IpAddr::from).boxed(),
        Family::V6 => any::<[u8; 16]>().prop_map(IpAddr::from).boxed(),
    }
}

fn any_publish() -> impl Strategy<Value = Publish> {
    any_family()
        .prop_flat_map(|family| (prop::option::of(any_address(family)), any_address(family), any_protocol(), any::<u16>(), any::<u16>()))
        .prop_map(|(address, target, protocol, port, target_port)| Publish { address, protocol, port, target, target_port })
}

fn any_element() -> impl Strategy<Value = Element> {
    prop_oneof![
        any_ifname().prop_map(Element::Bridge),
        any_ifname().prop_map(Element::Within),
        any_ifname().prop_map(Element::Internal),
        (any_ifname(), any_family()).prop_map(|(name, family)| Element::Routed(name, family)),
        (any_ifname(), any_family()).prop_map(|(name, family)| Element::SwitchedOn(name, family)),
        any_subnet().prop_map(Element::Masquerade),
        any_subnet().prop_map(Element::Hairpin),
        any_publish().prop_map(Element::Publish),
        (any_protocol(), any::<u16>()).prop_map(|(protocol, port)| Element::Refuse(protocol, port)),
    ]
}

fn back(element: &Element) -> Vec<Element> {
    decode(Set::named(element.set()).unwrap(), encode(element))
}

proptest! {
    #[test]
    fn an_element_comes_back_from_the_wire_as_it_went(element in any_element()) {
        prop_assert_eq!(back(&element), vec![element]);
    }

    #[test]
    fn every_wire_element_has_the_length_its_set_declares(element in any_element()) {
        let set = Set::named(element.set()).unwrap();
        for wire in encode(&element) {
            prop_assert_eq!(wire.key.len(), set.key.bytes() as usize);
            prop_assert_eq!(wire.data.map_or(0, |data| data.len()), set.data.bytes() as usize);
        }
    }

    #[test]
    fn bytes_of_a_stranger_come_back_as_they_were(key in prop::collection::vec(any::<u8>(), 8), data in prop::collection::vec(any::<u8>(), 8)) {
        let wire = Wire { key, ends: false, last: None, data: Some(data) };
        let elements = decode(Set::named("publish4_any").unwrap(), [wire.clone()]);
        prop_assert_eq!(elements.iter().flat_map(encode).collect::<Vec<_>>(), vec![wire]);
    }
}

fn subnet(text: &str) -> Subnet {
    text.parse().unwrap()
}

#[test]
fn neighbouring_subnets_stay_two() {
    let subnets = ["10.4.0.0/24", "10.4.1.0/24", "10.4.2.0/23"].map(|text| Element::Masquerade(subnet(text)));
    let mut wires: Vec<Wire> = subnets.iter().flat_map(encode).collect();
    // nft itself marks the gap at zero, and the kernel lists from the highest to the lowest.
    wires.push(Wire { key: vec![0; 4], ends: true, last: None, data: None });
    wires.reverse();
    assert_eq!(decode(Set::named("masquerade4").unwrap(), wires), subnets);
}

#[test]
fn a_range_that_is_no_subnet_is_a_stray() {
    let wires = [[10, 4, 0, 1], [10, 4, 0, 9]].map(|key| Wire { key: key.to_vec(), ends: key[3] == 9, last: None, data: None });
    let elements = decode(Set::named("masquerade4").unwrap(), wires.clone());
    assert_eq!(elements, [Element::Stray(Stray { set: "masquerade4", wires: wires.to_vec() })]);
    assert_eq!(elements[0].to_string(), "masquerade4 { 0x0a040001-0x0a040009 }");
}

#[test]
fn a_link_within_another_is_a_stray() {
    let [mut wire] = <[Wire; 1]>::try_from(encode(&Element::Within("eth0".parse().unwrap()))).unwrap();
    wire.key[19] = b'1';
    assert!(matches!(decode(Set::named("within").unwrap(), [wire]).as_slice(), [Element::Stray(_)]));
}

#[test]
fn elements_print_as_nft_takes_them() {
    let publish = |address: Option<&str>, target: &str| {
        let address = address.map(|address| address.parse().unwrap());
        Element::Publish(Publish { address, protocol: Protocol::Tcp, port: 8080, target: target.parse().unwrap(), target_port: 80 })
    };
    let bridge: IfName = "nd-web".parse().unwrap();
    let printed = [
        Element::Bridge(bridge.clone()),
        Element::Within(bridge.clone()),
        Element::Routed(bridge, Family::V6),
        Element::Masquerade(subnet("fd00:4::/64")),
        Element::Hairpin(subnet("10.4.0.0/24")),
        publish(None, "10.4.0.2"),
        publish(Some("fd00::1"), "fd00:4::2"),
        Element::Refuse(Protocol::Udp, 53),
    ]
    .map(|element| element.to_string());
    assert_eq!(
        printed,
        [
            "bridges { \"nd-web\" }",
            "within { \"nd-web\" . \"nd-web\" }",
            "routed { \"nd-web\" . ipv6 }",
            "masquerade6 { fd00:4::/64 }",
            "hairpin4 { 10.4.0.0/24 . 10.4.0.0/24 }",
            "publish4_any { tcp . 8080 : 10.4.0.2 . 80 }",
            "publish6 { fd00::1 . tcp . 8080 : fd00:4::2 . 80 }",
            "refuse6 { udp . 53 }",
        ]
    );
}

#[test]
fn only_a_port_that_would_swallow_is_refused_to_the_v6_loopback() {
    let publish = |target: &str, protocol| Publish { address: None, protocol, port: 53, target: target.parse().unwrap(), target_port: 53 };
    assert_eq!(publish("10.4.0.2", Protocol::Udp).refused(), None);
    assert_eq!(publish("fd00:4::2", Protocol::Tcp).refused(), None);
    assert_eq!(publish("fd00:4::2", Protocol::Sctp).refused(), Some(Element::Refuse(Protocol::Sctp, 53)));
}
