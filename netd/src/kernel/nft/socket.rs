//! A blocking socket to nfnetlink: transactions, dumps and single questions. Never knows what an element means.

use std::{collections::BTreeSet, io, time::Duration};

use netd_core::firewall::{element::wire::Wire, set::Set};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkMessage};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily, nftables::NfTablesMessage, none::ControlMessage,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::sys::{
    socket::{setsockopt, sockopt},
    time::TimeVal,
};

use super::element;
use crate::kernel::{
    KernelError,
    netlink::{outcome, parts, receive},
};

/// NFNL_SUBSYS_NFTABLES (linux/netfilter/nfnetlink.h): whose transaction it is.
const NFTABLES: u16 = 10;
/// Bytes of a whole transaction, and of the kernel's answers to it; forced above net.core.wmem_max as nft does it.
const BUFFER: usize = 4 * 1024 * 1024;
/// How often a dump is begun again because what it lists changed meanwhile.
const DUMPS: usize = 50;
/// Questions sent at once: their answers fit into the buffer with room to spare.
const QUESTIONS: usize = 128;
/// nf_tables answers within its own transaction; this long a silence means that it never will.
const PATIENCE: Duration = Duration::from_secs(10);

/// One socket; one request at a time.
pub(super) struct Nfnetlink {
    socket: Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Nfnetlink {
    /// Opens it in the calling thread's network namespace.
    pub(super) fn open() -> Result<Self, KernelError> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE.as_secs() as i64, 0))?;
        setsockopt(&socket, sockopt::SndBufForce, &BUFFER)?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)?;
        Ok(Self { socket, port, sequence: 0, buffer: Vec::new() })
    }

    /// Its number: notifications of what it asked for carry it.
    pub(super) fn port(&self) -> u32 {
        self.port
    }

    /// Does all of it or nothing. The error is that of the first message the kernel refused.
    pub(super) fn batch(&mut self, messages: &[NfTablesMessage]) -> Result<(), KernelError> {
        let Some(last) = messages.len().checked_sub(1) else { return Ok(()) };
        let mut bytes = Vec::new();
        let first_sequence = self.next();
        append(&mut bytes, control(ControlMessage::BatchBegin), 0, first_sequence);
        let mut last_sequence = first_sequence;
        for (number, message) in messages.iter().enumerate() {
            let make = if is_new(message) { NLM_F_CREATE } else { 0 };
            last_sequence = self.next();
            append(&mut bytes, inet(message.clone()), make | if number == last { NLM_F_ACK } else { 0 }, last_sequence);
        }
        let end = self.next();
        append(&mut bytes, control(ControlMessage::BatchEnd), 0, end);
        self.send(&bytes)?;
        let mut refused = None;
        loop {
            receive(&self.socket, &mut self.buffer)?;
            for part in parts(&self.buffer).filter(|part| part.kind == NLMSG_ERROR) {
                let outcome = outcome(part.payload);
                match part.sequence {
                    // Refused as a whole: not permitted, out of memory, or refused when all of it should take effect.
                    sequence if sequence == first_sequence => outcome?,
                    sequence if sequence == last_sequence => return refused.map_or(outcome, Err),
                    sequence if (first_sequence..last_sequence).contains(&sequence) => {
                        refused = refused.or(outcome.err());
                    }
                    _ => {} // the answer to a request that was given up
                }
            }
        }
    }

    /// All answers to one question, each through `read`. Where there is nothing of the kind, there are none.
    pub(super) fn dump<T>(
        &mut self,
        question: &NfTablesMessage,
        mut read: impl FnMut(u16, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, KernelError> {
        for _ in 0..DUMPS {
            match self.dump_once(question, &mut read) {
                Err(error) if error.errno() == Some(libc::EINTR) => {}
                Err(error) if error.errno() == Some(libc::ENOENT) => return Ok(Vec::new()),
                other => return other,
            }
        }
        Err(KernelError::Errno { errno: libc::EAGAIN, said: Some("the ruleset kept changing while it was listed".to_owned()) })
    }

    fn dump_once<T>(&mut self, question: &NfTablesMessage, read: &mut impl FnMut(u16, &[u8]) -> Option<T>) -> Result<Vec<T>, KernelError> {
        let sequence = self.next();
        let mut bytes = Vec::new();
        append(&mut bytes, inet(question.clone()), NLM_F_DUMP, sequence);
        self.send(&bytes)?;
        let mut answers = Vec::new();
        let mut overtaken = false;
        loop {
            receive(&self.socket, &mut self.buffer)?;
            for part in parts(&self.buffer).filter(|part| part.sequence == sequence) {
                overtaken |= part.flags & NLM_F_DUMP_INTR != 0;
                match part.kind {
                    NLMSG_DONE if overtaken => return Err(KernelError::Errno { errno: libc::EINTR, said: None }),
                    NLMSG_DONE | NLMSG_ERROR => return outcome(part.payload).map(|()| answers),
                    kind => answers.extend(read(kind, part.payload)),
                }
            }
        }
    }

    /// The elements that stand under these keys of a set.
    pub(super) fn get(&mut self, set: &'static Set, keys: &[Wire]) -> Result<Vec<Wire>, KernelError> {
        let mut found = Vec::new();
        for some in keys.chunks(QUESTIONS) {
            let mut bytes = Vec::new();
            let mut asked = BTreeSet::new();
            for key in some {
                let sequence = self.next();
                append(&mut bytes, inet(element::question(set, std::slice::from_ref(key))), 0, sequence);
                asked.insert(sequence);
            }
            self.send(&bytes)?;
            // Each is answered once: by the element, or by an error.
            while !asked.is_empty() {
                receive(&self.socket, &mut self.buffer)?;
                for part in parts(&self.buffer) {
                    if !asked.remove(&part.sequence) {
                        continue;
                    }
                    match part.kind {
                        NLMSG_ERROR => match outcome(part.payload) {
                            Err(error) if error.errno() != Some(libc::ENOENT) => return Err(error),
                            _ => {}
                        },
                        kind => found.extend(element::answered(kind, part.payload).unwrap_or_default()),
                    }
                }
            }
        }
        Ok(found)
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&self, bytes: &[u8]) -> Result<(), KernelError> {
        loop {
            match self.socket.send(bytes, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(|_| ()).map_err(KernelError::from),
            }
        }
    }
}

fn is_new(message: &NfTablesMessage) -> bool {
    matches!(message, NfTablesMessage::NewSetElement(_))
}

/// What opens or closes a transaction.
fn control(message: ControlMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFTABLES), message)
}

/// A message about something of family inet.
fn inet(message: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0), NetfilterMessageInner::NfTables(message))
}

/// Writes a message behind the others.
fn append(bytes: &mut Vec<u8>, message: NetfilterMessage, flags: u16, sequence: u32) {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let start = bytes.len();
    bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut bytes[start..]);
}
