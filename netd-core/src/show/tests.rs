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

#[test]
fn a_policy_shows_whom_it_selects_and_what_its_rules_decided() {
    let mut desired = wish();
    let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, annotations: {netd.io/audit: \"true\"}}\n\
                spec: {podSelector: {matchLabels: {app: a}}, ingress: [{ports: [{port: 80}]}, {from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}\n---\n\
                apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: c}\n\
                spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [{action: Pass, to: [{networks: [10.0.0.0/8]}]}, \
                {name: no, action: Deny, to: [{networks: [0.0.0.0/0]}]}]}\n";
    let files = netd_api::policy::PolicyFiles {
        files: vec![netd_api::policy::PolicyFile { name: "-".to_owned(), text: text.to_owned() }],
        skip_other_kinds: false,
        dry_run: false,
    };
    let change = change::policy::apply(&desired, &files).unwrap();
    desired.apply(&change);

    let mut book = crate::policy::book::Book::new(Default::default(), 1);
    let wish = crate::policy::book::wish::Wish { policies: Arc::clone(desired.policies()), ..Default::default() };
    let _ = book.set(wish).unwrap();
    for (slot, container) in (1..).zip(desired.containers().values()) {
        let _ = book.place(slot, Some(pod::placed(container, &container.attachments[0]))).unwrap();
    }
    let hits = |rule: u32| Traffic { packets: u64::from(rule), bytes: 0, segments: 0 };
    let views = policies(&desired, book.rules(), hits);
    let [cluster, network] = &views[..] else { panic!("{views:?}") };
    assert_eq!(
        (network.kind.as_str(), network.audit, cluster.kind.as_str(), cluster.audit),
        ("NetworkPolicy", true, "ClusterNetworkPolicy", false)
    );
    let names = |view: &PolicyView| view.selects.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!((names(network), names(cluster)), ("a".to_owned(), "a b".to_owned()));
    let rules =
        |view: &PolicyView| view.rules.iter().map(|rule| (rule.direction.clone(), rule.rule, rule.name.clone())).collect::<Vec<_>>();
    let ingress = |rule| ("ingress".to_owned(), rule, None);
    assert_eq!(rules(network), [ingress(Some(1)), ingress(Some(2)), ingress(None)]);
    assert_eq!(rules(cluster), [("egress".to_owned(), Some(2), Some("no".to_owned()))], "a Pass decides nothing");
    let counted: u64 = views.iter().flat_map(|view| &view.rules).map(|rule| rule.hits.packets).sum();
    assert_eq!(counted, book.rules().keys().map(|rule| u64::from(*rule)).sum::<u64>(), "each number once");
    assert_eq!(policy(&desired, &desired.policies()[&network.name], book.rules(), hits), *network);

    let view = container(&desired, &desired.containers()["a"]);
    assert_eq!(view.policies["ingress"], std::slice::from_ref(&network.name));
    assert_eq!(view.policies["egress"], std::slice::from_ref(&cluster.name));
    assert_eq!(
        policies(&desired, &Default::default(), |_| Traffic::default())[1].rules.len(),
        3,
        "rules are shown where nothing enforces them"
    );
}
