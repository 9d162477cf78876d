//! What a guarded container may send and what not, as frames. What is about neighbours on a link stands in `tests/neighbours.rs`.

mod neighbours;

use std::{vec, vec::Vec};

use netd_abi::{Direction, flow::FlowKey};

use super::*;
use crate::packet::{
    slice::Slice,
    tests::{
        made::{
            ARP, IPV4, IPV6, Ipv4, Ipv6, OWN_MAC, OWN_V4, OWN_V6, PEER_MAC, PEER_V4, PEER_V6, address4, address6, arp, ethernet, extension,
            from_mac, good_frames, icmp, names, neighbour, routing, syn, tag, udp,
        },
        read,
    },
};
use crate::plain;

/// What this container may stand for besides itself.
const VIRTUAL_V4: [u8; 4] = [192, 0, 2, 80];
const VIRTUAL_V6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80];
/// Further addresses of its own.
const FURTHER_V4: [u8; 4] = [10, 9, 0, 2];
const FURTHER_V6: [u8; 16] = [0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const LINK_LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x6e, 0x64, 0xff, 0xfe, 0, 0, 2];
const NOBODY_V6: [u8; 16] = [0; 16];

const BOTH: u32 = flag::GUARD_MAC | flag::GUARD_IP;

fn attachment(flags: u32) -> End {
    End { flags, mac: OWN_MAC, v4: OWN_V4, v6: OWN_V6, ..End::default() }
}

/// What a container's guard says of a frame.
fn says(attachment: &End, frame: &[u8]) -> Option<Why> {
    let allowed = |address: &Address| {
        let is_one = |v4, v6| [address4(v4), address6(v6)].contains(address);
        is_one(VIRTUAL_V4, VIRTUAL_V6).then_some(allowance::OTHERS).or(is_one(FURTHER_V4, FURTHER_V6).then_some(allowance::OWN))
    };
    let parsed = read(frame);
    let refused = refuses(attachment, &parsed, &Slice::of(frame), allowed);
    let plain = plain::read(&Slice::of(frame), attachment, Direction::FromContainer, &mut FlowKey::default());
    assert!(refused.is_none() || plain.is_none(), "what goes the short way is not refused: {frame:02x?}");
    refused
}

/// What that of a container says which stands for nobody else.
fn guard(frame: &[u8]) -> Option<Why> {
    says(&attachment(BOTH), frame)
}

/// What that of a container says which stands for others too.
fn lenient(frame: &[u8]) -> Option<Why> {
    says(&attachment(BOTH | flag::ALLOWED), frame)
}

#[test]
fn a_frame_is_for_another_where_it_is_for_one_station_and_not_for_this_one() {
    let is_for_another = |flags, to: [u8; 6]| {
        let end = End { mac: to, ..End::default() };
        super::is_for_another(&attachment(flags), mac(&end))
    };
    assert!(is_for_another(BOTH, PEER_MAC));
    for to in [OWN_MAC, [0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]] {
        assert!(!is_for_another(BOTH, to), "{to:02x?}");
    }
    assert!(!is_for_another(BOTH | flag::ALLOWED, PEER_MAC) && !is_for_another(flag::GUARD_IP, PEER_MAC));
}

#[track_caller]
fn refused(why: Why, frames: &[Vec<u8>]) {
    for frame in frames {
        assert_eq!((guard(frame), lenient(frame)), (Some(why), Some(why)), "{frame:02x?}");
    }
}

#[track_caller]
fn passes(frames: &[Vec<u8>]) {
    for frame in frames {
        assert_eq!((guard(frame), lenient(frame)), (None, None), "{frame:02x?}");
    }
}

fn v4(from: [u8; 4]) -> Ipv4 {
    Ipv4 { from, ..Ipv4::of(protocol::TCP, &syn()) }
}

fn v6(from: [u8; 16]) -> Ipv6 {
    Ipv6 { from, ..Ipv6::of(protocol::TCP, &syn()) }
}

#[test]
fn its_own_addresses_pass() {
    let tagged = ethernet(0x8100, &tag(5, IPV4, &v4(OWN_V4).bytes()));
    passes(&[v4(OWN_V4).frame(), v6(OWN_V6).frame(), v6(OWN_V6).behind(extension(0, 1)).frame(), tagged]);
}

