//! Where a CPU found flows lately: packets come in trains, and one of a flow that was found a moment ago is there without a search. Never says what is known of
//! a flow, nor whether it is still there: its mark and its key do.

use netd_abi::flow::FlowKey;

/// Flows that a CPU remembers: as many as leave room in its own cache. Of those that share a place the last one is remembered.
pub const PLACES: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 7;
/// Two to the 64, divided by the golden ratio: multiplied with it, numbers that differ a little differ in their highest bits (Knuth, TAOCP 3, 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where a flow was found.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Near {
    /// The first word of its key: attachment, protocol and ports.
    first: u64,
    /// Its place in map `FLOWS`.
    pub at: u32,
    /// What its mark has of its key ([`netd_abi::table::Place::check`]).
    pub check: u32,
}

/// Flows found lately.
#[repr(transparent)]
pub struct Nearby([Near; PLACES]);

impl Nearby {
    /// Where a flow may be: one with the same ports was found there.
    #[inline(always)]
    #[must_use]
    pub fn of(&self, key: &FlowKey) -> Option<Near> {
        let near = self.0[place(key)];
        (near.first == key.first()).then_some(near)
    }

    /// A flow was found.
    #[inline(always)]
    pub fn note(&mut self, key: &FlowKey, at: u32, check: u32) {
        self.0[place(key)] = Near { first: key.first(), at, check };
    }
}

#[inline(always)]
fn place(key: &FlowKey) -> usize {
    (key.first().wrapping_mul(SPREAD) >> (64 - PLACE_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u16, local_port: u16) -> FlowKey {
        FlowKey { slot, protocol: 6, local_port: local_port.to_be_bytes(), remote_port: [0, 80], ..FlowKey::default() }
    }

    #[test]
    fn a_flow_is_found_where_it_was_noted_until_another_takes_the_place() {
        let mut nearby = Nearby([Near::default(); PLACES]);
        let one = key(3, 40_000);
        assert_eq!(nearby.of(&one), None);
        nearby.note(&one, 77, 5);
        assert_eq!(nearby.of(&one), Some(Near { first: one.first(), at: 77, check: 5 }));
        assert_eq!(nearby.of(&key(4, 40_000)), None);
        let other = (1..).map(|port| key(3, port)).find(|other| place(other) == place(&one)).unwrap();
        nearby.note(&other, 78, 6);
        assert_eq!((nearby.of(&one), nearby.of(&other).map(|near| near.at)), (None, Some(78)));
    }

    #[test]
    fn connections_one_after_another_share_no_place() {
        let places: std::collections::BTreeSet<usize> = (32_768..32_768 + 64).map(|port| place(&key(1, port))).collect();
        // Of 64 thrown at random into 128 places some 50 differ.
        assert!(places.len() >= 45, "{}", places.len());
    }
}
