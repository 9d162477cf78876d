//! A socket that hears netlink notifications, of other namespaces too. Never asks anything.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

use crate::kernel::KernelError;

/// Room for notifications that come faster than they are read, in bytes: some 4,000 of links. Memory is used only as it fills.
const BUFFER: usize = 8 << 20;
/// Bytes of the longest datagram of notifications.
const READ: usize = 64 * 1024;
/// SOL_NETLINK, and NETLINK_LISTEN_ALL_NSID as the control message that says which namespace (linux/netlink.h).
const LEVEL: libc::c_int = 270;
const NSID: libc::c_int = 8;

/// What was heard at once.
pub(super) struct Heard {
    /// The number by which our namespace knows the one it happened in; none for our own.
    pub(super) ns: Option<i32>,
    /// The messages.
    pub(super) bytes: Vec<u8>,
}

/// The socket.
pub(super) struct Ear(Socket);

impl Ear {
    /// Hears these groups; of all namespaces that ours has a number for, where that is asked for.
    pub(super) fn open(protocol: isize, groups: &[u32], everywhere: Everywhere) -> Result<Self, KernelError> {
        let mut socket = Socket::new(protocol)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        setsockopt(&socket, RcvBufForce, &BUFFER)?;
        if matches!(everywhere, Everywhere::Yes) {
            socket.set_listen_all_namespaces(true)?;
        }
        for group in groups {
            socket.add_membership(*group)?;
        }
        Ok(Self(socket))
    }

    /// The next datagram; none where there is no more now. ENOBUFS: some were lost.
    pub(super) fn hear(&self) -> io::Result<Option<Heard>> {
        let mut bytes = vec![0_u8; READ];
        let mut control = [0_u64; 8];
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: all fields of msghdr are numbers and pointers, for which zero is a value.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: the header's pointers lead to buffers of the lengths given, which live through the call.
        let length = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut message, 0) };
        let Ok(length) = usize::try_from(length) else {
            let error = io::Error::last_os_error();
            let is_over = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
            return if is_over { Ok(None) } else { Err(error) };
        };
        bytes.truncate(length);
        Ok(Some(Heard { ns: nsid(&message), bytes }))
    }
}

/// Whether a socket hears other namespaces.
#[derive(Debug, Clone, Copy)]
pub(super) enum Everywhere {
    /// All that ours has a number for: those at the other end of our veths.
    Yes,
    /// Only ours.
    No,
}

impl AsRawFd for Ear {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn nsid(message: &libc::msghdr) -> Option<i32> {
    // SAFETY: the kernel filled the control buffer and set its length; the macros stay within it.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !next.is_null() {
        // SAFETY: it is not null, so it leads to a header inside the buffer, which is aligned for it.
        let header = unsafe { *next };
        if header.cmsg_level == LEVEL && header.cmsg_type == NSID {
            // SAFETY: this control message carries one int; it may be unaligned for a reader of another type.
            return Some(unsafe { libc::CMSG_DATA(next).cast::<i32>().read_unaligned() });
        }
        // SAFETY: as above.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    None
}
