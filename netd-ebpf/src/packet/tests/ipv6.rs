//! IPv6: header, lengths, extension headers, fragments.

use std::{vec, vec::Vec};

use super::made::{
    Extension, IPV6, Ipv6, OWN_V6, PEER_V6, address6, authentication, ethernet, extension, fragment, icmp, neighbour, routing, sctp, syn,
    udp,
};
use super::*;

/// 2 hop-by-hop, destination and mobility headers that only differ in their number.
const PLAIN: [u8; 3] = [0, 60, 135];

fn syn_packet() -> Ipv6 {
    Ipv6::of(protocol::TCP, &syn())
}

/// Behind so many destination headers.
fn behind(count: usize, packet: Ipv6) -> Ipv6 {
    (0..count).fold(packet, |packet, _| packet.behind(extension(60, 1)))
}

#[test]
fn a_plain_packet_is_read() {
    let packet = packet(&syn_packet().frame());
    assert_eq!((packet.source, packet.destination), (address6(OWN_V6), address6(PEER_V6)));
    assert_eq!((packet.source_port, packet.destination_port, packet.flags), (4000, 80, tcp::SYN));
    assert_eq!((packet.network_at, packet.transport_at, packet.fragment, packet.marks), (14, 54, Cut::Whole, 0));
}

#[test]
fn another_version_is_wrong() {
    for first in [0x00, 0x45, 0x50, 0x70, 0xff] {
        let mut frame = syn_packet().frame();
        frame[14] = first;
        wrong(Why::DropMalformed, &[frame]);
    }
}

#[test]
fn an_address_that_is_ipv4s_is_wrong() {
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 4, 0, 2];
    wrong(Why::DropMalformed, &[Ipv6 { from: mapped, ..syn_packet() }.frame(), Ipv6 { to: mapped, ..syn_packet() }.frame()]);
}

#[test]
fn a_packet_that_is_cut_off_anywhere_is_wrong() {
    for whole in [syn_packet(), syn_packet().behind(routing(2)).behind(extension(0, 2)), syn_packet().behind(authentication())] {
        let whole = whole.frame();
        wrong(Why::DropMalformed, &(14..whole.len()).map(|length| whole[..length].to_vec()).collect::<Vec<_>>());
    }
}

#[test]
fn a_packet_that_says_to_be_longer_than_the_frame_is_wrong_and_padding_is_no_part_of_it() {
    wrong(Why::DropMalformed, &[21, 1500, 0xffff].map(|length| Ipv6 { length: Some(length), ..syn_packet() }.frame()));
    wrong(Why::DropMalformed, &[1, 19].map(|length| Ipv6 { length: Some(length), ..syn_packet() }.frame()));
    let padded = ethernet(IPV6, &[syn_packet().bytes(), vec![0; 6]].concat());
    assert_eq!(packet(&padded).flags, tcp::SYN);
    // Neither an extension header nor a transport header reaches into the padding.
    for header in [extension(0, 2), routing(2), fragment(0, false, 9), fragment(1448, false, 9), authentication()] {
        let packet = syn_packet().behind(header);
        wrong(Why::DropMalformed, &[7, 1].map(|length| Ipv6 { length: Some(length), ..packet.clone() }.frame()));
    }
}

#[test]
fn a_packet_of_length_zero_is_as_long_as_the_frame() {
    let big = Ipv6 { length: Some(0), ..Ipv6::of(protocol::TCP, &[syn(), vec![0; 70_000]].concat()) };
    assert_eq!((packet(&big.frame()).destination_port, packet(&big.frame()).flags), (80, tcp::SYN));
    // The kernel puts a hop-by-hop header with the length before TCP (RFC 2675).
    let jumbo = Extension { kind: 0, rest: vec![0, 0xc2, 4, 0, 1, 0x11, 0x70] };
    assert_eq!(packet(&Ipv6 { length: Some(0), ..big.behind(jumbo) }.frame()).destination_port, 80);
    let nothing = Ipv6::of(59, &[]);
    assert_eq!((packet(&nothing.frame()).protocol, packet(&nothing.frame()).transport_at), (59, 54));
}

#[test]
fn extension_headers_are_walked_over() {
    for kind in PLAIN {
        for units in [1, 2, 17] {
            let packet = packet(&syn_packet().behind(extension(kind, units)).frame());
            assert_eq!((packet.protocol, packet.destination_port, packet.marks), (protocol::TCP, 80, 0), "{kind}");
            assert_eq!(packet.transport_at, 54 + u32::from(units) * 8);
        }
    }
    let authenticated = packet(&syn_packet().behind(authentication()).frame());
    assert_eq!((authenticated.transport_at, authenticated.destination_port), (78, 80));
    let all =
        Ipv6::of(protocol::SCTP, &sctp()).behind(extension(60, 1)).behind(authentication()).behind(routing(2)).behind(extension(0, 3));
    assert_eq!((packet(&all.frame()).protocol, packet(&all.frame()).transport_at), (protocol::SCTP, 54 + 8 + 24 + 24 + 24));
}

