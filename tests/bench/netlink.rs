//! Just enough netlink to make by hand what netd makes: messages as bytes, sent at once over an open socket.
//! Never retries and never looks closer at an error than its number: the floor is what the kernel needs, not what a daemon needs.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// Bytes of messages that are sent together.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    answers: usize,
    sequence: u32,
}

/// Where a message or a nested attribute began.
pub(crate) struct Open(usize);

impl Batch {
    /// Begins a message; `body` is its fixed part.
    pub(crate) fn message(&mut self, kind: u16, flags: u16, body: &[u8]) -> Open {
        let at = self.bytes.len();
        self.sequence += 1;
        if flags & libc::NLM_F_ACK as u16 != 0 {
            self.answers += 1;
        }
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(body);
        self.pad();
        Open(at)
    }

    /// Ends a message.
    pub(crate) fn end(&mut self, open: &Open) {
        let length = u32::try_from(self.bytes.len() - open.0).expect("a message is short");
        self.bytes[open.0..open.0 + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// An attribute.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).expect("an attribute is short");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.pad();
    }

    /// Begins an attribute that holds others, after a fixed part.
    pub(crate) fn nest(&mut self, kind: u16, body: &[u8]) -> Open {
        let at = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(body);
        self.pad();
        Open(at)
    }

    /// Ends it.
    pub(crate) fn close(&mut self, open: &Open) {
        let length = u16::try_from(self.bytes.len() - open.0).expect("an attribute is short");
        self.bytes[open.0..open.0 + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

/// An open netlink socket.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Of a protocol: NETLINK_ROUTE or NETLINK_NETFILTER.
    pub(crate) fn open(protocol: libc::c_int) -> io::Result<Self> {
        // SAFETY: three numbers go in, a new descriptor or -1 comes out.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just opened it for us, and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends all messages at once and waits for every acknowledgement; the first error ends it.
    pub(crate) fn send(&self, batch: &Batch) -> io::Result<()> {
        nix::sys::socket::send(self.0.as_raw_fd(), &batch.bytes, nix::sys::socket::MsgFlags::empty())?;
        let mut left = batch.answers;
        let mut buffer = [0_u8; 16384];
        while left > 0 {
            let length = nix::sys::socket::recv(self.0.as_raw_fd(), &mut buffer, nix::sys::socket::MsgFlags::empty())?;
            let mut rest = &buffer[..length];
            while rest.len() >= 20 {
                let size = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
                let kind = u16::from_ne_bytes([rest[4], rest[5]]);
                if i32::from(kind) == libc::NLMSG_ERROR {
                    match i32::from_ne_bytes([rest[16], rest[17], rest[18], rest[19]]) {
                        0 => left -= 1,
                        errno => return Err(io::Error::from_raw_os_error(-errno)),
                    }
                }
                rest = &rest[size.next_multiple_of(4).min(rest.len())..];
            }
        }
        Ok(())
    }
}
