//! Metadata: the name, the namespace, the labels, and annotations of ours. Never takes an annotation for less than it says.

use netd_api::{
    names::{LabelKey, Namespace},
    policy::is_subdomain,
    spec::Labels,
};

use super::{
    report::{Report, Step, short},
    selector::labels,
    tree::{Node, Value},
};
use crate::{policy::model::Manner, suggest::nearest};

/// The fields that netd reads; Kubernetes' own others are ignored.
const KNOWN: [&str; 4] = ["name", "namespace", "labels", "annotations"];

/// The prefix of our annotations.
const OURS: &str = "netd.io/";

const ANNOTATIONS: [&str; 2] = ["netd.io/audit", "netd.io/reject"];

/// Whose it is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Of {
    /// A policy that stands in a namespace.
    NetworkPolicy,
    /// A policy that stands in none.
    ClusterPolicy,
    Namespace,
}

/// What is read of it.
pub(super) struct Metadata<'t> {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<Namespace>,
    pub(super) labels: Labels,
    pub(super) manner: Manner,
    /// The fields that were read, as they stand.
    pub(super) kept: Vec<(&'static str, &'t Node<'t>)>,
}

/// Reads it.
pub(super) fn metadata<'t>(report: &mut Report, node: &'t Node<'t>, of: Of) -> Option<Metadata<'t>> {
    let fields = report.mapping(node)?;
    for field in fields.iter().filter(|field| !KNOWN.contains(&&*field.name)) {
        // A misspelt `annotations` would turn an audit into enforcement.
        if let Some(near) = nearest(&field.name, KNOWN) {
            report.within(Step::Unknown(field.name.to_string()), |report| {
                report.advise(field.line, "unknown field", format!("did you mean {near}?"));
            });
        }
    }
    let name = report.required(fields, "name", |report, node| {
        if of == Of::Namespace {
            return report.named(node).map(|name: Namespace| name.to_string());
        }
        let name = report.text(node)?;
        if !is_subdomain(name) {
            let what = format!("{:?} is no name of an object", short(name));
            report.advise(node.line, what, "use up to 253 of a-z, 0-9, '-' and '.', with a letter or digit at both ends of each part");
        }
        Some(name.to_owned())
    });
    let namespace = report.optional(fields, "namespace", |report, node| {
        if of != Of::NetworkPolicy {
            report.advise(node.line, "objects of this kind stand in no namespace", "take it out");
        }
        report.named(node)
    });
    let labels = report.optional(fields, "labels", |report, node| {
        let labels = labels(report, node)?;
        for annotation in ANNOTATIONS.iter().filter(|name| labels.contains_key(**name)) {
            report.advise(node.line, format!("{annotation} is no label"), "put it under annotations");
        }
        Some(labels)
    });
    let manner = report.optional(fields, "annotations", |report, node| annotations(report, node, of));
    let kept = KNOWN.iter().filter_map(|name| Some((*name, fields.get(name)?))).collect();
    Some(Metadata { name, namespace, labels: labels.unwrap_or_default(), manner: manner.unwrap_or_default(), kept })
}

fn annotations(report: &mut Report, node: &Node<'_>, of: Of) -> Option<Manner> {
    let is_policy = of != Of::Namespace;
    let fields = report.mapping(node)?;
    let mut manner = Manner::default();
    for field in fields.iter() {
        report.within(Step::Key(field.name.to_string()), |report| {
            let _: Option<LabelKey> = report.parsed(&field.name, field.line);
            let ours = field.name.get(..OURS.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(OURS));
            match &*field.name {
                "netd.io/audit" if is_policy => manner.audit = switch(report, &field.value),
                "netd.io/reject" if is_policy => manner.reject = switch(report, &field.value),
                name if ours => {
                    let hint = match nearest(&name.to_ascii_lowercase(), ANNOTATIONS).filter(|_| is_policy) {
                        Some(near) => format!("did you mean {near}?"),
                        None if is_policy => format!("known here: {}", ANNOTATIONS.join(", ")),
                        None => "only policies have annotations of netd".to_owned(),
                    };
                    report.advise(field.line, "unknown annotation of netd", hint);
                }
                _ => {
                    report.text(&field.value);
                }
            }
        });
    }
    Some(manner)
}

/// `"true"` or `"false"`.
fn switch(report: &mut Report, node: &Node<'_>) -> bool {
    match &node.value {
        Value::Text(text) if matches!(&**text, "true" | "false") => text == "true",
        Value::Text(text) => {
            report.advise(node.line, format!("is {:?}", short(text)), "write \"true\" or \"false\"");
            false
        }
        _ => report.text(node).is_some(),
    }
}
