//! Connections listed and deleted over ctnetlink. Knows bytes and numbers of linux/netfilter/nfnetlink_conntrack.h, never why one is deleted.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use netd_api::publish::Protocol;
use netlink_packet_core::{NLA_F_NESTED, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NlaBuffer, NlasIterator};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::kernel::{KernelError, netlink};

/// NFNL_SUBSYS_CTNETLINK << 8, and IPCTNL_MSG_CT_GET and IPCTNL_MSG_CT_DELETE.
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
/// Bytes of `struct nfgenmsg`.
const HEADER: usize = 4;

// enum ctattr_type
const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
// enum ctattr_tuple
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
// enum ctattr_ip
const V4_SRC: u16 = 1;
const V4_DST: u16 = 2;
const V6_SRC: u16 = 3;
const V6_DST: u16 = 4;
// enum ctattr_l4proto
const PROTO_NUM: u16 = 1;
const SRC_PORT: u16 = 2;
const DST_PORT: u16 = 3;
// enum ctattr_filter, and the CTA_FILTER_F_… flags of net/netfilter/nf_conntrack_netlink.c
const FILTER_ORIG: u16 = 1;
const FILTER_REPLY: u16 = 2;
const F_IP_SRC: u32 = 1 << 0;
const F_PROTO_NUM: u32 = 1 << 3;
const F_DST_PORT: u32 = 1 << 5;
/// IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h: its destination was translated.
const IPS_DST_NAT: u32 = 1 << 5;
/// Bytes that are sent at once: some 300 deletions, whose answers fit into the smallest receive buffer.
const BATCH: usize = 16 * 1024;

/// What the kernel is asked for. There is none by an IPv6 address: up to 6.18 at least the kernel lets all others through (ctnetlink_filter_match_tuple takes
/// ipv6_addr_cmp, which is zero of the same, for an equality), and would delete everybody else's connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// Begun by this address.
    From(Ipv4Addr),
    /// Answered by this address.
    AnsweredBy(Ipv4Addr),
    /// To this port, or all of the protocol.
    To(Protocol, Option<u16>),
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Connection {
    /// None for those without ports that netd publishes, as ICMP.
    pub(super) protocol: Option<Protocol>,
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) to_port: u16,
    /// Who answers; another than `to` where the destination was translated.
    pub(super) answers: IpAddr,
    pub(super) answers_port: u16,
    /// Whether the destination was translated.
    pub(super) is_led: bool,
    /// The attributes by which the kernel finds it again.
    key: Vec<u8>,
}

impl Connection {
    /// Whether one of these addresses began it, or answers.
    pub(super) fn is_of(&self, addresses: &[IpAddr]) -> bool {
        addresses.contains(&self.from) || addresses.contains(&self.answers)
    }
}

/// A socket to ctnetlink.
pub(super) struct Netfilter {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
    /// Whether the kernel has been found to delete only one by one (Linux 6.1 does, 6.12 does not).
    one_by_one: bool,
}

