//! Policies as files: written from the lab's own values, or around a `spec` that a story says itself. Never parses anything.

use serde_json::{Map, Value, json};

use super::model::{
    Action, ClusterPeer, ClusterPolicy, ClusterRule, Direction, Label, Namespaces, NetworkPolicy, Operator, Peer, Policy, Port, Protocol,
    Rule, Selector, Tier, Which,
};

/// A NetworkPolicy `namespace/name` with this `spec`, in YAML's flow form.
pub fn network_policy(name: &str, spec: &str) -> String {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n")
}

/// The same with an annotation that is "true".
pub fn annotated_policy(name: &str, annotation: &str, spec: &str) -> String {
    let given = network_policy(name, spec);
    let metadata = format!(", annotations: {{{annotation}: \"true\"}}}}\nspec:");
    given.replacen("}\nspec:", &metadata, 1)
}

/// A ClusterNetworkPolicy with this `spec`, in YAML's flow form.
pub fn cluster_policy(name: &str, spec: &str) -> String {
    format!("apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

/// A Namespace with labels, in YAML's flow form.
pub fn namespace(name: &str, labels: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {labels}}}\n")
}

/// Several documents in one file.
pub fn documents<const N: usize>(documents: [&str; N]) -> String {
    documents.join("---\n")
}

/// Namespaces with their labels, as a file.
pub fn namespaces(all: &Namespaces) -> String {
    let object = |(name, given): &(&str, Vec<Label>)| {
        block(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels(given)}}))
    };
    all.iter().map(object).collect::<Vec<_>>().join("---\n")
}

/// Policies, as a file of as many documents.
pub fn file(policies: &[Policy]) -> String {
    policies.iter().map(|policy| block(&document(policy))).collect::<Vec<_>>().join("---\n")
}

fn document(policy: &Policy) -> Value {
    match policy {
        Policy::Network(policy) => json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": policy.name, "namespace": policy.namespace},
            "spec": network_spec(policy),
        }),
        Policy::Cluster(policy) => json!({
            "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
            "metadata": {"name": policy.name},
            "spec": cluster_spec(policy),
        }),
    }
}

fn network_spec(policy: &NetworkPolicy) -> Value {
    let mut spec = json!({"podSelector": selector(&policy.pods)});
    let word = |direction: &Direction| if *direction == Direction::Ingress { "Ingress" } else { "Egress" };
    if !policy.types.is_empty() {
        spec["policyTypes"] = policy.types.iter().map(word).collect();
    }
    for (key, peers, rules) in [("ingress", "from", &policy.ingress), ("egress", "to", &policy.egress)] {
        if let Some(rules) = rules {
            spec[key] = rules.iter().map(|it| rule(it, peers)).collect();
        }
    }
    spec
}

fn rule(rule: &Rule, peers: &str) -> Value {
    let mut written = json!({});
    if !rule.peers.is_empty() {
        written[peers] = rule.peers.iter().map(peer).collect();
    }
    if !rule.ports.is_empty() {
        written["ports"] = rule.ports.iter().map(port).collect();
    }
    written
}

fn peer(peer: &Peer) -> Value {
    match peer {
        Peer::Block(cidr, except) if except.is_empty() => json!({"ipBlock": {"cidr": cidr.to_string()}}),
        Peer::Block(cidr, except) => {
            json!({"ipBlock": {"cidr": cidr.to_string(), "except": except.iter().map(ToString::to_string).collect::<Vec<_>>()}})
        }
        Peer::Pods(namespaces, pods) => {
            let parts = [("namespaceSelector", namespaces), ("podSelector", pods)];
            parts.into_iter().filter_map(|(key, it)| Some((key.to_owned(), selector(it.as_ref()?)))).collect::<Map<_, _>>().into()
        }
    }
}

