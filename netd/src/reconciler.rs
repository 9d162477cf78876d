//! The one task that owns what is wanted: requests, drift and time come in, and the kernel is made to follow.
//! A plain thread: netlink answers in microseconds, so it waits for the kernel itself. Never listens on a socket.

pub mod ask;
mod answer;
mod carry;
mod held;
mod policy;
mod flows;
mod asks;
mod busy;
mod departed;
mod check;
mod queue;
mod fault;
mod survey;

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use netd_api::{
    cni::CniAdd,
    fault::{Code, Fault},
    message::{Reply, Request},
    publish::{PortRange, Protocol},
    spec::Source,
};
use netd_core::{
    busy::Busy,
    change::{self, Context, cni},
    desired::{Change, Desired, Edit},
    host::{Found, Host},
    ipam::PoolBase,
    policy::book::wish::ByDefault,
};
use tracing::{debug, info, warn};

pub use ask::{Ask, Asker, Caller, Event, SeenFlows};
pub use queue::Queue;
pub use survey::Reason;

use crate::{kernel::Kernel, observe::Observer, store::Store};

/// So many ports of strangers are gone around when a free one is chosen.
const MOST_BUSY: usize = 64;

/// What the reconciler is told once, at start or by a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where automatic subnets come from; where a family has none, the built-in ones.
    pub pools: Vec<PoolBase>,
    /// How often everything is looked at, for what no notification tells.
    pub check_every: Duration,
    /// What holds for containers that no policy selects.
    pub policy_default: ByDefault,
    /// Whether packets between containers of one network take the short way.
    pub fast_path: bool,
    /// Whether links that carry much get the programs at their own hooks.
    pub own_hooks: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { pools: Vec::new(), check_every: Duration::from_secs(30), policy_default: ByDefault::Allow, fast_path: true, own_hooks: true }
    }
}

/// The owner of the state.
pub struct Reconciler<K> {
    kernel: K,
    store: Store,
    desired: Desired,
    host: Host,
    settings: Settings,
    queue: Queue,
    started: Instant,
    survey: survey::Record,
    /// Why ports are degraded, by the reservation that failed.
    unheld: std::collections::BTreeMap<netd_core::objects::Reservation, String>,
    policing: policy::Policing,
    flows: flows::Flows,
    busy: Busy,
    /// When links are looked at for it again, since the start.
    busy_due: Duration,
}

impl<K: Kernel> Reconciler<K> {
    /// Takes over what the store remembers. The kernel is first looked at by [`Self::run`] or [`Self::reconcile`].
    pub fn new(kernel: K, store: Store, desired: Desired, settings: Settings, queue: Queue) -> Self {
        Self {
            kernel,
            store,
            desired,
            host: Host::default(),
            settings,
            queue,
            started: Instant::now(),
            survey: survey::Record::default(),
            unheld: std::collections::BTreeMap::new(),
            policing: policy::Policing::new(None),
            flows: flows::Flows::default(),
            busy: Busy::default(),
            busy_due: Duration::ZERO,
        }
    }

    /// Keeps the numbers of rules in this file, so that a restarted daemon goes on counting.
    #[must_use]
    pub fn with_numbers(mut self, path: PathBuf) -> Self {
        self.policing = policy::Policing::new(Some(path));
        self
    }

    /// Asks this one for flows.
    #[must_use]
    pub(crate) fn with_flows(mut self, observer: Option<Observer>) -> Self {
        self.flows = flows::Flows::of(observer);
        self
    }

