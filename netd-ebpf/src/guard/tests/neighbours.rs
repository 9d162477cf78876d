//! What a guarded container may say of who is where: ARP and neighbour discovery.

use super::*;
use crate::packet::tests::made::{Extension, fragment};

/// All nodes of the link.
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// A nonce (RFC 3971, 5.3.2).
const NONCE: [u8; 8] = [14, 1, 9, 8, 7, 6, 5, 4];

fn arp_frame(mac: [u8; 6], sender: [u8; 4]) -> [Vec<u8>; 2] {
    [1, 2].map(|operation| ethernet(ARP, &arp(operation, mac, sender)))
}

fn message(from: [u8; 16], body: &[u8]) -> Ipv6 {
    Ipv6 { from, to: ALL_NODES, ..Ipv6::of(protocol::ICMPV6, body) }
}

fn solicits(from: [u8; 16], options: &[u8]) -> Vec<u8> {
    message(from, &neighbour(135, PEER_V6, options)).frame()
}

/// With each combination of its flags: from a router, solicited, overriding.
fn advertises(from: [u8; 16], target: [u8; 16], options: &[u8]) -> Vec<Vec<u8>> {
    let with_flags = |flags: u8| {
        let mut body = neighbour(136, target, options);
        body[4] = flags << 5;
        message(from, &body).frame()
    };
    (0..8).map(with_flags).collect()
}

#[test]
fn arp_for_its_own_address_and_for_none_passes() {
    passes(&arp_frame(OWN_MAC, OWN_V4));
    passes(&arp_frame(OWN_MAC, [0; 4]));
}

#[test]
fn arp_that_speaks_for_another_is_refused() {
    for (mac, sender) in [(OWN_MAC, PEER_V4), (PEER_MAC, OWN_V4), (PEER_MAC, PEER_V4), (PEER_MAC, [0; 4]), (OWN_MAC, [255; 4])] {
        refused(Why::DropArpSpoof, &arp_frame(mac, sender));
    }
    // In a tagged frame too.
    refused(Why::DropArpSpoof, &[ethernet(0x8100, &tag(5, ARP, &arp(2, OWN_MAC, PEER_V4)))]);
    let bare = End { v4: [0; 4], ..attachment(BOTH) };
    assert_eq!(says(&bare, &arp_frame(OWN_MAC, OWN_V4)[0]), Some(Why::DropArpSpoof));
}

#[test]
fn arp_for_an_allowed_address_passes_from_any_hardware_address() {
    for mac in [OWN_MAC, PEER_MAC] {
        for frame in arp_frame(mac, VIRTUAL_V4) {
            let frame = from_mac(mac, frame);
            assert_eq!((guard(&frame), lenient(&frame)), (Some(Why::DropArpSpoof), None));
        }
    }
}

#[test]
fn an_advertisement_of_its_own_address_passes_with_and_without_its_hardware_address() {
    for (from, target) in [(OWN_V6, OWN_V6), (LINK_LOCAL, OWN_V6), (LINK_LOCAL, LINK_LOCAL), (OWN_V6, LINK_LOCAL)] {
        passes(&advertises(from, target, &names(2, OWN_MAC)));
        passes(&advertises(from, target, &[]));
    }
}

#[test]
fn an_advertisement_of_another_address_is_refused() {
    for target in [PEER_V6, NOBODY_V6, ALL_NODES] {
        refused(Why::DropNdSpoof, &advertises(OWN_V6, target, &names(2, OWN_MAC)));
        refused(Why::DropNdSpoof, &advertises(LINK_LOCAL, target, &[]));
    }
    let behind = |header: Extension| message(OWN_V6, &neighbour(136, PEER_V6, &[])).behind(header).frame();
    refused(Why::DropNdSpoof, &[behind(extension(0, 1)), behind(extension(60, 17)), behind(fragment(0, false, 9))]);
}

#[test]
fn an_advertisement_that_names_another_hardware_address_is_refused() {
    refused(Why::DropNdSpoof, &advertises(OWN_V6, OWN_V6, &names(2, PEER_MAC)));
    refused(Why::DropNdSpoof, &advertises(LINK_LOCAL, LINK_LOCAL, &names(2, PEER_MAC)));
    // Behind another option, or cut off.
    let hidden = [&NONCE[..], &names(2, PEER_MAC)].concat();
    refused(Why::DropNdSpoof, &advertises(OWN_V6, OWN_V6, &hidden));
    refused(Why::DropNdSpoof, &advertises(OWN_V6, OWN_V6, &names(2, OWN_MAC)[..5]));
    refused(Why::DropNdSpoof, &advertises(OWN_V6, OWN_V6, &names(1, OWN_MAC)));
}

