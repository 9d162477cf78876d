//! A station that answers on some ports, over TCP, UDP and SCTP and both families: one thread, whatever the number of ports.
//! Never refuses anybody: who is not answered was kept away.

use std::{
    io::Write,
    net::{Ipv6Addr, TcpListener, UdpSocket},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    os::unix::net::UnixStream,
    thread,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{MsgFlags, SockaddrStorage, recvfrom, sendto},
};

use crate::{
    Station,
    packet::{self, INIT, INIT_ACK},
    sctp,
};

/// See the module; it ends when this is dropped.
#[derive(Debug)]
pub struct Responder {
    end: UnixStream,
    thread: Option<thread::JoinHandle<()>>,
}

enum Listener {
    Tcp(TcpListener),
    Udp(UdpSocket),
    /// Whether it is of IPv6, and the ports that it answers for.
    Sctp(OwnedFd, bool, Vec<u16>),
}

impl Responder {
    /// Answers on these ports of a station from now on.
    pub fn at(station: &Station, ports: &[u16]) -> Self {
        let listeners = station.net().inside(|| open(ports)).unwrap_or_else(|why| panic!("{station} cannot answer on {ports:?}: {why}"));
        let (end, theirs) = UnixStream::pair().expect("a pair of sockets can be made");
        let name = station.to_string();
        let thread = thread::spawn(move || serve(&listeners, &name, &theirs));
        Self { end, thread: Some(thread) }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.end.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(ports: &[u16]) -> std::io::Result<Vec<Listener>> {
    let mut all = Vec::new();
    for port in ports {
        let any = (Ipv6Addr::UNSPECIFIED, *port);
        let (listener, socket) = (TcpListener::bind(any)?, UdpSocket::bind(any)?);
        listener.set_nonblocking(true)?;
        socket.set_nonblocking(true)?;
        all.extend([Listener::Tcp(listener), Listener::Udp(socket)]);
    }
    for v6 in [false, true] {
        all.push(Listener::Sctp(sctp::raw(v6)?, v6, ports.to_vec()));
    }
    Ok(all)
}

fn serve(listeners: &[Listener], name: &str, end: &UnixStream) {
    loop {
        let all = listeners.iter().map(Listener::fd).chain([end.as_fd()]);
        let mut waits: Vec<PollFd<'_>> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        if poll(&mut waits, PollTimeout::NONE).is_err() {
            continue;
        }
        if waits.last().is_some_and(|end| end.any().unwrap_or(true)) {
            return;
        }
        for (listener, wait) in listeners.iter().zip(&waits) {
            if wait.any().unwrap_or(true) {
                while listener.answer(name).is_some() {}
            }
        }
    }
}

impl Listener {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Udp(socket) => socket.as_fd(),
            Self::Sctp(socket, ..) => socket.as_fd(),
        }
    }

    /// Answers one who asks; none where nobody does.
    fn answer(&self, name: &str) -> Option<()> {
        match self {
            Self::Tcp(listener) => {
                let (mut stream, _) = listener.accept().ok()?;
                let _ = stream.write_all(name.as_bytes());
            }
            Self::Udp(socket) => {
                let (_, peer) = socket.recv_from(&mut [0; 64]).ok()?;
                let _ = socket.send_to(name.as_bytes(), peer);
            }
            Self::Sctp(socket, v6, ports) => {
                let mut heard = [0; 256];
                let (length, peer) = recvfrom::<SockaddrStorage>(socket.as_raw_fd(), &mut heard).ok()?;
                if let (Some((from, to, INIT)), Some(peer)) = (sctp::seen(&heard[..length], *v6), peer)
                    && ports.contains(&to)
                {
                    let _ = sendto(socket.as_raw_fd(), &packet::sctp(to, from, INIT_ACK), &peer, MsgFlags::empty());
                }
            }
        }
        Some(())
    }
}
