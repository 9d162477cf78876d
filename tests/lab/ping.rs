//! ICMP echo, both families. Never more than one question.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use nix::sys::{
    socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recv, sendto, setsockopt, socket, sockopt},
    time::TimeVal,
};

use crate::{packet::checksum, space::NetSpace};

/// What tells our echo from others.
const IDENTIFIER: [u8; 2] = [0x6e, 0x64];

/// Whether an echo comes back in time.
pub(crate) fn echo(net: &NetSpace, to: IpAddr, limit: Duration) -> bool {
    net.inside(|| attempt(to, limit)).unwrap_or(false)
}

fn attempt(to: IpAddr, limit: Duration) -> nix::Result<bool> {
    // Types of RFC 792 and RFC 4443.
    let (family, protocol, request, reply) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, 8, 0),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128, 129),
    };
    let raw = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&raw, sockopt::ReceiveTimeout, &TimeVal::new(0, 50_000))?;
    let mut question = [request, 0, 0, 0, IDENTIFIER[0], IDENTIFIER[1], 0, 1, b'n', b'e', b't', b'd'];
    if to.is_ipv4() {
        // The kernel fills in ICMPv6's own.
        let sum = checksum(&question, 0);
        question[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    sendto(raw.as_raw_fd(), &question, &SockaddrStorage::from(SocketAddr::new(to, 0)), MsgFlags::empty())?;
    let start = Instant::now();
    let mut packet = [0; 2048];
    while start.elapsed() < limit {
        let Ok(length) = recv(raw.as_raw_fd(), &mut packet, MsgFlags::empty()) else {
            continue;
        };
        // Raw IPv4 sockets see the IP header, raw IPv6 ones do not.
        let body = if to.is_ipv4() { packet[..length].get(usize::from(packet[0] & 0xf) * 4..) } else { Some(&packet[..length]) };
        if body.is_some_and(|body| body.len() >= 6 && body[0] == reply && body[4..6] == IDENTIFIER) {
            return Ok(true);
        }
    }
    Ok(false)
}
