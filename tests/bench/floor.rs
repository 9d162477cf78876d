//! The kernel's floor: one process with open sockets that makes and removes what a container's attachment is made of, and nothing else.
//! Never talks to netd. It is started in the private host, gets lines on stdin and answers each with milliseconds: `add N` and `del N` with the
//! namespace, `make N` the namespace alone, `attach N 4|46 0|1` and `detach N …` without it, in IPv4 or both, without or with a published port.

use std::{
    collections::HashMap,
    ffi::CString,
    fs::{self, File},
    io::{self, BufRead, Write},
    os::fd::{AsRawFd, OwnedFd},
    process::ExitCode,
    time::Instant,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    net::if_::if_nametoindex,
    sched::{CloneFlags, setns, unshare},
};

use crate::netlink::{Batch, Socket};

const ACK: u16 = libc::NLM_F_ACK as u16;
const CREATE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16 | ACK;
const UP: u32 = libc::IFF_UP as u32;
/// The number that a container's interface is born with, so that nobody has to ask for it; free in a new namespace.
const INSIDE: u32 = 1000;
/// Those of the host's ends begin here: the kernel takes a number for one end only with a number for the other (veth_newlink in drivers/net/veth.c).
const OUTSIDE: u32 = 1_000_000;
/// The gateway of the IPv6 subnet fd99::/64.
const GATEWAY_V6: [u8; 16] = [0xfd, 0x99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

struct Floor {
    bridge: u32,
    host: OwnedFd,
    links: Socket,
    rules: Socket,
    made: HashMap<u32, Inside>,
}

/// A namespace that is there already, with a socket inside.
struct Inside {
    ns: OwnedFd,
    links: Socket,
}

/// What an attachment has beside its link.
#[derive(Clone, Copy)]
struct Shape {
    dual: bool,
    port: bool,
}

/// Works until stdin ends. Argument: the bridge.
pub(crate) fn serve(arguments: &[&str]) -> ExitCode {
    let mut floor = match Floor::open(arguments.first().copied().unwrap_or_default()) {
        Ok(floor) => floor,
        Err(why) => {
            eprintln!("the floor cannot be measured: {why}");
            return ExitCode::FAILURE;
        }
    };
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let began = Instant::now();
        let words: Vec<&str> = line.split(' ').collect();
        let number: u32 = words.get(1).and_then(|word| word.parse().ok()).unwrap_or_default();
        let shape = Shape { dual: words.get(2) == Some(&"46"), port: words.get(3) == Some(&"1") };
        let done = match words[0] {
            "add" => floor.add(number),
            "make" => floor.make(number),
            "attach" => floor.attach(number, shape),
            "detach" => floor.detach(number, shape),
            _ => floor.remove(number),
        };
        if let Err(why) = done {
            eprintln!("floor {line}: {why}");
            return ExitCode::FAILURE;
        }
        println!("{:.6}", began.elapsed().as_secs_f64() * 1e3);
        let _ = io::stdout().flush();
    }
    ExitCode::SUCCESS
}

fn link_message(index: u32, up: bool) -> Vec<u8> {
    let mut body = vec![0_u8; 4];
    body.extend(index.to_ne_bytes());
    body.extend((if up { UP } else { 0 }).to_ne_bytes());
    body.extend((if up { UP } else { 0 }).to_ne_bytes());
    body
}

fn c_string(text: &str) -> Vec<u8> {
    CString::new(text).map(CString::into_bytes_with_nul).unwrap_or_default()
}

impl Floor {
    fn open(bridge: &str) -> io::Result<Self> {
        Ok(Self {
            bridge: if_nametoindex(bridge)?,
            host: File::open("/proc/self/ns/net")?.into(),
            links: Socket::open(libc::NETLINK_ROUTE)?,
            rules: Socket::open(libc::NETLINK_NETFILTER)?,
            made: HashMap::new(),
        })
    }

