//! `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy. Never knows its metadata.

use super::{
    block::networks,
    fields::Fields,
    port::protocol,
    report::{Report, Step},
    selector::selector,
    tree::Node,
};
use crate::policy::model::{ClusterAction, ClusterPeer, ClusterPolicy, ClusterRule, Selector, Subject, Tier, WhichPort};

/// Elements of each list of one, by its schema.
pub(super) const MOST: usize = 25;

/// Letters of a rule's name, by its schema.
const NAME_MOST: usize = 100;

const TIERS: [(&str, Tier); 2] = [("Admin", Tier::Admin), ("Baseline", Tier::Baseline)];
const ACTIONS: [(&str, ClusterAction); 3] =
    [("Accept", ClusterAction::Accept), ("Deny", ClusterAction::Deny), ("Pass", ClusterAction::Pass)];

/// The `spec`.
pub(super) fn cluster_policy(report: &mut Report, node: &Node<'_>) -> Option<ClusterPolicy> {
    let fields = report.fields(node, &["tier", "priority", "subject", "ingress", "egress"])?;
    let tier = report.required(fields, "tier", |report, node| report.word(node, &TIERS));
    let priority = report.required(fields, "priority", |report, node| report.whole(node, 0..=1000));
    let subject = report.required(fields, "subject", |report, node| {
        let fields = report.fields(node, &["namespaces", "pods"])?;
        exactly_one(report, fields, &["namespaces", "pods"]);
        containers(report, fields)
    });
    let ingress = report.optional(fields, "ingress", |report, node| rules(report, node, ingress_rule)).unwrap_or_default();
    let egress = report.optional(fields, "egress", |report, node| rules(report, node, egress_rule)).unwrap_or_default();
    Some(ClusterPolicy { tier: tier?, priority: priority?, subject: subject?, ingress, egress })
}

/// Refuses a mapping that has none of these fields, or several.
pub(super) fn exactly_one(report: &mut Report, fields: Fields<'_>, of: &[&str]) {
    let given: Vec<&str> = of.iter().copied().filter(|name| fields.get(name).is_some()).collect();
    // Of a mapping with a field that nobody knows that has been said already.
    if given.is_empty() && fields.iter().all(|field| of.contains(&&*field.name)) {
        report.error(fields.line, format!("has none of {}", of.join(", ")));
    } else if given.len() > 1 {
        report.error(fields.line, format!("has {} together; only one is possible", given.join(" and ")));
    }
}

/// `namespaces` or `pods`.
fn containers(report: &mut Report, fields: Fields<'_>) -> Option<Subject> {
    let all = report.optional(fields, "namespaces", selector).map(|namespaces| Subject { namespaces, pods: Selector::default() });
    let some = report.optional(fields, "pods", |report, node| {
        let fields = report.fields(node, &["namespaceSelector", "podSelector"])?;
        let namespaces = report.optional(fields, "namespaceSelector", selector).unwrap_or_default();
        Some(Subject { namespaces, pods: report.required(fields, "podSelector", selector)? })
    });
    all.or(some)
}

fn rules(
    report: &mut Report,
    node: &Node<'_>,
    rule: impl FnMut(&mut Report, &Node<'_>) -> Option<ClusterRule>,
) -> Option<Vec<ClusterRule>> {
    report.at_most(node, MOST);
    report.list(node, rule)
}

fn ingress_rule(report: &mut Report, node: &Node<'_>) -> Option<ClusterRule> {
    let fields = report.fields_explained(node, &["name", "action", "from", "protocols"], |name| match name {
        "to" => Some(("unknown field", "an ingress rule says from")),
        "ports" => Some(("is of v1alpha1", "write protocols")),
        _ => None,
    })?;
    let peers = report.required(fields, "from", |report, node| report.some(node, MOST, ingress_peer));
    rest(report, fields, peers)
}

fn egress_rule(report: &mut Report, node: &Node<'_>) -> Option<ClusterRule> {
    let fields = report.fields_explained(node, &["name", "action", "to", "protocols"], |name| match name {
        "from" => Some(("unknown field", "an egress rule says to")),
        "ports" => Some(("is of v1alpha1", "write protocols")),
        _ => None,
    })?;
    let peers = report.required(fields, "to", |report, node| report.some(node, MOST, egress_peer));
    let rule = rest(report, fields, peers)?;
    let named = rule.ports.iter().any(|port| matches!(port.which, WhichPort::Named(_)));
    if named && !rule.peers.iter().all(|peer| matches!(peer, ClusterPeer::Pods(_))) {
        report.within(Step::Field("protocols"), |report| {
            let hint = "give numbers, or split the rule";
            report.advise(
                fields.line_of("protocols"),
                "destinationNamedPort does not go with nodes and networks, whose ports have no names",
                hint,
            );
        });
    }
    Some(rule)
}

fn rest(report: &mut Report, fields: Fields<'_>, peers: Option<Vec<ClusterPeer>>) -> Option<ClusterRule> {
    let name = report.optional(fields, "name", |report, node| {
        let name = report.text(node)?;
        if name.chars().count() > NAME_MOST {
            report.error(node.line, format!("is longer than {NAME_MOST} letters"));
        }
        // Go's empty text is no name.
        (!name.is_empty()).then(|| name.to_owned())
    });
    let action = report.required(fields, "action", |report, node| report.word(node, &ACTIONS));
    let ports = report.optional(fields, "protocols", |report, node| report.some(node, MOST, protocol)).unwrap_or_default();
    Some(ClusterRule { name, action: action?, peers: peers?, ports })
}

fn ingress_peer(report: &mut Report, node: &Node<'_>) -> Option<ClusterPeer> {
    let fields = report.fields_explained(node, &["namespaces", "pods"], |name| {
        ["nodes", "networks", "domainNames"].contains(&name).then_some(("is for egress only", "use namespaces or pods"))
    })?;
    exactly_one(report, fields, &["namespaces", "pods"]);
    containers(report, fields).map(ClusterPeer::Pods)
}

fn egress_peer(report: &mut Report, node: &Node<'_>) -> Option<ClusterPeer> {
    let known = ["namespaces", "pods", "nodes", "networks"];
    let fields = report.fields_explained(node, &known, |name| {
        let why = "cannot be enforced: netd has no DNS yet that would tell it the names' addresses";
        (name == "domainNames").then_some((why, "use networks"))
    })?;
    exactly_one(report, fields, &known);
    let nodes = report.optional(fields, "nodes", selector).map(ClusterPeer::Nodes);
    let nets = report.optional(fields, "networks", networks).map(ClusterPeer::Networks);
    containers(report, fields).map(ClusterPeer::Pods).or(nodes).or(nets)
}
