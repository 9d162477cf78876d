//! Bytes that nobody meant, and good frames with some of theirs changed: whatever they are, reading and guarding them ends without a panic, and what is
//! read of them is in them.

use std::vec::Vec;

use netd_abi::attachment::{End, flag};
use proptest::prelude::*;

use super::made::{OWN_MAC, OWN_V4, OWN_V6, good_frames};
use super::*;
use crate::guard;

/// Changes bytes of a good frame, cuts it off, and puts something behind it.
pub(crate) fn mutants() -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let tail = proptest::collection::vec(any::<u8>(), 0..40);
    (prop::sample::select(good_frames()), changes, any::<prop::sample::Index>(), any::<bool>(), tail).prop_map(
        |(mut frame, changes, end, cut, tail)| {
            // Behind the hardware addresses, which say nothing.
            changes.iter().for_each(|(at, byte)| {
                let at = 12 + at.index(frame.len() - 12);
                frame[at] = *byte;
            });
            if cut {
                frame.truncate(end.index(frame.len() + 1));
            }
            frame.extend(tail);
            frame
        },
    )
}

/// Random bytes behind an Ethernet type that is looked into.
pub(crate) fn noise() -> impl Strategy<Value = Vec<u8>> {
    let kinds = [[8, 0, 0x45], [8, 0, 0x4f], [8, 6, 0], [0x86, 0xdd, 0x60], [0x81, 0, 0], [0x88, 0xa8, 0], [0xff, 0xff, 0]];
    (prop::sample::select(kinds.to_vec()), proptest::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(kind, bytes)| [&[2; 12][..], &kind, &bytes].concat())
}

fn attachment(flags: u32) -> End {
    End { flags, mac: OWN_MAC, v4: OWN_V4, v6: OWN_V6, ..End::default() }
}

/// What holds for every frame.
fn check(bytes: &[u8]) {
    let frame = read(bytes);
    assert_eq!(frame, read(bytes), "the same bytes say the same");
    let len = bytes.len() as u32;
    let guarded = flag::GUARD_MAC | flag::GUARD_IP | flag::ALLOWED;
    for flags in [0, flag::GUARD_MAC, flag::GUARD_IP, flag::GUARD_IP | flag::ALLOWED, guarded] {
        let why =
            guard::refuses(&attachment(flags), &frame, &Slice::of(bytes), |address| (address[3] & 1 == 0).then_some(address[3] >> 1 & 1));
        assert!(why.is_none_or(|why| why.action() == netd_abi::Action::Drop), "{why:?}");
        assert!(flags != 0 || why.is_none());
    }
    if frame.inside != Inside::Ip {
        return;
    }
    let packet = frame.packet;
    let first_byte = bytes[packet.network_at as usize];
    let header = if first_byte >> 4 == 4 { u32::from(first_byte & 15) * 4 } else { 40 };
    assert_eq!(packet.network_at, 14 + frame.tags);
    assert_eq!(is_v4(&packet.source), is_v4(&packet.destination));
    assert_eq!(is_v4(&packet.source), first_byte >> 4 == 4);
    assert!(packet.transport_at >= packet.network_at + header && packet.transport_at <= len, "{packet:?}");
    let is_read = !matches!(packet.fragment, Cut::Later(_)) && !packet.has(mark::TOO_MANY_HEADERS);
    let transport = bytes.get(packet.transport_at as usize..).unwrap_or_default();
    match packet.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP if is_read => {
            assert_eq!(transport[..2], packet.source_port.to_be_bytes());
            assert_eq!(transport[2..4], packet.destination_port.to_be_bytes());
            assert!(transport.len() >= if packet.protocol == protocol::TCP { 20 } else { 8 });
            assert_eq!(packet.flags, if packet.protocol == protocol::TCP { transport[13] } else { 0 });
        }
        protocol::ICMP | protocol::ICMPV6 if is_read && packet.icmp_type != 0 => assert_eq!(transport[0], packet.icmp_type),
        protocol::ICMP | protocol::ICMPV6 if is_read => {}
        _ => assert_eq!((packet.source_port, packet.destination_port, packet.flags, packet.icmp_type), (0, 0, 0, 0)),
    }
}

#[test]
fn good_frames_are_read_to_their_ports() {
    for frame in good_frames() {
        check(&frame);
        assert!(matches!(read(&frame).inside, Inside::Ip | Inside::Arp), "{frame:02x?}");
    }
}

#[test]
fn every_beginning_of_a_good_frame_can_be_read() {
    for frame in good_frames() {
        (0..=frame.len()).for_each(|length| check(&frame[..length]));
    }
}

#[test]
fn every_single_byte_of_a_good_frame_may_have_every_value() {
    for mut frame in good_frames() {
        for at in 12..frame.len() {
            let was = frame[at];
            (0..=255).for_each(|byte| {
                frame[at] = byte;
                check(&frame);
            });
            frame[at] = was;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        check(&bytes);
    }

    #[test]
    fn random_bytes_of_a_known_type_are_read_without_a_panic(bytes in noise()) {
        check(&bytes);
    }

    #[test]
    fn changed_frames_are_read_without_a_panic(bytes in mutants()) {
        check(&bytes);
    }
}
