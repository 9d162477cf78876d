//! The loop against a kernel in memory: every step of every request fails once and is killed once, and drift of every kind is mended.

mod cni;
mod check;
mod flows;
mod policy;
mod refused;
mod vanishing;
mod walk;

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use netd_api::{
    fault::{Code, Fault},
    message::{Reply, Request},
    spec::ContainerSpec,
};
use netd_core::{
    host::{Features, Host, Uplink},
    objects::{Ns, Reservation, Sysctl},
};
use tempfile::TempDir;

use super::{Caller, Queue, Reason, Reconciler, Settings};
use crate::{
    kernel::fake::{FakeKernel, KILLED},
    store::{Store, database::Disks},
};

/// A host with one uplink, and a disk.
struct Stage {
    disk: TempDir,
    kernel: FakeKernel,
}

impl Stage {
    fn new() -> Self {
        let families = netd_api::addr::Family::BOTH.into_iter().collect();
        let uplink = Uplink { mtu: 1500, families, lives_from_ra: true };
        let host = Host {
            uplinks: [("up0".parse().unwrap(), uplink)].into(),
            ephemeral: (32768, 60999),
            features: Features { ipv6: true, force_forwarding: true, datapath: true, sctp_sockets: true, sysctls: true },
            ..Host::default()
        };
        let kernel = FakeKernel::with_host(host);
        for (key, value) in [("ipv4/conf/up0/forwarding", "0"), ("ipv6/conf/up0/force_forwarding", "0"), ("ipv6/conf/up0/accept_ra", "1")] {
            let sysctl = Sysctl { ns: Ns::Host, key: format!("net/{key}") };
            kernel.world().objects.sysctls.insert(sysctl, value.to_owned());
        }
        kernel.world().add_stranger("/proc/7/ns/net", 4_026_531_999);
        for n in 1..=4 {
            kernel.world().add_stranger(&cni::netns(n), 4_026_532_000 + n);
        }
        // In memory where that is possible: what a sync is worth is tried by the store.
        let disk = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self { disk, kernel }
    }

    /// Starts a daemon on this host.
    fn daemon(&self, kernel: FakeKernel) -> Reconciler<FakeKernel> {
        let disks: Disks = Arc::new(|file: File| Arc::new(file));
        self.daemon_on(&disks, kernel)
    }

    /// The same with disks of its own.
    fn daemon_on(&self, disks: &Disks, kernel: FakeKernel) -> Reconciler<FakeKernel> {
        let (store, desired) = Store::open_on(&self.disk.path().join("state"), &self.disk.path().join("run"), "boot-1", disks).unwrap();
        let settings = Settings::default();
        let mut daemon = Reconciler::new(kernel, store, desired, settings, Queue::at(self.disk.path().join("queue")));
        daemon.host = self.kernel.world().host.clone();
        daemon.adopt_policies();
        daemon.reconcile(&Reason::Start);
        assert!(daemon.survey.last.as_ref().unwrap().failed.is_empty(), "{:?}", daemon.survey.last);
        daemon
    }
}

