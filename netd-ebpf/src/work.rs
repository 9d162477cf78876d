//! What is known of a packet while a program works on it. Holds no pointers: it lies in a map.
//!
//! What is done seldom stands in functions that take nothing but the packet and find the rest here: such a function has a name of its own in the object
//! (`no_mangle`), and the verifier looks at it once, not again for each way that leads to it (Documentation/bpf/verifier.rst). Without that it takes seconds.

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns};
use aya_ebpf::programs::TcContext;
use netd_abi::flow::{Config, Flow, FlowKey, Judged, JudgedKey};
use netd_abi::table::Place;
use netd_abi::{Counters, Direction};
use netd_ebpf::near::Nearby;
use netd_ebpf::packet::Frame;

use crate::read;
use crate::track::Passing;

/// One packet's work, and what its CPU remembers of those before. What each packet needs comes first.
#[repr(C)]
pub(crate) struct Work {
    /// The packet as part of a flow.
    pub(crate) seen: Seen,
    /// The frame, parsed.
    pub(crate) frame: Frame,
    /// Another flow that it has to do with: the receiver's, where it goes the short way to it; the one that an ICMP error is about.
    pub(crate) other: FlowKey,
    /// What is noted of a connection through a published port.
    pub(crate) judged: (JudgedKey, Judged),
    /// A known flow that is looked at closely.
    pub(crate) flow: Flow,
    /// Flows and neighbours that this CPU found lately.
    pub(crate) nearby: Nearby,
}

/// A packet as part of a flow.
#[repr(C)]
pub(crate) struct Seen {
    /// The flow.
    pub(crate) key: FlowKey,
    /// Now: nanoseconds since boot (CLOCK_MONOTONIC, coarse).
    pub(crate) now: u64,
    /// The kernel's tick when that was read.
    tick: u64,
    /// How much it counts.
    pub(crate) counted: Counters,
    /// Where its flow is looked for in the table, once it was.
    pub(crate) at: Place,
    /// What holds for all programs.
    pub(crate) config: Config,
    /// The interface of the attachment that is asked about.
    pub(crate) ifindex: u32,
    /// Which way it goes, seen from the attachment: a [`Direction`]'s number. (Of an enum the compiler knows that it has two values, and leaves out the bound
    /// that the verifier has to see.)
    way: u32,
    /// Whether the host itself sent it: a socket of its own, and by no interface. (What it puts together and cuts again may have come by none either:
    /// ip6_copy_metadata in net/ipv6/ip6_output.c leaves that out.)
    pub(crate) from_host: bool,
    /// What policy is asked about: which way the flow's first packet went, as above.
    asked: u32,
    /// The flow's [`Flow::neighbour`], where the flow was looked for.
    pub(crate) neighbour: u32,
    /// Bits of [`netd_ebpf::flow::opener`], without the direction; policy may add to them.
    pub(crate) opener: u8,
}

impl Seen {
    /// Sets all but the key, the time and what is asked.
    #[inline(always)]
    pub(crate) fn is(&mut self, ctx: &TcContext, direction: Direction, counted: Counters, config: Config) {
        self.ifindex = read::ifindex(ctx);
        self.counted = counted;
        self.config = config;
        self.neighbour = 0;
        self.goes(direction);
        self.from_host = matches!(direction, Direction::ToContainer) && read::came_by(ctx) == 0 && read::has_socket(ctx);
    }

    /// Brings the time up to date, and gives it. It goes on with the kernel's ticks, whose number costs one load; asking for it costs as much as looking up a flow.
    #[inline(always)]
    pub(crate) fn ticks(&mut self) -> u64 {
        // SAFETY: the helper takes nothing and gives a number.
        let tick = unsafe { bpf_jiffies64() };
        if self.tick != tick {
            self.tick = tick;
            // SAFETY: as above.
            self.now = unsafe { bpf_ktime_get_coarse_ns() };
        }
        self.now
    }

    /// What its flow notes of it.
    #[inline(always)]
    pub(crate) fn passing(&self, flags: u8) -> Passing {
        Passing { now: self.now, counted: self.counted, epoch: self.config.epoch, flags }
    }

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
