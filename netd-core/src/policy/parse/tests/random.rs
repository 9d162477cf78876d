//! Any model, written and read again, is itself; any text is read or refused, and nothing panics.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::*;
use crate::policy::model::{Block, ClusterAction, ClusterPeer, ClusterRule, Condition, Expression, Manner, Subject, Tier};

fn a_selector() -> impl Strategy<Value = Selector> {
    let key = || select(vec!["app", "a.b/c", "tier", "no", "123", "0x1"]).prop_map(|key| key.parse().unwrap());
    let value = || select(vec!["", "web", "true", "80", "0x1", "1e3", "null", "Yes", "x_y.z-1"]).prop_map(|value| value.parse().unwrap());
    let condition = prop_oneof![
        vec(value(), 1..3).prop_map(Condition::In),
        vec(value(), 1..3).prop_map(Condition::NotIn),
        Just(Condition::Exists),
        Just(Condition::DoesNotExist),
    ];
    let expression = (key(), condition).prop_map(|(key, condition)| Expression { key, condition });
    let labels = vec((key(), value()), 0..3).prop_map(BTreeMap::from_iter);
    (labels, vec(expression, 0..3)).prop_map(|(labels, expressions)| Selector { labels, expressions })
}

fn a_net() -> impl Strategy<Value = IpNet> {
    let four = (any::<[u8; 4]>(), 0..=32_u8).prop_map(|(address, length)| (IpAddr::from(address), length));
    let six = (any::<[u8; 16]>(), 0..=128_u8).prop_map(|(address, length)| (IpAddr::from(address), length));
    prop_oneof![four, six]
        .prop_map(|(address, length)| IpNet::new(address, length).unwrap().trunc())
        .prop_filter("an IPv4 address in IPv6's clothes", |net| !matches!(net, IpNet::V6(net) if net.addr().to_ipv4_mapped().is_some()))
}

fn a_block() -> impl Strategy<Value = Block> {
    (a_net(), vec(1..=24_u8, 0..3)).prop_map(|(cidr, longer)| {
        let lengths = longer.into_iter().map(|more| cidr.prefix_len() + more).filter(|length| *length <= cidr.max_prefix_len());
        let except = lengths.map(|length| IpNet::new(cidr.addr(), length).unwrap()).collect();
        Block { cidr, except }
    })
}

fn a_range() -> impl Strategy<Value = PortRange> {
    (1..=u16::MAX, 1..=u16::MAX).prop_map(|(one, other)| PortRange { first: one.min(other), last: one.max(other) })
}

fn a_protocol() -> impl Strategy<Value = Protocol> {
    select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp])
}

fn a_port_name() -> impl Strategy<Value = WhichPort> {
    "[a-z]{1,5}(-[0-9a-z]{1,4}){0,2}".prop_map(WhichPort::Named)
}

fn a_network_policy() -> impl Strategy<Value = NetworkPolicy> {
    let which = prop_oneof![Just(WhichPort::All), a_range().prop_map(WhichPort::Range), a_port_name()];
    let port = (a_protocol(), which).prop_map(|(protocol, which)| Port { protocol: Some(protocol), which });
    let peer = prop_oneof![
        (option::of(a_selector()), a_selector()).prop_map(|(namespaces, pods)| Peer::Pods { namespaces, pods }),
        a_block().prop_map(Peer::Block),
    ];
    let rule = (vec(peer, 0..3), vec(port, 0..3)).prop_map(|(peers, ports)| Rule { peers, ports });
    let rules = vec(rule, 0..3).boxed();
    let ways =
        (option::of(rules.clone()), option::of(rules)).prop_filter("one way at least", |(one, other)| one.is_some() || other.is_some());
    (a_selector(), ways).prop_map(|(pods, (ingress, egress))| NetworkPolicy { pods, ingress, egress })
}

fn a_subject() -> impl Strategy<Value = Subject> {
    (a_selector(), a_selector()).prop_map(|(namespaces, pods)| Subject { namespaces, pods })
}

