//! Deletes links, each on a thread and socket of its own. Never makes the caller wait for what the kernel does after the link is gone.
//!
//! The sender of RTM_DELLINK is held for 15 ms and more (RCU grace periods), but the link has gone, and its notification is out, within a
//! millisecond: the caller waits for that. Several deletions overlap.

use std::{
    io,
    os::fd::AsFd,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use netlink_packet_route::{AddressFamily, RouteNetlinkMessage, link::LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{
    KernelError,
    netlink::{self, Rtnetlink},
};

/// RTMGRP_LINK in linux/rtnetlink.h.
const RTMGRP_LINK: u32 = 1;
/// How long a deletion may take. RTNL can be held by others for long; a device with users that do not let go waits 10 s and says so in the kernel's log.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes; the thread makes one call.
const STACK: usize = 128 * 1024;

/// Deletes the link with this number from the host's namespace; returns when it has gone.
pub(crate) fn delete(index: u32) -> Result<(), KernelError> {
    let mut news = Socket::new(NETLINK_ROUTE)?;
    news.bind(&SocketAddr::new(0, RTMGRP_LINK))?;
    news.set_non_blocking(true)?;
    let ended = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    let bell = ended.as_fd().try_clone_to_owned()?;
    let (answer, result) = mpsc::sync_channel(1);
    thread::Builder::new().name("del-link".to_owned()).stack_size(STACK).spawn(move || {
        let _caller_has_what_it_needs = answer.send(request(index));
        let _nobody_waits = nix::unistd::write(&bell, &1_u64.to_ne_bytes());
    })?;

    let deadline = Instant::now() + PATIENCE;
    let mut buffer = Vec::new();
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        let [heard, is_over] = netlink::wait([&news, &ended], Some(left))?;
        if is_over {
            return result.recv().unwrap_or(Err(KernelError::Errno { errno: libc::EIO, said: None }));
        }
        if heard && tells_of(&news, &mut buffer, index)? {
            return Ok(());
        }
    }
    Err(KernelError::Errno { errno: libc::ETIMEDOUT, said: Some(format!("link {index} is still there after {} s", PATIENCE.as_secs())) })
}

fn request(index: u32) -> Result<(), KernelError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    Rtnetlink::open()?.ask(RouteNetlinkMessage::DelLink(message), 0)
}

/// Whether the next datagram says that the link has gone. One that was lost is no harm: the request's own end is waited for too.
fn tells_of(news: &Socket, buffer: &mut Vec<u8>, index: u32) -> Result<bool, KernelError> {
    match netlink::receive(news, buffer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(false),
        other => other?,
    }
    Ok(netlink::parts(buffer).filter_map(|part| netlink::decode(part.kind, part.payload)).any(|message| {
        // A bridge tells in its own family (AF_BRIDGE) that a port left; that is not the end of the link.
        matches!(message, RouteNetlinkMessage::DelLink(LinkMessage { header, .. }) if header.index == index && header.interface_family == AddressFamily::Unspec)
    }))
}
