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
    /// Keys that came (true) and went since they were last asked for.
    changes: Vec<(String, bool)>,
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

    /// A sysctl of the host is about to be set. It counts as one that came even if it was expected before: its interface may be a new one of
    /// the same name, whose file is another.
    pub(crate) fn sysctl(&self, key: &str, value: &str) {
        let mut inner = self.lock();
        inner.sysctls.insert(key.to_owned(), value.to_owned());
        inner.changes.push((key.to_owned(), true));
    }

    /// All of the host's sysctls that are wanted.
    pub(crate) fn sysctls(&self, wanted: &Objects) {
        let of_host = |(sysctl, value): (&Sysctl, &String)| (sysctl.ns == Ns::Host).then(|| (sysctl.key.clone(), value.clone()));
        let mut inner = self.lock();
        let before = std::mem::replace(&mut inner.sysctls, wanted.sysctls.iter().filter_map(of_host).collect());
        let gone: Vec<_> = before.keys().filter(|key| !inner.sysctls.contains_key(*key)).map(|key| (key.clone(), false)).collect();
        let come: Vec<_> = inner.sysctls.keys().filter(|key| !before.contains_key(*key)).map(|key| (key.clone(), true)).collect();
        inner.changes.extend(gone.into_iter().chain(come));
    }

    /// The keys that came (true) and went since the last time this was asked, in order.
    pub(crate) fn take_changes(&self) -> Vec<(String, bool)> {
        std::mem::take(&mut self.lock().changes)
    }

    /// What a sysctl should be; none where nobody cares.
    pub(crate) fn value(&self, key: &str) -> Option<String> {
        self.lock().sysctls.get(key).cloned()
    }

    /// The sysctls of an interface, or of `all`.
    pub(crate) fn keys_of(&self, interface: &str) -> Vec<String> {
        self.lock().keys_of(interface)
    }

    /// A link of the host's namespace is about to be deleted; its sysctls go with it.
    pub(crate) fn deletion(&self, index: u32, name: &str) {
        let mut inner = self.lock();
        let now = Instant::now();
        inner.deleting.retain(|(_, since)| now.duration_since(*since) < ECHO);
        inner.deleting.push_back((index, now));
        for key in inner.keys_of(name) {
            inner.sysctls.remove(&key);
            inner.changes.push((key, false));
        }
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

    /// Whether what an `nft` did may be ours. Ours makes one transaction, so one is taken for it, and the next is a stranger's.
    pub(crate) fn is_our_nft(&self) -> bool {
        self.lock().nft_ran.take().is_some_and(|ran| ran.elapsed() < ECHO)
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

impl Inner {
    fn keys_of(&self, interface: &str) -> Vec<String> {
        let of = |family: &str| {
            let start = format!("net/{family}/conf/{interface}/");
            self.sysctls.range(start.clone()..).map(|(key, _)| key.clone()).take_while(|key| key.starts_with(&start)).collect::<Vec<_>>()
        };
        [of("ipv4"), of("ipv6")].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sysctls_of_a_deleted_link_go_with_it_and_no_others() {
        let expected = Expected::default();
        for key in
            ["net/ipv4/conf/a.1/forwarding", "net/ipv4/conf/a/forwarding", "net/ipv6/conf/a/accept_ra", "net/ipv6/conf/all/forwarding"]
        {
            expected.sysctl(key, "1");
        }
        expected.take_changes();
        expected.deletion(3, "a");
        assert_eq!(expected.keys_of("a"), Vec::<String>::new());
        assert_eq!(expected.keys_of("a.1"), ["net/ipv4/conf/a.1/forwarding"]);
        assert_eq!(expected.take_changes().len(), 2);
        assert!(expected.deletes(3) && !expected.deletes(4));
    }
}
