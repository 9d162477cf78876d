//! What is news among made notifications. Never listens.

use netd_api::addr::Mac;
use netlink_packet_core::Emitable;
use netlink_packet_route::{
    address::AddressMessage,
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo},
};

use super::*;

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const DELADDR: u16 = 21;

fn veth(index: u32, group: u32, up: bool) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    if up {
        message.header.flags = LinkFlags::Up;
    }
    message.attributes = vec![
        LinkAttribute::IfName(format!("veth{index}")),
        LinkAttribute::Address(Mac([2, 0, 0, 0, 0, 1]).0.to_vec()),
        LinkAttribute::Mtu(1500),
        LinkAttribute::Group(group),
        LinkAttribute::Controller(1),
        LinkAttribute::Link(2),
        LinkAttribute::LinkNetNsId(7),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
    ];
    message
}

fn address(index: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = 24;
    message.attributes.push(netlink_packet_route::address::AddressAttribute::Local("10.4.0.2".parse().expect("an address")));
    message
}

fn bytes(message: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

struct Case {
    links: Links,
    expected: Expected,
}

impl Case {
    fn new() -> Self {
        Self { links: Links::default(), expected: Expected::default() }
    }

    fn hears(&mut self, ns: Option<i32>, kind: u16, port: u32, message: &impl Emitable) -> Option<String> {
        let payload = bytes(message);
        self.links.hear(ns, &Part { kind, flags: 0, sequence: 0, port, payload: &payload }, &self.expected)
    }
}

#[test]
fn the_making_and_our_own_deletion_of_a_link_are_no_news() {
    let mut case = Case::new();
    assert_eq!(case.hears(None, NEWLINK, 0, &veth(5, mark::GROUP, false)), None);
    assert_eq!(case.hears(None, NEWLINK, 0, &veth(5, mark::GROUP, true)), None);
    assert_eq!(case.hears(None, NEWLINK, 0, &veth(5, mark::GROUP, true)), None);
    case.expected.deletion(5, "veth5");
    assert_eq!(case.hears(None, NEWLINK, 0, &veth(5, mark::GROUP, false)), None);
    assert_eq!(case.hears(Some(7), DELADDR, 0, &address(2)), None);
    assert_eq!(case.hears(None, DELLINK, 0, &veth(5, mark::GROUP, false)), None);
    assert_eq!(case.hears(Some(7), DELADDR, 0, &address(2)), None);
}

#[test]
fn somebody_who_puts_our_link_down_or_deletes_it_is_heard() {
    let mut case = Case::new();
    case.hears(None, NEWLINK, 0, &veth(5, mark::GROUP, true));
    assert_eq!(case.hears(None, NEWLINK, 0, &veth(5, mark::GROUP, false)), Some("link veth5 was changed".to_owned()));
    assert_eq!(case.hears(None, DELLINK, 0, &veth(5, mark::GROUP, false)), Some("link veth5 has gone".to_owned()));
}

#[test]
fn an_address_that_a_container_loses_is_heard_unless_we_took_it() {
    let mut case = Case::new();
    case.expected.port(9);
    case.hears(None, NEWLINK, 0, &veth(5, mark::GROUP, true));
    assert_eq!(case.hears(Some(7), DELADDR, 9, &address(2)), None);
    assert_eq!(case.hears(Some(7), DELADDR, 0, &address(3)), None, "another interface of the container");
    assert_eq!(case.hears(Some(8), DELADDR, 0, &address(2)), None, "a namespace that is none of ours");
    assert!(case.hears(Some(7), DELADDR, 0, &address(2)).is_some_and(|news| news.contains("10.4.0.2/24")));
}

#[test]
fn a_container_that_puts_its_own_end_down_is_heard_even_if_it_was_never_seen_up() {
    let mut case = Case::new();
    case.hears(None, NEWLINK, 0, &veth(5, mark::GROUP, true));
    assert!(case.hears(Some(7), NEWLINK, 0, &veth(2, 0, false)).is_some());
    assert_eq!(case.hears(Some(7), NEWLINK, 0, &veth(2, 0, true)), None);
    assert!(case.hears(Some(7), NEWLINK, 0, &veth(2, 0, false)).is_some());
}

#[test]
fn strangers_links_count_only_when_they_have_an_address_and_repetitions_never() {
    const NEWADDR: u16 = 20;
    let mut case = Case::new();
    assert_eq!(case.hears(None, NEWLINK, 0, &veth(3, 0, true)), None);
    assert_eq!(case.hears(None, NEWLINK, 0, &veth(3, 0, false)), None);
    assert!(case.hears(None, NEWADDR, 0, &address(3)).is_some());
    assert_eq!(case.hears(None, NEWADDR, 0, &address(3)), None, "a lifetime that is renewed");
    assert!(case.hears(None, NEWLINK, 0, &veth(3, 0, true)).is_some());
    assert!(case.hears(None, DELADDR, 0, &address(3)).is_some());
}

/// A notification about what stands at the root of link 5, as far as it is looked at: `struct tcmsg`.
fn qdisc(case: &mut Case, kind: u16, port: u32, handle: u32) -> Option<String> {
    let payload: Vec<u8> = [0, 5, handle, u32::MAX, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
    case.links.hear(None, &Part { kind, flags: 0, sequence: 0, port, payload: &payload }, &case.expected)
}

#[test]
fn somebody_who_takes_or_changes_a_bucket_is_heard_and_we_are_not() {
    let mut case = Case::new();
    case.expected.port(9);
    assert_eq!(qdisc(&mut case, DELQDISC, 7, mark::BUCKET_HANDLE), None, "a link that is not known");
    case.hears(None, NEWLINK, 0, &veth(5, mark::GROUP, true));
    for kind in [NEWQDISC, DELQDISC] {
        assert_eq!(qdisc(&mut case, kind, 9, mark::BUCKET_HANDLE), None, "our own doing");
        assert_eq!(qdisc(&mut case, kind, 7, 0x8001_0000), None, "a stranger's queue");
    }
    assert_eq!(qdisc(&mut case, DELQDISC, 7, mark::BUCKET_HANDLE), Some("the bucket was removed from veth5".to_owned()));
    assert_eq!(qdisc(&mut case, NEWQDISC, 7, mark::BUCKET_HANDLE), Some("the bucket of veth5 was changed".to_owned()));
    case.expected.deletion(5, "veth5");
    assert_eq!(qdisc(&mut case, DELQDISC, 0, mark::BUCKET_HANDLE), None, "it goes with its link");
}
