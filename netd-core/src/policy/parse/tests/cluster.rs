//! ClusterNetworkPolicy: its peers, protocols and limits.

use super::*;
use crate::policy::model::{ClusterAction, ClusterPeer, Subject, Tier};

#[test]
fn a_cluster_policy_is_read_whole() {
    let policy = policy(
        "apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: isolate.tenants}
spec:
  tier: Baseline
  priority: 1000
  subject:
    pods:
      namespaceSelector: {matchLabels: {tenant: a}}
      podSelector: {matchLabels: {app: web}}
  ingress:
  - name: scraping
    action: Accept
    from:
    - namespaces: {matchLabels: {kubernetes.io/metadata.name: monitoring}}
    - pods: {podSelector: {matchLabels: {app: prober}}}
    protocols:
    - tcp: {destinationPort: {number: 9100}}
    - udp: {destinationPort: {range: {start: 1000, end: 2000}}}
    - sctp: {destinationPort: {number: 7}}
    - destinationNamedPort: metrics
  - action: Pass
    from: [{namespaces: {}}]
  egress:
  - action: Deny
    to:
    - nodes: {}
    - networks: [10.0.0.0/8, 'fd00::1/8']
",
    );
    assert_eq!((policy.name.namespace, &*policy.name.name), (None, "isolate.tenants"));
    let Body::Cluster(body) = policy.body else { panic!("another kind") };
    assert_eq!((body.tier, body.priority), (Tier::Baseline, 1000));
    assert_eq!(body.subject, Subject { namespaces: labels(&[("tenant", "a")]), pods: labels(&[("app", "web")]) });

    let [scraping, pass] = &body.ingress[..] else { panic!("two rules") };
    assert_eq!((scraping.name.as_deref(), scraping.action), (Some("scraping"), ClusterAction::Accept));
    let monitoring = Subject { namespaces: labels(&[("kubernetes.io/metadata.name", "monitoring")]), pods: Selector::default() };
    // Without a namespaceSelector: of all namespaces.
    let probers = Subject { namespaces: Selector::default(), pods: labels(&[("app", "prober")]) };
    assert_eq!(scraping.peers, [ClusterPeer::Pods(monitoring), ClusterPeer::Pods(probers)]);
    let named = Port { protocol: None, which: WhichPort::Named("metrics".to_owned()) };
    assert_eq!(scraping.ports, [tcp(9100), range(Protocol::Udp, 1000, 2000), range(Protocol::Sctp, 7, 7), named]);
    assert_eq!((&pass.name, pass.action, &pass.ports[..]), (&None, ClusterAction::Pass, &[][..]));

    let networks = ClusterPeer::Networks(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
    assert_eq!(body.egress[0].peers, [ClusterPeer::Nodes(Selector::default()), networks]);
}

#[test]
fn a_cluster_policy_without_rules_says_nothing() {
    let policy = cluster("");
    assert_eq!((policy.priority, policy.ingress, policy.egress), (10, Vec::new(), Vec::new()));
}

#[test]
fn lists_have_twenty_five_elements_at_most() {
    let rules = |count| format!("  ingress:\n{}", "  - {action: Deny, from: [{namespaces: {}}]}\n".repeat(count));
    assert_eq!(cluster(&rules(25)).ingress.len(), 25);
    assert_eq!(refused(&cluster_text(&rules(26))), "f.yaml:11: spec.ingress: has 26 elements; Kubernetes takes at most 25");
    let nets = format!("  egress:\n  - {{action: Deny, to: [{{networks: [{}]}}]}}\n", "10.0.0.0/8, ".repeat(26));
    assert_eq!(refused(&cluster_text(&nets)), "f.yaml:11: spec.egress[0].to[0].networks: has 26 elements; Kubernetes takes at most 25");
}

#[test]
fn what_a_peer_or_protocol_says_that_nobody_knows_fails_closed() {
    for (peer, says) in [
        ("{}", "has none of namespaces, pods, nodes, networks"),
        ("{namespaces: null}", "has none of namespaces, pods, nodes, networks"),
        ("{externals: {}}", "externals: unknown field"),
        ("{namespaces: {}, pods: {podSelector: {}}}", "has namespaces and pods together; only one is possible"),
        ("{domainNames: [example.com]}", "netd has no DNS yet"),
        ("{networks: []}", "is empty, where at least one is needed"),
        ("{pods: {namespaceSelector: {}}}", "podSelector: is missing"),
    ] {
        let why = refused(&cluster_text(&format!("  egress:\n  - {{action: Accept, to: [{peer}]}}\n")));
        assert!(why.contains(says), "{peer}: {why}");
        assert_eq!(why.lines().count(), 1, "{why}");
    }
    for (protocol, says) in [
        ("{}", "has none of tcp, udp, sctp, destinationNamedPort"),
        ("{icmp: {}}", "icmp: unknown field"),
        ("{tcp: {}}", "destinationPort: is missing"),
        ("{tcp: {sourcePort: {number: 1}, destinationPort: {number: 1}}}", "sourcePort: rules know ports of the destination only"),
        ("{tcp: {destinationPort: {}}}", "has none of number, range"),
        ("{tcp: {destinationPort: {range: {start: 5, end: 5}}}}", "start 5 is not below end 5"),
        ("{tcp: {destinationPort: {number: 0}}}", "0 is out of range"),
        ("{portNumber: {port: 80}}", "is of v1alpha1"),
    ] {
        let rule = format!("  ingress:\n  - {{action: Accept, from: [{{namespaces: {{}}}}], protocols: [{protocol}]}}\n");
        let why = refused(&cluster_text(&rule));
        assert!(why.contains(says), "{protocol}: {why}");
        assert_eq!(why.lines().count(), 1, "{why}");
    }
}

#[test]
fn an_ingress_rule_knows_containers_only() {
    for peer in ["nodes: {}", "networks: [10.0.0.0/8]", "domainNames: [a.b]"] {
        let why = refused(&cluster_text(&format!("  ingress:\n  - {{action: Deny, from: [{{{peer}}}]}}\n")));
        assert!(why.contains("is for egress only"), "{why}");
    }
}

#[test]
fn a_rule_says_whom_it_means() {
    for (rule, says) in [
        ("{action: Deny}", "spec.ingress[0].from: is missing"),
        ("{action: Deny, from: []}", "spec.ingress[0].from: is empty"),
        ("{from: [{namespaces: {}}]}", "spec.ingress[0].action: is missing"),
        ("{action: Allow, from: [{namespaces: {}}]}", "Allow is none of Accept, Deny, Pass"),
        ("{action: Deny, from: [{namespaces: {}}], protocols: []}", "spec.ingress[0].protocols: is empty"),
    ] {
        let why = refused(&cluster_text(&format!("  ingress:\n  - {rule}\n")));
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn nodes_and_networks_have_no_named_ports() {
    let rule = |peer| format!("  egress:\n  - {{action: Deny, to: [{{{peer}}}], protocols: [{{destinationNamedPort: dns}}]}}\n");
    cluster(&rule("namespaces: {}"));
    for peer in ["nodes: {}", "networks: [10.0.0.0/8]"] {
        assert!(
            refused(&cluster_text(&rule(peer)))
                .contains("destinationNamedPort does not go with nodes and networks, whose ports have no names")
        );
    }
}
