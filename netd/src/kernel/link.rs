//! Links: bridges, veth pairs and ifbs made, changed and read over rtnetlink. Never deletes one (see `delete`), never decides.

use netd_api::{addr::Mac, names::IfName};
use netd_core::{
    mark,
    objects::{Bridge, Veth},
};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        BridgePortState, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkExtentMask,
        LinkFlags, LinkInfo, LinkMessage,
    },
};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use super::{KernelError, netlink::Rtnetlink};

/// What a bridge's MTU is when nobody names one (ETH_DATA_LEN), also when its last port has gone.
const BRIDGE_MTU: u32 = 1500;

/// One link as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its number in its namespace.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// Its hardware address; none where it has none of six bytes.
    pub(crate) mac: Option<Mac>,
    /// Bytes.
    pub(crate) mtu: u32,
    /// Administratively up.
    pub(crate) up: bool,
    /// Told to take in frames for everybody; what a capture asks for does not show here.
    pub(crate) promiscuous: bool,
    /// IFLA_GROUP.
    pub(crate) group: u32,
    /// What it is.
    pub(crate) kind: Kind,
    /// The number of the bridge (or other controller) that it is a port of.
    pub(crate) master: Option<u32>,
    /// IFLA_ALIAS.
    pub(crate) alias: String,
    /// For a veth the number of its other end, in that one's namespace.
    pub(crate) other_end: Option<u32>,
    /// The number by which our namespace knows the one that the other end is in.
    pub(crate) other_ns: Option<i32>,
    /// Flags of a bridge port.
    pub(crate) isolated: bool,
    /// Gets back what it sent.
    pub(crate) hairpin: bool,
    /// Whether a bridge port forwards.
    pub(crate) forwards: bool,
}

/// What a link is, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A Linux bridge.
    Bridge,
    /// One end of a veth pair.
    Veth,
    /// What paces a container's sending.
    Ifb,
    /// Something else.
    Other,
}

/// Makes a bridge, down.
pub(crate) fn add_bridge(socket: &mut Rtnetlink, name: &IfName, bridge: &Bridge) -> Result<(), KernelError> {
    let mut message = named(name);
    message.attributes.push(LinkAttribute::Address(bridge.mac.0.to_vec()));
    message.attributes.push(LinkAttribute::Group(mark::GROUP));
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
    socket.ask(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)?;
    if bridge.mtu == BRIDGE_MTU {
        return Ok(());
    }
    // Not in the create message: only an MTU that is set later is pinned (BROPT_MTU_SET_BY_USER), another one follows the ports'.
    set_mtu(socket, name, bridge.mtu)
}

