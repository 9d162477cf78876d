//! Links that carry much get the programs at their own hooks. Looks now and then, and never wakes for it alone.

use std::{collections::BTreeMap, time::Duration};

use netd_api::names::IfName;
use netd_core::{busy::Moves, op::Op};
use tracing::{info, warn};

use super::Reconciler;
use crate::kernel::Kernel;

impl<K: Kernel> Reconciler<K> {
    /// [`Self::look_for_busy`] where it is time: nearly as often as everything is looked at, so that it is time then.
    pub(super) fn look_for_busy_in_time(&mut self) {
        let now = self.started.elapsed();
        if now >= self.busy_due {
            self.busy_due = now + self.settings.check_every * 9 / 10;
            self.look_for_busy(now);
        }
    }

    /// Gives those their hooks that have become busy; where nobody is to have any, takes them all away.
    pub(super) fn look_for_busy(&mut self, now: Duration) {
        let Some(hooks) = self.kernel.at_own_hooks() else { return };
        let all = self.desired.containers().values().flat_map(|container| &container.attachments);
        let links: BTreeMap<u32, IfName> = all.map(|attachment| (attachment.slot, attachment.host_ifname.clone())).collect();
        if self.settings.own_hooks {
            let eligible = links.keys().filter(|slot| !hooks.barred.contains(slot));
            let packets = eligible.filter_map(|slot| {
                let counters = self.kernel.counters(*slot)?;
                Some((*slot, counters.from.packets + counters.to.packets))
            });
            let packets = packets.collect();
            let Moves { leave, mut take } = self.busy.look(now, packets, &hooks.at);
            let leaving = leave.iter().filter_map(|slot| links.get(slot));
            let stay = leaving.filter(|link| !self.hook(&Op::LeaveHooks((*link).clone()))).count();
            take.truncate(take.len().saturating_sub(stay));
            for slot in take {
                let done = links.get(&slot).is_none_or(|link| self.hook(&Op::TakeHooks(link.clone())));
                if !done {
                    self.busy.pass_over(slot, now);
                }
            }
        } else {
            for link in hooks.at.iter().filter_map(|slot| links.get(slot)) {
                self.hook(&Op::LeaveHooks(link.clone()));
            }
        }
        self.kernel.settle();
    }

    /// Says whether it was done; where not the link stays as it was.
    fn hook(&mut self, op: &Op) -> bool {
        match self.kernel.apply(op) {
            Ok(()) => info!(%op, "step"),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "a link's own hooks could not be changed");
                return false;
            }
        }
        true
    }

    /// How many links have the programs at their own hooks; none where there are no such hooks, or they are not to be used.
    pub(super) fn own_hooks(&mut self) -> Option<u64> {
        self.kernel.count_at_hooks().filter(|links| self.settings.own_hooks || *links > 0)
    }
}
