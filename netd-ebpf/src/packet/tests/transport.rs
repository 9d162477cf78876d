//! TCP, UDP, SCTP, ICMP and ICMPv6, over both versions of IP.

use std::{vec, vec::Vec};

use super::made::{Ipv4, Ipv6, extension, icmp, sctp, syn, tcp, udp};
use super::*;
use crate::flow::opens;

/// The same body over both versions, and over IPv6 behind an extension header.
fn over_both(protocol: u8, body: &[u8]) -> [Vec<u8>; 3] {
    let v6 = Ipv6::of(protocol, body);
    [Ipv4::of(protocol, body).frame(), v6.frame(), v6.behind(extension(60, 1)).frame()]
}

#[test]
fn ports_are_read_of_tcp_udp_and_sctp() {
    for (protocol, body) in [(protocol::TCP, syn()), (protocol::UDP, udp(4000, 80)), (protocol::SCTP, sctp())] {
        for frame in over_both(protocol, &body) {
            let packet = packet(&frame);
            assert_eq!((packet.protocol, packet.source_port, packet.destination_port), (protocol, 4000, 80));
        }
    }
}

#[test]
fn a_transport_header_that_is_cut_off_is_wrong() {
    for (protocol, body) in [(protocol::TCP, &syn()[..]), (protocol::UDP, &udp(1, 2)[..8]), (protocol::SCTP, &sctp())] {
        (0..body.len()).for_each(|length| wrong(Why::DropMalformed, &over_both(protocol, &body[..length])));
    }
    (0..8).for_each(|length| wrong(Why::DropMalformed, &[Ipv4::of(protocol::ICMP, &icmp(8, 1)[..length]).frame()]));
    (0..8).for_each(|length| wrong(Why::DropMalformed, &over_both(protocol::ICMPV6, &icmp(128, 1)[..length])[1..]));
}

#[test]
fn a_tcp_header_says_how_long_it_is_and_has_to_be_that_long() {
    let of_words = |words: u8, behind: usize| {
        let mut body = syn();
        body[12] = words << 4;
        body.extend(vec![1; behind]);
        over_both(protocol::TCP, &body)
    };
    of_words(15, 40).iter().for_each(|frame| assert_eq!(packet(frame).flags, tcp::SYN));
    for (words, behind) in [(0, 0), (4, 40), (6, 3), (15, 39)] {
        wrong(Why::DropMalformed, &of_words(words, behind));
    }
}

#[test]
fn only_a_syn_alone_opens_a_connection() {
    for (flags, is_meant) in [
        (tcp::SYN, true),
        (tcp::SYN | 0xe8, true), // with ECE, CWR, URG and PSH
        (tcp::SYN | tcp::ACK, false),
        (tcp::SYN | tcp::RST, false),
        (tcp::SYN | tcp::FIN, false),
        (tcp::ACK, false),
        (0, false),
    ] {
        over_both(protocol::TCP, &tcp(flags)).iter().for_each(|frame| assert_eq!(opens(packet(frame).flags), is_meant, "{flags:#x}"));
    }
    assert!(!opens(packet(&Ipv4::of(protocol::UDP, &udp(1, 2)).frame()).flags));
}

#[test]
fn an_echo_and_its_reply_have_their_identifier_for_ports() {
    let pairs = [8, 0].map(|kind| Ipv4::of(protocol::ICMP, &icmp(kind, 0xabcd)).frame());
    let pairs6 = [128, 129].map(|kind| Ipv6::of(protocol::ICMPV6, &icmp(kind, 0xabcd)).frame());
    for (frame, kind) in pairs.iter().chain(&pairs6).zip([8, 0, 128, 129]) {
        let packet = packet(frame);
        assert_eq!((packet.source_port, packet.destination_port, packet.icmp_type, packet.marks), (0xabcd, 0xabcd, kind, 0));
    }
}

#[test]
fn errors_are_marked_and_have_no_ports() {
    let marked = |frame: Vec<u8>| packet(&frame);
    let v4 = (0..=255).filter(|kind| marked(Ipv4::of(protocol::ICMP, &icmp(*kind, 5)).frame()).has(mark::ICMP_ERROR));
    assert_eq!(v4.collect::<Vec<_>>(), [3, 4, 11, 12]);
    let v6 = (0..=255).filter(|kind| marked(Ipv6::of(protocol::ICMPV6, &icmp(*kind, 5)).frame()).has(mark::ICMP_ERROR));
    assert_eq!(v6.collect::<Vec<_>>(), [1, 2, 3, 4]);
    let error = packet(&Ipv4::of(protocol::ICMP, &icmp(3, 5)).frame());
    assert_eq!((error.source_port, error.destination_port, error.icmp_type), (0, 0, 3));
}

#[test]
fn what_a_link_needs_is_marked_where_no_router_can_have_sent_it_on() {
    let is_of_link = |frame: Vec<u8>| packet(&frame).is_of_link(&slice::Slice::of(&frame));
    let kinds = |hops: u8| -> Vec<u8> {
        let message = |kind: u8| Ipv6 { hops, ..Ipv6::of(protocol::ICMPV6, &icmp(kind, 5)) };
        let plain: Vec<u8> = (0..=255).filter(|kind| is_of_link(message(*kind).frame())).collect();
        let behind = (0..=255).filter(|kind| is_of_link(message(*kind).behind(extension(0, 1)).frame()));
        assert_eq!(behind.collect::<Vec<_>>(), plain);
        plain
    };
    assert_eq!(kinds(255), [133, 134, 135, 136, 137]);
    assert_eq!(kinds(1), [130, 131, 132, 143]);
    assert_eq!([0, 2, 64, 254].map(kinds), [const { Vec::new() }; 4]);
}

#[test]
fn icmp_of_the_other_version_means_nothing() {
    let v6_over_v4 = packet(&Ipv4::of(protocol::ICMPV6, &icmp(134, 5)).frame());
    let v4_over_v6 = packet(&Ipv6::of(protocol::ICMP, &icmp(3, 5)).frame());
    assert_eq!((v6_over_v4.marks, v4_over_v6.marks), (0, 0));
    assert_eq!((v6_over_v4.icmp_type, v4_over_v6.icmp_type), (0, 0));
}

#[test]
fn protocols_without_ports_need_no_byte() {
    for protocol in [2, 41, 47, 50, 59, 89, 255] {
        for frame in over_both(protocol, &[]) {
            let packet = packet(&frame);
            assert_eq!((packet.protocol, packet.source_port, packet.destination_port, packet.flags), (protocol, 0, 0, 0));
        }
    }
}
