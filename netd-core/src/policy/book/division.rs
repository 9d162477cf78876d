//! Divides all addresses into classes: those that exactly the same blocks of rules contain. Knows no container.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::limit::{Limit, OVERLAPS_MOST, TooLarge};
use crate::policy::model::Block;

/// `::ffff:0:0/96`, where IPv4 is in the 128 bits (RFC 4291, 2.5.5.2).
const V4_ROOT: u128 = 0xffff << 32;
const V4_BITS: u8 = 96;
/// Addresses that no block contains.
pub(super) const NO_CLASS: u32 = 0;

/// An address as the maps have it.
pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

/// Prefixes, and the class of what is in each but not in a longer one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Division {
    /// By first address and length; a prefix of its surrounding one's class is left out.
    pub(super) prefixes: BTreeMap<(u128, u8), u32>,
    /// Per class the numbers of the block sets that contain it, ascending. The first class is [`NO_CLASS`].
    pub(super) classes: Vec<Vec<u32>>,
    /// Lengths that there are, the longest first.
    lengths: Vec<u8>,
}

impl Division {
    /// Of these sets of blocks, each with its number. One pass over the sorted prefixes, so that 100,000 of them are no matter.
    pub(super) fn new<'a>(sets: impl Iterator<Item = (u32, &'a [Block])>) -> Result<Self, TooLarge> {
        let mut walk = Walk::default();
        let (mut six, mut four) = (Vec::new(), Vec::new());
        for (set, blocks) in sets {
            for block in blocks {
                let number = u32::try_from(walk.blocks.len()).unwrap_or(u32::MAX);
                walk.blocks.push(State { set, inside: false, excepted: 0 });
                for (net, is_except) in [(block.cidr, false)].into_iter().chain(block.except.iter().map(|net| (*net, true))) {
                    let events = if net.addr().is_ipv4() { &mut four } else { &mut six };
                    events.extend(event(net, number, is_except));
                }
            }
        }
        walk.division.classes.push(Vec::new());
        walk.interned.insert(Vec::new(), NO_CLASS);
        walk.family(six, NO_CLASS)?;
        // Blocks of IPv6 contain no IPv4 address, also where their prefix does.
        let around = walk.division.prefixes.iter().rfind(|((start, length), _)| V4_ROOT & mask(*length) == *start);
        let around = around.map_or(NO_CLASS, |(_, class)| *class);
        if around != NO_CLASS {
            four.push(Event { start: V4_ROOT, length: V4_BITS, block: None, is_except: false });
        }
        walk.family(four, around)?;
        let lengths: BTreeSet<u8> = walk.division.prefixes.keys().map(|(_, length)| *length).collect();
        walk.division.lengths = lengths.into_iter().rev().collect();
        Ok(walk.division)
    }

    /// The class of an address.
    pub(super) fn class_of(&self, address: u128) -> u32 {
        self.prefix_of(address, 128).map_or(NO_CLASS, |prefix| self.prefixes[&prefix])
    }

    /// The longest prefix around an address that is not longer than that.
    pub(super) fn prefix_of(&self, address: u128, most: u8) -> Option<(u128, u8)> {
        let lengths = self.lengths.iter().filter(|length| **length <= most);
        lengths.map(|length| (address & mask(*length), *length)).find(|prefix| self.prefixes.contains_key(prefix))
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    start: u128,
    length: u8,
    block: Option<u32>,
    is_except: bool,
}

fn event(net: IpNet, block: u32, is_except: bool) -> Option<Event> {
    let (start, length) = match net {
        IpNet::V4(net) => (V4_ROOT | u128::from(net.network().to_bits()), V4_BITS + net.prefix_len()),
        IpNet::V6(net) => (net.network().to_bits(), net.prefix_len()),
    };
    // Mapped addresses are IPv4 to us, and no block of IPv6 contains those.
    let is_mapped = net.addr().is_ipv6() && length >= V4_BITS && start & mask(V4_BITS) == V4_ROOT;
    (!is_mapped).then_some(Event { start, length, block: Some(block), is_except })
}

/// One block, seen from where the walk is.
struct State {
    set: u32,
    inside: bool,
    excepted: u32,
}

#[derive(Default)]
struct Walk {
    division: Division,
    interned: BTreeMap<Vec<u32>, u32>,
    blocks: Vec<State>,
    /// Per set, how many of its blocks contain the place; those with none are not in it.
    containing: BTreeMap<u32, u32>,
    overlaps: usize,
}

/// A prefix that the walk is in.
struct Frame {
    start: u128,
    length: u8,
    class: u32,
    undo: Vec<(u32, bool)>,
}

impl Walk {
    fn family(&mut self, mut events: Vec<Event>, around: u32) -> Result<(), TooLarge> {
        events.sort_unstable();
        events.dedup();
        let mut stack: Vec<Frame> = Vec::new();
        let mut events = events.into_iter().peekable();
        while let Some(Event { start, length, block, is_except }) = events.next() {
            while let Some(frame) = stack.pop_if(|frame| start & mask(frame.length) != frame.start) {
                self.leave(frame);
            }
            let mut frame = Frame { start, length, class: NO_CLASS, undo: Vec::new() };
            self.enter(&mut frame, block, is_except);
            while let Some(event) = events.next_if(|event| (event.start, event.length) == (start, length)) {
                self.enter(&mut frame, event.block, event.is_except);
            }
            frame.class = self.class()?;
            if frame.class != stack.last().map_or(around, |frame| frame.class) {
                self.division.prefixes.insert((start, length), frame.class);
            }
            stack.push(frame);
        }
        while let Some(frame) = stack.pop() {
            self.leave(frame);
        }
        Ok(())
    }

    fn enter(&mut self, frame: &mut Frame, block: Option<u32>, is_except: bool) {
        let Some(block) = block else { return };
        frame.undo.push((block, is_except));
        self.change(block, |state| if is_except { state.excepted += 1 } else { state.inside = true });
    }

    fn leave(&mut self, frame: Frame) {
        for (block, is_except) in frame.undo {
            self.change(block, |state| if is_except { state.excepted -= 1 } else { state.inside = false });
        }
    }

    fn change(&mut self, block: u32, change: impl FnOnce(&mut State)) {
        let state = &mut self.blocks[block as usize];
        let contains = |state: &State| state.inside && state.excepted == 0;
        let before = contains(state);
        change(state);
        match (before, contains(state)) {
            (false, true) => *self.containing.entry(state.set).or_default() += 1,
            (true, false) => {
                if let Some(count) = self.containing.get_mut(&state.set) {
                    *count -= 1;
                    if *count == 0 {
                        self.containing.remove(&state.set);
                    }
                }
            }
            _ => {}
        }
    }

    fn class(&mut self) -> Result<u32, TooLarge> {
        self.overlaps += self.containing.len();
        if self.overlaps > OVERLAPS_MOST {
            return Err(TooLarge { limit: Limit::Overlaps, wanted: self.overlaps, policy: None });
        }
        let class: Vec<u32> = self.containing.keys().copied().collect();
        if let Some(number) = self.interned.get(&class) {
            return Ok(*number);
        }
        let number = u32::try_from(self.division.classes.len()).unwrap_or(u32::MAX);
        self.division.classes.push(class.clone());
        self.interned.insert(class, number);
        Ok(number)
    }
}
