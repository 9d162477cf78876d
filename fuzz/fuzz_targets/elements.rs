//! Elements as the kernel dumps them: any bytes of any set decode to something, and what is ours encodes back to what it was. Never asks a kernel.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netd_core::firewall::{
    Element,
    element::wire::{Wire, decode, encode},
    set::SETS,
};

fuzz_target!(|input: (u8, Vec<(Vec<u8>, bool, Option<Vec<u8>>, Option<Vec<u8>>)>)| {
    let (which, wires) = input;
    let set = &SETS[usize::from(which) % SETS.len()];
    let wires = wires.into_iter().map(|(key, ends, last, data)| Wire { key, ends, last, data });
    for element in decode(set, wires) {
        if !matches!(element, Element::Stray(_)) {
            assert_eq!(decode(set, encode(&element)), [element]);
        }
    }
});