/// Makes an ifb, up.
pub(crate) fn add_ifb(socket: &mut Rtnetlink, name: &IfName) -> Result<(), KernelError> {
    let mut message = named(name);
    put_up(&mut message, true);
    message.attributes.push(LinkAttribute::Group(mark::GROUP));
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Ifb)]));
    socket.ask(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Makes a veth pair in one message, both ends down; `master` is the bridge's number, `ns` the namespace that the peer is born in.
pub(crate) fn add_veth(
    socket: &mut Rtnetlink,
    name: &IfName,
    veth: &Veth,
    master: Option<u32>,
    ns: Option<BorrowedFd<'_>>,
) -> Result<(), KernelError> {
    // The kernel uses one queue in any case, but makes one a processor where nobody says so, and then waits for an RCU grace period at each end
    // while it takes them away again (veth_init_queues in drivers/net/veth.c): a third of the time, or more where processors are busy.
    let queues = [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];
    let mut message = named(name);
    message.attributes.push(LinkAttribute::Address(veth.mac.0.to_vec()));
    message.attributes.push(LinkAttribute::Mtu(veth.mtu));
    message.attributes.push(LinkAttribute::Group(mark::GROUP));
    message.attributes.extend(queues.clone());
    message.attributes.extend(master.map(LinkAttribute::Controller));
    let mut info = vec![LinkInfo::Kind(InfoKind::Veth)];
    if let Some(peer) = &veth.peer {
        let mut other = named(&peer.name);
        other.attributes.push(LinkAttribute::Address(peer.mac.0.to_vec()));
        other.attributes.push(LinkAttribute::Mtu(veth.mtu));
        other.attributes.extend(queues);
        other.attributes.extend(ns.map(|ns| LinkAttribute::NetNsFd(ns.as_raw_fd())));
        info.push(LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))));
    }
    message.attributes.push(LinkAttribute::LinkInfo(info));
    socket.ask(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Puts a link up or down.
pub(crate) fn set_up(socket: &mut Rtnetlink, name: &IfName, up: bool) -> Result<(), KernelError> {
    let mut message = named(name);
    put_up(&mut message, up);
    change(socket, message)
}

/// Lets a link take in frames for everybody, or not.
pub(crate) fn set_promiscuous(socket: &mut Rtnetlink, name: &IfName, on: bool) -> Result<(), KernelError> {
    let mut message = named(name);
    message.header.change_mask = LinkFlags::Promisc;
    if on {
        message.header.flags = LinkFlags::Promisc;
    }
    change(socket, message)
}

/// Puts the loopback interface up; it has number 1 in every namespace.
pub(crate) fn set_lo_up(socket: &mut Rtnetlink) -> Result<(), KernelError> {
    let mut message = LinkMessage::default();
    message.header.index = 1;
    put_up(&mut message, true);
    change(socket, message)
}

fn put_up(message: &mut LinkMessage, up: bool) {
    message.header.change_mask = LinkFlags::Up;
    if up {
        message.header.flags = LinkFlags::Up;
    }
}

/// Sets the MTU, in bytes.
pub(crate) fn set_mtu(socket: &mut Rtnetlink, name: &IfName, mtu: u32) -> Result<(), KernelError> {
    set(socket, name, LinkAttribute::Mtu(mtu))
}

/// Sets the hardware address.
pub(crate) fn set_mac(socket: &mut Rtnetlink, name: &IfName, mac: Mac) -> Result<(), KernelError> {
    set(socket, name, LinkAttribute::Address(mac.0.to_vec()))
}

/// Makes a link a port of the bridge with this number.
pub(crate) fn set_master(socket: &mut Rtnetlink, name: &IfName, master: u32) -> Result<(), KernelError> {
    set(socket, name, LinkAttribute::Controller(master))
}

/// Says to people what it belongs to; the kernel takes up to 255 bytes (IFALIASZ).
pub(crate) fn set_alias(socket: &mut Rtnetlink, name: &IfName, alias: &str) -> Result<(), KernelError> {
    set(socket, name, LinkAttribute::IfAlias(alias.to_owned()))
}

/// Sets the two flags of a bridge port.
pub(crate) fn set_port(socket: &mut Rtnetlink, name: &IfName, isolated: bool, hairpin: bool) -> Result<(), KernelError> {
    let flags = vec![InfoBridgePort::HairpinMode(hairpin), InfoBridgePort::Isolated(isolated)];
    let info = vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(InfoPortData::BridgePort(flags))];
    set(socket, name, LinkAttribute::LinkInfo(info))
}

/// The link of this name; none where there is none.
pub(crate) fn get(socket: &mut Rtnetlink, name: &IfName) -> Result<Option<Seen>, KernelError> {
    one(socket, named(name))
}

fn one(socket: &mut Rtnetlink, mut message: LinkMessage) -> Result<Option<Seen>, KernelError> {
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    match socket.get(RouteNetlinkMessage::GetLink(message)) {
        Err(KernelError::Errno { errno: libc::ENODEV, .. }) => Ok(None),
        other => Ok(other?.into_iter().find_map(seen)),
    }
}

/// The link with this number; none where there is none.
pub(crate) fn by_index(socket: &mut Rtnetlink, index: u32) -> Result<Option<Seen>, KernelError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    one(socket, message)
}

