//! `networking.k8s.io/v1` NetworkPolicy. Never knows its metadata.

use super::{
    block::block,
    port::port,
    report::{Report, Step},
    selector::selector,
    tree::Node,
};
use crate::policy::model::{NetworkPolicy, Peer, Rule};

/// Which way packets go, seen from the selected containers.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    In,
    Out,
}

const TYPES: [(&str, Way); 2] = [("Ingress", Way::In), ("Egress", Way::Out)];

/// The `spec`.
pub(super) fn network_policy(report: &mut Report, node: &Node<'_>) -> Option<NetworkPolicy> {
    let fields = report.fields(node, &["podSelector", "policyTypes", "ingress", "egress"])?;
    let pods = report.optional(fields, "podSelector", selector).unwrap_or_default();
    let ingress = report.optional(fields, "ingress", |report, node| report.list(node, |report, node| rule(report, node, Way::In)));
    let egress = report.optional(fields, "egress", |report, node| report.list(node, |report, node| rule(report, node, Way::Out)));
    let types = report.optional(fields, "policyTypes", |report, node| {
        report.at_most(node, TYPES.len());
        report.list(node, |report, node| report.word(node, &TYPES))
    });
    let (ingress, egress) = (ingress.unwrap_or_default(), egress.unwrap_or_default());
    // An egress section without rules does not count: Kubernetes looks at how many there are, so only policyTypes can deny all egress.
    let (comes, goes) = match types.as_deref() {
        None | Some([]) => (true, !egress.is_empty()),
        Some(types) => (types.contains(&Way::In), types.contains(&Way::Out)),
    };
    Some(NetworkPolicy { pods, ingress: comes.then_some(ingress), egress: goes.then_some(egress) })
}

fn rule(report: &mut Report, node: &Node<'_>, way: Way) -> Option<Rule> {
    let (peers, other) = if way == Way::In { ("from", "to") } else { ("to", "from") };
    let fields = report.fields_explained(node, &[peers, "ports"], |name| {
        let hint = if way == Way::In { "an ingress rule says from" } else { "an egress rule says to" };
        (name == other).then_some(("unknown field", hint))
    })?;
    Some(Rule {
        peers: report.optional(fields, peers, |report, node| report.list(node, peer)).unwrap_or_default(),
        ports: report.optional(fields, "ports", |report, node| report.list(node, port)).unwrap_or_default(),
    })
}

fn peer(report: &mut Report, node: &Node<'_>) -> Option<Peer> {
    let fields = report.fields(node, &["podSelector", "namespaceSelector", "ipBlock"])?;
    let pods = report.optional(fields, "podSelector", selector);
    let namespaces = report.optional(fields, "namespaceSelector", selector);
    let addresses = report.optional(fields, "ipBlock", block);
    let selects = fields.get("podSelector").or(fields.get("namespaceSelector")).is_some();
    match fields.get("ipBlock") {
        Some(node) if selects => {
            report.within(Step::Field("ipBlock"), |report| {
                report.advise(node.line, "stands beside a selector", "begin an element of its own with - ipBlock");
            });
            None
        }
        Some(_) => addresses.map(Peer::Block),
        None if selects => Some(Peer::Pods { namespaces, pods: pods.unwrap_or_default() }),
        None => {
            report.advise(
                fields.line,
                "says nobody",
                "give podSelector, namespaceSelector or ipBlock; leave the whole list out for everybody",
            );
            None
        }
    }
}
