//! Host ports held by bound sockets that never listen, so that a stranger's bind fails and ours finds theirs. Never serves a packet.
//!
//! The recipe: SO_REUSEADDR on, bind, SO_REUSEADDR off. On, because connections in TIME_WAIT must not hinder us; off, because then nobody else's
//! SO_REUSEADDR gets past ours. UDP knows no TIME_WAIT, and with SO_REUSEADDR would share the port, so it goes without.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use netd_api::publish::Protocol;
use netd_core::objects::Reservation;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, getsockname, getsockopt, setsockopt, socket,
    sockopt::{Ipv6V6Only, RcvBuf, ReuseAddr},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{Holder, KernelError, holder};

/// What the names of our descriptors in systemd's store start with.
const STORED: &str = "port-";

/// The ports that are held, each by one descriptor.
pub(crate) struct Ports {
    held: BTreeMap<Reservation, OwnedFd>,
    /// Whether systemd keeps descriptors for us (it told us where to send them).
    has_store: bool,
}

/// Lets this process have as many descriptors as it may: each published port is one. A shell's soft limit is often 1024.
pub(crate) fn raise_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(errno) = raised {
        tracing::warn!(%errno, "the limit of open files stays as it is; with many published ports some are not held");
    }
}

impl Ports {
    /// Takes back the descriptors that systemd kept while the daemon was not there.
    pub(crate) fn from_store() -> Self {
        let has_store = std::env::var_os("NOTIFY_SOCKET").is_some();
        let mut held = BTreeMap::new();
        for (fd, _) in sd_notify::listen_fds_with_names().into_iter().flatten().filter(|(_, name)| name.starts_with(STORED)) {
            // SAFETY: systemd opened it for this process and named it by our own name; nobody else here takes descriptors of that name.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            match reservation_of(&fd) {
                Some(port) => drop(held.insert(port, fd)),
                None => tracing::debug!(fd = fd.as_raw_fd(), "a descriptor from systemd's store holds no port"),
            }
        }
        Self { held, has_store }
    }

    /// The ports that are held.
    pub(crate) fn held(&self) -> BTreeSet<Reservation> {
        self.held.keys().copied().collect()
    }

    /// Those of these that are held.
    pub(crate) fn held_of(&self, ports: &BTreeSet<Reservation>) -> BTreeSet<Reservation> {
        ports.iter().filter(|port| self.held.contains_key(port)).copied().collect()
    }

    /// Holds a port; one that is held already is no error.
    pub(crate) fn reserve(&mut self, port: &Reservation) -> Result<(), KernelError> {
        if self.held.contains_key(port) {
            return Ok(());
        }
        let fd = hold(port).map_err(|error| match error.errno() {
            Some(libc::EADDRINUSE) => KernelError::PortTaken { holder: self.holder(port) },
            _ => error,
        })?;
        if self.has_store {
            let _without_it_the_port_is_free_during_a_restart =
                sd_notify::notify_with_fds(&[sd_notify::NotifyState::FdStore, sd_notify::NotifyState::FdName(&name(port))], &[fd.as_fd()]);
        }
        self.held.insert(*port, fd);
        Ok(())
    }

    /// Lets a port go; one that is not held is no error.
    pub(crate) fn release(&mut self, port: &Reservation) {
        if self.held.remove(port).is_some() && self.has_store {
            let _then_it_is_held_until_the_unit_stops =
                sd_notify::notify(&[sd_notify::NotifyState::FdStoreRemove, sd_notify::NotifyState::FdName(&name(port))]);
        }
    }

    /// The first of these ports that a stranger keeps us from holding, and who that is; a port that one of ours keeps from us is none.
    pub(crate) fn stranger(
        &self,
        ports: &[Reservation],
        caller: i32,
        is_stranger: impl Fn(&Holder) -> bool,
    ) -> Option<(Reservation, Holder)> {
        let is_in_use = |port: &Reservation| hold(port).is_err_and(|error| error.errno() == Some(libc::EADDRINUSE));
        let in_use: Vec<Reservation> = ports.iter().copied().filter(|port| is_in_use(port) && self.overlapping(port).is_none()).collect();
        holder::first(&in_use, caller, is_stranger)
    }

    /// Who keeps us from holding a port: another of ours that overlaps, or a stranger.
    fn holder(&self, port: &Reservation) -> String {
        match self.overlapping(port) {
            Some(other) => format!("another published port ({other})"),
            None => holder::of(port),
        }
    }

    fn overlapping(&self, port: &Reservation) -> Option<&Reservation> {
        let overlaps = |other: &&Reservation| {
            let anywhere = match (port.address, other.address) {
                (Some(one), Some(other)) => {
                    one.is_ipv4() == other.is_ipv4() && (one == other || one.is_unspecified() || other.is_unspecified())
                }
                _ => true,
            };
            other.protocol == port.protocol && other.port == port.port && anywhere
        };
        self.held.keys().find(overlaps)
    }
}

