//! A link's own hooks for programs (tcx, Linux 6.6): bpf(2) by the link's index. Never decides which link gets a program there.
//!
//! A program that is attached so, without a link object, stays as long as the interface does, whoever attached it. Each attach and detach waits for an RCU
//! grace period while it holds the lock of all interfaces (`tcx_entry_sync` in include/net/tcx.h); putting another program in its place does not.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use netd_abi::Direction;

use super::syscall::bpf;

/// Commands of bpf(2), attach types, and a flag: linux/bpf.h.
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_DETACH: libc::c_long = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
const BPF_F_REPLACE: u32 = 1 << 2;
/// Programs at one hook at most (BPF_MPROG_MAX in include/linux/bpf_mprog.h).
const MOST: usize = 64;

/// `union bpf_attr` of attaching and detaching.
#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_ifindex: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
    relative_fd: u32,
    expected_revision: u64,
}

/// The same of asking what is attached.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// The same of opening a program by its number.
#[repr(C)]
#[derive(Default)]
struct OpenAttr {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// The host's end sees at its ingress what the container sends.
fn hook(direction: Direction) -> u32 {
    match direction {
        Direction::FromContainer => BPF_TCX_INGRESS,
        Direction::ToContainer => BPF_TCX_EGRESS,
    }
}

/// Puts a program behind those at a link's hook, or in the place of one of them.
pub(crate) fn attach(ifindex: u32, direction: Direction, program: BorrowedFd<'_>, former: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let (flags, replaced) = former.map_or((0, 0), |former| (BPF_F_REPLACE, former.as_raw_fd().cast_unsigned()));
    let mut attr = AttachAttr {
        target_ifindex: ifindex,
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: hook(direction),
        attach_flags: flags,
        replace_bpf_fd: replaced,
        ..AttachAttr::default()
    };
    // SAFETY: the attribute is this command's, without a pointer.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attr) }.map(drop)
}

/// Takes a program from a link's hook.
pub(crate) fn detach(ifindex: u32, direction: Direction, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = AttachAttr {
        target_ifindex: ifindex,
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: hook(direction),
        ..AttachAttr::default()
    };
    // SAFETY: as above.
    unsafe { bpf(BPF_PROG_DETACH, &mut attr) }.map(drop)
}

/// The kernel's numbers of the programs at a link's hook, in their order. EINVAL: this kernel has no such hooks.
pub(crate) fn programs(ifindex: u32, direction: Direction) -> io::Result<Vec<u32>> {
    let mut ids = vec![0_u32; MOST];
    let mut attr = QueryAttr {
        target_ifindex: ifindex,
        attach_type: hook(direction),
        prog_ids: ids.as_mut_ptr() as u64,
        count: MOST as u32,
        ..QueryAttr::default()
    };
    // SAFETY: the attribute is this command's; its pointer is to as many numbers as it says, which live until the call is over.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr) }?;
    ids.truncate(attr.count as usize);
    Ok(ids)
}

/// Opens a program by its number.
pub(crate) fn open(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: the attribute is this command's, without a pointer.
    let fd = unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut OpenAttr { prog_id: id, ..OpenAttr::default() }) }?;
    // SAFETY: the kernel has just opened it for this call, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

const _: () = assert!(size_of::<AttachAttr>() == 6 * 4 + 8);
const _: () = assert!(size_of::<QueryAttr>() == 4 * 4 + 8 + 2 * 4 + 4 * 8);
