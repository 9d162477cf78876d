//! The shared tc blocks: the anchor that keeps them, the filters that stand on them, the interfaces that are bound to them.
//! Never loads a program and never decides which interface belongs on a block.
//!
//! A block lives as long as one interface is bound to it, and a filter can only be put on a block that lives. So a bridge without ports, which
//! stays down, is bound to both; with it the filters stay in force when the last container goes, and when netd ends.

pub(crate) mod pacer;

use std::collections::BTreeSet;
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::netlink::{Message, Rtnetlink, attributes, number, text};
use crate::kernel::KernelError;
use netd_abi::Direction;
use netd_core::mark;

/// Attributes of tc messages: linux/rtnetlink.h.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_INGRESS_BLOCK: u16 = 13;
const TCA_EGRESS_BLOCK: u16 = 14;
/// Options of cls_bpf: linux/pkt_cls.h.
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
/// The program's return value is the verdict, and no action follows: linux/pkt_cls.h.
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
/// `clsact` stands beside the root qdisc: linux/pkt_sched.h.
const TC_H_CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// In place of an interface's index: the parent is the number of a block (linux/rtnetlink.h).
const TCM_IFINDEX_MAGIC_BLOCK: i32 = -1;
/// Bytes of `struct tcmsg` and `struct ifinfomsg`.
const TCMSG: usize = 20;
const IFINFOMSG: usize = 16;
/// Attributes of links: linux/if_link.h.
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_GROUP: u16 = 27;

/// Where our filters stand on a block: the same priority as our link group, which leaves others room on both sides.
const PRIORITY: u32 = mark::GROUP;
/// The one filter at that priority.
const HANDLE: u32 = 1;
/// Every filter of ours is named with this and the build of its program.
pub(crate) const NAME_PREFIX: &str = "netd:";
/// The first pair of block numbers that is tried: "nd" in ASCII, then counted up. Others number from 1.
const FIRST_BLOCK: u32 = 0x6e64_0001;
/// How many pairs are tried. More than one is taken only where somebody uses the same numbers on purpose.
const PAIRS: u32 = 64;

/// The two blocks that all host-side veths share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// What containers send: ingress of the host's end.
    pub from_container: u32,
    /// What containers receive: egress of the host's end.
    pub to_container: u32,
}

impl Blocks {
    /// The block of one direction.
    pub fn of(self, direction: Direction) -> u32 {
        match direction {
            Direction::FromContainer => self.from_container,
            Direction::ToContainer => self.to_container,
        }
    }
}

impl fmt::Display for Blocks {
    /// As arguments of `tc qdisc add`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ingress_block {} egress_block {}", self.from_container, self.to_container)
    }
}

/// A filter as it stands on a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Its name; ours begin with [`NAME_PREFIX`].
    pub(crate) name: String,
    /// The kernel's number of its program.
    pub(crate) program: u32,
    /// Priority and protocol as the kernel packs them.
    info: u32,
    handle: u32,
}

impl Filter {
    /// Whether some netd put it there.
    pub(crate) fn is_ours(&self) -> bool {
        self.name.starts_with(NAME_PREFIX)
    }

    /// Whether it stands where this netd puts its own.
    fn is_in_place(&self) -> bool {
        (self.info, self.handle) == (info(), HANDLE)
    }
}

/// What is bound where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Binding {
    ifindex: u32,
    ingress: Option<u32>,
    egress: Option<u32>,
}

/// The tc side of the data path, over one socket.
pub(crate) struct Tc {
    netlink: Rtnetlink,
}

impl Tc {
    /// Opens it in the network namespace of the calling thread.
    pub(crate) fn open() -> Result<Self, KernelError> {
        Ok(Self { netlink: Rtnetlink::open()? })
    }

    /// The blocks that the anchor is bound to, if it is there and bound to two.
    pub(crate) fn blocks(&mut self) -> Result<Option<Blocks>, KernelError> {
        let Some(anchor) = self.anchor()? else { return Ok(None) };
        Ok(self.binding(anchor)?.and_then(|binding| Some(Blocks { from_container: binding.ingress?, to_container: binding.egress? })))
    }

