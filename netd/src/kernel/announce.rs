//! Tells a network that an address is here now: gratuitous ARP (RFC 5227) or unsolicited neighbour advertisement (RFC 4861, 7.2.6), twice,
//! from inside the container. Never makes anybody wait, never holds a namespace for more than some seconds.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use netd_api::{addr::Mac, names::IfName};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::{KernelError, link, netlink::Rtnetlink};

/// How often it is said (RFC 5227, ANNOUNCE_NUM): one frame may be lost, and each goes to every port of the bridge, of which there may be 1,023.
const TIMES: u8 = 2;
/// Between one and the next. RFC 5227 has 2 s, against floods of a whole segment; ours is one host.
const BETWEEN: Duration = Duration::from_millis(100);
/// How soon a port that does not forward yet is looked at again; twice as long each time.
const FIRST_LOOK: Duration = Duration::from_millis(1);
/// How long a bridge port may take to forward: without STP it is at once. After that nobody is told.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes; the thread makes calls and little else.
const STACK: usize = 128 * 1024;

/// What is to be said, and where.
struct Announcement {
    /// A packet socket inside the container that only sends.
    socket: OwnedFd,
    /// The number of the interface there.
    index: u32,
    /// The number of the other end, on the host: the bridge port.
    host_end: Option<u32>,
    mac: Mac,
    address: IpAddr,
}

/// Says that an interface of the calling thread's namespace has an address.
pub(crate) fn from_here(announcer: &Announcer, link: &IfName, mac: Mac, address: IpAddr) -> Result<(), KernelError> {
    let Some(seen) = link::get(&mut Rtnetlink::open()?, link)? else { return Ok(()) };
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    announcer.announce(Announcement { socket, index: seen.index, host_end: seen.other_end, mac, address })
}

/// Says things, on a thread that is there only while there is something to say.
#[derive(Clone)]
pub(crate) struct Announcer {
    queue: Arc<Mutex<Queue>>,
    /// A socket of the host's namespace: the thread may be started from inside a container's, where no bridge port is to be seen.
    host: Arc<Mutex<Rtnetlink>>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Pending>,
    has_thread: bool,
}

struct Pending {
    announcement: Announcement,
    left: u8,
    due: Instant,
    pause: Duration,
    give_up: Instant,
    forwards: bool,
}

impl Announcer {
    /// One that looks at bridge ports in the calling thread's namespace, which must be the host's.
    pub(crate) fn on_host() -> Result<Self, KernelError> {
        Ok(Self { queue: Arc::default(), host: Arc::new(Mutex::new(Rtnetlink::open()?)) })
    }

    /// Says it as soon as the bridge port forwards; returns at once.
    fn announce(&self, announcement: Announcement) -> Result<(), KernelError> {
        let now = Instant::now();
        let pending = Pending { announcement, left: TIMES, due: now, pause: FIRST_LOOK, give_up: now + PATIENCE, forwards: false };
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting.push(pending);
        if !queue.has_thread {
            let (shared, host) = (Arc::clone(&self.queue), Arc::clone(&self.host));
            thread::Builder::new().name("announce".to_owned()).stack_size(STACK).spawn(move || run(&shared, &host))?;
            queue.has_thread = true;
        }
        Ok(())
    }
}

fn run(shared: &Mutex<Queue>, host: &Mutex<Rtnetlink>) {
    loop {
        let mut due = {
            let mut queue = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let due: Vec<Pending> = queue.waiting.extract_if(.., |pending| pending.due <= now).collect();
            if due.is_empty() {
                let Some(next) = queue.waiting.iter().map(|pending| pending.due).min() else {
                    queue.has_thread = false;
                    return;
                };
                drop(queue);
                thread::sleep(next.saturating_duration_since(now).min(FIRST_LOOK.max(BETWEEN)));
                continue;
            }
            due
        };
        let mut host = host.lock().unwrap_or_else(PoisonError::into_inner);
        due.retain_mut(|pending| step(pending, &mut host));
        drop(host);
        shared.lock().unwrap_or_else(PoisonError::into_inner).waiting.extend(due);
    }
}

