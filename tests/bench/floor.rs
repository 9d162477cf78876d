//! The kernel's floor: one process with open sockets that makes and removes what a container's attachment is made of, and nothing else.
//! Never talks to netd. It is started in the private host, gets `add` and `del` lines on stdin and answers each with milliseconds.

use std::{
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

struct Floor {
    bridge: u32,
    host: OwnedFd,
    links: Socket,
    rules: Socket,
}

/// Works until stdin ends. Argument: the bridge.
pub(crate) fn serve(arguments: &[&str]) -> ExitCode {
    let floor = match Floor::open(arguments.first().copied().unwrap_or_default()) {
        Ok(floor) => floor,
        Err(why) => {
            eprintln!("the floor cannot be measured: {why}");
            return ExitCode::FAILURE;
        }
    };
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let began = Instant::now();
        let (verb, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let number: u32 = number.parse().unwrap_or_default();
        let done = if verb == "add" { floor.add(number) } else { floor.remove(number) };
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
        })
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

        let mut batch = Batch::default();
        let message = batch.message(libc::RTM_NEWLINK, CREATE, &link_message(0, true));
        batch.put(libc::IFLA_IFNAME, &c_string(&format!("fl{number}")));
        batch.put(libc::IFLA_MASTER, &self.bridge.to_ne_bytes());
        let info = batch.nest(libc::IFLA_LINKINFO, &[]);
        batch.put(libc::IFLA_INFO_KIND, b"veth");
        let data = batch.nest(libc::IFLA_INFO_DATA, &[]);
        let peer = batch.nest(1, &link_message(0, false)); // VETH_INFO_PEER
        batch.put(libc::IFLA_IFNAME, &c_string("eth0"));
        batch.put(libc::IFLA_NET_NS_FD, &ns.as_raw_fd().to_ne_bytes());
        batch.close(&peer);
        batch.close(&data);
        batch.close(&info);
        batch.end(&message);
        self.links.send(&batch)?;

        setns(&ns, CloneFlags::CLONE_NEWNET)?;
        let index = if_nametoindex("eth0")?;
        setns(&self.host, CloneFlags::CLONE_NEWNET)?;
        let address = address(number);
        let mut batch = Batch::default();
        for index in [1, index] {
            let message = batch.message(libc::RTM_NEWLINK, ACK, &link_message(index, true));
            batch.end(&message);
        }
        let mut body = vec![libc::AF_INET as u8, 16, 0, 0];
        body.extend(index.to_ne_bytes());
        let message = batch.message(libc::RTM_NEWADDR, CREATE, &body);
        batch.put(libc::IFA_LOCAL, &address);
        batch.put(libc::IFA_ADDRESS, &address);
        batch.end(&message);
        let body = [
            libc::AF_INET as u8,
            0,
            0,
            0,
            libc::RT_TABLE_MAIN,
            libc::RTPROT_STATIC,
            libc::RT_SCOPE_UNIVERSE,
            libc::RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let message = batch.message(libc::RTM_NEWROUTE, CREATE, &body);
        batch.put(libc::RTA_GATEWAY, &[10, 99, 0, 1]);
        batch.end(&message);
        inside.send(&batch)?;
        self.element(number, true)
    }

    fn remove(&self, number: u32) -> io::Result<()> {
        self.element(number, false)?;
        let mut batch = Batch::default();
        let message = batch.message(libc::RTM_DELLINK, ACK, &link_message(0, false));
        batch.put(libc::IFLA_IFNAME, &c_string(&format!("fl{number}")));
        batch.end(&message);
        self.links.send(&batch)?;
        let path = format!("/run/netns/floor{number}");
        umount2(path.as_str(), MntFlags::MNT_DETACH)?;
        fs::remove_file(path)
    }

    /// One element of map `ports` of table `ip floor`: inet_proto . inet_service : ipv4_addr . inet_service.
    fn element(&self, number: u32, add: bool) -> io::Result<()> {
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
        batch.put(2, &c_string("ports"));
        let list = batch.nest(3 | NESTED, &[]);
        let element = batch.nest(1 | NESTED, &[]);
        let port = u16::try_from(10_000 + number % 50_000).unwrap_or_default().to_be_bytes();
        let key = batch.nest(1 | NESTED, &[]); // NFTA_SET_ELEM_KEY
        batch.put(1, &[6, 0, 0, 0, port[0], port[1], 0, 0]);
        batch.close(&key);
        if add {
            let data = batch.nest(2 | NESTED, &[]); // NFTA_SET_ELEM_DATA
            let [a, b, c, d] = address(number);
            batch.put(1, &[a, b, c, d, 0, 80, 0, 0]);
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

/// Of 10.99.0.0/16, from 10.99.1.0 on.
fn address(number: u32) -> [u8; 4] {
    let [_, _, high, low] = (number + 256).to_be_bytes();
    [10, 99, high, low]
}
