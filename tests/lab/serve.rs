//! Servers: each says its name and whom it sees, then echoes. Plain sockets of this process, opened inside a namespace.
//! Never decides what a story expects.

use std::{
    io::{BufRead, BufReader, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::space::NetSpace;

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    _end: UnixStream,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// A TCP server called `name`.
    pub fn tcp(net: &NetSpace, name: &str, address: SocketAddr) -> std::io::Result<Self> {
        let listener = net.inside(|| TcpListener::bind(address))?;
        let address = listener.local_addr()?;
        let name = name.to_owned();
        Self::run(address, move |end| {
            while readable(listener.as_fd(), end) {
                let Ok((stream, peer)) = listener.accept() else { continue };
                let greeting = greeting(&name, peer);
                thread::spawn(move || converse(&stream, &greeting));
            }
        })
    }

    /// A UDP server called `name`; it answers each datagram with its name, whom it sees, and the datagram.
    pub fn udp(net: &NetSpace, name: &str, address: SocketAddr) -> std::io::Result<Self> {
        let socket = net.inside(|| UdpSocket::bind(address))?;
        let address = socket.local_addr()?;
        let name = name.to_owned();
        Self::run(address, move |end| {
            let mut datagram = [0; 2048];
            while readable(socket.as_fd(), end) {
                let Ok((length, peer)) = socket.recv_from(&mut datagram) else {
                    continue;
                };
                let mut answer = greeting(&name, peer).into_bytes();
                answer.extend_from_slice(&datagram[..length]);
                let _ = socket.send_to(&answer, peer);
            }
        })
    }

    fn run(address: SocketAddr, serve: impl FnOnce(&UnixStream) + Send + 'static) -> std::io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let thread = thread::spawn(move || serve(&theirs));
        Ok(Self { address, _end: ours, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self._end.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An IPv4 client of a server that listens on both families is shown as what it is.
pub fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Where a server of both families listens.
pub fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from([0u16; 8]), port)
}

fn greeting(name: &str, peer: SocketAddr) -> String {
    format!("{name} {}\n", plain(peer))
}

/// Waits for a packet or the end; true for a packet.
fn readable(socket: BorrowedFd<'_>, end: &UnixStream) -> bool {
    loop {
        let mut both = [PollFd::new(socket, PollFlags::POLLIN), PollFd::new(end.as_fd(), PollFlags::POLLIN)];
        if poll(&mut both, PollTimeout::NONE).is_err() {
            continue;
        }
        if both[1].any().unwrap_or(true) {
            return false;
        }
        if both[0].any().unwrap_or(true) {
            return true;
        }
    }
}

fn converse(stream: &TcpStream, greeting: &str) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(120))).ok()?;
    stream.set_nodelay(true).ok()?;
    writer.write_all(greeting.as_bytes()).ok()?;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while lines.read_line(&mut line).ok()? > 0 {
        writer.write_all(line.as_bytes()).ok()?;
        line.clear();
    }
    Some(())
}