    /// Works until told to stop. `ready` is called once the kernel is as wanted for the first time, as far as it can be.
    pub fn run(mut self, events: &Receiver<Event>, ready: impl FnOnce()) {
        match self.kernel.host() {
            Ok(host) => self.host = host,
            Err(error) => warn!(error = &error as &dyn std::error::Error, "the host could not be looked at yet"),
        }
        self.adopt_policies();
        self.reconcile(&Reason::Start);
        self.replay();
        ready();
        loop {
            self.look_for_busy_in_time();
            let wait = self.survey.next(self.settings.check_every).saturating_duration_since(Instant::now());
            if wait.is_zero() {
                self.hold_again();
                let reason = self.survey.due();
                self.reconcile(&reason);
                // A plugin that was killed may have left a deletion that reached us too, or did not.
                self.replay();
                continue;
            }
            match events.recv_timeout(wait) {
                Ok(Event::Ask(ask)) => {
                    debug!(request = ?ask.request, uid = ask.caller.uid, pid = ask.caller.pid, "asked");
                    let reply = self.answer(&ask.request, ask.caller);
                    // A client that has gone away does not want its answer any more.
                    let _gone = ask.answer.send(reply);
                }
                Ok(Event::KernelChanged(news)) => self.hear(news),
                Ok(Event::Reload(settings)) => {
                    info!("settings reloaded");
                    self.settings = settings;
                    self.resettle_policy();
                    self.busy_due = Duration::ZERO;
                }
                Ok(Event::Flows(seen)) => self.record_flows(seen.records, seen.lost),
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// The fault for the client; the wish and the kernel are then as they were before.
    pub fn answer(&mut self, request: &Request, caller: Caller) -> Result<Reply, Fault> {
        if matches!(request, Request::CniAdd(_)) {
            // A deletion that still waits came before this, and may be of the same container's former life.
            self.replay();
        }
        let reply = self.carried_out(request, caller);
        // Namespaces that were looked into are let go, also where nothing came of it.
        self.kernel.settle();
        reply
    }

    fn carried_out(&mut self, request: &Request, caller: Caller) -> Result<Reply, Fault> {
        if answer::may_choose_subnet(request, &self.desired) {
            // A route or address of a moment ago is told with a short delay; a subnet must not be chosen over it meanwhile.
            self.host = self.kernel.host().map_err(|error| fault::observe(&error))?;
        }
        let found = self.found(request)?;
        if let Request::CniAdd(add) = request {
            self.take_from_lost(add);
        }
        let pools = self.pools();
        let (mut busy, mut held) = (Vec::new(), Vec::new());
        loop {
            let context = Context { host: &self.host, pools: &pools, found: found.as_ref(), busy: &busy, held: &held };
            let change = change::change(&self.desired, request, context)?;
            self.can_enforce(&change)?;
            if *request == Request::Cleanup {
                return self.clean_up(&change).map_err(|refused| fault::refused(request, refused));
            }
            if change.edits.is_empty() {
                return self.reply(request, &change);
            }
            if let Some((published, port, holder)) = self.held(request, &change, caller.pid) {
                if !chosen_anew(&mut busy, request, published.protocol, published.host) {
                    // What has been decided was decided without knowing this; who decides also words the refusal.
                    if held.iter().any(|(known, _)| *known == port) {
                        return Err(fault::refused(request, carry::Refused::taken(port, holder)));
                    }
                    held.push((port, holder));
                }
                continue;
            }
            match self.carry_out(&change) {
                Ok(()) => return self.reply(request, &change),
                Err(carry::Refused::PortTaken { protocol, ports, .. }) if chosen_anew(&mut busy, request, protocol, ports) => {}
                Err(refused) => return Err(fault::refused(request, refused)),
            }
        }
    }

    /// A policy that cannot be enforced is refused, never silently without effect.
    fn can_enforce(&mut self, change: &Change) -> Result<(), Fault> {
        let wants = change.edits.iter().any(|edit| matches!(edit, Edit::Policy { after: Some(_), .. }));
        if !wants || self.policing.book.is_some() {
            return Ok(());
        }
        let features = self.kernel.health().features;
        let why =
            features.into_iter().find(|feature| feature.name == "ebpf").map_or_else(|| "no eBPF program runs".to_owned(), |ebpf| ebpf.note);
        Err(Fault::new(Code::Unsupported, format!("cannot enforce policies on this host: {why}"))
            .hint("nothing was applied; see `netctl status`, and restart netd when that is mended"))
    }

    /// Host ports of containers that their runtime has lost are free for the next that asks for them.
    fn take_from_lost(&mut self, add: &CniAdd) {
        for id in cni::in_the_way(&self.desired, add) {
            let Some(container) = self.desired.containers().get(&id).cloned() else { continue };
            let present = self.kernel.netns(&container.netns()) == container.origin.netns_id();
            self.desired.note_presence(&id, present);
        }
        let change = cni::give_up(&self.desired, add);
        if !change.edits.is_empty()
            && let Err(error) = self.carry_out(&change)
        {
            warn!(error = &error as &dyn std::error::Error, "ports of a lost container could not be taken from it");
        }
    }

    /// The namespace that a request is about, where somebody else made it.
    fn found(&mut self, request: &Request) -> Result<Option<Found>, Fault> {
        let source = match request {
            Request::CreateContainer(spec) if spec.netns != Source::Made => spec.netns.clone(),
            Request::Connect(name, _) => match self.desired.find(name) {
                Some(container) => Source::Path(container.netns()),
                None => return Ok(None),
            },
            Request::CniAdd(add) => Source::Path(add.netns.clone()),
            _ => return Ok(None),
        };
        self.kernel.find(&source).map(Some).map_err(|error| fault::namespace(request, &error))
    }

    fn pools(&self) -> Vec<PoolBase> {
        let mut pools = self.settings.pools.clone();
        if !pools.iter().any(|pool| pool.base.addr().is_ipv4()) {
            pools.extend(netd_core::ipam::default_v4());
        }
        if !pools.iter().any(|pool| pool.base.addr().is_ipv6()) {
            pools.extend(netd_core::ipam::default_v6(self.host.seed));
        }
        pools
    }
}

/// Notes ports as busy that were our choice, so that others are chosen: a free one was to be chosen, and a stranger has the one that was.
fn chosen_anew(busy: &mut Vec<(Protocol, PortRange)>, request: &Request, protocol: Protocol, ports: PortRange) -> bool {
    let anew = busy.len() < MOST_BUSY && answer::chosen_by_us(request, protocol, ports);
    if anew {
        busy.push((protocol, ports));
    }
    anew
}

#[cfg(test)]
mod tests;
