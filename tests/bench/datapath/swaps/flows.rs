//! Who talks while policies are swapped: an echo server, flows that are allowed, and one who is denied. Never decides what a policy says.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use lab::{Station, space::NetSpace};

/// Longer than a busy machine delays an answer: what has not come by then never comes.
const LOST: Duration = Duration::from_secs(2);
/// The first retransmission of a SYN comes after a second (RFC 6298): a connection that needs as long has lost a packet.
const RETRANSMITTED: Duration = Duration::from_millis(990);
/// Between two tries of the one who is denied, and how long each server looks for the end.
const PAUSE: Duration = Duration::from_millis(2);

/// Says to all of them that it is over.
#[derive(Clone, Default)]
pub(super) struct Over(Arc<AtomicBool>);

impl Over {
    pub(super) fn says_so(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What became of one that ran.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tries {
    pub(super) tried: u64,
    pub(super) failed: u64,
}

impl Tries {
    fn count(&mut self, good: bool) {
        self.tried += 1;
        self.failed += u64::from(!good);
    }
}

/// Answers over UDP and TCP on port 5000, and counts what comes from the one who is denied.
pub(super) struct Echo {
    over: Over,
    threads: Vec<JoinHandle<u64>>,
}

const PORT: u16 = 5000;

impl Echo {
    pub(super) fn in_container(container: &Station, denied: IpAddr) -> Self {
        let here = (Ipv4Addr::UNSPECIFIED, PORT);
        let udp = container.net().inside(|| UdpSocket::bind(here)).expect("the port is free");
        let tcp = container.net().inside(|| TcpListener::bind(here)).expect("the port is free");
        udp.set_read_timeout(Some(PAUSE)).expect("a socket has a timeout");
        tcp.set_nonblocking(true).expect("a socket need not block");
        let over = Over::default();
        let answers = {
            let over = over.clone();
            move || {
                let (mut buffer, mut strange) = ([0; 64], 0);
                while !over.is_so() {
                    let Ok((length, from)) = udp.recv_from(&mut buffer) else { continue };
                    strange += u64::from(from.ip() == denied);
                    let _ = udp.send_to(&buffer[..length], from);
                }
                strange
            }
        };
        let accepts = {
            let over = over.clone();
            move || {
                let mut strange = 0;
                while !over.is_so() {
                    let Ok((mut stream, from)) = tcp.accept() else {
                        thread::sleep(PAUSE / 4);
                        continue;
                    };
                    strange += u64::from(from.ip() == denied);
                    let _ = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(LOST)));
                    let mut byte = [0];
                    let _ = stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte));
                }
                strange
            }
        };
        Self { threads: vec![thread::spawn(answers), thread::spawn(accepts)], over }
    }

    pub(super) fn udp(&self, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, PORT)
    }

    pub(super) fn tcp(&self, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, PORT)
    }

    /// How much came from the one who is denied.
    pub(super) fn ends(self) -> u64 {
        // What is on its way arrives first.
        thread::sleep(10 * PAUSE);
        self.over.says_so();
        self.threads.into_iter().map(|thread| thread.join().expect("a server does not panic")).sum()
    }
}

/// A flow or several that run until it is over.
pub(super) struct Running(JoinHandle<Tries>);

impl Running {
    fn starts(container: &Station, over: &Over, mut once: impl FnMut(&mut Tries) + Send + 'static) -> Self {
        let (net, over): (NetSpace, Over) = (container.net().clone(), over.clone());
        let run = move || {
            let mut tries = Tries::default();
            while !over.is_so() {
                once(&mut tries);
            }
            tries
        };
        Self(thread::spawn(move || net.inside(run)))
    }

    pub(super) fn ends(self) -> Tries {
        self.0.join().expect("a flow does not panic")
    }
}

/// One UDP flow: a number at a time, and the next one when it came back.
pub(super) struct Known;

impl Known {
    pub(super) fn starts(container: &Station, to: SocketAddr, over: &Over) -> Running {
        let socket = container.net().inside(|| asking(to));
        let mut number = 0_u64;
        Running::starts(container, over, move |tries| {
            number += 1;
            tries.count(answered(&socket, number));
        })
    }
}

/// New flows, one after the other.
pub(super) struct New;

impl New {
    /// Each of one datagram and its answer.
    pub(super) fn starts(container: &Station, to: SocketAddr, over: &Over) -> Running {
        let mut number = 0_u64;
        Running::starts(container, over, move |tries| {
            number += 1;
            tries.count(answered(&asking(to), number));
        })
    }

    /// Each a connection with a byte each way. They come a bit apart: the ports of those that ended are free again after a minute.
    pub(super) fn connects(container: &Station, to: SocketAddr, over: &Over) -> Running {
        Running::starts(container, over, move |tries| {
            let began = Instant::now();
            let asked = TcpStream::connect_timeout(&to, LOST).and_then(|mut stream| {
                stream.set_read_timeout(Some(LOST))?;
                stream.write_all(b"?")?;
                stream.read_exact(&mut [0])
            });
            tries.count(asked.is_ok() && began.elapsed() < RETRANSMITTED);
            thread::sleep(PAUSE);
        })
    }
}

/// One who tries over UDP, in a flow and in new ones, and over TCP, and is never answered.
pub(super) struct Denied;

impl Denied {
    pub(super) fn starts(container: &Station, [udp, tcp]: [SocketAddr; 2], over: &Over) -> Running {
        let kept = container.net().inside(|| asking(udp));
        Running::starts(container, over, move |tries| {
            let _ = kept.send(b"one flow");
            let _ = asking(udp).send(b"new flow");
            let connected = TcpStream::connect_timeout(&tcp, PAUSE).is_ok();
            tries.tried += 3;
            tries.failed += u64::from(connected);
        })
    }
}

fn asking(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port is free");
    socket.connect(to).expect("there is a route");
    socket.set_read_timeout(Some(LOST)).expect("a socket has a timeout");
    socket
}

/// Whether a number comes back. A late answer to an earlier one is passed over.
fn answered(socket: &UdpSocket, number: u64) -> bool {
    let mut answer = [0; 8];
    if socket.send(&number.to_be_bytes()).is_err() {
        return false;
    }
    loop {
        match socket.recv(&mut answer) {
            Ok(8) if answer == number.to_be_bytes() => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}
