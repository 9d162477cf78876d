//! The raw frames of an interface: seen and sent through AF_PACKET. Never takes frames apart; see `packet.rs`.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{setsockopt, sockopt},
        time::TimeVal,
    },
};

use crate::{
    packet::Seen,
    space::NetSpace,
    wait::{PATIENCE, SILENCE},
};

/// Every protocol, in network order (ETH_P_ALL of linux/if_ether.h).
const EVERYTHING: u16 = 0x0003_u16.to_be();

/// See the module. What arrives is kept by the socket from its making on.
#[derive(Debug)]
pub struct Wire {
    interface: String,
    socket: OwnedFd,
}

impl Wire {
    pub(crate) fn new(net: &NetSpace, interface: &str) -> Self {
        let socket = net.inside(|| open(interface)).unwrap_or_else(|why| panic!("cannot listen on {interface}: {why}"));
        Self { interface: interface.to_owned(), socket }
    }

    /// Puts a frame on the wire. A full queue, as of a machine that is busy, is waited for.
    pub fn send(&self, frame: &[u8]) {
        let until = Instant::now() + PATIENCE;
        loop {
            match nix::unistd::write(&self.socket, frame) {
                Ok(_) => return,
                Err(Errno::ENOBUFS) if Instant::now() < until => std::thread::yield_now(),
                Err(why) => panic!("cannot send a frame of {} bytes on {}: {why}", frame.len(), self.interface),
            }
        }
    }

    /// Waits for a frame that `wanted` recognises.
    #[track_caller]
    pub fn expect<T>(&self, what: &str, mut wanted: impl FnMut(&Seen) -> Option<T>) -> T {
        self.expect_frame(what, |frame| Seen::parse(frame).and_then(|seen| wanted(&seen)))
    }

    /// No such frame may pass for a while.
    #[track_caller]
    pub fn expect_none<T: std::fmt::Debug>(&self, what: &str, mut wanted: impl FnMut(&Seen) -> Option<T>) {
        self.expect_no_frame(what, |frame| Seen::parse(frame).and_then(|seen| wanted(&seen)));
    }

    /// Waits for a frame that `wanted` recognises by its bytes.
    #[track_caller]
    pub fn expect_frame<T>(&self, what: &str, wanted: impl FnMut(&[u8]) -> Option<T>) -> T {
        self.next(PATIENCE, wanted).unwrap_or_else(|| panic!("{} never saw {what}", self.interface))
    }

    /// No frame of such bytes may pass for a while.
    #[track_caller]
    pub fn expect_no_frame<T: std::fmt::Debug>(&self, what: &str, wanted: impl FnMut(&[u8]) -> Option<T>) {
        let seen = self.next(SILENCE, wanted);
        assert!(seen.is_none(), "{} saw {what}: {seen:?}", self.interface);
    }

    fn next<T>(&self, limit: Duration, mut wanted: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        let start = Instant::now();
        let mut frame = [0; 65536];
        while start.elapsed() < limit {
            let Ok(length) = nix::unistd::read(&self.socket, &mut frame) else {
                continue;
            };
            if let Some(found) = wanted(&frame[..length]) {
                return Some(found);
            }
        }
        None
    }
}

fn open(interface: &str) -> io::Result<OwnedFd> {
    // SAFETY: socket() takes numbers only.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(EVERYTHING)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was opened just now and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let index = nix::net::if_::if_nametoindex(interface)?;
    // SAFETY: sockaddr_ll is made of integers and arrays of them; zero is a value of each.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET.try_into().expect("a small constant");
    address.sll_protocol = EVERYTHING;
    address.sll_ifindex = index.try_into().expect("interface numbers are positive");
    let length = size_of::<libc::sockaddr_ll>().try_into().expect("a small structure");
    // SAFETY: the pointer is to a whole sockaddr_ll that outlives the call, and the length is its size.
    if unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 50_000))?;
    Ok(socket)
}