#[test]
fn another_hardware_address_is_refused_whatever_the_frame_holds() {
    let frames = [v4(OWN_V4).frame(), v6(OWN_V6).frame(), ethernet(ARP, &arp(1, OWN_MAC, OWN_V4)), ethernet(0x88cc, &[0; 46])];
    refused(Why::DropSourceMac, &frames.map(|frame| from_mac(PEER_MAC, frame)));
    // One that differs in one bit of any byte.
    for place in 0..6 {
        let mut mac = OWN_MAC;
        mac[place] ^= 4;
        refused(Why::DropSourceMac, &[from_mac(mac, v4(OWN_V4).frame())]);
    }
}

#[test]
fn another_address_is_refused() {
    let tagged = ethernet(0x8100, &tag(5, IPV6, &v6(PEER_V6).bytes()));
    refused(Why::DropSourceAddress, &[v4(PEER_V4).frame(), v6(PEER_V6).frame(), v6(NOBODY_V6).frame(), tagged]);
    refused(Why::DropSourceAddress, &[[127, 0, 0, 1], [0; 4], [255; 4], [10, 4, 0, 0]].map(|from| v4(from).frame()));
    let part = v4(PEER_V4).part(1480, false);
    refused(Why::DropSourceAddress, &[part.frame()]);
}

#[test]
fn an_allowed_address_passes_from_any_hardware_address_and_only_where_it_is_allowed() {
    for frame in [v4(VIRTUAL_V4).frame(), v6(VIRTUAL_V6).frame()] {
        assert_eq!((guard(&frame), lenient(&frame)), (Some(Why::DropSourceAddress), None));
        assert_eq!(lenient(&from_mac(PEER_MAC, frame)), None);
    }
}

#[test]
fn a_further_address_of_its_own_passes_from_its_own_hardware_address_alone() {
    let named = |v6, mac| Ipv6::of(protocol::ICMPV6, &neighbour(136, v6, &names(2, mac))).frame();
    for frame in [v4(FURTHER_V4).frame(), v6(FURTHER_V6).frame(), ethernet(ARP, &arp(2, OWN_MAC, FURTHER_V4)), named(FURTHER_V6, OWN_MAC)] {
        assert!(guard(&frame).is_some() && lenient(&frame).is_none(), "{frame:02x?}");
        assert_eq!(lenient(&from_mac(PEER_MAC, frame)), Some(Why::DropSourceMac));
    }
    assert_eq!(lenient(&ethernet(ARP, &arp(2, PEER_MAC, FURTHER_V4))), Some(Why::DropArpSpoof));
    assert_eq!(lenient(&named(FURTHER_V6, PEER_MAC)), Some(Why::DropNdSpoof));
}

#[test]
fn an_attachment_without_addresses_has_none_of_its_own() {
    let bare = End { v4: [0; 4], v6: [0; 16], ..attachment(BOTH) };
    for frame in [v4(OWN_V4).frame(), v4([0; 4]).frame(), v6(OWN_V6).frame(), v6(NOBODY_V6).frame()] {
        assert_eq!(says(&bare, &frame), Some(Why::DropSourceAddress));
    }
    assert_eq!(says(&bare, &v6(LINK_LOCAL).frame()), None);
}

