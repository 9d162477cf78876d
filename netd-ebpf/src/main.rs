//! The programs, and the one match from reason to action. Never reads a packet or a map itself.
#![no_std]
#![no_main]

mod emit;
mod handle;
mod judge;
mod maps;
mod read;
mod reply;
mod short;
mod table;
mod track;
mod work;

use aya_ebpf::bindings::{TC_ACT_OK, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::helpers::generated::bpf_redirect;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use netd_abi::{Action, Direction};
use netd_ebpf::verdict::Outcome;

use crate::handle::handle;

/// Ingress of every host-side veth.
#[classifier]
fn from_container(ctx: TcContext) -> i32 {
    action(handle(&ctx, Direction::FromContainer))
}

/// Egress of every host-side veth.
#[classifier]
fn to_container(ctx: TcContext) -> i32 {
    action(handle(&ctx, Direction::ToContainer))
}

/// TC_ACT_UNSPEC lets the next filter and other owners' programs decide; TC_ACT_OK ends the chain, as the block behind a link's own hooks must not count once more
/// (the same numbers are TCX_NEXT and TCX_PASS there). A packet that is paced ends it too: what stands behind us on the block does not see it.
#[inline(always)]
fn action(outcome: Outcome) -> i32 {
    match outcome.action() {
        Ok(Action::Continue) => TC_ACT_UNSPEC + outcome.is_last() as i32,
        Ok(Action::Drop) => TC_ACT_SHOT as i32,
        // SAFETY: the helper takes two numbers and touches no memory of ours; an interface that is not there drops the packet.
        Ok(Action::Pace(ifindex)) => unsafe { bpf_redirect(ifindex, 0) as i32 },
        Err(answer) => answer,
    }
}

const _: () = assert!(TC_ACT_UNSPEC + 1 == TC_ACT_OK as i32);

/// Never in the finished program: the linker drops it, and the verifier would refuse a loop without end.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The licence that the kernel asks for; it gives some helpers to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
