//! Keeps the policy maps true: at start, before and after each change, and with the host's addresses. What has to be written the book says; never decides it.

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf, sync::Arc};

use netd_api::{
    policy::{PoliciesApplied, PolicyFiles, PolicyName, PolicyView},
    view::{PolicyStatus, Trouble},
};
use netd_core::{
    desired::{Change, Container, Edit},
    firewall::{Element, element::Publish},
    objects::Objects,
    op::Op,
    policy::{
        book::{
            Book,
            steps::{Sets, Steps, Write},
            wish::{self, ByDefault, Wish},
        },
        pod,
    },
    show,
};
use tracing::{info, warn};

use super::{Reconciler, carry::Refused, survey::chain};
use crate::{kernel::Kernel, store::numbers};

/// The label that says a node's name in Kubernetes; here it is the host's.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// What enforcing policies needs to remember.
pub(super) struct Policing {
    /// None where no program runs: then nothing can be enforced.
    pub(super) book: Option<Book>,
    /// Where the numbers of rules are kept, so that a restarted daemon goes on counting.
    numbers: Option<PathBuf>,
    /// Which of them are kept there, by [`Book::numbered`].
    kept: Option<u64>,
    /// Where steps failed, so that the maps may not hold what the book says: the attachments that they were about.
    undone: Option<BTreeSet<u32>>,
}

impl Policing {
    pub(super) fn new(numbers: Option<PathBuf>) -> Self {
        Self { book: None, numbers, kept: None, undone: None }
    }
}

impl<K: Kernel> Reconciler<K> {
    /// Takes over what an earlier daemon left in the maps: its verdicts hold until this one's are all there.
    pub(super) fn adopt_policies(&mut self) {
        let Some(highest) = self.kernel.policy_numbers() else {
            if !self.desired.policies().is_empty() {
                warn!(policies = self.desired.policies().len(), "policies are not enforced: no eBPF program runs (see netctl status)");
            }
            return;
        };
        let known = self.policing.numbers.as_deref().map(numbers::read).unwrap_or_default();
        self.policing.book = Some(Book::new(known, highest.saturating_add(1)));
        if let Err(error) = self.make_true() {
            self.policing.undone.get_or_insert_default();
            warn!(error = &error as &dyn std::error::Error, "policies could not be made true; the former ones hold, and it is tried again");
            self.survey.retry();
        }
        self.keep_numbers();
    }

    /// What a change needs of policy before anything else of it is done: a container is judged from its first packet on.
    pub(super) fn enforce_before(&mut self, change: &Change) -> Result<(), Refused> {
        if self.policing.book.is_none() {
            return Ok(());
        }
        let is_felt = |edit: &Edit| matches!(edit, Edit::Policy { .. } | Edit::Namespace { .. } | Edit::Network { .. });
        if change.edits.iter().any(|edit| matches!(edit, Edit::Network { .. })) {
            let hosts = self.host_addresses();
            self.kernel.inform(&hosts, None, self.settings.fast_path).map_err(Refused::Policing)?;
        }
        if change.edits.iter().any(is_felt) {
            self.rewrite()?;
        }
        for edit in &change.edits {
            if let Edit::Container { after: Some(container), .. } = edit {
                self.place(container)?;
            }
        }
        self.keep_numbers();
        Ok(())
    }

    /// What a change leaves behind is forgotten when nothing of it is in the kernel any more.
    pub(super) fn enforce_after(&mut self, change: &Change) -> Result<(), Refused> {
        for edit in &change.edits {
            let Edit::Container { before: Some(before), after } = edit else { continue };
            let kept: BTreeSet<u32> = after.iter().flat_map(|after| &after.attachments).map(|attachment| attachment.slot).collect();
            for attachment in before.attachments.iter().filter(|attachment| !kept.contains(&attachment.slot)) {
                self.note_departure(before, attachment);
                let Some(book) = &mut self.policing.book else { continue };
                let mut steps = book.place(attachment.slot, None).map_err(Refused::Policy)?;
                steps.flips.insert(attachment.slot, Sets::default());
                // Whoever has the address next is somebody else.
                steps.rejudge |= !self.desired.policies().is_empty();
                self.perform(steps)?;
            }
        }
        Ok(())
    }

