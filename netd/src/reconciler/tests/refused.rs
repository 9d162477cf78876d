//! What is refused by the kernel: in which words, and that nothing of it stays.

use netd_api::{
    fault::{Code, Fault},
    message::{Reply, Request},
    publish::Protocol,
    view::{PortState, Presence},
};
use netd_core::objects::{Address, Netns, Ns, Reservation, Route};

use super::{FakeKernel, Reason, Reconciler, Stage, assert_nothing_to_do, json, script};

/// The refusal of a request that leaves wish and kernel as they were.
#[track_caller]
fn refused(stage: &Stage, daemon: &mut Reconciler<FakeKernel>, request: &Request) -> Fault {
    let (objects, desired) = (stage.kernel.world().objects.clone(), daemon.desired.clone());
    let fault = daemon.ask(request).expect_err("it should have been refused");
    assert_eq!(stage.kernel.world().objects, objects, "{fault:?} left something");
    assert!(daemon.desired == desired, "{fault:?} left a wish");
    assert!(!fault.hint.is_empty(), "{fault:?} says nothing of what to do");
    fault
}

fn container(text: &str) -> Request {
    Request::CreateContainer(json(text))
}

#[test]
fn a_namespace_of_the_name_that_somebody_else_made_is_left_alone() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    daemon.ask(&script()[0]).unwrap();
    stage.kernel.world().add_stranger("/run/netns/x", 77);
    let fault = refused(&stage, &mut daemon, &container(r#"{"name":"x","networks":[{"network":"web"}]}"#));
    assert_eq!(fault.code, Code::Exists);
    assert!(fault.what.contains("/run/netns/x is there already"), "{fault:?}");
    assert!(matches!(stage.kernel.world().objects.netns["/run/netns/x"], Netns::Adopted(_)));
}

#[test]
fn an_interface_name_that_is_taken_has_a_code_of_its_own() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    // One that came up after the last look at the host.
    stage.kernel.world().foreign.insert("br0".parse().unwrap());
    let fault = refused(&stage, &mut daemon, &Request::CreateNetwork(json(r#"{"name":"n","bridge":"br0"}"#)));
    assert_eq!(fault.code, Code::BadInterface, "{fault:?}");
    assert!(fault.what.contains("ip link add br0"), "{fault:?}");
}

#[test]
fn a_default_route_that_the_container_brought_is_named() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    daemon.ask(&script()[0]).unwrap();
    let ns = Ns::At("/proc/7/ns/net".to_owned());
    let its_own = "wlan0".parse::<netd_api::names::IfName>().unwrap();
    {
        let mut world = stage.kernel.world();
        world.objects.addresses.insert(Address { ns: ns.clone(), link: its_own.clone(), net: "172.30.0.2/24".parse().unwrap() });
        world.objects.routes.insert(Route::default_via(ns, its_own, "172.30.0.1".parse().unwrap()));
    }
    let fault = refused(&stage, &mut daemon, &container(r#"{"name":"b","netns":{"pid":7},"networks":[{"network":"web"}]}"#));
    assert_eq!(fault.code, Code::Impossible, "{fault:?}");
    assert!(fault.hint.contains("default route of its own"), "{fault:?}");
}

#[test]
fn an_absent_container_is_still_absent_after_its_removal_failed() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    for request in &script()[..5] {
        daemon.ask(request).unwrap();
    }
    stage.kernel.world().remove_netns("/proc/7/ns/net");
    daemon.reconcile(&Reason::Timer);
    daemon.kernel = stage.kernel.failing_at(0);
    refused(&stage, &mut daemon, &Request::RemoveContainer("b".parse().unwrap()));
    let Ok(Reply::Container(shown)) = daemon.ask(&Request::Container("b".parse().unwrap())) else { panic!("no container") };
    assert_eq!((shown.state, shown.ports[0].state), (Presence::Absent, PortState::Waiting));
    assert_nothing_to_do(&mut daemon);
}

#[test]
fn a_port_that_a_stranger_holds_stays_known_as_such_when_its_withdrawal_fails() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    for request in &script()[..3] {
        daemon.ask(request).unwrap();
    }
    drop(daemon);
    let port = Reservation { protocol: Protocol::Tcp, address: None, port: 8080 };
    stage.kernel.world().strangers.push((port, "nginx (pid 812)".to_owned()));
    let mut daemon = stage.daemon(stage.kernel.reopened());
    daemon.kernel = stage.kernel.failing_at(1);
    refused(&stage, &mut daemon, &Request::Unpublish("a".parse().unwrap(), Some("8080:80".parse().unwrap())));
    let Ok(Reply::Ports(ports)) = daemon.ask(&Request::Ports(None)) else { panic!("no ports") };
    let degraded: Vec<u16> = ports.iter().filter(|port| port.state == PortState::Degraded).map(|port| port.host.first).collect();
    assert_eq!(degraded, [8080]);
    assert_nothing_to_do(&mut daemon);
}

#[test]
fn the_1024th_port_that_a_stranger_put_on_the_bridge_is_no_riddle() {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    daemon.ask(&script()[0]).unwrap();
    stage.kernel.world().strangers_ports = 1023;
    let fault = refused(&stage, &mut daemon, &container(r#"{"name":"x","networks":[{"network":"web"}]}"#));
    assert_eq!(fault.code, Code::BridgeFull, "{fault:?}");
}