fn a_cluster_rule(egress: bool) -> impl Strategy<Value = ClusterRule> {
    let others = prop_oneof![a_selector().prop_map(ClusterPeer::Nodes), vec(a_net(), 1..3).prop_map(ClusterPeer::Networks)];
    let containers = a_subject().prop_map(ClusterPeer::Pods).boxed();
    let peer = if egress { prop_oneof![containers, others].boxed() } else { containers };
    let numbers = (a_protocol(), a_range()).prop_map(|(protocol, range)| Port { protocol: Some(protocol), which: WhichPort::Range(range) });
    let named = a_port_name().prop_map(|which| Port { protocol: None, which });
    let port = if egress { numbers.boxed() } else { prop_oneof![numbers, named].boxed() };
    let action = select(vec![ClusterAction::Accept, ClusterAction::Deny, ClusterAction::Pass]);
    (option::of(".{1,20}"), action, vec(peer, 1..3), vec(port, 0..3)).prop_map(|(name, action, peers, ports)| ClusterRule {
        name,
        action,
        peers,
        ports,
    })
}

fn a_cluster_policy() -> impl Strategy<Value = ClusterPolicy> {
    let rules = (vec(a_cluster_rule(false), 0..3), vec(a_cluster_rule(true), 0..3));
    (select(vec![Tier::Admin, Tier::Baseline]), 0..=1000_u16, a_subject(), rules)
        .prop_map(|(tier, priority, subject, (ingress, egress))| ClusterPolicy { tier, priority, subject, ingress, egress })
}

fn selector_json(selector: &Selector) -> Value {
    let expression = |expression: &Expression| match &expression.condition {
        Condition::In(values) => json!({"key": expression.key, "operator": "In", "values": values}),
        Condition::NotIn(values) => json!({"key": expression.key, "operator": "NotIn", "values": values}),
        Condition::Exists => json!({"key": expression.key, "operator": "Exists"}),
        Condition::DoesNotExist => json!({"key": expression.key, "operator": "DoesNotExist"}),
    };
    let expressions: Vec<Value> = selector.expressions.iter().map(expression).collect();
    json!({"matchLabels": selector.labels, "matchExpressions": expressions})
}

fn port_json(port: &Port) -> Value {
    let protocol = port.protocol.unwrap().to_string().to_uppercase();
    match &port.which {
        WhichPort::All => json!({"protocol": protocol}),
        WhichPort::Named(name) => json!({"protocol": protocol, "port": name}),
        WhichPort::Range(range) => json!({"protocol": protocol, "port": range.first, "endPort": range.last}),
    }
}

fn peer_json(peer: &Peer) -> Value {
    match peer {
        Peer::Pods { namespaces, pods } => {
            json!({"namespaceSelector": namespaces.as_ref().map(selector_json), "podSelector": selector_json(pods)})
        }
        Peer::Block(block) => json!({"ipBlock": {"cidr": block.cidr, "except": block.except}}),
    }
}

fn network_json(policy: &NetworkPolicy) -> Value {
    let rules = |rules: &Option<Vec<Rule>>, peers: &str| {
        let rules = rules.as_ref()?;
        let rule = |rule: &Rule| json!({peers: rule.peers.iter().map(peer_json).collect::<Vec<_>>(), "ports": rule.ports.iter().map(port_json).collect::<Vec<_>>()});
        Some(rules.iter().map(rule).collect::<Vec<_>>())
    };
    let types: Vec<&str> =
        [policy.ingress.as_ref().map(|_| "Ingress"), policy.egress.as_ref().map(|_| "Egress")].into_iter().flatten().collect();
    json!({
        "podSelector": selector_json(&policy.pods), "policyTypes": types,
        "ingress": rules(&policy.ingress, "from"), "egress": rules(&policy.egress, "to"),
    })
}

fn subject_json(subject: &Subject) -> Value {
    if subject.pods == Selector::default() {
        return json!({"namespaces": selector_json(&subject.namespaces)});
    }
    json!({"pods": {"namespaceSelector": selector_json(&subject.namespaces), "podSelector": selector_json(&subject.pods)}})
}

