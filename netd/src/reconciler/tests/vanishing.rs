//! A namespace that ends in the middle of a request: its links go between the look and the step that would take them away.

use std::{collections::BTreeSet, fs::File, net::IpAddr, sync::Arc};

use netd_api::{
    message::{Reply, Request},
    spec::Source,
    view::{Counters, ReasonView, Traffic},
};
use netd_core::{
    firewall::element::Publish,
    host::{Found, Host},
    objects::{NetnsId, Objects, Reservation},
    op::Op,
    policy::book::{Fill, steps::Write},
};

use super::{
    FakeKernel, Stage, assert_nothing_to_do,
    cni::{add, inline, key, netns},
};
use crate::{
    kernel::{ApplyError, AtHooks, Health, Holder, Kernel, KernelError, Look, ObserveError, Tables},
    reconciler::{Caller, Queue, Reconciler, Settings},
    store::{Store, database::Disks},
};

/// After its next look this namespace ends.
struct Vanishing(FakeKernel, Option<String>);

impl Kernel for Vanishing {
    fn observe(&mut self, look: Look<'_>) -> Result<Objects, ObserveError> {
        let seen = self.0.observe(look);
        if let Some(path) = self.1.take() {
            self.0.world().remove_netns(&path);
        }
        seen
    }
    fn apply(&mut self, op: &Op) -> Result<(), ApplyError> {
        self.0.apply(op)
    }
    fn settle(&mut self) {
        self.0.settle();
    }
    fn host(&mut self) -> Result<Host, ObserveError> {
        self.0.host()
    }
    fn find(&mut self, source: &Source) -> Result<Found, KernelError> {
        self.0.find(source)
    }
    fn netns(&mut self, path: &str) -> Option<NetnsId> {
        self.0.netns(path)
    }
    fn stranger(&mut self, ports: &[Reservation], caller: i32, is_stranger: &dyn Fn(&Holder) -> bool) -> Option<(Reservation, Holder)> {
        self.0.stranger(ports, caller, is_stranger)
    }
    fn count_at_hooks(&mut self) -> Option<u64> {
        self.0.count_at_hooks()
    }
    fn at_own_hooks(&mut self) -> Option<AtHooks> {
        self.0.at_own_hooks()
    }
    fn counters(&mut self, slot: u32) -> Option<Counters> {
        self.0.counters(slot)
    }
    fn reasons(&mut self, slot: u32) -> Vec<ReasonView> {
        self.0.reasons(slot)
    }
    fn policy_numbers(&mut self) -> Option<u32> {
        self.0.policy_numbers()
    }
    fn hold_policy(&mut self, entries: &[Write]) -> Result<(), KernelError> {
        self.0.hold_policy(entries)
    }
    fn inform(&mut self, hosts: &BTreeSet<IpAddr>, published: Option<&BTreeSet<Publish>>, fast_path: bool) -> Result<(), KernelError> {
        self.0.inform(hosts, published, fast_path)
    }
    fn hits(&mut self, rule: u32) -> Traffic {
        self.0.hits(rule)
    }
    fn tables(&mut self, book: Fill) -> Tables {
        self.0.tables(book)
    }
    fn health(&mut self) -> Health {
        self.0.health()
    }
}

#[test]
fn a_del_succeeds_though_the_namespace_ends_meanwhile() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    daemon.ask(&add(1, "eth0", &(inline() + r#","publish":["8080:80"]"#))).unwrap();
    drop(daemon);
    let disk = |name: &str| stage.disk.path().join(name);
    let disks: Disks = Arc::new(|file: File| Arc::new(file));
    let (store, desired) = Store::open_on(&disk("state"), &disk("run"), "boot-1", &disks).unwrap();
    let settings = Settings::default();
    let mut daemon = Reconciler::new(Vanishing(stage.kernel.clone(), Some(netns(1))), store, desired, settings, Queue::at(disk("queue")));
    let answer = daemon.answer(&Request::CniDel(key(1, "eth0")), Caller { uid: 0, pid: 4711 });
    assert_eq!(answer, Ok(Reply::Removed));
    drop(daemon);
    let mut daemon = stage.daemon(stage.kernel.reopened());
    assert!(daemon.desired.containers().is_empty() && stage.kernel.world().objects.veths.is_empty());
    assert_nothing_to_do(&mut daemon);
}