/// The number of the link of this name. Being asked, the kernel also takes note of a carrier that was lost (linkwatch_sync_dev), which else may take a
/// second: so the routes of a bridge without ports are what they will be when its network is made.
pub(crate) fn index(socket: &mut Rtnetlink, name: &IfName) -> Result<u32, KernelError> {
    let missing = || KernelError::Errno { errno: libc::ENODEV, said: Some(format!("there is no interface {name}")) };
    get(socket, name)?.map(|link| link.index).ok_or_else(missing)
}

/// The same, and nothing else. The kernel takes no lock for this: RTM_GETLINK waits for RTNL, which a deletion holds for half a millisecond after
/// its link has gone.
pub(crate) fn number(socket: &Rtnetlink, name: &IfName) -> Result<u32, KernelError> {
    // SAFETY: all fields of ifreq are numbers, pointers and arrays of them, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the descriptor is open, and the request lives through the call; its name ends with a NUL, as an IfName has at most 15 bytes.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFINDEX, &raw mut request) } != 0 {
        return Err(KernelError::said(io::Error::last_os_error(), format!("there is no interface {name}")));
    }
    // SAFETY: this request fills in this field of the union.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex }.cast_unsigned())
}

/// All links of the socket's namespace.
pub(crate) fn all(socket: &mut Rtnetlink) -> Result<Vec<Seen>, KernelError> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    Ok(socket.dump(&RouteNetlinkMessage::GetLink(message))?.into_iter().filter_map(seen).collect())
}

/// What a message says of a link.
pub(crate) fn seen(message: RouteNetlinkMessage) -> Option<Seen> {
    let (RouteNetlinkMessage::NewLink(message) | RouteNetlinkMessage::DelLink(message)) = message else { return None };
    let mut link = Seen {
        index: message.header.index,
        name: String::new(),
        mac: None,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        promiscuous: message.header.flags.contains(LinkFlags::Promisc),
        group: 0,
        kind: Kind::Other,
        master: None,
        alias: String::new(),
        other_end: None,
        other_ns: None,
        isolated: false,
        hairpin: false,
        forwards: false,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok().map(Mac),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Group(group) => link.group = group,
            LinkAttribute::Controller(master) => link.master = Some(master),
            LinkAttribute::IfAlias(alias) => link.alias = alias,
            LinkAttribute::Link(other) => link.other_end = Some(other),
            LinkAttribute::LinkNetNsId(ns) => link.other_ns = Some(ns),
            LinkAttribute::LinkInfo(info) => read_info(&mut link, info),
            _ => {}
        }
    }
    Some(link)
}

fn read_info(link: &mut Seen, info: Vec<LinkInfo>) {
    for info in info {
        match info {
            LinkInfo::Kind(InfoKind::Bridge) => link.kind = Kind::Bridge,
            LinkInfo::Kind(InfoKind::Veth) => link.kind = Kind::Veth,
            LinkInfo::Kind(InfoKind::Ifb) => link.kind = Kind::Ifb,
            LinkInfo::PortData(InfoPortData::BridgePort(flags)) => {
                for flag in flags {
                    match flag {
                        InfoBridgePort::Isolated(isolated) => link.isolated = isolated,
                        InfoBridgePort::HairpinMode(hairpin) => link.hairpin = hairpin,
                        InfoBridgePort::State(state) => link.forwards = state == BridgePortState::Forwarding,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

fn named(name: &IfName) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.as_str().to_owned()));
    message
}

fn set(socket: &mut Rtnetlink, name: &IfName, attribute: LinkAttribute) -> Result<(), KernelError> {
    let mut message = named(name);
    message.attributes.push(attribute);
    change(socket, message)
}

/// RTM_NEWLINK without NLM_F_CREATE: changes the link that is there; unlike RTM_SETLINK it also takes a bridge port's flags.
fn change(socket: &mut Rtnetlink, message: LinkMessage) -> Result<(), KernelError> {
    socket.ask(RouteNetlinkMessage::NewLink(message), 0)
}
