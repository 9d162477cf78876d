//! Clients and what a story expects of their answers. Plain sockets of this process, opened inside a namespace.
//! Never retries: what was seen first is what a user would have seen.

use std::{
    fmt,
    io::{self, BufRead, BufReader, ErrorKind},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use crate::{
    space::NetSpace,
    wait::{PATIENCE, SILENCE, eventually},
};

/// After how long a client asks again.
const AGAIN: Duration = Duration::from_millis(200);

/// What a server said: its name, and whom it saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The server's name.
    pub from: String,
    /// The client as the server saw it.
    pub seen: SocketAddr,
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A reset or an ICMP port unreachable.
    Refused,
    /// Nothing came back.
    Silence,
    /// An ICMP error or no route.
    Unreachable,
    /// Something else; see errno(3).
    Other(i32),
}

/// What came of asking; a story says what it should be.
#[must_use = "say what is expected"]
pub struct Outcome {
    /// Who asked what, in words.
    what: String,
    result: Result<Answer, Failure>,
}

impl Outcome {
    /// The answer came from the server of this name; gives it.
    #[track_caller]
    pub fn expect_from(self, name: impl fmt::Display) -> Answer {
        match self.result {
            Ok(answer) if answer.from == name.to_string() => answer,
            other => panic!("{}: expected an answer from {name}, got {}", self.what, told(&other)),
        }
    }
    /// It was refused at once.
    #[track_caller]
    pub fn expect_refused(self) {
        assert!(self.result == Err(Failure::Refused), "{}: expected a refusal, got {}", self.what, told(&self.result));
    }
    /// Nothing came back at all.
    #[track_caller]
    pub fn expect_silence(self) {
        assert!(self.result == Err(Failure::Silence), "{}: expected silence, got {}", self.what, told(&self.result));
    }
    /// There was no way there.
    #[track_caller]
    pub fn expect_unreachable(self) {
        assert!(self.result == Err(Failure::Unreachable), "{}: expected no way there, got {}", self.what, told(&self.result));
    }
    /// No answer, however it failed.
    #[track_caller]
    pub fn expect_nothing(self) {
        assert!(self.result.is_err(), "{}: expected no answer, got {}", self.what, told(&self.result));
    }
    /// What it was, for stories that wait.
    pub fn answer(self) -> Option<Answer> {
        self.result.ok()
    }
    /// Why there was none.
    pub fn failure(&self) -> Option<Failure> {
        self.result.as_ref().err().copied()
    }
}

fn told(result: &Result<Answer, Failure>) -> String {
    match result {
        Ok(answer) => format!("{:?} (it saw {})", answer.from, answer.seen),
        Err(Failure::Refused) => "a refusal".to_owned(),
        Err(Failure::Silence) => "silence".to_owned(),
        Err(Failure::Unreachable) => "no way there".to_owned(),
        Err(Failure::Other(errno)) => io::Error::from_raw_os_error(*errno).to_string(),
    }
}

/// Connects, reads the greeting and closes.
pub fn tcp(net: &NetSpace, who: &str, to: SocketAddr, limit: Duration) -> Outcome {
    let fetch = || -> io::Result<Answer> {
        let stream = TcpStream::connect_timeout(&to, limit)?;
        greeting(&stream, limit)
    };
    Outcome { what: format!("{who} fetches {to}"), result: net.inside(fetch).map_err(|why| failure(&why)) }
}

/// The same from a local address and port of the client's choice.
pub fn tcp_from(net: &NetSpace, who: &str, from: SocketAddr, to: SocketAddr, limit: Duration) -> Outcome {
    let fetch = || -> io::Result<Answer> {
        let stream = connect_from(from, to, limit)?;
        greeting(&stream, limit)
    };
    Outcome { what: format!("{who} fetches {to} from {from}"), result: net.inside(fetch).map_err(|why| failure(&why)) }
}

/// Sends a datagram and waits for the answer.
pub fn udp(net: &NetSpace, who: &str, to: SocketAddr, limit: Duration) -> Outcome {
    let ask = || -> io::Result<Answer> {
        let any = if to.is_ipv4() { IpAddr::from([0u8; 4]) } else { IpAddr::from([0u16; 8]) };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        ask_over(&socket, limit)
    };
    Outcome { what: format!("{who} asks {to}/udp"), result: net.inside(ask).map_err(|why| failure(&why)) }
}