    /// Makes the anchor where it is missing and binds it: to the blocks that carry filters of ours, else to two that nobody uses.
    pub(crate) fn prepare_anchor(&mut self) -> Result<Blocks, KernelError> {
        if let Some(blocks) = self.blocks()? {
            return Ok(blocks);
        }
        let anchor = match self.anchor()? {
            Some(anchor) => anchor,
            None => self.add_anchor()?,
        };
        let blocks = self.choose()?;
        self.bind(anchor, blocks)?;
        Ok(blocks)
    }

    /// Removes the anchor. The blocks go with the last interface that is bound to them.
    pub(crate) fn remove_anchor(&mut self) -> Result<(), KernelError> {
        let Some(anchor) = self.anchor()? else { return Ok(()) };
        self.netlink.ask(Message::new(libc::RTM_DELLINK, 0, &ifinfomsg(anchor)))
    }

    /// Binds an interface to the blocks. A `clsact` that is there already stays if it is bound to them, else it is
    /// replaced: the interface is ours, and another one would take its packets past the programs.
    pub(crate) fn bind(&mut self, ifindex: u32, blocks: Blocks) -> Result<(), KernelError> {
        match self.add_clsact(ifindex, blocks) {
            Err(refusal) if refusal.errno() == Some(libc::EEXIST) => {
                if self.is_bound(ifindex, blocks)? {
                    return Ok(());
                }
                self.unbind(ifindex)?;
                self.add_clsact(ifindex, blocks)
            }
            other => other,
        }
    }

    /// Takes `clsact`, and with it the binding, from an interface.
    pub(crate) fn unbind(&mut self, ifindex: u32) -> Result<(), KernelError> {
        self.netlink.ask(Message::new(libc::RTM_DELQDISC, 0, &clsact(ifindex)).text(TCA_KIND, "clsact"))
    }

    /// Whether an interface is bound to both blocks. One that does not exist is not.
    pub(crate) fn is_bound(&mut self, ifindex: u32, blocks: Blocks) -> Result<bool, KernelError> {
        Ok(self.binding(ifindex)?.is_some_and(|binding| binding.is_to(blocks)))
    }

    /// Every interface that is bound to both blocks, the anchor among them.
    pub(crate) fn bound(&mut self, blocks: Blocks) -> Result<BTreeSet<u32>, KernelError> {
        let all = self.bindings()?;
        Ok(all.iter().filter(|binding| binding.is_to(blocks)).map(|binding| binding.ifindex).collect())
    }

    /// The bpf filters that stand on a block, ours and others'. None for a block that does not live.
    pub(crate) fn filters(&mut self, block: u32) -> Result<Vec<Filter>, KernelError> {
        let mut filters = Vec::new();
        let all = tcmsg(TCM_IFINDEX_MAGIC_BLOCK, 0, block, 0);
        self.netlink.dump(Message::new(libc::RTM_GETTFILTER, 0, &all), |kind, payload| {
            filters.extend((kind == libc::RTM_NEWTFILTER).then(|| filter(payload)).flatten());
        })?;
        Ok(filters)
    }

    /// Whether a filter stands on the block that is none of ours.
    pub(crate) fn has_strangers(&mut self, block: u32) -> Result<bool, KernelError> {
        let mut any = false;
        let all = tcmsg(TCM_IFINDEX_MAGIC_BLOCK, 0, block, 0);
        self.netlink.dump(Message::new(libc::RTM_GETTFILTER, 0, &all), |kind, payload| {
            any |= kind == libc::RTM_NEWTFILTER && is_strangers(payload);
        })?;
        Ok(any)
    }

    /// Puts the program on the block, in place of ours that may be there: one step for the packets that pass meanwhile.
    /// Filters that an older netd put elsewhere on the block are then taken away.
    pub(crate) fn put_filter(&mut self, block: u32, program: BorrowedFd<'_>, name: &str) -> Result<(), KernelError> {
        let place = tcmsg(TCM_IFINDEX_MAGIC_BLOCK, HANDLE, block, info());
        let message = Message::new(libc::RTM_NEWTFILTER, libc::NLM_F_CREATE, &place).text(TCA_KIND, "bpf");
        self.netlink.ask(message.nest(TCA_OPTIONS, |options| {
            options.number(TCA_BPF_FD, program.as_raw_fd() as u32).text(TCA_BPF_NAME, name).number(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT)
        }))?;
        self.remove_filters(block, |filter| !filter.is_in_place())
    }

