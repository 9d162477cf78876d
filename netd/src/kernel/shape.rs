//! Token buckets at the roots of links: put there, taken away and read back over rtnetlink. Never decides a rate, and opens nothing where none is asked for.
//!
//! A bucket is ours by its handle ([`mark::BUCKET_HANDLE`]); another queueing discipline at the root is a stranger's, and seen as none.

use std::collections::BTreeMap;

use netd_core::{mark, objects::Bucket};

use super::{KernelError, expected::Expected};
use crate::bpf::netlink::{Message, Rtnetlink, attributes, number, text};

/// Attributes of tc messages: linux/rtnetlink.h.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
/// Options of tbf: linux/pkt_sched.h.
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
/// The root of a link: linux/pkt_sched.h.
const TC_H_ROOT: u32 = 0xffff_ffff;
/// Bytes of `struct tcmsg`, of `struct tc_ratespec` and of `struct tc_tbf_qopt` (two of these and three numbers).
const TCMSG: usize = 20;
const RATESPEC: usize = 12;
const QOPT: usize = 2 * RATESPEC + 12;
/// TC_LINKLAYER_ETHERNET in linux/pkt_sched.h: bytes are bytes, without the cells of ATM.
const ETHERNET: u8 = 1;
/// Nanoseconds of a tick in which the kernel tells a bucket's depth (PSCHED_SHIFT 6 in net/pkt_sched.h).
const TICK: u128 = 64;
const SECOND: u128 = 1_000_000_000;

/// A bucket as the kernel tells of it: its depth is a time, cut to 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    rate: u64,
    limit: u32,
    ticks: u32,
}

/// The door to the links' roots.
#[derive(Default)]
pub(crate) struct Shaper(Option<Rtnetlink>);

impl Shaper {
    /// Puts a bucket at the root of the link with this number, or changes the one that is there: what waits in it stays.
    pub(crate) fn set(&mut self, index: u32, bucket: Bucket, expected: &Expected) -> Result<(), KernelError> {
        let mut numbers = [0; QOPT];
        numbers[1] = ETHERNET;
        numbers[8..12].copy_from_slice(&u32::try_from(bucket.rate).unwrap_or(u32::MAX).to_ne_bytes());
        numbers[2 * RATESPEC..][..4].copy_from_slice(&bucket.limit.to_ne_bytes());
        let message = Message::new(libc::RTM_NEWQDISC, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &root(index, mark::BUCKET_HANDLE));
        self.socket(expected)?.ask(message.text(TCA_KIND, "tbf").nest(TCA_OPTIONS, |options| {
            let options = options.with(TCA_TBF_PARMS, &numbers).with(TCA_TBF_RATE64, &bucket.rate.to_ne_bytes());
            options.number(TCA_TBF_BURST, bucket.burst)
        }))
    }

    /// Takes our bucket from the root of a link. None is no error.
    pub(crate) fn delete(&mut self, index: u32, expected: &Expected) -> Result<(), KernelError> {
        match self.socket(expected)?.ask(Message::new(libc::RTM_DELQDISC, 0, &root(index, mark::BUCKET_HANDLE))) {
            Err(refusal) if matches!(refusal.errno(), Some(libc::ENOENT | libc::EINVAL)) => Ok(()),
            other => other,
        }
    }

    /// Our bucket at the root of one link.
    pub(crate) fn get(&mut self, index: u32, expected: &Expected) -> Result<Option<Seen>, KernelError> {
        let mut found = None;
        // Without NLM_F_ECHO the kernel acknowledges the question and keeps the answer.
        let question = Message::new(libc::RTM_GETQDISC, libc::NLM_F_ECHO, &root(index, 0));
        let answer = self.socket(expected)?.get(question, |kind, payload| {
            if kind == libc::RTM_NEWQDISC {
                found = found.or_else(|| seen(payload).map(|(_, bucket)| bucket));
            }
        });
        match answer {
            Err(refusal) if !matches!(refusal.errno(), Some(libc::ENOENT | libc::ENODEV | libc::EINVAL)) => Err(refusal),
            _ => Ok(found),
        }
    }

    /// Our buckets at the roots of all links, by the links' numbers.
    pub(crate) fn all(&mut self, expected: &Expected) -> Result<BTreeMap<u32, Seen>, KernelError> {
        let mut all = BTreeMap::new();
        self.socket(expected)?.dump(Message::new(libc::RTM_GETQDISC, 0, &[0; TCMSG]), |kind, payload| {
            all.extend((kind == libc::RTM_NEWQDISC).then(|| seen(payload)).flatten());
        })?;
        Ok(all)
    }

    fn socket(&mut self, expected: &Expected) -> Result<&mut Rtnetlink, KernelError> {
        match &mut self.0 {
            Some(socket) => Ok(socket),
            closed => {
                let socket = Rtnetlink::open()?;
                expected.port(socket.port());
                Ok(closed.insert(socket))
            }
        }
    }
}

impl Seen {
    /// The bucket, in bytes. The kernel's ticks do not tell a depth to the byte: where they are those of the wanted one, it is that.
    pub(crate) fn bucket(self, wanted: Option<Bucket>) -> Bucket {
        let Self { rate, limit, ticks } = self;
        let is_it = |wanted: &Bucket| {
            let depth = u128::from(wanted.burst) * SECOND / u128::from(rate.max(1)) / TICK;
            // The kernel multiplies by a fraction of 31 bits (psched_ratecfg_precompute in net/sched/sch_generic.c).
            let rounding = 2 + (depth >> 30) as u32;
            wanted.rate == rate && ticks.wrapping_sub(depth as u32).wrapping_add(rounding) <= 2 * rounding
        };
        let depth = || u32::try_from(u128::from(ticks) * TICK * u128::from(rate) / SECOND).unwrap_or(u32::MAX);
        Bucket { rate, burst: wanted.filter(is_it).map_or_else(depth, |wanted| wanted.burst), limit }
    }
}

/// `struct tcmsg` that names the root of a link: family and padding, interface, handle, parent, info.
fn root(index: u32, handle: u32) -> [u8; TCMSG] {
    let mut bytes = [0; TCMSG];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&handle.to_ne_bytes());
    bytes[12..16].copy_from_slice(&TC_H_ROOT.to_ne_bytes());
    bytes
}

/// The link's number and its bucket, from RTM_NEWQDISC; none where it is another queueing discipline, or a stranger's.
fn seen(payload: &[u8]) -> Option<(u32, Seen)> {
    let word = |bytes: &[u8], at: usize| number(bytes.get(at..)?);
    let body = payload.get(TCMSG..)?;
    let attribute = |bytes, wanted: u16| attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    if word(payload, 8)? != mark::BUCKET_HANDLE || word(payload, 12)? != TC_H_ROOT || text(attribute(body, TCA_KIND)?) != b"tbf" {
        return None;
    }
    let options = attribute(body, TCA_OPTIONS)?;
    let numbers = attribute(options, TCA_TBF_PARMS)?;
    // Told only where 32 bits are too few.
    let rate64 = attribute(options, TCA_TBF_RATE64).and_then(|value| Some(u64::from_ne_bytes(value.get(..8)?.try_into().ok()?)));
    let rate = rate64.map_or_else(|| word(numbers, 8).map(u64::from), Some)?;
    Some((word(payload, 4)?, Seen { rate, limit: word(numbers, 2 * RATESPEC)?, ticks: word(numbers, 2 * RATESPEC + 4)? }))
}

#[cfg(test)]
mod tests;