/// A UDP client that keeps its port, as a resolver or a game does: what conntrack remembers shows.
#[derive(Debug)]
pub struct Asker {
    who: String,
    to: SocketAddr,
    socket: UdpSocket,
}

impl Asker {
    /// One that asks `to`.
    pub fn new(net: &NetSpace, who: &str, to: SocketAddr) -> Self {
        let any = if to.is_ipv4() { IpAddr::from([0u8; 4]) } else { IpAddr::from([0u16; 8]) };
        let socket = net.inside(|| UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(to).map(|()| socket)));
        Self { who: who.to_owned(), to, socket: socket.expect("a UDP socket can be opened") }
    }
    /// Asks once more, from the same port.
    pub fn asks(&self) -> Outcome {
        self.asks_for(PATIENCE)
    }
    /// Asks once more, without the hope of an answer.
    pub fn asks_briefly(&self) -> Outcome {
        self.asks_for(SILENCE)
    }
    /// Asks again and again, as a client does that gets no answer, until the answer comes from the server of this name. What conntrack
    /// remembers is forgotten in the moment after netd has answered, so the first question may still go the old way.
    #[track_caller]
    pub fn comes_to(&self, name: impl fmt::Display) {
        let name = name.to_string();
        eventually(&format!("{} asks {}/udp and comes to {name}", self.who, self.to), || {
            self.asks_for(AGAIN).answer().filter(|answer| answer.from == name)
        });
    }
    /// Asks again and again, until there is no answer any more.
    #[track_caller]
    pub fn comes_to_nobody(&self) {
        eventually(&format!("{} asks {}/udp in vain", self.who, self.to), || self.asks_for(SILENCE).failure());
    }
    fn asks_for(&self, limit: Duration) -> Outcome {
        let result = ask_over(&self.socket, limit).map_err(|why| failure(&why));
        Outcome { what: format!("{} asks {}/udp again", self.who, self.to), result }
    }
}

fn ask_over(socket: &UdpSocket, limit: Duration) -> io::Result<Answer> {
    socket.set_read_timeout(Some(limit))?;
    socket.send(b"who is there?")?;
    let mut answer = [0; 2048];
    let length = socket.recv(&mut answer)?;
    let text = String::from_utf8_lossy(&answer[..length]).into_owned();
    parse(text.lines().next().unwrap_or_default())
}

/// Reads the first line that a server says.
pub fn greeting(stream: &TcpStream, limit: Duration) -> io::Result<Answer> {
    stream.set_read_timeout(Some(limit))?;
    let mut line = String::new();
    // Byte by byte, so that nothing behind the line is lost to a buffer.
    let mut lines = BufReader::with_capacity(1, stream);
    lines.read_line(&mut line)?;
    parse(line.trim_end())
}

fn parse(line: &str) -> io::Result<Answer> {
    let (from, seen) = line.rsplit_once(' ').ok_or(ErrorKind::UnexpectedEof)?;
    let seen = seen.parse().map_err(|_| ErrorKind::InvalidData)?;
    Ok(Answer { from: from.to_owned(), seen })
}

fn connect_from(from: SocketAddr, to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt};
    use std::os::fd::AsRawFd;
    let family = if from.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    let seconds = i64::try_from(limit.as_secs()).unwrap_or(1);
    let time = nix::sys::time::TimeVal::new(seconds, i64::from(limit.subsec_micros()));
    setsockopt(&fd, sockopt::SendTimeout, &time)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(from))?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(TcpStream::from(fd))
}

fn failure(why: &io::Error) -> Failure {
    match (why.kind(), why.raw_os_error()) {
        (ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset, _) => Failure::Refused,
        (_, Some(libc::EINPROGRESS)) => Failure::Silence,
        (ErrorKind::TimedOut | ErrorKind::WouldBlock, _) => Failure::Silence,
        (ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable, _) => Failure::Unreachable,
        (_, Some(libc::EADDRNOTAVAIL)) => Failure::Unreachable,
        (_, Some(libc::EACCES)) => Failure::Unreachable,
        (ErrorKind::UnexpectedEof, _) => Failure::Refused,
        (_, code) => Failure::Other(code.unwrap_or(0)),
    }
}