    /// Takes those of our filters off a block that `which` says.
    pub(crate) fn remove_filters(&mut self, block: u32, which: impl Fn(&Filter) -> bool) -> Result<(), KernelError> {
        for filter in self.filters(block)?.iter().filter(|filter| filter.is_ours() && which(filter)) {
            let place = tcmsg(TCM_IFINDEX_MAGIC_BLOCK, filter.handle, block, filter.info);
            self.netlink.ask(Message::new(libc::RTM_DELTFILTER, 0, &place).text(TCA_KIND, "bpf"))?;
        }
        Ok(())
    }

    /// The anchor's index. An interface of that name without our mark is a stranger's, and no anchor.
    fn anchor(&mut self) -> Result<Option<u32>, KernelError> {
        let (mut index, mut group) = (None, None);
        let by_name = Message::new(libc::RTM_GETLINK, 0, &[0; IFINFOMSG]).text(IFLA_IFNAME, mark::ANCHOR);
        let answer = self.netlink.get(by_name, |kind, payload| {
            if kind == libc::RTM_NEWLINK {
                index = payload.get(4..8).and_then(number);
                let mut attributes = attributes(payload.get(IFINFOMSG..).unwrap_or_default());
                group = attributes.find(|(kind, _)| *kind == IFLA_GROUP).and_then(|(_, value)| number(value));
            }
        });
        match answer {
            Ok(()) => Ok(index.filter(|_| group == Some(mark::GROUP))),
            Err(refusal) if refusal.errno() == Some(libc::ENODEV) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Makes the anchor: a bridge, since every kernel that netd runs on has bridges; without ports and down, so that no packet passes it.
    fn add_anchor(&mut self) -> Result<u32, KernelError> {
        let message = Message::new(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &[0; IFINFOMSG])
            .text(IFLA_IFNAME, mark::ANCHOR)
            .number(IFLA_GROUP, mark::GROUP)
            .nest(IFLA_LINKINFO, |info| info.text(IFLA_INFO_KIND, "bridge"));
        self.netlink.ask(message)?;
        self.anchor()?.ok_or(KernelError::said(nix::Error::ENODEV, format!("{} vanished", mark::ANCHOR)))
    }

    fn add_clsact(&mut self, ifindex: u32, blocks: Blocks) -> Result<(), KernelError> {
        let message = Message::new(libc::RTM_NEWQDISC, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &clsact(ifindex))
            .text(TCA_KIND, "clsact")
            .number(TCA_INGRESS_BLOCK, blocks.from_container)
            .number(TCA_EGRESS_BLOCK, blocks.to_container);
        self.netlink.ask(message)
    }

    /// The first pair of numbers where each block carries a filter of ours or is nobody's.
    fn choose(&mut self) -> Result<Blocks, KernelError> {
        let bindings = self.bindings()?;
        let taken: BTreeSet<u32> = bindings.iter().flat_map(|binding| binding.ingress.into_iter().chain(binding.egress)).collect();
        for pair in 0..PAIRS {
            let blocks = Blocks { from_container: FIRST_BLOCK + 2 * pair, to_container: FIRST_BLOCK + 2 * pair + 1 };
            let mut free = true;
            for block in [blocks.from_container, blocks.to_container] {
                free &= !taken.contains(&block) || self.filters(block)?.iter().any(Filter::is_ours);
            }
            if free {
                return Ok(blocks);
            }
        }
        Err(KernelError::said(nix::Error::ENOSPC, format!("{PAIRS} pairs of tc blocks from {FIRST_BLOCK} on are taken by others")))
    }

    fn binding(&mut self, ifindex: u32) -> Result<Option<Binding>, KernelError> {
        let mut found = None;
        // Without NLM_F_ECHO the kernel acknowledges the question and keeps the answer.
        let answer = self.netlink.get(Message::new(libc::RTM_GETQDISC, libc::NLM_F_ECHO, &clsact(ifindex)), |kind, payload| {
            if kind == libc::RTM_NEWQDISC {
                found = found.take().or_else(|| binding(payload));
            }
        });
        match answer {
            Ok(()) => Ok(found),
            Err(refusal) if matches!(refusal.errno(), Some(libc::ENOENT | libc::ENODEV | libc::EINVAL)) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    fn bindings(&mut self) -> Result<Vec<Binding>, KernelError> {
        let mut bindings = Vec::new();
        self.netlink.dump(Message::new(libc::RTM_GETQDISC, 0, &[0; TCMSG]), |kind, payload| {
            bindings.extend((kind == libc::RTM_NEWQDISC).then(|| binding(payload)).flatten());
        })?;
        Ok(bindings)
    }
}

impl Binding {
    fn is_to(&self, blocks: Blocks) -> bool {
        (self.ingress, self.egress) == (Some(blocks.from_container), Some(blocks.to_container))
    }
}

/// `struct tcmsg`: family and padding, interface, handle, parent (or block), info.
fn tcmsg(ifindex: i32, handle: u32, parent: u32, info: u32) -> [u8; TCMSG] {
    let mut bytes = [0; TCMSG];
    bytes[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    bytes[8..12].copy_from_slice(&handle.to_ne_bytes());
    bytes[12..16].copy_from_slice(&parent.to_ne_bytes());
    bytes[16..20].copy_from_slice(&info.to_ne_bytes());
    bytes
}

/// `struct tcmsg` that names an interface's `clsact`.
fn clsact(ifindex: u32) -> [u8; TCMSG] {
    tcmsg(ifindex as i32, CLSACT_HANDLE, TC_H_CLSACT, 0)
}

/// `struct ifinfomsg` that names an interface.
fn ifinfomsg(ifindex: u32) -> [u8; IFINFOMSG] {
    let mut bytes = [0; IFINFOMSG];
    bytes[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    bytes
}

/// `tcm_info` of our filters: the priority above, the protocol in network order below; every protocol.
fn info() -> u32 {
    PRIORITY << 16 | u32::from((libc::ETH_P_ALL as u16).to_be())
}

/// A qdisc that is bound to a block, from RTM_NEWQDISC.
fn binding(payload: &[u8]) -> Option<Binding> {
    let mut binding = Binding { ifindex: number(payload.get(4..8)?)?, ..Binding::default() };
    for (kind, value) in attributes(payload.get(TCMSG..)?) {
        match kind {
            TCA_INGRESS_BLOCK => binding.ingress = number(value),
            TCA_EGRESS_BLOCK => binding.egress = number(value),
            _ => {}
        }
    }
    (binding.ingress.is_some() || binding.egress.is_some()).then_some(binding)
}

/// Whether a filter is none of ours, from RTM_NEWTFILTER. An entry that stands for a whole priority of bpf filters says nothing of them.
fn is_strangers(payload: &[u8]) -> bool {
    let find = |bytes, wanted: u16| attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let body = payload.get(TCMSG..).unwrap_or_default();
    if find(body, TCA_KIND).map(text) != Some(b"bpf") {
        return !pacer::is_at_our_priority(payload);
    }
    let name = |options| text(find(options, TCA_BPF_NAME).unwrap_or_default());
    find(body, TCA_OPTIONS).is_some_and(|options| !name(options).starts_with(NAME_PREFIX.as_bytes()))
}

/// A bpf filter, from RTM_NEWTFILTER. None for another kind, and for the entry that stands for a whole priority.
fn filter(payload: &[u8]) -> Option<Filter> {
    let options = |wanted: u16, bytes| attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let body = payload.get(TCMSG..)?;
    if text(options(TCA_KIND, body)?) != b"bpf" {
        return None;
    }
    let bpf = options(TCA_OPTIONS, body)?;
    Some(Filter {
        name: String::from_utf8_lossy(text(options(TCA_BPF_NAME, bpf).unwrap_or_default())).into_owned(),
        program: options(TCA_BPF_ID, bpf).and_then(number)?,
        info: number(payload.get(16..20)?)?,
        handle: number(payload.get(8..12)?)?,
    })
}

#[cfg(test)]
mod tests;
