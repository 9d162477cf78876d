//! What stands on links besides: what the programs know of host ends, and the queues of pacers. Looks only.

use std::collections::{BTreeMap, BTreeSet};

use netd_abi::attachment::{BEHIND, NO_PACER};
use netd_api::names::IfName;
use netd_core::objects::{Bucket, Objects};

use super::LinuxKernel;
use crate::{
    bpf::BpfError,
    kernel::{KernelError, link, observe},
};

impl LinuxKernel {
    /// What the eBPF side knows of each veth, and of those that have gone.
    pub(super) fn add_attachments(&mut self, found: &mut observe::Found, wanted: &Objects, is_all: bool) -> Result<(), BpfError> {
        if !self.bpf.is_on() {
            return Ok(());
        }
        let (all, bound) = if is_all { (self.bpf.attachments()?, self.bpf.attached()?) } else { Default::default() };
        let observe::Found { objects, numbers } = found;
        let mut behind = None;
        for (name, veth) in &mut objects.veths {
            let Some(index) = numbers.get(name).copied() else { continue };
            veth.on_blocks = if is_all { bound.contains(&index) } else { self.bpf.is_attached(index)? };
            let known = if is_all { all.get(&index).copied() } else { self.bpf.attachment(index) };
            let Some(attachment) = known else { continue };
            veth.slot = Some(attachment.slot);
            let wish = wanted.veths.get(name).and_then(|wish| wish.entry.as_ref());
            veth.entry = wish
                .filter(|wish| {
                    let bridge = wish
                        .bridge
                        .as_ref()
                        .and_then(|bridge| numbers.get(bridge).copied().or_else(|| link::number(&self.rtnetlink, bridge).ok()));
                    self.bpf.knows_as(index, wish, bridge.unwrap_or(0))
                })
                .cloned();
            let pacer = if attachment.is_paced_behind() {
                let filters = match &mut behind {
                    Some(filters) => filters,
                    unread => unread.insert(self.bpf.paced_behind()?),
                };
                filters.get(&attachment.slot).copied().unwrap_or(BEHIND)
            } else {
                attachment.pacer
            };
            veth.from_container = (pacer != NO_PACER).then(|| {
                let ifb = objects.ifbs.keys().find(|ifb| numbers.get(*ifb) == Some(&pacer));
                // A number that nothing of ours has is shown as such: packets are led into nowhere, or not at all.
                ifb.cloned().unwrap_or_else(|| format!("#{pacer}").parse().expect("a number is a name"))
            });
        }
        let known: BTreeSet<u32> = if is_all {
            all.values().map(|attachment| attachment.slot).collect()
        } else {
            wanted.left_slots.iter().copied().filter(|slot| self.bpf.knows_slot(*slot)).collect()
        };
        let linked: BTreeSet<u32> = objects.veths.values().filter_map(|veth| veth.slot).collect();
        objects.left_slots = known.difference(&linked).copied().collect();
        Ok(())
    }

    /// The buckets of host ends and ifbs: all of ours, or those of the asked links that should have one.
    pub(super) fn add_buckets(&mut self, found: &mut observe::Found, wanted: &Objects, is_all: bool) -> Result<(), KernelError> {
        let all = if is_all { self.shaper.all(&self.expected)? } else { BTreeMap::new() };
        let observe::Found { objects, numbers } = found;
        let mut bucket = |name: &IfName, wish: Option<Bucket>| -> Result<Option<Bucket>, KernelError> {
            let Some(index) = numbers.get(name).copied() else { return Ok(None) };
            let seen = match (is_all, wish) {
                (true, _) => all.get(&index).copied(),
                (false, Some(_)) => self.shaper.get(index, &self.expected)?,
                (false, None) => None,
            };
            Ok(seen.map(|seen| seen.bucket(wish)))
        };
        for (name, veth) in &mut objects.veths {
            veth.to_container = bucket(name, wanted.veths.get(name).and_then(|veth| veth.to_container))?;
        }
        for (name, ifb) in &mut objects.ifbs {
            ifb.bucket = bucket(name, wanted.ifbs.get(name).and_then(|ifb| ifb.bucket))?;
        }
        Ok(())
    }
}
