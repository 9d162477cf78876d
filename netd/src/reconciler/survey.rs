//! Looks at everything, at start, on drift and now and then, and mends what is not as wanted. Goes on after a step that fails.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use netd_api::{message::Reply, names::ContainerId, view::Cleanup};
use netd_core::{
    desired::{Change, Origin},
    expand::{self, Parts, Scope},
    objects::{Objects, Reservation},
    op::Op,
    plan::{self, Plan},
};
use tracing::{debug, info, warn};

use super::{Reconciler, carry::Refused};
use crate::kernel::{Kernel, KernelError, Look, News, ObserveError, memory};

/// What set a survey off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The daemon started.
    Start,
    /// Somebody changed something that concerns us; what.
    Drift(String),
    /// Nothing was heard for a while.
    Timer,
    /// A step failed the last time.
    Retry,
    /// Somebody asked for everything of ours to go.
    Cleanup,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Drift(_) => "drift",
            Self::Timer => "timer",
            Self::Retry => "retry",
            Self::Cleanup => "cleanup",
        })
    }
}

/// What the surveys so far have found.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) last: Option<Last>,
    /// Objects mended because somebody else had changed them.
    pub(super) drift_repaired: u64,
    /// Failed surveys in a row.
    failures: u32,
    retry_at: Option<Instant>,
}

/// The last survey.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) reason: String,
    pub(super) ended: Instant,
    pub(super) took: Duration,
    pub(super) done: u64,
    pub(super) failed: Vec<String>,
}

/// The first retry comes after this; each further one after twice as long, up to the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A survey that changed something is followed by another look, as one change may uncover the next; but not for ever.
const ROUNDS: usize = 3;

impl Record {
    /// When the next survey is due.
    pub(super) fn next(&self, check_every: Duration) -> Instant {
        let check = self.last.as_ref().map_or_else(Instant::now, |last| last.ended + check_every);
        self.retry_at.map_or(check, |retry| retry.min(check))
    }
    /// Why the survey that is due now is.
    pub(super) fn due(&self) -> Reason {
        if self.retry_at.is_some_and(|at| at <= Instant::now()) { Reason::Retry } else { Reason::Timer }
    }
    /// Asks for another try soon.
    pub(super) fn retry(&mut self) {
        let wait = RETRY.0.saturating_mul(1 << self.failures.min(16)).min(RETRY.1);
        self.failures += 1;
        self.retry_at = Some(Instant::now() + wait);
    }
}

impl<K: Kernel> Reconciler<K> {
    /// Makes the kernel as wanted, as far as it can be.
    pub fn reconcile(&mut self, reason: &Reason) {
        let began = Instant::now();
        debug!(%reason, news = ?reason, "survey");
        self.survey.retry_at = None;
        let (mut done, mut failed) = (0, Vec::new());
        for _ in 0..ROUNDS {
            match self.round(reason) {
                Ok((0, errors)) => {
                    failed = errors;
                    break;
                }
                Ok((steps, errors)) => {
                    done += steps;
                    failed = errors;
                    if !failed.is_empty() {
                        break;
                    }
                }
                Err(error) => {
                    failed = vec![chain(&error)];
                    break;
                }
            }
        }
        self.kernel.settle();
        memory::give_back();
        if *reason != Reason::Start {
            self.survey.drift_repaired += done;
        }
        for what in &failed {
            warn!(%reason, what, "could not make the kernel as wanted; it will be tried again");
        }
        if failed.is_empty() {
            self.survey.failures = 0;
        } else {
            self.survey.retry();
        }
        let took = began.elapsed();
        if done > 0 {
            info!(%reason, done, failed = failed.len(), took_ms = took.as_millis(), "kernel made as wanted");
        }
        self.survey.last = Some(Last { reason: reason.to_string(), ended: Instant::now(), took, done, failed });
    }

    /// Looks whether news is drift: where it is about attachments only, at these alone, so that the echo of our own steps costs the same
    /// however many containers there are.
    pub(super) fn hear(&mut self, news: News) {
        let containers: BTreeSet<_> = news.only.iter().filter_map(|link| self.desired.container_at(link)).cloned().collect();
        if !news.only.is_empty() && self.are_as_wanted(containers) {
            debug!(words = news.words, "no drift");
            return;
        }
        self.reconcile(&Reason::Drift(news.words));
    }

    fn are_as_wanted(&mut self, containers: BTreeSet<ContainerId>) -> bool {
        if containers.is_empty() {
            return true;
        }
        let wanted = expand::expand(&self.desired, &self.host, &Scope::Parts(Parts { containers, ..Parts::default() }));
        let observed = self.kernel.observe(Look::At(&wanted));
        self.kernel.settle();
        observed.is_ok_and(|observed| plan::plan(&wanted, &observed).is_empty())
    }

