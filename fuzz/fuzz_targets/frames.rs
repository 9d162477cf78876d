#![no_main]
//! The programs' reading of frames, and their guard: whatever the bytes are, neither panics, what is read lies within the frame, and the short reading of
//! plain packets says what the long one says.

use libfuzzer_sys::fuzz_target;
use netd_abi::{
    Action, Direction,
    attachment::{End, flag},
    flow::FlowKey,
};
use netd_ebpf::{
    flow, guard,
    packet::{Bytes as _, Frame, Inside, parse, slice::Slice},
    plain,
};

/// The container that is said to send it: its addresses, and what of it is checked.
const SENDER: End = End {
    slot: 0,
    pacer: 0,
    flags: 0,
    bridge: 0,
    ifindex: 0,
    v4: [10, 4, 0, 2],
    v6: [0xfd, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
    mac: [2, 0x6e, 0x64, 0, 0, 2],
    padding: [0; 2],
};

fuzz_target!(|bytes: &[u8]| {
    let slice = Slice::of(bytes);
    let mut frame = Frame::default();
    assert_eq!(parse(&slice, &mut frame), bytes.len() >= 14);
    if frame.inside == Inside::Ip {
        assert!(frame.packet.network_at == 14 + frame.tags && frame.packet.transport_at > frame.packet.network_at);
        assert!(frame.packet.transport_at <= slice.length());
    }
    for flags in [0, flag::GUARD_MAC, flag::GUARD_IP, flag::GUARD_MAC | flag::GUARD_IP, flag::GUARD_MAC | flag::GUARD_IP | flag::ALLOWED] {
        let end = End { flags, ..SENDER };
        let why = guard::refuses(&end, &frame, &slice, |address| (address[3] & 1 == 0).then_some(address[3] >> 1 & 1));
        assert!(why.is_none_or(|why| why.action() == Action::Drop));
        for direction in [Direction::FromContainer, Direction::ToContainer] {
            let mut key = FlowKey::default();
            let Some(plain) = plain::read(&slice, &end, direction, &mut key) else { continue };
            assert_eq!((frame.inside, frame.tags, frame.destination_mac), (Inside::Ip, 0, plain.destination_mac));
            assert_eq!(frame.packet, plain::packet(plain, &key, direction));
            assert_eq!(flow::key(SENDER.slot, &frame.packet, direction), key);
            assert!(matches!(direction, Direction::ToContainer) || guard::refuses(&end, &frame, &slice, |_| None).is_none());
        }
    }
});
