//! Messages to and from rtnetlink as bytes, for what netlink-packet-route cannot say. Knows framing and attributes, never what they mean.
//!
//! It has no names for tc's shared blocks, and refuses a whole message for one attribute of a stranger's qdisc that it does not know.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::kernel::KernelError;
use crate::kernel::netlink::{Part, outcome, parts, receive};

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// The lower bits of an attribute's type; the upper two are NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const TYPE_MASK: u16 = 0x3fff;

/// A request being written.
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    /// A request of this kind; `family` is the header that the kind asks for.
    pub(crate) fn new(kind: u16, flags: i32, family: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16 | flags as u16).to_ne_bytes());
        bytes.extend_from_slice(family);
        Self(bytes)
    }

    /// An attribute.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// The bytes to send: the header says how long it is, and which answer belongs to it.
    fn finished(mut self, flags: i32, sequence: u32) -> Vec<u8> {
        let length = self.0.len() as u32;
        let [low, high] = (flags as u16).to_ne_bytes();
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[6] |= low;
        self.0[7] |= high;
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }

    /// An attribute that is a number.
    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.with(kind, &value.to_ne_bytes())
    }

    /// An attribute that is a string, with its closing NUL.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.with(kind, &bytes)
    }

    /// An attribute made of attributes.
    pub(crate) fn nest(mut self, kind: u16, inner: impl FnOnce(Self) -> Self) -> Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        let mut message = inner(self);
        let length = (message.0.len() - start) as u16;
        message.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        message.0[start + 2..start + 4].copy_from_slice(&(kind | libc::NLA_F_NESTED as u16).to_ne_bytes());
        message
    }
}

/// The attributes in these bytes, each with its type. Ends at the first that is cut off.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The number in an attribute.
pub(crate) fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.get(..4)?.try_into().ok()?))
}

/// The string in an attribute, without its closing NUL.
pub(crate) fn text(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// One socket to rtnetlink, one request at a time.
pub(crate) struct Rtnetlink {
    socket: Socket,
    port: u32,
    sequence: u32,
}

impl Rtnetlink {
    /// Opens it in the network namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        Ok(Self { socket, port, sequence: 0 })
    }

    /// Its number: notifications of what it asked for carry it.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Sends a request and waits until the kernel has done it.
    pub(crate) fn ask(&mut self, message: Message) -> Result<(), KernelError> {
        self.exchange(message, libc::NLM_F_ACK, |_, _| ())
    }

    /// Asks for one object.
    pub(crate) fn get(&mut self, message: Message, each: impl FnMut(u16, &[u8])) -> Result<(), KernelError> {
        self.exchange(message, libc::NLM_F_ACK, each)
    }

    /// Asks for all objects of a kind, and hands over each.
    pub(crate) fn dump(&mut self, message: Message, each: impl FnMut(u16, &[u8])) -> Result<(), KernelError> {
        self.exchange(message, libc::NLM_F_DUMP, each)
    }

    /// One request and all of its answer. What answers an earlier request (one that was given up) is passed over.
    fn exchange(&mut self, message: Message, flags: i32, mut each: impl FnMut(u16, &[u8])) -> Result<(), KernelError> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&message.finished(flags, self.sequence), 0)?;
        let mut buffer = Vec::new();
        loop {
            receive(&self.socket, &mut buffer)?;
            for Part { kind, sequence, payload, .. } in parts(&buffer) {
                if sequence != self.sequence {
                    continue;
                }
                match i32::from(kind) {
                    libc::NLMSG_DONE | libc::NLMSG_ERROR => return outcome(payload),
                    _ => each(kind, payload),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
