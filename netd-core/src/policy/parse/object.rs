//! Objects: which kind one is, and what of it goes where. Never reads a `spec` itself.

use std::collections::BTreeMap;

use netd_api::names::Namespace;

use super::{
    OtherKinds, Parsed,
    cluster::cluster_policy,
    emit::emit,
    fields::Fields,
    metadata::{Metadata, Of, metadata},
    network::network_policy,
    report::{Report, Step, short},
    tree::Node,
};
use crate::{
    policy::{
        model::{Body, NamespaceLabels, Policy, PolicyName},
        pod::NAMESPACE_NAME,
    },
    suggest::nearest,
};

/// What netd knows, under the version and name that Kubernetes gives it.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    One(Of),
    /// A list of objects; those in a list of one kind need not say their own.
    List(Option<(&'static str, &'static str)>),
}

const NETWORK: (&str, &str) = ("networking.k8s.io/v1", "NetworkPolicy");
const CLUSTER: (&str, &str) = ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy");
const NAMESPACE: (&str, &str) = ("v1", "Namespace");

const KINDS: [(&str, &str, Kind); 7] = [
    (NETWORK.0, NETWORK.1, Kind::One(Of::NetworkPolicy)),
    (CLUSTER.0, CLUSTER.1, Kind::One(Of::ClusterPolicy)),
    (NAMESPACE.0, NAMESPACE.1, Kind::One(Of::Namespace)),
    ("v1", "List", Kind::List(None)),
    (NETWORK.0, "NetworkPolicyList", Kind::List(Some(NETWORK))),
    (CLUSTER.0, "ClusterNetworkPolicyList", Kind::List(Some(CLUSTER))),
    (NAMESPACE.0, "NamespaceList", Kind::List(Some(NAMESPACE))),
];

/// API groups in which one of the kinds above is the same thing in another version.
const GROUPS: [&str; 3] = ["extensions/", "networking.k8s.io/", "policy.networking.k8s.io/"];

/// What ClusterNetworkPolicy was in v1alpha1.
const FORMER: [&str; 2] = ["AdminNetworkPolicy", "BaselineAdminNetworkPolicy"];

/// What was found so far, and where.
pub(super) struct Found {
    pub(super) parsed: Parsed,
    pub(super) other_kinds: OtherKinds,
    policies: BTreeMap<PolicyName, String>,
    namespaces: BTreeMap<Namespace, String>,
}

impl Found {
    pub(super) fn new(other_kinds: OtherKinds) -> Self {
        let parsed = Parsed { policies: Vec::new(), namespaces: Vec::new() };
        Self { parsed, other_kinds, policies: BTreeMap::new(), namespaces: BTreeMap::new() }
    }
}

/// Reads an object. `implied` is the version and kind of an element of a list that says it for all.
pub(super) fn object(report: &mut Report, found: &mut Found, node: &Node<'_>, implied: Option<(&'static str, &'static str)>) {
    let Some(fields) = report.mapping(node) else { return };
    let mut word = |name: &'static str, implied: Option<&'static str>| match (fields.get(name), implied) {
        (None, Some(implied)) => Some(implied),
        _ => report.required(fields, name, |report, node| report.text(node)),
    };
    let api_version = word("apiVersion", implied.map(|(api_version, _)| api_version));
    let kind = word("kind", implied.map(|(_, kind)| kind));
    let Some((api_version, kind)) = api_version.zip(kind) else { return };
    match KINDS.iter().find(|known| (known.0, known.1) == (api_version, kind)) {
        Some((_, _, Kind::List(of))) => items(report, found, node, *of),
        Some((_, _, Kind::One(Of::Namespace))) => namespace(report, found, node),
        Some((api_version, name, Kind::One(of))) => policy(report, found, node, (api_version, name, *of)),
        None => other(report, found.other_kinds, fields, api_version, kind),
    }
}

fn items(report: &mut Report, found: &mut Found, node: &Node<'_>, implied: Option<(&'static str, &'static str)>) {
    let Some(fields) = report.fields(node, &["apiVersion", "kind", "metadata", "items"]) else { return };
    report.required(fields, "items", |report, node| {
        report.list(node, |report, item| {
            object(report, found, item, implied);
            Some(())
        })
    });
}

