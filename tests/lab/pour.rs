//! One TCP connection through which as much goes as will: how much of it arrived, and when. Never says what is fast enough.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{Station, wait::PATIENCE};

/// Bytes of payload in a full frame of 1500 bytes, and of that frame with its Ethernet header: IPv4 and IPv6, TCP with time stamps.
const PAYLOAD: [u64; 2] = [1500 - 20 - 32, 1500 - 40 - 32];
const FRAME: u64 = 1514;

/// What arrived.
#[derive(Debug, Clone)]
pub struct Poured {
    /// Since the first byte, and how many bytes had arrived by then.
    arrivals: Vec<(Duration, u64)>,
    v6: bool,
}

impl Station {
    /// Pours into another station for this long, over one connection to an address of it.
    #[track_caller]
    pub fn pours(&self, into: &Station, at: IpAddr, time: Duration) -> Poured {
        let listener = into.net().inside(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))).unwrap_or_else(|why| panic!("{into}: {why}"));
        let to = SocketAddr::new(at, listener.local_addr().expect("it is bound").port());
        let stream = self.net().inside(|| TcpStream::connect_timeout(&to, PATIENCE)).unwrap_or_else(|why| panic!("{self} to {to}: {why}"));
        let (drain, _) = listener.accept().expect("the connection is there");
        let stop = Arc::new(AtomicBool::new(false));
        let tap = thread::spawn({
            let stop = stop.clone();
            move || pour(stream, &stop)
        });
        let arrivals = collect(drain, time);
        stop.store(true, Ordering::Relaxed);
        tap.join().expect("the tap does not panic");
        Poured { arrivals, v6: at.is_ipv6() }
    }
}

impl Poured {
    /// Bits a second between two moments, of the Ethernet frames that brought the payload: full ones, without checksum and gap.
    pub fn wire_rate(&self, from: Duration, to: Duration) -> f64 {
        let by = |moment| self.arrivals.iter().take_while(|(at, _)| *at <= moment).last().copied().unwrap_or_default();
        let ((start, before), (end, after)) = (by(from), by(to));
        assert!(end > start, "nothing arrived from {from:?} to {to:?}: {:?}", self.arrivals.last());
        let frames = (after - before) as f64 / PAYLOAD[usize::from(self.v6)] as f64;
        frames * FRAME as f64 * 8.0 / (end - start).as_secs_f64()
    }

    /// When so many bytes of payload had arrived, since the first one.
    pub fn time_of(&self, bytes: u64) -> Option<Duration> {
        self.arrivals.iter().find(|(_, total)| *total >= bytes).map(|(at, _)| *at)
    }
}

fn pour(mut stream: TcpStream, stop: &AtomicBool) {
    let water = vec![0_u8; 256 * 1024];
    // A full send buffer holds the tap back; it looks up now and then.
    let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
    while !stop.load(Ordering::Relaxed) {
        match stream.write(&water) {
            Err(why) if !matches!(why.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => return,
            _ => {}
        }
    }
}

fn collect(mut drain: TcpStream, time: Duration) -> Vec<(Duration, u64)> {
    drain.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
    let mut buffer = vec![0_u8; 256 * 1024];
    let (mut first, mut arrivals) = (None, Vec::new());
    loop {
        if drain.read(&mut buffer).unwrap_or(0) == 0 {
            return arrivals;
        }
        let at = first.get_or_insert_with(Instant::now).elapsed();
        arrivals.push((at, received(&drain)));
        if at > time {
            let _ = drain.shutdown(Shutdown::Both);
            return arrivals;
        }
    }
}

/// Bytes of payload that have arrived, read or not: a busy machine that lets the reader wait makes no burst of it (TCP_INFO, tcpi_bytes_received).
fn received(stream: &TcpStream) -> u64 {
    /// Where the field is in `struct tcp_info` of linux/tcp.h, and where it ends.
    const AT: usize = 128;
    const END: usize = AT + 8;
    let mut info = [0_u8; END];
    let mut length = END as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `info`, which is that long; both live through the call.
    let result =
        unsafe { libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut length) };
    assert!(result == 0 && length as usize == END, "TCP_INFO: {}", std::io::Error::last_os_error());
    u64::from_ne_bytes(info[AT..].try_into().expect("eight bytes"))
}
