//! What our own steps lead to, so that their notifications are not taken for somebody else's doing. Shared between the steps and the watch;
//! never decides what is wanted.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use netd_core::objects::{Ns, Objects, Sysctl};

/// How long after a step its notifications may still come: the kernel sends some of a deletion's only when it has been through RCU.
const ECHO: Duration = Duration::from_secs(2);
/// So many sockets are remembered: each plan opens one for each namespace it works on.
const PORTS: usize = 4096;

/// What is expected.
#[derive(Clone, Default)]
pub(crate) struct Expected(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// The host's sysctls as they should be.
    sysctls: BTreeMap<String, String>,
    /// Counts changes to the keys above.
    generation: u64,
    /// Numbers of links that we delete.
    deleting: VecDeque<(u32, Instant)>,
    /// Netlink ports of our sockets, old ones first.
    ports: VecDeque<u32>,
    /// When `nft` was last run by us.
    nft_ran: Option<Instant>,
    /// Whether others' firewall rules were changed since they were last read.
    rules_changed: bool,
}

impl Expected {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sysctl of the host is about to be set.
    pub(crate) fn sysctl(&self, key: &str, value: &str) {
        let mut inner = self.lock();
        if inner.sysctls.insert(key.to_owned(), value.to_owned()).is_none() {
            inner.generation += 1;
        }
    }

    /// All of the host's sysctls that are wanted.
    pub(crate) fn sysctls(&self, wanted: &Objects) {
        let of_host = |(sysctl, value): (&Sysctl, &String)| (sysctl.ns == Ns::Host).then(|| (sysctl.key.clone(), value.clone()));
        let mut inner = self.lock();
        inner.sysctls = wanted.sysctls.iter().filter_map(of_host).collect();
        inner.generation += 1;
    }

    /// The sysctls to watch, if they are others than at this generation; and the generation.
    pub(crate) fn watched(&self, generation: u64) -> Option<(u64, Vec<String>)> {
        let inner = self.lock();
        (inner.generation != generation).then(|| (inner.generation, inner.sysctls.keys().cloned().collect()))
    }

    /// What a sysctl should be; none where nobody cares.
    pub(crate) fn value(&self, key: &str) -> Option<String> {
        self.lock().sysctls.get(key).cloned()
    }

    /// The sysctls of an interface, or of `all`.
    pub(crate) fn keys_of(&self, interface: &str) -> Vec<String> {
        let part = format!("/conf/{interface}/");
        self.lock().sysctls.keys().filter(|key| key.contains(&part)).cloned().collect()
    }

    /// A link of the host's namespace is about to be deleted; its sysctls go with it.
    pub(crate) fn deletion(&self, index: u32, name: &str) {
        let part = format!("/conf/{name}/");
        let mut inner = self.lock();
        let now = Instant::now();
        inner.deleting.retain(|(_, since)| now.duration_since(*since) < ECHO);
        inner.deleting.push_back((index, now));
        inner.sysctls.retain(|key, _| !key.contains(&part));
        inner.generation += 1;
    }

    /// Whether we delete this link, or did so a moment ago.
    pub(crate) fn deletes(&self, index: u32) -> bool {
        let now = Instant::now();
        self.lock().deleting.iter().any(|(other, since)| *other == index && now.duration_since(*since) < ECHO)
    }

    /// A socket of ours: the kernel names it in most notifications of what it asked for.
    pub(crate) fn port(&self, port: u32) {
        let mut inner = self.lock();
        if inner.ports.len() == PORTS {
            inner.ports.pop_front();
        }
        inner.ports.push_back(port);
    }

    /// Whether a notification is of something that we asked for; 0 is the kernel itself.
    pub(crate) fn is_ours(&self, port: u32) -> bool {
        port != 0 && self.lock().ports.contains(&port)
    }

    /// `nft` is about to be run, or was a moment ago: a process, so its socket is not known.
    pub(crate) fn nft(&self) {
        self.lock().nft_ran = Some(Instant::now());
    }

    /// Whether what an `nft` did may be ours.
    pub(crate) fn is_our_nft(&self) -> bool {
        self.lock().nft_ran.is_some_and(|ran| ran.elapsed() < ECHO)
    }

    /// Somebody changed firewall rules that are not ours.
    pub(crate) fn others_rules_changed(&self) {
        self.lock().rules_changed = true;
    }

    /// Whether that happened since the last time this was asked.
    pub(crate) fn take_others_rules(&self) -> bool {
        std::mem::take(&mut self.lock().rules_changed)
    }
}