impl Netfilter {
    pub(super) fn open() -> Result<Self, KernelError> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        Ok(Self { socket, sequence: 0, buffer: Vec::new(), one_by_one: false })
    }

    /// The connections of one family that the filter lets through; without one, and on kernels that know none, all.
    pub(super) fn list(&mut self, is_v4: bool, filter: Option<&Filter>) -> Result<Vec<Connection>, KernelError> {
        let bytes = self.request(GET, NLM_F_DUMP, is_v4, &filter.map(Filter::attributes).unwrap_or_default());
        self.send(&bytes)?;
        let mut found = Vec::new();
        loop {
            netlink::receive(&self.socket, &mut self.buffer)?;
            for part in netlink::parts(&self.buffer).filter(|part| part.sequence == self.sequence) {
                match part.kind {
                    NLMSG_DONE | NLMSG_ERROR => return netlink::outcome(part.payload).map(|()| found),
                    _ => found.extend(connection(part.payload)),
                }
            }
        }
    }

    /// Deletes all that an IPv4 address began or answers. The kernel does it in two passes that skip what is empty, each a seventieth of a
    /// listing; an older one, which takes the tuple for that of one connection and misses half of it, refuses and is asked for listings.
    pub(super) fn delete_all(&mut self, address: Ipv4Addr) -> Result<(), KernelError> {
        for filter in [Filter::From(address), Filter::AnsweredBy(address)] {
            if !self.one_by_one {
                let mut request = self.request(DELETE, NLM_F_ACK, true, &filter.attributes());
                match self.finish(&mut request) {
                    Err(KernelError::Errno { errno: libc::EINVAL, .. }) => self.one_by_one = true,
                    other => {
                        other?;
                        continue;
                    }
                }
            }
            let all = self.list(true, Some(&filter))?;
            self.delete(all.iter().filter(|connection| connection.is_of(&[IpAddr::V4(address)])))?;
        }
        Ok(())
    }

    /// Deletes these; those that ended meanwhile are no error.
    pub(super) fn delete<'a>(&mut self, connections: impl Iterator<Item = &'a Connection>) -> Result<(), KernelError> {
        let mut batch = Vec::new();
        for connection in connections {
            batch.extend(self.request(DELETE, NLM_F_ACK, connection.from.is_ipv4(), &connection.key));
            if batch.len() >= BATCH {
                self.finish(&mut batch)?;
            }
        }
        self.finish(&mut batch)
    }

    /// Sends a batch and waits for its last answer.
    fn finish(&mut self, batch: &mut Vec<u8>) -> Result<(), KernelError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.send(batch)?;
        batch.clear();
        let mut result = Ok(());
        while netlink::wait([&self.socket], Some(Duration::from_secs(5)))? == [true] {
            netlink::receive(&self.socket, &mut self.buffer)?;
            for part in netlink::parts(&self.buffer) {
                match netlink::outcome(part.payload) {
                    Ok(()) | Err(KernelError::Errno { errno: libc::ENOENT, .. }) => {}
                    Err(error) => result = Err(error),
                }
                if part.sequence == self.sequence {
                    return result;
                }
            }
        }
        Err(KernelError::Errno { errno: libc::ETIMEDOUT, said: Some("conntrack did not answer".to_owned()) })
    }

    fn request(&mut self, kind: u16, flags: u16, is_v4: bool, attributes: &[u8]) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(16 + HEADER + attributes.len());
        bytes.extend(((16 + HEADER + attributes.len()) as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        bytes.extend(self.sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend([(if is_v4 { libc::AF_INET } else { libc::AF_INET6 }) as u8, 0, 0, 0]);
        bytes.extend(attributes);
        bytes
    }

    fn send(&self, bytes: &[u8]) -> Result<(), KernelError> {
        self.socket.send(bytes, 0).map(|_| ()).map_err(KernelError::from)
    }
}

impl Filter {
    fn attributes(&self) -> Vec<u8> {
        let (tuple, flags, side, which) = match self {
            Self::From(address) => (ip(*address), F_IP_SRC, TUPLE_ORIG, FILTER_ORIG),
            Self::AnsweredBy(address) => (ip(*address), F_IP_SRC, TUPLE_REPLY, FILTER_REPLY),
            Self::To(protocol, port) => {
                let mut proto = attribute(PROTO_NUM, &[number(*protocol)]);
                let mut flags = F_PROTO_NUM;
                if let Some(port) = port {
                    proto.extend(attribute(DST_PORT, &port.to_be_bytes()));
                    flags |= F_DST_PORT;
                }
                (attribute(TUPLE_PROTO | NLA_F_NESTED, &proto), flags, TUPLE_ORIG, FILTER_ORIG)
            }
        };
        let other = if which == FILTER_ORIG { FILTER_REPLY } else { FILTER_ORIG };
        let mut filter = attribute(which, &flags.to_ne_bytes());
        filter.extend(attribute(other, &0_u32.to_ne_bytes()));
        let mut attributes = attribute(side | NLA_F_NESTED, &tuple);
        attributes.extend(attribute(FILTER | NLA_F_NESTED, &filter));
        attributes
    }
}

/// The part of a tuple that says whom it comes from.
fn ip(address: Ipv4Addr) -> Vec<u8> {
    attribute(TUPLE_IP | NLA_F_NESTED, &attribute(V4_SRC, &address.octets()))
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => libc::IPPROTO_TCP as u8,
        Protocol::Udp => libc::IPPROTO_UDP as u8,
        Protocol::Sctp => libc::IPPROTO_SCTP as u8,
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + value.len() + 3);
    bytes.extend(((4 + value.len()) as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What a listed message says.
fn connection(payload: &[u8]) -> Option<Connection> {
    let (mut orig, mut reply, mut status, mut key) = (None, None, 0, Vec::new());
    for part in NlasIterator::new(payload.get(HEADER..)?).filter_map(Result::ok) {
        match part.kind() {
            TUPLE_ORIG => {
                orig = tuple(part.value());
                key.extend(attribute(TUPLE_ORIG | NLA_F_NESTED, part.value()));
            }
            TUPLE_REPLY => reply = tuple(part.value()),
            STATUS => status = u32::from_be_bytes(part.value().try_into().ok()?),
            ID | ZONE => key.extend(attribute(part.kind(), part.value())),
            _ => {}
        }
    }
    let (orig, reply) = (orig?, reply?);
    Some(Connection {
        protocol: orig.protocol,
        from: orig.from,
        to: orig.to,
        to_port: orig.to_port,
        answers: reply.from,
        answers_port: reply.from_port,
        is_led: status & IPS_DST_NAT != 0,
        key,
    })
}

struct Tuple {
    protocol: Option<Protocol>,
    from: IpAddr,
    from_port: u16,
    to: IpAddr,
    to_port: u16,
}

fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let (mut from, mut to, mut protocol, mut from_port, mut to_port) = (None, None, None, 0, 0);
    for part in NlasIterator::new(bytes).filter_map(Result::ok) {
        for inner in NlasIterator::new(part.value()).filter_map(Result::ok) {
            match (part.kind(), inner.kind()) {
                (TUPLE_IP, V4_SRC | V6_SRC) => from = address(&inner),
                (TUPLE_IP, V4_DST | V6_DST) => to = address(&inner),
                (TUPLE_PROTO, PROTO_NUM) => {
                    let of = inner.value().first().copied();
                    protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|one| Some(number(*one)) == of);
                }
                (TUPLE_PROTO, SRC_PORT) => from_port = u16::from_be_bytes(inner.value().try_into().ok()?),
                (TUPLE_PROTO, DST_PORT) => to_port = u16::from_be_bytes(inner.value().try_into().ok()?),
                _ => {}
            }
        }
    }
    Some(Tuple { protocol, from: from?, from_port, to: to?, to_port })
}

fn address(attribute: &NlaBuffer<&[u8]>) -> Option<IpAddr> {
    let bytes = attribute.value();
    match bytes.len() {
        4 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))),
        16 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))),
        _ => None,
    }
}