fn cluster_rule_json(rule: &ClusterRule, peers: &str) -> Value {
    let peer = |peer: &ClusterPeer| match peer {
        ClusterPeer::Pods(subject) => subject_json(subject),
        ClusterPeer::Nodes(selector) => json!({"nodes": selector_json(selector)}),
        ClusterPeer::Networks(nets) => json!({"networks": nets}),
    };
    let port = |port: &Port| match (&port.which, port.protocol) {
        (WhichPort::Range(range), Some(protocol)) if range.first == range.last => {
            json!({protocol.to_string(): {"destinationPort": {"number": range.first}}})
        }
        (WhichPort::Range(range), Some(protocol)) => {
            json!({protocol.to_string(): {"destinationPort": {"range": {"start": range.first, "end": range.last}}}})
        }
        (WhichPort::Named(name), _) => json!({"destinationNamedPort": name}),
        _ => panic!("the model has no such port here"),
    };
    let mut object = Map::from_iter([
        ("action".to_owned(), json!(format!("{:?}", rule.action))),
        (peers.to_owned(), rule.peers.iter().map(peer).collect()),
    ]);
    object.extend(rule.name.as_ref().map(|name| ("name".to_owned(), json!(name))));
    if !rule.ports.is_empty() {
        object.insert("protocols".to_owned(), rule.ports.iter().map(port).collect());
    }
    Value::Object(object)
}

fn cluster_json(policy: &ClusterPolicy) -> Value {
    let rules = |rules: &[ClusterRule], peers: &str| rules.iter().map(|rule| cluster_rule_json(rule, peers)).collect::<Vec<_>>();
    json!({
        "tier": format!("{:?}", policy.tier), "priority": policy.priority, "subject": subject_json(&policy.subject),
        "ingress": rules(&policy.ingress, "from"), "egress": rules(&policy.egress, "to"),
    })
}

fn written(body: &Body, manner: Manner, note: &str) -> String {
    let (api_version, kind, spec) = match body {
        Body::Network(policy) => ("networking.k8s.io/v1", "NetworkPolicy", network_json(policy)),
        Body::Cluster(policy) => ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", cluster_json(policy)),
    };
    let annotations = json!({"netd.io/audit": manner.audit.to_string(), "netd.io/reject": manner.reject.to_string(), "note": note});
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "p", "annotations": annotations}, "spec": spec}).to_string()
}

fn a_body() -> impl Strategy<Value = Body> {
    prop_oneof![a_network_policy().prop_map(Body::Network), a_cluster_policy().prop_map(Body::Cluster)]
}

/// Texts that are nearly policies, or of the letters that YAML is made of.
fn a_text() -> impl Strategy<Value = String> {
    let pieces = vec![
        "a",
        "b: ",
        "- ",
        "? ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "\n",
        "  ",
        "&x ",
        "*x",
        "!!str ",
        "! ",
        "|\n",
        ">-\n",
        "\"",
        "'",
        "#",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "~",
        "0x1",
        "\t",
        "\r",
        "\u{feff}",
        "\u{85}",
        "spec",
        "kind: NetworkPolicy\n",
        "apiVersion: networking.k8s.io/v1\n",
        "metadata: {name: a}\n",
        "spec: {podSelector: {}}\n",
        "\\",
        "<<: ",
    ];
    prop_oneof![any::<String>(), vec(select(pieces), 0..30).prop_map(|pieces| pieces.concat()), "[\\[\\]{}:,&*!|>'\"%@`#~?\n a-]{0,40}"]
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_written_again(body in a_body(), audit: bool, reject: bool, note in ".{0,30}|\\PC{0,10}") {
        let manner = Manner { audit, reject };
        let text = written(&body, manner, &note);
        let first = read(&text).map_err(|errors| TestCaseError::fail(format!("{errors}\n{text}")))?.policies.remove(0);
        prop_assert_eq!((&first.body, first.manner), (&body, manner));
        let again = read(&first.source).map_err(|errors| TestCaseError::fail(format!("{errors}\n{}", first.source)))?.policies.remove(0);
        prop_assert_eq!(again, first);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in a_text()) {
        for other_kinds in [OtherKinds::Refuse, OtherKinds::Skip] {
            match parse(&[File { name: "f", text: &text }], other_kinds) {
                Ok(parsed) => for policy in parsed.policies {
                    prop_assert_eq!(read(&policy.source).unwrap().policies, [policy]);
                },
                Err(errors) => prop_assert!(errors.to_string().starts_with("f:"), "{}", errors),
            }
        }
    }

    #[test]
    fn no_broken_policy_makes_the_parser_panic(body in a_body(), at: prop::sample::Index, with in a_text()) {
        let source = read(&written(&body, Manner::default(), "")).unwrap().policies.remove(0).source;
        let cut = at.index(source.len());
        let _ = read(&format!("{}{with}{}", &source[..source.floor_char_boundary(cut)], &source[source.ceil_char_boundary(cut + 1)..]));
    }
}