fn port(port: &Port) -> Value {
    let mut written = match port.which {
        Which::All => json!({}),
        Which::One(number) => json!({"port": number}),
        Which::Range(first, last) => json!({"port": first, "endPort": last}),
        Which::Named(name) => json!({"port": name}),
    };
    if let Some(protocol) = port.protocol {
        written["protocol"] = word(protocol).to_uppercase().into();
    }
    written
}

fn cluster_spec(policy: &ClusterPolicy) -> Value {
    let mut spec = json!({
        "tier": if policy.tier == Tier::Admin { "Admin" } else { "Baseline" },
        "priority": policy.priority,
        "subject": cluster_peer(&policy.subject),
    });
    for (key, peers, rules) in [("ingress", "from", &policy.ingress), ("egress", "to", &policy.egress)] {
        if !rules.is_empty() {
            spec[key] = rules.iter().map(|it| cluster_rule(it, peers)).collect();
        }
    }
    spec
}

fn cluster_rule(rule: &ClusterRule, peers: &str) -> Value {
    let action = match rule.action {
        Action::Accept => "Accept",
        Action::Deny => "Deny",
        Action::Pass => "Pass",
    };
    let mut written = json!({"action": action, peers: rule.peers.iter().map(cluster_peer).collect::<Vec<_>>()});
    if !rule.ports.is_empty() {
        written["protocols"] = rule.ports.iter().map(cluster_port).collect();
    }
    written
}

fn cluster_peer(peer: &ClusterPeer) -> Value {
    match peer {
        ClusterPeer::Namespaces(namespaces) => json!({"namespaces": selector(namespaces)}),
        ClusterPeer::Pods(namespaces, pods) => {
            json!({"pods": {"namespaceSelector": selector(namespaces), "podSelector": selector(pods)}})
        }
        ClusterPeer::Networks(networks) => json!({"networks": networks.iter().map(ToString::to_string).collect::<Vec<_>>()}),
    }
}

fn cluster_port(port: &Port) -> Value {
    let destination = match port.which {
        Which::Named(name) => return json!({"destinationNamedPort": name}),
        Which::One(number) => json!({"number": number}),
        Which::Range(start, end) => json!({"range": {"start": start, "end": end}}),
        Which::All => json!({"range": {"start": 1, "end": 65535}}),
    };
    json!({word(port.protocol.unwrap_or(Protocol::Tcp)): {"destinationPort": destination}})
}

fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
        Protocol::Icmp => panic!("no policy speaks of ICMP"),
    }
}

fn selector(selector: &Selector) -> Value {
    let mut written = json!({});
    if !selector.labels.is_empty() {
        written["matchLabels"] = labels(&selector.labels);
    }
    let expression = |(key, operator): &(&str, Operator)| match operator {
        Operator::In(values) => json!({"key": key, "operator": "In", "values": values}),
        Operator::NotIn(values) => json!({"key": key, "operator": "NotIn", "values": values}),
        Operator::Exists => json!({"key": key, "operator": "Exists"}),
        Operator::DoesNotExist => json!({"key": key, "operator": "DoesNotExist"}),
    };
    if !selector.expressions.is_empty() {
        written["matchExpressions"] = selector.expressions.iter().map(expression).collect();
    }
    written
}

fn labels(labels: &[Label]) -> Value {
    labels.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect::<Map<_, _>>().into()
}

/// A document in YAML's block form.
fn block(document: &Value) -> String {
    let mut text = String::new();
    write_block(&mut text, document, 0);
    text
}

fn write_block(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    // A value on its key's or dash's line where it is a word, below it where it has parts.
    let mut entry = |head: String, value: &Value| {
        let has_parts = value.as_object().is_some_and(|it| !it.is_empty()) || value.as_array().is_some_and(|it| !it.is_empty());
        if has_parts {
            *text += &format!("{indent}{head}\n");
            write_block(text, value, depth + 1);
        } else {
            *text += &format!("{indent}{head} {value}\n");
        }
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| entry(format!("{key}:"), value)),
        Value::Array(items) => items.iter().for_each(|item| entry("-".to_owned(), item)),
        word => *text += &format!("{indent}{word}\n"),
    }
}