    /// Tells the programs what they cannot see for themselves, and judges by the host as it is now.
    pub(super) fn inform(&mut self, wanted: &Objects) -> Result<(), Refused> {
        if self.policing.book.is_none() {
            return Ok(());
        }
        let published: BTreeSet<Publish> = wanted
            .elements
            .iter()
            .filter_map(|element| match element {
                Element::Publish(publish) => Some(*publish),
                _ => None,
            })
            .collect();
        let hosts = self.host_addresses();
        self.kernel.inform(&hosts, Some(&published), self.settings.fast_path).map_err(Refused::Policing)?;
        self.rewrite()?;
        self.redo()?;
        self.keep_numbers();
        Ok(())
    }

    /// After steps that failed.
    pub(super) fn redo(&mut self) -> Result<(), Refused> {
        if self.policing.undone.is_some() { self.make_true() } else { Ok(()) }
    }

    /// Everything that the book says, then away with what else is there. A container's verdicts need the addresses of all others: none is judged by them before
    /// all are there, and what holds now holds until then.
    fn make_true(&mut self) -> Result<(), Refused> {
        let wish = self.wish();
        let Policing { book: Some(book), undone, .. } = &mut self.policing else { return Ok(()) };
        let mut slots = undone.clone().unwrap_or_default();
        let Steps { before: mut zeros, mut after, .. } = book.set(wish).map_err(Refused::Policy)?;
        for container in self.desired.containers().values() {
            for attachment in &container.attachments {
                zeros.extend(book.place(attachment.slot, Some(pod::placed(container, attachment))).map_err(Refused::Policy)?.before);
                slots.insert(attachment.slot);
            }
        }
        [&mut zeros, &mut after].into_iter().for_each(|writes| writes.retain(|write| matches!(write, Write::ZeroRule(_))));
        let entries: Vec<Write> = book.entries().collect();
        let flips = slots.into_iter().map(|slot| (slot, book.sets(slot))).collect();
        self.perform(Steps { before: zeros.into_iter().chain(entries.iter().cloned()).collect(), flips, after, rejudge: true })?;
        self.kernel.hold_policy(&entries).map_err(Refused::Policing)?;
        self.policing.undone = None;
        Ok(())
    }

    /// All policies anew, as far as they differ.
    fn rewrite(&mut self) -> Result<(), Refused> {
        let wish = self.wish();
        let Some(book) = &mut self.policing.book else { return Ok(()) };
        let steps = book.set(wish).map_err(Refused::Policy)?;
        self.perform(steps)
    }

    pub(super) fn wish(&self) -> Wish {
        let mut labels = netd_api::spec::Labels::new();
        if let (Ok(key), Ok(name)) = (HOSTNAME.parse(), self.host.name.parse()) {
            labels.insert(key, name);
        }
        Wish {
            policies: Arc::clone(self.desired.policies()),
            namespaces: self.desired.namespaces().clone(),
            host: wish::Host { addresses: self.host_addresses(), gateways: self.gateways(), labels },
            default: self.settings.policy_default,
        }
    }

    fn gateways(&self) -> BTreeSet<IpAddr> {
        let networks = self.desired.networks().values().filter(|network| network.is_gateway());
        networks.flat_map(|network| &network.pools).filter_map(|pool| pool.gateway).collect()
    }

    fn host_addresses(&self) -> BTreeSet<IpAddr> {
        self.host.addresses.iter().copied().chain(self.gateways()).collect()
    }

    fn place(&mut self, container: &Container) -> Result<(), Refused> {
        for attachment in &container.attachments {
            let Some(book) = &mut self.policing.book else { return Ok(()) };
            let mut steps = book.place(attachment.slot, Some(pod::placed(container, attachment))).map_err(Refused::Policy)?;
            steps.flips.insert(attachment.slot, book.sets(attachment.slot));
            self.perform(steps)?;
        }
        Ok(())
    }

