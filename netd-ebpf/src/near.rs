//! Where a CPU found flows and neighbours lately: packets come in trains, and what was found a moment ago is there without a search. Never says what is known of
//! it, nor whether it is still there: a flow's mark and key do, and a neighbour's address.
//!
//! A note of a flow holds for a second: two CPUs that began one and the same at the same moment, each at another place, search again and find one.

use netd_abi::flow::FlowKey;

use crate::packet::Address;

/// Flows that a CPU remembers: as many as leave room in its own cache. Of those that share a place the last one is remembered.
pub const PLACES: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 7;
/// Neighbours that it remembers.
pub const NEIGHBOURS: usize = 1 << NEIGHBOUR_BITS;
const NEIGHBOUR_BITS: u32 = 4;
/// Two to the 64, divided by the golden ratio: multiplied with it, numbers that differ a little differ in their highest bits (Knuth, TAOCP 3, 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where a flow was found.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Near {
    key: FlowKey,
    /// Its place in map `FLOWS`.
    pub at: u32,
    /// What its mark has of its key ([`netd_abi::table::Place::check`]).
    pub check: u32,
    /// When, in units of 2^30 ns.
    second: u64,
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
    pub fn of(&self, key: &FlowKey, now_ns: u64) -> Option<&Near> {
        let near = &self.flows[place(key)];
        (near.key.is(key) && near.second == now_ns >> 30).then_some(near)
    }

    /// A flow was found.
    #[inline(always)]
    pub fn note(&mut self, key: &FlowKey, now_ns: u64, at: u32, check: u32) {
        self.flows[place(key)] = Near { key: *key, at, check, second: now_ns >> 30 };
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
    ((first ^ last).wrapping_mul(SPREAD) >> (64 - PLACE_BITS)) as usize
}

/// By the end of the address: neighbours differ there.
#[inline(always)]
fn neighbour_place(address: &Address) -> usize {
    (u64::from(address[3]).wrapping_mul(SPREAD) >> (64 - NEIGHBOUR_BITS)) as usize
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
        Nearby { flows: [Near::default(); PLACES], neighbours: [0; NEIGHBOURS] }
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
        let found = |nearby: &Nearby, key: &FlowKey, second: u64| nearby.of(key, second << 30).map(|near| (near.at, near.check));
        assert_eq!(found(&nearby, &one, 0), None);
        nearby.note(&one, 7 << 30, 77, 5);
        assert_eq!((found(&nearby, &one, 7), found(&nearby, &one, 8)), (Some((77, 5)), None));
        assert_eq!(found(&nearby, &key(4, 40_000), 7), None);
        let elsewhere = FlowKey { remote: [9; 16], ..one };
        assert_eq!(found(&nearby, &elsewhere, 7), None, "who has the same ports at another address is another one");
        let other = (1..).map(|port| key(3, port)).find(|other| place(other) == place(&one)).unwrap();
        nearby.note(&other, 7 << 30, 78, 6);
        assert_eq!((found(&nearby, &one, 7), found(&nearby, &other, 7)), (None, Some((78, 6))));
    }

    #[test]
    fn connections_one_after_another_share_few_places() {
        let places: std::collections::BTreeSet<usize> = (32_768..32_768 + 64).map(|port| place(&key(1, port))).collect();
        // Of 64 thrown at random into 128 places some 50 differ.
        assert!(places.len() >= 45, "{}", places.len());
    }
}