/// Looks or speaks once; whether there is more to do.
fn step(pending: &mut Pending, host: &mut Rtnetlink) -> bool {
    let now = Instant::now();
    if !pending.forwards {
        let port = pending.announcement.host_end.and_then(|index| link::by_index(host, index).ok().flatten());
        match port {
            Some(port) if port.forwards => pending.forwards = true,
            Some(_) if now < pending.give_up => {
                pending.due = now + pending.pause;
                pending.pause = (pending.pause * 2).min(BETWEEN);
                return true;
            }
            _ => return false, // gone, or blocked for long: there is nobody to tell
        }
    }
    if let Err(error) = say(&pending.announcement) {
        tracing::debug!(address = %pending.announcement.address, %error, "an address was not announced");
        return false;
    }
    pending.left -= 1;
    pending.due = now + BETWEEN;
    pending.left > 0
}

fn say(Announcement { socket, index, mac, address, .. }: &Announcement) -> Result<(), KernelError> {
    let frame = match address {
        IpAddr::V4(address) => arp(*mac, *address),
        IpAddr::V6(address) => advertisement(*mac, *address),
    };
    // SAFETY: all fields of sockaddr_ll are numbers, for which zero is a value.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = index.cast_signed();
    // SAFETY: frame and address live through the call, and their lengths are given.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    nix::errno::Errno::result(sent).map(|_| ()).map_err(KernelError::from)
}

/// An ARP announcement (RFC 5227, 3): a request for one's own address.
fn arp(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend([0xff; 6]);
    frame.extend(mac.0);
    frame.extend([0x08, 0x06]);
    frame.extend([0, 1, 0x08, 0, 6, 4, 0, 1]); // Ethernet, IPv4, lengths, request
    frame.extend(mac.0);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// An unsolicited neighbour advertisement to all nodes, with the override flag.
fn advertisement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut body = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    body.extend(address.octets());
    body.extend([2, 1]); // target link-layer address, of 1 * 8 bytes
    body.extend(mac.0);
    let checksum = checksum(address, all_nodes, &body);
    body[2..4].copy_from_slice(&checksum.to_be_bytes());

    let mut frame = Vec::with_capacity(86);
    frame.extend([0x33, 0x33, 0, 0, 0, 1]); // RFC 2464, 7
    frame.extend(mac.0);
    frame.extend([0x86, 0xdd]);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((body.len() as u16).to_be_bytes());
    frame.extend([58, 255]); // ICMPv6; a hop limit of 255 proves that it comes from this link
    frame.extend(address.octets());
    frame.extend(all_nodes.octets());
    frame.extend(body);
    frame
}

/// ICMPv6's checksum (RFC 4443, 2.3), over the pseudo header and a body of an even length whose own checksum is zero.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, body: &[u8]) -> u16 {
    let pseudo = from.segments().into_iter().chain(to.segments()).chain([body.len() as u16, 58]);
    let body = body.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    let mut sum: u32 = pseudo.chain(body).map(u32::from).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    #[test]
    fn an_arp_announcement_asks_for_its_own_address() {
        let frame = arp(MAC, Ipv4Addr::new(10, 4, 0, 2));
        assert_eq!(frame.len(), 42);
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[28..32], frame[38..42]);
        assert_eq!(frame[20..22], [0, 1]);
    }

    #[test]
    fn an_advertisement_has_a_right_checksum() {
        let address: Ipv6Addr = "fd00::2".parse().expect("an address");
        let frame = advertisement(MAC, address);
        assert_eq!(frame.len(), 86);
        // A sum over everything, checksum included, is zero after complement.
        assert_eq!(checksum(address, "ff02::1".parse().expect("an address"), &frame[54..]), 0);
    }
}