    /// One look and what it leads to: how many steps were done, and which failed.
    fn round(&mut self, reason: &Reason) -> Result<(u64, Vec<String>), ObserveError> {
        self.host = self.kernel.host()?;
        self.note_absence();
        let (plan, observed, wanted) = self.plan_everything()?;
        let informed = self.inform(&wanted);
        let originals = plan::remember(&plan, &observed, &wanted, |sysctl| self.desired.originals().contains_key(sysctl));
        let plan = if originals.edits.is_empty() {
            plan
        } else {
            self.desired.apply(&originals);
            if let Err(error) = self.store.commit(&originals.edits) {
                self.desired.apply(&originals.reverse());
                return Ok((0, vec![chain(&error)]));
            }
            self.plan_everything()?.0
        };
        let (done, mut failed) = self.carry_on(&plan, reason);
        if let Err(error) = informed {
            failed.push(chain(&error));
        }
        if failed.is_empty()
            && let Err(error) = self.forget_given_back()
        {
            failed.push(chain(&error));
        }
        Ok((done, failed))
    }

    /// What is not as wanted now.
    pub(super) fn plan_everything(&mut self) -> Result<(Plan, Objects, Objects), ObserveError> {
        let wanted = expand::expand(&self.desired, &self.host, &Scope::Everything);
        let observed = self.kernel.observe(Look::Everything(&wanted))?;
        let mut plan = plan::plan(&wanted, &observed);
        // A port that a stranger holds stays published; it is tried again only when the stranger may have let go.
        self.without_unheld(&mut plan);
        Ok((plan, observed, wanted))
    }

    /// Does all steps that can be done. What stands on a link that could not be made waits for it: its name may be a stranger's link now.
    fn carry_on(&mut self, plan: &Plan, reason: &Reason) -> (u64, Vec<String>) {
        let (mut done, mut failed) = (0, Vec::new());
        let mut not_done: Vec<&Op> = Vec::new();
        for op in &plan.ops {
            if not_done.iter().any(|failed| op.needs(failed)) {
                not_done.push(op);
                continue;
            }
            match self.kernel.apply(op) {
                Ok(()) => {
                    done += 1;
                    match reason {
                        Reason::Start | Reason::Cleanup => debug!(%op, "step"),
                        _ => info!(%op, %reason, "mended"),
                    }
                }
                Err(error) => match (op, &error.cause) {
                    (Op::Reserve(port), KernelError::PortTaken { holder }) => {
                        warn!(%port, holder, "a published port is held by somebody else; it still leads to its container");
                        self.unheld.insert(*port, holder.clone());
                    }
                    _ => {
                        not_done.push(op);
                        failed.push(chain(&error));
                    }
                },
            }
        }
        (done, failed)
    }

    /// Finds out whose namespaces have gone or come back.
    fn note_absence(&mut self) {
        let adopted = self.desired.containers().values().filter_map(|container| match &container.origin {
            Origin::Adopted { path, id } | Origin::Cni { path, id, .. } => Some((container.id.clone(), path.clone(), *id)),
            Origin::Made => None,
        });
        for (container, path, id) in adopted.collect::<Vec<_>>() {
            let present = self.kernel.netns(&path) == Some(id);
            if self.desired.note_presence(&container, present) {
                info!(%container, present, "container's namespace changed");
            }
        }
    }

    /// Leaves out the ports that strangers hold: nothing of ours fails because of them.
    pub(super) fn without_unheld(&self, plan: &mut Plan) {
        plan.ops.retain(|op| !matches!(op, Op::Reserve(port) if self.unheld.contains_key(port)));
    }

    /// Tries again to hold the ports that strangers held.
    pub(super) fn hold_again(&mut self) {
        let ports: BTreeSet<Reservation> = self.unheld.keys().copied().collect();
        for port in ports {
            if self.kernel.apply(&Op::Reserve(port)).is_ok() {
                self.unheld.remove(&port);
            }
        }
    }

    /// Forgets everything wanted and takes every object of ours away, as far as that can be done.
    pub(super) fn clean_up(&mut self, change: &Change) -> Result<Reply, Refused> {
        self.desired.apply(change);
        if let Err(error) = self.store.commit(&change.edits).and_then(|()| self.store.settle()) {
            self.desired.apply(&change.reverse());
            return Err(Refused::Store(error));
        }
        self.unheld.clear();
        let before = self.survey.drift_repaired;
        self.reconcile(&Reason::Cleanup);
        if let Err(error) = self.enforce_after(change) {
            warn!(error = &error as &dyn std::error::Error, "could not forget whom policies spoke of; it is tried again");
            self.survey.retry();
        }
        let removed = self.survey.drift_repaired - before;
        self.survey.drift_repaired = before;
        Ok(Reply::Cleanup(Cleanup { removed, failed: self.survey.last.iter().flat_map(|last| last.failed.clone()).collect() }))
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
