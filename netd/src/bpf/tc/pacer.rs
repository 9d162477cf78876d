//! Filters that lead packets to a pacer where the programs cannot: one for each paced attachment, behind ours on the block. Never decides who is paced.
//!
//! An ifb takes only packets that are marked as redirected (ifb_xmit in linux/drivers/net/ifb.c). act_mirred has always marked them; what a program
//! redirects is marked from Linux 6.13 on (__bpf_tx_skb in net/core/filter.c). Before that the program counts and passes on, and the filter leads away.

use std::collections::BTreeMap;

use super::{PRIORITY, TCA_KIND, TCA_OPTIONS, TCM_IFINDEX_MAGIC_BLOCK, TCMSG, Tc, tcmsg};
use crate::bpf::netlink::{Message, attributes, number, text};
use crate::kernel::KernelError;

/// Options of cls_flower: linux/pkt_cls.h.
const TCA_FLOWER_INDEV: u16 = 2;
const TCA_FLOWER_ACT: u16 = 3;
/// An action in its list, and what it is: linux/pkt_cls.h.
const FIRST_ACTION: u16 = 1;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
/// linux/tc_act/tc_mirred.h: `struct tc_mirred` is seven words, of which these are the verdict, what is done, and with which interface.
const TCA_MIRRED_PARMS: u16 = 2;
const MIRRED: usize = 28;
const VERDICT: usize = 8;
const WHAT: usize = 20;
const WITH: usize = 24;
const TCA_EGRESS_REDIR: u32 = 1;
const TC_ACT_STOLEN: u32 = 4;

/// From this release on a program's redirected packets are marked. Late releases of 6.12 do so too, but their number does not promise it.
const MARKED_SINCE: (u32, u32) = (6, 13);

/// Whether an ifb takes what a program redirects, by uname(2)'s release.
pub(crate) fn takes_redirected(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= MARKED_SINCE
}

impl Tc {
    /// Leads what comes in by a link to a pacer, in place of where it was led before.
    pub(crate) fn put_pacer(&mut self, block: u32, slot: u32, link: &str, pacer: u32) -> Result<(), KernelError> {
        let mut mirred = [0; MIRRED];
        for (at, value) in [(VERDICT, TC_ACT_STOLEN), (WHAT, TCA_EGRESS_REDIR), (WITH, pacer)] {
            mirred[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        let action =
            |action: Message| action.text(TCA_ACT_KIND, "mirred").nest(TCA_ACT_OPTIONS, |options| options.with(TCA_MIRRED_PARMS, &mirred));
        // A filter's actions are not always changed in place, so the former one goes first: its interface is another one, or gone.
        self.remove_pacer(block, slot)?;
        let message = Message::new(libc::RTM_NEWTFILTER, libc::NLM_F_CREATE, &place(block, slot)).text(TCA_KIND, "flower");
        self.netlink.ask(
            message.nest(TCA_OPTIONS, |options| {
                options.text(TCA_FLOWER_INDEV, link).nest(TCA_FLOWER_ACT, |list| list.nest(FIRST_ACTION, action))
            }),
        )
    }

    /// Leads a slot's packets nowhere any more. None is no error.
    pub(crate) fn remove_pacer(&mut self, block: u32, slot: u32) -> Result<(), KernelError> {
        match self.netlink.ask(Message::new(libc::RTM_DELTFILTER, 0, &place(block, slot)).text(TCA_KIND, "flower")) {
            Err(refusal) if matches!(refusal.errno(), Some(libc::ENOENT | libc::EINVAL)) => Ok(()),
            other => other,
        }
    }

    /// Where each slot's packets are led by a filter.
    pub(crate) fn pacers(&mut self, block: u32) -> Result<BTreeMap<u32, u32>, KernelError> {
        let mut all = BTreeMap::new();
        self.netlink.dump(Message::new(libc::RTM_GETTFILTER, 0, &tcmsg(TCM_IFINDEX_MAGIC_BLOCK, 0, block, 0)), |kind, payload| {
            all.extend((kind == libc::RTM_NEWTFILTER).then(|| pacer(payload)).flatten());
        })?;
        Ok(all)
    }

    /// The number of its socket: notifications of what it asked for carry it.
    pub(crate) fn port(&self) -> u32 {
        self.netlink.port()
    }
}

/// `struct tcmsg` that names the filter of a slot: the priority after ours, every protocol; handles count from 1.
fn place(block: u32, slot: u32) -> [u8; TCMSG] {
    tcmsg(TCM_IFINDEX_MAGIC_BLOCK, slot + 1, block, info())
}

fn info() -> u32 {
    (PRIORITY + 1) << 16 | u32::from((libc::ETH_P_ALL as u16).to_be())
}

/// Whether a filter, or the entry that stands for a whole priority, is where these filters are, from RTM_NEWTFILTER.
pub(super) fn is_at_our_priority(payload: &[u8]) -> bool {
    payload.get(16..20).and_then(number) == Some(info())
}

/// A slot and the interface that its packets are led to, from RTM_NEWTFILTER; none where it is another filter.
fn pacer(payload: &[u8]) -> Option<(u32, u32)> {
    let find = |bytes, wanted: u16| attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let body = payload.get(TCMSG..)?;
    if text(find(body, TCA_KIND)?) != b"flower" || number(payload.get(16..20)?)? != info() {
        return None;
    }
    let action = find(find(find(body, TCA_OPTIONS)?, TCA_FLOWER_ACT)?, FIRST_ACTION)?;
    let mirred = find(find(action, TCA_ACT_OPTIONS)?, TCA_MIRRED_PARMS)?;
    Some((number(payload.get(8..12)?)?.checked_sub(1)?, number(mirred.get(WITH..)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_told_apart() {
        for (release, takes) in [
            ("6.1.0-50-cloud-amd64", false),
            ("6.12.117+deb12-cloud-amd64", false),
            ("6.13.0", true),
            ("6.18.44-fc-v595", true),
            ("7.0-rc1", true),
            ("", false),
        ] {
            assert_eq!(takes_redirected(release), takes, "{release}");
        }
    }

    #[test]
    fn a_pacers_filter_is_read_back_and_any_other_is_not() {
        let told = |kind: &str, info: u32| {
            let mut mirred = [0; MIRRED];
            mirred[WITH..].copy_from_slice(&9_u32.to_ne_bytes());
            let message = Message::new(libc::RTM_NEWTFILTER, 0, &tcmsg(TCM_IFINDEX_MAGIC_BLOCK, 4, 7, info)).text(TCA_KIND, kind);
            let message = message.nest(TCA_OPTIONS, |options| {
                options.nest(TCA_FLOWER_ACT, |list| {
                    list.nest(FIRST_ACTION, |action| action.nest(TCA_ACT_OPTIONS, |options| options.with(TCA_MIRRED_PARMS, &mirred)))
                })
            });
            message.0[16..].to_vec()
        };
        assert_eq!(pacer(&told("flower", info())), Some((3, 9)));
        assert_eq!(pacer(&told("flower", 0)), None);
        assert_eq!(pacer(&told("u32", info())), None);
        assert_eq!(pacer(&told("flower", info())[..24]), None);
    }
}
