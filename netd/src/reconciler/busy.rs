//! Links that carry much get the programs at their own hooks. Looks when everything is looked at, and never by itself.

use std::collections::BTreeMap;

use netd_api::names::IfName;
use netd_core::op::Op;
use tracing::{info, warn};

use super::Reconciler;
use crate::kernel::Kernel;

impl<K: Kernel> Reconciler<K> {
    /// Gives those their hooks that have become busy; where nobody is to have any, takes them all away.
    pub(super) fn look_for_busy(&mut self) {
        let Some(at_hooks) = self.kernel.at_own_hooks() else { return };
        let all = self.desired.containers().values().flat_map(|container| &container.attachments);
        let links: BTreeMap<u32, IfName> = all.map(|attachment| (attachment.slot, attachment.host_ifname.clone())).collect();
        if !self.settings.own_hooks {
            for link in at_hooks.iter().filter_map(|slot| links.get(slot)) {
                self.hook(&Op::LeaveHooks(link.clone()));
            }
            return;
        }
        let total = |slot: u32, kernel: &mut K| kernel.counters(slot).map(|counters| counters.from.packets + counters.to.packets);
        let packets = links.keys().filter_map(|slot| Some((*slot, total(*slot, &mut self.kernel)?))).collect();
        for slot in self.busy.look(self.started.elapsed(), packets, &at_hooks) {
            if let Some(link) = links.get(&slot) {
                self.hook(&Op::TakeHooks(link.clone()));
            }
        }
        self.kernel.settle();
    }

    /// Where it fails the link stays as it was, and the next look tries again.
    fn hook(&mut self, op: &Op) {
        match self.kernel.apply(op) {
            Ok(()) => info!(%op, "step"),
            Err(error) => warn!(error = &error as &dyn std::error::Error, "a link's own hooks could not be changed"),
        }
    }

    /// How many links have the programs at their own hooks; none where there are no such hooks, or they are not to be used.
    pub(super) fn own_hooks(&mut self) -> Option<u64> {
        let at_hooks = self.kernel.at_own_hooks()?;
        self.settings.own_hooks.then_some(at_hooks.len() as u64)
    }
}
