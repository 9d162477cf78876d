//! IPv4: header, lengths, options, fragments.

use std::{vec, vec::Vec};

use super::made::{IPV4, Ipv4, OWN_V4, PEER_V4, address4, ethernet, icmp, sctp, syn, udp};
use super::*;

/// What says that a packet must not be cut.
const DONT_FRAGMENT: u16 = 0x4000;

fn syn_packet() -> Ipv4 {
    Ipv4::of(protocol::TCP, &syn())
}

#[test]
fn a_plain_packet_is_read() {
    let packet = packet(&syn_packet().frame());
    assert_eq!((packet.source, packet.destination), (address4(OWN_V4), address4(PEER_V4)));
    assert_eq!((packet.source_port, packet.destination_port, packet.flags), (4000, 80, tcp::SYN));
    assert_eq!((packet.network_at, packet.transport_at, packet.fragment, packet.marks), (14, 34, Cut::Whole, 0));
}

#[test]
fn another_version_and_a_header_of_fewer_than_five_words_are_wrong() {
    for first in (0..=0x44).chain(0x50..=0x5f).chain([0x65, 0xf5]) {
        let mut frame = syn_packet().frame();
        frame[14] = first;
        wrong(Why::DropMalformed, &[frame]);
    }
}

#[test]
fn a_packet_that_says_to_be_longer_than_the_frame_or_shorter_than_its_header_is_wrong() {
    let of_length = |length| Ipv4 { length: Some(length), ..syn_packet() }.frame();
    wrong(Why::DropMalformed, &[1, 19, 20, 39, 41, 1500, 0xffff].map(of_length));
    let with_options = |length| Ipv4 { length: Some(length), ..syn_packet().options(&[1; 8]) }.frame();
    wrong(Why::DropMalformed, &[20, 27, 28, 47, 49].map(with_options));
    let header_beyond = Ipv4 { ihl: Some(15), ..syn_packet() }.frame();
    wrong(Why::DropMalformed, &[header_beyond]);
}

#[test]
fn a_packet_that_is_cut_off_anywhere_is_wrong() {
    for whole in [syn_packet(), syn_packet().options(&[1; 40])] {
        let whole = whole.frame();
        wrong(Why::DropMalformed, &(14..whole.len()).map(|length| whole[..length].to_vec()).collect::<Vec<_>>());
    }
}

#[test]
fn padding_behind_a_packet_is_no_part_of_it() {
    let padded = |packet: Ipv4| ethernet(IPV4, &[packet.bytes(), vec![0xff; 30]].concat());
    assert_eq!(packet(&padded(syn_packet())).flags, tcp::SYN);
    // The header would only be whole with the padding.
    for (protocol, body) in
        [(protocol::TCP, syn()), (protocol::UDP, udp(1, 2)[..8].to_vec()), (protocol::SCTP, sctp()), (protocol::ICMP, icmp(8, 1))]
    {
        wrong(Why::DropMalformed, &(0..body.len()).map(|length| padded(Ipv4::of(protocol, &body[..length]))).collect::<Vec<_>>());
    }
}

#[test]
fn a_packet_of_length_zero_is_as_long_as_the_frame() {
    let big = Ipv4 { length: Some(0), ..Ipv4::of(protocol::TCP, &[syn(), vec![0; 70_000]].concat()) };
    assert_eq!((packet(&big.frame()).destination_port, packet(&big.frame()).flags), (80, tcp::SYN));
    wrong(Why::DropMalformed, &[Ipv4 { length: Some(0), ..Ipv4::of(protocol::TCP, &syn()[..19]) }.frame()]);
}

#[test]
fn options_are_stepped_over() {
    let record_route = [&[7, 39, 4][..], &[0; 36], &[0]].concat();
    for options in [&[1, 1, 1, 1][..], &[0, 0, 0, 0], &[1, 1, 1, 0], &record_route, &[0x94, 4, 0, 0], &[7, 3, 4, 1], &[130, 2, 1, 0]] {
        let packet = packet(&syn_packet().options(options).frame());
        assert_eq!((packet.destination_port, packet.marks), (80, 0), "{options:?}");
        assert_eq!(packet.transport_at, 34 + options.len() as u32);
    }
}