/// Whether the kernel has SCTP sockets, to hold an SCTP port with.
pub(crate) fn has_sctp() -> bool {
    socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Sctp).is_ok()
}

fn hold(port: &Reservation) -> Result<OwnedFd, KernelError> {
    let wildcard_v6 = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port.port, 0, 0));
    match port.address {
        Some(IpAddr::V4(address)) => hold_at(port.protocol, SocketAddr::V4(SocketAddrV4::new(address, port.port)), Only::Its),
        Some(IpAddr::V6(address)) => hold_at(port.protocol, SocketAddr::V6(SocketAddrV6::new(address, port.port, 0, 0)), Only::Its),
        None => match hold_at(port.protocol, wildcard_v6, Only::Both) {
            // A host without IPv6.
            Err(KernelError::Errno { errno: libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL, .. }) => {
                hold_at(port.protocol, SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port.port)), Only::Its)
            }
            other => other,
        },
    }
}

/// The families that a socket holds its port in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Only {
    /// That of its address.
    Its,
    /// Both: `::` without IPV6_V6ONLY (ipv6(7)).
    Both,
}

fn hold_at(protocol: Protocol, address: SocketAddr, only: Only) -> Result<OwnedFd, KernelError> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SockType::Stream, SockProtocol::Tcp),
        Protocol::Udp => (SockType::Datagram, SockProtocol::Udp),
        Protocol::Sctp => (SockType::Stream, SockProtocol::Sctp),
    };
    let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC, number)?;
    if address.is_ipv6() {
        setsockopt(&fd, Ipv6V6Only, &(only == Only::Its))?;
    }
    if !address.ip().is_unspecified() {
        // The address may come later, or move between hosts.
        freebind(fd.as_fd())?;
    }
    if protocol == Protocol::Udp {
        // What arrives before the port is translated, or for an address that is not, is not to pile up here.
        drop_all(fd.as_fd())?;
        setsockopt(&fd, RcvBuf, &0)?;
    } else {
        setsockopt(&fd, ReuseAddr, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    if protocol != Protocol::Udp {
        setsockopt(&fd, ReuseAddr, &false)?;
    }
    Ok(fd)
}

/// IP_FREEBIND serves both families: an IPv6 socket has an IPv4 half.
fn freebind(fd: BorrowedFd<'_>) -> Result<(), KernelError> {
    option(fd, libc::SOL_IP, libc::IP_FREEBIND, &1_i32)
}

/// A classic BPF program of one instruction, "return 0": drop.
fn drop_all(fd: BorrowedFd<'_>) -> Result<(), KernelError> {
    let mut drop = libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 };
    option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &libc::sock_fprog { len: 1, filter: &raw mut drop })
}

fn option<T>(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &T) -> Result<(), KernelError> {
    // SAFETY: `value` lives through the call and its size is given; what it points to lives in the caller's frame.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t) };
    nix::errno::Errno::result(result).map(|_| ()).map_err(KernelError::from)
}

/// A name for systemd's store: no colon, so an IPv6 address stands there in hexadecimal.
fn name(port: &Reservation) -> String {
    let address = match port.address {
        None => "any".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("{:032x}", u128::from(address)),
    };
    format!("{STORED}{}-{address}-{}", port.protocol, port.port)
}

/// What a descriptor from the store holds: the socket itself knows.
fn reservation_of(fd: &OwnedFd) -> Option<Reservation> {
    let bound: SockaddrStorage = getsockname(fd.as_raw_fd()).ok()?;
    let (address, port) = match (bound.as_sockaddr_in(), bound.as_sockaddr_in6()) {
        (Some(v4), _) => (IpAddr::V4(v4.ip()), v4.port()),
        (_, Some(v6)) => (IpAddr::V6(v6.ip()), v6.port()),
        _ => return None,
    };
    let mut number: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: both pointers lead to values of the sizes that the option and the call expect, alive through the call.
    let result = unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PROTOCOL, (&raw mut number).cast(), &raw mut size) };
    let protocol = match (result, number) {
        (0, libc::IPPROTO_TCP) => Protocol::Tcp,
        (0, libc::IPPROTO_UDP) => Protocol::Udp,
        (0, libc::IPPROTO_SCTP) => Protocol::Sctp,
        _ => return None,
    };
    let both = address.is_unspecified() && address.is_ipv6() && !getsockopt(fd, Ipv6V6Only).unwrap_or(true);
    Some(Reservation { protocol, address: (!both).then_some(address), port })
}

#[cfg(test)]
mod tests;
