//! What is read in few steps is what [`crate::packet`] and [`crate::guard`] say of the same bytes, whatever they are; and most packets are read so.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::flow;
use crate::packet::{
    Inside,
    slice::Slice,
    tests::{
        made::{Ipv4, Ipv6, OWN_MAC, OWN_V4, OWN_V6, PEER_MAC, from_mac, good_frames, syn, udp},
        random::{mutants, noise},
        read as read_closely,
    },
};

const BOTH: u32 = flag::GUARD_MAC | flag::GUARD_IP;
const GUARDS: [u32; 4] = [0, flag::GUARD_MAC, flag::GUARD_IP, BOTH];
const WAYS: [Direction; 2] = [Direction::FromContainer, Direction::ToContainer];

fn attachment(flags: u32) -> End {
    End { slot: 7, flags, mac: OWN_MAC, v4: OWN_V4, v6: OWN_V6, ..End::default() }
}

/// What is read of a frame in few steps, and the key that was written.
fn plainly(bytes: &[u8], flags: u32, direction: Direction) -> Option<(Plain, FlowKey)> {
    let mut key = FlowKey::default();
    read(&Slice::of(bytes), &attachment(flags), direction, &mut key).map(|plain| (plain, key))
}

/// What holds for every frame.
fn check(bytes: &[u8]) {
    let frame = read_closely(bytes);
    for (flags, direction) in GUARDS.into_iter().flat_map(|flags| WAYS.map(|direction| (flags, direction))) {
        let Some((plain, key)) = plainly(bytes, flags, direction) else { continue };
        assert_eq!((frame.inside, frame.tags), (Inside::Ip, 0), "{bytes:02x?}");
        assert_eq!(frame.packet, packet(plain, &key, direction), "{bytes:02x?}");
        assert_eq!(frame.destination_mac, plain.destination_mac, "{bytes:02x?}");
        assert_eq!(flow::key(7, &frame.packet, direction), key, "{bytes:02x?}");
        if matches!(direction, Direction::FromContainer) {
            assert_eq!(guard::refuses(&attachment(flags), &frame, &Slice::of(bytes), |_| None), None, "{bytes:02x?}");
        }
    }
}

/// TCP and UDP over both families, from the container to its neighbour.
fn plain_frames() -> [Vec<u8>; 4] {
    let (tcp, udp) = (syn(), udp(4000, 53));
    [
        Ipv4::of(protocol::TCP, &tcp).frame(),
        Ipv4::of(protocol::UDP, &udp).frame(),
        Ipv6::of(protocol::TCP, &tcp).frame(),
        Ipv6::of(protocol::UDP, &udp).frame(),
    ]
}

#[test]
fn most_packets_are_plain_both_ways_and_under_every_guard() {
    for frame in plain_frames() {
        check(&frame);
        for (flags, direction) in GUARDS.into_iter().flat_map(|flags| WAYS.map(|direction| (flags, direction))) {
            assert!(plainly(&frame, flags, direction).is_some(), "{flags} {direction:?} {frame:02x?}");
        }
    }
}

#[test]
fn bytes_behind_a_packet_and_flags_of_tcp_leave_it_plain() {
    for mut frame in plain_frames() {
        frame.extend([0; 6]);
        check(&frame);
        assert!(plainly(&frame, BOTH, Direction::FromContainer).is_some(), "{frame:02x?}");
    }
    let acknowledges = Ipv4::of(protocol::TCP, &crate::packet::tests::made::tcp(0x10)).frame();
    let (plain, _) = plainly(&acknowledges, 0, Direction::ToContainer).unwrap();
    assert_eq!((plain.flags, plain.transport_at), (0x10, 34));
}

#[test]
fn what_a_guard_has_to_look_at_is_not_plain_but_where_none_looks() {
    let tcp = || Ipv4::of(protocol::TCP, &syn());
    let closely = [
        from_mac(PEER_MAC, tcp().frame()),
        Ipv4 { from: [10, 4, 0, 9], ..tcp() }.frame(),
        Ipv6 { from: [0xfe; 16], ..Ipv6::of(protocol::TCP, &syn()) }.frame(),
        Ipv4::of(protocol::UDP, &udp(1067, 68)).frame(),
        Ipv6::of(protocol::UDP, &udp(1547, 546)).frame(),
    ];
    for frame in closely {
        assert_eq!(plainly(&frame, BOTH, Direction::FromContainer), None, "{frame:02x?}");
        assert!(plainly(&frame, 0, Direction::FromContainer).is_some(), "{frame:02x?}");
        assert!(plainly(&frame, BOTH, Direction::ToContainer).is_some(), "{frame:02x?}");
    }
}

#[test]
fn of_a_good_frame_nothing_else_is_read_whatever_byte_is_changed_and_wherever_it_ends() {
    for mut frame in good_frames().into_iter().chain(plain_frames()) {
        check(&frame);
        (0..frame.len()).for_each(|length| check(&frame[..length]));
        for at in 0..frame.len() {
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
    fn of_random_bytes_nothing_else_is_read(bytes in noise()) {
        check(&bytes);
    }

    #[test]
    fn of_changed_frames_nothing_else_is_read(bytes in mutants()) {
        check(&bytes);
    }
}
