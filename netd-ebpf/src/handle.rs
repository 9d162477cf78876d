//! A packet's way through a program: whose it is, count it, say why it goes on or not. Never turns a reason into an action.

use aya_ebpf::programs::TcContext;
use netd_abi::{Direction, Why};
use netd_ebpf::count::counted;
use netd_ebpf::verdict::Verdict;

use crate::{maps, read};

/// Counts the packet and says what becomes of it. It is counted once: an ifb gives it back behind this hook (`tc_skip_classify` in
/// linux/drivers/net/ifb.c).
#[inline(always)]
pub(crate) fn handle(ctx: &TcContext, direction: Direction) -> Verdict {
    let packet = counted(read::size(ctx));
    let (why, pacer) = match maps::attachment(read::ifindex(ctx)) {
        None => (Why::DropUnknownInterface, 0),
        Some(attachment) => {
            let pacer = match direction {
                Direction::FromContainer => attachment.pacer_of_program(),
                // What it gets waits in the queue of its own interface, after this hook.
                Direction::ToContainer => 0,
            };
            let counted = direction.counter_of(attachment.slot).is_some_and(|at| maps::count(&maps::COUNTERS, at, packet));
            if counted {
                return Verdict { why: Why::Forward, pacer };
            }
            (Why::ForwardUncounted, pacer)
        }
    };
    // What no attachment answers for is counted by reason. The array has a place for every reason (a test of netd-abi), so this cannot fail.
    let _ = maps::count(&maps::DROPS, why.counter_of(direction), packet);
    Verdict { why, pacer }
}
