//! Ethernet, VLAN tags and ARP.

use std::vec::Vec;

use super::made::{ARP, IPV4, IPV6, Ipv4, Ipv6, OWN_MAC, OWN_V4, PEER_MAC, arp, ethernet, syn, tag, udp};
use super::*;

fn mac(mac: [u8; 6]) -> (u16, u32) {
    (u16::from_ne_bytes([mac[0], mac[1]]), u32::from_ne_bytes([mac[2], mac[3], mac[4], mac[5]]))
}

#[test]
fn a_frame_says_whose_it_is_and_whom_it_is_for() {
    let frame = read(&Ipv4::of(protocol::TCP, &syn()).frame());
    assert_eq!((frame.source_mac, frame.destination_mac, frame.tags), (mac(OWN_MAC), mac(PEER_MAC), 0));
    assert_eq!(frame.inside, Inside::Ip);
    assert_eq!(Packet { source_port: 43_210, destination_port: 5_432, ..frame.packet }, tcp_packet(tcp::SYN));
}

#[test]
fn a_frame_without_a_whole_ethernet_header_is_wrong() {
    let frame = Ipv4::of(protocol::TCP, &syn()).frame();
    (0..14).for_each(|length| wrong(Why::DropMalformed, &[frame[..length].to_vec()]));
}

#[test]
fn one_and_two_tags_are_looked_through() {
    let inner = Ipv4::of(protocol::UDP, &udp(53, 4000)).bytes();
    for outer in [0x8100, 0x88a8] {
        let one = read(&ethernet(outer, &tag(5, IPV4, &inner)));
        assert_eq!((one.inside, one.tags, one.packet.network_at, one.packet.transport_at), (Inside::Ip, 4, 18, 38));
        let two = read(&ethernet(outer, &tag(5, 0x8100, &tag(6, IPV4, &inner))));
        assert_eq!((two.inside, two.tags, two.packet.network_at, two.packet.transport_at), (Inside::Ip, 8, 22, 42));
        assert_eq!((one.packet.source_port, two.packet.destination_port), (53, 4000));
    }
    let v6 = ethernet(0x88a8, &tag(5, 0x8100, &tag(6, IPV6, &Ipv6::of(protocol::TCP, &syn()).bytes())));
    assert_eq!((packet(&v6).network_at, packet(&v6).destination_port), (22, 80));
    let arp = read(&ethernet(0x8100, &tag(5, ARP, &arp(1, OWN_MAC, OWN_V4))));
    assert_eq!((arp.inside, arp.arp.sender_mac), (Inside::Arp, mac(OWN_MAC)));
}

#[test]
fn a_third_tag_makes_it_something_else() {
    let inner = Ipv4::of(protocol::UDP, &udp(53, 4000)).bytes();
    let three = ethernet(0x88a8, &tag(5, 0x8100, &tag(6, 0x8100, &tag(7, IPV4, &inner))));
    assert_eq!((read(&three).inside, read(&three).tags), (Inside::Other, 8));
}

#[test]
fn a_tag_that_is_cut_off_is_wrong() {
    let tagged = ethernet(0x8100, &tag(5, 0x8100, &tag(6, IPV4, &[])));
    wrong(Why::DropMalformed, &(14..tagged.len()).map(|length| tagged[..length].to_vec()).collect::<Vec<_>>());
}

#[test]
fn what_is_neither_ip_nor_arp_is_something_else() {
    // Reverse ARP, LLDP, MPLS; a length in place of a type (IEEE 802.3).
    for kind in [0x8035, 0x88cc, 0x8847, 0x0026] {
        assert_eq!(read(&ethernet(kind, &[1; 46])).inside, Inside::Other, "{kind:#06x}");
    }
}

#[test]
fn arp_says_who_its_sender_is() {
    let frame = read(&ethernet(ARP, &arp(2, PEER_MAC, OWN_V4)));
    assert_eq!(frame.inside, Inside::Arp);
    assert_eq!((frame.arp.sender_mac, frame.arp.sender), (mac(PEER_MAC), u32::from_ne_bytes(OWN_V4)));
}

#[test]
fn arp_of_other_hardware_or_other_addresses_or_too_short_is_wrong() {
    let good = arp(1, OWN_MAC, OWN_V4);
    // Hardware, protocol, and how long their addresses are.
    for (place, byte) in [(0, 1), (1, 6), (2, 0), (3, 6), (4, 8), (5, 16)] {
        let mut other = good.clone();
        other[place] = byte;
        wrong(Why::DropMalformed, &[ethernet(ARP, &other)]);
    }
    wrong(Why::DropMalformed, &(0..good.len()).map(|length| ethernet(ARP, &good[..length])).collect::<Vec<_>>());
    let padded = ethernet(ARP, &[good, std::vec![0; 18]].concat());
    assert_eq!(read(&padded).inside, Inside::Arp);
}
