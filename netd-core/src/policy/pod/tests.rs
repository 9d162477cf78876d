//! What policies see of a container, and whom they select.

use std::sync::Arc;

use netd_api::{publish::Protocol, spec::NamedPort};

use super::*;
use crate::{
    desired::{Change, Edit, Origin},
    policy::{
        book::{
            Book,
            number::Numbers,
            wish::{Direction, Wish},
        },
        parse::{File, OtherKinds, parse},
    },
};

pub(in crate::policy) fn labels(given: &str) -> Labels {
    let pairs = given.split_whitespace().map(|pair| pair.split_once('=').expect("key=value"));
    pairs.map(|(key, value)| (key.parse().expect("a key"), value.parse().expect("a value"))).collect()
}

/// A container on no network.
pub(in crate::policy) fn container(id: &str, namespace: &str, given: &str) -> Container {
    Container {
        id: id.parse().expect("an id"),
        name: id.parse().expect("a name"),
        namespace: namespace.parse().expect("a namespace"),
        origin: Origin::Made,
        cgroup: None,
        labels: labels(given),
        ports: BTreeMap::new(),
        allow: Vec::new(),
        guard: netd_api::spec::Guard::On,
        attachments: Vec::new(),
    }
}

fn policy(kind: &str, name: &str, spec: &str) -> Policy {
    let text = format!("apiVersion: {kind}\nmetadata: {{{name}}}\nspec: {spec}\n");
    parse(&[File { name: "-", text: &text }], OtherKinds::Refuse).expect("it parses").policies.remove(0)
}

fn network(name: &str, spec: &str) -> Policy {
    policy("networking.k8s.io/v1\nkind: NetworkPolicy", &format!("name: {name}, namespace: shop"), spec)
}

#[test]
fn ports_have_the_names_that_they_were_given_and_those_of_labels() {
    let given = "netd.io/port.http=80 netd.io/port.dns=53-udp netd.io/port.old=8000 app=a";
    let mut container = container("a", "shop", given);
    container.ports.insert("old".to_owned(), NamedPort { port: 9000, protocol: Protocol::Tcp });
    container.ports.insert("dns".to_owned(), NamedPort { port: 53, protocol: Protocol::Tcp });
    let pod = pod(&container);
    assert_eq!(pod.ports["http"], [(Protocol::Tcp, 80)]);
    assert_eq!(pod.ports["dns"], [(Protocol::Tcp, 53), (Protocol::Udp, 53)]);
    assert_eq!(pod.ports["old"], [(Protocol::Tcp, 9000)], "what was set by name goes before a label");
    assert_eq!((pod.namespace.as_str(), &pod.labels), ("shop", &container.labels));
}

#[test]
fn labels_that_name_no_port_are_only_labels() {
    for value in ["0", "65536", "80-TCP", "80-icmp", "80-", "-tcp", "http", "", "80-tcp-1", "8_0"] {
        assert_eq!(port_of_label(value), None, "{value}");
    }
    for name in ["80", "HTTP", "a.very.long.name.of.a.port"] {
        let container = container("a", "shop", &format!("netd.io/port.{name}=80"));
        assert!(pod(&container).ports.is_empty(), "{name}");
    }
    assert_eq!(port_of_label("132-sctp"), Some((Protocol::Sctp, 132)));
}

#[test]
fn a_container_is_placed_with_the_addresses_of_its_attachment() {
    let attachment = Attachment {
        network: "web".parse().expect("a name"),
        ifname: "eth0".parse().expect("a name"),
        host_ifname: "ndv1".parse().expect("a name"),
        mac: netd_api::addr::Mac([2, 0, 0, 0, 0, 1]),
        host_mac: netd_api::addr::Mac([2, 0, 0, 0, 0, 2]),
        addresses: ["10.9.0.2/24", "fd00::2/64"].map(|net| net.parse().expect("a net")).to_vec(),
        slot: 1,
        cni: None,
    };
    let placed = placed(&container("a", "shop", "app=a"), &attachment);
    assert_eq!(placed.addresses, ["10.9.0.2", "fd00::2"].map(|address| address.parse::<std::net::IpAddr>().expect("an address")));
    assert_eq!(placed.pod.namespace.as_str(), "shop");
}

#[test]
fn a_policy_selects_by_namespace_and_labels_for_the_directions_that_it_speaks_of() {
    let cluster = policy(
        "policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy",
        "name: all",
        "{tier: Admin, priority: 1, subject: {namespaces: {matchLabels: {team: a}}}, \
         egress: [{action: Deny, to: [{networks: [10.0.0.0/8]}]}]}",
    );
    let policies =
        [network("in", "{podSelector: {matchLabels: {app: web}}}"), network("out", "{podSelector: {}, policyTypes: [Egress]}"), cluster];
    let namespaces: BTreeMap<Namespace, Labels> = [("shop".parse().expect("a namespace"), labels("team=a"))].into();
    let by = |container: &Container| {
        let selected = selected_by(&policies, &namespaces, container);
        let names = |way: &str| selected.get(way).into_iter().flatten().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        (names("ingress"), names("egress"))
    };
    assert_eq!(by(&container("a", "shop", "app=web")), ("shop/in".to_owned(), "shop/out all".to_owned()));
    assert_eq!(by(&container("b", "shop", "app=db")), (String::new(), "shop/out all".to_owned()));
    assert_eq!(by(&container("c", "other", "app=web")), (String::new(), String::new()));
    assert!(selected_by(&policies, &namespaces, &container("c", "other", "app=web")).is_empty());
}

#[test]
fn whom_the_view_says_a_policy_selects_is_whom_the_book_governs() {
    let policies = [
        network("in", "{podSelector: {matchExpressions: [{key: app, operator: In, values: [web, db]}]}}"),
        network("out", "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress]}"),
        policy(
            "policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy",
            "name: base",
            "{tier: Baseline, priority: 1, subject: {pods: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: other}}, \
             podSelector: {matchLabels: {app: web}}}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}",
        ),
    ];
    let mut desired = Desired::default();
    let containers: Vec<Container> = ["shop", "other", "third"]
        .iter()
        .flat_map(|namespace| {
            [("w", "app=web"), ("d", "app=db"), ("n", "")].map(|(id, labels)| container(&format!("{id}-{namespace}"), namespace, labels))
        })
        .collect();
    let edits = containers.iter().map(|one| Edit::Container { before: None, after: Some(Arc::new(one.clone())) });
    desired.apply(&Change { edits: edits.collect() });
    for policy in policies {
        let mut book = Book::new(Numbers::new(), 1);
        let policies = [(policy.name.clone(), Arc::new(policy.clone()))].into();
        let _ = book.set(Wish { policies: Arc::new(policies), ..Wish::default() }).expect("it fits");
        let mut governed = Vec::new();
        for (slot, container) in (1..).zip(&containers) {
            let at = Placed { pod: Arc::new(pod(container)), addresses: Vec::new() };
            let _ = book.place(slot, Some(at)).expect("it fits");
            let sets = book.sets(slot);
            let by = selected_by([&policy], &BTreeMap::new(), container);
            assert_eq!(by.contains_key(&Direction::Ingress.to_string()), sets.ingress != 0, "{}", container.id);
            assert_eq!(by.contains_key(&Direction::Egress.to_string()), sets.egress != 0, "{}", container.id);
            if !by.is_empty() {
                governed.push(container.name.clone());
            }
        }
        governed.sort_unstable();
        assert_eq!(selects(&policy, &desired), governed, "{}", policy.name);
        assert!(!governed.is_empty());
    }
}