fn policy(report: &mut Report, found: &mut Found, node: &Node<'_>, (api_version, name, of): (&str, &str, Of)) {
    let Some(fields) = report.fields(node, &["apiVersion", "kind", "metadata", "spec", "status"]) else { return };
    let who = report.required(fields, "metadata", |report, node| metadata(report, node, of));
    let body = report.required(fields, "spec", |report, node| match of {
        Of::NetworkPolicy => network_policy(report, node).map(Body::Network),
        _ => cluster_policy(report, node).map(Body::Cluster),
    });
    let Some(Metadata { name: Some(own), namespace, manner, kept, .. }) = who else { return };
    let policy_name = PolicyName { namespace: (of == Of::NetworkPolicy).then(|| namespace.unwrap_or_default()), name: own };
    let place = format!("{}:{}", report.file(), node.line);
    if let Some(first) = found.policies.insert(policy_name.clone(), place) {
        report.advise(node.line, format!("{name} {policy_name} is here twice, first at {first}"), "take one of them out or rename it");
    }
    if let (Some(body), Some(spec)) = (body, fields.get("spec")) {
        let source = emit(api_version, name, &kept, spec);
        found.parsed.policies.push(Policy { name: policy_name, manner, body, source });
    }
}

fn namespace(report: &mut Report, found: &mut Found, node: &Node<'_>) {
    let Some(fields) = report.fields(node, &["apiVersion", "kind", "metadata", "spec", "status"]) else { return };
    report.optional(fields, "spec", |report, node| report.fields(node, &["finalizers"]));
    let who = report.required(fields, "metadata", |report, node| metadata(report, node, Of::Namespace));
    let Some(Metadata { name: Some(name), mut labels, .. }) = who else { return };
    let Ok(namespace) = name.parse::<Namespace>() else { return };
    if let Some(given) = labels.remove(NAMESPACE_NAME)
        && given.as_str() != name
    {
        let what = format!("label {NAMESPACE_NAME} of namespace {name} is {given}");
        report.advise(node.line, what, "take it out; it is always the namespace's name");
    }
    let place = format!("{}:{}", report.file(), node.line);
    if let Some(first) = found.namespaces.insert(namespace.clone(), place) {
        report.advise(node.line, format!("namespace {name} is here twice, first at {first}"), "put its labels together");
    }
    found.parsed.namespaces.push(NamespaceLabels { namespace, labels });
}

/// An object of a kind that netd does not know. What looks like a policy of ours, but for its version or a slip, is never skipped.
fn other(report: &mut Report, other_kinds: OtherKinds, fields: Fields<'_>, api_version: &str, kind: &str) {
    let line = fields.line_of("kind");
    let what = format!("{} ({}) is of no kind that netd knows", short(kind), short(api_version));
    let same = KINDS.iter().find(|known| known.1 == kind);
    let group = GROUPS.iter().any(|group| api_version.starts_with(group)) || !api_version.contains('/');
    if let Some((right, _, _)) = same.filter(|_| group) {
        let what = format!("{} of version {} cannot be read", short(kind), short(api_version));
        return report.within(Step::Field("apiVersion"), |report| {
            report.advise(fields.line_of("apiVersion"), what, format!("write it as {right}"));
        });
    }
    let was_one = FORMER.contains(&kind);
    let near = nearest(kind, KINDS.iter().map(|known| known.1)).filter(|near| group && same.is_none() && !was_one && *near != "List");
    if let Some(near) = near {
        return report.within(Step::Field("kind"), |report| report.advise(line, what, format!("did you mean {near}?")));
    }
    if other_kinds == OtherKinds::Refuse {
        let hint = if was_one {
            "write it as ClusterNetworkPolicy of policy.networking.k8s.io/v1alpha2, or pass over it with --skip-other-kinds"
        } else {
            "take it out, or pass over it with --skip-other-kinds"
        };
        report.within(Step::Field("kind"), |report| report.advise(line, what, hint));
    }
}