#[test]
fn a_routing_header_of_type_0_is_a_source_route_and_others_are_not() {
    assert!(packet(&syn_packet().behind(routing(0)).frame()).has(mark::SOURCE_ROUTE));
    assert!(packet(&syn_packet().behind(extension(60, 1)).behind(routing(0)).behind(extension(0, 1)).frame()).has(mark::SOURCE_ROUTE));
    for kind in [1, 2, 3, 4, 255] {
        assert!(!packet(&syn_packet().behind(routing(kind)).frame()).has(mark::SOURCE_ROUTE), "{kind}");
    }
}

#[test]
fn no_next_header_ends_the_walk() {
    let packet = packet(&Ipv6::of(59, &[60, 0, 1, 4, 0, 0, 0, 0]).behind(extension(60, 1)).frame());
    assert_eq!((packet.protocol, packet.source_port, packet.destination_port), (59, 0, 0));
}

#[test]
fn eight_extension_headers_are_looked_through_and_nine_are_too_many() {
    let eight = packet(&behind(8, syn_packet()).frame());
    assert_eq!((eight.destination_port, eight.flags, eight.marks), (80, tcp::SYN, 0));
    for count in [9, 20] {
        let packet = packet(&behind(count, syn_packet()).frame());
        assert_eq!((packet.marks, packet.destination_port, packet.flags), (mark::TOO_MANY_HEADERS, 0, 0));
    }
    // The largest ones: 2 KiB each, more than a link takes, less than a frame may have.
    let large = (0..8).fold(syn_packet(), |packet, _| packet.behind(extension(60, 255)));
    assert_eq!(packet(&large.frame()).destination_port, 80);
}

#[test]
fn an_extension_header_that_says_to_be_longer_than_the_packet_is_wrong() {
    for kind in [0, 43, 51, 60, 135] {
        for length in [3, 100, 255] {
            let mut header = extension(kind, 1);
            // Of type 2, so that it is no source route.
            header.rest[..2].copy_from_slice(&[length, 2]);
            wrong(Why::DropMalformed, &[Ipv6::of(59, &[]).behind(header).frame()]);
        }
    }
}

#[test]
fn the_first_part_has_its_ports_and_the_identification() {
    let id = 0x1234_5678;
    let whole = Ipv6::of(protocol::UDP, &udp(4000, 80));
    let first = packet(&whole.clone().behind(fragment(0, true, id)).frame());
    assert_eq!((first.fragment, first.destination_port, first.transport_at), (Cut::First(id.to_be()), 80, 62));
    let with_headers = packet(&whole.behind(extension(60, 1)).behind(fragment(0, true, id)).behind(extension(0, 1)).frame());
    assert_eq!((with_headers.fragment, with_headers.destination_port, with_headers.protocol), (Cut::First(id.to_be()), 80, protocol::UDP));
}

#[test]
fn a_first_part_without_its_whole_transport_header_is_wrong() {
    wrong(Why::DropMalformed, &[8, 16].map(|length| Ipv6::of(protocol::TCP, &syn()[..length]).behind(fragment(0, true, 9)).frame()));
    // The chain of headers ends in the first part (RFC 7112), so that nothing hides a router advertisement.
    let hidden = Ipv6::of(protocol::ICMPV6, &[]).behind(extension(60, 1)).behind(fragment(0, true, 9));
    wrong(Why::DropMalformed, &[hidden.frame()]);
}

#[test]
fn a_later_part_has_no_ports_whatever_its_bytes_are() {
    for (next, body) in
        [(protocol::TCP, syn()), (protocol::UDP, udp(547, 546)), (protocol::ICMPV6, icmp(134, 0)), (60, vec![0; 16]), (44, vec![0; 8])]
    {
        let packet = packet(&Ipv6::of(next, &body).behind(fragment(1448, true, 9)).frame());
        assert_eq!((packet.fragment, packet.protocol, packet.transport_at), (Cut::Later(9_u32.to_be()), next, 62));
        assert_eq!((packet.source_port, packet.destination_port, packet.flags, packet.icmp_type, packet.marks), (0, 0, 0, 0, 0));
    }
}

#[test]
fn a_later_part_that_begins_within_the_transport_header_is_an_overlap() {
    let at = |next, offset| Ipv6::of(next, &[0; 24]).behind(fragment(offset, false, 9)).frame();
    wrong(Why::DropFragmentOverlap, &[at(protocol::TCP, 8), at(protocol::TCP, 16), at(protocol::SCTP, 8)]);
    for (next, offset) in [(protocol::TCP, 24), (protocol::SCTP, 16), (protocol::UDP, 8), (protocol::ICMPV6, 8)] {
        assert_eq!(packet(&at(next, offset)).fragment, Cut::Later(9_u32.to_be()));
    }
}

#[test]
fn an_atomic_fragment_is_a_whole_packet() {
    let packet = packet(&syn_packet().behind(fragment(0, false, 9)).frame());
    assert_eq!((packet.fragment, packet.destination_port, packet.flags), (Cut::Whole, 80, tcp::SYN));
}

#[test]
fn neighbour_discovery_is_found_behind_extension_headers() {
    let solicitation = Ipv6::of(protocol::ICMPV6, &neighbour(135, PEER_V6, &[]));
    for frame in [solicitation.clone(), solicitation.clone().behind(extension(0, 1)), behind(8, solicitation)] {
        let packet = packet(&frame.frame());
        assert_eq!((packet.icmp_type, packet.has(mark::LINK)), (135, true));
    }
}
