//! What people and programs get to see.

use netd_api::message::Request;

use super::*;
use crate::change::{Context, change as decide};

fn host() -> Host {
    Host { ephemeral: (32768, 60999), features: crate::host::Features { ipv6: true, ..Default::default() }, ..Host::default() }
}

/// A wish after these requests, each as method and JSON.
fn wish() -> Desired {
    let mut desired = Desired::default();
    let network = |json: &str| Request::CreateNetwork(serde_json::from_str(json).unwrap());
    let container = |json: &str| Request::CreateContainer(serde_json::from_str(json).unwrap());
    let found =
        crate::host::Found { path: "/proc/7/ns/net".to_owned(), id: crate::objects::NetnsId { dev: 4, ino: 7 }, links: Default::default() };
    for request in [
        network(
            r#"{"name":"web","subnets":["10.9.0.0/29","fd00:9::/64"],"excludes":["10.9.0.6/32"],"routed":["v6"],"labels":{"tier":"front"}}"#,
        ),
        network(r#"{"name":"back","internal":true,"icc":false,"subnets":["10.8.0.0/31"],"mtu":1400}"#),
        container(
            r#"{"name":"a","networks":[{"network":"web"},{"network":"back"}],"publish":["8080:80","127.0.0.1:5353:53/udp"],"labels":{"app":"a"}}"#,
        ),
        container(r#"{"name":"b","netns":{"pid":7},"networks":[{"network":"web"}],"publish":["9000-9001:90-91"],"namespace":"prod"}"#),
    ] {
        let change = decide(&desired, &request, Context { host: &host(), pools: &[], found: Some(&found), busy: &[], held: &[] }).unwrap();
        desired.apply(&change);
    }
    desired
}

fn text<T: serde::Serialize>(view: &T) -> serde_json::Value {
    serde_json::to_value(view).unwrap()
}

#[test]
fn a_network_shows_its_members_and_how_much_is_left() {
    let desired = wish();
    let view = text(&network(&desired, &desired.networks()["web"], &host()));
    assert_eq!(view["mtu"], 1500);
    assert_eq!(view["routed"], serde_json::json!(["v6"]));
    let four = &view["subnets"][0];
    assert_eq!((&four["gateway"], &four["used"], &four["free"]), (&"10.9.0.1".into(), &2.into(), &2.into())); // of 6: gateway, exclude, two used
    assert_eq!(view["subnets"][1]["free"], u64::MAX - 3); // 2^64 less anycast, gateway and two
    let members: Vec<_> =
        view["containers"].as_array().unwrap().iter().map(|member| (&member["container"], &member["addresses"][0])).collect();
    assert_eq!(members, [(&"a".into(), &"10.9.0.2/29".into()), (&"b".into(), &"10.9.0.3/29".into())]);
    let back = text(&network(&desired, &desired.networks()["back"], &host()));
    assert_eq!(
        (&back["subnets"][0]["gateway"], &back["icc"], &back["masquerade"], &back["mtu"]),
        (&serde_json::Value::Null, &false.into(), &false.into(), &1400.into())
    );
}

#[test]
fn a_container_shows_its_interfaces_and_ports() {
    let desired = wish();
    let view = text(&container(&desired, &desired.containers()["a"]));
    assert_eq!((&view["kind"], &view["state"], &view["netns"]), (&"made".into(), &"running".into(), &"/run/netns/a".into()));
    assert_eq!(view["attachments"][0]["gateways"], serde_json::json!(["10.9.0.1", "fd00:9::1"]));
    assert_eq!(view["attachments"][1]["ifname"], "eth1");
    assert_eq!(view["ports"][0]["targets"], serde_json::json!(["10.9.0.2", "fd00:9::2"]));
    assert_eq!((&view["ports"][1]["address"], &view["ports"][1]["targets"]), (&"127.0.0.1".into(), &serde_json::json!(["10.9.0.2"])));
}

#[test]
fn ports_of_an_absent_container_wait_and_say_why() {
    let mut desired = wish();
    desired.note_presence(&"b".parse().unwrap(), false);
    let view = container(&desired, &desired.containers()["b"]);
    assert_eq!((view.kind, view.state, view.namespace.as_str()), (Kind::Adopted, Presence::Absent, "prod"));
    assert_eq!((view.ports[0].state, view.ports[0].note.as_str()), (PortState::Waiting, "the network namespace /proc/7/ns/net has gone"));
    let all = ports(&desired, None);
    assert_eq!(all.iter().map(|port| port.container.as_str()).collect::<Vec<_>>(), ["a", "a", "b"]);
    assert_eq!(ports(&desired, Some(&"a".parse().unwrap())), all[..2]);
}

#[test]
fn what_is_shown_can_be_read_again() {
    let desired = wish();
    for each in desired.networks().values() {
        let view = network(&desired, each, &host());
        assert_eq!(serde_json::from_value::<NetworkView>(text(&view)).unwrap(), view);
    }
    for each in desired.containers().values() {
        let view = container(&desired, each);
        assert_eq!(serde_json::from_value::<ContainerView>(text(&view)).unwrap(), view);
    }
}
