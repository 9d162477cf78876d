//! Carries a change out: wish, store, kernel, in this order; and if one refuses, the way back. Never decides what is wanted.

use std::collections::BTreeSet;

use netd_api::{
    names::ContainerId,
    publish::{PortRange, Protocol},
};
use netd_core::{
    desired::{Attachment, Change, Desired, Edit, Origin},
    expand::{self, Scope},
    objects::{Ns, Objects, Reservation, Veth},
    op::Op,
    plan::{self, Plan},
    policy::book::limit::TooLarge,
};
use tracing::{debug, warn};

use super::Reconciler;
use crate::{
    kernel::{ApplyError, Kernel, KernelError, Look, ObserveError},
    store::StoreError,
};

/// Why a change was taken back.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("the state could not be written")]
    Store(#[source] StoreError),
    #[error("the kernel could not be read")]
    Observe(#[source] ObserveError),
    #[error("a step failed")]
    Apply(#[source] ApplyError),
    #[error("port {ports}/{protocol} is in use by {holder}")]
    PortTaken { protocol: Protocol, ports: PortRange, holder: String },
    #[error("policies do not fit: {0}")]
    Policy(TooLarge),
    #[error("policies could not be made true")]
    Policing(#[source] KernelError),
    #[error("{path} is a network namespace already, and not one that netd made")]
    NetnsTaken { path: String },
}

impl Refused {
    pub(super) fn taken(port: Reservation, holder: String) -> Self {
        Self::PortTaken { protocol: port.protocol, ports: PortRange::one(port.port), holder }
    }
}

impl From<ApplyError> for Refused {
    fn from(error: ApplyError) -> Self {
        match (&*error.op, &error.cause) {
            (Op::Reserve(port), KernelError::PortTaken { holder }) => Self::taken(*port, holder.clone()),
            _ => Self::Apply(error),
        }
    }
}

impl<K: Kernel> Reconciler<K> {
    /// Makes a change of the wish true, or leaves everything as it was.
    pub(super) fn carry_out(&mut self, change: &Change) -> Result<(), Refused> {
        if let Some(path) = self.strangers_namespace(change) {
            return Err(Refused::NetnsTaken { path });
        }
        let looked_at = self.wanted(change);
        self.note_gone(change);
        let bridges: std::collections::BTreeMap<_, _> = plan_bridges(change, &self.desired);
        let former = Former { absent: self.absent(change), unheld: self.unheld.clone() };
        self.desired.apply(change);
        if let Err(error) = self.store.commit(&change.edits) {
            self.desired.apply(&change.reverse());
            former.note_absence(&mut self.desired);
            return Err(Refused::Store(error));
        }
        for edit in &change.edits {
            if let Edit::Publish { before: Some(before), .. } = edit {
                self.unheld.retain(|port, _| {
                    port.protocol != before.protocol || port.address != before.address || !before.host.overlaps(PortRange::one(port.port))
                });
            }
        }
        let result = self
            .enforce_before(change)
            .and_then(|()| self.follow(change, &looked_at, &bridges))
            .and_then(|()| self.store.settle().map_err(Refused::Store));
        match &result {
            Ok(()) => {
                if let Err(error) = self.enforce_after(change) {
                    warn!(error = &error as &dyn std::error::Error, "could not forget what a change left behind; it is tried again");
                    self.survey.retry();
                }
            }
            Err(_) => self.take_back(change, former),
        }
        self.kernel.settle();
        result
    }

    /// The namespace at a place where a new container's is to be made: somebody else's, as all of ours are in the wish.
    fn strangers_namespace(&mut self, change: &Change) -> Option<String> {
        let made = change.edits.iter().filter_map(|edit| match edit {
            Edit::Container { before: None, after: Some(container) } if container.origin == Origin::Made => Some(container.netns()),
            _ => None,
        });
        made.into_iter().find(|path| self.kernel.netns(path).is_some())
    }

    /// Notes whose namespaces have gone unnoticed of those that a change leaves without anything new: what it wants of them cannot be had, and
    /// must not keep the rest from being done.
    fn note_gone(&mut self, change: &Change) {
        let Scope::Parts(parts) = Scope::of(change, &self.desired) else { return };
        let comes_or_goes: BTreeSet<&ContainerId> = change
            .edits
            .iter()
            .filter_map(|edit| match edit {
                Edit::Container { before, after: Some(after) } => {
                    let had = |attachment| before.as_ref().is_some_and(|before| before.attachments.contains(attachment));
                    (!after.attachments.iter().all(had)).then_some(&after.id)
                }
                Edit::Container { before, after: None } => before.as_ref().map(|before| &before.id),
                _ => None,
            })
            .collect();
        for id in parts.containers.iter().filter(|id| !comes_or_goes.contains(id)) {
            let Some(container) = self.desired.containers().get(id) else { continue };
            let netns = container.origin.netns_id();
            if netns.is_some() && self.kernel.netns(&container.netns()) != netns {
                self.desired.note_presence(id, false);
            }
        }
    }

    fn absent(&self, change: &Change) -> Vec<ContainerId> {
        let ids = change.edits.iter().filter_map(|edit| match edit {
            Edit::Container { before: Some(container), .. } => Some(&container.id),
            _ => None,
        });
        ids.filter(|id| self.desired.is_absent(id)).cloned().collect()
    }

    fn wanted(&self, change: &Change) -> Objects {
        expand::expand(&self.desired, &self.host, &Scope::of(change, &self.desired))
    }

    /// Makes the kernel follow the wish, as far as a change is concerned; stops at the first step that fails.
    fn follow(&mut self, change: &Change, before: &Objects, bridges: &Bridges) -> Result<(), Refused> {
        let (wanted, observed) = self.compare(change, before)?;
        let mut plan = plan::plan(&wanted, &observed);
        let originals = plan::remember(&plan, &observed, &wanted, |sysctl| self.desired.originals().contains_key(sysctl));
        if !originals.edits.is_empty() {
            self.desired.apply(&originals);
            self.store.commit(&originals.edits).map_err(Refused::Store)?;
            plan = plan::plan(&self.wanted(change), &observed);
        }
        self.without_unheld(&mut plan);
        let after = plan::aftermath(change, &plan, |network| bridges.get(network).cloned());
        plan.ops.extend(after);
        for op in &plan.ops {
            debug!(%op, "step");
            self.step(op, &observed)?;
        }
        self.forget_given_back()
    }

    /// One step. A link goes with its namespace, at any moment: what was to be taken from one that has gone since the look is gone too.
    fn step(&mut self, op: &Op, observed: &Objects) -> Result<(), ApplyError> {
        match self.kernel.apply(op) {
            Err(error) if takes_from_link(op) && error.cause.is_gone() => {
                debug!(%op, "its link went by itself");
                match op {
                    Op::DelLink(link) => {
                        let slot = observed.veths.get(link).and_then(|veth| veth.slot);
                        slot.map_or(Ok(()), |slot| self.kernel.apply(&Op::DelSlot(slot)))
                    }
                    _ => Ok(()),
                }
            }
            other => other,
        }
    }

    fn compare(&mut self, change: &Change, before: &Objects) -> Result<(Objects, Objects), Refused> {
        let wanted = self.wanted(change);
        let keys = Objects { left_slots: former_slots(change, &self.desired), ..union(before, &wanted) };
        let observed = self.kernel.observe(Look::At(&keys)).map_err(Refused::Observe)?;
        Ok((wanted, observed))
    }

    /// Sysctls that were given back need not be remembered any longer.
    pub(super) fn forget_given_back(&mut self) -> Result<(), Refused> {
        let done = expand::given_back(&self.desired, &self.host);
        if done.edits.is_empty() {
            return Ok(());
        }
        self.desired.apply(&done);
        self.store.commit(&done.edits).map_err(Refused::Store)
    }

    /// Back to the former wish: the same planning the other way, as a deleted link has no inverse but to be made again.
    fn take_back(&mut self, change: &Change, former: Former) {
        let back = change.reverse();
        let made = self.wanted(change);
        self.desired.apply(&back);
        former.note_absence(&mut self.desired);
        self.unheld = former.unheld;
        if let Err(error) = self.store.commit(&back.edits).and_then(|()| self.store.settle()) {
            // The next start finds the wish that was refused and makes it true, or fails at it again and says so.
            warn!(error = &error as &dyn std::error::Error, "could not take a refused change out of the store");
        }
        if let Err(error) = self.enforce_before(&back) {
            warn!(error = &error as &dyn std::error::Error, "could not take policies back; it will be tried again");
            self.survey.retry();
        }
        match self.compare(&back, &made) {
            Ok((wanted, observed)) => {
                let mut plan: Plan = plan::plan(&wanted, &observed);
                self.without_unheld(&mut plan);
                for op in &plan.ops {
                    if let Err(error) = self.step(op, &observed) {
                        warn!(error = &error as &dyn std::error::Error, "could not take a step back; it will be tried again");
                        self.survey.retry();
                    }
                }
                if let Err(error) = self.forget_given_back() {
                    warn!(error = &error as &dyn std::error::Error, "could not forget what sysctls were; harmless");
                }
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "could not look at what to take back; it will be tried again");
                self.survey.retry();
            }
        }
        if let Err(error) = self.enforce_after(&back).and_then(|()| self.redo()) {
            warn!(error = &error as &dyn std::error::Error, "could not forget what a refused change left behind; it will be tried again");
            self.survey.retry();
        }
    }
}

fn takes_from_link(op: &Op) -> bool {
    matches!(op, Op::DelLink(_) | Op::DelBucket(_) | Op::DelAddress(_) | Op::DelRoute(_) | Op::FlushAddress(..))
}

/// What a change of the wish loses, though its way back needs it.
struct Former {
    /// Containers whose namespaces were known to be gone.
    absent: Vec<ContainerId>,
    /// Ports that strangers were known to hold.
    unheld: std::collections::BTreeMap<Reservation, String>,
}

impl Former {
    fn note_absence(&self, desired: &mut Desired) {
        for id in &self.absent {
            desired.note_presence(id, false);
        }
    }
}

type Bridges = std::collections::BTreeMap<netd_api::names::NetworkName, netd_api::names::IfName>;

/// The bridges of the networks that a change takes containers from, read before they may have gone.
fn plan_bridges(change: &Change, desired: &Desired) -> Bridges {
    let containers = change.edits.iter().filter_map(|edit| match edit {
        Edit::Container { before: Some(before), .. } => Some(before),
        _ => None,
    });
    let attachments = containers.flat_map(|container| &container.attachments);
    attachments
        .filter_map(|attachment| Some((attachment.network.clone(), desired.networks().get(&attachment.network)?.bridge.clone())))
        .collect()
}

/// The numbers of the attachments that a change takes away or makes anew. (One that it leaves alone is not looked at, and its number is not left over.) Of a
/// container that is known to be gone nothing else is looked at.
fn former_slots(change: &Change, desired: &Desired) -> BTreeSet<u32> {
    let attachments = change.edits.iter().flat_map(|edit| match edit {
        Edit::Container { before: Some(before), after } => {
            let stays = after.as_ref().filter(|after| !desired.is_absent(&after.id));
            let has_gone = |attachment: &&Attachment| !stays.is_some_and(|after| after.attachments.contains(attachment));
            before.attachments.iter().filter(has_gone).collect()
        }
        _ => Vec::new(),
    });
    attachments.map(|attachment| attachment.slot).collect()
}

/// The keys of both. What is inside a namespace that no container has afterwards is left out: it goes with its link, so nobody need enter there.
fn union(before: &Objects, after: &Objects) -> Objects {
    let mut all = after.clone();
    let stays = |ns: &Ns| ns.path().is_none_or(|path| after.netns.contains_key(path));
    for (key, value) in &before.netns {
        all.netns.entry(key.clone()).or_insert_with(|| value.clone());
    }
    for (key, value) in &before.bridges {
        all.bridges.entry(key.clone()).or_insert_with(|| value.clone());
    }
    for (key, value) in &before.veths {
        let leads = |veth: &Veth| veth.peer.clone().filter(|peer| stays(&peer.ns));
        all.veths.entry(key.clone()).or_insert_with(|| Veth { peer: leads(value), ..value.clone() });
    }
    for (key, value) in &before.ifbs {
        all.ifbs.entry(key.clone()).or_insert(*value);
    }
    for (key, value) in before.sysctls.iter().filter(|(sysctl, _)| stays(&sysctl.ns)) {
        all.sysctls.entry(key.clone()).or_insert_with(|| value.clone());
    }
    all.addresses.extend(before.addresses.iter().filter(|address| stays(&address.ns)).cloned());
    all.routes.extend(before.routes.iter().filter(|route| stays(&route.ns)).cloned());
    all.elements.extend(before.elements.iter().cloned());
    all.reservations.extend(before.reservations.iter().copied());
    all
}
