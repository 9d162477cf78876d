//! NetworkPolicy: each default and each trap of what Kubernetes means.

use super::*;
use crate::policy::model::{Block, Condition, Expression};

fn ways(spec: &str) -> (Option<usize>, Option<usize>) {
    let policy = network(spec);
    (policy.ingress.map(|rules| rules.len()), policy.egress.map(|rules| rules.len()))
}

#[test]
fn a_policy_is_for_ingress_unless_it_has_egress_rules_too() {
    assert_eq!(ways("  podSelector: {}\n"), (Some(0), None));
    assert_eq!(ways("  podSelector: {}\n  ingress: []\n"), (Some(0), None));
    assert_eq!(ways("  podSelector: {}\n  ingress:\n"), (Some(0), None));
    assert_eq!(ways("  podSelector: {}\n  egress:\n  - {}\n"), (Some(0), Some(1)));
    assert_eq!(ways("  podSelector: {}\n  policyTypes: []\n  egress:\n  - {}\n"), (Some(0), Some(1)));
}

#[test]
fn an_egress_section_without_rules_isolates_nobody_unless_policy_types_say_so() {
    assert_eq!(ways("  podSelector: {}\n  egress: []\n"), (Some(0), None));
    assert_eq!(ways("  podSelector: {}\n  policyTypes: [Egress]\n  egress: []\n"), (None, Some(0)));
    assert_eq!(ways("  podSelector: {}\n  policyTypes: [Egress]\n"), (None, Some(0)));
}

#[test]
fn rules_of_a_direction_that_policy_types_leave_out_have_no_effect_but_must_be_right() {
    assert_eq!(ways("  podSelector: {}\n  policyTypes: [Ingress]\n  egress:\n  - {}\n"), (Some(0), None));
    assert_eq!(ways("  podSelector: {}\n  policyTypes: [Egress]\n  ingress:\n  - {}\n"), (None, Some(0)));
    assert_eq!(ways("  podSelector: {}\n  policyTypes: [Ingress, Egress]\n"), (Some(0), Some(0)));
    assert!(network_refused("  policyTypes: [Egress]\n  ingress:\n  - form: []\n").contains("did you mean from?"));
}

#[test]
fn a_policy_without_a_pod_selector_selects_every_container_of_its_namespace() {
    assert_eq!(network("  policyTypes: [Ingress]\n").pods, Selector::default());
    assert_eq!(network("  podSelector:\n  policyTypes: [Ingress]\n").pods, Selector::default());
}

#[test]
fn an_empty_rule_allows_everything_and_so_do_empty_peers_and_ports() {
    for rule in ["{}", "{from: []}", "{from: null, ports: []}", "{ports:}"] {
        assert_eq!(network(&format!("  ingress:\n  - {rule}\n")).ingress, Some(vec![everything()]), "{rule}");
    }
}

#[test]
fn a_hanging_dash_allows_nothing_by_accident() {
    assert_eq!(
        network_refused("  ingress:\n  -\n"),
        "f.yaml:7: spec.ingress[0]: is empty, where a mapping is needed; write {} for one without fields"
    );
}

#[test]
fn selectors_in_one_element_hold_together_and_in_two_each_by_itself() {
    let one = network(
        "  ingress:\n  - from:\n    - namespaceSelector: {matchLabels: {user: alice}}\n      podSelector: {matchLabels: {role: client}}\n",
    );
    let both = Peer::Pods { namespaces: Some(labels(&[("user", "alice")])), pods: labels(&[("role", "client")]) };
    assert_eq!(one.ingress.unwrap()[0].peers, [both]);

    let two = network(
        "  ingress:\n  - from:\n    - namespaceSelector: {matchLabels: {user: alice}}\n    - podSelector: {matchLabels: {role: client}}\n",
    );
    let namespace = Peer::Pods { namespaces: Some(labels(&[("user", "alice")])), pods: Selector::default() };
    assert_eq!(two.ingress.unwrap()[0].peers, [namespace, pods(labels(&[("role", "client")]))]);
}

#[test]
fn an_empty_pod_selector_is_the_own_namespace_and_an_empty_namespace_selector_all() {
    let policy = network("  ingress:\n  - from:\n    - podSelector: {}\n    - namespaceSelector: {}\n");
    let all = Peer::Pods { namespaces: Some(Selector::default()), pods: Selector::default() };
    assert_eq!(policy.ingress.unwrap()[0].peers, [pods(Selector::default()), all]);
}

#[test]
fn expressions_are_read_with_their_rules_on_values() {
    let policy = network(
        "  podSelector:\n    matchExpressions:\n    - {key: tier, operator: In, values: [web, api]}\n    - {key: env, operator: NotIn, values: ['']}\n    \
         - {key: a/b, operator: Exists}\n    - {key: c, operator: DoesNotExist, values: []}\n",
    );
    let of = |key: &str, condition| Expression { key: key.parse().unwrap(), condition };
    let values = |words: &[&str]| words.iter().map(|word| word.parse().unwrap()).collect();
    assert_eq!(
        policy.pods.expressions,
        [
            of("tier", Condition::In(values(&["web", "api"]))),
            of("env", Condition::NotIn(values(&[""]))),
            of("a/b", Condition::Exists),
            of("c", Condition::DoesNotExist),
        ]
    );
    for bad in ["{key: a, operator: In}", "{key: a, operator: NotIn, values: []}", "{key: a, operator: Exists, values: [b]}"] {
        let why = network_refused(&format!("  podSelector:\n    matchExpressions:\n    - {bad}\n"));
        assert!(why.contains("spec.podSelector.matchExpressions[0].values: "), "{why}");
    }
}

