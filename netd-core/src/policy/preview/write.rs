//! Writes a NetworkPolicy. Never decides what it says.

use ipnet::IpNet;
use netd_api::{publish::PortRange, spec::Labels};

use super::ask::{Asked, Peer};
use crate::{
    desired::Container,
    policy::{
        book::wish::Direction,
        parse::{File, OtherKinds, parse},
        pod::NAMESPACE_NAME,
    },
};

/// The policy as YAML; the parser has read it, and gives it in the form that it gives all.
pub(super) fn write(container: &Container, subject: &str, asked: &Asked) -> String {
    let rules = |direction| {
        let rules = asked.rules(direction);
        let peers = if direction == Direction::Ingress { "from" } else { "to" };
        joined(rules.iter().map(|(ports, who)| {
            let who = joined(who.iter().map(|peer| self::peer(container, peer)));
            format!(r#"{{"{peers}": [{who}], "ports": [{}]}}"#, joined(ports.iter().map(|(protocol, range)| port(*protocol, *range))))
        }))
    };
    let json = format!(
        r#"{{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {{"name": {name}, "namespace": {namespace}}}, "spec": {{"podSelector": {subject}, "policyTypes": ["Ingress", "Egress"], "ingress": [{ingress}], "egress": [{egress}]}}}}"#,
        name = text(&name(container)),
        namespace = text(container.namespace.as_str()),
        ingress = rules(Direction::Ingress),
        egress = rules(Direction::Egress),
    );
    let parsed = parse(&[File { name: "advice", text: &json }], OtherKinds::Refuse);
    match parsed.map(|mut parsed| parsed.policies.pop()) {
        Ok(Some(policy)) => policy.source,
        // Too long for one file: still what was asked for, to be shortened by hand.
        _ => json + "\n",
    }
}

/// Labels as a selector.
pub(super) fn selector(labels: &Labels) -> String {
    let pairs = joined(labels.iter().map(|(key, value)| format!("{}: {}", text(key.as_str()), text(value.as_str()))));
    if pairs.is_empty() { "{}".to_owned() } else { format!(r#"{{"matchLabels": {{{pairs}}}}}"#) }
}

fn peer(container: &Container, peer: &Peer) -> String {
    match peer {
        Peer::Pods(namespace, labels) if *namespace == container.namespace => format!(r#"{{"podSelector": {}}}"#, selector(labels)),
        Peer::Pods(namespace, labels) => format!(
            r#"{{"namespaceSelector": {{"matchLabels": {{"{NAMESPACE_NAME}": {}}}}}, "podSelector": {}}}"#,
            text(namespace.as_str()),
            selector(labels)
        ),
        Peer::Address(address) | Peer::Outside(address) => block(IpNet::from(*address)),
        Peer::Block(net) => block(*net),
    }
}

fn block(net: IpNet) -> String {
    format!(r#"{{"ipBlock": {{"cidr": "{net}"}}}}"#)
}

fn port(protocol: u8, range: PortRange) -> String {
    let protocol = match protocol {
        17 => "UDP",
        132 => "SCTP",
        _ => "TCP",
    };
    let PortRange { first, last } = range;
    let end = if first == last { String::new() } else { format!(r#", "endPort": {last}"#) };
    format!(r#"{{"protocol": "{protocol}", "port": {first}{end}}}"#)
}

/// `advised-` and the container's name, as far as it is one that Kubernetes takes.
fn name(container: &Container) -> String {
    let own = container.name.as_str().to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    format!("advised-{}", own.chars().take(200).collect::<String>().trim_matches('-'))
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// Names and values of labels have nothing in them that JSON escapes.
fn text(text: &str) -> String {
    format!("\"{text}\"")
}
