//! bpf(2), for what aya has no word for. Never knows a command.

use std::io;

/// One call, with the attribute of this command; what the kernel says.
///
/// # Safety
///
/// The attribute has the layout that linux/bpf.h gives this command in `union bpf_attr`, up to the last field that the kernel writes, and what its pointers are to is
/// there until the call is over.
pub(crate) unsafe fn bpf<A>(command: libc::c_long, attribute: &mut A) -> io::Result<libc::c_long> {
    // SAFETY: the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attribute, size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
