//! How fast a container may get and send: a rate as the numbers of a token bucket, and where the bucket stands. Never measures anything.
//!
//! To the container the bucket is at the root of the veth's host end. What comes from it has no queue on its way in; the programs hand it to a link
//! of kind ifb, whose root has one, and which lets it go on from the host end at the bucket's pace.
//!
//! The numbers follow tc-tbf(8) and net/sched/sch_tbf.c. A packet that is larger than the bucket never passes: one that the stack is to cut
//! (GSO) is then cut at once and queued frame by frame (`tbf_segment`), any other is dropped. Bytes are those of Ethernet frames
//! without checksum and gap, for a packet to be cut those of all its frames (`qdisc_pkt_len_init` in net/core/dev.c).

use netd_api::cni::Rate;

use super::sysctl;
use crate::{
    desired::{Attachment, Container},
    host::Host,
    mark,
    objects::{Bucket, Ifb, Ns, Objects, Veth},
};

/// Ethernet and VLAN headers of a frame, in bytes.
const HEADERS: u32 = 14 + 4;
/// ETH_DATA_LEN: the MTU of an ifb, below which the kernel takes a bucket for a mistake and says so in its log.
const ETHERNET: u32 = 1500;
/// The largest packet that the stack passes whole (GSO_LEGACY_MAX_SIZE, 64 KiB), with the headers that its frames will have: 125 frames of 66 bytes of
/// headers where the MTU is 576, in bytes.
const WHOLE: u32 = 80 << 10;
/// A second in the longest ticks a kernel may have (HZ=100): a bucket is emptied that late at worst, and what comes meanwhile must fit in.
const TICKS: u64 = 100;
/// A second in times that a full queue takes to drain, 50 ms: enough for a TCP connection to keep the rate over a way of 100 ms
/// (a sender that falls back to 70 % needs 43 % of what is under way to wait; RFC 9438, 4.6), and no more than a person talking will bear.
const QUEUE: u64 = 20;
/// Bytes that may wait at the highest rates: memory of the kernel that nobody accounts for.
const LONGEST_QUEUE: u32 = 16 << 20;

/// Adds what an attachment's bandwidth amounts to.
pub(super) fn shape(objects: &mut Objects, veth: &mut Veth, container: &Container, attachment: &Attachment, host: &Host) {
    let Some(cni) = &attachment.cni else { return };
    veth.to_container = cni.bandwidth.ingress.and_then(|rate| bucket(rate, veth.mtu));
    // Without the programs nothing leads there.
    if let Some(bucket) = cni.bandwidth.egress.and_then(|rate| bucket(rate, veth.mtu)).filter(|_| host.features.datapath) {
        let name = mark::ifb_name(&attachment.network, &container.id, &attachment.ifname);
        if host.features.sysctls && host.features.ipv6 {
            // What it would send itself (router solicitations, multicast reports) is nobody's traffic.
            objects.sysctls.insert(sysctl(&Ns::Host, format!("net/ipv6/conf/{name}/disable_ipv6")), "1".to_owned());
        }
        objects.ifbs.insert(name.clone(), Ifb { up: true, bucket: Some(bucket) });
        veth.from_container = Some(name);
    }
}

/// The bucket of a rate on a link with this MTU; none for a rate of zero, which stands for none.
fn bucket(rate: Rate, mtu: u32) -> Option<Bucket> {
    let bytes = rate.bits_per_second.div_ceil(8);
    if bytes == 0 {
        return None;
    }
    let frame = mtu.max(ETHERNET).saturating_add(HEADERS);
    let burst = match rate.burst_bits.filter(|bits| (1..Rate::NO_BURST).contains(bits)) {
        Some(bits) => capped(bits.div_ceil(8), u32::MAX),
        None => chosen(bytes, frame),
    };
    // At least what one packet of 64 KiB in fragments takes: none of it arrives where one of them does not.
    let limit = capped(bytes / QUEUE, LONGEST_QUEUE).max(WHOLE);
    Some(Bucket { rate: bytes, burst: burst.max(frame), limit })
}

/// The smallest burst with which the rate is kept: what comes during a tick, and what must be there at once for the next packet to go. From the rate on
/// where this is less than 20 ms' worth that is a packet of the largest size; below it large packets are cut, and two frames do.
fn chosen(bytes: u64, frame: u32) -> u32 {
    let whole = bytes / 50 >= u64::from(WHOLE);
    let packet = if whole { WHOLE.max(frame) } else { frame.saturating_mul(2) };
    capped(bytes / TICKS, u32::MAX).saturating_add(packet)
}

fn capped(bytes: u64, most: u32) -> u32 {
    u32::try_from(bytes).unwrap_or(most).min(most)
}

#[cfg(test)]
mod tests;
