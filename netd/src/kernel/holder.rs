//! Finds who has ports of this host, for an error's words. Reads /proc; slow on a host with many processes, so only asked after a refusal, and once
//! for all ports of a request.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
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
    match in_the_way(port, &table(port.protocol)).first() {
        Some(socket) => processes(&BTreeSet::from([socket.inode])).next().map_or_else(|| NOBODY.to_owned(), |(_, pid)| name(pid)),
        None => SOMEBODY.to_owned(),
    }
}

/// The first stranger who waits for somebody on one of these ports, which could not be held. Connections alone are nobody: they go on beside a
/// published port. A socket that is only bound stands in no list, and is somebody. `is_stranger` is told who started the process `caller`.
pub(crate) fn first(ports: &[Reservation], caller: i32, is_stranger: impl Fn(&Holder) -> bool) -> Option<(Reservation, Holder)> {
    let tables: BTreeMap<Protocol, Table> =
        ports.iter().map(|port| port.protocol).collect::<BTreeSet<_>>().into_iter().map(|protocol| (protocol, table(protocol))).collect();
    let mut found = Vec::new();
    for port in ports {
        let sockets = in_the_way(port, &tables[&port.protocol]);
        let is_unlisted = sockets.is_empty();
        found.push((*port, sockets));
        if is_unlisted && is_stranger(&somebody()) {
            // Whatever comes behind it matters no more.
            break;
        }
    }
    let waiting = found.iter().flat_map(|(_, sockets)| sockets).filter(|socket| socket.waits).map(|socket| socket.inode).collect();
    let mut pids: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (inode, pid) in processes(&waiting) {
        pids.entry(inode).or_default().push(pid);
    }
    let runtimes: Vec<u32> = starters(caller).collect();
    let mut known: BTreeMap<u32, Process> = BTreeMap::new();
    let mut process = |pid: u32| {
        known.entry(pid).or_insert_with(|| Process { command_line: command_line(pid), started_caller: runtimes.contains(&pid) }).clone()
    };
    let mut holder = |socket: &Socket| {
        let pids = pids.get(&socket.inode).map_or(&[][..], Vec::as_slice);
        let words = pids.first().map_or_else(|| NOBODY.to_owned(), |pid| name(*pid));
        Holder { words, processes: pids.iter().map(|pid| process(*pid)).collect() }
    };
    found.iter().find_map(|(port, sockets)| {
        let stranger = if sockets.is_empty() {
            Some(somebody()).filter(&is_stranger)
        } else {
            sockets.iter().filter(|socket| socket.waits).map(&mut holder).find(&is_stranger)
        };
        stranger.map(|holder| (*port, holder))
    })
}

fn somebody() -> Holder {
    Holder { words: SOMEBODY.to_owned(), processes: Vec::new() }
}

/// The sockets of one protocol, by port.
type Table = BTreeMap<u16, Vec<Socket>>;

fn table(protocol: Protocol) -> Table {
    let files = match protocol {
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Protocol::Sctp => ["/proc/net/sctp/eps", ""],
    };
    let mut table = Table::new();
    for socket in files.iter().filter_map(|file| fs::read_to_string(file).ok()).flat_map(|text| sockets(&text)) {
        table.entry(socket.port).or_default().push(socket);
    }
    table
}

/// The sockets that a port cannot be held because of, a listener before a connection: the connections of a server have its port, too.
fn in_the_way(port: &Reservation, table: &Table) -> Vec<Socket> {
    let conflicts = |socket: &Socket| {
        // An IPv6 wildcard usually holds IPv4's port too; an IPv4 one never IPv6's.
        let wider = |asked: IpAddr| socket.address.is_unspecified() && (socket.address.is_ipv6() || asked.is_ipv4());
        let narrower = |asked: IpAddr| asked.is_unspecified() && asked.is_ipv4() == socket.address.is_ipv4();
        let same = |asked: IpAddr| socket.address == asked || wider(asked) || narrower(asked);
        port.address.is_none_or(same)
    };
    let mut found: Vec<Socket> = table.get(&port.port).into_iter().flatten().copied().filter(conflicts).collect();
    found.sort_by_key(|socket| (socket.inode == 0, !socket.waits));
    found
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// The processes that have one of these sockets open, each with the socket's inode and once for it. No sockets cost nothing.
fn processes(inodes: &BTreeSet<u64>) -> impl Iterator<Item = (u64, u32)> {
    let pids = (!inodes.is_empty()).then(|| fs::read_dir("/proc").ok()).flatten().into_iter().flatten().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).flat_map(|pid: u32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let open: BTreeSet<u64> =
            fds.filter_map(|fd| inode(&fs::read_link(fd.path()).ok()?)).filter(|inode| inodes.contains(inode)).collect();
        open.into_iter().map(move |inode| (inode, pid))
    })
}

/// The number in `socket:[4242]` (proc_pid_fd(5)).
fn inode(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
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
        let (on, found) = first(&[port], 0, |_| true).expect("it listens");
        assert_eq!(on, port);
        assert!(found.words.contains(&format!("(pid {})", std::process::id())), "{found:?}");
        assert!(found.processes.iter().any(|process| process.command_line.contains("netd") && !process.started_caller), "{found:?}");
        drop(listener);
        assert_eq!(first(&[port], 0, |_| true), None, "only {connection:?} and {accepted:?} are left");
    }

    #[test]
    fn of_many_ports_the_first_that_matters_is_told_and_who_may_be_there_is_passed_over() {
        let listeners: Vec<_> = (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let port = |listener: &std::net::TcpListener| {
            let address = listener.local_addr().expect("it is bound");
            Reservation { protocol: Protocol::Tcp, address: Some(address.ip()), port: address.port() }
        };
        let ports: Vec<Reservation> = listeners.iter().map(port).collect();
        let asked = std::cell::RefCell::new(Vec::new());
        let second = |holder: &Holder| {
            asked.borrow_mut().push(holder.clone());
            asked.borrow().len() == 2
        };
        assert_eq!(first(&ports, 0, second).map(|(port, _)| port), Some(ports[1]));
        let asked = asked.into_inner();
        assert_eq!(asked.len(), 2, "nothing behind the first that matters");
        let is_me = |holder: &Holder| holder.words.contains(&format!("(pid {})", std::process::id()));
        assert!(asked.iter().all(is_me), "{asked:?}");
        assert_eq!(first(&ports, 0, |_| false), None);
        assert_eq!(first(&[], 0, |_| true), None);
    }

    #[test]
    fn a_socket_in_no_list_is_somebody_and_one_before_it_is_told_first() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let listed = Reservation {
            protocol: Protocol::Tcp,
            address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: listener.local_addr().expect("it is bound").port(),
        };
        // Port 0 is nobody's.
        let unlisted = Reservation { port: 0, ..listed };
        assert_eq!(first(&[listed, unlisted], 0, |_| true).map(|(port, _)| port), Some(listed));
        assert_eq!(first(&[unlisted, listed], 0, |_| true), Some((unlisted, somebody())));
        assert_eq!(first(&[listed, unlisted], 0, |holder| holder.processes.is_empty()), Some((unlisted, somebody())));
    }
}
