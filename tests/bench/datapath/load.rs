//! The loads: TCP stream on one CPU and on two, request and response, connect with request and response, small UDP packets; each between two namespaces,
//! pinned, for a fixed time. All but the streams (iperf3) are plain blocking sockets of this process, so that nothing but the path differs. Never knows what
//! path that is.

mod udp;

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    ops::RangeInclusive,
    thread,
    time::{Duration, Instant},
};

use lab::{host::Host, space::NetSpace};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::{
        socket::{setsockopt, sockopt},
        time::TimeVal,
    },
    unistd::Pid,
};

pub(super) use self::udp::{Fresh, small_packets};

/// The client's address on every path.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The server's.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);
/// All ports of the server, TCP and UDP.
pub(super) const PORTS: RangeInclusive<u16> = 5000..=5031;
/// Where iperf3 listens.
pub(super) const STREAM: u16 = 5001;
const REQUESTS: u16 = 5002;
const CONNECTIONS: u16 = 5003;

/// Bytes of each turn of a stream: some tenths of a second (iperf3 takes whole seconds only). Longer ones hide less noise than more of them do.
const STREAM_BYTES: &str = "512M";
/// How long each turn of the others is, for the same reason.
const TIME: Duration = Duration::from_millis(60);
/// No step of a load takes that long but on a path that does not work.
const PATIENCE: Duration = Duration::from_secs(5);
/// The byte that ends a server.
const OVER: u8 = b'q';

/// The two ends of a path, and the host whose programs run there.
pub(super) struct Ends<'a> {
    pub(super) host: &'a Host,
    pub(super) client: &'a NetSpace,
    pub(super) server: &'a NetSpace,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// Both ends on one CPU: what the path costs shows undiluted. On two, where the receiver wakes and what runs beside it decides more than the path does,
    /// so that the same path varies by 30 % from one round to the next; therefore this one is judged.
    StreamOneCpu,
    /// Client and server each on a CPU, as most streams are: shown beside it.
    Stream,
    Requests,
    Connections,
    Packets,
}

impl Load {
    pub(super) const ALL: [Self; 5] = [Self::StreamOneCpu, Self::Stream, Self::Requests, Self::Connections, Self::Packets];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::StreamOneCpu => "TCP stream on one CPU",
            Self::Stream => "TCP stream on two CPUs",
            Self::Requests => "request/response",
            Self::Connections => "connect/request/response",
            Self::Packets => "UDP of 64 bytes",
        }
    }

    /// What it is measured in, and more is better.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::StreamOneCpu | Self::Stream => "Gbit/s",
            Self::Requests | Self::Connections => "thousands/s",
            Self::Packets => "kpps received",
        }
    }

    /// How many turns make a sample.
    pub(super) fn turns(self) -> u8 {
        match self {
            Self::StreamOneCpu | Self::Stream | Self::Packets => 5,
            // Goals of these lie within a hundredth of what is measured.
            Self::Requests | Self::Connections => 10,
        }
    }

    /// How much of it a path carries.
    pub(super) fn measured(self, ends: &Ends<'_>) -> f64 {
        match self {
            Self::StreamOneCpu => stream(ends, [two_cpus()[0]; 2]),
            Self::Stream => stream(ends, two_cpus()),
            Self::Requests => requests(ends) / 1e3,
            Self::Connections => connections(ends) / 1e3,
            Self::Packets => small_packets(ends, TIME) / 1e3,
        }
    }
}

/// The CPUs of the client and the server, which are the same where there is only one. The last ones: interrupts mostly come to the first.
pub(super) fn two_cpus() -> [usize; 2] {
    let all = sched_getaffinity(Pid::from_raw(0)).expect("a thread runs somewhere");
    let mut usable = (0..CpuSet::count()).rev().filter(|cpu| all.is_set(*cpu).unwrap_or(false));
    let first = usable.next().expect("a thread runs somewhere");
    [first, usable.next().unwrap_or(first)]
}

/// Pins the calling thread to a CPU.
pub(super) fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).expect("it is one of our CPUs");
}

/// Some of a stream, as the receiving iperf3 saw it; its ends on these CPUs.
fn stream(ends: &Ends<'_>, [client, server]: [usize; 2]) -> f64 {
    let (to, port, cpus) = (SERVER.to_string(), STREAM.to_string(), format!("{client},{server}"));
    let arguments = ["-c", &to, "-p", &port, "-n", STREAM_BYTES, "-A", &cpus, "-J"];
    let said = ends.host.run_in(ends.client, "iperf3", &arguments);
    let said: serde_json::Value = serde_json::from_str(&said).expect("iperf3 -J prints JSON");
    said["end"]["sum_received"]["bits_per_second"].as_f64().unwrap_or_else(|| panic!("iperf3 says no rate: {said}")) / 1e9
}

/// One byte each way over one connection, both ends on one CPU: what the path costs, without waking another CPU. Exchanges in a second.
fn requests(ends: &Ends<'_>) -> f64 {
    let listener = listener(ends, REQUESTS);
    let [cpu, _] = two_cpus();
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(cpu);
            let Ok((stream, _)) = listener.accept() else { return };
            serve(stream);
        });
        ends.client.inside(|| {
            pin(cpu);
            let mut stream = connected(REQUESTS);
            let began = Instant::now();
            let mut exchanges = 0_u32;
            while began.elapsed() < TIME {
                exchange(&mut stream, b'r').expect("the server answers");
                exchanges += 1;
            }
            f64::from(exchanges) / began.elapsed().as_secs_f64()
        })
    })
}

/// The same with a new connection for each, which ends by a reset: no port waits for a minute before it can be used again. Connections in a second.
fn connections(ends: &Ends<'_>) -> f64 {
    let listener = listener(ends, CONNECTIONS);
    let [cpu, _] = two_cpus();
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(cpu);
            while let Ok((stream, _)) = listener.accept() {
                if serve(stream) == OVER {
                    return;
                }
            }
        });
        ends.client.inside(|| {
            pin(cpu);
            let began = Instant::now();
            let mut made = 0_u32;
            while began.elapsed() < TIME {
                let mut stream = connected(CONNECTIONS);
                exchange(&mut stream, b'r').expect("the server answers");
                setsockopt(&stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).expect("every socket can linger");
                made += 1;
            }
            let rate = f64::from(made) / began.elapsed().as_secs_f64();
            exchange(&mut connected(CONNECTIONS), OVER).expect("the server answers");
            rate
        })
    })
}

/// Answers bytes until the client has no more; gives the last one.
fn serve(mut stream: TcpStream) -> u8 {
    let mut byte = [0];
    let _ = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
    while matches!(stream.read(&mut byte), Ok(1)) {
        if stream.write_all(&byte).is_err() {
            break;
        }
    }
    byte[0]
}

fn exchange(stream: &mut TcpStream, byte: u8) -> io::Result<()> {
    stream.write_all(&[byte])?;
    stream.read_exact(&mut [0])
}

fn connected(port: u16) -> TcpStream {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((SERVER, port)), PATIENCE).expect("the server listens");
    stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE))).expect("a stream has options");
    stream
}

/// A server that waits for nobody for ever: a client that failed shall be heard of.
fn listener(ends: &Ends<'_>, port: u16) -> TcpListener {
    let listener = ends.server.inside(|| TcpListener::bind((SERVER, port))).expect("the port is free");
    setsockopt(&listener, sockopt::ReceiveTimeout, &TimeVal::new(5, 0)).expect("every socket has a timeout");
    listener
}