    /// A named namespace and a socket in it.
    fn make(&mut self, number: u32) -> io::Result<()> {
        let path = format!("/run/netns/floor{number}");
        File::create(&path)?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        mount(Some("/proc/self/ns/net"), path.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        let links = Socket::open(libc::NETLINK_ROUTE)?;
        let ns = File::open(&path)?.into();
        setns(&self.host, CloneFlags::CLONE_NEWNET)?;
        self.made.insert(number, Inside { ns, links });
        Ok(())
    }

    /// A veth pair into a namespace that was made, with addresses, default routes, and elements of nft maps.
    fn attach(&self, number: u32, shape: Shape) -> io::Result<()> {
        let inside = &self.made[&number];
        self.links.send(&self.veth(number, &inside.ns, [OUTSIDE + number, INSIDE]))?;
        let mut batch = Batch::default();
        let message = batch.message(libc::RTM_NEWLINK, ACK, &link_message(INSIDE, true));
        batch.end(&message);
        put_address(&mut batch, INSIDE, &address(number), 16);
        put_default(&mut batch, INSIDE, &[10, 99, 0, 1]);
        if shape.dual {
            put_address(&mut batch, INSIDE, &address_v6(number), 64);
            put_default(&mut batch, INSIDE, &GATEWAY_V6);
        }
        inside.links.send(&batch)?;
        self.elements(number, shape, true)
    }

    /// Takes it away; the namespace stays.
    fn detach(&self, number: u32, shape: Shape) -> io::Result<()> {
        self.elements(number, shape, false)?;
        self.delete_link(number)
    }

    fn elements(&self, number: u32, shape: Shape, add: bool) -> io::Result<()> {
        if shape.port {
            self.element("ports", number, &address(number), add)?;
            if shape.dual {
                self.element("ports6", number, &address_v6(number), add)?;
            }
        }
        Ok(())
    }

    /// A named namespace with lo up, a veth pair with its host end born on the bridge, address, default route, and one element of an nft map.
    fn add(&self, number: u32) -> io::Result<()> {
        let path = format!("/run/netns/floor{number}");
        File::create(&path)?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        mount(Some("/proc/self/ns/net"), path.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        let inside = Socket::open(libc::NETLINK_ROUTE)?;
        let ns = File::open(&path)?;
        setns(&self.host, CloneFlags::CLONE_NEWNET)?;

        self.links.send(&self.veth(number, &ns, [0; 2]))?;

        setns(&ns, CloneFlags::CLONE_NEWNET)?;
        let index = if_nametoindex("eth0")?;
        setns(&self.host, CloneFlags::CLONE_NEWNET)?;
        let address = address(number);
        let mut batch = Batch::default();
        for index in [1, index] {
            let message = batch.message(libc::RTM_NEWLINK, ACK, &link_message(index, true));
            batch.end(&message);
        }
        put_address(&mut batch, index, &address, 16);
        put_default(&mut batch, index, &[10, 99, 0, 1]);
        inside.send(&batch)?;
        self.element("ports", number, &address, true)
    }

    fn remove(&self, number: u32) -> io::Result<()> {
        self.element("ports", number, &address(number), false)?;
        self.delete_link(number)?;
        let path = format!("/run/netns/floor{number}");
        umount2(path.as_str(), MntFlags::MNT_DETACH)?;
        fs::remove_file(path)
    }

    /// Makes a veth pair: the host's end up and a port of the bridge, the other in a namespace, with these numbers or those that the kernel chooses.
    fn veth(&self, number: u32, ns: &impl AsRawFd, [outside, inside]: [u32; 2]) -> Batch {
        let mut batch = Batch::default();
        let message = batch.message(libc::RTM_NEWLINK, CREATE, &link_message(outside, true));
        batch.put(libc::IFLA_IFNAME, &c_string(&format!("fl{number}")));
        batch.put(libc::IFLA_MASTER, &self.bridge.to_ne_bytes());
        let info = batch.nest(libc::IFLA_LINKINFO, &[]);
        batch.put(libc::IFLA_INFO_KIND, b"veth");
        let data = batch.nest(libc::IFLA_INFO_DATA, &[]);
        let peer = batch.nest(1, &link_message(inside, false)); // VETH_INFO_PEER
        batch.put(libc::IFLA_IFNAME, &c_string("eth0"));
        batch.put(libc::IFLA_NET_NS_FD, &ns.as_raw_fd().to_ne_bytes());
        batch.close(&peer);
        batch.close(&data);
        batch.close(&info);
        batch.end(&message);
        batch
    }

    fn delete_link(&self, number: u32) -> io::Result<()> {
        let mut batch = Batch::default();
        let message = batch.message(libc::RTM_DELLINK, ACK, &link_message(0, false));
        batch.put(libc::IFLA_IFNAME, &c_string(&format!("fl{number}")));
        batch.end(&message);
        self.links.send(&batch)
    }

    /// One element of a map of table `ip floor`: inet_proto . inet_service : ipv4_addr or ipv6_addr . inet_service.
    fn element(&self, map: &str, number: u32, target: &[u8], add: bool) -> io::Result<()> {
        const NFTABLES: u16 = 10; // NFNL_SUBSYS_NFTABLES
        const NEW: u16 = 12; // NFT_MSG_NEWSETELEM
        const DELETE: u16 = 14; // NFT_MSG_DELSETELEM
        const NESTED: u16 = 0x8000; // NLA_F_NESTED
        let mut batch = Batch::default();
        let begin = batch.message(16, 0, &[0, 0, 0, NFTABLES as u8]); // NFNL_MSG_BATCH_BEGIN
        batch.end(&begin);
        let (kind, flags) = if add { (NEW, libc::NLM_F_CREATE as u16 | ACK) } else { (DELETE, ACK) };
        let message = batch.message(NFTABLES << 8 | kind, flags, &[libc::AF_INET as u8, 0, 0, 0]);
        batch.put(1, &c_string("floor"));
        batch.put(2, &c_string(map));
        let list = batch.nest(3 | NESTED, &[]);
        let element = batch.nest(1 | NESTED, &[]);
        let port = u16::try_from(10_000 + number % 50_000).unwrap_or_default().to_be_bytes();
        let key = batch.nest(1 | NESTED, &[]); // NFTA_SET_ELEM_KEY
        batch.put(1, &[6, 0, 0, 0, port[0], port[1], 0, 0]);
        batch.close(&key);
        if add {
            let data = batch.nest(2 | NESTED, &[]); // NFTA_SET_ELEM_DATA
            let mut leads_to = target.to_vec();
            leads_to.extend([0, 80, 0, 0]);
            batch.put(1, &leads_to);
            batch.close(&data);
        }
        batch.close(&element);
        batch.close(&list);
        batch.end(&message);
        let end = batch.message(17, 0, &[0, 0, 0, NFTABLES as u8]); // NFNL_MSG_BATCH_END
        batch.end(&end);
        self.rules.send(&batch)
    }
}

/// Gives an interface an address, without duplicate address detection.
fn put_address(batch: &mut Batch, index: u32, address: &[u8], prefix: u8) {
    let mut body = vec![family(address), prefix, if address.len() == 4 { 0 } else { libc::IFA_F_NODAD as u8 }, 0];
    body.extend(index.to_ne_bytes());
    let message = batch.message(libc::RTM_NEWADDR, CREATE, &body);
    batch.put(libc::IFA_LOCAL, address);
    batch.put(libc::IFA_ADDRESS, address);
    batch.end(&message);
}

/// Adds the default route.
fn put_default(batch: &mut Batch, index: u32, gateway: &[u8]) {
    let table = [libc::RT_TABLE_MAIN, libc::RTPROT_STATIC, libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST];
    let mut body = vec![family(gateway), 0, 0, 0];
    body.extend(table);
    body.extend([0; 4]);
    let message = batch.message(libc::RTM_NEWROUTE, CREATE, &body);
    batch.put(libc::RTA_GATEWAY, gateway);
    batch.put(libc::RTA_OIF, &index.to_ne_bytes());
    batch.end(&message);
}

fn family(address: &[u8]) -> u8 {
    (if address.len() == 4 { libc::AF_INET } else { libc::AF_INET6 }) as u8
}

/// Of fd99::/64, as many.
fn address_v6(number: u32) -> [u8; 16] {
    let mut address = GATEWAY_V6;
    address[12..].copy_from_slice(&(number + 256).to_be_bytes());
    address
}

/// Of 10.99.0.0/16, from 10.99.1.0 on.
fn address(number: u32) -> [u8; 4] {
    let [_, _, high, low] = (number + 256).to_be_bytes();
    [10, 99, high, low]
}
