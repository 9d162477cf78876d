//! Who reaches whom: many connections tried at once, and for each whether it was made, refused, or met with silence.
//! Never asks twice: what a policy let through once it has let through.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, getsockopt, recv, send, socket, sockopt,
    },
};

use super::model::Protocol;
use crate::{
    Station,
    packet::{self, INIT, INIT_ACK, checksum},
    sctp,
};

/// How long an answer may take that comes within a host in less than a millisecond: the time that silence costs.
pub const SOON: Duration = Duration::from_millis(500);

/// A connection to be tried.
#[derive(Debug, Clone, Copy)]
pub struct Probe<'a> {
    /// Who tries.
    pub from: &'a Station,
    /// Where to; the port is of no account for ICMP.
    pub to: SocketAddr,
    /// How.
    pub protocol: Protocol,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Got {
    /// An answer of the other end.
    Reached,
    /// A reset or an ICMP error.
    Refused,
    /// Nothing.
    Silence,
}

/// Tries all connections at once, those of each station in a thread; gives what came of each, in their order.
pub fn try_all(probes: &[Probe<'_>], limit: Duration) -> Vec<Got> {
    let mut by_station: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (number, probe) in probes.iter().enumerate() {
        by_station.entry(probe.from.net().path()).or_default().push(number);
    }
    let mut got = vec![Got::Silence; probes.len()];
    thread::scope(|scope| {
        let workers = by_station.values().map(|numbers| {
            let from = probes[numbers[0]].from;
            let tried = move || from.net().inside(|| try_here(&numbers.iter().map(|at| probes[*at]).collect::<Vec<_>>(), limit));
            (numbers, scope.spawn(tried))
        });
        for (numbers, worker) in workers.collect::<Vec<_>>() {
            let answers = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            numbers.iter().zip(answers).for_each(|(at, answer)| got[*at] = answer);
        }
    });
    got
}

fn try_here(probes: &[Probe<'_>], limit: Duration) -> Vec<Got> {
    let mut all: Vec<Attempt> = probes.iter().map(Attempt::begun).collect();
    let end = Instant::now() + limit;
    loop {
        let mut open: Vec<&mut Attempt> = all.iter_mut().filter(|attempt| attempt.got.is_none()).collect();
        let left = end.saturating_duration_since(Instant::now());
        if open.is_empty() || left.is_zero() {
            break;
        }
        let ready: Vec<bool> = {
            let mut waits: Vec<PollFd<'_>> = open.iter().map(|attempt| PollFd::new(attempt.socket.as_fd(), attempt.waits_for())).collect();
            let _ = poll(&mut waits, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
            waits.iter().map(|wait| wait.any().unwrap_or(false)).collect()
        };
        open.iter_mut().zip(ready).filter(|(_, ready)| *ready).for_each(|(attempt, _)| attempt.goes_on());
    }
    all.into_iter().map(|attempt| attempt.got.unwrap_or(Got::Silence)).collect()
}

/// One that is on its way.
struct Attempt {
    protocol: Protocol,
    v6: bool,
    socket: OwnedFd,
    connected: bool,
    /// What tells its packets from those of others: its SCTP port or its ICMP identifier.
    mark: u16,
    port: u16,
    got: Option<Got>,
}

impl Attempt {
    fn begun(probe: &Probe<'_>) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let Probe { to, protocol, .. } = *probe;
        // 20000 to 29999: below the ports that the kernel gives out.
        let mark = 20_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 10_000;
        let socket = open(protocol, to.ip()).unwrap_or_else(|why| panic!("{} cannot ask by {protocol:?}: {why}", probe.from));
        let mut attempt =
            Self { protocol, v6: to.is_ipv6(), socket, connected: protocol != Protocol::Tcp, mark, port: to.port(), got: None };
        let at = if matches!(protocol, Protocol::Tcp | Protocol::Udp) { to } else { SocketAddr::new(to.ip(), 0) };
        let begun = match connect(attempt.socket.as_raw_fd(), &SockaddrStorage::from(at)) {
            Err(Errno::EINPROGRESS) | Ok(()) => attempt.asks(),
            Err(why) => Err(why),
        };
        if begun.is_err() {
            attempt.got = Some(Got::Refused);
        }
        attempt
    }

    /// Sends what has to be answered.
    fn asks(&self) -> nix::Result<()> {
        let question = match self.protocol {
            Protocol::Tcp => return Ok(()),
            Protocol::Udp => b"who is there?".to_vec(),
            Protocol::Sctp => packet::sctp(self.mark, self.port, INIT),
            Protocol::Icmp => echo(self.v6, self.mark),
        };
        send(self.socket.as_raw_fd(), &question, MsgFlags::empty()).map(drop)
    }

    fn waits_for(&self) -> PollFlags {
        if self.connected { PollFlags::POLLIN } else { PollFlags::POLLOUT }
    }

    fn goes_on(&mut self) {
        if !self.connected {
            match getsockopt(&self.socket, sockopt::SocketError) {
                Ok(0) => self.connected = true,
                _ => self.got = Some(Got::Refused),
            }
            return;
        }
        let mut heard = [0; 2048];
        match recv(self.socket.as_raw_fd(), &mut heard, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => self.got = self.judged(&heard[..length]),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.got = Some(Got::Refused),
        }
    }

    /// Whether what was heard is the answer, or somebody else's.
    fn judged(&self, heard: &[u8]) -> Option<Got> {
        match self.protocol {
            // An end without a word is no answer.
            Protocol::Tcp => Some(if heard.is_empty() { Got::Refused } else { Got::Reached }),
            Protocol::Udp => Some(Got::Reached),
            Protocol::Sctp => (sctp::seen(heard, self.v6)? == (self.port, self.mark, INIT_ACK)).then_some(Got::Reached),
            Protocol::Icmp => {
                let body = if self.v6 { heard } else { heard.get(usize::from(heard.first()? & 0xf) * 4..)? };
                let reply = if self.v6 { 129 } else { 0 };
                (body.first() == Some(&reply) && body.get(4..6)? == self.mark.to_be_bytes()).then_some(Got::Reached)
            }
        }
    }
}

fn open(protocol: Protocol, to: IpAddr) -> std::io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let made = match protocol {
        Protocol::Tcp => socket(family, SockType::Stream, flags, None),
        Protocol::Udp => socket(family, SockType::Datagram, flags, None),
        Protocol::Sctp => sctp::raw(to.is_ipv6()),
        Protocol::Icmp if to.is_ipv4() => socket(family, SockType::Raw, flags, SockProtocol::Icmp),
        Protocol::Icmp => socket(family, SockType::Raw, flags, SockProtocol::IcmpV6),
    };
    Ok(made?)
}

/// An echo request (RFC 792, RFC 4443).
fn echo(v6: bool, mark: u16) -> Vec<u8> {
    let [high, low] = mark.to_be_bytes();
    let mut question = vec![if v6 { 128 } else { 8 }, 0, 0, 0, high, low, 0, 1, b'n', b'e', b't', b'd'];
    if !v6 {
        // The kernel fills in ICMPv6's own.
        let sum = checksum(&question, 0);
        question[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    question
}
