#![no_main]
//! The programs' reading of frames, and their guard: whatever the bytes are, neither panics, and what is read lies within the frame.

use libfuzzer_sys::fuzz_target;
use netd_abi::{
    Action,
    attachment::{End, flag},
};
use netd_ebpf::{
    guard,
    packet::{Bytes, Frame, Header, Inside, parse},
};

#[derive(Clone, Copy)]
struct Slice<'a> {
    whole: &'a [u8],
    begins: usize,
}

impl Header for Slice<'_> {
    fn u8(&self, at: u32) -> Option<u8> {
        self.whole.get(self.begins + at as usize).copied()
    }

    fn u16(&self, at: u32) -> Option<u16> {
        self.far(self.begins as u32 + at).map(u16::from_be_bytes)
    }

    fn word(&self, at: u32) -> Option<u32> {
        self.far(self.begins as u32 + at).map(u32::from_ne_bytes)
    }
}

impl Bytes for Slice<'_> {
    fn from(&self, at: u32) -> Option<Self> {
        Some(Self { begins: at as usize, ..*self })
    }

    fn far<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        self.whole.get(at as usize..)?.first_chunk().copied()
    }

    fn length(&self) -> u32 {
        self.whole.len() as u32
    }
}

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
    let slice = Slice { whole: bytes, begins: 0 };
    let mut frame = Frame::default();
    assert_eq!(parse(&slice, &mut frame), bytes.len() >= 14);
    if frame.inside == Inside::Ip {
        assert!(frame.packet.network_at == 14 + frame.tags && frame.packet.transport_at > frame.packet.network_at);
        assert!(frame.packet.transport_at <= slice.length());
    }
    for flags in [flag::GUARD_MAC, flag::GUARD_IP, flag::GUARD_MAC | flag::GUARD_IP | flag::ALLOWED] {
        let why = guard::refuses(&End { flags, ..SENDER }, &frame, &slice, |address| address[3] & 1 == 0);
        assert!(why.is_none_or(|why| why.action() == Action::Drop));
    }
});