    fn perform(&mut self, steps: Steps) -> Result<(), Refused> {
        if steps.is_empty() {
            return Ok(());
        }
        let steps = Arc::new(steps);
        let done = self.kernel.apply(&Op::Enforce(Arc::clone(&steps)));
        if done.is_err() {
            self.policing.undone.get_or_insert_default().extend(steps.flips.keys());
        }
        done.map_err(Refused::Apply)
    }

    /// Writes the numbers of rules down where any has come or gone.
    fn keep_numbers(&mut self) {
        let Policing { book: Some(book), numbers: Some(path), kept, .. } = &mut self.policing else { return };
        if *kept == Some(book.numbered()) {
            return;
        }
        match numbers::write(path, book.numbers()) {
            Ok(()) => *kept = Some(book.numbered()),
            // The next daemon would count rules from zero; nothing else.
            Err(error) => warn!(%error, path = %path.display(), "could not keep the numbers of rules"),
        }
    }

    /// Settings were read anew.
    pub(super) fn resettle_policy(&mut self) {
        let hosts = self.host_addresses();
        let done = self.kernel.inform(&hosts, None, self.settings.fast_path).map_err(Refused::Policing).and_then(|()| self.rewrite());
        match done {
            Ok(()) => {
                self.keep_numbers();
                info!(default = ?self.settings.policy_default, fast_path = self.settings.fast_path, "policy settings taken over");
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "settings of policy could not be taken over; it is tried again");
                self.survey.retry();
            }
        }
    }

    pub(super) fn policy_views(&mut self) -> Vec<PolicyView> {
        let Some(book) = &self.policing.book else { return show::policies(&self.desired, &Default::default(), |_| Default::default()) };
        let hits: std::collections::BTreeMap<u32, _> = book.rules().keys().map(|rule| (*rule, self.kernel.hits(*rule))).collect();
        show::policies(&self.desired, book.rules(), |rule| hits.get(&rule).copied().unwrap_or_default())
    }

    pub(super) fn policy_view(&mut self, name: &PolicyName) -> Option<PolicyView> {
        self.policy_views().into_iter().find(|view| view.name == *name)
    }

    /// What applying did. The change is in the wish already.
    pub(super) fn applied(&self, files: &PolicyFiles, change: &Change) -> Result<PoliciesApplied, netd_api::fault::Fault> {
        let mut before = self.desired.clone();
        before.apply(&change.reverse());
        netd_core::change::policy::applied(&before, files)
    }

    pub(super) fn policy_status(&mut self) -> Option<PolicyStatus> {
        let fill = self.policing.book.as_ref()?.fill();
        let tables = self.kernel.tables(fill);
        let evicted = self.evicted().map(|times| ("flows_evicted", times));
        Some(PolicyStatus {
            policies: self.desired.policies().len() as u64,
            audit: self.desired.policies().values().filter(|policy| policy.manner.audit).map(|policy| policy.name.clone()).collect(),
            default: match self.settings.policy_default {
                ByDefault::Allow => "allow",
                ByDefault::Deny => "deny",
            }
            .to_owned(),
            fast_path: self.settings.fast_path,
            own_hooks: self.own_hooks(),
            tables: tables.fill.into_iter().map(|(name, used, of)| netd_api::view::Fill { name: name.to_owned(), used, of }).collect(),
            events: tables.events.into_iter().chain(evicted).map(|(name, times)| (name.to_owned(), times)).collect(),
        })
    }

    /// What of policy is wanted and cannot be had.
    pub(super) fn policy_troubles(&self) -> Vec<Trouble> {
        let wanted = !self.desired.policies().is_empty() || self.settings.policy_default == ByDefault::Deny;
        if self.policing.book.is_some() || !wanted {
            return Vec::new();
        }
        let which = match self.desired.policies().len() {
            0 => "the default `deny` is".to_owned(),
            1 => "1 policy is".to_owned(),
            many => format!("{many} policies are"),
        };
        let what = format!("{which} not enforced: this netd runs no eBPF program");
        let hint = "see the feature ebpf above; until then everything passes but what programs of a former netd may still deny";
        vec![Trouble { what, hint: hint.to_owned() }]
    }
}

/// An error of the book or the maps in one line, for a fault.
pub(super) fn words(error: &Refused) -> String {
    chain(error)
}