impl Reconciler<FakeKernel> {
    /// Asks as root does.
    fn ask(&mut self, request: &Request) -> Result<Reply, Fault> {
        self.answer(request, Caller { uid: 0, pid: 4711 })
    }
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

/// A day in the life: each request works after the ones before.
fn script() -> Vec<Request> {
    let name = |name: &str| name.parse().unwrap();
    vec![
        Request::CreateNetwork(json(r#"{"name":"web","subnets":["10.9.0.0/24","fd00:9::/64"]}"#)),
        Request::CreateNetwork(json(r#"{"name":"back","internal":true,"icc":false}"#)),
        Request::CreateContainer(json(
            r#"{"name":"a","networks":[{"network":"web"},{"network":"back"}],"publish":["8080:80","5353:53/udp","9000-9002:90-92"]}"#,
        )),
        Request::CreateContainer(json(r#"{"name":"b","netns":{"pid":7},"networks":[{"network":"web","mac":"02:00:00:00:00:07"}]}"#)),
        Request::Publish(name("b"), "127.0.0.1:8081:80".parse().unwrap()),
        Request::CreateContainer(ContainerSpec::named("c".parse().unwrap())),
        Request::Connect(name("c"), json(r#"{"network":"web","addresses":["10.9.0.77"]}"#)),
        Request::Publish(name("c"), "80".parse().unwrap()),
        Request::Disconnect(name("c"), "default".parse().unwrap(), None),
        Request::ChangeContainer(name("c"), json(r#"{"labels":{"app":"c"}}"#)),
        Request::Unpublish(name("a"), Some("8080:80".parse().unwrap())),
        Request::RemoveContainer(name("a")),
        Request::RemoveContainer(name("b")),
        Request::PruneNetworks,
        Request::Cleanup,
    ]
}

/// The same with containers of a runtime.
fn script_of_a_runtime() -> Vec<Request> {
    vec![
        Request::CreateNetwork(json(r#"{"name":"web","subnets":["10.9.0.0/24","fd00:9::/64"]}"#)),
        cni::add(
            1,
            "eth0",
            &(cni::inline()
                + r#","publish":["8080:80"],"bandwidth":{"ingress":{"bits_per_second":8000},"egress":{"bits_per_second":8000}}"#),
        ),
        cni::add(1, "eth1", r#""network":{"named":"web"},"publish":["8080:80","7001:80"],"sysctls":{"net/ipv4/conf/eth1/arp_ignore":"1"}"#),
        cni::add(2, "eth0", &cni::inline()),
        cni::add(3, "eth0", r#""network":{"named":"default"},"routes":[{"dst":"10.99.0.0/16"}]"#),
        cni::add(4, "eth0", &cni::inline().replace(r#""icc":false"#, r#""icc":true"#)),
        Request::CniGc(json(
            r#"{"config":"net","valid":[{"container":"cccccccccccc1","ifname":"eth0"},{"container":"cccccccccccc1","ifname":"eth1"}]}"#,
        )),
        Request::CniDel(cni::key(1, "eth0")),
        Request::PruneNetworks,
        Request::Cleanup,
    ]
}

fn scripts() -> [Vec<Request>; 2] {
    [script(), script_of_a_runtime()]
}

#[track_caller]
fn assert_nothing_to_do(daemon: &mut Reconciler<FakeKernel>) {
    let (plan, ..) = daemon.plan_everything().unwrap();
    assert!(plan.is_empty(), "something is left to do:\n{plan}");
    policy::assert_true(daemon);
}

#[test]
fn every_request_leaves_nothing_to_do_and_the_last_one_leaves_nothing() {
    for script in scripts() {
        let stage = Stage::new();
        let before = stage.kernel.world().objects.clone();
        let mut daemon = stage.daemon(stage.kernel.clone());
        for request in script {
            daemon.ask(&request).unwrap_or_else(|fault| panic!("{request:?}: {fault:?}"));
            assert_nothing_to_do(&mut daemon);
        }
        assert_eq!(stage.kernel.world().objects, before);
    }
}

#[test]
fn a_step_that_fails_undoes_its_request_whichever_it_is() {
    let mut failures = 0;
    let scripts = scripts();
    for (script, at) in scripts.iter().flat_map(|script| (0..script.len() - 1).map(move |at| (script, at))) {
        for nth in 0.. {
            let stage = Stage::new();
            let mut daemon = stage.daemon(stage.kernel.clone());
            for request in &script[..at] {
                daemon.ask(request).unwrap();
            }
            let (kernel, desired) = (stage.kernel.world().objects.clone(), daemon.desired.clone());
            daemon.kernel = stage.kernel.failing_at(nth);
            let request = &script[at];
            match daemon.ask(request) {
                Ok(_) => break, // it has fewer steps than that
                Err(fault) => assert_eq!(fault.code, Code::Kernel, "{fault:?}"),
            }
            failures += 1;
            assert_eq!(stage.kernel.world().objects, kernel, "{request:?}, step {nth}");
            assert!(daemon.desired == desired, "{request:?}, step {nth}");
            drop(daemon);
            let mut next = stage.daemon(stage.kernel.reopened());
            assert!(next.desired == desired, "{request:?}, step {nth}, after a restart");
            assert_nothing_to_do(&mut next);
        }
    }
    assert!(failures > 160, "only {failures} steps were tried");
}

#[test]
fn kill_9_at_any_step_leaks_nothing_and_loses_nothing() {
    let mut kills = 0;
    let scripts = scripts();
    for (script, at) in scripts.iter().flat_map(|script| (0..script.len()).map(move |at| (script, at))) {
        for (nth, after) in (0..).flat_map(|nth| [(nth, false), (nth, true)]) {
            let stage = Stage::new();
            let mut daemon = stage.daemon(stage.kernel.clone());
            for request in &script[..at] {
                daemon.ask(request).unwrap();
            }
            let before = daemon.desired.clone();
            daemon.kernel = stage.kernel.killed_at(nth, after);
            let request = &script[at];
            match catch_unwind(AssertUnwindSafe(|| daemon.ask(request).map(drop))) {
                Ok(answer) => {
                    answer.unwrap();
                    break;
                }
                Err(panic) => assert!(
                    panic.downcast_ref::<String>().is_some_and(|text| text.contains(KILLED))
                        || panic.downcast_ref::<&str>().is_some_and(|text| text.contains(KILLED))
                ),
            }
            kills += 1;
            let wished = daemon.desired.clone();
            drop(daemon);
            let mut next = stage.daemon(stage.kernel.reopened());
            assert!(next.desired == before || next.desired == wished || *request == Request::Cleanup, "{request:?}, step {nth}");
            assert_nothing_to_do(&mut next);
        }
    }
    assert!(kills > 320, "only {kills} kills were tried");
}

#[test]
fn a_port_that_a_stranger_took_while_no_daemon_ran_stays_published_and_is_shown_as_degraded() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    for request in &script()[..3] {
        daemon.ask(request).unwrap();
    }
    drop(daemon);
    let port = Reservation { protocol: netd_api::publish::Protocol::Tcp, address: None, port: 8080 };
    stage.kernel.world().strangers.push((port, "nginx (pid 812)".to_owned()));
    let mut daemon = stage.daemon(stage.kernel.reopened());
    let Ok(netd_api::message::Reply::Ports(ports)) = daemon.ask(&Request::Ports(None)) else { panic!("no ports") };
    let degraded: Vec<_> = ports.iter().filter(|port| port.state == netd_api::view::PortState::Degraded).collect();
    assert_eq!(degraded.len(), 1);
    assert!(degraded[0].note.contains("nginx (pid 812)"), "{}", degraded[0].note);
    assert_nothing_to_do(&mut daemon);
    stage.kernel.world().strangers.clear();
    daemon.hold_again();
    assert!(stage.kernel.world().objects.reservations.contains(&port));
}

#[test]
fn a_port_that_a_stranger_holds_is_refused_by_name_and_nothing_is_made() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    daemon.ask(&script()[0]).unwrap();
    let before = stage.kernel.world().objects.clone();
    let port = Reservation { protocol: netd_api::publish::Protocol::Udp, address: None, port: 5353 };
    stage.kernel.world().strangers.push((port, "avahi-daemon (pid 9)".to_owned()));
    let request = Request::CreateContainer(json(r#"{"name":"x","networks":[{"network":"web"}],"publish":["8080:80","5353:53/udp"]}"#));
    let fault = daemon.ask(&request).unwrap_err();
    assert_eq!(fault.code, Code::PortTaken);
    assert!(fault.what.contains("port 5353/udp is in use by avahi-daemon (pid 9)"), "{}", fault.what);
    assert_eq!(stage.kernel.world().objects, before);
}

#[test]
fn a_free_port_is_chosen_around_those_that_strangers_hold() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    daemon.ask(&script()[0]).unwrap();
    for port in 32768..32771 {
        let port = Reservation { protocol: netd_api::publish::Protocol::Tcp, address: None, port };
        stage.kernel.world().strangers.push((port, "somebody".to_owned()));
    }
    daemon.ask(&Request::CreateContainer(json(r#"{"name":"x","networks":[{"network":"web"}],"publish":["80"]}"#))).unwrap();
    let (_, published) = daemon.desired.publishes().first_key_value().unwrap();
    assert_eq!(published.host.first, 32771);
}

#[test]
fn a_container_whose_namespace_went_holds_no_port_until_it_is_back() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    for request in &script()[..5] {
        daemon.ask(request).unwrap();
    }
    let port = Reservation { protocol: netd_api::publish::Protocol::Tcp, address: Some("127.0.0.1".parse().unwrap()), port: 8081 };
    stage.kernel.world().remove_netns("/proc/7/ns/net");
    daemon.reconcile(&Reason::Timer);
    assert!(!stage.kernel.world().objects.reservations.contains(&port));
    let Ok(netd_api::message::Reply::Ports(ports)) = daemon.ask(&Request::Ports(Some("b".parse().unwrap()))) else { panic!("no ports") };
    assert_eq!(ports[0].state, netd_api::view::PortState::Waiting);
    assert_nothing_to_do(&mut daemon);
    stage.kernel.world().add_stranger("/proc/7/ns/net", 4_026_531_999);
    daemon.reconcile(&Reason::Timer);
    assert!(stage.kernel.world().objects.reservations.contains(&port));
    assert_nothing_to_do(&mut daemon);
}
