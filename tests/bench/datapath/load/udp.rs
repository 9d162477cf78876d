//! UDP: small packets of one known flow as fast as they go, and packets of which each begins a new flow. Never waits for an answer but for the first.

use std::{
    net::{SocketAddrV4, UdpSocket},
    os::fd::{AsRawFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use lab::space::NetSpace;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, setsockopt, socket, sockopt};

use super::{CLIENT, Ends, PATIENCE, SERVER, pin, two_cpus};

const KNOWN: u16 = 5004;
/// Ports of the server that new flows lead to: with all ports of the client that makes a million flows.
const NEW: std::ops::RangeInclusive<u16> = 5016..=5031;
/// The client's ports for them.
const FROM: std::ops::RangeInclusive<u16> = 1024..=65_535;
/// Bytes of each: as little as a name server is asked.
const PAYLOAD: usize = 64;
/// More than a receiver gets behind in.
const BUFFER: usize = 16 << 20;
/// Silence that ends the receiver, once the sender has.
const SILENCE: Duration = Duration::from_millis(50);

/// Packets in a second that arrive, of one flow whose first packet was answered; on two CPUs.
pub(crate) fn small_packets(ends: &Ends<'_>, time: Duration) -> f64 {
    let server = ends.server.inside(|| UdpSocket::bind((SERVER, KNOWN))).expect("the port is free");
    setsockopt(&server, sockopt::RcvBufForce, &BUFFER).expect("root may have a large buffer");
    server.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
    let [here, there] = two_cpus();
    let sent = AtomicBool::new(false);
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            pin(there);
            let Ok((length, client)) = server.recv_from(&mut [0; PAYLOAD]) else { return 0.0 };
            let _ = server.send_to(&[0; PAYLOAD][..length], client);
            server.set_read_timeout(Some(SILENCE)).expect("a socket has a timeout");
            received(&server, &sent)
        });
        ends.client.inside(|| {
            pin(here);
            let client = UdpSocket::bind((CLIENT, 0)).expect("a port is free");
            client.connect((SERVER, KNOWN)).expect("there is a route");
            client.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
            client.send(&[0; PAYLOAD]).expect("there is a route");
            client.recv(&mut [0; PAYLOAD]).expect("the first packet is answered");
            let began = Instant::now();
            while began.elapsed() < time {
                // A full queue refuses a packet, which then does not arrive: that is what is counted.
                (0..16).for_each(|_| drop(client.send(&[0; PAYLOAD])));
            }
            sent.store(true, Ordering::Relaxed);
        });
        receiver.join().expect("the receiver does not panic")
    })
}

/// Counts until the sender is done and nothing has come for a moment; packets in a second from the first to the last.
fn received(server: &UdpSocket, sent: &AtomicBool) -> f64 {
    let (mut count, mut first, mut last) = (0_u32, None, Instant::now());
    loop {
        match server.recv(&mut [0; PAYLOAD]) {
            Ok(_) => {
                last = Instant::now();
                first.get_or_insert(last);
                count += 1;
            }
            Err(_) if sent.load(Ordering::Relaxed) => break,
            Err(_) => {}
        }
    }
    first.map_or(0.0, |first| f64::from(count) / last.duration_since(first).as_secs_f64().max(1e-3))
}

/// A sender of packets of which each is a flow that was not there before, for a million of them; then it begins again with the first.
pub(crate) struct Fresh {
    raw: OwnedFd,
    number: u32,
    /// Nobody reads from them; without them each packet would be answered by an ICMP error.
    _servers: Vec<UdpSocket>,
}

impl Fresh {
    pub(crate) fn new(client: &NetSpace, server: &NetSpace) -> Self {
        let bind = |port| UdpSocket::bind((SERVER, port)).expect("the port is free");
        let servers = server.inside(|| NEW.map(bind).collect());
        let raw = client.inside(|| socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw));
        Self { raw: raw.expect("root may send raw packets"), number: 0, _servers: servers }
    }

    /// Sends for so long, from one CPU.
    pub(crate) fn sends(&mut self, time: Duration) {
        let [cpu, _] = two_cpus();
        let body = || {
            pin(cpu);
            let began = Instant::now();
            while began.elapsed() < time {
                (0..16).for_each(|_| self.send());
            }
        };
        // On a thread of its own: pinned stays pinned.
        thread::scope(|scope| drop(scope.spawn(body)));
    }

    fn send(&mut self) {
        let froms = u32::from(FROM.end() - FROM.start()) + 1;
        let tos = u32::from(NEW.end() - NEW.start()) + 1;
        let port = |of: u32, first: u16| first + u16::try_from(of).expect("it is less than their number");
        let from = port(self.number % froms, *FROM.start());
        let to = port(self.number / froms % tos, *NEW.start());
        self.number = self.number.wrapping_add(1);
        let address = SockaddrIn::from(SocketAddrV4::new(SERVER, 0));
        let _ = sendto(self.raw.as_raw_fd(), &packet(from, to), &address, MsgFlags::empty());
    }
}

/// IPv4 (RFC 791; the kernel fills in the checksum of such a socket) and UDP (RFC 768) without a checksum.
fn packet(from: u16, to: u16) -> [u8; 28 + PAYLOAD] {
    let mut packet = [0; 28 + PAYLOAD];
    let length = |bytes: usize| u16::try_from(bytes).expect("a short packet").to_be_bytes();
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&length(28 + PAYLOAD));
    packet[8] = 64;
    packet[9] = 17;
    packet[12..16].copy_from_slice(&CLIENT.octets());
    packet[16..20].copy_from_slice(&SERVER.octets());
    packet[20..22].copy_from_slice(&from.to_be_bytes());
    packet[22..24].copy_from_slice(&to.to_be_bytes());
    packet[24..26].copy_from_slice(&length(8 + PAYLOAD));
    packet
}
