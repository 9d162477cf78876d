//! The one task that owns what is wanted: requests, drift and time come in, and the kernel is made to follow.
//! A plain thread: netlink answers in microseconds, so it waits for the kernel itself. Never listens on a socket.

pub mod ask;
mod answer;
mod carry;
mod fault;
mod survey;

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use netd_api::{
    fault::Fault,
    message::{Reply, Request},
    spec::Source,
};
use netd_core::{
    change::{self, Context},
    desired::Desired,
    host::{Found, Host},
    ipam::PoolBase,
};
use tracing::{debug, info};

pub use ask::{Ask, Asker, Caller, Event};
pub use survey::Reason;

use crate::{kernel::Kernel, store::Store};

/// What the reconciler is told once, at start or by a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where automatic subnets come from; where a family has none, the built-in ones.
    pub pools: Vec<PoolBase>,
    /// How often everything is looked at, for what no notification tells.
    pub check_every: Duration,
}

/// The owner of the state.
pub struct Reconciler<K> {
    kernel: K,
    store: Store,
    desired: Desired,
    host: Host,
    settings: Settings,
    started: Instant,
    survey: survey::Record,
    /// Why ports are degraded, by the reservation that failed.
    unheld: std::collections::BTreeMap<netd_core::objects::Reservation, String>,
}

impl<K: Kernel> Reconciler<K> {
    /// Takes over what the store remembers. The kernel is first looked at by [`Self::run`] or [`Self::reconcile`].
    pub fn new(kernel: K, store: Store, desired: Desired, settings: Settings) -> Self {
        Self {
            kernel,
            store,
            desired,
            host: Host::default(),
            settings,
            started: Instant::now(),
            survey: survey::Record::default(),
            unheld: std::collections::BTreeMap::new(),
        }
    }

    /// Works until told to stop. `ready` is called once the kernel is as wanted for the first time, as far as it can be.
    pub fn run(mut self, events: &Receiver<Event>, ready: impl FnOnce()) {
        self.reconcile(&Reason::Start);
        ready();
        loop {
            let wait = self.survey.next(self.settings.check_every).saturating_duration_since(Instant::now());
            if wait.is_zero() {
                self.hold_again();
                let reason = self.survey.due();
                self.reconcile(&reason);
                continue;
            }
            match events.recv_timeout(wait) {
                Ok(Event::Ask(ask)) => {
                    debug!(request = ?ask.request, uid = ask.caller.uid, pid = ask.caller.pid, "asked");
                    let reply = self.answer(&ask.request);
                    // A client that has gone away does not want its answer any more.
                    let _gone = ask.answer.send(reply);
                }
                Ok(Event::KernelChanged(news)) => self.hear(news),
                Ok(Event::Reload(settings)) => {
                    info!("settings reloaded");
                    self.settings = settings;
                }
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// The fault for the client; the wish and the kernel are then as they were before.
    pub fn answer(&mut self, request: &Request) -> Result<Reply, Fault> {
        if answer::may_choose_subnet(request) {
            // A route or address of a moment ago is told with a short delay; a subnet must not be chosen over it meanwhile.
            self.host = self.kernel.host().map_err(|error| fault::observe(&error))?;
        }
        let found = self.found(request)?;
        let mut busy = Vec::new();
        loop {
            let pools = self.pools();
            let context = Context { host: &self.host, pools: &pools, found: found.as_ref(), busy: &busy, held: &[] };
            let change = change::change(&self.desired, request, context)?;
            if *request == Request::Cleanup {
                return self.clean_up(&change).map_err(|refused| fault::refused(request, refused));
            }
            if change.edits.is_empty() {
                return self.reply(request, &change);
            }
            match self.carry_out(&change) {
                Ok(()) => return self.reply(request, &change),
                // A free host port was to be chosen, and a stranger has the one that was: the next one may be free.
                Err(carry::Refused::PortTaken { protocol, ports, .. })
                    if busy.len() < 64 && answer::chosen_by_us(request, protocol, ports) =>
                {
                    busy.push((protocol, ports));
                }
                Err(refused) => return Err(fault::refused(request, refused)),
            }
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

#[cfg(test)]
mod tests;
