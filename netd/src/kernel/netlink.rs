//! A blocking socket to rtnetlink: one request, all of its answer, the kernel's own words in the error. Never knows what a message means.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    time::Duration,
};

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkMessage, NlasIterator,
    ParseableParametrized,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::KernelError;

/// Room for one read: the kernel fills up to 32 KiB of a dump at a time (netlink_dump in net/netlink/af_netlink.c).
const READ: usize = 64 * 1024;
/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// NLMSGERR_ATTR_MSG in linux/netlink.h: the kernel's own words.
const EXTACK_TEXT: u16 = 1;
/// How often a dump is begun again because what it lists changed meanwhile.
const DUMPS: usize = 50;

/// One socket, in the network namespace of the thread that opened it; one request at a time.
pub(crate) struct Rtnetlink {
    socket: Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Rtnetlink {
    /// Opens it in the calling thread's namespace.
    pub(crate) fn open() -> Result<Self, KernelError> {
        Self::try_open().map_err(KernelError::from)
    }

    fn try_open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        // So that the kernel filters dumps by what the header says (Linux 4.20); without it we filter ourselves all the same.
        let _older = socket.set_netlink_get_strict_chk(true);
        Ok(Self { socket, port, sequence: 0, buffer: Vec::with_capacity(READ) })
    }

    /// Its number: notifications of what it asked for carry it.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Sends a request and waits until the kernel has done it.
    pub(crate) fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), KernelError> {
        self.exchange(message, flags | NLM_F_ACK).map(|_| ())
    }

    /// Asks for one object.
    pub(crate) fn get(&mut self, message: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
        self.exchange(message, NLM_F_ACK)
    }

    /// Asks for all objects of a kind. One that cannot be decoded is left out: ours can, and a stranger's is not our affair.
    pub(crate) fn dump(&mut self, message: &RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
        for _ in 0..DUMPS {
            match self.exchange(message.clone(), NLM_F_DUMP) {
                Err(KernelError::Errno { errno: libc::EINTR, .. }) => {}
                other => return other,
            }
        }
        Err(KernelError::Errno { errno: libc::EAGAIN, said: Some("what was listed kept changing".to_owned()) })
    }

    /// One request and all of its answer; a dump that was overtaken by a change is EINTR.
    fn exchange(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
        self.sequence = self.sequence.wrapping_add(1);
        send(&self.socket, message, NLM_F_REQUEST | flags, self.sequence)?;
        let mut answer = Vec::new();
        let mut overtaken = false;
        loop {
            receive(&self.socket, &mut self.buffer)?;
            for Part { kind, flags, sequence, payload, .. } in parts(&self.buffer) {
                if sequence != self.sequence {
                    continue; // the answer to a request that was given up
                }
                overtaken |= flags & NLM_F_DUMP_INTR != 0;
                match kind {
                    NLMSG_DONE if overtaken => return Err(KernelError::Errno { errno: libc::EINTR, said: None }),
                    NLMSG_DONE => return outcome(payload).map(|()| answer),
                    NLMSG_ERROR => return outcome(payload).map(|()| answer),
                    _ => answer.extend(decode(kind, payload)),
                }
            }
        }
    }
}

impl AsRawFd for Rtnetlink {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl From<io::Error> for KernelError {
    fn from(error: io::Error) -> Self {
        Self::Errno { errno: error.raw_os_error().unwrap_or(libc::EIO), said: None }
    }
}

impl From<nix::Error> for KernelError {
    fn from(errno: nix::Error) -> Self {
        Self::Errno { errno: errno as i32, said: None }
    }
}

impl KernelError {
    /// An error number with what was tried.
    pub(crate) fn said(error: impl Into<Self>, said: impl Into<String>) -> Self {
        match error.into() {
            Self::Errno { errno, .. } => Self::Errno { errno, said: Some(said.into()) },
            other => other,
        }
    }

    /// The error number, where there is one.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Self::Errno { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

/// Sends one message.
pub(crate) fn send(socket: &Socket, message: RouteNetlinkMessage, flags: u16, sequence: u32) -> io::Result<()> {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    loop {
        match socket.send(&bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|_| ()),
        }
    }
}

/// Reads one datagram into the buffer, in place of what is there.
pub(crate) fn receive(socket: &Socket, buffer: &mut Vec<u8>) -> io::Result<()> {
    loop {
        buffer.clear();
        buffer.reserve(READ);
        match socket.recv(buffer, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|_| ()),
        }
    }
}

/// One message of a datagram.
pub(crate) struct Part<'a> {
    /// NLMSG_… or RTM_….
    pub(crate) kind: u16,
    /// NLM_F_….
    pub(crate) flags: u16,
    /// The number of the request it answers.
    pub(crate) sequence: u32,
    /// The socket whose request it is about; 0 where it is the kernel's own doing.
    pub(crate) port: u32,
    /// What follows the header.
    pub(crate) payload: &'a [u8],
}

/// The messages in a datagram; ends at the first that is cut off.
pub(crate) fn parts(mut bytes: &[u8]) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        let u16_at = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let u32_at = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let length = u32_at(0)? as usize;
        let part =
            Part { kind: u16_at(4)?, flags: u16_at(6)?, sequence: u32_at(8)?, port: u32_at(12)?, payload: bytes.get(HEADER..length)? };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(part)
    })
}

/// The typed message; none for one that this build does not know.
pub(crate) fn decode(kind: u16, payload: &[u8]) -> Option<RouteNetlinkMessage> {
    let message: Result<_, DecodeError> = RouteNetlinkMessage::parse_with_param(payload, kind);
    message.inspect_err(|error| tracing::trace!(kind, %error, "a netlink message was not understood")).ok()
}

/// What NLMSG_ERROR and NLMSG_DONE say: zero is an acknowledgement.
pub(crate) fn outcome(payload: &[u8]) -> Result<(), KernelError> {
    let code = payload.get(..4).and_then(|code| code.try_into().ok()).map_or(-libc::EBADMSG, i32::from_ne_bytes);
    if code == 0 {
        return Ok(());
    }
    // After the error number comes the header of our request (its body is left out: NETLINK_CAP_ACK), then the attributes.
    let said = NlasIterator::new(payload.get(4 + HEADER..).unwrap_or_default())
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == EXTACK_TEXT)
        .map(|attribute| String::from_utf8_lossy(attribute.value()).trim_end_matches('\0').to_owned());
    Err(KernelError::Errno { errno: -code, said })
}

/// Waits until one of these can be read, at most this long if it says so; which ones can.
pub(crate) fn wait<const N: usize>(sources: [&dyn AsRawFd; N], timeout: Option<Duration>) -> Result<[bool; N], KernelError> {
    let mut polled = sources.map(|source| libc::pollfd { fd: source.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    let millis = timeout.map_or(-1, |timeout| i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
    // SAFETY: `polled` is an array of N pollfd that lives through the call, and N is its length.
    match unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, millis) } {
        -1 if nix::Error::last() != nix::Error::EINTR => Err(nix::Error::last().into()),
        _ => Ok(polled.map(|one| one.revents != 0)),
    }
}

#[cfg(test)]
mod tests;