#[test]
fn a_source_route_is_marked_wherever_it_stands() {
    let route = |kind| [kind, 7, 4, 10, 4, 0, 9, 0];
    let behind_others = [1, 7, 3, 4, 131, 3, 4, 0];
    let full = [&[137, 39, 4][..], &[0; 36], &[1]].concat();
    for options in [&route(131)[..], &route(137), &behind_others, &full] {
        assert!(packet(&syn_packet().options(options).frame()).has(mark::SOURCE_ROUTE), "{options:?}");
    }
    // Behind the end of the list there are no options.
    assert!(!packet(&syn_packet().options(&[0, 131, 3, 4]).frame()).has(mark::SOURCE_ROUTE));
}

#[test]
fn options_of_impossible_lengths_are_wrong() {
    for options in [[7, 0, 0, 0], [7, 1, 0, 0], [7, 5, 4, 0], [131, 255, 4, 0], [1, 1, 1, 7], [1, 1, 7, 3], [131, 0, 0, 0], [137, 1, 0, 0]]
    {
        wrong(Why::DropMalformed, &[syn_packet().options(&options).frame()]);
        wrong(Why::DropMalformed, &[syn_packet().options(&options).part(1480, false).frame()]);
    }
}

#[test]
fn the_first_part_has_its_ports_and_the_identification() {
    let frame = Ipv4::of(protocol::TCP, &[syn(), vec![0; 4]].concat()).part(0, true).frame();
    assert_eq!((packet(&frame).fragment, packet(&frame).destination_port), (Cut::First(0x1234), 80));
    // TCP's options may follow in the next part; its header may not.
    let mut options = syn();
    options[12] = 10 << 4;
    assert_eq!(packet(&Ipv4::of(protocol::TCP, &[options, vec![0; 4]].concat()).part(0, true).frame()).flags, tcp::SYN);
    wrong(Why::DropMalformed, &[8, 16, 19].map(|length| Ipv4::of(protocol::TCP, &syn()[..length]).part(0, true).frame()));
}

#[test]
fn a_later_part_has_no_ports_whatever_its_bytes_are() {
    for (protocol, body) in [(protocol::TCP, syn()), (protocol::UDP, udp(67, 68)), (protocol::ICMP, icmp(8, 77)), (99, vec![])] {
        for more in [false, true] {
            let packet = packet(&Ipv4::of(protocol, &body).part(1480, more).frame());
            assert_eq!((packet.fragment, packet.transport_at), (Cut::Later(0x1234), 34));
            assert_eq!((packet.source_port, packet.destination_port, packet.flags, packet.icmp_type), (0, 0, 0, 0));
        }
    }
}

#[test]
fn a_later_part_that_begins_within_the_transport_header_is_an_overlap() {
    let at = |protocol, offset| Ipv4::of(protocol, &[0; 24]).part(offset, false).frame();
    wrong(Why::DropFragmentOverlap, &[at(protocol::TCP, 8), at(protocol::TCP, 16), at(protocol::SCTP, 8)]);
    for (protocol, offset) in [(protocol::TCP, 24), (protocol::SCTP, 16), (protocol::UDP, 8), (protocol::ICMP, 8), (99, 8)] {
        assert_eq!(packet(&at(protocol, offset)).fragment, Cut::Later(0x1234));
    }
}

#[test]
fn a_packet_that_must_not_be_cut_is_whole() {
    let frame = Ipv4 { cut: DONT_FRAGMENT, ..syn_packet() }.frame();
    assert_eq!(packet(&frame).fragment, Cut::Whole);
    // The bit that is always zero says nothing (RFC 3514 is of 1 April).
    assert_eq!(packet(&Ipv4 { cut: 0x8000, ..syn_packet() }.frame()).fragment, Cut::Whole);
}
