//! Tests of the parser: what each object means, what is refused in which words, how much it bears.

mod network;
mod cluster;
mod objects;
mod yaml;
mod errors;
mod random;
mod size;

use super::*;
use crate::policy::model::{Body, ClusterPolicy, NetworkPolicy, Peer, Port, Rule, Selector, WhichPort};
use netd_api::publish::{PortRange, Protocol};

fn read(text: &str) -> Result<Parsed, ParseErrors> {
    parse(&[File { name: "f.yaml", text }], OtherKinds::Refuse)
}

#[track_caller]
fn taken(text: &str) -> Parsed {
    let parsed = read(text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    for policy in &parsed.policies {
        let again = read(&policy.source).unwrap_or_else(|errors| panic!("{errors}\n{}", policy.source));
        assert_eq!(again.policies, std::slice::from_ref(policy), "what is written is read again");
    }
    parsed
}

#[track_caller]
fn refused(text: &str) -> String {
    match read(text) {
        Ok(parsed) => panic!("should have been refused: {parsed:#?}"),
        Err(errors) => errors.to_string(),
    }
}

#[track_caller]
fn policy(text: &str) -> Policy {
    let mut policies = taken(text).policies;
    assert_eq!(policies.len(), 1);
    policies.remove(0)
}

/// A NetworkPolicy with this spec, whose lines are indented by two.
fn network_text(spec: &str) -> String {
    format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\nspec:\n{spec}")
}

#[track_caller]
fn network(spec: &str) -> NetworkPolicy {
    match policy(&network_text(spec)).body {
        Body::Network(policy) => policy,
        Body::Cluster(_) => panic!("another kind"),
    }
}

#[track_caller]
fn network_refused(spec: &str) -> String {
    refused(&network_text(spec))
}

/// A ClusterNetworkPolicy whose spec has these lines too, indented by two.
fn cluster_text(spec: &str) -> String {
    let head = "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata:\n  name: c\n";
    format!("{head}spec:\n  tier: Admin\n  priority: 10\n  subject:\n    namespaces: {{}}\n{spec}")
}

#[track_caller]
fn cluster(spec: &str) -> ClusterPolicy {
    match policy(&cluster_text(spec)).body {
        Body::Cluster(policy) => policy,
        Body::Network(_) => panic!("another kind"),
    }
}

fn labels(pairs: &[(&str, &str)]) -> Selector {
    Selector { labels: pairs.iter().map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap())).collect(), expressions: Vec::new() }
}

fn pods(selector: Selector) -> Peer {
    Peer::Pods { namespaces: None, pods: selector }
}

fn range(protocol: Protocol, first: u16, last: u16) -> Port {
    Port { protocol: Some(protocol), which: WhichPort::Range(PortRange { first, last }) }
}

fn tcp(port: u16) -> Port {
    range(Protocol::Tcp, port, port)
}

/// A rule for everybody on all ports.
fn everything() -> Rule {
    Rule { peers: Vec::new(), ports: Vec::new() }
}