#[test]
fn link_local_addresses_are_everybodys() {
    let last = [0xfe, 0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    passes(&[LINK_LOCAL, last].map(|from| v6(from).frame()));
    let beside = [[0xfe, 0x7f], [0xfe, 0xc0], [0xff, 0x02]].map(|start| {
        let mut from = LINK_LOCAL;
        from[..2].copy_from_slice(&start);
        v6(from).frame()
    });
    refused(Why::DropSourceAddress, &beside);
}

#[test]
fn a_client_of_dhcp_has_no_address_yet() {
    let asks = |from, to| Ipv4 { to: [255; 4], from: [0; 4], ..Ipv4::of(protocol::UDP, &udp(from, to)) };
    passes(&[asks(68, 67).frame()]);
    refused(Why::DropSourceAddress, &[asks(67, 67), asks(68, 69), asks(5353, 5353), asks(67, 68)].map(|packet| packet.frame()));
    refused(
        Why::DropSourceAddress,
        &[Ipv4 { protocol: protocol::TCP, body: syn(), ..asks(68, 67) }.frame(), asks(68, 67).part(1480, false).frame()],
    );
}

#[test]
fn group_membership_needs_no_address() {
    let report = |from| Ipv4 { from, to: [224, 0, 0, 22], ..Ipv4::of(protocol::IGMP, &[0x22; 16]) };
    passes(&[report([0; 4]).frame(), report([0; 4]).options(&[0x94, 4, 0, 0]).frame(), report(OWN_V4).frame()]);
    refused(Why::DropSourceAddress, &[report(PEER_V4).frame()]);
}

#[test]
fn an_answer_of_a_dhcp_server_is_refused_and_a_clients_question_is_not() {
    for from in [OWN_V4, VIRTUAL_V4] {
        for port in [67, 1067] {
            let offer = Ipv4 { from, ..Ipv4::of(protocol::UDP, &udp(port, 68)) }.frame();
            assert_eq!(lenient(&offer), Some(Why::DropDhcpServer));
        }
    }
    for from in [OWN_V6, LINK_LOCAL, VIRTUAL_V6] {
        let plain = Ipv6 { from, ..Ipv6::of(protocol::UDP, &udp(547, 546)) };
        let elsewhere = Ipv6 { from, ..Ipv6::of(protocol::UDP, &udp(1547, 546)) };
        let frames = [plain.frame(), plain.clone().behind(extension(60, 1)).frame(), elsewhere.frame()];
        frames.iter().for_each(|frame| assert_eq!(lenient(frame), Some(Why::DropDhcpServer)));
    }
    let asks = |from| Ipv6 { from, ..Ipv6::of(protocol::UDP, &udp(546, 547)) }.frame();
    passes(&[asks(LINK_LOCAL), asks(OWN_V6), v4(OWN_V4).frame(), Ipv4::of(protocol::UDP, &udp(68, 67)).frame()]);
}

#[test]
fn a_source_route_is_refused_and_other_options_are_not() {
    for kind in [131, 137] {
        let routed = v4(OWN_V4).options(&[kind, 7, 4, 10, 4, 0, 9, 0]);
        refused(Why::DropSourceRoute, &[routed.frame(), routed.part(1480, false).frame()]);
    }
    let routed = v6(OWN_V6).behind(routing(0));
    refused(Why::DropSourceRoute, &[routed.frame(), routed.behind(extension(0, 1)).frame()]);
    passes(&[v4(OWN_V4).options(&[7, 7, 4, 0, 0, 0, 0, 0]).frame(), v6(OWN_V6).behind(routing(4)).frame()]);
    // Nor from an allowed address.
    assert_eq!(lenient(&v4(VIRTUAL_V4).options(&[131, 3, 4, 0]).frame()), Some(Why::DropSourceRoute));
}

#[test]
fn who_only_checks_hardware_addresses_lets_the_rest_pass() {
    let mac_only = attachment(flag::GUARD_MAC);
    let spoofed = [
        v4(PEER_V4).frame(),
        v4(OWN_V4).options(&[131, 3, 4, 0]).frame(),
        v6(PEER_V6).behind(routing(0)).frame(),
        ethernet(ARP, &arp(2, PEER_MAC, PEER_V4)),
        Ipv4::of(protocol::UDP, &udp(67, 68)).frame(),
        Ipv6::of(protocol::ICMPV6, &icmp(134, 0)).frame(),
        Ipv6::of(protocol::ICMPV6, &neighbour(136, PEER_V6, &names(2, PEER_MAC))).frame(),
        ethernet(0x88cc, &[0; 46]),
    ];
    for frame in spoofed.into_iter().chain(good_frames()) {
        assert_eq!(says(&mac_only, &frame), None, "{frame:02x?}");
        assert_eq!(says(&attachment(0), &from_mac(PEER_MAC, frame.clone())), None, "nothing is checked");
        assert_eq!(says(&mac_only, &from_mac(PEER_MAC, frame)), Some(Why::DropSourceMac));
    }
}

#[test]
fn who_only_checks_addresses_lets_every_hardware_address_pass() {
    let ip_only = attachment(flag::GUARD_IP);
    assert_eq!(says(&ip_only, &from_mac(PEER_MAC, v4(OWN_V4).frame())), None);
    assert_eq!(says(&ip_only, &from_mac(PEER_MAC, v4(PEER_V4).frame())), Some(Why::DropSourceAddress));
}

#[test]
fn what_cannot_be_read_is_left_to_others_but_for_its_hardware_address() {
    let broken = vec![ethernet(ARP, &[0; 10]), ethernet(IPV4, &[0; 30]), ethernet(IPV6, &[0x60; 20])];
    passes(&broken);
    refused(Why::DropSourceMac, &broken.into_iter().map(|frame| from_mac(PEER_MAC, frame)).collect::<Vec<_>>());
}
