//! What is known of a packet while a program works on it. Holds no pointers: it lies in a map.
//!
//! What is done seldom stands in functions that take nothing but the packet and find the rest here: such a function has a name of its own in the object
//! (`no_mangle`), and the verifier looks at it once, not again for each way that leads to it (Documentation/bpf/verifier.rst). Without that it takes seconds.

use netd_abi::flow::{Config, Flow, FlowKey};
use netd_abi::{Counters, Direction};
use netd_ebpf::packet::Frame;

/// One packet's work.
pub(crate) struct Work {
    /// The frame, parsed.
    pub(crate) frame: Frame,
    /// The packet as part of a flow.
    pub(crate) seen: Seen,
    /// A new flow, before it is put into its map.
    pub(crate) flow: Flow,
}

/// A packet as part of a flow.
pub(crate) struct Seen {
    /// The flow.
    pub(crate) key: FlowKey,
    /// How much it counts.
    pub(crate) counted: Counters,
    /// Now.
    pub(crate) now: u64,
    /// What holds for all programs.
    pub(crate) config: Config,
    /// The interface of the attachment that is asked about.
    pub(crate) ifindex: u32,
    /// Which way it goes, seen from the attachment: a [`Direction`]'s number. (Of an enum the compiler knows that it has two values, and leaves out the bound
    /// that the verifier has to see.)
    way: u32,
    /// Whether the host itself sent it.
    pub(crate) from_host: bool,
    /// What policy is asked about: which way the flow's first packet went, as above.
    asked: u32,
    /// Bits of [`netd_ebpf::flow::opener`], without the direction; policy may add to them.
    pub(crate) opener: u8,
}

impl Seen {
    /// Which way it goes, seen from the attachment.
    #[inline(always)]
    pub(crate) fn direction(&self) -> Direction {
        Direction::from_number(self.way)
    }

    /// The place of this direction in arrays of two.
    #[inline(always)]
    pub(crate) fn place(&self) -> usize {
        (self.way & 1) as usize
    }

    /// Sets which way it goes.
    #[inline(always)]
    pub(crate) fn goes(&mut self, direction: Direction) {
        self.way = direction.number();
    }

    /// Which way the first packet of the flow went that policy is asked about.
    #[inline(always)]
    pub(crate) fn asked(&self) -> Direction {
        Direction::from_number(self.asked)
    }

    /// Sets what policy is asked about.
    #[inline(always)]
    pub(crate) fn asks(&mut self, direction: Direction) {
        self.asked = direction.number();
    }
}