#[test]
fn ports_are_tcp_by_default_and_all_ports_where_none_is_named() {
    let policy = network(
        "  egress:\n  - ports:\n    - port: 80\n    - {port: 53, protocol: UDP}\n    - {port: 32000, endPort: 32768, protocol: SCTP}\n    \
         - protocol: UDP\n    - {}\n    - port: http-alt\n    - {port: 9, endPort: 9}\n",
    );
    let all = |protocol| Port { protocol: Some(protocol), which: WhichPort::All };
    let named = Port { protocol: Some(Protocol::Tcp), which: WhichPort::Named("http-alt".to_owned()) };
    assert_eq!(
        policy.egress.unwrap()[0].ports,
        [tcp(80), range(Protocol::Udp, 53, 53), range(Protocol::Sctp, 32000, 32768), all(Protocol::Udp), all(Protocol::Tcp), named, tcp(9),]
    );
}

#[test]
fn names_of_ports_are_iana_service_names_in_lower_case() {
    for good in ["http", "a", "p2p-x", "0-a", "abcdefghijklmno"] {
        network(&format!("  ingress:\n  - ports: [{{port: {good}}}]\n"));
    }
    for bad in ["HTTP", "a--b", "-a", "a-", "abcdefghijklmnop", "'1-2'", "a_b", "''"] {
        let why = network_refused(&format!("  ingress:\n  - ports: [{{port: {bad}}}]\n"));
        assert!(why.contains("is no name of a port"), "{why}");
    }
}

#[test]
fn blocks_are_prefixes_without_smaller_ones() {
    let block = |text: &str| network(&format!("  egress:\n  - to:\n    - ipBlock: {text}\n")).egress.unwrap()[0].peers[0].clone();
    let net = |text: &str| text.parse().unwrap();
    assert_eq!(
        block("{cidr: 172.17.0.0/16, except: [172.17.1.0/24]}"),
        Peer::Block(Block { cidr: net("172.17.0.0/16"), except: vec![net("172.17.1.0/24")] })
    );
    assert_eq!(block("{cidr: '2001:db8::/64', except: null}"), Peer::Block(Block { cidr: net("2001:db8::/64"), except: Vec::new() }));
    assert_eq!(block("{cidr: 0.0.0.0/0}"), Peer::Block(Block { cidr: net("0.0.0.0/0"), except: Vec::new() }));
    // As Kubernetes does, which only warns of the bits behind the prefix.
    assert_eq!(
        block("{cidr: 10.1.2.3/8, except: [10.9.9.9/16]}"),
        Peer::Block(Block { cidr: net("10.0.0.0/8"), except: vec![net("10.9.0.0/16")] })
    );
}

#[test]
fn the_examples_of_kubernetes_documentation_mean_what_it_says() {
    let whole = policy(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: test-network-policy, namespace: default}
spec:
  podSelector: {matchLabels: {role: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - ipBlock: {cidr: 172.17.0.0/16, except: [172.17.1.0/24]}
    - namespaceSelector: {matchLabels: {project: myproject}}
    - podSelector: {matchLabels: {role: frontend}}
    ports:
    - {protocol: TCP, port: 6379}
  egress:
  - to:
    - ipBlock: {cidr: 10.0.0.0/24}
    ports:
    - {protocol: TCP, port: 5978}
",
    );
    assert_eq!(whole.name.to_string(), "default/test-network-policy");
    let Body::Network(body) = whole.body else { panic!("another kind") };
    assert_eq!(body.pods, labels(&[("role", "db")]));
    let (ingress, egress) = (body.ingress.unwrap(), body.egress.unwrap());
    assert_eq!((ingress[0].peers.len(), &ingress[0].ports[..]), (3, &[tcp(6379)][..]));
    assert_eq!((egress[0].peers.len(), &egress[0].ports[..]), (1, &[tcp(5978)][..]));

    // Deny all in, allow all in, deny all out, allow all out, deny all.
    assert_eq!(ways("  podSelector: {}\n  policyTypes:\n  - Ingress\n"), (Some(0), None));
    assert_eq!(network("  podSelector: {}\n  ingress:\n  - {}\n  policyTypes:\n  - Ingress\n").ingress, Some(vec![everything()]));
    assert_eq!(ways("  podSelector: {}\n  policyTypes:\n  - Egress\n"), (None, Some(0)));
    assert_eq!(network("  podSelector: {}\n  egress:\n  - {}\n  policyTypes:\n  - Egress\n").egress, Some(vec![everything()]));
    assert_eq!(ways("  podSelector: {}\n  policyTypes:\n  - Ingress\n  - Egress\n"), (Some(0), Some(0)));

    // A range of ports, and namespaces by their names.
    let ports = network(
        "  podSelector: {matchLabels: {role: db}}\n  policyTypes: [Egress]\n  egress:\n  - to:\n    - namespaceSelector:\n        \
         matchExpressions:\n        - {key: kubernetes.io/metadata.name, operator: In, values: [frontend, backend]}\n    ports:\n    \
         - {protocol: TCP, port: 32000, endPort: 32768}\n",
    );
    assert_eq!(ports.egress.unwrap()[0].ports, [range(Protocol::Tcp, 32000, 32768)]);
}