#[test]
fn who_stands_for_others_speaks_for_allowed_addresses_and_no_further() {
    for from in [OWN_V6, VIRTUAL_V6] {
        for options in [names(2, OWN_MAC), names(2, PEER_MAC), vec![]] {
            advertises(from, VIRTUAL_V6, &options).iter().for_each(|frame| assert_eq!(lenient(frame), None));
        }
        advertises(from, PEER_V6, &[]).iter().for_each(|frame| assert_eq!(lenient(frame), Some(Why::DropNdSpoof)));
        advertises(from, OWN_V6, &names(2, PEER_MAC)).iter().for_each(|frame| assert_eq!(lenient(frame), Some(Why::DropNdSpoof)));
        assert_eq!(lenient(&message(from, &icmp(134, 0)).frame()), Some(Why::DropRouterAdvertisement));
    }
    // A machine behind the container asks by its own hardware address.
    assert_eq!(lenient(&from_mac(PEER_MAC, solicits(VIRTUAL_V6, &names(1, PEER_MAC)))), None);
}

#[test]
fn a_solicitation_passes_and_names_no_other_hardware_address() {
    for from in [OWN_V6, LINK_LOCAL] {
        passes(&[solicits(from, &names(1, OWN_MAC)), solicits(from, &[])]);
        refused(Why::DropNdSpoof, &[solicits(from, &names(1, PEER_MAC)), solicits(from, &[&NONCE[..], &names(1, PEER_MAC)].concat())]);
    }
}

#[test]
fn duplicate_address_detection_begins_without_address_and_may_carry_a_nonce() {
    passes(&[solicits(NOBODY_V6, &[]), solicits(NOBODY_V6, &NONCE)]);
    refused(Why::DropSourceMac, &[from_mac(PEER_MAC, solicits(NOBODY_V6, &[]))]);
}

#[test]
fn multicast_listening_passes_with_and_without_address() {
    for kind in [131, 132, 143] {
        for from in [NOBODY_V6, LINK_LOCAL, OWN_V6] {
            let report = Ipv6 { hops: 1, ..message(from, &[&icmp(kind, 0)[..], &[0; 16]].concat()) };
            passes(&[report.frame(), report.behind(extension(0, 1)).frame()]);
        }
    }
    // Nor may it go on behind a router.
    let further = Ipv6 { hops: 2, ..message(NOBODY_V6, &icmp(143, 0)) };
    let of_peer = Ipv6 { hops: 1, ..message(PEER_V6, &icmp(143, 0)) };
    refused(Why::DropSourceAddress, &[of_peer, further, message(NOBODY_V6, &icmp(128, 0))].map(|packet| packet.frame()));
}

#[test]
fn redirects_and_router_advertisements_are_refused_and_a_routers_solicitation_is_not() {
    let behind_headers = |body: &[u8]| {
        let plain = message(LINK_LOCAL, body);
        [plain.frame(), plain.clone().behind(extension(0, 1)).frame(), plain.behind(extension(60, 1)).behind(fragment(0, false, 1)).frame()]
    };
    refused(Why::DropRouterAdvertisement, &behind_headers(&icmp(134, 0)));
    refused(Why::DropNdSpoof, &behind_headers(&neighbour(137, PEER_V6, &LINK_LOCAL)));
    passes(&behind_headers(&icmp(133, 0)));
    passes(&[message(NOBODY_V6, &icmp(133, 0)).frame()]);
}

#[test]
fn discovery_that_is_cut_off_or_in_parts_is_refused() {
    let whole = neighbour(136, OWN_V6, &[]);
    refused(Why::DropNdSpoof, &[8, 12, 23].map(|length| message(OWN_V6, &whole[..length]).frame()));
    refused(
        Why::DropNdSpoof,
        &[message(OWN_V6, &whole).behind(fragment(0, true, 9)).frame(), message(OWN_V6, &whole[..8]).behind(fragment(0, true, 9)).frame()],
    );
}
