//! A program without the right to bpf(2): as in a container whose seccomp profile keeps it, or without CAP_BPF, the call says EPERM.

use std::{io, os::unix::process::CommandExt as _, process::Command};

/// The program that is to be started gets no eBPF, nor does what it starts.
pub(crate) fn without_bpf(command: &mut Command) {
    // SAFETY: between fork and exec it makes two system calls and touches nothing that another thread may hold.
    unsafe { command.pre_exec(deny) };
}

fn deny() -> io::Result<()> {
    /// BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K and BPF_RET | BPF_K of linux/bpf_common.h.
    const OPERATIONS: [u16; 3] = [0x20, 0x15, 0x06];
    let [load, is, finish] = OPERATIONS;
    let step = |code, yes, no, k| libc::sock_filter { code, jt: yes, jf: no, k };
    let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    // The call's number is the first word of struct seccomp_data.
    let mut steps = [
        step(load, 0, 0, 0),
        step(is, 0, 1, libc::SYS_bpf as u32),
        step(finish, 0, 0, refused),
        step(finish, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the kernel reads the steps, which outlive the call, and copies them.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
