//! Finds who has a port of this host, for an error's words. Reads /proc; slow on a host with many processes, so only asked after a refusal.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netd_api::publish::Protocol;
use netd_core::objects::Reservation;

/// `nginx (pid 812)`, or as much of it as can be found.
pub(crate) fn of(port: &Reservation) -> String {
    let files = match port.protocol {
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Protocol::Sctp => ["/proc/net/sctp/eps", ""],
    };
    let sockets = files.iter().filter_map(|file| fs::read_to_string(file).ok()).flat_map(|text| sockets(&text)).collect::<Vec<_>>();
    let conflicts = |socket: &&Socket| {
        // An IPv6 wildcard usually holds IPv4's port too; an IPv4 one never IPv6's.
        let wider = |asked: IpAddr| socket.address.is_unspecified() && (socket.address.is_ipv6() || asked.is_ipv4());
        let narrower = |asked: IpAddr| asked.is_unspecified() && asked.is_ipv4() == socket.address.is_ipv4();
        let same = |asked: IpAddr| socket.address == asked || wider(asked) || narrower(asked);
        socket.port == port.port && port.address.is_none_or(same)
    };
    // A listener before a connection: the connections of a server have its port, too.
    let mut found: Vec<&Socket> = sockets.iter().filter(conflicts).collect();
    found.sort_by_key(|socket| (socket.inode == 0, !socket.waits));
    match found.first() {
        Some(socket) => process(socket.inode).unwrap_or_else(|| "a socket that belongs to no process of this host".to_owned()),
        None => "another program of this host".to_owned(),
    }
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

/// The process that has a socket open.
fn process(inode: u64) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(fds) = fs::read_dir(entry.path().join("fd")) else { continue };
        if fds.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str())) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
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
}
