//! Finds who has a port of this host, for an error's words. Reads /proc; slow on a host with many processes, so only asked after a refusal.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netd_api::publish::Protocol;
use netd_core::objects::Reservation;

use super::{Holder, Process};

/// The runtime is the plugin's parent, or its grandparent where another plugin calls it; further up stand shells, and with them whoever serves
/// them (an sshd that listens on port 22 is no runtime).
const GENERATIONS: usize = 2;
/// Of whom nothing is known.
const SOMEBODY: &str = "another program of this host";
/// Of a socket that a namespace of processes hides, or the kernel has.
const NOBODY: &str = "a socket that belongs to no process of this host";

/// `nginx (pid 812)`, or as much of it as can be found.
pub(crate) fn of(port: &Reservation) -> String {
    match in_the_way(port).first() {
        Some(socket) => processes(socket.inode).next().map_or_else(|| NOBODY.to_owned(), name),
        None => SOMEBODY.to_owned(),
    }
}

/// Everybody who waits for somebody on a port that could not be held, and of them who started the process `caller`. Connections alone are nobody:
/// they go on beside a published port. A socket that is only bound stands in no list, and is somebody.
pub(crate) fn all(port: &Reservation, caller: i32) -> Vec<Holder> {
    let sockets = in_the_way(port);
    if sockets.is_empty() {
        return vec![Holder { words: SOMEBODY.to_owned(), processes: Vec::new() }];
    }
    let runtimes: Vec<u32> = starters(caller).collect();
    let holder = |socket: &Socket| {
        let pids: Vec<u32> = processes(socket.inode).collect();
        let words = pids.first().map_or_else(|| NOBODY.to_owned(), |pid| name(*pid));
        let process = |pid: u32| Process { command_line: command_line(pid), started_caller: runtimes.contains(&pid) };
        Holder { words, processes: pids.into_iter().map(process).collect() }
    };
    sockets.iter().filter(|socket| socket.waits).map(holder).collect()
}

/// The sockets that a port cannot be held because of, a listener before a connection: the connections of a server have its port, too.
fn in_the_way(port: &Reservation) -> Vec<Socket> {
    let files = match port.protocol {
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Protocol::Sctp => ["/proc/net/sctp/eps", ""],
    };
    let conflicts = |socket: &Socket| {
        // An IPv6 wildcard usually holds IPv4's port too; an IPv4 one never IPv6's.
        let wider = |asked: IpAddr| socket.address.is_unspecified() && (socket.address.is_ipv6() || asked.is_ipv4());
        let narrower = |asked: IpAddr| asked.is_unspecified() && asked.is_ipv4() == socket.address.is_ipv4();
        let same = |asked: IpAddr| socket.address == asked || wider(asked) || narrower(asked);
        socket.port == port.port && port.address.is_none_or(same)
    };
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    let mut found: Vec<Socket> = texts.flat_map(|text| sockets(&text)).filter(conflicts).collect();
    found.sort_by_key(|socket| (socket.inode == 0, !socket.waits));
    found
}

#[derive(Debug, PartialEq, Eq)]
struct Socket {
    address: IpAddr,
    port: u16,
    /// It listens, or is a datagram socket that nobody is connected to.
    waits: bool,
    inode: u64,
}

/// The lines of /proc/net/tcp and its like (Documentation/networking/proc_net_tcp.rst).
fn sockets(text: &str) -> Vec<Socket> {
    let one = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (address, port) = words.next()?.split_once(':')?;
        let state = words.nth(1)?;
        let inode = words.nth(5)?.parse().ok()?;
        Some(Socket { address: parse(address)?, port: u16::from_str_radix(port, 16).ok()?, waits: matches!(state, "0A" | "07"), inode })
    };
    text.lines().skip(1).filter_map(one).collect()
}

/// Addresses stand there as 32-bit words of the host's byte order.
fn parse(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for word in text.as_bytes().chunks(8) {
        bytes.extend(u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok()?.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))),
        16 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))),
        _ => None,
    }
}

/// The processes that have a socket open.
fn processes(inode: u64) -> impl Iterator<Item = u32> {
    let wanted = format!("socket:[{inode}]");
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(move |pid: &u32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        fds.into_iter().any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()))
    })
}

fn name(pid: u32) -> String {
    format!("{} (pid {pid})", fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim())
}

fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Who started a process, and who started that one; process 1 starts everything, so it says nothing.
fn starters(pid: i32) -> impl Iterator<Item = u32> {
    let parent = |pid: &u32| parent(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).filter(|parent| *parent > 1);
    std::iter::successors(u32::try_from(pid).ok().filter(|pid| *pid > 0), parent).skip(1).take(GENERATIONS)
}

/// The fourth word of /proc/PID/stat; the second is the program's name, in parentheses and with whatever a name may have (proc_pid_stat(5)).
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_proc_net_tcp_are_read() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                    0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000 100 0 0 10 0\n   \
                    1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 01 0:0 00:0 0     0        0 7 1 0 20\n";
        let found = sockets(text);
        assert_eq!(found[0], Socket { address: "127.0.0.1".parse().expect("an address"), port: 8080, waits: true, inode: 4242 });
        assert_eq!(found[1], Socket { address: "::1".parse().expect("an address"), port: 80, waits: false, inode: 7 });
    }

    #[test]
    fn the_parent_of_a_program_with_any_name_is_found() {
        assert_eq!(parent("812 (a) b (c) S 7 812 812 0 -1 4194560"), Some(7));
        assert_eq!(parent("812 (cut"), None);
        let me = i32::try_from(std::process::id()).expect("a pid");
        assert_eq!(starters(me).next(), Some(std::os::unix::process::parent_id()).filter(|parent| *parent > 1));
        assert!(starters(me).count() <= GENERATIONS);
        assert_eq!(starters(0).count(), 0, "a caller in another namespace of processes");
    }

    #[test]
    fn a_listener_is_found_with_its_process_and_a_connection_alone_is_nobody() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let port = Reservation { protocol: Protocol::Tcp, address: Some(address.ip()), port: address.port() };
        let connection = std::net::TcpStream::connect(address).expect("it listens");
        let accepted = listener.accept().expect("somebody connected");
        let found = all(&port, 0);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].words.contains(&format!("(pid {})", std::process::id())), "{found:?}");
        assert!(found[0].processes.iter().any(|process| process.command_line.contains("netd") && !process.started_caller), "{found:?}");
        drop(listener);
        assert_eq!(all(&port, 0), [], "only {connection:?} and {accepted:?} are left");
    }
}
