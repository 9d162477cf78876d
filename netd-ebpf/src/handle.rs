//! A packet's way through a program: whose it is, count it, say why it goes on or not. Never turns a reason into an action.

use aya_ebpf::programs::TcContext;
use netd_abi::{Direction, Why};
use netd_ebpf::count::counted;

use crate::{maps, read};

/// Counts the packet and says what becomes of it.
#[inline(always)]
pub(crate) fn handle(ctx: &TcContext, direction: Direction) -> Why {
    let packet = counted(read::size(ctx));
    let why = match maps::attachment(read::ifindex(ctx)) {
        None => Why::DropUnknownInterface,
        Some(attachment) => {
            let counted = direction.counter_of(attachment.slot).is_some_and(|at| maps::count(&maps::COUNTERS, at, packet));
            if counted {
                return Why::Forward;
            }
            Why::ForwardUncounted
        }
    };
    // What no attachment answers for is counted by reason. The array has a place for every reason (a test of netd-abi), so this cannot fail.
    let _ = maps::count(&maps::DROPS, why.counter_of(direction), packet);
    why
}
