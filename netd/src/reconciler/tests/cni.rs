//! CNI runtimes' requests: whole or not at all, whatever fails; who may hold their ports; deletions that waited in files.

use std::{
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use netd_api::{
    cni::{CniAdded, CniChecked, CniCollected, CniKey, CniReadiness},
    fault::Code,
    message::{Reply, Request},
    publish::Protocol,
    view::Trouble,
};
use netd_core::{
    desired::Origin,
    objects::{Netns, Reservation},
};

use super::{Disks, FakeKernel, Reason, Reconciler, Stage, assert_nothing_to_do, json};
use crate::{
    kernel::{Holder, Kernel as _, Process},
    store::backend::Disk,
};

/// The namespace of a runtime's nth container.
pub(super) fn netns(n: u64) -> String {
    format!("/var/run/netns/cni-{n}")
}

pub(super) fn key(n: u64, ifname: &str) -> CniKey {
    json(&format!(r#"{{"config":"net","container":"cccccccccccc{n}","ifname":"{ifname}"}}"#))
}

/// An ADD for a runtime's nth container.
pub(super) fn add(n: u64, ifname: &str, more: &str) -> Request {
    let key = serde_json::to_string(&key(n, ifname)).unwrap();
    Request::CniAdd(Box::new(json(&format!(r#"{{"key":{key},"netns":"{}",{more}}}"#, netns(n)))))
}

/// A network with everything that one can have.
pub(super) fn inline() -> String {
    r#""network":{"inline":{"bridge":"cni0","masquerade":true,"gateway":true,"hairpin":true,"promiscuous":true,"icc":false,
        "addressing":{"sets":[[{"subnet":"10.88.0.0/24"}],[{"subnet":"fd00:88::/64"}]]}}}"#
        .to_owned()
}

pub(super) fn check(n: u64, ifname: &str) -> Request {
    let key = serde_json::to_string(&key(n, ifname)).unwrap();
    Request::CniCheck(Box::new(json(&format!(r#"{{"key":{key},"netns":"{}","addresses":[]}}"#, netns(n)))))
}

/// What CHECK finds wrong.
#[track_caller]
pub(super) fn wrong(daemon: &mut Reconciler<FakeKernel>, request: &Request) -> Vec<String> {
    match daemon.ask(request) {
        Ok(Reply::CniChecked(CniChecked { wrong })) => wrong,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn added(reply: Result<Reply, netd_api::fault::Fault>) -> CniAdded {
    match reply {
        Ok(Reply::CniAdded(added)) => *added,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_add_tells_what_it_made_its_check_is_clean_and_its_del_takes_it_all_away() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    let before = stage.kernel.world().objects.clone();
    let made = added(daemon.ask(&add(1, "eth0", &(inline() + r#","publish":["8080:80"]"#))));
    assert_eq!((made.network.as_str(), made.bridge.as_str(), made.mtu), ("net", "cni0", 1500));
    assert_eq!(made.addresses.iter().map(|one| one.net.to_string()).collect::<Vec<_>>(), ["10.88.0.2/24", "fd00:88::2/64"]);
    let world = stage.kernel.world().objects.clone();
    let veth = &world.veths[&made.host_ifname];
    assert_eq!((veth.mac, veth.peer.as_ref().unwrap().mac, world.bridges[&made.bridge].mac), (made.host_mac, made.mac, made.bridge_mac));
    assert_eq!(world.reservations, before.reservations, "the runtime's monitor may want to hold the port itself");
    assert_nothing_to_do(&mut daemon);
    assert_eq!(wrong(&mut daemon, &check(1, "eth0")), [] as [&str; 0]);
    assert_eq!(stage.kernel.world().objects, world, "CHECK mends nothing");

    for _ in 0..2 {
        assert_eq!(daemon.ask(&Request::CniDel(key(1, "eth0"))), Ok(Reply::Removed));
        assert_nothing_to_do(&mut daemon);
    }
    assert!(stage.kernel.world().objects.veths.is_empty());
    assert_eq!(daemon.ask(&check(1, "eth0")).unwrap_err().code, Code::NotFound);
    daemon.ask(&Request::RemoveNetwork("net".parse().unwrap())).unwrap();
    assert_eq!(stage.kernel.world().objects, before);
}

#[test]
fn gc_takes_what_is_not_valid_of_its_configuration_and_says_what() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    for n in 1..=3 {
        daemon.ask(&add(n, "eth0", &inline())).unwrap();
    }
    let other: Request = match add(4, "eth0", r#""network":{"named":"default"}"#) {
        Request::CniAdd(mut add) => {
            add.key.config = "other".parse().unwrap();
            Request::CniAdd(add)
        }
        _ => unreachable!("it is an ADD"),
    };
    daemon.ask(&other).unwrap();
    let gc = Request::CniGc(json(r#"{"config":"net","valid":[{"container":"cccccccccccc2","ifname":"eth0"}]}"#));
    let Ok(Reply::CniCollected(collected)) = daemon.ask(&gc) else { panic!("no answer") };
    assert_eq!(collected.removed, [key(1, "eth0"), key(3, "eth0")]);
    assert_eq!(daemon.desired.containers().keys().map(|id| id.as_str()).collect::<Vec<_>>(), ["cccccccccccc2", "cccccccccccc4"]);
    assert_nothing_to_do(&mut daemon);
}

#[test]
fn a_changed_configuration_reaches_the_containers_that_are_there() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    daemon.ask(&add(1, "eth0", &inline())).unwrap();
    let changed = inline().replace(r#""icc":false"#, r#""icc":true,"mtu":1400"#).replace(r#""masquerade":true"#, r#""masquerade":false"#);
    let made = added(daemon.ask(&add(2, "eth0", &changed)));
    assert_eq!(made.mtu, 1400);
    assert_nothing_to_do(&mut daemon);
    assert!(stage.kernel.world().objects.veths.values().all(|veth| veth.mtu == 1400 && !veth.isolated));
    daemon.kernel = stage.kernel.failing_at(1);
    let before = stage.kernel.world().objects.clone();
    daemon.ask(&add(3, "eth0", &inline())).unwrap_err();
    assert_eq!(stage.kernel.world().objects, before);
}

#[test]
fn a_container_that_was_lost_without_del_is_replaced() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    daemon.ask(&add(1, "eth0", &(inline() + r#","publish":["8080:80"]"#))).unwrap();
    let fault = daemon.ask(&add(1, "eth0", &inline())).unwrap_err();
    assert_eq!(fault.code, Code::BadInterface, "the same ADD twice: {fault:?}");
    stage.kernel.world().remove_netns(&netns(1));
    stage.kernel.world().add_stranger(&netns(1), 4_026_533_333);
    daemon.ask(&add(1, "eth0", &(inline() + r#","publish":["8080:80"]"#))).unwrap();
    assert_eq!(stage.kernel.world().objects.veths.len(), 1);
    let origin = &daemon.desired.containers().values().next().unwrap().origin;
    assert!(matches!(origin, Origin::Cni { id, .. } if id.ino == 4_026_533_333), "{origin:?}");
    assert_nothing_to_do(&mut daemon);
    assert_eq!(wrong(&mut daemon, &check(1, "eth0")), [] as [&str; 0]);
}

#[test]
fn a_namespace_that_went_is_noted_and_its_del_still_works() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    daemon.ask(&add(1, "eth0", &(inline() + r#","publish":["8080:80"]"#))).unwrap();
    stage.kernel.world().remove_netns(&netns(1));
    let found = wrong(&mut daemon, &check(1, "eth0"));
    assert!(found.iter().any(|what| what.contains(&netns(1))), "{found:?}");
    daemon.reconcile(&Reason::Timer);
    assert!(daemon.survey.last.as_ref().unwrap().failed.is_empty());
    assert_eq!(daemon.ask(&Request::CniDel(key(1, "eth0"))), Ok(Reply::Removed));
    assert!(daemon.desired.containers().is_empty());
    assert_nothing_to_do(&mut daemon);
    let fault = daemon.ask(&add(1, "eth0", &inline())).unwrap_err();
    assert_eq!(fault.code, Code::BadNamespace);
    assert!(fault.hint.contains("CNI_NETNS"), "{fault:?}");
}

#[test]
fn a_container_that_is_known_to_be_lost_is_attached_when_it_comes_again() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    daemon.ask(&add(1, "eth0", &inline())).unwrap();
    for ino in [4_026_533_333, 4_026_533_333] {
        stage.kernel.world().remove_netns(&netns(1));
        daemon.reconcile(&Reason::Timer);
        stage.kernel.world().add_stranger(&netns(1), ino);
        daemon.ask(&add(1, "eth0", &inline())).unwrap();
        assert_eq!(stage.kernel.world().objects.veths.len(), 1);
        assert_eq!(wrong(&mut daemon, &check(1, "eth0")), [] as [&str; 0]);
    }
    assert_nothing_to_do(&mut daemon);
}

#[test]
fn networks_of_a_namespace_that_went_unnoticed_are_left_one_by_one() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    daemon.ask(&add(1, "eth0", &(inline() + r#","publish":["8080:80"]"#))).unwrap();
    daemon.ask(&add(1, "eth1", r#""network":{"named":"default"},"publish":["8080:80"]"#)).unwrap();
    stage.kernel.world().remove_netns(&netns(1));
    assert_eq!(daemon.ask(&Request::CniDel(key(1, "eth0"))), Ok(Reply::Removed));
    assert_eq!(daemon.ask(&Request::CniGc(json(r#"{"config":"other","valid":[]}"#))), Ok(Reply::CniCollected(CniCollected::default())));
    assert_eq!(daemon.desired.containers().values().next().unwrap().attachments.len(), 1);
    assert_nothing_to_do(&mut daemon);
    assert_eq!(daemon.ask(&Request::CniDel(key(1, "eth1"))), Ok(Reply::Removed));
    assert!(daemon.desired.containers().is_empty() && daemon.desired.publishes().is_empty());
    assert_nothing_to_do(&mut daemon);
}

fn holder(line: &str, started_caller: bool) -> Holder {
    let words = format!("{} (pid 812)", line.split(' ').next().unwrap());
    Holder { words, processes: vec![Process { command_line: line.to_owned(), started_caller }] }
}

#[test]
fn a_stranger_on_a_host_port_is_named_and_the_runtime_and_its_monitor_may_be_there() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    let port = Reservation { protocol: Protocol::Tcp, address: None, port: 8081 };
    let request = add(1, "eth0", &(inline() + r#","publish":["8080-8082:80-82"]"#));
    let before = stage.kernel.world().objects.clone();
    stage.kernel.world().listeners = vec![(port, holder("conmon -c cccccccccccc1", false)), (port, holder("nginx -g off", false))];
    let fault = daemon.ask(&request).unwrap_err();
    assert_eq!(stage.kernel.world().scans, 1, "all ports at once");
    assert_eq!(fault.code, Code::PortTaken);
    assert!(fault.what.contains("8081") && fault.what.contains("nginx (pid 812)"), "{fault:?}");
    assert_eq!(stage.kernel.world().objects, before);
    assert!(daemon.desired.networks().is_empty());

    stage.kernel.world().listeners = vec![(port, holder("conmon -c cccccccccccc1", false)), (port, holder("podman run web", true))];
    daemon.ask(&request).unwrap();
    let fault = daemon.ask(&add(2, "eth0", &(inline() + r#","publish":["8082:80"]"#))).unwrap_err();
    assert_eq!(fault.code, Code::PortTaken);
    assert!(fault.what.contains("cccccccccccc"), "{fault:?}");
}

#[test]
fn a_port_of_our_choice_goes_around_strangers_too() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    let ports = 32768..32771;
    let listeners = ports.map(|port| (Reservation { protocol: Protocol::Tcp, address: None, port }, holder("nginx", false)));
    stage.kernel.world().listeners = listeners.collect();
    daemon.ask(&add(1, "eth0", &(inline() + r#","publish":["80"]"#))).unwrap();
    assert_eq!(daemon.desired.publishes().values().next().unwrap().host.first, 32771);
}

#[test]
fn status_says_what_is_in_the_way_of_all_containers() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    let ask = |daemon: &mut Reconciler<FakeKernel>, network: &str| match daemon
        .ask(&Request::CniStatus(Box::new(json(&format!(r#"{{"config":"net","network":{network}}}"#)))))
    {
        Ok(Reply::CniReadiness(readiness)) => readiness,
        other => panic!("{other:?}"),
    };
    assert_eq!(ask(&mut daemon, r#"{"named":"default"}"#), CniReadiness::default());
    assert!(ask(&mut daemon, r#"{"named":"missing"}"#).unable.is_some());
    let trouble = Trouble { what: "ufw drops what containers send".to_owned(), hint: "ufw route allow".to_owned() };
    stage.kernel.world().troubles = vec![trouble.clone()];
    assert_eq!(ask(&mut daemon, r#"{"named":"default"}"#), CniReadiness { unable: None, limited: vec![trouble] });
    assert!(daemon.desired.networks().is_empty(), "it only asks");
}

/// A disk that can be full.
#[derive(Debug)]
struct MaybeFull(File, Arc<AtomicBool>);

impl MaybeFull {
    fn room(&self) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) { Err(io::Error::from_raw_os_error(nix::libc::ENOSPC)) } else { Ok(()) }
    }
}

impl Disk for MaybeFull {
    fn len(&self) -> io::Result<u64> {
        Disk::len(&self.0)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        Disk::read(&self.0, offset, out)
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room().and_then(|()| Disk::write(&self.0, offset, data))
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room().and_then(|()| Disk::set_len(&self.0, len))
    }
    fn sync(&self) -> io::Result<()> {
        self.room()
    }
}

fn full_disks() -> (Arc<AtomicBool>, Disks) {
    let full = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&full);
    (full, Arc::new(move |file| Arc::new(MaybeFull(file, Arc::clone(&shared)))))
}

#[test]
fn what_cannot_be_written_down_is_not_done() {
    let stage = Stage::new();
    let (full, disks) = full_disks();
    let mut daemon = stage.daemon_on(&disks, stage.kernel.clone());
    daemon.ask(&add(1, "eth0", &inline())).unwrap();
    let (objects, desired) = (stage.kernel.world().objects.clone(), daemon.desired.clone());
    full.store(true, Ordering::SeqCst);
    for request in [add(2, "eth0", &inline()), Request::CniDel(key(1, "eth0")), Request::CniGc(json(r#"{"config":"net","valid":[]}"#))] {
        let fault = daemon.ask(&request).unwrap_err();
        assert_eq!(fault.code, Code::Store, "{fault:?}");
        assert_eq!(stage.kernel.world().objects, objects);
        assert!(daemon.desired == desired);
    }
    assert_eq!(wrong(&mut daemon, &check(1, "eth0")), [] as [&str; 0]);
    full.store(false, Ordering::SeqCst);
    daemon.ask(&add(2, "eth0", &inline())).unwrap();
    assert_nothing_to_do(&mut daemon);
}

impl Stage {
    /// A deletion that the plugin left while nobody answered.
    fn queue(&self, name: &str, key: &CniKey) -> std::path::PathBuf {
        let dir = self.disk.path().join("queue");
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join(name);
        fs::write(&path, serde_json::to_string(key).unwrap()).unwrap();
        path
    }
}

/// Three containers, of which two were detached while no daemon ran.
fn queued(stage: &Stage) -> [std::path::PathBuf; 3] {
    let mut daemon = stage.daemon(stage.kernel.clone());
    daemon.ask(&add(1, "eth0", &(inline() + r#","publish":["8080:80"]"#))).unwrap();
    daemon.ask(&add(1, "eth1", r#""network":{"named":"default"}"#)).unwrap();
    daemon.ask(&add(2, "eth0", &inline())).unwrap();
    daemon.ask(&add(3, "eth0", &inline())).unwrap();
    [stage.queue("a.json", &key(1, "eth1")), stage.queue("b.json", &key(1, "eth0")), stage.queue("c.json", &key(4, "eth0"))]
}

#[track_caller]
fn assert_replayed(stage: &Stage, daemon: &mut Reconciler<FakeKernel>, files: &[std::path::PathBuf]) {
    let left: Vec<_> = daemon.desired.containers().keys().map(|id| id.to_string()).collect();
    assert_eq!(left, ["cccccccccccc2", "cccccccccccc3"]);
    assert_nothing_to_do(daemon);
    assert_eq!(stage.kernel.world().objects.veths.len(), 2);
    assert!(files.iter().all(|path| !path.exists()));
}

#[test]
fn deletions_that_waited_are_carried_out_at_start_and_kill_9_at_any_step_loses_none() {
    let mut kills = 0;
    for (nth, after) in (0..).flat_map(|nth| [(nth, false), (nth, true)]) {
        let stage = Stage::new();
        let files = queued(&stage);
        let mut daemon = stage.daemon(stage.kernel.reopened());
        daemon.kernel = stage.kernel.killed_at(nth, after);
        let killed = catch_unwind(AssertUnwindSafe(|| daemon.replay())).is_err();
        kills += usize::from(killed);
        drop(daemon);
        let mut next = stage.daemon(stage.kernel.reopened());
        next.replay();
        assert_replayed(&stage, &mut next, &files);
        if !killed {
            break;
        }
    }
    assert!(kills > 8, "only {kills} kills were tried");
}

#[test]
fn deletions_that_waited_are_done_with_though_the_kernel_refuses_and_wait_on_while_the_disk_is_full() {
    let stage = Stage::new();
    let files = queued(&stage);
    let (full, disks) = full_disks();
    let mut daemon = stage.daemon_on(&disks, stage.kernel.reopened());
    full.store(true, Ordering::SeqCst);
    daemon.replay();
    assert!(files.iter().all(|path| path.exists()) && daemon.desired.containers().len() == 3);
    assert_nothing_to_do(&mut daemon);
    full.store(false, Ordering::SeqCst);
    daemon.kernel = stage.kernel.failing_at(0);
    daemon.replay();
    assert!(files.iter().all(|path| !path.exists()));
    daemon.reconcile(&Reason::Retry);
    assert_replayed(&stage, &mut daemon, &files);
}

#[test]
fn a_deletion_that_waited_comes_before_the_add_of_the_same_container() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    daemon.ask(&add(1, "eth0", &inline())).unwrap();
    let file = stage.queue("a.json", &key(1, "eth0"));
    daemon.ask(&add(1, "eth0", &inline())).unwrap();
    assert!(!file.exists());
    assert_eq!(stage.kernel.world().objects.veths.len(), 1);
    daemon.replay();
    assert_eq!(wrong(&mut daemon, &check(1, "eth0")), [] as [&str; 0]);
    assert_eq!(daemon.kernel.netns(&netns(1)).map(Netns::Adopted).as_ref(), stage.kernel.world().objects.netns.get(&netns(1)));
}

#[test]
fn the_port_of_a_container_that_its_runtime_lost_goes_to_the_next_that_asks_for_it() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    let with_port = inline() + r#","publish":["8080:80"]"#;
    daemon.ask(&add(1, "eth0", &with_port)).unwrap();
    let fault = daemon.ask(&add(2, "eth0", &with_port)).unwrap_err();
    assert_eq!(fault.code, Code::PortTaken, "{fault:?}");
    // Its namespace goes, and nobody has looked since.
    stage.kernel.world().remove_netns(&netns(1));
    daemon.ask(&add(2, "eth0", &with_port)).unwrap();
    let ports = daemon.desired.publishes();
    assert_eq!(ports.keys().map(|key| key.container.as_str()).collect::<Vec<_>>(), ["cccccccccccc2"]);
    daemon.reconcile(&Reason::Timer);
    assert_nothing_to_do(&mut daemon);
    assert_eq!(daemon.ask(&Request::CniDel(key(1, "eth0"))), Ok(Reply::Removed), "its DEL comes after all");
}
