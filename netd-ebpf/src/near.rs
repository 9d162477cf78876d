//! Where a CPU found flows and neighbours lately: packets come in trains, and what was found a moment ago is there without a search. Never says whether it is
//! still there: a flow's mark does, and a neighbour's address.
//!
//! A note is of one key, and of the mark that the flow had: while that is the same to the bit it says what was said of this key, and the flow there is the one that
//! was found, or one of the few with the same hash that took its place within the second (or is just being written there): then something is counted for the wrong
//! one. A note holds for a second, and for the epoch in which it was made: two CPUs that began one and the same flow at the same moment, each at another place, search
//! again and find one.

use netd_abi::flow::FlowKey;
use netd_abi::table::{Mark, WAYS, place_in_flows, seconds};

use crate::packet::Address;
use crate::spread;

/// Flows that a CPU remembers: as many as leave room in its own cache. Of those that share a place the last one is remembered.
pub const PLACES: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 7;
/// Neighbours that it remembers.
pub const NEIGHBOURS: usize = 1 << NEIGHBOUR_BITS;
const NEIGHBOUR_BITS: u32 = 4;

/// Where a flow was found: one line of memory.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near {
    key: FlowKey,
    held: Held,
    /// The mark that it had.
    pub mark: Mark,
    /// Where its mark is: which word of map `MARKS`.
    pub word: u32,
    /// Its place in map `FLOWS`.
    pub at: u32,
}

/// When something was noted ([`seconds`]), and in which epoch: what it says holds no longer than both.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held(u64);

impl Held {
    /// Now.
    #[inline(always)]
    #[must_use]
    pub const fn since(now_ns: u64, epoch: u32) -> Self {
        Self(seconds(now_ns) << 32 | epoch as u64)
    }
}

/// What was found lately.
#[repr(C)]
pub struct Nearby {
    flows: [Near; PLACES],
    /// Indexes of their host ends, by their addresses.
    neighbours: [u32; NEIGHBOURS],
}

impl Nearby {
    /// Where a flow was found.
    #[inline(always)]
    #[must_use]
    pub fn of(&self, key: &FlowKey, held: Held) -> Option<&Near> {
        let near = &self.flows[place(key)];
        (near.key.is(key) && near.held == held).then_some(near)
    }

    /// A flow was found here, with this mark.
    #[inline(always)]
    pub fn note(&mut self, key: &FlowKey, held: Held, word: u32, mark: Mark) {
        let at = place_in_flows(word / WAYS, word % WAYS);
        self.flows[place(key)] = Near { key: *key, held, mark, word, at };
    }

    /// The host end at which this address may be, or another one, or zero.
    #[inline(always)]
    #[must_use]
    pub fn neighbour(&self, address: &Address) -> u32 {
        self.neighbours[neighbour_place(address)]
    }

    /// Whose address it is.
    #[inline(always)]
    pub fn note_neighbour(&mut self, address: &Address, ifindex: u32) {
        self.neighbours[neighbour_place(address)] = ifindex;
    }
}

/// By attachment, ports, and the end of the other's address.
#[inline(always)]
fn place(key: &FlowKey) -> usize {
    let [first, .., last] = key.words();
    spread::place(first ^ last, PLACE_BITS) as usize
}

/// By the end of the address: neighbours differ there.
#[inline(always)]
fn neighbour_place(address: &Address) -> usize {
    spread::place(u64::from(address[3]), NEIGHBOUR_BITS) as usize
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::packet::v4;

    fn key(slot: u16, local_port: u16) -> FlowKey {
        FlowKey { slot, protocol: 6, local_port: local_port.to_be_bytes(), remote_port: [0, 80], ..FlowKey::default() }
    }

    fn nobody() -> Nearby {
        let nothing = Near { key: FlowKey::default(), held: Held(0), mark: Mark::NOTHING, word: 0, at: 0 };
        Nearby { flows: [nothing; PLACES], neighbours: [0; NEIGHBOURS] }
    }

    #[test]
    fn neighbours_one_after_another_are_each_found_where_they_were_noted() {
        let mut nearby = nobody();
        let address = |last: u8| v4(u32::from_ne_bytes([10, 80, 0, last]));
        assert_eq!(nearby.neighbour(&address(2)), 0);
        (2..6).for_each(|last| nearby.note_neighbour(&address(last), 100 + u32::from(last)));
        let found: Vec<u32> = (2..6).map(|last| nearby.neighbour(&address(last))).collect();
        assert_eq!(found, [102, 103, 104, 105]);
    }

    #[test]
    fn a_flow_is_found_where_it_was_noted_until_another_takes_the_place() {
        let mut nearby = nobody();
        let one = key(3, 40_000);
        let held = |second: u64| Held::since(second << 30, 5);
        let found = |nearby: &Nearby, key: &FlowKey, held: Held| nearby.of(key, held).map(|near| (near.word, near.mark));
        assert_eq!(found(&nearby, &one, held(0)), None);
        nearby.note(&one, held(7), 77, Mark(3));
        assert_eq!((found(&nearby, &one, held(7)), found(&nearby, &one, held(8))), (Some((77, Mark(3))), None));
        assert_eq!(found(&nearby, &one, Held::since(7 << 30, 6)), None, "in another epoch it may be judged otherwise");
        assert_eq!(found(&nearby, &key(4, 40_000), held(7)), None);
        let elsewhere = FlowKey { remote: [9; 16], ..one };
        assert_eq!(found(&nearby, &elsewhere, held(7)), None, "who has the same ports at another address is another one");
        let other = (1..).map(|port| key(3, port)).find(|other| place(other) == place(&one)).unwrap();
        nearby.note(&other, held(7), 78, Mark(5));
        assert_eq!((found(&nearby, &one, held(7)), found(&nearby, &other, held(7))), (None, Some((78, Mark(5)))));
    }

    #[test]
    fn connections_one_after_another_share_few_places() {
        let places: std::collections::BTreeSet<usize> = (32_768..32_768 + 64).map(|port| place(&key(1, port))).collect();
        // Of 64 thrown at random into 128 places some 50 differ.
        assert!(places.len() >= 45, "{}", places.len());
    }
}
