//! Real SCTP sockets, where the kernel has them, and raw ones everywhere. Never more than one association.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use nix::sys::{
    socket::{
        AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, SockaddrStorage, accept, bind, connect, getpeername, listen as listen_on,
        setsockopt, sockopt,
    },
    time::TimeVal,
};

use crate::{space::NetSpace, wait::PATIENCE};

/// A socket that waits for an association.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Waits for a client, and tells its address.
    #[track_caller]
    pub fn accepts(&self) -> SocketAddr {
        let fd = accept(self.0.as_raw_fd()).expect("an association arrives");
        // SAFETY: accept gave it to us just now; nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let peer: SockaddrStorage = getpeername(socket.as_raw_fd()).expect("it has a peer");
        let v4 = peer.as_sockaddr_in().map(|v4| SocketAddr::new(IpAddr::V4(v4.ip()), v4.port()));
        let v6 = peer.as_sockaddr_in6().map(|v6| SocketAddr::new(IpAddr::V6(v6.ip()), v6.port()));
        v4.or(v6).unwrap_or_else(|| panic!("a peer of family {:?}", peer.family()))
    }
}

/// Listens on an address; none where the kernel has no SCTP or the port is taken.
pub fn listen(net: &NetSpace, at: SocketAddr) -> Option<Listener> {
    let open = || -> nix::Result<OwnedFd> {
        let socket = socket(at)?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(at))?;
        listen_on(&socket, Backlog::new(1)?)?;
        Ok(socket)
    };
    net.inside(open).ok().map(Listener)
}

/// Makes an association.
pub fn connect_to(net: &NetSpace, to: SocketAddr) -> nix::Result<OwnedFd> {
    net.inside(|| {
        let socket = socket(to)?;
        connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
        Ok(socket)
    })
}

fn socket(of: SocketAddr) -> nix::Result<OwnedFd> {
    let family = if of.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    // SAFETY: socket() takes numbers only.
    let fd = unsafe { libc::socket(family as i32, SockType::Stream as i32 | SockFlag::SOCK_CLOEXEC.bits(), libc::IPPROTO_SCTP) };
    let fd = nix::errno::Errno::result(fd)?;
    // SAFETY: the descriptor was opened just now and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let limit = TimeVal::new(i64::try_from(PATIENCE.as_secs()).expect("seconds"), 0);
    setsockopt(&socket, sockopt::SendTimeout, &limit)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &limit)?;
    Ok(socket)
}

/// A socket that sends and sees whole SCTP packets, with the IPv4 header before those that are seen; the kernel answers none of them then.
pub(crate) fn raw(v6: bool) -> nix::Result<OwnedFd> {
    let family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let kind = SockType::Raw as i32 | SockFlag::SOCK_CLOEXEC.bits() | SockFlag::SOCK_NONBLOCK.bits();
    // SAFETY: socket() takes numbers only.
    let fd = nix::errno::Errno::result(unsafe { libc::socket(family as i32, kind, libc::IPPROTO_SCTP) })?;
    // SAFETY: the descriptor was opened just now and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Source and destination port and first chunk of a packet that [`raw`] saw.
pub(crate) fn seen(packet: &[u8], v6: bool) -> Option<(u16, u16, u8)> {
    let body = if v6 { packet } else { packet.get(usize::from(packet.first()? & 0xf) * 4..)? };
    let port = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    Some((port(0)?, port(2)?, *body.get(12)?))
}
