//! Ports of rules, in both objects' words. Never resolves a name.

use netd_api::publish::{PortRange, Protocol};

use super::{
    report::{Report, Step, short},
    tree::{self, Node, Value},
};
use crate::policy::model::{Port, WhichPort};

const PROTOCOLS: [(&str, Protocol); 3] = [("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)];

/// An element of a NetworkPolicy's `ports`: TCP unless it says otherwise, and all of its ports unless it names one.
pub(super) fn port(report: &mut Report, node: &Node<'_>) -> Option<Port> {
    let fields = report.fields(node, &["protocol", "port", "endPort"])?;
    let protocol = report.optional(fields, "protocol", |report, node| report.word(node, &PROTOCOLS)).unwrap_or_default();
    let last = report.optional(fields, "endPort", |report, node| report.whole(node, 1..=u16::MAX));
    let which = match fields.get("port").map(|node| (node, &node.value)) {
        None => {
            refuse_end(report, fields.get("endPort"), "needs a port, from which the range goes to endPort");
            WhichPort::All
        }
        Some((node, Value::Text(text))) => {
            refuse_end(report, fields.get("endPort"), "needs a port with a number; a name stands for one port");
            let name = report.within(Step::Field("port"), |report| name(report, node, text));
            WhichPort::Named(name?)
        }
        Some((node, _)) => {
            let first = report.within(Step::Field("port"), |report| report.whole(node, 1..=u16::MAX))?;
            let range = PortRange { first, last: last.unwrap_or(first) };
            if range.first > range.last {
                let what = format!("{} is below port {first}", range.last);
                report.within(Step::Field("endPort"), |report| report.error(fields.line_of("endPort"), what));
            }
            WhichPort::Range(range)
        }
    };
    Some(Port { protocol: Some(protocol), which })
}

fn refuse_end(report: &mut Report, end: Option<&Node<'_>>, what: &str) {
    if let Some(node) = end {
        report.within(Step::Field("endPort"), |report| report.error(node.line, what));
    }
}

/// An IANA service name (RFC 6335 5.1) in lower case, as Kubernetes names ports.
fn name(report: &mut Report, node: &Node<'_>, text: &str) -> Option<String> {
    let good = (1..=15).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && text.bytes().any(|b| b.is_ascii_lowercase())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--");
    if good {
        return Some(text.to_owned());
    }
    if tree::whole(text).is_some() {
        let what = format!("{:?} is a text, which names a port", short(text));
        report.advise(node.line, what, format!("write it without quotes: {}", short(text)));
    } else {
        report.advise(
            node.line,
            format!("{:?} is no name of a port", short(text)),
            "use 1 to 15 of a-z, 0-9 and single '-' inside, at least one a letter",
        );
    }
    None
}

const CLUSTER_PROTOCOLS: [(&str, Protocol); 3] = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)];

/// An element of a ClusterNetworkPolicy's `protocols`.
pub(super) fn protocol(report: &mut Report, node: &Node<'_>) -> Option<Port> {
    let fields = report.fields_explained(node, &["tcp", "udp", "sctp", "destinationNamedPort"], |name| match name {
        "portNumber" | "portRange" => {
            Some(("is of v1alpha1", "write tcp: {destinationPort: {number: 80}} or {range: {start: 80, end: 89}}"))
        }
        "namedPort" => Some(("is of v1alpha1", "write destinationNamedPort")),
        _ => None,
    })?;
    let mut ports = Vec::new();
    for (word, protocol) in CLUSTER_PROTOCOLS {
        let range = report.optional(fields, word, destination);
        ports.extend(range.map(|range| Port { protocol: Some(protocol), which: WhichPort::Range(range) }));
    }
    let named = report.optional(fields, "destinationNamedPort", |report, node| {
        let text = report.text(node)?;
        name(report, node, text)
    });
    ports.extend(named.map(|name| Port { protocol: None, which: WhichPort::Named(name) }));
    super::cluster::exactly_one(report, fields, &["tcp", "udp", "sctp", "destinationNamedPort"]);
    ports.pop()
}

fn destination(report: &mut Report, node: &Node<'_>) -> Option<PortRange> {
    let fields = report.fields_explained(node, &["destinationPort"], |name| {
        (name == "sourcePort").then_some(("rules know ports of the destination only", "use destinationPort, or take it out"))
    })?;
    report.required(fields, "destinationPort", |report, node| {
        let fields = report.fields(node, &["number", "range"])?;
        let one = report.optional(fields, "number", |report, node| report.whole(node, 1..=u16::MAX)).map(PortRange::one);
        let several = report.optional(fields, "range", range);
        super::cluster::exactly_one(report, fields, &["number", "range"]);
        one.or(several)
    })
}

fn range(report: &mut Report, node: &Node<'_>) -> Option<PortRange> {
    let fields = report.fields(node, &["start", "end"])?;
    let first = report.required(fields, "start", |report, node| report.whole(node, 1..=u16::MAX));
    let last = report.required(fields, "end", |report, node| report.whole(node, 1..=u16::MAX));
    let (first, last) = first.zip(last)?;
    if first >= last {
        report.advise(node.line, format!("start {first} is not below end {last}"), "for a single port write number");
    }
    Some(PortRange { first, last })
}
